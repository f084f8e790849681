//! A provider's contract: what its lint finds, and what a list of fields grants of it.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::sync::LazyLock;

use common::proto;
use lienthong_catalog::{ContractError, ContractModel, Severity};
use lienthong_filter::Masking;
use lienthong_proto::descriptors;
use proptest::prelude::*;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

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
    id: "thu.ho_so" name_vi: "Hồ sơ thử" key_fields: "ma" sharing: SHARING_SHARED
    importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_BASIC
  };
  string ma = 1 [(lienthong.options.v1.field) = {label_vi: "Mã" subject: true}];
  string luong = 2 [(lienthong.options.v1.field) = {label_vi: "Lương" personal: PERSONAL_SENSITIVE masking: MASKING_PARTIAL}];
  DiaChi dia_chi = 3 [(lienthong.options.v1.field) = {label_vi: "Địa chỉ"}];
  map<string, NoiSinh> noi_sinh = 4 [(lienthong.options.v1.field) = {label_vi: "Nơi sinh"}];
  repeated string ghi_chu = 5 [(lienthong.options.v1.field) = {label_vi: "Ghi chú" masking: MASKING_HASH}];
}
message DiaChi {
  string tinh = 1 [(lienthong.options.v1.field) = {label_vi: "Tỉnh"}];
  string benh = 2 [(lienthong.options.v1.field) = {label_vi: "Bệnh" personal: PERSONAL_SENSITIVE}];
}
message NoiSinh {
  string tinh = 1 [(lienthong.options.v1.field) = {label_vi: "Tỉnh"}];
}
message GetRequest { string ma = 1 [(lienthong.options.v1.field) = {label_vi: "Mã" subject: true}]; }
message GetResponse {
  HoSo ho_so = 1 [(lienthong.options.v1.record) = true];
  string next_page_token = 2;
}
"#;

/// What is replaced, by what; severity, rule, subject and words of the finding.
type Row = (&'static str, &'static str, Severity, &'static str, &'static str, &'static str);

use Severity::{Error, Warning};

#[rustfmt::skip]
static FINDINGS: &[Row] = &[
    ("id: \"thu.ho_so\"", "id: \"Thu.Ho So\"", Error, "R-09", "vn.thu.v1.HoSo", "is not groups of"),
    ("name_vi: \"Hồ sơ thử\" ", "", Error, "R-09", "vn.thu.v1.HoSo", "no Vietnamese name"),
    ("name_vi: \"Hồ sơ thử\"", "name_vi: \"Ho\u{302}\u{300} sơ\"", Error, "R-40", "vn.thu.v1.HoSo", "not in Unicode form NFC"),
    ("key_fields: \"ma\" ", "", Error, "R-42", "vn.thu.v1.HoSo", "names no key field"),
    ("{label_vi: \"Lương\"", "{regex: \"(?=x)\" label_vi: \"Lương\"", Error, "R-40", "vn.thu.v1.HoSo.luong", "the pattern of the field cannot be read"),
    ("{label_vi: \"Lương\"", "{code_list: \"Danh mục\" label_vi: \"Lương\"", Error, "R-40", "vn.thu.v1.HoSo.luong", "is no dataset id"),
    ("{label_vi: \"Địa chỉ\"", "{update_time: true label_vi: \"Địa chỉ\"", Error, "R-43", "vn.thu.v1.HoSo.dia_chi", "holds no time"),
    ("[(lienthong.options.v1.field) = {label_vi: \"Lương\"", "[(lienthong.options.v1.field).update_time = true];\n  string sua_luc = 9 [(lienthong.options.v1.field) = {update_time: true label_vi: \"Sửa lúc\"", Error, "R-43", "vn.thu.v1.HoSo.sua_luc", "tells already when"),
    ("key_fields: \"ma\"", "key_fields: \"khoa\"", Error, "R-42", "vn.thu.v1.HoSo", "key field khoa does not exist"),
    ("key_fields: \"ma\"", "key_fields: \"dia_chi\"", Error, "R-42", "vn.thu.v1.HoSo.dia_chi", "a message, a list or a map"),
    ("key_fields: \"ma\"", "key_fields: \"ma\" key_fields: \"ma\"", Error, "R-42", "vn.thu.v1.HoSo", "named twice"),
    ("sharing: SHARING_SHARED", "", Error, "R-22", "vn.thu.v1.HoSo", "sharing not declared"),
    ("importance: IMPORTANCE_OTHER ", "", Error, "R-22", "vn.thu.v1.HoSo", "importance not declared"),
    ("personal: PERSONAL_BASIC\n", "\n", Error, "R-22", "vn.thu.v1.HoSo", "personal not declared"),
    ("secrecy: SECRECY_NONE ", "", Error, "R-22", "vn.thu.v1.HoSo", "secrecy not declared"),
    ("SECRECY_NONE", "SECRECY_SECRET", Error, "R-21", "vn.thu.v1.HoSo", "the dataset is declared a state secret"),
    ("{label_vi: \"Bệnh\"", "{secrecy: SECRECY_CONFIDENTIAL label_vi: \"Bệnh\"", Error, "R-21", "vn.thu.v1.DiaChi.benh", "the field is declared a state secret"),
    ("SHARING_SHARED", "SHARING_OPEN", Warning, "R-22", "vn.thu.v1.HoSo", "open data holds personal data"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {request_keys: \"X-Ma\"} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "request_keys: \"X-Ma\" is no key"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {response_keys: \"\"} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "response_keys: \"\" is no key"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {response_keys: [\"set-cookie\"]} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "\"set-cookie\" never crosses the mesh"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {request_keys: [\"mesh-purpose\"]} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "\"mesh-purpose\" never crosses the mesh"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {request_keys: [\"x-ma\", \"x-ma\"]} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "\"x-ma\" is declared twice"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {status_details: \"google.rpc.\"} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "is no full name of a message"),
    ("    id: \"thu.ho_so\"", "    application_metadata: {status_details: \"google.protobuf.Any\"} id: \"thu.ho_so\"", Error, "design: metadata", "vn.thu.v1.HoSo", "holds messages of any type"),
    ("string luong", "string Luong", Warning, "R-40", "vn.thu.v1.HoSo.Luong", "lower-case ASCII snake"),
    ("{label_vi: \"Lương\"", "{label_vi: \"Lu\u{31b}ơng\"", Error, "R-40", "vn.thu.v1.HoSo.luong", "not in Unicode form NFC"),
    ("{label_vi: \"Địa chỉ\"}", "{}", Warning, "R-40", "vn.thu.v1.HoSo.dia_chi", "no Vietnamese label"),
    ("DiaChi dia_chi = 3 [(lienthong.options.v1.field) = {label_vi: \"Địa chỉ\"}]", "DiaChi dia_chi = 3 [(lienthong.options.v1.field) = {label_vi: \"Địa chỉ\" subject: true}]", Error, "R-47", "vn.thu.v1.HoSo.dia_chi", "not a string"),
    ("  string benh", "  HoSo ho_so = 3;\n  string benh", Error, "R-26", "vn.thu.v1.DiaChi.ho_so", "contains itself"),
    ("dataset: \"thu.ho_so\" kind", "dataset: \"thu.khac\" kind", Error, "R-09", "/vn.thu.v1.ThuService/Get", "does not declare"),
    (" kind: METHOD_KIND_QUERY", "", Error, "R-02", "/vn.thu.v1.ThuService/Get", "does not say how"),
    (" [(lienthong.options.v1.record) = true]", "", Error, "R-25", "/vn.thu.v1.ThuService/Get", "carries data outside of a record"),
    ("HoSo ho_so = 1 [(lienthong.options.v1.record) = true]", "string ho_so = 1", Error, "R-25", "/vn.thu.v1.ThuService/Get", "holds no record"),
    ("HoSo ho_so = 1 [", "DiaChi ho_so = 1 [", Error, "R-25", "/vn.thu.v1.ThuService/Get", "is marked record and is not vn.thu.v1.HoSo"),
    ("  string next_page_token = 2;", "  HoSo thu_hai = 2;", Error, "R-25", "/vn.thu.v1.ThuService/Get", "thu_hai carries data outside"),
    ("  string next_page_token = 2;", "  string ten = 2 [(lienthong.options.v1.field) = {label_vi: \"Tên\"}];", Error, "R-25", "/vn.thu.v1.ThuService/Get", "ten carries data outside"),
    ("  string next_page_token = 2;", "  Trang trang = 2;\n}\nmessage Trang {\n  HoSo an = 1;", Error, "R-25", "/vn.thu.v1.ThuService/Get", "an carries data outside"),
    ("string ma = 1 [(lienthong.options.v1.field) = {label_vi: \"Mã\" subject: true}]; }", "int64 ma = 1 [(lienthong.options.v1.field) = {label_vi: \"Mã\" subject: true}]; }", Error, "R-25", "/vn.thu.v1.ThuService/Get", "is not a string"),
    ("    option (lienthong.options.v1.exchange) = {dataset: \"thu.ho_so\" kind: METHOD_KIND_QUERY};\n", "", Warning, "R-01", "vn.thu.v1.ThuService.Get", "exchanges no dataset"),
    ("message DiaChi {", "message BanSao {\n  option (lienthong.options.v1.dataset) = {\n    id: \"thu.ho_so\" name_vi: \"Hồ sơ\" key_fields: \"ma\" sharing: SHARING_SHARED\n    importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_BASIC\n  };\n  string ma = 1;\n}\nmessage DiaChi {", Error, "R-12", "vn.thu.v1.", "is declared twice"),
];

#[test]
fn a_sound_contract_has_no_finding() {
    let model = read(CONTRACT);
    assert_eq!(model.findings(), []);
    let (dataset, method) = (&model.datasets()[0], &model.methods()[0]);
    let ids: Vec<&str> = dataset.fields().iter().map(|field| field.id.as_str()).collect();
    let expected =
        ["ma", "luong", "dia_chi", "dia_chi.tinh", "dia_chi.benh", "noi_sinh", "noi_sinh.tinh", "ghi_chu"];
    assert_eq!(ids, expected);
    assert_eq!(dataset.fields()[5].type_name(), "map<string, vn.thu.v1.NoiSinh>");
    assert_eq!(dataset.fields()[7].type_name(), "repeated string");
    assert_eq!(method.path, "/vn.thu.v1.ThuService/Get");
    assert!(!method.no_side_effects && !method.response_streaming);
}

#[test]
fn each_mistake_of_a_contract_is_found() {
    for (old, new, severity, rule, subject, words) in FINDINGS {
        assert_eq!(CONTRACT.matches(old).count(), 1, "{old:?} stands once in the base");
        let model = read(&CONTRACT.replace(old, new));
        let found = model.findings().iter().any(|finding| {
            finding.severity == *severity
                && finding.rule == *rule
                && finding.subject.starts_with(subject)
                && finding.message.contains(words)
        });
        assert!(found, "{new:?} gives {:#?}", model.findings());
        assert_eq!(model.has_errors(), model.findings()[0].severity == Error);
    }
}

#[test]
fn what_may_pass_beside_the_messages_is_declared() {
    let declared = "id: \"thu.ho_so\" application_metadata: {request_keys: [\"x-vet\", \"x-ma-bin\"] \
         response_keys: \"x-cho\" status_message: true status_details: [\"google.rpc.BadRequest\", \"vn.thu.v1.DiaChi\"]}";
    let model = read(&CONTRACT.replace("id: \"thu.ho_so\"", declared));
    assert_eq!(model.findings(), []);
    let passes = model.datasets()[0].application_metadata();
    assert!(
        passes.passes_request("x-vet")
            && passes.passes_request("x-ma-bin")
            && passes.passes_response("x-cho")
    );
    assert!(
        !passes.passes_request("x-cho")
            && !passes.passes_response("x-vet")
            && !passes.passes_request("X-Vet")
    );
    assert!(passes.passes_status_message() && passes.passes_detail("vn.thu.v1.DiaChi"));
    assert!(
        !passes.passes_detail("vn.thu.v1.HoSo") && !passes.request_is_empty() && !passes.response_is_empty()
    );
    let nothing = read(CONTRACT).datasets()[0].application_metadata();
    assert!(nothing.request_is_empty() && nothing.response_is_empty() && !nothing.passes_request("x-vet"));
}

#[test]
fn too_many_keys_are_refused_and_never_pass() {
    let keys: Vec<String> = (0..65).map(|number| format!("\"x-{number:02}\"")).collect();
    let declared = format!("id: \"thu.ho_so\" application_metadata: {{request_keys: [{}]}}", keys.join(", "));
    let model = read(&CONTRACT.replace("id: \"thu.ho_so\"", &declared));
    assert!(model.has_errors() && model.findings()[0].message.contains("65 are declared; at most 64"));
    assert!(!model.datasets()[0].application_metadata().passes_request("x-64"));
}

#[test]
fn a_detail_that_hides_others_is_refused() {
    let text = CONTRACT
        .replace("import \"lienthong", "import \"google/protobuf/any.proto\";\nimport \"lienthong")
        .replace("message DiaChi {", "message Vo { map<string, Ruot> ruot = 1; }\nmessage Ruot { google.protobuf.Any gi = 1; }\nmessage DiaChi {")
        .replace("id: \"thu.ho_so\"", "id: \"thu.ho_so\" application_metadata: {status_details: \"vn.thu.v1.Vo\"}");
    let model = read(&text);
    assert!(
        model.findings()[0].message.contains("\"vn.thu.v1.Vo\" holds messages of any type"),
        "{:?}",
        model.findings()
    );
}

#[test]
fn sensitive_fields_must_be_named() {
    let model = read(CONTRACT);
    let ids = |granted: &[&str]| -> Vec<String> {
        let granted: Vec<String> = granted.iter().map(|id| (*id).to_owned()).collect();
        model.datasets()[0].grant(&granted, &[]).unwrap().ids.into_iter().collect()
    };
    assert_eq!(ids(&["*"]), ["dia_chi.tinh", "ghi_chu", "ma", "noi_sinh"]);
    assert_eq!(ids(&["*", "luong"]), ["dia_chi.tinh", "ghi_chu", "luong", "ma", "noi_sinh"]);
    assert_eq!(
        ids(&["dia_chi"]),
        ["dia_chi.tinh"],
        "naming the message does not name what is sensitive in it"
    );
    assert_eq!(ids(&["dia_chi", "dia_chi.benh"]), ["dia_chi.benh", "dia_chi.tinh"]);
    assert_eq!(ids(&["noi_sinh.tinh"]), ["noi_sinh.tinh"]);
    assert!(ids(&[]).is_empty());
}

#[test]
fn a_dataset_that_is_sensitive_as_a_whole_opens_nothing() {
    let text = CONTRACT.replace("personal: PERSONAL_BASIC", "personal: PERSONAL_SENSITIVE");
    let model = read(&text);
    let all = ["*".to_owned()];
    assert!(model.datasets()[0].grant(&all, &[]).unwrap().ids.is_empty());
    let named = model.datasets()[0].grant(&["ma".to_owned()], &[]).unwrap();
    assert_eq!(named.ids.into_iter().collect::<Vec<_>>(), ["ma"]);
}

#[test]
fn masked_fields_are_granted_with_their_masking() {
    let model = read(CONTRACT);
    let masked = ["luong", "ghi_chu", "dia_chi.benh"].map(str::to_owned);
    let granted = model.datasets()[0].grant(&["ma".to_owned(), "luong".to_owned()], &masked).unwrap();
    assert_eq!(granted.ids.iter().collect::<Vec<_>>(), ["dia_chi.benh", "ghi_chu", "luong", "ma"]);
    assert_eq!(granted.masking["luong"], Masking::Partial, "masked wins over granted");
    assert_eq!(granted.masking["ghi_chu"], Masking::Hash);
    assert_eq!(granted.masking["dia_chi.benh"], Masking::Omit, "no masking declared: left out");
    assert!(granted.needs_hash_key());
}

#[test]
fn unknown_fields_are_errors() {
    let model = read(CONTRACT);
    for id in ["khong_co", "", "ma.x", "dia_chi.", ".ma", "MA", "dia_chi.tinh.x"] {
        for (granted, masked) in [(vec![id.to_owned()], vec![]), (vec![], vec![id.to_owned()])] {
            let error = model.datasets()[0].grant(&granted, &masked).unwrap_err();
            assert_eq!((error.id.as_str(), error.dataset.as_str()), (id, "thu.ho_so"));
        }
    }
    assert!(model.datasets()[0].grant(&[], &["*".to_owned()]).is_err(), "masking needs names");
}

#[test]
fn a_record_that_contains_itself_never_opens_what_it_hides() {
    let text = CONTRACT.replace("  string benh", "  HoSo cha_me = 3;\n  string benh");
    let model = read(&text);
    let granted = ["*", "dia_chi", "dia_chi.cha_me"].map(str::to_owned);
    let ids = model.datasets()[0].grant(&granted, &[]).unwrap().ids;
    assert!(!ids.iter().any(|id| id.contains("cha_me") || id == "dia_chi"), "{ids:?}");
}

#[test]
fn classes_of_a_later_version_are_the_strictest() {
    let vocabulary = proto::vocabulary()
        .replacen("SECRECY_TOP_SECRET = 4;", "SECRECY_TOP_SECRET = 4; SECRECY_LATER = 9;", 1)
        .replacen("PERSONAL_SENSITIVE = 3;", "PERSONAL_SENSITIVE = 3; PERSONAL_LATER = 9;", 1);
    let read = |text: &str| ContractModel::read(&proto::compile_with(text, &vocabulary)).unwrap();
    let model = read(&CONTRACT.replace(
        "label_vi: \"Lương\" personal: PERSONAL_SENSITIVE",
        "label_vi: \"Lương\" personal: PERSONAL_LATER",
    ));
    assert!(model.datasets()[0].fields()[1].is_sensitive() && !model.datasets()[0].is_secret());
    for secret in [
        CONTRACT.replace("secrecy: SECRECY_NONE", "secrecy: SECRECY_LATER"),
        CONTRACT.replace("label_vi: \"Lương\"", "label_vi: \"Lương\" secrecy: SECRECY_LATER"),
    ] {
        assert!(read(&secret).datasets()[0].is_secret());
    }
}

#[test]
fn an_edition_is_refused_with_a_word() {
    let set = |syntax: &str| {
        let file = FileDescriptorProto {
            name: Some("thu.proto".to_owned()),
            syntax: Some(syntax.to_owned()),
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    };
    for syntax in ["editions", "proto4", "proto3\0", ""] {
        let error = ContractModel::read(&set(syntax)).unwrap_err();
        assert!(error.to_string().starts_with("the file thu.proto is written in syntax"), "{error}");
    }
    for syntax in ["proto2", "proto3"] {
        assert!(ContractModel::read(&set(syntax)).is_ok());
    }
}

#[test]
fn what_is_no_contract_is_refused() {
    assert!(matches!(ContractModel::read(b"rubbish"), Err(ContractError::Malformed(_))));
    assert!(matches!(ContractModel::read(&vec![0; 2 << 20]), Err(ContractError::DescriptorSet(_))));
    assert!(ContractModel::read(b"").unwrap().datasets().is_empty());
    let wide =
        |fields: usize| (1..=fields).map(|n| format!("  string f{n} = {n};\n")).collect::<Vec<_>>().concat();
    let deep = CONTRACT
        .replace("message NoiSinh {", &format!("message Rong {{\n{}}}\nmessage NoiSinh {{", wide(510)))
        .replace("  string ma = 1 [", "  Rong a = 11;\n  Rong b = 12;\n  Rong c = 13;\n  string ma = 1 [");
    let error = ContractModel::read(&proto::compile(&deep)).unwrap_err();
    assert!(error.to_string().starts_with("the record vn.thu.v1.HoSo has more than 1024 fields"), "{error}");
}

proptest! {
    #[test]
    fn damaged_descriptors_are_read_or_refused_without_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = descriptors::DANHMUC.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = ContractModel::read(&bytes);
    }

    #[test]
    fn a_grant_never_holds_what_it_should_not(ids in prop::collection::vec("(\\*|ma|luong|dia_chi|dia_chi\\.tinh|dia_chi\\.benh|noi_sinh|noi_sinh\\.tinh|ghi_chu)", 0..6)) {
        static MODEL: LazyLock<ContractModel> = LazyLock::new(|| read(CONTRACT));
        let granted = MODEL.datasets()[0].grant(&ids, &[]).unwrap();
        for sensitive in ["luong", "dia_chi.benh"] {
            prop_assert_eq!(granted.covers(sensitive), ids.iter().any(|id| id == sensitive));
        }
        prop_assert!(!granted.covers("dia_chi") && !granted.covers("") && !granted.covers("*"));
    }
}

fn read(text: &str) -> ContractModel {
    ContractModel::read(&proto::compile(text)).unwrap()
}
