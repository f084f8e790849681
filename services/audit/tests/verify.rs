//! The verifier against every way of tampering that we could think of. Whatever was changed is found, at its place;
//! what was not changed passes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader};
use lienthong_audit::merkle::Frontier;
use lienthong_audit::note::{KeyKind, Note, SigningKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::tile::{self, TileId, TileKind};
use lienthong_audit::verify::{
    Finding, FindingKind, Progress, Verdict, VerifyOptions, VerifyReport, verify_dir,
};
use proptest::prelude::*;
use tempfile::TempDir;

const ORIGIN: &str = "log.example/audit";

/// The size of the small log: two full bundles, one partial, two levels.
const SIZE: u64 = 600;

fn signing_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()
}

fn key() -> LogKey {
    LogKey::new(signing_key()).unwrap()
}

fn policy() -> Policy {
    Policy::for_log(signing_key().verifier().clone())
}

fn entry(number: u64) -> Vec<u8> {
    format!("entry number {number}").into_bytes()
}

/// Appends entries with the numbers `range` to the log in `dir`, which is created at number 0, and closes it.
fn grow(dir: &Path, range: std::ops::Range<u64>) {
    let options = LogOptions {
        publish_interval_ms: 3_600_000,
        ..LogOptions::default()
    };
    let log = if range.start == 0 {
        Log::create(dir, ORIGIN, key(), &options).unwrap()
    } else {
        Log::open(dir, ORIGIN, key(), &options).unwrap()
    };
    let entries = range.map(entry).collect::<Vec<_>>();
    for append in entries.chunks(4096) {
        log.append_blocking(append.to_vec()).unwrap();
    }
    log.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// All files under a folder, relative to it, sorted.
fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, files: &mut Vec<String>) {
        for file in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = format!("{prefix}{}", file.file_name().to_str().unwrap());
            if file.file_type().unwrap().is_dir() {
                walk(&file.path(), &format!("{path}/"), files);
            } else {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(dir, "", &mut files);
    files.sort();
    files
}

/// A small log with superseded partial tiles still lying around, and a fresh copy of it for each case.
struct Bench {
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let (log, early) = (bench.log(), bench.path("early"));
        grow(&log, 0..100);
        grow(&log, 100..200);
        copy(&log.join("tile"), &early);
        grow(&log, 200..550);
        grow(&log, 550..SIZE);
        for partials in ["0/000.p", "entries/000.p"] {
            copy(&early.join(partials), &log.join("tile").join(partials));
        }
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// An untouched copy.
    fn case(&self) -> PathBuf {
        let case = self.path("case");
        let _ = fs::remove_dir_all(&case);
        copy(&self.log(), &case);
        case
    }

    /// A copy as a static file server publishes it.
    fn public_case(&self) -> PathBuf {
        let case = self.case();
        fs::remove_dir_all(case.join("wal")).unwrap();
        case
    }
}

fn verify(dir: &Path) -> VerifyReport {
    verify_dir(
        dir,
        &VerifyOptions {
            policy: Some(policy()),
            ..VerifyOptions::default()
        },
    )
}

fn verify_seen(dir: &Path, policy: Option<Policy>, seen: &str) -> VerifyReport {
    verify_dir(
        dir,
        &VerifyOptions {
            policy,
            seen: Some(seen.to_owned()),
            progress: None,
        },
    )
}

#[track_caller]
fn assert_found(report: &VerifyReport, kind: FindingKind, file: &str) -> Finding {
    assert_eq!(report.verdict, Verdict::Failed, "{file}\n{report}");
    let found = report
        .findings
        .iter()
        .find(|finding| finding.kind == kind && finding.file == file);
    found
        .unwrap_or_else(|| panic!("no {kind} at {file}:\n{report}"))
        .clone()
}

#[track_caller]
fn assert_sound(report: &VerifyReport, verdict: Verdict) {
    assert_eq!(report.verdict, verdict, "{report}");
    assert_eq!(report.findings, []);
}

#[test]
fn untouched_copies_pass() {
    let bench = Bench::new();
    let report = verify(&bench.case());
    assert_sound(&report, Verdict::Verified);
    assert_eq!((report.entries, report.signers.len()), (SIZE, 1));
    assert_eq!(
        report.computed_root,
        Some(report.checkpoint.as_ref().unwrap().root)
    );
    assert_eq!(report.files, files(&bench.log()).len() as u64);
    assert_sound(&verify(&bench.public_case()), Verdict::Verified);
    let without_policy = verify_dir(&bench.case(), &VerifyOptions::default());
    assert_sound(&without_policy, Verdict::IntegrityOnly);
    assert!(
        without_policy
            .to_string()
            .ends_with("verdict    INTEGRITY ONLY, SIGNER NOT JUDGED\n")
    );
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
        let options = VerifyOptions {
            policy: Some(policy()),
            seen: None,
            progress: Some(&progress),
        };
        let report = verify_dir(&log, &options);
        assert_sound(&report, Verdict::Verified);
        assert_eq!(report.entries, size);
        assert_eq!(done.borrow().is_empty(), size < 65_536);
    }
}

/// One byte of every file, at several places: found, in that file, at that place.
#[test]
fn a_flipped_byte_in_any_file() {
    let bench = Bench::new();
    let mut cases = 0;
    for file in files(&bench.log()) {
        let bytes = fs::read(bench.log().join(&file)).unwrap();
        let step = (bytes.len() / 23).max(1);
        for at in (0..bytes.len()).step_by(step).chain(bytes.len().checked_sub(1)) {
            let case = bench.case();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(case.join(&file), &flipped).unwrap();
            check_flip(&file, at as u64, &verify(&case));
            cases += 1;
        }
    }
    assert!(cases > 300, "{cases} cases");
}

fn check_flip(file: &str, at: u64, report: &VerifyReport) {
    match file.parse::<TileId>() {
        Ok(id) => {
            let finding = assert_found(report, FindingKind::Changed, file);
            assert!(
                finding.bytes.as_ref().unwrap().contains(&at),
                "byte {at} of {file}:\n{report}"
            );
            assert_eq!(report.findings.len(), 1, "one change, one finding:\n{report}");
            if id.kind != TileKind::Entries {
                let span = if id.kind == TileKind::Hashes(1) { 256 } else { 1 };
                assert_eq!(
                    finding.first_index,
                    Some(id.start_leaf().unwrap() + at / 32 * span)
                );
            } else if id.is_full() {
                let lengths =
                    (id.start_leaf().unwrap()..).map(|number| (number, entry(number).len() as u64 + 2));
                let mut end = 0;
                let index = lengths
                    .map(|(number, length)| {
                        (number, {
                            end += length;
                            end
                        })
                    })
                    .find(|(_, end)| at < *end);
                assert_eq!(finding.first_index, index.map(|(number, _)| number));
            }
        }
        Err(_) if file == "checkpoint" => {
            assert!(
                report.findings.iter().any(|finding| finding.file == "checkpoint"),
                "{report}"
            );
            assert_eq!(report.verdict, Verdict::Failed);
        }
        Err(_) => {
            let wal = report
                .findings
                .iter()
                .find(|finding| finding.kind == FindingKind::WriteAheadLog);
            let wal = wal.unwrap_or_else(|| panic!("byte {at} of {file}:\n{report}"));
            assert!(wal.file == file, "{report}");
        }
    }
}

/// Each file removed, emptied, shortened by a byte, lengthened by a byte.
#[test]
fn files_dropped_cut_and_padded() {
    let bench = Bench::new();
    for file in files(&bench.log()) {
        let superseded =
            file.contains("/000.p/") && !file.starts_with("tile/1") || file.ends_with("/002.p/38");
        let case = bench.case();
        fs::remove_file(case.join(&file)).unwrap();
        assert_eq!(verify(&case).is_sound(), superseded, "dropped {file}");

        let bytes = fs::read(bench.log().join(&file)).unwrap();
        let padded = [&bytes[..], b"\0"].concat();
        let is_segment = Path::new(&file)
            .extension()
            .is_some_and(|extension| extension == "wal");
        for (what, changed) in [
            ("emptied", &[][..]),
            ("cut", &bytes[..bytes.len().saturating_sub(1)]),
            ("padded", &padded),
        ] {
            if changed == bytes {
                continue;
            }
            let case = bench.case();
            fs::write(case.join(&file), changed).unwrap();
            let report = verify(&case);
            // Bytes after the last acknowledged commit are what a crash leaves: a note.
            let tolerated = is_segment && what == "padded";
            assert_eq!(report.is_sound(), tolerated, "{what} {file}:\n{report}");
            assert_eq!(report.notes.is_empty(), !tolerated);
            assert!(tolerated || report.findings.iter().any(|finding| finding.file == file));
        }
    }
}

#[test]
fn entries_swapped_reordered_dropped_and_doubled() {
    let bench = Bench::new();
    let bundle = |numbers: &mut dyn Iterator<Item = u64>| tile::encode_bundle(numbers.map(entry)).unwrap();
    for (what, numbers, first_bad) in [
        (
            "swapped neighbours",
            (256..300).chain([301, 300]).chain(302..512).collect::<Vec<_>>(),
            300,
        ),
        ("reversed", (256..512).rev().collect(), 256),
        ("dropped one", (256..400).chain(401..512).collect(), 400),
        (
            "doubled one",
            (256..400).chain([399]).chain(400..511).collect(),
            400,
        ),
        ("one too many", (256..513).collect(), 512),
        ("the bundle before", (0..256).collect(), 256),
    ] {
        for case in [bench.case(), bench.public_case()] {
            fs::write(
                case.join("tile/entries/001"),
                bundle(&mut numbers.iter().copied()),
            )
            .unwrap();
            let finding = assert_found(&verify(&case), FindingKind::Changed, "tile/entries/001");
            assert_eq!(finding.first_index, Some(first_bad), "{what}");
        }
    }
    let case = bench.case();
    fs::rename(case.join("tile/0/000"), case.join("other")).unwrap();
    fs::rename(case.join("tile/0/001"), case.join("tile/0/000")).unwrap();
    fs::rename(case.join("other"), case.join("tile/0/001")).unwrap();
    let report = verify(&case);
    assert_eq!(
        assert_found(&report, FindingKind::Changed, "tile/0/000").first_index,
        Some(0)
    );
    assert_eq!(
        assert_found(&report, FindingKind::Changed, "tile/0/001").first_index,
        Some(256)
    );
}

/// An entry changed together with its leaf hash: only the level above gives it away.
#[test]
fn an_entry_changed_together_with_its_hash() {
    let bench = Bench::new();
    for (bundle, tile, numbers, file, index) in [
        (
            "tile/entries/001",
            "tile/0/001",
            256..512,
            "tile/0/001",
            Some(256),
        ),
        (
            "tile/entries/002.p/88",
            "tile/0/002.p/88",
            512..600,
            "tile/0/002.p/38",
            Some(540),
        ),
    ] {
        let case = bench.case();
        let mut entries = numbers.map(entry).collect::<Vec<_>>();
        entries[28] = b"never happened".to_vec();
        let hashes = entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
        fs::write(case.join(bundle), tile::encode_bundle(&entries).unwrap()).unwrap();
        fs::write(case.join(tile), tile::encode_hashes(&hashes)).unwrap();
        let report = verify(&case);
        assert_eq!(
            assert_found(&report, FindingKind::Changed, file).first_index,
            index
        );
    }
}

#[test]
fn strays_are_found() {
    let bench = Bench::new();
    for stray in [
        "readme.txt",
        "tile/readme",
        "tile/0/002",
        "tile/0/002.p/89",
        "tile/0/003.p/1",
        "tile/0/2",
        "tile/2/000.p/1",
        "tile/entries/003",
        "tile/64/000",
        "wal/notes",
        "wal/1.wal",
        "tile/entries/000.p/x",
        ".hidden",
        "checkpoint.bak",
    ] {
        let case = bench.case();
        fs::create_dir_all(case.join(stray).parent().unwrap()).unwrap();
        fs::write(case.join(stray), b"anything").unwrap();
        assert_found(&verify(&case), FindingKind::Stray, stray);
    }
    let case = bench.case();
    std::os::unix::fs::symlink(case.join("tile/0/000"), case.join("tile/0/link")).unwrap();
    assert_found(&verify(&case), FindingKind::Stray, "tile/0/link");
    let nothing = bench.path("nothing");
    assert_found(&verify(&nothing), FindingKind::Missing, "checkpoint");
}

#[test]
fn forged_checkpoints() {
    let bench = Bench::new();
    let true_checkpoint = LogReader::new(&bench.log())
        .checkpoint(signing_key().verifier())
        .unwrap();
    let forge = |case: &Path, checkpoint: &Checkpoint, key: &SigningKey| {
        let note = checkpoint.sign(key).unwrap().to_string();
        fs::write(case.join("checkpoint"), &note).unwrap();
        note
    };
    // Another root, another size, an absurd size: even signed by the log's own key it fits no file.
    for (size, root) in [
        (SIZE, Hash([1; 32])),
        (SIZE - 1, true_checkpoint.root),
        (SIZE + 1, true_checkpoint.root),
        (u64::MAX, true_checkpoint.root),
    ] {
        for case in [bench.case(), bench.public_case()] {
            forge(&case, &Checkpoint::new(ORIGIN, size, root), &signing_key());
            assert_eq!(verify(&case).verdict, Verdict::Failed, "size {size}");
            assert!(!verify_dir(&case, &VerifyOptions::default()).is_sound());
        }
    }
    // The true content under a fresh key.
    let fresh = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
    let case = bench.public_case();
    forge(&case, &true_checkpoint, &fresh);
    assert_found(&verify(&case), FindingKind::Signer, "checkpoint");
    assert_sound(
        &verify_dir(&case, &VerifyOptions::default()),
        Verdict::IntegrityOnly,
    );
    // A signature of the right key under another text.
    let case = bench.public_case();
    let mut note = Note::new(true_checkpoint.to_string()).unwrap();
    note.add(signing_key().sign("another text\n").unwrap());
    fs::write(case.join("checkpoint"), note.to_string()).unwrap();
    assert_found(&verify(&case), FindingKind::Signer, "checkpoint");
    // A true checkpoint of an earlier size in front of the later files.
    let frontier = (0..550)
        .map(|number| leaf_hash(&entry(number)))
        .collect::<Frontier>();
    let earlier = Checkpoint::new(ORIGIN, 550, frontier.root());
    let case = bench.public_case();
    forge(&case, &earlier, &signing_key());
    assert_found(&verify(&case), FindingKind::Stray, "tile/entries/002.p/88");
}

/// The whole log made anew with another content: internally perfect.
#[test]
fn a_rewritten_log_is_found_by_policy_or_by_what_was_seen() {
    let bench = Bench::new();
    let seen = LogReader::new(&bench.log()).checkpoint_note().unwrap();
    let rewritten = |name: &str, key: LogKey| {
        let dir = bench.path(name);
        let log = Log::create(&dir, ORIGIN, key, &LogOptions::default()).unwrap();
        let other = (0..700).map(|number| entry(number * 2)).collect();
        log.append_blocking(other).unwrap();
        log.close().unwrap();
        dir
    };
    let fresh = rewritten("fresh", LogKey::generate(ORIGIN).unwrap());
    assert_sound(
        &verify_dir(&fresh, &VerifyOptions::default()),
        Verdict::IntegrityOnly,
    );
    assert_found(&verify(&fresh), FindingKind::Signer, "checkpoint");
    let report = verify_seen(&fresh, None, &seen);
    assert_found(&report, FindingKind::Signer, "checkpoint");
    assert_found(&report, FindingKind::Rewritten, "checkpoint");
    // The operator rewrites it with the log's own key: only what was seen gives it away.
    let own = rewritten("own", key());
    assert_sound(&verify(&own), Verdict::Verified);
    assert_found(
        &verify_seen(&own, Some(policy()), &seen),
        FindingKind::Rewritten,
        "checkpoint",
    );
}

#[test]
fn a_log_cut_back_is_found_by_what_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (log, old) = (dir.path().join("log"), dir.path().join("old"));
    grow(&log, 0..300);
    let seen_early = LogReader::new(&log).checkpoint_note().unwrap();
    copy(&log, &old);
    grow(&log, 300..310);
    let seen_late = LogReader::new(&log).checkpoint_note().unwrap();

    assert_sound(&verify_seen(&log, Some(policy()), &seen_early), Verdict::Verified);
    assert_sound(&verify_seen(&log, Some(policy()), &seen_late), Verdict::Verified);
    assert_sound(&verify_seen(&log, None, &seen_early), Verdict::IntegrityOnly);
    assert_sound(&verify_seen(&old, Some(policy()), &seen_early), Verdict::Verified);
    for policy in [Some(policy()), None] {
        let cut = assert_found(
            &verify_seen(&old, policy, &seen_late),
            FindingKind::CutBack,
            "checkpoint",
        );
        assert_eq!(cut.first_index, Some(300));
    }
    // The same with every size in between, and with receipts, which are checkpoints too.
    let mut frontier = Frontier::new();
    for number in 0..310 {
        let seen = Checkpoint::new(ORIGIN, number, frontier.root())
            .sign(&signing_key())
            .unwrap()
            .to_string();
        assert_eq!(verify_seen(&old, Some(policy()), &seen).is_sound(), number <= 300);
        frontier.push_entry(&entry(number));
    }
}

#[test]
fn a_useless_seen_checkpoint_is_said_to_be_so() {
    let bench = Bench::new();
    let seen = "(the checkpoint seen before)";
    assert_found(
        &verify_seen(&bench.log(), Some(policy()), "nonsense"),
        FindingKind::Signer,
        seen,
    );
    let stranger = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
    let strange = Checkpoint::new(ORIGIN, 1, Hash([0; 32]))
        .sign(&stranger)
        .unwrap()
        .to_string();
    assert_found(
        &verify_seen(&bench.log(), Some(policy()), &strange),
        FindingKind::Signer,
        seen,
    );
    let elsewhere = SigningKey::generate("elsewhere.example", KeyKind::Ed25519).unwrap();
    let elsewhere = Checkpoint::new("elsewhere.example", 1, Hash([0; 32]))
        .sign(&elsewhere)
        .unwrap()
        .to_string();
    assert_found(
        &verify_seen(&bench.log(), None, &elsewhere),
        FindingKind::Signer,
        "checkpoint",
    );
}

#[test]
fn witnesses_of_the_policy_must_have_cosigned() {
    let bench = Bench::new();
    let witness = SigningKey::generate("witness.example/w1", KeyKind::CosignatureV1).unwrap();
    let file = format!(
        "log {}\nwitness w1 {}\nquorum w1\n",
        signing_key().verifier(),
        witness.verifier()
    );
    let policy = Some(Policy::parse(file.as_bytes()).unwrap());
    let options = VerifyOptions {
        policy,
        ..VerifyOptions::default()
    };
    let case = bench.case();
    assert_found(&verify_dir(&case, &options), FindingKind::Signer, "checkpoint");
    let mut note = LogReader::new(&case)
        .checkpoint_note()
        .unwrap()
        .parse::<Note>()
        .unwrap();
    note.add(witness.cosign(note.text(), 1_763_000_000).unwrap());
    fs::write(case.join("checkpoint"), note.to_string()).unwrap();
    let report = verify_dir(&case, &options);
    assert_sound(&report, Verdict::Verified);
    assert_eq!(report.signers[1], "w1");
}

/// What a crash leaves: entries in the write-ahead log and tiles on disk that no published checkpoint covers yet.
#[test]
fn unpublished_tiles_are_checked_against_the_write_ahead_log() {
    let dir = tempfile::tempdir().unwrap();
    let (log, ahead, case) = (
        dir.path().join("log"),
        dir.path().join("ahead"),
        dir.path().join("case"),
    );
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
    for file in [
        "tile/entries/001",
        "tile/0/002",
        "tile/entries/003.p/232",
        "tile/0/003.p/232",
    ] {
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
        &LogOptions {
            publish_interval_ms: 20,
            ..LogOptions::default()
        },
    )
    .unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..300 {
                log.append_blocking((round * 20..round * 20 + 20).map(entry).collect())
                    .unwrap();
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

/// One random change of one random file.
#[derive(Clone, Debug)]
enum Tampering {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Zero(prop::sample::Index),
    Swap,
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Tampering::Flip(at, bit)),
        at().prop_map(Tampering::Cut),
        (at(), any::<u8>()).prop_map(|(at, byte)| Tampering::Insert(at, byte)),
        at().prop_map(Tampering::Remove),
        at().prop_map(Tampering::Zero),
        Just(Tampering::Swap),
    ]
}

fn tamper(tampering: &Tampering, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    match tampering {
        Tampering::Flip(at, bit) => changed[at.index(bytes.len())] ^= 1 << bit,
        Tampering::Cut(at) => changed.truncate(at.index(bytes.len())),
        Tampering::Insert(at, byte) => changed.insert(at.index(bytes.len()), *byte),
        Tampering::Remove(at) => drop(changed.remove(at.index(bytes.len()))),
        Tampering::Zero(at) => changed[at.index(bytes.len())..].fill(0),
        Tampering::Swap => changed = other.to_vec(),
    }
    changed
}

#[test]
fn a_thousand_random_changes_are_all_found() {
    let bench = Bench::new();
    let files = files(&bench.log());
    let contents = files
        .iter()
        .map(|file| fs::read(bench.log().join(file)).unwrap())
        .collect::<Vec<_>>();
    let case = bench.case();
    let config = ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(file: prop::sample::Index, other: prop::sample::Index, tampering in tampering())| {
        let (file, other) = (file.index(files.len()), other.index(files.len()));
        prop_assume!(!contents[file].is_empty());
        let changed = tamper(&tampering, &contents[file], &contents[other]);
        prop_assume!(changed != contents[file]);
        fs::write(case.join(&files[file]), &changed).unwrap();
        let report = verify(&case);
        fs::write(case.join(&files[file]), &contents[file]).unwrap();
        prop_assert_eq!(report.verdict, Verdict::Failed, "{} {:?}", files[file], tampering);
        let named = report.findings.iter().any(|finding| finding.file == files[file]);
        prop_assert!(named, "{} {:?}:\n{}", &files[file], tampering, report);
    });
    assert_sound(&verify(&case), Verdict::Verified);
}
