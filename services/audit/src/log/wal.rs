//! The bytes of the write-ahead log. Pure: knows no file.
//!
//! A *segment* is a header and then *frames*; a frame is one group commit: the entries, as an entry bundle holds
//! them, and the root of the log after them, which makes the frame its own commit marker. Numbers are big-endian.
//!
//! ```text
//! segment  "LTWAL\x01\n\n"  nonce(16)  first index u64  crc u32
//! frame    first index u64  entries u32  body bytes u32  body crc u32  header crc u32  body
//! body     (u16 length, entry)*  root(32)
//! ```
//!
//! Every CRC32C of a frame also covers the segment's random nonce. So old bytes on a reused disk block are no frame,
//! and nobody who submits entries can hide inside one what recovery would take for a frame.

use thiserror::Error;

use crate::hash::{HASH_BYTES, Hash};
use crate::tile::{BundleEntries, TileError};

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 8 + NONCE_BYTES + 8 + 4;

/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 8 + 4 + 4 + 4 + 4;

/// Bytes of the nonce of a segment.
pub(crate) const NONCE_BYTES: usize = 16;

/// The start of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) nonce: [u8; NONCE_BYTES],
    /// The index of the first entry in the segment.
    pub(crate) first_index: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [SEGMENT_MAGIC, &self.nonce, &self.first_index.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    pub(crate) fn parse(segment: &[u8]) -> Result<Self, FrameFault> {
        let header = segment.get(..SEGMENT_HEADER_BYTES).ok_or(FrameFault::Cut)?;
        let (body, crc) = header.split_last_chunk::<4>().ok_or(FrameFault::Cut)?;
        let rest = body.strip_prefix(SEGMENT_MAGIC).ok_or(FrameFault::Header)?;
        let (nonce, index) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(FrameFault::Cut)?;
        let index = index.first_chunk::<8>().ok_or(FrameFault::Cut)?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err(FrameFault::Header);
        }
        Ok(Self { nonce: *nonce, first_index: u64::from_be_bytes(*index) })
    }
}

/// One group commit, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) first_index: u64,
    /// How many entries; checked against the bytes.
    pub(crate) count: u32,
    /// The entries, as an entry bundle holds them.
    pub(crate) entries: &'a [u8],
    /// The root of the log after them.
    pub(crate) root: Hash,
    /// The length of the whole frame.
    pub(crate) bytes: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`.
    pub(crate) fn parse(nonce: &[u8; NONCE_BYTES], bytes: &'a [u8]) -> Result<Self, FrameFault> {
        let header = FrameHeader::parse(nonce, bytes)?;
        let body = bytes.get(FRAME_HEADER_BYTES..header.frame_bytes()).ok_or(FrameFault::Cut)?;
        if salted_crc(nonce, body) != header.body_crc {
            return Err(FrameFault::Body);
        }
        let (entries, root) = body.split_last_chunk::<HASH_BYTES>().ok_or(FrameFault::Shape)?;
        let mut count = 0_u32;
        for entry in BundleEntries::new(entries) {
            entry.map_err(|_| FrameFault::Shape)?;
            count = count.saturating_add(1);
        }
        if count != header.count || count == 0 {
            return Err(FrameFault::Shape);
        }
        Ok(Self {
            first_index: header.first_index,
            count,
            entries,
            root: Hash(*root),
            bytes: header.frame_bytes(),
        })
    }

    /// The entries one by one.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // `parse` walked them already, so none is malformed.
        BundleEntries::new(self.entries).filter_map(|entry| entry.ok().map(|(_, entry)| entry))
    }
}

/// The length of the frame whose header stands at the start of `bytes`.
pub(crate) fn frame_bytes(nonce: &[u8; NONCE_BYTES], bytes: &[u8]) -> Result<usize, FrameFault> {
    Ok(FrameHeader::parse(nonce, bytes)?.frame_bytes())
}

/// Whether a frame begins anywhere inside `bytes`: then what comes before it is damage and not a torn last write.
pub(crate) fn holds_frame(nonce: &[u8; NONCE_BYTES], bytes: &[u8]) -> bool {
    bytes.windows(FRAME_HEADER_BYTES).any(|window| FrameHeader::parse(nonce, window).is_ok())
}

/// Builds one frame in a buffer that is kept from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct FrameBuilder {
    buffer: Vec<u8>,
    first_index: u64,
    count: u32,
}

impl FrameBuilder {
    /// Begins a frame.
    pub(crate) fn start(&mut self, first_index: u64) {
        self.buffer.clear();
        self.buffer.resize(FRAME_HEADER_BYTES, 0);
        self.first_index = first_index;
        self.count = 0;
    }

    /// Adds an entry.
    pub(crate) fn push(&mut self, entry: &[u8]) -> Result<(), TileError> {
        self.count += 1;
        crate::tile::push_entry(&mut self.buffer, entry)
    }

    /// Ends the frame with the root of the log after it and returns its bytes.
    pub(crate) fn finish(&mut self, nonce: &[u8; NONCE_BYTES], root: &Hash) -> &[u8] {
        self.buffer.extend_from_slice(&root.0);
        let body = &self.buffer[FRAME_HEADER_BYTES..];
        // The bounds of an append keep a body far below 4 GiB.
        let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let header = FrameHeader {
            first_index: self.first_index,
            count: self.count,
            body_bytes,
            body_crc: salted_crc(nonce, body),
        };
        self.buffer[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode(nonce));
        &self.buffer
    }
}

/// Why bytes are no segment header or frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameFault {
    /// It ends too early.
    #[error("a group commit is cut off")]
    Cut,
    /// The header's CRC does not fit.
    #[error("the header of a group commit does not fit its CRC32C")]
    Header,
    /// The body's CRC does not fit.
    #[error("the entries of a group commit do not fit their CRC32C")]
    Body,
    /// The CRC fits but the content makes no sense.
    #[error("a group commit does not hold the entries that its header announces")]
    Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHeader {
    first_index: u64,
    count: u32,
    body_bytes: u32,
    body_crc: u32,
}

impl FrameHeader {
    fn encode(&self, nonce: &[u8; NONCE_BYTES]) -> [u8; FRAME_HEADER_BYTES] {
        let mut header = [0; FRAME_HEADER_BYTES];
        header[..8].copy_from_slice(&self.first_index.to_be_bytes());
        header[8..12].copy_from_slice(&self.count.to_be_bytes());
        header[12..16].copy_from_slice(&self.body_bytes.to_be_bytes());
        header[16..20].copy_from_slice(&self.body_crc.to_be_bytes());
        let crc = salted_crc(nonce, &header[..20]);
        header[20..].copy_from_slice(&crc.to_be_bytes());
        header
    }

    fn parse(nonce: &[u8; NONCE_BYTES], bytes: &[u8]) -> Result<Self, FrameFault> {
        let (first_index, rest) = bytes.split_first_chunk::<8>().ok_or(FrameFault::Cut)?;
        let words = rest.get(..16).ok_or(FrameFault::Cut)?.as_chunks::<4>().0;
        let [count, body_bytes, body_crc, header_crc] =
            [0, 1, 2, 3].map(|word| u32::from_be_bytes(words[word]));
        let header = Self { first_index: u64::from_be_bytes(*first_index), count, body_bytes, body_crc };
        if salted_crc(nonce, &bytes[..20]) != header_crc {
            return Err(FrameFault::Header);
        }
        Ok(header)
    }

    const fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes as usize
    }
}

const SEGMENT_MAGIC: &[u8] = b"LTWAL\x01\n\n";

fn salted_crc(nonce: &[u8; NONCE_BYTES], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(nonce), bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn frame(first_index: u64, entries: &[&[u8]]) -> Vec<u8> {
        let mut builder = FrameBuilder::default();
        builder.start(first_index);
        for entry in entries {
            builder.push(entry).unwrap();
        }
        builder.finish(&NONCE, &Hash([5; 32])).to_vec()
    }

    #[test]
    fn frames_round_trip() {
        let bytes = frame(41, &[b"one", b"", b"three"]);
        let read = Frame::parse(&NONCE, &bytes).unwrap();
        assert_eq!((read.first_index, read.count, read.bytes), (41, 3, bytes.len()));
        assert_eq!(read.entries().collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        assert_eq!(read.root, Hash([5; 32]));
        assert_eq!(frame_bytes(&NONCE, &bytes), Ok(bytes.len()));
        let header = SegmentHeader { nonce: NONCE, first_index: 7 };
        assert_eq!(SegmentHeader::parse(&header.encode()), Ok(header));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let good = frame(41, &[b"one", b"", b"three"]);
        for at in 0..good.len() {
            assert!(Frame::parse(&NONCE, &good[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(Frame::parse(&NONCE, &bad).is_err(), "bit {bit} of byte {at}");
            }
        }
        let good = SegmentHeader { nonce: NONCE, first_index: 7 }.encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(SegmentHeader::parse(&bad).is_err());
            assert!(SegmentHeader::parse(&good[..at]).is_err());
        }
    }

    #[test]
    fn a_frame_needs_the_nonce_of_its_segment() {
        let bytes = frame(41, &[b"one"]);
        assert_eq!(Frame::parse(&[8; NONCE_BYTES], &bytes), Err(FrameFault::Header));
        let inside = [b"junk", &bytes[..], b"junk"].concat();
        assert!(holds_frame(&NONCE, &inside));
        assert!(!holds_frame(&[8; NONCE_BYTES], &inside));
        assert!(!holds_frame(&NONCE, &[0; 4096]));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Frame::parse(&NONCE, &bytes), SegmentHeader::parse(&bytes), holds_frame(&NONCE, &bytes));
        }
    }
}
