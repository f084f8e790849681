//! Keeps what callers cause from filling the broker's own log (not the audit log): so many lines a second, the rest
//! counted. A peer that reconnects a thousand times a second must not fill a disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits::CALLER_LINES_PER_SECOND_MAX;

/// The budget of lines. Cheap to clone; all clones spend from one.
#[derive(Clone, Debug, Default)]
pub struct Quiet(Arc<Mutex<Window>>);

#[derive(Debug, Default)]
struct Window {
    begin: Option<Instant>,
    written: u32,
    left_out: u64,
}

impl Quiet {
    /// Whether one more line may be written now. When lines were left out in the second before, a line says so.
    pub fn allows(&self) -> bool {
        let (allowed, left_out) = self.spend(Instant::now());
        if left_out > 0 {
            tracing::warn!(left_out, "lines about callers were left out; the metrics count every call");
        }
        allowed
    }

    /// The pure part: whether a line may be written at `now`, and how many were left out before this second.
    fn spend(&self, now: Instant) -> (bool, u64) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if window.begin.is_none_or(|begin| now.duration_since(begin) >= Duration::from_secs(1)) {
            left_out = window.left_out;
            *window = Window { begin: Some(now), ..Window::default() };
        }
        if window.written < CALLER_LINES_PER_SECOND_MAX {
            window.written += 1;
            (true, left_out)
        } else {
            window.left_out += 1;
            (false, left_out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let quiet = Quiet::default();
        let start = Instant::now();
        let written = (0..10_000).filter(|_| quiet.spend(start).0).count();
        assert_eq!(u32::try_from(written), Ok(CALLER_LINES_PER_SECOND_MAX));
        let later = start + Duration::from_secs(1);
        assert_eq!(quiet.spend(later), (true, 10_000 - u64::from(CALLER_LINES_PER_SECOND_MAX)));
        assert_eq!(quiet.spend(later), (true, 0));
    }
}
