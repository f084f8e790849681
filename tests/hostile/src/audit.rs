//! What is put on record and shown for it: batches, journals, records, notes, tiles.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use lienthong_audit::batch::{Checker, Position};
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::digest::ExchangeKey;
use lienthong_audit::journal::{self, Journal, JournalOptions};
use lienthong_audit::keys::{KeyFiles, KeyRow, find_in};
use lienthong_audit::log::{Log, LogKey, LogOptions, Pruned};
use lienthong_audit::note::{Note, NoteSignature, VerifierKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::proof::TlogProof;
use lienthong_audit::record;
use lienthong_audit::tile::{self, TileId};
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_audit::witness::AddCheckpoint;
use lienthong_index::segment::{build, erase};
use lienthong_index::{Dimension, Row, Segment, Term, Want};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Denial, Record, SignedBatch};
use prost::Message;
use prost_types::Timestamp;
use tempfile::TempDir;

use crate::number;

const NODE: &str = "agencies/G01/nodes/n1";

/// A batch as a node ships it; every signature holds, so that nothing hides behind it.
pub fn batch(data: &[u8]) {
    let Ok(batch) = SignedBatch::decode(data) else { return };
    let checker = Checker::new(NODE, Position::start(1));
    if let Ok(checked) = checker.check(&batch, |_, _| Ok::<(), String>(())) {
        assert!(checked.late <= checked.entries.len());
    }
}

pub fn batch_seeds() -> Vec<Vec<u8>> {
    vec![SignedBatch { header: vec![8, 1], signature: vec![7; 64], ..SignedBatch::default() }.encode_to_vec()]
}

/// A segment of a journal, as a disk may give it back.
pub fn journal(data: &[u8]) {
    thread_local! { static FOLDER: RefCell<Option<(TempDir, String)>> = const { RefCell::new(None) }; }
    FOLDER.with_borrow_mut(|folder| {
        let (folder, segment) = folder.get_or_insert_with(|| {
            let (folder, segment, _) = small_journal();
            (folder, segment)
        });
        fs::write(folder.path().join(segment), data).unwrap();
        drop(journal::check(folder.path()));
    });
}

pub fn journal_seeds() -> Vec<Vec<u8>> {
    vec![small_journal().2]
}

/// A journal of a few records: its folder, the name of its segment, and what is in that.
fn small_journal() -> (TempDir, String, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions { backlog_bytes_max: 64 * 1024, ..JournalOptions::new(NODE) };
    let journal = Journal::open(folder.path(), options, std::time::SystemTime::now()).unwrap();
    for _ in 0..3 {
        journal.handle().append(one_record()).unwrap();
    }
    drop(journal);
    let names =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let segment = names.filter(|name| name.ends_with(".journal")).min().unwrap();
    let mut bytes = fs::read(folder.path().join(&segment)).unwrap();
    // What was reserved and not written says nothing.
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    (folder, segment, bytes)
}

/// A segment of a broker's write-ahead log, as a disk may give it back: the verifier reads all that a start reads.
pub fn log_segment(data: &[u8]) {
    thread_local! { static FOLDER: RefCell<Option<(TempDir, PathBuf)>> = const { RefCell::new(None) }; }
    FOLDER.with_borrow_mut(|folder| {
        let (folder, segment) = folder.get_or_insert_with(|| {
            let (folder, segment, _) = small_log();
            (folder, segment)
        });
        fs::write(segment, data).unwrap();
        drop(verify_dir(&folder.path().join("log"), &VerifyOptions::default()));
    });
}

pub fn log_segment_seeds() -> Vec<Vec<u8>> {
    vec![small_log().2]
}

/// A log of a few entries, published: its folder, its segment, and what is in that.
fn small_log() -> (TempDir, PathBuf, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let key = LogKey::generate("log.thu.invalid").unwrap();
    let log = Log::create(&dir, "log.thu.invalid", key, &LogOptions::default()).unwrap();
    for _ in 0..3 {
        log.append_blocking(vec![one_record()]).unwrap();
    }
    log.close().unwrap();
    let files = fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.filter(|path| path.extension().is_some_and(|name| name == "wal")).min().unwrap();
    let bytes = fs::read(&segment).unwrap();
    (folder, segment, bytes)
}

/// A segment of the index.
pub fn index_segment(data: &[u8]) {
    let Ok(segment) = Segment::open(data.to_vec()) else { return };
    for dimension in [Dimension::Kind, Dimension::Subject] {
        drop(segment.entries_of(&Want::Beginning(Term::flag(dimension))));
    }
    let mut times = segment.times();
    drop((times.of(0), times.of(u32::MAX)));
    if let Ok(erased) = erase(segment, Vec::new(), |term| term.len() > 3) {
        drop(Segment::open(erased).unwrap());
    }
}

pub fn index_segment_seeds() -> Vec<Vec<u8>> {
    let read = record::decode(&one_record()).unwrap();
    let mut row = Row::of(&read);
    row.extend([Term::bytes(Dimension::Subject, &[7; 16])]);
    let built = build(65_536, &[row.clone(), Row::unreadable(), row]);
    vec![built.terms, built.subjects]
}

/// The side file that holds keys and salts of exchanges.
pub fn key_rows(data: &[u8]) {
    thread_local! { static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) }; }
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap());
        fs::write(folder.path().join("00000001.keys"), data).unwrap();
        drop(find_in(folder.path(), &[7; 16]));
        if let Ok(mut files) = KeyFiles::open(folder.path()) {
            drop((files.erase(&[7; 16]), files.compact()));
        }
    });
}

pub fn key_rows_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let mut files = KeyFiles::open(folder.path()).unwrap();
    let row =
        |exchange| KeyRow { exchange: [exchange; 16], key: ExchangeKey::from_bytes([9; 32]), salt: [5; 16] };
    files.append(&mut vec![row(7), row(8)]).unwrap();
    files.sync().unwrap();
    let file = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    vec![fs::read(file).unwrap()]
}

/// One entry of the log.
pub fn record(data: &[u8]) {
    let _ = Pruned::said_by(7, data);
    if let Ok(read) = record::decode(data) {
        let written = record::encode(&read);
        assert!(written.is_ok_and(|bytes| record::decode(&bytes).is_ok_and(|again| again == read)));
    }
}

pub fn record_seeds() -> Vec<Vec<u8>> {
    vec![one_record()]
}

fn one_record() -> Vec<u8> {
    let denial =
        Denial { reason: "DENY_PURPOSE".to_owned(), detail: "thử".to_owned(), ..Denial::default() };
    let record = Record {
        version: record::RECORD_VERSION,
        salt: vec![7; 16],
        recorder: NODE.to_owned(),
        time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
        body: Some(Body::Denial(denial)),
        ..Record::default()
    };
    record::encode(&record).unwrap()
}

/// Everything that is text and signed: notes, checkpoints, keys, policies, proofs, a witness's questions.
pub fn note(data: &[u8]) {
    drop(Policy::parse(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(note) = text.parse::<Note>() {
        assert_eq!(note.to_string().parse::<Note>().ok().as_ref(), Some(&note), "a note reads back");
    }
    drop(text.parse::<NoteSignature>());
    drop(text.parse::<Checkpoint>());
    drop(text.parse::<TlogProof>());
    drop(text.parse::<AddCheckpoint>());
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string().parse::<VerifierKey>().ok(), Some(key));
    }
}

pub fn note_seeds() -> Vec<Vec<u8>> {
    let key = LogKey::generate("log.thu.invalid").unwrap();
    let checkpoint = "log.thu.invalid\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let signature = format!("{checkpoint}\n— log.thu.invalid {}\n", "A".repeat(92));
    let witness = format!("old 3\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n{signature}");
    vec![
        signature.into_bytes(),
        witness.into_bytes(),
        key.verifier().to_string().into_bytes(),
        Policy::for_log(key.verifier().clone()).to_file(),
    ]
}

/// A tile's path, its hashes and its entries.
pub fn tile(data: &[u8]) {
    let (width, rest) = number(data);
    let width = u16::try_from(width).unwrap_or(u16::MAX);
    if let Ok(hashes) = tile::parse_hashes(rest, width) {
        assert_eq!(tile::encode_hashes(&hashes), rest);
    }
    if let Ok(entries) = tile::parse_bundle(rest, width) {
        assert_eq!(tile::encode_bundle(&entries).ok().as_deref(), Some(rest));
    }
    if let Ok(text) = std::str::from_utf8(rest)
        && let Ok(id) = text.parse::<TileId>()
    {
        assert_eq!(id.path(), text, "one path a tile");
    }
}

pub fn tile_seeds() -> Vec<Vec<u8>> {
    let hashes = [&2_u16.to_be_bytes()[..], &[7; 64]].concat();
    let entries = [&2_u16.to_be_bytes()[..], &tile::encode_bundle([b"mot", b"hai"]).unwrap()].concat();
    let paths = ["tile/0/x001/234.p/5", "tile/entries/067", "tile/1/000"];
    let paths = paths.iter().map(|path| [&[0, 0], path.as_bytes()].concat());
    [hashes, entries].into_iter().chain(paths).collect()
}
