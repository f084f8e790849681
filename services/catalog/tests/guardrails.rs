//! Conditions, guardrails and invariants in the catalog's files, and what compiling makes of them.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

use lienthong_catalog::compile::{Issue, Published, Rights, compile};
use lienthong_catalog::inquiry::who_can;
use lienthong_catalog::{Catalog, ContractModel, SourceFile};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::Contract;
use time::OffsetDateTime;

const SAMPLES: [(&str, &str); 4] = [
    ("agencies.yaml", include_str!("../../samples/catalog/agencies.yaml")),
    ("databases.yaml", include_str!("../../samples/catalog/databases.yaml")),
    ("dictionary.yaml", include_str!("../../samples/catalog/dictionary.yaml")),
    ("entries.yaml", include_str!("../../samples/catalog/entries.yaml")),
];

/// The sample catalog with one more file, and with the entries changed.
fn read(more: &str, change: impl Fn(&str) -> String) -> Result<Catalog, String> {
    let mut files: Vec<SourceFile> = SAMPLES
        .iter()
        .map(|(name, text)| SourceFile {
            name: (*name).to_owned(),
            text: if *name == "entries.yaml" { change(text) } else { (*text).to_owned() },
        })
        .collect();
    files.push(SourceFile { name: "more.yaml".to_owned(), text: more.to_owned() });
    Catalog::read(&files)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn rights(catalog: &Catalog) -> Rights {
    let contracts = [("G01", descriptors::DANCU), ("G09", descriptors::DANHMUC), ("G12", descriptors::DKDN)];
    let contracts = contracts.map(|(provider, set)| Contract {
        provider: provider.to_owned(),
        descriptor_set: set.into(),
        ..Contract::default()
    });
    let models = contracts.each_ref().map(|contract| ContractModel::read(&contract.descriptor_set).unwrap());
    let published: Vec<Published<'_>> =
        contracts.iter().zip(&models).map(|(contract, model)| Published { contract, model }).collect();
    compile(catalog, &published)
}

fn unchanged(text: &str) -> String {
    text.to_owned()
}

fn with_condition(condition: &str) -> impl Fn(&str) -> String {
    let keys =
        format!("    conditions_by_purpose:\n      STATE_MANAGEMENT: '{condition}'\n    classification:");
    move |text: &str| text.replacen("    classification:", &keys, 1)
}

fn guardrail(id: &str, policy: &str) -> String {
    let kind = if id.starts_with("GR") { "guardrails" } else { "invariants" };
    format!("{kind}:\n  - id: {id}\n    name_vi: Thử\n    policy: '{policy}'\n")
}

fn ids<'a>(rights: &'a Rights, dataset: &str) -> Vec<&'a str> {
    rights.rights().iter().filter(|right| right.dataset == dataset).map(|right| right.id.as_str()).collect()
}

#[test]
fn a_condition_goes_with_its_right_and_is_typed_against_the_contract() {
    let catalog = read("", with_condition("context.record.noi_thuong_tru == principal.code")).unwrap();
    let compiled = rights(&catalog);
    let carried = |purpose: &str| {
        let id = format!("CE-0001/H26.90/{purpose}");
        compiled.rights().iter().find(|right| right.id == id).unwrap().condition.clone()
    };
    assert_eq!(carried("STATE_MANAGEMENT"), "context.record.noi_thuong_tru == principal.code");
    assert_eq!(carried("ADMIN_PROCEDURE"), "");

    for (condition, part) in [
        ("context.record.khong_co == \"x\"", "has no field khong_co"),
        ("context.record.ho_ten == 7", "CE-0001@1 dancu.cong_dan"),
        ("context.record.cap_nhat_luc == \"x\"", "cannot compare"),
        ("context.request.khong_co == \"x\"", "has no field khong_co"),
        ("principal.ten == \"x\"", "types do not fit"),
    ] {
        let compiled = rights(&read("", with_condition(condition)).unwrap());
        let finding = compiled.findings()[0].to_string();
        assert!(finding.starts_with("error") && finding.contains(part), "{condition}: {finding}");
        assert!(!compiled.is_compiled("CE-0001"), "{condition}: the entry grants nothing");
    }
    let partly = rights(&read("", with_condition("context.request.ma_dvhc == \"x\"")).unwrap());
    let warning = partly.findings().iter().map(ToString::to_string).find(|text| text.contains("GetCitizen"));
    assert!(warning.unwrap().contains("are denied"), "{:?}", partly.findings());
    assert!(partly.is_compiled("CE-0001"));
}

#[test]
fn mistakes_name_file_line_and_rule() {
    for (more, part) in [
        (
            guardrail("GR-0001", "permit (principal, action, resource);"),
            "R-24: GR-0001: a guardrail only forbids",
        ),
        (
            guardrail("GR-0001", "forbid (principal in Agency::\"Q99\", action, resource);"),
            "which is not there",
        ),
        (
            guardrail("GR-0001", "forbid (principal, action, resource in Dataset::\"danc\");"),
            "which is not there",
        ),
        (
            guardrail("GR-0001", "forbid (principal, action == Action::\"READ\", resource);"),
            "unrecognized action",
        ),
        (
            guardrail("GR-0001", "forbid (principal, action, resource) when { principal.bloc == \"x\" };"),
            "R-24",
        ),
        (
            guardrail("IV-0001", "forbid (principal, action, resource) when { context has dossier };"),
            "looks at calls",
        ),
        (guardrail("GR-1", "forbid (principal, action, resource);"), "GR- and at least 4 digits"),
    ] {
        let mistakes = read(&more, unchanged).unwrap_err();
        assert!(mistakes.starts_with("more.yaml:") && mistakes.contains(part), "{more}: {mistakes}");
    }
    let both = read("", with_condition("context.record.ho_ten == context.request.ho_ten")).unwrap_err();
    assert!(both.contains("entries.yaml:") && both.contains("one condition about one of them"), "{both}");
    let open = |text: &str| {
        text.replace("purposes: [ANY]", "purposes: [ANY]\n    conditions_by_purpose: {ANY: 'true'}")
    };
    assert!(read("", open).unwrap_err().contains("open in every row"));
}

#[test]
fn a_guardrail_without_data_takes_rights_away_and_costs_calls_nothing() {
    let policy = "forbid (principal, action == Action::\"STATE_MANAGEMENT\", resource in Dataset::\"dancu\") \
                  unless { principal in Agency::\"H26\" };";
    let (before, after) = (
        rights(&read("", unchanged).unwrap()),
        rights(&read(&guardrail("GR-0001", policy), unchanged).unwrap()),
    );
    let (before, left) = (ids(&before, "dancu.cong_dan"), ids(&after, "dancu.cong_dan"));
    assert!(
        before.contains(&"CE-0001/H29/STATE_MANAGEMENT") && !left.contains(&"CE-0001/H29/STATE_MANAGEMENT")
    );
    assert!(
        left.contains(&"CE-0001/H26.90/STATE_MANAGEMENT") && left.contains(&"CE-0001/H29/ADMIN_PROCEDURE")
    );
    let told = after.findings().iter().find(|finding| finding.message.contains("GR-0001")).unwrap();
    assert_eq!(told.subject, "CE-0001");
    // G01's own right, for any purpose, is forbidden in part: nodes judge that part.
    assert!(left.contains(&"R-07/G01/dancu.cong_dan/G01"));
    let citizens = after.datasets().find(|dataset| dataset.id == "dancu.cong_dan").unwrap();
    assert_eq!(citizens.guardrails, ["GR-0001"]);
    let units = after.datasets().find(|dataset| dataset.id == "danhmuc.dvhc").unwrap();
    assert!(units.guardrails.is_empty());
}

#[test]
fn a_guardrail_may_look_at_the_fields_that_a_right_grants() {
    let policy = "forbid (principal, action, resource) when { context.fields.contains(\"ngay_sinh\") };";
    let after = rights(&read(&guardrail("GR-0001", policy), unchanged).unwrap());
    let left = ids(&after, "dancu.cong_dan");
    assert!(left.contains(&"CE-0001/H26.90/ADMIN_PROCEDURE"), "{left:?}");
    assert!(!left.contains(&"CE-0001/H26.90/STATE_MANAGEMENT"), "{left:?}");
}

#[test]
fn a_broken_invariant_names_entry_right_and_rule_and_leaves_the_right_out() {
    let health = "forbid (principal, action, resource in Dataset::\"dkdn\") \
                  unless { principal in Agency::\"G12\" || principal in Agency::\"H26\" };";
    let compiled = rights(&read(&guardrail("IV-0001", health), unchanged).unwrap());
    let broken = compiled.broken_invariants();
    assert!(!broken.is_empty());
    let first = broken.iter().find(|finding| finding.message.contains("/H29/")).unwrap().to_string();
    assert!(first.contains("CE-0007") && first.contains("IV-0001"), "{first}");
    let left = ids(&compiled, "dkdn.doanh_nghiep");
    assert!(!left.is_empty() && left.iter().all(|id| id.contains("/G12") || id.contains("/H26")), "{left:?}");
    let kept = rights(&read(&guardrail("IV-0001", "forbid (principal == Agency::\"D90\", action == Action::\"STATISTICS\", resource == Dataset::\"dancu.cong_dan\");"), unchanged).unwrap());
    assert!(kept.broken_invariants().is_empty());
}

#[test]
fn open_data_breaks_an_invariant_about_one_agency() {
    let policy = "forbid (principal == Agency::\"D90\", action, resource in Dataset::\"danhmuc\");";
    let compiled = rights(&read(&guardrail("IV-0001", policy), unchanged).unwrap());
    assert_eq!(compiled.broken_invariants().len(), 1, "{:?}", compiled.broken_invariants());
    assert!(compiled.broken_invariants()[0].message.contains("D90"));
}

#[test]
fn who_can_read_a_field_is_listed_with_its_terms() {
    let compiled = rights(&read("", unchanged).unwrap());
    let dancu = ContractModel::read(descriptors::DANCU).unwrap();
    let readers = who_can(&compiled, "dancu.cong_dan", None, Some("ngay_sinh"), |_| Some(&dancu));
    assert!(readers.iter().any(|reader| reader.right.id == "CE-0001/H29/STATE_MANAGEMENT"));
    assert!(readers.iter().all(|reader| reader.fields.ids.contains("ngay_sinh")));
    assert!(!readers.iter().any(|reader| reader.right.id.ends_with("/ADMIN_PROCEDURE")));
    assert!(who_can(&compiled, "dancu.cong_dan", Some("G09"), None, |_| Some(&dancu)).is_empty());
    assert!(who_can(&compiled, "dancu.cong_dan", None, Some("khong_co"), |_| Some(&dancu)).is_empty());
}

#[test]
fn keys_of_masking_go_to_the_providers_nodes_alone() {
    let masked = |text: &str| {
        text.replacen("STATE_MANAGEMENT: [so_dinh_danh, ", "STATE_MANAGEMENT: [", 1).replacen(
            "    classification:",
            "    masked_fields_by_purpose:\n      STATE_MANAGEMENT: [so_dinh_danh]\n    classification:",
            1,
        )
    };
    let catalog = read("", masked).unwrap();
    let compiled = rights(&catalog).with_hash_keys(&|right| right.consumer.clone().into_bytes());
    let hashed: Vec<&str> = compiled
        .rights()
        .iter()
        .filter(|right| !right.hash_key.is_empty())
        .map(|right| right.id.as_str())
        .collect();
    assert!(!hashed.is_empty() && hashed.iter().all(|id| id.ends_with("/STATE_MANAGEMENT")), "{hashed:?}");
    let issue = Issue {
        mesh: "demo".to_owned(),
        epoch: 1,
        time: OffsetDateTime::UNIX_EPOCH,
        revocation_lists: Vec::new(),
    };
    let whole = compiled.whole(&issue);
    assert!(whole.rights.iter().all(|right| right.hash_key.is_empty()));
}
