//! Honest sides match without a word; every kind of mismatch is named, once, in whatever order records come.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails
#![allow(clippy::unnecessary_wraps)] // helpers give what the fields are

use std::collections::BTreeSet;

use lienthong_matching::{Bounds, ExchangeId, Half, Matcher, Verdict};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Denial, Digest, Exchange, FindingKind, Record, Side, Status,
};
use proptest::prelude::*;
use prost_types::Timestamp;

const CONSUMER: &str = "agencies/H26.90/nodes/n1";
const PROVIDER: &str = "agencies/G01/nodes/n1";
const SIBLING: &str = "agencies/G01/nodes/n2";
const START_MS: i64 = 1_800_000_000_000;
const BOUNDS: Bounds = Bounds { grace_ms: 60_000, silent_ms: 300_000, late_ms: 86_400_000 };

fn time(ms: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds: ms / 1000, nanos: i32::try_from(ms % 1000).unwrap() * 1_000_000 })
}

fn id(number: u8) -> ExchangeId {
    [number; 16]
}

fn exchange(number: u8, side: Side) -> Exchange {
    Exchange {
        id: id(number).to_vec(),
        attempt: 1,
        side: side.into(),
        consumer: "H26.90".into(),
        consumer_node: CONSUMER.into(),
        provider: "G01".into(),
        provider_node: PROVIDER.into(),
        method: "/a/B".into(),
        dataset: "a.b".into(),
        right: "R-1@5".into(),
        ..Exchange::default()
    }
}

fn digest(content: u8, messages: u64) -> Option<Digest> {
    Some(Digest { hmac: vec![content; 32], messages, bytes: messages * 10 })
}

/// An exchange that went well, as one side records it.
fn closing(number: u8, side: Side) -> Closing {
    let (own, other) = if side == Side::Consumer { (1, 2) } else { (2, 1) };
    Closing {
        exchange: Some(exchange(number, side)),
        opening_hash: vec![own; 32],
        peer_opening_hash: vec![other; 32],
        status: Status::Delivered.into(),
        request: digest(3, 1),
        response: digest(4, 1),
        records: 1,
        duration_us: 5_000,
        ..Closing::default()
    }
}

fn record(body: Body) -> Record {
    let side = match &body {
        Body::Closing(closing) => closing.exchange.as_ref(),
        Body::Denial(denial) => denial.exchange.as_ref(),
        _ => None,
    };
    let side = side.unwrap();
    let recorder = if side.side() == Side::Consumer { &side.consumer_node } else { &side.provider_node };
    Record {
        version: 1,
        recorder: recorder.clone(),
        time: time(START_MS),
        body: Some(body),
        ..Record::default()
    }
}

fn side(number: u8, side: Side, change: impl FnOnce(&mut Closing)) -> Record {
    let mut closing = closing(number, side);
    change(&mut closing);
    record(Body::Closing(closing))
}

fn kinds(verdicts: &[Verdict]) -> Vec<FindingKind> {
    let kind = |verdict: &Verdict| match verdict {
        Verdict::Found(found) => Some(found.kind()),
        Verdict::Explained { .. } => None,
    };
    verdicts.iter().filter_map(kind).collect()
}

/// Takes records in order; hears both nodes long after; what was said on the way, and what is left.
fn all(records: &[Record]) -> (Vec<FindingKind>, usize) {
    let mut matcher = Matcher::new(BOUNDS);
    let mut said = Vec::new();
    for (index, record) in (0..).zip(records) {
        said.extend(matcher.take(index, record));
        if matcher.holds(&id(1)) {
            assert_eq!(matcher.take(index, record), [], "the same record again says nothing");
        }
    }
    for node in [CONSUMER, PROVIDER, SIBLING] {
        matcher.hear(node, START_MS + BOUNDS.grace_ms + 1);
    }
    said.extend(matcher.sweep(START_MS + 61_000));
    assert_eq!(matcher.sweep(START_MS + 62_000), [], "nothing is told twice");
    (kinds(&said), matcher.len())
}

/// Both orders of two records say the same.
fn both(consumer: &Record, provider: &Record) -> (Vec<FindingKind>, usize) {
    let one = all(&[consumer.clone(), provider.clone()]);
    assert_eq!(one, all(&[provider.clone(), consumer.clone()]));
    one
}

#[test]
fn honest_sides_match_without_a_word() {
    let agree = |consumer: fn(&mut Closing), provider: fn(&mut Closing)| {
        let said = both(&side(1, Side::Consumer, consumer), &side(1, Side::Provider, provider));
        assert_eq!(said, (vec![], 0));
    };
    agree(|_| {}, |_| {});
    // Each decides by its own epoch and sees its own peer.
    agree(|c| c.exchange.as_mut().unwrap().right = "R-1@6".into(), |_| {});
    agree(|c| c.exchange.as_mut().unwrap().peer_certificate = vec![9; 32], |_| {});
    // A backend that answers early has read less of the request.
    agree(|c| c.request = digest(3, 9), |p| p.request = digest(7, 4));
    // A consumer that was cut off got less.
    agree(|c| (c.status, c.response) = (Status::Partial.into(), digest(8, 2)), |p| p.response = digest(4, 7));
    agree(|c| (c.status, c.response, c.records) = (Status::Failed.into(), digest(8, 0), 0), |_| {});
    // The provider failed, refused, denied: the consumer has nothing.
    for status in [Status::Failed, Status::Refused, Status::Denied] {
        let consumer = side(1, Side::Consumer, |c| (c.status, c.response) = (status.into(), digest(8, 0)));
        let provider = side(1, Side::Provider, |p| (p.status, p.response) = (status.into(), digest(8, 0)));
        assert_eq!(both(&consumer, &provider), (vec![], 0), "{status:?}");
    }
    let denied = Denial { exchange: Some(exchange(1, Side::Provider)), ..Denial::default() };
    let consumer = side(1, Side::Consumer, |c| (c.status, c.response) = (Status::Denied.into(), None));
    assert_eq!(both(&consumer, &record(Body::Denial(denied))), (vec![], 0));
    // A consumer that reached nobody needs no other side.
    let alone = side(1, Side::Consumer, |c| (c.status, c.response) = (Status::Failed.into(), None));
    assert_eq!(all(&[alone]), (vec![], 0));
}

#[test]
fn contradictions_are_named() {
    let differ = |consumer: fn(&mut Closing), provider: fn(&mut Closing)| {
        let said = both(&side(1, Side::Consumer, consumer), &side(1, Side::Provider, provider));
        assert_eq!(said, (vec![FindingKind::Contradiction], 0));
    };
    differ(|c| c.response = digest(5, 1), |_| {});
    differ(|c| c.response = digest(4, 2), |_| {});
    differ(|c| c.request = digest(5, 1), |_| {});
    differ(|c| c.records = 2, |_| {});
    differ(|c| c.status = Status::Empty.into(), |_| {});
    differ(|_| {}, |p| (p.status, p.response) = (Status::Failed.into(), digest(4, 1)));
    differ(|c| c.peer_opening_hash = vec![7; 32], |_| {});
    differ(|_| {}, |p| p.peer_opening_hash = vec![7; 32]);
    differ(|c| c.exchange.as_mut().unwrap().dossier = "H26-1".into(), |_| {});
    differ(|c| c.exchange.as_mut().unwrap().purpose = 3, |_| {});
    // It got more than was sent, though it says that it was cut off.
    differ(|c| (c.status, c.response) = (Status::Partial.into(), digest(8, 3)), |_| {});
    // The provider says that it denied.
    let denied = Denial { exchange: Some(exchange(1, Side::Provider)), ..Denial::default() };
    let said = both(&side(1, Side::Consumer, |_| {}), &record(Body::Denial(denied)));
    assert_eq!(said, (vec![FindingKind::Contradiction], 0));
}

#[test]
fn a_missing_side_is_missing_once_its_node_went_on() {
    for present in [Side::Consumer, Side::Provider] {
        assert_eq!(all(&[side(1, present, |_| {})]), (vec![FindingKind::MissingSide], 1), "{present:?}");
    }
    let mut matcher = Matcher::new(BOUNDS);
    assert_eq!(matcher.take(0, &side(1, Side::Consumer, |_| {})), []);
    // Nobody was heard yet: not missing, and not silent either, for a while.
    assert_eq!(matcher.sweep(START_MS + BOUNDS.silent_ms), []);
    let said = matcher.sweep(START_MS + BOUNDS.silent_ms + 1);
    assert_eq!(kinds(&said), [FindingKind::SilentNode]);
    let again = matcher.sweep(START_MS + BOUNDS.silent_ms + 9_000);
    assert_eq!(again, said, "the same silence has the same name");
    // It comes back, and with it the record.
    matcher.hear(PROVIDER, START_MS + 1);
    assert_eq!(matcher.sweep(START_MS + BOUNDS.silent_ms + 10_000), []);
    assert_eq!(matcher.take(1, &side(1, Side::Provider, |_| {})), []);
    assert!(matcher.is_empty());
    // One that comes after it was reported missing is late, and still judged.
    matcher.take(2, &side(2, Side::Consumer, |_| {}));
    matcher.hear(PROVIDER, START_MS + BOUNDS.grace_ms + 1);
    assert_eq!(kinds(&matcher.sweep(START_MS + 61_000)), [FindingKind::MissingSide]);
    let late = matcher.take(3, &side(2, Side::Provider, |p| p.response = digest(9, 1)));
    assert_eq!(kinds(&late), [FindingKind::LateSide, FindingKind::Contradiction]);
    assert!(matcher.is_empty());
    // A gap is not remembered for ever.
    matcher.take(4, &side(3, Side::Consumer, |_| {}));
    assert_eq!(kinds(&matcher.sweep(START_MS + 62_000)), [FindingKind::MissingSide]);
    assert_eq!(matcher.sweep(START_MS + BOUNDS.late_ms + 1), []);
    assert!(matcher.is_empty());
}

#[test]
fn retries_leave_records_at_several_nodes() {
    let second = |c: &mut Closing| {
        let exchange = c.exchange.as_mut().unwrap();
        (exchange.attempt, exchange.provider_node) = (2, SIBLING.into());
    };
    let consumer = side(1, Side::Consumer, |c| {
        second(c);
        c.earlier_nodes = vec![PROVIDER.into()];
    });
    let (first, last) = (
        side(1, Side::Provider, |p| (p.status, p.response) = (Status::Failed.into(), digest(9, 0))),
        side(1, Side::Provider, second),
    );
    for order in [[&consumer, &first, &last], [&first, &last, &consumer], [&last, &consumer, &first]] {
        assert_eq!(all(&order.map(Clone::clone)), (vec![], 0));
    }
    // The first attempt may have reached nobody.
    assert_eq!(all(&[consumer.clone(), last.clone()]), (vec![], 0));
    // Without the node that counted, the pair is not whole.
    assert_eq!(all(&[consumer.clone(), first]), (vec![FindingKind::MissingSide], 1));
    // A node that the consumer does not name, and one attempt at two nodes.
    let stranger = side(1, Side::Provider, |p| p.exchange.as_mut().unwrap().provider_node = SIBLING.into());
    let said = all(&[side(1, Side::Consumer, |_| {}), stranger.clone()]);
    assert_eq!(said, (vec![FindingKind::Contradiction, FindingKind::MissingSide], 1));
    let said = all(&[side(1, Side::Provider, |_| {}), stranger]).0;
    assert!(said.contains(&FindingKind::DuplicateExchange), "{said:?}");
}

#[test]
fn a_crash_is_a_finding_until_the_other_side_explains_it() {
    let crashed = side(1, Side::Consumer, |c| {
        (c.status, c.request, c.response) = (Status::UnknownAfterCrash.into(), None, None);
    });
    let mut matcher = Matcher::new(BOUNDS);
    let found = matcher.take(0, &crashed);
    let [Verdict::Found(finding)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(finding.kind(), FindingKind::UnknownAfterCrash);
    let explained = matcher.take(1, &side(1, Side::Provider, |_| {}));
    let [Verdict::Explained { id, .. }] = explained.as_slice() else { panic!("{explained:?}") };
    assert_eq!(*id, finding.id);
    assert!(matcher.is_empty());
    // Known before, it is no finding at all.
    assert_eq!(all(&[side(1, Side::Provider, |_| {}), crashed]), (vec![], 0));
}

/// What a node put on record before its crash names the first node that it meant to ask. The one that answered in its place
/// is no contradiction, in whatever order all of it comes, and explains the crash.
#[test]
fn a_consumer_that_crashed_after_it_had_gone_on_to_another_node_contradicts_nobody() {
    let crashed = side(1, Side::Consumer, |c| {
        (c.status, c.request, c.response) = (Status::UnknownAfterCrash.into(), None, None);
        c.peer_opening_hash = Vec::new();
    });
    let first = side(1, Side::Provider, |p| (p.status, p.response) = (Status::Failed.into(), digest(9, 0)));
    let last = side(1, Side::Provider, |p| {
        let exchange = p.exchange.as_mut().unwrap();
        (exchange.attempt, exchange.provider_node) = (2, SIBLING.into());
    });
    assert_eq!(all(&[last.clone(), crashed.clone()]), (vec![], 0));
    assert_eq!(all(&[first.clone(), last.clone(), crashed.clone()]), (vec![], 0));
    // The other's record comes long after the node that it named has gone on.
    let mut matcher = Matcher::new(BOUNDS);
    let found = matcher.take(0, &crashed);
    assert_eq!(kinds(&found), [FindingKind::UnknownAfterCrash]);
    matcher.hear(PROVIDER, START_MS + BOUNDS.grace_ms + 1);
    assert_eq!(matcher.sweep(START_MS + 61_000), []);
    let explained = matcher.take(1, &last);
    assert!(matches!(explained.as_slice(), [Verdict::Explained { .. }]), "{explained:?}");
    assert!(matcher.is_empty());
    // What nobody ever explains is not remembered for ever.
    matcher.take(2, &crashed);
    assert_eq!(matcher.sweep(START_MS + BOUNDS.late_ms + 1), []);
    assert!(matcher.is_empty());
}

#[test]
fn clocks_that_cannot_both_be_right_are_told() {
    let mut late = side(1, Side::Provider, |_| {});
    late.time = time(START_MS + 6_000);
    let said = both(&side(1, Side::Consumer, |_| {}), &late);
    assert_eq!(said, (vec![FindingKind::ClockSkew], 0));
    let matcher = Matcher::new(BOUNDS);
    assert_eq!(matcher.compare_clock(PROVIDER, START_MS, START_MS + 9_000, 10_000), None);
    let told = matcher.compare_clock(PROVIDER, START_MS + 11_000, START_MS, 10_000);
    assert_eq!(kinds(&Vec::from_iter(told)), [FindingKind::ClockSkew]);
}

proptest! {
    /// However many exchanges, in whatever order, put away and taken back on the way: honest ones match, and of the others
    /// each gap is told once.
    #[test]
    fn any_order_and_any_memory_say_the_same(
        missing in prop::collection::btree_set(0..40_u8, 0..10),
        seed in any::<u64>(),
        held_max in 0..20_usize,
    ) {
        let mut records: Vec<(u8, Record)> = Vec::new();
        for number in 0..40_u8 {
            records.push((number, side(number, Side::Consumer, |_| {})));
            if !missing.contains(&number) {
                records.push((number, side(number, Side::Provider, |_| {})));
            }
        }
        // A shuffle that the seed alone decides.
        let mut state = seed | 1;
        for at in (1..records.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let other = usize::try_from(state >> 33).unwrap() % (at + 1);
            records.swap(at, other);
        }
        let mut matcher = Matcher::new(BOUNDS);
        let mut away = std::collections::BTreeMap::new();
        for (index, (number, record)) in (0..).zip(&records) {
            if let Some(pair) = away.remove(&id(*number)) {
                matcher.restore(id(*number), pair);
            }
            prop_assert_eq!(matcher.take(index, record), vec![]);
            away.extend(matcher.evict(held_max));
            prop_assert!(matcher.len() <= held_max);
        }
        matcher.hear(PROVIDER, START_MS + BOUNDS.grace_ms + 1);
        let mut said = matcher.sweep(START_MS + 61_000);
        for (id, pair) in away {
            said.extend(matcher.judge(&id, pair, START_MS + 61_000).1);
        }
        let told: BTreeSet<u8> = said.iter().filter_map(|verdict| match verdict {
            Verdict::Found(found) if found.kind() == FindingKind::MissingSide => found.exchange_id.first().copied(),
            _ => None,
        }).collect();
        prop_assert_eq!((told, said.len()), (missing.clone(), missing.len()));
    }

    #[test]
    fn any_record_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), index: u64) {
        use prost::Message as _;
        if let Ok(record) = Record::decode(bytes.as_slice()) {
            let mut matcher = Matcher::new(BOUNDS);
            matcher.take(index, &record);
            matcher.sweep(i64::MAX);
            prop_assert!(Half::read(index, &record).is_some() || matcher.is_empty());
        }
    }
}
