//! The log on a real disk: what is acknowledged stays, what disagrees is refused.

use std::collections::HashSet;
use std::sync::Mutex;

use super::disk::faults::Faults;
use super::*;
use crate::hash::leaf_hash;
use crate::note::{KeyKind, SigningKey};
use crate::policy::Policy;

const ORIGIN: &str = "log.example/audit";
const SEED: [u8; 32] = [42; 32];

/// An interval that never passes within a test: publishing happens at close only.
const NEVER_MS: u64 = 3_600_000;

fn key() -> LogKey {
    LogKey::new(SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &SEED).unwrap()).unwrap()
}

fn options(publish_interval_ms: u64) -> LogOptions {
    LogOptions { publish_interval_ms, ..LogOptions::default() }
}

fn create_log(dir: &Path, publish_interval_ms: u64) -> Log {
    Log::create(dir, ORIGIN, key(), &options(publish_interval_ms)).unwrap()
}

fn open_log(dir: &Path) -> Result<Log, LogError> {
    Log::open(dir, ORIGIN, key(), &options(NEVER_MS))
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}

fn entries(numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    numbers.map(entry).collect()
}

/// Copies a log that may be running: a temporary file or a finished segment may go while it is looked at.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        let copied = match file.file_type() {
            Ok(kind) if kind.is_dir() => {
                copy(&file.path(), &target);
                continue;
            }
            Ok(_) => fs::copy(file.path(), target),
            Err(error) => Err(error),
        };
        assert!(copied.is_ok() || !file.path().exists(), "{:?}: {copied:?}", file.path());
    }
}

/// A log of three group commits of two entries each, acknowledged but not published, as a crash leaves it.
fn crashed(dir: &Path) {
    let running = dir.join("running");
    let log = create_log(&running, NEVER_MS);
    for first in [0, 2, 4] {
        log.append_blocking(entries(first..first + 2)).unwrap();
    }
    copy(&running, &dir.join("crashed"));
}

#[test]
fn entries_get_consecutive_indexes_and_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = create_log(&dir, 1);
    for (first, count) in [(0, 1), (1, 300), (301, 4)] {
        let receipt = log.append_blocking(entries(first..first + count)).unwrap();
        assert_eq!((receipt.first_index, receipt.count, &*receipt.origin), (first, count, ORIGIN));
        let checkpoint = Checkpoint::open(&receipt.checkpoint, &log.verifier()).unwrap();
        assert_eq!(checkpoint.size, first + count);
    }
    log.close().unwrap();

    let log = open_log(&dir).unwrap();
    assert_eq!((log.size(), log.status().published_size), (305, 305));
    assert_eq!(log.append_blocking(entries(305..306)).unwrap().first_index, 305);
    log.close().unwrap();

    let reader = LogReader::new(&dir);
    assert_eq!(reader.entries(0..306).unwrap(), entries(0..306));
    assert_eq!(reader.entries(254..258).unwrap(), entries(254..258));
    assert!(matches!(reader.entries(0..307), Err(LogError::Range { size: 306, .. })));
    let policy = Policy::for_log(key().verifier().clone());
    for index in [0, 255, 256, 304, 305] {
        reader.prove(index).unwrap().unwrap().verify(&leaf_hash(&entry(index)), &policy).unwrap();
    }
    assert_eq!(reader.prove(306).unwrap(), None);
}

#[tokio::test]
async fn appends_from_tasks_are_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let log = create_log(&dir.path().join("log"), 1);
    let mut published = log.published();
    let appends = (0..50).map(|number| log.append(entries(number..number + 1))).collect::<Vec<_>>();
    for (number, append) in (0..).zip(appends) {
        assert_eq!(append.await.unwrap().first_index, number);
    }
    assert_eq!(*published.wait_for(|size| *size == 50).await.unwrap(), 50);
    assert_eq!(log.reader().size().unwrap(), 50);
}

#[test]
fn many_threads_never_share_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let log = create_log(&dir.path().join("log"), 1);
    let given = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in 0..8_u64 {
            let (log, given) = (&log, &given);
            scope.spawn(move || {
                for round in 0..40 {
                    let sent = entries(
                        writer * 1_000_000 + round * 10..writer * 1_000_000 + round * 10 + 1 + round % 7,
                    );
                    let first = log.append_blocking(sent.clone()).unwrap().first_index;
                    given.lock().unwrap().extend((first..).zip(sent));
                }
            });
        }
    });
    let dir = log.reader();
    log.close().unwrap();
    let mut given = given.into_inner().unwrap();
    given.sort();
    assert!(given.iter().map(|(index, _)| *index).eq(0..given.len() as u64));
    let stored = dir.entries(0..given.len() as u64).unwrap();
    assert!(given.into_iter().map(|(_, entry)| entry).eq(stored));
}

#[test]
fn creation_is_explicit_and_never_over_something() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, used) = (dir.path().join("empty"), dir.path().join("used"));
    fs::create_dir(&empty).unwrap();
    assert!(matches!(open_log(&empty), Err(LogError::NotALog(_))));
    assert!(matches!(open_log(&dir.path().join("absent")), Err(LogError::NotALog(_))));
    create_log(&empty, NEVER_MS).close().unwrap();

    create_log(&used, NEVER_MS).close().unwrap();
    let again = || Log::create(&used, ORIGIN, key(), &options(NEVER_MS));
    assert!(matches!(again(), Err(LogError::NotEmpty(_))));
    fs::remove_dir_all(used.join("wal")).unwrap();
    assert!(matches!(again(), Err(LogError::NotEmpty(_))));
    assert!(matches!(open_log(&used), Err(LogError::NotALog(_))));
    // Nothing half-made stays beside it.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn one_writer_one_key_one_origin() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = create_log(&dir, NEVER_MS);
    assert!(matches!(open_log(&dir), Err(LogError::Locked(_))));
    log.close().unwrap();
    let other = LogKey::generate(ORIGIN).unwrap();
    assert!(matches!(Log::open(&dir, ORIGIN, other, &options(1)), Err(LogError::Key { .. })));
    assert!(matches!(Log::open(&dir, "other", key(), &options(1)), Err(LogError::Key { .. })));
    let witness = SigningKey::generate(ORIGIN, KeyKind::CosignatureV1).unwrap();
    assert!(LogKey::new(witness).is_err());
    assert!(open_log(&dir).is_ok());
}

#[test]
fn bounds_are_errors_and_nothing_of_a_refused_append_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let log = create_log(&dir.path().join("log"), NEVER_MS);
    assert!(matches!(log.append_blocking(vec![]), Err(LogError::Empty)));
    let oversized = log.append_blocking(vec![vec![0; 4096], vec![0; 4097]]);
    assert!(matches!(oversized, Err(LogError::EntryTooLong { position: 1, bytes: 4097, bytes_max: 4096 })));
    let many = log.append_blocking(vec![vec![]; APPEND_ENTRIES_MAX + 1]);
    assert!(matches!(many, Err(LogError::AppendTooLarge { entries: 4097, .. })));
    let large = log.append_blocking(vec![vec![0; 4096]; APPEND_BYTES_MAX / 4096 + 1]);
    assert!(matches!(large, Err(LogError::AppendTooLarge { .. })));
    assert_eq!(log.size(), 0);
    assert_eq!(log.append_blocking(vec![vec![0; 4096]; APPEND_BYTES_MAX / 4096]).unwrap().count, 2048);
    assert_eq!(log.append_blocking(vec![vec![]; APPEND_ENTRIES_MAX]).unwrap().first_index, 2048);
    log.close().unwrap();

    let dir = dir.path().join("long");
    let longest = LogOptions { entry_bytes_max: 65_535, ..options(NEVER_MS) };
    let log = Log::create(&dir, ORIGIN, key(), &longest).unwrap();
    log.append_blocking(vec![vec![7; 65_535], vec![]]).unwrap();
    log.close().unwrap();
    assert_eq!(LogReader::new(&dir).entries(0..2).unwrap(), [vec![7; 65_535], vec![]]);
    for wrong in [0, 65_536] {
        let wrong = LogOptions { entry_bytes_max: wrong, ..options(1) };
        assert!(matches!(Log::open(&dir, ORIGIN, key(), &wrong), Err(LogError::Option(_))));
    }
}

#[test]
fn a_full_queue_pushes_back_and_a_closed_one_refuses() {
    let start = recover::Position { segment: 0, offset: 0 };
    let shared = Shared::new(start, 0, 0);
    let submit = |count| {
        let (reply, outcome) = std::sync::mpsc::sync_channel(1);
        shared.submit(Append { entries: entries(0..count), bytes: 1, reply: Reply::Thread(reply) });
        outcome
    };
    let waiting = (0..QUEUE_ENTRIES_MAX as u64 / 1024).map(|_| submit(1024)).collect::<Vec<_>>();
    assert!(matches!(submit(1).try_recv(), Ok(Err(LogError::Busy { entries: QUEUE_ENTRIES_MAX, .. }))));
    assert!(waiting.iter().all(|outcome| outcome.try_recv().is_err()));
    assert_eq!(shared.next_group().unwrap().len(), APPEND_ENTRIES_MAX / 1024);
    submit(1);
    shared.close();
    assert!(matches!(submit(1).try_recv(), Ok(Err(LogError::Closed))));
    assert!(shared.next_group().is_some(), "what was queued before is still written");
    shared.fail("the disk is gone");
    assert!(waiting.iter().skip(8).all(|outcome| matches!(outcome.try_recv(), Ok(Err(LogError::Fatal(_))))));
    assert!(shared.next_group().is_none());
}

/// The write-ahead log cut off at every offset. Everything in it was acknowledged, so every cut is refused; without the
/// stored head the cut looks like a crash while writing, and exactly the whole commits before it are kept.
#[test]
fn a_write_ahead_log_cut_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let (whole, case) = (dir.path().join("crashed"), dir.path().join("case"));
    let segment = Home::new(&whole).segment(0);
    let bytes = fs::read(&segment).unwrap();
    let frame = (bytes.len() - wal::SEGMENT_HEADER_BYTES) / 3;
    copy(&whole, &case);
    for length in 0..bytes.len() {
        fs::write(Home::new(&case).segment(0), &bytes[..length]).unwrap();
        fs::copy(whole.join("wal/head"), case.join("wal/head")).unwrap();
        match open_log(&case) {
            Err(LogError::Behind { claimed: 6, .. }) if length >= wal::SEGMENT_HEADER_BYTES => {}
            Err(LogError::Corrupt { offset: 0, .. }) if length < wal::SEGMENT_HEADER_BYTES => {}
            other => panic!("cut at {length}: {other:?}"),
        }
        fs::write(case.join("wal/head"), []).unwrap();
        match open_log(&case) {
            Ok(log) => {
                let commits = (length - wal::SEGMENT_HEADER_BYTES) / frame;
                assert_eq!(log.size(), 2 * commits as u64, "cut at {length}");
                if length % 16 == 0 {
                    assert_eq!(log.append_blocking(entries(0..1)).unwrap().first_index, 2 * commits as u64);
                }
                drop(log);
                fs::remove_dir_all(&case).unwrap();
                copy(&whole, &case);
            }
            Err(LogError::Corrupt { .. }) if length < wal::SEGMENT_HEADER_BYTES => {}
            other => panic!("cut at {length}: {other:?}"),
        }
    }
}

/// One bit flipped at every offset: always refused when the stored head is there; without it, only the last commit can
/// be mistaken for a torn write.
#[test]
fn a_write_ahead_log_flipped_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let (whole, case) = (dir.path().join("crashed"), dir.path().join("case"));
    let bytes = fs::read(Home::new(&whole).segment(0)).unwrap();
    let last_frame = bytes.len() - (bytes.len() - wal::SEGMENT_HEADER_BYTES) / 3;
    copy(&whole, &case);
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(Home::new(&case).segment(0), &flipped).unwrap();
        fs::copy(whole.join("wal/head"), case.join("wal/head")).unwrap();
        match open_log(&case) {
            Err(LogError::Corrupt { offset, .. }) if at < last_frame => assert!(offset <= at as u64),
            Err(LogError::Behind { claimed: 6, size: 4, .. }) if at >= last_frame => {}
            other => panic!("flip at {at}: {other:?}"),
        }
        fs::write(case.join("wal/head"), []).unwrap();
        match open_log(&case) {
            Err(LogError::Corrupt { .. }) if at < last_frame => {}
            Ok(log) if at >= last_frame => {
                assert_eq!(log.size(), 4);
                drop(log);
                fs::remove_dir_all(&case).unwrap();
                copy(&whole, &case);
            }
            other => panic!("flip at {at}: {other:?}"),
        }
    }
}

#[test]
fn junk_after_the_last_commit_is_dropped_but_not_more_than_one_write() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path());
    let case = dir.path().join("crashed");
    let segment = Home::new(&case).segment(0);
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, [&bytes[..], &[0; 5000]].concat()).unwrap();
    let log = open_log(&case).unwrap();
    assert_eq!(log.size(), 6);
    assert_eq!(fs::read(&segment).unwrap(), bytes);
    log.close().unwrap();
    fs::write(&segment, [&bytes[..], &vec![0; FRAME_BYTES_MAX + 1]].concat()).unwrap();
    assert!(matches!(open_log(&case), Err(LogError::Corrupt { .. })));
}

/// The disk dies at its n-th operation, for every n of a whole session. What was acknowledged before is there after
/// the restart, at the index in its receipt, and nothing else but what was sent.
#[test]
fn a_disk_that_dies_at_any_operation_loses_nothing_acknowledged() {
    let mut deaths = 0;
    for operations in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("log");
        create_log(&dir, NEVER_MS).append_blocking(entries(0..250)).unwrap();
        let disk = Disk { faults: Faults::after(operations) };
        let mut acknowledged = 250;
        let mut sent = 250;
        let mut died = true;
        if let Ok(log) = Log::open_on(&dir, key().into(), &options(0), disk) {
            for count in [3, 260] {
                sent += count;
                match log.append_blocking(entries(sent - count..sent)) {
                    Ok(receipt) => {
                        assert_eq!((receipt.first_index, receipt.count), (acknowledged, count));
                        assert_eq!(acknowledged + count, sent, "nothing is acknowledged after a failure");
                        acknowledged += count;
                    }
                    Err(error) => assert!(matches!(error, LogError::Fatal(_)), "{error}"),
                }
            }
            died = log.close().is_err();
        }
        let log = open_log(&dir).unwrap_or_else(|error| panic!("after {operations} operations: {error}"));
        let size = log.size();
        assert!((acknowledged..=sent).contains(&size));
        log.close().unwrap();
        assert_eq!(LogReader::new(&dir).entries(0..size).unwrap(), entries(0..size));
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 30, "only {deaths} operations were tried");
}

/// The order in which bytes reach the disk is the whole promise: entries before the receipt, tiles before the checkpoint.
#[test]
fn nothing_is_said_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    create_log(&dir, NEVER_MS).close().unwrap();
    let disk = Disk::default();
    let faults = disk.faults.clone();
    let log = Log::open_on(&dir, key().into(), &options(NEVER_MS), disk).unwrap();
    let opened = faults.done().len();
    log.append_blocking(entries(0..300)).unwrap();
    let at_receipt = faults.done().split_off(opened);
    let under = |path: &str| dir.join(path).display().to_string();
    let segment = under("wal/00000000000000000000.wal");
    assert_eq!(at_receipt[..2], [format!("write {segment}"), format!("flush {segment}")]);
    assert_eq!(at_receipt[2], format!("write {}", under("wal/head")));

    log.close().unwrap();
    let done = faults.done();
    let position = |operation: String| done.iter().position(|done| *done == operation).expect(&operation);
    let published = position(format!("rename a new file to {}", under("checkpoint")));
    for (tile, folder) in [
        ("tile/entries/000", "tile/entries"),
        ("tile/0/000", "tile/0"),
        ("tile/entries/001.p/44", "tile/entries/001.p"),
        ("tile/0/001.p/44", "tile/0/001.p"),
        ("tile/1/000.p/1", "tile/1/000.p"),
    ] {
        let renamed = position(format!("rename a new file to {}", under(tile)));
        assert_eq!(done[renamed - 1], format!("flush {}", under("wal/publish.tmp")), "{tile}");
        let flushed = done.iter().rposition(|done| *done == format!("flush the folder {}", under(folder)));
        assert!((renamed..published).contains(&flushed.unwrap()), "{tile}");
    }
    for folder in ["", "tile", "tile/0", "tile/entries", "tile/1"] {
        let operation = format!("flush the folder {}", under(folder).trim_end_matches('/'));
        assert!(position(operation) < published, "{folder}");
    }
}

#[test]
fn segments_rotate_and_go_once_published() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let log = create_log(&dir, NEVER_MS);
    let batch = vec![vec![3; 4096]; 2048];
    for _ in 0..20 {
        log.append_blocking(batch.clone()).unwrap();
    }
    let home = Home::new(&dir);
    let segments = home.segments().unwrap();
    assert_eq!(segments, [0, 8 * 2048, 16 * 2048], "64 MiB each");
    // As after a crash: three segments to replay, nothing published.
    let crashed = dir.with_file_name("crashed");
    copy(&dir, &crashed);
    log.close().unwrap();
    assert_eq!(home.segments().unwrap(), [16 * 2048]);

    let log = open_log(&crashed).unwrap();
    assert_eq!(log.size(), 20 * 2048);
    log.close().unwrap();
    assert_eq!(Home::new(&crashed).segments().unwrap(), [16 * 2048]);
    assert_eq!(fs::read(crashed.join("checkpoint")).unwrap(), fs::read(dir.join("checkpoint")).unwrap());
    // The replay now starts in the middle of the tree, from published tiles.
    let log = open_log(&crashed).unwrap();
    assert_eq!(log.append_blocking(entries(0..1)).unwrap().first_index, 20 * 2048);
    log.close().unwrap();

    // A segment in the middle is not missed silently.
    let gap = dir.with_file_name("gap");
    copy(&crashed, &gap);
    fs::rename(Home::new(&gap).segment(16 * 2048), Home::new(&gap).segment(99_999)).unwrap();
    assert!(matches!(open_log(&gap), Err(LogError::Corrupt { .. })));
}

#[test]
fn every_published_checkpoint_has_its_tiles() {
    let dir = tempfile::tempdir().unwrap();
    let log = create_log(&dir.path().join("log"), 0);
    let reader = log.reader();
    let mut seen = HashSet::new();
    let policy = Policy::for_log(log.verifier());
    for round in 0..120_u64 {
        let first = round * 37;
        log.append_blocking(entries(first..first + 37)).unwrap();
        let size = reader.checkpoint(&log.verifier()).unwrap().size;
        if size > 0 && seen.insert(size) {
            let index = size * round / 120;
            let proof = reader.prove(index).unwrap().unwrap();
            proof.verify(&leaf_hash(&entry(index)), &policy).unwrap();
            assert_eq!(reader.entries(size - 1..size).unwrap(), [entry(size - 1)]);
        }
    }
    assert!(seen.len() > 3, "only {} checkpoints were published", seen.len());
    // Partial tiles are gone once their full tile is published.
    log.close().unwrap();
    let tiles = dir.path().join("log/tile/0");
    let partial =
        fs::read_dir(&tiles).unwrap().filter(|file| file.as_ref().unwrap().path().extension().is_some());
    assert_eq!(partial.count(), 1, "only the last tile is still partial");
}

#[test]
fn a_log_that_lags_behind_what_others_saw_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (current, backup) = (dir.path().join("current"), dir.path().join("backup"));
    let log = create_log(&current, NEVER_MS);
    let early = log.append_blocking(entries(0..5)).unwrap();
    log.close().unwrap();
    copy(&current, &backup);
    let log = open_log(&current).unwrap();
    let late = log.append_blocking(entries(5..9)).unwrap();
    log.close().unwrap();

    let open = |dir: &Path, seen: &[&Receipt]| {
        let seen = seen.iter().map(|receipt| receipt.checkpoint.to_string()).collect();
        Log::open(dir, ORIGIN, key(), &LogOptions { seen, ..options(NEVER_MS) })
    };
    assert!(open(&current, &[&early, &late]).is_ok());
    let behind = open(&backup, &[&early, &late]);
    assert!(matches!(behind, Err(LogError::Behind { claimed: 9, size: 5, .. })), "{behind:?}");
    // The restored backup goes on with other entries: from then on it is a fork.
    let log = open(&backup, &[&early]).unwrap();
    log.append_blocking(entries(100..110)).unwrap();
    log.close().unwrap();
    assert!(matches!(open(&backup, &[&late]), Err(LogError::Forked { size: 9, .. })));
    // A checkpoint of another log is no claim about this one.
    let stranger =
        Checkpoint::new(ORIGIN, 3, EMPTY_ROOT).sign(LogKey::generate(ORIGIN).unwrap().signing_key());
    let seen = vec![stranger.unwrap().to_string()];
    let refused = Log::open(&current, ORIGIN, key(), &LogOptions { seen, ..options(1) });
    assert!(matches!(refused, Err(LogError::Checkpoint { .. })));
}

#[test]
fn a_published_checkpoint_that_the_write_ahead_log_does_not_reach_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    let log = create_log(&new, NEVER_MS);
    log.append_blocking(entries(0..5)).unwrap();
    log.close().unwrap();
    copy(&new, &old);
    let log = open_log(&new).unwrap();
    log.append_blocking(entries(5..9)).unwrap();
    log.close().unwrap();
    // The public part survived, the private part was restored from yesterday.
    fs::remove_dir_all(new.join("wal")).unwrap();
    copy(&old.join("wal"), &new.join("wal"));
    assert!(matches!(open_log(&new), Err(LogError::Behind { claimed: 9, size: 5, .. })));
}

#[test]
fn damage_to_the_published_files_is_found_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (log_dir, case) = (dir.path().join("log"), dir.path().join("case"));
    let log = create_log(&log_dir, NEVER_MS);
    log.append_blocking(entries(0..300)).unwrap();
    log.close().unwrap();
    for file in ["checkpoint", "wal/identity", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
        let mut bytes = fs::read(log_dir.join(file)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let _ = fs::remove_dir_all(&case);
        copy(&log_dir, &case);
        fs::write(case.join(file), &bytes).unwrap();
        assert!(open_log(&case).is_err(), "{file} was changed");
        fs::remove_file(case.join(file)).unwrap();
        assert!(open_log(&case).is_err(), "{file} is missing");
    }
}

#[test]
fn the_key_changes_while_the_log_runs_and_every_state_on_the_way_opens() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let second = || LogKey::new(SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[43; 32]).unwrap()).unwrap();
    let (old, new) =
        (Policy::for_log(key().verifier().clone()), Policy::for_log(second().verifier().clone()));
    let log = create_log(&dir, 1);
    let believed = |log: &Log, number: u64| {
        let receipt = log.append_blocking(vec![entry(number)]).unwrap();
        let mut published = log.published();
        while *published.borrow_and_update() <= receipt.first_index {
            thread::yield_now();
        }
        let published = log.reader().checkpoint_note().unwrap();
        let by = |note: &str| (old.judge(note).is_ok(), new.judge(note).is_ok());
        assert_eq!(by(&receipt.checkpoint), by(&published));
        by(&published)
    };
    assert_eq!(believed(&log, 0), (true, false));
    let signer = log.signer();
    let stranger = LogKey::generate("log.example/other").unwrap();
    assert!(signer.change(second(), Some(stranger)).is_err());
    signer.change(key(), Some(second())).unwrap();
    assert_eq!(believed(&log, 1), (true, true), "around the change both believe it");
    copy(&dir, &folder.path().join("overlap"));
    signer.change(second(), None).unwrap();
    assert_eq!(believed(&log, 2), (false, true));
    log.close().unwrap();

    // Where both had signed, either key goes on; afterwards only the new one does.
    let open = |name: &str, key: LogKey, may_succeed| {
        let options = LogOptions { may_succeed, ..options(NEVER_MS) };
        Log::open(&folder.path().join(name), ORIGIN, key, &options).map(|log| log.size())
    };
    assert!(matches!(open("overlap", second(), false), Err(LogError::Key { .. })));
    assert_eq!(open("overlap", second(), true).unwrap(), 2);
    assert_eq!(open("log", second(), false).unwrap(), 3);
    assert!(matches!(open("log", key(), false), Err(LogError::Key { .. })));
    // A key that the operator names takes over even where the one before is lost.
    let third = LogKey::generate(ORIGIN).unwrap();
    assert_eq!(open("log", third, true).unwrap(), 3);
}
