//! gRPC's length-prefixed messages inside HTTP/2 data frames (gRPC over HTTP/2, "Length-Prefixed-Message"):
//! cut into whole messages, without copying one that arrives in one piece.

use bytes::{Buf, Bytes, BytesMut};
use lienthong_proto::{reason::Reason, status::MeshError};

/// Compression flag and big-endian length.
pub const PREFIX_BYTES: usize = 5;

/// Cuts a stream of chunks into whole messages.
#[derive(Debug)]
pub struct Deframer {
    /// The chunk being read.
    chunk: Bytes,
    /// The beginning of a message that spans chunks; empty otherwise.
    partial: BytesMut,
    message_bytes_max: usize,
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
    /// A deframer that refuses messages above this size, bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { chunk: Bytes::new(), partial: BytesMut::new(), message_bytes_max }
    }

    /// Hands over a chunk. The messages before it must have been taken with [`Self::next_message`].
    pub fn push(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "a chunk was pushed before the last was read");
        self.chunk = chunk;
    }

    /// The next whole message; `None` until more chunks come.
    pub fn next_message(&mut self) -> Result<Option<Message>, MeshError> {
        if !self.partial.is_empty() {
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
            self.partial.reserve(whole);
        }
        self.partial.extend_from_slice(&self.chunk);
        self.chunk = Bytes::new();
        Ok(None)
    }

    /// True where nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.chunk.is_empty()
    }

    /// At the end of the stream: no message may be cut off.
    pub fn finish(&self) -> Result<(), MeshError> {
        if self.is_empty() {
            return Ok(());
        }
        Err(malformed("the stream ends inside a message"))
    }

    fn next_across_chunks(&mut self) -> Result<Option<Message>, MeshError> {
        if self.partial.len() < PREFIX_BYTES {
            self.take(PREFIX_BYTES);
            if self.partial.len() < PREFIX_BYTES {
                return Ok(None);
            }
        }
        let whole = self.whole_length(&self.partial)?;
        self.partial.reserve(whole - self.partial.len());
        self.take(whole);
        Ok((self.partial.len() == whole).then(|| Message(self.partial.split().freeze())))
    }

    /// Moves bytes of the chunk to the partial message until that has `length` bytes.
    fn take(&mut self, length: usize) {
        let count = (length - self.partial.len()).min(self.chunk.len());
        self.partial.extend_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
    }

    fn whole_length(&self, prefix: &[u8]) -> Result<usize, MeshError> {
        if prefix[0] > 1 {
            return Err(malformed("a message has an unknown compression flag"));
        }
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if length > self.message_bytes_max {
            return Err(MeshError::new(
                Reason::FailMessageTooLarge,
                format!("{length} bytes; the limit message_bytes_max is {}", self.message_bytes_max),
            ));
        }
        Ok(PREFIX_BYTES + length)
    }
}

/// Begins a frame whose message is appended next; [`finish_frame`] writes its length.
pub fn begin_frame(capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(PREFIX_BYTES + capacity);
    frame.extend_from_slice(&[0; PREFIX_BYTES]);
    frame
}

/// Writes the length of the message that was appended.
pub fn finish_frame(mut frame: Vec<u8>) -> Bytes {
    // INVARIANT: a filtered message is no longer than the message it was made from, which fits a u32; so does what is
    // packed from one.
    let length = u32::try_from(frame.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
    frame[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    frame.into()
}

/// A message as an uncompressed frame.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = begin_frame(message.len());
    frame.extend_from_slice(message);
    finish_frame(frame)
}

fn malformed(detail: &str) -> MeshError {
    MeshError::new(Reason::FailMalformedMessage, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream_of(messages: &[Vec<u8>]) -> Vec<u8> {
        messages.iter().flat_map(|message| framed(message)).collect()
    }

    fn read_all(chunks: Vec<Bytes>) -> Result<Vec<Vec<u8>>, MeshError> {
        let mut deframer = Deframer::new(1000);
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
        let mut deframer = Deframer::new(1000);
        deframer.push(chunk);
        assert_eq!(deframer.next_message().unwrap().unwrap().into_frame().as_ptr(), start);
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
