//! The hash chain of a journal: each head commits to every record before it.
//!
//! h(0) is 32 zero bytes and h(i) = SHA-256(0x02 ‖ h(i-1) ‖ leaf hash(i)). The prefix 0x02 keeps a chain step
//! apart from a leaf (0x00) and a tree node (0x01) of RFC 6962, so that no hash can be taken for another.

use crate::hash::{HASH_BYTES, Hash, sha256};

/// The head before the first record of a journal.
pub const START: Hash = Hash([0; HASH_BYTES]);

/// The head after one more record.
pub fn step(head: &Hash, leaf: &Hash) -> Hash {
    let mut prefixed = [0x02_u8; 1 + 2 * HASH_BYTES];
    prefixed[1..=HASH_BYTES].copy_from_slice(&head.0);
    prefixed[1 + HASH_BYTES..].copy_from_slice(&leaf.0);
    sha256(&prefixed)
}

/// The head after many more records, in order.
pub fn advance<'a>(head: &Hash, leaves: impl IntoIterator<Item = &'a Hash>) -> Hash {
    leaves.into_iter().fold(*head, |head, leaf| step(&head, leaf))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::leaf_hash;

    #[test]
    fn a_step_is_the_prefixed_hash() {
        let leaf = leaf_hash(b"record");
        assert_eq!(step(&START, &leaf), sha256(&[&[2][..], &[0; 32], &leaf.0].concat()));
    }

    #[test]
    fn order_and_content_both_count() {
        let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
        assert_eq!(advance(&START, [&a, &b]), step(&step(&START, &a), &b));
        assert_ne!(advance(&START, [&a, &b]), advance(&START, [&b, &a]));
        assert_ne!(advance(&START, [&a]), advance(&START, [&a, &a]));
        assert_eq!(advance(&a, []), a);
    }
}
