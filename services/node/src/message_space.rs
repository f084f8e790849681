//! Memory for messages under way. A message that arrives in one piece needs none of its own; one that spans pieces, or
//! that the filter makes anew, is held in a [`Frame`], and all frames of a node together are bounded, also those that
//! wait for a slow reader: a frame counts until its last byte was sent.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{
    call::framing::PREFIX_BYTES,
    limits::{FRAME_BYTES_UNCOUNTED, MESSAGE_SHARES},
};

/// The space, or the share of one party in it. Clones are the same.
#[derive(Debug, Clone)]
pub struct MessageSpace {
    whole: Arc<Space>,
    /// What this party holds.
    share: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Space {
    message_bytes_max: usize,
    held_max: usize,
    held: AtomicUsize,
    shares: Mutex<HashMap<Box<str>, Arc<AtomicUsize>>>,
}

impl MessageSpace {
    /// Space for frames of `held_max` bytes together, each of a message of at most `message_bytes_max`.
    pub fn new(message_bytes_max: usize, held_max: usize) -> Self {
        let message_bytes_max = message_bytes_max.min(LENGTH_MAX);
        let (held, shares) = (AtomicUsize::new(0), Mutex::default());
        let whole = Space { message_bytes_max, held_max, held, shares };
        Self { whole: Arc::new(whole), share: Arc::default() }
    }

    /// The share of one party, at most one part of [`MESSAGE_SHARES`]: who lets large messages stand still holds up nobody
    /// else's.
    #[must_use]
    pub fn of(&self, party: &str) -> Self {
        let mut shares = self.whole.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = if let Some(known) = shares.get(party) {
            Arc::clone(known)
        } else {
            // Those that nobody uses are forgotten before the table would grow.
            if shares.len() == shares.capacity() {
                shares.retain(|_, share| Arc::strong_count(share) > 1);
            }
            Arc::clone(shares.entry(party.into()).or_default())
        };
        Self { whole: Arc::clone(&self.whole), share }
    }

    /// Largest message, bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.whole.message_bytes_max
    }

    /// Bytes that frames hold now.
    pub fn held(&self) -> usize {
        self.whole.held.load(Ordering::Relaxed)
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
        let Space { held, held_max, .. } = &*self.whole;
        let of_party = self.share.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_all = held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if of_all <= *held_max && of_party <= held_max / MESSAGE_SHARES {
            return Ok(());
        }
        self.give_back(bytes);
        let detail =
            format!("messages under way fill a party's share of message_bytes_held_max, {held_max} bytes");
        Err(MeshError {
            retry_after_ms: Some(RETRY_AFTER_MS),
            ..MeshError::new(Reason::FailOverloaded, detail)
        })
    }

    fn give_back(&self, bytes: usize) {
        self.share.fetch_sub(bytes, Ordering::Relaxed);
        self.whole.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Largest length that gRPC's prefix can say, less the mark that digests put in its place.
const LENGTH_MAX: usize = u32::MAX as usize - 1;

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

    /// Counts what the frame holds now that it is written, and gives back what it does not need; a message that grew
    /// beyond the limit (masking may lengthen values) is `FAIL_MESSAGE_TOO_LARGE`.
    pub fn settle(&mut self) -> Result<(), MeshError> {
        let limit = self.0.space.message_bytes_max();
        let length = self.message().len();
        if length > limit {
            let detail = format!("{length} bytes; the limit message_bytes_max is {limit}");
            return Err(MeshError::new(Reason::FailMessageTooLarge, detail));
        }
        let held = &mut self.0;
        if held.bytes.capacity() / 2 > held.bytes.len().max(FRAME_BYTES_UNCOUNTED) {
            held.bytes.shrink_to_fit();
        }
        let needed = if held.bytes.capacity() > FRAME_BYTES_UNCOUNTED { held.bytes.capacity() } else { 0 };
        if needed > held.share {
            held.space.take(needed - held.share)?;
        } else {
            held.space.give_back(held.share - needed);
        }
        held.share = needed;
        Ok(())
    }

    /// Writes the prefix, and gives the frame to be sent.
    pub fn finish(mut self, compressed: bool) -> Bytes {
        // INVARIANT: no message is longer than the limit of its space, which a prefix can say.
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
            self.space.give_back(self.share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_until_its_last_byte_is_gone() {
        let space = MessageSpace::new(1_000_000, 1_000_000);
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
    fn a_party_takes_no_more_than_its_share() {
        let space = MessageSpace::new(1_000_000, 1_000_000);
        let (one, other) = (space.of("G01"), space.of("G02"));
        let held = one.frame(200_000).unwrap();
        assert_eq!(space.of("G01").frame(100_000).unwrap_err().reason, Reason::FailOverloaded);
        other.frame(100_000).unwrap();
        drop(held);
        one.frame(100_000).unwrap();
        drop((one, other));
        for number in 0..10_000 {
            let _unused = space.of(&format!("H26.{number}"));
        }
        assert!(space.whole.shares.lock().unwrap().len() < 100, "who holds nothing is not forgotten");
    }

    #[test]
    fn a_frame_settles_to_what_it_holds() {
        let space = MessageSpace::new(500_000, 4_000_000);
        let mut frame = space.frame(400_000).unwrap();
        frame.buffer().extend_from_slice(&vec![1; 100_000]);
        frame.settle().unwrap();
        assert!(space.held() < 150_000, "{}", space.held());
        frame.buffer().extend_from_slice(&vec![1; 300_000]);
        frame.settle().unwrap();
        assert!(space.held() >= 400_000, "{}", space.held());
        frame.buffer().extend_from_slice(&vec![1; 300_000]);
        assert_eq!(frame.settle().unwrap_err().reason, Reason::FailMessageTooLarge);
        drop(frame);
        assert_eq!(space.held(), 0);
    }

    #[test]
    fn small_frames_are_not_counted() {
        let space = MessageSpace::new(1_000_000, 0);
        let frame = space.frame(1000).unwrap();
        assert_eq!((space.held(), frame.finish(true).len()), (0, PREFIX_BYTES));
    }
}
