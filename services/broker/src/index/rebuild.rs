//! Making the index anew from the log and the tokens, while no broker runs: `lienthong audit reindex`. Blocking.

use std::io;
use std::path::Path;

use lienthong_audit::log::{Log, LogError, LogReader};
use lienthong_audit::record;
use lienthong_index::{Clause, Dimension, Query, Term, Want};
use lienthong_proto::lienthong::audit::v1::record::Body;

use super::indexer::{IndexingError, entry};
use super::{Index, IndexDirs, blocks::BlockFolder};
use crate::state::log_dir;

/// Why the index was not made.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The folder holds no log, or a broker has it.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Of the disk.
    #[error("the index cannot be made: {0}")]
    Io(#[from] io::Error),
    /// Of the index.
    #[error(transparent)]
    Indexing(#[from] IndexingError),
    /// A broker runs on this folder.
    #[error("a broker is running on {0}; stop it first, it holds the index open")]
    Running(String),
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rebuilt {
    /// Entries indexed.
    pub entries: u64,
    /// Blocks whose terms are those that the log's manifest states.
    pub blocks_as_stated: u64,
    /// First indexes of blocks of which the manifest states other terms.
    pub blocks_differing: Vec<u64>,
    /// Whole blocks without a manifest yet.
    pub blocks_unstated: u64,
    /// Records whose subjects nobody told.
    pub subjects_missing: u64,
}

/// Removes the segments of a broker's index and makes them anew; tells how far it is. Compares every block with its manifest.
///
/// # Errors
/// [`RebuildError`].
pub fn rebuild(
    data_dir: &Path,
    block_entries: u32,
    mut tell: impl FnMut(u64, u64),
) -> Result<Rebuilt, RebuildError> {
    let dir = log_dir(data_dir);
    let reader = LogReader::new(&dir);
    let size = reader.size()?;
    let _lock = Log::lock(&dir).map_err(|error| match error {
        LogError::Locked(_) => RebuildError::Running(data_dir.display().to_string()),
        other => RebuildError::Log(other),
    })?;
    let folder = BlockFolder::open(&IndexDirs::of(data_dir).blocks, block_entries)?;
    folder.clear()?;
    let (index, mut indexer) = Index::open(data_dir, reader.clone(), block_entries)?;
    while indexer.advance()? {
        tell(index.upto(), size);
    }
    let mut rebuilt = Rebuilt { entries: index.upto(), ..Rebuilt::default() };
    let manifests = Want::Exactly(Term::text(Dimension::Kind, "manifest"));
    let query = Query { clauses: vec![Clause(vec![manifests])], times_ms: None };
    let manifests_max = usize::try_from(size / u64::from(block_entries)).unwrap_or(usize::MAX) + 1;
    let found = index.search(&query, u64::MAX, None, manifests_max).map_err(|error| match error {
        super::SearchError::Log(error) => IndexingError::Log(error),
        super::SearchError::Index(error) => IndexingError::Index(error),
    })?;
    rebuilt.subjects_missing = found.subjects_missing;
    for at in found.entries {
        let Some(Body::IndexManifest(manifest)) =
            record::decode(&entry(&reader, at)?).ok().and_then(|record| record.body)
        else {
            continue;
        };
        if manifest.first_index < index.minimum() {
            continue;
        }
        let as_stated = manifest.entries == block_entries && {
            let built = folder.bytes(manifest.first_index)?;
            crate::bundle::sha256(&built.terms)[..] == manifest.terms_hash
        };
        if as_stated {
            rebuilt.blocks_as_stated += 1;
        } else {
            rebuilt.blocks_differing.push(manifest.first_index);
        }
    }
    let whole = (rebuilt.entries - index.minimum()) / u64::from(block_entries);
    rebuilt.blocks_unstated =
        whole - (rebuilt.blocks_as_stated + rebuilt.blocks_differing.len() as u64).min(whole);
    Ok(rebuilt)
}
