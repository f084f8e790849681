//! The whole of a duty, with a clock that the test turns: R-04, R-05, R-16, R-17, R-18.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

use lienthong_duty::rules::{Judgement, RulesFile};
use lienthong_duty::undeclared::{DOWN_SECONDS_MAX, Followed, Sign, TURNED_AWAY_MIN};
use lienthong_duty::{
    DutyRules, NotTaken, check_text, connection, dispute, instant, outage, refusal, timestamp,
};
use lienthong_proto::lienthong::audit::v1::{Closing, Exchange, Side, Status};
use lienthong_proto::lienthong::registry::v1::{
    AnnounceOutageRequest, AnswerConnectionRequestRequest, ConnectionRequestState,
    CreateConnectionRequestRequest, DeclareRefusalRequest, Dispute, DisputeCause, DisputeOutcome,
    DisputeStage, RefusalState,
};
use proptest::prelude::*;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

const NOW: OffsetDateTime = datetime!(2026-11-23 02:00 UTC);

fn rules() -> DutyRules {
    let file: RulesFile = toml::from_str(include_str!("../src/vietnam.toml")).unwrap();
    file.try_into().unwrap()
}

fn request(reason: &str, legal_basis: &str) -> DeclareRefusalRequest {
    DeclareRefusalRequest {
        consumer: "H26.90".to_owned(),
        dataset: "bhxh.qua_trinh_dong".to_owned(),
        reason: reason.to_owned(),
        legal_basis: legal_basis.to_owned(),
        ..DeclareRefusalRequest::default()
    }
}

fn opened() -> Dispute {
    let about = dispute::About {
        cause: DisputeCause::Refusal,
        refusal: "refusals/00000001",
        provider: "G24",
        consumer: "H26.90",
        dataset: "bhxh.qua_trinh_dong",
    };
    dispute::open("disputes/00000001", &about, "agencies/G24/nodes/n1", "", NOW, &rules())
}

#[test]
fn the_file_says_what_the_rules_are() {
    let rules = rules();
    let codes: Vec<&str> = rules.reasons.keys().map(String::as_str).collect();
    assert_eq!(
        codes,
        [
            "CONFIDENTIALITY_BREACH",
            "OVERLOAD",
            "PERSONAL_DATA_RULE",
            "RIGHTS_INFRINGED",
            "STATE_SECRET",
            "TECH_STANDARD_NOT_MET",
            "UNAUTHORISED_ACTIVITY",
            "UNLAWFUL_REQUEST",
        ]
    );
    assert!(!rules.calendar.is_working_day(datetime!(2026-02-17 0:00 UTC).date()), "Tết");
    let broken = |from: &str, to: &str| {
        let text = include_str!("../src/vietnam.toml").replace(from, to);
        let file: Result<RulesFile, _> = toml::from_str(&text);
        file.map_err(|error| error.to_string())
            .and_then(|file| DutyRules::try_from(file).map_err(|error| error.to_string()))
            .unwrap_err()
    };
    assert!(broken("\"OVERLOAD\"", "\"STATE_SECRET\"").contains("twice"));
    assert!(broken("\"OVERLOAD\"", "\"overload\"").contains("capital"));
    assert!(broken("\"2026-02-20\"", "\"2026-02-10\"").contains("no holiday"));
    assert!(broken("it_unit = 7", "it_unit = 7\nprovince = 7").contains("province"));
}

#[test]
fn an_unlawful_reason_is_kept_and_suspends_nothing() {
    let rules = rules();
    for (reason, basis, lawful) in [
        ("chưa có chỉ đạo", "", false),
        ("chưa có chỉ đạo", "278/2025/NĐ-CP", false),
        ("OVERLOAD", " ", false),
        ("overload", "252/2026/NĐ-CP, Điều 55.6", false),
        ("OVERLOAD", "252/2026/NĐ-CP, Điều 55.6", true),
    ] {
        assert_eq!(rules.judge(reason, basis) == Judgement::Lawful, lawful, "{reason} {basis}");
        let declared =
            refusal::declare("refusals/00000001", "G24", "a", &request(reason, basis), NOW, &rules).unwrap();
        let state = if lawful { RefusalState::Suspending } else { RefusalState::Unjustified };
        assert_eq!((declared.state(), declared.judgement.is_empty()), (state, lawful));
        let cause = if lawful { DisputeCause::Refusal } else { DisputeCause::UnjustifiedRefusal };
        assert_eq!(refusal::cause(&declared), cause);
    }
}

#[test]
fn a_refusal_ends_once_and_an_unjustified_one_stays_so() {
    let rules = rules();
    let mut lawful = request("OVERLOAD", "252/2026/NĐ-CP, Điều 55.6");
    lawful.expected_restore_time = Some(timestamp(NOW + Duration::hours(2)));
    let mut lawful = refusal::declare("refusals/1", "G24", "a", &lawful, NOW, &rules).unwrap();
    assert!(!refusal::is_over(&lawful, NOW + Duration::hours(1)));
    assert!(refusal::is_over(&lawful, NOW + Duration::hours(2)));
    refusal::end(&mut lawful, RefusalState::Expired, "broker", NOW).unwrap();
    assert_eq!(lawful.state(), RefusalState::Expired);
    assert_eq!(refusal::end(&mut lawful, RefusalState::Withdrawn, "a", NOW), Err(NotTaken::Ended));

    let mut other = refusal::declare("refusals/2", "G24", "a", &request("no", ""), NOW, &rules).unwrap();
    refusal::end(&mut other, RefusalState::Withdrawn, "a", NOW).unwrap();
    assert_eq!(other.state(), RefusalState::Unjustified, "withdrawn or not, it counts");

    let mut past = request("OVERLOAD", "x");
    past.expected_restore_time = Some(timestamp(NOW));
    assert!(matches!(refusal::declare("r", "G24", "a", &past, NOW, &rules), Err(NotTaken::Time(_))));
}

#[test]
fn a_dispute_climbs_by_itself() {
    let rules = rules();
    let mut dispute = opened();
    // Monday 23/11: seven working days end with Wednesday 2/12.
    assert_eq!(dispute.due_time, Some(timestamp(datetime!(2026-12-02 17:00 UTC))));
    assert!(!dispute::escalate(&mut dispute, datetime!(2026-12-02 16:59 UTC), &rules));
    dispute::answer(&mut dispute, "agencies/G24/nodes/n1", "we look into it", NOW).unwrap();
    for (now, stage, due) in [
        (datetime!(2026-12-02 17:00 UTC), DisputeStage::ItUnit, Some(datetime!(2026-12-14 17:00 UTC))),
        (datetime!(2026-12-14 17:00 UTC), DisputeStage::Operator, Some(datetime!(2026-12-24 17:00 UTC))),
        (datetime!(2026-12-24 17:00 UTC), DisputeStage::Government, None),
    ] {
        assert!(dispute::escalate(&mut dispute, now, &rules));
        assert_eq!((dispute.stage(), dispute.due_time), (stage, due.map(timestamp)));
        assert!(!dispute::escalate(&mut dispute, now, &rules), "once");
    }
    assert!(!dispute::escalate(&mut dispute, datetime!(2036-01-01 0:00 UTC), &rules));
    dispute::decide(&mut dispute, DisputeOutcome::Overturned, "operators/x", "it must serve", NOW).unwrap();
    assert!(!dispute::is_open(&dispute));
    assert_eq!(dispute::answer(&mut dispute, "a", "late", NOW), Err(NotTaken::Ended));
}

#[test]
fn a_dispute_left_alone_for_long_is_with_the_government() {
    let mut dispute = opened();
    assert!(dispute::escalate(&mut dispute, datetime!(2027-06-01 0:00 UTC), &rules()));
    assert_eq!(dispute.stage(), DisputeStage::Government);
    let kinds: Vec<&str> = dispute.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["opened", "escalated", "escalated", "escalated"]);
    let times: Vec<_> = dispute.events.iter().map(|event| event.time.map(|time| time.seconds)).collect();
    assert!(times.is_sorted(), "each step has the time at which it was due: {times:?}");
}

#[test]
fn what_suspends_nothing_is_not_overturned() {
    let mut dispute = Dispute { cause: DisputeCause::UnjustifiedRefusal.into(), ..opened() };
    let decide = |dispute: &mut Dispute, outcome| dispute::decide(dispute, outcome, "o", "because", NOW);
    assert_eq!(decide(&mut dispute, DisputeOutcome::Overturned), Err(NotTaken::NothingToOverturn));
    assert_eq!(decide(&mut dispute, DisputeOutcome::Settled), Err(NotTaken::Outcome));
    decide(&mut dispute, DisputeOutcome::Unjustified).unwrap();
    dispute::settle(&mut dispute, "broker", "over", NOW);
    assert_eq!(dispute.outcome(), DisputeOutcome::Unjustified, "what is decided stays");
}

#[test]
fn maintenance_needs_seven_working_days_of_notice() {
    let rules = rules();
    let announce = |start: OffsetDateTime| {
        let request = AnnounceOutageRequest {
            start_time: Some(timestamp(start)),
            expected_end_time: Some(timestamp(start + Duration::hours(4))),
            note: "nâng cấp máy chủ".to_owned(),
            datasets: vec!["bhyt.the".to_owned()],
            ..AnnounceOutageRequest::default()
        };
        outage::announce("outages/1", "G24", "a", &request, NOW, &rules)
    };
    let short = announce(datetime!(2026-12-02 02:00 UTC)).unwrap();
    assert_eq!((short.notice_working_days, short.short_notice), (6, true));
    let good = announce(datetime!(2026-12-03 02:00 UTC)).unwrap();
    assert_eq!((good.notice_working_days, good.short_notice), (7, false));
    assert!(announce(NOW).is_err());
    let during = datetime!(2026-12-03 03:00 UTC);
    assert!(outage::covers(&good, "G24", "bhyt.the", during));
    assert!(!outage::covers(&good, "G24", "bhxh.qua_trinh_dong", during));
    assert!(!outage::covers(&good, "G01", "bhyt.the", during));
    assert!(!outage::covers(&good, "G24", "bhyt.the", datetime!(2026-12-03 06:00 UTC)));
}

#[test]
fn a_connection_request_is_answered_in_two_working_days() {
    let rules = rules();
    let request = CreateConnectionRequestRequest {
        use_plan: "tra cứu khi cấp phép".to_owned(),
        legal_basis: "194/2025/NĐ-CP".to_owned(),
        ..CreateConnectionRequestRequest::default()
    };
    let friday = datetime!(2026-11-27 02:00 UTC);
    let mut asked = connection::create("connectionRequests/1", "H29", &request, friday, &rules).unwrap();
    assert_eq!(asked.due_time, Some(timestamp(datetime!(2026-12-01 17:00 UTC))));
    assert!(!connection::overdue(&mut asked, datetime!(2026-12-01 16:00 UTC)));
    assert!(connection::overdue(&mut asked, datetime!(2026-12-01 17:00 UTC)));
    assert!(!connection::overdue(&mut asked, datetime!(2026-12-02 17:00 UTC)), "once");
    let declined = AnswerConnectionRequestRequest { answer: "no".to_owned(), ..Default::default() };
    assert_eq!(connection::answer(&mut asked, "a", &declined, NOW), Err(NotTaken::Undocumented));
    let accepted = AnswerConnectionRequestRequest { accepted: true, ..Default::default() };
    connection::answer(&mut asked, "a", &accepted, NOW).unwrap();
    assert_eq!(asked.state(), ConnectionRequestState::Accepted);
    assert_eq!(connection::answer(&mut asked, "a", &accepted, NOW), Err(NotTaken::Ended));
}

fn closing(grpc_status: u32, reason: &str, status: Status) -> Closing {
    let exchange = Exchange {
        side: Side::Provider.into(),
        provider: "G24".to_owned(),
        consumer: "H26.90".to_owned(),
        dataset: "bhyt.the".to_owned(),
        ..Exchange::default()
    };
    Closing {
        exchange: Some(exchange),
        grpc_status,
        reason: reason.to_owned(),
        status: status.into(),
        ..Closing::default()
    }
}

#[test]
fn a_backend_that_turns_a_consumer_away_is_noticed_once() {
    let mut followed = Followed::default();
    let mut see = |closing: &Closing| followed.observe(closing, NOW, &|_| false).map(|(_, sign)| sign);
    let denied = closing(7, "UNDECLARED_REFUSAL", Status::Refused);
    for _ in 1..TURNED_AWAY_MIN {
        assert_eq!(see(&denied), None);
    }
    // What the mesh says, and what went wrong otherwise, is no refusal of the backend.
    assert_eq!(see(&closing(7, "DENY_FIELD", Status::Denied)), None);
    assert_eq!(see(&closing(5, "", Status::Failed)), None);
    assert_eq!(see(&denied), Some(Sign::TurnedAway(7)));
    assert_eq!(see(&denied), None, "told once");
    assert_eq!(see(&closing(0, "", Status::Delivered)), Some(Sign::Serves));
    assert_eq!(see(&closing(0, "", Status::Delivered)), None);
    // The consumer's own record of it counts for nothing.
    let mut consumer = denied.clone();
    consumer.exchange.as_mut().unwrap().side = Side::Consumer.into();
    for _ in 0..10 {
        assert_eq!(see(&consumer), None);
    }
}

#[test]
fn a_backend_may_be_down_for_a_while_or_as_announced() {
    let down = closing(14, "FAIL_BACKEND_UNREACHABLE", Status::Failed);
    let after = |seconds: i64| NOW + Duration::seconds(seconds);
    let mut followed = Followed::default();
    assert_eq!(followed.observe(&down, NOW, &|_| false), None);
    assert_eq!(followed.observe(&down, after(DOWN_SECONDS_MAX - 1), &|_| false), None);
    let sign = followed.observe(&down, after(DOWN_SECONDS_MAX), &|_| false);
    assert_eq!(sign.map(|(_, sign)| sign), Some(Sign::Down));
    let mut followed = Followed::default();
    assert_eq!(followed.observe(&down, NOW, &|_| true), None);
    assert_eq!(followed.observe(&down, after(2 * DOWN_SECONDS_MAX), &|_| true), None, "announced");
    assert_eq!(
        followed.observe(&down, after(2 * DOWN_SECONDS_MAX), &|_| false),
        None,
        "the clock begins here"
    );
}

#[test]
fn texts_hold_nobodys_number() {
    check_text("text", "hồ sơ 26/1121-0001", 100, true).unwrap();
    assert!(matches!(check_text("text", "999190000001", 100, true), Err(NotTaken::PersonalNumber { .. })));
    assert!(matches!(check_text("text", "a\nb", 100, true), Err(NotTaken::Text { .. })));
    assert!(matches!(check_text("text", " ", 100, true), Err(NotTaken::Text { .. })));
    check_text("text", "", 100, false).unwrap();
}

proptest! {
    /// Whatever steps come at whatever times: a stage never falls back, an ended dispute never changes, steps are bounded.
    #[test]
    fn a_dispute_only_goes_on(steps in proptest::collection::vec((0_u8..4, 0_i64..4_000_000), 1..80)) {
        let (rules, mut dispute, mut now) = (rules(), opened(), NOW);
        for (step, later) in steps {
            now += Duration::seconds(later);
            let before = dispute.clone();
            match step {
                0 | 1 => { dispute::escalate(&mut dispute, now, &rules); }
                2 => { let _ = dispute::answer(&mut dispute, "a", "text", now); }
                _ => { let _ = dispute::decide(&mut dispute, DisputeOutcome::Upheld, "o", "text", now); }
            }
            prop_assert!(dispute.stage >= before.stage);
            prop_assert!(dispute.events.len() <= dispute::EVENTS_MAX);
            if !dispute::is_open(&before) {
                prop_assert_eq!(&dispute, &before);
            } else if dispute::is_open(&dispute) && dispute.stage() != DisputeStage::Government {
                let due = dispute.due_time.as_ref().and_then(instant);
                prop_assert!(due.is_some());
                if step < 2 { prop_assert!(due > Some(now)); }
            }
        }
    }
}
