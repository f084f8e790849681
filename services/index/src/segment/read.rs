//! A segment as it is read: its directory in memory, the rest where it lies.

use std::io;
use std::ops::Range;

use super::{
    END, HEADER_BYTES, IndexError, MAGIC, SEGMENT_ENTRIES_MAX, TIMES_PER_CHUNK, TRAILER_BYTES, WITH_TIMES,
};
use crate::query::Want;

/// Bytes that can be read from anywhere.
pub trait ReadAt {
    /// Fills the buffer from this offset on.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(at..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A segment that is open.
#[derive(Debug)]
pub struct Segment<R> {
    source: R,
    first_index: u64,
    entries: u32,
    times: Option<Range<i64>>,
    /// The times of each chunk lie within these.
    spans: Vec<Range<i64>>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    offset: u64,
    length: u32,
    crc: u32,
    first: Box<[u8]>,
}

impl<R: ReadAt> Segment<R> {
    /// Reads header and directory, and checks them.
    pub fn open(source: R) -> Result<Self, IndexError> {
        let length = source.length()?;
        let mut header = [0; HEADER_BYTES];
        let mut trailer = [0; TRAILER_BYTES];
        let end = length.checked_sub(TRAILER_BYTES as u64).filter(|end| *end >= HEADER_BYTES as u64);
        let end = end.ok_or(damaged(0, "it is too short"))?;
        source.read_exact_at(&mut header, 0)?;
        source.read_exact_at(&mut trailer, end)?;
        let mut fields = Cursor { bytes: &header, offset: 0 };
        let magic = fields.take(MAGIC.len())?;
        let (first_index, entries, flags) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let (least, greatest) = (fields.u64()?.cast_signed(), fields.u64()?.cast_signed());
        let crc = fields.u32()?;
        if magic != MAGIC
            || crc32c::crc32c(&header[..HEADER_BYTES - 8]) != crc
            || entries > SEGMENT_ENTRIES_MAX
        {
            return Err(damaged(0, "the header"));
        }
        let times = (flags & WITH_TIMES != 0).then_some(least..greatest.saturating_add(1));
        let mut fields = Cursor { bytes: &trailer, offset: end };
        let (at, bytes, count, crc) = (fields.u64()?, fields.u32()?, fields.u32()?, fields.u32()?);
        if fields.take(END.len())? != END || at.checked_add(u64::from(bytes)) != Some(end) {
            return Err(damaged(end, "the trailer"));
        }
        let mut directory = vec![0; bytes as usize];
        source.read_exact_at(&mut directory, at)?;
        if crc32c::crc32c(&directory) != crc {
            return Err(damaged(at, "the directory"));
        }
        let mut blocks = Vec::new();
        let mut fields = Cursor { bytes: &directory, offset: at };
        for _ in 0..count {
            let (offset, length, crc) = (fields.u64()?, fields.u32()?, fields.u32()?);
            let first = fields.byte()?;
            let first = fields.take(usize::from(first))?.into();
            if offset.checked_add(u64::from(length)).is_none_or(|behind| behind > at) {
                return Err(damaged(offset, "a block beyond the directory"));
            }
            blocks.push(Block { offset, length, crc, first });
        }
        let spans = if times.is_some() { spans(&source, entries)? } else { Vec::new() };
        Ok(Self { source, first_index, entries, times, spans, blocks })
    }

    /// What it is read from.
    #[cfg(test)]
    pub(super) const fn source(&self) -> &R {
        &self.source
    }

    /// Log index of its first entry.
    pub const fn first_index(&self) -> u64 {
        self.first_index
    }

    /// Entries.
    pub const fn entries(&self) -> u32 {
        self.entries
    }

    /// Log index behind its last entry.
    pub fn end(&self) -> u64 {
        self.first_index + u64::from(self.entries)
    }

    /// Whether no entry lies within these times.
    pub fn lies_outside(&self, times: &Range<i64>) -> bool {
        self.times.as_ref().is_some_and(|own| own.end <= times.start || times.end <= own.start)
    }

    /// The least and greatest time.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.times.as_ref().map(|times| (times.start, times.end.saturating_sub(1)))
    }

    /// The times of its entries, milliseconds since 1970.
    pub const fn times(&self) -> Times<'_, R> {
        Times { segment: self, chunk: None, read: Vec::new() }
    }

    /// The times of one chunk.
    pub(super) fn times_of(&self, chunk: usize) -> Result<Vec<i64>, IndexError> {
        let first = chunk * TIMES_PER_CHUNK;
        let count = (self.entries as usize).saturating_sub(first).min(TIMES_PER_CHUNK);
        if self.times.is_none() || count == 0 {
            return Ok(Vec::new());
        }
        let offset = HEADER_BYTES as u64 + chunk as u64 * chunk_bytes(TIMES_PER_CHUNK) as u64;
        let mut bytes = vec![0; chunk_bytes(count)];
        self.source.read_exact_at(&mut bytes, offset)?;
        let (times, crc) = bytes.split_at(count * 8);
        if crc32c::crc32c(times).to_le_bytes() != *crc {
            return Err(damaged(offset, "times"));
        }
        let times =
            times.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        Ok(times.collect())
    }

    /// The entries, rising, that have a wanted term.
    pub fn entries_of(&self, want: &Want) -> Result<Vec<u32>, IndexError> {
        let first = want.first().as_bytes();
        // The block before the first that begins beyond it may hold it.
        let begin = self.blocks.partition_point(|block| &*block.first <= first).saturating_sub(1);
        let mut entries = Vec::new();
        let mut lists = 0;
        for block in self.blocks.get(begin..).unwrap_or_default() {
            let passed = match want {
                Want::Exactly(_) => *block.first > *first,
                Want::Beginning(_) => *block.first > *first && !block.first.starts_with(first),
            };
            if passed {
                break;
            }
            self.for_each_term(block, |term, list| {
                let wanted = match want {
                    Want::Exactly(_) => term == first,
                    Want::Beginning(_) => term.starts_with(first),
                };
                if wanted {
                    lists += 1;
                    list.read(self.entries, &mut entries)?;
                }
                Ok(())
            })?;
        }
        if lists > 1 {
            entries.sort_unstable();
            entries.dedup();
        }
        Ok(entries)
    }

    /// How many blocks of terms there are.
    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Every term of a block with its entries.
    pub(super) fn terms_of(&self, block: usize) -> Result<Vec<TermEntries>, IndexError> {
        let mut terms = Vec::new();
        if let Some(block) = self.blocks.get(block) {
            self.for_each_term(block, |term, list| {
                let mut entries = Vec::new();
                list.read(self.entries, &mut entries)?;
                terms.push((term.to_vec(), entries));
                Ok(())
            })?;
        }
        Ok(terms)
    }

    fn for_each_term(
        &self,
        block: &Block,
        mut visit: impl FnMut(&[u8], Postings<'_>) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut bytes = vec![0; block.length as usize];
        self.source.read_exact_at(&mut bytes, block.offset)?;
        if crc32c::crc32c(&bytes) != block.crc {
            return Err(damaged(block.offset, "a block of terms"));
        }
        let mut cursor = Cursor { bytes: &bytes, offset: block.offset };
        let mut term = Vec::new();
        while !cursor.bytes.is_empty() {
            let (shared, further) = (cursor.number()? as usize, cursor.number()? as usize);
            if shared > term.len() {
                return Err(damaged(cursor.offset, "a term that shares more than there is"));
            }
            term.truncate(shared);
            term.extend_from_slice(cursor.take(further)?);
            let count = cursor.number()?;
            let length = cursor.number()? as usize;
            let offset = cursor.offset;
            let bytes = cursor.take(length)?;
            visit(&term, Postings { count, cursor: Cursor { bytes, offset } })?;
        }
        Ok(())
    }
}

/// Bytes of a chunk with so many times.
const fn chunk_bytes(times: usize) -> usize {
    times * 8 + 4
}

/// Reads the spans of all chunks, which stand behind them.
fn spans<R: ReadAt>(source: &R, entries: u32) -> Result<Vec<Range<i64>>, IndexError> {
    let entries = entries as usize;
    let (full, rest) = (entries / TIMES_PER_CHUNK, entries % TIMES_PER_CHUNK);
    let last = if rest == 0 { 0 } else { chunk_bytes(rest) };
    let offset = (HEADER_BYTES + full * chunk_bytes(TIMES_PER_CHUNK) + last) as u64;
    let count = full + usize::from(rest > 0);
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; count * 16 + 4];
    source.read_exact_at(&mut bytes, offset)?;
    let (spans, crc) = bytes.split_at(count * 16);
    if crc32c::crc32c(spans).to_le_bytes() != *crc {
        return Err(damaged(offset, "the spans of its times"));
    }
    let numbers = spans.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    let numbers: Vec<i64> = numbers.collect();
    // One without a time is an empty range, in which nothing lies.
    let span = |pair: &[i64; 2]| pair[0]..pair[1].saturating_add(1);
    Ok(numbers.as_chunks::<2>().0.iter().map(span).collect())
}

/// The times of a segment's entries. Keeps the chunk that it read last: who asks for neighbours reads each chunk once, and not
/// once an entry.
#[derive(Debug)]
pub struct Times<'a, R> {
    segment: &'a Segment<R>,
    chunk: Option<usize>,
    /// What stands in it.
    read: Vec<i64>,
}

impl<R: ReadAt> Times<'_, R> {
    /// Whether the time of an entry lies within these. What the span of its chunk answers is not read.
    ///
    /// # Errors
    /// As [`Times::of`].
    pub fn within(&mut self, entry: u32, wanted: &Range<i64>) -> Result<bool, IndexError> {
        match self.segment.spans.get(entry as usize / TIMES_PER_CHUNK) {
            Some(span) if span.end <= wanted.start || wanted.end <= span.start => Ok(false),
            _ => Ok(wanted.contains(&self.of(entry)?)),
        }
    }

    /// The time of an entry, milliseconds since 1970.
    ///
    /// # Errors
    /// [`IndexError`] where the file cannot be read or is damaged, and for an entry that the segment does not have.
    pub fn of(&mut self, entry: u32) -> Result<i64, IndexError> {
        let chunk = entry as usize / TIMES_PER_CHUNK;
        if self.chunk != Some(chunk) {
            self.read = self.segment.times_of(chunk)?;
            self.chunk = Some(chunk);
        }
        let time = self.read.get(entry as usize % TIMES_PER_CHUNK).copied();
        time.ok_or(damaged(0, "an entry without a time"))
    }
}

/// A term and its entries.
pub(super) type TermEntries = (Vec<u8>, Vec<u32>);

/// The entries of one term, encoded.
struct Postings<'a> {
    count: u32,
    cursor: Cursor<'a>,
}

impl Postings<'_> {
    fn read(mut self, entries_max: u32, entries: &mut Vec<u32>) -> Result<(), IndexError> {
        let mut entry = 0_u32;
        for number in 0..self.count {
            let distance = self.cursor.number()?;
            entry = entry
                .checked_add(distance)
                .filter(|entry| *entry < entries_max)
                .ok_or(damaged(self.cursor.offset, "an entry beyond the segment"))?;
            if number > 0 && distance == 0 {
                return Err(damaged(self.cursor.offset, "an entry twice"));
            }
            entries.push(entry);
        }
        Ok(())
    }
}

/// Reads fields one after another.
struct Cursor<'a> {
    bytes: &'a [u8],
    /// Where `bytes` begin, for errors.
    offset: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], IndexError> {
        let (head, rest) =
            self.bytes.split_at_checked(count).ok_or(damaged(self.offset, "it ends too early"))?;
        self.bytes = rest;
        self.offset += count as u64;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, IndexError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, IndexError> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default()))
    }

    fn u64(&mut self) -> Result<u64, IndexError> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().unwrap_or_default()))
    }

    /// LEB128 of at most 32 bits.
    fn number(&mut self) -> Result<u32, IndexError> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).map_err(|_| damaged(self.offset, "a number too large"));
            }
        }
        Err(damaged(self.offset, "a number too long"))
    }
}

fn damaged(offset: u64, what: &'static str) -> IndexError {
    IndexError::Damaged { offset, what }
}
