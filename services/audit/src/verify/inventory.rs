//! Every file under the log's folder, by what it claims to be.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::log::home::{
    CHECKPOINT, HEAD, IDENTITY, LOCK, PRUNE_TEMP, PRUNED, PUBLISH_TEMP, SEGMENT_TEMP, WAL, segment_index,
};
use crate::tile::{TILE_WIDTH, TileId, TileKind};

use super::report::{FindingKind, Findings};

/// Deeper folders than this are not looked into: no tile lies deeper.
const DEPTH_MAX: usize = 12;

/// What the folder holds. Whatever is none of this was already reported as stray.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) tiles: BTreeSet<TileId>,
    /// Whether the writer's private folder is there.
    pub(super) has_wal: bool,
    /// Files half-written by a writer that runs or was interrupted.
    pub(super) drafts: Vec<String>,
    pub(super) files: u64,
}

impl Inventory {
    /// Lists the folder.
    pub(super) fn list(dir: &Path, findings: &mut Findings) -> Self {
        let mut inventory = Self::default();
        inventory.walk(dir, "", 0, findings);
        inventory
    }

    /// The narrowest file that holds the first `width` hashes or entries of a tile.
    pub(super) fn covering(&self, kind: TileKind, index: u64, width: u16) -> Option<TileId> {
        self.tiles.range(TileId { kind, index, width }..=TileId::full(kind, index)).next().copied()
    }

    /// All widths in which a tile is there.
    pub(super) fn widths(&self, kind: TileKind, index: u64) -> impl Iterator<Item = TileId> + '_ {
        self.tiles.range(TileId { kind, index, width: 0 }..=TileId::full(kind, index)).copied()
    }

    /// The positions at which a kind has tiles, ascending, each once.
    pub(super) fn indexes(&self, kind: TileKind) -> impl Iterator<Item = u64> + '_ {
        let first = TileId { kind, index: 0, width: 0 };
        let last = TileId { kind, index: u64::MAX, width: TILE_WIDTH };
        let mut previous = None;
        self.tiles
            .range(first..=last)
            .map(|id| id.index)
            .filter(move |index| previous.replace(*index) != Some(*index))
    }

    fn walk(&mut self, dir: &Path, prefix: &str, depth: usize, findings: &mut Findings) {
        let entries = match fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries,
            // A folder of partial tiles that the writer removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound && depth > 0 => return,
            Err(error) => return findings.file(FindingKind::Unreadable, prefix, error.to_string()),
        };
        for entry in entries {
            let name = entry.file_name();
            let path = format!("{prefix}{}", name.to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH_MAX => {
                    self.has_wal |= path == WAL;
                    self.walk(&entry.path(), &format!("{path}/"), depth + 1, findings);
                }
                Ok(kind) if kind.is_file() && name.to_str().is_some() => self.file(path, findings),
                Ok(_) => findings.file(FindingKind::Stray, path, "a log holds plain files only"),
                Err(error) => findings.file(FindingKind::Unreadable, path, error.to_string()),
            }
        }
    }

    fn file(&mut self, path: String, findings: &mut Findings) {
        self.files += 1;
        if path == CHECKPOINT || path == PRUNED {
            return;
        }
        if let Some(name) = path.strip_prefix(WAL).and_then(|name| name.strip_prefix('/')) {
            match name {
                IDENTITY | HEAD | LOCK => {}
                PRUNE_TEMP | PUBLISH_TEMP | SEGMENT_TEMP => self.drafts.push(path),
                name if segment_index(name).is_some() => {}
                _ => findings.file(FindingKind::Stray, path, "it is no file of the write-ahead log"),
            }
            return;
        }
        match path.parse() {
            Ok(id) => drop(self.tiles.insert(id)),
            Err(_) => findings.file(
                FindingKind::Stray,
                path,
                "it is neither a tile nor an entry bundle nor the checkpoint",
            ),
        }
    }
}
