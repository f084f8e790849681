//! Retention of the log: bodies of entries are kept for as many months as the configuration says, at least twelve, and
//! then go, a block of the index at a time. Hashes and proofs stay.
//!
//! Each step is on record before it happens, as [`LogPruned`]. Whatever interrupts one, the next start carries it out. How old
//! an entry is, the broker's own records say, not the clock of the node that made it: an entry is as old as the first of the
//! broker's records behind it. With the last entry of a quarter goes the key by which its people were found.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::log::{LogError, LogReader, Pruned, Pruner};
use lienthong_audit::record;
use lienthong_proto::lienthong::audit::v1::LogPruned;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_transport::Drain;
use prost_types::Timestamp;
use time::{Date, Month, OffsetDateTime};
use tokio::task::spawn_blocking;

use crate::index::Index;
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{RETENTION_ENTRIES_AT_ONCE, RETENTION_LOOK_MS};
use crate::matching::Progress;
use crate::records::RECORDER;
use crate::state::log_dir;

/// A token is made somewhat before the broker's record behind its entry: so much longer its key is kept.
const KEYS_KEPT_LONGER: Duration = Duration::from_secs(24 * 60 * 60);

/// Sees to it that nothing is kept for longer than it is to be.
#[derive(Debug)]
pub struct Retention {
    months: u32,
    ledger: Ledger,
    index: Index,
    progress: Progress,
    pruner: Pruner,
}

/// Why nothing was removed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The log cannot be read, or nothing can be removed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// It cannot be put on record.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The keys of quarters that are gone cannot be destroyed.
    #[error("a key of the index cannot be destroyed: {0}")]
    Keys(#[source] io::Error),
}

/// What may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    minimum: u64,
    entries: u64,
    recorded_by: Timestamp,
}

impl Retention {
    /// Of the log of a broker with this data folder.
    pub fn new(data_dir: &Path, months: u32, ledger: Ledger, index: Index, progress: Progress) -> Self {
        Self { months, ledger, index, progress, pruner: Pruner::new(&log_dir(data_dir)) }
    }

    /// Looks after it until the broker stops: once now, then every ten seconds.
    pub async fn keep(self: Arc<Self>, drain: Drain) {
        if let Err(error) = self.carry_out().await {
            tracing::error!(%error, "entries whose retention is over are not removed; it is tried again");
        }
        while !drain.is_started() {
            match self.step(OffsetDateTime::now_utc()).await {
                Ok(Some(_)) => continue,
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "the retention of the log is not looked after; it is tried again");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(RETENTION_LOOK_MS)) => {}
                _ = drain.started() => {}
            }
        }
    }

    /// Removes the oldest block of entries, if its retention is over at `now`; says up to where everything is gone then.
    ///
    /// # Errors
    /// [`RetentionError`]. What is on record by then is carried out at the next start.
    pub async fn step(&self, now: OffsetDateTime) -> Result<Option<Pruned>, RetentionError> {
        let (index, reader) = (self.index.clone(), self.ledger.reader().clone());
        let (matched, cutoff) = (self.progress.matched(), months_before(now, self.months));
        let due = blocking(move || due(&reader, &index.block_ends(), matched, cutoff)).await?;
        let Some(Due { minimum, entries, recorded_by }) = due else { return Ok(None) };
        let body = Body::LogPruned(LogPruned {
            minimum_index: minimum,
            entries,
            recorded_by_time: Some(recorded_by),
            retention_months: self.months,
        });
        let record = self.ledger.record(vec![body]).await?.first_index;
        let mut published = self.ledger.published_size();
        if published.wait_for(|size| *size > record).await.is_err() {
            return Err(LedgerError::Closed.into());
        }
        tracing::info!(minimum, entries, record, "entries whose retention is over are removed");
        let hand = self.pruner.clone();
        let pruned = blocking(move || hand.announce(record)).await?;
        self.carry_out().await?;
        Ok(Some(pruned))
    }

    /// Removes what is announced and still there.
    async fn carry_out(&self) -> Result<(), RetentionError> {
        let (pruner, index, reader) = (self.pruner.clone(), self.index.clone(), self.ledger.reader().clone());
        let removed = blocking(move || {
            // The index first: what it finds can be read.
            index.prune(reader.minimum()?);
            pruner.sweep()
        })
        .await?;
        if removed > 0 {
            tracing::info!(removed, "entry bundles are removed");
        }
        self.destroy_keys().await
    }

    /// Destroys the keys of the quarters of which no entry is left.
    async fn destroy_keys(&self) -> Result<(), RetentionError> {
        let reader = self.ledger.reader().clone();
        let minimum = self.index.minimum();
        let oldest = blocking(move || if minimum == 0 { Ok(None) } else { recorded_by(&reader, minimum) });
        let Some(oldest) = oldest.await? else { return Ok(()) };
        let Ok(oldest) = OffsetDateTime::from_unix_timestamp(oldest.seconds) else { return Ok(()) };
        let index = self.index.clone();
        let destroyed = spawn_blocking(move || index.keys().destroy_before(oldest - KEYS_KEPT_LONGER));
        let destroyed = destroyed.await.unwrap_or(Ok(0)).map_err(RetentionError::Keys)?;
        if destroyed > 0 {
            tracing::info!(destroyed, "keys of quarters of which no entry is left are destroyed");
        }
        Ok(())
    }
}

/// The oldest block of which every entry was on record before `cutoff`.
fn due(
    reader: &LogReader,
    block_ends: &[u64],
    matched: u64,
    cutoff: OffsetDateTime,
) -> Result<Option<Due>, LogError> {
    let minimum = reader.minimum()?;
    let Some(end) = block_ends.iter().copied().find(|end| *end > minimum && *end <= matched) else {
        return Ok(None);
    };
    let recorded_by = recorded_by(reader, end)?.filter(|time| time.seconds < cutoff.unix_timestamp());
    Ok(recorded_by.map(|recorded_by| Due { minimum: end, entries: end - minimum, recorded_by }))
}

/// When the broker made the first record of its own from entry `index` on: everything before it was on record by then.
fn recorded_by(reader: &LogReader, index: u64) -> Result<Option<Timestamp>, LogError> {
    let size = reader.size()?;
    let mut from = index;
    while from < size {
        let until = size.min(from + RETENTION_ENTRIES_AT_ONCE);
        for entry in reader.entries(from..until)? {
            if let Ok(record) = record::decode(&entry)
                && record.recorder == RECORDER
            {
                return Ok(record.time);
            }
        }
        from = until;
    }
    Ok(None)
}

/// So many calendar months before `now`; at the end of a month that is too short for it.
fn months_before(now: OffsetDateTime, months: u32) -> OffsetDateTime {
    let all = i64::from(now.year()) * 12 + i64::from(u8::from(now.month())) - 1 - i64::from(months);
    let year = i32::try_from(all.div_euclid(12)).unwrap_or(0);
    let month = u8::try_from(all.rem_euclid(12) + 1).ok().and_then(|month| Month::try_from(month).ok());
    let month = month.unwrap_or(Month::January);
    let day = now.day().min(month.length(year));
    Date::from_calendar_date(year, month, day)
        .map_or(OffsetDateTime::UNIX_EPOCH, |date| now.replace_date(date))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, RetentionError> {
    Ok(spawn_blocking(work).await.unwrap_or(Err(LogError::Closed))?)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        for (now, months, before) in [
            (datetime!(2031-11-22 10:00 UTC), 60, datetime!(2026-11-22 10:00 UTC)),
            (datetime!(2027-01-15 0:00 UTC), 12, datetime!(2026-01-15 0:00 UTC)),
            (datetime!(2028-02-29 1:02 UTC), 12, datetime!(2027-02-28 1:02 UTC)),
            (datetime!(2027-03-31 0:00 UTC), 13, datetime!(2026-02-28 0:00 UTC)),
            (datetime!(2026-12-31 0:00 UTC), 0, datetime!(2026-12-31 0:00 UTC)),
        ] {
            assert_eq!(months_before(now, months), before, "{now} {months}");
        }
    }
}
