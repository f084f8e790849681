//! The folder of a log: which file lies where, and the two small files beside the write-ahead log.
//!
//! ```text
//! checkpoint            the published, signed head              ┐ the C2SP tlog-tiles layout:
//! tile/<level>/…        hash tiles                              │ any static file server
//! tile/entries/…        entry bundles                           │ can publish these
//! pruned                below which entry bundles are gone      ┘ (only where some are)
//! wal/identity          which log this is: its public key       ┐
//! wal/head              the last acknowledged size and root     │ private to the writer
//! wal/<index>.wal       segments of the write-ahead log         │
//! wal/lock              held by the one writer                  ┘
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::hash::Hash;
use crate::note::VerifierKey;
use crate::tile::TileId;

use super::error::{LogError, Trying as _};

/// Names the files of one log folder.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    dir: PathBuf,
}

impl Home {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.dir.join(CHECKPOINT)
    }

    /// Below which index entry bundles are gone.
    pub(crate) fn pruned(&self) -> PathBuf {
        self.dir.join(PRUNED)
    }

    pub(crate) fn tile(&self, id: TileId) -> PathBuf {
        self.dir.join(id.path())
    }

    /// The folder of the partial forms of a tile.
    pub(crate) fn partials_of(&self, id: TileId) -> PathBuf {
        self.dir.join(format!("{}.p", id.to_full()))
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.dir.join(WAL)
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.wal().join(LOCK)
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.wal().join(IDENTITY)
    }

    pub(crate) fn head(&self) -> PathBuf {
        self.wal().join(HEAD)
    }

    pub(crate) fn segment(&self, first_index: u64) -> PathBuf {
        self.wal().join(segment_name(first_index))
    }

    /// Where the sequencer prepares a new segment.
    pub(crate) fn segment_temp(&self) -> PathBuf {
        self.wal().join(SEGMENT_TEMP)
    }

    /// Where the publisher prepares a tile or checkpoint.
    pub(crate) fn publish_temp(&self) -> PathBuf {
        self.wal().join(PUBLISH_TEMP)
    }

    /// Where the pruner prepares `pruned`.
    pub(crate) fn prune_temp(&self) -> PathBuf {
        self.wal().join(PRUNE_TEMP)
    }

    /// The first indexes of the segments on disk, ascending.
    pub(crate) fn segments(&self) -> Result<Vec<u64>, LogError> {
        let wal = self.wal();
        let names = fs::read_dir(&wal).and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()
        });
        let mut segments =
            names.trying("list", &wal)?.iter().filter_map(|name| segment_index(name)).collect::<Vec<_>>();
        segments.sort_unstable();
        Ok(segments)
    }

    /// The public key that the log was created with.
    pub(crate) fn read_identity(&self) -> Result<VerifierKey, LogError> {
        let path = self.identity();
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(LogError::NotALog(self.dir.clone()));
            }
            text => text.trying("read", &path)?,
        };
        let key = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.strip_prefix(IDENTITY_MAGIC)?.strip_suffix('\n'));
        let corrupt = |what: String| LogError::Corrupt { path: path.clone(), offset: 0, what };
        let key = key.ok_or_else(|| corrupt("it is not the identity of a log".to_owned()))?;
        key.parse().map_err(|error| corrupt(format!("{error}")))
    }
}

/// The content of `wal/identity`.
pub(crate) fn encode_identity(key: &VerifierKey) -> Vec<u8> {
    format!("{IDENTITY_MAGIC}{key}\n").into_bytes()
}

/// What `wal/head` holds: the last state that was acknowledged to anyone. Written after each commit but not
/// flushed, so it survives the process and usually, but not surely, a power cut: never ahead of the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// Bytes of `wal/head`: fewer than a disk sector, so that it is not torn.
pub(crate) const HEAD_BYTES: usize = 8 + 8 + 32 + 4;

impl Head {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = [HEAD_MAGIC, &self.size.to_be_bytes(), &self.root.0].concat();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
        bytes
    }

    /// `None` when the bytes are damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        let rest = body.strip_prefix(HEAD_MAGIC)?;
        let (size, root) = rest.split_first_chunk::<8>()?;
        let sound = bytes.len() == HEAD_BYTES && crc32c::crc32c(body) == u32::from_be_bytes(*crc);
        Hash::from_slice(root).filter(|_| sound).map(|root| Self { size: u64::from_be_bytes(*size), root })
    }
}

/// The name of a segment.
pub(crate) fn segment_name(first_index: u64) -> String {
    format!("{first_index:020}.wal")
}

/// Reads [`segment_name`].
pub(crate) fn segment_index(name: &str) -> Option<u64> {
    let index = name.strip_suffix(".wal")?.parse().ok()?;
    (segment_name(index) == name).then_some(index)
}

pub(crate) const CHECKPOINT: &str = "checkpoint";
pub(crate) const PRUNED: &str = "pruned";
pub(crate) const WAL: &str = "wal";
pub(crate) const LOCK: &str = "lock";
pub(crate) const IDENTITY: &str = "identity";
pub(crate) const HEAD: &str = "head";
pub(crate) const SEGMENT_TEMP: &str = "segment.tmp";
pub(crate) const PUBLISH_TEMP: &str = "publish.tmp";
pub(crate) const PRUNE_TEMP: &str = "prune.tmp";

const IDENTITY_MAGIC: &str = "lienthong-log/v1\n";
const HEAD_MAGIC: &[u8] = b"LTHEAD\x01\n";
