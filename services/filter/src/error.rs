//! Why a plan could not be made, or a message not filtered.

use crate::plan::{FIELD_IDS_MAX, FIELDS_PER_MESSAGE_MAX, PLAN_NODES_MAX};
use crate::subjects::SUBJECT_BYTES_MAX;
use crate::wire::{DEPTH_MAX, MESSAGE_BYTES_MAX};

/// Why [`crate::Plan::compile`] or [`crate::Plan::observe`] refused. Each is a mistake in the contract or in
/// the catalog, found before any data flows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No field of the response, at any depth, is marked as record, so nothing could be told apart.
    #[error(
        "message {message} holds no record (R-25): mark the field that holds its data with option record"
    )]
    NoRecord {
        /// Full name of the response message.
        message: String,
    },
    /// A field is marked as record but cannot be one.
    #[error("field {field} is marked record but is not a message or a list of messages: mark such a field")]
    RecordKind {
        /// Full name of the field.
        field: String,
    },
    /// A field inside a record is marked as record.
    #[error("field {field} is marked record but sits inside a record: mark the outermost one only")]
    RecordInRecord {
        /// Full name of the field.
        field: String,
    },
    /// A field is marked as subject but is not text.
    #[error("field {field} is marked subject but is not a string: identifiers of people are strings")]
    SubjectKind {
        /// Full name of the field.
        field: String,
    },
    /// A field id of the grant exists in no record of the message.
    #[error("field id {id} exists in no record of {message}: correct the entry's field list (R-24)")]
    UnknownField {
        /// The id as granted.
        id: String,
        /// Full name of the response message.
        message: String,
    },
    /// A field id of the grant names a place deeper than any message may be.
    #[error("field id {id} has more than {DEPTH_MAX} parts: messages are not nested that deep")]
    IdTooDeep {
        /// The id as granted.
        id: String,
    },
    /// A masking kind does not fit the type of its field.
    #[error(
        "field id {id} cannot be masked {masking}: PARTIAL is for strings, HASH for strings and bytes (R-26)"
    )]
    MaskingKind {
        /// The id as named in the masking table.
        id: String,
        /// The masking kind, as the options write it.
        masking: &'static str,
    },
    /// A granted field is to be hashed and the grant has no key.
    #[error("field {field} is masked HASH but the grant has no hash key: give one per consumer and dataset")]
    HashKeyMissing {
        /// Full name of the field.
        field: String,
    },
    /// A hash key of a wrong length.
    #[error("hash key has {given} bytes: it must have {}", crate::grant::HASH_KEY_BYTES)]
    HashKeyLength {
        /// Bytes given.
        given: usize,
    },
    /// A message has more fields than a plan can follow.
    #[error("message {message} has {fields} fields: at most {FIELDS_PER_MESSAGE_MAX} are supported")]
    TooManyFields {
        /// Full name of the message.
        message: String,
        /// Number of fields that it declares.
        fields: usize,
    },
    /// A grant names, masks or releases more fields than a report can hold.
    #[error("the grant names more than {FIELD_IDS_MAX} field ids of {message}: grant whole messages")]
    TooManyIds {
        /// Full name of the response message.
        message: String,
    },
    /// The messages reachable from the response need more nodes than a plan may have.
    #[error("message {message} needs more than {PLAN_NODES_MAX} plan nodes: make the contract flatter")]
    TooLarge {
        /// Full name of the response message.
        message: String,
    },
}

/// Why a message could not be filtered: what is wrong, and where. Nothing of such a message may be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message malformed at byte {position}: {fault}")]
pub struct FilterError {
    /// Offset in the message, in bytes, of the field or value at fault.
    pub position: usize,
    /// The rule that the message broke.
    pub fault: Fault,
}

impl FilterError {
    #[cold]
    pub(crate) fn new(position: usize, fault: Fault) -> Self {
        Self { position, fault }
    }
}

/// The rule that a message broke. Those without another source are of the protobuf encoding specification
/// (<https://protobuf.dev/programming-guides/encoding/>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The message, or a message inside it, ends inside a field.
    #[error("ends in the middle of a field")]
    Truncated,
    /// A length goes beyond the end of the message, or of the message that the field sits in.
    #[error("length {length} goes beyond the end, {remaining} bytes away")]
    LengthBeyondEnd {
        /// Length as written, in bytes.
        length: u64,
        /// Bytes that are left.
        remaining: usize,
    },
    /// A varint of more than ten bytes, or of more than 64 bits.
    #[error("varint longer than 64 bits")]
    VarintOverlong,
    /// A field number above 2²⁹−1.
    #[error("field number above 536870911")]
    FieldNumberTooLarge,
    /// Field number 0.
    #[error("field number 0")]
    FieldNumberZero,
    /// Wire type 6 or 7.
    #[error("wire type {wire_type} does not exist")]
    WireTypeUnknown {
        /// The three bits as read.
        wire_type: u8,
    },
    /// A known field whose wire type is not that of its declared type.
    #[error("field {number} has wire type {found}, its declaration asks for {expected}")]
    WireTypeMismatch {
        /// Field number.
        number: u32,
        /// Wire type of the declaration.
        expected: u8,
        /// Wire type as read.
        found: u8,
    },
    /// A packed list whose last element is cut, or whose elements are overlong.
    #[error("packed list of field {number} does not end with a whole element")]
    PackedMalformed {
        /// Field number.
        number: u32,
    },
    /// A group that is not closed, or closed by another number.
    #[error("group {number} is not closed by its own end")]
    GroupUnclosed {
        /// Field number of the group.
        number: u32,
    },
    /// The end of a group that was never opened.
    #[error("end of group {number} without its start")]
    GroupEndUnexpected {
        /// Field number of the end tag.
        number: u32,
    },
    /// Messages and groups nested deeper than the bound of this mesh.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A message longer than the protobuf limit.
    #[error("longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// Text that is to be masked and is not UTF-8.
    #[error("string field {number} is not UTF-8 and cannot be masked")]
    NotUtf8 {
        /// Field number.
        number: u32,
    },
    /// A subject identifier too long to be one (audit rule of this mesh).
    #[error("subject identifier longer than {SUBJECT_BYTES_MAX} bytes")]
    SubjectTooLong,
}
