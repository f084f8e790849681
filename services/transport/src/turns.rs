//! Threads that accept from one socket take turns: the next connection goes to the one that holds the fewest.
//!
//! **Why.** Two nodes have as few connections between them as threads, and each lives for an hour. Where the kernel spreads
//! them by a hash (`SO_REUSEPORT`), both of two land on one thread half of the time, and the other idles for that hour.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The threads of one socket. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Round>);

#[derive(Debug, Default)]
struct Round {
    /// Connections of each thread; `None` of one that has left.
    held: Mutex<Vec<Option<usize>>>,
    changed: Notify,
}

impl Turns {
    /// One more thread that accepts.
    pub fn join(&self) -> Turn {
        let mut held = self.0.held();
        held.push(Some(0));
        Turn { round: Arc::clone(&self.0), thread: held.len() - 1 }
    }
}

impl Round {
    fn held(&self) -> MutexGuard<'_, Vec<Option<usize>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, thread: usize, change: impl FnOnce(usize) -> Option<usize>) {
        if let Some(held) = self.held().get_mut(thread) {
            *held = held.and_then(change);
        }
        self.changed.notify_waiters();
    }
}

/// One thread among them; it leaves when this is dropped.
#[derive(Debug)]
pub struct Turn {
    round: Arc<Round>,
    thread: usize,
}

impl Turn {
    /// Waits until no other thread holds fewer connections. Safe to cancel.
    pub(crate) async fn comes(&self) {
        let mut changed = pin!(self.round.changed.notified());
        loop {
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.is_now() {
                return;
            }
            changed.as_mut().await;
            changed.set(self.round.changed.notified());
        }
    }

    fn is_now(&self) -> bool {
        let held = self.round.held();
        held.get(self.thread).copied().flatten() <= held.iter().flatten().min().copied()
    }

    /// A connection that this thread has accepted; it counts until that is dropped.
    pub(crate) fn accepted(&self) -> Accepted {
        self.round.change(self.thread, |held| Some(held + 1));
        Accepted { round: Arc::clone(&self.round), thread: self.thread }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.round.change(self.thread, |_| None);
    }
}

/// A connection that counts for its thread.
#[derive(Debug)]
pub(crate) struct Accepted {
    round: Arc<Round>,
    thread: usize,
}

impl Drop for Accepted {
    fn drop(&mut self) {
        self.round.change(self.thread, |held| held.checked_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn is_next(turn: &Turn) -> bool {
        turn.comes().now_or_never().is_some()
    }

    #[test]
    fn whoever_holds_fewest_is_next() {
        let turns = Turns::default();
        let (one, other) = (turns.join(), turns.join());
        assert!(is_next(&one) && is_next(&other));
        let first = one.accepted();
        assert!(!is_next(&one) && is_next(&other));
        let second = other.accepted();
        assert!(is_next(&one) && is_next(&other));
        drop(first);
        assert!(is_next(&one) && !is_next(&other));
        drop(second);
        assert!(is_next(&one) && is_next(&other));
    }

    #[test]
    fn a_thread_that_has_left_is_waited_for_no_more() {
        let turns = Turns::default();
        let (one, other) = (turns.join(), turns.join());
        let held = one.accepted();
        assert!(!is_next(&one));
        drop(other);
        assert!(is_next(&one));
        drop(one);
        drop(held);
        assert!(is_next(&turns.join()));
    }

    #[tokio::test]
    async fn who_waits_is_woken_when_the_turn_comes() {
        let turns = Turns::default();
        let (one, other) = (turns.join(), turns.join());
        let held = one.accepted();
        let waiting = tokio::spawn(async move {
            one.comes().await;
            one
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let _place = other.accepted();
        tokio::time::timeout(std::time::Duration::from_secs(5), waiting).await.unwrap().unwrap();
        drop(held);
    }
}
