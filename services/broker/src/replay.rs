//! Calls on record, decided again: what a change of the catalog would have meant for the calls of the last days.
//!
//! Nothing but the records is read: who asked whom for what, never what was answered. Alike calls are decided once and
//! counted. A call is judged by the rights of its provider, whose decision counts.

use std::collections::HashMap;
use std::path::Path;

use lienthong_audit::log::LogReader;
use lienthong_catalog::compile::{Issue, Rights};
use lienthong_catalog::inquiry::{Call, Outcome, what_if};
use lienthong_catalog::{BundleError, RightsIndex};
use lienthong_duty::instant;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Exchange, Record, Side};
use lienthong_proto::lienthong::catalog::v1::{Replay, ReplayedCalls};
use prost::Message;
use time::{Duration, OffsetDateTime};

use crate::error::BrokerError;
use crate::generation::Material;
use crate::limits::{REBUILD_ENTRIES_AT_ONCE, REPLAY_ENTRIES_MAX, REPLAY_GROUPS_MAX};

/// Decides the calls of the last `days` again, as `after` would. Blocks on the disk.
///
/// # Errors
/// [`BrokerError`] if the log cannot be read.
pub fn replay(
    log: &Path,
    before: &Material,
    after: &Material,
    days: u32,
    now: OffsetDateTime,
) -> Result<Replay, BrokerError> {
    let (calls, cut) = calls(log, now - Duration::days(days.into()), now)?;
    let mut replay =
        Replay { days, cut, calls: calls.values().map(|seen| seen.count).sum(), ..Replay::default() };
    let (before, after) = (before.rights(), after.rights());
    let mut by_provider: HashMap<String, Vec<Call>> = HashMap::new();
    for call in calls.keys() {
        by_provider.entry(call.provider.clone()).or_default().push(call.clone());
    }
    for (provider, of_provider) in by_provider {
        let (Some(old), Some(new)) = (index(&before, &provider), index(&after, &provider)) else { continue };
        let (Ok(old), Ok(new)) = (old, new) else { continue };
        for difference in what_if(&old, &new, &of_provider) {
            let seen = &calls[difference.call];
            replay.differing += seen.count;
            replay.groups.push(ReplayedCalls {
                consumer: difference.call.consumer.clone(),
                provider: provider.clone(),
                dataset: seen.dataset.clone(),
                method: difference.call.method.clone(),
                purpose: difference.call.purpose.into(),
                before: word(&difference.before),
                after: word(&difference.after),
                calls: seen.count,
                example: seen.example.clone(),
            });
        }
    }
    replay.groups = merged(replay.groups);
    Ok(replay)
}

/// What is known of alike calls.
struct Seen {
    count: u64,
    example: Vec<u8>,
    dataset: String,
}

/// The calls that the log holds since `since`, each once and with `now` as its time; and whether there are more than are
/// read.
fn calls(
    log: &Path,
    since: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<(HashMap<Call, Seen>, bool), BrokerError> {
    let reader = LogReader::new(log);
    let (size, minimum) = (reader.size()?, reader.minimum()?);
    let (mut calls, mut end): (HashMap<Call, Seen>, u64) = (HashMap::new(), size);
    while end > minimum {
        if size - end >= REPLAY_ENTRIES_MAX {
            return Ok((calls, true));
        }
        let start = end.saturating_sub(REBUILD_ENTRIES_AT_ONCE).max(minimum);
        let mut reached = false;
        for entry in reader.entries(start..end)? {
            let Ok(record) = Record::decode(entry.as_ref()) else { continue };
            if record.time.as_ref().and_then(instant).is_some_and(|time| time < since) {
                reached = true;
                continue;
            }
            let Some(exchange) = judged(&record) else { continue };
            let call = Call::of_exchange(exchange, now);
            let seen = calls.entry(call).or_insert_with(|| Seen {
                count: 0,
                example: exchange.id.clone(),
                dataset: exchange.dataset.clone(),
            });
            seen.count += 1;
        }
        if reached {
            break;
        }
        end = start;
    }
    Ok((calls, false))
}

/// The exchange of a record that stands for one decision: the provider's closing record, or a denial on either side.
fn judged(record: &Record) -> Option<&Exchange> {
    let exchange = match record.body.as_ref()? {
        Body::Closing(closing) => closing.exchange.as_ref().filter(|one| one.side() == Side::Provider),
        Body::Denial(denial) => denial.exchange.as_ref(),
        _ => None,
    };
    exchange.filter(|one| !one.provider.is_empty() && !one.method.is_empty())
}

/// The rights of a provider, as one of its nodes decides by them.
fn index(rights: &Rights, provider: &str) -> Option<Result<RightsIndex, BundleError>> {
    let node = rights.nodes().iter().find(|node| node.agency == provider)?;
    let issue = Issue {
        mesh: "replay".to_owned(),
        epoch: 1,
        time: OffsetDateTime::UNIX_EPOCH,
        revocation_lists: Vec::new(),
    };
    Some(RightsIndex::from_bundle(&rights.bundle_for(&node.name, &issue)?))
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Permitted { fields, .. } => format!("ALLOW ({})", fields.join(", ")),
        Outcome::Denied { reason, .. } => reason.name().to_owned(),
    }
}

/// Groups that read alike together, the most frequent first.
fn merged(groups: Vec<ReplayedCalls>) -> Vec<ReplayedCalls> {
    let mut merged: Vec<ReplayedCalls> = Vec::new();
    for group in groups {
        let alike = |other: &&mut ReplayedCalls| {
            ReplayedCalls { calls: 0, example: Vec::new(), ..(**other).clone() }
                == ReplayedCalls { calls: 0, example: Vec::new(), ..group.clone() }
        };
        match merged.iter_mut().find(alike) {
            Some(other) => other.calls += group.calls,
            None => merged.push(group),
        }
    }
    merged.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.consumer.cmp(&b.consumer)));
    merged.truncate(REPLAY_GROUPS_MAX);
    merged
}
