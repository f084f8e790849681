//! `lienthong proto pull`: contracts for one's own tools.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};

use super::{
    Format, PullArgs,
    module::{self, MANIFEST, Manifest, Module},
    served::{Served, short},
};
use crate::out;

/// Pulls, writes, and says what was written.
pub async fn run(args: PullArgs) -> Result<ExitCode> {
    let served = Served::new(args.ask)?;
    let mut methods = served.callable().await?;
    let service = args.service.map(|service| format!("/{}/", service.trim_matches('/')));
    if let Some(service) = &service {
        methods.retain(|method| method.path.starts_with(service));
        ensure!(
            !methods.is_empty(),
            "there is no service {} that you may call; `lienthong proto list` shows those",
            service.trim_matches('/')
        );
    }
    let contracts = served.contracts(&methods, args.version.as_deref()).await?;
    let wanted = |path: &str| service.as_ref().is_none_or(|service| path.starts_with(service));
    let module = Module::join(&contracts, wanted)?;
    match args.format {
        Format::Dir => write_folder(&args.output, &module.files(false)?)?,
        Format::Buf => write_folder(&args.output, &module.files(true)?)?,
        Format::Zip => write(&args.output, &module::archive(&module.files(false)?)?)?,
        Format::DescriptorSet => write(&args.output, &module.pool.encode_to_vec())?,
    }
    for contract in &contracts {
        let state = if contract.in_force { "in force" } else { "no longer in force" };
        out::line(&format!("{}  version {}  {state}", contract.provider, short(&contract.version)));
    }
    out::note(&format!("written to {}", args.output.display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes a folder: new, empty, or of an earlier pull, whose files go.
fn write_folder(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    let earlier = folder.join(MANIFEST);
    if earlier.is_file() {
        for file in read_manifest(folder)?.files {
            // A manifest that names files elsewhere is nobody's pull.
            if file != module::BUF_YAML {
                module::check_name(&file)?;
            }
            remove(&folder.join(file))?;
        }
        remove(&earlier)?;
    } else {
        let empty = fs::read_dir(folder).with_context(|| folder.display().to_string())?.next().is_none();
        ensure!(
            empty,
            "{} holds other files; name a new folder, or one of an earlier pull",
            folder.display()
        );
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("the folder {} cannot be made", parent.display()))?;
        }
        write(&path, bytes)?;
    }
    Ok(())
}

/// What an earlier pull wrote.
pub fn read_manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what a pull writes", path.display()))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let manifest =
            Manifest { contracts: Vec::new(), files: names.iter().map(|name| (*name).to_owned()).collect() };
        let mut files: BTreeMap<String, Vec<u8>> =
            names.iter().map(|name| ((*name).to_owned(), b"x".to_vec())).collect();
        files.insert(MANIFEST.to_owned(), serde_json::to_vec(&manifest).unwrap());
        files
    }

    #[test]
    fn a_new_pull_replaces_the_one_before_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let protos = folder.path().join("protos");
        write_folder(&protos, &files(&["a/old.proto", "buf.yaml"])).unwrap();
        fs::write(protos.join("mine.txt"), "mine").unwrap();
        write_folder(&protos, &files(&["a/new.proto"])).unwrap();
        assert!(!protos.join("a/old.proto").exists() && !protos.join("buf.yaml").exists());
        assert!(protos.join("a/new.proto").exists() && protos.join("mine.txt").exists());

        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("mine.txt"), "mine").unwrap();
        let error = write_folder(&other, &files(&["a.proto"])).unwrap_err();
        assert!(error.to_string().contains("holds other files"), "{error}");
        fs::write(other.join(MANIFEST), r#"{"contracts":[],"files":["../../secret.proto"]}"#).unwrap();
        assert!(write_folder(&other, &files(&["a.proto"])).is_err());
    }
}
