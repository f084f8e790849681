//! The queue between the traffic threads and the journal's thread, and the account of what was promised.
//!
//! One mutex, held for the copy of one record into the draft of the next group. Where each frame will land is
//! decided here, so that a record is only accepted when space for it is reserved.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::account::{Account, Backlog};
use super::error::AppendError;
use super::frame::{self, FRAME_HEADER_BYTES, MARKER_BYTES, SEGMENT_HEADER_BYTES, Tag};
use super::lock;
use super::subjects::SubjectRow;
use crate::hash::Hash;
use crate::keys::KeyRow;
use crate::record::RECORD_BYTES_MAX;

/// A group commit takes at most this many bytes, so that one write stays short.
pub(super) const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// Records accepted but not yet written take at most this many bytes of memory.
pub(super) const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A record that nobody waits for, the closing of an opening, waits this long for company before it gets an `fdatasync` of
/// its own. A crowd's records wait no longer either.
pub(super) const LINGER: Duration = Duration::from_millis(5);

/// Records of a group from which on it was a crowd's: the next one gathers until a thread rests. Fewer are gone before they
/// would have gathered.
const CROWD_RECORDS: usize = 8;

/// The place that an opening holds for its closing while the disk is full, in bytes: the largest record, alone in its group.
const CLOSING_BYTES_MAX: u64 = (FRAME_HEADER_BYTES + RECORD_BYTES_MAX + MARKER_BYTES) as u64;

/// Key rows that wait for their side file; some seconds of traffic.
pub(super) const KEY_ROWS_WAITING_MAX: usize = 262_144;

/// The records of one group commit, framed, without their CRC.
#[derive(Debug)]
pub(super) struct Draft {
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// Whether a new segment begins with this group.
    pub rotate: bool,
    /// Room for the previous group's marker, then the frames.
    pub bytes: Vec<u8>,
    /// Where in `bytes` each frame begins.
    pub starts: Vec<u32>,
    /// Leaf hash of each record.
    pub leaves: Vec<Hash>,
}

impl Draft {
    /// An empty draft with room for about as much as an earlier group took.
    pub fn like(bytes: usize, records: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.clamp(DRAFT_BYTES_MIN, GROUP_BYTES_MAX));
        buffer.resize(MARKER_BYTES, 0);
        let records = records.clamp(8, 4096);
        Self {
            first_seq: 0,
            rotate: false,
            bytes: buffer,
            starts: Vec::with_capacity(records),
            leaves: Vec::with_capacity(records),
        }
    }

    /// Sequence number of the last record.
    pub fn last_seq(&self) -> u64 {
        self.first_seq + self.leaves.len() as u64 - 1
    }
}

const DRAFT_BYTES_MIN: usize = 4096;

/// What a record is to its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It owes nothing and is owed by nobody.
    Alone,
    /// It begins an exchange, and its closing is owed from then on.
    Opening,
    /// Something between: owed by the opening, and not the last.
    Part,
    /// It ends an exchange.
    Closing,
}

impl Role {
    /// Whether it was promised when an earlier record was taken in: the bound of the backlog does not hold it back.
    const fn is_owed(self) -> bool {
        matches!(self, Self::Part | Self::Closing)
    }
}

/// What the journal's thread does next.
#[derive(Debug)]
pub(super) enum Work {
    /// Commit this group.
    Commit(Draft),
    /// Nothing to commit: write the marker that is still owed.
    Marker,
    /// Nothing to do for a while: look for waiters that a leader forgot.
    Rescue,
    /// Everything is committed and nothing more will come.
    Close,
}

/// Where the account of a journal begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Where in the current segment it lands.
    pub segment_offset: u64,
    /// Last record acknowledged.
    pub acknowledged: u64,
    /// Bytes of frames after it.
    pub backlog_bytes: u64,
    /// When the oldest of them was made.
    pub backlog_since: Instant,
}

/// The bounds of a queue, each a greatest value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub segment_bytes: u64,
    pub backlog_records: u64,
    pub backlog_bytes: u64,
    pub gathers: bool,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    limits: Limits,
    inner: Mutex<Inner>,
    work: Condvar,
    /// The last group was a crowd's. Written under the lock.
    crowded: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    drafts: VecDeque<Draft>,
    queued_bytes: usize,
    /// An empty draft, allocated ahead by the journal's thread.
    fresh: Option<Draft>,
    keys: Vec<KeyRow>,
    /// Who the records of the drafts are about.
    subjects: Vec<(u64, SubjectRow)>,
    next_seq: u64,
    segment_offset: u64,
    /// Reserved segments not yet promised; below zero if promised before they were made.
    spares: i64,
    disk_full: bool,
    /// Openings taken in whose closings have not come.
    owing: u64,
    closed: bool,
    sleep: Sleep,
    /// How soon the drafts go.
    haste: Haste,
    account: Account,
}

/// How soon drafts go to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Haste {
    /// Nobody waits for a record of theirs.
    None,
    /// Somebody may. They go, but for a crowd's.
    Waited,
    /// A thread rests since somebody waits, or there is enough for a group.
    Now,
}

/// What the journal's thread does while it has no work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// It works, or looks for work.
    Awake,
    /// It sleeps for a moment, until somebody waits for a record; others gather.
    Lingering,
    /// It sleeps until the next record, whatever it is.
    Deep,
}

impl Queue {
    pub fn new(limits: Limits, start: Start) -> Self {
        let inner = Inner {
            drafts: VecDeque::new(),
            queued_bytes: 0,
            fresh: None,
            keys: Vec::new(),
            subjects: Vec::new(),
            next_seq: start.next_seq,
            segment_offset: start.segment_offset,
            spares: 0,
            disk_full: false,
            owing: 0,
            closed: false,
            sleep: Sleep::Awake,
            haste: Haste::None,
            account: Account::new(
                start.next_seq - 1,
                start.acknowledged,
                start.backlog_bytes,
                start.backlog_since,
            ),
        };
        Self { limits, inner: Mutex::new(inner), work: Condvar::new(), crowded: AtomicBool::new(false) }
    }

    /// Takes in a record, or refuses it. Never waits for the disk.
    pub fn append(
        &self,
        tag: Tag,
        record: &[u8],
        leaf: Hash,
        key: Option<KeyRow>,
        role: Role,
    ) -> Result<u64, AppendError> {
        if record.len() > RECORD_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: record.len() });
        }
        self.take_in(record.len(), key.is_some(), role, |inner, place| {
            let seq = inner.push(place, tag, record, leaf);
            inner.keys.extend(key);
            seq
        })
    }

    /// Takes in an owed record together with whom it is about.
    pub fn append_about(
        &self,
        record: &[u8],
        leaf: Hash,
        about: SubjectRow,
        role: Role,
    ) -> Result<u64, AppendError> {
        self.take_in(record.len(), false, role, |inner, place| {
            let seq = inner.push(place, Tag::Record, record, leaf);
            inner.subjects.push((seq, about));
            seq
        })
    }

    fn take_in(
        &self,
        length: usize,
        with_key: bool,
        role: Role,
        push: impl FnOnce(&mut Inner, Place) -> u64,
    ) -> Result<u64, AppendError> {
        let mut inner = lock(&self.inner);
        let place = inner.admit(&self.limits, length, with_key, role)?;
        let seq = push(&mut inner, place);
        match role {
            Role::Opening => inner.owing += 1,
            Role::Closing => inner.owing = inner.owing.saturating_sub(1),
            Role::Alone | Role::Part => {}
        }
        let haste = match role {
            _ if inner.queued_bytes > GROUP_BYTES_MAX / 2 => Haste::Now,
            _ if role.is_owed() => Haste::None,
            _ => Haste::Waited,
        };
        inner.haste = inner.haste.max(haste);
        let wake = match inner.sleep {
            Sleep::Awake => false,
            Sleep::Lingering => self.is_due(&inner),
            Sleep::Deep => true,
        };
        if wake {
            inner.sleep = Sleep::Awake;
        }
        drop(inner);
        if wake {
            self.work.notify_one();
        }
        Ok(seq)
    }

    /// A thread that appends has nothing more to append for now.
    pub fn rest(&self) {
        // Outside of a crowd nothing waits for it.
        if !self.crowded.load(Ordering::Relaxed) {
            return;
        }
        let mut inner = lock(&self.inner);
        if inner.haste == Haste::Waited {
            inner.haste = Haste::Now;
        }
        let wake = inner.haste == Haste::Now && inner.sleep == Sleep::Lingering;
        if wake {
            inner.sleep = Sleep::Awake;
        }
        drop(inner);
        if wake {
            self.work.notify_one();
        }
    }

    /// Whether what was taken in goes, and gathers no longer.
    fn is_due(&self, inner: &Inner) -> bool {
        match inner.haste {
            Haste::None => false,
            Haste::Waited => !self.crowded.load(Ordering::Relaxed),
            Haste::Now => true,
        }
    }

    /// Takes in a key row alone.
    pub fn keep(&self, row: KeyRow) -> Result<(), AppendError> {
        let mut inner = lock(&self.inner);
        if inner.closed {
            return Err(AppendError::Closed);
        }
        if inner.keys.len() >= KEY_ROWS_WAITING_MAX {
            return Err(AppendError::Full);
        }
        inner.keys.push(row);
        Ok(())
    }

    /// For the journal's thread: what to do next. Sleeps while there is nothing, unless a marker is owed or
    /// `leaders` are out. Records that nobody waits for gather for [`LINGER`], those of a crowd until a thread rests.
    pub fn next(&self, fresh: Draft, marker_owed: bool, leaders: bool) -> Work {
        let mut inner = lock(&self.inner);
        inner.fresh.get_or_insert(fresh);
        let mut lingers_until = Instant::now() + LINGER;
        loop {
            let left = lingers_until.saturating_duration_since(Instant::now());
            if (self.is_due(&inner) || inner.closed || left.is_zero())
                && let Some(draft) = inner.take_draft()
            {
                let crowded = self.limits.gathers && draft.leaves.len() >= CROWD_RECORDS;
                self.crowded.store(crowded, Ordering::Relaxed);
                return Work::Commit(draft);
            }
            if !left.is_zero() && !inner.closed {
                // After a group the next record is soon there; whoever waits for it wakes us.
                inner.sleep = Sleep::Lingering;
                inner = self.work.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
                inner.sleep = Sleep::Awake;
                continue;
            }
            if marker_owed {
                return Work::Marker;
            }
            if inner.closed {
                return Work::Close;
            }
            if leaders {
                return Work::Rescue;
            }
            inner.sleep = Sleep::Deep;
            inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.sleep = Sleep::Awake;
            lingers_until = Instant::now() + LINGER;
        }
    }

    /// No record is taken any more. What was taken is still committed.
    pub fn close(&self) {
        lock(&self.inner).closed = true;
        self.work.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        lock(&self.inner).closed
    }

    /// The last sequence number given out.
    pub fn last_seq(&self) -> u64 {
        lock(&self.inner).next_seq - 1
    }

    /// A reserved segment was made.
    pub fn spare_made(&self) {
        let mut inner = lock(&self.inner);
        inner.spares += 1;
        inner.disk_full = false;
    }

    /// Reserving a segment failed for want of space.
    pub fn disk_full(&self) {
        lock(&self.inner).disk_full = true;
    }

    /// The broker holds everything up to `seq`.
    pub fn acknowledge(&self, seq: u64) {
        lock(&self.inner).account.acknowledge(seq);
    }

    pub fn backlog(&self, now: Instant) -> Backlog {
        let inner = lock(&self.inner);
        inner.account.backlog(now)
    }

    /// The key rows that wait for their side file.
    pub fn take_keys(&self) -> Vec<KeyRow> {
        std::mem::take(&mut lock(&self.inner).keys)
    }

    /// Who the records are about that were taken in and not yet committed.
    pub fn take_subjects(&self) -> Vec<(u64, SubjectRow)> {
        std::mem::take(&mut lock(&self.inner).subjects)
    }

    /// Puts back rows that could not be written, before any that came since.
    pub fn return_keys(&self, mut rows: Vec<KeyRow>) {
        let mut inner = lock(&self.inner);
        rows.append(&mut inner.keys);
        inner.keys = rows;
    }

    /// Looks at, and may remove from, the rows that wait.
    pub fn with_keys<T>(&self, look: impl FnOnce(&mut Vec<KeyRow>) -> T) -> T {
        look(&mut lock(&self.inner).keys)
    }
}

/// Where an admitted record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Into the draft that is being filled.
    Draft,
    /// Into a new one.
    NewDraft,
    /// Into a new one that begins a new segment.
    NewSegment,
}

impl Inner {
    fn admit(
        &self,
        limits: &Limits,
        length: usize,
        with_key: bool,
        role: Role,
    ) -> Result<Place, AppendError> {
        if self.closed {
            return Err(AppendError::Closed);
        }
        let size = (FRAME_HEADER_BYTES + length) as u64;
        let backlogged = self.account.records() >= limits.backlog_records
            || self.account.bytes() + size > limits.backlog_bytes;
        let full = self.queued_bytes + FRAME_HEADER_BYTES + length > QUEUE_BYTES_MAX
            || with_key && self.keys.len() >= KEY_ROWS_WAITING_MAX
            || backlogged && !role.is_owed();
        if full {
            return Err(AppendError::Full);
        }
        let place = match self.drafts.back() {
            Some(draft) if draft.bytes.len() + FRAME_HEADER_BYTES + length <= GROUP_BYTES_MAX => Place::Draft,
            _ => Place::NewDraft,
        };
        // Behind the frame there must be room for the marker that ends the segment.
        let marker = if place == Place::Draft { 0 } else { MARKER_BYTES as u64 };
        let fits = self.segment_offset + marker + size + MARKER_BYTES as u64 <= limits.segment_bytes;
        let place = if fits { place } else { Place::NewSegment };
        let full = match place {
            _ if !self.disk_full => false,
            Place::NewSegment if self.spares <= 0 => true,
            _ => !role.is_owed() && self.place_left(limits, place, size) < self.place_owed(role),
        };
        if full { Err(AppendError::DiskFull) } else { Ok(place) }
    }

    /// Bytes of reserved place behind a record of `size` bytes. The end of a segment may stay empty.
    fn place_left(&self, limits: &Limits, place: Place, size: u64) -> u64 {
        let spares = u64::try_from(self.spares).unwrap_or(0);
        let segment = limits.segment_bytes.saturating_sub(SEGMENT_HEADER_BYTES as u64 + CLOSING_BYTES_MAX);
        let (begun, spares) = match place {
            Place::NewSegment => (SEGMENT_HEADER_BYTES as u64, spares.saturating_sub(1)),
            Place::Draft | Place::NewDraft => (self.segment_offset, spares),
        };
        let here = limits.segment_bytes.saturating_sub(begun + size + 2 * MARKER_BYTES as u64);
        here + spares * segment
    }

    /// Bytes that the closings of everything open may take, a record of this role included: on a full disk nothing is begun
    /// that could not be ended, or an honest node would look as if it kept its record back.
    fn place_owed(&self, role: Role) -> u64 {
        (self.owing + u64::from(role == Role::Opening)) * CLOSING_BYTES_MAX
    }

    fn take_draft(&mut self) -> Option<Draft> {
        let draft = self.drafts.pop_front()?;
        self.queued_bytes -= draft.bytes.len();
        if self.drafts.is_empty() {
            self.haste = Haste::None;
        }
        Some(draft)
    }

    fn push(&mut self, place: Place, tag: Tag, record: &[u8], leaf: Hash) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let size = FRAME_HEADER_BYTES + record.len();
        if place == Place::NewSegment {
            self.spares -= 1;
            self.segment_offset = SEGMENT_HEADER_BYTES as u64;
        }
        if place != Place::Draft || self.drafts.is_empty() {
            let mut draft = self.fresh.take().unwrap_or_else(|| Draft::like(0, 0));
            draft.first_seq = seq;
            draft.rotate = place == Place::NewSegment;
            self.queued_bytes += draft.bytes.len();
            self.segment_offset += MARKER_BYTES as u64;
            self.drafts.push_back(draft);
        }
        if let Some(draft) = self.drafts.back_mut() {
            // A draft is bounded by GROUP_BYTES_MAX, far below u32::MAX.
            draft.starts.push(u32::try_from(draft.bytes.len()).unwrap_or(u32::MAX));
            frame::push(&mut draft.bytes, tag, seq, record);
            draft.leaves.push(leaf);
        }
        self.queued_bytes += size;
        self.segment_offset += size as u64;
        self.account.append(seq, size as u64);
        seq
    }
}

#[cfg(test)]
mod tests;
