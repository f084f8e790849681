//! Checks and score of one entry: from what is known of it and what the log has shown.

use std::time::Duration;

use lienthong_proto::lienthong::compliance::v1::{
    Calls, Check, CheckKind, CheckState, Deadline, EntryCompliance, Lag, Measure, Quality, ReasonCount,
    Reconciliation, RefusalCounts, Review,
};
use prost_types::Timestamp;
use time::{Date, OffsetDateTime};

use crate::day;
use crate::facts::{ContractStanding, EntryFacts, Rules};
use crate::observed::Observed;
use crate::pulse::Reconciled;
use crate::tally::{Standing, Tally};

/// Consumers that one text names.
const NAMED_MAX: usize = 3;

/// How an entry is kept, in the year of `now`.
pub fn judge(facts: &EntryFacts, observed: &Observed, rules: &Rules, now: OffsetDateTime) -> EntryCompliance {
    let seen = Seen::of(facts, observed, rules, now);
    let checks = vec![
        registered(facts),
        published(facts),
        reachable(facts, &seen, rules),
        fresh(facts, &seen),
        served(facts),
        quality(&seen, rules),
        deadline(facts, &seen),
        reviewed(&seen),
        reconciled(&seen),
        copies(facts, &seen),
    ];
    EntryCompliance {
        name: format!("entries/{}/compliance", facts.id),
        entry: facts.versioned_id.clone(),
        dataset: facts.dataset.clone(),
        provider: facts.provider.clone(),
        score: score(&checks),
        checks,
        last_heard_time: seen.heard_ms.map(timestamp),
        lag: Some(lag(&seen)),
        calls: Some(seen.calls),
        refusals: Some(refusals(facts)),
        quality: Some(seen.quality),
        deadline: Some(seen.deadline.clone()),
        review: Some(seen.review),
        reconciliation: Some(reconciliation(&seen.reconciled)),
    }
}

/// True where a check of the entry has failed.
pub fn is_failing(entry: &EntryCompliance) -> bool {
    entry.checks.iter().any(|check| check.state() == CheckState::Failed)
}

/// What the log says of a year, for the report: without checks, for a year that is over.
pub fn of_year(facts: &EntryFacts, observed: &Observed, rules: &Rules, year: i32) -> EntryCompliance {
    let (sum, calls) = calls(facts, observed, year);
    let standing = observed.standing(year, &facts.provider, &facts.dataset);
    EntryCompliance {
        entry: facts.versioned_id.clone(),
        dataset: facts.dataset.clone(),
        provider: facts.provider.clone(),
        lag: Some(Lag {
            allowed: facts.lag_max(rules).map(duration),
            alive_time: (sum.sync_alive_ms > 0).then(|| timestamp(sum.sync_alive_ms)),
            longest: (standing.longest_ms > 0).then(|| duration_ms(standing.longest_ms)),
            episodes: standing.episodes,
            ..Lag::default()
        }),
        quality: Some(six(facts, &sum, &standing, &calls)),
        calls: Some(calls),
        reconciliation: Some(Reconciliation {
            days: standing.reconciled_days,
            days_differing: standing.differing_days,
            ..Reconciliation::default()
        }),
        ..EntryCompliance::default()
    }
}

/// What the log has shown of one entry.
struct Seen {
    heard_ms: Option<i64>,
    is_heard: bool,
    lag_max: Option<Duration>,
    alive_ms: Option<i64>,
    lag_ms: Option<i64>,
    standing: Standing,
    youngest_age_ms: Option<u64>,
    calls: Calls,
    quality: Quality,
    /// Consumers whose copy is too old, and how many hold one.
    old_copies: Vec<String>,
    copies: usize,
    deadline: Deadline,
    review: Review,
    reconciled: Reconciled,
}

impl Seen {
    fn of(facts: &EntryFacts, observed: &Observed, rules: &Rules, now: OffsetDateTime) -> Self {
        let (today, now_ms) = (day::of(now), day::unix_ms(now));
        let year = today.year();
        let (provider, dataset) = (facts.provider.as_str(), facts.dataset.as_str());
        let heard_ms = observed.heard_ms(provider);
        let heard_within = i64::try_from(rules.heard_within.as_millis()).unwrap_or(i64::MAX);
        let (sum, calls) = calls(facts, observed, year);
        let standing = observed.standing(year, provider, dataset);
        let quality = six(facts, &sum, &standing, &calls);
        let alive_ms = observed.sync_alive_ms(year, provider, dataset);
        let (mut old_copies, mut copies) = (Vec::new(), 0);
        if let Some(allowed) = facts.copy_age_max {
            let allowed = i64::try_from(allowed.as_millis()).unwrap_or(i64::MAX);
            for (consumer, tally) in observed.tallies(year, provider, dataset) {
                if tally.copy_alive_ms > 0 {
                    copies += 1;
                    if now_ms.saturating_sub(tally.copy_alive_ms) > allowed {
                        old_copies.push(consumer.to_owned());
                    }
                }
            }
        }
        let contract_fits = facts.contract == ContractStanding::Fits;
        let is_heard =
            facts.is_connected || heard_ms.is_some_and(|heard| now_ms.saturating_sub(heard) <= heard_within);
        let lag_max = facts.lag_max(rules);
        // What must be synchronised and never was does not work yet, however well its node answers.
        let flows = lag_max.is_none() || alive_ms.is_some();
        Self {
            heard_ms,
            is_heard,
            lag_max,
            alive_ms,
            lag_ms: alive_ms.map(|alive| now_ms.saturating_sub(alive).max(0)),
            standing,
            youngest_age_ms: sum.youngest_age_ms,
            calls,
            quality,
            old_copies,
            copies,
            deadline: clock(facts, rules, today, facts.is_in_force && contract_fits && is_heard && flows),
            review: review(facts.reviewed, rules, now),
            reconciled: observed.reconciled(provider, dataset, now),
        }
    }
}

/// Passed checks of those that say something, percent.
fn score(checks: &[Check]) -> u32 {
    let count = |state: CheckState| checks.iter().filter(|check| check.state() == state).count();
    let (passed, failed) = (count(CheckState::Passed), count(CheckState::Failed));
    u32::try_from((passed * 100).checked_div(passed + failed).unwrap_or(0)).unwrap_or(0)
}

fn registered(facts: &EntryFacts) -> Check {
    let (vi, en) = if facts.is_in_force {
        ("mục đang có hiệu lực", "the entry is in force")
    } else {
        ("mục chưa có hiệu lực", "the entry is not in force")
    };
    check(CheckKind::Registered, "R-09", facts.is_in_force.into(), vi, en)
}

fn published(facts: &EntryFacts) -> Check {
    let (holds, vi, en) = match &facts.contract {
        ContractStanding::Fits => (
            true,
            "hợp đồng đã công bố có đủ các phương thức".to_owned(),
            "the published contract has every method".to_owned(),
        ),
        ContractStanding::Missing => (
            false,
            "chưa có hợp đồng nào công bố bộ dữ liệu".to_owned(),
            "no contract declares the dataset".to_owned(),
        ),
        ContractStanding::Lacks(methods) => {
            let methods = methods.join(", ");
            (
                false,
                format!("hợp đồng thiếu phương thức {methods}"),
                format!("the contract has no method of kind {methods}"),
            )
        }
        ContractStanding::Drifted(why) => (
            false,
            format!("hợp đồng đang chạy khác hợp đồng đã đăng ký: {why}"),
            format!("the contract that runs is not the registered one: {why}"),
        ),
    };
    check(CheckKind::Published, "R-10", holds.into(), &vi, &en)
}

fn reachable(facts: &EntryFacts, seen: &Seen, rules: &Rules) -> Check {
    let seconds = rules.heard_within.as_secs();
    let (vi, en) = match (facts.is_connected, seen.is_heard) {
        (true, _) => {
            ("nút của bên cung cấp đang kết nối".to_owned(), "a node of the provider is connected".to_owned())
        }
        (false, true) => (
            format!("nút vừa có tín hiệu trong {seconds} giây qua"),
            format!("a node was heard within the last {seconds} s"),
        ),
        (false, false) => (
            "không nút nào của bên cung cấp đang kết nối".to_owned(),
            "no node of the provider is connected".to_owned(),
        ),
    };
    check(CheckKind::Reachable, "R-01", seen.is_heard.into(), &vi, &en)
}

fn fresh(facts: &EntryFacts, seen: &Seen) -> Check {
    let of = |state: Outcome, vi: &str, en: &str| check(CheckKind::Fresh, "R-19", state, vi, en);
    let Some(allowed) = seen.lag_max else {
        return of(
            Outcome::NotMeasured,
            "dữ liệu được hỏi trực tuyến, không đồng bộ",
            "the data is asked for online, not synchronised",
        );
    };
    let Some(lag_ms) = seen.lag_ms else {
        let Deadline { date, days_left, .. } = &seen.deadline;
        if *days_left >= 0 {
            let (vi, en) = (
                format!("chưa ghi nhận lần đồng bộ nào, hạn {date}"),
                format!("no synchronisation was seen yet; due {date}"),
            );
            return of(Outcome::NotMeasured, &vi, &en);
        }
        let (vi, en) = (
            format!("chưa từng ghi nhận lần đồng bộ nào, đã quá hạn {date}"),
            format!("no synchronisation was ever seen, and it was due {date}"),
        );
        return of(Outcome::Failed, &vi, &en);
    };
    let (lag, most) = (in_words(lag_ms), in_words(i64::try_from(allowed.as_millis()).unwrap_or(i64::MAX)));
    let is_fresh = u128::from(lag_ms.unsigned_abs()) <= allowed.as_millis();
    if !is_fresh && facts.is_planned_outage {
        let (vi, en) = (
            format!("trễ {lag}, trong thời gian bảo trì đã thông báo"),
            format!("{lag} behind, in an announced outage"),
        );
        return of(Outcome::NotMeasured, &vi, &en);
    }
    let (vi, en) = (format!("trễ {lag}, cho phép {most}"), format!("{lag} behind, {most} allowed"));
    of(is_fresh.into(), &vi, &en)
}

fn served(facts: &EntryFacts) -> Check {
    let open = facts.refusals.unlawful_open;
    let (vi, en) = if open == 0 {
        ("không có từ chối trái quy định đang diễn ra".to_owned(), "no unlawful refusal goes on".to_owned())
    } else {
        (format!("{open} từ chối trái quy định đang diễn ra"), format!("{open} unlawful refusals go on"))
    };
    check(CheckKind::Served, "R-04", (open == 0).into(), &vi, &en)
}

fn quality(seen: &Seen, rules: &Rules) -> Check {
    let Quality { correct, complete, clean, .. } = &seen.quality;
    let measures = [("đúng", "correct", correct), ("đủ", "complete", complete), ("sạch", "clean", clean)];
    let sampled = correct.as_ref().map_or(0, |measure| measure.total);
    let min = rules.quality_percent_min;
    if sampled == 0 {
        return check(
            CheckKind::Quality,
            "R-40",
            Outcome::NotMeasured,
            "chưa có bản ghi nào được kiểm mẫu",
            "no record was sampled yet",
        );
    }
    let fails =
        |measure: &Measure| u128::from(measure.good) * 100 < u128::from(measure.total) * u128::from(min);
    let failing = measures.iter().filter(|(_, _, measure)| measure.as_ref().is_some_and(fails));
    let (failing_vi, failing_en): (Vec<&str>, Vec<&str>) = failing.map(|(vi, en, _)| (*vi, *en)).unzip();
    let (vi, en) = if failing_en.is_empty() {
        (
            format!("đúng, đủ, sạch từ {min} % trở lên trong {sampled} bản ghi mẫu"),
            format!("correct, complete and clean in {min} % or more of {sampled} sampled records"),
        )
    } else {
        (
            format!("dưới {min} % trong {sampled} bản ghi mẫu: {}", failing_vi.join(", ")),
            format!("under {min} % of {sampled} sampled records: {}", failing_en.join(", ")),
        )
    };
    check(CheckKind::Quality, "R-40", failing_en.is_empty().into(), &vi, &en)
}

fn deadline(facts: &EntryFacts, seen: &Seen) -> Check {
    let Deadline { date, days_left, met, .. } = &seen.deadline;
    let (state, vi, en) = match (*met, *days_left >= 0) {
        (true, _) => (Outcome::Passed, format!("đã đạt, hạn {date}"), format!("met; due {date}")),
        (false, true) => (
            Outcome::NotMeasured,
            format!("còn {days_left} ngày, hạn {date}"),
            format!("{days_left} days left; due {date}"),
        ),
        (false, false) => (
            Outcome::Failed,
            format!("quá hạn {} ngày, hạn {date}", days_left.unsigned_abs()),
            format!("{} days overdue; due {date}", days_left.unsigned_abs()),
        ),
    };
    let state = if facts.is_in_force { state } else { Outcome::NotMeasured };
    check(CheckKind::Deadline, "R-20", state, &vi, &en)
}

fn reviewed(seen: &Seen) -> Check {
    let due = seen.review.due_time.map_or(Date::MIN, |due| day::of_ms(due.seconds.saturating_mul(1_000)));
    let due = day::written(due);
    let (vi, en) = if seen.review.overdue {
        (format!("quá hạn rà soát 6 tháng, hạn {due}"), format!("the review is overdue since {due}"))
    } else {
        (format!("lần rà soát tiếp theo: {due}"), format!("next review: {due}"))
    };
    check(CheckKind::Reviewed, "R-11", (!seen.review.overdue).into(), &vi, &en)
}

fn reconciled(seen: &Seen) -> Check {
    let Reconciled { days, differing, .. } = seen.reconciled;
    let (state, vi, en) = if days == 0 {
        (
            Outcome::NotMeasured,
            "chưa có ngày nào được đối soát".to_owned(),
            "no day was reconciled yet".to_owned(),
        )
    } else {
        (
            (differing == 0).into(),
            format!("{days} ngày đã đối soát, {differing} ngày lệch"),
            format!("{days} days reconciled, {differing} differ"),
        )
    };
    check(CheckKind::Reconciled, "R-52", state, &vi, &en)
}

fn copies(facts: &EntryFacts, seen: &Seen) -> Check {
    let of = |state: Outcome, vi: &str, en: &str| check(CheckKind::Copies, "R-13", state, vi, en);
    if facts.copy_age_max.is_none() {
        return of(Outcome::NotMeasured, "mục không cho phép bản sao", "the entry allows no copies");
    }
    if seen.copies == 0 {
        return of(Outcome::NotMeasured, "chưa ai giữ bản sao", "nobody holds a copy");
    }
    if seen.old_copies.is_empty() {
        let (vi, en) =
            (format!("{} bản sao còn giá trị", seen.copies), format!("{} copies are valid", seen.copies));
        return of(Outcome::Passed, &vi, &en);
    }
    let mut named = seen.old_copies.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if seen.old_copies.len() > NAMED_MAX {
        named.push_str(", …");
    }
    let (vi, en) =
        (format!("bản sao quá cũ, không được dùng: {named}"), format!("copies too old to be used: {named}"));
    of(Outcome::Failed, &vi, &en)
}

fn lag(seen: &Seen) -> Lag {
    let longest_ms = match (seen.lag_ms, seen.lag_max) {
        (Some(lag), Some(_)) if seen.standing.stale_since_ms > 0 => seen.standing.longest_ms.max(lag),
        _ => seen.standing.longest_ms,
    };
    Lag {
        allowed: seen.lag_max.map(duration),
        observed: seen.lag_ms.map(duration_ms),
        alive_time: seen.alive_ms.map(timestamp),
        longest: (longest_ms > 0).then(|| duration_ms(longest_ms)),
        episodes: seen.standing.episodes,
        youngest_record_age: seen
            .youngest_age_ms
            .map(|age| duration_ms(i64::try_from(age).unwrap_or(i64::MAX))),
    }
}

fn calls(facts: &EntryFacts, observed: &Observed, year: i32) -> (Tally, Calls) {
    let mut sum = Tally::default();
    let (mut asking, mut serving) = (0, 0);
    for (_, tally) in observed.tallies(year, &facts.provider, &facts.dataset) {
        asking += u32::from(tally.requested > tally.denied);
        serving += u32::from(tally.served > 0);
        sum.add(tally);
    }
    let calls = Calls {
        entitled_consumers: facts.entitled_consumers,
        asking_consumers: asking,
        served_consumers: serving,
        requested: sum.requested,
        served: sum.served,
        denied: sum.denied,
        refused: sum.refused,
        failed: sum.failed,
        records: sum.records,
        p50_us: sum.quantile_us(500),
        p95_us: sum.quantile_us(950),
    };
    (sum, calls)
}

fn six(facts: &EntryFacts, sum: &Tally, standing: &Standing, calls: &Calls) -> Quality {
    let of_sampled = |bad: u64| Some(Measure { good: sum.sampled.saturating_sub(bad), total: sum.sampled });
    let due = standing.due_days + u32::from(!standing.day.is_empty());
    let live = standing.live_days + u32::from(!standing.day.is_empty() && !standing.day_was_stale);
    Quality {
        correct: of_sampled(sum.incorrect),
        complete: of_sampled(sum.incomplete),
        clean: of_sampled(sum.duplicate),
        live: Some(Measure { good: live.into(), total: due.into() }),
        consistent: if facts.is_dated { of_sampled(sum.undated) } else { Some(Measure::default()) },
        shared: Some(Measure { good: calls.served_consumers.into(), total: calls.asking_consumers.into() }),
    }
}

fn refusals(facts: &EntryFacts) -> RefusalCounts {
    RefusalCounts {
        declared: facts.refusals.declared,
        unjustified: facts.refusals.unjustified,
        undeclared: facts.refusals.undeclared,
        by_reason: facts
            .refusals
            .by_reason
            .iter()
            .map(|(reason, count)| ReasonCount { reason: reason.clone(), count: *count })
            .collect(),
    }
}

fn clock(facts: &EntryFacts, rules: &Rules, today: Date, met: bool) -> Deadline {
    let date = facts.deadline.unwrap_or(rules.deadline);
    let days_left = i32::try_from((date - today).whole_days()).unwrap_or(i32::MAX);
    Deadline { date: day::written(date), days_left, own: facts.deadline.is_some(), met }
}

fn review(last: OffsetDateTime, rules: &Rules, now: OffsetDateTime) -> Review {
    let due = day::months_later(day::of(last), rules.review_months);
    let due_ms = day::end_ms(due);
    Review {
        last_time: Some(timestamp(day::unix_ms(last))),
        // The last moment of the day on which it is due.
        due_time: Some(timestamp(due_ms - 1)),
        overdue: due_ms <= day::unix_ms(now),
    }
}

fn reconciliation(reconciled: &Reconciled) -> Reconciliation {
    let (day, count) =
        reconciled.last.map_or((String::new(), None), |(day, count)| (day::written(day), Some(count)));
    Reconciliation {
        day,
        consumer_count: count.map_or(0, |count| count.consumer_answered),
        provider_count: count.map_or(0, |count| count.provider_answered),
        days: reconciled.days,
        days_differing: reconciled.differing,
    }
}

#[derive(Clone, Copy)]
enum Outcome {
    Passed,
    Failed,
    NotMeasured,
}

impl From<bool> for Outcome {
    fn from(holds: bool) -> Self {
        if holds { Self::Passed } else { Self::Failed }
    }
}

fn check(kind: CheckKind, rule: &str, outcome: Outcome, text_vi: &str, text_en: &str) -> Check {
    let state = match outcome {
        Outcome::Passed => CheckState::Passed,
        Outcome::Failed => CheckState::Failed,
        Outcome::NotMeasured => CheckState::NotMeasured,
    };
    Check {
        kind: kind.into(),
        state: state.into(),
        rule: rule.to_owned(),
        text_vi: text_vi.to_owned(),
        text_en: text_en.to_owned(),
    }
}

fn timestamp(at_ms: i64) -> Timestamp {
    let nanos = i32::try_from(at_ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    Timestamp { seconds: at_ms.div_euclid(1_000), nanos }
}

fn duration(time: Duration) -> prost_types::Duration {
    duration_ms(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}

fn duration_ms(time_ms: i64) -> prost_types::Duration {
    let nanos = i32::try_from(time_ms % 1_000 * 1_000_000).unwrap_or(0);
    prost_types::Duration { seconds: time_ms / 1_000, nanos }
}

/// A time for people, in its largest whole unit: `45 s`, `12 min`, `30 h`, `9 d`.
fn in_words(time_ms: i64) -> String {
    let seconds = time_ms / 1_000;
    if seconds < 120 {
        format!("{seconds} s")
    } else if seconds < 7_200 {
        format!("{} min", seconds / 60)
    } else if seconds < 172_800 {
        format!("{} h", seconds / 3_600)
    } else {
        format!("{} d", seconds / 86_400)
    }
}
