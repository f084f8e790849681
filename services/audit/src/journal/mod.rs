//! A node's journal: an append-only, hash-chained file of records, durable before anything is released.
//!
//! **How it works.** Traffic threads [`append`](Handle::append) records; each call copies the bytes into the draft
//! of the next group and never waits for the disk. The journal's own thread writes a group, calls `fdatasync`
//! once, and wakes the waiters of [`durable`](Handle::durable), one wake-up a thread. While one `fdatasync` runs
//! the next group gathers by itself. Where many records come at once, it gathers on until a traffic thread
//! [rests](Handle::rest), 5 ms at most: while none does, their calls are ready to run and bring more, and one `fdatasync`
//! does for all of them.
//! The chain is computed after the waiters are woken.
//!
//! **What a crash leaves.** A whole record is kept even if its marker is missing; a torn tail was never
//! acknowledged and is cut off; damage to durable records is an error with its position, never skipped. An error
//! of a write or sync ends the journal: every waiter learns it and the process must end.
//!
//! | module | noun |
//! |---|---|
//! | `frame` | the bytes of a segment |
//! | `folder` | names, lock, identity, acknowledged position |
//! | `disk` | what is asked of a disk |
//! | `options` | how it is kept |
//! | `handle` | the way in for traffic threads |
//! | `history` | what opening reads, or makes |
//! | `queue` | what was accepted and not yet written |
//! | `account` | what the broker has not acknowledged |
//! | `watermark` | a rising level and who waits for it |
//! | `writer` | the thread that commits |
//! | `keeper` | the thread of housekeeping |
//! | `recover` | reading segments back |
//! | `tail` | the newest records in memory |
//! | `cursor` | the older ones, from files |
//! | `shipper` | signed batches for the broker |
//! | `openings` | opening records whose closing has not come yet |
//! | `orphan` | exchanges that a crash left open |
//! | `side_file` | the erasable keys of a journal that is open |
//! | `subjects` | who the records are about, until the broker has heard it |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lienthong_proto::lienthong::audit::v1::JournalPosition;

use crate::hash::Hash;
use crate::keys::{FILE_ROWS_MAX, KeyFiles};
use disk::{Disk, SystemDisk};
use folder::{Acknowledged, Folder};
use history::History;
use keeper::{Keeper, Pool};
use queue::{Limits, Queue, Start};
use subjects::SubjectRows;
use tail::Tail;
use watermark::Watermark;
use writer::Writer;

mod account;
mod cursor;
pub(crate) mod disk;
mod error;
mod folder;
mod frame;
mod handle;
mod history;
mod keeper;
mod openings;
mod options;
mod orphan;
mod queue;
mod recover;
mod shipper;
mod side_file;
mod subjects;
mod tail;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

pub use account::Backlog;
pub use error::{AppendError, JournalError, ShipError};
pub use handle::{Handle, Ticket};
pub use options::{JournalOptions, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SPARES_MAX};
pub use orphan::Orphan;
pub use shipper::{LATE_OPENING_AFTER, OPENINGS_TRACKED_MAX, Shipper};
pub use side_file::Keys;
pub use subjects::{SUBJECT_FILE_BYTES_MAX, SUBJECT_ROWS_BYTES_HELD_MAX, SubjectRow};
pub use watermark::Wait;

/// Key rows are durable this long after they were given, at the latest about twice that.
pub const KEYS_SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// A journal that is open. Dropping it commits what was accepted and ends its threads.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    /// What the last process left open, until it is asked for.
    orphans: Mutex<Vec<Orphan>>,
    /// Held until the threads have ended.
    _lock: File,
}

impl Journal {
    /// Opens the journal in `dir`, or makes one there; blocking. `now` becomes the epoch of a journal that is made
    /// (milliseconds since 1970: a later journal of the same node has a greater one).
    pub fn open(
        dir: impl AsRef<Path>,
        options: JournalOptions,
        now: SystemTime,
    ) -> Result<Self, JournalError> {
        Self::open_on(dir.as_ref(), options, now, Arc::new(SystemDisk))
    }

    /// The way into the journal, for traffic threads. Clones are cheap.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// The last record that is durable; 0: none.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable.level()
    }

    /// The last record that was accepted; 0: none.
    pub fn last_seq(&self) -> u64 {
        self.shared.queue.last_seq()
    }

    /// What the broker has not acknowledged.
    pub fn backlog(&self) -> Backlog {
        self.shared.queue.backlog(Instant::now())
    }

    /// The epoch of this journal.
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// Why the journal stopped; `None` while it runs. On `Some` the process must end.
    pub fn failure(&self) -> Option<JournalError> {
        self.shared.durable.failure().cloned()
    }

    /// Starts shipping from what the broker holds; blocking, for it may read files. One shipper at a time.
    pub fn shipper(&self, position: &JournalPosition) -> Result<Shipper, ShipError> {
        Shipper::start(Arc::clone(&self.shared), position)
    }

    /// The exchanges that were open when the last process ended, oldest first; told once. The node closes each with
    /// [`Orphan::closing`] before it takes traffic.
    pub fn sweep(&self) -> Vec<Orphan> {
        std::mem::take(&mut lock(&self.orphans))
    }

    /// Visits the bytes of every record written since `since`, by the modification times of the segments, so that
    /// somewhat older ones may be among them; blocking. A node rebuilds its replay window from them.
    pub fn recent(&self, since: SystemTime, visit: impl FnMut(&[u8])) -> Result<(), JournalError> {
        history::recent(&self.shared.folder, self.shared.epoch, since, visit)
    }

    /// The side file of keys, for evidence, erasure and compaction.
    pub fn keys(&self) -> Keys {
        Keys { shared: Arc::clone(&self.shared) }
    }

    /// Commits what was accepted, ends the threads and says how it went; blocking.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.end();
        match self.failure() {
            None | Some(JournalError::Closed) => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn open_on(
        dir: &Path,
        options: JournalOptions,
        now: SystemTime,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, JournalError> {
        options.check()?;
        let (folder, lock) = Folder::lock(dir)?;
        folder.sweep_leftovers()?;
        let identity = history::identity(&folder, &options, now)?;
        let acknowledged = folder.acknowledged(identity.epoch)?;
        let history = History::read(&folder, &identity, acknowledged)?;
        let recovered =
            recover::repair(history.path.clone(), history.ending, options.segment_bytes_max, disk.as_ref())?;
        let last_seq = recovered.ending.next_seq - 1;
        let keys = KeyFiles::open_on(&folder.keys(), FILE_ROWS_MAX, Arc::clone(&disk));
        let keys = keys.map_err(JournalError::io("open", &folder.keys()))?;
        let subjects = folder.subjects();
        let subjects = SubjectRows::open(&subjects, last_seq).map_err(JournalError::io("open", &subjects))?;
        let limits = Limits {
            segment_bytes: options.segment_bytes_max,
            backlog_records: options.backlog_records_max,
            backlog_bytes: options.backlog_bytes_max,
            gathers: options.gathers,
        };
        let start = Start {
            next_seq: last_seq + 1,
            segment_offset: recovered.ending.offset as u64,
            acknowledged: acknowledged.seq,
            backlog_bytes: history.backlog_bytes,
            backlog_since: history.backlog_since(now),
        };
        let shared = Arc::new(Shared {
            epoch: identity.epoch,
            queue: Queue::new(limits, start),
            durable: Arc::new(Watermark::new(last_seq)),
            sealed: Arc::new(Watermark::new(last_seq)),
            tail: Tail::new(options.tail_bytes_max),
            pool: Pool::default(),
            segments: Segments(Mutex::new(folder.segments()?)),
            acknowledged: Mutex::new(acknowledged),
            keys: Mutex::new(keys),
            subjects: Mutex::new(subjects),
            options,
            folder,
            disk,
        });
        let mut keeper = Keeper::new(Arc::clone(&shared), acknowledged);
        keeper.reserve(keeper::SPARES_AT_FIRST);
        let writer = Writer::new(Arc::clone(&shared), recovered);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map_err(JournalError::io("start a thread for", shared.folder.dir()))
        };
        let writer = spawn("journal", Box::new(move || writer.run()))?;
        let mut journal = Self {
            shared: Arc::clone(&shared),
            writer: Some(writer),
            keeper: None,
            orphans: Mutex::new(history.orphans),
            _lock: lock,
        };
        journal.keeper = Some(spawn("journal-keeper", Box::new(move || keeper.run()))?);
        Ok(journal)
    }

    fn end(&mut self) {
        self.shared.queue.close();
        // A thread that panicked has told so on stderr; there is nothing to add.
        let _ = self.writer.take().map(JoinHandle::join);
        self.shared.pool.stop();
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a journal holds, as a full reading found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Node that made it.
    pub node: String,
    /// Its epoch.
    pub epoch: u64,
    /// First record still there; 0 with `last_seq` 0 if there is none.
    pub first_seq: u64,
    /// Last record.
    pub last_seq: u64,
    /// Chain head after it.
    pub head: Hash,
}

/// Reads a whole journal that no process has open, every CRC and every link of the chain, and changes nothing.
/// (Opening reads only what the broker has not acknowledged.)
pub fn check(dir: impl AsRef<Path>) -> Result<Checked, JournalError> {
    let (folder, _lock) = Folder::lock(dir.as_ref())?;
    let Some(identity) = folder.identity()? else {
        return Err(JournalError::File {
            path: folder.identity_path(),
            problem: "it is missing: this folder holds no journal".to_owned(),
        });
    };
    let first_seq = folder.segments()?.first().copied().unwrap_or(1);
    let (_, ending) = recover::scan_all(&folder, identity.epoch, first_seq, |_| {})?;
    let last_seq = ending.next_seq - 1;
    let first_seq = first_seq.min(last_seq);
    Ok(Checked { node: identity.node, epoch: identity.epoch, first_seq, last_seq, head: ending.head })
}

/// What the threads of one journal share.
#[derive(Debug)]
struct Shared {
    options: JournalOptions,
    epoch: u64,
    folder: Folder,
    disk: Arc<dyn Disk>,
    queue: Queue,
    /// Records that are on disk.
    durable: Arc<Watermark>,
    /// Records whose chain heads are known too, so that they can be shipped.
    sealed: Arc<Watermark>,
    tail: Tail,
    pool: Pool,
    segments: Segments,
    acknowledged: Mutex<Acknowledged>,
    keys: Mutex<KeyFiles>,
    subjects: Mutex<SubjectRows>,
}

/// The first record of every segment, rising.
#[derive(Debug)]
struct Segments(Mutex<Vec<u64>>);

impl Segments {
    fn list(&self) -> Vec<u64> {
        lock(&self.0).clone()
    }

    fn push(&self, first_seq: u64) {
        lock(&self.0).push(first_seq);
    }

    fn drop_first(&self, first_seq: u64) {
        lock(&self.0).retain(|segment| *segment != first_seq);
    }
}

/// Locks a mutex. A thread that panicked while it held one left plain data behind, which stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
