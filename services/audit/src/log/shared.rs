//! What the callers, the sequencer and the publisher share: a bounded queue, a watermark, and the end.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::cosigner::{Cosignatures, Cosigner};
use super::error::LogError;
use super::recover::Position;
use super::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, QUEUE_BYTES_MAX, QUEUE_ENTRIES_MAX, Receipt};

/// What a caller gets for an append.
pub(crate) type Outcome = Result<Receipt, LogError>;

/// Where the outcome of an append goes.
#[derive(Debug)]
pub(crate) enum Reply {
    Task(oneshot::Sender<Outcome>),
    Thread(std::sync::mpsc::SyncSender<Outcome>),
}

impl Reply {
    /// A caller that has gone away is no concern of the log.
    pub(crate) fn send(self, outcome: Outcome) {
        match self {
            Self::Task(task) => drop(task.send(outcome)),
            Self::Thread(thread) => drop(thread.send(outcome)),
        }
    }
}

/// One append in the queue.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) entries: Vec<Vec<u8>>,
    /// Bytes of all entries.
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
}

/// How far the write-ahead log is durable, for the publisher that follows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) at: Position,
    pub(crate) size: u64,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    /// Closed: nothing more will be written; publish the rest.
    Finished,
    /// Stopped: publish nothing more.
    Failed,
}

pub(crate) struct Shared {
    queue: Mutex<Queue>,
    queued: Condvar,
    written: Mutex<Written>,
    advanced: Condvar,
    published: watch::Sender<u64>,
    cosigner: Mutex<Option<Box<dyn Cosigner>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("written", &self.written).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Queue {
    appends: VecDeque<Append>,
    entries: usize,
    bytes: usize,
    closed: bool,
    fatal: Option<String>,
}

impl Shared {
    pub(crate) fn new(at: Position, size: u64, published: u64) -> Self {
        Self {
            queue: Mutex::default(),
            queued: Condvar::new(),
            written: Mutex::new(Written { at, size, phase: Phase::Running }),
            advanced: Condvar::new(),
            published: watch::Sender::new(published),
            cosigner: Mutex::default(),
        }
    }

    /// Puts an append at the end of the queue; if that is not possible, answers it at once.
    pub(crate) fn submit(&self, append: Append) {
        let mut queue = locked(&self.queue);
        let refusal = if let Some(reason) = &queue.fatal {
            LogError::Fatal(reason.clone())
        } else if queue.closed {
            LogError::Closed
        } else if queue.entries + append.entries.len() > QUEUE_ENTRIES_MAX
            || queue.bytes + append.bytes > QUEUE_BYTES_MAX
        {
            LogError::Busy { entries: queue.entries, bytes: queue.bytes }
        } else {
            queue.entries += append.entries.len();
            queue.bytes += append.bytes;
            queue.appends.push_back(append);
            self.queued.notify_one();
            return;
        };
        drop(queue);
        append.reply.send(Err(refusal));
    }

    /// Waits for appends and takes as many as one group commit holds. `None` when the log is closed and the queue is
    /// empty, or the log stopped.
    pub(crate) fn next_group(&self) -> Option<Vec<Append>> {
        let queue = locked(&self.queue);
        let idle = |queue: &mut Queue| queue.appends.is_empty() && !queue.closed && queue.fatal.is_none();
        let mut queue = self.queued.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
        let (mut entries, mut bytes) = (0, 0);
        let mut group = Vec::new();
        while let Some(append) = queue.appends.pop_front() {
            entries += append.entries.len();
            bytes += append.bytes;
            if !group.is_empty() && (entries > APPEND_ENTRIES_MAX || bytes > APPEND_BYTES_MAX) {
                queue.appends.push_front(append);
                break;
            }
            queue.entries -= append.entries.len();
            queue.bytes -= append.bytes;
            group.push(append);
        }
        (!group.is_empty()).then_some(group)
    }

    /// Tells the publisher how far the write-ahead log is durable.
    pub(crate) fn advance(&self, at: Position, size: u64) {
        let mut written = locked(&self.written);
        (written.at, written.size) = (at, size);
        self.advanced.notify_all();
    }

    /// Waits until more than `size` entries are written, the log ends, or the time is over.
    pub(crate) fn wait_written(&self, size: u64, timeout: Option<Duration>) -> Written {
        let written = locked(&self.written);
        let nothing_new = |written: &mut Written| written.size == size && written.phase == Phase::Running;
        match timeout {
            Some(timeout) => {
                *self
                    .advanced
                    .wait_timeout_while(written, timeout, nothing_new)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
            None => *self.advanced.wait_while(written, nothing_new).unwrap_or_else(PoisonError::into_inner),
        }
    }

    pub(crate) fn written(&self) -> Written {
        *locked(&self.written)
    }

    /// The published size, to read and to wait for.
    pub(crate) const fn published(&self) -> &watch::Sender<u64> {
        &self.published
    }

    pub(crate) fn cosign_with(&self, cosigner: Box<dyn Cosigner>) {
        *locked(&self.cosigner) = Some(cosigner);
    }

    /// Cosignatures on a checkpoint; without a cosigner there are none to be had, and they are enough.
    pub(crate) fn cosign(&self, checkpoint: &str, size: u64) -> Result<Cosignatures, String> {
        match &mut *locked(&self.cosigner) {
            Some(cosigner) => cosigner.cosign(checkpoint, size),
            None => Ok(Cosignatures { signatures: Vec::new(), enough: true }),
        }
    }

    /// Takes no more appends; what is queued is still written.
    pub(crate) fn close(&self) {
        locked(&self.queue).closed = true;
        self.queued.notify_all();
    }

    /// Nothing more will be written.
    pub(crate) fn finish(&self) {
        self.end(Phase::Finished);
    }

    /// Stops the log for good. The first reason stays.
    pub(crate) fn fail(&self, reason: &str) {
        let waiting = {
            let mut queue = locked(&self.queue);
            if queue.fatal.is_none() {
                tracing::error!(reason, "the log stopped");
                queue.fatal = Some(reason.to_owned());
            }
            (queue.entries, queue.bytes) = (0, 0);
            std::mem::take(&mut queue.appends)
        };
        self.queued.notify_all();
        self.end(Phase::Failed);
        for append in waiting {
            append.reply.send(Err(LogError::Fatal(reason.to_owned())));
        }
    }

    pub(crate) fn fatal(&self) -> Option<String> {
        locked(&self.queue).fatal.clone()
    }

    /// Entries and bytes in the queue.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let queue = locked(&self.queue);
        (queue.entries, queue.bytes)
    }

    fn end(&self, phase: Phase) {
        let mut written = locked(&self.written);
        if written.phase == Phase::Running {
            written.phase = phase;
        }
        self.advanced.notify_all();
    }
}

/// Fails the log when a thread of it dies without a word.
pub(crate) struct DeathWatch<'a> {
    shared: &'a Shared,
    thread: &'static str,
}

impl<'a> DeathWatch<'a> {
    pub(crate) const fn new(shared: &'a Shared, thread: &'static str) -> Self {
        Self { shared, thread }
    }
}

impl Drop for DeathWatch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.fail(&format!("its {} ended unexpectedly", self.thread));
        }
    }
}

/// A panic of another holder leaves plain values behind, so the lock stays usable.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
