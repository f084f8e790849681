//! Reading durable records back from segment files, in order.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::error::JournalError;
use super::folder::Folder;
use super::frame::{self, FRAME_HEADER_BYTES, Read, SEGMENT_HEADER_BYTES, Tag};
use super::recover;
use super::tail::Item;
use crate::chain;
use crate::hash::{Hash, leaf_hash};

/// Bytes that are read at a time. Holds any frame many times over.
const CHUNK_BYTES: usize = 256 * 1024;

/// A place in the segment files. It verifies every CRC it passes, but trusts the chain: opening verified that.
#[derive(Debug)]
pub(super) struct Cursor {
    folder: Folder,
    epoch: u64,
    next_seq: u64,
    /// Chain head before `next_seq`.
    head: Hash,
    path: PathBuf,
    file: File,
    /// Where in the file `chunk` begins, and how much of it was read over.
    chunk_at: u64,
    chunk: Bytes,
    passed: usize,
}

impl Cursor {
    /// A cursor before record `seq`, in the segments that begin with `segments`. Walks its segment up to there.
    pub fn open(folder: &Folder, epoch: u64, segments: &[u64], seq: u64) -> Result<Self, JournalError> {
        let behind = segments.partition_point(|first_seq| *first_seq <= seq);
        let Some(first_seq) = behind.checked_sub(1).and_then(|at| segments.get(at)) else {
            return Err(JournalError::Missing { dir: folder.dir().to_owned(), first_seq: seq });
        };
        let mut cursor = Self::enter(folder.clone(), epoch, *first_seq)?;
        while cursor.next_seq < seq {
            cursor.next()?;
        }
        Ok(cursor)
    }

    /// The record that comes next.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Chain head before it.
    pub fn head(&self) -> Hash {
        self.head
    }

    /// Reads a record that is known to be durable.
    pub fn next(&mut self) -> Result<Item, JournalError> {
        loop {
            match self.frame()? {
                Some((Tag::Commit, ..)) => {}
                Some((_, seq, _)) if seq != self.next_seq => {
                    return Err(self.damaged(format!("record {seq} stands where {} belongs", self.next_seq)));
                }
                Some((tag, seq, bytes)) => {
                    let leaf = leaf_hash(&bytes);
                    self.head = chain::step(&self.head, &leaf);
                    self.next_seq += 1;
                    return Ok(Item { seq, tag, leaf, head: self.head, bytes });
                }
                // The journal goes on in the next segment, or something that was durable is gone.
                None if self.folder.segment(self.next_seq) == self.path => {
                    return Err(self.damaged("a durable record is missing".to_owned()));
                }
                None => {
                    let head = self.head;
                    *self = Self::enter(self.folder.clone(), self.epoch, self.next_seq)?;
                    if self.head != head {
                        return Err(
                            self.damaged("the chain does not go on from the segment before".to_owned())
                        );
                    }
                }
            }
        }
    }

    fn enter(folder: Folder, epoch: u64, first_seq: u64) -> Result<Self, JournalError> {
        let path = folder.segment(first_seq);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::Missing { dir: folder.dir().to_owned(), first_seq });
            }
            Err(error) => return Err(JournalError::io("open", &path)(error)),
        };
        let chunk = read_chunk(&path, &file, 0)?;
        let head = recover::header_of(&path, &chunk, epoch, first_seq)?.previous_head;
        let (chunk_at, passed) = (0, SEGMENT_HEADER_BYTES);
        Ok(Self { folder, epoch, next_seq: first_seq, head, path, file, chunk_at, chunk, passed })
    }

    /// The next frame of this segment: tag, sequence number, body; `None` at its end.
    fn frame(&mut self) -> Result<Option<(Tag, u64, Bytes)>, JournalError> {
        let mut fresh = false;
        loop {
            match frame::read(self.chunk.get(self.passed..).unwrap_or_default()) {
                Read::Frame(frame) => {
                    let (tag, seq, size) = (frame.tag, frame.seq, frame.size());
                    let body = self.chunk.slice(self.passed + FRAME_HEADER_BYTES..self.passed + size);
                    self.passed += size;
                    return Ok(Some((tag, seq, body)));
                }
                // The chunk may end here, or be older than what was written since.
                Read::End | Read::Fault(_) if !fresh => {
                    self.chunk_at += self.passed as u64;
                    self.passed = 0;
                    self.chunk = read_chunk(&self.path, &self.file, self.chunk_at)?;
                    fresh = true;
                }
                Read::End => return Ok(None),
                Read::Fault(problem) => return Err(self.damaged(problem.to_owned())),
            }
        }
    }

    fn damaged(&self, problem: String) -> JournalError {
        let offset = self.chunk_at + self.passed as u64;
        JournalError::Damaged { path: self.path.clone(), offset, seq: self.next_seq, problem }
    }
}

fn read_chunk(path: &Path, file: &File, at: u64) -> Result<Bytes, JournalError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut length = 0;
    while length < chunk.len() {
        match file.read_at(&mut chunk[length..], at + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(JournalError::io("read", path)(error)),
        }
    }
    chunk.truncate(length);
    Ok(Bytes::from(chunk))
}
