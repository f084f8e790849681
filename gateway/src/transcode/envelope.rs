//! Messages of a stream, each behind five bytes: flags, and a big-endian length. gRPC and Connect write them alike; they
//! differ in what the flags mean.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Flags and length.
pub const PREFIX_BYTES: usize = 5;

/// The message is compressed.
pub const COMPRESSED: u8 = 0b1;

/// Connect: this is no message but the end of the stream.
pub const END_OF_STREAM: u8 = 0b10;

/// One envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// What it holds.
    pub flags: u8,
    /// The message.
    pub body: Bytes,
}

/// Why envelopes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than the reader takes.
    #[error("a message of {bytes} bytes; the limit is {max}")]
    TooLarge {
        /// What it announces.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The stream ends inside one.
    #[error("the stream ends inside a message")]
    CutOff,
}

/// Takes chunks, gives envelopes.
#[derive(Debug, Default)]
pub struct Envelopes(BytesMut);

impl Envelopes {
    /// More bytes.
    pub fn push(&mut self, chunk: &[u8]) {
        self.0.extend_from_slice(chunk);
    }

    /// Bytes that wait for the rest of their message.
    pub fn held(&self) -> usize {
        self.0.len()
    }

    /// The next whole one; `None` until more has come. One that announces more than `max` is refused before it comes.
    pub fn next(&mut self, max: usize) -> Result<Option<Envelope>, EnvelopeError> {
        let Some(prefix) = self.0.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let [flags, length @ ..] = *prefix;
        let bytes = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if bytes > max {
            return Err(EnvelopeError::TooLarge { bytes, max });
        }
        if self.0.len() < PREFIX_BYTES + bytes {
            return Ok(None);
        }
        self.0.advance(PREFIX_BYTES);
        Ok(Some(Envelope { flags, body: self.0.split_to(bytes).freeze() }))
    }

    /// At the end of the stream nothing may be left.
    pub fn finish(&self) -> Result<(), EnvelopeError> {
        if self.0.is_empty() { Ok(()) } else { Err(EnvelopeError::CutOff) }
    }
}

/// A message in its envelope. One longer than a length can say is cut to nothing by no caller: both sides bound theirs far
/// below.
pub fn sealed(flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + body.len());
    frame.put_u8(flags);
    frame.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    frame.put_slice(body);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_announced_too_large_is_refused_at_once() {
        let mut envelopes = Envelopes::default();
        envelopes.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(envelopes.next(10), Err(EnvelopeError::TooLarge { bytes: 0xffff_ffff, max: 10 }));
    }

    #[test]
    fn a_stream_does_not_end_inside_a_message() {
        let mut envelopes = Envelopes::default();
        envelopes.push(&[0, 0, 0, 0, 2, 7]);
        assert_eq!(envelopes.next(10), Ok(None));
        assert_eq!(envelopes.finish(), Err(EnvelopeError::CutOff));
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..50)), 0..6),
            cut in 1usize..20,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(flags, body)| sealed(*flags, body)).collect();
            let (mut envelopes, mut seen) = (Envelopes::default(), Vec::new());
            for chunk in bytes.chunks(cut) {
                envelopes.push(chunk);
                while let Some(envelope) = envelopes.next(50).unwrap() {
                    seen.push((envelope.flags, envelope.body.to_vec()));
                }
            }
            envelopes.finish().unwrap();
            prop_assert_eq!(seen, messages);
        }
    }
}
