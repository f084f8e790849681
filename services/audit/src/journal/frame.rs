//! The bytes of a segment: a header, then frames. Pure: no file, no clock.
//!
//! ```text
//! segment = header frame* zero*
//! header  = "LTjrnl1\n" | epoch u64 | first seq u64 | head before it [32] | crc32c u32 | zero u32
//! frame   = word u32 (tag << 24 | length) | crc32c u32 | seq u64 | body[length]
//! marker  = a frame of tag 3; body = "LTcommit" | chain head after seq [32]
//! ```
//!
//! Integers are little-endian. The CRC of a frame covers word, seq and body. A word of zero ends the segment:
//! space is reserved ahead, so a segment is longer than what was written.
//!
//! A marker is written only after everything before it is durable. So a fault *before* a valid marker is damage
//! to data that was acknowledged; a fault *after* the last marker is the torn tail of a write that was not.

use crate::hash::{HASH_BYTES, Hash};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: usize = 64;

/// Bytes of a frame before its body.
pub(super) const FRAME_HEADER_BYTES: usize = 16;

/// Bytes of a commit marker.
pub(super) const MARKER_BYTES: usize = FRAME_HEADER_BYTES + MARKER_MAGIC.len() + HASH_BYTES;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    /// A record. If it is an opening, its closing record speaks for it in the log.
    Record,
    /// A record that the log gets in full, whatever its kind.
    Whole,
    /// A commit marker.
    Commit,
}

impl Tag {
    /// Whether a frame, known to be a record's, is tagged [`Tag::Whole`].
    pub fn is_whole(frame: &[u8]) -> bool {
        frame.get(3) == Some(&2)
    }
}

/// A frame that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub tag: Tag,
    pub seq: u64,
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Bytes that the frame takes in the segment.
    pub fn size(&self) -> usize {
        FRAME_HEADER_BYTES + self.body.len()
    }

    /// The chain head of a commit marker; `None` for other frames.
    pub fn head(&self) -> Option<Hash> {
        let magic = (self.tag == Tag::Commit).then_some(self.body)?.strip_prefix(MARKER_MAGIC)?;
        Hash::from_slice(magic)
    }
}

/// What stands at some place of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// Nothing was written here.
    End,
    /// Something else, with what is wrong with it.
    Fault(&'static str),
}

/// Reads the frame at the beginning of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Read<'_> {
    let Some((head, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return if bytes.iter().all(|byte| *byte == 0) {
            Read::End
        } else {
            Read::Fault("a frame is cut short")
        };
    };
    let [w0, w1, w2, w3, c0, c1, c2, c3, seq @ ..] = *head;
    let word = u32::from_le_bytes([w0, w1, w2, w3]);
    if word == 0 {
        return if *head == [0; FRAME_HEADER_BYTES] {
            Read::End
        } else {
            Read::Fault("a frame has no length")
        };
    }
    let tag = match word >> TAG_SHIFT {
        1 => Tag::Record,
        2 => Tag::Whole,
        3 => Tag::Commit,
        _ => return Read::Fault("a frame has an unknown tag"),
    };
    let Some(body) = rest.get(..(word & LENGTH_MASK) as usize) else {
        return Read::Fault("a frame is cut short");
    };
    if checksum(head, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Read::Fault("the CRC of a frame does not match");
    }
    Read::Frame(Frame { tag, seq: u64::from_le_bytes(seq), body })
}

/// Appends a frame to a buffer. Its CRC is left to [`seal`], which the journal's thread calls, not the caller's.
pub(super) fn push(buffer: &mut Vec<u8>, tag: Tag, seq: u64, body: &[u8]) {
    let tag = match tag {
        Tag::Record => 1,
        Tag::Whole => 2,
        Tag::Commit => 3,
    };
    // Bodies are bounded far below 2^24 by the callers (RECORD_BYTES_MAX).
    let length = u32::try_from(body.len()).unwrap_or(LENGTH_MASK) & LENGTH_MASK;
    buffer.extend_from_slice(&(length | tag << TAG_SHIFT).to_le_bytes());
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&seq.to_le_bytes());
    buffer.extend_from_slice(body);
}

/// Fills in the CRC of the frame that is exactly `frame`.
pub(super) fn seal(frame: &mut [u8]) {
    if let Some((head, body)) = frame.split_first_chunk_mut::<FRAME_HEADER_BYTES>() {
        let crc = checksum(head, body);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A whole commit marker: everything up to `seq` is durable, and the chain head after it.
pub(super) fn marker(seq: u64, head: &Hash) -> [u8; MARKER_BYTES] {
    let mut body = [0; MARKER_BYTES - FRAME_HEADER_BYTES];
    body[..MARKER_MAGIC.len()].copy_from_slice(MARKER_MAGIC);
    body[MARKER_MAGIC.len()..].copy_from_slice(&head.0);
    let mut frame = Vec::with_capacity(MARKER_BYTES);
    push(&mut frame, Tag::Commit, seq, &body);
    let mut marker = [0; MARKER_BYTES];
    marker.copy_from_slice(&frame);
    seal(&mut marker);
    marker
}

/// Whether any valid commit marker starts in `bytes`, at whatever offset.
pub(super) fn holds_marker(bytes: &[u8]) -> bool {
    let magics = bytes.windows(MARKER_MAGIC.len()).enumerate().filter(|(_, window)| *window == MARKER_MAGIC);
    magics
        .filter_map(|(at, _)| bytes.get(at.checked_sub(FRAME_HEADER_BYTES)?..))
        .any(|bytes| matches!(read(bytes), Read::Frame(frame) if frame.head().is_some()))
}

/// The header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub epoch: u64,
    pub first_seq: u64,
    pub previous_head: Hash,
}

impl SegmentHeader {
    pub fn to_bytes(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.previous_head.0);
        let crc = crc32c::crc32c(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` unless every byte is as [`SegmentHeader::to_bytes`] wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let field = |from: usize| Some(u64::from_le_bytes(bytes.get(from..from + 8)?.try_into().ok()?));
        let (epoch, first_seq) = (field(8)?, field(16)?);
        let header = Self { epoch, first_seq, previous_head: Hash::from_slice(bytes.get(24..56)?)? };
        (bytes.get(..SEGMENT_HEADER_BYTES)? == header.to_bytes()).then_some(header)
    }
}

const SEGMENT_MAGIC: &[u8; 8] = b"LTjrnl1\n";
const MARKER_MAGIC: &[u8; 8] = b"LTcommit";
const TAG_SHIFT: u32 = 24;
const LENGTH_MASK: u32 = (1 << TAG_SHIFT) - 1;

fn checksum(head: &[u8; FRAME_HEADER_BYTES], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&head[..4]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &head[8..]), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn framed(tag: Tag, seq: u64, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        push(&mut frame, tag, seq, body);
        seal(&mut frame);
        frame
    }

    #[test]
    fn a_marker_carries_seq_and_head() {
        let head = crate::hash::leaf_hash(b"x");
        let marker = marker(77, &head);
        let Read::Frame(frame) = read(&marker) else { panic!("not a frame") };
        assert_eq!(
            (frame.tag, frame.seq, frame.head(), frame.size()),
            (Tag::Commit, 77, Some(head), MARKER_BYTES)
        );
        assert!(holds_marker(&[&[1, 2, 3][..], &marker].concat()));
        assert!(!holds_marker(&marker[1..]));
        assert!(!holds_marker(&marker[..MARKER_BYTES - 1]));
    }

    #[test]
    fn nothing_written_is_an_end() {
        assert_eq!(read(&[]), Read::End);
        assert_eq!(read(&[0; 5]), Read::End);
        assert_eq!(read(&[0; 100]), Read::End);
        assert!(matches!(read(&[0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), Read::Fault(_)));
        assert!(matches!(read(&[1, 0]), Read::Fault(_)));
    }

    #[test]
    fn a_header_is_read_only_as_written() {
        let header = SegmentHeader { epoch: 9, first_seq: 4, previous_head: crate::hash::leaf_hash(b"") };
        let bytes = header.to_bytes();
        assert_eq!(SegmentHeader::from_bytes(&bytes), Some(header));
        for bit in 0..8 * SEGMENT_HEADER_BYTES {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::from_bytes(&bytes), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn frames_come_back(body in prop::collection::vec(any::<u8>(), 0..600), seq in 1..u64::MAX) {
            for tag in [Tag::Record, Tag::Whole] {
                let frame = framed(tag, seq, &body);
                prop_assert_eq!(read(&frame), Read::Frame(Frame { tag, seq, body: &body }));
                prop_assert!(matches!(read(&frame[..frame.len() - 1]), Read::Fault(_)));
            }
        }

        #[test]
        fn a_flipped_bit_is_never_read_as_a_frame(
            body in prop::collection::vec(any::<u8>(), 0..100), bit in any::<prop::sample::Index>(),
        ) {
            let mut frame = framed(Tag::Record, 3, &body);
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(read(&frame), Read::Frame(_)));
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = holds_marker(&bytes);
            let _ = SegmentHeader::from_bytes(&bytes);
        }
    }
}
