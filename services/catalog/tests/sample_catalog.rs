//! The sample catalog of the demonstration, from its files to decisions.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{GET_CITIZEN, GET_ENTERPRISE, GET_UNIT, SYNC_CITIZENS, VERIFY, method, question};
use lienthong_catalog::{
    Catalog, ContractModel, Issue, Permitted, Published, Question, Rights, RightsIndex, Severity, SourceFile,
    compile, decide,
};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::catalog::v1::PurposeFields;
use lienthong_proto::lienthong::control::v1::{Contract, Right, RightOrigin, RightsBundle};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use lienthong_proto::reason::Reason;
use prost::Message;

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
            let contract = Contract {
                provider: provider.into(),
                hash: vec![0; 32].into(),
                descriptor_set: set.into(),
                ..Contract::default()
            };
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
fn a_default_purpose_travels_to_the_nodes_that_decide_by_it() {
    let rights = rights();
    for agency in ["G12.90", "G09"] {
        let bundle = bundle(&rights, agency);
        let system =
            bundle.systems.iter().find(|system| system.name == "agencies/G12.90/systems/thue").unwrap();
        assert_eq!(system.default_purpose(), Purpose::StateManagement);
        let others = bundle.systems.iter().filter(|other| other.name != system.name);
        assert!(others.into_iter().all(|other| other.default_purpose() == Purpose::Unspecified));
    }
}

#[test]
fn the_catalog_is_what_the_law_s_table_says() {
    let catalog = catalog();
    assert_eq!(catalog.agencies().len(), 15);
    assert_eq!(catalog.outside_parties().len(), 1);
    assert_eq!(catalog.entries().len(), 14);
    let in_force: BTreeSet<&str> = catalog
        .entries()
        .iter()
        .filter(|entry| entry.status.is_in_force())
        .map(|entry| entry.dataset_id.as_str())
        .collect();
    let thirteen = [
        "ansinh.doi_tuong",
        "bhxh.qua_trinh_dong",
        "bhyt.the",
        "cbccvc.ho_so",
        "dancu.cong_dan",
        "dancu.xac_nhan_cu_tru",
        "danhmuc.dvhc",
        "datdai.thua_dat",
        "dkdn.doanh_nghiep",
        "giaoduc.van_bang",
        "hotich.su_kien",
        "thue.nguoi_nop_thue",
        "yte.gks_lai_xe",
    ];
    assert_eq!(in_force, BTreeSet::from(thirteen));
    for entry in catalog.entries() {
        assert!(entry.legal_basis.iter().all(|basis| basis.note == "demo – verify"), "{}", entry.id);
    }
}

#[test]
fn the_catalog_compiles_to_these_rights() {
    let rights = rights();
    let count = |prefix: &str| rights.rights().iter().filter(|right| right.id.starts_with(prefix)).count();
    // CE-0001: ten central and three local consumers but for G01, two purposes each, and the National Data Centre's sync.
    assert_eq!(count("CE-0001/"), 13 * 2 + 1);
    assert_eq!(count("CE-0002/"), 3);
    // CE-0007: G12.90, G15, G24 and three local consumers, three purposes each, and the sync.
    assert_eq!(count("CE-0007/"), 6 * 3 + 1);
    assert_eq!(count("CE-0013/"), 1);
    assert_eq!(count("R-07/"), 4);
    assert_eq!(rights.rights().len(), 54);
    assert_eq!(rights.datasets().count(), 4);
    for (entry, compiled) in [("CE-0001", true), ("CE-0013", true), ("CE-0003", false), ("CE-0014", false)] {
        assert_eq!(rights.is_compiled(entry), compiled, "{entry}");
    }

    let find = |id: &str| rights.rights().iter().find(|right| right.id == id).unwrap();
    let start = common::timestamp(time::macros::datetime!(2025-10-31 17:00 UTC));
    assert_eq!(
        *find("CE-0001/H26.90/ADMIN_PROCEDURE"),
        Right {
            id: "CE-0001/H26.90/ADMIN_PROCEDURE".into(),
            dataset: "dancu.cong_dan".into(),
            provider: "G01".into(),
            consumer: "H26.90".into(),
            purpose: Purpose::AdminProcedure.into(),
            fields: ["so_dinh_danh", "ho_ten", "noi_thuong_tru"].map(str::to_owned).into(),
            methods: vec![MethodKind::Query.into()],
            valid_from: Some(start),
            origin: RightOrigin::CatalogMandatory.into(),
            legal_basis: vec!["278/2025/NĐ-CP, Điều 8 (demo – verify)".into()],
            ..Right::default()
        }
    );
    let open = find("CE-0013/OPEN");
    assert_eq!(
        (open.consumer.as_str(), open.purpose(), open.origin()),
        ("", Purpose::Unspecified, RightOrigin::Open)
    );
    let sync = find("CE-0001/G01.90/SYNC_TO_NATIONAL_DB");
    assert_eq!(
        (sync.purpose(), sync.methods.clone()),
        (Purpose::NationalSync, vec![MethodKind::SyncToNationalDb.into()])
    );
    let own = find("R-07/G01/dancu.cong_dan/G01");
    assert_eq!((own.origin(), own.purpose()), (RightOrigin::Default, Purpose::Unspecified));
}

#[test]
fn the_findings_are_those_that_the_law_s_table_wants() {
    let rights = rights();
    let of = |rule: &str| -> BTreeSet<&str> {
        let findings = rights.findings().iter().filter(|finding| finding.rule == rule);
        findings.map(|finding| finding.subject.split(' ').next_back().unwrap()).collect()
    };
    let without_sync = ["bhyt.the", "dancu.xac_nhan_cu_tru", "thue.nguoi_nop_thue", "yte.gks_lai_xe"];
    assert_eq!(of("R-03"), BTreeSet::from(without_sync));
    assert!(of("R-10").contains("datdai.thua_dat"));
    assert!(!of("R-10").contains("dancu.cong_dan"));
    assert!(rights.findings().iter().all(|finding| finding.severity == Severity::Warning));
}

#[test]
fn each_node_gets_what_concerns_it_and_nothing_else() {
    let rights = rights();
    let parties = |agency: &str| -> Vec<String> {
        bundle(&rights, agency).parties.into_iter().map(|party| party.code).collect()
    };
    assert_eq!(parties("9900000099"), ["9900000099"]);
    assert_eq!(parties("H26.90"), ["G01", "G09", "G12", "H26.90"]);
    assert_eq!(parties("G09").len(), 16, "open data: everybody, outside parties too");
    assert!(parties("G01").contains(&"9900000099".to_owned()), "so that refusing it is a decision (R-15)");
    for (agency, contracts, datasets, count) in [
        ("G01", 2, 3, 33),
        ("G12", 3, 3, 23),
        ("G09", 2, 2, 4),
        ("G12.90", 3, 3, 6),
        ("H26.90", 3, 4, 7),
        ("9900000099", 0, 0, 0),
    ] {
        let bundle = bundle(&rights, agency);
        assert_eq!(
            (bundle.contracts.len(), bundle.datasets.len(), bundle.rights.len()),
            (contracts, datasets, count),
            "{agency}"
        );
        for right in &bundle.rights {
            assert!(
                [right.provider.as_str(), right.consumer.as_str(), ""].contains(&agency)
                    || right.consumer.is_empty()
            );
        }
        let index = index(&rights, agency);
        let node = &bundle.nodes.iter().find(|node| node.agency == agency).unwrap();
        assert_eq!(index.party_of_node(&node.certificates[0]).unwrap().code, agency);
    }
    let issue = Issue { mesh: "demo".to_owned(), epoch: 7, time: common::NOW, revocation_lists: Vec::new() };
    assert!(rights.bundle_for("agencies/G01/nodes/n2", &issue).is_none());
}

#[test]
fn equal_input_gives_equal_bytes() {
    let (first, second) = (rights(), rights());
    for agency in ["G01", "G09", "H26.90"] {
        assert_eq!(bundle(&first, agency).encode_to_vec(), bundle(&second, agency).encode_to_vec());
    }
}

/// Node, path, consumer, purpose; the deciding right or the reason of the denial.
type Row = (&'static str, &'static str, &'static str, &'static str, Result<&'static str, Reason>);

#[rustfmt::skip]
const STORY: &[Row] = &[
    ("G01", VERIFY, "H26.90", "VERIFICATION", Ok("CE-0002/H26.90/VERIFICATION")),
    ("G01", GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", Ok("CE-0001/H26.90/ADMIN_PROCEDURE")),
    ("G01", GET_CITIZEN, "H26.90", "VERIFICATION", Err(Reason::DenyPurpose)),
    ("G01", GET_CITIZEN, "H26.90", "COMMERCIAL", Err(Reason::DenyCommercial)),
    ("G01", GET_CITIZEN, "9900000099", "ADMIN_PROCEDURE", Err(Reason::DenyNotEntitled)),
    ("G01", GET_CITIZEN, "G01", "STATISTICS", Ok("R-07/G01/dancu.cong_dan/G01")),
    ("G01", SYNC_CITIZENS, "G01.90", "NATIONAL_SYNC", Ok("CE-0001/G01.90/SYNC_TO_NATIONAL_DB")),
    ("G01", SYNC_CITIZENS, "H26.90", "STATE_MANAGEMENT", Err(Reason::DenyMethod)),
    ("G01", VERIFY, "G12.90", "VERIFICATION", Err(Reason::DenyNotEntitled)),
    ("G12", GET_ENTERPRISE, "G12.90", "STATE_MANAGEMENT", Ok("CE-0007/G12.90/STATE_MANAGEMENT")),
    ("G12.90", GET_ENTERPRISE, "G12.90", "STATE_MANAGEMENT", Ok("CE-0007/G12.90/STATE_MANAGEMENT")),
    ("G12", GET_ENTERPRISE, "G22", "STATE_MANAGEMENT", Err(Reason::DenyNotEntitled)),
    ("G09", GET_UNIT, "D90", "DISPUTE_AUDIT", Ok("CE-0013/OPEN")),
    ("H26.90", GET_UNIT, "H26.90", "STATISTICS", Ok("CE-0013/OPEN")),
    ("G09", GET_UNIT, "9900000099", "STATISTICS", Err(Reason::DenyNotEntitled)),
];

#[test]
fn the_demonstration_s_story_is_decided_as_told() {
    let rights = rights();
    for (node, path, consumer, purpose, expected) in STORY {
        let index = index(&rights, node);
        let method = method(&index, path);
        let decided = decide(&index, &question(&method, consumer, purpose));
        let outcome = decided.as_ref().map(Permitted::right_id).map_err(|denial| denial.reason);
        assert_eq!(outcome, *expected, "{node} {path} {consumer} {purpose}");
    }
    let index = index(&rights, "G01");
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    let fields: BTreeSet<String> = decide(&index, &asked).unwrap().fields().map(str::to_owned).collect();
    assert_eq!(fields, ["ho_ten", "noi_thuong_tru", "so_dinh_danh"].map(str::to_owned).into());
    let named = Question { requested_fields: Some(vec!["tinh_trang_hon_nhan"]), ..asked };
    let denial = decide(&index, &named).unwrap_err();
    assert_eq!(denial.reason, Reason::DenyField);
    assert!(denial.detail.starts_with("tinh_trang_hon_nhan is not granted for ADMIN_PROCEDURE"));
}

#[test]
fn a_node_shows_what_it_shares_and_what_a_caller_may_call() {
    let rights = rights();
    let index = index(&rights, "G01");
    let shared = index.shared_datasets("G01");
    let ids: Vec<&str> = shared.iter().map(|dataset| dataset.id.as_str()).collect();
    assert_eq!(ids, ["dancu.cong_dan", "dancu.xac_nhan_cu_tru"]);
    assert_eq!((shared[0].fields.len(), shared[0].methods.len()), (12, 3));
    assert_eq!(shared[0].fields[11].r#type, "google.protobuf.Timestamp");

    let callable = index.callable_methods("H26.90", Some("agencies/H26.90/systems/mot-cua"), common::NOW);
    let paths: Vec<&str> = callable.iter().filter(|m| m.provider == "G01").map(|m| m.path.as_str()).collect();
    assert_eq!(paths, [GET_CITIZEN, "/vn.dancu.v1.CitizenService/ListCitizens", VERIFY]);
    let purposes: Vec<Purpose> = callable[0].purposes.iter().map(PurposeFields::purpose).collect();
    assert_eq!(purposes, [Purpose::AdminProcedure, Purpose::StateManagement]);
    assert_eq!(callable[0].purposes[0].fields, ["ho_ten", "noi_thuong_tru", "so_dinh_danh"]);
    for stranger in ["9900000099", "H99", ""] {
        assert!(index.callable_methods(stranger, None, common::NOW).is_empty(), "{stranger}");
    }
    let other = Some("agencies/G01/systems/dan-cu");
    assert!(index.callable_methods("H26.90", other, common::NOW).is_empty(), "a system of somebody else");
}

#[test]
fn services_show_entries_and_parties() {
    let catalog = catalog();
    let entry = catalog.entries().iter().find(|entry| entry.id == "CE-0007").unwrap().describe(true);
    assert_eq!((entry.name.as_str(), entry.version, entry.published), ("entries/CE-0007", 3, true));
    assert_eq!(entry.mandatory_consumers, ["G12.90", "G24", "G15", "LOCAL.ALL"]);
    assert_eq!(entry.freshness, Some(prost_types::Duration { seconds: 900, nanos: 0 }));
    let party = catalog.describe_party("H26.90").unwrap();
    assert_eq!((party.bloc.as_str(), party.level.as_str(), party.nodes.len()), ("LOCAL", "PROVINCE", 1));
    assert_eq!(party.systems[0].certificates, [common::binding(15)]);
    assert_eq!(catalog.describe_party("9900000099").unwrap().bloc, "OUTSIDE");
    assert!(catalog.describe_party("H99").is_none());
}

#[test]
fn the_dictionary_knows_every_reference_of_the_sample_contracts() {
    let catalog = catalog();
    for (contract, model) in contracts() {
        assert_eq!(model.findings(), [], "{}", contract.provider);
        assert_eq!(model.check_dictionary(catalog.dictionary()), [], "{}", contract.provider);
    }
}

#[test]
fn a_contract_of_the_wrong_provider_grants_nothing() {
    let model = ContractModel::read(descriptors::DANCU).unwrap();
    let contract = Contract {
        provider: "G12".into(),
        hash: vec![0; 32].into(),
        descriptor_set: descriptors::DANCU.into(),
        ..Contract::default()
    };
    let rights = compile(&catalog(), &[Published { contract: &contract, model: &model }]);
    assert_eq!(rights.rights(), [], "not even by R-07");
    let refusal = &rights.findings()[0];
    assert_eq!((refusal.rule, refusal.severity), ("R-12", Severity::Error));
    assert_eq!(refusal.message, "dancu.cong_dan is master data of G01, not of G12");
}
