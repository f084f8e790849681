use proptest::prelude::*;

use super::*;

/// The example of signed-note.md.
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn verifier() -> VerifierKey {
    VKEY.parse().unwrap()
}

fn key(name: &str, kind: KeyKind) -> SigningKey {
    SigningKey::from_seed(name, kind, &[7; 32]).unwrap()
}

#[test]
fn example_of_the_specification() {
    let note: Note = NOTE.parse().unwrap();
    assert_eq!(note.text(), "This is an example message.\n");
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(verifier().to_string(), VKEY);
    let key = verifier();
    let verified = note.verify([&key]).unwrap();
    assert_eq!((verified[0].key.name(), verified[0].time_s), ("example.com/foo", None));
}

/// The opening example of signed-note.md: a text with an empty line of its own.
#[test]
fn text_may_hold_empty_lines() {
    let note: Note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\n\u{e8}d \u{e8} subito sera.\n\n\u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n".parse().unwrap();
    assert!(note.text().ends_with("subito sera.\n"));
    assert_eq!(note.signatures()[0].key_id, 0x367b_a04b);
}

#[test]
fn every_changed_character_is_found() {
    for (at, _) in NOTE.char_indices() {
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[at] ^= 1;
        let Ok(changed) = String::from_utf8(bytes) else {
            continue;
        };
        let outcome = changed.parse::<Note>().and_then(|note| note.verify([&verifier()]).map(|_| ()));
        assert!(outcome.is_err(), "byte {at}");
    }
}

#[test]
fn unknown_keys_are_ignored_and_known_ones_must_verify() {
    let (log, witness) = (key("log", KeyKind::Ed25519), key("witness", KeyKind::CosignatureV1));
    let mut note = Note::new("text\n").unwrap();
    let nobody = NoteError::NoKnownSignature("nobody".into());
    assert_eq!(note.verify([log.verifier()]), Err(nobody));
    note.add(NoteSignature { name: "log".into(), key_id: 1, bytes: vec![0] });
    assert!(matches!(note.verify([log.verifier()]), Err(NoteError::NoKnownSignature(_))));
    note.add(log.sign("text\n").unwrap());
    note.add(witness.cosign("text\n", 1_679_315_147).unwrap());
    let note: Note = note.to_string().parse().unwrap();
    let verified = note.verify([log.verifier(), witness.verifier()]).unwrap();
    assert_eq!(verified.iter().map(|v| v.time_s).collect::<Vec<_>>(), [None, Some(1_679_315_147)]);

    let mut spoilt = note.clone();
    spoilt.signatures[2].bytes[20] ^= 1;
    assert_eq!(spoilt.verify([log.verifier()]).unwrap().len(), 1);
    let bad = spoilt.verify([log.verifier(), witness.verifier()]);
    assert_eq!(bad, Err(NoteError::BadSignature(witness.verifier().label())));
    // The time is part of what is signed.
    let mut later = note.clone();
    later.signatures[2].bytes[7] ^= 1;
    assert!(matches!(later.verify([witness.verifier()]), Err(NoteError::BadSignature(_))));
}

#[test]
fn kinds_do_not_mix() {
    assert!(matches!(key("w", KeyKind::CosignatureV1).sign("t\n"), Err(NoteError::WrongKind(_))));
    assert!(matches!(key("l", KeyKind::Ed25519).cosign("t\n", 1), Err(NoteError::WrongKind(_))));
    assert!(matches!(key("w", KeyKind::CosignatureV1).cosign("t\n", u64::MAX), Err(NoteError::WrongKind(_))));
    assert_ne!(key("n", KeyKind::CosignatureV1).verifier().id(), key("n", KeyKind::Ed25519).verifier().id());
}

#[test]
fn malformed_notes_are_refused() {
    let line = NOTE.split_once("\n\n").unwrap().1;
    for (note, why) in [
        (String::new(), "empty"),
        (line.to_owned(), "no text"),
        (NOTE.replace("\n\n", "\n"), "no empty line"),
        (NOTE.trim_end().to_owned(), "no last newline"),
        (NOTE.replace("example message", "example\tmessage"), "tab"),
        (NOTE.replace("\n\u{2014}", "\r\n\u{2014}"), "carriage return"),
        (NOTE.replace('\u{2014}', "-"), "hyphen"),
        (NOTE.replace("\u{2014} ", "\u{2014}"), "no space"),
        (NOTE.replace("example.com/foo", "example.com+foo"), "plus in a name"),
        (NOTE.replace("example.com/foo", "example\u{a0}foo"), "space in a name"),
        (NOTE.replace("yaQM=", "yaQM"), "no padding"),
        (NOTE.replace("Uw2QO", "Uw2Q\u{2013}"), "not base64"),
        ("t\n\n\u{2014} a Uw2QOg==\n".to_owned(), "key id only"),
        (format!("t\n\n{}", line.repeat(NOTE_SIGNATURES_MAX + 1)), "too many"),
        (format!("{NOTE}{}", "x".repeat(NOTE_BYTES_MAX)), "too long"),
    ] {
        assert!(note.parse::<Note>().is_err(), "{why}");
    }
    assert!(format!("t\n\n{}", line.repeat(16)).parse::<Note>().is_ok());
    assert!(Note::new("no newline").is_err());
}

#[test]
fn keys_round_trip_and_mistyped_keys_are_refused() {
    for kind in [KeyKind::Ed25519, KeyKind::CosignatureV1] {
        let key = SigningKey::generate("vn.example/log", kind).unwrap();
        let again = SigningKey::from_skey(&key.to_skey().unwrap()).unwrap();
        assert_eq!(again.verifier(), key.verifier());
        assert_eq!(key.verifier().to_string().parse::<VerifierKey>().unwrap(), *key.verifier());
        assert!(!format!("{key:?}").contains(&key.to_skey().unwrap()[30..]));
    }
    for bad in [
        "",
        "a",
        "a+b",
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        &VKEY.replace("foo", "fo"),
        &VKEY.replace("530d", "530D"),
        &VKEY.replace("530d", "531d"),
        &VKEY[..VKEY.len() - 4],
        &VKEY.replace("+A", "+B"),
        &VKEY.replace("foo", "f o"),
    ] {
        assert!(bad.parse::<VerifierKey>().is_err(), "{bad:?}");
    }
    let ecdsa = VKEY.replace("AekyeRrm", "AukyeRrm");
    assert_eq!(ecdsa.parse::<VerifierKey>(), Err(NoteError::UnsupportedKind(2)));
    assert!(SigningKey::from_skey(VKEY).is_err());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,80}(\n|\\PC){0,30}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for text in [text, String::from_utf8_lossy(&bytes).into_owned()] {
            if let Ok(note) = text.parse::<Note>() {
                prop_assert_eq!(note.to_string(), text.clone());
                let _ = note.verify([&verifier()]);
            }
            let _ = (text.parse::<VerifierKey>(), text.parse::<NoteSignature>());
            let _ = SigningKey::from_skey(&format!("{SKEY_PREFIX}{text}"));
        }
    }

    #[test]
    fn signed_notes_round_trip(text in "\\PC{0,60}(\n\\PC{0,20}){0,4}", time_s in 0..=i64::MAX.unsigned_abs()) {
        let text = format!("{text}\n");
        prop_assume!(Note::new(text.clone()).is_ok());
        let (log, witness) = (key("log", KeyKind::Ed25519), key("witness", KeyKind::CosignatureV1));
        let mut note = Note::new(text.clone()).unwrap();
        note.add(log.sign(&text).unwrap());
        note.add(witness.cosign(&text, time_s).unwrap());
        let read: Note = note.to_string().parse().unwrap();
        prop_assert_eq!(&read, &note);
        prop_assert_eq!(read.verify([witness.verifier()]).unwrap()[0].time_s, Some(time_s));
    }
}
