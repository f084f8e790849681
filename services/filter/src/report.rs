//! What a plan saw, released, dropped and masked: the numbers of the closing audit record.

use crate::plan::FIELD_IDS_MAX;
use crate::subjects::{Mark, Subjects};

/// Sums over the messages that were filtered since the last [`Report::reset`]. A refused message adds nothing.
///
/// One report serves one exchange, a stream as well; reuse it for the next one. Sums stop at their maximum.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Records released.
    pub records: u32,
    /// Records that were not released because they lie outside the granted rows.
    pub records_out_of_scope: u32,
    /// Which of the plan's [field ids](crate::Plan::ids) were released at least once.
    pub fields_released: FieldBits,
    /// Known fields of records that were dropped because they are not granted, or masked `OMIT`; counted as
    /// they stand on the wire.
    pub dropped_fields: u64,
    /// Fields that were dropped because the descriptor does not know their number.
    pub dropped_unknown: u64,
    /// Occurrences of singular fields dropped because a later one, or a later member of the same oneof,
    /// takes their place. An honest encoder writes none.
    pub superseded: u64,
    /// Values released masked.
    pub masked: u64,
    /// The subjects seen, released or not: who is asked about is on record even where the identifier itself is
    /// not granted.
    pub subjects: Subjects,
}

impl Report {
    /// An empty report that keeps [`crate::subjects::SUBJECTS_MAX`] subjects.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty report that keeps up to `max` subjects, for answers whose subjects fill several audit records.
    pub fn with_subjects_max(max: usize) -> Self {
        Self { subjects: Subjects::with_max(max), ..Self::default() }
    }

    /// Empties the report, keeps its memory.
    pub fn reset(&mut self) {
        self.restore(Checkpoint::default());
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            records: self.records,
            records_out_of_scope: self.records_out_of_scope,
            fields_released: self.fields_released,
            dropped_fields: self.dropped_fields,
            dropped_unknown: self.dropped_unknown,
            superseded: self.superseded,
            masked: self.masked,
            subjects: self.subjects.mark(),
        }
    }

    pub(crate) fn restore(&mut self, checkpoint: Checkpoint) {
        self.records = checkpoint.records;
        self.records_out_of_scope = checkpoint.records_out_of_scope;
        self.fields_released = checkpoint.fields_released;
        self.dropped_fields = checkpoint.dropped_fields;
        self.dropped_unknown = checkpoint.dropped_unknown;
        self.superseded = checkpoint.superseded;
        self.masked = checkpoint.masked;
        self.subjects.truncate(checkpoint.subjects);
    }
}

/// A state of a [`Report`]; the default is the empty one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checkpoint {
    records: u32,
    records_out_of_scope: u32,
    fields_released: FieldBits,
    dropped_fields: u64,
    dropped_unknown: u64,
    superseded: u64,
    masked: u64,
    subjects: Mark,
}

const WORDS: usize = FIELD_IDS_MAX / 64;

/// A set of field ids, by their index in [`crate::Plan::ids`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FieldBits([u64; WORDS]);

impl FieldBits {
    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Number of fields in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether the field with this index is in the set.
    pub fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// The indexes in the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        (0..FIELD_IDS_MAX).filter(|index| self.contains(*index))
    }

    pub(crate) fn insert(&mut self, index: u16) {
        self.0[usize::from(index) / 64] |= 1 << (index % 64);
    }
}
