//! The switch of one connection: open, finishing, cut. It only ever moves forward.
//!
//! A connection's task looks at its switch each time it is polled anyway; turning the switch wakes that task.
//! There is no timer and no channel per connection.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::Context;

use futures_util::task::AtomicWaker;

/// How a connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// As usual.
    Open = 0,
    /// Finish what is in flight, take nothing new (GOAWAY).
    Finishing = 1,
    /// Close now, with all streams.
    Cut = 2,
}

#[derive(Debug, Default)]
pub(crate) struct Control {
    phase: AtomicU8,
    preface: AtomicBool,
    unwanted: AtomicBool,
    waker: AtomicWaker,
}

impl Control {
    /// The present phase, without asking to be woken.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Open,
            1 => Phase::Finishing,
            _ => Phase::Cut,
        }
    }

    /// The present phase; the task of `cx` is woken at the next change. One task watches a switch.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Phase {
        // Register before the look: a change between the two wakes us again.
        self.waker.register(cx.waker());
        self.phase()
    }

    /// Moves to `phase`; returns whether that was a step forward.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        let before = self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        let moved = before < phase as u8;
        if moved {
            self.waker.wake();
        }
        moved
    }

    /// Cuts because trust in the peer has ended; returns whether that was a step forward.
    pub(crate) fn show_out(&self) -> bool {
        self.unwanted.store(true, Ordering::Release);
        self.advance(Phase::Cut)
    }

    /// Whether trust in the peer has ended.
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Acquire)
    }

    /// Notes that the peer has begun to speak HTTP/2.
    pub(crate) fn note_preface(&self) {
        self.preface.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub(crate) fn heard_preface(&self) -> bool {
        self.preface.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_never_goes_back() {
        let control = Control::default();
        assert_eq!(control.phase(), Phase::Open);
        assert!(control.advance(Phase::Cut));
        assert!(!control.advance(Phase::Finishing));
        assert!(!control.advance(Phase::Cut));
        assert_eq!(control.phase(), Phase::Cut);
    }
}
