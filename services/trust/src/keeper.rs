//! The versions that a role holds on its disk: the newest, and those before it that changed the roots, which others may
//! still need.
//!
//! ```text
//! <data_dir>/trust/<version>.trust
//! ```
//!
//! A change of roots whose time had ended when it was taken is first kept as `<version>.step`, which counts only where a
//! later `.trust` lies beside it: no crash leaves it in force. A version is durable before it takes effect, so that no restart and no restored configuration goes back behind it.

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
    /// Changes of roots after those, in order, whose time has ended: steps towards a version that is in force. In memory
    /// only; whoever hands them on does so again.
    steps: Vec<Arc<SignedTrust>>,
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

    /// Judges a file by the version in force; `None` where it is the same, or an ended change of roots that is a step
    /// towards another. What is answered is not yet kept.
    ///
    /// # Errors
    /// [`TrustFileError`].
    pub fn judge(
        &mut self,
        note: &[u8],
        now: OffsetDateTime,
    ) -> Result<Option<Arc<SignedTrust>>, TrustFileError> {
        let file = SignedTrust::read(note)?;
        // From the last step before it: whoever knows of a change of roots goes by no root of before.
        let before = self.steps.partition_point(|step| step.trust().version() <= file.trust().version());
        let from = before.checked_sub(1).map_or(self.held(), |last| &self.steps[last]);
        match from.follow(file, now)? {
            Followed::Same => Ok(None),
            Followed::Newer(newer) => {
                self.steps.truncate(before);
                Ok(Some(Arc::new(*newer)))
            }
            Followed::Step(step) => {
                let (version, until) = (step.trust().version(), step.trust().expires());
                tracing::warn!(version, until = %until.date(), "this mesh trust file has ended: it is a step towards a newer one, and not in force");
                self.steps.truncate(before.min(VERSIONS_KEPT_MAX - 1));
                self.steps.push(Arc::new(*step));
                Ok(None)
            }
        }
    }

    /// Judges the configured file as it is now.
    ///
    /// # Errors
    /// [`KeeperError`].
    pub fn judge_file(&mut self, now: OffsetDateTime) -> Result<Option<Arc<SignedTrust>>, KeeperError> {
        let bytes = files::read(&self.file, NOTE_BYTES_MAX as u64)?;
        self.judge(&bytes, now).map_err(|source| KeeperError::File { path: self.file.clone(), source })
    }

    /// Keeps what [`TrustKeeper::judge`] found to be newer, durably, with the steps that led to it: from now on nothing
    /// older is taken.
    ///
    /// # Errors
    /// [`KeeperError::Folder`]; then nothing changed.
    pub fn keep(&mut self, newer: &Arc<SignedTrust>) -> Result<(), KeeperError> {
        fs::create_dir_all(&self.dir)
            .map_err(|source| KeeperError::Folder { path: self.dir.clone(), source })?;
        for step in &self.steps {
            files::replace(&self.step_path(step), step.to_file().as_bytes())?;
        }
        files::replace(&self.path(newer.trust().version()), newer.to_file().as_bytes())?;
        for step in std::mem::take(&mut self.steps) {
            if let Err(error) = fs::rename(self.step_path(&step), self.path(step.trust().version())) {
                tracing::warn!(%error, "a step keeps its ending; it counts all the same");
            }
            self.supersede(&step);
        }
        self.supersede(newer);
        Ok(())
    }

    /// What somebody who holds `version` must take, in this order, to come to the version in force.
    pub fn since(&self, version: u64) -> Vec<Arc<SignedTrust>> {
        self.kept.iter().filter(|kept| kept.trust().version() > version).cloned().collect()
    }

    /// Puts a version that is on disk at the end, and forgets what nobody needs any more.
    fn supersede(&mut self, newer: &Arc<SignedTrust>) {
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
    }

    fn look(
        config: &TrustConfig,
        owner: Owner<'_>,
        now: OffsetDateTime,
    ) -> Result<(Self, Option<Arc<SignedTrust>>), KeeperError> {
        let dir = owner.data_dir.join("trust");
        let kept = read_kept(&dir)?;
        let mut keeper = Self { file: config.file.clone(), kept, steps: Vec::new(), dir };
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

    fn step_path(&self, step: &SignedTrust) -> PathBuf {
        self.path(step.trust().version()).with_extension("step")
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
        if path.extension().is_some_and(|extension| extension == "trust" || extension == "step") {
            paths.push(path);
        }
    }
    // Names of one width: by name is by version.
    paths.sort_unstable();
    while paths.pop_if(|last| last.extension().is_some_and(|extension| extension == "step")).is_some() {}
    let read = |path: &PathBuf| {
        let bytes = files::read(path, NOTE_BYTES_MAX as u64)?;
        SignedTrust::read(&bytes)
            .map(Arc::new)
            .map_err(|source| KeeperError::Kept { path: path.clone(), source })
    };
    paths.iter().map(read).collect()
}
