//! Counting from the log: nothing twice, nothing lost, whatever the records say.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::collections::BTreeMap;

use common::{
    COPY, NOON, QUERY, SYNC, closed, denied, exchange, goes_on, id, kind, ms, opened, record, served,
};
use lienthong_compliance::observed::PAIRS_MAX;
use lienthong_compliance::sign::DENIED_TOGETHER_MAX;
use lienthong_compliance::{Observed, Tally, day};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Aggregate, Closing, Record, SampledQuality, Side, Status};
use proptest::prelude::*;

const DATASET: &str = "bhxh.qua_trinh_dong";

fn sum(observed: &Observed) -> Tally {
    observed.tallies(2026, "G24", DATASET).fold(Tally::default(), |mut sum, (_, tally)| {
        sum.add(tally);
        sum
    })
}

#[test]
fn each_side_counts_what_is_its_own() {
    let mut observed = Observed::default();
    let now = ms(NOON);
    served(&mut observed, "H26", QUERY, now, 1);
    observed.take(&closed(Side::Consumer, "H26", QUERY, Status::Refused, now, 2), &kind, now);
    observed.take(&closed(Side::Consumer, "H29", QUERY, Status::Failed, now, 3), &kind, now);
    observed.take(&denied("H29", now), &kind, now);
    let all = sum(&observed);
    assert_eq!((all.requested, all.served, all.refused, all.failed, all.denied), (4, 1, 1, 1, 1));
    assert_eq!((all.records, all.sampled), (9, 3));
    assert_eq!(
        observed.tallies(2026, "G24", DATASET).map(|(who, _)| who).collect::<Vec<_>>(),
        ["H26", "H29"]
    );
    assert!((1_000..=2_000).contains(&all.quantile_us(500)), "{}", all.quantile_us(500));
    assert_eq!(all.sync_alive_ms, 0, "a question is no synchronisation");
}

#[test]
fn denials_that_were_counted_together_count_as_many() {
    let (mut observed, now) = (Observed::default(), ms(NOON));
    let together = |change: fn(&mut Aggregate)| {
        let mut many = Aggregate {
            reason: "DENY_PURPOSE".to_owned(),
            source: "agencies/H29/systems/mot-cua".to_owned(),
            count: 250,
            side: Side::Consumer.into(),
            provider: "G24".to_owned(),
            dataset: "bhxh.qua_trinh_dong".to_owned(),
            consumer: "H29".to_owned(),
            ..Aggregate::default()
        };
        change(&mut many);
        record(&exchange(Side::Consumer, "H29", QUERY, Vec::new()), now, Body::Aggregate(many))
    };
    observed.take(&denied("H29", now), &kind, now);
    observed.take(&together(|_| {}), &kind, now);
    // Of nobody in particular, by the other side, or about another agency's calls: no word that counts.
    for other in [
        together(|many| many.dataset.clear()),
        together(|many| many.side = Side::Provider.into()),
        together(|many| many.consumer = "H26".to_owned()),
        together(|many| *many = Aggregate { count: 9, ..Aggregate::default() }),
    ] {
        observed.take(&other, &kind, now);
    }
    let all = sum(&observed);
    assert_eq!((all.requested, all.denied), (251, 251));
    // No record can make a number of its own.
    observed.take(&together(|many| many.count = u64::MAX), &kind, now);
    assert_eq!(sum(&observed).denied, 251 + DENIED_TOGETHER_MAX);
}

#[test]
fn a_node_s_word_about_others_counts_for_nothing() {
    let mut observed = Observed::default();
    let now = ms(NOON);
    let mut lie = closed(Side::Provider, "H26", QUERY, Status::Delivered, now, 1);
    lie.recorder = "agencies/H29/nodes/n1".to_owned();
    observed.take(&lie, &kind, now);
    let mut future = closed(Side::Consumer, "H26", QUERY, Status::Delivered, now, 1);
    future.time.as_mut().unwrap().seconds += 3 * 86_400;
    observed.take(&future, &kind, now);
    assert_eq!(sum(&observed), Tally::default());
    assert_eq!((observed.heard_ms("H29"), observed.heard_ms("H26")), (Some(now), None));
}

#[test]
fn a_stream_is_alive_while_it_lasts_and_no_longer() {
    let mut observed = Observed::default();
    let begin = ms(NOON);
    observed.take(&opened("H26", SYNC, begin, 7), &kind, begin);
    assert_eq!(observed.sync_alive_ms(2026, "G24", DATASET), Some(begin));
    observed.take(&goes_on(id(begin, 7), begin + 5_000), &kind, begin + 5_000);
    assert_eq!(observed.sync_alive_ms(2026, "G24", DATASET), Some(begin + 5_000));
    // Nothing changes at the source; the stream stands.
    observed.beat(&|node| node == "agencies/G24/nodes/n1", begin + 60_000);
    assert_eq!(observed.sync_alive_ms(2026, "G24", DATASET), Some(begin + 60_000));
    // The node is gone.
    observed.beat(&|_| false, begin + 90_000);
    assert_eq!(observed.sync_alive_ms(2026, "G24", DATASET), Some(begin + 60_000));
    let mut end = closed(Side::Provider, "H26", SYNC, Status::UnknownAfterCrash, begin + 95_000, 7);
    if let Some(Body::Closing(Closing { exchange: Some(exchange), .. })) = &mut end.body {
        exchange.id = id(begin, 7);
    }
    observed.take(&end, &kind, begin + 95_000);
    observed.beat(&|_| true, begin + 99_000);
    assert_eq!(observed.sync_alive_ms(2026, "G24", DATASET), Some(begin + 60_000), "it has ended");
}

#[test]
fn both_sides_count_an_exchange_on_the_day_on_which_it_began() {
    let mut observed = Observed::default();
    let before = ms(time::macros::datetime!(2026-11-21 23:59:59 +7));
    let after = before + 2_000;
    for (side, at) in [(Side::Consumer, after), (Side::Provider, before)] {
        let mut one = closed(side, "H26", QUERY, Status::Delivered, at, 1);
        if let Some(Body::Closing(Closing { exchange: Some(exchange), .. })) = &mut one.body {
            exchange.id = id(before, 1);
        }
        observed.take(&one, &kind, after);
    }
    let days = observed.days("G24", DATASET);
    assert_eq!(days.len(), 1);
    assert_eq!((days[0].1.consumer_all, days[0].1.provider_all), (1, 1));
    assert_eq!(day::written(days[0].0), "2026-11-21");
}

#[test]
fn a_sample_never_says_more_than_it_looked_at() {
    let mut tally = Tally::default();
    tally.sampled(&SampledQuality { records: 2, incorrect: 9, incomplete: 1, ..SampledQuality::default() });
    assert_eq!((tally.sampled, tally.incorrect, tally.incomplete), (2, 2, 1));
    tally.answered_within(u64::MAX);
    tally.answered_within(0);
    assert!(tally.quantile_us(1_000) > tally.quantile_us(1));
}

#[test]
fn beyond_the_bound_consumers_count_together() {
    let mut observed = Observed::default();
    let now = ms(NOON);
    for number in 0..=PAIRS_MAX {
        let consumer = format!("H26.{number}");
        observed.take(&denied(&consumer, now), &kind, now);
    }
    observed.take(&denied("H29", now), &kind, now);
    let kept: BTreeMap<&str, &Tally> = observed.tallies(2026, "G24", DATASET).collect();
    assert_eq!(kept.len(), PAIRS_MAX + 1);
    assert_eq!(kept["*"].denied, 2);
    assert_eq!(sum(&observed).denied, PAIRS_MAX as u64 + 2);
}

/// What may happen, in an order that may be.
fn happenings() -> impl Strategy<Value = Vec<Record>> {
    let one = (0u8..6, 0usize..3, 0usize..3, 0i64..200_000, any::<u8>()).prop_map(
        |(what, who, how, after, number)| {
            let consumer = ["H26", "H29", "G12.90"][who];
            let method = [QUERY, SYNC, COPY][how];
            let at = ms(NOON) - 200_000 + after;
            let status =
                [Status::Delivered, Status::Empty, Status::Partial, Status::Failed][usize::from(number) % 4];
            match what {
                0 => denied(consumer, at),
                1 => opened(consumer, method, at, number),
                2 => goes_on(id(at, number), at),
                3 => closed(Side::Consumer, consumer, method, status, at, number),
                _ => closed(Side::Provider, consumer, method, status, at, number),
            }
        },
    );
    proptest::collection::vec(one, 0..60)
}

proptest! {
    /// A crash after any record, with the rows saved then, goes on as if it had not happened.
    #[test]
    fn what_was_kept_goes_on_as_if_nothing_had_happened(records in happenings(), cut in 0usize..60) {
        let now = ms(NOON);
        let cut = cut.min(records.len());
        let mut whole = Observed::default();
        for record in &records[..cut] {
            whole.take(record, &kind, now);
        }
        whole.beat(&|_| true, now);
        for record in &records[cut..] {
            whole.take(record, &kind, now);
        }
        let mut first = Observed::default();
        for record in &records[..cut] {
            first.take(record, &kind, now);
        }
        let mut second = Observed::default();
        first.beat(&|_| true, now);
        let counted = first.take_counted();
        prop_assert_eq!(first.changes(), 0);
        for (key, row) in counted.into_iter().chain(first.take_timed(usize::MAX)) {
            if let Some(row) = row {
                prop_assert!(second.restore(&key, &row), "{}", key);
            }
        }
        for record in &records[cut..] {
            second.take(record, &kind, now);
        }
        let rows = |observed: &Observed| {
            let tallies: Vec<(String, Tally)> =
                observed.tallies(2026, "G24", DATASET).map(|(who, tally)| (who.to_owned(), tally.clone())).collect();
            (tallies, observed.days("G24", DATASET), observed.heard_ms("G24"))
        };
        prop_assert_eq!(rows(&whole), rows(&second));
    }

    /// Whatever a row's key and bytes are, nothing breaks.
    #[test]
    fn a_row_that_nobody_wrote_is_refused(key in "\\PC{0,40}", row in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut observed = Observed::default();
        observed.restore(&key, &row);
        observed.restore(&format!("tally/{key}"), &row);
        observed.restore(&format!("day/{key}"), &row);
        observed.restore(&format!("open/{key}"), &row);
    }

    /// A quantile is within half of what was counted.
    #[test]
    fn a_quantile_is_near(times in proptest::collection::vec(1u64..1 << 34, 1..200), permille in 1u64..=1_000) {
        let mut tally = Tally::default();
        for time in &times {
            tally.answered_within(*time);
        }
        let mut sorted = times.clone();
        sorted.sort_unstable();
        let rank = usize::try_from((sorted.len() as u64 * permille).div_ceil(1_000)).unwrap().max(1);
        let (exact, told) = (sorted[rank - 1], tally.quantile_us(permille));
        prop_assert!(told <= exact + exact / 2 + 1 && exact <= 2 * told, "{} for {}", told, exact);
    }
}
