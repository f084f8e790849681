//! A node's journal: an append-only, hash-chained file of records, durable before anything is released.
//!
//! **How it works.** Traffic threads [`append`](Handle::append) records; each call copies the bytes into the draft
//! of the next group and never waits for the disk. The journal's own thread writes a group, calls `fdatasync`
//! once, and wakes the waiters of [`durable`](Handle::durable), one wake-up a thread. While one `fdatasync` runs
//! the next group gathers by itself; no timer delays anybody. The chain is computed after the waiters are woken.
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
//! | `queue` | what was accepted and not yet written; the account of the backlog |
//! | `watermark` | a rising level and who waits for it |
//! | `writer` | the thread that commits |
//! | `keeper` | the thread of housekeeping |
//! | `recover` | reading segments back |
//! | `tail` | the newest records in memory |
//! | `cursor` | the older ones, from files |
//! | `shipper` | signed batches for the broker |
//! | `openings` | opening records whose closing has not come yet |
//! | `orphan` | exchanges that a crash left open |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lienthong_proto::lienthong::audit::v1::JournalPosition;

use crate::batch::Position;
use crate::hash::{Hash, leaf_hash};
use crate::keys::{Compacted, KeyFiles, KeyRow};
use disk::{Disk, SystemDisk};
use folder::{Acknowledged, Folder, Identity};
use frame::{SEGMENT_HEADER_BYTES, SegmentHeader, Tag};
use keeper::{Keeper, Pool};
use queue::{Limits, Queue, Start};
use recover::Ending;
use tail::Tail;
use watermark::Watermark;
use writer::Writer;

mod cursor;
mod disk;
mod error;
mod folder;
mod frame;
mod keeper;
mod openings;
mod orphan;
mod queue;
mod recover;
mod shipper;
mod tail;
#[cfg(test)]
mod tests;
mod watermark;
mod writer;

pub use error::{AppendError, JournalError, ShipError};
pub use orphan::Orphan;
pub use queue::Backlog;
pub use shipper::{LATE_OPENING_AFTER, OPENINGS_TRACKED_MAX, Shipper};
pub use watermark::Wait;

/// Key rows are durable this long after they were given, at the latest about twice that.
pub const KEYS_SYNC_INTERVAL: Duration = Duration::from_millis(500);

/// Smallest segment, bytes.
pub const SEGMENT_BYTES_MIN: u64 = 8 * 1024;

/// Largest segment, bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most segments that may be reserved for the backlog.
pub const SPARES_MAX: u64 = 1024;

/// How a journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOptions {
    /// Resource name of the node. A folder belongs to one node for ever.
    pub node: String,
    /// Size of a segment, bytes: [`SEGMENT_BYTES_MIN`]..=[`SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: u64,
    /// Most records that the broker has not acknowledged; then appends are refused.
    pub backlog_records_max: u64,
    /// Most bytes of them. Space for them is reserved on disk where the file system can.
    pub backlog_bytes_max: u64,
    /// Memory for the newest records, from which shipping reads.
    pub tail_bytes_max: usize,
    /// Segments that were acknowledged are kept this long after their last write…
    pub retention_age: Duration,
    /// …but never more of them than this.
    pub retention_segments_max: usize,
}

impl JournalOptions {
    /// The defaults for a node: segments of 64 MiB, a backlog of at most 2,000,000 records and 256 MiB, 16 MiB
    /// of memory for shipping, acknowledged segments kept for 30 days but at most 1,024 of them.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            segment_bytes_max: 64 * 1024 * 1024,
            backlog_records_max: 2_000_000,
            backlog_bytes_max: 256 * 1024 * 1024,
            tail_bytes_max: 16 * 1024 * 1024,
            retention_age: Duration::from_secs(30 * 24 * 3600),
            retention_segments_max: 1024,
        }
    }

    fn check(&self) -> Result<(), JournalError> {
        let problem = |name, problem: String| Err(JournalError::Option { name, problem });
        if self.node.is_empty() || self.node.contains(char::is_control) {
            return problem("node", "must be the resource name of the node".to_owned());
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes_max) {
            let bounds = format!("must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes");
            return problem("segment_bytes_max", bounds);
        }
        if self.backlog_bytes_max.div_ceil(self.segment_bytes_max) >= SPARES_MAX {
            return problem(
                "backlog_bytes_max",
                format!("must be less than {SPARES_MAX} segments"),
            );
        }
        Ok(())
    }
}

/// What was given for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its place in the journal; the first is 1.
    pub seq: u64,
    /// Its leaf hash, by which closing records and the peer name it.
    pub leaf_hash: Hash,
}

/// A journal that is open. Dropping it commits what was accepted and ends its threads.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
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
        Handle {
            shared: Arc::clone(&self.shared),
        }
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
        Shipper::start(
            Arc::clone(&self.shared),
            Position::from_proto(position).ok_or(ShipError::Position)?,
        )
    }

    /// The exchanges that were open when the last process ended, oldest first; blocking. The node closes each
    /// with [`Orphan::closing`] before it takes traffic.
    pub fn sweep(&self) -> Result<Vec<Orphan>, JournalError> {
        let floor = lock(&self.shared.acknowledged).floor;
        orphan::find(&self.shared.folder, self.shared.epoch, floor)
    }

    /// The side file of keys, for evidence, erasure and compaction.
    pub fn keys(&self) -> Keys {
        Keys {
            shared: Arc::clone(&self.shared),
        }
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
        let identity = identity(&folder, &options, now)?;
        let acknowledged = folder.acknowledged(identity.epoch)?;
        let history = History::read(&folder, &identity, acknowledged)?;
        let recovered = recover::repair(
            history.path.clone(),
            history.ending,
            options.segment_bytes_max,
            disk.as_ref(),
        )?;
        let last_seq = recovered.ending.next_seq - 1;
        let keys = KeyFiles::open(&folder.keys()).map_err(JournalError::io("open", &folder.keys()))?;
        let limits = Limits {
            segment_bytes: options.segment_bytes_max,
            backlog_records: options.backlog_records_max,
            backlog_bytes: options.backlog_bytes_max,
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
            options,
            folder,
            disk,
        });
        let mut keeper = Keeper::new(Arc::clone(&shared), acknowledged);
        keeper.reserve();
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

/// The way into a journal for traffic threads.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Appends a record; never waits for the disk. If it is an opening record, the log gets its hash only and its
    /// closing record speaks for it (gate `JOURNAL`).
    pub fn append(&self, record: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.push(Tag::Record, record.as_ref(), None)
    }

    /// Appends a record that the log gets in full, whatever it is: an opening under the gates `RECEIPT` and
    /// `WITNESSED`.
    pub fn append_whole(&self, record: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.push(Tag::Whole, record.as_ref(), None)
    }

    /// Like [`Handle::append`], and keeps the keys of the exchange in the side file.
    pub fn append_with_keys(&self, record: impl AsRef<[u8]>, keys: KeyRow) -> Result<Ticket, AppendError> {
        self.push(Tag::Record, record.as_ref(), Some(keys))
    }

    /// Like [`Handle::append_whole`], and keeps the keys of the exchange in the side file.
    pub fn append_whole_with_keys(
        &self,
        record: impl AsRef<[u8]>,
        keys: KeyRow,
    ) -> Result<Ticket, AppendError> {
        self.push(Tag::Whole, record.as_ref(), Some(keys))
    }

    /// Keeps keys in the side file without a record.
    pub fn keep_keys(&self, keys: KeyRow) -> Result<(), AppendError> {
        self.shared.queue.keep(keys)
    }

    /// Resolves once the record is on disk, or to the error for which it never will be. At once if it already is.
    /// On an error the process must end.
    pub fn durable(&self, seq: u64) -> Wait {
        Wait::new(Arc::clone(&self.shared.durable), seq)
    }

    /// The last record that is durable; 0: none.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable.level()
    }

    /// What the broker has not acknowledged.
    pub fn backlog(&self) -> Backlog {
        self.shared.queue.backlog(Instant::now())
    }

    /// Why the journal stopped; `None` while it runs. On `Some` the process must end.
    pub fn failure(&self) -> Option<JournalError> {
        self.shared.durable.failure().cloned()
    }

    fn push(&self, tag: Tag, record: &[u8], keys: Option<KeyRow>) -> Result<Ticket, AppendError> {
        if record.len() > crate::record::RECORD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: record.len() });
        }
        // Hashed here and not under the queue's lock, nor by the journal's thread: one core a traffic thread.
        let leaf_hash = leaf_hash(record);
        let seq = self.shared.queue.append(tag, record, leaf_hash, keys)?;
        Ok(Ticket { seq, leaf_hash })
    }
}

/// The erasable side file of a journal; see [`crate::keys`]. Blocking: it reads and syncs files.
#[derive(Debug, Clone)]
pub struct Keys {
    shared: Arc<Shared>,
}

impl Keys {
    /// Every row of an exchange.
    pub fn find(&self, exchange: &[u8; 16]) -> Result<Vec<KeyRow>, JournalError> {
        // The files stay locked, so that no row moves from the queue to a file between the two looks.
        let files = lock(&self.shared.keys);
        let mut rows = files.find(exchange).map_err(self.io("read"))?;
        self.shared.queue.with_keys(|waiting| {
            rows.extend(waiting.iter().filter(|row| row.exchange == *exchange).cloned());
        });
        Ok(rows)
    }

    /// Erases every row of an exchange, durably. Returns how many there were.
    pub fn erase(&self, exchange: &[u8; 16]) -> Result<u64, JournalError> {
        let mut files = lock(&self.shared.keys);
        let waiting = self.shared.queue.with_keys(|waiting| {
            let before = waiting.len();
            waiting.retain(|row| row.exchange != *exchange);
            before - waiting.len()
        });
        Ok(waiting as u64 + files.erase(exchange).map_err(self.io("erase a row of"))?)
    }

    /// Gives back the space of erased rows.
    pub fn compact(&self) -> Result<Compacted, JournalError> {
        lock(&self.shared.keys).compact().map_err(self.io("compact"))
    }

    fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = self.shared.folder.keys();
        move |source| JournalError::io(action, &path)(source)
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
    Ok(Checked {
        node: identity.node,
        epoch: identity.epoch,
        first_seq,
        last_seq,
        head: ending.head,
    })
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

/// What opening reads of a journal: everything from the first record that is still needed.
struct History {
    path: std::path::PathBuf,
    ending: Ending,
    backlog_bytes: u64,
    /// When the oldest record that was not acknowledged was made, by its own clock.
    backlog_made: Option<SystemTime>,
}

impl History {
    fn read(folder: &Folder, identity: &Identity, acknowledged: Acknowledged) -> Result<Self, JournalError> {
        let from = acknowledged.floor.min(acknowledged.seq + 1);
        let (mut backlog_bytes, mut backlog_made) = (0, None);
        let (path, ending) = recover::scan_all(folder, identity.epoch, from, |found| {
            if found.seq > acknowledged.seq {
                backlog_bytes += found.size as u64;
                if found.seq == acknowledged.seq + 1 {
                    backlog_made = made(found.body);
                }
            }
        })?;
        let last_seq = ending.next_seq - 1;
        if last_seq < acknowledged.seq {
            let dir = folder.dir().to_owned();
            return Err(JournalError::RolledBack {
                dir,
                last_seq,
                acknowledged: acknowledged.seq,
            });
        }
        Ok(Self {
            path,
            ending,
            backlog_bytes,
            backlog_made,
        })
    }

    fn backlog_since(&self, now: SystemTime) -> Instant {
        let age = self
            .backlog_made
            .and_then(|made| now.duration_since(made).ok())
            .unwrap_or_default();
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }
}

/// When a record was made, by its own clock.
fn made(record: &[u8]) -> Option<SystemTime> {
    SystemTime::try_from(crate::record::decode(record).ok()?.time?).ok()
}

/// The identity of the journal in a folder; makes the first segment and the identity if there is none.
fn identity(folder: &Folder, options: &JournalOptions, now: SystemTime) -> Result<Identity, JournalError> {
    if let Some(identity) = folder.identity()? {
        if identity.node != options.node {
            let (path, expected, found) = (folder.identity_path(), options.node.clone(), identity.node);
            return Err(JournalError::Node {
                path,
                expected,
                found,
            });
        }
        return Ok(identity);
    }
    // The identity is written last: a folder without it, but with one empty first segment, is a making cut short.
    let path = folder.segment(1);
    let begun = match folder.segments()?[..] {
        [] => true,
        [1] => std::fs::read(&path)
            .is_ok_and(|bytes| bytes.iter().skip(SEGMENT_HEADER_BYTES).all(|byte| *byte == 0)),
        _ => false,
    };
    if !begun {
        let problem = "it is missing, though there are segments with records".to_owned();
        return Err(JournalError::File {
            path: folder.identity_path(),
            problem,
        });
    }
    let epoch = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|age| u64::try_from(age.as_millis()).ok());
    let identity = Identity {
        node: options.node.clone(),
        epoch: epoch.unwrap_or(0).max(1),
    };
    let header = SegmentHeader {
        epoch: identity.epoch,
        first_seq: 1,
        previous_head: crate::chain::START,
    };
    let write = || -> std::io::Result<()> {
        std::fs::write(&path, header.to_bytes())?;
        File::open(&path)?.sync_all()
    };
    write().map_err(JournalError::io("create", &path))?;
    folder.write_identity(&identity)?;
    Ok(identity)
}

/// Locks a mutex. A thread that panicked while it held one left plain data behind, which stays usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
