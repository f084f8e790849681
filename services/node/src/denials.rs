//! Which denials are recorded one by one (design §6, Who may see the log): up to ten a second of one
//! system; beyond that they are counted, and one record a minute says how many there were, so that nobody
//! can fill the log by being denied.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lienthong_proto::reason::Reason;

use crate::limits::{DENIAL_SOURCES_MAX, DENIALS_PER_SECOND_WHOLE};

/// Denials of all systems.
#[derive(Debug, Default)]
pub struct Denials(Mutex<HashMap<(String, Reason), Bucket>>);

#[derive(Debug, Default)]
struct Bucket {
    second: u64,
    in_second: u32,
    counted: Option<Counted>,
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

impl Denials {
    /// True where this denial is recorded by itself; otherwise it is counted.
    pub fn is_whole(&self, source: &str, reason: Reason, now_ms: u64) -> bool {
        let mut buckets = self.lock();
        let key = (source.to_owned(), reason);
        if buckets.len() >= DENIAL_SOURCES_MAX && !buckets.contains_key(&key) {
            // More sources than a minute may name: they share one bucket a reason.
            let shared = buckets.entry((String::new(), reason)).or_default();
            return shared.take(now_ms);
        }
        buckets.entry(key).or_default().take(now_ms)
    }

    /// What was counted since the last call, by source and reason.
    pub fn drain(&self) -> Vec<(String, Reason, Counted)> {
        self.lock()
            .drain()
            .filter_map(|((source, reason), bucket)| Some((source, reason, bucket.counted?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Reason), Bucket>> {
        // Counts are whole whatever a panicking thread was about to do.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn take(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        if second != self.second {
            self.second = second;
            self.in_second = 0;
        }
        if self.in_second < DENIALS_PER_SECOND_WHOLE {
            self.in_second += 1;
            return true;
        }
        let counted = self.counted.get_or_insert(Counted { count: 0, first_ms: now_ms, last_ms: now_ms });
        counted.count += 1;
        counted.last_ms = now_ms;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_a_second_are_whole_and_the_rest_is_counted() {
        let denials = Denials::default();
        let whole = (0..25).filter(|n| denials.is_whole("a", Reason::DenyField, 5_000 + n)).count();
        assert_eq!(whole, 10);
        assert!(denials.is_whole("a", Reason::DenyField, 6_000), "a new second begins");
        assert!(denials.is_whole("b", Reason::DenyField, 5_000), "another system has its own count");
        let drained = denials.drain();
        assert_eq!(drained.len(), 1);
        assert_eq!(drained[0].2, Counted { count: 15, first_ms: 5_010, last_ms: 5_024 });
        assert!(denials.drain().is_empty());
    }

    #[test]
    fn sources_are_bounded() {
        let denials = Denials::default();
        for n in 0..DENIAL_SOURCES_MAX * 2 {
            denials.is_whole(&n.to_string(), Reason::DenyField, 0);
        }
        assert!(denials.lock().len() <= DENIAL_SOURCES_MAX + 1);
    }
}
