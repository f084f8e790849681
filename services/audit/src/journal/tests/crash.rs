//! What a crash, a torn write or a damaged disk leaves, at every byte.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::chain;
use crate::hash::leaf_hash;
use crate::journal::frame::{
    MARKER_BYTES, Read, SEGMENT_HEADER_BYTES, SegmentHeader, Tag, marker, push, read, seal,
};
use crate::journal::{check, recover};

/// A closed journal of three groups of records in one segment.
struct Sample {
    dir: tempfile::TempDir,
    path: PathBuf,
    /// The segment, without a reserved end.
    bytes: Vec<u8>,
    /// Where each frame begins, with whether it is a record; then where the last ends.
    frames: Vec<(usize, bool)>,
    end: usize,
}

fn sample() -> Sample {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let header = SegmentHeader { epoch: journal.epoch(), first_seq: 1, previous_head: chain::START };
    journal.close().unwrap();
    // Made by hand, for which records share a group is otherwise a matter of luck.
    let (mut bytes, mut frames, mut head) = (header.to_bytes().to_vec(), Vec::new(), chain::START);
    for seq in 1..=9 {
        let (at, record) = (bytes.len(), denial(seq));
        push(&mut bytes, Tag::Record, seq, &record);
        seal(&mut bytes[at..]);
        frames.push((at, true));
        head = chain::step(&head, &leaf_hash(&record));
        if seq % 3 == 0 {
            frames.push((bytes.len(), false));
            bytes.extend_from_slice(&marker(seq, &head));
        }
    }
    let path = dir.path().join("00000000000000000001.journal");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(check(dir.path()).unwrap().head, head);
    Sample { dir, path, end: bytes.len(), bytes, frames }
}

impl Sample {
    fn scan(bytes: &[u8]) -> Result<recover::Ending, recover::Fault> {
        recover::scan(bytes, &SegmentHeader::from_bytes(bytes).unwrap(), |_| {})
    }

    /// Records that end at or before an offset.
    fn records_before(&self, offset: usize) -> usize {
        let ends = self.frames.iter().skip(1).map(|(at, _)| *at).chain([self.end]);
        self.frames.iter().zip(ends).filter(|((_, record), end)| *record && *end <= offset).count()
    }

    fn frame_at(&self, offset: usize) -> usize {
        self.frames.iter().rfind(|(at, _)| *at <= offset).unwrap().0
    }
}

#[test]
fn a_tail_torn_at_any_byte_keeps_every_whole_record() {
    let sample = sample();
    for cut in SEGMENT_HEADER_BYTES..=sample.end {
        for reserve in [0, 3, 5000] {
            let mut bytes = sample.bytes[..cut].to_vec();
            bytes.resize(cut + reserve, 0);
            let ending = Sample::scan(&bytes).unwrap();
            assert_eq!(ending.next_seq, 1 + sample.records_before(cut) as u64, "cut at {cut}");
            let leaves: Vec<_> = sample
                .frames
                .iter()
                .filter_map(|(at, _)| match read(&bytes[*at.min(&bytes.len())..]) {
                    Read::Frame(frame) if frame.tag == Tag::Record => Some(leaf_hash(frame.body)),
                    _ => None,
                })
                .collect();
            assert_eq!(ending.head, chain::advance(&chain::START, &leaves), "cut at {cut}");
        }
    }
}

#[test]
fn a_journal_torn_anywhere_goes_on() {
    let sample = sample();
    // Every place where something begins or ends, and some within.
    let cuts = sample.frames.iter().flat_map(|(at, _)| [*at, at + 1, at + 20]).chain([sample.end]);
    for cut in cuts {
        fs::write(&sample.path, &sample.bytes[..cut]).unwrap();
        let kept = sample.records_before(cut) as u64;
        let journal = open(sample.dir.path());
        assert_eq!((journal.durable_seq(), journal.last_seq()), (kept, kept), "cut at {cut}");
        assert_eq!(journal.backlog().records, kept);
        assert_eq!(commit(&journal.handle(), denial(99)).seq, kept + 1);
        journal.close().unwrap();
        assert_eq!(check(sample.dir.path()).unwrap().last_seq, kept + 1, "cut at {cut}");
    }
}

#[test]
fn a_flipped_bit_is_named_or_loses_nothing() {
    let sample = sample();
    let last_marker = sample.end - MARKER_BYTES;
    for bit in 8 * SEGMENT_HEADER_BYTES..8 * sample.end {
        let mut bytes = sample.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match Sample::scan(&bytes) {
            Err(fault) => {
                assert_eq!(fault.offset, sample.frame_at(bit / 8), "bit {bit}");
                assert_eq!(fault.seq, 1 + sample.records_before(bit / 8) as u64, "bit {bit}");
            }
            Ok(ending) => {
                assert!(bit / 8 >= last_marker, "bit {bit} was not seen");
                assert_eq!(ending.next_seq, 10);
            }
        }
    }
    for byte in 0..SEGMENT_HEADER_BYTES {
        let mut bytes = sample.bytes.clone();
        bytes[byte] ^= 0x10;
        fs::write(&sample.path, &bytes).unwrap();
        let error = Journal::open(sample.dir.path(), options(), now()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { offset: 0, seq: 1, .. }), "{error}");
    }
}

#[test]
fn damage_stops_the_opening_with_its_position() {
    let sample = sample();
    let (at, _) = sample.frames[5];
    let mut bytes = sample.bytes.clone();
    bytes[at + 30] ^= 4;
    fs::write(&sample.path, &bytes).unwrap();
    for error in [
        Journal::open(sample.dir.path(), options(), now()).unwrap_err(),
        check(sample.dir.path()).unwrap_err(),
    ] {
        let JournalError::Damaged { path, offset, seq, .. } = &error else { panic!("{error}") };
        assert_eq!((path, *offset, *seq), (&sample.path, at as u64, 5), "{error}");
        assert!(error.to_string().contains("restore this segment"), "{error}");
    }
    assert_eq!(fs::read(&sample.path).unwrap(), bytes, "a damaged segment must not be touched");
}

#[test]
fn a_write_that_reached_the_disk_in_pieces_is_a_torn_tail() {
    // The last group without its marker, its pages written in any order: nothing of it was acknowledged.
    let sample = sample();
    let last_group = sample.frames[sample.frames.len() - 4].0;
    let unmarked = &sample.bytes[..sample.end - MARKER_BYTES];
    for hole in last_group..unmarked.len() {
        let mut bytes = unmarked.to_vec();
        let end = (hole + 40).min(bytes.len());
        bytes[hole..end].fill(0);
        let ending = Sample::scan(&bytes).unwrap();
        assert_eq!(ending.next_seq, 1 + sample.records_before(hole) as u64, "hole at {hole}");
        assert!(ending.next_seq >= 7);
    }
}

#[test]
fn a_record_that_was_replaced_breaks_the_chain() {
    let sample = sample();
    let (at, _) = sample.frames[0];
    let Read::Frame(frame) = read(&sample.bytes[at..]) else { panic!("no frame") };
    let mut body = frame.body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    let mut forged = Vec::new();
    push(&mut forged, Tag::Record, 1, &body);
    seal(&mut forged);
    let mut bytes = sample.bytes.clone();
    bytes[at..at + forged.len()].copy_from_slice(&forged);
    let fault = Sample::scan(&bytes).unwrap_err();
    assert_eq!(fault.offset, sample.frames[3].0, "the first marker after it");
}
