//! What is kept of the log: rows of counts, each small, each under its own key.

use std::fmt;

use lienthong_proto::lienthong::audit::v1::SampledQuality;
use prost::Message;

/// Time to an answer is counted in classes of twice the length each, from one microsecond up.
pub const LATENCY_CLASSES: usize = 36;

/// Characters of a code or an id in a key.
const WORD_CHARS_MAX: usize = 128;

/// Who gives whom what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    /// Code of the provider.
    pub provider: String,
    /// Dataset.
    pub dataset: String,
    /// Code of the consumer.
    pub consumer: String,
}

impl Pair {
    /// A pair of words that can stand in a key; `None` where one of them cannot.
    pub fn new(provider: &str, dataset: &str, consumer: &str) -> Option<Self> {
        [provider, dataset, consumer].into_iter().all(is_word).then(|| Self {
            provider: provider.to_owned(),
            dataset: dataset.to_owned(),
            consumer: consumer.to_owned(),
        })
    }

    /// The pair that [`Display`](fmt::Display) wrote.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut words = text.split('/');
        let (provider, dataset, consumer) = (words.next()?, words.next()?, words.next()?);
        words.next().is_none().then(|| Self::new(provider, dataset, consumer))?
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.provider, self.dataset, self.consumer)
    }
}

/// True for what agency codes and dataset ids are made of.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= WORD_CHARS_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte))
}

/// One year between a provider and a consumer, about one dataset.
#[derive(Clone, PartialEq, Message)]
pub struct Tally {
    /// Calls, denied ones included.
    #[prost(uint64, tag = "1")]
    pub requested: u64,
    /// Calls that were answered.
    #[prost(uint64, tag = "2")]
    pub served: u64,
    /// Calls that the mesh denied.
    #[prost(uint64, tag = "3")]
    pub denied: u64,
    /// Calls that the provider refused.
    #[prost(uint64, tag = "4")]
    pub refused: u64,
    /// Calls that failed.
    #[prost(uint64, tag = "5")]
    pub failed: u64,
    /// Records released.
    #[prost(uint64, tag = "6")]
    pub records: u64,
    /// Answers of the provider's node by their time: see [`LATENCY_CLASSES`].
    #[prost(uint64, repeated, tag = "7")]
    pub latency: Vec<u64>,
    /// Records that were looked at.
    #[prost(uint64, tag = "8")]
    pub sampled: u64,
    /// Of them those against a pattern.
    #[prost(uint64, tag = "9")]
    pub incorrect: u64,
    /// Of them those that lack something.
    #[prost(uint64, tag = "10")]
    pub incomplete: u64,
    /// Of them those that came twice.
    #[prost(uint64, tag = "11")]
    pub duplicate: u64,
    /// Of them those without the time of their last change.
    #[prost(uint64, tag = "12")]
    pub undated: u64,
    /// When a synchronisation was last alive, Unix milliseconds; 0: never.
    #[prost(int64, tag = "13")]
    pub sync_alive_ms: i64,
    /// When a synchronisation of the consumer's own copy was last alive; 0: it holds none.
    #[prost(int64, tag = "14")]
    pub copy_alive_ms: i64,
    /// Age of the youngest record in the newest sample, milliseconds.
    #[prost(uint64, optional, tag = "15")]
    pub youngest_age_ms: Option<u64>,
}

impl Tally {
    /// Counts an answer of the provider's node.
    pub fn answered_within(&mut self, duration_us: u64) {
        let class = (duration_us.max(1).ilog2() as usize).min(LATENCY_CLASSES - 1);
        if self.latency.len() <= class {
            self.latency.resize(class + 1, 0);
        }
        self.latency[class] = self.latency[class].saturating_add(1);
    }

    /// Adds what a sample of records was like.
    pub fn sampled(&mut self, quality: &SampledQuality) {
        let looked_at = u64::from(quality.records);
        let of = |part: u32| u64::from(part).min(looked_at);
        self.sampled = self.sampled.saturating_add(looked_at);
        self.incorrect = self.incorrect.saturating_add(of(quality.incorrect));
        self.incomplete = self.incomplete.saturating_add(of(quality.incomplete));
        self.duplicate = self.duplicate.saturating_add(of(quality.duplicate));
        self.undated = self.undated.saturating_add(of(quality.undated));
        if quality.age_ms.is_some() {
            self.youngest_age_ms = quality.age_ms;
        }
    }

    /// Adds what was counted of another pair.
    pub fn add(&mut self, other: &Self) {
        let sum = |own: &mut u64, more: u64| *own = own.saturating_add(more);
        sum(&mut self.requested, other.requested);
        sum(&mut self.served, other.served);
        sum(&mut self.denied, other.denied);
        sum(&mut self.refused, other.refused);
        sum(&mut self.failed, other.failed);
        sum(&mut self.records, other.records);
        sum(&mut self.sampled, other.sampled);
        sum(&mut self.incorrect, other.incorrect);
        sum(&mut self.incomplete, other.incomplete);
        sum(&mut self.duplicate, other.duplicate);
        sum(&mut self.undated, other.undated);
        if self.latency.len() < other.latency.len() {
            self.latency.resize(other.latency.len(), 0);
        }
        for (own, more) in self.latency.iter_mut().zip(&other.latency) {
            sum(own, *more);
        }
        self.sync_alive_ms = self.sync_alive_ms.max(other.sync_alive_ms);
        self.copy_alive_ms = self.copy_alive_ms.max(other.copy_alive_ms);
        self.youngest_age_ms = match (self.youngest_age_ms, other.youngest_age_ms) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
    }

    /// The time within which so many of a thousand answers came, microseconds, within 50 %; 0 without an answer.
    pub fn quantile_us(&self, permille: u64) -> u64 {
        let total: u64 = self.latency.iter().fold(0, |sum, count| sum.saturating_add(*count));
        let rank = u128::from(total) * u128::from(permille);
        let mut passed = 0_u128;
        for (class, count) in self.latency.iter().take(LATENCY_CLASSES).enumerate() {
            passed += u128::from(*count) * 1_000;
            if *count > 0 && passed >= rank {
                return (1 << class) + (1_u64 << class) / 2;
            }
        }
        0
    }
}

/// One day between a provider and a consumer, as each side has it on record.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DayCount {
    /// Exchanges that the consumer's node has on record, however they ended.
    #[prost(uint64, tag = "1")]
    pub consumer_all: u64,
    /// Of them those that were answered.
    #[prost(uint64, tag = "2")]
    pub consumer_answered: u64,
    /// Exchanges that the provider's node has on record, however they ended.
    #[prost(uint64, tag = "3")]
    pub provider_all: u64,
    /// Of them those that were answered whole.
    #[prost(uint64, tag = "4")]
    pub provider_answered: u64,
}

impl DayCount {
    /// Whether both counts can be true. What was cut off on its way stands as answered with one side only; but what one
    /// side has answered, the other must know of.
    pub fn agrees(&self) -> bool {
        self.consumer_answered <= self.provider_all && self.provider_answered <= self.consumer_all
    }
}

/// How a provider keeps a dataset, over one year.
#[derive(Clone, PartialEq, Message)]
pub struct Standing {
    /// Since when its data is stale, Unix milliseconds; 0: it is not.
    #[prost(int64, tag = "1")]
    pub stale_since_ms: i64,
    /// Times at which it became stale.
    #[prost(uint32, tag = "2")]
    pub episodes: u32,
    /// The furthest that it lagged, milliseconds.
    #[prost(int64, tag = "3")]
    pub longest_ms: i64,
    /// The day that is being counted, as [`crate::day::written`]; empty before the first.
    #[prost(string, tag = "4")]
    pub day: String,
    /// Whether it was stale on that day.
    #[prost(bool, tag = "5")]
    pub day_was_stale: bool,
    /// Days before that on which data was due.
    #[prost(uint32, tag = "6")]
    pub due_days: u32,
    /// Of them those on which it was never stale.
    #[prost(uint32, tag = "7")]
    pub live_days: u32,
    /// Days that were reconciled for good.
    #[prost(uint32, tag = "8")]
    pub reconciled_days: u32,
    /// Of them those on which the counts differed.
    #[prost(uint32, tag = "9")]
    pub differing_days: u32,
    /// The last of those days: none counts twice.
    #[prost(string, tag = "10")]
    pub closed_day: String,
}

/// A synchronisation that is under way.
#[derive(Clone, PartialEq, Message)]
pub struct OpenStream {
    /// Code of the provider.
    #[prost(string, tag = "1")]
    pub provider: String,
    /// Dataset.
    #[prost(string, tag = "2")]
    pub dataset: String,
    /// Code of the consumer.
    #[prost(string, tag = "3")]
    pub consumer: String,
    /// Node of the provider that serves it.
    #[prost(string, tag = "4")]
    pub node: String,
    /// Whether it feeds the consumer's own copy.
    #[prost(bool, tag = "5")]
    pub copy: bool,
    /// When it began, Unix milliseconds.
    #[prost(int64, tag = "6")]
    pub begin_ms: i64,
}

/// When a node of an agency was last heard.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct LastHeard {
    /// Unix milliseconds.
    #[prost(int64, tag = "1")]
    pub time_ms: i64,
}
