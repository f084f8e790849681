//! The ceremony: what is done where the root keys are, on a machine without a network. Reads and writes files.

use std::path::{Path, PathBuf};

use lienthong_audit::note::{KeyKind, SigningKey, VerifierKey};
use lienthong_certs::{Branch, DevPki, files};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::config::TrustConfig;
use crate::error::TrustFileError;
use crate::mesh_trust::{Anchor, KeyPair, MeshTrust, Parts, Roots, Witnesses};
use crate::signed::SignedTrust;

/// Largest file that holds a signing key, bytes.
pub const KEY_FILE_BYTES_MAX: u64 = 4096;

/// How long a trust file is good for where nobody says otherwise, days: a ceremony once a year keeps people in practice.
pub const VALID_DAYS: i64 = 365;

/// What the ceremony could not do.
#[derive(Debug, Error)]
pub enum CeremonyError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// A key file holds no key of the right kind.
    #[error("{path} holds no root key: {source}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: lienthong_audit::note::NoteError,
    },
    /// What was to be signed makes no sense.
    #[error(transparent)]
    Trust(#[from] TrustFileError),
}

/// What the first file of a mesh says beside its root.
#[derive(Clone, Debug)]
pub struct First {
    /// Id of the mesh.
    pub mesh: String,
    /// True for demonstrations and tests.
    pub development: bool,
    /// Signs bundles.
    pub bundle: VerifierKey,
    /// Signs checkpoints.
    pub log: VerifierKey,
    /// The log's witnesses.
    pub witnesses: Witnesses,
    /// Authorities.
    pub anchors: Vec<Anchor>,
    /// How long it is good for, days.
    pub valid_days: i64,
}

impl First {
    /// The first file, version 1, with one root.
    ///
    /// # Errors
    /// [`TrustFileError`] if it makes no sense.
    pub fn with_root(self, root: &VerifierKey, now: OffsetDateTime) -> Result<MeshTrust, TrustFileError> {
        let now = whole_second(now);
        MeshTrust::new(Parts {
            mesh: self.mesh,
            version: 1,
            issued: now,
            expires: now + Duration::days(self.valid_days),
            development: self.development,
            roots: Roots { threshold: 1, keys: vec![root.clone()] },
            bundle: KeyPair { now: self.bundle, next: None },
            log: KeyPair { now: self.log, next: None },
            witnesses: self.witnesses,
            anchors: self.anchors,
        })
    }
}

/// Makes `root.key` and `mesh.trust` in `folder`, and answers the configuration that pins them.
///
/// # Errors
/// [`CeremonyError`]; an existing root is never overwritten.
pub fn begin(folder: &Path, first: First, now: OffsetDateTime) -> Result<TrustConfig, CeremonyError> {
    let root_file = folder.join("root.key");
    let root = generate_key(&root_file, &format!("{}/root-1", first.mesh))?;
    let trust = first.with_root(root.verifier(), now)?;
    let file = folder.join("mesh.trust");
    let text = SignedTrust::sign(&trust, &[&root])?;
    files::replace(&file, text.as_bytes())?;
    let root = trust.parts().roots.fingerprint().to_string();
    Ok(TrustConfig { file, root, ..TrustConfig::default() })
}

/// Makes a new signing key in a new file of mode 0600: one line, as C2SP tools keep signing keys.
///
/// # Errors
/// [`CeremonyError`], also if the file exists.
pub fn generate_key(path: &Path, name: &str) -> Result<SigningKey, CeremonyError> {
    let failed = |source| CeremonyError::Key { path: path.to_owned(), source };
    let key = SigningKey::generate(name, KeyKind::Ed25519).map_err(failed)?;
    files::create_private(path, key.to_skey().map_err(failed)?.as_bytes())?;
    Ok(key)
}

/// Reads a signing key, whose file must have mode 0600 or stricter.
///
/// # Errors
/// [`CeremonyError`].
pub fn load_key(path: &Path) -> Result<SigningKey, CeremonyError> {
    let bytes = files::read_private(path, KEY_FILE_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    SigningKey::from_skey(text.trim_end())
        .map_err(|source| CeremonyError::Key { path: path.to_owned(), source })
}

/// The authorities of a PEM file under a label.
///
/// # Errors
/// [`CeremonyError::File`].
pub fn anchor(label: &str, parties: Branch, path: &Path) -> Result<Anchor, CeremonyError> {
    Ok(Anchor { label: label.to_owned(), parties, certificates: files::certificates(path)? })
}

/// The authorities of a development PKI, the public one too.
///
/// # Errors
/// [`CeremonyError::File`].
pub fn development_anchors(pki: &DevPki) -> Result<Vec<Anchor>, CeremonyError> {
    let files = pki.trust_files().into_iter();
    files.map(|(parties, path)| anchor(&format!("{parties} G1 (development)"), parties, &path)).collect()
}

/// A bundle key's public half under its name.
///
/// # Errors
/// [`TrustFileError::Note`] if the name cannot be one.
pub fn bundle_key(name: &str, public: [u8; 32]) -> Result<VerifierKey, TrustFileError> {
    Ok(VerifierKey::new(name, KeyKind::Ed25519, public)?)
}

/// The text of a trust file knows whole seconds.
pub fn whole_second(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}
