//! The one writer of the log: nodes' batches and the broker's own records, in one order.
//!
//! All entries pass through one task, which takes whatever is waiting, puts it into the log in **one** append, and
//! waits until that is durable before it takes more: groups form by themselves while the disk is busy. Because no
//! other append is under way, the task knows the index of each entry before it is written, so that a batch's seal can
//! name it; and it compares each batch with the position of its node's journal *in the same step*, so that two streams
//! of one node, or a batch sent again after a broken connection, can never double an entry.

use std::sync::Arc;

use lienthong_audit::batch::Position;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::{ENTRY_BYTES_MAX, Log, LogError};
use lienthong_proto::lienthong::audit::v1::BatchSeal;
use lienthong_proto::lienthong::audit::v1::record::Body;
use prost_types::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;

use crate::clock;
use crate::limits::{LEDGER_GROUP_BYTES_MAX, LEDGER_GROUP_ENTRIES_MAX, LEDGER_JOBS_WAITING_MAX};
use crate::positions::{Positions, Step, stands};
use crate::records;

/// A handle to the writer. Cheap to clone; the log closes when [`Ledger::close`] is called, or the last one is dropped.
#[derive(Clone, Debug)]
pub struct Ledger {
    jobs: mpsc::Sender<Job>,
    positions: Arc<Positions>,
    checkpoint: watch::Receiver<Arc<str>>,
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
        };
        let writer = Writer {
            log,
            positions,
            announce,
        };
        let task = tokio::spawn(writer.run(waiting));
        // A task that was cancelled or panicked has not closed the log.
        (
            ledger,
            async move { task.await.unwrap_or(Err(LedgerError::Closed)) },
        )
    }

    /// Where the journals stand.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }

    /// The newest signed checkpoint.
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
        let entries = bodies
            .into_iter()
            .map(|body| entry(body, time))
            .collect::<Result<_, _>>()?;
        let (reply, answer) = oneshot::channel();
        self.submit(Job {
            work: Work::Own { entries, epoch },
            reply,
        })
        .await?;
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
        self.submit(Job {
            work: Work::Batch(Box::new(batch)),
            reply,
        })
        .await?;
        Ok(answer)
    }

    /// Whether the log takes entries.
    pub fn is_open(&self) -> bool {
        !self.jobs.is_closed()
    }

    /// Takes nothing more; what is waiting is still written, then the log is closed.
    pub async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if self
            .submit(Job {
                work: Work::Close,
                reply,
            })
            .await
            .is_ok()
        {
            // Closed before us is closed all the same.
            let _ = answer.await;
        }
    }

    async fn submit(&self, job: Job) -> Result<(), LedgerError> {
        self.jobs.send(job).await.map_err(|_| LedgerError::Closed)
    }
}

#[derive(Debug)]
struct Job {
    work: Work,
    reply: oneshot::Sender<Result<Recorded, LedgerError>>,
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

/// What goes into the log in one append.
#[derive(Default)]
struct Group {
    entries: Vec<Vec<u8>>,
    /// How journals have moved once the group is durable, in order.
    steps: Vec<(String, Step)>,
    /// The highest epoch that the group publishes.
    epoch: u64,
    /// Who waits for which of the entries.
    waiting: Vec<(Reply, Span)>,
}

impl Group {
    /// Where `node`'s journal will stand once what is in the group is durable.
    fn position(&self, node: &str) -> Option<Position> {
        self.steps
            .iter()
            .rev()
            .find(|(moved, _)| moved == node)
            .map(|(_, step)| step.position)
    }

    fn holds_late(&self, node: &str, hash: &Hash) -> bool {
        self.steps
            .iter()
            .any(|(moved, step)| moved == node && step.late.contains(hash))
    }
}

type Reply = oneshot::Sender<Result<Recorded, LedgerError>>;

/// Consecutive entries of the log.
#[derive(Clone, Copy)]
struct Span {
    first_index: u64,
    entries: u64,
}

struct Writer {
    log: Log,
    positions: Arc<Positions>,
    announce: watch::Sender<Arc<str>>,
}

impl Writer {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), LedgerError> {
        while let Some(first) = jobs.recv().await {
            let group = self.gather(first, &mut jobs);
            self.append(group).await?;
        }
        // Closing waits for the log's own threads.
        let closed = spawn_blocking(|| self.log.close())
            .await
            .map_err(|_| LedgerError::Closed)?;
        closed.map_err(|error| LedgerError::Log(Arc::new(error)))
    }

    /// Takes what is waiting, up to the size of one append.
    fn gather(&self, first: Job, jobs: &mut mpsc::Receiver<Job>) -> Group {
        let mut group = Group::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(Job { work, reply }) = next {
            if matches!(work, Work::Close) {
                jobs.close();
            }
            bytes += work.bytes();
            match self.add(&mut group, work) {
                Ok(span) => group.waiting.push((reply, span)),
                // Nobody waits any more if the stream has gone.
                Err(error) => drop(reply.send(Err(error))),
            }
            let full = group.entries.len() >= LEDGER_GROUP_ENTRIES_MAX || bytes >= LEDGER_GROUP_BYTES_MAX;
            next = if full { None } else { jobs.try_recv().ok() };
        }
        group
    }

    fn add(&self, group: &mut Group, work: Work) -> Result<Span, LedgerError> {
        let first_index = self.log.size() + group.entries.len() as u64;
        match work {
            Work::Own { entries, epoch } => {
                fit(&entries)?;
                let span = Span {
                    first_index,
                    entries: entries.len() as u64,
                };
                group.entries.extend(entries);
                group.epoch = group.epoch.max(epoch);
                Ok(span)
            }
            Work::Batch(batch) => self.add_batch(group, *batch, first_index),
            Work::Close => Ok(Span {
                first_index,
                entries: 0,
            }),
        }
    }

    fn add_batch(&self, group: &mut Group, batch: Batch, first_index: u64) -> Result<Span, LedgerError> {
        let journal = self.positions.journal(&batch.node);
        let held = group
            .position(&batch.node)
            .or(journal.as_ref().map(|journal| journal.position));
        if !stands(held, batch.expects) {
            let held = held.unwrap_or(Position::start(0));
            return Err(LedgerError::Moved {
                epoch: held.epoch,
                last_seq: held.last_seq,
            });
        }
        let mut entries = batch.entries;
        let mut late = Vec::new();
        for opening in batch.late {
            let hash = leaf_hash(&opening);
            let on_record = journal
                .as_ref()
                .is_some_and(|journal| journal.late.contains(&hash));
            if !on_record && !late.contains(&hash) && !group.holds_late(&batch.node, &hash) {
                late.push(hash);
                entries.push(opening);
            }
        }
        let span = Span {
            first_index,
            entries: entries.len() as u64,
        };
        if entries.is_empty() && batch.then == batch.expects {
            return Ok(span);
        }
        let seal = BatchSeal {
            header: batch.header,
            signature: batch.signature,
            certificate: batch.certificate.to_vec(),
            first_index,
            entries: span.entries,
        };
        entries.push(entry(Body::BatchSeal(seal), clock::now())?);
        fit(&entries)?;
        group.entries.extend(entries);
        group.steps.push((
            batch.node,
            Step {
                position: batch.then,
                first_index,
                entries: span.entries,
                late,
            },
        ));
        Ok(span)
    }

    async fn append(&mut self, group: Group) -> Result<(), LedgerError> {
        let size = self.log.size() + group.entries.len() as u64;
        let appended = match group.entries.is_empty() {
            true => Ok(None),
            false => self.log.append(group.entries).await.map(Some),
        };
        match appended {
            Ok(receipt) => {
                // Positions first: whoever reads an answer finds them in place.
                self.positions.advance(group.steps, group.epoch, size);
                if let Some(receipt) = receipt {
                    self.announce.send_replace(receipt.checkpoint);
                }
                let checkpoint = self.announce.borrow().clone();
                for (reply, Span { first_index, entries }) in group.waiting {
                    // A stream that has gone asks for the position when it comes back.
                    let checkpoint = Arc::clone(&checkpoint);
                    drop(reply.send(Ok(Recorded {
                        first_index,
                        entries,
                        checkpoint,
                    })));
                }
                Ok(())
            }
            Err(error) => {
                let error = LedgerError::Log(Arc::new(error));
                for (reply, _) in group.waiting {
                    drop(reply.send(Err(error.clone())));
                }
                Err(error)
            }
        }
    }
}

fn entry(body: Body, time: Timestamp) -> Result<Vec<u8>, LedgerError> {
    let salt = records::salt().ok_or(LedgerError::Randomness)?;
    Ok(records::encode(body, time, salt))
}

/// One entry that the log does not take would end the whole group; it must end its own submission only.
fn fit(entries: &[Vec<u8>]) -> Result<(), LedgerError> {
    match entries
        .iter()
        .map(Vec::len)
        .find(|bytes| *bytes > ENTRY_BYTES_MAX)
    {
        Some(bytes) => Err(LedgerError::TooLong(bytes)),
        None => Ok(()),
    }
}

fn published_epoch(body: &Body) -> u64 {
    match body {
        Body::BundlePublished(published) => published.epoch,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use lienthong_audit::log::{LogKey, LogOptions};
    use lienthong_proto::lienthong::audit::v1::{BatchHeader, Record};
    use prost::Message;

    use super::*;
    use crate::records::{Act, administration};

    const ORIGIN: &str = "example.test/log";
    const NODE: &str = "agencies/G01/nodes/n1";

    fn open(folder: &tempfile::TempDir, key: &str) -> Log {
        let dir = folder.path().join("log");
        let key = LogKey::from_skey(key).unwrap();
        let options = LogOptions {
            publish_interval_ms: 1,
            ..LogOptions::default()
        };
        match dir.exists() {
            true => Log::open(&dir, ORIGIN, key, &options).unwrap(),
            false => Log::create(&dir, ORIGIN, key, &options).unwrap(),
        }
    }

    fn new_key() -> String {
        LogKey::generate(ORIGIN)
            .unwrap()
            .signing_key()
            .to_skey()
            .unwrap()
            .to_string()
    }

    fn position(last_seq: u64) -> Position {
        let head = if last_seq == 0 {
            Position::start(1).head
        } else {
            leaf_hash(&last_seq.to_be_bytes())
        };
        Position {
            epoch: 1,
            last_seq,
            head,
        }
    }

    /// A batch of one entry a sequence number.
    fn batch(node: &str, from: u64, to: u64) -> Batch {
        let header = BatchHeader {
            node: node.to_owned(),
            journal_epoch: 1,
            first_seq: from + 1,
            last_seq: to,
            head: position(to).head.0.to_vec(),
            ..BatchHeader::default()
        };
        Batch {
            node: node.to_owned(),
            expects: position(from),
            then: position(to),
            entries: (from + 1..=to)
                .map(|seq| format!("{node} {seq}").into_bytes())
                .collect(),
            late: Vec::new(),
            header: header.encode_to_vec(),
            signature: vec![1; 64],
            certificate: [2; 32],
        }
    }

    async fn put(ledger: &Ledger, batch: Batch) -> Result<Recorded, LedgerError> {
        ledger.put(batch).await.unwrap().await.unwrap()
    }

    #[tokio::test]
    async fn entries_lie_where_the_seal_says() {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key();
        let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::default());
        let act = || {
            vec![administration(Act {
                action: "test",
                ..Act::default()
            })]
        };
        ledger.record(act()).await.unwrap();
        // Submitted together, they form groups as they come; indexes must hold either way.
        let nodes: Vec<String> = (0..40)
            .map(|number| format!("agencies/G01/nodes/n{number}"))
            .collect();
        let mut answers = Vec::new();
        for node in &nodes {
            answers.push(ledger.put(batch(node, 0, 3)).await.unwrap());
            answers.push(ledger.put(batch(node, 3, 5)).await.unwrap());
        }
        let mut recorded = Vec::new();
        for answer in answers {
            recorded.push(answer.await.unwrap().unwrap());
        }
        drop(ledger);
        closed.await.unwrap();

        let log = open(&folder, &key);
        let entries = log.reader().entries(0..log.size()).unwrap();
        assert_eq!(entries.len(), 1 + 40 * (3 + 1 + 2 + 1));
        for (node, pair) in nodes.iter().zip(recorded.chunks(2)) {
            for (recorded, first, count) in [(&pair[0], 1, 3), (&pair[1], 4, 2)] {
                assert_eq!(recorded.entries, count);
                for offset in 0..count {
                    let entry = &entries[usize::try_from(recorded.first_index + offset).unwrap()];
                    assert_eq!(*entry, format!("{node} {}", first + offset).into_bytes());
                }
                let seal = &entries[usize::try_from(recorded.first_index + count).unwrap()];
                let Some(Body::BatchSeal(seal)) = Record::decode(seal.as_slice()).unwrap().body else {
                    panic!("no seal behind the batch")
                };
                assert_eq!((seal.first_index, seal.entries), (recorded.first_index, count));
            }
        }
    }

    #[tokio::test]
    async fn the_same_batch_twice_is_on_record_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key();
        let positions = Arc::new(Positions::default());
        let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::clone(&positions));
        // Both are under way at once, as from two streams.
        let first = ledger.put(batch(NODE, 0, 2)).await.unwrap();
        let second = ledger.put(batch(NODE, 0, 2)).await.unwrap();
        assert_eq!(first.await.unwrap().unwrap().entries, 2);
        assert!(matches!(
            second.await.unwrap(),
            Err(LedgerError::Moved {
                epoch: 1,
                last_seq: 2
            })
        ));
        assert!(matches!(
            put(&ledger, batch(NODE, 5, 6)).await,
            Err(LedgerError::Moved { .. })
        ));
        assert_eq!(positions.of(NODE), Some(position(2)));
        drop(ledger);
        closed.await.unwrap();
        assert_eq!(open(&folder, &key).size(), 3);
    }

    #[tokio::test]
    async fn a_late_opening_is_on_record_once() {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key();
        let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::default());
        let late = |from, to| Batch {
            late: vec![b"opening".to_vec()],
            ..batch(NODE, from, to)
        };
        assert_eq!(put(&ledger, late(0, 2)).await.unwrap().entries, 3);
        assert_eq!(put(&ledger, late(2, 3)).await.unwrap().entries, 1);
        // A batch of late openings only, sent again: nothing is left to record.
        assert_eq!(put(&ledger, late(3, 3)).await.unwrap().entries, 0);
        drop(ledger);
        closed.await.unwrap();
        assert_eq!(open(&folder, &key).size(), 4 + 2);
    }

    #[tokio::test]
    async fn an_entry_too_long_ends_its_own_submission_only() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, closed) = Ledger::start(open(&folder, &new_key()), "", Arc::default());
        let padded = Batch {
            signature: vec![0; ENTRY_BYTES_MAX],
            ..batch(NODE, 0, 2)
        };
        let refused = ledger.put(padded).await.unwrap();
        let taken = ledger.put(batch("agencies/G12/nodes/n1", 0, 2)).await.unwrap();
        assert!(matches!(refused.await.unwrap(), Err(LedgerError::TooLong(_))));
        assert_eq!(taken.await.unwrap().unwrap().first_index, 0);
        drop(ledger);
        closed.await.unwrap();
    }
}
