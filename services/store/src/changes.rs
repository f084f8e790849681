//! The bounded log of changes that watches are served from, and the sign that there is something new.
//!
//! A watch holds no queue: it holds a place in the log and looks there when the sign moves. A reader that falls behind
//! costs nothing and is told so when the log has moved past it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;

use crate::contract::{Change, Event, Revision, Watch};
use crate::error::StoreError;

/// Changes kept for watches to take up.
pub const CHANGES_MAX: usize = 4_096;
/// Bytes of keys and values in the changes kept; the newest change is kept whatever its size.
pub const CHANGES_BYTES_MAX: usize = 16 << 20;

/// Which changes are kept: the newest, within the bounds.
#[derive(Debug, Default)]
pub(crate) struct Retention {
    kept: VecDeque<(Revision, usize)>,
    bytes: usize,
}

impl Retention {
    /// Notes a new change; answers the revisions that must go for it, the oldest first.
    pub(crate) fn admit(&mut self, revision: Revision, bytes: usize) -> Vec<Revision> {
        self.kept.push_back((revision, bytes));
        self.bytes += bytes;
        let mut evicted = Vec::new();
        while self.kept.len() > CHANGES_MAX || self.bytes > CHANGES_BYTES_MAX && self.kept.len() > 1 {
            let Some((revision, bytes)) = self.kept.pop_front() else {
                break;
            };
            self.bytes -= bytes;
            evicted.push(revision);
        }
        evicted
    }
}

/// Bytes that a change counts for.
pub(crate) fn event_bytes(events: &[Event]) -> usize {
    events.iter().map(|event| event.key().len() + event.value().map_or(0, <[u8]>::len)).sum()
}

/// The durable changes, and how far they have come.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    shared: Arc<Mutex<Kept>>,
    sign: watch::Sender<Reached>,
}

/// How far the durable changes have come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    pub revision: Revision,
    /// Whether no further change will come.
    pub closed: bool,
}

#[derive(Debug)]
struct Kept {
    /// All changes after this revision are kept.
    after: Revision,
    changes: VecDeque<Arc<Change>>,
}

impl ChangeLog {
    /// A log that holds all changes after a revision: these, which must be in order.
    pub(crate) fn new(after: Revision, changes: Vec<Change>) -> Self {
        let revision = changes.last().map_or(after, |change| change.revision);
        let changes = changes.into_iter().map(Arc::new).collect();
        Self {
            shared: Arc::new(Mutex::new(Kept { after, changes })),
            sign: watch::Sender::new(Reached { revision, closed: false }),
        }
    }

    /// Takes in changes that have become durable, and forgets those up to `after`.
    pub(crate) fn publish(&self, changes: Vec<Change>, after: Revision) {
        let Some(revision) = changes.last().map(|change| change.revision) else {
            return;
        };
        let mut kept = lock(&self.shared);
        kept.changes.extend(changes.into_iter().map(Arc::new));
        kept.after = after;
        while kept.changes.front().is_some_and(|change| change.revision <= after) {
            kept.changes.pop_front();
        }
        drop(kept);
        self.sign.send_replace(Reached { revision, closed: false });
    }

    /// Ends all watches: no further change will become durable.
    pub(crate) fn close(&self) {
        self.sign.send_modify(|reached| reached.closed = true);
    }

    /// How far the durable changes have come.
    pub(crate) fn reached(&self) -> Reached {
        *self.sign.borrow()
    }

    /// Waits until the changes up to a revision are durable.
    pub(crate) async fn durable(&self, revision: Revision) -> Result<(), StoreError> {
        let mut sign = self.sign.subscribe();
        let reached = sign.wait_for(|reached| reached.revision >= revision || reached.closed).await;
        match reached {
            Ok(reached) if reached.revision >= revision => Ok(()),
            _ => Err(closed()),
        }
    }

    /// A watch on the keys of a prefix, after a revision.
    pub(crate) fn watch(&self, prefix: &[u8], after: Revision) -> Result<Watch, StoreError> {
        let sign = self.sign.subscribe();
        let current = sign.borrow().revision;
        if after > current {
            return Err(StoreError::RevisionAhead { asked: after, current });
        }
        let reader = Reader { shared: Arc::clone(&self.shared), sign, prefix: prefix.to_vec(), after };
        // What is gone already is told at once, not first when the stream is polled.
        reader.check()?;
        let stream = stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(change) => Some((Ok(change), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(stream.boxed())
    }
}

struct Reader {
    shared: Arc<Mutex<Kept>>,
    sign: watch::Receiver<Reached>,
    prefix: Vec<u8>,
    /// Everything up to this revision was read.
    after: Revision,
}

impl Reader {
    async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            // Marked as seen before looking, so that a change in between is not slept through.
            let reached = *self.sign.borrow_and_update();
            if let Some(change) = self.look()? {
                return Ok(change);
            }
            if reached.closed {
                return Err(closed());
            }
            self.sign.changed().await.map_err(|_| closed())?;
        }
    }

    /// The first change to the watched keys that was not read yet. The log is searched outside its lock.
    fn look(&mut self) -> Result<Option<Change>, StoreError> {
        while let Some(change) = self.check()? {
            self.after = change.revision;
            let events: Vec<Event> =
                change.events.iter().filter(|event| event.key().starts_with(&self.prefix)).cloned().collect();
            if !events.is_empty() {
                return Ok(Some(Change { revision: change.revision, events }));
            }
        }
        Ok(None)
    }

    /// The change that follows the last one read; an error if it is kept no more.
    fn check(&self) -> Result<Option<Arc<Change>>, StoreError> {
        let kept = lock(&self.shared);
        if self.after < kept.after {
            return Err(StoreError::Compacted { kept_after: kept.after });
        }
        let index = kept.changes.partition_point(|change| change.revision <= self.after);
        Ok(kept.changes.get(index).map(Arc::clone))
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable { reason: "it was closed, or failed to write; its log says which".to_owned() }
}

/// Nothing panics while the log is held, so a poisoned lock still guards whole data.
fn lock(shared: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_are_kept_within_both_bounds() {
        let mut retention = Retention::default();
        for revision in 1..=CHANGES_MAX as u64 {
            assert!(retention.admit(Revision(revision), 1).is_empty());
        }
        assert_eq!(retention.admit(Revision(5_000), 1), [Revision(1)]);
        let evicted = retention.admit(Revision(5_001), CHANGES_BYTES_MAX - 2);
        assert_eq!(evicted.len(), CHANGES_MAX - 2);
        assert_eq!(retention.admit(Revision(5_002), CHANGES_BYTES_MAX + 1).len(), 3);
        assert_eq!(retention.kept.len(), 1);
    }
}
