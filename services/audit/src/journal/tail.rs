//! The newest committed records, kept in memory so that shipping under load reads no file.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::frame::{FRAME_HEADER_BYTES, Tag};
use super::lock;
use crate::hash::Hash;

/// One durable record, as shipping sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub seq: u64,
    pub tag: Tag,
    pub leaf: Hash,
    /// Chain head after it.
    pub head: Hash,
    pub bytes: Bytes,
}

/// The records of one group commit.
#[derive(Debug)]
pub(super) struct Group {
    pub first_seq: u64,
    /// Frames as written.
    pub bytes: Bytes,
    /// Where each frame begins.
    pub starts: Vec<u32>,
    pub leaves: Vec<Hash>,
    /// Chain head after each record.
    pub heads: Vec<Hash>,
    /// Bytes of memory that the group holds.
    pub footprint: usize,
}

impl Group {
    /// The record of that sequence number, if it is in this group.
    pub fn item(&self, seq: u64) -> Option<Item> {
        let index = usize::try_from(seq.checked_sub(self.first_seq)?).ok()?;
        let start = *self.starts.get(index)? as usize;
        let end = self.starts.get(index + 1).map_or(self.bytes.len(), |next| *next as usize);
        let tag = if Tag::is_whole(self.bytes.get(start..end)?) { Tag::Whole } else { Tag::Record };
        Some(Item {
            seq,
            tag,
            leaf: *self.leaves.get(index)?,
            head: *self.heads.get(index)?,
            bytes: self.bytes.slice(start + FRAME_HEADER_BYTES..end),
        })
    }
}

/// The newest groups, up to a number of bytes.
#[derive(Debug)]
pub(super) struct Tail {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    groups: VecDeque<Arc<Group>>,
    bytes: usize,
}

impl Tail {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    pub fn push(&self, group: Group) {
        let group = Arc::new(group);
        let mut dropped = Vec::new();
        let mut inner = lock(&self.inner);
        inner.bytes += group.footprint;
        inner.groups.push_back(group);
        while inner.bytes > self.bytes_max {
            let Some(oldest) = inner.groups.pop_front() else {
                break;
            };
            inner.bytes -= oldest.footprint;
            dropped.push(oldest);
        }
        drop(inner);
        // Memory is given back outside the lock.
        drop(dropped);
    }

    /// The group that holds a record, if it is still here.
    pub fn group_of(&self, seq: u64) -> Option<Arc<Group>> {
        let inner = lock(&self.inner);
        let behind = inner.groups.partition_point(|group| group.first_seq <= seq);
        let group = inner.groups.get(behind.checked_sub(1)?)?;
        (seq - group.first_seq < group.leaves.len() as u64).then(|| Arc::clone(group))
    }
}
