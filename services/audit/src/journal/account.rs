//! The account of what the broker has not acknowledged: records, bytes, age. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Grain of the byte account of the backlog: it may overstate by this much.
pub(super) const MARK_BYTES: u64 = 64 * 1024;

/// Records that the broker has not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub records: u64,
    /// Bytes they take in the journal, rounded up to some 64 KiB.
    pub bytes: u64,
    /// Age of the oldest, about; zero if there is none.
    pub age: Duration,
}

/// How many records and bytes are not acknowledged, and since when. Marks every [`MARK_BYTES`] instead of a
/// number per record keep it small.
#[derive(Debug)]
pub(super) struct Account {
    acknowledged: u64,
    appended_bytes: u64,
    acknowledged_bytes: u64,
    last_seq: u64,
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    /// The first record that the mark stands for.
    seq: u64,
    /// Bytes appended before it.
    bytes: u64,
    /// When it was appended.
    since: Instant,
}

impl Account {
    /// The account of a journal of which `acknowledged` of `last_seq` records are at the broker.
    pub fn new(last_seq: u64, acknowledged: u64, backlog_bytes: u64, backlog_since: Instant) -> Self {
        let mut marks = VecDeque::new();
        if last_seq > acknowledged {
            marks.push_back(Mark { seq: acknowledged + 1, bytes: 0, since: backlog_since });
        }
        Self { acknowledged, appended_bytes: backlog_bytes, acknowledged_bytes: 0, last_seq, marks }
    }

    pub fn append(&mut self, seq: u64, size: u64) {
        if self.marks.back().is_none_or(|mark| self.appended_bytes - mark.bytes >= MARK_BYTES) {
            self.marks.push_back(Mark { seq, bytes: self.appended_bytes, since: Instant::now() });
        }
        self.appended_bytes += size;
        self.last_seq = seq;
    }

    pub fn acknowledge(&mut self, seq: u64) {
        self.acknowledged = self.acknowledged.max(seq.min(self.last_seq));
        if self.acknowledged == self.last_seq {
            self.marks.clear();
            self.acknowledged_bytes = self.appended_bytes;
            return;
        }
        // A mark is done with once the next one stands at or before the first record still owed.
        let owed = self.acknowledged + 1;
        while self.marks.get(1).is_some_and(|next| next.seq <= owed) {
            self.marks.pop_front();
        }
        self.acknowledged_bytes = self.marks.front().map_or(self.appended_bytes, |mark| mark.bytes);
    }

    pub fn records(&self) -> u64 {
        self.last_seq - self.acknowledged
    }

    pub fn bytes(&self) -> u64 {
        self.appended_bytes - self.acknowledged_bytes
    }

    pub fn backlog(&self, now: Instant) -> Backlog {
        let age = self.marks.front().map_or(Duration::ZERO, |mark| now.saturating_duration_since(mark.since));
        Backlog { records: self.records(), bytes: self.bytes(), age }
    }
}
