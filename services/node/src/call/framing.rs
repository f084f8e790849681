//! gRPC's length-prefixed messages inside HTTP/2 data frames (gRPC over HTTP/2, "Length-Prefixed-Message"):
//! cut into whole messages, without copying one that arrives in one piece.

use bytes::{Buf, Bytes};
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{
    limits::FRAME_BYTES_UNCOUNTED,
    message_space::{Frame, MessageSpace},
};

/// Compression flag and big-endian length.
pub const PREFIX_BYTES: usize = 5;

/// Cuts a stream of chunks into whole messages.
#[derive(Debug)]
pub struct Deframer {
    /// The chunk being read.
    chunk: Bytes,
    /// The beginning of a message that spans chunks; empty otherwise.
    partial: Frame,
    space: MessageSpace,
}

/// One message with its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Bytes);

impl Message {
    /// The message as its sender encoded it; still compressed where [`Self::is_compressed`].
    pub fn body(&self) -> &[u8] {
        &self.0[PREFIX_BYTES..]
    }

    /// True where the sender compressed this message.
    pub fn is_compressed(&self) -> bool {
        self.0[0] == 1
    }

    /// Prefix and message, to send on as they are.
    pub fn into_frame(self) -> Bytes {
        self.0
    }
}

impl Deframer {
    /// A deframer that refuses messages above the limit of this space.
    pub fn new(space: &MessageSpace) -> Self {
        Self { chunk: Bytes::new(), partial: space.empty_frame(), space: space.clone() }
    }

    /// Hands over a chunk. The messages before it must have been taken with [`Self::next_message`].
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "a chunk was pushed before the last was read");
        self.chunk = chunk;
    }

    /// The next whole message; `None` until more chunks come.
    pub fn next_message(&mut self) -> Result<Option<Message>, MeshError> {
        if !self.partial.bytes().is_empty() {
            return self.next_across_chunks();
        }
        if self.chunk.is_empty() {
            return Ok(None);
        }
        if self.chunk.len() >= PREFIX_BYTES {
            let whole = self.whole_length(&self.chunk)?;
            if self.chunk.len() >= whole {
                return Ok(Some(Message(self.chunk.split_to(whole))));
            }
            self.make_room(whole)?;
        }
        self.partial.buffer().extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        Ok(None)
    }

    /// Where its messages are held.
    pub fn space(&self) -> &MessageSpace {
        &self.space
    }

    /// True where nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.partial.bytes().is_empty() && self.chunk.is_empty()
    }

    /// At the end of the stream: no message may be cut off.
    pub fn finish(&self) -> Result<(), MeshError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(malformed("the stream ends inside a message"))
    }

    fn next_across_chunks(&mut self) -> Result<Option<Message>, MeshError> {
        if self.partial.bytes().len() < PREFIX_BYTES {
            self.take(PREFIX_BYTES);
            if self.partial.bytes().len() < PREFIX_BYTES {
                return Ok(None);
            }
        }
        let whole = self.whole_length(self.partial.bytes())?;
        self.make_room(whole)?;
        self.take(whole);
        if self.partial.bytes().len() < whole {
            return Ok(None);
        }
        let whole = std::mem::replace(&mut self.partial, self.space.empty_frame());
        Ok(Some(Message(whole.into_bytes())))
    }

    /// Room for the chunk, and for as much again as has come: a prefix alone, whatever length it announces, takes no
    /// memory.
    fn make_room(&mut self, whole: usize) -> Result<(), MeshError> {
        let come = self.partial.bytes().len() + self.chunk.len();
        if come <= self.partial.buffer().capacity() {
            return Ok(());
        }
        self.partial.reserve(whole.min((2 * come).max(FRAME_BYTES_UNCOUNTED)))
    }

    /// Moves bytes of the chunk to the partial message until that has `length` bytes.
    fn take(&mut self, length: usize) {
        let count = (length - self.partial.bytes().len()).min(self.chunk.len());
        self.partial.buffer().extend_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
    }

    fn whole_length(&self, prefix: &[u8]) -> Result<usize, MeshError> {
        if prefix[0] > 1 {
            return Err(malformed("a message has an unknown compression flag"));
        }
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let limit = self.space.message_bytes_max();
        if length > limit {
            let detail = format!("{length} bytes; the limit message_bytes_max is {limit}");
            return Err(MeshError::new(Reason::FailMessageTooLarge, detail));
        }
        Ok(PREFIX_BYTES + length)
    }
}

fn malformed(detail: &str) -> MeshError {
    MeshError::new(Reason::FailMalformedMessage, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(messages: &[Vec<u8>]) -> Vec<u8> {
        let framed = |message: &Vec<u8>| {
            let mut frame = space().frame(message.len()).unwrap();
            frame.buffer().extend_from_slice(message);
            frame.finish(false)
        };
        messages.iter().flat_map(framed).collect()
    }

    fn space() -> MessageSpace {
        MessageSpace::new(1000, 1_000_000)
    }

    fn read_all(chunks: Vec<Bytes>) -> Result<Vec<Vec<u8>>, MeshError> {
        let mut deframer = Deframer::new(&space());
        let mut messages = Vec::new();
        for chunk in chunks {
            deframer.push(chunk);
            while let Some(message) = deframer.next_message()? {
                messages.push(message.body().to_vec());
            }
        }
        deframer.finish().map(|()| messages)
    }

    #[test]
    fn a_message_in_one_piece_is_not_copied() {
        let chunk = Bytes::from(stream_of(&[vec![7; 100]]));
        let start = chunk.as_ptr();
        let mut deframer = Deframer::new(&space());
        deframer.push(chunk);
        assert_eq!(deframer.next_message().unwrap().unwrap().into_frame().as_ptr(), start);
    }

    #[test]
    fn a_message_in_pieces_takes_no_more_memory_than_has_come() {
        let space = MessageSpace::new(16_000_000, 80_000_000);
        let mut deframer = Deframer::new(&space);
        let length = 15_000_000u32;
        deframer.push([&[0][..], &length.to_be_bytes()].concat().into());
        assert_eq!(deframer.next_message().unwrap(), None);
        assert_eq!(space.held(), 0, "a prefix is no message");
        let piece = Bytes::from(vec![7; 1_000_000]);
        for count in 1..15 {
            deframer.push(piece.clone());
            assert_eq!(deframer.next_message().unwrap(), None);
            assert!(space.held() <= 2 * count * piece.len() + 100, "{} held after {count}", space.held());
        }
        deframer.push(piece);
        let message = deframer.next_message().unwrap().unwrap();
        assert_eq!(message.body().len(), 15_000_000);
        assert_eq!(space.held(), 15_000_005);
        drop(message);
        assert_eq!(space.held(), 0);
    }

    #[test]
    fn limits_and_flags_are_named() {
        let too_large = read_all(vec![stream_of(&[vec![0; 1001]]).into()]).unwrap_err();
        assert_eq!(too_large.reason, Reason::FailMessageTooLarge);
        assert!(too_large.detail.contains("message_bytes_max"));
        for flag in [2, 255] {
            let error = read_all(vec![Bytes::from(vec![flag, 0, 0, 0, 0])]).unwrap_err();
            assert_eq!(error.reason, Reason::FailMalformedMessage);
        }
        assert!(read_all(vec![Bytes::from_static(&[0, 0, 0, 0, 9, 1])]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            messages in proptest::collection::vec(proptest::collection::vec(0u8..=255, 0..50), 0..6),
            cuts in proptest::collection::vec(1usize..20, 1..40),
        ) {
            let stream = stream_of(&messages);
            let mut rest = Bytes::from(stream);
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                chunks.push(rest.split_to((*cut).min(rest.len())));
            }
            proptest::prop_assert_eq!(read_all(chunks).unwrap(), messages);
        }

        #[test]
        fn rubbish_never_panics(chunks in proptest::collection::vec(proptest::collection::vec(0u8..=255, 0..40), 0..10)) {
            let _ = read_all(chunks.into_iter().map(Bytes::from).collect());
        }
    }
}
