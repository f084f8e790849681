//! All pairs that are open, and how far each node was heard.

use std::collections::BTreeMap;

use lienthong_audit::finding;
use lienthong_proto::lienthong::audit::v1::{Finding, FindingKind, Record, Side, Status};

use crate::ExchangeId;
use crate::half::Half;
use crate::pair::{Fate, HALVES_MAX, Pair, clocks_agree, contradictions, doubled};

/// A clock finding about the same nodes is made once in this time, milliseconds.
const CLOCK_TOLD_EVERY_MS: i64 = 60 * 60 * 1000;

/// How long a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// A record that does not come within this time after the exchange, by the journal of the node that owes it, is
    /// missing; milliseconds.
    pub grace_ms: i64,
    /// A node from which nothing was heard for so long, while another waits for its record, is silent; milliseconds.
    pub silent_ms: i64,
    /// How long a gap that was reported is remembered, so that the record that fills it is known to be late; milliseconds.
    pub late_ms: i64,
}

/// What matching says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Something does not match.
    Found(Finding),
    /// What was found before has an explanation now.
    Explained {
        /// Id of the finding.
        id: String,
        /// Which.
        reason: String,
    },
}

/// The open pairs. Bounded by whoever owns it: see [`Matcher::evict`].
#[derive(Debug)]
pub struct Matcher {
    bounds: Bounds,
    pairs: BTreeMap<ExchangeId, Pair>,
    heard: BTreeMap<String, i64>,
}

impl Matcher {
    /// A matcher that knows of nothing.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, pairs: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// Pairs that are held.
    pub fn pairs(&self) -> impl Iterator<Item = (&ExchangeId, &Pair)> {
        self.pairs.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether this exchange's pair is held.
    pub fn holds(&self, id: &ExchangeId) -> bool {
        self.pairs.contains_key(id)
    }

    /// Takes back a pair that was put away.
    pub fn restore(&mut self, id: ExchangeId, pair: Pair) {
        self.pairs.insert(id, pair);
    }

    /// Gives away the oldest pairs beyond `held_max`.
    pub fn evict(&mut self, held_max: usize) -> Vec<(ExchangeId, Pair)> {
        let surplus = self.pairs.len().saturating_sub(held_max);
        (0..surplus).filter_map(|_| self.pairs.pop_first()).collect()
    }

    /// Bytes of everything that is held, as it is kept.
    pub fn bytes(&self) -> usize {
        self.pairs.values().map(prost::Message::encoded_len).sum()
    }

    /// A node was heard: everything that it recorded up to `sealed_ms` (its clock) has been taken in.
    pub fn hear(&mut self, node: &str, sealed_ms: i64) {
        let heard = self.heard.entry(node.to_owned()).or_insert(sealed_ms);
        *heard = (*heard).max(sealed_ms);
    }

    /// A node's clock, compared with the broker's at the moment in which its batch came.
    pub fn compare_clock(
        &self,
        node: &str,
        sealed_ms: i64,
        now_ms: i64,
        skew_ms_max: i64,
    ) -> Option<Verdict> {
        let ahead = sealed_ms - now_ms;
        (ahead.abs() > skew_ms_max).then(|| {
            let hour = now_ms / CLOCK_TOLD_EVERY_MS;
            let words = if ahead > 0 { "ahead of" } else { "behind" };
            let detail = format!("the clock of {node} is {} ms {words} the broker's", ahead.abs());
            let id = finding::id(FindingKind::ClockSkew, &[node.as_bytes(), &hour.to_be_bytes()]);
            Verdict::Found(Finding {
                id,
                kind: FindingKind::ClockSkew.into(),
                nodes: vec![node.to_owned()],
                detail: finding::detail(&detail),
                ..Finding::default()
            })
        })
    }

    /// Takes in a record of the log. Its pair must be held if it was put away ([`Matcher::restore`]). Taking the same
    /// record again changes nothing.
    pub fn take(&mut self, index: u64, record: &Record) -> Vec<Verdict> {
        let Some((id, half)) = Half::read(index, record) else { return Vec::new() };
        let pair = self.pairs.entry(id).or_default();
        if pair.holds(index) {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        let side = if half.side() == Side::Consumer { &pair.consumers } else { &pair.providers };
        if let Some(other) = doubled(side, &half) {
            verdicts.push(of_two(
                FindingKind::DuplicateExchange,
                &id,
                other,
                &half,
                "the same attempt twice",
            ));
        }
        if pair.halves().count() < HALVES_MAX {
            let side = if half.side() == Side::Consumer { &mut pair.consumers } else { &mut pair.providers };
            side.push(half.clone());
        }
        verdicts.extend(lay_side_by_side(&id, pair, &half));
        if pair.fate(&self.heard, self.bounds) == Fate::Done && pair.unexplained.is_empty() {
            self.pairs.remove(&id);
        }
        verdicts
    }

    /// Looks at every pair that is held: what is owed no more, what is missing, who is silent.
    pub fn sweep(&mut self, now_ms: i64) -> Vec<Verdict> {
        let ids: Vec<ExchangeId> = self.pairs.keys().copied().collect();
        let mut verdicts = Vec::new();
        for id in ids {
            if let Some(pair) = self.pairs.remove(&id) {
                let (kept, said) = self.judge(&id, pair, now_ms);
                verdicts.extend(said);
                if let Some(pair) = kept {
                    self.pairs.insert(id, pair);
                }
            }
        }
        verdicts
    }

    /// Judges one pair, held or put away. Returns it where it is to be kept.
    pub fn judge(&self, id: &ExchangeId, mut pair: Pair, now_ms: i64) -> (Option<Pair>, Vec<Verdict>) {
        match pair.fate(&self.heard, self.bounds) {
            // A reported gap stays, so that the record that fills it is known to be late; a crash, so that it is explained.
            Fate::Done
                if (pair.missing_told || !pair.unexplained.is_empty())
                    && pair.is_younger_than(self.bounds.late_ms, now_ms) =>
            {
                (Some(pair), Vec::new())
            }
            Fate::Done => (None, Vec::new()),
            Fate::Waits { node, since_ms } if now_ms.saturating_sub(since_ms) > self.bounds.silent_ms => {
                let verdict = self.silent(&node, since_ms);
                (Some(pair), verdict.into_iter().collect())
            }
            Fate::Waits { .. } => (Some(pair), Vec::new()),
            Fate::Missing { node } => {
                pair.missing_told = true;
                let said = (pair.unexplained.is_empty()).then(|| missing(id, &pair, &node));
                (Some(pair), said.into_iter().collect())
            }
        }
    }

    fn silent(&self, node: &str, since_ms: i64) -> Option<Verdict> {
        let heard = self.heard.get(node).copied();
        if heard.is_some_and(|heard| heard >= since_ms) {
            return None;
        }
        let last =
            heard.map_or_else(|| "it was never heard".to_owned(), |heard| format!("last heard {heard} ms"));
        let id = finding::id(
            FindingKind::SilentNode,
            &[node.as_bytes(), &heard.unwrap_or_default().to_be_bytes()],
        );
        Some(Verdict::Found(Finding {
            id,
            kind: FindingKind::SilentNode.into(),
            nodes: vec![node.to_owned()],
            detail: finding::detail(&format!(
                "another side's record has waited for {node} for more than {} s; {last} (Unix time)",
                self.bounds.silent_ms / 1000
            )),
            ..Finding::default()
        }))
    }
}

/// What a new half says together with those before it.
fn lay_side_by_side(id: &ExchangeId, pair: &mut Pair, new: &Half) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    let others = if new.side() == Side::Consumer { &pair.providers } else { &pair.consumers };
    let is_first_of_side = match new.side() {
        Side::Consumer => pair.consumers.len() == 1,
        _ => pair.providers.len() == 1,
    };
    if new.status() == Status::UnknownAfterCrash && others.is_empty() {
        let finding =
            of_one(FindingKind::UnknownAfterCrash, id, new, "it crashed while the exchange was open");
        if let Verdict::Found(found) = &finding {
            pair.unexplained.push(found.id.clone());
        }
        verdicts.push(finding);
    } else if new.status() != Status::UnknownAfterCrash && is_first_of_side {
        for id in pair.unexplained.drain(..) {
            let reason = format!("{} recorded how it ended: {}", new.recorder, new.status().as_str_name());
            verdicts.push(Verdict::Explained { id, reason: finding::detail(&reason) });
        }
    }
    if pair.missing_told && is_first_of_side {
        verdicts.push(of_one(
            FindingKind::LateSide,
            id,
            new,
            "its record came after it was reported missing",
        ));
    }
    let (Some(consumer), Some(_)) = (pair.consumer(), pair.providers.first()) else { return verdicts };
    // A node that crashed had put on record where it began, not where it went on: it accuses nobody, and nobody it.
    let named = |half: &Half| {
        half.recorder == consumer.other && half.attempt == consumer.attempt
            || consumer.earlier.contains(&half.recorder)
            || consumer.status() == Status::UnknownAfterCrash
    };
    for provider in &pair.providers {
        // Each is judged once: when it comes, or when the consumer's word does.
        if provider.index != new.index && consumer.index != new.index {
            continue;
        }
        if !named(provider) && !provider.denied {
            let words = "a node of the provider holds a record of an attempt that the consumer does not name";
            verdicts.push(of_two(FindingKind::Contradiction, id, provider, consumer, words));
            continue;
        }
        if pair.provider().is_none_or(|counts| counts.index != provider.index) {
            continue;
        }
        let wrong = contradictions(consumer, provider);
        if !wrong.is_empty() {
            let words = format!("the two sides contradict each other: {}", wrong.join(", "));
            verdicts.push(of_two(FindingKind::Contradiction, id, provider, consumer, &words));
        }
        if !clocks_agree(consumer, provider) {
            verdicts.push(skew(id, consumer, provider));
        }
    }
    verdicts
}

fn skew(id: &ExchangeId, consumer: &Half, provider: &Half) -> Verdict {
    let hour = consumer.start_ms / CLOCK_TOLD_EVERY_MS;
    let about: [&[u8]; 3] = [consumer.recorder.as_bytes(), provider.recorder.as_bytes(), &hour.to_be_bytes()];
    let detail = format!(
        "the provider began {} ms after the consumer by their clocks, and the consumer waited {} ms",
        provider.start_ms - consumer.start_ms,
        consumer.end_ms - consumer.start_ms
    );
    Verdict::Found(Finding {
        id: finding::id(FindingKind::ClockSkew, &about),
        exchange_id: id.to_vec(),
        nodes: vec![consumer.recorder.clone(), provider.recorder.clone()],
        dataset: consumer.dataset.clone(),
        entries: vec![consumer.index, provider.index],
        kind: FindingKind::ClockSkew.into(),
        detail: finding::detail(&detail),
        ..Finding::default()
    })
}

fn missing(id: &ExchangeId, pair: &Pair, node: &str) -> Verdict {
    let held: Vec<&Half> = pair.halves().collect();
    let (recorders, entries): (Vec<&str>, Vec<u64>) =
        held.iter().map(|half| (half.recorder.as_str(), half.index)).unzip();
    let detail =
        format!("{node} has gone on without a record of the exchange that {} recorded", recorders.join(", "));
    Verdict::Found(Finding {
        id: finding::id(FindingKind::MissingSide, &[id, node.as_bytes()]),
        kind: FindingKind::MissingSide.into(),
        exchange_id: id.to_vec(),
        nodes: std::iter::once(node).chain(recorders).map(str::to_owned).collect(),
        dataset: held.first().map(|half| half.dataset.clone()).unwrap_or_default(),
        entries,
        detail: finding::detail(&detail),
        ..Finding::default()
    })
}

fn of_one(kind: FindingKind, id: &ExchangeId, half: &Half, words: &str) -> Verdict {
    Verdict::Found(Finding {
        id: finding::id(kind, &[id, half.recorder.as_bytes(), &half.attempt.to_be_bytes()]),
        kind: kind.into(),
        exchange_id: id.to_vec(),
        nodes: vec![half.recorder.clone(), half.other.clone()],
        dataset: half.dataset.clone(),
        entries: vec![half.index],
        detail: finding::detail(&format!("{}: {words}", half.recorder)),
        ..Finding::default()
    })
}

fn of_two(kind: FindingKind, id: &ExchangeId, one: &Half, other: &Half, words: &str) -> Verdict {
    let (first, second) = if one.index < other.index { (one, other) } else { (other, one) };
    Verdict::Found(Finding {
        id: finding::id(kind, &[id, &first.index.to_be_bytes(), &second.index.to_be_bytes()]),
        kind: kind.into(),
        exchange_id: id.to_vec(),
        nodes: vec![one.recorder.clone(), other.recorder.clone()],
        dataset: one.dataset.clone(),
        entries: vec![first.index, second.index],
        detail: finding::detail(words),
        ..Finding::default()
    })
}
