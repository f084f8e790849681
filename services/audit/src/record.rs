//! One record: its bytes, its bound, and what a journal must know of it without decoding it whole.
//!
//! The exact stored bytes are hashed; nothing is ever decoded and encoded again on the way to the log.

use lienthong_proto::lienthong::audit::v1::{Record, record::Body};
use prost::Message as _;

use crate::hash::Hash;

pub use crate::digest::salt;
pub use crate::hash::leaf_hash;

/// Format version of the records that this crate makes.
pub const RECORD_VERSION: u32 = 1;

/// Largest record, bytes.
pub const RECORD_BYTES_MAX: usize = 4096;

/// Why a record is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Longer than [`RECORD_BYTES_MAX`].
    #[error(
        "a record of {bytes} bytes; the bound is {RECORD_BYTES_MAX}: move the excess into continuation records"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not a protobuf message of that form.
    #[error("not an audit record: {0}")]
    Undecodable(String),
    /// A version that this crate does not know.
    #[error("an audit record of version {0}; this program knows version {RECORD_VERSION}: update it")]
    Version(u32),
    /// A record that says nothing.
    #[error("an audit record without a body")]
    Empty,
}

/// The bytes of a record, checked against [`RECORD_BYTES_MAX`].
pub fn encode(record: &Record) -> Result<Vec<u8>, RecordError> {
    let bytes = record.encode_to_vec();
    match bytes.len() {
        bytes if bytes > RECORD_BYTES_MAX => Err(RecordError::TooLarge { bytes }),
        _ => Ok(bytes),
    }
}

/// Reads a record from bytes of any origin.
pub fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(RecordError::TooLarge { bytes: bytes.len() });
    }
    let record = Record::decode(bytes).map_err(|error| RecordError::Undecodable(error.to_string()))?;
    match (record.version, &record.body) {
        (RECORD_VERSION, Some(_)) => Ok(record),
        (RECORD_VERSION, None) => Err(RecordError::Empty),
        (version, _) => Err(RecordError::Version(version)),
    }
}

/// What shipping must know of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An opening record.
    Opening,
    /// A closing record; its opening record's leaf hash, where it names one.
    Closing(Option<Hash>),
    /// Any other record, and bytes that are none.
    Other,
}

/// The kind of an encoded record, by walking its top-level fields only: some 30 ns instead of a whole decoding.
pub fn kind(record: &[u8]) -> Kind {
    let mut kind = Kind::Other;
    for field in Fields(record) {
        match field {
            (OPENING_FIELD, _) => kind = Kind::Opening,
            (CLOSING_FIELD, closing) => {
                let hash = Fields(closing).filter(|(number, _)| *number == CLOSING_OPENING_HASH_FIELD).last();
                kind = match (hash, kind) {
                    // A field that comes twice is merged (protobuf encoding, "Last One Wins").
                    (None, Kind::Closing(earlier)) => Kind::Closing(earlier),
                    (hash, _) => Kind::Closing(hash.and_then(|(_, bytes)| Hash::from_slice(bytes))),
                };
            }
            (number, _) if OTHER_BODY_FIELDS.contains(&number) => kind = Kind::Other,
            _ => {}
        }
    }
    kind
}

/// The kind of a decoded record; agrees with [`kind`].
pub fn kind_of(record: &Record) -> Kind {
    match &record.body {
        Some(Body::Opening(_)) => Kind::Opening,
        Some(Body::Closing(closing)) => Kind::Closing(Hash::from_slice(&closing.opening_hash)),
        _ => Kind::Other,
    }
}

const OPENING_FIELD: u64 = 10;
const CLOSING_FIELD: u64 = 11;
const OTHER_BODY_FIELDS: std::ops::RangeInclusive<u64> = 12..=31;
const CLOSING_OPENING_HASH_FIELD: u64 = 2;

/// The fields of a protobuf message: number, and the bytes of a length-delimited value (empty for others).
/// Ends at the first malformed byte.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => {
                self.varint()?;
                &[][..]
            }
            1 => self.take(8).map(|_| &[][..])?,
            2 => {
                let length = self.varint()?;
                self.take(usize::try_from(length).ok()?)?
            }
            5 => self.take(4).map(|_| &[][..])?,
            _ => return None,
        };
        Some((key >> 3, value))
    }
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;
    use lienthong_proto::lienthong::audit::v1::{Closing, Denial, Exchange, Opening};
    use proptest::prelude::*;

    fn record(body: Body) -> Record {
        let time = Some(prost_types::Timestamp { seconds: 1_763_700_000, nanos: 5 });
        let (salt, recorder) = (vec![1; 16], "G01/node-1".to_owned());
        Record { version: RECORD_VERSION, salt, recorder, time, clock_error_us: 900, body: Some(body) }
    }

    #[allow(clippy::unnecessary_wraps)] // as the fields are
    fn exchange() -> Option<Exchange> {
        Some(Exchange { id: vec![9; 16], consumer: "H26.90".into(), ..Exchange::default() })
    }

    #[test]
    fn kinds_are_seen_without_decoding() {
        let opening = record(Body::Opening(Opening { exchange: exchange() }));
        let hash = leaf_hash(&encode(&opening).unwrap());
        let closing = Closing { exchange: exchange(), opening_hash: hash.0.to_vec(), ..Closing::default() };
        let unnamed = Closing { exchange: exchange(), ..Closing::default() };
        let denial = Denial { exchange: exchange(), ..Denial::default() };
        for (record, expected) in [
            (opening, Kind::Opening),
            (record(Body::Closing(closing)), Kind::Closing(Some(hash))),
            (record(Body::Closing(unnamed)), Kind::Closing(None)),
            (record(Body::Denial(denial)), Kind::Other),
        ] {
            assert_eq!(kind(&encode(&record).unwrap()), expected);
            assert_eq!(kind_of(&record), expected);
        }
    }

    #[test]
    fn bounds_and_forms_are_checked() {
        let mut large = record(Body::Opening(Opening { exchange: exchange() }));
        assert_eq!(decode(&encode(&large).unwrap()).unwrap(), large);
        large.recorder = "x".repeat(RECORD_BYTES_MAX);
        assert!(matches!(encode(&large), Err(RecordError::TooLarge { .. })));
        assert!(matches!(decode(&large.encode_to_vec()), Err(RecordError::TooLarge { .. })));
        assert!(matches!(decode(b"\xff\xff"), Err(RecordError::Undecodable(_))));
        assert_eq!(decode(b""), Err(RecordError::Version(0)));
        let empty = Record { version: RECORD_VERSION, ..Record::default() };
        assert_eq!(decode(&empty.encode_to_vec()), Err(RecordError::Empty));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let walked = kind(&bytes);
            // Whatever decodes as a record is seen as what it is.
            if let Ok(record) = decode(&bytes) {
                prop_assert_eq!(walked, kind_of(&record));
            }
        }
    }
}
