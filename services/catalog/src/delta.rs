//! A bundle by its difference from the one before: [`between`] finds it, [`apply`] puts the new one together again.
//!
//! Most changes touch one right of thousands, and a bundle carries whole contracts besides. A delta says which ranges of
//! the old bytes to take over and what to insert between them. It is a way of carrying bytes and nothing more: it means
//! nothing by itself, and what comes out counts only if the broker's signature over the new bundle fits.
//!
//! The unit that is looked for is one top-level field: a right, a dataset, a contract.

use hashbrown::HashMap;
use lienthong_proto::lienthong::control::v1::bundle_delta::Piece;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

/// Pieces of one delta. What would need more is cheaper sent whole.
pub const PIECES_MAX: usize = 65_536;

/// Why a delta leads to no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// A piece reaches beyond the bundle that is held.
    #[error("piece {piece} of the delta takes over bytes that the bundle held has not")]
    OutOfRange {
        /// Which piece, from 0.
        piece: usize,
    },
    /// The result would be larger than a bundle may be.
    #[error("the delta makes a bundle of more than {bytes_max} bytes")]
    TooLarge {
        /// The bound, bytes.
        bytes_max: usize,
    },
    /// More pieces than a delta may have.
    #[error("the delta has more than {PIECES_MAX} pieces")]
    TooManyPieces,
}

/// The difference that leads from `base` to `target`; `None` where it would be no shorter than half of `target`.
pub fn between(base: &[u8], target: &[u8]) -> Option<Vec<Piece>> {
    // Megabytes are hashed here, for each node of the mesh.
    let places: HashMap<&[u8], usize> = fields(base).map(|(at, field)| (field, at)).collect();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open = Open::default();
    let mut inserted = 0;
    for (_, field) in fields(target) {
        if open.goes_on(base, field) {
            open.copy_bytes += field.len();
            continue;
        }
        if let Some(&copy_from) = places.get(field) {
            open.close_into(&mut pieces);
            open = Open { copy_from, copy_bytes: field.len(), insert: Vec::new() };
        } else {
            inserted += field.len();
            open.insert.extend_from_slice(field);
        }
        if inserted > target.len() / 2 || pieces.len() >= PIECES_MAX {
            return None;
        }
    }
    open.close_into(&mut pieces);
    Some(pieces)
}

/// What `pieces` make of `base`; at most `bytes_max` bytes.
///
/// # Errors
/// [`DeltaError`], for pieces that no broker would send about this base.
pub fn apply(base: &[u8], pieces: &[Piece], bytes_max: usize) -> Result<Vec<u8>, DeltaError> {
    if pieces.len() > PIECES_MAX {
        return Err(DeltaError::TooManyPieces);
    }
    let mut target = Vec::with_capacity(base.len().min(bytes_max));
    for (piece, Piece { copy_from, copy_bytes, insert }) in pieces.iter().enumerate() {
        let taken = range(*copy_from, *copy_bytes).and_then(|range| base.get(range));
        let taken = taken.ok_or(DeltaError::OutOfRange { piece })?;
        if target.len() + taken.len() + insert.len() > bytes_max {
            return Err(DeltaError::TooLarge { bytes_max });
        }
        target.extend_from_slice(taken);
        target.extend_from_slice(insert);
    }
    Ok(target)
}

fn range(from: u64, bytes: u64) -> Option<std::ops::Range<usize>> {
    let end = from.checked_add(bytes)?;
    Some(usize::try_from(from).ok()?..usize::try_from(end).ok()?)
}

/// The piece that is being made.
#[derive(Default)]
struct Open {
    copy_from: usize,
    copy_bytes: usize,
    insert: Vec<u8>,
}

impl Open {
    /// True where `field` is what follows in the base.
    fn goes_on(&self, base: &[u8], field: &[u8]) -> bool {
        let end = self.copy_from + self.copy_bytes;
        self.insert.is_empty() && base[end..].starts_with(field)
    }

    fn close_into(&mut self, pieces: &mut Vec<Piece>) {
        let Open { copy_from, copy_bytes, insert } = std::mem::take(self);
        if copy_bytes > 0 || !insert.is_empty() {
            let (copy_from, copy_bytes) = (copy_from as u64, copy_bytes as u64);
            pieces.push(Piece { copy_from, copy_bytes, insert });
        }
    }
}

/// The top-level fields of a message, each with its place, key included. What is no field ends it as one last item.
fn fields(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let (place, field) = (at, &rest[..field_bytes(rest).unwrap_or(rest.len())]);
        at += field.len();
        Some((place, field))
    })
}

/// Length of the field that `bytes` begin with.
fn field_bytes(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    let (tag, wire_type) = decode_key(&mut rest).ok()?;
    if wire_type == WireType::EndGroup {
        return None;
    }
    skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?;
    Some(bytes.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::control::v1::{Contract, Right, RightsBundle};
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    fn bundle(epoch: u64, rights: &[u16]) -> RightsBundle {
        let right = |id: &u16| Right { id: format!("CE-{id:04}/H26/QUERY"), ..Right::default() };
        let contract = Contract { descriptor_set: vec![7; 5_000].into(), ..Contract::default() };
        RightsBundle {
            mesh: "vn-test".to_owned(),
            epoch,
            contracts: vec![contract],
            rights: rights.iter().map(right).collect(),
            ..RightsBundle::default()
        }
    }

    #[test]
    fn one_right_less_and_one_more_is_a_few_bytes() {
        let before = bundle(7, &(0..1_000).collect::<Vec<_>>()).encode_to_vec();
        let mut ids: Vec<u16> = (0..1_000).filter(|id| *id != 500).collect();
        ids.insert(700, 2_000);
        let after = bundle(8, &ids).encode_to_vec();
        let pieces = between(&before, &after).unwrap();
        let bytes: usize = pieces.iter().map(Message::encoded_len).sum();
        assert!(bytes < 100 && pieces.len() <= 4, "{bytes} bytes, {} pieces", pieces.len());
        assert_eq!(apply(&before, &pieces, BYTES_MAX).unwrap(), after);
    }

    #[test]
    fn what_has_little_in_common_is_sent_whole() {
        let before = bundle(7, &[1]).encode_to_vec();
        let after: Vec<u8> = RightsBundle { mesh: "other".into(), ..RightsBundle::default() }.encode_to_vec();
        assert_eq!(between(&before, &after), None);
    }

    #[test]
    fn pieces_that_reach_outside_are_refused() {
        let piece = |copy_from, copy_bytes| Piece { copy_from, copy_bytes, insert: Vec::new() };
        for outside in [piece(0, 4), piece(4, 1), piece(u64::MAX, 1), piece(1, u64::MAX)] {
            assert_eq!(apply(b"abc", &[piece(0, 3), outside], 99), Err(DeltaError::OutOfRange { piece: 1 }));
        }
        assert_eq!(apply(b"abc", &[piece(0, 3), piece(0, 1)], 3), Err(DeltaError::TooLarge { bytes_max: 3 }));
        assert_eq!(apply(b"", &vec![piece(0, 0); PIECES_MAX + 1], 3), Err(DeltaError::TooManyPieces));
    }

    proptest! {
        #[test]
        fn a_delta_leads_to_the_very_bytes(
            before in prop::collection::vec(0u16..64, 0..40),
            after in prop::collection::vec(0u16..64, 0..40),
        ) {
            let (before, after) = (bundle(1, &before).encode_to_vec(), bundle(2, &after).encode_to_vec());
            if let Some(pieces) = between(&before, &after) {
                prop_assert_eq!(apply(&before, &pieces, BYTES_MAX).unwrap(), after);
            }
        }

        #[test]
        fn any_bytes_will_do(before in prop::collection::vec(any::<u8>(), 0..200), after in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(pieces) = between(&before, &after) {
                prop_assert_eq!(apply(&before, &pieces, BYTES_MAX).unwrap(), after);
            }
        }

        #[test]
        fn rubbish_never_panics(base in prop::collection::vec(any::<u8>(), 0..50), pieces in prop::collection::vec((any::<u64>(), 0u64..100), 0..9)) {
            let pieces: Vec<Piece> =
                pieces.into_iter().map(|(copy_from, copy_bytes)| Piece { copy_from, copy_bytes, insert: vec![1] }).collect();
            let _ = apply(&base, &pieces, 1_000);
        }
    }
}
