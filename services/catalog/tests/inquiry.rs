//! Questions about decisions: what another edition of the rights would change, who can read what, why it was so.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use common::{CITIZENS, GET_CITIZEN, NOW, bundle, right};
use lienthong_catalog::RightsIndex;
use lienthong_catalog::inquiry::{Call, Outcome, explain, judge, what_if};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{self as audit, Exchange, PurposeSource, Record};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::reason::Reason;

fn call() -> Call {
    Call {
        consumer: "H26.90".to_owned(),
        system: "agencies/H26.90/systems/mot-cua".to_owned(),
        provider: "G01".to_owned(),
        method: GET_CITIZEN.to_owned(),
        purpose: Purpose::AdminProcedure,
        purpose_source: PurposeSource::Caller,
        fields: Vec::new(),
        dossier: "H26.90-261121-0001".to_owned(),
        user: String::new(),
        time: NOW,
    }
}

fn index(change: impl FnOnce(&mut lienthong_proto::lienthong::control::v1::RightsBundle)) -> RightsIndex {
    let mut bundle = bundle();
    change(&mut bundle);
    RightsIndex::from_bundle(&bundle).unwrap()
}

#[test]
fn a_lost_field_and_a_lost_right_are_differences_and_nothing_else_is() {
    let before = index(|_| {});
    let two = &["so_dinh_danh", "ho_ten"];
    let other = right("CE-0001/new", CITIZENS, "H26.90", Purpose::AdminProcedure, two);
    let narrower = index(|bundle| bundle.rights[0] = other);
    let gone = index(|bundle| bundle.rights.clear());
    let calls = [call(), Call { consumer: "G99".to_owned(), system: String::new(), ..call() }];

    assert_eq!(what_if(&before, &before, &calls), []);
    let less = what_if(&before, &narrower, &calls);
    assert_eq!(less.len(), 1, "{less:?}");
    assert_eq!(less[0].lost_fields(), ["noi_thuong_tru"]);
    assert!(less[0].gained_fields().is_empty());
    let lost = what_if(&before, &gone, &calls);
    assert_eq!(lost.len(), 1, "a stranger was denied before, too: {lost:?}");
    assert!(lost[0].before.is_permitted());
    assert!(matches!(&lost[0].after, Outcome::Denied { reason: Reason::DenyNotEntitled, .. }));
    assert_eq!(what_if(&gone, &before, &calls)[0].gained_fields().len(), 3);
}

#[test]
fn a_method_that_nobody_serves_is_denied_in_words() {
    let outcome = judge(&index(|_| {}), &Call { method: "/a.B/C".to_owned(), ..call() });
    assert!(matches!(outcome, Outcome::Denied { reason: Reason::DenyUnknownMethod, .. }), "{outcome:?}");
}

#[test]
fn the_caller_of_a_recorded_exchange_is_asked_about_as_it_called() {
    let exchange = Exchange {
        consumer: "H26.90".to_owned(),
        system: "agencies/H26.90/systems/mot-cua".to_owned(),
        provider: "G01".to_owned(),
        method: GET_CITIZEN.to_owned(),
        purpose: Purpose::AdminProcedure.into(),
        purpose_source: PurposeSource::Caller.into(),
        dossier: "H26.90-261121-0001".to_owned(),
        ..Exchange::default()
    };
    assert_eq!(Call::of_exchange(&exchange, NOW), call());
}

#[test]
fn a_denial_on_record_names_its_rule_and_a_delivery_its_right() {
    let record = |body| Record { body: Some(body), ..Record::default() };
    let exchange = || Some(Exchange { right: "CE-0001/x@7".to_owned(), ..Exchange::default() });
    let denial = audit::Denial {
        exchange: exchange(),
        reason: "DENY_FIELD".to_owned(),
        rule: "R-25, CE-0001/x".to_owned(),
        detail: "ngay_sinh is not granted".to_owned(),
    };
    let denied = record(Body::Denial(denial));
    let denied = explain(&denied).unwrap();
    assert_eq!((denied.permitted, denied.reason), (false, Some(Reason::DenyField)));
    assert_eq!(denied.rule, "R-25, CE-0001/x");
    let closing = |reason: &str| {
        record(Body::Closing(audit::Closing {
            exchange: exchange(),
            reason: reason.to_owned(),
            ..audit::Closing::default()
        }))
    };
    let (delivered, out_of_scope, failed) =
        (closing(""), closing("DENY_ROW_SCOPE"), closing("FAIL_DEADLINE"));
    let delivered = explain(&delivered).unwrap();
    assert_eq!((delivered.permitted, delivered.reason, &*delivered.rule), (true, None, "CE-0001/x@7"));
    assert!(!explain(&out_of_scope).unwrap().permitted);
    assert!(explain(&failed).unwrap().permitted);
    assert_eq!(explain(&record(Body::Progress(audit::Progress::default()))), None);
}
