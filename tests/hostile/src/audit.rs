//! What is put on record and shown for it: batches, journals, records, notes, tiles.

use std::cell::RefCell;
use std::fs;

use lienthong_audit::batch::{Checker, Position};
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::journal::{self, Journal, JournalOptions};
use lienthong_audit::log::LogKey;
use lienthong_audit::note::{Note, NoteSignature, VerifierKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::proof::TlogProof;
use lienthong_audit::record;
use lienthong_audit::tile::{self, TileId};
use lienthong_audit::witness::AddCheckpoint;
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

/// One entry of the log.
pub fn record(data: &[u8]) {
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
