//! Opening: identity, lock, segments, restarts.

use std::fs;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::digest::ExchangeKey;
use crate::journal::{AppendError, check, recover};
use crate::keys::KeyRow;

/// Enough records for several segments, one group commit each.
fn fill(journal: &Journal, records: u64) {
    let handle = journal.handle();
    for n in 0..records {
        commit(&handle, [denial(n), vec![0; 0]].concat());
    }
}

#[test]
fn a_new_journal_has_an_epoch_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(&dir.path().join("deep/journal"));
    assert_eq!(journal.epoch(), 1_763_700_000_000);
    assert_eq!((journal.last_seq(), journal.durable_seq(), journal.backlog().records), (0, 0, 0));
    assert!(journal.failure().is_none());
    drop(journal);
    let later = Journal::open(dir.path().join("deep/journal"), options(), now() + PATIENCE).unwrap();
    assert_eq!(later.epoch(), 1_763_700_000_000, "the epoch stays");
}

#[test]
fn records_survive_many_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options();
    options.backlog_bytes_max = 1024 * 1024;
    let mut total = 0;
    for round in 0..4 {
        let journal = Journal::open(dir.path(), options.clone(), now()).unwrap();
        assert_eq!(journal.durable_seq(), total);
        assert_eq!(journal.backlog().records, total);
        fill(&journal, 150 + round);
        total += 150 + round;
        assert_eq!(journal.last_seq(), total);
        if round % 2 == 0 {
            journal.close().unwrap();
        }
    }
    let checked = check(dir.path()).unwrap();
    assert_eq!((checked.first_seq, checked.last_seq), (1, total));
    let segments = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".journal"));
    assert!(segments.count() >= 5);
}

#[test]
fn bounds_of_options_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let bad = [
        JournalOptions { node: String::new(), ..options() },
        JournalOptions { node: "a\nb".to_owned(), ..options() },
        JournalOptions { segment_bytes_max: 100, ..options() },
        JournalOptions { segment_bytes_max: 1 << 40, ..options() },
        JournalOptions { backlog_bytes_max: u64::MAX, ..options() },
    ];
    for options in bad {
        let error = Journal::open(dir.path(), options, now()).unwrap_err();
        assert!(matches!(error, JournalError::Option { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn one_process_and_one_node_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let error = Journal::open(dir.path(), options(), now()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(journal);
    let other = JournalOptions { node: "G12/node-1".to_owned(), ..options() };
    let error = Journal::open(dir.path(), other, now()).unwrap_err();
    assert!(matches!(error, JournalError::Node { .. }), "{error}");
    open(dir.path());
}

#[test]
fn what_is_missing_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let wide = JournalOptions { backlog_bytes_max: 1024 * 1024, ..options() };
    let journal = Journal::open(dir.path(), wide.clone(), now()).unwrap();
    fill(&journal, 400);
    let segments = journal.shared.folder.segments().unwrap();
    let path = |seq: u64| journal.shared.folder.segment(seq);
    let (first, second, last) = (path(1), path(segments[1]), path(*segments.last().unwrap()));
    drop(journal);
    let reopen = || Journal::open(dir.path(), wide.clone(), now()).map(drop);
    let without = |path: &Path| {
        let aside = dir.path().join("aside");
        fs::rename(path, &aside).unwrap();
        let error = reopen().unwrap_err();
        fs::rename(&aside, path).unwrap();
        reopen().unwrap();
        error
    };
    assert!(matches!(without(&first), JournalError::Missing { first_seq: 1, .. }));
    let error = without(&second);
    assert!(matches!(error, JournalError::Damaged { seq, .. } if seq == segments[1]), "{error}");
    let error = without(&dir.path().join("identity"));
    assert!(matches!(error, JournalError::File { .. }), "{error}");
    // A journal cut back by a whole segment is told by what was acknowledged.
    fs::write(dir.path().join("acknowledged"), format!("{} 400 401\n", 1_763_700_000_000_u64)).unwrap();
    let error = without(&last);
    assert!(matches!(error, JournalError::RolledBack { acknowledged: 400, .. }), "{error}");
    fs::write(dir.path().join("acknowledged"), "7 400 401\n").unwrap();
    assert!(matches!(reopen().unwrap_err(), JournalError::File { .. }));
}

#[test]
fn a_making_cut_short_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::remove_file(dir.path().join("identity")).unwrap();
    let journal = open(dir.path());
    assert_eq!(commit(&journal.handle(), denial(1)).seq, 1);
}

#[test]
fn too_large_a_record_is_refused_and_takes_no_number() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let handle = journal.handle();
    assert_eq!(handle.append(vec![0; 4097]), Err(AppendError::TooLarge { bytes: 4097 }));
    assert_eq!(commit(&handle, vec![0; 4096]).seq, 1);
    drop(journal);
    assert_eq!(handle.append(b"x"), Err(AppendError::Closed));
    assert!(matches!(wait(&handle, 2), Err(JournalError::Closed)));
    assert!(wait(&handle, 1).is_ok());
}

#[test]
fn keys_are_found_before_and_after_they_reach_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: u8| KeyRow { exchange: [n; 16], key: ExchangeKey::from_bytes([n; 32]), salt: [n; 16] };
    let journal = open(dir.path());
    let handle = journal.handle();
    for n in 1..=3 {
        handle.append_with_keys(opening(u64::from(n)), row(n)).unwrap();
    }
    handle.keep_keys(row(4)).unwrap();
    assert_eq!(journal.keys().erase(&[2; 16]).unwrap(), 1);
    assert_eq!(journal.keys().find(&[3; 16]).unwrap(), vec![row(3)]);
    journal.close().unwrap();
    let journal = open(dir.path());
    let found = [1, 2, 3, 4].map(|n| journal.keys().find(&[n; 16]).unwrap());
    assert_eq!(found, [vec![row(1)], vec![], vec![row(3)], vec![row(4)]]);
    // While it runs, rows reach the file by themselves.
    journal.handle().keep_keys(row(5)).unwrap();
    let path = dir.path().join("keys/00000001.keys");
    let deadline = std::time::Instant::now() + PATIENCE;
    while fs::metadata(&path).unwrap().len() < 4 * 72 {
        assert!(std::time::Instant::now() < deadline, "the row did not reach its file");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(journal.keys().find(&[5; 16]).unwrap(), vec![row(5)]);
}

#[test]
fn a_crash_leaves_orphans_and_a_sweep_closes_them_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let handle = journal.handle();
    let tickets: Vec<_> = (0..6).map(|n| handle.append(opening(n)).unwrap()).collect();
    for n in [0, 2, 5] {
        handle.append(closing(n as u64, &tickets[n])).unwrap();
    }
    handle.append(denial(77)).unwrap();
    journal.close().unwrap();

    let journal = open(dir.path());
    let orphans = journal.sweep();
    let expected: Vec<_> = [1, 3, 4].map(|n: usize| (tickets[n].seq, tickets[n].leaf_hash)).to_vec();
    assert_eq!(orphans.iter().map(|orphan| (orphan.seq, orphan.leaf_hash)).collect::<Vec<_>>(), expected);
    for orphan in &orphans {
        let closing = orphan.closing([8; 16], prost_types::Timestamp::from(now()));
        let bytes = record::encode(&closing).unwrap();
        assert_eq!(record::kind(&bytes), record::Kind::Closing(Some(orphan.leaf_hash)));
        commit(&journal.handle(), bytes);
    }
    journal.close().unwrap();
    assert_eq!(open(dir.path()).sweep(), vec![]);
}

#[test]
fn a_segment_is_read_to_its_last_byte_whatever_holes_a_crash_left() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment");
    let file = fs::File::create(&path).unwrap();
    crate::journal::disk::SystemDisk.reserve(&file, 1 << 20).unwrap();
    let mut bytes = vec![1];
    recover::read_written(&path, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0));
    for (at, byte) in [(0, 7), (300_000, 9)] {
        file.write_all_at(&[byte], at).unwrap();
    }
    file.sync_all().unwrap();
    recover::read_written(&path, &mut bytes).unwrap();
    assert_eq!((bytes[0], bytes[300_000]), (7, 9));
    assert!(bytes[1..300_000].iter().chain(&bytes[300_001..]).all(|byte| *byte == 0));
}
