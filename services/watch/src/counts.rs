//! How much, in which window of time, and how much is usual.
//!
//! Journals come late: a node that was cut off ships yesterday's records today. So a record counts in the window of its own
//! time, and the newest windows of each count stay open side by side.

use std::collections::VecDeque;

/// Windows of one count that are open at once.
pub const WINDOWS_OPEN_MAX: usize = 4;

/// How slowly the usual follows: the share of a window in it is one of so many.
const USUAL_WEIGHT: u64 = 8;

/// The usual is kept in parts of one, so that small numbers move it.
const PARTS: u64 = 1024;

/// Windows without anything that are told apart; after so many the usual is near nothing.
const IDLE_WINDOWS_MAX: i64 = 64;

/// One count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Number and sum of each open window, the oldest first.
    open: VecDeque<(i64, u64)>,
    /// Mean of the windows that are closed, newer ones weighing more; in [`PARTS`].
    usual: u64,
    /// The last window that was told.
    told: Option<i64>,
}

impl Count {
    /// Counts something in a window; how much that window has now. `None` where it is closed already.
    pub fn add(&mut self, window: i64, much: u64) -> Option<u64> {
        if let Some((_, sum)) = self.open.iter_mut().find(|(number, _)| *number == window) {
            *sum = sum.saturating_add(much);
            return Some(*sum);
        }
        let newest = self.open.back().map(|(number, _)| *number);
        let oldest = self.open.front().map(|(number, _)| *number);
        if self.open.len() == WINDOWS_OPEN_MAX && oldest.is_some_and(|oldest| window < oldest) {
            return None;
        }
        let at = if newest.is_none_or(|newest| newest < window) {
            self.open.len()
        } else {
            self.open.iter().take_while(|(number, _)| *number < window).count()
        };
        self.open.insert(at, (window, much));
        if self.open.len() > WINDOWS_OPEN_MAX {
            self.close_oldest();
        }
        Some(much)
    }

    /// How much is usual in a window other than `window`.
    pub fn usual(&self, window: i64) -> u64 {
        let others = self.open.iter().filter(|(number, _)| *number < window).map(|(_, sum)| *sum);
        let (sum, count) = others.fold((0_u64, 0), |(sum, count), one| (sum.saturating_add(one), count + 1));
        (self.usual / PARTS).max(sum.checked_div(count).unwrap_or(0))
    }

    /// True the first time that a window is to be told.
    pub fn tell(&mut self, window: i64) -> bool {
        let first = self.told.is_none_or(|told| told < window);
        self.told = self.told.max(Some(window));
        first
    }

    /// The newest window in which something was counted.
    pub fn newest(&self) -> i64 {
        self.open.back().map_or(i64::MIN, |(number, _)| *number)
    }

    fn close_oldest(&mut self) {
        let Some((closed, sum)) = self.open.pop_front() else { return };
        self.follow(sum);
        let next = self.open.front().map_or(closed + 1, |(number, _)| *number);
        for _ in 0..next.saturating_sub(closed).saturating_sub(1).min(IDLE_WINDOWS_MAX) {
            self.follow(0);
        }
    }

    fn follow(&mut self, sum: u64) {
        let sum = sum.saturating_mul(PARTS);
        self.usual =
            (self.usual / USUAL_WEIGHT).saturating_mul(USUAL_WEIGHT - 1).saturating_add(sum / USUAL_WEIGHT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_stay_open_for_a_while_and_then_make_the_usual() {
        let mut count = Count::default();
        assert_eq!((count.add(10, 5), count.add(12, 7), count.add(11, 1)), (Some(5), Some(7), Some(1)));
        assert_eq!(count.add(10, 5), Some(10), "late, and still open");
        assert_eq!((count.usual(10), count.usual(12), count.usual(13)), (0, 5, 6));
        for window in 13..200 {
            count.add(window, 100);
        }
        assert!((95..=100).contains(&count.usual(200)), "{}", count.usual(200));
        assert_eq!(count.add(10, 1), None, "closed long ago");
        // Silence makes the usual small again.
        for window in [400, 401, 402, 403, 404, 405] {
            count.add(window, 1);
        }
        assert!(count.usual(405) <= 2, "{}", count.usual(405));
    }

    #[test]
    fn a_window_is_told_once() {
        let mut count = Count::default();
        assert_eq!([3, 3, 4, 3].map(|window| count.tell(window)), [true, false, true, false]);
    }
}
