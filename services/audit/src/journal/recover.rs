//! Reading a journal's segments back: what is whole, what was torn off, what is damaged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::disk::Disk;
use super::error::JournalError;
use super::folder::Folder;
use super::frame::{self, Read, SEGMENT_HEADER_BYTES, SegmentHeader, Tag};
use crate::chain;
use crate::hash::{Hash, leaf_hash};

/// A record found in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub seq: u64,
    /// Bytes that its frame takes.
    pub size: usize,
    pub leaf: Hash,
    pub body: &'a [u8],
}

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ending {
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Chain head before it.
    pub head: Hash,
    /// Where it goes: behind the last whole frame.
    pub offset: usize,
    /// Whether a marker covers everything before that.
    pub marked: bool,
    /// Whether something stands behind that: a write that was torn.
    pub torn: bool,
}

/// Damage to records that were durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub offset: usize,
    pub seq: u64,
    pub problem: String,
}

/// Where a journal goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    pub path: PathBuf,
    pub file: File,
    pub ending: Ending,
}

/// Walks the frames of one segment. Pure.
///
/// A bad frame with no commit marker behind it is a torn tail; with one, it is damage.
pub(super) fn scan(
    bytes: &[u8],
    header: &SegmentHeader,
    mut visit: impl FnMut(&Found<'_>),
) -> Result<Ending, Fault> {
    let bytes = without_reserve(bytes);
    let (mut next_seq, mut head) = (header.first_seq, header.previous_head);
    let (mut offset, mut marked) = (SEGMENT_HEADER_BYTES, true);
    let problem = loop {
        let rest = bytes.get(offset..).unwrap_or_default();
        let frame = match frame::read(rest) {
            Read::Frame(frame) => frame,
            Read::End => break "the space of a frame is empty".to_owned(),
            Read::Fault(problem) => break problem.to_owned(),
        };
        if frame.tag == Tag::Commit {
            if frame.seq != next_seq - 1 || frame.head() != Some(head) {
                break "the records before a commit marker are not those it was written for".to_owned();
            }
            marked = true;
        } else {
            if frame.seq != next_seq {
                break format!("record {} stands where {next_seq} belongs", frame.seq);
            }
            let leaf = leaf_hash(frame.body);
            visit(&Found { seq: next_seq, size: frame.size(), leaf, body: frame.body });
            head = chain::step(&head, &leaf);
            next_seq += 1;
            marked = false;
        }
        offset += frame.size();
    };
    let rest = bytes.get(offset..).unwrap_or_default();
    if frame::holds_marker(rest) {
        return Err(Fault { offset, seq: next_seq, problem });
    }
    Ok(Ending { next_seq, head, offset, marked, torn: rest.iter().any(|byte| *byte != 0) })
}

/// Visits the records of one segment as they stand there, by their CRC alone: whether the chain holds was asked when the
/// journal was opened. Pure.
pub(super) fn skim(bytes: &[u8], mut visit: impl FnMut(&[u8])) -> Result<(), Fault> {
    let bytes = without_reserve(bytes);
    let (mut offset, mut seq) = (SEGMENT_HEADER_BYTES, 0);
    loop {
        let rest = bytes.get(offset..).unwrap_or_default();
        let Read::Frame(frame) = frame::read(rest) else {
            let problem = "a frame is damaged".to_owned();
            return if frame::holds_marker(rest) {
                Err(Fault { offset, seq: seq + 1, problem })
            } else {
                Ok(())
            };
        };
        if frame.tag != Tag::Commit {
            visit(frame.body);
        }
        (offset, seq) = (offset + frame.size(), frame.seq);
    }
}

/// Walks every segment from the one that holds `from` on. All but the last must be whole.
pub(super) fn scan_all(
    folder: &Folder,
    epoch: u64,
    from: u64,
    mut visit: impl FnMut(&Found<'_>),
) -> Result<(PathBuf, Ending), JournalError> {
    let segments = folder.segments()?;
    let missing = |first_seq| JournalError::Missing { dir: folder.dir().to_owned(), first_seq };
    let first = segments.partition_point(|first_seq| *first_seq <= from).checked_sub(1);
    let first = first.ok_or_else(|| missing(segments.first().map_or(1, |_| from)))?;
    let (mut bytes, mut reached) = (Vec::new(), None::<(PathBuf, Ending)>);
    for first_seq in &segments[first..] {
        let path = folder.segment(*first_seq);
        read_written(&path, &mut bytes).map_err(JournalError::io("read", &path))?;
        let header = header_of(&path, &bytes, epoch, *first_seq)?;
        if let Some((before, ending)) = reached {
            joins(&before, &ending, &header)?;
        }
        let ending = scan(&bytes, &header, &mut visit).map_err(|fault| damaged(&path, fault))?;
        reached = Some((path, ending));
    }
    reached.ok_or_else(|| missing(1))
}

/// Reads a segment up to the end of what was ever written to it: the space reserved behind may be most of the file.
pub(super) fn read_written(path: &Path, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let written = written_end(&file).map_or(length, |end| end.min(length));
    // Known before, it is not found out by doubling.
    bytes.reserve_exact(usize::try_from(written).unwrap_or(0));
    file.rewind()?;
    file.take(written).read_to_end(bytes)?;
    Ok(())
}

/// Where the last piece of a file that holds data ends (`lseek` with `SEEK_DATA` and `SEEK_HOLE`); `None` where the file
/// system cannot tell. A crash may have left a hole before it.
fn written_end(file: &File) -> Option<u64> {
    let mut end = 0;
    loop {
        match seek(file, SeekFrom::Data(end)) {
            Ok(data) => end = seek(file, SeekFrom::Hole(data)).ok()?,
            Err(Errno::NXIO) => return Some(end),
            Err(_) => return None,
        }
    }
}

/// Opens the last segment for writing behind its last whole frame. What was torn off is gone for good after this.
pub(super) fn repair(
    path: PathBuf,
    mut ending: Ending,
    segment_bytes_max: u64,
    disk: &dyn Disk,
) -> Result<Recovered, JournalError> {
    let open = OpenOptions::new().read(true).write(true).open(&path);
    let file = open.map_err(JournalError::io("open", &path))?;
    if ending.torn {
        tracing::warn!(
            path = %path.display(), offset = ending.offset, next_seq = ending.next_seq,
            "the journal ends in a torn write, which was never acknowledged; it is cut off"
        );
        file.set_len(ending.offset as u64).map_err(JournalError::io("truncate", &path))?;
    }
    if let Err(error) = disk.reserve(&file, segment_bytes_max) {
        tracing::warn!(path = %path.display(), %error, "cannot reserve space in the journal's last segment");
    }
    if !ending.marked {
        // Whole records without a marker: the power failed between their sync and the next write.
        let marker = frame::marker(ending.next_seq - 1, &ending.head);
        disk.write(&file, &marker, ending.offset as u64).map_err(JournalError::fatal("write", &path))?;
        ending.offset += marker.len();
        ending.marked = true;
    }
    file.sync_all().map_err(JournalError::fatal("sync", &path))?;
    Ok(Recovered { path, file, ending })
}

/// Reads and judges the header of a segment.
pub(super) fn header_of(
    path: &Path,
    bytes: &[u8],
    epoch: u64,
    first_seq: u64,
) -> Result<SegmentHeader, JournalError> {
    let problem = match SegmentHeader::from_bytes(bytes) {
        Some(header) if header.epoch != epoch => {
            format!("its header is of journal epoch {}, the identity of {epoch}", header.epoch)
        }
        Some(header) if header.first_seq != first_seq => {
            format!("its header says it begins with record {}, its name says {first_seq}", header.first_seq)
        }
        Some(header) => return Ok(header),
        None => "the header of the segment does not match its CRC".to_owned(),
    };
    Err(damaged(path, Fault { offset: 0, seq: first_seq, problem }))
}

/// A segment must end whole, exactly where the next one begins.
fn joins(path: &Path, ending: &Ending, next: &SegmentHeader) -> Result<(), JournalError> {
    let problem = if ending.torn {
        "it ends in a damaged frame, though another segment follows".to_owned()
    } else if ending.next_seq != next.first_seq {
        format!(
            "it ends before record {}, but the next segment begins with {}",
            ending.next_seq, next.first_seq
        )
    } else if ending.head != next.previous_head {
        format!("its chain head is {}, the next segment goes on from {}", ending.head, next.previous_head)
    } else {
        return Ok(());
    };
    Err(damaged(path, Fault { offset: ending.offset, seq: ending.next_seq, problem }))
}

pub(super) fn damaged(path: &Path, fault: Fault) -> JournalError {
    let Fault { offset, seq, problem } = fault;
    JournalError::Damaged { path: path.to_owned(), offset: offset as u64, seq, problem }
}

/// A segment without the reserved space at its end: whole zero blocks are compared, not walked.
fn without_reserve(bytes: &[u8]) -> &[u8] {
    const BLOCK: [u8; 4096] = [0; 4096];
    let used = bytes.rchunks(BLOCK.len()).skip_while(|chunk| BLOCK.starts_with(chunk)).map(<[u8]>::len).sum();
    &bytes[..used]
}
