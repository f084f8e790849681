//! Opening records that were shipped as a hash and whose closing record has not passed yet. Pure.
//!
//! An opening that stays alone for [`LATE_OPENING_AFTER`] is sent after all, in full. The oldest one still open
//! is the floor: the journal is kept, and swept after a crash, from there on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use crate::hash::Hash;

/// How long a closing record may take before its opening record is sent in full (design §6, Shipping).
pub const LATE_OPENING_AFTER: Duration = Duration::from_secs(5);

/// Openings that are followed at one time. One more is sent in full at once, and the floor stays below it until
/// the node starts again.
pub const OPENINGS_TRACKED_MAX: usize = 65_536;

/// The openings that are followed.
#[derive(Debug, Default)]
pub(super) struct Openings {
    open: BTreeMap<u64, Opening>,
    by_leaf: HashMap<Hash, u64>,
    /// Openings to be sent in full at their time, oldest first; some may be closed by then.
    waiting: VecDeque<(SystemTime, u64)>,
    /// The first opening that there was no room to follow.
    untracked: Option<u64>,
}

#[derive(Debug)]
struct Opening {
    leaf: Hash,
    /// When it is to be sent in full.
    due: SystemTime,
    sent: Sent,
}

#[derive(Debug, PartialEq, Eq)]
enum Sent {
    /// As a hash; here are its bytes.
    Hash(Vec<u8>),
    /// In full, in a batch that is not acknowledged yet; here are its bytes.
    Full(Vec<u8>),
    /// In full, and the broker has it.
    Held,
}

impl Openings {
    /// Whether one more can be followed, beside `others` that are about to be.
    pub fn has_room(&self, others: usize) -> bool {
        self.open.len() + others < OPENINGS_TRACKED_MAX
    }

    /// An opening was shipped as a hash.
    pub fn shipped_as_hash(&mut self, seq: u64, leaf: Hash, bytes: &[u8], now: SystemTime) {
        let due = now + LATE_OPENING_AFTER;
        self.waiting.push_back((due, seq));
        self.follow(seq, Opening { leaf, due, sent: Sent::Hash(bytes.to_vec()) });
    }

    /// An opening was shipped in full.
    pub fn shipped_in_full(&mut self, seq: u64, leaf: Hash) {
        if self.has_room(0) {
            self.follow(seq, Opening { leaf, due: SystemTime::UNIX_EPOCH, sent: Sent::Held });
        } else {
            self.untracked.get_or_insert(seq);
        }
    }

    /// A closing record was shipped.
    pub fn closed(&mut self, leaf: &Hash) {
        if let Some(seq) = self.by_leaf.remove(leaf) {
            self.open.remove(&seq);
        }
    }

    /// The oldest opening that is due to be sent in full now: its number and bytes. Stays due until it is
    /// [`Openings::sent_late`].
    pub fn due(&mut self, now: SystemTime, skip: usize) -> Option<(u64, &[u8])> {
        // Those that were closed meanwhile need nothing; drop them from the front.
        while let Some((_, seq)) = self.waiting.front()
            && !self.waits(*seq)
        {
            self.waiting.pop_front();
        }
        let open = &self.open;
        self.waiting
            .iter()
            .take_while(|(time, _)| *time <= now)
            .filter_map(|(_, seq)| match &open.get(seq)?.sent {
                Sent::Hash(bytes) => Some((*seq, &bytes[..])),
                Sent::Full(_) | Sent::Held => None,
            })
            .nth(skip)
    }

    /// How long until something is due; `None` if nothing waits.
    pub fn due_in(&self, now: SystemTime) -> Option<Duration> {
        let (time, _) = self.waiting.iter().find(|(_, seq)| self.waits(*seq))?;
        Some(time.duration_since(now).unwrap_or_default())
    }

    /// An opening was sent in full, late.
    pub fn sent_late(&mut self, seq: u64) {
        if let Some(opening) = self.open.get_mut(&seq)
            && let Sent::Hash(bytes) = &mut opening.sent
        {
            opening.sent = Sent::Full(std::mem::take(bytes));
        }
    }

    /// The broker has an opening that was sent late.
    pub fn held(&mut self, seq: u64) {
        if let Some(opening) = self.open.get_mut(&seq) {
            opening.sent = Sent::Held;
        }
    }

    /// Shipping begins anew behind record `last_seq`: what was sent later, or never acknowledged, is sent again.
    pub fn rewind(&mut self, last_seq: u64) {
        for opening in self.open.split_off(&(last_seq.saturating_add(1))).into_values() {
            self.by_leaf.remove(&opening.leaf);
        }
        for opening in self.open.values_mut() {
            if let Sent::Full(bytes) = &mut opening.sent {
                opening.sent = Sent::Hash(std::mem::take(bytes));
            }
        }
        let waiting = self.open.iter().filter(|(_, opening)| matches!(opening.sent, Sent::Hash(_)));
        let mut waiting: Vec<_> = waiting.map(|(seq, opening)| (opening.due, *seq)).collect();
        waiting.sort_unstable();
        self.waiting = waiting.into();
    }

    /// The first record that must be kept for an exchange still open, at most `limit`.
    pub fn floor(&self, limit: u64) -> u64 {
        let first = self.open.first_key_value().map_or(limit, |(seq, _)| *seq);
        first.min(self.untracked.unwrap_or(limit)).min(limit)
    }

    fn waits(&self, seq: u64) -> bool {
        self.open.get(&seq).is_some_and(|opening| matches!(opening.sent, Sent::Hash(_)))
    }

    fn follow(&mut self, seq: u64, opening: Opening) {
        self.by_leaf.insert(opening.leaf, seq);
        self.open.insert(seq, opening);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn ship(openings: &mut Openings, seq: u64, second: u64) -> Hash {
        let bytes = seq.to_be_bytes();
        let leaf = leaf_hash(&bytes);
        openings.shipped_as_hash(seq, leaf, &bytes, at(second));
        leaf
    }

    #[test]
    fn an_opening_is_due_five_seconds_later_unless_closed() {
        let mut openings = Openings::default();
        let first = ship(&mut openings, 1, 0);
        ship(&mut openings, 2, 0);
        ship(&mut openings, 3, 2);
        openings.closed(&first);
        assert_eq!(openings.due(at(4), 0), None);
        assert_eq!(openings.due_in(at(4)), Some(Duration::from_secs(1)));
        assert_eq!(openings.due(at(5), 0), Some((2, &2_u64.to_be_bytes()[..])));
        assert_eq!(openings.due(at(5), 1), None);
        assert_eq!(openings.due(at(7), 1).map(|(seq, _)| seq), Some(3));
        openings.sent_late(2);
        assert_eq!(openings.due(at(6), 0), None);
        assert_eq!(openings.due(at(7), 0).map(|(seq, _)| seq), Some(3));
        // Still open, though sent: the sweep must begin there.
        assert_eq!(openings.floor(100), 2);
    }

    #[test]
    fn a_rewind_sends_again_what_was_not_acknowledged() {
        let mut openings = Openings::default();
        for seq in 1..=4 {
            ship(&mut openings, seq, 0);
        }
        openings.sent_late(1);
        openings.sent_late(2);
        openings.held(1);
        openings.rewind(3);
        let due: Vec<u64> = (0..5).filter_map(|skip| Some(openings.due(at(9), skip)?.0)).collect();
        assert_eq!(due, [2, 3]);
        assert_eq!(openings.floor(4), 1);
        // What is shipped again is due once.
        ship(&mut openings, 4, 1);
        let due: Vec<u64> = (0..5).filter_map(|skip| Some(openings.due(at(9), skip)?.0)).collect();
        assert_eq!(due, [2, 3, 4]);
    }

    #[test]
    fn what_is_not_followed_holds_the_floor() {
        let mut openings = Openings::default();
        for seq in 1..=OPENINGS_TRACKED_MAX as u64 {
            assert!(openings.has_room(0));
            ship(&mut openings, seq, 0);
        }
        assert!(!openings.has_room(0));
        openings.shipped_in_full(70_000, leaf_hash(b"one more"));
        for seq in 1..=OPENINGS_TRACKED_MAX as u64 {
            openings.closed(&leaf_hash(&seq.to_be_bytes()));
        }
        openings.closed(&leaf_hash(b"one more"));
        assert_eq!(openings.floor(80_000), 70_000);
        assert!(openings.by_leaf.is_empty());
    }
}
