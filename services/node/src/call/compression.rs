//! Per-message compression (gRPC, "Message-Encoding"). A node reads messages as they are: what arrives compressed is
//! unpacked for filter and digest, within the limit of a message, and an answer leaves as its backend chose to send it.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue};
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::message_space::MessageSpace;

/// Which encoding compressed messages of one direction have.
pub const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Which encodings the sender of a request understands in its answer.
pub const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Level of the answers that the node packs again: the quickest, because a traffic thread does it.
const GZIP_LEVEL: u32 = 1;
/// The same for zstd.
const ZSTD_LEVEL: i32 = 1;
/// Largest window that a zstd message may ask for, as a power of two: 8 MiB, what RFC 8878 recommends to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How the compressed messages of one direction are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// The encoding that a head announces; `FAIL_UNSUPPORTED_ENCODING` for one that the mesh cannot read.
    pub fn read(headers: &HeaderMap) -> Result<Self, MeshError> {
        match headers.get(&ENCODING).map(HeaderValue::as_bytes) {
            None => Ok(Self::Identity),
            Some(name) => Self::from_name(name.trim_ascii()).ok_or_else(|| {
                MeshError::new(
                    Reason::FailUnsupportedEncoding,
                    "grpc-encoding must be identity, gzip or zstd",
                )
            }),
        }
    }

    /// The header that announces it; `None` for no compression.
    pub fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some(HeaderValue::from_static("gzip")),
            Self::Zstd => Some(HeaderValue::from_static("zstd")),
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"identity" => Some(Self::Identity),
            b"gzip" => Some(Self::Gzip),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The message inside a compressed one; at most `bytes_max` of it.
    pub fn unpack(self, packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, MeshError> {
        match self {
            Self::Identity => {
                Err(malformed("a message is compressed, though its head announces no encoding"))
            }
            Self::Gzip => read_within(MultiGzDecoder::new(packed), packed.len(), bytes_max),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(|_| broken())?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| broken())?;
                read_within(decoder, packed.len(), bytes_max)
            }
        }
    }

    /// A message as a compressed frame.
    pub fn pack(self, message: &[u8], space: &MessageSpace) -> Result<Bytes, MeshError> {
        // What cannot be packed grows by a few bytes.
        let mut frame = space.frame(message.len())?;
        match self {
            Self::Identity => return Err(malformed("nothing to pack a message with")),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(frame.buffer(), Compression::new(GZIP_LEVEL));
                encoder.write_all(message).and_then(|()| encoder.finish().map(drop)).map_err(|_| broken())?;
            }
            Self::Zstd => {
                zstd::stream::copy_encode(message, frame.buffer(), ZSTD_LEVEL).map_err(|_| broken())?;
            }
        }
        frame.settle()?;
        Ok(frame.finish(true))
    }
}

/// What the next hop is told that its answer may be compressed with: what the caller and the mesh both understand.
pub fn accepted(headers: &HeaderMap) -> HeaderValue {
    let named = |wanted: &[u8]| {
        headers
            .get_all(&ACCEPT_ENCODING)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|name| name.trim_ascii() == wanted)
    };
    HeaderValue::from_static(match (named(b"gzip"), named(b"zstd")) {
        (false, false) => "identity",
        (true, false) => "identity,gzip",
        (false, true) => "identity,zstd",
        (true, true) => "identity,gzip,zstd",
    })
}

/// What a caller is told who used an encoding that the mesh cannot read.
pub const UNDERSTOOD: HeaderValue = HeaderValue::from_static("identity,gzip,zstd");

/// Reads at most `bytes_max` bytes, however small the packed form was.
fn read_within(reader: impl Read, packed_length: usize, bytes_max: usize) -> Result<Vec<u8>, MeshError> {
    let mut message = Vec::with_capacity(packed_length.saturating_mul(2).min(bytes_max));
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    reader.take(limit.saturating_add(1)).read_to_end(&mut message).map_err(|_| broken())?;
    if message.len() > bytes_max {
        return Err(MeshError::new(
            Reason::FailMessageTooLarge,
            format!("more than {bytes_max} bytes once unpacked, the limit message_bytes_max"),
        ));
    }
    Ok(message)
}

fn broken() -> MeshError {
    malformed("a compressed message cannot be unpacked")
}

fn malformed(detail: &str) -> MeshError {
    MeshError::new(Reason::FailMalformedMessage, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::framing::PREFIX_BYTES;

    fn space() -> MessageSpace {
        MessageSpace::new(2_000_000, 8_000_000)
    }

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    #[test]
    fn a_small_message_cannot_unpack_into_a_large_one() {
        for encoding in BOTH {
            let bomb = encoding.pack(&vec![0; 1_000_001], &space()).unwrap();
            assert!(bomb.len() < 10_000);
            let error = encoding.unpack(&bomb[PREFIX_BYTES..], 1_000_000).unwrap_err();
            assert_eq!(error.reason, Reason::FailMessageTooLarge);
            assert!(error.detail.contains("message_bytes_max"));
        }
    }

    #[test]
    fn nothing_hides_behind_the_first_part() {
        let part = |text: &[u8]| Encoding::Gzip.pack(text, &space()).unwrap()[PREFIX_BYTES..].to_vec();
        let two = [part(b"one"), part(b"two")].concat();
        assert_eq!(Encoding::Gzip.unpack(&two, 1000).unwrap(), b"onetwo");
        let and_rubbish = [part(b"one"), b"rubbish".to_vec()].concat();
        assert!(Encoding::Gzip.unpack(&and_rubbish, 1000).is_err());
    }

    #[test]
    fn what_is_cut_off_is_malformed() {
        for encoding in BOTH {
            let packed = encoding.pack(b"mot cua lien thong, mot cua lien thong", &space()).unwrap();
            let error = encoding.unpack(&packed[PREFIX_BYTES..packed.len() - 3], 1000).unwrap_err();
            assert_eq!(error.reason, Reason::FailMalformedMessage);
        }
        assert!(Encoding::Identity.unpack(b"", 1000).is_err());
    }

    #[test]
    fn only_what_both_understand_is_offered() {
        let mut headers = HeaderMap::new();
        assert_eq!(accepted(&headers), "identity");
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("identity, deflate,gzip"));
        assert_eq!(accepted(&headers), "identity,gzip");
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("zstd"));
        assert_eq!(accepted(&headers), "identity,gzip,zstd");
    }

    #[test]
    fn an_unknown_encoding_is_refused_by_name() {
        let mut headers = HeaderMap::new();
        assert_eq!(Encoding::read(&headers).unwrap(), Encoding::Identity);
        headers.insert(ENCODING, HeaderValue::from_static("deflate"));
        assert_eq!(Encoding::read(&headers).unwrap_err().reason, Reason::FailUnsupportedEncoding);
    }

    proptest::proptest! {
        #[test]
        fn what_is_packed_unpacks(message in proptest::collection::vec(0u8..=255, 0..3000)) {
            for encoding in BOTH {
                let packed = encoding.pack(&message, &space()).unwrap();
                proptest::prop_assert_eq!(packed[0], 1);
                proptest::prop_assert_eq!(&encoding.unpack(&packed[PREFIX_BYTES..], 3000).unwrap(), &message);
            }
        }

        #[test]
        fn rubbish_never_panics(packed in proptest::collection::vec(0u8..=255, 0..300)) {
            for encoding in BOTH {
                let _ = encoding.unpack(&packed, 1000);
            }
        }
    }
}
