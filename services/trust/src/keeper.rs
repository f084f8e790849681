//! The versions that a role holds on its disk: the newest, and those before it that changed the roots, which others may
//! still need.
//!
//! ```text
//! <data_dir>/trust/<version>.trust
//! ```
//!
//! A version is durable before it takes effect, so that no restart and no restored configuration goes back behind it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lienthong_audit::note::NOTE_BYTES_MAX;
use lienthong_certs::files;
use time::OffsetDateTime;

use crate::config::TrustConfig;
use crate::error::{KeeperError, TrustFileError};
use crate::signed::{Followed, SignedTrust};

/// Versions kept at most: changes of roots, and the newest.
pub const VERSIONS_KEPT_MAX: usize = 64;

/// Whose trust it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Id of the mesh, as configured.
    pub mesh: &'a str,
    /// Whether this is a development mesh, as configured.
    pub development: bool,
    /// Folder of the role's state.
    pub data_dir: &'a Path,
}

/// The versions that a role holds.
#[derive(Debug)]
pub struct TrustKeeper {
    file: PathBuf,
    dir: PathBuf,
    /// Oldest first; never empty.
    kept: Vec<Arc<SignedTrust>>,
}

impl TrustKeeper {
    /// Takes up what is held and the configured file, whichever is newer, and makes it durable. Without anything held,
    /// the file must be signed by the pinned roots. With something held, a file that is refused is told to the log and
    /// changes nothing.
    ///
    /// # Errors
    /// [`KeeperError`] if there is nothing to believe.
    pub fn open(config: &TrustConfig, owner: Owner<'_>, now: OffsetDateTime) -> Result<Self, KeeperError> {
        let (mut keeper, news) = Self::look(config, owner, now)?;
        if let Some(news) = news {
            keeper.keep(&news)?;
        }
        Ok(keeper)
    }

    /// The trust that [`TrustKeeper::open`] would begin with; touches nothing.
    ///
    /// # Errors
    /// As [`TrustKeeper::open`].
    pub fn peek(
        config: &TrustConfig,
        owner: Owner<'_>,
        now: OffsetDateTime,
    ) -> Result<Arc<SignedTrust>, KeeperError> {
        let (keeper, news) = Self::look(config, owner, now)?;
        Ok(news.unwrap_or_else(|| Arc::clone(keeper.held())))
    }

    /// The version in force.
    pub fn held(&self) -> &Arc<SignedTrust> {
        // Made with one, and never made empty.
        &self.kept[self.kept.len() - 1]
    }

    /// Judges a file by the version in force; `None` where it is the same. What is answered is not yet kept.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn judge(
        &self,
        note: &[u8],
        now: OffsetDateTime,
    ) -> Result<Option<Arc<SignedTrust>>, TrustFileError> {
        match self.held().follow(SignedTrust::read(note)?, now)? {
            Followed::Same => Ok(None),
            Followed::Newer(newer) => Ok(Some(Arc::new(*newer))),
        }
    }

    /// Judges the configured file as it is now.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn judge_file(&self, now: OffsetDateTime) -> Result<Option<Arc<SignedTrust>>, KeeperError> {
        let bytes = files::read(&self.file, NOTE_BYTES_MAX as u64)?;
        self.judge(&bytes, now).map_err(|source| KeeperError::File { path: self.file.clone(), source })
    }

    /// Keeps what [`TrustKeeper::judge`] found to be newer, durably: from now on nothing older is taken.
    ///
    /// # Errors
    /// [`KeeperError::Folder`]; then nothing changed.
    pub fn keep(&mut self, newer: &Arc<SignedTrust>) -> Result<(), KeeperError> {
        fs::create_dir_all(&self.dir)
            .map_err(|source| KeeperError::Folder { path: self.dir.clone(), source })?;
        files::replace(&self.path(newer.trust().version()), newer.to_file().as_bytes())?;
        let mut superseded = Vec::new();
        if let [.., before, last] = self.kept.as_slice()
            && !last.changes_roots(before)
        {
            superseded.extend(self.kept.pop());
        }
        if self.kept.last().is_none_or(|last| last.trust().version() < newer.trust().version()) {
            self.kept.push(Arc::clone(newer));
        }
        if self.kept.len() > VERSIONS_KEPT_MAX {
            superseded.push(self.kept.remove(0));
        }
        for old in superseded {
            let path = self.path(old.trust().version());
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a superseded trust file stays on disk; it does no harm");
            }
        }
        Ok(())
    }

    /// What somebody who holds `version` must take, in this order, to come to the version in force.
    pub fn since(&self, version: u64) -> Vec<Arc<SignedTrust>> {
        self.kept.iter().filter(|kept| kept.trust().version() > version).cloned().collect()
    }

    fn look(
        config: &TrustConfig,
        owner: Owner<'_>,
        now: OffsetDateTime,
    ) -> Result<(Self, Option<Arc<SignedTrust>>), KeeperError> {
        let dir = owner.data_dir.join("trust");
        let mut keeper = Self { file: config.file.clone(), kept: read_kept(&dir)?, dir };
        if let Some(held) = keeper.kept.last() {
            let at = keeper.path(held.trust().version());
            held.fits(owner.mesh, owner.development)
                .map_err(|source| KeeperError::Kept { path: at, source })?;
            let news = keeper.judge_file(now).unwrap_or_else(|error| {
                tracing::warn!(%error, held = keeper.held().trust().version(), "the configured trust file is not taken; what is held goes on");
                None
            });
            return Ok((keeper, news));
        }
        let bytes = files::read(&config.file, NOTE_BYTES_MAX as u64)?;
        let first = SignedTrust::read(&bytes)
            .and_then(|signed| signed.pinned(&config.root, owner.mesh, owner.development, now))
            .map_err(|source| KeeperError::File { path: config.file.clone(), source })?;
        let first = Arc::new(first);
        keeper.kept.push(Arc::clone(&first));
        Ok((keeper, Some(first)))
    }

    fn path(&self, version: u64) -> PathBuf {
        self.dir.join(format!("{version:020}.trust"))
    }
}

/// What was kept, oldest first. It was judged before it was kept; read again, each must still be whole.
fn read_kept(dir: &Path) -> Result<Vec<Arc<SignedTrust>>, KeeperError> {
    let folder = |source| KeeperError::Folder { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(folder)?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(folder)?.path();
        if path.extension().is_some_and(|extension| extension == "trust") {
            paths.push(path);
        }
    }
    // Names of one width: by name is by version.
    paths.sort_unstable();
    let read = |path: &PathBuf| {
        let bytes = files::read(path, NOTE_BYTES_MAX as u64)?;
        SignedTrust::read(&bytes)
            .map(Arc::new)
            .map_err(|source| KeeperError::Kept { path: path.clone(), source })
    };
    paths.iter().map(read).collect()
}
