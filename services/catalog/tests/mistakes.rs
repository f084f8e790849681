//! Each kind of mistake in catalog and registry, with its exact line and column.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use lienthong_catalog::{Catalog, Mistake, SourceFile};
use proptest::prelude::*;

const AGENCIES: &str = r#"agencies:
  - code: G01
    name_vi: Bộ Công an
    bloc: GOVERNMENT
    level: CENTRAL
    roles: [PROVIDER, CONSUMER]
    security_level: 3
    sectors: [an-ninh]
    contact: {name: Nguyễn Văn Mẫu, email: a@g01.invalid}
    systems:
      - {id: dan-cu, security_level: 3}
  - code: G12
    name_vi: Bộ Tài chính
    bloc: GOVERNMENT
    level: CENTRAL
    roles: [CONSUMER]
  - code: H26
    name_vi: Hà Nội
    bloc: LOCAL
    level: PROVINCE
    roles: [CONSUMER]
outside_parties:
  - {code: "9900000099", name_vi: Công ty Ví Dụ}
"#;

const DATABASES: &str = r"databases:
  - id: dan_cu
    name_vi: Dân cư
    kind: NATIONAL_DB
    owner_code: G01
    datasets:
      - {id: dancu.cong_dan, master: true}
      - {id: dancu.phu}
  - id: mat
    name_vi: Nghiệp vụ
    kind: SECTORAL_DB
    owner_code: G01
    special_operational: true
    datasets: [{id: mat.dac_biet}]
dictionary:
  - {id: con_nguoi.ho_ten, label_vi: Họ tên}
";

const ENTRIES: &str = r"entries:
  - id: CE-0001
    version: 1
    dataset_id: dancu.cong_dan
    provider_code: G01
    legal_basis:
      - {instrument: 278/2025/NĐ-CP, article: Điều 8}
    mandatory_consumers: [LOCAL.ALL, G12]
    purposes: [ADMIN_PROCEDURE]
    fields_by_purpose:
      ADMIN_PROCEDURE: [ho_ten]
    classification: {sharing: SHARED, importance: OTHER, secrecy: NONE, personal: BASIC}
    methods: [QUERY]
    freshness: 15m
    fee_policy: {state_bodies: EXEMPT}
    effective_from: 2026-11-01
    deadline: 2026-12-31
    approved_by: [operator.catalog.01, operator.legal.02]
    status: ACTIVE
";

const REGISTRY: &str = r#"nodes:
  - agency: G01
    id: n1
    address: 127.0.0.1:7101
    server_name: n1.g01.invalid
    certificates:
      - {file: g01.pem}
  - agency: "9900000099"
    id: n1
    address: "[::1]:7102"
    server_name: n1.vi-du.invalid
    certificates:
      - issuer: CN=DEMO
        serial: 0a0b
        spki_sha256: "0000000000000000000000000000000000000000000000000000000000000000"
systems:
  - {agency: G01, id: dan-cu, certificates: [{file: dan-cu.pem}]}
"#;

const CONTRACTS: &str = r"contracts:
  - provider: G01
    messages:
      kho.v1.Hang:
        dataset: {id: kho.hang, name_vi: Hàng, key_fields: [ma], sharing: SHARED, master: false}
        fields:
          ma: {label_vi: Mã hàng, masking: HASH}
      kho.v1.GetResponse:
        records: [hang]
    methods:
      kho.v1.KhoService.Get:
        exchange: {dataset: kho.hang, kind: QUERY}
        idempotency_level: NO_SIDE_EFFECTS
";

/// What is replaced, by what (the mark `§` stands before the place of the mistake), the rule, and words of the message.
type Row = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
static AGENCY_MISTAKES: &[Row] = &[
    ("    level: CENTRAL\n    roles: [PROVIDER", "    lvel: CENTRAL\n    roles: [PROVIDER", "key", "has no level"),
    ("    security_level: 3\n", "    §securty_level: 3\n", "key", "has no key \"securty_level\""),
    ("security_level: 3\n", "security_level: §three\n", "type", "security_level is a text, not a number"),
    ("security_level: 3\n", "security_level: §6\n", "format", "security_level is 6"),
    ("security_level: 3\n", "security_level: §-1\n", "format", "security_level is -1"),
    ("name_vi: Hà Nội", "name_vi: §26", "type", "name_vi is a number, not a text"),
    ("name_vi: Hà Nội", "name_vi: §\"Ha\u{300} Nội\"", "nfc", "not in Unicode form NFC"),
    ("name_vi: Hà Nội", "name_vi: §\" \"", "type", "name_vi is empty"),
    ("code: H26", "code: §h26", "format", "is not an agency code"),
    ("code: H26", "code: §000.00.00.H26", "format", "is not an agency code"),
    ("code: H26", "code: §G12", "id", "code \"G12\" comes twice, first at agencies.yaml:12"),
    ("bloc: LOCAL", "bloc: §VILLAGE", "format", "bloc \"VILLAGE\" is unknown"),
    ("    bloc: LOCAL\n    level: PROVINCE\n    roles: [CONSUMER]", "    bloc: LOCAL\n    level: PROVINCE\n    roles: [CONSUMER, §CONSUMER]", "id", "twice"),
    ("    roles: [CONSUMER]\n  - code: H26", "    roles: §CONSUMER\n  - code: H26", "type", "roles is a text, not a list"),
    ("    level: PROVINCE", "    level: PROVINCE\n    successor_code: §H27", "reference", "successor \"H27\""),
    ("    contact: {name: Nguyễn Văn Mẫu,", "    contact: {§nam: Nguyễn Văn Mẫu,", "key", "the contact has no key \"nam\""),
    ("      - {id: dan-cu, security_level: 3}", "      - {id: §Dan Cu, security_level: 3}", "format", "is not [a-z0-9-]"),
    ("      - {id: dan-cu, security_level: 3}", "      - {id: dan-cu}\n      - {id: §dan-cu}", "id", "comes twice"),
    ("dan-cu, security_level: 3}", "dan-cu, default_purpose: §ADMIN_PROCEDURE}", "R-24", "ADMIN_PROCEDURE needs a dossier"),
    ("dan-cu, security_level: 3}", "dan-cu, default_purpose: §COMMERCIAL}", "R-29", "COMMERCIAL is never granted"),
    ("dan-cu, security_level: 3}", "dan-cu, default_purpose: §ANY}", "format", "default_purpose \"ANY\" is unknown"),
    ("dan-cu, security_level: 3}", "dan-cu, default_purpose: §7}", "type", "default_purpose is a number"),
    ("code: \"9900000099\"", "code: §9900000099", "type", "code is a number, not a text"),
    ("code: \"9900000099\"", "code: §\"990\"", "format", "is not a business number"),
    ("outside_parties:", "§outside:", "key", "the file has no key \"outside\""),
    ("    bloc: LOCAL\n", "    bloc: LOCAL\n    §bloc: LOCAL\n", "yaml", "bloc"),
    ("    bloc: LOCAL\n", "    bloc: §]\n", "yaml", ""),
];

#[rustfmt::skip]
static DATABASE_MISTAKES: &[Row] = &[
    ("owner_code: G01\n    datasets:\n", "owner_code: §G99\n    datasets:\n", "reference", "owner \"G99\""),
    ("kind: NATIONAL_DB", "kind: §BIG_DB", "format", "kind \"BIG_DB\" is unknown"),
    ("id: dan_cu\n", "id: §dan cu\n", "format", "is not groups of"),
    ("master: true", "master: §yes please", "type", "master is a text, not true or false"),
    ("{id: dancu.phu}", "{id: §dancu.cong_dan}", "id", "dataset dancu.cong_dan comes twice"),
    ("[{id: mat.dac_biet}]", "[{id: mat.dac_biet}, {id: §dancu.cong_dan}]", "R-12", "has a home already: dan_cu"),
    ("{id: con_nguoi.ho_ten,", "{id: §Ho Ten,", "format", "is not groups of"),
];

#[rustfmt::skip]
static ENTRY_MISTAKES: &[Row] = &[
    ("id: CE-0001", "id: §CE-1", "format", "is not CE- and at least 4 digits"),
    ("version: 1", "version: §0", "format", "version is 0"),
    ("dataset_id: dancu.cong_dan", "dataset_id: §dancu.khac", "reference", "dataset \"dancu.khac\" is in no database"),
    ("dataset_id: dancu.cong_dan", "dataset_id: §mat.dac_biet", "R-14", "special operational"),
    ("provider_code: G01", "provider_code: §G99", "reference", "provider \"G99\""),
    ("provider_code: G01", "provider_code: §G12", "R-12", "master data of G01, not of G12"),
    ("dataset_id: dancu.cong_dan\n    provider_code: G01", "dataset_id: dancu.phu\n    provider_code: §G12", "R-09", "not registered as a provider"),
    ("G12]", "G12.*, §G12.*]", "id", "twice"),
    ("G12]", "§\"9900000099\"]", "R-15", "outside the political system"),
    ("G12]", "§\"9900000025\"]", "R-15", "outside the political system"),
    ("G12]", "§H99]", "reference", "consumer H99"),
    ("G12]", "§H99.*]", "reference", "consumer H99.*"),
    ("G12]", "§SECTOR:thue]", "reference", "no agency works in sector"),
    ("G12]", "§\"SECTOR:\"]", "format", "neither a code nor a class"),
    ("G12]", "§h26]", "format", "neither a code nor a class"),
    ("G12]", "§12]", "type", "is a number, not a text"),
    ("purposes: [ADMIN_PROCEDURE]", "purposes: [ADMIN_PROCEDURE, §COMMERCIAL]", "R-29", "can never be granted"),
    ("purposes: [ADMIN_PROCEDURE]", "purposes: [ADMIN_PROCEDURE, §TRADE]", "format", "purpose \"TRADE\" is unknown"),
    ("purposes: [ADMIN_PROCEDURE]", "purposes: §[ADMIN_PROCEDURE, ANY]", "R-24", "open data only"),
    ("      ADMIN_PROCEDURE: [ho_ten]", "      ADMIN_PROCEDURE: [ho_ten]\n      §STATISTICS: [ho_ten]", "R-24", "none of the entry's purposes"),
    ("[ho_ten]", "§ho_ten", "type", "not a list"),
    ("[ho_ten]", "[ho_ten, §ho_ten]", "id", "twice"),
    ("sharing: SHARED, ", "", "R-22", "not complete: sharing missing"),
    ("secrecy: NONE", "secrecy: §SECRET", "R-21", "is a state secret"),
    ("sharing: SHARED", "sharing: §ALL", "format", "sharing \"ALL\" is unknown"),
    ("mandatory_consumers: [LOCAL.ALL, G12]\n    purposes: [ADMIN_PROCEDURE]\n    fields_by_purpose:\n      ADMIN_PROCEDURE: [ho_ten]\n    classification: {sharing: SHARED", "mandatory_consumers: [§G12]\n    purposes: [ADMIN_PROCEDURE]\n    fields_by_purpose:\n      ADMIN_PROCEDURE: [ho_ten]\n    classification: {sharing: PRIVATE", "R-23", "outside G01"),
    ("    purposes: [ADMIN_PROCEDURE]\n    fields_by_purpose:\n      ADMIN_PROCEDURE: [ho_ten]\n    classification: {sharing: SHARED", "    purposes: [ANY]\n    fields_by_purpose:\n      ANY: [ho_ten]\n    classification: {sharing: OPEN", "R-22", "open to every agency"),
    ("importance: OTHER, secrecy: NONE, personal: BASIC}\n    methods: [QUERY]", "importance: CORE, secrecy: NONE, personal: BASIC}\n    min_security_level: §2\n    methods: [QUERY]", "R-30", "security level 3"),
    ("methods: [QUERY]", "methods: §[QUERY, SYNC_TO_CONSUMER]", "R-13", "without a limit to their age"),
    ("methods: [QUERY]", "methods: [§PIGEON]", "format", "methods \"PIGEON\" is unknown"),
    ("freshness: 15m", "freshness: §soon", "format", "\"soon\" is no duration"),
    ("state_bodies: EXEMPT", "state_bodies: §5000", "R-53", "a fee is asked of state bodies"),
    ("{state_bodies: EXEMPT}", "{§others: 5000}", "key", "no key \"others\""),
    ("effective_from: 2026-11-01", "effective_from: §2026-02-30", "format", "is no date"),
    ("deadline: 2026-12-31", "deadline: §2026-10-31", "R-09", "before effective_from"),
    ("[operator.catalog.01, operator.legal.02]", "[operator.catalog.01, §operator.catalog.01]", "R-09", "approved twice"),
    ("approved_by: [operator.catalog.01, operator.legal.02]\n    status: ACTIVE", "approved_by: [operator.catalog.01]\n    status: §ACTIVE", "R-09", "without exactly two approvers cannot be ACTIVE"),
    ("    legal_basis:\n      - {instrument: 278/2025/NĐ-CP, article: Điều 8}\n", "", "R-09", "without legal basis"),
    ("    mandatory_consumers: [LOCAL.ALL, G12]\n", "", "R-09", "without consumers"),
    ("    purposes: [ADMIN_PROCEDURE]\n    fields_by_purpose:\n      ADMIN_PROCEDURE: [ho_ten]\n", "", "R-09", "without purposes"),
    ("    fields_by_purpose:\n      ADMIN_PROCEDURE: [ho_ten]\n", "", "R-09", "without fields for ADMIN_PROCEDURE"),
    ("    methods: [QUERY]\n", "", "R-09", "without method"),
    ("    classification: {sharing: SHARED, importance: OTHER, secrecy: NONE, personal: BASIC}\n", "", "R-22", "has no classification"),
    ("    effective_from: 2026-11-01\n", "", "key", "has no effective_from"),
    ("status: ACTIVE", "status: §OPEN", "format", "status \"OPEN\" is unknown"),
    ("    status: ACTIVE", "    status: ACTIVE\n    bundle_age_max: §1w", "format", "is no duration"),
    ("{instrument: 278/2025/NĐ-CP,", "{§instrumnt: 278/2025/NĐ-CP,", "key", "no key \"instrumnt\""),
];

#[rustfmt::skip]
static CONTRACT_MISTAKES: &[Row] = &[
    ("provider: G01", "provider: §G99", "reference", "provider \"G99\" is no agency"),
    ("provider: G01", "provider: §G12", "R-09", "G12 is not registered as a provider"),
    ("  - provider: G01\n", "  - §message: {}\n    provider: G01\n", "key", "the contract has no key \"message\""),
    ("kho.v1.Hang:", "§kho..Hang:", "format", "\"kho..Hang\" is no full name of a message"),
    ("      kho.v1.KhoService.Get:", "      §/kho.v1.KhoService/Get:", "format", "is no full name of a method"),
    ("{id: kho.hang,", "{§ID: kho.hang,", "key", "dataset has no key \"ID\""),
    ("name_vi: Hàng,", "name_vi: §7,", "type", "name_vi is a number, not a text"),
    ("key_fields: [ma]", "key_fields: §ma", "type", "key_fields is a text, not a list"),
    ("key_fields: [ma]", "key_fields: [§7]", "type", "key_fields is a number, not a text"),
    ("sharing: SHARED", "sharing: §PUBLIC", "format", "sharing \"PUBLIC\" is unknown"),
    ("sharing: SHARED", "sharing: §SHARING_UNSPECIFIED", "format", "is unknown"),
    ("master: false", "master: §ja", "type", "master is a text, not true or false"),
    ("master: false", "application_metadata: {request_keys: [x-a], §keys: []}", "key", "application_metadata has no key \"keys\""),
    ("{label_vi: Mã hàng, masking: HASH}", "{label_vi: Mã hàng, masking: §hash}", "format", "masking \"hash\" is unknown"),
    ("{label_vi: Mã hàng, masking: HASH}", "§Mã hàng", "type", "field is a text, not a mapping"),
    ("records: [hang]", "records: [§{hang: true}]", "type", "records is a mapping, not a text"),
    ("records: [hang]", "records: [hang, §hang]", "id", "record of kho.v1.GetResponse.hang is given twice, first at contracts.yaml:9"),
    ("        exchange: {dataset: kho.hang, kind: QUERY}\n", "", "R-01", "the method has no exchange"),
    ("kind: QUERY", "kind: §CALL", "format", "kind \"CALL\" is unknown"),
    ("idempotency_level: NO_SIDE_EFFECTS", "idempotency_level: §SAFE", "format", "write one of NO_SIDE_EFFECTS, IDEMPOTENT"),
];

#[rustfmt::skip]
static REGISTRY_MISTAKES: &[Row] = &[
    ("agency: G01\n", "agency: §G99\n", "reference", "is no party of the catalog"),
    ("address: 127.0.0.1:7101", "address: §127.0.0.1", "format", "is not host:port"),
    ("address: 127.0.0.1:7101", "address: §127.0.0.1:0", "format", "is not host:port"),
    ("server_name: n1.g01.invalid", "server_name: §n1_g01", "format", "is not a DNS name"),
    ("- {file: g01.pem}", "- {file: §missing.pem}", "R-34", "missing.pem: no such file"),
    ("- {file: g01.pem}", "- {file: g01.pem, §fil: x}", "key", "no key \"fil\""),
    ("serial: 0a0b", "serial: §0a0", "format", "hexadecimal"),
    ("serial: 0a0b", "serial: §\"+a0b\"", "format", "hexadecimal"),
    ("\"0000000000000000000000000000000000000000000000000000000000000000\"", "§\"00\"", "format", "32 to 32 bytes"),
    ("certificates:\n      - {file: g01.pem}", "certificates: []", "R-34", "has no certificate"),
    ("[{file: dan-cu.pem}]", "[{file: dan-cu.pem}, {file: dan-cu.pem}, {§fil: x}]", "key", "no key \"fil\""),
    ("id: dan-cu,", "id: la,", "R-31", "is no system of the catalog"),
    ("systems:\n", "systems:\n  - {agency: G01, id: dan-cu}\n", "id", "comes twice"),
];

#[test]
fn the_files_without_a_mistake_are_a_catalog() {
    let catalog = read(AGENCIES, DATABASES, ENTRIES).unwrap();
    let entry = &catalog.entries()[0];
    assert_eq!(entry.versioned_id(), "CE-0001@1");
    assert_eq!(entry.valid_from(), time::macros::datetime!(2026-10-31 17:00 UTC), "midnight in Việt Nam");
    assert_eq!(entry.bundle_age_max().as_secs(), 24 * 3600);
    let bound = catalog.with_registry(&file("registry.yaml", REGISTRY), &mut resolve).unwrap();
    assert_eq!(bound.nodes().len(), 2);
    assert_eq!(bound.systems()[0].certificates.len(), 1);
    assert!(Catalog::read(&[]).unwrap().agencies().is_empty());
    assert!(Catalog::read(&[file("a.yaml", ""), file("b.yaml", "# nothing\n")]).is_ok());
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    for row in AGENCY_MISTAKES {
        check("agencies.yaml", AGENCIES, row, |text| read(text, DATABASES, ENTRIES).map(drop));
    }
    for row in DATABASE_MISTAKES {
        check("databases.yaml", DATABASES, row, |text| read(AGENCIES, text, ENTRIES).map(drop));
    }
    for row in ENTRY_MISTAKES {
        check("entries.yaml", ENTRIES, row, |text| read(AGENCIES, DATABASES, text).map(drop));
    }
    for row in CONTRACT_MISTAKES {
        check("contracts.yaml", CONTRACTS, row, |text| {
            read_all(AGENCIES, DATABASES, ENTRIES, text).map(drop)
        });
    }
    for row in REGISTRY_MISTAKES {
        let catalog = read(AGENCIES, DATABASES, ENTRIES).unwrap();
        check("registry.yaml", REGISTRY, row, |text| {
            catalog.with_registry(&file("registry.yaml", text), &mut resolve).map(drop)
        });
    }
}

#[test]
fn a_draft_may_lack_what_an_active_entry_must_have() {
    let draft = "entries:\n  - {id: CE-0001, dataset_id: dancu.cong_dan, provider_code: G01, status: DRAFT, effective_from: 2026-11-01,\n     classification: {sharing: SHARED, importance: OTHER, secrecy: NONE, personal: BASIC}}\n";
    assert!(read(AGENCIES, DATABASES, draft).is_ok());
}

#[test]
fn two_entries_in_force_for_one_dataset_are_a_mistake() {
    let second = ENTRIES.replace("entries:\n", "").replace("CE-0001", "CE-0002");
    let mistakes = read(AGENCIES, DATABASES, &format!("{ENTRIES}{second}")).unwrap_err();
    assert_eq!(mistakes.len(), 1);
    assert_eq!((mistakes[0].rule, mistakes[0].line), ("R-12", 22));
    let retired = second.replace("status: ACTIVE", "status: RETIRED");
    assert!(read(AGENCIES, DATABASES, &format!("{ENTRIES}{retired}")).is_ok());
}

#[test]
fn one_certificate_stands_for_one_owner() {
    let catalog = read(AGENCIES, DATABASES, ENTRIES).unwrap();
    let text = REGISTRY.replace("{file: dan-cu.pem}", "{file: g01.pem}");
    let mistakes = catalog.with_registry(&file("registry.yaml", &text), &mut resolve).unwrap_err();
    assert_eq!(
        mistakes[0].to_string(),
        "registry.yaml:17:46: R-34: the certificate of agencies/G01/systems/dan-cu is bound to agencies/G01/nodes/n1 too; a certificate stands for one node or system"
    );
}

#[test]
fn all_mistakes_of_all_files_come_together_sorted_by_place() {
    let agencies = AGENCIES.replace("level: CENTRAL", "level: MIDDLE");
    let databases = DATABASES.replace("kind: NATIONAL_DB", "kind: X");
    let entries =
        ENTRIES.replace("G12]", "G12, H99]").replace("EXEMPT", "1").replace("version: 1", "versoin: 1");
    let mistakes = read(&agencies, &databases, &entries).unwrap_err();
    let places: Vec<(&str, u64, &str)> = mistakes.iter().map(|m| (m.file.as_str(), m.line, m.rule)).collect();
    let expected = [
        ("agencies.yaml", 5, "format"),
        ("agencies.yaml", 15, "format"),
        ("databases.yaml", 4, "format"),
        ("entries.yaml", 3, "key"),
        ("entries.yaml", 15, "R-53"),
    ];
    assert_eq!(places, expected, "{mistakes:#?}");
    assert_eq!(
        mistakes[4].to_string(),
        "entries.yaml:15:32: R-53: a fee is asked of state bodies, which pay none; write EXEMPT"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,200}") {
        let _ = read(&text, DATABASES, ENTRIES);
    }

    #[test]
    fn any_damage_is_read_or_refused_without_a_panic(at in 0..1000usize, length in 0..40usize, put in "[-:\\[\\]{}&*!|>'\"%@`#,? \\n\\ta-z0-9]{0,6}") {
        let damage = |text: &str| {
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.min(characters.len());
            let end = (at + length).min(characters.len());
            characters.splice(at..end, put.chars());
            characters.into_iter().collect::<String>()
        };
        let _ = read(&damage(AGENCIES), DATABASES, ENTRIES);
        let _ = read(AGENCIES, DATABASES, &damage(ENTRIES));
        let _ = read_all(AGENCIES, DATABASES, ENTRIES, &damage(CONTRACTS));
        if let Ok(catalog) = read(AGENCIES, DATABASES, ENTRIES) {
            let _ = catalog.with_registry(&file("registry.yaml", &damage(REGISTRY)), &mut resolve);
        }
    }
}

fn check(name: &str, base: &str, row: &Row, read: impl Fn(&str) -> Result<(), Vec<Mistake>>) {
    let (old, new, rule, words) = row;
    assert_eq!(base.matches(old).count(), 1, "{name}: {old:?} stands once in the base");
    let marked = base.replace(old, new);
    let text = marked.replace('§', "");
    let Err(mistakes) = read(&text) else { panic!("{name}: {new:?} is accepted") };
    let found = mistakes.iter().find(|mistake| {
        mistake.rule == *rule && format!("{}; {}", mistake.message, mistake.remedy).contains(words)
    });
    let Some(found) = found else { panic!("{name}: {new:?} gives {mistakes:#?}") };
    assert_eq!(found.file, name);
    if let Some(mark) = marked.find('§') {
        let before = &marked[..mark];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        assert_eq!((found.line, found.column), (line as u64, column as u64), "{name}: {new:?}: {found}");
    }
}

fn read(agencies: &str, databases: &str, entries: &str) -> Result<Catalog, Vec<Mistake>> {
    read_all(agencies, databases, entries, CONTRACTS)
}

fn read_all(
    agencies: &str,
    databases: &str,
    entries: &str,
    contracts: &str,
) -> Result<Catalog, Vec<Mistake>> {
    Catalog::read(&[
        file("agencies.yaml", agencies),
        file("databases.yaml", databases),
        file("entries.yaml", entries),
        file("contracts.yaml", contracts),
    ])
}

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn resolve(path: &str) -> Result<lienthong_proto::lienthong::control::v1::CertificateBinding, String> {
    match path {
        "g01.pem" => Ok(common::binding(1)),
        "dan-cu.pem" => Ok(common::binding(2)),
        _ => Err("no such file".to_owned()),
    }
}
