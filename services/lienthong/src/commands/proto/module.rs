//! The files of a pull: the same contracts always give the same bytes. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Cursor, Write},
    path::Path,
};

use anyhow::{Result, bail, ensure};
use lienthong_schema::{Printer, merge, narrow};
use prost_reflect::DescriptorPool;
use serde::{Deserialize, Serialize};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::served::PulledContract;

/// Beside the protos: whose they are, and which version.
pub const MANIFEST: &str = "contracts.json";
/// Of a buf module.
pub const BUF_YAML: &str = "buf.yaml";

/// Says what a pulled folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// One a provider.
    pub contracts: Vec<ManifestContract>,
    /// Every other file of the pull.
    pub files: BTreeSet<String>,
}

/// A provider's contract in a pulled folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestContract {
    /// Code of the provider.
    pub provider: String,
    /// SHA-256 of the contract as the provider published it, hexadecimal.
    pub version: String,
    /// gRPC paths that were pulled.
    pub methods: BTreeSet<String>,
}

/// Contracts in one pool, cut down to the methods that are wanted.
pub struct Module {
    /// Their files.
    pub pool: DescriptorPool,
    contracts: Vec<ManifestContract>,
}

impl Module {
    /// Joins contracts; `wanted` says of a gRPC path whether it is pulled.
    pub fn join(contracts: &[PulledContract], wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let sets: Vec<(&str, Vec<u8>)> = contracts
            .iter()
            .map(|contract| (contract.provider.as_str(), contract.pool.encode_to_vec()))
            .collect();
        let merged =
            merge(&DescriptorPool::new(), sets.iter().map(|(provider, set)| (*provider, set.as_slice())));
        if let Some(left_out) = merged.left_out.first() {
            bail!(
                "the contract of {} contradicts one before it ({}); pull each into a folder of its own with --provider",
                left_out.provider,
                left_out.problem
            );
        }
        let listed: Vec<ManifestContract> = contracts
            .iter()
            .map(|contract| ManifestContract {
                provider: contract.provider.clone(),
                version: contract.version.clone(),
                methods: paths(&contract.pool).into_iter().filter(|path| wanted(path)).collect(),
            })
            .filter(|contract| !contract.methods.is_empty())
            .collect();
        let methods = listed.iter().flat_map(|contract| contract.methods.iter().cloned()).collect();
        Ok(Self { pool: narrow(&merged.pool, &methods)?, contracts: listed })
    }

    /// The files of the folder, by name; those of `google/protobuf/`, which every tool brings itself, left out.
    pub fn files(&self, buf: bool) -> Result<BTreeMap<String, Vec<u8>>> {
        let printer = Printer::new(&self.pool);
        let mut files = BTreeMap::new();
        for file in self.pool.files().filter(|file| !file.name().starts_with("google/protobuf/")) {
            check_name(file.name())?;
            files.insert(file.name().to_owned(), printer.print(&file).into_bytes());
        }
        if buf {
            files.insert(BUF_YAML.to_owned(), BUF_YAML_TEXT.as_bytes().to_vec());
        }
        let manifest = Manifest { contracts: self.contracts.clone(), files: files.keys().cloned().collect() };
        let mut text = serde_json::to_vec_pretty(&manifest)?;
        text.push(b'\n');
        files.insert(MANIFEST.to_owned(), text);
        Ok(files)
    }
}

/// The gRPC paths of a pool.
pub fn paths(pool: &DescriptorPool) -> BTreeSet<String> {
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

/// The files as an archive: stored, in the order of their names, without times.
pub fn archive(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o644);
    for (name, bytes) in files {
        archive.start_file(name.as_str(), options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// A name from a contract becomes a path on this machine: it must stay inside the folder.
pub fn check_name(name: &str) -> Result<()> {
    let good = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.contains(['\\', ':'])
            && !part.contains(char::is_control)
    };
    ensure!(
        Path::new(name).extension().is_some_and(|extension| extension == "proto")
            && name.split('/').all(good),
        "the contract calls a file {name:?}, which cannot be written; pull a descriptor set instead"
    );
    Ok(())
}

/// The protos are their agencies' own: their style is not ours to judge.
const BUF_YAML_TEXT: &str = "version: v2\nmodules:\n  - path: .\nlint:\n  use:\n    - MINIMAL\n";

#[cfg(test)]
mod tests {
    use lienthong_proto::descriptors;

    use super::*;

    fn contract(provider: &str, set: &[u8]) -> PulledContract {
        PulledContract {
            provider: provider.to_owned(),
            version: "ab".repeat(32),
            in_force: true,
            pool: descriptors::pool(set).unwrap(),
        }
    }

    #[test]
    fn a_pull_has_sources_options_and_a_manifest_and_is_the_same_each_time() {
        let contracts = [contract("G01", descriptors::DANCU), contract("G12", descriptors::DKDN)];
        let module = Module::join(&contracts, |_| true).unwrap();
        let files = module.files(true).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "buf.yaml",
                "contracts.json",
                "lienthong/options/v1/options.proto",
                "lienthong/options/v1/vocabulary.proto",
                "vn/dancu/v1/citizen.proto",
                "vn/dkdn/v1/enterprise.proto",
            ]
        );
        let manifest: Manifest = serde_json::from_slice(&files[MANIFEST]).unwrap();
        assert_eq!(manifest.contracts.len(), 2);
        assert!(!manifest.files.contains(MANIFEST) && manifest.files.contains("buf.yaml"));

        let again = Module::join(&contracts, |_| true).unwrap().files(true).unwrap();
        assert_eq!(archive(&files).unwrap(), archive(&again).unwrap());
    }

    #[test]
    fn only_what_is_wanted_is_pulled() {
        let contracts = [contract("G01", descriptors::DANCU), contract("G12", descriptors::DKDN)];
        let module = Module::join(&contracts, |path| path.starts_with("/vn.dkdn.")).unwrap();
        assert!(module.pool.get_file_by_name("vn/dancu/v1/citizen.proto").is_none());
        assert_eq!(module.contracts.len(), 1);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for bad in [
            "../x.proto",
            "/x.proto",
            "a//b.proto",
            "a/./b.proto",
            "a\\b.proto",
            "c:x.proto",
            "x",
            "a/\n.proto",
            "",
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        check_name("vn/dancu/v1/citizen.proto").unwrap();
    }
}
