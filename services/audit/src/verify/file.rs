//! One tile file under the verifier: reading it, hashing what is in it, and naming the place of what is wrong.

use std::io;
use std::path::Path;

use crate::hash::{HASH_BYTES, Hash, leaf_hash};
use crate::log::LogError;
use crate::log::recover::read_bounded;
use crate::tile::{self, BUNDLE_BYTES_MAX, BundleEntries, TILE_BYTES_MAX, TILE_LEVELS, TileId, TileKind};

use super::report::{Finding, FindingKind, Findings};

/// Compares a whole file with the hashes that it must hold, or whose entries it must hold.
pub(super) fn compare_file(id: TileId, bytes: &[u8], expected: &[Hash], findings: &mut Findings) {
    let expected = &expected[..usize::from(id.width).min(expected.len())];
    if id.kind == TileKind::Entries {
        let bodies = Bodies::hash(bytes, id.width);
        let agreeing =
            bodies.hashes.iter().zip(expected).take_while(|(body, expected)| body == expected).count();
        if bodies.fault.is_some() || agreeing < expected.len() {
            findings.extend(bodies.finding(id, agreeing));
        }
        return;
    }
    match tile::parse_hashes(bytes, id.width) {
        Err(error) => findings.push(wrong_length(id, bytes.len(), error.to_string())),
        Ok(hashes) => {
            if let Some(offset) = hashes.iter().zip(expected).position(|(hash, expected)| hash != expected) {
                let span = 1_u64 << (8 * u32::from(id.kind.level()));
                let index = id.start_leaf().map(|start| start + offset as u64 * span);
                findings.push(hash_finding(id, offset, index, "the hash is not the one of the full tree"));
            }
        }
    }
}

/// Reads a tile file, or its full form if a running log has replaced it meanwhile; reports when neither is possible.
pub(super) fn read_tile(dir: &Path, id: TileId, findings: &mut Findings) -> Option<(TileId, Vec<u8>)> {
    let bytes_max = match id.kind {
        TileKind::Entries => BUNDLE_BYTES_MAX,
        TileKind::Hashes(_) => TILE_BYTES_MAX,
    };
    let read = |id: TileId| read_bounded(&dir.join(id.path()), bytes_max as u64).map(|bytes| (id, bytes));
    let read_or_full = read(id).or_else(|error| match &error {
        LogError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            read(id.to_full()).map_err(|_| error)
        }
        _ => Err(error),
    });
    match read_or_full {
        Ok(read) => Some(read),
        Err(LogError::Corrupt { offset, what, .. }) => {
            let (bytes, first_index) = (Some(offset..offset + 1), id.end_leaf());
            findings.push(Finding { kind: FindingKind::Changed, file: id.path(), bytes, first_index, what });
            None
        }
        Err(error) => {
            findings.file(FindingKind::Unreadable, id.path(), error.to_string());
            None
        }
    }
}

/// The bodies of a bundle, hashed as far as it can be read.
pub(super) struct Bodies {
    pub(super) hashes: Vec<Hash>,
    /// The end of each entry, in bytes.
    ends: Vec<usize>,
    length: usize,
    /// Why it is no bundle of its width.
    pub(super) fault: Option<String>,
}

impl Bodies {
    pub(super) fn hash(bundle: &[u8], width: u16) -> Self {
        let mut bodies = Self { hashes: Vec::new(), ends: Vec::new(), length: bundle.len(), fault: None };
        for entry in BundleEntries::new(bundle) {
            match entry {
                Ok((offset, body)) if bodies.hashes.len() < usize::from(width) => {
                    bodies.hashes.push(leaf_hash(body));
                    bodies.ends.push(offset + body.len());
                }
                Ok(_) => {
                    bodies.fault = Some(format!("it holds more than {width} entries"));
                    return bodies;
                }
                Err(error) => bodies.fault = Some(error.to_string()),
            }
        }
        if bodies.fault.is_none() && bodies.hashes.len() < usize::from(width) {
            bodies.fault = Some(format!("it holds {} entries instead of {width}", bodies.hashes.len()));
        }
        bodies
    }

    /// What is wrong after the first `agreeing` entries, if anything is.
    pub(super) fn finding(&self, id: TileId, agreeing: usize) -> Option<Finding> {
        let start = agreeing.checked_sub(1).map_or(0, |last| self.ends[last]);
        let (end, what) = match (self.ends.get(agreeing), &self.fault) {
            (Some(end), _) => (*end, "the entry does not have the hash that the tree states".to_owned()),
            (None, Some(fault)) => (self.length.max(start + 1), fault.clone()),
            (None, None) => return None,
        };
        Some(Finding {
            kind: FindingKind::Changed,
            file: id.path(),
            bytes: Some(start as u64..end as u64),
            first_index: id.start_leaf().map(|first| first + agreeing as u64),
            what,
        })
    }
}

/// A hash that is wrong within a tile.
pub(super) fn hash_finding(id: TileId, offset: usize, first_index: Option<u64>, what: &str) -> Finding {
    let start = (offset * HASH_BYTES) as u64;
    let bytes = Some(start..start + HASH_BYTES as u64);
    Finding { kind: FindingKind::Changed, file: id.path(), bytes, first_index, what: what.to_owned() }
}

/// A hash tile whose length is wrong: the first hash that is cut off or should not be there.
pub(super) fn wrong_length(id: TileId, length: usize, what: String) -> Finding {
    let expected = usize::from(id.width) * HASH_BYTES;
    let (start, end) = (length.min(expected), length.max(expected));
    let span = 1_u64 << (8 * u32::from(id.kind.level().min(TILE_LEVELS - 1)));
    let first_index = id.start_leaf().map(|first| first.saturating_add((start / HASH_BYTES) as u64 * span));
    let bytes = Some(start as u64..end as u64);
    Finding { kind: FindingKind::Changed, file: id.path(), bytes, first_index, what }
}
