//! Rows of a block become two segments: one of what the log says, one of subjects.

use std::collections::BTreeMap;

use super::span;
use super::write::{Head, SegmentWriter};
use crate::row::Row;

/// The two segments of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// What follows from the entries alone.
    pub terms: Vec<u8>,
    /// Tokens of subjects: secret, erasable.
    pub subjects: Vec<u8>,
    /// How many tokens these are.
    pub subject_tokens: u64,
}

/// Sorts the rows of a block whose first entry has this index.
pub fn build(first_index: u64, rows: &[Row]) -> Built {
    let mut terms: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
    let mut subjects: BTreeMap<&[u8], Vec<u32>> = BTreeMap::new();
    let mut subject_tokens = 0;
    for (entry, row) in (0_u32..).zip(rows) {
        for term in &row.terms {
            subject_tokens += u64::from(term.is_subject() && term.as_bytes().len() > 1);
            let map = if term.is_subject() { &mut subjects } else { &mut terms };
            map.entry(term.as_bytes()).or_default().push(entry);
        }
    }
    let entries = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let times = span(rows.iter().map(|row| row.time_ms)).unwrap_or((0, 0));
    let head = Head { first_index, entries, times: Some(times) };
    let times = rows.iter().map(|row| row.time_ms);
    Built {
        terms: write(head, times, &terms),
        subjects: write(Head { times: None, ..head }, std::iter::empty(), &subjects),
        subject_tokens,
    }
}

fn write(head: Head, times: impl Iterator<Item = i64>, terms: &BTreeMap<&[u8], Vec<u32>>) -> Vec<u8> {
    let written = move || {
        let mut writer = SegmentWriter::begin(Vec::new(), head)?;
        for time in times {
            writer.time(time)?;
        }
        for (term, entries) in terms {
            writer.term(term, entries)?;
        }
        writer.finish()
    };
    // INVARIANT: writing to memory does not fail.
    let written: std::io::Result<Vec<u8>> = written();
    written.unwrap_or_default()
}
