//! The files in which the operator declares catalog and registry: read from disk here, understood by
//! `lienthong-catalog`, which does no I/O.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lienthong_approval::file::APPROVALS_FILE;
use lienthong_approval::{ApprovalError, ApprovalFile, Statement, folder_hash};
use lienthong_audit::hash::Hash;
use lienthong_catalog::Catalog;
use lienthong_catalog::source::SourceFile;
use lienthong_certs::{Credentials, files};
use time::OffsetDateTime;

use crate::activated::in_force;
use crate::error::BrokerError;
use crate::limits::{CATALOG_FILE_BYTES_MAX, CATALOG_FILES_MAX};

/// The `*.yaml` files of a catalog folder, sorted by name. Blocks on the disk.
///
/// # Errors
/// [`BrokerError::Source`] naming the file, also when there are none.
pub fn read_folder(dir: &Path) -> Result<Vec<SourceFile>, BrokerError> {
    let failed = |source| BrokerError::Source { path: dir.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    match paths.len() {
        0 => Err(failed(io::Error::new(io::ErrorKind::NotFound, "the folder holds no *.yaml file"))),
        files if files > CATALOG_FILES_MAX => Err(failed(io::Error::other(format!(
            "{files} *.yaml files; at most {CATALOG_FILES_MAX} are read"
        )))),
        _ => paths.iter().map(|path| read_file(path)).collect(),
    }
}

/// One file. Blocks on the disk.
///
/// # Errors
/// [`BrokerError::Source`] naming the file, also when it is too large or not UTF-8.
pub fn read_file(path: &Path) -> Result<SourceFile, BrokerError> {
    let failed = |source| BrokerError::Source { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(CATALOG_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CATALOG_FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!(
            "more than {CATALOG_FILE_BYTES_MAX} bytes, the most that is read"
        ))));
    }
    let text = String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error)))?;
    Ok(SourceFile { name: shown(path), text })
}

/// Signs a catalog folder as one person of the operator: adds the approval to `approvals.json` in it. `base` is the hash of
/// the folder that it stands on; none for one that stands alone, as the first does. Blocks on the disk.
///
/// # Errors
/// [`BrokerError`]: also every mistake of the folder, which nobody should sign.
pub fn sign_folder(
    dir: &Path,
    mesh: &str,
    base: Option<Hash>,
    credentials: &Credentials,
    time: OffsetDateTime,
) -> Result<Statement, BrokerError> {
    let files = read_folder(dir)?;
    let catalog = Catalog::read(&files).map_err(BrokerError::Mistakes)?;
    let statement = Statement::of(mesh, base, folder_hash(&files), &in_force(&catalog));
    let path = dir.join(APPROVALS_FILE);
    let before = match fs::read_to_string(&path) {
        Ok(text) => ApprovalFile::read(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ApprovalFile::default(),
        Err(source) => return Err(BrokerError::Source { path, source }),
    };
    let unsigned = |error: ApprovalError| BrokerError::Unapproved(error.to_string());
    let signed = before.signed(&statement.to_bytes(), credentials, time).map_err(unsigned)?;
    files::replace(&path, signed.to_text().as_bytes())?;
    Ok(statement)
}

/// A path as mistakes name it: the file's own name says enough, and keeps messages alike on every machine.
fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| path.to_owned(), PathBuf::from).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_in_order_and_only_its_yaml() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.yaml", "b"), ("a.yaml", "a"), ("notes.txt", "no"), ("c.yaml~", "no")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let files = read_folder(folder.path()).unwrap();
        let read: Vec<_> = files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
        assert_eq!(read, [("a.yaml", "a"), ("b.yaml", "b")]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let empty = read_folder(folder.path()).unwrap_err().to_string();
        assert!(empty.contains("no *.yaml"), "{empty}");
        let path = folder.path().join("a.yaml");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let binary = read_folder(folder.path()).unwrap_err().to_string();
        assert!(binary.contains("a.yaml") && binary.contains("utf-8"), "{binary}");
        fs::write(&path, vec![b' '; usize::try_from(CATALOG_FILE_BYTES_MAX).unwrap() + 1]).unwrap();
        assert!(read_folder(folder.path()).unwrap_err().to_string().contains("bytes"));
    }
}
