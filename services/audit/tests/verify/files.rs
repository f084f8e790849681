//! Files changed, cut, padded, dropped, swapped, added.

use std::fs;
use std::path::Path;

use lienthong_audit::hash::leaf_hash;
use lienthong_audit::tile::{self, TileId, TileKind};
use lienthong_audit::verify::{FindingKind, Verdict, VerifyReport};
use proptest::prelude::*;

use crate::bench::{Bench, assert_found, assert_sound, entry, files, verify};

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
            assert!(finding.bytes.as_ref().unwrap().contains(&at), "byte {at} of {file}:\n{report}");
            assert_eq!(report.findings.len(), 1, "one change, one finding:\n{report}");
            if id.kind != TileKind::Entries {
                let span = if id.kind == TileKind::Hashes(1) { 256 } else { 1 };
                assert_eq!(finding.first_index, Some(id.start_leaf().unwrap() + at / 32 * span));
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
            assert!(report.findings.iter().any(|finding| finding.file == "checkpoint"), "{report}");
            assert_eq!(report.verdict, Verdict::Failed);
        }
        Err(_) => {
            let wal = report.findings.iter().find(|finding| finding.kind == FindingKind::WriteAheadLog);
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
        let is_segment = Path::new(&file).extension().is_some_and(|extension| extension == "wal");
        for (what, changed) in
            [("emptied", &[][..]), ("cut", &bytes[..bytes.len().saturating_sub(1)]), ("padded", &padded)]
        {
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
        ("swapped neighbours", (256..300).chain([301, 300]).chain(302..512).collect::<Vec<_>>(), 300),
        ("reversed", (256..512).rev().collect(), 256),
        ("dropped one", (256..400).chain(401..512).collect(), 400),
        ("doubled one", (256..400).chain([399]).chain(400..511).collect(), 400),
        ("one too many", (256..513).collect(), 512),
        ("the bundle before", (0..256).collect(), 256),
    ] {
        for case in [bench.case(), bench.public_case()] {
            fs::write(case.join("tile/entries/001"), bundle(&mut numbers.iter().copied())).unwrap();
            let finding = assert_found(&verify(&case), FindingKind::Changed, "tile/entries/001");
            assert_eq!(finding.first_index, Some(first_bad), "{what}");
        }
    }
    let case = bench.case();
    fs::rename(case.join("tile/0/000"), case.join("other")).unwrap();
    fs::rename(case.join("tile/0/001"), case.join("tile/0/000")).unwrap();
    fs::rename(case.join("other"), case.join("tile/0/001")).unwrap();
    let report = verify(&case);
    assert_eq!(assert_found(&report, FindingKind::Changed, "tile/0/000").first_index, Some(0));
    assert_eq!(assert_found(&report, FindingKind::Changed, "tile/0/001").first_index, Some(256));
}

/// An entry changed together with its leaf hash: only the level above gives it away.
#[test]
fn an_entry_changed_together_with_its_hash() {
    let bench = Bench::new();
    for (bundle, tile, numbers, file, index) in [
        ("tile/entries/001", "tile/0/001", 256..512, "tile/0/001", Some(256)),
        ("tile/entries/002.p/88", "tile/0/002.p/88", 512..600, "tile/0/002.p/38", Some(540)),
    ] {
        let case = bench.case();
        let mut entries = numbers.map(entry).collect::<Vec<_>>();
        entries[28] = b"never happened".to_vec();
        let hashes = entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>();
        fs::write(case.join(bundle), tile::encode_bundle(&entries).unwrap()).unwrap();
        fs::write(case.join(tile), tile::encode_hashes(&hashes)).unwrap();
        let report = verify(&case);
        assert_eq!(assert_found(&report, FindingKind::Changed, file).first_index, index);
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

/// One random change of one random file.
#[derive(Clone, Debug)]
enum Tampering {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Zero(prop::sample::Index),
    Swap,
    Replace(Vec<u8>),
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
        prop::collection::vec(any::<u8>(), 0..400).prop_map(Tampering::Replace),
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
        Tampering::Replace(bytes) => changed.clone_from(bytes),
    }
    changed
}

#[test]
fn a_thousand_random_changes_are_all_found() {
    let bench = Bench::new();
    let files = files(&bench.log());
    let contents = files.iter().map(|file| fs::read(bench.log().join(file)).unwrap()).collect::<Vec<_>>();
    let case = bench.case();
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
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
