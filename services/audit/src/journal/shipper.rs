//! The records of a journal, in order, as signed batches for the broker.
//!
//! The caller owns the stream to the broker and the number of batches in flight; the shipper owns the order.
//! Under load it reads the journal's memory; when it is behind, or after a restart, the segment files. Calls may
//! block on files then, and signing takes what the key takes: keep it off the traffic threads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, BatchItem, JournalPosition, Receipt, SealedSubjects, SignedBatch, SubjectIdsOfRecord,
    batch_item,
};

pub use super::openings::{LATE_OPENING_AFTER, OPENINGS_TRACKED_MAX};

use super::cursor::Cursor;
use super::error::{JournalError, ShipError};
use super::folder::Acknowledged;
use super::frame::Tag;
use super::openings::Openings;
use super::subjects::SubjectRow;
use super::tail::{Group, Item};
use super::watermark::Wait;
use super::{Shared, lock};
use crate::batch::{self, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Position};
use crate::chain;
use crate::hash::{Hash, leaf_hash};
use crate::light_witness::Probe;
use crate::record::{self, Kind};
use crate::sealed::{SUBJECT_IDS_BYTES_MAX, SubjectSealer};

/// Ships one journal.
#[derive(Debug)]
pub struct Shipper {
    shared: Arc<Shared>,
    /// Up to where batches were made.
    sent: Position,
    /// Up to where the broker acknowledged.
    acknowledged: u64,
    openings: Openings,
    in_flight: VecDeque<InFlight>,
    source: Source,
    /// Seals subject ids to the broker's index; `None` where the broker keeps none.
    sealer: Option<SubjectSealer>,
}

/// A batch that was made and not yet acknowledged.
#[derive(Debug)]
struct InFlight {
    last_seq: u64,
    late: Vec<u64>,
    /// Leaf hashes of what the log must hold of it, in order: the records in full, then the late openings.
    entries: Vec<Hash>,
}

impl InFlight {
    /// Entries that the log adds for certain; a late opening may be on record from a batch whose receipt was lost.
    fn entries_min(&self) -> usize {
        self.entries.len() - self.late.len()
    }
}

impl Shipper {
    pub(super) fn start(shared: Arc<Shared>, told: &JournalPosition) -> Result<Self, ShipError> {
        let position = Position::from_proto(told).ok_or(ShipError::Position)?;
        let source = Source { shared: Arc::clone(&shared), group: None, cursor: None };
        let start = Position::start(shared.epoch);
        let mut shipper = Self {
            shared,
            sent: start,
            acknowledged: 0,
            openings: Openings::default(),
            in_flight: VecDeque::new(),
            source,
            sealer: sealer(told),
        };
        shipper.sent = shipper.locate(&position)?;
        shipper.recall_openings()?;
        shipper.hold(position.last_seq);
        Ok(shipper)
    }

    /// Goes on from what the broker told after a reconnect: what it does not hold is sent again.
    pub fn resume(&mut self, position: &JournalPosition) -> Result<(), ShipError> {
        self.sealer = sealer(position);
        let position = Position::from_proto(position).ok_or(ShipError::Position)?;
        self.sent = self.locate(&position)?;
        self.in_flight.clear();
        self.openings.rewind(position.last_seq);
        self.hold(position.last_seq);
        Ok(())
    }

    /// Up to where batches were made.
    pub fn position(&self) -> &Position {
        &self.sent
    }

    /// Batches that were made and not yet acknowledged; the caller bounds them.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Resolves when [`Shipper::next_batch`] has something to say: a new record, or an opening that became late.
    /// Under load that is every group commit: gather for some milliseconds before asking, for one signature a batch.
    pub async fn ready(&self, now: SystemTime) -> Result<(), JournalError> {
        let record = Wait::new(Arc::clone(&self.shared.sealed), self.sent.last_seq + 1);
        match self.openings.due_in(now) {
            None => record.await,
            // A late opening becomes due first.
            Some(due) => tokio::time::timeout(due, record).await.unwrap_or(Ok(())),
        }
    }

    /// The next batch; `None` if there is nothing to send. `sign` gets the bytes to be signed with the node's
    /// official-use key. If it fails, the same records come again.
    pub fn next_batch<E: std::fmt::Display>(
        &mut self,
        now: SystemTime,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Option<SignedBatch>, ShipError> {
        let draft = self.collect(now)?;
        if draft.items.is_empty() && draft.late.is_empty() {
            return Ok(None);
        }
        self.seal(draft, now, sign).map(Some)
    }

    /// A batch without records: it states, signed, that there are none behind the position (a heartbeat).
    pub fn heartbeat<E: std::fmt::Display>(
        &mut self,
        now: SystemTime,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<SignedBatch, ShipError> {
        self.seal(Draft::new(self.sent), now, sign)
    }

    /// Judges a receipt: it must be for the oldest batch in flight, and promise every entry of it. Returns the entry by which
    /// the log must prove it, chosen by `pick`, any number that the broker cannot foresee; `None` where the batch adds
    /// no entry. To be followed by [`Shipper::acknowledge`] once its signature is known to be good.
    ///
    /// # Errors
    /// [`ShipError::Receipt`]: it is not to be believed.
    pub fn judge(&self, receipt: &Receipt, pick: u64) -> Result<Option<Probe>, ShipError> {
        let wrong = |what: String| Err(ShipError::Receipt(what));
        let own = self.shared.epoch;
        if receipt.journal_epoch != own {
            return wrong(format!("it is of journal epoch {}, this one is {own}", receipt.journal_epoch));
        }
        let Some(batch) = self.in_flight.front() else {
            return wrong(format!("it is for record {}, but no batch is on its way", receipt.last_seq));
        };
        if receipt.last_seq != batch.last_seq {
            let (found, due) = (receipt.last_seq, batch.last_seq);
            return wrong(format!("it is for record {found}, the oldest batch on its way ends at {due}"));
        }
        let sent = batch.entries_min() as u64..=batch.entries.len() as u64;
        if !sent.contains(&receipt.entries) {
            let (found, min, max) = (receipt.entries, sent.start(), sent.end());
            return wrong(format!("it promises {found} entries of a batch that has {min} to {max}"));
        }
        // Which of the late openings were on record before is not known: then one of the records proves it.
        let certain = if *sent.end() == receipt.entries { *sent.end() } else { *sent.start() };
        let Some(place) = pick.checked_rem(certain) else { return Ok(None) };
        let leaf = usize::try_from(place).ok().and_then(|at| batch.entries.get(at));
        match (leaf, receipt.first_index.checked_add(place)) {
            (Some(leaf), Some(index)) => Ok(Some(Probe { index, leaf: *leaf })),
            _ => wrong("its entries lie beyond any log".to_owned()),
        }
    }

    /// Takes the broker's receipt for the oldest batch in flight, which ends at `last_seq`: everything up to there is on
    /// record. The position reaches the disk within about a second (a crash before that costs nothing: the broker tells
    /// its position again), and segments past their retention are dropped.
    ///
    /// # Errors
    /// [`ShipError::Receipt`]: it is for another batch.
    pub fn acknowledge(&mut self, last_seq: u64) -> Result<(), ShipError> {
        let due = self.in_flight.front().map(|batch| batch.last_seq);
        if due != Some(last_seq) {
            let due = due.map_or_else(|| "none".to_owned(), |due| due.to_string());
            let what = format!("it is for record {last_seq}, the oldest batch on its way ends at {due}");
            return Err(ShipError::Receipt(what));
        }
        for seq in self.in_flight.pop_front().into_iter().flat_map(|batch| batch.late) {
            self.openings.held(seq);
        }
        self.hold(last_seq);
        Ok(())
    }

    /// Notes what the broker holds.
    fn hold(&mut self, last_seq: u64) {
        self.acknowledged = self.acknowledged.max(last_seq);
        let floor = self.openings.floor(self.acknowledged + 1);
        *lock(&self.shared.acknowledged) = Acknowledged { seq: self.acknowledged, floor };
        self.shared.queue.acknowledge(self.acknowledged);
    }

    /// Checks that the broker's position is one of this journal's.
    fn locate(&mut self, position: &Position) -> Result<Position, ShipError> {
        let own = self.shared.epoch;
        if position.epoch != own {
            return Err(ShipError::Epoch { broker: position.epoch, own });
        }
        let sealed = self.shared.sealed.level();
        if position.last_seq > sealed {
            return Err(ShipError::RolledBack { broker: position.last_seq, own: sealed });
        }
        let first = self.shared.segments.list().first().copied().unwrap_or(1);
        if position.last_seq + 1 < first {
            return Err(ShipError::Dropped { asked: position.last_seq + 1, first });
        }
        let head = match position.last_seq {
            0 => chain::START,
            seq if seq < first => self.source.cursor_at(first)?.head(),
            seq => self.source.item(seq)?.head,
        };
        if head != position.head {
            return Err(ShipError::Fork { seq: position.last_seq, broker: position.head, own: head });
        }
        Ok(*position)
    }

    /// After a start: the openings before the position whose closing lies behind it, or will be.
    fn recall_openings(&mut self) -> Result<(), ShipError> {
        let floor = lock(&self.shared.acknowledged).floor;
        for seq in floor..=self.sent.last_seq {
            let item = self.source.item(seq)?;
            match record::kind(&item.bytes) {
                Kind::Opening if item.tag == Tag::Whole => self.openings.shipped_in_full(seq, item.leaf),
                Kind::Opening if self.openings.has_room(0) => {
                    self.openings.shipped_as_hash(seq, item.leaf, &item.bytes, SystemTime::now());
                }
                Kind::Opening => self.openings.shipped_in_full(seq, item.leaf),
                Kind::Closing(Some(opening)) => self.openings.closed(&opening),
                Kind::Closing(None) | Kind::Other => {}
            }
        }
        Ok(())
    }

    /// Gathers the items of the next batch, and changes nothing yet.
    fn collect(&mut self, now: SystemTime) -> Result<Draft, ShipError> {
        let mut draft = Draft::new(self.sent);
        while let Some((seq, opening)) = self.openings.due(now, draft.late.len()) {
            if !draft.fits(opening.len()) {
                break;
            }
            draft.add_late(seq, opening.to_vec());
        }
        let sealed = self.shared.sealed.level();
        while draft.position.last_seq < sealed {
            let item = self.source.item(draft.position.last_seq + 1)?;
            let about = self.subjects_of(item.seq)?;
            let about_bytes = about.as_ref().map_or(0, SubjectRow::bytes);
            if !draft.fits(item.bytes.len()) || !draft.fits_subjects(about_bytes) {
                break;
            }
            if let Some(about) = about {
                draft.subjects_bytes += about_bytes;
                draft.subjects.push(ids_of(item.seq, &about));
            }
            let elide = self.openings.has_room(draft.opened.len());
            draft.add(item, elide);
        }
        Ok(draft)
    }

    /// Whom a record is about, as far as it is known and the broker wants to hear it.
    fn subjects_of(&self, seq: u64) -> Result<Option<SubjectRow>, ShipError> {
        if self.sealer.is_none() {
            return Ok(None);
        }
        let found = lock(&self.shared.subjects).find(seq);
        Ok(found.map_err(|error| JournalError::io("read", &self.shared.folder.subjects())(error))?)
    }

    /// Seals the subjects of a batch. What cannot be sealed is told and left out: the records go on.
    fn seal_subjects(&self, records: Vec<SubjectIdsOfRecord>, header: &[u8]) -> Option<SealedSubjects> {
        let sealer = self.sealer.as_ref().filter(|_| !records.is_empty())?;
        sealer
            .seal(records, header)
            .inspect_err(|error| tracing::error!(%error, "subjects of a batch are not sent to the index"))
            .ok()
    }

    /// Signs a batch, and only then takes it as sent.
    fn seal<E: std::fmt::Display>(
        &mut self,
        draft: Draft,
        now: SystemTime,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<SignedBatch, ShipError> {
        let header = BatchHeader {
            node: self.shared.options.node.clone(),
            journal_epoch: self.shared.epoch,
            first_seq: self.sent.last_seq + 1,
            last_seq: draft.position.last_seq,
            previous_head: self.sent.head.0.to_vec(),
            head: draft.position.head.0.to_vec(),
            seal_time: Some(prost_types::Timestamp::from(now)),
            ..BatchHeader::default()
        };
        let mut entries = draft.full;
        entries.extend(draft.late.iter().map(|(_, bytes)| leaf_hash(bytes)));
        let (late, late_openings) = draft.late.into_iter().unzip();
        let mut batch = batch::seal(&header, draft.items, late_openings, sign)
            .map_err(|error| ShipError::Sign(error.to_string()))?;
        batch.subjects = self.seal_subjects(draft.subjects, &batch.header);
        for change in draft.opened {
            match change {
                Opened { seq, leaf, bytes: Some(bytes) } => {
                    self.openings.shipped_as_hash(seq, leaf, &bytes, now);
                }
                Opened { seq, leaf, bytes: None } => self.openings.shipped_in_full(seq, leaf),
            }
        }
        draft.closed.iter().for_each(|opening| self.openings.closed(opening));
        let late: Vec<u64> = late;
        for seq in &late {
            self.openings.sent_late(*seq);
        }
        self.in_flight.push_back(InFlight { last_seq: draft.position.last_seq, late, entries });
        self.sent = draft.position;
        Ok(batch)
    }
}

/// A batch that is being gathered.
struct Draft {
    items: Vec<BatchItem>,
    late: Vec<(u64, Vec<u8>)>,
    bytes: usize,
    subjects: Vec<SubjectIdsOfRecord>,
    subjects_bytes: usize,
    /// The position behind the last item.
    position: Position,
    /// Openings in this batch, without those that it closes too.
    opened: Vec<Opened>,
    /// Leaf hashes of openings of earlier batches that this one closes.
    closed: Vec<Hash>,
    /// Leaf hashes of the records in full, in order.
    full: Vec<Hash>,
}

struct Opened {
    seq: u64,
    leaf: Hash,
    /// Its bytes, if the batch holds its hash only.
    bytes: Option<Bytes>,
}

impl Draft {
    fn new(position: Position) -> Self {
        Self {
            items: Vec::new(),
            late: Vec::new(),
            bytes: 0,
            subjects: Vec::new(),
            subjects_bytes: 0,
            position,
            opened: Vec::new(),
            closed: Vec::new(),
            full: Vec::new(),
        }
    }

    fn fits(&self, bytes: usize) -> bool {
        self.items.len() + self.late.len() < BATCH_RECORDS_MAX && self.bytes + bytes <= BATCH_BYTES_MAX
    }

    /// Whether a record whose subjects take so many bytes still fits; one record always does.
    fn fits_subjects(&self, bytes: usize) -> bool {
        bytes == 0 || self.subjects_bytes + bytes <= SUBJECT_IDS_BYTES_MAX / 2
    }

    fn add_late(&mut self, seq: u64, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.late.push((seq, bytes));
    }

    fn add(&mut self, item: Item, elide: bool) {
        let Item { seq, tag, leaf, head, bytes } = item;
        let kind = record::kind(&bytes);
        self.bytes += bytes.len();
        self.position.last_seq = seq;
        self.position.head = head;
        if let Kind::Closing(Some(opening)) = kind {
            match self.opened.iter().rposition(|opened| opened.leaf == opening) {
                Some(at) => drop(self.opened.swap_remove(at)),
                None => self.closed.push(opening),
            }
        }
        let elided = kind == Kind::Opening && tag == Tag::Record && elide;
        if kind == Kind::Opening {
            self.opened.push(Opened { seq, leaf, bytes: elided.then(|| bytes.clone()) });
        }
        let item = if elided {
            batch_item::Item::ElidedLeafHash(Bytes::copy_from_slice(leaf.as_bytes()))
        } else {
            self.full.push(leaf);
            batch_item::Item::Entry(bytes)
        };
        self.items.push(BatchItem { item: Some(item) });
    }
}

/// Seals to the index key that the broker told.
fn sealer(position: &JournalPosition) -> Option<SubjectSealer> {
    let key = position.index_key.as_ref()?;
    SubjectSealer::new(key)
        .inspect_err(|error| tracing::error!(%error, "subjects are not sent to the broker's index"))
        .ok()
}

fn ids_of(seq: u64, about: &SubjectRow) -> SubjectIdsOfRecord {
    SubjectIdsOfRecord { seq, salt: about.salt.to_vec(), ids: about.ids.clone() }
}

/// Where records come from: memory if they are there, files if not.
#[derive(Debug)]
struct Source {
    shared: Arc<Shared>,
    group: Option<Arc<Group>>,
    cursor: Option<Cursor>,
}

impl Source {
    /// A record that is sealed.
    fn item(&mut self, seq: u64) -> Result<Item, JournalError> {
        if let Some(item) = self.group.as_ref().and_then(|group| group.item(seq)) {
            return Ok(item);
        }
        self.group = self.shared.tail.group_of(seq);
        if let Some(item) = self.group.as_ref().and_then(|group| group.item(seq)) {
            self.cursor = None;
            return Ok(item);
        }
        self.cursor_at(seq)?.next()
    }

    /// A cursor before that record.
    fn cursor_at(&mut self, seq: u64) -> Result<&mut Cursor, JournalError> {
        let cursor = match self.cursor.take() {
            Some(cursor) if cursor.next_seq() == seq => cursor,
            _ => Cursor::open(&self.shared.folder, self.shared.epoch, &self.shared.segments.list(), seq)?,
        };
        Ok(self.cursor.insert(cursor))
    }
}
