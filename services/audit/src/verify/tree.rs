//! The tree rebuilt from the entry bodies, and every tile compared with it.
//!
//! Level 0 is read block by block: the bodies in the bundle are hashed and compared with the hash tile. Where they
//! differ, the level above says which of the two was changed. Each higher level is compared with what the level below
//! adds up to. At the top stands the signed root.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::hash::Hash;
use crate::log::recover::read_bounded;
use crate::merkle;
use crate::tile::{self, RightEdge, TILE_BYTES_MAX, TILE_LEVELS, TILE_WIDTH, TileId, TileKind};

use super::Progress;
use super::file::{Bodies, compare_file, hash_finding, read_tile, wrong_length};
use super::inventory::Inventory;
use super::report::{Finding, FindingKind, Findings};

/// How often progress is reported, in entries.
const PROGRESS_ENTRIES: u64 = 65_536;

/// What is to be checked.
pub(super) struct Subject<'a> {
    pub(super) dir: &'a Path,
    pub(super) inventory: &'a Inventory,
    /// The size in the checkpoint.
    pub(super) size: u64,
    /// The root in the checkpoint.
    pub(super) root: Option<Hash>,
    /// Below this, bundles may be gone; their hash tiles may not.
    pub(super) minimum: u64,
    /// An earlier size at which the root will be asked for.
    pub(super) earlier: Option<u64>,
    pub(super) progress: Option<&'a dyn Fn(Progress)>,
}

/// The tree as it was found.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The leaf hashes of the blocks in which the tree, or an earlier one, ends.
    ends: BTreeMap<u64, Vec<Hash>>,
    /// Level by level from 1: the known roots of the full tiles of the level below, with their positions.
    levels: Vec<Vec<(u64, Hash)>>,
    pub(super) entries: u64,
    /// Entries whose bodies are gone.
    pub(super) pruned: u64,
    pub(super) bytes: u64,
}

impl Tree {
    /// The root of the tree as it was at `size` entries: the present size or the earlier one that was announced.
    pub(super) fn root_at(&self, size: u64) -> Option<Hash> {
        Some(self.edge_at(size)?.root())
    }

    /// The right edge of the tree at such a size.
    pub(super) fn edge_at(&self, size: u64) -> Option<RightEdge> {
        RightEdge::read(size, |id| self.hashes(id).ok_or(())).ok()
    }

    fn hashes(&self, id: TileId) -> Option<Vec<Hash>> {
        let (level, width) = (usize::from(id.kind.level()), usize::from(id.width));
        if level == 0 {
            return Some(self.ends.get(&id.index)?.get(..width)?.to_vec());
        }
        let first = id.index * u64::from(TILE_WIDTH);
        let level = self.levels.get(level - 1)?;
        let from = level.partition_point(|(position, _)| *position < first);
        let known = level.get(from..from + width)?;
        let complete = (first..).zip(known).all(|(expected, (position, _))| expected == *position);
        complete.then(|| known.iter().map(|(_, hash)| *hash).collect())
    }
}

/// Checks every tile and bundle that the tree of the subject's size has or had.
pub(super) fn check(subject: &Subject<'_>, findings: &mut Findings) -> Tree {
    let findings_before = findings.count();
    let mut check = Check { subject, findings, findings_before, tree: Tree::default(), doubts: Vec::new() };
    check.level_0();
    for level in 1..TILE_LEVELS {
        check.level(level);
    }
    check.settle();
    check.tree
}

struct Check<'a> {
    subject: &'a Subject<'a>,
    findings: &'a mut Findings,
    /// How many findings there were before the tree was looked at.
    findings_before: u64,
    tree: Tree,
    /// Hashes in higher tiles that differ from what lies below them: which side is wrong is settled at the end.
    doubts: Vec<Doubt>,
}

/// A hash in a stored tile that differs from the tile below it.
struct Doubt {
    id: TileId,
    offset: usize,
    level: u8,
    /// The position of the tile below.
    below: u64,
}

impl Check<'_> {
    fn level_0(&mut self) {
        let inventory = self.subject.inventory;
        let mut blocks = inventory.indexes(TileKind::Entries).collect::<Vec<_>>();
        blocks.extend(inventory.indexes(TileKind::Hashes(0)));
        blocks.sort_unstable();
        blocks.dedup();
        let count = self.subject.size.div_ceil(u64::from(TILE_WIDTH));
        blocks.retain(|block| *block < count);
        self.tree.levels.push(Vec::new());
        let mut next = 0;
        let mut reported = 0;
        for block in blocks {
            self.gap(TileKind::Entries, next..block);
            self.block(block);
            next = block + 1;
            if let Some(progress) = self.subject.progress
                && self.tree.entries >= reported + PROGRESS_ENTRIES
            {
                reported = self.tree.entries;
                progress(Progress { entries: reported, entries_total: self.subject.size });
            }
        }
        self.gap(TileKind::Entries, next..count);
    }

    /// One bundle and the hash tile over it.
    fn block(&mut self, block: u64) {
        let Some(whole) = TileId::in_tree(TileKind::Entries, block, self.subject.size) else {
            return;
        };
        let width = usize::from(whole.width);
        let bodies = if self.is_pruned(whole) {
            self.tree.pruned += width as u64;
            None
        } else {
            self.read_covering(whole).map(|(id, bytes)| (id, Bodies::hash(&bytes, id.width)))
        };
        self.tree.entries += bodies.as_ref().map_or(0, |(_, bodies)| bodies.hashes.len().min(width) as u64);
        let stored = self.read_hashes(TileId { kind: TileKind::Hashes(0), ..whole });
        let hashes = match (bodies, stored) {
            (Some((id, bodies)), Some((tile, stored))) => {
                Some(self.compare(id, &bodies, tile, stored, width))
            }
            (Some((id, bodies)), None) => {
                let complete = bodies.fault.is_none();
                self.report_bodies(id, &bodies, bodies.hashes.len());
                complete.then(|| bodies.hashes[..width].to_vec())
            }
            (None, stored) => stored.map(|(_, hashes)| hashes),
        };
        let Some(hashes) = hashes else { return };
        self.narrower(whole, &hashes);
        self.narrower(TileId { kind: TileKind::Hashes(0), ..whole }, &hashes);
        if whole.is_full() {
            self.tree.levels[0].push((block, merkle::root_of(&hashes)));
        }
        let ends = [Some(self.subject.size), self.subject.earlier];
        if ends.into_iter().flatten().any(|size| size / u64::from(TILE_WIDTH) == block) {
            self.tree.ends.insert(block, hashes);
        }
    }

    /// Whether a bundle is gone, and may be.
    fn is_pruned(&self, bundle: TileId) -> bool {
        bundle.end_leaf().is_some_and(|end| end <= self.subject.minimum)
            && self.subject.inventory.covering(bundle.kind, bundle.index, bundle.width).is_none()
    }

    /// Compares bodies with the hashes stored over them; reports the side that was changed; returns the better one.
    fn compare(
        &mut self,
        id: TileId,
        bodies: &Bodies,
        tile: TileId,
        stored: Vec<Hash>,
        width: usize,
    ) -> Vec<Hash> {
        let agreeing = bodies.hashes.iter().zip(&stored).take_while(|(body, stored)| body == stored).count();
        if agreeing == width && bodies.fault.is_none() {
            return stored;
        }
        let hashed = bodies.hashes.get(..width);
        let stored_fits = self.fits_above(tile, &stored);
        let hashed_fits =
            bodies.fault.is_none() && hashed.is_some_and(|hashed| self.fits_above(tile, hashed));
        // If the level above knows neither, both are reported.
        if stored_fits || !hashed_fits {
            self.report_bodies(id, bodies, agreeing);
        }
        if !stored_fits && agreeing < width {
            let what = "the hash is not that of the entry";
            self.report_hash(tile, agreeing, tile.index * u64::from(TILE_WIDTH) + agreeing as u64, what);
        }
        match hashed {
            Some(hashed) if !stored_fits => hashed.to_vec(),
            _ => stored,
        }
    }

    /// Whether the stored level above, or the signed root, says that these are the hashes of a level 0 tile.
    fn fits_above(&self, tile: TileId, hashes: &[Hash]) -> bool {
        if hashes.len() == usize::from(TILE_WIDTH) {
            let position = tile.index / u64::from(TILE_WIDTH);
            let above = TileId::in_tree(TileKind::Hashes(1), position, self.subject.size);
            let above = above.and_then(|above| self.peek(above));
            let offset = usize::try_from(tile.index % u64::from(TILE_WIDTH)).unwrap_or_default();
            return above.and_then(|above| above.get(offset).copied()) == Some(merkle::root_of(hashes));
        }
        let edge = RightEdge::read(self.subject.size, |id| match id.kind {
            TileKind::Hashes(0) => Ok(hashes.to_vec()),
            _ => self.peek(id).ok_or(()),
        });
        edge.is_ok_and(|edge| Some(edge.root()) == self.subject.root)
    }

    /// One level of hash tiles above level 0.
    fn level(&mut self, level: u8) {
        let kind = TileKind::Hashes(level);
        let count = tile::hashes_at(level, self.subject.size).div_ceil(u64::from(TILE_WIDTH));
        let below = std::mem::take(&mut self.tree.levels[usize::from(level) - 1]);
        let mut tiles = self.subject.inventory.indexes(kind).collect::<Vec<_>>();
        tiles.extend(below.iter().map(|(position, _)| position / u64::from(TILE_WIDTH)));
        tiles.sort_unstable();
        tiles.dedup();
        tiles.retain(|tile| *tile < count);
        let (mut chosen, mut above) = (Vec::new(), Vec::new());
        let mut next = 0;
        for index in tiles {
            self.gap(kind, next..index);
            next = index + 1;
            let Some(id) = TileId::in_tree(kind, index, self.subject.size) else {
                continue;
            };
            let known = self.tile(id, &below, &mut chosen);
            if let Some(hashes) = known {
                self.narrower(id, &hashes);
                if id.is_full() {
                    above.push((index, merkle::root_of(&hashes)));
                }
            }
        }
        self.gap(kind, next..count);
        self.tree.levels[usize::from(level) - 1] = chosen;
        self.tree.levels.push(above);
    }

    /// One hash tile above level 0. Its hashes are those of the tiles below where these are known, else those stored;
    /// they are added to `chosen`. Returns them if all are known.
    fn tile(
        &mut self,
        id: TileId,
        below: &[(u64, Hash)],
        chosen: &mut Vec<(u64, Hash)>,
    ) -> Option<Vec<Hash>> {
        let stored = self.read_hashes(id);
        let first = id.index * u64::from(TILE_WIDTH);
        let from = below.partition_point(|(position, _)| *position < first);
        let mut below = below[from..].iter().peekable();
        let mut hashes = Vec::with_capacity(usize::from(id.width));
        for offset in 0..usize::from(id.width) {
            let position = first + offset as u64;
            let computed = below.next_if(|(known, _)| *known == position).map(|(_, hash)| *hash);
            let stored = stored.as_ref().map(|(file, hashes)| (*file, hashes[offset]));
            if let (Some(computed), Some((file, stored))) = (computed, stored)
                && computed != stored
            {
                self.doubts.push(Doubt { id: file, offset, level: id.kind.level(), below: position });
            }
            if let Some(hash) = computed.or(stored.map(|(_, stored)| stored)) {
                chosen.push((position, hash));
                hashes.push(hash);
            }
        }
        (hashes.len() == usize::from(id.width)).then_some(hashes)
    }

    /// Decides, by the signed root, whether doubtful hashes or the tiles below them were changed.
    fn settle(&mut self) {
        let size = self.subject.size;
        let computed = self.tree.root_at(size);
        let signed = self.subject.root;
        let stored = RightEdge::read(size, |id| self.peek(id).ok_or(())).ok().map(|edge| edge.root());
        for doubt in std::mem::take(&mut self.doubts) {
            let span = 1_u64 << (8 * u32::from(doubt.level));
            let first_index = doubt.below.saturating_mul(span);
            if signed.is_some() && computed != signed && stored == signed {
                let below = TileId::full(TileKind::Hashes(doubt.level - 1), doubt.below);
                let what = format!(
                    "all of it was changed together with what lies below it, up to entry {}",
                    first_index.saturating_add(span - 1)
                );
                self.findings.push(Finding {
                    kind: FindingKind::Changed,
                    file: below.path(),
                    bytes: Some(0..TILE_BYTES_MAX as u64),
                    first_index: Some(first_index),
                    what,
                });
            } else {
                self.report_hash(
                    doubt.id,
                    doubt.offset,
                    first_index,
                    "the hash is not that of the tile below it",
                );
            }
        }
        if let (Some(computed), Some(signed)) = (computed, signed)
            && computed != signed
            && self.findings.count() == self.findings_before
        {
            let what = format!(
                "the entries lead to the root {computed}: they were rewritten, or the checkpoint was"
            );
            self.findings.file(FindingKind::Changed, crate::log::home::CHECKPOINT, what);
        }
    }

    /// Checks the narrower forms of a tile that an earlier checkpoint needed.
    fn narrower(&mut self, whole: TileId, hashes: &[Hash]) {
        let superseded = self.subject.inventory.widths(whole.kind, whole.index);
        for id in superseded.filter(|id| id.width < whole.width).collect::<Vec<_>>() {
            // One that was replaced by its full tile meanwhile needs no look.
            if let Some((file, bytes)) = self.read(id)
                && file == id
            {
                compare_file(id, &bytes, hashes, self.findings);
            }
        }
    }

    /// Reports tiles that are not there.
    fn gap(&mut self, kind: TileKind, missing: Range<u64>) {
        let Some(id) =
            TileId::in_tree(kind, missing.start, self.subject.size).filter(|_| !missing.is_empty())
        else {
            return;
        };
        let more = missing.end - missing.start - 1;
        let what = match (kind, more) {
            (TileKind::Entries, 0) => "the checkpoint requires it and its hash tile".to_owned(),
            (TileKind::Entries, more) => {
                format!("the checkpoint requires it, {more} further bundles, and their hash tiles")
            }
            (TileKind::Hashes(_), 0) => "the checkpoint requires it".to_owned(),
            (TileKind::Hashes(_), more) => format!("the checkpoint requires it and {more} further tiles"),
        };
        let first_index = id.start_leaf();
        self.findings.push(Finding {
            kind: FindingKind::Missing,
            file: id.path(),
            bytes: None,
            first_index,
            what,
        });
    }

    /// The hashes of a tile at the width that the tree needs, and the file they are from; reports what is wrong with it.
    fn read_hashes(&mut self, id: TileId) -> Option<(TileId, Vec<Hash>)> {
        let (file, bytes) = self.read_covering(id)?;
        match tile::parse_hashes(&bytes, file.width) {
            Ok(mut hashes) => {
                hashes.truncate(usize::from(id.width));
                Some((file, hashes))
            }
            Err(error) => {
                self.findings.push(wrong_length(file, bytes.len(), error.to_string()));
                None
            }
        }
    }

    /// The same without reporting.
    fn peek(&self, id: TileId) -> Option<Vec<Hash>> {
        let file = self.subject.inventory.covering(id.kind, id.index, id.width)?;
        let bytes = read_bounded(&self.subject.dir.join(file.path()), TILE_BYTES_MAX as u64).ok()?;
        let mut hashes = tile::parse_hashes(&bytes, file.width).ok()?;
        hashes.truncate(usize::from(id.width));
        Some(hashes)
    }

    /// The file that holds a tile at least as wide as the tree needs it.
    fn read_covering(&mut self, id: TileId) -> Option<(TileId, Vec<u8>)> {
        let Some(file) = self.subject.inventory.covering(id.kind, id.index, id.width) else {
            let (file, first_index) = (id.path(), id.start_leaf());
            let what = "the checkpoint requires it".to_owned();
            self.findings.push(Finding { kind: FindingKind::Missing, file, bytes: None, first_index, what });
            return None;
        };
        self.read(file)
    }

    fn read(&mut self, id: TileId) -> Option<(TileId, Vec<u8>)> {
        let (file, bytes) = read_tile(self.subject.dir, id, self.findings)?;
        self.tree.bytes += bytes.len() as u64;
        Some((file, bytes))
    }

    fn report_bodies(&mut self, id: TileId, bodies: &Bodies, agreeing: usize) {
        self.findings.extend(bodies.finding(id, agreeing));
    }

    fn report_hash(&mut self, id: TileId, offset: usize, first_index: u64, what: &str) {
        self.findings.push(hash_finding(id, offset, Some(first_index), what));
    }
}
