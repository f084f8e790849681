//! The bytes of a segment, one after another: what building and merging share.

use std::io::{self, Write};

use super::{BLOCK_BYTES, END, HEADER_BYTES, MAGIC, TIMES_PER_CHUNK, TRAILER_BYTES, WITH_TIMES, span};

/// What the header says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub first_index: u64,
    pub entries: u32,
    /// Least and greatest time; `None` for a segment without times.
    pub times: Option<(i64, i64)>,
}

/// Writes a segment: first all times, then all terms in order.
pub(super) struct SegmentWriter<W> {
    out: W,
    offset: u64,
    /// Times of the chunk that is being filled.
    times: Vec<i64>,
    /// Spans of the chunks before it, encoded; `None` once they are written.
    spans: Option<Vec<u8>>,
    block: Vec<u8>,
    first_term: Vec<u8>,
    last_term: Vec<u8>,
    directory: Vec<u8>,
    blocks: u32,
}

impl<W: Write> SegmentWriter<W> {
    pub fn begin(out: W, head: Head) -> io::Result<Self> {
        let mut writer = Self {
            out,
            offset: 0,
            times: Vec::new(),
            spans: Some(Vec::new()),
            block: Vec::new(),
            first_term: Vec::new(),
            last_term: Vec::new(),
            directory: Vec::new(),
            blocks: 0,
        };
        let (least, greatest) = head.times.unwrap_or((0, 0));
        let flags = if head.times.is_some() { WITH_TIMES } else { 0 };
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&head.first_index.to_le_bytes());
        bytes.extend_from_slice(&head.entries.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&least.to_le_bytes());
        bytes.extend_from_slice(&greatest.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        writer.put(&bytes)?;
        Ok(writer)
    }

    /// The time of the next entry.
    pub fn time(&mut self, time_ms: i64) -> io::Result<()> {
        self.times.push(time_ms);
        if self.times.len() == TIMES_PER_CHUNK { self.end_chunk() } else { Ok(()) }
    }

    /// The next term: greater than the one before, with its entries, rising.
    pub fn term(&mut self, term: &[u8], entries: &[u32]) -> io::Result<()> {
        self.end_times()?;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        let shared = if self.block.is_empty() {
            self.first_term = term.to_vec();
            0
        } else {
            self.last_term.iter().zip(term).take_while(|(a, b)| a == b).count()
        };
        let mut postings = Vec::with_capacity(entries.len() + 4);
        let mut before = 0;
        for entry in entries {
            put_number(&mut postings, entry - before);
            before = *entry;
        }
        put_length(&mut self.block, shared);
        put_length(&mut self.block, term.len() - shared);
        self.block.extend_from_slice(&term[shared..]);
        put_length(&mut self.block, entries.len());
        put_length(&mut self.block, postings.len());
        self.block.extend_from_slice(&postings);
        self.last_term.clear();
        self.last_term.extend_from_slice(term);
        Ok(())
    }

    /// The directory and the end.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_times()?;
        self.end_block()?;
        let directory = std::mem::take(&mut self.directory);
        let mut trailer = Vec::with_capacity(TRAILER_BYTES);
        trailer.extend_from_slice(&self.offset.to_le_bytes());
        trailer.extend_from_slice(&length(directory.len()).to_le_bytes());
        trailer.extend_from_slice(&self.blocks.to_le_bytes());
        trailer.extend_from_slice(&crc32c::crc32c(&directory).to_le_bytes());
        trailer.extend_from_slice(END);
        self.put(&directory)?;
        self.put(&trailer)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes a chunk of times.
    fn end_chunk(&mut self) -> io::Result<()> {
        let times = std::mem::take(&mut self.times);
        if times.is_empty() {
            return Ok(());
        }
        let (least, greatest) = span(times.iter().copied()).unwrap_or((0, -1));
        if let Some(spans) = &mut self.spans {
            spans.extend_from_slice(&least.to_le_bytes());
            spans.extend_from_slice(&greatest.to_le_bytes());
        }
        let mut chunk: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
        chunk.extend_from_slice(&crc32c::crc32c(&chunk).to_le_bytes());
        self.put(&chunk)
    }

    /// Writes the last chunk and the spans of all; after that, terms only.
    fn end_times(&mut self) -> io::Result<()> {
        if self.spans.is_none() {
            return Ok(());
        }
        self.end_chunk()?;
        let mut spans = self.spans.take().unwrap_or_default();
        if spans.is_empty() {
            return Ok(());
        }
        spans.extend_from_slice(&crc32c::crc32c(&spans).to_le_bytes());
        self.put(&spans)
    }

    fn end_block(&mut self) -> io::Result<()> {
        let block = std::mem::take(&mut self.block);
        if block.is_empty() {
            return Ok(());
        }
        self.directory.extend_from_slice(&self.offset.to_le_bytes());
        self.directory.extend_from_slice(&length(block.len()).to_le_bytes());
        self.directory.extend_from_slice(&crc32c::crc32c(&block).to_le_bytes());
        // A term has at most 129 bytes.
        self.directory.push(u8::try_from(self.first_term.len()).unwrap_or(u8::MAX));
        self.directory.extend_from_slice(&self.first_term);
        self.blocks += 1;
        self.put(&block)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

/// A length of something that is bounded far below 4 GiB by the bounds of a segment.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn put_length(out: &mut Vec<u8>, value: usize) {
    put_number(out, length(value));
}

/// LEB128.
fn put_number(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let byte = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
