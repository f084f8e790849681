//! Each rule over records that trip it, and over records that look alike and must not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

use lienthong_audit::finding::{DETAIL_CHARS_MAX, is_id};
use lienthong_proto::lienthong::audit::v1::{
    Aggregate, Closing, Denial, Exchange, Finding, FindingKind, Record, Side, Status, record::Body,
};
use lienthong_watch::watcher::COUNTS_MAX;
use lienthong_watch::{Event, Rules, Watcher, What};
use proptest::prelude::*;

const SYSTEM: &str = "agencies/H26.90/systems/mot-cua";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Friday 2026-11-20, at an hour of Việt Nam, in Unix milliseconds.
fn friday(hour: i64) -> i64 {
    (20_777 * 24 + hour - 7) * HOUR
}

fn watcher(rule: &str) -> Watcher {
    Watcher::new(Rules::parse(&format!("[[rule]]\nname = \"r\"\n{rule}")).unwrap())
}

fn event(time_ms: i64, what: What) -> Event {
    Event {
        index: 7,
        time_ms,
        system: SYSTEM.to_owned(),
        user: "canbo.17".to_owned(),
        dataset: "dancu.cong_dan".to_owned(),
        purpose: "PURPOSE_ADMIN_PROCEDURE",
        dossier: "H26.90-261120-0001".to_owned(),
        exchange_id: vec![1; 16],
        what,
    }
}

fn answered(time_ms: i64, records: u64) -> Event {
    event(time_ms, What::Answered { records, people: records })
}

fn kinds(found: &[Finding]) -> Vec<FindingKind> {
    found.iter().map(Finding::kind).collect()
}

#[test]
fn a_volume_far_above_the_usual_trips_once_a_window() {
    let mut watcher =
        watcher("kind = \"volume-spike\"\nof = \"user\"\nwindow_minutes = 60\nleast = 50\ntimes_usual = 5");
    // A month of about 30 an hour, and one busy hour of twice that: nothing to see.
    for hour in 0..24 * 30 {
        let much = if hour == 500 { 60 } else { 30 };
        for _ in 0..much {
            assert_eq!(watcher.take(&answered(friday(0) + hour * HOUR, 1)), [], "hour {hour}");
        }
    }
    let now = friday(0) + 24 * 30 * HOUR;
    let mut found = Vec::new();
    for _ in 0..1_000 {
        found.extend(watcher.take(&answered(now, 1)));
    }
    assert_eq!(kinds(&found), [FindingKind::VolumeSpike]);
    let one = &found[0];
    assert!(
        is_id(&one.id) && one.detail.contains("within 60 minutes") && one.detail.contains("30 are usual"),
        "{one:?}"
    );
    assert_eq!(
        (one.nodes.as_slice(), one.user.as_str(), one.rule.as_str()),
        (&[SYSTEM.to_owned()][..], "canbo.17", "r")
    );
    assert_eq!((one.entries.as_slice(), one.exchange_id.len()), (&[7][..], 16));
    // One answer of many records is as much; another end user's hour is another count.
    assert_eq!(kinds(&watcher.take(&answered(now + HOUR, 10_000))), [FindingKind::VolumeSpike]);
    assert_eq!(watcher.take(&Event { user: "canbo.18".to_owned(), ..answered(now, 49) }), []);
    assert_eq!(watcher.take(&Event { user: String::new(), ..answered(now, 10_000) }), [], "nobody was named");
}

#[test]
fn asking_at_night_trips_once_a_day() {
    let mut watcher =
        watcher("kind = \"off-hours\"\nof = \"user\"\nfrom = \"06:00\"\nto = \"20:00\"\ndays = [\"fri\"]");
    for hour in 6..20 {
        assert_eq!(watcher.take(&answered(friday(hour), 1)), [], "{hour} h");
    }
    let found = watcher.take(&answered(friday(20) + 5 * MINUTE, 1));
    assert_eq!(kinds(&found), [FindingKind::OffHours]);
    assert!(found[0].detail.contains("20:05"), "{}", found[0].detail);
    assert_eq!(watcher.take(&answered(friday(23), 1)), [], "once a day");
    assert_eq!(kinds(&watcher.take(&answered(friday(24), 1))), [FindingKind::OffHours], "Saturday");
    // A denial at night is asking too; a system that names no end user is left alone.
    assert_eq!(kinds(&watcher.take(&event(friday(48), What::Denied(1)))), [FindingKind::OffHours]);
    assert_eq!(watcher.take(&Event { user: String::new(), ..answered(friday(2), 1) }), []);
}

#[test]
fn many_people_under_one_dossier_trip_and_many_dossiers_do_not() {
    let rule = "kind = \"enumeration\"\nof = \"user\"\nwindow_minutes = 60\nleast = 20";
    let mut honest = watcher(rule);
    for number in 0..500 {
        let dossier = format!("H26.90-261120-{number:04}");
        assert_eq!(honest.take(&Event { dossier, ..answered(friday(9), 2) }), []);
    }
    // A family of five, looked up three times.
    for _ in 0..3 {
        assert_eq!(honest.take(&answered(friday(9), 5)), []);
    }
    let mut guessing = watcher(rule);
    let nobody = event(friday(9), What::Answered { records: 0, people: 1 });
    let found: Vec<_> = (0..100).flat_map(|_| guessing.take(&nobody)).collect();
    assert_eq!(kinds(&found), [FindingKind::Enumeration]);
    assert!(
        found[0].detail.contains("20 people") && found[0].detail.contains("H26.90-261120-0001"),
        "{found:?}"
    );
    // Without a dossier, and with the people of a long answer in its continuation records.
    let mut reading = watcher(rule);
    let without = |what| Event { dossier: String::new(), ..event(friday(9), what) };
    assert_eq!(reading.take(&without(What::MorePeople(19))), []);
    assert_eq!(kinds(&reading.take(&without(What::MorePeople(1)))), [FindingKind::Enumeration]);
    assert_eq!(reading.take(&event(friday(9), What::MorePeople(19))), [], "another dossier");
}

#[test]
fn repeated_denials_trip_and_answers_do_not() {
    let rule = "kind = \"repeated-denials\"\nof = \"system\"\nwindow_minutes = 10\nleast = 5";
    let mut watcher = watcher(rule);
    let denied = |minute: i64, count| event(friday(9) + minute * MINUTE, What::Denied(count));
    for minute in (0..100).step_by(3) {
        assert_eq!(watcher.take(&denied(minute, 1)), [], "minute {minute}");
        assert_eq!(watcher.take(&answered(friday(9), 1_000)), []);
    }
    let found: Vec<_> = (0..20).flat_map(|_| watcher.take(&denied(200, 1))).collect();
    assert_eq!(kinds(&found), [FindingKind::RepeatedDenials]);
    assert_eq!((found[0].user.as_str(), found[0].nodes.as_slice()), ("", &[SYSTEM.to_owned()][..]));
    // Those that were counted together count as many.
    assert_eq!(kinds(&watcher.take(&denied(300, 60))), [FindingKind::RepeatedDenials]);
}

#[test]
fn a_rule_looks_only_where_it_is_told_to() {
    let base = "kind = \"repeated-denials\"\nof = \"system\"\nwindow_minutes = 10\nleast = 1\n";
    let trips =
        |more: &str| !watcher(&format!("{base}{more}")).take(&event(friday(9), What::Denied(1))).is_empty();
    assert!(
        trips("") && trips("datasets = [\"dancu.*\"]") && trips("datasets = [\"x\", \"dancu.cong_dan\"]")
    );
    assert!(!trips("datasets = [\"dancu\"]") && !trips("datasets = [\"dkdn.*\"]"));
    assert!(!trips(&format!("except = [\"{SYSTEM}\"]")) && trips("except = [\"agencies/G01/systems/x\"]"));
}

#[test]
fn the_providers_record_counts_and_each_exchange_once() {
    let exchange = |side: Side| Exchange { side: side.into(), system: SYSTEM.into(), ..Exchange::default() };
    let record = |body: Body| Record { body: Some(body), ..Record::default() };
    let closing = |side, status: Status| {
        record(Body::Closing(Closing {
            exchange: Some(exchange(side)),
            status: status.into(),
            records: 3,
            subjects: vec![vec![0; 32]; 2],
            subjects_more: 5,
            ..Closing::default()
        }))
    };
    let what = |record: &Record| Event::read(1, record).map(|event| event.what);
    assert_eq!(
        what(&closing(Side::Provider, Status::Delivered)),
        Some(What::Answered { records: 3, people: 7 })
    );
    assert_eq!(what(&closing(Side::Provider, Status::Empty)), Some(What::Answered { records: 0, people: 1 }));
    assert_eq!(what(&closing(Side::Consumer, Status::Delivered)), None);
    assert_eq!(what(&closing(Side::Provider, Status::Failed)), None);
    let denial = |side| record(Body::Denial(Denial { exchange: Some(exchange(side)), ..Denial::default() }));
    assert_eq!(what(&denial(Side::Consumer)), Some(What::Denied(1)));
    let many = |source: &str| {
        record(Body::Aggregate(Aggregate { source: source.into(), count: 9, ..Aggregate::default() }))
    };
    assert_eq!(what(&many(SYSTEM)), Some(What::Denied(9)));
    assert_eq!(what(&many("10.0.0.0/24")), None, "refused handshakes are nobody's");
    assert_eq!(what(&Record::default()), None);
}

#[test]
fn what_is_held_is_bounded() {
    let mut watcher = watcher("kind = \"repeated-denials\"\nof = \"user\"\nwindow_minutes = 10\nleast = 2");
    for (number, later) in (0..COUNTS_MAX + 10).zip(0_i64..) {
        let user = format!("u{number}");
        watcher.take(&Event { user, ..event(friday(9) + later, What::Denied(1)) });
        assert!(watcher.counts() <= COUNTS_MAX + 1);
    }
    // The newest are remembered.
    let user = format!("u{}", COUNTS_MAX + 9);
    assert_eq!(watcher.take(&Event { user, ..event(friday(9), What::Denied(1)) }).len(), 1);
}

prop_compose! {
    fn any_event()(
        time_ms in prop_oneof![any::<i64>(), friday(0)..friday(48)],
        index in any::<u64>(),
        user in "[ab]?",
        much in prop_oneof![0..200_u64, any::<u64>()],
        which in 0..3,
    ) -> Event {
        let what = match which {
            0 => What::Answered { records: much, people: much },
            1 => What::MorePeople(much),
            _ => What::Denied(much),
        };
        Event { index, user, ..event(time_ms, what) }
    }
}

proptest! {
    /// Reading a part of the log again tells the same under the same ids; no time or count is too odd.
    #[test]
    fn the_same_events_make_the_same_findings(events in proptest::collection::vec(any_event(), 0..200)) {
        let run = || {
            let mut watcher = Watcher::new(Rules::default());
            events.iter().flat_map(|event| watcher.take(event)).collect::<Vec<_>>()
        };
        let found = run();
        prop_assert_eq!(&found, &run());
        for one in &found {
            prop_assert!(is_id(&one.id) && one.detail.chars().count() <= DETAIL_CHARS_MAX);
        }
        let ids: std::collections::BTreeSet<_> = found.iter().map(|one| &one.id).collect();
        prop_assert_eq!(ids.len(), found.len(), "each is told once");
    }
}
