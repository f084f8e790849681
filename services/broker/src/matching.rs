//! Matching at the broker: follows the published log, lays both sides of each exchange side by side, has the watch rules
//! look at each record, and puts what does not match or trips a rule on record. The rules of matching are `lienthong-matching`'s; here are its memory, its clock and its place in the log.
//!
//! The log is read up to a *mark*. Pairs that are open there lie in the `Store`: the newest, in memory too, as one
//! snapshot; older ones put away, a row each, so that memory stays bounded however many wait for a silent node.
//! Snapshot and mark are saved together, so that a crash reads a piece of the log again and forgets or doubles
//! nothing. Findings are records of the log; the `Store` holds only their index.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::log::LogError;
use lienthong_matching::half::unix_ms;
use lienthong_matching::{Bounds, ExchangeId, Half, Matcher, Verdict};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{FindingClosed, Record};
use lienthong_transport::Drain;
use lienthong_watch::{Event, Rules, Watcher};
use prost::Message as _;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::clock;
use crate::config::MatchingConfig;
use crate::error::BrokerError;
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{
    MATCHING_AWAY_AT_ONCE, MATCHING_CHANGES_MAX, MATCHING_ENTRIES_AT_ONCE, MATCHING_PAIRS_HELD_MAX,
    MATCHING_SAVE_MS, MATCHING_SNAPSHOT_BYTES_MAX, MATCHING_SWEEP_MS, NODE_CLOCK_SKEW_MS_MAX,
    WATCH_REPLAY_ENTRIES_MAX,
};
use crate::metrics::BrokerMetrics;
use crate::records::RECORDER;
use crate::shelf::Shelf;

pub mod files;
pub mod heard;

use files::{FindingFile, PairFile};
use heard::Heard;

/// Matches the log for as long as the broker runs.
#[derive(Debug)]
pub struct Matching {
    ledger: Ledger,
    heard: Heard,
    metrics: BrokerMetrics,
    matcher: Matcher,
    pairs: PairFile,
    findings: FindingFile,
    watcher: Watcher,
    /// Log entries that are taken in.
    position: u64,
    /// Rows that went back into memory, or are done, since the last save.
    returned: BTreeSet<ExchangeId>,
    /// Findings on their way into the log, or in it beyond the mark.
    told: HashSet<String>,
    /// Where the look through the rows put away stands, and how many it has seen.
    away_after: Option<ExchangeId>,
    away_seen: u64,
    progress: Arc<watch::Sender<u64>>,
}

/// Why matching stops. The broker goes on without it; its health says so.
#[derive(Debug, thiserror::Error)]
pub enum MatchingError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Findings cannot be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] BrokerError),
}

/// How far the log is matched, for those who ask.
#[derive(Clone, Debug)]
pub struct Progress(watch::Receiver<u64>);

impl Progress {
    /// Log entries that are matched.
    pub fn matched(&self) -> u64 {
        *self.0.borrow()
    }

    /// Waits until so many are, but no longer than `patience`.
    pub async fn reaches(&self, entries: u64, patience: Duration) -> bool {
        let mut progress = self.0.clone();
        matches!(timeout(patience, progress.wait_for(|matched| *matched >= entries)).await, Ok(Ok(_)))
    }
}

impl Matching {
    /// Takes up matching where it was saved.
    ///
    /// # Errors
    /// [`MatchingError`]
    pub async fn open(
        ledger: Ledger,
        shelf: Shelf,
        heard: Heard,
        config: &MatchingConfig,
        rules: Rules,
        metrics: BrokerMetrics,
    ) -> Result<(Matching, Progress), MatchingError> {
        let (mut pairs, findings) = (PairFile::new(shelf.clone()), FindingFile::new(shelf));
        let mut matcher = Matcher::new(Bounds {
            grace_ms: signed(config.grace_ms),
            silent_ms: signed(config.silent_after_ms),
            late_ms: signed(config.late_ms),
        });
        let saved = pairs.open().await?;
        let mut returned = BTreeSet::new();
        for (id, pair) in saved.pairs {
            // A row of the same pair was put away after the snapshot: it knows as much or more, but only for what will
            // be read again.
            if pairs.row(&id).await?.is_some() {
                returned.insert(id);
            }
            matcher.restore(id, pair);
        }
        // A mark that was lost begins where the log does.
        let minimum = ledger.reader().minimum()?;
        let position = saved.position.max(minimum);
        let (progress, reached) = watch::channel(position);
        let mut matching = Matching {
            ledger,
            heard,
            metrics,
            matcher,
            pairs,
            findings,
            watcher: Watcher::new(rules),
            position,
            returned,
            told: HashSet::new(),
            away_after: None,
            away_seen: 0,
            progress: Arc::new(progress),
        };
        matching.count_again(minimum).await?;
        matching.recall().await?;
        Ok((matching, Progress(reached)))
    }

    /// Runs until the broker stops, or something fails.
    ///
    /// # Errors
    /// [`MatchingError`]
    pub async fn run(mut self, drain: Drain) -> Result<(), MatchingError> {
        let mut published = self.ledger.published_size();
        let (mut save_at, mut sweep_at) = (Instant::now(), Instant::now());
        while !drain.is_started() {
            let size = *published.borrow_and_update();
            if self.position < size {
                self.follow(size).await?;
            }
            if Instant::now() >= sweep_at {
                self.sweep().await?;
                sweep_at = Instant::now() + Duration::from_millis(MATCHING_SWEEP_MS);
            }
            if Instant::now() >= save_at {
                self.save().await?;
                save_at = Instant::now() + Duration::from_millis(MATCHING_SAVE_MS);
            }
            if self.position < *published.borrow() {
                continue;
            }
            tokio::select! {
                _ = published.changed() => {}
                () = tokio::time::sleep_until(sweep_at) => {}
                _ = drain.started() => {}
            }
        }
        self.save().await
    }

    /// Has the watch rules count the entries before the mark again: what they found was told then.
    async fn count_again(&mut self, minimum: u64) -> Result<(), MatchingError> {
        let mut at = self.position.saturating_sub(WATCH_REPLAY_ENTRIES_MAX).max(minimum);
        while at < self.position {
            let entries = self.entries(at, self.position).await?;
            for (index, entry) in (at..).zip(&entries) {
                let record = Record::decode(entry.as_slice()).ok();
                if let Some(event) = record.and_then(|record| Event::read(index, &record)) {
                    self.watcher.take(&event);
                }
            }
            at += entries.len() as u64;
        }
        Ok(())
    }

    /// Reads what was told of after the mark, so that the piece of the log that is read again tells nothing twice.
    async fn recall(&mut self) -> Result<(), MatchingError> {
        let size = *self.ledger.published_size().borrow();
        let mut at = self.position;
        while at < size {
            let entries = self.entries(at, size).await?;
            at += entries.len() as u64;
            for entry in &entries {
                if let Ok(Record { body: Some(Body::Finding(finding)), .. }) =
                    Record::decode(entry.as_slice())
                {
                    self.told.insert(finding.id);
                }
            }
        }
        Ok(())
    }

    /// Takes in the next entries.
    async fn follow(&mut self, size: u64) -> Result<(), MatchingError> {
        let entries = self.entries(self.position, size).await?;
        let mut verdicts = Vec::new();
        for entry in entries {
            let index = self.position;
            if let Ok(record) = Record::decode(entry.as_slice()) {
                verdicts.extend(self.take(index, &record).await?);
            }
            self.position += 1;
            if self.returned.len() + self.findings.changes() >= MATCHING_CHANGES_MAX {
                self.tell(std::mem::take(&mut verdicts)).await?;
                self.save().await?;
            }
        }
        self.tell(verdicts).await?;
        self.progress.send_replace(self.position);
        Ok(())
    }

    async fn take(&mut self, index: u64, record: &Record) -> Result<Vec<Verdict>, MatchingError> {
        match &record.body {
            Some(Body::Finding(found)) => {
                self.told.remove(&found.id);
                self.findings.found(index, record, found).await?;
                return Ok(Vec::new());
            }
            Some(Body::FindingClosed(closed)) if record.recorder == RECORDER => {
                self.findings.closed(index, record, closed).await?;
                return Ok(Vec::new());
            }
            Some(Body::Administration(act)) if record.recorder == RECORDER => {
                self.findings.noted(index, record, act).await?;
                return Ok(Vec::new());
            }
            _ => {}
        }
        let watched = Event::read(index, record).map(|event| self.watcher.take(&event)).unwrap_or_default();
        let watched = watched.into_iter().map(Verdict::Found);
        let Some((id, _)) = Half::read(index, record) else { return Ok(watched.collect()) };
        if self.pairs.any_away()
            && !self.matcher.holds(&id)
            && !self.returned.contains(&id)
            && let Some(pair) = self.pairs.row(&id).await?
        {
            self.matcher.restore(id, pair);
            self.returned.insert(id);
        }
        Ok(watched.chain(self.matcher.take(index, record)).collect())
    }

    /// Looks at what waits: in memory, and a page of what was put away.
    async fn sweep(&mut self) -> Result<(), MatchingError> {
        let now_ms = unix_ms(Some(&clock::now()));
        let mut verdicts = Vec::new();
        for (node, hearing) in self.heard.up_to(self.position) {
            if let Some(heard_ms) = hearing.heard_ms {
                self.matcher.hear(&node, heard_ms);
            }
            verdicts.extend(self.matcher.compare_clock(
                &node,
                hearing.sealed_ms,
                hearing.received_ms,
                NODE_CLOCK_SKEW_MS_MAX,
            ));
        }
        verdicts.extend(self.matcher.sweep(now_ms));
        let page = self.pairs.page(self.away_after.as_ref(), MATCHING_AWAY_AT_ONCE).await?;
        self.away_seen += page.rows.len() as u64;
        self.away_after = page.rows.last().map(|(id, _)| *id).filter(|_| page.more);
        if !page.more {
            self.pairs.counted(std::mem::take(&mut self.away_seen));
        }
        for (id, pair) in page.rows {
            if self.matcher.holds(&id) || self.returned.contains(&id) {
                continue;
            }
            let (kept, said) = self.matcher.judge(&id, pair.clone(), now_ms);
            match kept {
                Some(kept) if kept == pair => {}
                Some(kept) => self.pairs.put_away(vec![(id, kept)]).await?,
                None => {
                    self.returned.insert(id);
                }
            }
            verdicts.extend(said);
            if self.returned.len() >= MATCHING_CHANGES_MAX {
                self.save().await?;
            }
        }
        self.metrics.matching(self.matcher.len() as u64 + self.pairs.away(), self.findings.open_count());
        self.tell(verdicts).await
    }

    /// Puts verdicts on record, each once.
    async fn tell(&mut self, verdicts: Vec<Verdict>) -> Result<(), MatchingError> {
        let mut bodies = Vec::new();
        for verdict in verdicts {
            match verdict {
                Verdict::Found(found) => {
                    if self.told.contains(&found.id) || self.findings.knows(&found.id).await? {
                        continue;
                    }
                    tracing::warn!(
                        id = found.id,
                        kind = found.kind().as_str_name(),
                        detail = found.detail,
                        "finding"
                    );
                    self.metrics.finding(found.kind());
                    self.told.insert(found.id.clone());
                    bodies.push(Body::Finding(found));
                }
                Verdict::Explained { id, reason } => {
                    let actor = RECORDER.to_owned();
                    bodies.push(Body::FindingClosed(FindingClosed { id, actor, reason, via: String::new() }));
                }
            }
        }
        if !bodies.is_empty() {
            self.ledger.record(bodies).await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Result<(), MatchingError> {
        let mut held_max = MATCHING_PAIRS_HELD_MAX;
        let mut away = self.matcher.evict(held_max);
        while self.matcher.bytes() > MATCHING_SNAPSHOT_BYTES_MAX {
            held_max /= 2;
            away.extend(self.matcher.evict(held_max));
        }
        for (id, _) in &away {
            self.returned.remove(id);
        }
        self.pairs.put_away(away).await?;
        let returned = std::mem::take(&mut self.returned);
        let changes = self.findings.take_changes();
        self.pairs.save(self.position, self.matcher.pairs(), &returned, changes).await?;
        Ok(())
    }

    async fn entries(&self, from: u64, size: u64) -> Result<Vec<Vec<u8>>, MatchingError> {
        let to = size.min(from + MATCHING_ENTRIES_AT_ONCE);
        let reader = self.ledger.reader().clone();
        let read = spawn_blocking(move || reader.entries(from..to)).await;
        Ok(read.unwrap_or(Err(LogError::Closed))?)
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
