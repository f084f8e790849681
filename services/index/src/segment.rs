//! A block of rows, sorted: a file that is written once and never changed.
//!
//! ```text
//! segment = header | times? | spans? | block* | directory | trailer     all numbers little-endian
//! header  = "lienthong/index2" | first index u64 | entries u32 | flags u32 (1: times) | least time i64 | greatest time i64 | crc32c u32 | 0 u32
//! times   = (i64{1,1024} | crc32c u32)*                                 one time an entry
//! spans   = (least time i64 | greatest time i64)* | crc32c u32          of each 1,024 times; least above greatest where none has one
//! block   = term*                                                       about 4 KiB
//! term    = shared bytes | further bytes | byte* | entries | bytes of postings | postings      numbers as LEB128
//! postings = entry, counted from the first of the segment, then distances, as LEB128
//! directory = (offset u64 | length u32 | crc32c u32 | length of first term u8 | first term)*
//! trailer = offset of directory u64 | its length u32 | blocks u32 | its crc32c u32 | "end1"
//! ```
//!
//! The terms of a segment follow from the entries alone, and its bytes from the terms: two who index the same block make the
//! same file.

use std::io;

use crate::query::{Query, Want};
use crate::row::NO_TIME_MS;
use crate::term::{Dimension, Term};

mod build;
mod merge;
mod read;
mod write;

pub use build::{Built, build};
pub use merge::{erase, merge};
pub use read::{ReadAt, Segment, Times};

/// Entries of one segment, at most.
pub const SEGMENT_ENTRIES_MAX: u32 = 1 << 24;

/// Terms of one entry, at most: a record has a dozen, its subjects a hundred and some for each period key.
pub const ENTRY_TERMS_MAX: usize = 4_096;

/// About how many bytes of terms one block holds.
const BLOCK_BYTES: usize = 4_096;

/// Times under one checksum.
const TIMES_PER_CHUNK: usize = 1_024;

const MAGIC: &[u8; 16] = b"lienthong/index2";
const END: &[u8; 4] = b"end1";
const HEADER_BYTES: usize = 56;
const TRAILER_BYTES: usize = 24;
const WITH_TIMES: u32 = 1;

/// Why a segment cannot be used. It is derived: build it anew.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be read.
    #[error("a segment of the index cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Its bytes are not what they should be.
    #[error(
        "a segment of the index is damaged at byte {offset}: {what}; `lienthong audit reindex` makes it anew"
    )]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Segments that do not follow each other, or are too large together.
    #[error("these segments cannot be merged: {0}")]
    Unmergeable(&'static str),
}

/// The newest entries below index `below` that fulfil the query, newest first, at most `entries_max`. `subjects` is the
/// subject segment of the same block.
pub fn search<R: ReadAt>(
    terms: &Segment<R>,
    subjects: &Segment<R>,
    query: &Query,
    below: u64,
    entries_max: usize,
) -> Result<Vec<u64>, IndexError> {
    let first = terms.first_index();
    let limit = u32::try_from(below.saturating_sub(first)).unwrap_or(u32::MAX).min(terms.entries());
    let wanted = query.times_ms.as_ref();
    if limit == 0 || wanted.is_some_and(|wanted| terms.lies_outside(wanted)) {
        return Ok(Vec::new());
    }
    let mut lists = Vec::with_capacity(query.clauses.len());
    for clause in &query.clauses {
        let segment = if clause.is_subject() { subjects } else { terms };
        let list = with_any(segment, &clause.0, limit)?;
        if list.is_empty() {
            return Ok(Vec::new());
        }
        lists.push(list);
    }
    lists.sort_by_key(Vec::len);
    let mut lists = lists.into_iter();
    let (mut found, mut times) = (Vec::new(), terms.times());
    let mut take = |entry: u32| -> Result<bool, IndexError> {
        let in_time = match wanted {
            Some(wanted) => times.within(entry, wanted)?,
            None => true,
        };
        if in_time {
            found.push(first + u64::from(entry));
        }
        Ok(found.len() == entries_max)
    };
    let Some(mut common) = lists.next() else {
        for entry in (0..limit).rev() {
            if take(entry)? {
                break;
            }
        }
        return Ok(found);
    };
    for list in lists {
        common.retain(|entry| list.binary_search(entry).is_ok());
    }
    for entry in common.into_iter().rev() {
        if take(entry)? {
            break;
        }
    }
    Ok(found)
}

/// How many entries of a subject segment lack whom they are about.
pub fn subjects_missing<R: ReadAt>(subjects: &Segment<R>) -> Result<u64, IndexError> {
    let missing = Term::flag(Dimension::SubjectsMissing);
    Ok(subjects.entries_of(&Want::Exactly(missing))?.len() as u64)
}

/// The entries below `limit` with any of these, rising, each once.
fn with_any<R: ReadAt>(segment: &Segment<R>, wants: &[Want], limit: u32) -> Result<Vec<u32>, IndexError> {
    let mut entries = Vec::new();
    for want in wants {
        let mut more = segment.entries_of(want)?;
        if entries.is_empty() {
            entries = more;
        } else {
            entries.append(&mut more);
            entries.sort_unstable();
            entries.dedup();
        }
    }
    entries.truncate(entries.partition_point(|entry| *entry < limit));
    Ok(entries)
}

/// The least and greatest of these times; `None` if none has one.
fn span(times: impl Iterator<Item = i64>) -> Option<(i64, i64)> {
    times.filter(|time| *time != NO_TIME_MS).fold(None, |span: Option<(i64, i64)>, time| {
        Some(span.map_or((time, time), |(least, greatest)| (least.min(time), greatest.max(time))))
    })
}

#[cfg(test)]
mod tests;
