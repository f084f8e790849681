//! Housekeeping on a thread of its own, so that no commit waits for it: reserved segments, the side file of
//! keys, the acknowledged position, segments past their retention.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::error::JournalError;
use super::folder::Acknowledged;
use super::queue::Queue;
use super::{KEYS_SYNC_INTERVAL, Shared, lock};

/// Reserved space that becomes a segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub path: PathBuf,
    pub file: File,
}

/// The reserved segments, between the keeper that makes them and the writer that takes them.
#[derive(Debug, Default)]
pub(super) struct Pool {
    inner: Mutex<Inner>,
    made: Condvar,
    chores: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    spares: VecDeque<Spare>,
    nudged: bool,
    stopped: bool,
    full: bool,
}

impl Pool {
    /// The next spare; sleeps until there is one. `None` if the journal is closing and the disk is full.
    pub fn take(&self, queue: &Queue) -> Option<Spare> {
        let mut inner = lock(&self.inner);
        loop {
            inner.nudged = true;
            self.chores.notify_one();
            if let Some(spare) = inner.spares.pop_front() {
                return Some(spare);
            }
            if inner.full && queue.is_closed() {
                return None;
            }
            // The timeout looks for a close, which has no other way to be heard here.
            inner = self.made.wait_timeout(inner, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the keeper after a last round.
    pub fn stop(&self) {
        lock(&self.inner).stopped = true;
        self.chores.notify_one();
    }

    fn len(&self) -> usize {
        lock(&self.inner).spares.len()
    }

    fn add(&self, spare: Spare) {
        let mut inner = lock(&self.inner);
        inner.spares.push_back(spare);
        inner.full = false;
        self.made.notify_one();
    }

    fn set_full(&self) {
        lock(&self.inner).full = true;
        self.made.notify_one();
    }

    /// Sleeps until there is something to do. Returns whether to stop.
    fn wait(&self) -> bool {
        let mut inner = lock(&self.inner);
        if !inner.nudged && !inner.stopped {
            inner = self.chores.wait_timeout(inner, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.nudged = false;
        inner.stopped
    }
}

/// So many spares are there when a journal opens; those for the rest of the backlog follow while it works already.
pub(super) const SPARES_AT_FIRST: usize = 2;

/// How often the keeper looks around without being called.
const TICK: Duration = Duration::from_millis(250);

/// The housekeeper.
#[derive(Debug)]
pub(super) struct Keeper {
    shared: Arc<Shared>,
    spares_made: u64,
    written: Acknowledged,
    last_round: Instant,
    /// Faults already told, so that a full disk does not fill the log too.
    told: bool,
}

impl Keeper {
    pub fn new(shared: Arc<Shared>, written: Acknowledged) -> Self {
        Self { shared, spares_made: 0, written, last_round: Instant::now(), told: false }
    }

    /// Runs until the journal is closed, then does a last round.
    pub fn run(mut self) {
        loop {
            self.reserve(usize::MAX);
            let stopped = self.shared.pool.wait();
            if stopped || self.last_round.elapsed() >= KEYS_SYNC_INTERVAL {
                self.last_round = Instant::now();
                // Each by itself: where keys cannot be written, dropping segments may give the space back.
                let chores =
                    [self.flush_keys(), self.acknowledge(), self.tend_subjects(), self.drop_segments()];
                self.tell(chores.into_iter().collect());
            }
            if stopped {
                self.remove_spares();
                return;
            }
        }
    }

    /// Makes spares until the whole backlog has its place, or there are `enough`.
    pub fn reserve(&mut self, enough: usize) {
        while self.shared.pool.len() < self.spares_wanted().min(enough) {
            self.spares_made += 1;
            let path = self.shared.folder.spare(self.spares_made);
            match self.make_spare(path.clone()) {
                Ok(spare) => {
                    self.shared.pool.add(spare);
                    self.shared.queue.spare_made();
                }
                Err(error) => {
                    self.shared.pool.set_full();
                    self.shared.queue.disk_full();
                    // Half a spare would keep the space that others need.
                    let _ = fs::remove_file(&path);
                    self.tell(Err(JournalError::io("reserve space in", &path)(error)));
                    return;
                }
            }
        }
    }

    fn spares_wanted(&self) -> usize {
        let options = &self.shared.options;
        let left = options.backlog_bytes_max.saturating_sub(self.shared.queue.backlog(Instant::now()).bytes);
        usize::try_from(left.div_ceil(options.segment_bytes_max) + 1).unwrap_or(usize::MAX)
    }

    fn make_spare(&self, path: PathBuf) -> io::Result<Spare> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        self.shared.disk.reserve(&file, self.shared.options.segment_bytes_max)?;
        file.sync_all()?;
        Ok(Spare { path, file })
    }

    /// Writes and syncs the key rows that came since. Rows that cannot be written stay in the queue, which is
    /// bounded: in the end records with keys are refused.
    fn flush_keys(&self) -> Result<(), JournalError> {
        let mut keys = lock(&self.shared.keys);
        let mut rows = self.shared.queue.take_keys();
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.shared.folder.keys();
        if let Err(error) = keys.append(&mut rows) {
            self.shared.queue.return_keys(rows);
            return Err(JournalError::io("write", &path)(error));
        }
        keys.sync().map_err(JournalError::io("sync", &path))
    }

    /// Makes subject ids durable, and erases those that the broker has.
    fn tend_subjects(&self) -> Result<(), JournalError> {
        let acknowledged = lock(&self.shared.acknowledged).seq;
        let mut subjects = lock(&self.shared.subjects);
        let path = self.shared.folder.subjects();
        subjects.sync().map_err(JournalError::io("sync", &path))?;
        subjects.forget(acknowledged).map_err(JournalError::io("erase receipted rows in", &path))
    }

    fn acknowledge(&mut self) -> Result<(), JournalError> {
        let now = *lock(&self.shared.acknowledged);
        if now != self.written {
            self.shared.folder.write_acknowledged(self.shared.epoch, now)?;
            self.written = now;
        }
        Ok(())
    }

    /// Drops the oldest segments: never one that holds a record not acknowledged or an exchange still open.
    fn drop_segments(&self) -> Result<(), JournalError> {
        let options = &self.shared.options;
        let needed = self.written.floor.min(self.written.seq + 1);
        let segments = self.shared.segments.list();
        let droppable = segments.iter().skip(1).take_while(|next| **next <= needed).count();
        for (index, first_seq) in segments.iter().take(droppable).enumerate() {
            let path = self.shared.folder.segment(*first_seq);
            let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let modified = modified.map_err(JournalError::io("look at", &path))?;
            let age = SystemTime::now().duration_since(modified).unwrap_or_default();
            if droppable - index <= options.retention_segments_max && age <= options.retention_age {
                break;
            }
            self.shared.segments.drop_first(*first_seq);
            fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
        }
        Ok(())
    }

    fn remove_spares(&self) {
        for spare in lock(&self.shared.pool.inner).spares.drain(..) {
            let _ = fs::remove_file(spare.path);
        }
    }

    fn tell(&mut self, round: Result<(), JournalError>) {
        match round {
            Err(error) if !self.told => {
                tracing::error!(%error, "housekeeping of the journal; it is tried again");
                self.told = true;
            }
            Err(_) => {}
            Ok(()) => self.told = false,
        }
    }
}
