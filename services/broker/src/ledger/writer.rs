//! The task behind the ledger: gathers what waits, appends it, answers.

use std::sync::Arc;

use lienthong_audit::batch::Position;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::{ENTRY_BYTES_MAX, Log};
use lienthong_proto::lienthong::audit::v1::BatchSeal;
use lienthong_proto::lienthong::audit::v1::record::Body;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use super::{Batch, Job, LedgerError, Recorded, Reply, Work, entry};
use crate::clock;
use crate::limits::{LEDGER_GROUP_BYTES_MAX, LEDGER_GROUP_ENTRIES_MAX};
use crate::positions::{Positions, Step, stands};

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
        self.steps.iter().rev().find(|(moved, _)| moved == node).map(|(_, step)| step.position)
    }

    fn holds_late(&self, node: &str, hash: &Hash) -> bool {
        self.steps.iter().any(|(moved, step)| moved == node && step.late.contains(hash))
    }
}

/// Consecutive entries of the log.
#[derive(Clone, Copy)]
struct Span {
    first_index: u64,
    entries: u64,
}

/// The writer.
pub(super) struct Writer {
    pub(super) log: Log,
    pub(super) positions: Arc<Positions>,
    /// Shows the newest checkpoint.
    pub(super) announce: watch::Sender<Arc<str>>,
}

impl Writer {
    /// Writes until there is no more to come, then closes the log.
    pub(super) async fn run(mut self, mut jobs: mpsc::Receiver<Job>) -> Result<(), LedgerError> {
        while let Some(first) = jobs.recv().await {
            let group = self.gather(first, &mut jobs);
            self.append(group).await?;
        }
        // Closing waits for the log's own threads.
        let closed = spawn_blocking(|| self.log.close()).await.map_err(|_| LedgerError::Closed)?;
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
                let span = Span { first_index, entries: entries.len() as u64 };
                group.entries.extend(entries);
                group.epoch = group.epoch.max(epoch);
                Ok(span)
            }
            Work::Batch(batch) => self.add_batch(group, *batch, first_index),
            Work::Close => Ok(Span { first_index, entries: 0 }),
        }
    }

    fn add_batch(&self, group: &mut Group, batch: Batch, first_index: u64) -> Result<Span, LedgerError> {
        let held = group.position(&batch.node).or_else(|| self.positions.of(&batch.node));
        if !stands(held, batch.expects) {
            let Position { epoch, last_seq, .. } = held.unwrap_or(Position::start(0));
            return Err(LedgerError::Moved { epoch, last_seq });
        }
        let mut entries = batch.entries;
        let mut late = Vec::new();
        for opening in batch.late {
            let hash = leaf_hash(&opening);
            let under_way = late.contains(&hash) || group.holds_late(&batch.node, &hash);
            if !under_way && !self.positions.holds_late(&batch.node, &hash) {
                late.push(hash);
                entries.push(opening);
            }
        }
        let span = Span { first_index, entries: entries.len() as u64 };
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
        let step = Step { position: batch.then, first_index, entries: span.entries, late };
        group.steps.push((batch.node, step));
        Ok(span)
    }

    async fn append(&mut self, group: Group) -> Result<(), LedgerError> {
        let size = self.log.size() + group.entries.len() as u64;
        let appended =
            if group.entries.is_empty() { Ok(None) } else { self.log.append(group.entries).await.map(Some) };
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
                    drop(reply.send(Ok(Recorded { first_index, entries, checkpoint })));
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

/// One entry that the log does not take would end the whole group; it must end its own submission only.
fn fit(entries: &[Vec<u8>]) -> Result<(), LedgerError> {
    match entries.iter().map(Vec::len).find(|bytes| *bytes > ENTRY_BYTES_MAX) {
        Some(bytes) => Err(LedgerError::TooLong(bytes)),
        None => Ok(()),
    }
}
