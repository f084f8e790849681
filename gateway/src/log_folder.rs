//! The public files of the log.
//!
//! A file is named by its coordinates in the tree, read from the request and written anew by `lienthong-audit`. No text
//! of a request ever becomes part of a path, so there is nothing to traverse.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lienthong_audit::hash::HASH_BYTES;
use lienthong_audit::note::NOTE_BYTES_MAX;
use lienthong_audit::tile::{TileId, TileKind};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// The folder, of which nothing but checkpoint and hash tiles is ever read.
#[derive(Clone, Debug)]
pub struct LogFolder {
    dir: PathBuf,
}

impl LogFolder {
    /// The log in `dir`, which need not be there yet.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The published checkpoint, signatures included, unverified, and when it was published.
    pub async fn checkpoint(&self) -> Result<(String, SystemTime), LogFolderError> {
        let (bytes, published) = self.read("checkpoint", NOTE_BYTES_MAX).await?;
        let text = String::from_utf8(bytes).map_err(|_| LogFolderError::Damaged {
            file: "checkpoint".to_owned(),
            problem: "it is not UTF-8 text".to_owned(),
        })?;
        Ok((text, published))
    }

    /// The bytes of the tile that `path` (such as `tile/0/x001/067.p/12`) names.
    pub async fn tile(&self, path: &str) -> Result<Vec<u8>, LogFolderError> {
        let id = public_tile(path)?;
        let bytes_expected = usize::from(id.width) * HASH_BYTES;
        let (bytes, _) = self.read(&id.path(), bytes_expected).await?;
        if bytes.len() != bytes_expected {
            return Err(LogFolderError::Damaged {
                file: id.path(),
                problem: format!("{} bytes where its name asks for {bytes_expected}", bytes.len()),
            });
        }
        Ok(bytes)
    }

    /// Reads the file `name`, which is of our own making, up to `bytes_max`.
    async fn read(&self, name: &str, bytes_max: usize) -> Result<(Vec<u8>, SystemTime), LogFolderError> {
        let failed = |source: io::Error| match source.kind() {
            // A name that is a folder now, or below a file, is one that the log does not have.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
                LogFolderError::NotThere
            }
            _ => LogFolderError::Unreadable { file: name.to_owned(), source },
        };
        let file = File::open(self.dir.join(name)).await.map_err(failed)?;
        let modified = file.metadata().await.and_then(|metadata| metadata.modified()).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
        if bytes.len() > bytes_max {
            let problem = format!("it is longer than {bytes_max} bytes");
            return Err(LogFolderError::Damaged { file: name.to_owned(), problem });
        }
        Ok((bytes, modified))
    }
}

/// The coordinates that `path` names, if they are a hash tile's.
fn public_tile(path: &str) -> Result<TileId, LogFolderError> {
    // Refused by kind before anything else: whether such a bundle exists is nobody's business either.
    if path.starts_with("tile/entries") {
        return Err(LogFolderError::EntriesAreNotPublic);
    }
    let id: TileId = path.parse().map_err(|_| LogFolderError::NotATile)?;
    match id.kind {
        TileKind::Hashes(_) => Ok(id),
        TileKind::Entries => Err(LogFolderError::EntriesAreNotPublic),
    }
}

/// Why there is no such file for the public.
#[derive(Debug, thiserror::Error)]
pub enum LogFolderError {
    /// The name is no tile's.
    #[error("not the path of a tile, such as tile/0/x001/067.p/12 (C2SP tlog-tiles)")]
    NotATile,
    /// The log has none of this name; a partial tile may have become full.
    #[error("the log has no such file; a partial tile is also found in its full one")]
    NotThere,
    /// Entry bundles go to authorised roles only.
    #[error(
        "entries are not public: they say who asked about what and when; authorised roles read them from the broker \
         over mutual TLS (design §6, who may see the log)"
    )]
    EntriesAreNotPublic,
    /// The file is there but is not what the log wrote.
    #[error("{file} of the log is damaged: {problem}")]
    Damaged {
        /// The file, from the log's folder.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is there but cannot be read.
    #[error("{file} of the log cannot be read: {source}")]
    Unreadable {
        /// The file, from the log's folder.
        file: String,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_canonical_names_of_hash_tiles_are_public() {
        for good in ["tile/0/000", "tile/0/x001/x234/067.p/12", "tile/3/000.p/1"] {
            assert_eq!(public_tile(good).unwrap().path(), good);
        }
        for entries in ["tile/entries/000", "tile/entries/../0/000", "tile/entries", "tile/entries/000.p/5"] {
            assert!(matches!(public_tile(entries), Err(LogFolderError::EntriesAreNotPublic)), "{entries}");
        }
        for rubbish in [
            "",
            "tile/",
            "tile/0",
            "tile/0/0",
            "tile/0/000.p/256",
            "tile/0/000.p/0",
            "tile/0/../../checkpoint",
            "tile/../tile/entries/000",
            "tile/0/x000/000",
            "tile//000",
            "tile/00/000",
            "tile/64/000",
            "../checkpoint",
            "/etc/passwd",
            "tile/0/000\0",
            "tile/0/000/",
            "tile/0/..%2f..%2fcheckpoint",
            "TILE/0/000",
        ] {
            assert!(matches!(public_tile(rubbish), Err(LogFolderError::NotATile)), "{rubbish}");
        }
    }

    proptest! {
        #[test]
        fn no_path_becomes_another_one(path in "(tile/)?[a-z0-9./%\\\\x ]{0,40}") {
            if let Ok(id) = public_tile(&path) {
                prop_assert_eq!(id.path(), path.clone());
                prop_assert!(!path.contains("..") && !path.contains("entries"));
            }
        }
    }
}
