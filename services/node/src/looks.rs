//! How much a thread looks at the records that it releases: a sample that is bounded in time and size.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{LOOK_BYTES_MAX, LOOKS_PER_SECOND_MAX};

/// Bits of the count beside the second.
const COUNT_BITS: u32 = 32;

/// Looks of one thread: the second, and how many there were in it.
#[derive(Debug, Default)]
pub struct Looks(AtomicU64);

impl Looks {
    /// Whether a message of this length may be looked at now, Unix milliseconds; if so, it counts.
    pub fn grants(&self, message_bytes: usize, now_ms: u64) -> bool {
        if message_bytes > LOOK_BYTES_MAX {
            return false;
        }
        // One thread writes; others never do.
        let (second, held) = (now_ms / 1_000 % (1 << COUNT_BITS), self.0.load(Ordering::Relaxed));
        let (of, count) = (held >> COUNT_BITS, held & u64::from(u32::MAX));
        let count = if of == second { count } else { 0 };
        if count >= u64::from(LOOKS_PER_SECOND_MAX) {
            return false;
        }
        self.0.store(second << COUNT_BITS | (count + 1), Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_and_none_that_is_long() {
        let looks = Looks::default();
        let granted = |now_ms| (0..100).filter(|_| looks.grants(100, now_ms)).count();
        assert_eq!(granted(1_000), LOOKS_PER_SECOND_MAX as usize);
        assert_eq!(granted(1_999), 0);
        assert_eq!(granted(2_000), LOOKS_PER_SECOND_MAX as usize);
        assert!(!looks.grants(LOOK_BYTES_MAX + 1, 3_000));
        assert!(looks.grants(LOOK_BYTES_MAX, 3_000));
    }
}
