//! The broker's state on disk: opened as a whole or not at all.
//!
//! ```text
//! <data_dir>/log/     the audit log, laid out as C2SP tlog-tiles: the truth
//! <data_dir>/store/   contracts, the epoch, and a copy of the journals' positions
//! ```
//!
//! Both are made when the data folder holds neither. A log is never begun anew beside a store that knows another; a
//! lost store is rebuilt from the log.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::log::{Log, LogError, LogOptions, LogReader, LogSigner};
use lienthong_audit::policy::Policy;
use tokio::task::spawn_blocking;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::limits::REBUILD_ENTRIES_AT_ONCE;
use crate::positions::Positions;
use crate::shelf::Shelf;
use crate::witnesses;

/// The open state.
#[derive(Debug)]
pub struct State {
    /// The log.
    pub log: Log,
    /// Its newest checkpoint, signed.
    pub checkpoint: String,
    /// The store.
    pub shelf: Shelf,
    /// Where every journal stands, up to the end of the log.
    pub positions: Arc<Positions>,
}

/// Where the log lies.
pub fn log_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("log")
}

/// Where the store lies.
pub fn store_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

impl State {
    /// Opens log and store, and brings the positions up to the end of the log.
    ///
    /// # Errors
    /// [`BrokerError`] if either is damaged, in use, or not what the configuration says.
    pub async fn open(
        config: &BrokerConfig,
        key: LogSigner,
        policy: Option<&Policy>,
    ) -> Result<State, BrokerError> {
        let (log_dir, store_dir) = (log_dir(&config.data_dir), store_dir(&config.data_dir));
        if !log_dir.exists() && store_dir.exists() {
            return Err(BrokerError::Half { missing: log_dir, present: store_dir });
        }
        let origin = config.log_origin.clone();
        let seen = match policy {
            Some(policy) => {
                let dir = log_dir.clone();
                let published = blocking(move || Ok(LogReader::new(&dir).checkpoint_note().ok())).await?;
                witnesses::seen(policy, &key.verifier(), published.as_deref(), &config.witnesses).await?
            }
            None => Vec::new(),
        };
        let log = blocking(move || open_log(&log_dir, &origin, key, seen)).await?;
        let shelf = Shelf::open(&store_dir).await?;
        let (journals, mark) = shelf.journals().await?;
        // The reader sees what is published; the publisher follows the log within moments.
        let size = log.size();
        let mut published = log.published();
        published.wait_for(|published| *published >= size).await.map_err(|_| stopped(&log))?;
        let positions = Positions::saved(journals, &mark);
        let (positions, checkpoint) = {
            let reader = log.reader();
            blocking(move || catch_up(positions, &reader, size)).await?
        };
        Ok(State { log, checkpoint, shelf, positions: Arc::new(positions) })
    }
}

/// Opens the log, or begins one, unless that would contradict what witnesses have `seen` of it.
fn open_log(dir: &Path, origin: &str, key: LogSigner, seen: Vec<String>) -> Result<Log, BrokerError> {
    let keys = key.verifiers();
    let largest = seen.iter().filter_map(|note| Checkpoint::open_by(note, &keys).ok()?.size.into()).max();
    // The keys are those that the mesh trust file names.
    let options = LogOptions { seen, may_succeed: true, ..LogOptions::default() };
    if dir.exists() {
        return Ok(Log::open(dir, origin, key, &options)?);
    }
    if let Some(entries @ 1..) = largest {
        return Err(BrokerError::LogGone { dir: dir.to_owned(), entries });
    }
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent)
            .map_err(|source| BrokerError::Source { path: parent.to_owned(), source })?;
    }
    tracing::info!(dir = %dir.display(), origin, "a new log begins");
    Ok(Log::create(dir, origin, key, &options)?)
}

/// Reads the part of the log that the saved positions do not reflect; all of it where they claim more than there is.
fn catch_up(positions: Positions, reader: &LogReader, size: u64) -> Result<(Positions, String), BrokerError> {
    let positions = if positions.reflected() > size { Positions::default() } else { positions };
    // Seals whose retention is over speak of journals that shipped nothing since.
    let from = positions.reflected().max(reader.minimum()?);
    for range in ranges(from..size, REBUILD_ENTRIES_AT_ONCE) {
        let first = range.start;
        for (index, entry) in (first..).zip(reader.entries(range)?) {
            positions.replay(index, &entry);
        }
    }
    tracing::info!(from, size, journals = positions.len(), "positions are up to the end of the log");
    Ok((positions, reader.checkpoint_note()?))
}

fn ranges(whole: Range<u64>, at_once: u64) -> impl Iterator<Item = Range<u64>> {
    let end = whole.end;
    std::iter::successors(Some(whole.start), move |start| Some(start + at_once))
        .take_while(move |start| *start < end)
        .map(move |start| start..end.min(start + at_once))
}

fn stopped(log: &Log) -> BrokerError {
    let reason = log.status().fatal.unwrap_or_else(|| "its publisher is gone".to_owned());
    BrokerError::Log(LogError::Fatal(reason))
}

/// Runs what blocks on the disk on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BrokerError> + Send + 'static,
) -> Result<T, BrokerError> {
    spawn_blocking(work).await.map_err(|_| BrokerError::Stopped)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_whole_once() {
        for (whole, count) in [(0..0, 0), (5..5, 0), (0..10, 1), (3..14, 2), (0..30, 3)] {
            let ranges: Vec<_> = ranges(whole.clone(), 10).collect();
            assert_eq!(ranges.len(), count);
            assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), whole.collect::<Vec<_>>());
        }
    }
}
