//! The examiner: follows the log, counts who asks and is served, and judges how the duty to share is kept (R-11, R-13, R-19,
//! The rules of counting and judging are `lienthong-compliance`'s; here are its memory, its
//! clock, its place in the log, and what it puts on record.
//!
//! Rows and position are saved together, in one batch: a crash reads a piece of the log again and counts nothing twice.

mod facts;
mod follow;
mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lienthong_compliance::observed::Changes;
use lienthong_compliance::{EntryFacts, Observed, Rules, day, entry};
use lienthong_proto::lienthong::compliance::v1::EntryCompliance;
use lienthong_store::{Batch, KeyRange};
use prost::Message;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::arbiter::Arbiter;
use crate::board::Board;
use crate::config::ComplianceConfig;
use crate::error::BrokerError;
use crate::ledger::Ledger;
use crate::limits::COMPLIANCE_ROWS_AT_ONCE;
use crate::metrics::BrokerMetrics;
use crate::shelf::Shelf;
use crate::steward::Steward;
use crate::stored::read;
use told::Told;

pub use facts::{EntitledOfEpoch, Facts};

const ROWS: &[u8] = b"compliance/";
const MARK: &[u8] = b"compliance-mark";

/// How far the log is counted.
#[derive(Clone, Copy, PartialEq, Message)]
struct StoredMark {
    /// Log entries.
    #[prost(uint64, tag = "1")]
    position: u64,
}

/// What the examiner stands on.
#[derive(Clone, Debug)]
pub struct Desk {
    /// Shows catalog, contracts and rights.
    pub steward: Arc<Steward>,
    /// Shows refusals, disputes and outages.
    pub arbiter: Arc<Arbiter>,
    /// Puts on record.
    pub ledger: Ledger,
    /// Keeps the rows.
    pub shelf: Shelf,
    /// Says which node is connected.
    pub board: Board,
    /// Counts.
    pub metrics: BrokerMetrics,
    /// Knows how many consumers are entitled to what.
    pub entitled: EntitledOfEpoch,
}

/// The examiner.
#[derive(Debug)]
pub struct Examiner {
    desk: Desk,
    rules: Rules,
    /// From when on what waits is late.
    settled_at: Instant,
    counted: Mutex<Counted>,
    told: tokio::sync::Mutex<Told>,
}

#[derive(Debug, Default)]
struct Counted {
    observed: Observed,
    /// Log entries that are taken in.
    position: u64,
}

impl Examiner {
    /// Takes up counting where it was saved.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn open(desk: Desk, config: &ComplianceConfig) -> Result<Examiner, BrokerError> {
        let (rules, start_grace) = (config.rules()?, config.start_grace());
        let mut counted = Counted::default();
        if let Some(mark) = desk.shelf.store().get(MARK).await? {
            counted.position = read::<StoredMark>(MARK, &mark.value)?.position;
        }
        let mut range = KeyRange::prefix(ROWS);
        loop {
            let page = desk.shelf.store().range(&range, COMPLIANCE_ROWS_AT_ONCE).await?;
            for row in &page.entries {
                let key = String::from_utf8_lossy(&row.key[ROWS.len()..]).into_owned();
                if !counted.observed.restore(&key, &row.value) {
                    let problem = "no row of this kind can be read".to_owned();
                    return Err(BrokerError::Stored { key, problem });
                }
            }
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => break,
            }
        }
        let told = Told::open(&desk.shelf).await?;
        Ok(Examiner {
            desk,
            rules,
            settled_at: Instant::now() + start_grace,
            counted: Mutex::new(counted),
            told: tokio::sync::Mutex::new(told),
        })
    }

    /// Log entries that are counted.
    pub fn position(&self) -> u64 {
        self.lock().position
    }

    /// How each entry of the catalog is kept now, ordered by entry.
    pub async fn entries(&self, now: OffsetDateTime) -> Vec<EntryCompliance> {
        let facts = self.facts(now).await;
        let counted = self.lock();
        facts.iter().map(|one| entry::judge(one, &counted.observed, &self.rules, now)).collect()
    }

    /// What was counted of each entry in a year; with checks and score for the one that goes on.
    pub async fn report(&self, year: i32, now: OffsetDateTime) -> Vec<EntryCompliance> {
        if day::of(now).year() == year {
            return self.entries(now).await;
        }
        let facts = Facts::gather(&self.desk, self.drifts().await, year, now).await;
        let counted = self.lock();
        facts.iter().map(|one| entry::of_year(one, &counted.observed, &self.rules, year)).collect()
    }

    async fn facts(&self, now: OffsetDateTime) -> Vec<EntryFacts> {
        Facts::gather(&self.desk, self.drifts().await, day::of(now).year(), now).await
    }

    /// Saves what records have changed and the position up to which they were taken in, in one batch; then, batch by
    /// batch, what time alone has changed.
    async fn save(&self) -> Result<(), BrokerError> {
        let (counted, mark) = {
            let mut counted = self.lock();
            (counted.observed.take_counted(), StoredMark { position: counted.position })
        };
        let saved = self.put(Batch::new().put(MARK, mark.encode_to_vec()), &counted).await;
        if saved.is_err() {
            self.lock().observed.untake_counted(counted);
        }
        saved?;
        loop {
            let timed = self.lock().observed.take_timed(COMPLIANCE_ROWS_AT_ONCE);
            if timed.is_empty() {
                return Ok(());
            }
            let saved = self.put(Batch::new(), &timed).await;
            if saved.is_err() {
                self.lock().observed.untake_timed(timed);
            }
            saved?;
        }
    }

    async fn put(&self, batch: Batch, rows: &Changes) -> Result<(), BrokerError> {
        let batch = rows.iter().fold(batch, |batch, (key, row)| {
            let key = [ROWS, key.as_bytes()].concat();
            match row {
                Some(row) => batch.put(key, row.clone()),
                None => batch.delete(key),
            }
        });
        self.desk.shelf.store().commit(batch).await?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
