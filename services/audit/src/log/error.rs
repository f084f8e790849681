//! What can go wrong with the log on disk.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::tile::TileError;

/// Why the log refused, stopped, or could not be read.
#[derive(Debug, Error)]
pub enum LogError {
    /// A file operation failed. While the log runs this is always reported as [`LogError::Fatal`].
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option outside its bounds.
    #[error("log option {0}")]
    Option(String),
    /// Creation over something.
    #[error(
        "{} is not an empty folder; a log is only ever created in a new one (to continue a log, open it)",
        .0.display()
    )]
    NotEmpty(PathBuf),
    /// Opening a folder that holds no log: a wrong path, a volume that is not mounted, or an emptied folder.
    #[error(
        "{} holds no log; if it should, restore it from a backup or mount its volume; a new log is created explicitly",
        .0.display()
    )]
    NotALog(PathBuf),
    /// Another process runs this log.
    #[error("the log in {} is in use by another process; a log has exactly one writer", .0.display())]
    Locked(PathBuf),
    /// The key given is not the one that the log was created with.
    #[error(
        "the key {given} is not the key of this log, {expected}; a log keeps its key and origin for life"
    )]
    Key {
        /// The key given, or the origin asked for.
        given: String,
        /// The key that the log was created with.
        expected: String,
    },
    /// A file of the log was damaged or changed.
    #[error("{} is damaged at byte {offset}: {what}; restore the log from a backup or a mirror (R-48)", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The offset of the damage, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Somebody has seen more of this log than is left of it.
    #[error(
        "the log ends at {size} entries, at byte {offset} of {}, but {claim} has {claimed}: acknowledged entries are \
         missing; nothing is signed until the log is restored (R-48)", path.display()
    )]
    Behind {
        /// Whose word it is: the published checkpoint, the stored head, a checkpoint seen elsewhere.
        claim: &'static str,
        /// The size it names.
        claimed: u64,
        /// The entries found.
        size: u64,
        /// The last segment of the write-ahead log.
        path: PathBuf,
        /// Where its last whole commit ends, in bytes.
        offset: u64,
    },
    /// Somebody has seen another history of this log.
    #[error(
        "the log was changed: at {size} entries {claim} has another root; nothing is signed until the log is restored (R-48)"
    )]
    Forked {
        /// Whose word it is.
        claim: &'static str,
        /// The size at which the roots differ.
        size: u64,
    },
    /// It was proven that the log must not sign any more.
    #[error("{0}; nothing more is signed until people have found out why and the log is restored (R-48)")]
    Condemned(String),
    /// An append without entries.
    #[error("an append needs at least one entry")]
    Empty,
    /// An entry over the bound. Nothing of its append is logged.
    #[error("entry {position} of the append has {bytes} bytes; the bound is {bytes_max} (ENTRY_BYTES_MAX)")]
    EntryTooLong {
        /// Its position in the append, counted from 0.
        position: usize,
        /// Its length.
        bytes: usize,
        /// The bound in force.
        bytes_max: usize,
    },
    /// An append over the bounds of one group commit. Nothing of it is logged.
    #[error(
        "an append of {entries} entries and {bytes} bytes; split it: at most {entries_max} entries and {bytes_max} bytes"
    )]
    AppendTooLarge {
        /// Entries in it.
        entries: usize,
        /// Bytes of them.
        bytes: usize,
        /// [`super::APPEND_ENTRIES_MAX`].
        entries_max: usize,
        /// [`super::APPEND_BYTES_MAX`].
        bytes_max: usize,
    },
    /// The queue of the sequencer is full. Nothing of the append is logged; try again shortly.
    #[error("the log is busy: {entries} entries and {bytes} bytes wait to be written; try again shortly")]
    Busy {
        /// Entries waiting.
        entries: usize,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
    /// A write or a flush failed, and the log stopped for good: what was not acknowledged may or may not be logged.
    #[error("the log stopped: {0}; check the disk, then restart the process, which recovers the log")]
    Fatal(String),
    /// Asked for entries that are not published yet, or for too many at once.
    #[error(
        "entries {begin}..{end} cannot be read: {size} are published, and at most {entries_max} are read at once"
    )]
    Range {
        /// The first entry asked for.
        begin: u64,
        /// The entry after the last.
        end: u64,
        /// The published size.
        size: u64,
        /// [`super::READ_ENTRIES_MAX`].
        entries_max: u64,
    },
    /// Asked for entries whose retention is over.
    #[error(
        "entries from {begin} on cannot be read: those before {minimum} are gone, because their retention is over (R-50); their \
         hashes are there, and every proof can still be made"
    )]
    Pruned {
        /// The first entry asked for.
        begin: u64,
        /// The minimum index.
        minimum: u64,
    },
    /// Pruning that the log does not announce. Nothing is removed.
    #[error("nothing is removed from the log: entry {record} does not announce it: {what} (R-48, R-50)")]
    Unannounced {
        /// The entry that should.
        record: u64,
        /// Why it does not.
        what: &'static str,
    },
    /// A tile with the wrong shape.
    #[error("{}: {source}", path.display())]
    Tile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TileError,
    },
    /// A checkpoint that cannot be read, or is not this log's.
    #[error("{}: {source}", path.display())]
    Checkpoint {
        /// The file, or where else it came from.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
}

/// Adds to an I/O error what was tried, and where.
pub(crate) trait Trying<T> {
    /// Names the action and the path.
    fn trying(self, action: &'static str, path: &Path) -> Result<T, LogError>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, action: &'static str, path: &Path) -> Result<T, LogError> {
        self.map_err(|source| LogError::Io { action, path: path.to_owned(), source })
    }
}
