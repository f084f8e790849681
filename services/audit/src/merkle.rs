//! The Merkle tree of RFC 6962 §2.1: roots, inclusion proofs, consistency proofs.
//!
//! Pure: hashes come in through [`HashReader`], nothing is stored. Subtrees are named as RFC 6962 names
//! them from the bottom: the *complete subtree* `(level, index)` covers the leaves
//! `[index·2^level, (index+1)·2^level)`; level 0 is a leaf hash.

use std::convert::Infallible;

use thiserror::Error;

use crate::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};

/// The most hashes that an inclusion or consistency proof can hold in a tree of at most 2^64 leaves.
pub const PROOF_HASHES_MAX: usize = 65;

/// The right edge of a growing tree: enough to append leaves and to know the root, in at most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the maximal complete subtrees from left to right: one for each 1 bit of `size`.
    subtrees: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of the tree of `size` leaves that `reader` holds.
    pub fn read<R: HashReader + ?Sized>(size: u64, reader: &R) -> Result<Self, R::Error> {
        let subtrees = complete_subtrees(0, size).map(|(level, index)| reader.subtree(level, index));
        Ok(Self { size, subtrees: subtrees.collect::<Result<_, _>>()? })
    }

    /// Appends the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        // Adding one to the size carries through its trailing 1 bits; each carry joins two subtrees.
        let mut subtree = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                subtree = node_hash(&left, &subtree);
            }
        }
        self.subtrees.push(subtree);
        self.size += 1;
    }

    /// Hashes and appends the next entry; returns its leaf hash.
    pub fn push_entry(&mut self, entry: &[u8]) -> Hash {
        let leaf = leaf_hash(entry);
        self.push(leaf);
        leaf
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree; [`EMPTY_ROOT`] when it has no leaf.
    pub fn root(&self) -> Hash {
        fold_right(&self.subtrees).unwrap_or(EMPTY_ROOT)
    }
}

impl FromIterator<Hash> for Frontier {
    /// The frontier over these leaves.
    fn from_iter<L: IntoIterator<Item = Hash>>(leaves: L) -> Self {
        let mut frontier = Self::new();
        for leaf in leaves {
            frontier.push(leaf);
        }
        frontier
    }
}

/// Where the hashes of complete subtrees come from: tiles on disk, memory, a network client.
pub trait HashReader {
    /// Why a hash could not be read.
    type Error;

    /// The hash of the complete subtree over the leaves `[index·2^level, (index+1)·2^level)`.
    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Leaf hashes in memory are a reader; asking for a subtree beyond them is a bug of the caller and gives
/// [`EMPTY_ROOT`]. Costs O(2^level) a hash: for tests and small batches.
impl HashReader for [Hash] {
    type Error = Infallible;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        let width = 1_usize.checked_shl(u32::from(level));
        let leaves = width.zip(usize::try_from(index).ok()).and_then(|(width, index)| {
            let start = index.checked_mul(width)?;
            self.get(start..start.checked_add(width)?)
        });
        Ok(leaves.map_or(EMPTY_ROOT, root_of))
    }
}

/// The root over consecutive equal-height subtrees (leaf hashes, or the hashes of one tile): MTH of RFC 6962
/// §2.1 applied to `hashes`. [`EMPTY_ROOT`] when there is none.
pub fn root_of(hashes: &[Hash]) -> Hash {
    if hashes.len().is_power_of_two() {
        return root_of_complete(hashes);
    }
    hashes.iter().copied().collect::<Frontier>().root()
}

/// The root over equal-height complete subtrees followed, on the right, by a smaller tree with root `rest`.
pub fn root_of_followed_by(hashes: &[Hash], rest: Option<Hash>) -> Hash {
    let mut frontier = hashes.iter().copied().collect::<Frontier>();
    frontier.subtrees.extend(rest);
    frontier.root()
}

/// The root of the tree of `size` leaves that `reader` holds.
pub fn root<R: HashReader + ?Sized>(size: u64, reader: &R) -> Result<Hash, R::Error> {
    Ok(Frontier::read(size, reader)?.root())
}

/// The audit path of leaf `index` in the tree of `size` leaves, from the leaf's sibling up to the child of the
/// root (RFC 6962 §2.1.1). `None` when the tree has no such leaf.
pub fn inclusion_proof<R: HashReader + ?Sized>(
    index: u64,
    size: u64,
    reader: &R,
) -> Result<Option<Vec<Hash>>, R::Error> {
    if index >= size {
        return Ok(None);
    }
    let mut path = Vec::new();
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            path.push(range_root(middle, end, reader)?);
            end = middle;
        } else {
            path.push(range_root(begin, middle, reader)?);
            begin = middle;
        }
    }
    path.reverse();
    Ok(Some(path))
}

/// The proof that the tree of `old` leaves is a prefix of the tree of `new` leaves (RFC 6962 §2.1.2). Empty when
/// `old` is 0 or equals `new`. `None` when `old` is larger than `new`.
pub fn consistency_proof<R: HashReader + ?Sized>(
    old: u64,
    new: u64,
    reader: &R,
) -> Result<Option<Vec<Hash>>, R::Error> {
    if old > new {
        return Ok(None);
    }
    let mut path = Vec::new();
    if old == 0 {
        return Ok(Some(path));
    }
    let (mut begin, mut end) = (0, new);
    // The verifier already knows the old root, so the old tree itself is left out of its own proof.
    let mut inside_old_root = true;
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            path.push(range_root(middle, end, reader)?);
            end = middle;
        } else {
            path.push(range_root(begin, middle, reader)?);
            begin = middle;
            inside_old_root = false;
        }
    }
    if !inside_old_root {
        path.push(range_root(begin, end, reader)?);
    }
    path.reverse();
    Ok(Some(path))
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves with this `root` (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexBeyondTree { index, size });
    }
    let mut hashes = path.iter();
    let (mut position, mut last) = (index, size - 1);
    let mut computed = *leaf;
    while last > 0 {
        if position & 1 == 1 || position < last {
            let sibling = hashes.next().ok_or(ProofError::TooShort)?;
            let sibling_is_left = position & 1 == 1;
            computed =
                if sibling_is_left { node_hash(sibling, &computed) } else { node_hash(&computed, sibling) };
        }
        position >>= 1;
        last >>= 1;
    }
    end_of(&hashes)?;
    same_root(&computed, root)
}

/// Checks that the tree of `old` leaves with `old_root` is a prefix of the tree of `new` leaves with `new_root`
/// (RFC 9162 §2.1.4.2). Every tree continues the empty one, so `old` = 0 needs an empty path and
/// [`EMPTY_ROOT`].
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    let mut hashes = path.iter();
    if old == 0 {
        end_of(&hashes)?;
        return same_root(&EMPTY_ROOT, old_root);
    }
    if old == new {
        end_of(&hashes)?;
        return same_root(old_root, new_root);
    }
    // Walk up from the last leaf of the old tree. Both roots are rebuilt side by side: the left siblings are
    // common to both trees, the right siblings belong to the new tree only.
    let (mut position, mut last) = (old - 1, new - 1);
    let skipped = position.trailing_ones();
    position >>= skipped;
    last >>= skipped;
    // When the old size is a power of two the old root itself is the starting point and is not in the path.
    let start = if position == 0 { old_root } else { hashes.next().ok_or(ProofError::TooShort)? };
    let (mut computed_old, mut computed_new) = (*start, *start);
    while last > 0 {
        if position & 1 == 1 {
            let left = hashes.next().ok_or(ProofError::TooShort)?;
            computed_old = node_hash(left, &computed_old);
            computed_new = node_hash(left, &computed_new);
        } else if position < last {
            let right = hashes.next().ok_or(ProofError::TooShort)?;
            computed_new = node_hash(&computed_new, right);
        }
        position >>= 1;
        last >>= 1;
    }
    end_of(&hashes)?;
    same_root(&computed_old, old_root)?;
    same_root(&computed_new, new_root)
}

/// Why a proof does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("index {index} is not in a tree of {size} entries; ask for a proof at a larger checkpoint")]
    IndexBeyondTree {
        /// The leaf asked about.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The newer tree is smaller than the older one: the log was cut back.
    #[error("the log shrank from {old} to {new} entries; an append-only log never does (R-48)")]
    Shrunk {
        /// The size seen before.
        old: u64,
        /// The size shown now.
        new: u64,
    },
    /// Hashes are missing from the proof.
    #[error("the proof has too few hashes for its index and tree size (RFC 9162 §2.1)")]
    TooShort,
    /// The proof has hashes that no step uses.
    #[error("the proof has {0} hashes too many for its index and tree size (RFC 9162 §2.1)")]
    TooLong(usize),
    /// The hashes lead to another root.
    #[error("the proof leads to root {computed}, not to {expected}: the entry or the log was changed (R-48)")]
    RootMismatch {
        /// What the proof leads to.
        computed: Hash,
        /// What was signed.
        expected: Hash,
    },
}

/// The root over the leaves `[begin, end)`, where `begin` is a multiple of a power of two ≥ `end - begin`, as every
/// range that RFC 6962 splits off is.
fn range_root<R: HashReader + ?Sized>(begin: u64, end: u64, reader: &R) -> Result<Hash, R::Error> {
    let subtrees = complete_subtrees(begin, end).map(|(level, index)| reader.subtree(level, index));
    let subtrees = subtrees.collect::<Result<Vec<_>, _>>()?;
    Ok(fold_right(&subtrees).unwrap_or(EMPTY_ROOT))
}

/// The maximal complete subtrees of `[begin, end)`, left to right, largest first.
fn complete_subtrees(begin: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let count = end - begin;
    let mut covered = begin;
    (0..64_u8).rev().filter(move |level| count >> level & 1 == 1).map(move |level| {
        let subtree = (level, covered >> level);
        covered += 1 << level;
        subtree
    })
}

/// Joins subtrees that shrink from left to right into one root.
fn fold_right(subtrees: &[Hash]) -> Option<Hash> {
    subtrees.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// The root over a power-of-two number of hashes, halving in place.
fn root_of_complete(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or(EMPTY_ROOT)
}

/// The largest power of two smaller than `count`, for `count` ≥ 2: where RFC 6962 splits a tree.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

fn end_of(hashes: &std::slice::Iter<'_, Hash>) -> Result<(), ProofError> {
    match hashes.len() {
        0 => Ok(()),
        left_over => Err(ProofError::TooLong(left_over)),
    }
}

fn same_root(computed: &Hash, expected: &Hash) -> Result<(), ProofError> {
    if computed == expected {
        return Ok(());
    }
    Err(ProofError::RootMismatch { computed: *computed, expected: *expected })
}
