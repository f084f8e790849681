//! How old the rights are, and whether the clock can be believed (design §6, Freshness and clock).
//!
//! The age runs on the monotonic clock since the last heartbeat that the broker signed. It is written to
//! disk once a second; after a restart it goes on from there, so that restarting a node that is cut off
//! from the broker never makes its rights younger. The largest broker time ever seen is kept as well: a
//! wall clock behind it by more than 5 s is no clock to judge validity by.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::limits::CLOCK_BEHIND_MS_MAX;

/// What stands on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_field_names)] // units are last in a name
struct Saved {
    /// Unix time of this file, milliseconds, by the node's clock.
    saved_unix_ms: u64,
    /// Age of the rights at that time, milliseconds.
    age_ms: u64,
    /// Largest broker time ever seen, Unix milliseconds.
    broker_time_max_ms: u64,
}

/// Age of the rights and trust in the clock.
#[derive(Debug)]
pub struct Freshness {
    path: PathBuf,
    start: Instant,
    /// Monotonic milliseconds since `start` of the last heartbeat, minus the age carried over from disk,
    /// shifted by `SHIFT` to stay positive. 0: no heartbeat has ever been seen.
    last_heartbeat: AtomicU64,
    broker_time_max_ms: AtomicU64,
}

/// Larger than any age that can be carried over: a century.
const SHIFT: u64 = 100 * 366 * 24 * 3600 * 1000;

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FreshnessError {
    /// It could not be read or written.
    #[error(
        "the file {path} with the age of the rights cannot be used: {source}; check the disk and its permissions"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a node writes.
    #[error(
        "the file {path} with the age of the rights is damaged: {message}; delete it: the node then waits for the broker before it decides anything"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl Freshness {
    /// Reads the age from disk; without a file the rights count as infinitely old.
    pub fn open(path: &Path, now_unix_ms: u64) -> Result<Self, FreshnessError> {
        let saved = match fs::read_to_string(path) {
            Ok(text) => Some(toml::from_str::<Saved>(&text).map_err(|error| FreshnessError::Damaged {
                path: path.to_owned(),
                message: error.message().to_owned(),
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                return Err(FreshnessError::Io { path: path.to_owned(), source });
            }
        };
        let (last, broker_time_max_ms) = match saved {
            None => (0, 0),
            Some(saved) => {
                // The time in which the node did not run counts; a clock that went back counts as zero
                // here and is caught by `clock_is_behind`.
                let age = saved.age_ms.saturating_add(now_unix_ms.saturating_sub(saved.saved_unix_ms));
                (SHIFT.saturating_sub(age), saved.broker_time_max_ms)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            start: Instant::now(),
            last_heartbeat: AtomicU64::new(last),
            broker_time_max_ms: AtomicU64::new(broker_time_max_ms),
        })
    }

    /// Takes a heartbeat whose signature was checked; `broker_unix_ms` is the time it states. False, and
    /// without effect, where that is not later than the largest seen: it is played back.
    pub fn heartbeat(&self, broker_unix_ms: u64) -> bool {
        let before = self.broker_time_max_ms.fetch_max(broker_unix_ms, Ordering::AcqRel);
        if broker_unix_ms <= before {
            return false;
        }
        self.last_heartbeat.store(self.monotonic_ms() + SHIFT, Ordering::Release);
        true
    }

    /// Age of the rights; [`Duration::MAX`] when no heartbeat was ever seen.
    pub fn age(&self) -> Duration {
        match self.last_heartbeat.load(Ordering::Acquire) {
            0 => Duration::MAX,
            last => Duration::from_millis((self.monotonic_ms() + SHIFT).saturating_sub(last)),
        }
    }

    /// True where the node's clock is behind the largest broker time by more than
    /// [`CLOCK_BEHIND_MS_MAX`].
    pub fn clock_is_behind(&self, now_unix_ms: u64) -> bool {
        now_unix_ms + CLOCK_BEHIND_MS_MAX < self.broker_time_max_ms.load(Ordering::Acquire)
    }

    /// Writes the age to disk, atomically.
    pub fn save(&self, now_unix_ms: u64) -> Result<(), FreshnessError> {
        let age = self.age();
        if age == Duration::MAX {
            return Ok(());
        }
        let saved = Saved {
            saved_unix_ms: now_unix_ms,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            broker_time_max_ms: self.broker_time_max_ms.load(Ordering::Acquire),
        };
        let io = |source| FreshnessError::Io { path: self.path.clone(), source };
        let text = toml::to_string(&saved).map_err(|error| FreshnessError::Damaged {
            path: self.path.clone(),
            message: error.to_string(),
        })?;
        let temporary = self.path.with_extension("new");
        fs::write(&temporary, text).map_err(io)?;
        fs::rename(&temporary, &self.path).map_err(io)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_763_000_000_000;

    #[test]
    fn without_a_heartbeat_the_rights_are_infinitely_old() {
        let folder = tempfile::tempdir().unwrap();
        let freshness = Freshness::open(&folder.path().join("freshness.toml"), NOW).unwrap();
        assert_eq!(freshness.age(), Duration::MAX);
        assert!(freshness.heartbeat(NOW));
        assert!(!freshness.heartbeat(NOW), "a heartbeat that is played back has no effect");
        assert!(freshness.age() < Duration::from_secs(5));
    }

    #[test]
    fn a_restart_goes_on_from_the_age_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        let before = Freshness::open(&path, NOW).unwrap();
        before.heartbeat(NOW);
        before.save(NOW).unwrap();
        let after = Freshness::open(&path, NOW + 90_000).unwrap();
        assert!(after.age() >= Duration::from_secs(90));
        assert!(after.age() < Duration::from_secs(100));
    }

    #[test]
    fn a_clock_behind_the_broker_is_seen_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        let before = Freshness::open(&path, NOW).unwrap();
        before.heartbeat(NOW);
        before.save(NOW).unwrap();
        let after = Freshness::open(&path, NOW - 60_000).unwrap();
        assert!(after.clock_is_behind(NOW - 60_000));
        assert!(!after.clock_is_behind(NOW - CLOCK_BEHIND_MS_MAX));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        fs::write(&path, "age = ").unwrap();
        let error = Freshness::open(&path, NOW).unwrap_err();
        assert!(error.to_string().contains("freshness.toml"));
    }
}
