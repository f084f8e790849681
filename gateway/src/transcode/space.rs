//! Memory for messages that are not whole yet, shared by all callers of a process and bounded.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::limits::HELD_BYTES_MAX;

/// The memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Space(Arc<AtomicUsize>);

/// A part of it, given back when dropped.
#[derive(Debug)]
pub struct Place {
    space: Space,
    bytes: usize,
}

impl Space {
    /// An empty part.
    pub fn place(&self) -> Place {
        Place { space: self.clone(), bytes: 0 }
    }
}

impl Place {
    /// Makes it as large as `bytes`; false where there is no room, and nothing changes.
    #[must_use]
    pub fn holds(&mut self, bytes: usize) -> bool {
        let held = &self.space.0;
        if bytes <= self.bytes {
            held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
            self.bytes = bytes;
            return true;
        }
        let more = bytes - self.bytes;
        if held.fetch_add(more, Ordering::Relaxed) + more > HELD_BYTES_MAX {
            held.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.space.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let space = Space::default();
        let (mut one, mut two) = (space.place(), space.place());
        assert!(one.holds(HELD_BYTES_MAX - 10) && two.holds(10) && !two.holds(11));
        assert!(one.holds(5) && two.holds(11));
        drop((one, two));
        assert_eq!(space.0.load(Ordering::Relaxed), 0);
    }
}
