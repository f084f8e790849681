//! What is whole passes: copies, logs of every shape, what a crash leaves, a log at work.

use std::cell::RefCell;
use std::fs;

use lienthong_audit::log::{Log, LogOptions};
use lienthong_audit::verify::{FindingKind, Progress, Verdict, VerifyOptions, verify_dir};

use crate::bench::{
    Bench, ORIGIN, SIZE, assert_found, assert_sound, copy, entry, files, grow, key, policy, verify,
};

#[test]
fn untouched_copies_pass() {
    let bench = Bench::new();
    let report = verify(&bench.case());
    assert_sound(&report, Verdict::Verified);
    assert_eq!((report.entries, report.signers.len()), (SIZE, 1));
    assert_eq!(report.computed_root, Some(report.checkpoint.as_ref().unwrap().root));
    assert_eq!(report.files, files(&bench.log()).len() as u64);
    assert_sound(&verify(&bench.public_case()), Verdict::Verified);
    let without_policy = verify_dir(&bench.case(), &VerifyOptions::default());
    assert_sound(&without_policy, Verdict::IntegrityOnly);
    assert!(without_policy.to_string().ends_with("verdict    INTEGRITY ONLY, SIGNER NOT JUDGED\n"));
    // Partial tiles may go once their full tile is there.
    let case = bench.case();
    fs::remove_dir_all(case.join("tile/0/000.p")).unwrap();
    fs::remove_file(case.join("tile/entries/000.p/100")).unwrap();
    assert_sound(&verify(&case), Verdict::Verified);
}

#[test]
fn logs_of_every_shape_pass() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 255, 256, 257, 512, 65_535, 65_536, 65_537, 66_000] {
        let log = dir.path().join(size.to_string());
        grow(&log, 0..size);
        let done = RefCell::new(Vec::new());
        let progress = |progress: Progress| done.borrow_mut().push(progress.entries);
        let options = VerifyOptions { policy: Some(policy()), seen: None, progress: Some(&progress) };
        let report = verify_dir(&log, &options);
        assert_sound(&report, Verdict::Verified);
        assert_eq!(report.entries, size);
        assert_eq!(done.borrow().is_empty(), size < 65_536);
    }
}

/// What a crash leaves: entries in the write-ahead log and tiles on disk that no published checkpoint covers yet.
#[test]
fn unpublished_tiles_are_checked_against_the_write_ahead_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, ahead, case) = (dir.path().join("log"), dir.path().join("ahead"), dir.path().join("case"));
    grow(&log, 0..300);
    let published = fs::read(log.join("checkpoint")).unwrap();
    let wal = log.join("wal");
    copy(&log, &ahead);
    grow(&ahead, 300..1000);
    // The tiles of 1000 entries, the checkpoint of 300, and a write-ahead log over all 1000.
    fs::write(ahead.join("checkpoint"), &published).unwrap();
    fs::remove_dir_all(ahead.join("tile/1")).unwrap();
    copy(&log.join("tile"), &ahead.join("tile"));
    assert_sound(&verify(&ahead), Verdict::Verified);
    for file in ["tile/entries/001", "tile/0/002", "tile/entries/003.p/232", "tile/0/003.p/232"] {
        let _ = fs::remove_dir_all(&case);
        copy(&ahead, &case);
        let mut bytes = fs::read(case.join(file)).unwrap();
        bytes[1500] ^= 4;
        fs::write(case.join(file), bytes).unwrap();
        let finding = assert_found(&verify(&case), FindingKind::Changed, file);
        assert!(finding.bytes.unwrap().contains(&1500));
    }
    // Without the write-ahead log nothing vouches for them.
    fs::remove_dir_all(ahead.join("wal")).unwrap();
    assert_found(&verify(&ahead), FindingKind::Stray, "tile/entries/002");
    copy(&wal, &ahead.join("wal"));
    assert_found(&verify(&ahead), FindingKind::Stray, "tile/entries/002");
}

#[test]
fn a_running_log_can_be_verified() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create(
        &dir.path().join("log"),
        ORIGIN,
        key(),
        &LogOptions { publish_interval_ms: 20, ..LogOptions::default() },
    )
    .unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..300 {
                log.append_blocking((round * 20..round * 20 + 20).map(entry).collect()).unwrap();
            }
        });
        let mut rounds = 0;
        while !writer.is_finished() || rounds == 0 {
            let report = verify(&dir.path().join("log"));
            assert!(report.is_sound(), "{report}");
            rounds += 1;
        }
    });
}
