//! SHA-256 hashes and the leaf and node hashing of RFC 6962 §2.1.

use std::fmt;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Bytes in a hash.
pub const HASH_BYTES: usize = 32;

/// The root of the empty tree: SHA-256 of nothing (RFC 6962 §2.1).
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// The hash of a log entry: SHA-256(0x00 ‖ entry) (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    // The one-shot digest is far cheaper than a streaming one, and nearly every entry fits the stack.
    let mut prefixed = [0_u8; LEAF_STACK_BYTES];
    match prefixed.get_mut(1..=entry.len()) {
        Some(body) => {
            body.copy_from_slice(entry);
            sha256(&prefixed[..=entry.len()])
        }
        None => sha256(&[&[0x00], entry].concat()),
    }
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut prefixed = [0x01_u8; 1 + 2 * HASH_BYTES];
    prefixed[1..=HASH_BYTES].copy_from_slice(&left.0);
    prefixed[1 + HASH_BYTES..].copy_from_slice(&right.0);
    sha256(&prefixed)
}

/// Plain SHA-256 of some bytes, without any prefix.
pub fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Hash(hash)
}

/// A SHA-256 hash. Prints as lower-case hex; texts of the C2SP formats use [`Hash::to_base64`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, std::hash::Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// The bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// A hash from exactly 32 bytes; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Standard base64 with padding (RFC 4648 §4), as checkpoints and proofs print it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads [`Hash::to_base64`]; `None` unless the text is the canonical base64 of exactly 32 bytes.
    pub fn from_base64(text: &str) -> Option<Self> {
        Self::from_slice(&STANDARD.decode(text).ok()?)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Entries shorter than this are hashed from the stack.
const LEAF_STACK_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_rfc_6962() {
        // The vectors of the Certificate Transparency reference tests.
        assert_eq!(sha256(b""), EMPTY_ROOT);
        let empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(leaf_hash(b"").to_string(), empty_leaf);
        let leaf = "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56";
        assert_eq!(leaf_hash(b"L123456").to_string(), leaf);
        let node = "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb";
        assert_eq!(sha256(b"\x01N123N456").to_string(), node);
    }

    #[test]
    fn leaf_hash_is_the_same_on_stack_and_heap() {
        for length in [0, 1, 1022, 1023, 1024, 1025, 70_000] {
            let entry = vec![0x5a; length];
            assert_eq!(leaf_hash(&entry), sha256(&[&[0][..], &entry].concat()), "{length} bytes");
        }
    }

    #[test]
    fn node_hash_is_prefixed() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        assert_eq!(node_hash(&left, &right), sha256(&[&[1][..], &left.0, &right.0].concat()));
    }

    #[test]
    fn base64_is_strict() {
        let hash = leaf_hash(b"x");
        assert_eq!(Hash::from_base64(&hash.to_base64()), Some(hash));
        for bad in ["", "AAAA", &hash.to_base64()[1..], &format!("{}=", hash.to_base64()), " "] {
            assert_eq!(Hash::from_base64(bad), None, "{bad:?}");
        }
    }
}
