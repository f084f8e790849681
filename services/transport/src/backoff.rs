//! When to knock again: exponential, capped, with jitter. Pure: told the time and the chance.

use std::time::{Duration, Instant};

use crate::limits::{BACKOFF_MAX_MS, BACKOFF_MIN_MS};

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    next: Option<Instant>,
}

impl Backoff {
    /// Notes a failed attempt. `chance` is any random number: nodes that lost the same server spread out.
    pub(crate) fn failed(&mut self, now: Instant, chance: u64) {
        self.next = Some(now + pause(self.failures, chance));
        self.failures = self.failures.saturating_add(1);
    }

    /// Notes that the endpoint is well.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// How long until the next attempt; zero if now.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }
}

/// Between half and all of `BACKOFF_MIN_MS · 2^failures`, capped.
fn pause(failures: u32, chance: u64) -> Duration {
    let full = BACKOFF_MIN_MS.saturating_mul(1_u64 << failures.min(32)).min(BACKOFF_MAX_MS);
    let half = full / 2;
    Duration::from_millis(half + chance % (full - half + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pause_is_never_zero_nor_above_the_cap(failures: u32, chance: u64) {
            let pause = u64::try_from(pause(failures, chance).as_millis()).unwrap();
            prop_assert!(pause >= BACKOFF_MIN_MS / 2);
            prop_assert!(pause <= BACKOFF_MAX_MS);
        }

        #[test]
        fn pauses_grow_until_the_cap(failures in 0_u32..40, chance: u64) {
            // The shortest pause of a later failure is at least half of the longest of an earlier one.
            prop_assert!(pause(failures + 1, 0) * 2 >= pause(failures, chance));
        }
    }

    #[test]
    fn success_forgets_failures() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.wait(now), Duration::ZERO);
        for _ in 0..100 {
            backoff.failed(now, u64::MAX);
        }
        assert!(backoff.wait(now) >= Duration::from_millis(BACKOFF_MAX_MS / 2));
        backoff.succeeded();
        assert_eq!(backoff.wait(now), Duration::ZERO);
    }
}
