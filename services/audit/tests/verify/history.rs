//! Checkpoints forged, logs made anew or cut back: what files alone cannot show.

use std::fs;
use std::path::Path;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader};
use lienthong_audit::merkle::Frontier;
use lienthong_audit::note::{KeyKind, Note, NoteSignature, SigningKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::verify::{FindingKind, Verdict, VerifyOptions, verify_dir};

use crate::bench::{
    Bench, ORIGIN, SIZE, assert_found, assert_sound, copy, entry, grow, key, policy, signing_key, verify,
    verify_seen,
};

#[test]
fn forged_checkpoints() {
    let bench = Bench::new();
    let true_checkpoint = LogReader::new(&bench.log()).checkpoint(signing_key().verifier()).unwrap();
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
    assert_sound(&verify_dir(&case, &VerifyOptions::default()), Verdict::IntegrityOnly);
    // A signature of the right key under another text.
    let case = bench.public_case();
    let mut note = Note::new(true_checkpoint.to_string()).unwrap();
    note.add(signing_key().sign("another text\n").unwrap());
    fs::write(case.join("checkpoint"), note.to_string()).unwrap();
    assert_found(&verify(&case), FindingKind::Signer, "checkpoint");
    // A true checkpoint of an earlier size in front of the later files.
    let frontier = (0..550).map(|number| leaf_hash(&entry(number))).collect::<Frontier>();
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
    assert_sound(&verify_dir(&fresh, &VerifyOptions::default()), Verdict::IntegrityOnly);
    assert_found(&verify(&fresh), FindingKind::Signer, "checkpoint");
    let report = verify_seen(&fresh, None, &seen);
    assert_found(&report, FindingKind::Signer, "checkpoint");
    assert_found(&report, FindingKind::Rewritten, "checkpoint");
    // The operator rewrites it with the log's own key: only what was seen gives it away.
    let own = rewritten("own", key());
    assert_sound(&verify(&own), Verdict::Verified);
    assert_found(&verify_seen(&own, Some(policy()), &seen), FindingKind::Rewritten, "checkpoint");
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
        let cut = assert_found(&verify_seen(&old, policy, &seen_late), FindingKind::CutBack, "checkpoint");
        assert_eq!(cut.first_index, Some(300));
    }
    // The same with every size in between, and with receipts, which are checkpoints too.
    let mut frontier = Frontier::new();
    for number in 0..310 {
        let seen = Checkpoint::new(ORIGIN, number, frontier.root()).sign(&signing_key()).unwrap().to_string();
        assert_eq!(verify_seen(&old, Some(policy()), &seen).is_sound(), number <= 300);
        frontier.push_entry(&entry(number));
    }
}

#[test]
fn a_useless_seen_checkpoint_is_said_to_be_so() {
    let bench = Bench::new();
    let seen = "(the checkpoint seen before)";
    assert_found(&verify_seen(&bench.log(), Some(policy()), "nonsense"), FindingKind::Signer, seen);
    let stranger = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
    let strange = Checkpoint::new(ORIGIN, 1, Hash([0; 32])).sign(&stranger).unwrap().to_string();
    assert_found(&verify_seen(&bench.log(), Some(policy()), &strange), FindingKind::Signer, seen);
    let elsewhere = SigningKey::generate("elsewhere.example", KeyKind::Ed25519).unwrap();
    let elsewhere =
        Checkpoint::new("elsewhere.example", 1, Hash([0; 32])).sign(&elsewhere).unwrap().to_string();
    assert_found(&verify_seen(&bench.log(), None, &elsewhere), FindingKind::Signer, "checkpoint");
}

#[test]
fn witnesses_of_the_policy_must_have_cosigned() {
    let bench = Bench::new();
    let witness = SigningKey::generate("witness.example/w1", KeyKind::CosignatureV1).unwrap();
    let file = format!("log {}\nwitness w1 {}\nquorum w1\n", signing_key().verifier(), witness.verifier());
    let policy = Some(Policy::parse(file.as_bytes()).unwrap());
    let options = VerifyOptions { policy, ..VerifyOptions::default() };
    let case = bench.case();
    assert_found(&verify_dir(&case, &options), FindingKind::Signer, "checkpoint");
    let bare = LogReader::new(&case).checkpoint_note().unwrap().parse::<Note>().unwrap();
    let cosign = |key: &SigningKey| key.cosign(bare.text(), 1_763_000_000).unwrap();
    let cosigned = |by: NoteSignature| {
        let mut note = bare.clone();
        note.add(by);
        fs::write(case.join("checkpoint"), note.to_string()).unwrap();
    };
    // Somebody who calls himself like the witness, with a key of his own; then under the witness's key id too.
    let fake = SigningKey::generate(witness.name(), KeyKind::CosignatureV1).unwrap();
    let key_id = witness.verifier().id();
    for forged in [cosign(&fake), NoteSignature { key_id, ..cosign(&fake) }] {
        cosigned(forged);
        assert_found(&verify_dir(&case, &options), FindingKind::Signer, "checkpoint");
    }
    cosigned(cosign(&witness));
    let report = verify_dir(&case, &options);
    assert_sound(&report, Verdict::Verified);
    assert_eq!(report.signers[1], "w1");
}
