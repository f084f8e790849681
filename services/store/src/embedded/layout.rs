//! Keys and records: what stands where in the one tree.
//!
//! | key | record |
//! |---|---|
//! | `01` | [`Meta`]: the state as a whole |
//! | `02` key | head of an entry: revision, and the value or a reference to its chunks |
//! | `03` revision slot number | a chunk of a value that is too long for its head |
//! | `04` revision | head of a change: what the commit of that revision did |
//!
//! Numbers in keys and records are big-endian. Each record begins with a format number and a CRC-32C of its own key and
//! its body: a record that was swapped with another one, or is of another time, does not pass for what it is not.

use crate::contract::{Change, Event, Revision};

/// Number of the format of all records.
const FORMAT: u8 = 1;
/// Bytes of format number and checksum.
const SEAL_BYTES: usize = 5;
/// Longest value inside a head, and length of a chunk, in bytes: records stay within 4 KiB.
pub(super) const CHUNK_BYTES: u32 = 4_000;

const META: u8 = 1;
const DATA: u8 = 2;
const CHUNK: u8 = 3;
const CHANGE: u8 = 4;

/// The slot of a change's own chunks; those of entries are numbered from 0.
pub(super) const CHANGE_SLOT: u16 = u16::MAX;

/// The state as a whole, written with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Meta {
    pub revision: Revision,
    /// Number of entries.
    pub entries: u64,
    /// Wrapping sum of the [`fingerprint`] of each entry.
    pub sum: u64,
    /// All changes after this revision are kept.
    pub kept_after: Revision,
}

impl Meta {
    pub(super) fn add(&mut self, key: &[u8], revision: Revision) {
        self.entries = self.entries.wrapping_add(1);
        self.sum = self.sum.wrapping_add(fingerprint(key, revision));
    }

    pub(super) fn remove(&mut self, key: &[u8], revision: Revision) {
        self.entries = self.entries.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(fingerprint(key, revision));
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let words = [self.revision.0, self.entries, self.sum, self.kept_after.0];
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Body(body);
        let meta = Self {
            revision: body.revision()?,
            entries: body.u64()?,
            sum: body.u64()?,
            kept_after: body.revision()?,
        };
        body.end(meta)
    }
}

/// The start of a value: all of it, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub revision: Revision,
    pub content: Content,
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Inline(Vec<u8>),
    /// In chunks of [`CHUNK_BYTES`], the last one shorter.
    Chunked {
        slot: u16,
        bytes: u32,
    },
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = self.revision.0.to_be_bytes().to_vec();
        match &self.content {
            Content::Inline(value) => {
                body.push(0);
                body.extend_from_slice(value);
            }
            Content::Chunked { slot, bytes } => {
                body.push(1);
                body.extend_from_slice(&slot.to_be_bytes());
                body.extend_from_slice(&bytes.to_be_bytes());
            }
        }
        body
    }

    pub(super) fn decode(body: &[u8]) -> Option<Self> {
        let mut body = Body(body);
        let revision = body.revision()?;
        let content = match body.u8()? {
            0 => Content::Inline(body.rest().to_vec()),
            1 => {
                let content = Content::Chunked { slot: body.u16()?, bytes: body.u32()? };
                body.end(content)?
            }
            _ => return None,
        };
        Some(Self { revision, content })
    }

    /// The keys of the value's chunks.
    pub(super) fn chunk_keys(&self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let (slot, count) = match self.content {
            Content::Inline(_) => (0, 0),
            Content::Chunked { slot, bytes } => (slot, chunks_of(bytes)),
        };
        let revision = self.revision;
        (0..count).map(move |number| chunk_key(revision, slot, number))
    }
}

/// Number of chunks of a value of so many bytes.
fn chunks_of(bytes: u32) -> u32 {
    bytes.div_ceil(CHUNK_BYTES)
}

pub(super) fn meta_key() -> Vec<u8> {
    vec![META]
}

pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// The store's key in a key of the tree that is one of an entry.
pub(super) fn key_of_data(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[DATA])
}

/// The first key behind all entries.
pub(super) fn data_end() -> Vec<u8> {
    vec![DATA + 1]
}

pub(super) fn chunk_key(revision: Revision, slot: u16, number: u32) -> Vec<u8> {
    [&[CHUNK][..], &revision.0.to_be_bytes(), &slot.to_be_bytes(), &number.to_be_bytes()].concat()
}

pub(super) fn change_key(revision: Revision) -> Vec<u8> {
    [&[CHANGE][..], &revision.0.to_be_bytes()].concat()
}

/// What kind of record a key of the tree is of; `None` if of none.
pub(super) fn kind_of(key: &[u8]) -> Option<Kind> {
    match *key.first()? {
        META => Some(Kind::Meta),
        DATA => Some(Kind::Data),
        CHUNK => Some(Kind::Chunk),
        CHANGE => Some(Kind::Change),
        _ => None,
    }
}

/// The kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Meta,
    Data,
    Chunk,
    Change,
}

/// A record: format number, checksum, body.
pub(super) fn seal(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(SEAL_BYTES + body.len());
    record.push(FORMAT);
    record.extend_from_slice(&checksum(key, body).to_be_bytes());
    record.extend_from_slice(body);
    record
}

/// The body of a record, or what is wrong with it.
pub(super) fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Result<&'a [u8], String> {
    let Some((&format, sealed)) = record.split_first() else {
        return Err("is empty".to_owned());
    };
    if format != FORMAT {
        return Err(format!("has format {format}, this version reads {FORMAT}"));
    }
    match sealed.split_first_chunk::<4>() {
        Some((sum, body)) if u32::from_be_bytes(*sum) == checksum(key, body) => Ok(body),
        _ => Err("has a wrong checksum".to_owned()),
    }
}

/// Events in one value: kind, key length, key, and for a put value length, value.
pub(super) fn encode_events(events: &[Event]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut push = |bytes: &[u8]| {
        // Keys and values are bounded far below.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(bytes);
    };
    for event in events {
        match event {
            Event::Put { key, value } => {
                push(b"p");
                push(key);
                push(value);
            }
            Event::Delete { key } => {
                push(b"d");
                push(key);
            }
        }
    }
    body
}

pub(super) fn decode_change(revision: Revision, body: &[u8]) -> Option<Change> {
    let mut body = Body(body);
    let mut events = Vec::new();
    while !body.0.is_empty() {
        let put = match body.block()? {
            b"p" => true,
            b"d" => false,
            _ => return None,
        };
        let key = body.block()?.to_vec();
        events.push(if put {
            Event::Put { key, value: body.block()?.to_vec() }
        } else {
            Event::Delete { key }
        });
    }
    Some(Change { revision, events })
}

/// A number that stands for an entry in the sum over all entries: against loss, not against malice.
fn fingerprint(key: &[u8], revision: Revision) -> u64 {
    let revision = revision.0.to_be_bytes();
    let forward = crc32c::crc32c_append(crc32c::crc32c(key), &revision);
    let backward = crc32c::crc32c_append(crc32c::crc32c(&revision), key);
    u64::from(forward) << 32 | u64::from(backward)
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}

/// A body that is read from the front.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn revision(&mut self) -> Option<Revision> {
        self.u64().map(Revision)
    }

    fn block(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (block, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(block)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// The value, if nothing is left over.
    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        (vec(any::<u8>(), 1..5), proptest::option::of(vec(any::<u8>(), 0..5))).prop_map(|(key, value)| {
            match value {
                Some(value) => Event::Put { key, value },
                None => Event::Delete { key },
            }
        })
    }

    proptest! {
        #[test]
        fn records_come_back(revision: u64, slot: u16, bytes: u32, value in vec(any::<u8>(), 0..50), events in vec(event(), 0..5)) {
            let revision = Revision(revision);
            for content in [Content::Inline(value.clone()), Content::Chunked { slot, bytes }] {
                let head = Head { revision, content };
                prop_assert_eq!(Head::decode(&head.encode()), Some(head));
            }
            let change = Change { revision, events };
            prop_assert_eq!(decode_change(revision, &encode_events(&change.events)), Some(change));
            let meta = Meta { revision, entries: 1, sum: u64::from(bytes), kept_after: Revision(7) };
            prop_assert_eq!(Meta::decode(&meta.encode()), Some(meta));
        }

        #[test]
        fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..40)) {
            let _ = (Head::decode(&body), Meta::decode(&body), decode_change(Revision(1), &body), unseal(b"k", &body));
        }

        #[test]
        fn a_seal_breaks_with_any_bit(key in vec(any::<u8>(), 1..5), body in vec(any::<u8>(), 0..20), at: prop::sample::Index, bit in 0..8u8) {
            let record = seal(&key, &body);
            prop_assert_eq!(unseal(&key, &record), Ok(body.as_slice()));
            let mut spoiled = record.clone();
            spoiled[at.index(record.len())] ^= 1 << bit;
            prop_assert!(unseal(&key, &spoiled).is_err());
            let mut other = key.clone();
            other[at.index(key.len())] ^= 1 << bit;
            prop_assert!(unseal(&other, &record).is_err());
        }
    }

    #[test]
    fn a_record_of_a_later_format_is_named() {
        let mut record = seal(b"k", b"body");
        record[0] = 2;
        assert_eq!(unseal(b"k", &record), Err("has format 2, this version reads 1".to_owned()));
    }
}
