//! The broker's signing keys: of the files that the configuration names, those that the mesh trust file names too.

use std::path::{Path, PathBuf};

use lienthong_audit::log::LogKey;
use lienthong_audit::note::VerifierKey;
use lienthong_certs::{MeshKey, files};
use lienthong_trust::{KeyPair, MeshTrust};

use crate::bundle::BundleSigner;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::limits::LOG_KEY_BYTES_MAX;

/// Signs bundles by the key that is in use. Blocks on the disk.
///
/// # Errors
/// [`BrokerError`] naming the file, or [`BrokerError::NoSuchKey`] where no file holds that key.
pub fn bundle_signer(config: &BrokerConfig, mesh: &MeshTrust) -> Result<BundleSigner, BrokerError> {
    let now = &mesh.bundle_keys().now;
    for path in present(&config.bundle_keys) {
        let key = MeshKey::load(path)?;
        if key.public_key() == *now.public() {
            return Ok(BundleSigner::new(&config.mesh, now.name(), key));
        }
    }
    Err(missing("bundle_keys", "bundle.now", now, mesh))
}

/// The log's keys: the one in use and, where the trust file names one and it is here, the next. Blocks on the disk.
///
/// # Errors
/// As [`bundle_signer`]; also where the keys are of another log than `log_origin`.
pub fn log_keys(config: &BrokerConfig, mesh: &MeshTrust) -> Result<(LogKey, Option<LogKey>), BrokerError> {
    let KeyPair { now, next } = mesh.log_keys();
    if now.name() != config.log_origin {
        let problem = format!(
            "is {:?}, and the mesh trust file (version {}) names keys of the log {:?}",
            config.log_origin,
            mesh.version(),
            now.name()
        );
        return Err(BrokerError::Config { key: "log_origin", problem });
    }
    let mut found = (None, None);
    for path in present(&config.log_keys) {
        let key = log_key(path)?;
        if key.verifier() == now {
            found.0 = Some(key);
        } else if Some(key.verifier()) == next.as_ref() {
            found.1 = Some(key);
        }
    }
    let signs = found.0.ok_or_else(|| missing("log_keys", "log.now", now, mesh))?;
    Ok((signs, found.1))
}

/// Reads the key that signs the log's checkpoints: one line, C2SP signed-note's form of a private key.
///
/// # Errors
/// [`BrokerError`] naming the file.
pub fn log_key(path: &Path) -> Result<LogKey, BrokerError> {
    let bytes = files::read_private(path, LOG_KEY_BYTES_MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    LogKey::from_skey(&text).map_err(|source| BrokerError::LogKey { path: path.to_owned(), source })
}

/// A key that is yet to come, or was taken away after a change, leaves its place empty.
fn present(slots: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    slots.iter().filter(|path| path.exists())
}

fn missing(slots: &'static str, used: &'static str, key: &VerifierKey, mesh: &MeshTrust) -> BrokerError {
    BrokerError::NoSuchKey { slots, used, key: key.label(), version: mesh.version() }
}
