//! Every change that the log makes on disk goes through here, so that each one can be made to fail in a test.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::error::{LogError, Trying as _};

/// The hand that writes. Errors are never retried: after a failed flush the state of the file is unknown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: faults::Faults,
}

impl Disk {
    /// Writes a new file and makes its content and name durable: `temp` in the same file system, then renamed.
    /// The folder of `path` must be flushed by the caller, once for all files written into it.
    pub(crate) fn replace(&self, temp: &Path, path: &Path, bytes: &[u8]) -> Result<File, LogError> {
        let mut file = self.create(temp)?;
        self.append(&mut file, bytes, temp)?;
        self.attempt()
            .and_then(|()| file.sync_all())
            .trying("flush", temp)?;
        self.attempt()
            .and_then(|()| fs::rename(temp, path))
            .trying("rename a new file to", path)?;
        Ok(file)
    }

    /// Creates a file, or empties it.
    fn create(&self, path: &Path) -> Result<File, LogError> {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)
        };
        self.attempt().and_then(|()| open()).trying("create", path)
    }

    /// Writes at the file's position.
    pub(crate) fn append(&self, file: &mut File, bytes: &[u8], path: &Path) -> Result<(), LogError> {
        let torn = self.attempt();
        if torn.is_err() {
            // A failing disk leaves half a write behind.
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
        }
        torn.and_then(|()| file.write_all(bytes)).trying("write", path)
    }

    /// Writes at an offset, without flushing.
    pub(crate) fn write_at(
        &self,
        file: &File,
        bytes: &[u8],
        offset: u64,
        path: &Path,
    ) -> Result<(), LogError> {
        self.attempt()
            .and_then(|()| file.write_all_at(bytes, offset))
            .trying("write", path)
    }

    /// Makes the written bytes of a file durable (`fdatasync`).
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), LogError> {
        self.attempt()
            .and_then(|()| file.sync_data())
            .trying("flush", path)
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        let sync = || File::open(dir)?.sync_all();
        self.attempt()
            .and_then(|()| sync())
            .trying("flush the folder", dir)
    }

    /// Creates a folder and its parents, durably. Returns at once when it exists.
    pub(crate) fn create_dir(&self, dir: &Path) -> Result<(), LogError> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(Path::new("/"));
        self.create_dir(parent)?;
        self.attempt()
            .and_then(|()| fs::create_dir(dir))
            .trying("create the folder", dir)?;
        self.sync_dir(parent)
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), LogError> {
        self.attempt()
            .and_then(|()| absent_is_fine(fs::remove_file(path)))
            .trying("remove", path)
    }

    /// Removes a folder with its content; one that is not there is fine.
    pub(crate) fn remove_dir(&self, path: &Path) -> Result<(), LogError> {
        self.attempt()
            .and_then(|()| absent_is_fine(fs::remove_dir_all(path)))
            .trying("remove the folder", path)
    }

    #[cfg(not(test))]
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the test build fails here on demand"
    )]
    fn attempt(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn attempt(&self) -> io::Result<()> {
        self.faults.attempt()
    }
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            Ok(())
        } else {
            Err(error)
        }
    })
}

/// Faults on demand: the n-th operation fails, and every one after it.
#[cfg(test)]
pub(crate) mod faults {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// How many operations will still succeed, shared by all clones.
    #[derive(Clone, Debug)]
    pub(crate) struct Faults(Arc<AtomicU64>);

    impl Faults {
        /// The disk dies after this many operations.
        pub(crate) fn after(operations: u64) -> Self {
            Self(Arc::new(AtomicU64::new(operations)))
        }

        pub(super) fn attempt(&self) -> io::Result<()> {
            let left = self
                .0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            left.map(|_| ()).map_err(|_| io::Error::other("injected fault"))
        }
    }

    impl Default for Faults {
        fn default() -> Self {
            Self::after(u64::MAX)
        }
    }
}
