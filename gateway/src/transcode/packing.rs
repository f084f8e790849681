//! Compression of what callers send: gzip, unpacked no further than a bound. Answers go as they are.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

/// What a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// gzip (RFC 1952).
    Gzip,
}

/// What callers may name, for those who named something else.
pub const UNDERSTOOD: &str = "identity, gzip";

/// Why it cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackingError {
    /// More comes out than may.
    #[error("it unpacks to more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// It is damaged.
    #[error("it is not gzip")]
    Damaged,
}

impl Packing {
    /// What a header's value names; nothing is as it is.
    pub fn named(value: Option<&[u8]>) -> Option<Self> {
        match value {
            None | Some(b"" | b"identity") => Some(Self::Plain),
            Some(b"gzip") => Some(Self::Gzip),
            Some(_) => None,
        }
    }

    /// Unpacks one message.
    pub fn unpack(self, packed: Bytes, max: usize) -> Result<Bytes, PackingError> {
        match self {
            Self::Plain => Ok(packed),
            Self::Gzip => {
                let mut plain = Vec::new();
                let mut unpacking = MultiGzDecoder::new(&*packed).take(max as u64 + 1);
                unpacking.read_to_end(&mut plain).map_err(|_| PackingError::Damaged)?;
                if plain.len() > max { Err(PackingError::TooLarge { max }) } else { Ok(plain.into()) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(plain: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        let bomb = packed(&vec![0; 10_000_000]);
        assert!(bomb.len() < 20_000);
        assert_eq!(Packing::Gzip.unpack(bomb, 1_000), Err(PackingError::TooLarge { max: 1_000 }));
    }

    #[test]
    fn what_was_packed_is_unpacked_and_rubbish_is_named() {
        assert_eq!(Packing::Gzip.unpack(packed(b"{}"), 2), Ok(Bytes::from_static(b"{}")));
        assert_eq!(Packing::Gzip.unpack(Bytes::from_static(b"{}"), 2), Err(PackingError::Damaged));
        assert_eq!(Packing::named(Some(b"br")), None);
        assert_eq!(Packing::named(None), Some(Packing::Plain));
    }
}
