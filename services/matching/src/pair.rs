//! The halves of one exchange, and what they owe each other.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::audit::v1::{Side, Status};
use prost::Message;

use crate::half::Half;
use crate::matcher::Bounds;

/// How far two clocks of the mesh may lie apart (design §6, *Freshness and clock*), milliseconds.
pub const CLOCK_SKEW_MS_MAX: i64 = 5_000;

/// The most halves that are kept of one exchange: more are duplicates already told of.
pub const HALVES_MAX: usize = 16;

/// The records of one exchange so far. A protobuf message, so that it can be kept.
#[derive(Clone, PartialEq, Message)]
pub struct Pair {
    /// The consumer's.
    #[prost(message, repeated, tag = "1")]
    pub consumers: Vec<Half>,
    /// The provider's: one a node and attempt.
    #[prost(message, repeated, tag = "2")]
    pub providers: Vec<Half>,
    /// True once a missing side was reported.
    #[prost(bool, tag = "3")]
    pub missing_told: bool,
    /// Ids of findings that the other side's record explains.
    #[prost(string, repeated, tag = "4")]
    pub unexplained: Vec<String>,
}

/// Whether a pair is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing more is owed.
    Done,
    /// A node still owes a record, or may.
    Waits {
        /// Which.
        node: String,
        /// Since when, Unix milliseconds.
        since_ms: i64,
    },
    /// A node owes a record and has gone on without it.
    Missing {
        /// Which.
        node: String,
    },
}

impl Pair {
    /// Every half.
    pub fn halves(&self) -> impl Iterator<Item = &Half> {
        self.consumers.iter().chain(&self.providers)
    }

    /// Whether its newest record was made less than so long ago.
    pub fn is_younger_than(&self, age_ms: i64, now_ms: i64) -> bool {
        self.halves().map(|half| half.end_ms).max().is_some_and(|end| now_ms.saturating_sub(end) < age_ms)
    }

    /// Whether this very record is in already: a log may be read twice.
    pub fn holds(&self, index: u64) -> bool {
        self.halves().any(|half| half.index == index)
    }

    /// The consumer's word.
    pub fn consumer(&self) -> Option<&Half> {
        self.consumers.first()
    }

    /// The provider's word on the attempt that counted: that of the node which the consumer names, where it can know.
    pub fn provider(&self) -> Option<&Half> {
        let Some(consumer) = self.consumer().filter(|half| half.status() != Status::UnknownAfterCrash) else {
            return self.providers.iter().max_by_key(|half| (!half.denied, half.attempt));
        };
        let counts = |half: &&Half| half.recorder == consumer.other && half.attempt == consumer.attempt;
        self.providers.iter().filter(counts).max_by_key(|half| !half.denied)
    }

    /// What is still owed, by how far nodes were heard (Unix milliseconds of their own clocks).
    pub fn fate(&self, heard: &BTreeMap<String, i64>, bounds: Bounds) -> Fate {
        let passed = |node: &str, end_ms: i64| {
            heard.get(node).is_some_and(|heard| *heard > end_ms.saturating_add(bounds.grace_ms))
        };
        let waits = |node: &str, since_ms: i64| Fate::Waits { node: node.to_owned(), since_ms };
        let end_ms = self.halves().map(|half| half.end_ms).max().unwrap_or_default();
        if let Some(consumer) = self.consumer() {
            // Nodes of earlier attempts may hold a record each; none of them must.
            let unheard = consumer.earlier.iter().find(|node| {
                !self.providers.iter().any(|half| half.recorder == **node) && !passed(node, end_ms)
            });
            let owes = &consumer.other;
            return match (self.provider(), unheard) {
                (Some(_), None) => Fate::Done,
                (Some(_), Some(earlier)) => waits(earlier, end_ms),
                (None, _) if owes.is_empty() => Fate::Done,
                (None, _) if !passed(owes, end_ms) => waits(owes, end_ms),
                (None, Some(earlier)) if consumer.needs_no_other() => waits(earlier, end_ms),
                (None, _) if consumer.needs_no_other() || self.missing_told => Fate::Done,
                (None, _) => Fate::Missing { node: owes.clone() },
            };
        }
        // Only the provider's. A denial was answered before anything was opened: nobody owes a record for it.
        let Some(provider) = self.provider() else { return Fate::Done };
        if !passed(&provider.other, end_ms) {
            return waits(&provider.other, end_ms);
        }
        if provider.denied || self.missing_told {
            return Fate::Done;
        }
        Fate::Missing { node: provider.other.clone() }
    }
}

/// What the two sides' words contradict each other in; empty when they agree.
///
/// A side that was cut off knows less, and that is no contradiction: the consumer may have got fewer messages than the
/// provider sent; a backend that answers early may have read fewer requests than were sent to it. What the mesh itself says
/// in place of an application is in no digest.
pub fn contradictions(consumer: &Half, provider: &Half) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut check = |ok: bool, word: &'static str| {
        if !ok {
            found.push(word);
        }
    };
    check(consumer.terms == provider.terms, "who asked whom for what");
    if provider.denied {
        check(
            !consumer.is_complete() && consumer.messages() == 0,
            "the provider denied, the consumer has an answer",
        );
        return found;
    }
    check(provider.other == consumer.recorder, "the consumer's node");
    let told = |told: &[u8], of: &[u8]| told.is_empty() || told == of;
    check(told(&consumer.other_opening, &provider.opening), "the provider's opening record");
    check(told(&provider.other_opening, &consumer.opening), "the consumer's opening record");
    let unknown = |half: &Half| half.status() == Status::UnknownAfterCrash;
    if unknown(consumer) || unknown(provider) {
        return found;
    }
    let (ours, theirs) = (consumer.response.as_ref(), provider.response.as_ref());
    let received = consumer.messages();
    match (consumer.is_complete(), provider.is_complete()) {
        (true, true) => {
            check(consumer.status == provider.status, "how it ended");
            check(
                ours.map(|digest| (&digest.hmac, digest.messages, digest.bytes))
                    == theirs.map(|digest| (&digest.hmac, digest.messages, digest.bytes)),
                "the response",
            );
            let (sent, read) = (consumer.request.as_ref(), provider.request.as_ref());
            let (sent_messages, read_messages) =
                (sent.map_or(0, |digest| digest.messages), read.map_or(0, |digest| digest.messages));
            let same = sent.map(|digest| &digest.hmac) == read.map(|digest| &digest.hmac);
            check(read_messages < sent_messages || read_messages == sent_messages && same, "the request");
            // Counted by each side's own rights, which are the same within an epoch.
            check(consumer.right != provider.right || consumer.records == provider.records, "the records");
        }
        (true, false) => check(false, "the consumer has an answer that the provider did not finish"),
        (false, _) => check(received <= provider.messages(), "the consumer got more than the provider sent"),
    }
    found
}

/// Whether the two sides' clocks can both be right: the provider's node begins while the consumer waits.
pub fn clocks_agree(consumer: &Half, provider: &Half) -> bool {
    let (from, to) = (consumer.start_ms - CLOCK_SKEW_MS_MAX, consumer.end_ms + CLOCK_SKEW_MS_MAX);
    (from..=to).contains(&provider.start_ms)
}

/// Halves of one side that speak of one and the same attempt: none may.
pub fn doubled<'a>(halves: &'a [Half], new: &Half) -> Option<&'a Half> {
    let same = |half: &&Half| {
        half.index != new.index
            && !half.denied
            && !new.denied
            && (new.side() == Side::Consumer || half.attempt == new.attempt)
    };
    halves.iter().find(same)
}
