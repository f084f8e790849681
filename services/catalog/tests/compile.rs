//! From entries and contracts to rights: whom each selector means, what R-07 gives by default, and what compiles to
//! nothing.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::collections::BTreeSet;

use common::proto;
use lienthong_catalog::{Catalog, ContractModel, Published, Rights, Severity, SourceFile, compile};
use lienthong_proto::lienthong::control::v1::{Contract, Dataset, Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, ReleaseGate};
use time::macros::datetime;

const CATALOG: &str = "
agencies:
  - {code: G24, name_vi: Bảo hiểm, bloc: GOVERNMENT, level: CENTRAL, roles: [PROVIDER, CONSUMER], security_level: 3}
  - {code: G24.01, name_vi: Bảo hiểm đơn vị, bloc: GOVERNMENT, level: CENTRAL, roles: [CONSUMER], sectors: [y-te]}
  - {code: G25, name_vi: Cơ quan khác, bloc: GOVERNMENT, level: CENTRAL, roles: [CONSUMER]}
  - {code: G22, name_vi: Văn phòng, bloc: GOVERNMENT, level: CENTRAL, roles: [OPERATOR]}
  - {code: G23, name_vi: Đã sáp nhập, bloc: GOVERNMENT, level: CENTRAL, roles: [CONSUMER], status: MERGED, successor_code: G24}
  - {code: D90, name_vi: Tòa án, bloc: COURT, level: CENTRAL, roles: [CONSUMER]}
  - {code: H26, name_vi: Hà Nội, bloc: LOCAL, level: PROVINCE, roles: [CONSUMER], sectors: [y-te]}
  - {code: H26.07, name_vi: Phường, bloc: LOCAL, level: COMMUNE, roles: [CONSUMER]}
  - {code: H26.070, name_vi: Xã, bloc: LOCAL, level: COMMUNE, roles: [CONSUMER]}
databases:
  - {id: thu, name_vi: Thử, kind: SECTORAL_DB, owner_code: G24, datasets: [{id: thu.ho_so}]}
entries:
  - id: CE-0001
    version: 2
    dataset_id: thu.ho_so
    provider_code: G24
    legal_basis: [{instrument: 278/2025/NĐ-CP, article: Điều 8}]
    mandatory_consumers: [D90]
    purposes: [STATISTICS]
    fields_by_purpose: {STATISTICS: [ten]}
    classification: {sharing: SHARED, importance: OTHER, secrecy: NONE, personal: BASIC}
    methods: [QUERY, SYNC_TO_NATIONAL_DB]
    effective_from: 2026-11-01
    effective_to: 2026-12-31
    approved_by: [a, b]
    status: ACTIVE
";

const CONTRACT: &str = r#"
syntax = "proto3";
package vn.thu.v1;
import "lienthong/options/v1/options.proto";
service ThuService {
  rpc Get(GetRequest) returns (GetResponse) {
    option (lienthong.options.v1.exchange) = {dataset: "thu.ho_so" kind: METHOD_KIND_QUERY};
  }
}
message HoSo {
  option (lienthong.options.v1.dataset) = {
    id: "thu.ho_so" name_vi: "Hồ sơ" key_fields: "ten" sharing: SHARING_SHARED
    importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_BASIC
  };
  string ten = 1 [(lienthong.options.v1.field) = {label_vi: "Tên"}];
  string luong = 2 [(lienthong.options.v1.field) = {label_vi: "Lương" personal: PERSONAL_SENSITIVE}];
}
message GetRequest {}
message GetResponse { HoSo ho_so = 1 [(lienthong.options.v1.record) = true]; }
"#;

#[test]
fn selectors_mean_active_consumers_of_their_class_on_group_borders() {
    for (selector, expected) in [
        ("D90", &["D90"][..]),
        ("G24.*", &["G24.01"]),
        ("H26", &["H26"]),
        ("H26.*", &["H26", "H26.07", "H26.070"]),
        ("H26.07.*", &["H26.07"]),
        ("LOCAL.ALL", &["H26", "H26.07", "H26.070"]),
        ("MINISTRY.ALL", &["G24.01", "G25"]),
        ("SECTOR:y-te", &["G24.01", "H26"]),
        ("ALL", &["D90", "G24.01", "G25", "H26", "H26.07", "H26.070"]),
        ("G22", &[]),
        ("G23", &[]),
        ("G24", &[]),
    ] {
        let rights = compiled(&CATALOG.replace("[D90]", &format!("[\"{selector}\"]")), CONTRACT);
        assert_eq!(
            consumers(&rights, RightOrigin::CatalogMandatory),
            expected.iter().copied().collect::<BTreeSet<_>>(),
            "{selector}"
        );
    }
}

#[test]
fn a_consumer_that_is_meant_twice_has_one_right() {
    let rights = compiled(&CATALOG.replace("[D90]", "[D90, ALL, D90.*]"), CONTRACT);
    let of_court = rights.rights().iter().filter(|right| right.consumer == "D90").count();
    assert_eq!(of_court, 1);
}

#[test]
fn validity_runs_from_midnight_to_midnight_in_viet_nam() {
    let rights = compiled(CATALOG, CONTRACT);
    let right = right(&rights, "CE-0001/D90/STATISTICS");
    assert_eq!(right.valid_from, Some(common::timestamp(datetime!(2026-10-31 17:00 UTC))));
    assert_eq!(
        right.valid_to,
        Some(common::timestamp(datetime!(2026-12-31 17:00 UTC))),
        "the last day counts"
    );
    assert_eq!(
        right.methods,
        [i32::from(MethodKind::Query)],
        "the national synchronisation is not the court's"
    );
    assert!(!right.suspended);
}

#[test]
fn a_suspended_entry_gives_suspended_rights_and_a_retired_one_none() {
    let rights = compiled(&CATALOG.replace("status: ACTIVE", "status: SUSPENDED"), CONTRACT);
    assert!(right(&rights, "CE-0001/D90/STATISTICS").suspended);
    assert!(!right(&rights, "R-07/G24/thu.ho_so/G24").suspended, "its own data stays its own");
    for status in ["DRAFT", "IN_REVIEW", "RETIRED"] {
        let rights = compiled(&CATALOG.replace("status: ACTIVE", &format!("status: {status}")), CONTRACT);
        assert!(consumers(&rights, RightOrigin::CatalogMandatory).is_empty(), "{status}");
        assert_eq!(dataset(&rights).entry, "");
    }
}

#[test]
fn the_data_that_an_agency_created_is_its_own_sensitive_fields_too() {
    let rights = compiled(CATALOG, CONTRACT);
    let own = right(&rights, "R-07/G24/thu.ho_so/G24");
    assert_eq!(own.fields, ["*", "luong"]);
    assert_eq!(consumers(&rights, RightOrigin::Default), BTreeSet::from(["G24"]));
}

#[test]
fn a_shared_database_serves_the_units_below_and_a_sector_its_local_bodies() {
    for kind in ["AGENCY_SHARED_DB", "LOCAL_DB"] {
        let rights = compiled(&CATALOG.replace("SECTORAL_DB", kind), CONTRACT);
        assert_eq!(consumers(&rights, RightOrigin::Default), BTreeSet::from(["G24", "G24.01"]), "{kind}");
        assert_eq!(right(&rights, "R-07/G24/thu.ho_so/G24.01").fields, ["*"], "nothing sensitive");
    }
    let sector = CATALOG.replace("owner_code: G24,", "owner_code: G24, sector: y-te,");
    let rights = compiled(&sector, CONTRACT);
    assert_eq!(consumers(&rights, RightOrigin::Default), BTreeSet::from(["G24", "H26"]));
}

#[test]
fn private_data_stays_inside_the_subtree_whoever_is_named() {
    let private = CATALOG
        .replace("sharing: SHARED", "sharing: PRIVATE")
        .replace("[D90]", "[\"G24.*\"]")
        .replace("owner_code: G24,", "owner_code: G24, sector: y-te,");
    let contract = CONTRACT.replace("SHARING_SHARED", "SHARING_PRIVATE");
    let rights = compiled(&private, &contract);
    let everybody: BTreeSet<&str> = rights.rights().iter().map(|right| right.consumer.as_str()).collect();
    assert_eq!(everybody, BTreeSet::from(["G24", "G24.01"]));
}

#[test]
fn the_age_of_a_bundle_follows_the_class_unless_the_entry_says_otherwise() {
    const HOUR: i64 = 3600;
    let class = "importance: OTHER, secrecy: NONE, personal: BASIC}";
    for (from, to, contract, age) in [
        ("", "", CONTRACT.to_owned(), 24 * HOUR),
        (
            class,
            "importance: OTHER, secrecy: NONE, personal: SENSITIVE}",
            CONTRACT.replace("PERSONAL_BASIC", "PERSONAL_SENSITIVE"),
            HOUR,
        ),
        (
            class,
            "importance: CORE, secrecy: NONE, personal: BASIC}\n    min_security_level: 4",
            CONTRACT.replace("IMPORTANCE_OTHER", "IMPORTANCE_CORE"),
            HOUR,
        ),
        (
            class,
            "importance: OTHER, secrecy: NONE, personal: BASIC}\n    bundle_age_max: 5m",
            CONTRACT.to_owned(),
            300,
        ),
        (
            class,
            "importance: OTHER, secrecy: NONE, personal: BASIC}\n    decision: ONLINE\n    bundle_age_max: 5m",
            CONTRACT.to_owned(),
            300,
        ),
    ] {
        let rights = compiled(&CATALOG.replace(from, to), &contract);
        assert_eq!(dataset(&rights).bundle_age_max.unwrap().seconds, age, "{to}: {:?}", rights.findings());
    }
    let open = CATALOG
        .replace("sharing: SHARED", "sharing: OPEN")
        .replace("personal: BASIC", "personal: NONE")
        .replace("[D90]", "[ALL]")
        .replace("STATISTICS", "ANY");
    let contract =
        CONTRACT.replace("SHARING_SHARED", "SHARING_OPEN").replace("PERSONAL_BASIC", "PERSONAL_NONE");
    assert_eq!(dataset(&compiled(&open, &contract)).bundle_age_max.unwrap().seconds, 7 * 24 * HOUR);
}

#[test]
fn the_entry_s_demands_reach_the_nodes() {
    let demands = "    release_gate: WITNESSED\n    decision: ONLINE\n    min_security_level: 4\n    freshness: 15m\n    calls_per_minute_max: 60\n";
    let text = CATALOG.replace("    effective_from", &format!("{demands}    effective_from"));
    let text = text.replace(
        "fields_by_purpose: {STATISTICS: [ten]}",
        "fields_by_purpose: {STATISTICS: [ten]}\n    masked_fields_by_purpose: {STATISTICS: [luong]}",
    );
    let rights = compiled(&text, CONTRACT);
    let dataset = dataset(&rights);
    assert_eq!(
        (dataset.release_gate(), dataset.decision_mode()),
        (ReleaseGate::Witnessed, DecisionMode::Online)
    );
    assert_eq!((dataset.min_security_level, dataset.freshness.unwrap().seconds), (4, 900));
    assert_eq!(dataset.entry, "CE-0001@2");
    let right = right(&rights, "CE-0001/D90/STATISTICS");
    assert_eq!((right.calls_per_minute_max, right.masked_fields.as_slice()), (60, &["luong".to_owned()][..]));
}

/// What is replaced in the catalog and in the contract; severity, rule and words of the finding.
type Row = ((&'static str, &'static str), (&'static str, &'static str), Severity, &'static str, &'static str);

#[rustfmt::skip]
static NOTHING: &[Row] = &[
    (("", ""), ("thu.ho_so", "thu.khac"), Severity::Warning, "R-10", "has published no contract for the dataset"),
    (("sharing: SHARED", "sharing: SHARED"), ("SHARING_SHARED", "SHARING_PRIVATE"), Severity::Error, "R-22", "differently: sharing"),
    (("", ""), ("IMPORTANCE_OTHER", "IMPORTANCE_CORE"), Severity::Error, "R-22", "differently: importance"),
    (("", ""), ("PERSONAL_BASIC", "PERSONAL_NONE"), Severity::Error, "R-22", "differently: personal"),
    (("{id: thu.ho_so}", "{id: thu.ho_so, master: true}"), ("", ""), Severity::Error, "R-22", "differently: master"),
    (("[ten]", "[khong_co]"), ("", ""), Severity::Error, "R-24", "field khong_co does not exist"),
    (("[ten]", "[\"*\"]"), ("{label_vi: \"Tên\"}", "{label_vi: \"Tên\" personal: PERSONAL_SENSITIVE}"), Severity::Error, "R-26", "grants no field that is not sensitive"),
    (("", ""), ("SECRECY_NONE", "SECRECY_SECRET"), Severity::Error, "R-21", "state secret"),
    (("", ""), (" [(lienthong.options.v1.record) = true]", ""), Severity::Error, "R-25", "outside of a record"),
    (("roles: [PROVIDER, CONSUMER], security_level: 3", "roles: [PROVIDER, CONSUMER], status: DISSOLVED"), ("", ""), Severity::Error, "", ""),
];

#[test]
fn what_does_not_fit_compiles_to_nothing_and_is_a_finding() {
    for ((old, new), (declared, changed), severity, rule, words) in NOTHING {
        let text = CATALOG.replace(old, new);
        let Ok(catalog) = Catalog::read(&[SourceFile { name: "c.yaml".into(), text }]) else {
            assert!(rule.is_empty(), "{new} is no catalog");
            continue;
        };
        let rights = compile_one(&catalog, &CONTRACT.replace(declared, changed));
        assert!(consumers(&rights, RightOrigin::CatalogMandatory).is_empty(), "{words}");
        let found = rights.findings().iter().any(|finding| {
            finding.severity == *severity && finding.rule == *rule && finding.message.contains(words)
        });
        assert!(found, "{words}: {:#?}", rights.findings());
    }
}

#[test]
fn a_dataset_of_a_special_operational_database_cannot_be_published() {
    let text = CATALOG
        .split("entries:")
        .next()
        .unwrap()
        .replace("owner_code: G24,", "owner_code: G24, special_operational: true,");
    let catalog = Catalog::read(&[SourceFile { name: "c.yaml".into(), text }]).unwrap();
    let model = ContractModel::read(&proto::compile(CONTRACT)).unwrap();
    assert_eq!(catalog.review("G24", &model)[0].rule, "R-14");
    assert_eq!(catalog.review("D90", &model)[0].rule, "R-09", "no provider");
    assert!(compile_one(&catalog, CONTRACT).rights().is_empty());
}

#[test]
fn a_code_list_that_nobody_keeps_is_told_once() {
    let text = CATALOG.split("entries:").next().unwrap().to_owned();
    let catalog = Catalog::read(&[SourceFile { name: "c.yaml".into(), text }]).unwrap();
    let told = |list: &str| {
        let coded = CONTRACT.replace("{label_vi:", &format!("{{code_list: \"{list}\" label_vi:"));
        assert_ne!(coded, CONTRACT);
        let model = ContractModel::read(&proto::compile(&coded)).unwrap();
        let findings = catalog.review("G24", &model);
        findings.into_iter().filter(|finding| finding.message.contains("code list")).collect::<Vec<_>>()
    };
    let unknown = told("danhmuc.khong_co");
    assert_eq!((unknown.len(), unknown[0].rule), (1, "R-40"), "{unknown:?}");
    let model = ContractModel::read(&proto::compile(CONTRACT)).unwrap();
    assert_eq!(told(model.datasets()[0].id()), [], "one that the catalog lists");
}

fn compiled(catalog: &str, contract: &str) -> Rights {
    let file = SourceFile { name: "c.yaml".into(), text: catalog.to_owned() };
    let catalog = Catalog::read(&[file]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    compile_one(&catalog, contract)
}

fn compile_one(catalog: &Catalog, contract: &str) -> Rights {
    let set = proto::compile(contract);
    let model = ContractModel::read(&set).unwrap();
    let contract = Contract {
        provider: "G24".into(),
        hash: vec![0; 32].into(),
        descriptor_set: set.into(),
        ..Contract::default()
    };
    compile(catalog, &[Published { contract: &contract, model: &model }])
}

fn consumers(rights: &Rights, origin: RightOrigin) -> BTreeSet<&str> {
    rights
        .rights()
        .iter()
        .filter(|right| right.origin() == origin)
        .map(|right| right.consumer.as_str())
        .collect()
}

fn right<'a>(rights: &'a Rights, id: &str) -> &'a Right {
    rights
        .rights()
        .iter()
        .find(|right| right.id == id)
        .unwrap_or_else(|| panic!("no {id}: {:#?}", rights.findings()))
}

fn dataset(rights: &Rights) -> &Dataset {
    rights.datasets().next().unwrap()
}
