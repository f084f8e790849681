//! What can go wrong with a journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hash::Hash;
use crate::record::RECORD_BYTES_MAX;

/// Why a journal cannot be opened, or stopped. Cloned to everybody who waits.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// An option that makes no sense.
    #[error("journal option {name}: {problem}")]
    Option {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has the journal open.
    #[error("{path} is locked: another process has this journal open; stop it first")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system refused something that opening or housekeeping needs.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A write or `fdatasync` of records failed. What is on disk is no longer known, so the journal stops:
    /// nothing more is acknowledged, and the process must end and open the journal anew.
    #[error(
        "cannot {action} journal segment {path}: {source}; the node must stop, check the disk and start again"
    )]
    Fatal {
        /// What was tried.
        action: &'static str,
        /// The segment.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A small text file of the journal has not its form.
    #[error(
        "{path} is damaged: {problem}; restore it from a backup, or move the folder away to begin a new epoch"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder belongs to another node.
    #[error("{path} is the journal of node {found}, this node is {expected}; give each node its own folder")]
    Node {
        /// The identity file.
        path: PathBuf,
        /// The node that opens it.
        expected: String,
        /// The node that made it.
        found: String,
    },
    /// Records that were durable are damaged. Nothing is skipped.
    #[error(
        "{path} is damaged at byte {offset}, record {seq}: {problem}; restore this segment from a copy, or move \
         the folder away to begin a new epoch (the broker then asks for an approval)"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Offset in it of the first bad frame.
        offset: u64,
        /// Sequence number of the record that stands there, or should.
        seq: u64,
        /// What is wrong.
        problem: String,
    },
    /// Segments that should be there are not.
    #[error(
        "{dir} lacks the segment that begins with record {first_seq}; restore it from a copy, or move the folder \
         away to begin a new epoch"
    )]
    Missing {
        /// The journal's folder.
        dir: PathBuf,
        /// The first record that is missing.
        first_seq: u64,
    },
    /// The broker acknowledged more than the journal holds: it was restored from an old copy.
    #[error(
        "{dir} ends at record {last_seq}, but {acknowledged} was acknowledged: the journal was rolled back; move \
         the folder away to begin a new epoch"
    )]
    RolledBack {
        /// The journal's folder.
        dir: PathBuf,
        /// Last record found.
        last_seq: u64,
        /// Last record acknowledged.
        acknowledged: u64,
    },
    /// The journal was closed before the record became durable.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// For `map_err`: what was tried, on which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Like [`JournalError::io`], for a write or sync of records.
    pub(super) fn fatal(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Fatal { action, path: path.to_owned(), source: Arc::new(source) }
    }
}

/// Why a record was not taken. The record is in no file; the exchange it would open must be refused
/// (`DENY_AUDIT_UNAVAILABLE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The backlog that the broker has not acknowledged, or the queue before the disk, is at its bound.
    #[error("the journal's backlog is at its bound; restore the connection to the broker")]
    Full,
    /// No space could be reserved. Ends by itself once there is space.
    #[error("the disk of the journal is full; free some space")]
    DiskFull,
    /// The journal stopped: see [`super::Journal::failure`].
    #[error("the journal is closed or has failed; the node must stop")]
    Closed,
    /// Longer than a record may be.
    #[error(
        "the record has {bytes} bytes, the bound is {RECORD_BYTES_MAX}; move the excess into continuation records"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// Why records cannot be shipped from a position.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShipError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The broker holds another epoch of this node's journal.
    #[error(
        "the broker holds journal epoch {broker}, this journal is epoch {own}; the new epoch needs an approval"
    )]
    Epoch {
        /// Epoch on record at the broker.
        broker: u64,
        /// Epoch of this journal.
        own: u64,
    },
    /// The broker holds more than this journal has: it was restored from an old copy.
    #[error(
        "the broker holds records up to {broker}, this journal ends at {own}: it was rolled back; move the folder \
         away to begin a new epoch"
    )]
    RolledBack {
        /// Last record at the broker.
        broker: u64,
        /// Last record of this journal.
        own: u64,
    },
    /// The broker's history of this journal is not this journal's.
    #[error(
        "the broker's chain head at record {seq} is {broker}, this journal's is {own}: one of them was altered"
    )]
    Fork {
        /// The record.
        seq: u64,
        /// Head at the broker.
        broker: Hash,
        /// Head of this journal.
        own: Hash,
    },
    /// The records asked for were acknowledged once and have been dropped since.
    #[error(
        "the broker asks for record {asked}, but the journal now begins at {first}; the broker lost records"
    )]
    Dropped {
        /// First record the broker lacks.
        asked: u64,
        /// First record that is still here.
        first: u64,
    },
    /// A receipt that is not for what was sent: nothing is released on its word.
    #[error("the broker's receipt is not for what was sent: {0}")]
    Receipt(String),
    /// The position that the broker told is not one.
    #[error("the broker told a malformed journal position")]
    Position,
    /// The batch could not be signed.
    #[error("cannot sign a journal batch: {0}")]
    Sign(String),
}
