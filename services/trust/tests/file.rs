//! The file by itself: what it says comes back, what makes no sense is refused, and no bytes bring the reader down.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use common::{anchors, key, log_key, now, parts, public, read, roots, signed};
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::Hash;
use lienthong_trust::mesh_trust::Parts;
use lienthong_trust::signed::add_signature;
use lienthong_trust::{MeshTrust, SignedTrust, TrustFileError};
use proptest::prelude::*;
use time::Duration;

#[test]
fn what_is_written_is_read_back() {
    let file = signed(parts(7), &["root-a"]);
    let read = SignedTrust::read(file.as_bytes()).unwrap();
    assert_eq!(read.trust().parts(), &parts(7));
    assert_eq!(read.to_file(), file);
    assert_eq!(read.trust().to_text().unwrap(), MeshTrust::new(parts(7)).unwrap().to_text().unwrap());
    assert_eq!(read.trust().anchors().authorities().len(), 4);
    assert!(read.trust().bundle_key("bundle-2").is_some() && read.trust().bundle_key("bundle-3").is_none());
    for text in
        ["[roots]", "label = \"DEMO – State G1\"", "-----BEGIN CERTIFICATE-----", "parties = \"outside\""]
    {
        assert!(file.contains(text), "{text} is for people to read:\n{file}");
    }
}

#[test]
fn a_checkpoint_counts_by_the_log_keys_and_the_quorum() {
    let trust = read(Parts { log: pair(1, Some(2)), ..parts(1) }, &["root-a"]);
    let policy = trust.trust().witness_policy();
    let by =
        |number| Checkpoint::new("log.test/1", 3, Hash([7; 32])).sign(&log_key(number)).unwrap().to_string();
    for number in [1, 2] {
        assert!(policy.judge_signer(&by(number)).is_ok(), "now and next are both believed");
        assert!(policy.judge(&by(number)).unwrap_err().to_string().contains("quorum"), "no witness cosigned");
    }
    assert!(policy.judge_signer(&by(3)).is_err());
}

fn pair(now: u8, next: Option<u8>) -> lienthong_trust::KeyPair {
    lienthong_trust::KeyPair { now: public(&log_key(now)), next: next.map(|number| public(&log_key(number))) }
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let cases: [(&str, Parts); 12] = [
        ("mesh", Parts { mesh: "Việt Nam".into(), ..parts(1) }),
        ("version", parts(0)),
        ("expires", Parts { expires: now(), ..parts(1) }),
        ("roots.keys", Parts { roots: roots(1, &[]), ..parts(1) }),
        ("roots.threshold", Parts { roots: roots(2, &["root-a"]), ..parts(1) }),
        ("roots.keys", Parts { roots: roots(1, &["root-a", "root-a"]), ..parts(1) }),
        ("log", Parts { log: pair(1, Some(1)), ..parts(1) }),
        ("bundle", Parts { roots: roots(1, &["bundle-1"]), ..parts(1) }),
        ("witnesses.quorum", {
            let mut parts = parts(1);
            parts.witnesses.quorum = 4;
            parts
        }),
        ("witnesses.url", {
            let mut parts = parts(1);
            parts.witnesses.known[0].url = Some("two words".into());
            parts
        }),
        ("anchors", Parts { anchors: Vec::new(), ..parts(1) }),
        ("development", Parts { development: false, ..parts(1) }),
    ];
    for (key, parts) in cases {
        let error = MeshTrust::new(parts).unwrap_err().to_string();
        assert!(error.contains(key), "{key}: {error}");
    }
    let mut orphan = parts(1);
    orphan.anchors[0].certificates.truncate(1);
    orphan.anchors.truncate(1);
    let error = MeshTrust::new(orphan).unwrap_err().to_string();
    assert!(error.contains("root"), "an authority without its root: {error}");
}

#[test]
fn a_file_needs_its_own_threshold_and_signatures_are_added_one_by_one() {
    let two = || Parts { roots: roots(2, &["root-a", "root-b", "root-c"]), ..parts(1) };
    let one = signed(two(), &["root-a"]);
    let refused = SignedTrust::read(one.as_bytes());
    assert!(matches!(refused, Err(TrustFileError::Unsigned { found: 1, needed: 2 })), "{refused:?}");
    let twice = add_signature(one.as_bytes(), &key("root-a")).unwrap();
    assert_eq!(twice, one, "the same root again is the same file");
    let stranger = add_signature(one.as_bytes(), &key("stranger")).unwrap();
    assert!(SignedTrust::read(stranger.as_bytes()).is_err());
    let both = add_signature(one.as_bytes(), &key("root-c")).unwrap();
    assert_eq!(SignedTrust::read(both.as_bytes()).unwrap().signers().count(), 2);
}

#[test]
fn a_changed_letter_breaks_the_signature() {
    let file = signed(parts(1), &["root-a"]);
    let changed = file.replace("quorum = 2", "quorum = 1");
    assert_ne!(file, changed);
    assert!(matches!(SignedTrust::read(changed.as_bytes()), Err(TrustFileError::Note(_))));
    let unknown = file.replace("quorum = 2", "quorum = 2\nsurprise = true");
    assert!(SignedTrust::read(unknown.as_bytes()).unwrap_err().to_string().contains("surprise"));
}

proptest! {
    /// Cut, flipped, repeated, or plain rubbish: an answer, never a panic, and never another trust than the signed one.
    #[test]
    fn hostile_bytes_are_answered(
        cut in any::<prop::sample::Index>(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        rubbish in prop::collection::vec(any::<u8>(), 0..64),
        whole in any::<bool>(),
    ) {
        let good = signed(Parts { anchors: anchors()[..1].to_vec(), ..parts(3) }, &["root-a"]);
        let mut bytes = good.clone().into_bytes();
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
            bytes.extend(&rubbish);
        }
        for (place, value) in flips {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] ^= value;
            }
        }
        if let Ok(read) = SignedTrust::read(&bytes) {
            prop_assert_eq!(read.trust().to_text().unwrap(), MeshTrust::new(Parts { anchors: anchors()[..1].to_vec(), ..parts(3) }).unwrap().to_text().unwrap());
        }
        let _ = SignedTrust::read(&rubbish);
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        prop_assert!(SignedTrust::read(text.as_bytes()).is_err());
        prop_assert!(MeshTrust::from_text(&text).is_err());
    }

    #[test]
    fn the_time_survives_to_the_second(seconds in 0_i64..4_000_000_000, version in 1_u64..i64::MAX as u64) {
        let issued = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let parts = Parts { issued, expires: issued + Duration::SECOND, version, ..parts(1) };
        let trust = MeshTrust::new(parts.clone()).unwrap();
        let back = MeshTrust::from_text(&trust.to_text().unwrap()).unwrap();
        prop_assert_eq!(back.parts(), &parts);
    }
}
