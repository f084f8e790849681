//! Pruning on a real disk: announced first, whole bundles, nothing else, and again after any interruption.

use proptest::prelude::*;
use prost::Message as _;

use super::super::disk::faults::Faults;
use super::super::{Log, LogKey, LogOptions};
use super::*;
use crate::hash::leaf_hash;
use crate::note::{KeyKind, SigningKey};
use crate::policy::Policy;
use crate::verify::{FindingKind, VerifyOptions, verify_dir};

const ORIGIN: &str = "log.example/audit";
const ENTRIES: u64 = 1_500;

fn key() -> LogKey {
    LogKey::new(SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()).unwrap()
}

fn announcement(minimum_index: u64, recorder: &str) -> Vec<u8> {
    let body = Some(Body::LogPruned(LogPruned { minimum_index, ..LogPruned::default() }));
    let recorder = recorder.to_owned();
    Record { version: 1, salt: vec![7; 16], recorder, body, ..Record::default() }.encode_to_vec()
}

/// A log of 1,500 entries, then these; published and closed.
fn log(dir: &Path, announcements: Vec<Vec<u8>>) -> std::path::PathBuf {
    let dir = dir.join("log");
    let options = LogOptions { publish_interval_ms: 1, ..LogOptions::default() };
    let log = Log::create(&dir, ORIGIN, key(), &options).unwrap();
    log.append_blocking((0..ENTRIES).map(|number| format!("entry {number}").into_bytes()).collect()).unwrap();
    log.append_blocking(announcements).unwrap();
    log.close().unwrap();
    dir
}

fn is_sound(dir: &Path) -> (bool, u64) {
    let policy = Some(Policy::for_log(key().verifier().clone()));
    let report = verify_dir(dir, &VerifyOptions { policy, ..VerifyOptions::default() });
    assert!(report.is_sound() || !report.findings.is_empty());
    (report.is_sound(), report.pruned)
}

#[test]
fn what_is_pruned_is_gone_and_everything_is_still_proven() {
    let dir = tempfile::tempdir().unwrap();
    let dir = log(dir.path(), vec![announcement(1024, "broker"), announcement(1280, "broker")]);
    let (reader, pruner) = (LogReader::new(&dir), Pruner::new(&dir));
    let proof = reader.prove(3).unwrap().unwrap();
    assert_eq!((reader.minimum().unwrap(), pruner.sweep().unwrap()), (0, 0));

    assert_eq!(pruner.announce(ENTRIES).unwrap(), Pruned { minimum: 1024, record: ENTRIES });
    assert_eq!(is_sound(&dir), (true, 0), "announced, not swept yet");
    assert_eq!(reader.entries(0..1).unwrap(), [b"entry 0"]);
    assert_eq!(pruner.sweep().unwrap(), 4);
    assert_eq!(pruner.sweep().unwrap(), 0);
    assert_eq!(is_sound(&dir), (true, 1024));
    let error = reader.entries(1023..1025).unwrap_err();
    assert!(matches!(error, LogError::Pruned { begin: 1023, minimum: 1024 }), "{error}");
    assert_eq!(reader.entries(1024..1025).unwrap(), [b"entry 1024"]);
    let policy = Policy::for_log(key().verifier().clone());
    for proof in [proof, reader.prove(3).unwrap().unwrap()] {
        proof.verify(&leaf_hash(b"entry 3"), &policy).unwrap();
    }

    assert_eq!(pruner.announce(ENTRIES + 1).unwrap().minimum, 1280);
    assert_eq!(pruner.sweep().unwrap(), 1);
    assert_eq!(is_sound(&dir), (true, 1280));
    assert!(matches!(pruner.announce(ENTRIES), Err(LogError::Unannounced { .. })), "it never falls");

    // The log goes on, and is opened again.
    let log = Log::open(&dir, ORIGIN, key(), &LogOptions::default()).unwrap();
    log.append_blocking(vec![b"one more".to_vec()]).unwrap();
    log.close().unwrap();
    assert_eq!(is_sound(&dir), (true, 1280));
}

#[test]
fn nothing_goes_that_the_log_did_not_announce() {
    let dir = tempfile::tempdir().unwrap();
    let announcements = vec![
        announcement(512, "agencies/G01/nodes/n1"),
        announcement(511, "broker"),
        announcement(4096, "broker"),
        announcement(512, "broker"),
    ];
    let dir = log(dir.path(), announcements);
    let pruner = Pruner::new(&dir);
    for record in [0, ENTRIES, ENTRIES + 1, ENTRIES + 2, ENTRIES + 100] {
        pruner.announce(record).unwrap_err();
    }
    assert_eq!(pruner.sweep().unwrap(), 0);

    // Somebody removes bundles, and points at a record that says less, nothing, or lies behind the end.
    let bundles = [0, 1, 2, 3].map(|index| dir.join(TileId::full(TileKind::Entries, index).path()));
    for bundle in &bundles {
        fs::remove_file(bundle).unwrap();
    }
    assert_eq!(is_sound(&dir), (false, 0));
    for (minimum, record) in [(1024, ENTRIES + 3), (1024, 1400), (1024, 9999), (1024, 0)] {
        fs::write(dir.join("pruned"), Pruned { minimum, record }.encode()).unwrap();
        let report = verify_dir(&dir, &VerifyOptions::default());
        assert_eq!(report.findings[0].file, "pruned", "{minimum} {record}");
        assert!(report.findings.iter().filter(|found| found.kind == FindingKind::Missing).count() >= 4);
    }
    // What is announced may be gone, and no more.
    fs::remove_file(dir.join("pruned")).unwrap();
    pruner.announce(ENTRIES + 3).unwrap();
    let report = verify_dir(&dir, &VerifyOptions::default());
    let missing: Vec<_> = report.findings.iter().map(|found| found.first_index).collect();
    assert_eq!((report.pruned, missing), (512, vec![Some(512), Some(768)]));
    // A hash tile must not be gone.
    fs::remove_file(dir.join(TileId::full(TileKind::Hashes(0), 0).path())).unwrap();
    let report = verify_dir(&dir, &VerifyOptions::default());
    assert!(!report.is_sound() && report.findings[0].first_index == Some(0), "{report}");
}

#[test]
fn whatever_fails_on_the_way_pruning_goes_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let dir = log(dir.path(), vec![announcement(1280, "broker")]);
    let mut whole = false;
    for operations in 0.. {
        let faults = Faults::after(operations);
        let pruner = Pruner { home: Home::new(&dir), disk: Disk { faults } };
        let reader = LogReader::new(&dir);
        let done = match reader.minimum().unwrap() {
            0 => pruner.announce(ENTRIES).and_then(|_| pruner.sweep()),
            _ => pruner.sweep(),
        };
        assert!(is_sound(&dir).0, "after {operations} operations");
        if done.is_ok() {
            whole = true;
            break;
        }
    }
    assert!(whole);
    assert_eq!(is_sound(&dir), (true, 1280));
}

proptest! {
    #[test]
    fn no_bytes_bring_the_reader_down(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Pruned::parse(&bytes);
        let _ = Pruned::said_by(7, &bytes);
    }

    #[test]
    fn what_is_written_reads_back(minimum: u64, record: u64) {
        let pruned = Pruned { minimum, record };
        prop_assert_eq!(Pruned::parse(&pruned.encode()), Some(pruned));
    }
}
