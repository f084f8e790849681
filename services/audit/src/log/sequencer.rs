//! The sequencer: the one thread that gives entries their indexes and makes them durable.
//!
//! Each round takes whatever is queued, writes it as one frame, flushes once, signs once, and answers everybody. No
//! timer: the next group forms while the disk is busy with this one.

use std::fs::File;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::merkle::Frontier;

use super::disk::Disk;
use super::error::LogError;
use super::home::{Head, Home};
use super::recover::Position;
use super::shared::{Append, DeathWatch, Shared};
use super::wal::{FrameBuilder, NONCE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{LogSigner, Receipt, WAL_SEGMENT_BYTES_MAX};

pub(crate) struct Sequencer {
    pub(crate) home: Home,
    pub(crate) disk: Disk,
    pub(crate) key: LogSigner,
    pub(crate) shared: Arc<Shared>,
    pub(crate) frontier: Frontier,
    pub(crate) segment: Segment,
    /// `wal/head`, open for writing.
    pub(crate) head: File,
    pub(crate) frame: FrameBuilder,
}

/// The segment being written.
pub(crate) struct Segment {
    pub(crate) file: File,
    pub(crate) nonce: [u8; NONCE_BYTES],
    pub(crate) at: Position,
}

impl Sequencer {
    /// Runs until the log is closed or something fails.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _watch = DeathWatch::new(&shared, "sequencer");
        while let Some(group) = shared.next_group() {
            let first_index = self.frontier.size();
            match self.commit(&group) {
                Ok(checkpoint) => self.answer(group, first_index, &checkpoint),
                Err(error) => {
                    let reason = error.to_string();
                    shared.fail(&reason);
                    for append in group {
                        append.reply.send(Err(LogError::Fatal(reason.clone())));
                    }
                    return;
                }
            }
        }
        shared.finish();
    }

    /// Makes one group durable; returns the signed checkpoint that covers it.
    fn commit(&mut self, group: &[Append]) -> Result<Arc<str>, LogError> {
        if self.segment.at.offset > WAL_SEGMENT_BYTES_MAX {
            self.segment = Segment::create(&self.home, &self.disk, self.frontier.size())?;
        }
        let path = self.home.segment(self.segment.at.segment);
        self.frame.start(self.frontier.size());
        for entry in group.iter().flat_map(|append| &append.entries) {
            // The bound of an entry was checked when it was submitted.
            self.frame.push(entry).map_err(|source| LogError::Tile { path: path.clone(), source })?;
            self.frontier.push_entry(entry);
        }
        let root = self.frontier.root();
        let frame = self.frame.finish(&self.segment.nonce, &root);
        self.disk.append(&mut self.segment.file, frame, &path)?;
        self.disk.sync_data(&self.segment.file, &path)?;
        self.segment.at.offset += frame.len() as u64;

        // Durable now, so it may be signed: a signed checkpoint binds the log for ever.
        let size = self.frontier.size();
        let checkpoint = self.key.sign(&Checkpoint::new(&**self.key.origin(), size, root))?;
        write_head(&self.home, &self.disk, &self.head, Head { size, root })?;
        self.shared.advance(self.segment.at, size);
        Ok(checkpoint.into())
    }

    fn answer(&self, group: Vec<Append>, first_index: u64, checkpoint: &Arc<str>) {
        let mut first_index = first_index;
        for append in group {
            let count = append.entries.len() as u64;
            let origin = Arc::clone(self.key.origin());
            append.reply.send(Ok(Receipt { origin, first_index, count, checkpoint: Arc::clone(checkpoint) }));
            first_index += count;
        }
    }
}

impl Segment {
    /// Creates a segment, whole and durable before anything refers to it.
    pub(crate) fn create(home: &Home, disk: &Disk, first_index: u64) -> Result<Self, LogError> {
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce)
            .map_err(|_| LogError::Fatal("the system has no random bytes".into()))?;
        let header = SegmentHeader { nonce, first_index }.encode();
        let file = disk.replace(&home.segment_temp(), &home.segment(first_index), &header)?;
        disk.sync_dir(&home.wal())?;
        let at = Position { segment: first_index, offset: SEGMENT_HEADER_BYTES as u64 };
        Ok(Self { file, nonce, at })
    }
}

/// Notes what is acknowledged. Not flushed: see [`Head`].
pub(crate) fn write_head(home: &Home, disk: &Disk, file: &File, head: Head) -> Result<(), LogError> {
    disk.write_at(file, &head.encode(), 0, &home.head())
}
