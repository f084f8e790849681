//! How old the rights are, and whether the clock can be believed (design §6, Freshness and clock).
//!
//! The age runs on the monotonic clock since the last heartbeat that the broker signed; where the machine slept,
//! which that clock does not count, the wall clock makes it older. It is written to disk once a second together
//! with the bundle that it is about; after a restart it goes on from there, so that restarting a node that is
//! cut off from the broker never makes its rights younger, and a bundle that was put back never takes the age of
//! a newer one. The largest broker time ever seen is kept as well: a wall clock behind it by more than 5 s is no
//! clock to judge validity by.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{clock, limits::CLOCK_BEHIND_MS_MAX};

/// What stands on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    /// Unix time of this file, milliseconds, by the node's clock.
    written_unix_ms: u64,
    /// Age of the rights at that time, milliseconds.
    age_ms: u64,
    /// Largest broker time ever seen, Unix milliseconds.
    broker_time_max_ms: u64,
    /// Epoch of the newest bundle that was in effect.
    epoch: u64,
    /// SHA-256 of that bundle, hexadecimal.
    bundle_hash: String,
}

/// Age of the rights and trust in the clock.
#[derive(Debug)]
pub struct Freshness {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The last sign of life; `None`: the rights count as infinitely old.
    heard: Option<Heard>,
    broker_time_max_ms: u64,
    epoch: u64,
    bundle_hash: String,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    at_unix_ms: u64,
    /// What the age was already at that moment: carried over from disk.
    age_before: Duration,
}

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

/// What the file says, for whoever looks at a node from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Age of the rights now.
    pub age: Duration,
    /// Epoch of the newest bundle that was in effect.
    pub epoch: u64,
    /// The node's clock less the largest broker time, both of the moment of the last sign of life, milliseconds.
    pub ahead_ms: i64,
}

/// Reads the file without a node; `None` where a node has not written one yet.
pub fn look(path: &Path, now_unix_ms: u64) -> Result<Option<Seen>, FreshnessError> {
    Ok(read(path)?.map(|saved| {
        let heard_unix_ms = saved.written_unix_ms.saturating_sub(saved.age_ms);
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        Seen {
            age: saved.age_at(now_unix_ms),
            epoch: saved.epoch,
            ahead_ms: signed(heard_unix_ms) - signed(saved.broker_time_max_ms),
        }
    }))
}

impl Saved {
    /// The time in which the node did not run counts; a clock that went back counts as zero here and is caught by
    /// `clock_is_behind`.
    fn age_at(&self, now_unix_ms: u64) -> Duration {
        let since = now_unix_ms.saturating_sub(self.written_unix_ms);
        Duration::from_millis(self.age_ms.saturating_add(since))
    }
}

fn read(path: &Path) -> Result<Option<Saved>, FreshnessError> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map(Some).map_err(|error| FreshnessError::Damaged {
            path: path.to_owned(),
            message: error.message().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FreshnessError::Io { path: path.to_owned(), source }),
    }
}

impl Freshness {
    /// Reads the age from disk; without a file the rights count as infinitely old.
    pub fn open(path: &Path, now_unix_ms: u64) -> Result<Self, FreshnessError> {
        let state = read(path)?.map_or_else(State::default, |saved| {
            let age_before = saved.age_at(now_unix_ms);
            State {
                heard: Some(Heard { at: Instant::now(), at_unix_ms: now_unix_ms, age_before }),
                broker_time_max_ms: saved.broker_time_max_ms,
                epoch: saved.epoch,
                bundle_hash: saved.bundle_hash,
            }
        });
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    /// Takes a heartbeat whose signature was checked, about the bundle that is held; `broker_unix_ms` is the time
    /// it states. False, and without effect, where that is not later than the largest seen: it is played back.
    pub fn heartbeat(&self, broker_unix_ms: u64, epoch: u64, bundle_hash: &[u8]) -> bool {
        let mut state = self.lock();
        if broker_unix_ms <= state.broker_time_max_ms {
            return false;
        }
        state.broker_time_max_ms = broker_unix_ms;
        state.heard =
            Some(Heard { at: Instant::now(), at_unix_ms: clock::unix_ms(), age_before: Duration::ZERO });
        if state.epoch != epoch {
            state.epoch = epoch;
            state.bundle_hash = hex::encode(bundle_hash);
        }
        true
    }

    /// Told which bundle took effect. The age goes on: a bundle is no sign of life, it may have been held back.
    pub fn holds(&self, epoch: u64, bundle_hash: &[u8]) {
        let mut state = self.lock();
        state.epoch = epoch;
        state.bundle_hash = hex::encode(bundle_hash);
    }

    /// Epoch of the newest bundle that was in effect: an older one is never taken.
    pub fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// Told at start which bundle lies on disk: the age on disk counts for that one only. False where it is
    /// another; its rights then count as infinitely old until the broker is heard.
    pub fn is_about(&self, epoch: u64, bundle_hash: &[u8]) -> bool {
        let mut state = self.lock();
        let same = state.epoch == epoch && state.bundle_hash == hex::encode(bundle_hash);
        if !same {
            state.heard = None;
        }
        same
    }

    /// Age of the rights; [`Duration::MAX`] when no heartbeat was ever seen.
    pub fn age(&self) -> Duration {
        let heard = self.lock().heard;
        heard.map_or(Duration::MAX, |heard| {
            let slept = Duration::from_millis(clock::unix_ms().saturating_sub(heard.at_unix_ms));
            heard.at.elapsed().max(slept).saturating_add(heard.age_before)
        })
    }

    /// True where the node's clock is behind the largest broker time by more than
    /// [`CLOCK_BEHIND_MS_MAX`].
    pub fn clock_is_behind(&self, now_unix_ms: u64) -> bool {
        now_unix_ms + CLOCK_BEHIND_MS_MAX < self.lock().broker_time_max_ms
    }

    /// Writes the age to disk, so that a power cut leaves the old file or the new one.
    pub fn save(&self, now_unix_ms: u64) -> Result<(), FreshnessError> {
        let age = self.age();
        if age == Duration::MAX {
            return Ok(());
        }
        let state = self.lock().clone();
        let saved = Saved {
            written_unix_ms: now_unix_ms,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            broker_time_max_ms: state.broker_time_max_ms,
            epoch: state.epoch,
            bundle_hash: state.bundle_hash,
        };
        let io = |source| FreshnessError::Io { path: self.path.clone(), source };
        let text = toml::to_string(&saved).map_err(|error| FreshnessError::Damaged {
            path: self.path.clone(),
            message: error.to_string(),
        })?;
        let temporary = self.path.with_extension("new");
        let file = fs::File::create(&temporary).map_err(io)?;
        io::Write::write_all(&mut &file, text.as_bytes()).map_err(io)?;
        file.sync_data().map_err(io)?;
        fs::rename(&temporary, &self.path).map_err(io)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What a panicking thread left is whole: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> u64 {
        clock::unix_ms()
    }

    #[test]
    fn without_a_heartbeat_the_rights_are_infinitely_old() {
        let folder = tempfile::tempdir().unwrap();
        let freshness = Freshness::open(&folder.path().join("freshness.toml"), now()).unwrap();
        assert_eq!(freshness.age(), Duration::MAX);
        let beat = now();
        assert!(freshness.heartbeat(beat, 1, &[1]));
        assert!(!freshness.heartbeat(beat, 1, &[1]), "a heartbeat that is played back has no effect");
        assert!(freshness.age() < Duration::from_secs(5));
    }

    #[test]
    fn a_restart_goes_on_from_the_age_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        let before = Freshness::open(&path, now()).unwrap();
        before.heartbeat(now(), 1, &[1]);
        before.save(now()).unwrap();
        let after = Freshness::open(&path, now() + 90_000).unwrap();
        assert!(after.age() >= Duration::from_secs(90));
        assert!(after.age() < Duration::from_secs(120));
    }

    #[test]
    fn a_clock_behind_the_broker_is_seen_even_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        let before = Freshness::open(&path, now()).unwrap();
        before.heartbeat(now(), 1, &[1]);
        before.save(now()).unwrap();
        let after = Freshness::open(&path, now() - 60_000).unwrap();
        assert!(after.clock_is_behind(now() - 60_000));
        assert!(!after.clock_is_behind(now() - CLOCK_BEHIND_MS_MAX));
    }

    #[test]
    fn the_age_of_one_bundle_is_not_that_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        let now = clock::unix_ms();
        let before = Freshness::open(&path, now).unwrap();
        before.heartbeat(now, 8, &[8]);
        before.save(now).unwrap();
        let same = Freshness::open(&path, now).unwrap();
        assert!(same.is_about(8, &[8]));
        assert!(same.age() < Duration::from_secs(60));
        let put_back = Freshness::open(&path, now).unwrap();
        assert!(!put_back.is_about(7, &[7]));
        assert_eq!(put_back.age(), Duration::MAX);
        assert_eq!(put_back.epoch(), 8);
    }

    #[test]
    fn whoever_looks_sees_age_and_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        assert_eq!(look(&path, now()).unwrap(), None);
        let node = Freshness::open(&path, now()).unwrap();
        node.heartbeat(now() + 60_000, 7, &[7]);
        node.save(now()).unwrap();
        let seen = look(&path, now() + 90_000).unwrap().unwrap();
        assert!(seen.age >= Duration::from_secs(90) && seen.age < Duration::from_secs(120), "{seen:?}");
        assert!((-61_000..-30_000).contains(&seen.ahead_ms), "{seen:?}");
        assert_eq!(seen.epoch, 7);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("freshness.toml");
        fs::write(&path, "age = ").unwrap();
        let error = Freshness::open(&path, now()).unwrap_err();
        assert!(error.to_string().contains("freshness.toml"));
    }
}
