//! The broker's log: durable, append-only, provable.
//!
//! Two threads. The *sequencer* takes appended entries, gives them consecutive indexes, writes them to the
//! write-ahead log with one flush a group, signs a checkpoint over them and answers with a [`Receipt`] at once (zero
//! merge delay). The *publisher* follows behind and turns the write-ahead log into the files of C2SP tlog-tiles; once a
//! second it publishes a checkpoint over what is on disk. Readers use the files.
//!
//! What is acknowledged is durable. A failed write or flush stops the log for good ([`LogError::Fatal`]): it is never
//! retried, and nothing after it is acknowledged. At the next start the folder is replayed, compared with the
//! published checkpoint, the last acknowledged head and whatever else was [seen](LogOptions::seen) of it, and not opened
//! if anything disagrees.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::EMPTY_ROOT;
use crate::note::VerifierKey;
use crate::tile::BUNDLE_ENTRY_BYTES_MAX;

pub use cosigner::{Cosignatures, Cosigner};
pub use error::LogError;
pub use key::{LogKey, LogSigner};
pub use prune::{PRUNED_BYTES_MAX, PRUNING_RECORDER, Pruned, Pruner};
pub use reader::{LogReader, READ_ENTRIES_MAX, TILE_CACHE_TILES_MAX, TreeReader};

use disk::Disk;
use error::Trying as _;
use home::{HEAD_BYTES, Head, Home};
use publisher::Publisher;
use recover::{Claim, replay};
use sequencer::{Segment, Sequencer, write_head};
use shared::{Append, Outcome, Reply, Shared};

mod cosigner;
mod disk;
mod error;
pub(crate) mod home;
mod key;
mod prune;
mod publisher;
mod reader;
pub(crate) mod recover;
mod sequencer;
mod shared;
#[cfg(test)]
mod tests;
pub(crate) mod wal;

/// The longest entry by default, in bytes. The format itself ends at 65,535.
pub const ENTRY_BYTES_MAX: usize = 4096;

/// The most entries in one append and in one group commit.
pub const APPEND_ENTRIES_MAX: usize = 4096;

/// The most bytes of entries in one append and in one group commit.
pub const APPEND_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The most entries that wait for the sequencer.
pub const QUEUE_ENTRIES_MAX: usize = 65_536;

/// The most bytes of entries that wait for the sequencer.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A segment of the write-ahead log ends after the commit that makes it longer than this, in bytes.
pub const WAL_SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How often a checkpoint is published at most, in milliseconds.
pub const PUBLISH_INTERVAL_MS: u64 = 1000;

/// The longest frame: the entries of a group, their lengths, the root and the header.
pub(crate) const FRAME_BYTES_MAX: usize = APPEND_BYTES_MAX + 2 * APPEND_ENTRIES_MAX + 1024;

/// The longest file of a segment.
pub(crate) const SEGMENT_FILE_BYTES_MAX: u64 = WAL_SEGMENT_BYTES_MAX + FRAME_BYTES_MAX as u64;

/// How a log behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The longest entry taken, in bytes: 1..=65,535, default [`ENTRY_BYTES_MAX`].
    pub entry_bytes_max: usize,
    /// The least time between two published checkpoints, in milliseconds; default [`PUBLISH_INTERVAL_MS`].
    pub publish_interval_ms: u64,
    /// Signed checkpoints of this log that others hold: receipts of nodes, answers of witnesses. The log opens only if
    /// its own history contains every one of them.
    pub seen: Vec<String>,
    /// True where something that the operator signed, such as a mesh trust file, names the given keys: then they may take
    /// the place of a key that the folder knows and that is not among them.
    pub may_succeed: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            entry_bytes_max: ENTRY_BYTES_MAX,
            publish_interval_ms: PUBLISH_INTERVAL_MS,
            seen: Vec::new(),
            may_succeed: false,
        }
    }
}

/// The log's word that entries are durable and where. The checkpoint binds the log: it can never show another history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which log.
    pub origin: Arc<str>,
    /// The index of the first entry of the append; the others follow it.
    pub first_index: u64,
    /// The number of entries.
    pub count: u64,
    /// A signed checkpoint that covers them (not yet published, not cosigned).
    pub checkpoint: Arc<str>,
}

/// Stops a log for good: somebody holds more of it than it does, or another history. Clones stop the same log.
#[derive(Clone, Debug)]
pub struct Brake(Arc<Shared>);

impl Brake {
    /// Nothing more is written, published or signed; `proof` is what everybody hears who asks for it.
    pub fn pull(&self, proof: &str) {
        self.0.fail(&LogError::Condemned(proof.to_owned()).to_string());
    }

    /// Entries that are durable by now: nobody can hold a checkpoint of more, for none was signed.
    pub fn durable_size(&self) -> u64 {
        self.0.written().size
    }
}

/// How a log is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogStatus {
    /// Durable entries.
    pub size: u64,
    /// Entries under the published checkpoint.
    pub published_size: u64,
    /// Entries waiting for the sequencer.
    pub queued_entries: usize,
    /// Bytes of entries waiting for the sequencer.
    pub queued_bytes: usize,
    /// Why the log stopped, if it did.
    pub fatal: Option<String>,
}

/// A running log. Closes itself when dropped; [`Log::close`] says whether that went well.
#[derive(Debug)]
pub struct Log {
    home: Home,
    key: LogSigner,
    shared: Arc<Shared>,
    entry_bytes_max: usize,
    threads: Vec<JoinHandle<()>>,
    /// Held until the threads are gone.
    _lock: File,
}

impl Log {
    /// Creates a log in a new or empty folder and starts it. Never called on a folder that should hold a log
    /// already: the decision to begin a log anew is a person's.
    pub fn create(
        dir: &Path,
        origin: &str,
        key: impl Into<LogSigner>,
        options: &LogOptions,
    ) -> Result<Self, LogError> {
        let key = key.into();
        check_origin(origin, &key)?;
        check_options(options)?;
        create(dir, &key, &Disk::default())?;
        Self::open(dir, origin, key, options)
    }

    /// Opens the log in a folder, replays its write-ahead log, and starts it.
    pub fn open(
        dir: &Path,
        origin: &str,
        key: impl Into<LogSigner>,
        options: &LogOptions,
    ) -> Result<Self, LogError> {
        let key = key.into();
        check_origin(origin, &key)?;
        Self::open_on(dir, key, options, Disk::default())
    }

    /// Queues entries to be logged together, in this order, with consecutive indexes. They are queued when this
    /// returns; the future gives the receipt once they are durable. Dropping the future does not take them back.
    ///
    /// A full queue is an error at once ([`LogError::Busy`]), so that the caller can push back.
    pub fn append(
        &self,
        entries: Vec<Vec<u8>>,
    ) -> impl Future<Output = Result<Receipt, LogError>> + Send + use<> {
        let (reply, outcome) = oneshot::channel();
        self.submit(entries, Reply::Task(reply));
        async { outcome.await.unwrap_or_else(|_| Err(LogError::Fatal("its sequencer is gone".into()))) }
    }

    /// [`Log::append`] for a thread that may block.
    pub fn append_blocking(&self, entries: Vec<Vec<u8>>) -> Result<Receipt, LogError> {
        let (reply, outcome) = std::sync::mpsc::sync_channel(1);
        self.submit(entries, Reply::Thread(reply));
        outcome.recv().unwrap_or_else(|_| Err(LogError::Fatal("its sequencer is gone".into())))
    }

    /// The log's public key; its name is the origin.
    pub fn verifier(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// What signs, to change its keys while the log runs.
    pub fn signer(&self) -> LogSigner {
        self.key.clone()
    }

    /// From now on checkpoints are published with the cosignatures that this gets.
    pub fn cosign_with(&self, cosigner: Box<dyn Cosigner>) {
        self.shared.cosign_with(cosigner);
    }

    /// What can stop the log for good once it is proven that it must not sign any more.
    pub fn brake(&self) -> Brake {
        Brake(Arc::clone(&self.shared))
    }

    /// Keeps every writer out of the log in `dir` while the file is held: for tools that work on what is beside it.
    pub fn lock(dir: &Path) -> Result<File, LogError> {
        lock(&Home::new(dir))
    }

    /// A reader over what is published.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.home.dir())
    }

    /// The number of durable entries.
    pub fn size(&self) -> u64 {
        self.shared.written().size
    }

    /// The published size, to wait for it to grow.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.shared.published().subscribe()
    }

    /// How the log is doing.
    pub fn status(&self) -> LogStatus {
        let (queued_entries, queued_bytes) = self.shared.waiting();
        LogStatus {
            size: self.size(),
            published_size: *self.shared.published().borrow(),
            queued_entries,
            queued_bytes,
            fatal: self.shared.fatal(),
        }
    }

    /// Takes no more entries, writes and publishes what is queued, and ends both threads. Blocks meanwhile.
    pub fn close(mut self) -> Result<(), LogError> {
        self.shut();
        self.shared.fatal().map_or(Ok(()), |reason| Err(LogError::Fatal(reason)))
    }

    fn open_on(dir: &Path, key: LogSigner, options: &LogOptions, disk: Disk) -> Result<Self, LogError> {
        check_options(options)?;
        let home = Home::new(dir);
        let known = home.read_identity()?;
        // Around a change of keys, what is published may be signed by the key before, by the present one, or by both.
        let mut believed = key.verifiers();
        if !believed.contains(&known) {
            if !options.may_succeed || &**key.origin() != known.name() {
                return Err(LogError::Key { given: key.verifier().label(), expected: known.label() });
            }
            believed.push(known.clone());
        }
        let lock = lock(&home)?;
        let replay = replay(&home, &believed, &claims(&options.seen, &believed)?, |_, _, _| ())?;
        recover::remove_leftovers(&home, &disk)?;
        let segment_file = recover::rewrite_tail(&home, &disk, replay.end)?;
        let nonce = nonce_of(&home, &segment_file, replay.end.segment)?;
        let (size, root) = (replay.frontier.size(), replay.frontier.root());
        let head = OpenOptions::new().write(true).open(home.head()).trying("open", &home.head())?;
        write_head(&home, &disk, &head, Head { size, root })?;
        tracing::info!(
            dir = %dir.display(), origin = %key.origin(), size, published = replay.published.size,
            torn_bytes = replay.torn_bytes, "the log is open"
        );

        let shared = Arc::new(Shared::new(replay.end, size, replay.published.size));
        let interval = Duration::from_millis(options.publish_interval_ms);
        let publisher = Publisher::resume(
            home.clone(),
            disk.clone(),
            key.clone(),
            known,
            Arc::clone(&shared),
            interval,
            &replay,
        )?;
        let sequencer = Sequencer {
            home: home.clone(),
            disk,
            key: key.clone(),
            shared: Arc::clone(&shared),
            frontier: replay.frontier,
            segment: Segment { file: segment_file, nonce, at: replay.end },
            head,
            frame: wal::FrameBuilder::default(),
        };
        let mut log = Self {
            home,
            key,
            shared,
            entry_bytes_max: options.entry_bytes_max,
            threads: Vec::new(),
            _lock: lock,
        };
        log.threads.push(log.spawn("log-sequencer", move || sequencer.run())?);
        log.threads.push(log.spawn("log-publisher", move || publisher.run())?);
        Ok(log)
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .trying("start the threads of the log in", self.home.dir())
    }

    fn submit(&self, entries: Vec<Vec<u8>>, reply: Reply) {
        match self.check(&entries) {
            Ok(bytes) => self.shared.submit(Append { entries, bytes, reply }),
            Err(error) => reply.send(Outcome::Err(error)),
        }
    }

    /// Checks an append against every bound; returns its bytes.
    fn check(&self, entries: &[Vec<u8>]) -> Result<usize, LogError> {
        if entries.is_empty() {
            return Err(LogError::Empty);
        }
        let bytes_max = self.entry_bytes_max;
        if let Some((position, entry)) = entries.iter().enumerate().find(|(_, entry)| entry.len() > bytes_max)
        {
            return Err(LogError::EntryTooLong { position, bytes: entry.len(), bytes_max });
        }
        let bytes = entries.iter().map(Vec::len).sum();
        if entries.len() > APPEND_ENTRIES_MAX || bytes > APPEND_BYTES_MAX {
            return Err(LogError::AppendTooLarge {
                entries: entries.len(),
                bytes,
                entries_max: APPEND_ENTRIES_MAX,
                bytes_max: APPEND_BYTES_MAX,
            });
        }
        Ok(bytes)
    }

    fn shut(&mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A panic of a thread was already turned into the fatal reason.
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.shut();
    }
}

/// Lays out an empty log: everything in a folder beside, then one rename, so that a half-made log never stands under
/// the final name.
fn create(dir: &Path, key: &LogSigner, disk: &Disk) -> Result<(), LogError> {
    let is_empty = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        entries => entries.trying("list", dir)?.next().is_none(),
    };
    let (Some(parent), Some(name), true) = (dir.parent(), dir.file_name(), is_empty) else {
        return Err(LogError::NotEmpty(dir.to_owned()));
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut draft_name = name.to_owned();
    draft_name.push(format!(".new-{}", uuid::Uuid::now_v7().simple()));
    let draft = Home::new(&parent.join(draft_name));
    disk.create_dir(parent, &draft.wal())?;
    let checkpoint = key.sign(&Checkpoint::new(&**key.origin(), 0, EMPTY_ROOT))?;
    let head = Head { size: 0, root: EMPTY_ROOT }.encode();
    for (path, bytes) in [
        (draft.lock(), Vec::new()),
        (draft.identity(), home::encode_identity(&key.verifier())),
        (draft.head(), head),
        (draft.checkpoint(), checkpoint.into_bytes()),
    ] {
        disk.replace(&draft.publish_temp(), &path, &bytes)?;
    }
    Segment::create(&draft, disk, 0)?;
    disk.sync_dir(draft.dir())?;
    fs::rename(draft.dir(), dir).trying("create the log in", dir)?;
    disk.sync_dir(parent)
}

/// Takes the lock of the one writer, for whoever must be sure that no writer is at work. Blocking.
fn lock(home: &Home) -> Result<File, LogError> {
    let path = home.lock();
    let file = OpenOptions::new().write(true).open(&path).trying("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::Locked(home.dir().to_owned())),
        Err(TryLockError::Error(error)) => Err(error).trying("lock", &path),
    }
}

fn nonce_of(home: &Home, file: &File, segment: u64) -> Result<[u8; wal::NONCE_BYTES], LogError> {
    use std::os::unix::fs::FileExt as _;
    let path = home.segment(segment);
    let mut header = [0; wal::SEGMENT_HEADER_BYTES];
    file.read_exact_at(&mut header, 0).trying("read", &path)?;
    let header = wal::SegmentHeader::parse(&header);
    Ok(header.map_err(|fault| LogError::Corrupt { path, offset: 0, what: fault.to_string() })?.nonce)
}

/// The checkpoints that others have seen, each verified with the log's keys.
fn claims(seen: &[String], keys: &[VerifierKey]) -> Result<Vec<Claim>, LogError> {
    let claim = |note: &String| {
        let checkpoint = Checkpoint::open_by(note, keys)?;
        Ok(Claim { who: "a checkpoint seen elsewhere", size: checkpoint.size, root: checkpoint.root })
    };
    let claims = seen.iter().map(claim).collect::<Result<_, CheckpointError>>();
    claims.map_err(|source| LogError::Checkpoint { path: "a checkpoint seen elsewhere".into(), source })
}

fn check_origin(origin: &str, key: &LogSigner) -> Result<(), LogError> {
    if &**key.origin() == origin {
        return Ok(());
    }
    Err(LogError::Key { given: format!("for {origin:?}"), expected: key.verifier().label() })
}

fn check_options(options: &LogOptions) -> Result<(), LogError> {
    const { assert!(HEAD_BYTES < 512) }
    if (1..=BUNDLE_ENTRY_BYTES_MAX).contains(&options.entry_bytes_max) {
        return Ok(());
    }
    Err(LogError::Option(format!(
        "entry_bytes_max is {}; it must be 1 to {BUNDLE_ENTRY_BYTES_MAX}",
        options.entry_bytes_max
    )))
}
