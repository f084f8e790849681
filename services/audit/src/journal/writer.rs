//! The journal's own thread: groups of records become durable here, one `fdatasync` a group.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::error::JournalError;
use super::frame::{self, MARKER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::queue::{Draft, Work};
use super::recover::Recovered;
use super::tail::Group;
use super::{Shared, lock};
use crate::chain;
use crate::hash::Hash;

/// Writes segments.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    path: PathBuf,
    file: File,
    offset: u64,
    /// Last durable record, and the chain head after it.
    last_seq: u64,
    head: Hash,
    /// Whether the last group still lacks its marker.
    marker_owed: bool,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, recovered: Recovered) -> Self {
        let Recovered { path, file, ending } = recovered;
        let (offset, last_seq, head) = (ending.offset as u64, ending.next_seq - 1, ending.head);
        Self { shared, path, file, offset, last_seq, head, marker_owed: false }
    }

    /// Runs until the journal is closed or fails.
    pub fn run(mut self) {
        let end = self.work().err().unwrap_or(JournalError::Closed);
        if !matches!(end, JournalError::Closed) {
            tracing::error!(error = %end, "the journal has failed; nothing more is acknowledged");
        }
        self.end(&end);
    }

    /// Nothing is taken any more and nobody waits in vain. Only the first call counts.
    fn end(&self, end: &JournalError) {
        self.shared.queue.close();
        self.shared.durable.fail(end.clone());
        self.shared.sealed.fail(end.clone());
    }

    fn work(&mut self) -> Result<(), JournalError> {
        let (mut bytes, mut records, mut leaders) = (0, 0, false);
        loop {
            match self.shared.queue.next(Draft::like(bytes, records), self.marker_owed, leaders) {
                Work::Commit(draft) => {
                    // The next group will be about as large as this one.
                    (bytes, records) = (draft.bytes.len() * 5 / 4, draft.leaves.len() * 5 / 4);
                    self.commit(draft)?;
                    leaders = true;
                }
                Work::Marker => self.write_marker()?,
                Work::Rescue => leaders = self.shared.durable.rescue() | self.shared.sealed.rescue(),
                Work::Close => return self.shared.disk.sync(&self.file).map_err(self.fatal("sync")),
            }
        }
    }

    /// Makes a group durable, tells whoever waits, and only then does what can be done later.
    fn commit(&mut self, mut draft: Draft) -> Result<(), JournalError> {
        for (index, start) in draft.starts.iter().enumerate() {
            let end = draft.starts.get(index + 1).map_or(draft.bytes.len(), |next| *next as usize);
            frame::seal(&mut draft.bytes[*start as usize..end]);
        }
        if draft.rotate {
            self.rotate(draft.first_seq)?;
        }
        let mut begin = MARKER_BYTES;
        if self.marker_owed {
            draft.bytes[..MARKER_BYTES].copy_from_slice(&frame::marker(self.last_seq, &self.head));
            begin = 0;
        }
        self.write_subjects();
        let written = &draft.bytes[begin..];
        self.shared.disk.write(&self.file, written, self.offset).map_err(self.fatal("write"))?;
        self.shared.disk.sync(&self.file).map_err(self.fatal("sync"))?;
        self.offset += written.len() as u64;
        self.last_seq = draft.last_seq();
        self.marker_owed = true;
        self.shared.durable.advance(self.last_seq);
        self.seal(draft);
        Ok(())
    }

    /// Whom the records are about goes first, so that no committed record lacks it after a crash. A fault here costs the
    /// index, never a record.
    fn write_subjects(&self) {
        let rows = self.shared.queue.take_subjects();
        if !rows.is_empty()
            && let Err(error) = lock(&self.shared.subjects).write(rows)
        {
            tracing::error!(%error, "subject ids could not be written; they are held in memory until they are shipped");
        }
    }

    /// Extends the chain over a durable group and offers the group to shipping.
    fn seal(&mut self, draft: Draft) {
        let mut heads = Vec::with_capacity(draft.leaves.len());
        for leaf in &draft.leaves {
            self.head = chain::step(&self.head, leaf);
            heads.push(self.head);
        }
        let hashes = (draft.leaves.capacity() + heads.capacity()) * size_of::<Hash>();
        self.shared.tail.push(Group {
            first_seq: draft.first_seq,
            footprint: draft.bytes.capacity() + draft.starts.capacity() * size_of::<u32>() + hashes,
            bytes: Bytes::from(draft.bytes),
            starts: draft.starts,
            leaves: draft.leaves,
            heads,
        });
        self.shared.sealed.advance(self.last_seq);
    }

    /// Writes the marker of the last group by itself. It needs no sync: it only states what is already durable.
    fn write_marker(&mut self) -> Result<(), JournalError> {
        if self.marker_owed {
            let marker = frame::marker(self.last_seq, &self.head);
            self.shared.disk.write(&self.file, &marker, self.offset).map_err(self.fatal("write"))?;
            self.offset += marker.len() as u64;
            self.marker_owed = false;
        }
        Ok(())
    }

    /// Ends this segment and goes on in a spare one.
    fn rotate(&mut self, first_seq: u64) -> Result<(), JournalError> {
        self.write_marker()?;
        self.shared.disk.sync(&self.file).map_err(self.fatal("sync"))?;
        // Sleeps while the disk is full: what was accepted waits unacknowledged.
        let spare = self.shared.pool.take(&self.shared.queue).ok_or(JournalError::Closed)?;
        let header = SegmentHeader { epoch: self.shared.epoch, first_seq, previous_head: self.head };
        let path = self.shared.folder.segment(first_seq);
        let disk = &self.shared.disk;
        disk.write(&spare.file, &header.to_bytes(), 0).map_err(JournalError::fatal("write", &path))?;
        disk.sync(&spare.file).map_err(JournalError::fatal("sync", &path))?;
        std::fs::rename(&spare.path, &path).map_err(JournalError::fatal("rename", &path))?;
        self.shared.folder.sync()?;
        self.shared.segments.push(first_seq);
        (self.path, self.file, self.offset) = (path, spare.file, SEGMENT_HEADER_BYTES as u64);
        Ok(())
    }

    fn fatal(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
        JournalError::fatal(action, &self.path)
    }
}

/// A thread that panics must not leave anybody waiting for ever.
impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(&self.fatal("go on writing")(std::io::Error::other("the journal's thread panicked")));
        }
    }
}
