//! The broker's judgement of a batch.

use std::collections::VecDeque;

use bytes::Bytes;
use lienthong_proto::lienthong::audit::v1::{BatchHeader, Record, SignedBatch, batch_item::Item};
use prost::Message as _;

use super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BatchError, Position, late_openings_head, signed_message};
use crate::chain;
use crate::hash::{Hash, leaf_hash};
use crate::merkle;
use crate::record::{self, Kind, RecordError};

/// Batches whose heads a [`Checker`] remembers, to answer repetitions exactly.
pub const HEADS_REMEMBERED_MAX: usize = 64;

/// A record of a batch, read once for all who look at it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedEntry {
    /// Its place in the journal; 0 for a late opening, whose place an earlier batch told.
    pub seq: u64,
    /// Its exact bytes.
    pub bytes: Bytes,
    /// Its leaf hash.
    pub leaf: Hash,
    /// What it says.
    pub record: Record,
}

/// A batch that was judged good.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedBatch {
    /// The header, decoded; its bytes as signed are in the batch.
    pub header: BatchHeader,
    /// The records to log, in order: full items not held before, then late openings.
    pub entries: Vec<CheckedEntry>,
    /// How many of `entries`, at their end, are late openings.
    pub late: usize,
    /// The position after it.
    pub position: Position,
}

/// Judges a batch of `node` against what is on record of its journal.
///
/// A batch may begin before the position (a resend after a lost receipt) as long as its chain passes through the
/// very head on record; only the records after it are given out. A batch without items is a heartbeat or carries
/// late openings only.
///
/// Late openings lie outside the chain of this batch (it holds their hashes in an earlier one); the signed header
/// commits to them by a chain of their own.
pub fn verify_batch<E: std::fmt::Display>(
    batch: &SignedBatch,
    node: &str,
    on_record: &Position,
    verify: impl FnOnce(&[u8], &[u8]) -> Result<(), E>,
) -> Result<CheckedBatch, BatchError> {
    let claim = Claim::read(batch, node, on_record.epoch)?;
    claim.place(on_record)?;
    let Items { leaves, full, late } = Items::read(batch, claim.first_seq)?;
    // Hashing is some hundred times cheaper than the signature, so it is judged first.
    let mut head = claim.previous_head;
    for (seq, leaf) in (claim.first_seq..).zip(&leaves) {
        meets(seq - 1, &head, on_record)?;
        head = chain::step(&head, leaf);
    }
    let Claim { first_seq, last_seq, .. } = claim;
    if head != claim.head {
        return Err(BatchError::Chain { first_seq, last_seq, signed: claim.head, found: head });
    }
    let sent: Vec<Hash> = full.iter().map(|entry| entry.leaf).collect();
    if claim.header.entries as usize != sent.len() || claim.header.entries_root != merkle::root_of(&sent).0 {
        let what = "entries_root is not the root over the records that are sent in full";
        return Err(BatchError::Malformed(what.to_owned()));
    }
    meets(last_seq, &head, on_record)?;
    if late_openings_head(&batch.late_openings) != claim.header.late_openings_head {
        return Err(BatchError::LateOpenings { first_seq, last_seq });
    }
    verify(&signed_message(&batch.header), &batch.signature).map_err(|error| BatchError::Signature {
        first_seq,
        last_seq,
        reason: error.to_string(),
    })?;
    let position = Position { epoch: on_record.epoch, last_seq, head };
    let late_openings = late.len();
    let entries = full.into_iter().filter(|entry| entry.seq > on_record.last_seq).chain(late).collect();
    Ok(CheckedBatch { header: claim.header, entries, late: late_openings, position })
}

/// Judges the batches of one node, one after another, and remembers its last heads: so a batch sent twice is
/// answered as [`BatchError::Duplicate`] and only a history that differs counts as fork or rollback.
#[derive(Debug, Clone)]
pub struct Checker {
    node: String,
    position: Position,
    heads: VecDeque<(u64, Hash)>,
}

impl Checker {
    /// A checker of `node`, of whose journal `position` is held.
    pub fn new(node: impl Into<String>, position: Position) -> Self {
        Self { node: node.into(), position, heads: VecDeque::from([(position.last_seq, position.head)]) }
    }

    /// What is held.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Judges a batch. The position does not move: call [`Checker::accept`] once its entries are durable.
    pub fn check<E: std::fmt::Display>(
        &self,
        batch: &SignedBatch,
        verify: impl FnOnce(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<CheckedBatch, BatchError> {
        match verify_batch(batch, &self.node, &self.position, verify) {
            Err(BatchError::Rollback { held, found }) => Err(self.repeated(batch, held, found)),
            judged => judged,
        }
    }

    /// Moves the position behind a batch that is on record.
    pub fn accept(&mut self, position: Position) {
        self.position = position;
        self.heads.push_back((position.last_seq, position.head));
        if self.heads.len() > HEADS_REMEMBERED_MAX {
            self.heads.pop_front();
        }
    }

    /// Tells a batch that was held before from another history.
    fn repeated(&self, batch: &SignedBatch, reached: u64, found: u64) -> BatchError {
        let claimed =
            BatchHeader::decode(&batch.header[..]).ok().and_then(|header| Hash::from_slice(&header.head));
        match (self.heads.iter().find(|(seq, _)| *seq == found), claimed) {
            (Some((_, head)), Some(claimed)) if *head == claimed => BatchError::Duplicate { last_seq: found },
            (Some((_, head)), Some(claimed)) => {
                BatchError::Fork { seq: found, expected: *head, found: claimed }
            }
            _ => BatchError::Rollback { held: reached, found },
        }
    }
}

/// What a header says, with every field of the right form.
struct Claim {
    header: BatchHeader,
    first_seq: u64,
    last_seq: u64,
    previous_head: Hash,
    head: Hash,
}

impl Claim {
    fn read(batch: &SignedBatch, node: &str, epoch: u64) -> Result<Self, BatchError> {
        let malformed = |what: &str| BatchError::Malformed(what.to_owned());
        let header = BatchHeader::decode(&batch.header[..])
            .map_err(|error| BatchError::Malformed(format!("the header does not decode: {error}")))?;
        if header.node != node {
            return Err(BatchError::Node { expected: node.to_owned(), found: header.node });
        }
        if header.journal_epoch != epoch {
            return Err(BatchError::Epoch { expected: epoch, found: header.journal_epoch });
        }
        let previous_head = Hash::from_slice(&header.previous_head)
            .ok_or_else(|| malformed("previous_head is not 32 bytes"))?;
        let head = Hash::from_slice(&header.head).ok_or_else(|| malformed("head is not 32 bytes"))?;
        if header.first_seq == 0 {
            return Err(malformed("first_seq is 0; the first record of a journal is 1"));
        }
        let items = (header.last_seq.wrapping_add(1)).checked_sub(header.first_seq);
        if header.last_seq == u64::MAX || items != Some(batch.items.len() as u64) {
            return Err(BatchError::Malformed(format!(
                "{} items for records {}..={}",
                batch.items.len(),
                header.first_seq,
                header.last_seq
            )));
        }
        if header.seal_time.is_none() {
            return Err(malformed("seal_time is missing"));
        }
        let (first_seq, last_seq) = (header.first_seq, header.last_seq);
        Ok(Self { header, first_seq, last_seq, previous_head, head })
    }

    /// Where the batch stands against what is held.
    fn place(&self, on_record: &Position) -> Result<(), BatchError> {
        let expected = on_record.last_seq + 1;
        if self.first_seq > expected {
            return Err(BatchError::Gap { expected, found: self.first_seq });
        }
        if self.last_seq > on_record.last_seq || self.first_seq == expected {
            // It goes on from what is held; whether the chain meets the head is judged on the way.
            return Ok(());
        }
        if self.last_seq < on_record.last_seq {
            return Err(BatchError::Rollback { held: on_record.last_seq, found: self.last_seq });
        }
        if self.head == on_record.head {
            return Err(BatchError::Duplicate { last_seq: self.last_seq });
        }
        Err(BatchError::Fork { seq: self.last_seq, expected: on_record.head, found: self.head })
    }
}

/// A chain that passes the last record held must have the head on record there.
fn meets(seq: u64, head: &Hash, on_record: &Position) -> Result<(), BatchError> {
    if seq == on_record.last_seq && *head != on_record.head {
        return Err(BatchError::Fork { seq, expected: on_record.head, found: *head });
    }
    Ok(())
}

/// The items of a batch, read.
struct Items {
    /// The leaf hash of each record of the journal.
    leaves: Vec<Hash>,
    /// Those that are there in full.
    full: Vec<CheckedEntry>,
    late: Vec<CheckedEntry>,
}

impl Items {
    fn read(batch: &SignedBatch, first_seq: u64) -> Result<Self, BatchError> {
        let mut size = Size { records: batch.items.len() + batch.late_openings.len(), bytes: 0 };
        size.check()?;
        let (mut leaves, mut full) = (Vec::with_capacity(batch.items.len()), Vec::new());
        for (seq, item) in (first_seq..).zip(&batch.items) {
            leaves.push(match &item.item {
                Some(Item::Entry(entry)) => {
                    size.add(entry.len())?;
                    let entry = read(seq, entry.clone())?;
                    let leaf = entry.leaf;
                    full.push(entry);
                    leaf
                }
                Some(Item::ElidedLeafHash(hash)) => Hash::from_slice(hash).ok_or_else(|| {
                    BatchError::Malformed(format!("the elided hash of record {seq} is not 32 bytes"))
                })?,
                None => return Err(BatchError::Malformed(format!("item {seq} is empty"))),
            });
        }
        let mut late = Vec::with_capacity(batch.late_openings.len());
        for opening in &batch.late_openings {
            size.add(opening.len())?;
            let entry = read(0, Bytes::copy_from_slice(opening))?;
            if record::kind_of(&entry.record) != Kind::Opening {
                return Err(BatchError::Malformed("a late opening is not an opening record".to_owned()));
            }
            late.push(entry);
        }
        Ok(Self { leaves, full, late })
    }
}

fn read(seq: u64, bytes: Bytes) -> Result<CheckedEntry, BatchError> {
    match record::decode(&bytes) {
        Ok(record) => Ok(CheckedEntry { seq, leaf: leaf_hash(&bytes), bytes, record }),
        Err(RecordError::TooLarge { bytes }) => Err(BatchError::Oversized { seq, bytes }),
        Err(error) => Err(BatchError::Malformed(format!("record {seq}: {error}"))),
    }
}

/// What a batch holds, against the bounds.
struct Size {
    records: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, bytes: usize) -> Result<(), BatchError> {
        self.bytes += bytes;
        self.check()
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.records > BATCH_RECORDS_MAX || self.bytes > BATCH_BYTES_MAX {
            return Err(BatchError::TooLarge { records: self.records, bytes: self.bytes });
        }
        Ok(())
    }
}
