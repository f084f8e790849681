//! Step 5: the replay window of the provider's node (design §6): an exchange id counts once per consumer
//! node and attempt, and only within 120 s around the time inside its UUIDv7.
//!
//! Two generations of ids, each covering one window length: an id is forgotten only after every
//! moment at which it could still be accepted has passed. The window is rebuilt from the journal's
//! opening records at start, so that a restart forgets nothing.
//!
//! What is kept of an id is a mark of 64 bits, hashed under a key that this process made. Nobody can choose
//! two ids that share one; by chance one call in 10¹² is refused as if it came again, when as many are remembered as
//! may be.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hashbrown::HashTable;
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::limits::{REPLAY_IDS_MAX, REPLAY_WINDOW_MS};

const SHARDS: usize = 16;
/// An id is acceptable from `t - W` to `t + W`; a generation lasts twice that.
const GENERATION_MS: u64 = 2 * REPLAY_WINDOW_MS;

/// The window, shared by all traffic threads.
#[derive(Debug)]
pub struct ReplayWindow {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    /// `now / GENERATION_MS` of the current generation.
    generation: u64,
    current: HashTable<u64>,
    previous: HashTable<u64>,
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl ReplayWindow {
    /// Accepts an exchange once. `now_ms` is Unix time in milliseconds.
    pub fn accept(&self, node: &str, id: [u8; 16], attempt: u32, now_ms: u64) -> Result<(), MeshError> {
        let made_ms = unix_ms_of(&id);
        if id[6] >> 4 != 7 {
            return Err(MeshError::new(Reason::DenyReplay, "the exchange id is not a UUIDv7"));
        }
        if made_ms.abs_diff(now_ms) > REPLAY_WINDOW_MS {
            return Err(MeshError::new(
                Reason::DenyReplay,
                format!(
                    "the exchange id was made {} s away from this node's clock",
                    made_ms.abs_diff(now_ms) / 1000
                ),
            ));
        }
        let mark = self.mark(node, &id, attempt);
        let mut shard = self.shard(mark);
        shard.turn_to(now_ms / GENERATION_MS);
        if holds(&shard.previous, mark) || holds(&shard.current, mark) {
            return Err(MeshError::new(Reason::DenyReplay, "the exchange id was used before"));
        }
        if shard.current.len() >= REPLAY_IDS_MAX / SHARDS {
            return Err(MeshError::new(Reason::FailOverloaded, "the replay window is full"));
        }
        put(&mut shard.current, mark);
        Ok(())
    }

    /// Puts an exchange of the journal back into the window, at start.
    pub fn remember(&self, node: &str, id: [u8; 16], attempt: u32, now_ms: u64) {
        let mark = self.mark(node, &id, attempt);
        let mut shard = self.shard(mark);
        shard.turn_to(now_ms / GENERATION_MS);
        if !holds(&shard.current, mark) {
            put(&mut shard.current, mark);
        }
    }

    fn mark(&self, node: &str, id: &[u8; 16], attempt: u32) -> u64 {
        self.hasher.hash_one((node, id, attempt))
    }

    /// A table finds its place by the lowest bits of a mark and its highest; a shard is chosen by others.
    fn shard(&self, mark: u64) -> MutexGuard<'_, Shard> {
        let [_, _, _, _, byte, ..] = mark.to_le_bytes();
        // A poisoned shard is still a correct set: nothing in it is half-written.
        self.shards[usize::from(byte) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holds(marks: &HashTable<u64>, mark: u64) -> bool {
    marks.find(mark, |held| *held == mark).is_some()
}

fn put(marks: &mut HashTable<u64>, mark: u64) {
    marks.insert_unique(mark, mark, |held| *held);
}

impl Shard {
    fn turn_to(&mut self, generation: u64) {
        if generation == self.generation + 1 {
            self.previous = std::mem::take(&mut self.current);
        } else if generation > self.generation {
            self.previous.clear();
            self.current.clear();
        }
        self.generation = self.generation.max(generation);
    }
}

/// The milliseconds inside a UUIDv7 (RFC 9562 §5.7).
pub fn unix_ms_of(id: &[u8; 16]) -> u64 {
    id[..6].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_000_000_000;

    fn id(ms: u64, tail: u8) -> [u8; 16] {
        let mut id = [tail; 16];
        id[..6].copy_from_slice(&ms.to_be_bytes()[2..]);
        id[6] = 0x70;
        id
    }

    #[test]
    fn an_exchange_counts_once_per_node_and_attempt() {
        let window = ReplayWindow::default();
        window.accept("a", id(NOW, 1), 1, NOW).unwrap();
        assert_eq!(window.accept("a", id(NOW, 1), 1, NOW).unwrap_err().reason, Reason::DenyReplay);
        window.accept("a", id(NOW, 1), 2, NOW).unwrap();
        window.accept("b", id(NOW, 1), 1, NOW).unwrap();
    }

    #[test]
    fn a_stale_or_future_id_is_refused() {
        let window = ReplayWindow::default();
        assert!(window.accept("a", id(NOW - REPLAY_WINDOW_MS - 1, 1), 1, NOW).is_err());
        assert!(window.accept("a", id(NOW + REPLAY_WINDOW_MS + 1, 1), 1, NOW).is_err());
        window.accept("a", id(NOW - REPLAY_WINDOW_MS, 1), 1, NOW).unwrap();
    }

    #[test]
    fn a_restart_forgets_nothing_that_was_journalled() {
        let window = ReplayWindow::default();
        window.remember("a", id(NOW, 1), 1, NOW);
        assert!(window.accept("a", id(NOW, 1), 1, NOW).is_err());
    }

    proptest::proptest! {
        /// Whatever the moments, no id is accepted twice.
        #[test]
        fn never_twice(made in 0u64..600_000, times in proptest::collection::vec(0u64..600_000, 2..20)) {
            let window = ReplayWindow::default();
            let mut times = times;
            times.sort_unstable();
            let accepted = times.iter().filter(|t| window.accept("a", id(NOW + made, 1), 1, NOW + **t).is_ok()).count();
            proptest::prop_assert!(accepted <= 1);
        }
    }
}
