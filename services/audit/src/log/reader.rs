//! Reading a published log: entries, hashes and proofs out of a folder in the tlog-tiles layout.
//!
//! Needs only what a static file server publishes, and takes no lock: tiles never change, and a partial tile that is
//! gone is found in its full one.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::merkle::{self, HashReader};
use crate::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use crate::proof::TlogProof;
use crate::tile::{self, BUNDLE_BYTES_MAX, TILE_BYTES_MAX, TILE_HEIGHT, TILE_WIDTH, TileId, TileKind};

use super::error::LogError;
use super::home::Home;
use super::recover::read_bounded;

/// The most entries that one [`LogReader::entries`] returns.
pub const READ_ENTRIES_MAX: u64 = 65_536;

/// The most tiles that one [`TreeReader`] keeps in memory (8 KiB each).
pub const TILE_CACHE_TILES_MAX: usize = 64;

/// Reads the folder of a log.
#[derive(Clone, Debug)]
pub struct LogReader {
    home: Home,
}

impl LogReader {
    /// A reader over the folder. Nothing is read yet.
    pub fn new(dir: &Path) -> Self {
        Self { home: Home::new(dir) }
    }

    /// The published checkpoint, signatures included, unverified.
    pub fn checkpoint_note(&self) -> Result<String, LogError> {
        let path = self.home.checkpoint();
        let bytes = match read_bounded(&path, NOTE_BYTES_MAX as u64) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(LogError::NotALog(self.home.dir().to_owned()));
            }
            bytes => bytes?,
        };
        let what = "a checkpoint is UTF-8 text".to_owned();
        String::from_utf8(bytes).map_err(|error| LogError::Corrupt {
            path,
            offset: error.utf8_error().valid_up_to() as u64,
            what,
        })
    }

    /// The published checkpoint, verified with the log's key.
    pub fn checkpoint(&self, log: &VerifierKey) -> Result<Checkpoint, LogError> {
        Checkpoint::open(&self.checkpoint_note()?, log).map_err(|source| self.bad_checkpoint(source))
    }

    /// The published size as the checkpoint states it, unverified.
    pub fn size(&self) -> Result<u64, LogError> {
        Ok(self.read_unverified(&self.checkpoint_note()?)?.size)
    }

    /// The published entries of a range of indexes, at most [`READ_ENTRIES_MAX`]. Their hashes are not checked.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, LogError> {
        let size = self.size()?;
        if range.end > size || range.start > range.end || range.end - range.start > READ_ENTRIES_MAX {
            let Range { start: begin, end } = range;
            return Err(LogError::Range { begin, end, size, entries_max: READ_ENTRIES_MAX });
        }
        let width = u64::from(TILE_WIDTH);
        let mut entries = Vec::new();
        for bundle in range.start / width..range.end.div_ceil(width) {
            let Some(id) = TileId::in_tree(TileKind::Entries, bundle, size) else {
                continue;
            };
            let bytes = self.tile(id).map_err(|error| self.gone(error, range.start))?;
            let all =
                tile::parse_bundle(&bytes.bytes, bytes.id.width).map_err(|source| bytes.fault(source))?;
            let indexes = bundle * width..;
            entries.extend(
                indexes.zip(all).filter(|(index, _)| range.contains(index)).map(|(_, entry)| entry.to_vec()),
            );
        }
        Ok(entries)
    }

    /// The hashes of the published tree of `size` leaves.
    pub fn tree(&self, size: u64) -> TreeReader {
        TreeReader { reader: self.clone(), size, cache: Mutex::default() }
    }

    /// A proof that the entry `index` is in the log, up to the published checkpoint. `None` when it is not published
    /// yet.
    pub fn prove(&self, index: u64) -> Result<Option<TlogProof>, LogError> {
        let checkpoint = self.checkpoint_note()?;
        let size = self.read_unverified(&checkpoint)?.size;
        let path = merkle::inclusion_proof(index, size, &self.tree(size))?;
        Ok(path.map(|path| TlogProof { extra: None, index, path, checkpoint }))
    }

    /// The proof that the tree of `old` entries is a prefix of the one of `new` entries, where `new` is at most the
    /// published size. `None` when `old` is larger than `new`.
    pub fn prove_consistency(&self, old: u64, new: u64) -> Result<Option<Vec<Hash>>, LogError> {
        let size = self.size()?;
        if new > size {
            return Err(LogError::Range { begin: old, end: new, size, entries_max: READ_ENTRIES_MAX });
        }
        merkle::consistency_proof(old, new, &self.tree(size))
    }

    /// The hashes of a tile. A partial tile that is gone is cut from a wider one.
    pub fn hashes(&self, id: TileId) -> Result<Vec<Hash>, LogError> {
        let bytes = self.tile(id)?;
        let mut hashes =
            tile::parse_hashes(&bytes.bytes, bytes.id.width).map_err(|source| bytes.fault(source))?;
        hashes.truncate(usize::from(id.width));
        Ok(hashes)
    }

    /// The bytes of a bundle up to the width asked for.
    pub(crate) fn bundle(&self, id: TileId) -> Result<Vec<u8>, LogError> {
        let mut bytes = self.tile(id)?;
        let entries =
            tile::parse_bundle(&bytes.bytes, bytes.id.width).map_err(|source| bytes.fault(source))?;
        let length = entries.iter().take(usize::from(id.width)).map(|entry| 2 + entry.len()).sum();
        bytes.bytes.truncate(length);
        Ok(bytes.bytes)
    }

    pub(super) const fn home(&self) -> &Home {
        &self.home
    }

    /// Why a bundle cannot be read: because its retention is over, if that is so.
    fn gone(&self, error: LogError, begin: u64) -> LogError {
        match (&error, self.minimum()) {
            (LogError::Io { source, .. }, Ok(minimum))
                if source.kind() == io::ErrorKind::NotFound && begin < minimum =>
            {
                LogError::Pruned { begin, minimum }
            }
            _ => error,
        }
    }

    /// The file of a tile, or of its full form when the partial one is gone.
    fn tile(&self, id: TileId) -> Result<TileBytes, LogError> {
        let bytes_max = match id.kind {
            TileKind::Entries => BUNDLE_BYTES_MAX,
            TileKind::Hashes(_) => TILE_BYTES_MAX,
        };
        let full = id.to_full();
        let id = if !id.is_full() && !fs::exists(self.home.tile(id)).unwrap_or(false) { full } else { id };
        let path = self.home.tile(id);
        let bytes = match read_bounded(&path, bytes_max as u64) {
            // Removed between the two looks: then the full tile is there.
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && !id.is_full() => {
                let path = self.home.tile(full);
                let bytes = read_bounded(&path, bytes_max as u64)?;
                return Ok(TileBytes { id: full, path, bytes });
            }
            bytes => bytes?,
        };
        Ok(TileBytes { id, path, bytes })
    }

    fn read_unverified(&self, note: &str) -> Result<Checkpoint, LogError> {
        let note = note.parse::<Note>().map_err(CheckpointError::from);
        note.and_then(|note| note.text().parse()).map_err(|source| self.bad_checkpoint(source))
    }

    fn bad_checkpoint(&self, source: CheckpointError) -> LogError {
        LogError::Checkpoint { path: self.home.checkpoint(), source }
    }
}

/// The hashes of one published tree, read from its tiles and kept in a bounded cache.
#[derive(Debug)]
pub struct TreeReader {
    reader: LogReader,
    size: u64,
    cache: Mutex<Vec<(TileId, Vec<Hash>)>>,
}

impl TreeReader {
    /// The size of the tree.
    pub const fn size(&self) -> u64 {
        self.size
    }
}

impl HashReader for TreeReader {
    type Error = LogError;

    fn subtree(&self, level: u8, index: u64) -> Result<Hash, LogError> {
        let beyond =
            || LogError::Range { begin: index, end: index, size: self.size, entries_max: READ_ENTRIES_MAX };
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let (first, count) = (index << height, 1_usize << height);
        let id = TileId::in_tree(TileKind::Hashes(tile_level), first / u64::from(TILE_WIDTH), self.size);
        let id = id.ok_or_else(beyond)?;
        let offset = usize::try_from(first % u64::from(TILE_WIDTH)).unwrap_or_default();
        let subtree =
            |hashes: &[Hash]| hashes.get(offset..offset + count).map(merkle::root_of).ok_or_else(beyond);

        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, hashes)) = cache.iter().find(|(cached, _)| *cached == id) {
            return subtree(hashes);
        }
        let hashes = self.reader.hashes(id)?;
        let hash = subtree(&hashes);
        if cache.len() == TILE_CACHE_TILES_MAX {
            cache.remove(0);
        }
        cache.push((id, hashes));
        hash
    }
}

/// A tile as found on disk: perhaps wider than asked for.
struct TileBytes {
    id: TileId,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl TileBytes {
    fn fault(&self, source: tile::TileError) -> LogError {
        LogError::Tile { path: self.path.clone(), source }
    }
}
