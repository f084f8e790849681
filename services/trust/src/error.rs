//! Why a trust file is refused, in words for whoever stands before it.

use std::io;
use std::path::PathBuf;

use lienthong_audit::note::{NOTE_BYTES_MAX, NoteError};
use lienthong_audit::policy::PolicyError;
use lienthong_certs::files::FileError;
use lienthong_certs::judge::TrustError;
use thiserror::Error;
use time::OffsetDateTime;

use crate::mesh_trust::{LABEL_CHARS_MAX, ROOT_KEYS_MAX, URL_BYTES_MAX, WITNESSES_MAX};

/// Why a trust file is refused. What was trusted before stays.
#[derive(Debug, Error)]
pub enum TrustFileError {
    /// Not UTF-8.
    #[error("the trust file is not UTF-8 text; is it complete?")]
    NotText,
    /// Not a signed note, or changed after it was signed.
    #[error("the trust file cannot be believed: {0}")]
    Note(#[from] NoteError),
    /// Not the text of a trust file.
    #[error("the trust file cannot be read: {0}")]
    Text(#[from] toml::de::Error),
    /// Cannot be written as text.
    #[error("the trust file cannot be written: {0}")]
    Writing(#[from] toml::ser::Error),
    /// Another format, or another version of it.
    #[error("the trust file has the format {0:?}; this program reads {format:?}", format = crate::text::FORMAT)]
    Format(String),
    /// A value that makes no sense.
    #[error("the trust file's `{key}` {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// An authority that cannot be used.
    #[error("the anchor {label:?} of the trust file cannot be used: {source}")]
    Anchor {
        /// Its label.
        label: String,
        /// Why.
        source: Box<TrustError>,
    },
    /// The authorities together.
    #[error("the anchors of the trust file cannot be used together: {0}")]
    Anchors(#[source] Box<TrustError>),
    /// Witnesses and quorum together.
    #[error("the witnesses of the trust file make no policy: {0}")]
    Policy(#[from] PolicyError),
    /// Too few of its own roots have signed.
    #[error(
        "the trust file is signed by {found} of its roots and needs {needed}; have the missing ones sign it: `lienthong trust sign`"
    )]
    Unsigned {
        /// Good signatures of its roots.
        found: usize,
        /// Its threshold.
        needed: usize,
    },
    /// Not the roots that were pinned.
    #[error(
        "the trust file is signed by the roots {found}, pinned are {pinned}; compare both with what the operator reads out, and \
         trust neither until they agree"
    )]
    OtherRoots {
        /// Fingerprint of its roots.
        found: String,
        /// What was pinned.
        pinned: String,
    },
    /// The pin is no fingerprint.
    #[error(
        "trust.root is no fingerprint: give the 64 hexadecimal digits that `lienthong trust show` prints"
    )]
    Pin,
    /// For another mesh.
    #[error("the trust file is of mesh {found:?}, this is mesh {expected:?}")]
    Mesh {
        /// Its mesh.
        found: String,
        /// Ours.
        expected: String,
    },
    /// A development file in production, or the other way round.
    #[error(
        "the trust file says development = {0}, what is held or configured says the opposite; real data and development \
         never share a mesh"
    )]
    Development(bool),
    /// Over.
    #[error("the trust file expired on {0}; have the roots sign a newer version")]
    Expired(OffsetDateTime),
    /// Older than what is held.
    #[error(
        "the trust file has version {found}, version {held} is held: an old file is played back, or restored from a backup"
    )]
    Rollback {
        /// Its version.
        found: u64,
        /// What is held.
        held: u64,
    },
    /// Two texts under one version.
    #[error(
        "there are two trust files of version {0} with different texts: the roots signed twice, or somebody holds a root key; \
         ask the operator before anything else"
    )]
    Forked(u64),
    /// The roots trusted until now have not signed.
    #[error(
        "the trust file is signed by {found} of the roots trusted until now and needs {needed}; if the roots changed in a \
         version between, take that one first"
    )]
    NotSucceeding {
        /// Good signatures of the roots held.
        found: usize,
        /// Their threshold.
        needed: usize,
    },
}

impl TrustFileError {
    pub(crate) fn value(key: &'static str, problem: impl Into<String>) -> TrustFileError {
        TrustFileError::Value { key, problem: problem.into() }
    }
}

/// Why a role has no trust to start with.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// The configured file.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        source: TrustFileError,
    },
    /// The configured file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// A kept version is damaged.
    #[error(
        "{path}, a version that was accepted before, cannot be used: {source}; restore the folder, or remove it whole and pin \
         the roots anew"
    )]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TrustFileError,
    },
    /// The folder of kept versions.
    #[error("the folder {path} of accepted trust files cannot be used: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

const _: () = {
    // The largest file that these bounds allow is one that can be read.
    let witnesses = WITNESSES_MAX * (2 * 512 + URL_BYTES_MAX);
    let anchors = lienthong_certs::judge::TRUSTED_CERTIFICATES_MAX * (2_500 + 4 * LABEL_CHARS_MAX);
    assert!(witnesses + anchors + ROOT_KEYS_MAX * 512 <= NOTE_BYTES_MAX);
};
