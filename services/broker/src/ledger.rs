//! The one writer of the log: nodes' batches and the broker's own records, in one order.
//!
//! All entries pass through one task, which takes whatever is waiting, puts it into the log in **one** append, and
//! waits until that is durable before it takes more: groups form by themselves while the disk is busy. Because no
//! other append is under way, the task knows the index of each entry before it is written, so that a batch's seal can
//! name it; and it compares each batch with the position of its node's journal *in the same step*, so that two streams
//! of one node, or a batch sent again after a broken connection, can never double an entry.

use std::sync::Arc;

use lienthong_audit::batch::Position;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::log::{Brake, ENTRY_BYTES_MAX, Log, LogError, LogReader};
use lienthong_audit::merkle;
use lienthong_audit::note::VerifierKey;
use lienthong_proto::lienthong::audit::v1::record::Body;
use prost_types::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use crate::clock;
use crate::limits::LEDGER_JOBS_WAITING_MAX;
use crate::positions::Positions;
use crate::records;

mod writer;

use writer::Writer;

/// A handle to the writer. Cheap to clone; the log closes when [`Ledger::close`] is called, or the last one is dropped.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    positions: Arc<Positions>,
    checkpoint: watch::Receiver<Arc<str>>,
    reader: LogReader,
    published: watch::Receiver<u64>,
    key: VerifierKey,
    brake: Brake,
}

/// A checked batch on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Resource name of the node.
    pub node: String,
    /// Where the journal must stand for this batch to be the next.
    pub expects: Position,
    /// Where it stands after it.
    pub then: Position,
    /// The entries.
    pub entries: Vec<Vec<u8>>,
    /// Late openings: they come after the entries, unless they are on record already.
    pub late: Vec<Vec<u8>>,
    /// The serialized header that the node signed.
    pub header: Vec<u8>,
    /// The node's signature over it.
    pub signature: Vec<u8>,
    /// SHA-256 of the node's certificate.
    pub certificate: [u8; 32],
}

/// What the log now holds, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Index of the first entry.
    pub first_index: u64,
    /// Entries; for a batch, without its seal.
    pub entries: u64,
    /// A signed checkpoint that covers them.
    pub checkpoint: Arc<str>,
}

/// Why something is not on record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LedgerError {
    /// The journal does not stand where the batch expects it.
    #[error("another stream of this node has moved its journal to record {last_seq} of epoch {epoch}")]
    Moved {
        /// Journal epoch on record.
        epoch: u64,
        /// Sequence number of the last record on record.
        last_seq: u64,
    },
    /// The log failed and takes nothing more until the broker has been started again.
    #[error(
        "the audit log stopped: {0}; see the disk of the broker's data folder, then start the broker again"
    )]
    Log(Arc<LogError>),
    /// The broker is stopping, or the log has failed before.
    #[error("the audit log is closed: the broker is stopping")]
    Closed,
    /// An entry longer than the log takes: a node's batch header, most likely.
    #[error("an entry of {0} bytes is longer than the log takes ({ENTRY_BYTES_MAX})")]
    TooLong(usize),
    /// The system's random numbers failed, so that no record can be salted.
    #[error("the system's random numbers failed: nothing can be recorded")]
    Randomness,
}

impl Ledger {
    /// Starts the writer over an open log whose newest checkpoint is given. The second value ends when the log is closed:
    /// cleanly once every handle is dropped, or with the error that stopped it.
    pub fn start(
        log: Log,
        checkpoint: &str,
        positions: Arc<Positions>,
    ) -> (Ledger, impl Future<Output = Result<(), LedgerError>> + use<>) {
        let (jobs, waiting) = mpsc::channel(LEDGER_JOBS_WAITING_MAX);
        let (announce, checkpoint) = watch::channel(Arc::from(checkpoint));
        let ledger = Ledger {
            jobs,
            positions: Arc::clone(&positions),
            checkpoint,
            reader: log.reader(),
            published: log.published(),
            key: log.verifier().clone(),
            brake: log.brake(),
        };
        let writer = Writer { log, positions, announce };
        let task = tokio::spawn(writer.run(waiting));
        // A task that was cancelled or panicked has not closed the log.
        (ledger, async move { task.await.unwrap_or(Err(LedgerError::Closed)) })
    }

    /// Where the journals stand.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The published checkpoint: everything that it covers can be read from the log's folder.
    ///
    /// # Errors
    /// [`LogError`] if it cannot be read.
    pub async fn published(&self) -> Result<String, LogError> {
        let reader = self.reader.clone();
        let read = spawn_blocking(move || reader.checkpoint_note()).await;
        read.unwrap_or(Err(LogError::Closed))
    }

    /// A reader over what is published.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The published size; changes are also told when only cosignatures came.
    pub fn published_size(&self) -> watch::Receiver<u64> {
        self.published.clone()
    }

    /// Compares the log with a checkpoint of it that somebody holds. If the log's own key signed it and the log does not
    /// hold it, this log was set back, or another one signs with its key: it stops for good. What anybody else
    /// signed says nothing.
    ///
    /// # Errors
    /// The proof, in words.
    pub async fn compare(&self, who: &str, note: &str) -> Result<(), String> {
        let Ok(held) = Checkpoint::open(note, &self.key) else {
            return Ok(());
        };
        // Not the checkpoint that was announced last: the log may have published a later one already, or be about to.
        let durable = self.brake.durable_size();
        let (reader, published) = (self.reader.clone(), *self.published.borrow());
        let proof = if held.size > durable {
            format!(
                "{who} holds a checkpoint of {} entries of this log, which ends at {durable}: it was restored from an old \
                 copy, or another broker signs for it",
                held.size
            )
        } else if held.size > published {
            // Published within a second; whoever signed it then is asked again at the next hello.
            return Ok(());
        } else {
            let size = held.size;
            let root = spawn_blocking(move || merkle::root(size, &reader.tree(published))).await;
            match root {
                Ok(Ok(root)) if root != held.root => format!(
                    "{who} holds another history of this log at {size} entries: the log was changed, or another broker \
                     signs for it"
                ),
                _ => return Ok(()),
            }
        };
        tracing::error!(proof, "the log must not sign any more");
        self.brake.pull(&proof);
        self.close().await;
        Err(proof)
    }

    /// The newest signed checkpoint; it binds the log, and is published within a second.
    pub fn checkpoint(&self) -> Arc<str> {
        self.checkpoint.borrow().clone()
    }

    /// Puts records of the broker's own into the log, in one append.
    ///
    /// # Errors
    /// [`LedgerError`], after which none of them is acknowledged.
    pub async fn record(&self, bodies: Vec<Body>) -> Result<Recorded, LedgerError> {
        let time = clock::now();
        let epoch = bodies.iter().map(published_epoch).max().unwrap_or_default();
        let entries = bodies.into_iter().map(|body| entry(body, time)).collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        self.submit(Job { work: Work::Own { entries, epoch }, reply }).await?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    /// Puts a node's batch and its seal into the log, in one append. Waits only for a place in the queue; the answer
    /// comes over the receiver, in the order in which batches were put in.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] when the log takes nothing more.
    pub async fn put(
        &self,
        batch: Batch,
    ) -> Result<oneshot::Receiver<Result<Recorded, LedgerError>>, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job { work: Work::Batch(Box::new(batch)), reply }).await?;
        Ok(answer)
    }

    /// Whether the log takes entries.
    pub fn is_open(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Takes nothing more; what is waiting is still written, then the log is closed.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self.submit(Job { work: Work::Close, reply }).await.is_ok() {
            // Closed before us is closed all the same.
            let _ = answer.await;
        }
    }

    async fn submit(&self, job: Job) -> Result<(), LedgerError> {
        self.jobs.send(job).await.map_err(|_| LedgerError::Closed)
    }
}

/// Who waits for the answer to a submission.
type Reply = oneshot::Sender<Result<Recorded, LedgerError>>;

/// A submission.
#[derive(Debug)]
struct Job {
    work: Work,
    reply: Reply,
}

#[derive(Debug)]
enum Work {
    /// Records of the broker's own; the highest epoch that they publish.
    Own {
        entries: Vec<Vec<u8>>,
        epoch: u64,
    },
    Batch(Box<Batch>),
    /// Nothing more comes.
    Close,
}

impl Work {
    fn bytes(&self) -> usize {
        match self {
            Work::Close => 0,
            Work::Own { entries, .. } => entries.iter().map(Vec::len).sum(),
            Work::Batch(batch) => batch.entries.iter().chain(&batch.late).map(Vec::len).sum(),
        }
    }
}

fn entry(body: Body, time: Timestamp) -> Result<Vec<u8>, LedgerError> {
    let salt = records::salt().ok_or(LedgerError::Randomness)?;
    Ok(records::encode(body, time, salt))
}

fn published_epoch(body: &Body) -> u64 {
    match body {
        Body::BundlePublished(published) => published.epoch,
        _ => 0,
    }
}
