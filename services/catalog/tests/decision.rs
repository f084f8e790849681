//! Every outcome of a decision, one row each, and the edges between them.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{
    CITIZENS, GET_CITIZEN, GET_ENTERPRISE, GET_UNIT, NOW, SYNC_CITIZENS, VERIFY, bundle, index, method,
    proto, question, right, timestamp,
};
use lienthong_catalog::{Question, Resolution, RightsIndex, decide};
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::Right;
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose, ReleaseGate};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use time::macros::datetime;

#[test]
fn scenario_one_grants_three_fields() {
    let index = index();
    let get = method(&index, GET_CITIZEN);
    let permitted = decide(&index, &question(&get, "H26.90", "ADMIN_PROCEDURE")).unwrap();
    assert_eq!(permitted.grant(), "CE-0001/H26.90/ADMIN_PROCEDURE@7");
    let fields: BTreeSet<&str> = permitted.fields().collect();
    assert_eq!(fields, BTreeSet::from(["so_dinh_danh", "ho_ten", "noi_thuong_tru"]));
    assert_eq!(permitted.release_gate(), ReleaseGate::Journal);
    assert_eq!(permitted.legal_basis(), ["278/2025/NĐ-CP, Điều 8"]);
    assert_eq!((permitted.provider(), permitted.consumer().code.as_str()), ("G01", "H26.90"));
    assert!(permitted.has_no_side_effects());

    let one =
        Question { requested_fields: Some(vec!["ho_ten"]), ..question(&get, "H26.90", "ADMIN_PROCEDURE") };
    let permitted = decide(&index, &one).unwrap();
    assert_eq!(permitted.fields().collect::<Vec<_>>(), ["ho_ten"]);
    let again = decide(&index, &one).unwrap();
    assert!(std::sync::Arc::ptr_eq(permitted.plan(), again.plan()), "the plan of a subset is made once");
}

#[test]
fn open_data_is_for_any_purpose_and_every_agency() {
    let index = index();
    let get = method(&index, GET_UNIT);
    for purpose in ["STATISTICS", "ADMIN_PROCEDURE", "PUBLIC_SERVICE"] {
        assert_eq!(decide(&index, &question(&get, "H29", purpose)).unwrap().right_id(), "CE-0013/OPEN");
    }
}

/// Path, consumer, purpose, what else differs from a question that is allowed; reason, rule, words of the detail.
type Row =
    (&'static str, &'static str, &'static str, fn(&mut Question<'_>), Reason, &'static str, &'static str);

#[rustfmt::skip]
static DENIALS: &[Row] = &[
    (GET_CITIZEN, "9900000099", "ADMIN_PROCEDURE", |_| {}, Reason::DenyNotEntitled, "R-15", "no party outside"),
    (GET_UNIT, "9900000099", "COMMERCIAL", |_| {}, Reason::DenyNotEntitled, "R-15", "no party outside"),

    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.clock_behind = true, Reason::DenyClock, "design", ""),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.rights_age = Duration::from_millis(86_400_001), Reason::DenyRightsStale, "design", "this dataset allows 86400 s"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.min_epoch = 8, Reason::DenyEpoch, "design", "epoch 7, the call demands 8"),

    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.purpose = None, Reason::DenyPurpose, "R-24", "missing"),
    (GET_CITIZEN, "H26.90", "", |_| {}, Reason::DenyPurpose, "R-24", "none of the known"),
    (GET_CITIZEN, "H26.90", "TRADE", |_| {}, Reason::DenyPurpose, "R-24", "none of the known"),
    (GET_UNIT, "H26.90", "ANY", |_| {}, Reason::DenyPurpose, "R-24", "none of the known"),
    (GET_CITIZEN, "H26.90", "COMMERCIAL", |_| {}, Reason::DenyCommercial, "R-29", ""),
    (GET_UNIT, "H26.90", "COMMERCIAL", |_| {}, Reason::DenyCommercial, "R-29", ""),

    (GET_CITIZEN, "G12.90", "ADMIN_PROCEDURE", |_| {}, Reason::DenyNotEntitled, "R-01", ""),
    (GET_CITIZEN, "H26", "ADMIN_PROCEDURE", |_| {}, Reason::DenyNotEntitled, "R-01", ""),
    (GET_CITIZEN, "", "ADMIN_PROCEDURE", |_| {}, Reason::DenyNotEntitled, "R-01", ""),
    (GET_UNIT, "H30", "STATISTICS", |_| {}, Reason::DenyNotEntitled, "R-01", ""),
    (GET_UNIT, "", "STATISTICS", |_| {}, Reason::DenyNotEntitled, "R-01", ""),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.system = Some("agencies/G12.90/systems/thue"), Reason::DenyCertificate, "R-34", "no such system"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.system = Some("agencies/H26.90/systems/x"), Reason::DenyCertificate, "R-34", "no such system"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.system = Some(""), Reason::DenyCertificate, "R-34", "no such system"),
    (GET_CITIZEN, "H26.90", "PUBLIC_SERVICE", |_| {}, Reason::DenyPurpose, "R-24", "PUBLIC_SERVICE is not granted; granted: ADMIN_PROCEDURE, STATISTICS, DISPUTE_AUDIT"),

    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.dossier = None, Reason::DenyContext, "R-24", "mesh-dossier is missing"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.dossier = Some("999190000001"), Reason::DenyContext, "R-24", "<agency_code>-YYMMDD-NNNN"),
    (VERIFY, "H26.90", "VERIFICATION", |q| q.dossier = Some("x"), Reason::DenyContext, "R-24", "<agency_code>-YYMMDD-NNNN"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.user = Some("u-999190000001"), Reason::DenyContext, "R-24", "12 digits"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.user = Some("９９９１９０００００００１"), Reason::DenyContext, "R-24", "12 digits"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.user = Some(""), Reason::DenyContext, "R-24", "1 to 64"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.user = Some("a\nb"), Reason::DenyContext, "R-24", "1 to 64"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.user = Some("ộ1234567890ộ1234567890ộ1234567890ộ1234567890ộ1234567890ộ1234567890"), Reason::DenyContext, "R-24", "1 to 64"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec![]), Reason::DenyContext, "R-24", "names no field"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec!["ho_ten"; 257]), Reason::DenyContext, "R-24", "more than 256"),

    (GET_CITIZEN, "H26.90", "STATISTICS", |_| {}, Reason::DenyExpiredRight, "R-09", "to 2026-11-20T00:00:00Z"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.now = datetime!(2026-10-31 23:59:59.999 UTC), Reason::DenyExpiredRight, "R-09", "from 2026-11-01T00:00:00Z"),
    (GET_CITIZEN, "H26.90", "DISPUTE_AUDIT", |_| {}, Reason::DenySuspended, "R-04", ""),
    (SYNC_CITIZENS, "H26.90", "ADMIN_PROCEDURE", |_| {}, Reason::DenyMethod, "R-02", "SYNC_TO_NATIONAL_DB is not granted; granted: QUERY"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.system = Some("agencies/H26.90/systems/cu"), Reason::DenySecurityLevel, "R-30", "consumer's level is below 2"),
    (GET_ENTERPRISE, "G12.90", "STATE_MANAGEMENT", |_| {}, Reason::DenySecurityLevel, "R-30", "provider's level is below 2"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec!["ho_ten", "tinh_trang_hon_nhan"]), Reason::DenyField, "R-25", "tinh_trang_hon_nhan is not granted for ADMIN_PROCEDURE; granted: ho_ten, noi_thuong_tru, so_dinh_danh"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec!["khong_co"]), Reason::DenyField, "R-25", "khong_co is not granted"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec!["*"]), Reason::DenyField, "R-25", "* is not granted"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec![""]), Reason::DenyField, "R-25", " is not granted"),
    (GET_CITIZEN, "H26.90", "ADMIN_PROCEDURE", |q| q.requested_fields = Some(vec!["ho_ten.x"]), Reason::DenyField, "R-25", "ho_ten.x is not granted"),
];

#[test]
fn each_denial_has_its_reason_its_rule_and_its_words() {
    let index = index();
    for (path, consumer, purpose, change, reason, rule, words) in DENIALS {
        let method = method(&index, path);
        let mut asked = question(&method, consumer, purpose);
        change(&mut asked);
        let Err(denial) = decide(&index, &asked) else { panic!("{consumer} {path} {purpose} is allowed") };
        assert_eq!(denial.reason, *reason, "{consumer} {path} {purpose}: {denial}");
        assert!(denial.rule.starts_with(rule), "{denial:?}");
        assert!(denial.detail.contains(words), "{denial:?} does not say {words}");
    }
    let covered: BTreeSet<&str> = DENIALS.iter().map(|row| row.4.name()).collect();
    let elsewhere = ["DENY_BROKER_UNREACHABLE", "DENY_STATE_SECRET", "DENY_UNKNOWN_METHOD"];
    assert_eq!(covered.len() + elsewhere.len(), 16, "every reason that a decision can end in has a test");
}

#[test]
fn a_stranger_learns_nothing() {
    let index = index();
    let get = method(&index, GET_CITIZEN);
    for consumer in ["G12.90", "H30", "9900000099"] {
        let error = MeshError::from(decide(&index, &question(&get, consumer, "PUBLIC_SERVICE")).unwrap_err());
        for secret in ["CE-", "H26", "ADMIN", "STATISTICS", "so_dinh_danh", "ho_ten"] {
            assert!(!error.detail.contains(secret) && !error.rule.contains(secret), "{error:?}");
        }
    }
}

#[test]
fn a_denial_on_the_way_out_names_rule_and_right() {
    let index = index();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "STATISTICS");
    let error = MeshError::from(decide(&index, &asked).unwrap_err());
    assert_eq!(error.rule, "R-09, CE-0001/H26.90/STATISTICS");
}

#[test]
fn state_secrets_are_denied_to_everybody() {
    let public = proto::sample("vn/dancu/v1/citizen.proto");
    let dataset = public.replacen("secrecy: SECRECY_NONE", "secrecy: SECRECY_CONFIDENTIAL", 1);
    let field =
        public.replacen("label_vi: \"Giới tính\"", "label_vi: \"Giới tính\" secrecy: SECRECY_TOP_SECRET", 1);
    for secret in [dataset, field] {
        assert_ne!(secret, public);
        let mut bundle = bundle();
        bundle.contracts[0].descriptor_set = proto::compile(&secret).into();
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        let get = method(&index, GET_CITIZEN);
        for consumer in ["H26.90", "G01", "G12.90"] {
            let denial = decide(&index, &question(&get, consumer, "ADMIN_PROCEDURE")).unwrap_err();
            assert_eq!((denial.reason, denial.rule), (Reason::DenyStateSecret, "R-21"));
        }
        let callable = index.callable_methods("H26.90", None, NOW);
        assert!(callable.iter().all(|method| method.dataset != "dancu.cong_dan"));
        assert!(index.shared_datasets("G01").iter().all(|dataset| dataset.id != "dancu.cong_dan"));
    }
}

#[test]
fn data_without_declared_secrecy_is_not_served() {
    let text = proto::sample("vn/dancu/v1/citizen.proto").replacen("secrecy: SECRECY_NONE", "", 1);
    let mut bundle = bundle();
    bundle.contracts[0].descriptor_set = proto::compile(&text).into();
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    assert!(index.problems()[0].contains("R-22"), "{:?}", index.problems());
    assert!(matches!(index.method(GET_CITIZEN, None), Resolution::Unknown));
}

#[test]
fn online_datasets_are_decided_by_the_broker_alone() {
    let mut bundle = bundle();
    bundle.datasets[0].decision_mode = DecisionMode::Online.into();
    bundle.datasets[0].bundle_age_max = Some(prost_types::Duration::default());
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    assert!(decide(&index, &asked).is_ok(), "the broker's own rights have no age");
    let aged = Question { rights_age: Duration::from_nanos(1), ..asked };
    assert_eq!(decide(&index, &aged).unwrap_err().reason, Reason::DenyBrokerUnreachable);
}

#[test]
fn an_age_that_is_missing_or_negative_is_none() {
    for age in [None, Some(prost_types::Duration { seconds: -1, nanos: 0 })] {
        let mut bundle = bundle();
        bundle.datasets[0].bundle_age_max = age;
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        let get = method(&index, GET_CITIZEN);
        let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
        let aged = Question { rights_age: Duration::from_nanos(1), ..asked };
        assert_eq!(decide(&index, &aged).unwrap_err().reason, Reason::DenyRightsStale);
    }
}

#[test]
fn validity_begins_and_ends_to_the_nanosecond() {
    let mut bundle = bundle();
    bundle.rights[0].valid_from = Some(timestamp(NOW));
    bundle.rights[0].valid_to = Some(timestamp(NOW + Duration::from_nanos(2)));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let at = |now| decide(&index, &Question { now, ..question(&get, "H26.90", "ADMIN_PROCEDURE") }).is_ok();
    assert!(!at(NOW - Duration::from_nanos(1)));
    assert!(at(NOW));
    assert!(at(NOW + Duration::from_nanos(1)));
    assert!(!at(NOW + Duration::from_nanos(2)));
}

#[test]
fn a_right_of_one_system_is_no_right_of_the_others() {
    let mut bundle = bundle();
    bundle.rights[0].system = "agencies/H26.90/systems/mot-cua".into();
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    let by = |system| decide(&index, &Question { system, ..asked.clone() });
    assert!(by(Some("agencies/H26.90/systems/mot-cua")).is_ok());
    for system in [None, Some("agencies/H26.90/systems/cu")] {
        let denial = by(system).unwrap_err();
        assert_eq!(denial.reason, Reason::DenyPurpose);
        assert_eq!(denial.detail, "ADMIN_PROCEDURE is not granted; granted: STATISTICS, DISPUTE_AUDIT");
    }
}

#[test]
fn several_rights_are_tried_and_the_farthest_names_the_denial() {
    let mut bundle = bundle();
    let more = |id, change: fn(&mut Right)| {
        let mut right =
            right(id, CITIZENS, "H26.90", Purpose::AdminProcedure, &["so_dinh_danh", "ngay_sinh"]);
        change(&mut right);
        right
    };
    bundle.rights[0].suspended = true;
    bundle.rights.push(more("A", |right| right.valid_to = right.valid_from));
    bundle.rights.push(more("B", |right| {
        right.methods = vec![MethodKind::SyncToConsumer.into()];
    }));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let denial = decide(&index, &question(&get, "H26.90", "ADMIN_PROCEDURE")).unwrap_err();
    assert_eq!((denial.reason, denial.right.as_deref()), (Reason::DenyMethod, Some("B")));

    bundle.rights.push(more("C", |_| {}));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    assert_eq!(decide(&index, &asked).unwrap().right_id(), "C");
    let named = Question { requested_fields: Some(vec!["ho_ten"]), ..asked };
    let denial = decide(&index, &named).unwrap_err();
    assert_eq!((denial.reason, denial.right.as_deref()), (Reason::DenyField, Some("C")));
}

#[test]
fn a_default_purpose_counts_for_harmless_data_alone() {
    const SYSTEM: &str = "agencies/H26.90/systems/mot-cua";
    let mut bundle = bundle();
    bundle.systems[0].default_purpose = Purpose::Statistics.into();
    bundle.rights.push(right("CE-0001/STATISTICS", CITIZENS, "H26.90", Purpose::Statistics, &["ho_ten"]));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let (units, citizens) = (method(&index, GET_UNIT), method(&index, GET_CITIZEN));
    let ask = |method, purpose, purpose_source, system| {
        let question = Question { purpose, purpose_source, system, ..question(method, "H26.90", "") };
        decide(&index, &question)
    };
    let (caller, default) = (PurposeSource::Caller, PurposeSource::Default);
    for stated in [(None, caller), (None, default), (Some("STATISTICS"), default)] {
        let permitted = ask(&units, stated.0, stated.1, Some(SYSTEM)).unwrap();
        assert_eq!((permitted.purpose(), permitted.purpose_source()), (Purpose::Statistics, default));
    }
    let stated = ask(&units, Some("STATISTICS"), caller, Some(SYSTEM)).unwrap();
    assert_eq!((stated.purpose(), stated.purpose_source()), (Purpose::Statistics, caller));
    let other = ask(&units, Some("VERIFICATION"), caller, Some(SYSTEM)).unwrap();
    assert_eq!((other.purpose(), other.purpose_source()), (Purpose::Verification, caller));

    for (method, purpose, source, system, words) in [
        (&citizens, None, caller, Some(SYSTEM), "does not count for personal, core or important data"),
        (&citizens, Some("STATISTICS"), default, Some(SYSTEM), "does not count"),
        (&units, Some("VERIFICATION"), default, Some(SYSTEM), "the registry has not this one"),
        (&units, Some("STATISTICS"), default, Some("agencies/H26.90/systems/cu"), "the registry has not"),
        (&units, Some("STATISTICS"), default, None, "the registry has not this one"),
        (&units, Some(""), default, Some(SYSTEM), "none of the known"),
        (&units, None, caller, Some("agencies/H26.90/systems/cu"), "mesh-purpose is missing"),
        (&units, None, caller, Some("agencies/G12.90/systems/thue"), "mesh-purpose is missing"),
        (&units, None, caller, None, "mesh-purpose is missing"),
    ] {
        let denial = ask(method, purpose, source, system).unwrap_err();
        assert_eq!(denial.reason, Reason::DenyPurpose, "{denial}");
        assert!(denial.detail.contains(words), "{denial} does not say {words}");
    }
    let shown = |method, consumer, system| index.default_purpose(method, consumer, system);
    assert_eq!(shown(&units, "H26.90", SYSTEM), Some(Purpose::Statistics));
    assert_eq!(shown(&citizens, "H26.90", SYSTEM), None);
    assert_eq!(shown(&units, "H29", SYSTEM), None);
}

#[test]
fn only_data_without_any_class_takes_a_default_purpose() {
    let units = proto::sample("vn/danhmuc/v1/administrative_unit.proto");
    let labelled = "label_vi: \"Tên tiếng Anh\"";
    assert_eq!(units.matches("personal: PERSONAL_NONE").count(), 1);
    for (old, new, takes) in [
        ("personal: PERSONAL_NONE", "personal: PERSONAL_NONE", true),
        ("personal: PERSONAL_NONE", "personal: PERSONAL_BASIC", false),
        ("importance: IMPORTANCE_OTHER", "importance: IMPORTANCE_IMPORTANT", false),
        ("importance: IMPORTANCE_OTHER", "importance: IMPORTANCE_CORE", false),
        (labelled, "label_vi: \"Tên tiếng Anh\" personal: PERSONAL_BASIC", false),
    ] {
        assert!(units.contains(old), "{old}");
        let model =
            lienthong_catalog::ContractModel::read(&proto::compile(&units.replacen(old, new, 1))).unwrap();
        assert_eq!(model.datasets()[0].takes_default_purpose(), takes, "{new}");
    }
}

#[test]
fn a_default_that_needs_a_statement_is_left_out() {
    for purpose in [Purpose::AdminProcedure as i32, Purpose::Commercial as i32, 99] {
        let mut bundle = bundle();
        bundle.systems[0].default_purpose = purpose;
        let index = RightsIndex::from_bundle(&bundle).unwrap();
        assert!(index.problems()[0].contains("agencies/H26.90/systems/mot-cua"), "{:?}", index.problems());
        let units = method(&index, GET_UNIT);
        let system = Some("agencies/H26.90/systems/mot-cua");
        let asked = Question { purpose: None, system, ..question(&units, "H26.90", "") };
        assert_eq!(decide(&index, &asked).unwrap_err().detail, "mesh-purpose is missing");
    }
}

#[test]
fn a_method_of_an_older_bundle_is_found_anew_or_denied() {
    let old = index();
    let get = method(&old, GET_CITIZEN);
    let mut newer = bundle();
    newer.datasets.rotate_left(1);
    newer.epoch = 8;
    let new = RightsIndex::from_bundle(&newer).unwrap();
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    assert_eq!(decide(&new, &asked).unwrap().grant(), "CE-0001/H26.90/ADMIN_PROCEDURE@8");
    newer.contracts.retain(|contract| contract.provider != "G01");
    let without = RightsIndex::from_bundle(&newer).unwrap();
    assert!(!without.problems().is_empty());
    assert_eq!(decide(&without, &asked).unwrap_err().reason, Reason::DenyUnknownMethod);
}
