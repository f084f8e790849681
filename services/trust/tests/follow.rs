//! From one version to the next: what is followed, what is refused, and what is held after a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::path::Path;

use common::{MESH, key, now, parts, public, read, roots, signed};
use lienthong_trust::changes::changes;
use lienthong_trust::config::TrustConfig;
use lienthong_trust::keeper::{Owner, TrustKeeper};
use lienthong_trust::mesh_trust::Parts;
use lienthong_trust::signed::Followed;
use lienthong_trust::{KeeperError, KeyPair, TrustFileError};
use proptest::prelude::*;
use time::Duration;

fn rooted(version: u64, names: &[&str]) -> Parts {
    Parts { roots: roots(1, names), ..parts(version) }
}

#[test]
fn a_pin_is_the_roots_and_nothing_else() {
    let file = || read(parts(4), &["root-a"]);
    let pin = parts(1).roots.fingerprint().to_string();
    file().pinned(&pin, MESH, true, now()).unwrap();
    let grouped = format!("{} {}", &pin[..32], pin[32..].to_uppercase());
    file().pinned(&grouped, MESH, true, now()).unwrap();

    let other = roots(1, &["root-b"]).fingerprint().to_string();
    assert!(matches!(file().pinned(&other, MESH, true, now()), Err(TrustFileError::OtherRoots { .. })));
    assert!(matches!(file().pinned("zz", MESH, true, now()), Err(TrustFileError::Pin)));
    assert!(matches!(file().pinned(&pin, "other", true, now()), Err(TrustFileError::Mesh { .. })));
    assert!(matches!(file().pinned(&pin, MESH, false, now()), Err(TrustFileError::Development(true))));
    let late = now() + Duration::days(366);
    assert!(matches!(file().pinned(&pin, MESH, true, late), Err(TrustFileError::Expired(_))));
}

#[test]
fn only_a_newer_file_of_the_same_roots_is_followed() {
    let held = read(parts(5), &["root-a"]);
    let follow = |parts, by: &[&str]| held.follow(read(parts, by), now());
    assert!(matches!(follow(parts(6), &["root-a"]), Ok(Followed::Newer(_))));
    assert!(matches!(follow(parts(5), &["root-a"]), Ok(Followed::Same)));
    assert!(matches!(follow(parts(4), &["root-a"]), Err(TrustFileError::Rollback { found: 4, held: 5 })));
    let forked = Parts { expires: now() + Duration::days(30), ..parts(5) };
    assert!(matches!(follow(forked, &["root-a"]), Err(TrustFileError::Forked(5))));
    let expired = Parts { issued: now() - Duration::days(9), expires: now() - Duration::DAY, ..parts(6) };
    assert!(matches!(follow(expired, &["root-a"]), Err(TrustFileError::Expired(_))));
    let mesh = Parts { mesh: "another".into(), ..parts(6) };
    assert!(matches!(follow(mesh, &["root-a"]), Err(TrustFileError::Mesh { .. })));
}

#[test]
fn roots_change_only_with_the_word_of_the_old_ones_and_the_new_ones() {
    let held = read(parts(1), &["root-a"]);
    let usurped = held.follow(read(rooted(2, &["root-b"]), &["root-b"]), now());
    assert!(matches!(usurped, Err(TrustFileError::NotSucceeding { found: 0, needed: 1 })), "{usurped:?}");
    let Ok(Followed::Newer(changed)) =
        held.follow(read(rooted(2, &["root-b"]), &["root-a", "root-b"]), now())
    else {
        panic!("both have signed")
    };
    assert!(changed.changes_roots(&held));
    // From here on the old root says nothing any more.
    assert!(matches!(
        changed.follow(read(parts(3), &["root-a"]), now()),
        Err(TrustFileError::NotSucceeding { .. })
    ));
    // And whoever skipped the change is told to take it first.
    let skipped = held.follow(read(rooted(3, &["root-b"]), &["root-b"]), now()).unwrap_err();
    assert!(skipped.to_string().contains("take that one first"), "{skipped}");
}

proptest! {
    /// k of n: a change counts exactly when enough of the old roots and enough of the new ones have signed.
    #[test]
    fn thresholds_hold_on_both_sides(
        old in 1_usize..4, new in 1_usize..4,
        signed_old in prop::collection::vec(any::<bool>(), 3),
        signed_new in prop::collection::vec(any::<bool>(), 3),
    ) {
        let (olds, news) = (["old-a", "old-b", "old-c"], ["new-a", "new-b", "new-c"]);
        let held = read(Parts { roots: roots(old, &olds), ..parts(1) }, &olds);
        let by = |names: [&'static str; 3], signed: &[bool]| {
            names.into_iter().zip(signed.to_vec()).filter_map(|(name, signed)| signed.then_some(name)).collect::<Vec<_>>()
        };
        let (by_old, by_new) = (by(olds, &signed_old), by(news, &signed_new));
        let all: Vec<&str> = by_old.iter().chain(&by_new).copied().collect();
        let file = signed(Parts { roots: roots(new, &news), ..parts(2) }, &all);
        let taken = lienthong_trust::SignedTrust::read(file.as_bytes())
            .and_then(|file| held.follow(file, now()))
            .is_ok();
        prop_assert_eq!(taken, by_old.len() >= old && by_new.len() >= new);
    }
}

struct Place {
    folder: tempfile::TempDir,
    config: TrustConfig,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let root = parts(1).roots.fingerprint().to_string();
        let config = TrustConfig { file: folder.path().join("mesh.trust"), root, ..TrustConfig::default() };
        Place { folder, config }
    }

    fn lay(&self, parts: Parts, by: &[&str]) {
        fs::write(&self.config.file, signed(parts, by)).unwrap();
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Result<TrustKeeper, KeeperError> {
        let owner = Owner { mesh: MESH, development: true, data_dir: self.data() };
        TrustKeeper::open(&self.config, owner, now())
    }
}

#[test]
fn the_highest_version_survives_a_restart_and_an_older_file() {
    let place = Place::new();
    place.lay(parts(3), &["root-a"]);
    let mut keeper = place.open().unwrap();
    assert!(keeper.judge_file(now()).unwrap().is_none());
    let newer = keeper.judge(signed(parts(8), &["root-a"]).as_bytes(), now()).unwrap().unwrap();
    assert_eq!(keeper.held().trust().version(), 3, "judged is not yet kept");
    keeper.keep(&newer).unwrap();
    assert_eq!(keeper.held().trust().version(), 8);

    // The operator's file is the old one still: told, and not taken.
    assert!(matches!(
        keeper.judge_file(now()),
        Err(KeeperError::File { source: TrustFileError::Rollback { found: 3, held: 8 }, .. })
    ));
    assert_eq!(place.open().unwrap().held().trust().version(), 8);
    // Half-written or gone, too.
    fs::write(&place.config.file, "half").unwrap();
    assert_eq!(place.open().unwrap().held().trust().version(), 8);
    fs::remove_file(&place.config.file).unwrap();
    assert_eq!(place.open().unwrap().held().trust().version(), 8);
    // A held file that expires is not dropped: the mesh goes on, loudly.
    let owner = Owner { mesh: MESH, development: true, data_dir: place.data() };
    let years = now() + Duration::days(4_000);
    assert_eq!(TrustKeeper::open(&place.config, owner, years).unwrap().held().trust().version(), 8);
}

#[test]
fn a_look_leaves_nothing_behind() {
    let place = Place::new();
    place.lay(parts(3), &["root-a"]);
    let owner = Owner { mesh: MESH, development: true, data_dir: place.data() };
    assert_eq!(TrustKeeper::peek(&place.config, owner, now()).unwrap().trust().version(), 3);
    assert!(!place.data().join("trust").exists());
}

#[test]
fn a_damaged_kept_version_stops_the_start() {
    let place = Place::new();
    place.lay(parts(3), &["root-a"]);
    place.open().unwrap();
    let kept = fs::read_dir(place.data().join("trust")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, text.replace("quorum = 2", "quorum = 0")).unwrap();
    assert!(matches!(place.open(), Err(KeeperError::Kept { .. })), "tampering is not healed by a reinstall");
}

#[test]
fn whoever_is_behind_gets_every_change_of_roots_in_order() {
    let place = Place::new();
    place.lay(parts(1), &["root-a"]);
    let mut keeper = place.open().unwrap();
    let mut take = |parts, by: &[&str]| {
        let newer = keeper.judge(signed(parts, by).as_bytes(), now()).unwrap().unwrap();
        keeper.keep(&newer).unwrap();
    };
    take(parts(2), &["root-a"]);
    take(parts(3), &["root-a"]);
    take(rooted(4, &["root-b"]), &["root-a", "root-b"]);
    take(rooted(5, &["root-b"]), &["root-b"]);
    take(rooted(6, &["root-c"]), &["root-b", "root-c"]);
    take(rooted(7, &["root-c"]), &["root-c"]);
    let versions = |keeper: &TrustKeeper, since| -> Vec<u64> {
        keeper.since(since).iter().map(|signed| signed.trust().version()).collect()
    };
    for keeper in [&keeper, &place.open().unwrap()] {
        assert_eq!(versions(keeper, 0), [1, 4, 6, 7]);
        assert_eq!(versions(keeper, 3), [4, 6, 7]);
        assert_eq!(versions(keeper, 6), [7]);
        assert_eq!(versions(keeper, 7), [0; 0]);
    }
    // A node that slept since version 2 walks the chain.
    let mut behind = read(parts(2), &["root-a"]);
    for step in keeper.since(2) {
        match behind.follow((*step).clone(), now()) {
            Ok(Followed::Newer(newer)) => behind = *newer,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(behind.trust().version(), 7);
}

#[test]
fn changes_are_told_and_a_leap_is_warned_of() {
    let held = read(parts(1), &["root-a"]);
    assert_eq!(changes(held.trust(), read(parts(1), &["root-a"]).trust()), []);
    let stepped = Parts {
        bundle: KeyPair { now: public(&key("bundle-2")), next: Some(public(&key("bundle-3"))) },
        ..parts(2)
    };
    let told = changes(held.trust(), read(stepped, &["root-a"]).trust());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|change| !change.en.contains("NOTE")));
    let leapt = Parts {
        bundle: KeyPair { now: public(&key("bundle-9")), next: None },
        anchors: common::anchors()[..1].to_vec(),
        ..parts(2)
    };
    let told = changes(held.trust(), read(leapt, &["root-a"]).trust());
    assert!(told.iter().any(|change| change.en.contains("NOTE") && change.vi.contains("CHÚ Ý")), "{told:?}");
    assert!(told.iter().any(|change| change.en.contains("goes")));
}

/// A version whose time is over.
fn ended(version: u64, names: &[&str]) -> Parts {
    let (issued, expires) = (now() - Duration::days(9), now() - Duration::DAY);
    Parts { issued, expires, ..rooted(version, names) }
}

#[test]
fn who_slept_through_the_time_of_a_change_of_roots_is_not_locked_out() {
    let place = Place::new();
    place.lay(parts(1), &["root-a"]);
    let mut keeper = place.open().unwrap();
    let judge = |keeper: &mut TrustKeeper, parts, by: &[&str]| {
        keeper
            .judge(signed(parts, by).as_bytes(), now())
            .map(|newer| newer.map(|newer| newer.trust().version()))
    };
    // Two changes of roots have ended meanwhile. Neither is ever in force, however often it is handed over.
    for _ in 0..2 {
        assert_eq!(judge(&mut keeper, ended(4, &["root-b"]), &["root-a", "root-b"]).unwrap(), None);
        assert_eq!(judge(&mut keeper, ended(6, &["root-c"]), &["root-b", "root-c"]).unwrap(), None);
        assert_eq!(keeper.held().trust().version(), 1);
    }
    // No way to another mesh, back, around the roots, or to an end that has ended.
    assert!(judge(&mut keeper, rooted(7, &["root-x"]), &["root-x"]).is_err());
    assert!(judge(&mut keeper, ended(7, &["root-c"]), &["root-c"]).is_err());
    assert!(judge(&mut keeper, rooted(7, &["root-b"]), &["root-b"]).is_err());
    let newer = keeper.judge(signed(rooted(7, &["root-c"]), &["root-c"]).as_bytes(), now()).unwrap().unwrap();
    keeper.keep(&newer).unwrap();
    for keeper in [&keeper, &place.open().unwrap()] {
        assert_eq!(keeper.held().trust().version(), 7);
        let versions: Vec<u64> = keeper.since(0).iter().map(|signed| signed.trust().version()).collect();
        assert_eq!(versions, [1, 4, 6, 7], "the next sleeper needs them, too");
    }
}

#[test]
fn a_crash_while_steps_are_kept_never_leaves_an_ended_version_in_force() {
    let place = Place::new();
    place.lay(parts(1), &["root-a"]);
    place.open().unwrap();
    let at = |version: u64, end: &str| place.data().join("trust").join(format!("{version:020}.{end}"));
    fs::write(at(4, "step"), signed(ended(4, &["root-b"]), &["root-a", "root-b"])).unwrap();
    assert_eq!(place.open().unwrap().held().trust().version(), 1);
    fs::write(at(7, "trust"), signed(rooted(7, &["root-b"]), &["root-b"])).unwrap();
    let keeper = place.open().unwrap();
    assert_eq!(keeper.held().trust().version(), 7);
    let versions: Vec<u64> = keeper.since(0).iter().map(|signed| signed.trust().version()).collect();
    assert_eq!(versions, [1, 4, 7]);
}
