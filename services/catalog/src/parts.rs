//! A bundle in parts: [`part`] cuts what one message cannot carry, [`Parts`] puts it together again.
//!
//! Like a delta ([`crate::delta`]) it is a way of carrying bytes and nothing more: what comes out counts only if the broker's
//! signature over the whole fits.

use lienthong_proto::lienthong::control::v1::{BundlePart, SignedBundle};

use crate::compile::BUNDLE_BYTES_MAX;

/// Bytes of a bundle in one part; a bundle of no more goes in one message. Small enough that whoever sends many bundles at
/// once copies little of each, and that a client's usual bound for a message (4 MiB) holds.
pub const PART_BYTES: usize = 1 << 20;

/// Why a part does not go on where the ones before ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// A part is missing, or came twice.
    #[error("a part of the rights bundle begins at byte {found}, the next one is at {expected}")]
    Gap {
        /// Where it begins, bytes.
        found: u64,
        /// Where it should, bytes.
        expected: u64,
    },
    /// A part with nothing in it: a bundle would never end.
    #[error("a part of the rights bundle at byte {0} is empty")]
    Empty(u64),
    /// More than a bundle may have.
    #[error("the parts make a rights bundle of more than {bytes_max} bytes")]
    TooLarge {
        /// The bound, bytes.
        bytes_max: usize,
    },
}

/// The part of `signed` that begins at `offset`, and where the next one does; `None` after the last.
pub fn part(signed: &SignedBundle, offset: usize) -> (BundlePart, Option<usize>) {
    let rest = signed.bundle.get(offset..).unwrap_or_default();
    let (bytes, after) = rest.split_at(rest.len().min(PART_BYTES));
    let mut part = BundlePart { offset: offset as u64, bytes: bytes.to_vec(), ..BundlePart::default() };
    if !after.is_empty() {
        return (part, Some(offset + bytes.len()));
    }
    part.key_name.clone_from(&signed.key_name);
    part.signature.clone_from(&signed.signature);
    (part, None)
}

/// A bundle that comes in parts.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
}

impl Parts {
    /// Takes the next part; with the last one, the whole bundle. Its signature is not checked here.
    ///
    /// # Errors
    /// [`PartError`]; what was taken before is gone then.
    pub fn take(&mut self, part: BundlePart) -> Result<Option<SignedBundle>, PartError> {
        self.take_within(part, BUNDLE_BYTES_MAX)
    }

    fn take_within(&mut self, part: BundlePart, bytes_max: usize) -> Result<Option<SignedBundle>, PartError> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if part.offset == 0 {
            bytes = Vec::new();
        }
        let expected = bytes.len() as u64;
        if part.offset != expected {
            return Err(PartError::Gap { found: part.offset, expected });
        }
        if part.bytes.is_empty() {
            return Err(PartError::Empty(part.offset));
        }
        if bytes.len() + part.bytes.len() > bytes_max {
            return Err(PartError::TooLarge { bytes_max });
        }
        bytes.extend_from_slice(&part.bytes);
        if part.signature.is_empty() {
            self.bytes = bytes;
            return Ok(None);
        }
        Ok(Some(SignedBundle { bundle: bytes, key_name: part.key_name, signature: part.signature }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn signed(bytes: usize) -> SignedBundle {
        let bundle = (0..=250_u8).cycle().take(bytes).collect();
        SignedBundle { bundle, key_name: "bundle-1".to_owned(), signature: vec![7; 64] }
    }

    fn cut(signed: &SignedBundle) -> Vec<BundlePart> {
        let mut parts = Vec::new();
        let mut offset = Some(0);
        while let Some(at) = offset {
            let (one, next) = part(signed, at);
            parts.push(one);
            offset = next;
        }
        parts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_cut_is_put_together_again(bytes in 1..=3 * PART_BYTES, around in 0_usize..=2) {
            for bytes in [bytes, around + PART_BYTES - 1, around + 2 * PART_BYTES - 1] {
                let whole = signed(bytes);
                let parts = cut(&whole);
                prop_assert_eq!(parts.len(), bytes.div_ceil(PART_BYTES));
                let mut taken = Parts::default();
                let (last, before) = parts.split_last().unwrap();
                for one in before {
                    prop_assert_eq!(taken.take(one.clone()), Ok(None));
                }
                prop_assert_eq!(taken.take(last.clone()), Ok(Some(whole)));
            }
        }
    }

    #[test]
    fn a_part_that_does_not_go_on_is_refused_and_what_was_before_it_is_gone() {
        let parts = cut(&signed(3 * PART_BYTES));
        let part_bytes = PART_BYTES as u64;
        let mut taken = Parts::default();
        assert_eq!(taken.take(parts[0].clone()), Ok(None));
        assert_eq!(
            taken.take(parts[2].clone()),
            Err(PartError::Gap { found: 2 * part_bytes, expected: part_bytes })
        );
        assert_eq!(
            taken.take(parts[1].clone()),
            Err(PartError::Gap { found: part_bytes, expected: 0 }),
            "nothing is held any more"
        );
        let nothing = BundlePart { offset: 0, ..BundlePart::default() };
        assert_eq!(taken.take(nothing), Err(PartError::Empty(0)));
    }

    #[test]
    fn a_first_part_begins_a_bundle_anew() {
        let parts = cut(&signed(2 * PART_BYTES));
        let mut taken = Parts::default();
        assert_eq!(taken.take(parts[0].clone()), Ok(None));
        assert_eq!(taken.take(parts[0].clone()), Ok(None));
        assert_eq!(taken.take(parts[1].clone()), Ok(Some(signed(2 * PART_BYTES))));
    }

    #[test]
    fn no_more_is_gathered_than_a_bundle_may_have() {
        let parts = cut(&signed(3 * PART_BYTES));
        let mut taken = Parts::default();
        let bytes_max = 2 * PART_BYTES;
        assert_eq!(taken.take_within(parts[0].clone(), bytes_max), Ok(None));
        assert_eq!(taken.take_within(parts[1].clone(), bytes_max), Ok(None));
        assert_eq!(taken.take_within(parts[2].clone(), bytes_max), Err(PartError::TooLarge { bytes_max }));
    }
}
