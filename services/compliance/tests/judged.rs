//! Checks, scores and news: what is measured, and what time brings.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{COPY, NOON, QUERY, SYNC, closed, facts, kind, ms, served, state};
use lienthong_compliance::facts::{Refusals, Rules};
use lienthong_compliance::pulse::Demand;
use lienthong_compliance::{ContractStanding, EntryFacts, News, Observed, card, entry};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Side, Status};
use lienthong_proto::lienthong::compliance::v1::{CheckKind, CheckState};
use proptest::prelude::*;
use time::OffsetDateTime;
use time::macros::date;

const HOUR: Duration = Duration::from_secs(3_600);

fn of() -> (String, String) {
    ("G24".to_owned(), "bhxh.qua_trinh_dong".to_owned())
}

fn demands(demand: Demand) -> BTreeMap<(String, String), Demand> {
    [(of(), demand)].into()
}

fn judged(facts: &EntryFacts, observed: &Observed, now: OffsetDateTime) -> Vec<(CheckKind, CheckState)> {
    let entry = entry::judge(facts, observed, &Rules::default(), now);
    entry.checks.iter().map(|check| (check.kind(), check.state())).collect()
}

#[test]
fn a_provider_that_stops_goes_stale_and_its_score_drops_until_it_catches_up() {
    let (mut observed, rules) = (Observed::default(), Rules::default());
    served(&mut observed, "H26", SYNC, ms(NOON), 1);
    let demand = demands(Demand { lag_max: Some(HOUR), ..Demand::default() });
    assert!(observed.pulse(&demand, NOON).is_empty());
    let before = entry::judge(&facts(), &observed, &rules, NOON);
    assert_eq!((state(&before, CheckKind::Fresh), before.score), (CheckState::Passed, 100));

    let late = NOON + 2 * HOUR;
    let news = observed.pulse(&demand, late);
    let since = ms(NOON + HOUR);
    assert!(
        matches!(&news[..], [News::Stale { since_ms, lag_ms, .. }] if *since_ms == since && *lag_ms == 7_200_000),
        "{news:?}"
    );
    // The same time, told again under the same name.
    assert!(
        matches!(&observed.pulse(&demand, late + HOUR)[..], [News::Stale { since_ms, .. }] if *since_ms == since)
    );
    let stale = entry::judge(&facts(), &observed, &rules, late);
    assert_eq!(state(&stale, CheckKind::Fresh), CheckState::Failed);
    assert!(stale.score < before.score, "{} < {}", stale.score, before.score);
    assert_eq!(stale.lag.as_ref().unwrap().observed.unwrap().seconds, 7_200);

    let back = late + 2 * HOUR;
    served(&mut observed, "H26", SYNC, ms(back), 2);
    assert_eq!(observed.pulse(&demand, back), [News::Fresh { of: of(), since_ms: since }]);
    let fresh = entry::judge(&facts(), &observed, &rules, back);
    let lag = fresh.lag.as_ref().unwrap();
    assert_eq!((state(&fresh, CheckKind::Fresh), lag.episodes), (CheckState::Passed, 1));
    assert_eq!(lag.longest.unwrap().seconds, 3 * 3_600, "the outage shows in the year's report");
    let live = fresh.quality.unwrap().live.unwrap();
    assert_eq!((live.good, live.total), (0, 1), "a day with an outage is no live day");
}

#[test]
fn a_synchronisation_that_was_never_seen_is_missed_once_it_is_due() {
    let (mut observed, rules) = (Observed::default(), Rules::default());
    // Calls alone do not fulfil a duty to synchronise.
    served(&mut observed, "H26", QUERY, ms(NOON), 1);
    let of = |observed: &Observed, now| {
        let entry = entry::judge(&facts(), observed, &rules, now);
        let met = entry.deadline.as_ref().unwrap().met;
        (state(&entry, CheckKind::Fresh), state(&entry, CheckKind::Deadline), met)
    };
    let waiting = (CheckState::NotMeasured, CheckState::NotMeasured, false);
    let missed = (CheckState::Failed, CheckState::Failed, false);
    let met = (CheckState::Passed, CheckState::Passed, true);
    let due = rules.deadline.midnight().assume_utc();
    let too_late = due + 48 * HOUR;
    assert_eq!(of(&observed, due - 24 * HOUR), waiting);
    assert_eq!(of(&observed, too_late), missed);
    served(&mut observed, "H26", SYNC, ms(too_late), 2);
    assert_eq!(of(&observed, too_late), met);

    // What is asked for online alone owes none.
    let online = EntryFacts { is_synchronised: false, ..facts() };
    let entry = entry::judge(&online, &Observed::default(), &rules, too_late);
    assert_eq!(state(&entry, CheckKind::Fresh), CheckState::NotMeasured);
    assert!(entry.deadline.unwrap().met);
}

#[test]
fn an_announced_outage_is_no_lag() {
    let mut observed = Observed::default();
    served(&mut observed, "H26", SYNC, ms(NOON), 1);
    let planned = Demand { lag_max: Some(HOUR), is_planned: true, ..Demand::default() };
    assert!(observed.pulse(&demands(planned), NOON + 3 * HOUR).is_empty());
    let facts = EntryFacts { is_planned_outage: true, ..facts() };
    let entry = entry::judge(&facts, &observed, &Rules::default(), NOON + 3 * HOUR);
    assert_eq!(state(&entry, CheckKind::Fresh), CheckState::NotMeasured);
}

#[test]
fn a_copy_that_is_no_longer_fed_becomes_invalid() {
    let mut observed = Observed::default();
    served(&mut observed, "H26", COPY, ms(NOON), 1);
    served(&mut observed, "H29", COPY, ms(NOON + 2 * HOUR), 2);
    let facts = EntryFacts { copy_age_max: Some(HOUR), freshness: None, ..facts() };
    let demand = demands(Demand { copy_age_max: Some(HOUR), ..Demand::default() });
    let later = NOON + 2 * HOUR;
    let news = observed.pulse(&demand, later);
    assert!(
        matches!(&news[..], [News::InvalidCopy { pair, alive_ms, .. }] if pair.consumer == "H26" && *alive_ms == ms(NOON)),
        "{news:?}"
    );
    let entry = entry::judge(&facts, &observed, &Rules::default(), later);
    assert_eq!(state(&entry, CheckKind::Copies), CheckState::Failed);
    let check = entry.checks.iter().find(|check| check.kind() == CheckKind::Copies).unwrap();
    assert!(check.text_en.contains("H26") && !check.text_en.contains("H29"), "{}", check.text_en);
    served(&mut observed, "H26", COPY, ms(later), 3);
    assert!(observed.pulse(&demand, later).is_empty());
}

#[test]
fn days_on_which_the_sides_disagree_are_told_and_closed() {
    let (mut observed, none) = (Observed::default(), BTreeMap::new());
    let day = NOON;
    served(&mut observed, "H26", QUERY, ms(day), 1);
    // The provider's node has an answer on record of which the consumer's knows nothing.
    let lonely = closed(Side::Provider, "H26", QUERY, Status::Delivered, ms(day), 2);
    observed.take(&lonely, &kind, ms(day));
    assert!(observed.pulse(&none, day + HOUR).is_empty(), "the day is not over");
    let next = day + 24 * HOUR;
    let news = observed.pulse(&none, next);
    assert!(matches!(&news[..], [News::CountsDiffer { count, .. }] if count.provider_all == 2), "{news:?}");
    let entry = entry::judge(&facts(), &observed, &Rules::default(), next);
    assert_eq!(state(&entry, CheckKind::Reconciled), CheckState::Failed);
    assert_eq!(entry.reconciliation.unwrap().day, "2026-11-22");
    // The consumer's record comes late.
    observed.take(&closed(Side::Consumer, "H26", QUERY, Status::Delivered, ms(day), 2), &kind, ms(next));
    assert!(matches!(&observed.pulse(&none, next)[..], [News::CountsAgree { .. }]));
    let closed_at = day + 9 * 24 * HOUR;
    let news = observed.pulse(&none, closed_at);
    assert!(
        news.iter().any(|one| matches!(one, News::DayClosed { pairs: 1, differing: 0, day } if *day == date!(2026 - 11 - 22))),
        "{news:?}"
    );
    assert!(observed.days("G24", "bhxh.qua_trinh_dong").is_empty());
    let entry = entry::judge(&facts(), &observed, &Rules::default(), closed_at);
    assert_eq!(entry.reconciliation.unwrap().days, 1, "the year's number stays");
}

#[test]
fn the_clock_of_the_deadline_runs_in_viet_nam() {
    let observed = Observed::default();
    let away = EntryFacts { is_connected: false, contract: ContractStanding::Missing, ..facts() };
    let rules = Rules::default();
    let of = |now| entry::judge(&away, &observed, &rules, now);
    let last = time::macros::datetime!(2026-12-31 23:59 +7);
    let entry = of(last);
    assert_eq!(entry.deadline.as_ref().unwrap().days_left, 0);
    assert_eq!(state(&entry, CheckKind::Deadline), CheckState::NotMeasured, "there is a day left");
    let entry = of(last + HOUR);
    assert_eq!(state(&entry, CheckKind::Deadline), CheckState::Failed);
    assert_eq!(entry.deadline.as_ref().unwrap().days_left, -1);
    let own = EntryFacts { deadline: Some(date!(2025 - 12 - 31)), is_synchronised: false, ..facts() };
    let entry = entry::judge(&own, &observed, &rules, NOON);
    let deadline = entry.deadline.clone().unwrap();
    assert!(deadline.own && deadline.met && deadline.date == "2025-12-31");
    assert_eq!(
        state(&entry, CheckKind::Deadline),
        CheckState::Passed,
        "what works is met, however late it looks"
    );
}

#[test]
fn an_entry_is_to_be_reviewed_every_six_months() {
    let observed = Observed::default();
    let reviewed = |at| EntryFacts { reviewed: at, ..facts() };
    let at = time::macros::datetime!(2026-05-22 09:00 +7);
    let due = time::macros::datetime!(2026-11-22 23:59 +7);
    let of = |now| entry::judge(&reviewed(at), &observed, &Rules::default(), now);
    assert_eq!(state(&of(due), CheckKind::Reviewed), CheckState::Passed);
    let overdue = of(due + HOUR);
    assert_eq!(state(&overdue, CheckKind::Reviewed), CheckState::Failed);
    assert!(overdue.review.unwrap().overdue);
}

#[test]
fn each_shortcoming_fails_its_own_check_and_no_other() {
    let mut observed = Observed::default();
    served(&mut observed, "H26", SYNC, ms(NOON), 1);
    let good = judged(&facts(), &observed, NOON);
    let unlawful = Refusals { unjustified: 1, unlawful_open: 1, ..Refusals::default() };
    let shortcomings = [
        (CheckKind::Registered, EntryFacts { is_in_force: false, ..facts() }),
        (CheckKind::Published, EntryFacts { contract: ContractStanding::Missing, ..facts() }),
        (
            CheckKind::Published,
            EntryFacts { contract: ContractStanding::Lacks(vec!["QUERY".into()]), ..facts() },
        ),
        (CheckKind::Published, EntryFacts { contract: ContractStanding::Drifted("x".into()), ..facts() }),
        (CheckKind::Served, EntryFacts { refusals: unlawful, ..facts() }),
        (CheckKind::Reviewed, EntryFacts { reviewed: NOON - 300 * 24 * HOUR, ..facts() }),
    ];
    for (kind, facts) in shortcomings {
        for ((one, state), (_, before)) in judged(&facts, &observed, NOON).into_iter().zip(&good) {
            // What fails to be published or in force has not met its deadline, either, and owes no freshness.
            if [CheckKind::Deadline, CheckKind::Fresh].contains(&one) {
                continue;
            }
            assert_eq!(state == CheckState::Failed, one == kind, "{kind:?}: {one:?}");
            assert!(one == kind || state == *before, "{kind:?}: {one:?}");
        }
    }
}

#[test]
fn records_against_the_rules_fail_the_quality_check() {
    let mut observed = Observed::default();
    let mut one = closed(Side::Provider, "H26", QUERY, Status::Delivered, ms(NOON), 1);
    if let Some(Body::Closing(closing)) = &mut one.body {
        closing.quality.as_mut().unwrap().incomplete = 1;
    }
    observed.take(&one, &kind, ms(NOON));
    let entry = entry::judge(&facts(), &observed, &Rules::default(), NOON);
    let check = entry.checks.iter().find(|check| check.kind() == CheckKind::Quality).unwrap();
    assert_eq!(check.state(), CheckState::Failed);
    assert!(check.text_vi.contains("đủ") && !check.text_vi.contains("sạch"), "{}", check.text_vi);
    let quality = entry.quality.unwrap();
    assert_eq!((quality.complete.unwrap().good, quality.correct.unwrap().good), (2, 3));
}

#[test]
fn a_card_sums_its_entries_and_the_public_page_tells_nobody_apart() {
    let mut observed = Observed::default();
    served(&mut observed, "H26", QUERY, ms(NOON), 1);
    let rules = Rules::default();
    let bad = EntryFacts { id: "CE-0009".to_owned(), dataset: "bhyt.the".to_owned(), ..facts() };
    let bad = EntryFacts { contract: ContractStanding::Missing, ..bad };
    let entries: Vec<_> =
        [facts(), bad].iter().map(|one| entry::judge(one, &observed, &rules, NOON)).collect();
    let card = card::of("G24", entries.clone());
    assert_eq!((card.entry_count, card.entries_kept), (2, 1));
    assert_eq!(card.score, u32::midpoint(entries[0].score, entries[1].score));
    assert_eq!(card.calls.unwrap().requested, 1);
    assert_eq!(card.nearest_deadline.unwrap().date, "2026-12-31");
    let public = card::statistics(&entries, &BTreeMap::new());
    assert_eq!((public.entries, public.entries_kept, public.requested), (2, 1, 1));
    assert!(!format!("{public:?}").contains("H26"), "{public:?}");
}

proptest! {
    /// A score is a share of what was measured, whatever the facts are.
    #[test]
    fn a_score_is_the_share_of_what_holds(
        force in any::<bool>(), connected in any::<bool>(), missing in any::<bool>(), open in 0u32..3,
        lag in 0u64..10_000, synced in any::<bool>(), reviewed_days in 0u32..400,
    ) {
        let mut observed = Observed::default();
        if synced {
            served(&mut observed, "H26", SYNC, ms(NOON), 1);
        }
        let facts = EntryFacts {
            is_in_force: force,
            is_connected: connected,
            contract: if missing { ContractStanding::Missing } else { ContractStanding::Fits },
            refusals: Refusals { unlawful_open: open, ..Refusals::default() },
            reviewed: NOON - reviewed_days * 24 * HOUR,
            ..facts()
        };
        let now = NOON + Duration::from_secs(lag);
        let entry = entry::judge(&facts, &observed, &Rules::default(), now);
        prop_assert_eq!(entry.checks.len(), 10);
        let count = |state| entry.checks.iter().filter(|check| check.state() == state).count();
        let (passed, failed) = (count(CheckState::Passed), count(CheckState::Failed));
        prop_assert_eq!(entry.score as usize, passed * 100 / (passed + failed));
        prop_assert_eq!(entry::is_failing(&entry), failed > 0);
        let fresh = state(&entry, CheckKind::Fresh);
        let expected = match (force && synced, lag > 3_600) {
            (false, _) => CheckState::NotMeasured,
            (true, late) => if late { CheckState::Failed } else { CheckState::Passed },
        };
        prop_assert_eq!(fresh, expected);
    }
}
