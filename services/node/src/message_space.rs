//! Memory for messages under way. A message that arrives in one piece needs none of its own; one that spans pieces, or
//! that the filter makes anew, is held in a [`Frame`], and all frames of a node together are bounded, also those that
//! wait for a slow reader: a frame counts until its last byte was sent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{call::framing::PREFIX_BYTES, limits::FRAME_BYTES_UNCOUNTED};

/// The space. Clones share it.
#[derive(Debug, Clone)]
pub struct MessageSpace(Arc<Space>);

#[derive(Debug)]
struct Space {
    message_bytes_max: usize,
    held_max: usize,
    held: AtomicUsize,
}

impl MessageSpace {
    /// Space for frames of `held_max` bytes together, each of a message of at most `message_bytes_max`.
    pub fn new(message_bytes_max: usize, held_max: usize) -> Self {
        Self(Arc::new(Space { message_bytes_max, held_max, held: AtomicUsize::new(0) }))
    }

    /// Largest message, bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.0.message_bytes_max
    }

    /// Bytes that frames hold now.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// An empty frame that takes no memory yet.
    pub fn empty_frame(&self) -> Frame {
        Frame(Counted { bytes: Vec::new(), share: 0, space: self.clone() })
    }

    /// A frame for a message of about `capacity` bytes, its prefix still to be written.
    pub fn frame(&self, capacity: usize) -> Result<Frame, MeshError> {
        let mut frame = self.empty_frame();
        frame.reserve(PREFIX_BYTES + capacity)?;
        frame.buffer().extend_from_slice(&[0; PREFIX_BYTES]);
        Ok(frame)
    }

    fn take(&self, bytes: usize) -> Result<(), MeshError> {
        let before = self.0.held.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= self.0.held_max {
            return Ok(());
        }
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        let detail =
            format!("messages under way fill the limit message_bytes_held_max, {} bytes", self.0.held_max);
        Err(MeshError {
            retry_after_ms: Some(RETRY_AFTER_MS),
            ..MeshError::new(Reason::FailOverloaded, detail)
        })
    }
}

/// When a caller that found no space should try again.
const RETRY_AFTER_MS: u64 = 1_000;

/// A message with its prefix, while it is put together.
#[derive(Debug)]
pub struct Frame(Counted);

impl Frame {
    /// Bytes so far, prefix included.
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The message so far.
    pub fn message(&self) -> &[u8] {
        self.0.bytes.get(PREFIX_BYTES..).unwrap_or_default()
    }

    /// Where it is written. What is written beyond the reserved room is not counted.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0.bytes
    }

    /// Room for `capacity` bytes in all; `FAIL_OVERLOADED` where the node has none.
    pub fn reserve(&mut self, capacity: usize) -> Result<(), MeshError> {
        let held = &mut self.0;
        if capacity <= held.bytes.capacity() {
            return Ok(());
        }
        if capacity > FRAME_BYTES_UNCOUNTED {
            held.space.take(capacity - held.share)?;
            held.share = capacity;
        }
        held.bytes.reserve_exact(capacity - held.bytes.len());
        Ok(())
    }

    /// Writes the prefix, and gives the frame to be sent.
    pub fn finish(mut self, compressed: bool) -> Bytes {
        // INVARIANT: a filtered message is no longer than the message it was made from, which fits a u32; so does what
        // is packed from one.
        let length = u32::try_from(self.message().len()).unwrap_or(u32::MAX);
        if let Some(prefix) = self.0.bytes.get_mut(..PREFIX_BYTES) {
            prefix[0] = u8::from(compressed);
            prefix[1..].copy_from_slice(&length.to_be_bytes());
        }
        self.into_bytes()
    }

    /// The bytes as they are.
    pub fn into_bytes(mut self) -> Bytes {
        if self.0.share == 0 { std::mem::take(&mut self.0.bytes).into() } else { Bytes::from_owner(self.0) }
    }
}

/// Bytes that give their space back when the last of them is dropped.
#[derive(Debug)]
struct Counted {
    bytes: Vec<u8>,
    /// Its part of the space; none for a small one.
    share: usize,
    space: MessageSpace,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.share > 0 {
            self.space.0.held.fetch_sub(self.share, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_until_its_last_byte_is_gone() {
        let space = MessageSpace::new(1_000_000, 300_000);
        let mut frame = space.frame(200_000).unwrap();
        frame.buffer().extend_from_slice(&vec![7; 200_000]);
        let refused = space.frame(100_000).unwrap_err();
        assert_eq!(refused.reason, Reason::FailOverloaded);
        assert!(refused.detail.contains("message_bytes_held_max") && refused.retry_after_ms.is_some());

        let mut sent = frame.finish(false);
        assert_eq!(&sent[..PREFIX_BYTES], &[0, 0, 3, 13, 64]);
        let rest = sent.split_off(1000);
        drop(sent);
        assert_eq!(space.held(), 200_005);
        drop(rest);
        assert_eq!(space.held(), 0);
        space.frame(100_000).unwrap();
    }

    #[test]
    fn small_frames_are_not_counted() {
        let space = MessageSpace::new(1_000_000, 0);
        let frame = space.frame(1000).unwrap();
        assert_eq!((space.held(), frame.finish(true).len()), (0, PREFIX_BYTES));
    }
}
