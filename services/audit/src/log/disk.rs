//! Every change that the log makes on disk goes through here, so that each one can be watched, and made to fail, in a
//! test.

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
    /// Writes a new file and makes its content durable: `temp` in the same file system, flushed, then renamed.
    /// The folder of `path` must be flushed by the caller, once for all files written into it.
    pub(crate) fn replace(&self, temp: &Path, path: &Path, bytes: &[u8]) -> Result<File, LogError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let mut file = self.act("create", temp, || options.open(temp))?;
        self.append(&mut file, bytes, temp)?;
        self.act("flush", temp, || file.sync_all())?;
        self.act("rename a new file to", path, || fs::rename(temp, path))?;
        Ok(file)
    }

    /// Writes at the file's position.
    pub(crate) fn append(&self, file: &mut File, bytes: &[u8], path: &Path) -> Result<(), LogError> {
        if let Err(error) = self.attempt("write", path) {
            // A failing disk leaves half a write behind.
            let _ = file.write_all(&bytes[..bytes.len() / 2]);
            return Err(error).trying("write", path);
        }
        file.write_all(bytes).trying("write", path)
    }

    /// Writes at an offset, without flushing.
    pub(crate) fn write_at(
        &self,
        file: &File,
        bytes: &[u8],
        offset: u64,
        path: &Path,
    ) -> Result<(), LogError> {
        self.act("write", path, || file.write_all_at(bytes, offset))
    }

    /// Makes the written bytes of a file durable (`fdatasync`).
    pub(crate) fn sync_data(&self, file: &File, path: &Path) -> Result<(), LogError> {
        self.act("flush", path, || file.sync_data())
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        self.act("flush the folder", dir, || File::open(dir)?.sync_all())
    }

    /// Creates a folder and its parents down from `root`, and makes their names durable, also where another process
    /// created them and was cut off before it could.
    pub(crate) fn create_dir(&self, root: &Path, dir: &Path) -> Result<(), LogError> {
        if dir == root {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(root);
        self.create_dir(root, parent)?;
        if !dir.is_dir() {
            self.act("create the folder", dir, || fs::create_dir(dir))?;
        }
        self.sync_dir(parent)
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), LogError> {
        self.act("remove", path, || absent_is_fine(fs::remove_file(path)))
    }

    /// Removes a folder with its content; one that is not there is fine.
    pub(crate) fn remove_dir(&self, path: &Path) -> Result<(), LogError> {
        self.act("remove the folder", path, || absent_is_fine(fs::remove_dir_all(path)))
    }

    fn act<T>(
        &self,
        action: &'static str,
        path: &Path,
        run: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, LogError> {
        self.attempt(action, path).and_then(|()| run()).trying(action, path)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "the test build fails here on demand")]
    fn attempt(&self, _action: &'static str, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn attempt(&self, action: &'static str, path: &Path) -> io::Result<()> {
        self.faults.attempt(action, path)
    }
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    outcome.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Faults on demand: the n-th operation fails, and every one after it. Keeps a list of all that went well.
#[cfg(test)]
pub(crate) mod faults {
    use std::io;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    /// Shared by all clones.
    #[derive(Clone, Debug)]
    pub(crate) struct Faults {
        operations_max: usize,
        done: Arc<Mutex<Vec<String>>>,
    }

    impl Faults {
        /// The disk dies after this many operations.
        pub(crate) fn after(operations_max: usize) -> Self {
            Self { operations_max, done: Arc::default() }
        }

        /// What was done so far: action and path.
        pub(crate) fn done(&self) -> Vec<String> {
            self.done.lock().unwrap().clone()
        }

        pub(super) fn attempt(&self, action: &str, path: &Path) -> io::Result<()> {
            let mut done = self.done.lock().unwrap();
            if done.len() == self.operations_max {
                return Err(io::Error::other("injected fault"));
            }
            done.push(format!("{action} {}", path.display()));
            Ok(())
        }
    }

    impl Default for Faults {
        fn default() -> Self {
            Self::after(usize::MAX)
        }
    }
}
