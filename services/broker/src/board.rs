//! The acknowledgement board: which node decides by which epoch, and since when.
//!
//! Kept in memory only: after a restart every node reconnects and says again what it holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost_types::Timestamp;

use crate::limits::BOARD_TEXT_BYTES_MAX;
use crate::text;

/// What is known of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Watch streams that it holds open now.
    pub watches: usize,
    /// Version of its software, as it says.
    pub software_version: String,
    /// Epoch of the newest bundle that was handed to it.
    pub sent_epoch: u64,
    /// Epoch by which it decides, as it acknowledged; 0: unknown.
    pub applied_epoch: u64,
    /// When it began to decide by it, by its clock.
    pub applied_time: Option<Timestamp>,
    /// Why it did not take the bundle last handed to it; empty when it did.
    pub error: String,
    /// Version of the mesh trust file that it holds, as it says; 0: unknown.
    pub trust_version: u64,
    /// Why it did not take the trust file last handed to it; empty when it did.
    pub trust_error: String,
}

/// The board. Cheap to clone; all clones show the same rows.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Row>>>);

impl Board {
    /// Every node that has watched since the broker started, by resource name.
    pub fn rows(&self) -> BTreeMap<String, Row> {
        self.lock().clone()
    }

    /// One node's row.
    pub fn row(&self, node: &str) -> Option<Row> {
        self.lock().get(node).cloned()
    }

    /// Nodes that hold a watch stream open now.
    pub fn connected(&self) -> usize {
        self.lock().values().filter(|row| row.watches > 0).count()
    }

    /// Nodes that are connected and decide by an epoch older than `epoch`.
    pub fn behind(&self, epoch: u64) -> usize {
        self.lock().values().filter(|row| row.watches > 0 && row.applied_epoch < epoch).count()
    }

    /// Nodes that are connected and hold a mesh trust file older than `version`.
    pub fn behind_trust(&self, version: u64) -> usize {
        self.lock().values().filter(|row| row.watches > 0 && row.trust_version < version).count()
    }

    /// Enters a watch stream of `node`; it leaves when the entry is dropped.
    pub(crate) fn enter(&self, node: &str, software_version: &str, held_epoch: u64) -> Entry {
        let mut rows = self.lock();
        let row = rows.entry(node.to_owned()).or_default();
        row.watches += 1;
        cut(software_version).clone_into(&mut row.software_version);
        row.applied_epoch = held_epoch;
        drop(rows);
        Entry { board: self.clone(), node: node.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        // Rows are plain values; a panic elsewhere cannot leave one half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One watch stream on the board.
#[derive(Debug)]
pub(crate) struct Entry {
    board: Board,
    node: String,
}

impl Entry {
    /// Notes that a bundle was handed over.
    pub(crate) fn sent(&self, epoch: u64) {
        self.with(|row| row.sent_epoch = row.sent_epoch.max(epoch));
    }

    /// Notes what the node says about a bundle.
    pub(crate) fn acknowledged(&self, epoch: u64, applied_time: Option<Timestamp>, error: &str) {
        self.with(|row| {
            cut(error).clone_into(&mut row.error);
            if error.is_empty() && epoch >= row.applied_epoch {
                row.applied_epoch = epoch;
                row.applied_time = applied_time;
            }
        });
    }

    /// Notes which mesh trust file the node holds, and why not a newer one.
    pub(crate) fn trusts(&self, version: u64, error: &str) {
        self.with(|row| {
            row.trust_version = version;
            cut(error).clone_into(&mut row.trust_error);
        });
    }

    fn with(&self, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.board.lock().get_mut(&self.node) {
            change(row);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.with(|row| row.watches = row.watches.saturating_sub(1));
    }
}

/// The beginning of a text that somebody else wrote.
fn cut(text: &str) -> &str {
    text::cut(text, BOARD_TEXT_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "agencies/G01/nodes/n1";

    #[test]
    fn a_node_is_behind_until_it_says_otherwise() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 0);
        entry.sent(3);
        assert_eq!((board.connected(), board.behind(3)), (1, 1));
        entry.acknowledged(3, Some(Timestamp { seconds: 9, nanos: 0 }), "");
        assert_eq!(board.behind(3), 0);
        assert_eq!(board.row(NODE).unwrap().applied_time.unwrap().seconds, 9);
        drop(entry);
        assert_eq!((board.connected(), board.behind(4)), (0, 0));
    }

    #[test]
    fn a_refused_bundle_leaves_the_epoch_and_shows_why() {
        let board = Board::default();
        let entry = board.enter(NODE, "0.1.0", 2);
        entry.acknowledged(3, None, &"lỗi ".repeat(200));
        let row = board.row(NODE).unwrap();
        assert_eq!(row.applied_epoch, 2);
        assert!(row.error.starts_with("lỗi") && row.error.len() <= BOARD_TEXT_BYTES_MAX);
    }
}
