//! Tiles and entry bundles: the tree and the entries cut into immutable files (C2SP tlog-tiles v0.1.0).
//!
//! A *hash tile* holds up to 256 consecutive hashes of one tile level (the roots of complete subtrees of 256^level
//! leaves). An *entry bundle* holds up to 256 consecutive entries, each after its length. The last one of a level is
//! *partial* unless the tree happens to end on its edge, and its width is part of its name. Pure: this module
//! knows names and bytes, not files.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::hash::{HASH_BYTES, Hash};
use crate::merkle;

/// Hashes in a full hash tile, entries in a full entry bundle.
pub const TILE_WIDTH: u16 = 256;

/// Tree levels that one tile level spans: 2^8 = [`TILE_WIDTH`].
pub const TILE_HEIGHT: u8 = 8;

/// Bytes of a full hash tile.
pub const TILE_BYTES_MAX: usize = TILE_WIDTH as usize * HASH_BYTES;

/// The longest entry that the bundle format can hold, in bytes.
pub const BUNDLE_ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// Bytes of the largest possible entry bundle.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + BUNDLE_ENTRY_BYTES_MAX);

/// The tile levels that a tree of at most 2^64 - 1 leaves can have (the format itself allows 0..=63).
pub const TILE_LEVELS: u8 = 8;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries, in the path as `tile/entries/…`.
    Entries,
    /// Hashes of this tile level, 0..=63, in the path as `tile/<level>/…`.
    Hashes(u8),
}

impl TileKind {
    /// The tile level: 0 for entries.
    pub const fn level(self) -> u8 {
        match self {
            Self::Entries => 0,
            Self::Hashes(level) => level,
        }
    }
}

/// The coordinates of one tile or entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// Entries, or hashes of a level.
    pub kind: TileKind,
    /// The position of the tile within its level, counted from 0.
    pub index: u64,
    /// Hashes or entries in it: 1..=255 partial, 256 full.
    pub width: u16,
}

impl TileId {
    /// A full tile.
    pub const fn full(kind: TileKind, index: u64) -> Self {
        Self { kind, index, width: TILE_WIDTH }
    }

    /// The tile `index` of `kind` as a tree of `size` leaves has it: full, partial, or `None`.
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let hashes = hashes_at(kind.level(), size);
        let left = hashes.checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(left.min(u64::from(TILE_WIDTH))).ok().filter(|width| *width > 0)?;
        Some(Self { kind, index, width })
    }

    /// Whether the tile is at its final width.
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same tile at its final width.
    #[must_use]
    pub const fn to_full(self) -> Self {
        Self::full(self.kind, self.index)
    }

    /// The first leaf under the tile; `None` when the coordinates lie beyond 2^64 leaves.
    pub fn start_leaf(&self) -> Option<u64> {
        let shift = u32::from(self.kind.level()) * u32::from(TILE_HEIGHT) + u32::from(TILE_HEIGHT);
        let start = u128::from(self.index).checked_mul(1_u128.checked_shl(shift)?)?;
        u64::try_from(start).ok()
    }

    /// The leaf after the last one under the tile at its present width; `None` beyond 2^64 leaves.
    pub fn end_leaf(&self) -> Option<u64> {
        let shift = u32::from(self.kind.level()) * u32::from(TILE_HEIGHT);
        let span = u128::from(self.width).checked_mul(1_u128.checked_shl(shift)?)?;
        u64::try_from(u128::from(self.start_leaf()?).checked_add(span)?).ok()
    }

    /// The path under the log's folder or URL prefix, for example `tile/0/x001/x234/067.p/12`.
    pub fn path(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => write!(f, "tile/entries/")?,
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", groups[0])?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TileId {
    type Err = TileError;

    /// Reads [`TileId::path`]. Only the one canonical spelling of each tile is accepted.
    fn from_str(path: &str) -> Result<Self, TileError> {
        let parsed = parse_path(path).filter(|id| id.to_string() == path);
        parsed.ok_or_else(|| TileError::Path(path.chars().take(PATH_SHOWN_CHARS).collect()))
    }
}

/// The number of hashes that tile level `level` has in a tree of `size` leaves (entries: level 0).
pub fn hashes_at(level: u8, size: u64) -> u64 {
    size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0)
}

/// The partial tiles and bundle that a tree of `size` leaves needs beside its full ones (at most 9).
pub fn partial_tiles(size: u64) -> impl Iterator<Item = TileId> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..TILE_LEVELS).map(TileKind::Hashes));
    kinds.filter_map(move |kind| {
        let index = hashes_at(kind.level(), size) / u64::from(TILE_WIDTH);
        TileId::in_tree(kind, index, size).filter(|id| !id.is_full())
    })
}

/// The bytes of a hash tile.
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads a hash tile of `width` hashes.
pub fn parse_hashes(bytes: &[u8], width: u16) -> Result<Vec<Hash>, TileError> {
    let expected = usize::from(width) * HASH_BYTES;
    if bytes.len() != expected {
        return Err(TileError::TileLength { actual: bytes.len(), expected });
    }
    Ok(bytes.as_chunks::<HASH_BYTES>().0.iter().map(|hash| Hash(*hash)).collect())
}

/// Appends one entry to the bytes of a bundle. The entry is at most [`BUNDLE_ENTRY_BYTES_MAX`] bytes.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The bytes of an entry bundle.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for entry in entries {
        push_entry(&mut bundle, entry.as_ref())?;
    }
    Ok(bundle)
}

/// Reads an entry bundle of exactly `width` entries.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let entries = BundleEntries::new(bytes).map(|entry| entry.map(|(_, entry)| entry));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    if entries.len() != usize::from(width) {
        return Err(TileError::BundleWidth { actual: entries.len(), expected: width });
    }
    Ok(entries)
}

/// Walks the entries of a bundle: each with the offset of its first body byte. Ends after the first error.
#[derive(Clone, Debug)]
pub struct BundleEntries<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> BundleEntries<'a> {
    /// Walks `bytes` from the start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The offset of the next unread byte, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }
}

impl<'a> Iterator for BundleEntries<'a> {
    type Item = Result<(usize, &'a [u8]), TileError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let entry = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.get(..usize::from(u16::from_be_bytes(*length))));
        let Some(entry) = entry else {
            let offset = std::mem::replace(&mut self.offset, self.bytes.len());
            return Some(Err(TileError::BundleCut { offset }));
        };
        let body = self.offset + 2;
        self.offset = body + entry.len();
        Some(Ok((body, entry)))
    }
}

/// The growing right edge of a tiled tree: collects leaf hashes and hands out each hash tile as it fills.
///
/// Holds the partial tile of each level, so at most 8 × 255 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RightEdge {
    size: u64,
    /// The hashes of the partial tile of each level, lowest first.
    partials: Vec<Vec<Hash>>,
}

impl RightEdge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of the tree of `size` leaves, from the hashes of its partial tiles: `read` is asked for each that is
    /// not empty.
    pub fn read<E>(size: u64, mut read: impl FnMut(TileId) -> Result<Vec<Hash>, E>) -> Result<Self, E> {
        let mut partials = vec![Vec::new(); usize::from(TILE_LEVELS)];
        for id in partial_tiles(size).filter(|id| id.kind != TileKind::Entries) {
            partials[usize::from(id.kind.level())] = read(id)?;
        }
        Ok(Self { size, partials })
    }

    /// Appends the next leaf hash; calls `filled` for every tile that it fills, lowest level first.
    pub fn push(&mut self, leaf: Hash, mut filled: impl FnMut(TileId, &[Hash])) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0..TILE_LEVELS {
            if self.partials.len() <= usize::from(level) {
                self.partials.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let partial = &mut self.partials[usize::from(level)];
            partial.push(hash);
            if partial.len() < usize::from(TILE_WIDTH) {
                return;
            }
            let index = hashes_at(level, self.size) / u64::from(TILE_WIDTH) - 1;
            filled(TileId::full(TileKind::Hashes(level), index), partial);
            hash = merkle::root_of(partial);
            partial.clear();
        }
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The partial hash tiles of the tree as it is now, lowest level first.
    pub fn partials(&self) -> impl Iterator<Item = (TileId, &[Hash])> {
        (0..TILE_LEVELS).zip(&self.partials).filter(|(_, hashes)| !hashes.is_empty()).filter_map(
            |(level, hashes)| {
                let index = hashes_at(level, self.size) / u64::from(TILE_WIDTH);
                let id = TileId::in_tree(TileKind::Hashes(level), index, self.size)?;
                Some((id, hashes.as_slice()))
            },
        )
    }

    /// The root of the tree: computed from tiles, so a second opinion on [`merkle::Frontier::root`].
    pub fn root(&self) -> Hash {
        // Each level's hashes continue to the right with what the levels below it add up to.
        let mut below: Option<Hash> = None;
        for hashes in self.partials.iter().filter(|hashes| !hashes.is_empty()) {
            below = Some(merkle::root_of_followed_by(hashes, below));
        }
        below.unwrap_or(crate::hash::EMPTY_ROOT)
    }
}

/// Why a tile or its name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TileError {
    /// Not the path of any tile.
    #[error(
        "{0:?} is not the path of a tile or entry bundle, such as tile/0/x001/x234/067.p/12 (C2SP tlog-tiles)"
    )]
    Path(String),
    /// A hash tile whose length does not match its name.
    #[error("a tile of {actual} bytes where its name asks for {expected}")]
    TileLength {
        /// Bytes found.
        actual: usize,
        /// Bytes that the width in the name makes.
        expected: usize,
    },
    /// An entry that does not fit a bundle.
    #[error("an entry of {0} bytes; a bundle can hold 65535 at most (C2SP tlog-tiles)")]
    EntryTooLong(usize),
    /// A bundle that ends inside an entry.
    #[error("the entry bundle ends inside the entry whose length stands at byte {offset}")]
    BundleCut {
        /// Where the length of the cut entry stands.
        offset: usize,
    },
    /// A bundle with more or fewer entries than its name says.
    #[error("an entry bundle of {actual} entries where its name asks for {expected}")]
    BundleWidth {
        /// Entries found.
        actual: usize,
        /// The width in the name.
        expected: u16,
    },
}

/// How much of a refused path an error shows.
const PATH_SHOWN_CHARS: usize = 80;

/// Reads a path leniently; the caller checks that it is the canonical spelling.
fn parse_path(path: &str) -> Option<TileId> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(level.parse().ok().filter(|level| *level <= 63)?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
        None => (rest, TILE_WIDTH),
    };
    let mut number = 0_u64;
    for group in index.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        number = number.checked_mul(1000)?.checked_add(digits.parse::<u64>().ok().filter(|n| *n < 1000)?)?;
    }
    Some(TileId { kind, index: number, width })
}

#[cfg(test)]
mod tests;
