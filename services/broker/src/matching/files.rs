//! What matching keeps in the `Store`: the mark with its snapshot, rows of pairs put away, and the index of findings.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_matching::{ExchangeId, Pair};
use lienthong_proto::lienthong::audit::v1::{
    Administration, Finding, FindingClosed, FindingEntry, FindingNote, Record,
};
use lienthong_store::contract::RANGE_ENTRIES_MAX;
use lienthong_store::{Batch, KeyRange};
use prost::Message;
use prost_types::Timestamp;

use crate::error::BrokerError;
use crate::limits::{
    FINDING_NOTES_MAX, MATCHING_PART_BYTES_MAX, MATCHING_ROWS_AT_ONCE, MATCHING_SNAPSHOT_BYTES_MAX,
};
use crate::shelf::Shelf;
use crate::stored::read;

const MARK: &[u8] = b"matching-mark";
const SNAPSHOT: &[u8] = b"matching-open/";
const AWAY: &[u8] = b"matching-away/";
const FINDINGS: &[u8] = b"finding/";
const FINDING_IDS: &[u8] = b"finding-id/";

/// Act of administration: something was noted at a finding.
pub const NOTED: &str = "finding.note";
/// Act of administration: somebody follows a finding up.
pub const ASSIGNED: &str = "finding.assign";
/// Beginning of a finding's resource name in such an act.
pub const FINDINGS_PREFIX: &str = "findings/";

/// How far the log is matched.
#[derive(Clone, PartialEq, Message)]
struct StoredMatching {
    /// Log entries that are taken in.
    #[prost(uint64, tag = "1")]
    position: u64,
    /// Parts of the snapshot.
    #[prost(uint32, tag = "2")]
    parts: u32,
}

/// A part of the snapshot.
#[derive(Clone, PartialEq, Message)]
struct StoredPairs {
    #[prost(message, repeated, tag = "1")]
    pairs: Vec<StoredPair>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPair {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pair: Option<Pair>,
}

/// The pairs.
#[derive(Debug)]
pub struct PairFile {
    shelf: Shelf,
    parts: u32,
    away: u64,
    any_away: bool,
}

/// What was saved last.
#[derive(Debug, Default)]
pub struct Saved {
    /// Log entries that are taken in.
    pub position: u64,
    /// The pairs that were in memory then.
    pub pairs: Vec<(ExchangeId, Pair)>,
}

/// A page of rows put away.
#[derive(Debug)]
pub struct Away {
    /// The rows, the oldest exchange first.
    pub rows: Vec<(ExchangeId, Pair)>,
    /// Whether there are more behind them.
    pub more: bool,
}

impl PairFile {
    /// The file over a shelf.
    pub fn new(shelf: Shelf) -> Self {
        Self { shelf, parts: 0, away: 0, any_away: false }
    }

    /// Reads what was saved.
    pub async fn open(&mut self) -> Result<Saved, BrokerError> {
        let store = self.shelf.store();
        self.any_away = !store.range(&KeyRange::prefix(AWAY), 1).await?.entries.is_empty();
        let Some(mark) = store.get(MARK).await? else { return Ok(Saved::default()) };
        let mark: StoredMatching = read(MARK, &mark.value)?;
        self.parts = mark.parts;
        let mut pairs = Vec::new();
        for part in 0..mark.parts {
            let key = snapshot(part);
            let Some(stored) = store.get(&key).await? else { continue };
            let stored: StoredPairs = read(&key, &stored.value)?;
            let known = stored.pairs.into_iter();
            pairs.extend(known.filter_map(|one| Some((ExchangeId::try_from(one.id).ok()?, one.pair?))));
        }
        Ok(Saved { position: mark.position, pairs })
    }

    /// Whether any row may be there.
    pub fn any_away(&self) -> bool {
        self.any_away
    }

    /// About how many rows are there.
    pub fn away(&self) -> u64 {
        self.away
    }

    /// A look through all rows has found so many.
    pub fn counted(&mut self, rows: u64) {
        self.away = rows;
        self.any_away = rows > 0;
    }

    /// One row.
    pub async fn row(&self, id: &ExchangeId) -> Result<Option<Pair>, BrokerError> {
        let key = away(id);
        match self.shelf.store().get(&key).await? {
            Some(found) => read(&key, &found.value).map(Some),
            None => Ok(None),
        }
    }

    /// The rows after one.
    pub async fn page(&self, after: Option<&ExchangeId>, limit: usize) -> Result<Away, BrokerError> {
        let mut range = KeyRange::prefix(AWAY);
        if let Some(after) = after {
            range = range.after(&away(after));
        }
        let page = self.shelf.store().range(&range, limit).await?;
        let mut rows = Vec::new();
        for entry in &page.entries {
            let id = entry.key.strip_prefix(AWAY).and_then(|id| ExchangeId::try_from(id).ok());
            if let Some(id) = id {
                rows.push((id, read(&entry.key, &entry.value)?));
            }
        }
        Ok(Away { rows, more: page.more })
    }

    /// Puts pairs away, a row each. Harmless before the mark moves: what is read again is known by its log index.
    pub async fn put_away(&mut self, pairs: Vec<(ExchangeId, Pair)>) -> Result<(), BrokerError> {
        self.any_away |= !pairs.is_empty();
        self.away += pairs.len() as u64;
        let (mut batch, mut rows, mut bytes) = (Batch::new(), 0, 0);
        for (id, pair) in pairs {
            let row = pair.encode_to_vec();
            if rows == MATCHING_ROWS_AT_ONCE || bytes + row.len() > MATCHING_SNAPSHOT_BYTES_MAX {
                self.shelf.store().commit(std::mem::take(&mut batch)).await?;
                (rows, bytes) = (0, 0);
            }
            (rows, bytes) = (rows + 1, bytes + row.len());
            batch = batch.put(away(&id), row);
        }
        if rows > 0 {
            self.shelf.store().commit(batch).await?;
        }
        Ok(())
    }

    /// Saves the mark, the pairs in memory, and all that changed with them, in one atomic batch.
    pub async fn save<'a>(
        &mut self,
        position: u64,
        held: impl Iterator<Item = (&'a ExchangeId, &'a Pair)>,
        returned: &BTreeSet<ExchangeId>,
        findings: Batch,
    ) -> Result<(), BrokerError> {
        let mut parts = vec![StoredPairs::default()];
        let mut bytes = 0;
        for (id, pair) in held {
            if bytes + pair.encoded_len() > MATCHING_PART_BYTES_MAX {
                parts.push(StoredPairs::default());
                bytes = 0;
            }
            bytes += pair.encoded_len();
            let pair = StoredPair { id: id.to_vec(), pair: Some(pair.clone()) };
            parts.last_mut().into_iter().for_each(|part| part.pairs.push(pair.clone()));
        }
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let mark = StoredMatching { position, parts: count };
        let mut batch = findings.put(MARK, mark.encode_to_vec());
        for (part, pairs) in (0..).zip(&parts) {
            batch = batch.put(snapshot(part), pairs.encode_to_vec());
        }
        for part in count..self.parts {
            batch = batch.delete(snapshot(part));
        }
        batch = returned.iter().fold(batch, |batch, id| batch.delete(away(id)));
        self.shelf.store().commit(batch).await?;
        self.parts = count;
        Ok(())
    }
}

/// The index of findings.
#[derive(Debug)]
pub struct FindingFile {
    shelf: Shelf,
    /// By log index: what was read since the last save.
    changed: BTreeMap<u64, FindingEntry>,
    open: i64,
}

impl FindingFile {
    /// The file over a shelf.
    pub fn new(shelf: Shelf) -> Self {
        Self { shelf, changed: BTreeMap::new(), open: 0 }
    }

    /// Writes that the next save makes.
    pub fn changes(&self) -> usize {
        2 * self.changed.len()
    }

    /// Findings opened less those closed since the broker started.
    pub fn open_count(&self) -> i64 {
        self.open
    }

    /// A finding was read from the log. The first record of an id counts.
    pub async fn found(&mut self, index: u64, record: &Record, found: &Finding) -> Result<(), BrokerError> {
        if self.get(&found.id).await?.is_some() {
            return Ok(());
        }
        self.open += 1;
        let entry = FindingEntry {
            finding: Some(found.clone()),
            recorder: record.recorder.clone(),
            log_index: index,
            find_time: record.time,
            ..FindingEntry::default()
        };
        self.changed.insert(index, entry);
        Ok(())
    }

    /// The end of a finding was read from the log. The first one counts.
    pub async fn closed(
        &mut self,
        index: u64,
        record: &Record,
        closed: &FindingClosed,
    ) -> Result<(), BrokerError> {
        let Some(entry) = self.get(&closed.id).await?.filter(|entry| entry.closed.is_none()) else {
            return Ok(());
        };
        self.open -= 1;
        let (close_time, close_log_index) = (record.time, index);
        let entry = FindingEntry { closed: Some(closed.clone()), close_time, close_log_index, ..entry };
        self.changed.insert(entry.log_index, entry);
        Ok(())
    }

    /// An act of administration was read from the log. One about an open finding is its note.
    pub async fn noted(
        &mut self,
        index: u64,
        record: &Record,
        act: &Administration,
    ) -> Result<(), BrokerError> {
        let note = note_of(&act.action, &act.detail, &act.actor, record.time, index);
        let Some((note, id)) = note.zip(act.resource.strip_prefix(FINDINGS_PREFIX)) else { return Ok(()) };
        let open = self.get(id).await?.filter(|entry| entry.closed.is_none());
        let Some(entry) = open.filter(|entry| entry.notes.len() < FINDING_NOTES_MAX) else {
            return Ok(());
        };
        // After a crash the log is read again from the last save.
        if entry.notes.last().is_some_and(|last| last.log_index >= index) {
            return Ok(());
        }
        self.changed.insert(entry.log_index, with_note(entry, note));
        Ok(())
    }

    /// Whether a finding of this id was ever read.
    pub async fn knows(&self, id: &str) -> Result<bool, BrokerError> {
        Ok(self.get(id).await?.is_some())
    }

    /// One finding.
    pub async fn get(&self, id: &str) -> Result<Option<FindingEntry>, BrokerError> {
        let is_it = |entry: &&FindingEntry| entry.finding.as_ref().is_some_and(|found| found.id == id);
        if let Some(entry) = self.changed.values().find(is_it) {
            return Ok(Some(entry.clone()));
        }
        self.shelf.finding(id).await
    }

    /// What the next save writes.
    pub fn take_changes(&mut self) -> Batch {
        std::mem::take(&mut self.changed).into_iter().fold(Batch::new(), |batch, (index, entry)| {
            let id = entry.finding.as_ref().map(|found| found.id.clone()).unwrap_or_default();
            batch.put(finding(index), entry.encode_to_vec()).put(finding_id(&id), index.to_be_bytes())
        })
    }
}

/// The note that an act of administration is; `None` for any other act.
pub fn note_of(
    action: &str,
    detail: &str,
    actor: &str,
    time: Option<Timestamp>,
    log_index: u64,
) -> Option<FindingNote> {
    let (note, assignee) = match action {
        NOTED => (detail.to_owned(), String::new()),
        ASSIGNED => (String::new(), detail.to_owned()),
        _ => return None,
    };
    Some(FindingNote { actor: actor.to_owned(), note, assignee, time, log_index })
}

/// A finding with one note more.
pub fn with_note(mut entry: FindingEntry, note: FindingNote) -> FindingEntry {
    if !note.assignee.is_empty() {
        entry.assignee.clone_from(&note.assignee);
    }
    entry.notes.push(note);
    entry
}

/// A page of findings, and the log index after which the next one begins.
pub type FindingPage = (Vec<FindingEntry>, Option<u64>);

impl Shelf {
    /// One finding, as far as matching has saved it.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn finding(&self, id: &str) -> Result<Option<FindingEntry>, BrokerError> {
        let Some(index) = self.store().get(&finding_id(id)).await? else { return Ok(None) };
        let key = [FINDINGS, &index.value].concat();
        match self.store().get(&key).await? {
            Some(found) => read(&key, &found.value).map(Some),
            None => Ok(None),
        }
    }

    /// Findings after a log index, the oldest first: at most `items_max` that `wanted` takes.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn findings(
        &self,
        after: Option<u64>,
        items_max: usize,
        wanted: impl Fn(&FindingEntry) -> bool,
    ) -> Result<FindingPage, BrokerError> {
        let mut range = KeyRange::prefix(FINDINGS);
        if let Some(after) = after {
            range = range.after(&finding(after));
        }
        let mut found: Vec<FindingEntry> = Vec::new();
        loop {
            let page = self.store().range(&range, RANGE_ENTRIES_MAX).await?;
            for entry in &page.entries {
                let one: FindingEntry = read(&entry.key, &entry.value)?;
                if !wanted(&one) {
                    continue;
                }
                if found.len() == items_max {
                    let last = found.last().map(|one| one.log_index);
                    return Ok((found, last));
                }
                found.push(one);
            }
            match page.entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok((found, None)),
            }
        }
    }
}

fn snapshot(part: u32) -> Vec<u8> {
    [SNAPSHOT, &part.to_be_bytes()].concat()
}

fn away(id: &ExchangeId) -> Vec<u8> {
    [AWAY, id].concat()
}

fn finding(index: u64) -> Vec<u8> {
    [FINDINGS, &index.to_be_bytes()].concat()
}

fn finding_id(id: &str) -> Vec<u8> {
    [FINDING_IDS, id.as_bytes()].concat()
}
