//! The scorecard of an agency, the report of a year, and what everybody may see: entries put together.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::compliance::v1::{
    AgencyStatistics, Calls, EntryCompliance, GetStatisticsResponse, ReasonCount, RefusalCounts, ReportRow,
    Scorecard,
};

use crate::entry::is_failing;

/// The scorecard of an agency with these entries. Names, times and how much was counted are the caller's to add.
pub fn of(agency: &str, entries: Vec<EntryCompliance>) -> Scorecard {
    let kept = entries.iter().filter(|entry| !is_failing(entry)).count();
    let unmet = entries.iter().filter_map(|entry| entry.deadline.as_ref()).filter(|deadline| !deadline.met);
    Scorecard {
        name: format!("agencies/{agency}/scorecard"),
        agency: agency.to_owned(),
        score: mean(&entries),
        entry_count: count(entries.len()),
        entries_kept: count(kept),
        calls: Some(
            entries.iter().filter_map(|entry| entry.calls.as_ref()).fold(Calls::default(), add_calls),
        ),
        refusals: Some(
            entries
                .iter()
                .filter_map(|entry| entry.refusals.as_ref())
                .fold(RefusalCounts::default(), add_refusals),
        ),
        nearest_deadline: unmet.min_by_key(|deadline| deadline.days_left).cloned(),
        entries,
        ..Scorecard::default()
    }
}

/// One row of the report of a year.
pub fn row(entry: EntryCompliance) -> ReportRow {
    ReportRow {
        entry: entry.entry,
        dataset: entry.dataset,
        provider: entry.provider,
        calls: entry.calls,
        refusals: entry.refusals,
        lag: entry.lag,
        quality: entry.quality,
        reconciliation: entry.reconciliation,
        score: entry.score,
    }
}

/// What everybody may see: numbers of the whole, and of each providing agency. No consumer is told apart in it.
pub fn statistics(entries: &[EntryCompliance], names_vi: &BTreeMap<String, String>) -> GetStatisticsResponse {
    let mut by_agency: BTreeMap<&str, Vec<EntryCompliance>> = BTreeMap::new();
    for entry in entries {
        by_agency.entry(&entry.provider).or_default().push(entry.clone());
    }
    let agencies: Vec<AgencyStatistics> = by_agency
        .into_iter()
        .map(|(agency, entries)| {
            let card = of(agency, entries);
            let (calls, refusals) = (card.calls.unwrap_or_default(), card.refusals.unwrap_or_default());
            AgencyStatistics {
                agency: agency.to_owned(),
                name_vi: names_vi.get(agency).cloned().unwrap_or_default(),
                score: card.score,
                entry_count: card.entry_count,
                entries_kept: card.entries_kept,
                requested: calls.requested,
                served: calls.served,
                refusals_declared: refusals.declared,
                refusals_unlawful: refusals.unjustified.saturating_add(refusals.undeclared),
            }
        })
        .collect();
    let sum = |of: &dyn Fn(&AgencyStatistics) -> u64| agencies.iter().map(of).fold(0, u64::saturating_add);
    let scores = sum(&|agency| agency.score.into());
    GetStatisticsResponse {
        entries: count(entries.len()),
        entries_kept: count(entries.iter().filter(|entry| !is_failing(entry)).count()),
        requested: sum(&|agency| agency.requested),
        served: sum(&|agency| agency.served),
        score: u32::try_from(scores.checked_div(agencies.len() as u64).unwrap_or(0)).unwrap_or(0),
        agencies,
        ..GetStatisticsResponse::default()
    }
}

fn mean(entries: &[EntryCompliance]) -> u32 {
    let sum: u64 = entries.iter().map(|entry| u64::from(entry.score)).sum();
    u32::try_from(sum.checked_div(entries.len() as u64).unwrap_or(0)).unwrap_or(0)
}

/// Consumers are those of the entry with the most; an agency may ask for several datasets.
fn add_calls(sum: Calls, more: &Calls) -> Calls {
    Calls {
        entitled_consumers: sum.entitled_consumers.max(more.entitled_consumers),
        asking_consumers: sum.asking_consumers.max(more.asking_consumers),
        served_consumers: sum.served_consumers.max(more.served_consumers),
        requested: sum.requested.saturating_add(more.requested),
        served: sum.served.saturating_add(more.served),
        denied: sum.denied.saturating_add(more.denied),
        refused: sum.refused.saturating_add(more.refused),
        failed: sum.failed.saturating_add(more.failed),
        records: sum.records.saturating_add(more.records),
        p50_us: sum.p50_us.max(more.p50_us),
        p95_us: sum.p95_us.max(more.p95_us),
    }
}

fn add_refusals(mut sum: RefusalCounts, more: &RefusalCounts) -> RefusalCounts {
    sum.declared = sum.declared.saturating_add(more.declared);
    sum.unjustified = sum.unjustified.saturating_add(more.unjustified);
    sum.undeclared = sum.undeclared.saturating_add(more.undeclared);
    let mut by_reason: BTreeMap<String, u32> = BTreeMap::new();
    for ReasonCount { reason, count } in sum.by_reason.iter().chain(&more.by_reason) {
        let own = by_reason.entry(reason.clone()).or_default();
        *own = own.saturating_add(*count);
    }
    let counts = by_reason.into_iter().map(|(reason, count)| ReasonCount { reason, count });
    sum.by_reason = counts.collect();
    sum
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
