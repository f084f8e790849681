//! Reading and writing PEM with bounds; private files only at mode 0600.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Largest file of certificates or keys read, in bytes.
pub const PEM_BYTES_MAX: u64 = 1024 * 1024;
/// Most permissive mode of a private file: its owner reads and writes.
pub const PRIVATE_MODE: u32 = 0o600;

/// A file that cannot be read or written as it should.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than the bound.
    #[error("{path} is larger than {bytes_max} bytes, the most that is read")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound, in bytes.
        bytes_max: u64,
    },
    /// Others than the owner may use a private key.
    #[error("{path} has mode {mode:04o}: a private key must be 0600 or stricter; run `chmod 600 {path}`")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not PEM, or PEM without what was looked for.
    #[error("{path} holds no usable {what}: {detail}")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
}

/// Every certificate in the PEM file, in its order; at least one.
///
/// # Errors
/// [`FileError`] if the file cannot be read, is too large, broken, or holds none.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(path, PEM_BYTES_MAX)?;
    let broken = |detail: String| FileError::Pem { path: path.to_owned(), what: "PEM certificate", detail };
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| broken(error.to_string()))?;
    if certificates.is_empty() {
        return Err(broken("no `BEGIN CERTIFICATE` section".to_owned()));
    }
    Ok(certificates)
}

/// The one private key in the PEM file, whose mode must be 0600 or stricter.
///
/// # Errors
/// [`FileError`] as [`certificates`], and if the mode lets others read the key.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read_private(path, PEM_BYTES_MAX)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| FileError::Pem {
        path: path.to_owned(),
        what: "unencrypted private key in PEM (PKCS #8, SEC 1 or PKCS #1)",
        detail: error.to_string(),
    })
}

/// The whole file, at most `bytes_max` long.
///
/// # Errors
/// [`FileError::Io`] or [`FileError::TooLarge`].
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let file = File::open(path).map_err(|source| io_error("read", path, source))?;
    read_open(file, path, bytes_max)
}

/// As [`read`], for a file that nobody but its owner may open. The mode checked is that of the file opened,
/// not of whatever stands under its name a moment later.
///
/// # Errors
/// As [`read`], and [`FileError::Permissions`].
pub fn read_private(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|source| io_error("read", path, source))?;
    let metadata = file.metadata().map_err(|source| io_error("read", path, source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & !PRIVATE_MODE != 0 {
        return Err(FileError::Permissions { path: path.to_owned(), mode });
    }
    read_open(file, path, bytes_max).map(Zeroizing::new)
}

/// Writes a new private file at mode 0600 and makes it durable. Never overwrites: a key lost is a key gone.
///
/// # Errors
/// [`FileError::Io`], also if the file exists.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_MODE).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(path)
    };
    write().map_err(|source| io_error("write", path, source))
}

/// Writes a public file whole or not at all: beside it first, then renamed over it, then durable.
///
/// # Errors
/// [`FileError::Io`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        sync_folder(path)
    };
    write().map_err(|source| io_error("write", path, source))
}

/// Makes a change of the folder around `path` durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn read_open(file: File, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|source| io_error("read", path, source))?;
    if bytes.len() as u64 > bytes_max {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};

    use super::*;

    #[test]
    fn a_private_file_is_owner_only_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(*read_private(&path, 100).unwrap(), b"secret");
        assert!(matches!(create_private(&path, b"other"), Err(FileError::Io { .. })));
        assert_eq!(*read_private(&path, 100).unwrap(), b"secret");
    }

    #[test]
    fn a_key_that_others_may_touch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"secret").unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o700, false)]
        {
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = read_private(&path, 100);
            assert_eq!(read.is_ok(), accepted, "{mode:o}: {read:?}");
            if let Err(error) = read {
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
    }

    #[test]
    fn reading_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, &[b'a'; 100]).unwrap();
        assert_eq!(read(&path, 100).unwrap().len(), 100);
        assert!(matches!(read(&path, 99), Err(FileError::TooLarge { bytes_max: 99, .. })));
    }
}
