//! What can go wrong.

use crate::contract::Revision;

/// Why a store could not do what was asked. Keys are shown as text with escapes; values never.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A requirement of the batch does not hold; nothing was changed.
    #[error("conflict on key {}: its revision is {}, the batch requires {}: read again and decide again",
        show(.key), revision_or_absent(*.found), revision_or_absent(*.required))]
    Conflict {
        /// The first key whose requirement failed.
        key: Vec<u8>,
        /// What the batch requires; `None` for absence.
        required: Option<Revision>,
        /// What is there; `None` for absence.
        found: Option<Revision>,
    },
    /// The changes asked for are no longer kept.
    #[error(
        "changes up to revision {kept_after} are no longer kept: read the range again, then watch from its revision"
    )]
    Compacted {
        /// All changes after this revision are still kept.
        kept_after: Revision,
    },
    /// A watch asks for what follows a revision that the store has not reached.
    #[error(
        "revision {asked} was never reached here, the store is at {current}: it was restored or is another one"
    )]
    RevisionAhead {
        /// The revision asked for.
        asked: Revision,
        /// The store's own.
        current: Revision,
    },
    /// A key, value or batch is out of bounds, or a batch contradicts itself.
    #[error("batch refused: {reason}")]
    BatchInvalid {
        /// What is wrong, and the bound.
        reason: String,
    },
    /// The data on disk is not what was written.
    #[error(
        "store at {path} is corrupt: {reason}; restore it from an export or rebuild it, then start again"
    )]
    Corrupt {
        /// Folder of the store.
        path: String,
        /// What was found.
        reason: String,
    },
    /// Another process has the store open.
    #[error("store at {path} is in use by another process: stop that one first")]
    Locked {
        /// Folder of the store.
        path: String,
    },
    /// Reading or writing failed below the store.
    #[error("store at {path}: {reason}")]
    Io {
        /// File or folder.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// An export file is not one, or is damaged.
    #[error("export {path} cannot be imported: {reason}")]
    ExportInvalid {
        /// The file.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The store cannot answer now. Whether a batch was committed is not known.
    #[error("store unavailable, an unanswered commit may or may not have happened: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// A key as readable text.
pub(crate) fn show(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn revision_or_absent(revision: Option<Revision>) -> String {
    revision.map_or_else(|| "absent".to_owned(), |revision| revision.to_string())
}
