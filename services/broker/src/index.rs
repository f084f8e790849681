//! The index of the log: who is allowed asks here instead of reading everything. Derived, but for the tokens of subjects,
//! which no one could derive.
//!
//! | module | noun |
//! |---|---|
//! | `keys` | the secrets: to which subjects are sealed, under which tokens are made |
//! | `tokens` | tokens of subjects on disk, before their records enter the log |
//! | `blocks` | the segments on disk |
//! | `indexer` | the thread that follows the log |
//! | `question` | a filter, as the index understands it |
//! | `evidence` | everything that proves one exchange |
//! | `certificates` | the certificates of nodes that shipped |
//! | `disclosure` | when the subjects of an exchange may hear of it |
//! | `subject` | who looked at one person's data |
//! | `own` | who end users are, to see that one asks about himself |
//! | `erased` | exchanges of which a person was erased |
//! | `usual` | how often each reason was given, today and before |
//! | `rebuild` | making the index anew |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lienthong_audit::batch::CheckedEntry;
use lienthong_audit::log::{LogError, LogReader};
use lienthong_audit::record;
use lienthong_audit::sealed::{SealedError, committed};
use lienthong_index::{IndexError, Query, Row};
use lienthong_proto::lienthong::audit::v1::{Finding, IndexKey, SealedSubjects};
use time::OffsetDateTime;
use tokio::runtime::Handle;

use crate::background::step_back;
use crate::ledger::Ledger;

pub mod blocks;
pub mod certificates;
pub mod disclosure;
pub mod erased;
pub mod evidence;
pub mod indexer;
pub mod keys;
pub mod own;
pub mod question;
pub mod rebuild;
pub mod subject;
pub mod tokens;
pub mod usual;

use blocks::BlockFolder;
use certificates::Certificates;
use indexer::{Indexed, Indexer, IndexingError, LOOK_INTERVAL};
use keys::IndexKeys;
use own::OwnUsers;
use tokens::{TokenFiles, TokenRow};

/// Entries behind the index that a search reads from the log itself.
pub const TAIL_SCAN_ENTRIES_MAX: u64 = 20_000;

/// How long a search waits for the index to come up to what is published, milliseconds.
pub const INDEX_WAIT_MS: u64 = 500;

/// How long the indexer waits after an error.
const TRY_AGAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Where the index lies.
pub fn index_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("index")
}

/// The folders of an index.
#[derive(Debug, Clone)]
pub struct IndexDirs {
    /// Secrets.
    pub keys: PathBuf,
    /// Tokens of subjects.
    pub tokens: PathBuf,
    /// Segments.
    pub blocks: PathBuf,
    /// Certificates of nodes.
    pub certificates: PathBuf,
    /// Who end users are.
    pub own: PathBuf,
}

impl IndexDirs {
    /// Those of the broker with this data folder.
    pub fn of(data_dir: &Path) -> Self {
        let dir = index_dir(data_dir);
        Self {
            keys: dir.join("keys"),
            tokens: dir.join("tokens"),
            blocks: dir.join("blocks"),
            certificates: dir.join("certificates"),
            own: dir.join("own"),
        }
    }
}

/// The index, open. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    reader: LogReader,
    keys: Arc<IndexKeys>,
    tokens: Arc<TokenFiles>,
    indexed: Arc<RwLock<Indexed>>,
    certificates: Certificates,
    own: Arc<OwnUsers>,
    /// Below this, the indexer is to let go.
    minimum: Arc<AtomicU64>,
}

/// Why subjects of a batch are not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// What came does not open. The records are taken; the fault is told.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// They cannot be kept. Then the batch is not taken either: its receipt would let the node forget them.
    #[error("the subjects of a batch cannot be kept: {0}; see the disk of the broker's data folder")]
    Io(#[from] io::Error),
}

/// Why a search has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A file of the index is damaged.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What a search found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Indexes of entries, newest first.
    pub entries: Vec<u64>,
    /// Whether there are more behind them.
    pub more: bool,
    /// Complete for the entries before this.
    pub complete_up_to: u64,
    /// Entries before this came out of the index.
    pub indexed_up_to: u64,
    /// Records whose subjects nobody told.
    pub subjects_missing: u64,
    /// Entries before this are gone.
    pub minimum: u64,
}

impl Index {
    /// Opens the index of the log that `reader` reads, or begins one. Blocking.
    ///
    /// # Errors
    /// Of the disk, or where a key is damaged.
    pub fn open(data_dir: &Path, reader: LogReader, block_entries: u32) -> io::Result<(Index, Indexer)> {
        let dirs = IndexDirs::of(data_dir);
        let keys = Arc::new(IndexKeys::open(&dirs.keys)?);
        let tokens = Arc::new(TokenFiles::open(&dirs.tokens)?);
        let folder = BlockFolder::open(&dirs.blocks, block_entries)?;
        let minimum = reader.minimum().map_err(io::Error::other)?;
        let state = Indexed { first: minimum, blocks: folder.load(minimum)?, tail: Vec::new() };
        let state = Arc::new(RwLock::new(state));
        let own_tokens = (Arc::clone(&tokens), dirs.tokens.clone());
        let own = Arc::new(OwnUsers::open(&dirs.own)?);
        let (keys_held, own_held, followed) = (Arc::clone(&keys), Arc::clone(&own), Arc::clone(&state));
        let indexer = Indexer::new(reader.clone(), keys_held, folder, own_tokens, own_held, followed)?;
        let certificates = Certificates::open(&dirs.certificates)?;
        let minimum = Arc::new(AtomicU64::new(minimum));
        let inner = Inner { reader, keys, tokens, indexed: state, certificates, own, minimum };
        Ok((Index { inner: Arc::new(inner) }, indexer))
    }

    /// The key to which nodes seal subjects.
    pub fn key(&self) -> IndexKey {
        self.inner.keys.secret().public()
    }

    /// The log that is indexed.
    pub fn reader(&self) -> &LogReader {
        &self.inner.reader
    }

    /// The certificates of nodes.
    pub fn certificates(&self) -> &Certificates {
        &self.inner.certificates
    }

    /// The keys.
    pub fn keys(&self) -> &IndexKeys {
        &self.inner.keys
    }

    /// Who end users are.
    pub fn own(&self) -> &OwnUsers {
        &self.inner.own
    }

    /// Ends of the whole blocks, rising: where pruning may stop.
    pub fn block_ends(&self) -> Vec<u64> {
        let indexed = self.inner.indexed.read().unwrap_or_else(PoisonError::into_inner);
        indexed.blocks.iter().map(|block| block.end()).collect()
    }

    /// Finds no entry before `minimum` any more; the indexer lets go of them soon.
    pub fn prune(&self, minimum: u64) {
        self.inner.minimum.fetch_max(minimum, Ordering::Relaxed);
    }

    /// Entries before this are gone from the index.
    pub fn minimum(&self) -> u64 {
        self.inner.minimum.load(Ordering::Relaxed)
    }

    /// Entries before this are indexed.
    pub fn upto(&self) -> u64 {
        self.inner.indexed.read().unwrap_or_else(PoisonError::into_inner).upto()
    }

    /// Keeps the tokens of a batch's subjects, durably, before the batch enters the log. Says which end users asked for data
    /// about themselves: later nobody could tell. Blocking.
    ///
    /// # Errors
    /// [`TokensError`]: whether the batch may be taken all the same.
    pub fn take_in(
        &self,
        sealed: &SealedSubjects,
        header: &[u8],
        entries: &[CheckedEntry],
        now: OffsetDateTime,
    ) -> Result<Vec<Finding>, TokensError> {
        let log_size = self.log_size();
        let (mut rows, mut found) = (Vec::new(), Vec::new());
        for sent in self.inner.keys.secret().open(sealed, header)? {
            let Ok(at) = entries.binary_search_by_key(&sent.seq, |entry| entry.seq) else { continue };
            let CheckedEntry { leaf, record, .. } = &entries[at];
            let tokens = committed(record, &sent)
                .map(|id| self.inner.keys.token(id, now))
                .collect::<Result<_, _>>()?;
            rows.push(TokenRow { log_size, leaf: *leaf, tokens });
            found.extend(
                self.inner
                    .own
                    .look(record, || committed(record, &sent).map(|id| self.inner.keys.own(id)).collect()),
            );
        }
        self.keep(&rows)?;
        Ok(found)
    }

    /// The newest entries before `below` that fulfil the query. `complete_up_to` is what the first page of a search said;
    /// `None` for the first page. Blocking.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn search(
        &self,
        query: &Query,
        below: u64,
        complete_up_to: Option<u64>,
        entries_max: usize,
    ) -> Result<Found, SearchError> {
        let published = self.inner.reader.size()?;
        let wanted = complete_up_to.unwrap_or(published).min(published);
        let until = Instant::now() + Duration::from_millis(INDEX_WAIT_MS);
        while self.upto() < wanted && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let indexed_up_to = self.upto();
        // Whom an entry is about is known to the index alone.
        let scans = !query.clauses.iter().any(lienthong_index::Clause::is_subject)
            && wanted.saturating_sub(indexed_up_to) <= TAIL_SCAN_ENTRIES_MAX;
        let complete = if scans { wanted } else { wanted.min(indexed_up_to) };
        let below = below.min(complete);
        let mut entries = Vec::new();
        if indexed_up_to < below {
            let tail = self.inner.reader.entries(indexed_up_to..below)?;
            let rows = (indexed_up_to..).zip(tail.iter().map(|entry| {
                record::decode(entry).map_or_else(|_| Row::unreadable(), |record| Row::of(&record))
            }));
            entries.extend(rows.filter(|(_, row)| query.accepts(row)).map(|(index, _)| index));
            entries.reverse();
        }
        let indexed = self.inner.indexed.read().unwrap_or_else(PoisonError::into_inner);
        let wanted_more = (entries_max + 1).saturating_sub(entries.len());
        entries.extend(indexed.search(query, below.min(indexed_up_to), wanted_more)?);
        let minimum = self.minimum();
        // Newest first. What the indexer has not let go of yet is gone all the same.
        entries.truncate(entries.partition_point(|entry| *entry >= minimum));
        let more = entries.len() > entries_max;
        entries.truncate(entries_max);
        Ok(Found {
            entries,
            more,
            complete_up_to: complete,
            indexed_up_to,
            subjects_missing: indexed.subjects_missing(),
            minimum,
        })
    }

    fn keep(&self, rows: &[TokenRow]) -> Result<(), TokensError> {
        if rows.is_empty() {
            return Ok(());
        }
        Ok(self.inner.tokens.append(rows)?)
    }

    /// Entries of the log that are certain; what comes stands behind them.
    fn log_size(&self) -> u64 {
        self.inner.reader.size().unwrap_or_default()
    }
}

/// The thread of the indexer.
#[derive(Debug)]
pub struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Following {
    /// Follows the log for `index` until told to stop; manifests go into the log through `ledger`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn spawn(
        index: &Index,
        mut indexer: Indexer,
        ledger: Ledger,
        runtime: Handle,
    ) -> io::Result<Following> {
        let minimum = Arc::clone(&index.inner.minimum);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("index".to_owned()).spawn(move || {
            step_back();
            let mut told = false;
            while !stopped.load(Ordering::Relaxed) {
                let pruned = indexer.prune(minimum.load(Ordering::Relaxed));
                match pruned.and_then(|()| round(&mut indexer, &ledger, &runtime)) {
                    Ok(true) => {}
                    Ok(false) => {
                        told = false;
                        std::thread::park_timeout(LOOK_INTERVAL);
                    }
                    Err(error) => {
                        if !told {
                            tracing::error!(%error, "the index stands still; it is tried again");
                        }
                        told = true;
                        std::thread::park_timeout(TRY_AGAIN_INTERVAL);
                    }
                }
            }
        })?;
        Ok(Following { stop, thread: Some(thread) })
    }

    /// Ends the thread.
    pub fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        // A thread that panicked has told so; the index is derived.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One step of the indexer; whether there is more to do at once.
fn round(indexer: &mut Indexer, ledger: &Ledger, runtime: &Handle) -> Result<bool, IndexingError> {
    if indexer.advance()? {
        return Ok(true);
    }
    let owed = indexer.manifests_owed()?;
    if !owed.is_empty() {
        if let Err(error) = runtime.block_on(ledger.record(owed)) {
            // A broker that is stopping records them at its next start.
            tracing::info!(%error, "manifests of the index wait");
            indexer.owe_again();
        }
        return Ok(false);
    }
    indexer.merge()
}
