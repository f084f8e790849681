//! Something a record can be found by: a dimension and a value.

use std::fmt;

use crate::fold::fold;

/// Longest value of a term, bytes; longer ones are found by their beginning.
pub const VALUE_BYTES_MAX: usize = 128;

/// Bytes of a subject token.
pub const TOKEN_BYTES: usize = 16;

/// In which respect. The numbers stand in files: never change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Code of the consumer.
    Consumer = 1,
    /// Code of the provider.
    Provider = 2,
    /// Resource name of the consumer's system, and its last part.
    System = 3,
    /// Dataset.
    Dataset = 4,
    /// gRPC path.
    Method = 5,
    /// End user.
    User = 6,
    /// Dossier code.
    Dossier = 7,
    /// Right that decided, `right_id@epoch`.
    Right = 8,
    /// Reason of the closed list.
    Reason = 9,
    /// Purpose, by its number.
    Purpose = 10,
    /// How it ended, by its number.
    Status = 11,
    /// Exchange id.
    Exchange = 12,
    /// SHA-256 of a certificate.
    Certificate = 13,
    /// What an act was about.
    Resource = 14,
    /// Who acted.
    Actor = 15,
    /// Which body the record has.
    Kind = 16,
    /// Who made the record.
    Recorder = 17,
    /// Token of a subject. Stands in subject segments only.
    Subject = 64,
    /// The record names subjects of which no token came. Stands in subject segments only.
    SubjectsMissing = 65,
    /// A subject of the record was erased. Stands in subject segments only, behind every token.
    SubjectsErased = 66,
}

/// A term, as its bytes: the dimension's number, then the value. Terms sort by dimension, then value, so that a prefix of
/// a value is a range of terms.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(Vec<u8>);

impl Term {
    /// A term of text, [folded](mod@crate::fold).
    pub fn text(dimension: Dimension, text: &str) -> Self {
        Self::bytes(dimension, fold(text).as_bytes())
    }

    /// A term of a number.
    pub fn number(dimension: Dimension, number: i32) -> Self {
        Self::bytes(dimension, &number.to_be_bytes())
    }

    /// A term of bytes, cut to [`VALUE_BYTES_MAX`].
    pub fn bytes(dimension: Dimension, value: &[u8]) -> Self {
        let value = &value[..value.len().min(VALUE_BYTES_MAX)];
        let mut bytes = Vec::with_capacity(1 + value.len());
        bytes.push(dimension as u8);
        bytes.extend_from_slice(value);
        Self(bytes)
    }

    /// A term of a dimension that has no values.
    pub fn flag(dimension: Dimension) -> Self {
        Self::bytes(dimension, &[])
    }

    /// As it stands in a segment.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it belongs into a subject segment.
    pub fn is_subject(&self) -> bool {
        self.0.first().is_some_and(|dimension| *dimension >= Dimension::Subject as u8)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dimension, value) = self.0.split_first().unwrap_or((&0, &[]));
        write!(f, "{dimension}:{}", value.escape_ascii())
    }
}
