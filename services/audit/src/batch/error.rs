//! Why a batch is not taken.

use super::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use crate::hash::Hash;
use crate::record::RECORD_BYTES_MAX;

/// Why a batch is not taken. The text names what happened and what to do; `is_alarm` tells a fault of the line
/// from a sign of tampering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A part of the message has not its form.
    #[error("malformed journal batch: {0}")]
    Malformed(String),
    /// A record beyond the bound.
    #[error("record {seq} of the journal has {bytes} bytes; the bound is {RECORD_BYTES_MAX}")]
    Oversized {
        /// Its sequence number; 0 for a late opening.
        seq: u64,
        /// Its length.
        bytes: usize,
    },
    /// More records or bytes than a batch may hold.
    #[error(
        "a batch of {records} records and {bytes} bytes; the bounds are {BATCH_RECORDS_MAX} and {BATCH_BYTES_MAX}"
    )]
    TooLarge {
        /// Records, late openings included.
        records: usize,
        /// Bytes of records.
        bytes: usize,
    },
    /// Signed for another node than the one that sent it.
    #[error("the batch is of node {found}, the connection of node {expected}")]
    Node {
        /// Node of the connection.
        expected: String,
        /// Node of the header.
        found: String,
    },
    /// Another epoch than the one on record.
    #[error("the batch is of journal epoch {found}, on record is {expected}; a new epoch needs an approval")]
    Epoch {
        /// Epoch on record.
        expected: u64,
        /// Epoch of the batch.
        found: u64,
    },
    /// Records between the last one held and the first one sent are missing.
    #[error("records {expected}..{found} of the journal are missing; the node must resume from {expected}")]
    Gap {
        /// Sequence number expected next.
        expected: u64,
        /// First sequence number of the batch.
        found: u64,
    },
    /// Same sequence number, other history: the journal was forked.
    #[error(
        "the journal's chain at record {seq} is {found}, on record is {expected}: the journal was forked"
    )]
    Fork {
        /// Where the two histories meet.
        seq: u64,
        /// Head on record.
        expected: Hash,
        /// Head that the batch claims.
        found: Hash,
    },
    /// The journal ends before what it already shipped: it was restored from an old copy.
    #[error("the batch ends at record {found}, on record is up to {held}: the journal was rolled back")]
    Rollback {
        /// Last sequence number held.
        held: u64,
        /// Last sequence number of the batch.
        found: u64,
    },
    /// All of it is on record already; answer with the receipt of then.
    #[error("the batch up to record {last_seq} is already on record")]
    Duplicate {
        /// Last sequence number of the batch.
        last_seq: u64,
    },
    /// The items do not lead from the header's first head to its last.
    #[error(
        "the items of batch {first_seq}..={last_seq} give the chain head {found}, its header signs {signed}"
    )]
    Chain {
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
        /// Head that the header signs.
        signed: Hash,
        /// Head computed from the items.
        found: Hash,
    },
    /// The late openings are not those that the header signs.
    #[error("the late openings of batch {first_seq}..={last_seq} are not those that its header signs")]
    LateOpenings {
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
    },
    /// The signature is not the node's.
    #[error("the signature of batch {first_seq}..={last_seq} does not verify: {reason}")]
    Signature {
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
        /// What the verifier said.
        reason: String,
    },
}

impl BatchError {
    /// Whether this is a sign of tampering or of a lost journal, which people must look at; the rest are
    /// repetitions and faults of form that the node settles by resuming.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Fork { .. }
            | Self::Rollback { .. }
            | Self::Epoch { .. }
            | Self::Chain { .. }
            | Self::LateOpenings { .. }
            | Self::Signature { .. }
            | Self::Node { .. } => true,
            Self::Malformed(_)
            | Self::Oversized { .. }
            | Self::TooLarge { .. }
            | Self::Gap { .. }
            | Self::Duplicate { .. } => false,
        }
    }
}
