//! Rules at work: events in, findings out.

use std::collections::BTreeMap;
use std::sync::Arc;

use lienthong_audit::finding;
use lienthong_proto::lienthong::audit::v1::{Finding, FindingKind};

use crate::counts::Count;
use crate::event::{Event, What};
use crate::rules::{Rule, Rules, Test, Whose, local};

/// Counts that are held at one time. Beyond it, those that nothing was added to for the longest time are forgotten.
pub const COUNTS_MAX: usize = 100_000;

/// What rules have counted so far.
///
/// The same events in the same order make the same findings, with the same ids: a part of the log that is read again tells
/// nothing new.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    rules: Arc<Rules>,
    counts: BTreeMap<Key, Held>,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rule: usize,
    system: String,
    user: String,
    /// Dataset, purpose and dossier, where the rule tells them apart.
    about: String,
}

#[derive(Clone, Debug, Default)]
struct Held {
    count: Count,
    /// Time of the newest event, Unix milliseconds.
    newest_ms: i64,
}

/// What one event means to one rule.
struct Step {
    kind: FindingKind,
    window_ms: i64,
    much: u64,
    least: u64,
    times_usual: u64,
    about: String,
}

impl Watcher {
    /// A watcher that has seen nothing.
    pub fn new(rules: Rules) -> Self {
        Self { rules: Arc::new(rules), counts: BTreeMap::new() }
    }

    /// Counts that are held.
    pub fn counts(&self) -> usize {
        self.counts.len()
    }

    /// Takes in the next event of the log; what trips a rule by it.
    pub fn take(&mut self, event: &Event) -> Vec<Finding> {
        let rules = Arc::clone(&self.rules);
        let found = rules.as_slice().iter().enumerate().filter_map(|(at, rule)| self.judge(at, rule, event));
        let found = found.collect();
        if self.counts.len() > COUNTS_MAX {
            self.forget();
        }
        found
    }

    fn judge(&mut self, at: usize, rule: &Rule, event: &Event) -> Option<Finding> {
        let user = match rule.of {
            Whose::System => "",
            Whose::User if event.user.is_empty() => return None,
            Whose::User => &event.user,
        };
        if !rule.looks_at(&event.system, &event.dataset) {
            return None;
        }
        let step = step(&rule.test, event)?;
        let key = Key { rule: at, system: event.system.clone(), user: user.to_owned(), about: step.about };
        let window = match step.window_ms {
            // A day of the place.
            0 => local(event.time_ms).0,
            length => event.time_ms.div_euclid(length),
        };
        let held = self.counts.entry(key.clone()).or_default();
        held.newest_ms = held.newest_ms.max(event.time_ms);
        let sum = held.count.add(window, step.much)?;
        let usual = held.count.usual(window);
        let trips = sum >= step.least && sum > usual.saturating_mul(step.times_usual);
        if !trips || !held.count.tell(window) {
            return None;
        }
        let words = words(&rule.test, event, sum, usual);
        let id = [rule.name.as_bytes(), key.system.as_bytes(), user.as_bytes(), key.about.as_bytes()];
        let window = window.to_be_bytes();
        let about: Vec<&[u8]> = id.into_iter().chain([&window[..]]).collect();
        Some(Finding {
            id: finding::id(step.kind, &about),
            kind: step.kind.into(),
            exchange_id: event.exchange_id.clone(),
            nodes: vec![event.system.clone()],
            dataset: event.dataset.clone(),
            entries: vec![event.index],
            detail: finding::detail(&words),
            rule: rule.name.clone(),
            user: user.to_owned(),
            ..Finding::default()
        })
    }

    /// Forgets the tenth that was quiet for the longest time.
    fn forget(&mut self) {
        let mut times: Vec<i64> = self.counts.values().map(|held| held.newest_ms).collect();
        let (_, &mut limit, _) = times.select_nth_unstable(COUNTS_MAX / 10);
        self.counts.retain(|_, held| held.newest_ms > limit);
    }
}

fn step(test: &Test, event: &Event) -> Option<Step> {
    let step = |kind, window_ms, much, least| Step {
        kind,
        window_ms,
        much,
        least,
        times_usual: 0,
        about: String::new(),
    };
    match (test, event.what) {
        (Test::VolumeSpike { window_ms, least, times_usual }, What::Answered { records, .. }) => {
            let times_usual = u64::from(*times_usual);
            Some(Step { times_usual, ..step(FindingKind::VolumeSpike, *window_ms, records, *least) })
        }
        (Test::OffHours(hours), What::Answered { .. } | What::Denied(_)) => {
            (!hours.hold(event.time_ms)).then(|| step(FindingKind::OffHours, 0, 1, 1))
        }
        (
            Test::Enumeration { window_ms, least },
            What::Answered { people, .. } | What::MorePeople(people),
        ) => {
            let about = [event.dataset.as_str(), event.purpose, &event.dossier].join("\n");
            Some(Step { about, ..step(FindingKind::Enumeration, *window_ms, people, *least) })
        }
        (Test::RepeatedDenials { window_ms, least }, What::Denied(count)) => {
            Some(step(FindingKind::RepeatedDenials, *window_ms, count, *least))
        }
        _ => None,
    }
}

fn words(test: &Test, event: &Event, sum: u64, usual: u64) -> String {
    let minutes = |window_ms: &i64| window_ms / 60_000;
    match test {
        Test::VolumeSpike { window_ms, .. } => {
            format!("{sum} records within {} minutes; {usual} are usual", minutes(window_ms))
        }
        Test::OffHours(_) => {
            let (_, minute) = local(event.time_ms);
            format!("asked at {:02}:{:02}, outside the hours of the rule", minute / 60, minute % 60)
        }
        Test::Enumeration { window_ms, .. } => {
            let dossier = match event.dossier.as_str() {
                "" => "without a dossier".to_owned(),
                dossier => format!("under the one dossier {dossier}"),
            };
            format!(
                "{sum} people, or answers that found nobody, within {} minutes {dossier}",
                minutes(window_ms)
            )
        }
        Test::RepeatedDenials { window_ms, .. } => {
            format!("{sum} denials within {} minutes", minutes(window_ms))
        }
    }
}
