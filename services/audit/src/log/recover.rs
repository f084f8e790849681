//! Reading a log folder back to the last commit, and refusing to go on when anything contradicts it.
//!
//! Reads only: the verifier uses it as well as [`super::Log::open`].

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::merkle::Frontier;
use crate::note::VerifierKey;

use super::error::{LogError, Trying as _};
use super::home::{HEAD_BYTES, Head, Home};
use super::reader::LogReader;
use super::wal::{self, Frame, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{FRAME_BYTES_MAX, SEGMENT_FILE_BYTES_MAX};

/// A state of the log that somebody vouches for: the recovered log must contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) who: &'static str,
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// A place in the write-ahead log: always the edge of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The segment, by its first index.
    pub(crate) segment: u64,
    /// The offset in its file, in bytes.
    pub(crate) offset: u64,
}

/// What the folder holds.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The tree after the last whole commit.
    pub(crate) frontier: Frontier,
    /// The published checkpoint.
    pub(crate) published: Checkpoint,
    /// Where in the write-ahead log the published size lies.
    pub(crate) published_at: Position,
    /// The end of the last whole commit.
    pub(crate) end: Position,
    /// Bytes of a torn last write after it, acknowledged to nobody.
    pub(crate) torn_bytes: u64,
    /// The segments on disk, by their first index, ascending.
    pub(crate) segments: Vec<u64>,
}

/// Replays the write-ahead log. `visit` sees every entry in it, with its index and leaf hash; some of the first ones
/// may be published already. The published checkpoint, the stored head and all `claims` must lie on its history.
pub(crate) fn replay(
    home: &Home,
    keys: &[VerifierKey],
    claims: &[Claim],
    mut visit: impl FnMut(u64, &[u8], Hash),
) -> Result<Replay, LogError> {
    // The head first: while another process writes, it is never ahead of the segments read after it.
    let head = read_head(home)?;
    let note = LogReader::new(home.dir()).checkpoint_note()?;
    let published = Checkpoint::open_by(&note, keys)
        .map_err(|source| LogError::Checkpoint { path: home.checkpoint(), source })?;
    let segments = home.segments()?;
    let first = *segments.first().ok_or_else(|| missing_segment(home, published.size))?;
    if first > published.size {
        return Err(missing_segment(home, published.size));
    }
    let mut claims = claims.to_vec();
    claims.push(Claim { who: "the published checkpoint", size: published.size, root: published.root });
    claims.extend(head.map(|head| Claim {
        who: "the last acknowledged head",
        size: head.size,
        root: head.root,
    }));
    let mut claims = Claims::new(claims);

    let tree = LogReader::new(home.dir()).tree(published.size);
    claims.check_up_to(first, |size| Ok(Frontier::read(size, &tree)?.root()))?;
    let start = Position { segment: first, offset: SEGMENT_HEADER_BYTES as u64 };
    let mut walk = Walk {
        home,
        claims,
        published_size: published.size,
        published_at: (first == published.size).then_some(start),
        frontier: Frontier::read(first, &tree)?,
        end: start,
        torn_bytes: 0,
    };
    for (position, segment) in segments.iter().enumerate() {
        walk.segment(*segment, position + 1 == segments.len(), &mut visit)?;
    }
    walk.none_left()?;
    let published_at = walk.published_at.ok_or_else(|| {
        let what = "the published checkpoint does not lie between two group commits".to_owned();
        LogError::Corrupt { path: home.checkpoint(), offset: 0, what }
    })?;
    let Walk { frontier, end, torn_bytes, .. } = walk;
    Ok(Replay { frontier, published, published_at, end, torn_bytes, segments })
}

/// The replay as far as it has come.
struct Walk<'a> {
    home: &'a Home,
    claims: Claims,
    published_size: u64,
    published_at: Option<Position>,
    frontier: Frontier,
    end: Position,
    torn_bytes: u64,
}

impl Walk<'_> {
    /// Every claim lies before the end.
    fn none_left(&self) -> Result<(), LogError> {
        let Some(Claim { who: claim, size: claimed, .. }) = self.claims.waiting.first().copied() else {
            return Ok(());
        };
        let Position { segment, offset } = self.end;
        Err(LogError::Behind {
            claim,
            claimed,
            size: self.frontier.size(),
            path: self.home.segment(segment),
            offset,
        })
    }

    fn segment(
        &mut self,
        segment: u64,
        is_last: bool,
        visit: &mut impl FnMut(u64, &[u8], Hash),
    ) -> Result<(), LogError> {
        let bytes = read_bounded(&self.home.segment(segment), SEGMENT_FILE_BYTES_MAX)?;
        let reading = Reading { home: self.home, segment, bytes: &bytes, is_last };
        let nonce = reading.header(self.frontier.size())?;
        let mut offset = SEGMENT_HEADER_BYTES;
        while let Some(frame) = reading.frame(&nonce, offset, self.frontier.size())? {
            for entry in frame.entries() {
                let index = self.frontier.size();
                visit(index, entry, self.frontier.push_entry(entry));
                self.claims.check_at(&self.frontier)?;
            }
            if self.frontier.root() != frame.root {
                return Err(
                    reading.corrupt(offset, "the root after a group commit does not fit its entries".into())
                );
            }
            offset += frame.bytes;
            if self.frontier.size() == self.published_size {
                self.published_at = Some(Position { segment, offset: offset as u64 });
            }
        }
        self.end = Position { segment, offset: offset as u64 };
        self.torn_bytes = (bytes.len() - offset) as u64;
        Ok(())
    }
}

/// Reads `wal/head`. A damaged one is `None`, with a warning: the published checkpoint and the write-ahead log still
/// stand, and a power cut may have hit it.
fn read_head(home: &Home) -> Result<Option<Head>, LogError> {
    let path = home.head();
    let head = Head::parse(&read_bounded(&path, HEAD_BYTES as u64)?);
    if head.is_none() {
        tracing::warn!(path = %path.display(), "the stored head of the log is damaged; going by the write-ahead log");
    }
    Ok(head)
}

/// Reads a file that must not be larger than a bound.
pub(crate) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LogError> {
    let file = File::open(path).trying("open", path)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).trying("read", path)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it is longer than the {bytes_max} bytes that it can have");
        return Err(LogError::Corrupt { path: path.to_owned(), offset: bytes_max, what });
    }
    Ok(bytes)
}

/// Claims in the order of their sizes; each is checked when the replay reaches its size.
struct Claims {
    /// Largest first, so that the next one is the last.
    waiting: Vec<Claim>,
}

impl Claims {
    fn new(mut claims: Vec<Claim>) -> Self {
        claims.sort_by_key(|claim| std::cmp::Reverse(claim.size));
        Self { waiting: claims }
    }

    /// Checks the claims that lie before the write-ahead log, in the published tiles.
    fn check_up_to(
        &mut self,
        size: u64,
        root_at: impl Fn(u64) -> Result<Hash, LogError>,
    ) -> Result<(), LogError> {
        while let Some(claim) = self.waiting.pop_if(|claim| claim.size <= size) {
            agree(&claim, &root_at(claim.size)?)?;
        }
        Ok(())
    }

    fn check_at(&mut self, frontier: &Frontier) -> Result<(), LogError> {
        while let Some(claim) = self.waiting.pop_if(|claim| claim.size == frontier.size()) {
            agree(&claim, &frontier.root())?;
        }
        Ok(())
    }
}

fn agree(claim: &Claim, root: &Hash) -> Result<(), LogError> {
    if claim.root == *root {
        return Ok(());
    }
    Err(LogError::Forked { claim: claim.who, size: claim.size })
}

/// One segment under replay.
struct Reading<'a> {
    home: &'a Home,
    segment: u64,
    bytes: &'a [u8],
    is_last: bool,
}

impl<'a> Reading<'a> {
    /// Checks the header; returns the nonce. Segments are created whole, so a torn header is damage too.
    fn header(&self, next_index: u64) -> Result<[u8; wal::NONCE_BYTES], LogError> {
        match SegmentHeader::parse(self.bytes) {
            Ok(header) if header.first_index == self.segment && self.segment == next_index => {
                Ok(header.nonce)
            }
            Ok(_) => Err(self.corrupt(0, format!("the segment before it ends at entry {next_index}"))),
            Err(fault) => Err(self.corrupt(0, format!("the segment has no header: {fault}"))),
        }
    }

    /// The frame at `offset`; `None` at the end, which in the last segment may be a torn write.
    fn frame(
        &self,
        nonce: &[u8; wal::NONCE_BYTES],
        offset: usize,
        next_index: u64,
    ) -> Result<Option<Frame<'a>>, LogError> {
        let rest = &self.bytes[offset..];
        if rest.is_empty() {
            return Ok(None);
        }
        let fault = match Frame::parse(nonce, rest) {
            Ok(frame) if frame.first_index == next_index => return Ok(Some(frame)),
            Ok(frame) => {
                format!("a group commit begins at entry {} instead of {next_index}", frame.first_index)
            }
            // Only one frame is ever unflushed. So the fault is a torn write only if no frame follows it, in the last
            // segment, within the length of one frame.
            Err(_)
                if self.is_last && rest.len() <= FRAME_BYTES_MAX && !wal::holds_frame(nonce, &rest[1..]) =>
            {
                return Ok(None);
            }
            Err(fault) => format!("{fault}, at entry {next_index}, before the end of the write-ahead log"),
        };
        Err(self.corrupt(offset, fault))
    }

    fn corrupt(&self, offset: usize, what: String) -> LogError {
        LogError::Corrupt { path: self.home.segment(self.segment), offset: offset as u64, what }
    }
}

fn missing_segment(home: &Home, size: u64) -> LogError {
    let what = format!("the write-ahead log does not reach back to the published {size} entries");
    LogError::Corrupt { path: home.wal(), offset: 0, what }
}

/// Copies the valid part of the last segment to a new, flushed file.
///
/// This drops a torn last write. It also closes a gap of Linux: after a failed flush the page cache may show bytes that
/// never reached the disk, and a restarted process would take them for durable.
pub(crate) fn rewrite_tail(home: &Home, disk: &super::disk::Disk, end: Position) -> Result<File, LogError> {
    let path = home.segment(end.segment);
    let mut bytes = read_bounded(&path, SEGMENT_FILE_BYTES_MAX)?;
    bytes.truncate(usize::try_from(end.offset).unwrap_or(usize::MAX));
    let file = disk.replace(&home.segment_temp(), &path, &bytes)?;
    disk.sync_dir(&home.wal())?;
    Ok(file)
}

/// Removes what an interrupted process left half-prepared.
pub(crate) fn remove_leftovers(home: &Home, disk: &super::disk::Disk) -> Result<(), LogError> {
    for path in [home.segment_temp(), home.publish_temp()] {
        if fs::exists(&path).trying("look at", &path)? {
            disk.remove(&path)?;
        }
    }
    Ok(())
}
