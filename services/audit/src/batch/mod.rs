//! Batches: how the records of a journal travel, signed, and how the broker judges what arrives.
//!
//! Pure: no file, no clock, no key. The node's side is [`seal`]; the broker's side is [`verify_batch`], or a
//! [`Checker`] that also remembers the last heads of its node and so tells a repeated batch from a rolled-back
//! journal. One signature covers a whole batch: the signed header carries the chain heads before and after, and
//! those commit to every record (per-message signatures would halve the mesh's throughput).

use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, BatchItem, JournalPosition, SignedBatch, batch_item,
};
use prost::Message as _;

use crate::chain;
use crate::hash::{Hash, leaf_hash};
use crate::merkle;

mod check;
mod error;
#[cfg(test)]
mod tests;

pub use check::{CheckedBatch, CheckedEntry, Checker, HEADS_REMEMBERED_MAX, verify_batch};
pub use error::BatchError;

/// Most records in one batch, late openings included.
pub const BATCH_RECORDS_MAX: usize = 512;

/// Most bytes of records in one batch.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// What the node's key signs: this, followed by the header bytes.
pub const SIGNATURE_PREFIX: &[u8] = b"lienthong/journal-batch/v1\n";

/// How far a journal is on record at the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Journal epoch.
    pub epoch: u64,
    /// Sequence number of the last record held; 0: none.
    pub last_seq: u64,
    /// Chain head after it.
    pub head: Hash,
}

impl Position {
    /// The position of a journal of which nothing is held.
    pub const fn start(epoch: u64) -> Self {
        Self { epoch, last_seq: 0, head: chain::START }
    }

    /// The position as the broker tells it to the node.
    pub fn to_proto(&self) -> JournalPosition {
        JournalPosition {
            journal_epoch: self.epoch,
            last_seq: self.last_seq,
            head: self.head.0.to_vec(),
            ..JournalPosition::default()
        }
    }

    /// Reads what a broker told; `None` if the head is not a hash.
    pub fn from_proto(position: &JournalPosition) -> Option<Self> {
        let head = Hash::from_slice(&position.head)?;
        Some(Self { epoch: position.journal_epoch, last_seq: position.last_seq, head })
    }
}

/// What a header says of its late openings: the chain head over their leaf hashes, in order; empty for none.
pub fn late_openings_head(late_openings: &[Vec<u8>]) -> Vec<u8> {
    if late_openings.is_empty() {
        return Vec::new();
    }
    let leaves = late_openings.iter().map(|opening| leaf_hash(opening)).collect::<Vec<_>>();
    chain::advance(&chain::START, &leaves).0.to_vec()
}

/// Signs a batch of consecutive items. `sign` gets the exact bytes to sign, which commit to the late openings and
/// to what is sent in full, too.
pub fn seal<E>(
    header: &BatchHeader,
    items: Vec<BatchItem>,
    late_openings: Vec<Vec<u8>>,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<SignedBatch, E> {
    let leaves = entry_leaves(&items);
    let header = BatchHeader {
        late_openings_head: late_openings_head(&late_openings),
        entries_root: merkle::root_of(&leaves).0.to_vec(),
        entries: u32::try_from(leaves.len()).unwrap_or(u32::MAX),
        ..header.clone()
    };
    let header = header.encode_to_vec();
    let signature = sign(&signed_message(&header))?;
    Ok(SignedBatch { header, signature, items, late_openings, ..SignedBatch::default() })
}

/// The leaf hashes of the items that are sent in full, in order: the leaves under `BatchHeader.entries_root`.
fn entry_leaves(items: &[BatchItem]) -> Vec<Hash> {
    let full = items.iter().filter_map(|item| match &item.item {
        Some(batch_item::Item::Entry(entry)) => Some(leaf_hash(entry)),
        _ => None,
    });
    full.collect()
}

/// The bytes that a batch's signature covers.
pub fn signed_message(header: &[u8]) -> Vec<u8> {
    [SIGNATURE_PREFIX, header].concat()
}
