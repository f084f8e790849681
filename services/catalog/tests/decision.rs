//! Every outcome of a decision, one row each.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{
    GET_CITIZEN, GET_ENTERPRISE, GET_UNIT, NOW, SYNC_CITIZENS, VERIFY, bundle, index, method, question,
};
use lienthong_catalog::{Question, RightsIndex, decide};
use lienthong_proto::lienthong::options::v1::{DecisionMode, ReleaseGate};
use lienthong_proto::reason::Reason;

#[test]
fn scenario_one_grants_three_fields() {
    let index = index();
    let get = method(&index, GET_CITIZEN);
    let permitted = decide(&index, &question(&get, "H26.90", "ADMIN_PROCEDURE")).unwrap();
    assert_eq!(permitted.grant(), "CE-0001/H26.90/ADMIN_PROCEDURE@7");
    let fields: BTreeSet<&str> = permitted.fields().collect();
    assert_eq!(
        fields,
        BTreeSet::from(["so_dinh_danh", "ho_ten", "noi_thuong_tru"])
    );
    assert_eq!(permitted.release_gate(), ReleaseGate::Journal);
    assert_eq!(permitted.legal_basis(), ["278/2025/NĐ-CP, Điều 8"]);
    assert!(permitted.has_no_side_effects());

    let one = Question {
        requested_fields: Some(vec!["ho_ten"]),
        ..question(&get, "H26.90", "ADMIN_PROCEDURE")
    };
    assert_eq!(
        decide(&index, &one).unwrap().fields().collect::<Vec<_>>(),
        ["ho_ten"]
    );
}

#[test]
fn open_data_is_for_any_purpose_and_every_agency() {
    let index = index();
    let get = method(&index, GET_UNIT);
    for purpose in ["STATISTICS", "ADMIN_PROCEDURE", "PUBLIC_SERVICE"] {
        assert_eq!(
            decide(&index, &question(&get, "H29", purpose))
                .unwrap()
                .right_id(),
            "CE-0013/OPEN"
        );
    }
}

/// What differs from a question that is allowed.
type Change = fn(&mut Question<'_>);

#[test]
fn each_denial_has_its_reason_its_rule_and_its_words() {
    let index = index();
    let rows: &[(&str, &str, &str, Change, Reason, &str, &str)] = &[
        (
            GET_CITIZEN,
            "9900000099",
            "ADMIN_PROCEDURE",
            |_| {},
            Reason::DenyNotEntitled,
            "R-15",
            "no party outside",
        ),
        (
            GET_UNIT,
            "9900000099",
            "COMMERCIAL",
            |_| {},
            Reason::DenyNotEntitled,
            "R-15",
            "no party outside",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.clock_behind = true,
            Reason::DenyClock,
            "design",
            "",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.rights_age = Duration::from_secs(86_401),
            Reason::DenyRightsStale,
            "design",
            "86401 s ago; this dataset allows 86400 s",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.min_epoch = 8,
            Reason::DenyEpoch,
            "design",
            "epoch 7, the call demands 8",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.purpose = None,
            Reason::DenyPurpose,
            "R-24",
            "missing",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "TRADE",
            |_| {},
            Reason::DenyPurpose,
            "R-24",
            "none of the known",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "COMMERCIAL",
            |_| {},
            Reason::DenyCommercial,
            "R-29",
            "",
        ),
        (
            GET_CITIZEN,
            "G12.90",
            "ADMIN_PROCEDURE",
            |_| {},
            Reason::DenyNotEntitled,
            "R-01",
            "",
        ),
        (
            GET_CITIZEN,
            "H26",
            "ADMIN_PROCEDURE",
            |_| {},
            Reason::DenyNotEntitled,
            "R-01",
            "",
        ),
        (
            GET_UNIT,
            "H30",
            "STATISTICS",
            |_| {},
            Reason::DenyNotEntitled,
            "R-01",
            "",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.system = Some("agencies/G12.90/systems/thue"),
            Reason::DenyCertificate,
            "R-34",
            "no such system",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.system = Some("agencies/H26.90/systems/x"),
            Reason::DenyCertificate,
            "R-34",
            "no such system",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "PUBLIC_SERVICE",
            |_| {},
            Reason::DenyPurpose,
            "R-24",
            "PUBLIC_SERVICE is not granted; granted: ADMIN_PROCEDURE, STATISTICS, DISPUTE_AUDIT",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.dossier = None,
            Reason::DenyContext,
            "R-24",
            "mesh-dossier is missing",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.dossier = Some("999190000001"),
            Reason::DenyContext,
            "R-24",
            "<agency_code>-YYMMDD-NNNN",
        ),
        (
            VERIFY,
            "H26.90",
            "VERIFICATION",
            |q| q.dossier = Some("x"),
            Reason::DenyContext,
            "R-24",
            "<agency_code>-YYMMDD-NNNN",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.user = Some("u-999190000001"),
            Reason::DenyContext,
            "R-24",
            "12 digits",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.user = Some("９９９１９０００００００１"),
            Reason::DenyContext,
            "R-24",
            "12 digits",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.user = Some(""),
            Reason::DenyContext,
            "R-24",
            "1 to 64",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.requested_fields = Some(vec![]),
            Reason::DenyContext,
            "R-24",
            "names no field",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.requested_fields = Some(vec!["ho_ten"; 257]),
            Reason::DenyContext,
            "R-24",
            "more than 256",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "STATISTICS",
            |_| {},
            Reason::DenyExpiredRight,
            "R-09",
            "to 2026-11-20T00:00:00Z",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.now = time::macros::datetime!(2026-10-31 23:59:59.999 UTC),
            Reason::DenyExpiredRight,
            "R-09",
            "from 2026-11-01T00:00:00Z",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "DISPUTE_AUDIT",
            |_| {},
            Reason::DenySuspended,
            "R-04",
            "",
        ),
        (
            SYNC_CITIZENS,
            "H26.90",
            "ADMIN_PROCEDURE",
            |_| {},
            Reason::DenyMethod,
            "R-02",
            "SYNC_TO_NATIONAL_DB is not granted; granted: QUERY",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.system = Some("agencies/H26.90/systems/cu"),
            Reason::DenySecurityLevel,
            "R-30",
            "consumer's level is below 2",
        ),
        (
            GET_ENTERPRISE,
            "G12.90",
            "STATE_MANAGEMENT",
            |_| {},
            Reason::DenySecurityLevel,
            "R-30",
            "provider's level is below 2",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.requested_fields = Some(vec!["ho_ten", "tinh_trang_hon_nhan"]),
            Reason::DenyField,
            "R-25",
            "tinh_trang_hon_nhan is not granted for ADMIN_PROCEDURE; granted: ho_ten, noi_thuong_tru, so_dinh_danh",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.requested_fields = Some(vec!["khong_co"]),
            Reason::DenyField,
            "R-25",
            "khong_co is not granted",
        ),
        (
            GET_CITIZEN,
            "H26.90",
            "ADMIN_PROCEDURE",
            |q| q.requested_fields = Some(vec!["*"]),
            Reason::DenyField,
            "R-25",
            "* is not granted",
        ),
    ];
    for (path, consumer, purpose, change, reason, rule, words) in rows {
        let method = method(&index, path);
        let mut asked = question(&method, consumer, purpose);
        change(&mut asked);
        let denial = decide(&index, &asked).expect_err(words);
        assert_eq!(denial.reason, *reason, "{consumer} {path} {purpose}: {denial}");
        assert!(denial.rule.starts_with(rule), "{denial:?}");
        assert!(denial.detail.contains(words), "{denial:?} does not say {words}");
    }
    let covered: BTreeSet<i32> = rows.iter().map(|row| row.4 as i32).collect();
    assert_eq!(
        covered.len(),
        13,
        "with the four of the tests below, every denial that a decision can end in"
    );
}

#[test]
fn online_datasets_are_decided_by_the_broker_alone() {
    let mut bundle = bundle();
    bundle.datasets[0].decision_mode = DecisionMode::Online.into();
    bundle.datasets[0].bundle_age_max = Some(prost_types::Duration::default());
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let asked = question(&get, "H26.90", "ADMIN_PROCEDURE");
    assert!(
        decide(&index, &asked).is_ok(),
        "the broker's own rights have no age"
    );
    let aged = Question {
        rights_age: Duration::from_nanos(1),
        ..asked
    };
    assert_eq!(
        decide(&index, &aged).unwrap_err().reason,
        Reason::DenyBrokerUnreachable
    );
}

#[test]
fn validity_begins_and_ends_to_the_nanosecond() {
    let mut bundle = bundle();
    bundle.rights[0].valid_from = Some(common::timestamp(NOW));
    bundle.rights[0].valid_to = Some(common::timestamp(NOW + Duration::from_nanos(2)));
    let index = RightsIndex::from_bundle(&bundle).unwrap();
    let get = method(&index, GET_CITIZEN);
    let at = |now| {
        decide(
            &index,
            &Question {
                now,
                ..question(&get, "H26.90", "ADMIN_PROCEDURE")
            },
        )
        .is_ok()
    };
    assert!(!at(NOW - Duration::from_nanos(1)));
    assert!(at(NOW));
    assert!(at(NOW + Duration::from_nanos(1)));
    assert!(!at(NOW + Duration::from_nanos(2)));
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
    assert_eq!(
        decide(&new, &asked).unwrap().grant(),
        "CE-0001/H26.90/ADMIN_PROCEDURE@8"
    );
    newer.contracts.retain(|contract| contract.provider != "G01");
    let without = RightsIndex::from_bundle(&newer).unwrap();
    assert!(!without.problems().is_empty());
    assert_eq!(
        decide(&without, &asked).unwrap_err().reason,
        Reason::DenyUnknownMethod
    );
}
