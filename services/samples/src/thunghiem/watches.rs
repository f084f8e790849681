//! What was seen of the calls that named a watch. In memory, and bounded: the oldest watch goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lienthong_proto::vn::thunghiem::v1::GetWatchResponse;

/// Watches that are kept at once.
pub const WATCHES_MAX: usize = 1_024;

/// All watches.
#[derive(Clone, Debug, Default)]
pub struct Watches(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<String, Seen>,
    oldest_first: VecDeque<String>,
}

/// What was seen of the calls of one watch.
#[derive(Clone, Debug, Default)]
struct Seen {
    begun: u32,
    cancelled: u32,
    last: Option<Cancellation>,
}

#[derive(Clone, Copy, Debug)]
struct Cancellation {
    at: SystemTime,
    waited: Duration,
}

impl Watches {
    /// Counts a call; `name` empty: nobody watches. The answer also says which call of the watch it is, from 1.
    pub fn begin(&self, name: &str) -> (Watched, u32) {
        let mut number = 0;
        if !name.is_empty() {
            self.change(name, |seen| {
                seen.begun = seen.begun.saturating_add(1);
                number = seen.begun;
            });
        }
        let watched = Watched { watches: self.clone(), name: name.to_owned(), begun: Instant::now() };
        (watched, number)
    }

    /// A watch by name.
    pub fn get(&self, name: &str) -> GetWatchResponse {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = table.by_name.get(name).cloned().unwrap_or_default();
        GetWatchResponse {
            begun: seen.begun.into(),
            cancelled: seen.cancelled.into(),
            cancelled_at: seen.last.map(|last| last.at.into()),
            waited: seen.last.and_then(|last| last.waited.try_into().ok()),
            record: None,
        }
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Seen)) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.by_name.contains_key(name) {
            if table.by_name.len() >= WATCHES_MAX
                && let Some(oldest) = table.oldest_first.pop_front()
            {
                table.by_name.remove(&oldest);
            }
            table.oldest_first.push_back(name.to_owned());
        }
        change(table.by_name.entry(name.to_owned()).or_default());
    }
}

/// One call of a watch. Dropped before it is [`answered`](Self::answered), its caller has gone away.
#[derive(Debug)]
pub struct Watched {
    watches: Watches,
    name: String,
    begun: Instant,
}

impl Watched {
    /// The call has its answer; what follows is no cancellation.
    pub fn answered(mut self) {
        self.name.clear();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let cancellation = Cancellation { at: SystemTime::now(), waited: self.begun.elapsed() };
        self.watches.change(&self.name, |seen| {
            seen.cancelled = seen.cancelled.saturating_add(1);
            seen.last = Some(cancellation);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_cancellations() {
        let watches = Watches::default();
        let (first, number) = watches.begin("a");
        assert_eq!(number, 1);
        first.answered();
        let (second, number) = watches.begin("a");
        assert_eq!(number, 2);
        assert_eq!((watches.get("a").begun, watches.get("a").cancelled), (2, 0));
        drop(second);
        let seen = watches.get("a");
        assert_eq!((seen.begun, seen.cancelled), (2, 1));
        assert!(seen.cancelled_at.is_some() && seen.waited.is_some());
        assert_eq!(watches.get("b"), GetWatchResponse::default());
    }

    #[test]
    fn nobody_watches_an_empty_name() {
        let watches = Watches::default();
        drop(watches.begin(""));
        assert_eq!(watches.get(""), GetWatchResponse::default());
    }

    #[test]
    fn the_oldest_watch_goes_first() {
        let watches = Watches::default();
        for number in 0..=WATCHES_MAX {
            watches.begin(&number.to_string()).0.answered();
        }
        assert_eq!(watches.get("0").begun, 0);
        assert_eq!((watches.get("1").begun, watches.get(&WATCHES_MAX.to_string()).begun), (1, 1));
    }
}
