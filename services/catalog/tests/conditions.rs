//! Conditions on rows, guardrails and invariants: what they reach, what they refuse, and that nothing missing, broken or
//! hostile is ever allowed.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::sync::LazyLock;

use common::{CITIZENS, GET_CITIZEN, bundle, method, proto, question, right};
use lienthong_catalog::condition::RowScope;
use lienthong_catalog::{Permitted, Question, RightsIndex, decide};
use lienthong_proto::lienthong::control::v1::{Guardrail, Right, RightsBundle};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::reason::Reason;
use lienthong_proto::vn::dancu::v1::{Citizen, GetCitizenRequest};
use proptest::prelude::*;
use prost::Message as _;

const LIST_CITIZENS: &str = "/vn.dancu.v1.CitizenService/ListCitizens";

/// The citizens with one right to them, on this condition.
fn with_condition(condition: &str) -> RightsBundle {
    let mut bundle = bundle();
    let fields = &["so_dinh_danh", "ho_ten"];
    bundle.rights = vec![Right {
        condition: condition.to_owned(),
        ..right("CE-0001/x", CITIZENS, "H26.90", Purpose::StateManagement, fields)
    }];
    bundle
}

fn permitted(bundle: &RightsBundle, path: &str) -> Permitted {
    let index = RightsIndex::from_bundle(bundle).unwrap();
    assert!(index.problems().is_empty(), "{:?}", index.problems());
    let method = method(&index, path);
    decide(&index, &question(&method, "H26.90", "STATE_MANAGEMENT")).unwrap()
}

fn record_scope(condition: &str) -> RowScope {
    permitted(&with_condition(condition), GET_CITIZEN).record_scope().unwrap()
}

fn living_in(place: &str) -> Vec<u8> {
    Citizen { noi_thuong_tru: place.to_owned(), ..Citizen::default() }.encode_to_vec()
}

#[test]
fn a_record_is_judged_by_its_own_fields_and_the_consumer() {
    let scope = record_scope("context.record.noi_thuong_tru == principal.code");
    assert_eq!(scope.right(), "CE-0001/x");
    assert!(scope.admits(&living_in("H26.90")));
    for other in ["H26", "H260.90", "H26.900", "h26.90", " H26.90", ""] {
        assert!(!scope.admits(&living_in(other)), "{other:?}");
    }
    let within = record_scope("principal in Agency::\"H26\" && context.record.trang_thai == \"đang sống\"");
    let living = Citizen { trang_thai: "đang sống".to_owned(), ..Citizen::default() };
    assert!(within.admits(&living.encode_to_vec()));
    let border = record_scope("principal in Agency::\"H2\" && context.record.trang_thai == \"đang sống\"");
    assert!(!border.admits(&living.encode_to_vec()), "H26.90 stands below H26, not below H2");
}

#[test]
fn what_is_missing_broken_or_a_twin_allows_nothing() {
    // Each condition would be true of nearly everything, were what is missing something.
    for condition in [
        "context.record.noi_thuong_tru != \"Huế\"",
        "!(context.record.noi_thuong_tru like \"*Huế\")",
        "context.record.noi_thuong_tru == \"Huế\" || true",
    ] {
        let scope = record_scope(condition);
        assert!(!scope.admits(&[]), "{condition}: no field at all");
        assert!(!scope.admits(&living_in("")), "{condition}: an empty text");
        // "ế" as letter and marks: a reader's twin of the composed form.
        assert!(!scope.admits(&living_in("Hue\u{302}\u{301}")), "{condition}: not in NFC");
        assert!(!scope.admits(&[0x42, 2, 0xff, 0xfe]), "{condition}: not UTF-8");
        assert!(!scope.admits(&[0x42, 9, b'H']), "{condition}: cut short");
        assert!(!scope.admits(&[0x40, 1]), "{condition}: another wire type");
    }
    let scope = record_scope("context.record.noi_thuong_tru != \"Huế\"");
    assert!(scope.admits(&living_in("Đà Nẵng")) && !scope.admits(&living_in("Huế")));
}

#[test]
fn the_last_of_a_repeated_field_counts() {
    let scope = record_scope("context.record.noi_thuong_tru == \"Huế\"");
    let (hue, other) = (living_in("Huế"), living_in("Đà Nẵng"));
    assert!(scope.admits(&[other.clone(), hue.clone()].concat()));
    assert!(!scope.admits(&[hue, other].concat()));
}

#[test]
fn a_request_is_judged_and_a_method_without_the_field_is_denied() {
    let bundle = with_condition("context.request.ma_dvhc == \"00004\"");
    let scope = permitted(&bundle, LIST_CITIZENS).request_scope().unwrap();
    let asking = |commune: &str| {
        lienthong_proto::vn::dancu::v1::ListCitizensRequest {
            ma_dvhc: commune.to_owned(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    assert!(scope.admits(&asking("00004")));
    assert!(!scope.admits(&asking("00008")) && !scope.admits(&asking("")) && !scope.admits(&[]));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let denial = decide(&index, &question(&get, "H26.90", "STATE_MANAGEMENT")).unwrap_err();
    assert_eq!((denial.reason, denial.rule), (Reason::DenyRowScope, "R-24"));
}

#[test]
fn a_right_whose_condition_cannot_be_judged_is_none() {
    for condition in [
        "context.record.khong_co == 1",
        "context.record.ho_ten == 1 &&",
        "context.record.cap_nhat_luc == \"x\"",
        "context.record.ho_ten == 7",
        "context.record.ho_ten == context.request.so_dinh_danh",
    ] {
        let index = RightsIndex::from_bundle(&with_condition(condition)).unwrap();
        assert!(index.problems()[0].contains("cannot be judged"), "{condition}: {:?}", index.problems());
        let get = method(&index, GET_CITIZEN);
        let denial = decide(&index, &question(&get, "H26.90", "STATE_MANAGEMENT")).unwrap_err();
        assert_eq!(denial.reason, Reason::DenyNotEntitled, "{condition}");
    }
}

#[test]
fn a_right_without_a_condition_is_preferred() {
    let mut bundle = with_condition("context.record.noi_thuong_tru == \"Huế\"");
    let fields = &["so_dinh_danh", "ho_ten"];
    bundle.rights.push(right("CE-0009/y", CITIZENS, "H26.90", Purpose::StateManagement, fields));
    let unbound = permitted(&bundle, GET_CITIZEN);
    assert_eq!((unbound.right_id(), unbound.condition()), ("CE-0009/y", ""));
    assert!(unbound.record_scope().is_none() && unbound.request_scope().is_none());
    // Asked for a field that only the bound right grants, the bound one decides.
    bundle.rights[0].fields.push("que_quan".to_owned());
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "STATE_MANAGEMENT");
    let bound = decide(&index, &Question { requested_fields: Some(vec!["que_quan"]), ..asked }).unwrap();
    assert_eq!(bound.right_id(), "CE-0001/x");
    assert!(bound.record_scope().is_some() && !bound.is_bound_as(&unbound));
}

fn with_guardrail(policy: &str) -> RightsBundle {
    let mut bundle = with_condition("");
    bundle.datasets[0].guardrails.push("GR-0001".to_owned());
    bundle.guardrails.push(Guardrail {
        id: "GR-0001".to_owned(),
        name_vi: "Thử".to_owned(),
        policy: policy.to_owned(),
    });
    bundle
}

#[test]
fn a_guardrail_forbids_what_every_right_grants_and_its_error_denies() {
    let dead = "forbid (principal, action, resource) when { context.record.trang_thai == \"đã chết\" };";
    let scope = permitted(&with_guardrail(dead), GET_CITIZEN).record_scope().unwrap();
    let person =
        |status: &str| Citizen { trang_thai: status.to_owned(), ..Citizen::default() }.encode_to_vec();
    assert!(scope.admits(&person("đang sống")) && !scope.admits(&person("đã chết")));
    assert!(!scope.admits(&person("")), "Cedar passes over a prohibition that errs; this house does not");

    let call = "forbid (principal, action == Action::\"STATE_MANAGEMENT\", resource) unless { context has dossier };";
    let bundle = with_guardrail(call);
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "STATE_MANAGEMENT");
    let message = GetCitizenRequest { so_dinh_danh: "999190000001".to_owned() }.encode_to_vec();
    let with = decide(&index, &asked).unwrap().request_scope().unwrap();
    let without = decide(&index, &Question { dossier: None, ..asked }).unwrap().request_scope().unwrap();
    assert!(with.admits(&message) && !without.admits(&message));
}

#[test]
fn a_dataset_without_its_guardrail_is_shared_with_nobody() {
    for break_it in [
        |bundle: &mut RightsBundle| bundle.guardrails.clear(),
        |bundle: &mut RightsBundle| bundle.guardrails[0].policy = "forbid".to_owned(),
    ] {
        let mut bundle = with_guardrail("forbid (principal, action, resource);");
        break_it(&mut bundle);
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        assert!(
            index.problems().iter().any(|problem| problem.contains("guardrail")),
            "{:?}",
            index.problems()
        );
        assert!(matches!(index.method(GET_CITIZEN, None), lienthong_catalog::Resolution::Unknown));
    }
}

/// Every kind of field that a condition may name.
const KINDS: &str = r#"
syntax = "proto3";
package vn.thu.v1;
import "lienthong/options/v1/options.proto";
service ThuService {
  rpc Get(GetRequest) returns (GetResponse) {
    option (lienthong.options.v1.exchange) = {dataset: "thu.ho_so" kind: METHOD_KIND_QUERY};
  }
}
enum Loai { LOAI_UNSPECIFIED = 0; LOAI_MOT = 1; }
message HoSo {
  option (lienthong.options.v1.dataset) = {
    id: "thu.ho_so" name_vi: "Hồ sơ thử" key_fields: "ma" sharing: SHARING_SHARED
    importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_NONE
  };
  string ma = 1 [(lienthong.options.v1.field) = {label_vi: "Mã"}];
  int64 so = 2 [(lienthong.options.v1.field) = {label_vi: "Số"}];
  bool khoa = 3 [(lienthong.options.v1.field) = {label_vi: "Khóa"}];
  Loai loai = 4 [(lienthong.options.v1.field) = {label_vi: "Loại"}];
  repeated sint32 nhom = 5 [(lienthong.options.v1.field) = {label_vi: "Nhóm"}];
  optional fixed32 muc = 6 [(lienthong.options.v1.field) = {label_vi: "Mức"}];
  DiaChi dia_chi = 7 [(lienthong.options.v1.field) = {label_vi: "Địa chỉ"}];
}
message DiaChi { string tinh = 1 [(lienthong.options.v1.field) = {label_vi: "Tỉnh"}]; }
message GetRequest { string ma = 1; }
message GetResponse { HoSo ho_so = 1 [(lienthong.options.v1.record) = true]; }
"#;
static KINDS_SET: LazyLock<Vec<u8>> = LazyLock::new(|| proto::compile(KINDS));

fn kinds_scope(condition: &str) -> RowScope {
    let mut bundle = bundle();
    bundle.contracts = vec![common::contract("G01", &KINDS_SET)];
    bundle.datasets = vec![common::dataset("thu.ho_so", "G01")];
    bundle.rights = vec![Right {
        condition: condition.to_owned(),
        ..right("x", ("thu.ho_so", "G01"), "H26.90", Purpose::StateManagement, &["*"])
    }];
    permitted(&bundle, "/vn.thu.v1.ThuService/Get").record_scope().unwrap()
}

#[test]
fn numbers_flags_words_lists_and_messages_are_compared() {
    let hits = |condition: &str, record: &[u8]| kinds_scope(condition).admits(record);
    assert!(hits(
        "context.record.so == -1",
        &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]
    ));
    assert!(hits("context.record.so == 0", &[]), "a number without presence is zero, not missing");
    assert!(hits("!context.record.khoa", &[]) && !hits("context.record.khoa", &[]));
    assert!(hits("context.record.khoa", &[0x18, 1]));
    assert!(hits("context.record.loai == \"LOAI_MOT\"", &[0x20, 1]));
    assert!(!hits("context.record.loai != \"LOAI_MOT\"", &[]), "a word that says nothing is missing");
    assert!(!hits("context.record.loai != \"LOAI_MOT\"", &[0x20, 9]), "so is one that nobody knows");
    assert!(hits("context.record.nhom.contains(-2)", &[0x2a, 2, 3, 5]), "packed");
    assert!(hits("context.record.nhom.contains(-2)", &[0x28, 5, 0x28, 3]), "one by one");
    assert!(hits("context.record.nhom.isEmpty()", &[]));
    assert!(!hits("context.record.muc >= 0", &[]), "a number with presence can be missing");
    assert!(hits("context.record.muc == 7", &[0x35, 7, 0, 0, 0]));
    assert!(hits("context.record.dia_chi.tinh == \"01\"", &[0x3a, 4, 0x0a, 2, b'0', b'1']));
    let parts = [0x3a, 4, 0x0a, 2, b'0', b'1', 0x3a, 0];
    assert!(hits("context.record.dia_chi.tinh == \"01\"", &parts), "parts of a message merge");
    assert!(!hits("context.record.dia_chi.tinh != \"01\"", &[]), "nor is a field of a missing message there");
    assert!(hits("!(context.record has dia_chi.tinh)", &[]), "who asks whether it is there is told");
    let long: Vec<u8> = (0..1025).flat_map(|_| [0x28, 5]).collect();
    assert!(!hits("context.record.nhom.contains(-3) || true", &long), "a list beyond its bound is missing");
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        static SCOPE: LazyLock<RowScope> = LazyLock::new(|| kinds_scope(
            "context.record.so > 3 && context.record.dia_chi.tinh like \"0*\" && context.record.nhom.contains(1)",
        ));
        let _ = SCOPE.admits(&bytes);
    }

    /// Cedar is asked by its own values, the scope by bytes on the wire: they agree.
    #[test]
    fn the_wire_says_what_the_values_say(text in "[a-dắ]{0,3}", number in -3i64..4, flag: bool) {
        static SCOPE: LazyLock<RowScope> = LazyLock::new(|| kinds_scope(
            "context.record.ma like \"a*\" || (context.record.so > 1 && context.record.khoa)",
        ));
        let mut record = Vec::new();
        prost::encoding::string::encode(1, &text, &mut record);
        prost::encoding::int64::encode(2, &number, &mut record);
        prost::encoding::bool::encode(3, &flag, &mut record);
        let expected = !text.is_empty() && (text.starts_with('a') || (number > 1 && flag));
        prop_assert_eq!(SCOPE.admits(&record), expected);
    }
}
