//! The people and organisations that a message is about.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use crate::error::{Fault, FilterError};

/// Distinct subjects that a [`crate::Report`] keeps unless told otherwise: as many as one audit record holds.
pub const SUBJECTS_MAX: usize = 32;
/// Longest subject identifier, in bytes. Longer text in a subject field refuses the message: a person must not
/// slip through the audit by a value that no record can hold.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// Distinct subject values in the order seen, up to a bound; those beyond it are counted.
///
/// Values sit in one buffer and are found through a small open-addressing table, so that a reused set takes no
/// memory from the allocator. The table is keyed at random: values come from outside.
///
/// The values are identifiers of people: `Debug` shows how many there are, never which.
#[derive(Clone)]
pub struct Subjects {
    max: usize,
    overflow: u64,
    bytes: Vec<u8>,
    /// End of each value in `bytes`.
    ends: Vec<usize>,
    /// Index + 1 of a value, or 0; a power of two, at least twice as many as values.
    table: Vec<u32>,
    hasher: RandomState,
}

impl Subjects {
    /// An empty set that keeps at most `max` values (at most 2³²−2).
    pub fn with_max(max: usize) -> Self {
        Self {
            max: max.min(u32::MAX as usize - 1),
            overflow: 0,
            bytes: Vec::new(),
            ends: Vec::new(),
            table: Vec::new(),
            hasher: RandomState::new(),
        }
    }

    /// Number of values kept.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no subject was seen.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Values seen that found no place; one value seen twice beyond the bound counts twice.
    pub fn overflow(&self) -> u64 {
        self.overflow
    }

    /// The values, in the order first seen. They are the bytes of string fields, not checked to be UTF-8.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.value(index))
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(Mark::default());
    }

    /// Takes in a value; an empty one is the absence of a subject. `position` is where it stands, for the error.
    pub(crate) fn insert(&mut self, value: &[u8], position: usize) -> Result<(), FilterError> {
        if value.is_empty() {
            return Ok(());
        }
        if value.len() > SUBJECT_BYTES_MAX {
            return Err(FilterError::new(position, Fault::SubjectTooLong));
        }
        if self.table.len() < 2 * (self.len() + 1) {
            self.rebuild((4 * (self.len() + 1)).next_power_of_two());
        }
        let place = self.place(value);
        if self.table[place] != 0 {
            return Ok(());
        }
        if self.len() == self.max {
            self.overflow = self.overflow.saturating_add(1);
            return Ok(());
        }
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
        self.table[place] = index_plus_one(self.len() - 1);
        Ok(())
    }

    /// Where the set stands, to come back to with [`Self::truncate`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.len(), overflow: self.overflow }
    }

    /// Forgets what was taken in since the mark.
    pub(crate) fn truncate(&mut self, mark: Mark) {
        self.overflow = mark.overflow;
        if mark.len == self.len() {
            return;
        }
        self.ends.truncate(mark.len);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.rebuild(self.table.len());
    }

    fn value(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// The place of this value in the table: its own, or the empty one where it belongs.
    fn place(&self, value: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let mut place = self.hasher.hash_one(value) as usize & mask;
        loop {
            match self.table[place] {
                0 => return place,
                kept if self.value(kept as usize - 1) == value => return place,
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn rebuild(&mut self, size: usize) {
        self.table.clear();
        self.table.resize(size, 0);
        for index in 0..self.len() {
            let place = self.place(self.value(index));
            self.table[place] = index_plus_one(index);
        }
    }
}

impl Default for Subjects {
    /// An empty set that keeps [`SUBJECTS_MAX`] values.
    fn default() -> Self {
        Self::with_max(SUBJECTS_MAX)
    }
}

impl fmt::Debug for Subjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subjects")
            .field("len", &self.len())
            .field("overflow", &self.overflow)
            .finish_non_exhaustive()
    }
}

/// A state of [`Subjects`]; the default is the empty one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    len: usize,
    overflow: u64,
}

fn index_plus_one(index: usize) -> u32 {
    // `with_max` keeps indexes below u32::MAX − 1.
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_distinct_values_in_order_and_counts_the_rest() {
        let mut subjects = Subjects::with_max(3);
        for value in ["b", "a", "b", "", "c", "a", "d", "d"] {
            subjects.insert(value.as_bytes(), 0).unwrap();
        }
        assert_eq!(subjects.iter().collect::<Vec<_>>(), [b"b", b"a", b"c"]);
        assert_eq!(subjects.overflow(), 2);
        subjects.clear();
        assert!(subjects.is_empty());
        assert_eq!(subjects.overflow(), 0);
    }

    #[test]
    fn finds_values_again_after_growing_and_going_back() {
        let mut subjects = Subjects::with_max(10_000);
        let value = |index: u32| index.to_be_bytes();
        for index in 0..5_000 {
            subjects.insert(&value(index), 0).unwrap();
        }
        let mark = subjects.mark();
        for index in 0..9_000 {
            subjects.insert(&value(index), 0).unwrap();
        }
        assert_eq!(subjects.len(), 9_000);
        subjects.truncate(mark);
        assert_eq!(subjects.len(), 5_000);
        subjects.insert(&value(4_999), 0).unwrap();
        assert_eq!(subjects.len(), 5_000);
        subjects.insert(&value(5_000), 0).unwrap();
        assert!(subjects.iter().map(<[u8]>::to_vec).eq((0..=5_000).map(|index| value(index).to_vec())));
    }

    #[test]
    fn refuses_what_no_record_can_hold() {
        let error = Subjects::default().insert(&[b'1'; SUBJECT_BYTES_MAX + 1], 7).unwrap_err();
        assert_eq!(error, FilterError { position: 7, fault: Fault::SubjectTooLong });
    }

    #[test]
    fn never_shows_the_values() {
        let mut subjects = Subjects::default();
        subjects.insert(b"001099012345", 0).unwrap();
        assert!(!format!("{subjects:?}").contains("001099012345"));
    }
}
