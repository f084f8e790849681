//! Up to when each node was heard: what its batches state, once all that they brought is in the log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::{HEARING_EVERY_MS, HEARINGS_PER_NODE_MAX};

/// What was heard of every node, and not yet followed in the log. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<BTreeMap<String, VecDeque<Hearing>>>>);

/// One batch of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hearing {
    /// When it was sealed, by the node's clock, Unix milliseconds.
    pub sealed_ms: i64,
    /// Up to when the node's records are in: the time of the batch's last record, for one behind may still wait to be
    /// shipped; the seal's where it has none, for that says that nothing waits. `None` where it tells neither.
    pub heard_ms: Option<i64>,
    /// When it came, by the broker's.
    pub received_ms: i64,
    /// Log entries with which all that it brought is in the log.
    pub upto: u64,
}

impl Heard {
    /// A batch of `node` is on record. Batches that follow each other closely count as one.
    pub fn note(&self, node: &str, hearing: Hearing) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hearings = all.entry(node.to_owned()).or_default();
        let fresh = |last: &Hearing| hearing.received_ms - last.received_ms < HEARING_EVERY_MS;
        if hearings.len() >= HEARINGS_PER_NODE_MAX || hearings.back().is_some_and(fresh) {
            return;
        }
        hearings.push_back(hearing);
    }

    /// For each node the newest hearing that the first `position` entries of the log bear out; given once.
    pub fn up_to(&self, position: u64) -> Vec<(String, Hearing)> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = |hearings: &mut VecDeque<Hearing>| {
            let mut newest = None;
            while hearings.front().is_some_and(|hearing| hearing.upto <= position) {
                newest = hearings.pop_front();
            }
            newest
        };
        all.iter_mut().filter_map(|(node, hearings)| Some((node.clone(), newest(hearings)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hearing_counts_once_its_entries_were_followed() {
        let heard = Heard::default();
        let hearing =
            |at: i64, upto: u64| Hearing { sealed_ms: at, heard_ms: Some(at), received_ms: at, upto };
        heard.note("a", hearing(1_000, 5));
        heard.note("a", hearing(1_001, 6));
        heard.note("a", hearing(2_000, 9));
        heard.note("b", hearing(1_500, 20));
        assert_eq!(heard.up_to(4), []);
        assert_eq!(heard.up_to(5), [("a".to_owned(), hearing(1_000, 5))]);
        assert_eq!(heard.up_to(19), [("a".to_owned(), hearing(2_000, 9))]);
        assert_eq!(heard.up_to(19), []);
        for at in (0..).take(10 * HEARINGS_PER_NODE_MAX) {
            heard.note("c", hearing(at * 1_000, 1));
        }
        assert_eq!(heard.0.lock().unwrap()["c"].len(), HEARINGS_PER_NODE_MAX);
    }
}
