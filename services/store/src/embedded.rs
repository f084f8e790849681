//! The store in `sled`, for a single machine.
//!
//! `sled` 0.34.7 is used as an ordered map of small pages, and not trusted beyond that (each point is a measured one):
//!
//! - its `flush` does not reach the disk on Linux: an acknowledged commit has also seen our own `fdatasync` of the
//!   database file. One thread writes, and many commits share one such sync;
//! - large values leave its file for unsynced blobs: values are cut into chunks of 4 KiB, and all sits in one tree;
//! - it may lose a tail in silence when its file is damaged: each record carries a format number and a checksum, the
//!   whole carries a count and a sum, and a *watermark* file of our own names the last acknowledged revision. A
//!   store that does not match them is refused at open;
//! - its lock outlives a killed process for a moment: opening waits.
//!
//! In the folder: `sled/` is sled's, `watermark` and `lock` are ours.
//!
//! - `layout`: keys and records. `disk`: records in the tree. `writer`: the thread that commits.
//! - `watermark`: the file. `verify`: is all there? `export`: to a file and back.

mod disk;
mod export;
mod layout;
mod verify;
mod watermark;
mod writer;

use std::fmt::Display;
use std::fs::{self, File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::batch::{Batch, KeyRange};
use crate::changes::{ChangeLog, Retention, event_bytes};
use crate::contract::{Page, Revision, Store, StoreFuture, Versioned, Watch};
use crate::error::StoreError;

use disk::Disk;
use layout::Meta;
use watermark::Watermark;
use writer::{Job, Writer};

pub use verify::Verified;

/// Commits that wait for the writer; who comes later waits to get in.
pub const COMMITS_QUEUED_MAX: usize = 256;
/// How long opening waits for another process to let go of the store, in milliseconds.
pub const LOCK_WAIT_MS: u64 = 5_000;
const LOCK_RETRY_MS: u64 = 50;
/// How often sled writes back on its own, in milliseconds: a safety net, and what drives its space reclaiming.
const SLED_FLUSH_EVERY_MS: u64 = 500;

/// How to open a [`SledStore`].
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// Memory for sled's page cache, in bytes.
    pub cache_bytes: u64,
    /// Whether to read and check every record at open ([`SledStore::verify`]). Takes about a second per 300,000
    /// entries; without it a damage shows when it is met.
    pub verify_at_open: bool,
}

impl Default for SledOptions {
    /// 64 MiB of cache, verified at open.
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, verify_at_open: true }
    }
}

/// A [`Store`] in a folder of this machine. One process at a time.
#[derive(Debug)]
pub struct SledStore {
    inner: Arc<Inner>,
    jobs: mpsc::Sender<Job>,
    writer: JoinHandle<()>,
}

/// What the handle, the writer and reads in progress share. Fields drop in order: the lock goes last.
#[derive(Debug)]
struct Inner {
    disk: Disk,
    changes: ChangeLog,
    /// The revision of the tree, which may not be durable yet. Held for reading while several records are read, so that
    /// they are of one revision; held for writing while a batch enters the tree.
    applied: RwLock<Revision>,
    _lock: File,
}

impl SledStore {
    /// Opens the store in a folder, which is created if it is not there.
    ///
    /// [`StoreError::Locked`] after [`LOCK_WAIT_MS`] if another process has it; [`StoreError::Corrupt`] if what is
    /// there is not what was acknowledged.
    pub async fn open(folder: &Path, options: SledOptions) -> Result<Self, StoreError> {
        let deadline = Instant::now() + Duration::from_millis(LOCK_WAIT_MS);
        loop {
            let (at, options) = (folder.to_owned(), options.clone());
            match blocking(folder, move || open_now(&at, &options)).await {
                Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(LOCK_RETRY_MS)).await;
                }
                opened => return opened,
            }
        }
    }

    /// Reads every record and checks that all is there that should be, and nothing else. Commits wait meanwhile.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        self.read(verify::verify).await
    }

    /// Writes all entries of one revision to a new file, durably, and answers the revision. Commits wait meanwhile.
    pub async fn export(&self, file: &Path) -> Result<Revision, StoreError> {
        let file = file.to_owned();
        self.read(move |disk| export::export(disk, &file)).await
    }

    /// Makes a store from an export, in a folder that holds none, and opens it. Revisions stay; changes from before
    /// the export cannot be watched.
    pub async fn import(folder: &Path, options: SledOptions, file: &Path) -> Result<Self, StoreError> {
        let (at, cache_bytes, file) = (folder.to_owned(), options.cache_bytes, file.to_owned());
        blocking(folder, move || import_now(&at, cache_bytes, &file)).await?;
        Self::open(folder, options).await
    }

    /// Finishes the commits under way and closes the store. Dropping it does the same, without waiting.
    pub async fn close(self) -> Result<(), StoreError> {
        let folder = self.inner.disk.folder().to_owned();
        let Self { inner, jobs, writer } = self;
        drop((inner, jobs));
        blocking(&folder, move || {
            writer.join().map_err(|_| StoreError::Unavailable { reason: "the writer failed".to_owned() })
        })
        .await
    }

    /// Reads from the tree at one revision, and answers once that revision is durable.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Disk) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        let (value, revision) = blocking(self.inner.disk.folder(), move || {
            let applied = inner.applied.read().unwrap_or_else(PoisonError::into_inner);
            Ok((read(&inner.disk)?, *applied))
        })
        .await?;
        self.inner.changes.durable(revision).await?;
        Ok(value)
    }
}

impl Store for SledStore {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Versioned>> {
        let key = layout::data_key(key);
        self.read(move |disk| disk.value(&key)).boxed()
    }

    fn range<'a>(&'a self, range: &'a KeyRange, limit: usize) -> StoreFuture<'a, Page> {
        let range = range.clone();
        self.read(move |disk| disk.page(&range, limit)).boxed()
    }

    fn commit(&self, batch: Batch) -> StoreFuture<'_, Revision> {
        async {
            batch.check()?;
            let (reply, answer) = oneshot::channel();
            let gone = || StoreError::Unavailable { reason: "its writer has failed, see its log".to_owned() };
            self.jobs.send(Job { batch, reply }).await.map_err(|_| gone())?;
            answer.await.map_err(|_| gone())?
        }
        .boxed()
    }

    fn watch<'a>(&'a self, prefix: &'a [u8], after: Revision) -> StoreFuture<'a, Watch> {
        async move { self.inner.changes.watch(prefix, after) }.boxed()
    }

    fn revision(&self) -> StoreFuture<'_, Revision> {
        async { Ok(self.inner.changes.reached().revision) }.boxed()
    }
}

fn open_now(folder: &Path, options: &SledOptions) -> Result<SledStore, StoreError> {
    let lock = lock_folder(folder)?;
    let mut watermark = Watermark::open(folder)?;
    let disk = Disk::open(folder, options.cache_bytes)?;
    let meta = match disk.meta()? {
        Some(meta) => meta,
        None if disk.is_empty() && watermark.revision() == Revision::ZERO => {
            disk.begin()?;
            Meta::default()
        }
        None => {
            return Err(
                disk.corrupt("it has records but no head: an import was cut short, or its head is lost")
            );
        }
    };
    if meta.revision < watermark.revision() {
        let (there, acknowledged) = (meta.revision, watermark.revision());
        return Err(disk.corrupt(format!("it ends at revision {there}, but {acknowledged} was acknowledged")));
    }
    if options.verify_at_open {
        verify::verify(&disk)?;
    }
    // What a killed process left in the system's cache is about to be shown, so it must be durable first.
    disk.sync()?;
    watermark.write(meta.revision)?;

    let changes = disk.changes(meta)?;
    let mut retention = Retention::default();
    for change in &changes {
        retention.admit(change.revision, event_bytes(&change.events));
    }
    let changes = ChangeLog::new(meta.kept_after, changes);
    let inner = Arc::new(Inner { disk, changes, applied: RwLock::new(meta.revision), _lock: lock });
    let (jobs, queue) = mpsc::channel(COMMITS_QUEUED_MAX);
    let writer = Writer::new(Arc::clone(&inner), watermark, meta, retention).start(queue)?;
    Ok(SledStore { inner, jobs, writer })
}

fn import_now(folder: &Path, cache_bytes: u64, file: &Path) -> Result<(), StoreError> {
    let _lock = lock_folder(folder)?;
    if folder.join(disk::SLED_FOLDER).exists() {
        return Err(io_error(folder, &"a store is there already: import into a folder without one"));
    }
    export::check(file)?;
    let disk = Disk::open(folder, cache_bytes)?;
    let revision = export::import(&disk, file)?;
    Watermark::open(folder)?.write(revision)
}

/// Makes the folder and takes the store's lock in it.
fn lock_folder(folder: &Path) -> Result<File, StoreError> {
    fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| io_error(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: folder.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(io_error(&path, &error)),
    }
}

/// Runs work that reads or writes files on a thread of its own. A panic in it is one of sled's: it asserts on some
/// kinds of damage instead of answering an error.
async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let folder: PathBuf = folder.to_owned();
    let work = move || guarded(&folder, work);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(StoreError::Unavailable { reason: "the runtime is shutting down".to_owned() })
    })
}

/// Turns a panic inside sled into an error.
fn guarded<T>(folder: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(StoreError::Corrupt {
            path: folder.display().to_string(),
            reason: format!("sled gave up: {words}"),
        })
    })
}

fn io_error(path: &Path, reason: &dyn Display) -> StoreError {
    StoreError::Io { path: path.display().to_string(), reason: reason.to_string() }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error(folder, &error))
}
