//! The thread that commits: takes the batches that wait, brings each into the tree, makes them durable together,
//! then answers all.

use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::disk::Writes;
use super::layout::{self, CHANGE_SLOT, Meta};
use super::watermark::Watermark;
use super::{Inner, guarded, io_error};
use crate::batch::Batch;
use crate::changes::{Retention, event_bytes};
use crate::contract::{Change, Event, Revision};
use crate::error::StoreError;
use crate::judge::judge;

/// Commits that share one sync.
pub(super) const GROUP_COMMITS_MAX: usize = 256;

/// A batch, and where its answer goes.
pub(super) struct Job {
    pub batch: Batch,
    pub reply: oneshot::Sender<Result<Revision, StoreError>>,
}

/// What only the writing thread has.
pub(super) struct Writer {
    inner: Arc<Inner>,
    watermark: Watermark,
    meta: Meta,
    retention: Retention,
}

impl Writer {
    pub(super) fn new(inner: Arc<Inner>, watermark: Watermark, meta: Meta, retention: Retention) -> Self {
        Self { inner, watermark, meta, retention }
    }

    /// Starts the thread. It ends when nobody can send it jobs any more, or when the disk fails.
    pub(super) fn start(self, jobs: mpsc::Receiver<Job>) -> Result<JoinHandle<()>, StoreError> {
        let folder = self.inner.disk.folder().to_owned();
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || self.run(jobs))
            .map_err(|error| io_error(&folder, &error))
    }

    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let inner = Arc::clone(&self.inner);
        let mut group = Vec::with_capacity(GROUP_COMMITS_MAX);
        while jobs.blocking_recv_many(&mut group, GROUP_COMMITS_MAX) > 0 {
            let (batches, replies): (Vec<_>, Vec<_>) =
                group.drain(..).map(|job| (job.batch, job.reply)).unzip();
            match guarded(inner.disk.folder(), || self.commit(batches)) {
                Ok(answers) => {
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        // Who no longer waits needs no answer.
                        let _ = reply.send(answer);
                    }
                }
                Err(error) => {
                    // After a failed write nobody knows what is on the disk: only opening it again tells.
                    tracing::error!(%error, "store stops: a commit could not be written");
                    for reply in replies {
                        let _ = reply.send(Err(StoreError::Unavailable { reason: error.to_string() }));
                    }
                    break;
                }
            }
        }
        inner.changes.close();
    }

    /// Commits batches one after the other and makes them durable together. An answer may be a refusal; an error means
    /// that the disk failed.
    fn commit(&mut self, batches: Vec<Batch>) -> Result<Vec<Result<Revision, StoreError>>, StoreError> {
        let mut answers = Vec::with_capacity(batches.len());
        let mut changes = Vec::new();
        for batch in batches {
            let inner = Arc::clone(&self.inner);
            let judged =
                judge(batch, |key| Ok(inner.disk.head(&layout::data_key(key))?.map(|head| head.revision)));
            match judged {
                Ok(events) if events.is_empty() => answers.push(Ok(self.meta.revision)),
                Ok(events) => {
                    let change = self.apply(events)?;
                    answers.push(Ok(change.revision));
                    changes.push(change);
                }
                Err(refusal @ StoreError::Conflict { .. }) => answers.push(Err(refusal)),
                Err(failure) => return Err(failure),
            }
        }
        if !changes.is_empty() {
            self.inner.disk.sync()?;
            self.watermark.write(self.meta.revision)?;
            self.inner.changes.publish(changes, self.meta.kept_after);
        }
        Ok(answers)
    }

    /// Brings the events of one commit into the tree.
    fn apply(&mut self, events: Vec<Event>) -> Result<Change, StoreError> {
        let revision = Revision(self.meta.revision.0 + 1);
        let mut meta = Meta { revision, ..self.meta };
        let mut writes = Writes::default();
        for (slot, event) in (0..CHANGE_SLOT).zip(&events) {
            let key = layout::data_key(event.key());
            if let Some(head) = self.inner.disk.head(&key)? {
                meta.remove(event.key(), head.revision);
                writes.remove(key.clone(), &head);
            }
            if let Event::Put { value, .. } = event {
                meta.add(event.key(), revision);
                writes.value(key, revision, slot, value);
            }
        }
        writes.value(layout::change_key(revision), revision, CHANGE_SLOT, &layout::encode_events(&events));
        for evicted in self.retention.admit(revision, event_bytes(&events)) {
            let key = layout::change_key(evicted);
            if let Some(head) = self.inner.disk.head(&key)? {
                writes.remove(key, &head);
            }
            meta.kept_after = evicted;
        }
        writes.meta(meta);

        let mut applied = self.inner.applied.write().unwrap_or_else(PoisonError::into_inner);
        self.inner.disk.write(writes)?;
        *applied = revision;
        drop(applied);
        self.meta = meta;
        Ok(Change { revision, events })
    }
}
