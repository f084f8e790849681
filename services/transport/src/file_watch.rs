//! Files that are replaced while a role runs: certificate, key, authorities, revocation lists.
//!
//! What counts as a change is what `stat` says of each file, looked at anew after every notice of the system (inotify
//! on the folders) and every [`POLL_MS`] without one: a network file system gives no notice, and a folder that is swapped
//! as a whole, as container platforms do with secrets, gives one for another folder. A file that is being written is
//! waited for until it rests. Nothing is read here, so that a watch can be as wide as a configuration.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

/// Longest time until a change is seen of which the system gives no notice, milliseconds.
pub const POLL_MS: u64 = 5_000;
/// How long files rest before a change counts as whole, milliseconds.
pub const REST_MS: u64 = 200;
/// Longest wait for files to rest, milliseconds: whoever never stops writing is looked at as he is.
pub const REST_WAIT_MS_MAX: u64 = 2_000;
/// Folders of which the system is asked for notices; files in more are polled.
pub const FOLDERS_MAX: usize = 64;

/// Bytes of notices taken at once; what they say is not read, only that there are some.
const NOTICE_BYTES: usize = 4096;

/// A watch over some files, which need not exist.
#[derive(Debug)]
pub struct FileWatch {
    files: Arc<[PathBuf]>,
    seen: Vec<Stamp>,
    notices: Option<Receiver>,
}

/// What tells one state of a file from another; `None` where there is no such file.
type Stamp = Option<[i128; 4]>;

impl FileWatch {
    /// Watches `files` from now on, each once. A few `stat` calls; the system's notices need a tokio runtime with I/O.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> FileWatch {
        let files: BTreeSet<PathBuf> = files.into_iter().collect();
        let notices = notices(&files)
            .inspect_err(|error| {
                tracing::warn!(%error, "no notice of changed files from the system; they are polled");
            })
            .ok();
        let files: Arc<[PathBuf]> = files.into_iter().collect();
        FileWatch { seen: stamps(&files), files, notices }
    }

    /// Waits until a file is another than it was, and all of them rest. Safe to cancel: a change that was not told is
    /// told by the next call.
    pub async fn changed(&mut self) {
        loop {
            let now = self.look().await;
            if now != self.seen {
                self.seen = self.rest(now).await;
                return;
            }
            tokio::select! {
                () = notice(self.notices.as_ref()) => {}
                () = sleep(Duration::from_millis(POLL_MS)) => {}
            }
        }
    }

    /// The stamps once they stay the same for [`REST_MS`].
    async fn rest(&self, mut last: Vec<Stamp>) -> Vec<Stamp> {
        let until = Instant::now() + Duration::from_millis(REST_WAIT_MS_MAX);
        loop {
            sleep(Duration::from_millis(REST_MS)).await;
            let now = self.look().await;
            if now == last || Instant::now() >= until {
                return now;
            }
            last = now;
        }
    }

    /// `stat` may wait for a network: never on a thread that serves.
    async fn look(&self) -> Vec<Stamp> {
        let files = Arc::clone(&self.files);
        spawn_blocking(move || stamps(&files)).await.unwrap_or_else(|_| self.seen.clone())
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    // The inode tells a file that was renamed into place; ctime one that was written within a tick of mtime, and one
    // whose mode alone was mended.
    Some([
        i128::from(about.ino()),
        i128::from(about.size()),
        nanos(about.mtime(), about.mtime_nsec()),
        nanos(about.ctime(), about.ctime_nsec()),
    ])
}

/// Asks the system for notices about the folders of `files`: a file is usually renamed into place, and its own watch
/// would stay with the old one. A folder that is not there yet is polled.
fn notices(files: &BTreeSet<PathBuf>) -> io::Result<Receiver> {
    let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let here = Path::new(".");
    let folders: BTreeSet<&Path> = files
        .iter()
        .filter_map(|path| path.parent())
        .map(|folder| if folder.as_os_str().is_empty() { here } else { folder })
        .collect();
    let wanted = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB;
    for folder in folders.into_iter().take(FOLDERS_MAX) {
        if let Err(error) = inotify::add_watch(&queue, folder, wanted) {
            tracing::debug!(folder = %folder.display(), %error, "this folder is polled");
        }
    }
    // Read as a pipe is read: bytes that come, and a reader that waits for them.
    Receiver::from_owned_fd_unchecked(queue)
}

/// Waits for notices and takes them off the queue.
async fn notice(queue: Option<&Receiver>) {
    let mut buffer = [0_u8; NOTICE_BYTES];
    while let Some(queue) = queue
        && queue.readable().await.is_ok()
    {
        match queue.try_read(&mut buffer) {
            Ok(_) => return,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            // The queue is broken: polling goes on.
            Err(_) => break,
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Far longer than a poll, so that only a change that is never seen fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    async fn told(watch: &mut FileWatch) {
        tokio::time::timeout(PATIENCE, watch.changed()).await.expect("the change is never told");
    }

    async fn quiet(watch: &mut FileWatch) {
        let heard = tokio::time::timeout(Duration::from_millis(2 * REST_MS), watch.changed()).await;
        assert!(heard.is_err(), "nothing changed");
    }

    #[tokio::test]
    async fn every_way_of_replacing_a_file_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.crt");
        let mut watch = FileWatch::new([path.clone(), path.clone()]);
        quiet(&mut watch).await;
        fs::write(&path, "one").unwrap();
        told(&mut watch).await;
        fs::write(&path, "two").unwrap();
        told(&mut watch).await;
        let beside = folder.path().join("node.crt.new");
        fs::write(&beside, "six").unwrap();
        fs::rename(&beside, &path).unwrap();
        told(&mut watch).await;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        told(&mut watch).await;
        fs::write(folder.path().join("another"), "file").unwrap();
        quiet(&mut watch).await;
        fs::remove_file(&path).unwrap();
        told(&mut watch).await;
        quiet(&mut watch).await;
    }

    #[tokio::test]
    async fn without_notices_files_are_polled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.crt");
        let mut watch = FileWatch { notices: None, ..FileWatch::new([path.clone()]) };
        fs::write(&path, "one").unwrap();
        told(&mut watch).await;
    }

    /// As container platforms mount secrets: the file is a link through a folder that is swapped as a whole.
    #[tokio::test]
    async fn a_folder_that_is_swapped_is_a_change_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [("1", "old"), ("2", "new")] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("node.crt"), text).unwrap();
        }
        symlink("1", at("data")).unwrap();
        let path = at("node.crt");
        symlink("data/node.crt", &path).unwrap();
        let mut watch = FileWatch::new([path.clone()]);
        symlink("2", at("data.new")).unwrap();
        fs::rename(at("data.new"), at("data")).unwrap();
        told(&mut watch).await;
        assert_eq!(fs::read_to_string(path).unwrap(), "new");
    }

    #[tokio::test]
    async fn a_file_is_told_when_it_rests_and_a_cancelled_wait_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.crt");
        let mut watch = FileWatch::new([path.clone()]);
        fs::write(&path, "half").unwrap();
        // Cancelled while it waits for the file to rest.
        assert!(tokio::time::timeout(Duration::from_millis(REST_MS / 4), watch.changed()).await.is_err());
        told(&mut watch).await;

        // Written all the time: told nevertheless.
        let writing = tokio::spawn({
            let path = path.clone();
            async move {
                for number in 0_u64.. {
                    fs::write(&path, number.to_string()).unwrap();
                    sleep(Duration::from_millis(REST_MS / 8)).await;
                }
            }
        });
        told(&mut watch).await;
        writing.abort();
    }
}
