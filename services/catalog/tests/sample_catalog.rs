//! The sample catalog of the demonstration, from its files to decisions.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{GET_CITIZEN, GET_ENTERPRISE, GET_UNIT, SYNC_CITIZENS, VERIFY, method, question};
use lienthong_catalog::{Catalog, ContractModel, Issue, Published, Question, Rights, RightsIndex, SourceFile, compile, decide};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::{Contract, RightsBundle};
use lienthong_proto::reason::Reason;

const REGISTRY: &str = r#"
nodes:
  - {agency: G01, id: n1, address: "127.0.0.1:7101", server_name: n1.g01.demo.invalid, certificates: [{file: "1"}]}
  - {agency: G12, id: n1, address: "127.0.0.1:7102", server_name: n1.g12.demo.invalid, certificates: [{file: "2"}]}
  - {agency: G09, id: n1, address: "127.0.0.1:7103", server_name: n1.g09.demo.invalid, certificates: [{file: "3"}]}
  - {agency: G12.90, id: n1, address: "127.0.0.1:7104", server_name: n1.g12-90.demo.invalid, certificates: [{file: "4"}]}
  - {agency: H26.90, id: n1, address: "127.0.0.1:7105", server_name: n1.h26-90.demo.invalid, certificates: [{file: "5"}]}
  - {agency: "9900000099", id: n1, address: "127.0.0.1:7106", server_name: n1.vi-du.invalid, certificates: [{file: "6"}]}
systems:
  - {agency: H26.90, id: mot-cua, certificates: [{file: "15"}]}
"#;

fn sample_files() -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/catalog");
    ["agencies.yaml", "databases.yaml", "dictionary.yaml", "entries.yaml"]
        .map(|name| SourceFile {
            name: name.to_owned(),
            text: std::fs::read_to_string(folder.join(name)).unwrap(),
        })
        .into()
}

fn catalog() -> Catalog {
    let catalog = Catalog::read(&sample_files()).unwrap_or_else(|mistakes| {
        panic!("{}", mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    let registry = SourceFile { name: "registry.yaml".to_owned(), text: REGISTRY.to_owned() };
    let mut resolve = |path: &str| path.parse().map(common::binding).map_err(|_| "no such file".to_owned());
    catalog.with_registry(&registry, &mut resolve).unwrap()
}

fn contracts() -> Vec<(Contract, ContractModel)> {
    [("G01", descriptors::DANCU), ("G12", descriptors::DKDN), ("G09", descriptors::DANHMUC)]
        .map(|(provider, set)| {
            let contract = Contract { provider: provider.into(), hash: vec![0; 32].into(), descriptor_set: set.into() };
            (contract, ContractModel::read(set).unwrap())
        })
        .into()
}

fn rights() -> Rights {
    let contracts = contracts();
    let published: Vec<Published<'_>> =
        contracts.iter().map(|(contract, model)| Published { contract, model }).collect();
    compile(&catalog(), &published)
}

fn bundle(rights: &Rights, agency: &str) -> RightsBundle {
    let issue = Issue { mesh: "demo".to_owned(), epoch: 7, time: common::NOW, revocation_lists: Vec::new() };
    rights.bundle_for(&format!("agencies/{agency}/nodes/n1"), &issue).unwrap()
}

fn index(rights: &Rights, agency: &str) -> RightsIndex {
    let index = RightsIndex::from_bundle(&bundle(rights, agency)).unwrap();
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    index
}

#[test]
fn print_it() {
    let rights = rights();
    for finding in rights.findings() {
        println!("{finding}");
    }
    for right in rights.rights() {
        println!("{} {:?} {:?}", right.id, right.fields, right.methods);
    }
    let _ = (GET_CITIZEN, GET_ENTERPRISE, GET_UNIT, SYNC_CITIZENS, VERIFY);
    for agency in ["G01", "G12", "G09", "G12.90", "H26.90", "9900000099"] {
        let bundle = bundle(&rights, agency);
        println!("{agency}: parties {:?} nodes {} systems {} contracts {} datasets {} rights {}", bundle.parties.iter().map(|p| &p.code).collect::<Vec<_>>(), bundle.nodes.len(), bundle.systems.len(), bundle.contracts.len(), bundle.datasets.len(), bundle.rights.len());
        index(&rights, agency);
    }
}
