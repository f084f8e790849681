//! Which denials are recorded one by one (design §6, Who may see the log): up to ten a second of one
//! system; beyond that they are counted, and one record a minute says how many there were of which dataset, so that nobody
//! can fill the log by being denied, and none is missing where the year is counted.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lienthong_proto::lienthong::audit::v1::{Exchange, Side};
use lienthong_proto::reason::Reason;

use crate::limits::{DENIAL_DATASETS_MAX, DENIAL_SOURCES_MAX, DENIALS_PER_SECOND_WHOLE};

/// Denials of all systems.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<(String, Reason), Bucket>>);

#[derive(Debug, Default)]
struct Bucket {
    second: u64,
    in_second: u32,
    counted: HashMap<About, Counted>,
}

/// Whom and what a denial was about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct About {
    /// Side of this node.
    pub side: Side,
    /// Code of the provider; empty while unknown, or where too many were told apart already.
    pub provider: String,
    /// Dataset id; empty likewise.
    pub dataset: String,
    /// Code of the consumer; empty likewise.
    pub consumer: String,
}

/// Denials that were counted and not recorded one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// The first, Unix milliseconds.
    pub first_ms: u64,
    /// The last, Unix milliseconds.
    pub last_ms: u64,
}

/// Like denials of one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Together {
    /// Whose: resource name of a system or node, or a code.
    pub source: String,
    /// Why.
    pub reason: Reason,
    /// Of what.
    pub about: About,
    /// How many, and when.
    pub counted: Counted,
}

impl Denials {
    /// True where the denial of this exchange is recorded by itself; otherwise it is counted.
    pub fn is_whole(&self, exchange: &Exchange, reason: Reason, now_ms: u64) -> bool {
        let mut buckets = self.lock();
        let key = (source(exchange).to_owned(), reason);
        if buckets.len() >= DENIAL_SOURCES_MAX && !buckets.contains_key(&key) {
            // More sources than a minute may name: they share one bucket a reason.
            return buckets.entry((String::new(), reason)).or_default().take(exchange, now_ms);
        }
        buckets.entry(key).or_default().take(exchange, now_ms)
    }

    /// What was counted since the last call.
    pub fn drain(&self) -> Vec<Together> {
        let of_bucket = |((source, reason), bucket): ((String, Reason), Bucket)| {
            let counted = bucket.counted.into_iter();
            counted.map(move |(about, counted)| Together { source: source.clone(), reason, about, counted })
        };
        self.lock().drain().flat_map(of_bucket).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Reason), Bucket>> {
        // Counts are whole whatever a panicking thread was about to do.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn take(&mut self, exchange: &Exchange, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        if second != self.second {
            self.second = second;
            self.in_second = 0;
        }
        if self.in_second < DENIALS_PER_SECOND_WHOLE {
            self.in_second += 1;
            return true;
        }
        let mut about = About::of(exchange);
        if self.counted.len() >= DENIAL_DATASETS_MAX && !self.counted.contains_key(&about) {
            about = About::default();
        }
        let new = Counted { count: 0, first_ms: now_ms, last_ms: now_ms };
        let counted = self.counted.entry(about).or_insert(new);
        counted.count += 1;
        counted.last_ms = now_ms;
        false
    }
}

impl About {
    fn of(exchange: &Exchange) -> Self {
        let Exchange { provider, dataset, consumer, .. } = exchange;
        let [provider, dataset, consumer] = [provider, dataset, consumer].map(String::clone);
        Self { side: exchange.side(), provider, dataset, consumer }
    }
}

/// Whose denials are counted together.
fn source(exchange: &Exchange) -> &str {
    [&exchange.system, &exchange.consumer_node, &exchange.consumer]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(system: &str, dataset: &str) -> Exchange {
        Exchange {
            system: system.to_owned(),
            dataset: dataset.to_owned(),
            provider: "G01".to_owned(),
            consumer: "H26.90".to_owned(),
            side: Side::Consumer.into(),
            ..Exchange::default()
        }
    }

    #[test]
    fn ten_a_second_are_whole_and_the_rest_is_counted() {
        let denials = Denials::default();
        let is_whole = |of: &str, at| denials.is_whole(&exchange(of, "d"), Reason::DenyField, at);
        assert_eq!((0..25).filter(|n| is_whole("a", 5_000 + n)).count(), 10);
        assert!(is_whole("a", 6_000), "a new second begins");
        assert!(is_whole("b", 5_000), "another system has its own count");
        let about = About::of(&exchange("a", "d"));
        assert_eq!((about.provider.as_str(), about.side), ("G01", Side::Consumer));
        let counted = Counted { count: 15, first_ms: 5_010, last_ms: 5_024 };
        let together = Together { source: "a".to_owned(), reason: Reason::DenyField, about, counted };
        assert_eq!(denials.drain(), [together]);
        assert!(denials.drain().is_empty());
    }

    #[test]
    fn datasets_are_told_apart_and_the_rate_is_the_system_s() {
        let denials = Denials::default();
        let mut whole = 0;
        for n in 0..40 {
            let of = if n % 4 == 0 { "one" } else { "other" };
            whole += u32::from(denials.is_whole(&exchange("a", of), Reason::DenyField, 0));
        }
        assert_eq!(whole, DENIALS_PER_SECOND_WHOLE);
        let mut counts: Vec<(String, u64)> =
            denials.drain().into_iter().map(|one| (one.about.dataset, one.counted.count)).collect();
        counts.sort();
        assert_eq!(counts, [("one".to_owned(), 7), ("other".to_owned(), 23)]);
    }

    #[test]
    fn sources_and_datasets_are_bounded_and_nothing_is_lost() {
        let denials = Denials::default();
        for n in 0..DENIAL_SOURCES_MAX * 2 {
            denials.is_whole(&exchange(&n.to_string(), "d"), Reason::DenyField, 0);
        }
        assert!(denials.lock().len() <= DENIAL_SOURCES_MAX + 1);
        denials.drain();
        for n in 0..1_000 {
            denials.is_whole(&exchange("a", &n.to_string()), Reason::DenyField, 0);
        }
        let drained = denials.drain();
        assert!(drained.len() <= DENIAL_DATASETS_MAX + 1, "{}", drained.len());
        let sum: u64 = drained.iter().map(|one| one.counted.count).sum();
        assert_eq!(sum, 1_000 - u64::from(DENIALS_PER_SECOND_WHOLE));
        assert!(drained.iter().any(|one| one.about == About::default()), "the rest has no name");
    }
}
