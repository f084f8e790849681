//! Neighbouring segments become one. Since their entries follow each other, so do the entries of each term: merging joins
//! lists and changes nothing.

use std::io::Write;

use super::read::{ReadAt, Segment, TermEntries};
use super::write::{Head, SegmentWriter};
use super::{IndexError, SEGMENT_ENTRIES_MAX, TIMES_PER_CHUNK};
use crate::term::{Dimension, Term};

/// Merges segments that follow each other, in order, into `out`. Holds one block of each in memory, and the entries of one
/// term.
pub fn merge<R: ReadAt, W: Write>(segments: &[Segment<R>], out: W) -> Result<W, IndexError> {
    merge_without(segments, out, |_| false)
}

/// A subject segment without the tokens that are to be erased: that somebody was stays, at the entries that named him, as
/// [`Dimension::SubjectsErased`].
pub fn erase<R: ReadAt, W: Write>(
    subjects: Segment<R>,
    out: W,
    is_erased: impl Fn(&[u8]) -> bool,
) -> Result<W, IndexError> {
    merge_without(&[subjects], out, is_erased)
}

fn merge_without<R: ReadAt, W: Write>(
    segments: &[Segment<R>],
    out: W,
    is_erased: impl Fn(&[u8]) -> bool,
) -> Result<W, IndexError> {
    let head = head(segments)?;
    let mut writer = SegmentWriter::begin(out, head)?;
    for segment in segments {
        for chunk in 0..(segment.entries() as usize).div_ceil(TIMES_PER_CHUNK) {
            for time in segment.times_of(chunk)? {
                writer.time(time)?;
            }
        }
    }
    let mut sources = Vec::with_capacity(segments.len());
    for segment in segments {
        let base = u32::try_from(segment.first_index() - head.first_index).unwrap_or(u32::MAX);
        sources.push(Source::new(segment, base)?);
    }
    let mark = Term::flag(Dimension::SubjectsErased);
    let mut marked = Vec::new();
    while let Some(least) = sources.iter().filter_map(Source::term).min().map(<[u8]>::to_vec) {
        let mut entries = Vec::new();
        for source in &mut sources {
            if source.term() == Some(&least[..]) {
                source.take(&mut entries)?;
            }
        }
        if is_erased(&least) || least == mark.as_bytes() {
            marked.append(&mut entries);
        } else {
            writer.term(&least, &entries)?;
        }
    }
    // The mark is the greatest of all terms.
    if !marked.is_empty() {
        marked.sort_unstable();
        marked.dedup();
        writer.term(mark.as_bytes(), &marked)?;
    }
    Ok(writer.finish()?)
}

fn head<R: ReadAt>(segments: &[Segment<R>]) -> Result<Head, IndexError> {
    let first = segments.first().ok_or(IndexError::Unmergeable("there are none"))?;
    if segments.iter().zip(segments.iter().skip(1)).any(|(one, next)| one.end() != next.first_index()) {
        return Err(IndexError::Unmergeable("they do not follow each other"));
    }
    if segments.iter().any(|segment| segment.span().is_some() != first.span().is_some()) {
        return Err(IndexError::Unmergeable("some have times, some have none"));
    }
    let entries: u64 = segments.iter().map(|segment| u64::from(segment.entries())).sum();
    let entries = u32::try_from(entries).ok().filter(|entries| *entries <= SEGMENT_ENTRIES_MAX);
    let entries = entries.ok_or(IndexError::Unmergeable("together they hold more than a segment may"))?;
    // A segment in which nothing has a time says 0 to 0; merged, its span only widens.
    let times = segments.iter().filter_map(Segment::span).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    Ok(Head { first_index: first.first_index(), entries, times })
}

/// The terms of one segment, in order.
struct Source<'a, R> {
    segment: &'a Segment<R>,
    /// What its entries are counted from in the merged segment.
    base: u32,
    next_block: usize,
    terms: std::iter::Peekable<std::vec::IntoIter<TermEntries>>,
    /// The term at hand.
    at: Option<TermEntries>,
}

impl<'a, R: ReadAt> Source<'a, R> {
    fn new(segment: &'a Segment<R>, base: u32) -> Result<Self, IndexError> {
        let mut source =
            Self { segment, base, next_block: 0, terms: Vec::new().into_iter().peekable(), at: None };
        source.advance()?;
        Ok(source)
    }

    fn term(&self) -> Option<&[u8]> {
        self.at.as_ref().map(|(term, _)| &term[..])
    }

    fn take(&mut self, entries: &mut Vec<u32>) -> Result<(), IndexError> {
        if let Some((_, own)) = self.at.take() {
            entries.extend(own.into_iter().map(|entry| self.base + entry));
        }
        self.advance()
    }

    fn advance(&mut self) -> Result<(), IndexError> {
        while self.terms.peek().is_none() && self.next_block < self.segment.blocks() {
            self.terms = self.segment.terms_of(self.next_block)?.into_iter().peekable();
            self.next_block += 1;
        }
        self.at = self.terms.next();
        Ok(())
    }
}
