use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::hash::EMPTY_ROOT;
use crate::note::SigningKey;

fn log_key() -> SigningKey {
    SigningKey::from_seed("example.com/log", KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn witness_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&format!("witness.example/{number}"), KeyKind::CosignatureV1, &[number; 32])
        .unwrap()
}

/// The example of tlog-policy.md, with keys.
fn example() -> String {
    let mut file = format!("# An example\nlog {}\n\n", log_key().verifier());
    for (number, name) in (10..).zip(["X1", "X2", "X3", "Y1", "Y2", "Y3"]) {
        writeln!(file, " witness\t{name} {} https://w.example/{name} ", witness_key(number).verifier())
            .unwrap();
    }
    file + "group X-witnesses 2 X1 X2 X3\ngroup Y-witnesses any Y1 Y2 Y3\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
}

fn cosigned_by(witnesses: &[u8]) -> String {
    let mut note = Checkpoint::new("example.com/log", 0, EMPTY_ROOT).sign(&log_key()).unwrap();
    for number in witnesses {
        note.add(witness_key(*number).cosign(note.text(), 100).unwrap());
    }
    note.to_string()
}

#[test]
fn quorum_of_the_example() {
    let policy = Policy::parse(example().as_bytes()).unwrap();
    assert_eq!(Policy::parse(&policy.to_file()).unwrap(), policy);
    for (witnesses, reached) in [
        (&[][..], false),
        (&[10, 11], false),
        (&[10, 13], false),
        (&[13, 14, 15], false),
        (&[10, 12, 14], true),
        (&[10, 11, 12, 13, 14, 15], true),
        (&[10, 10, 13], false),
        (&[10, 99, 13], false),
    ] {
        let outcome = policy.judge(&cosigned_by(witnesses));
        assert_eq!(outcome.is_ok(), reached, "{witnesses:?}: {outcome:?}");
    }
    let accepted = policy.judge_signer(&cosigned_by(&[13])).unwrap();
    assert_eq!(accepted.cosigned, [Cosigned { witness: 3, time_s: 100 }]);
    assert_eq!(
        policy.judge(&cosigned_by(&[10])).unwrap_err().to_string(),
        "the quorum X-and-Y is not reached: cosigned by X1"
    );
}

#[test]
fn a_log_must_sign_for_its_own_origin() {
    let policy = Policy::for_log(log_key().verifier().clone());
    assert!(policy.judge(&cosigned_by(&[])).is_ok());
    assert_eq!(Policy::parse(&policy.to_file()).unwrap(), policy);
    let mut note = Note::new(Checkpoint::new("example.com/other", 0, EMPTY_ROOT).to_string()).unwrap();
    note.add(log_key().sign(note.text()).unwrap());
    assert_eq!(policy.judge(&note.to_string()), Err(PolicyError::Log("example.com/other".into())));
    let fresh = SigningKey::generate("example.com/log", KeyKind::Ed25519).unwrap();
    let note = Checkpoint::new("example.com/log", 0, EMPTY_ROOT).sign(&fresh).unwrap();
    assert!(matches!(
        policy.judge(&note.to_string()),
        Err(PolicyError::Note(NoteError::NoKnownSignature(_)))
    ));
    let nobody = Policy::parse(b"quorum none").unwrap();
    assert!(nobody.judge(&cosigned_by(&[])).is_err());
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (file, line, what) in mistakes() {
        let error = Policy::parse(file.as_bytes()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("policy line {line}: ")) && error.contains(what),
            "{file}: {error}"
        );
    }
    assert_eq!(Policy::parse(b""), Err(PolicyError::NoQuorum));
    assert!(matches!(Policy::parse(&vec![b'#'; POLICY_BYTES_MAX + 1]), Err(PolicyError::TooLong(_))));
}

/// A policy file, the line with the mistake, and a word of the error.
fn mistakes() -> Vec<(String, usize, &'static str)> {
    let (log, w1, w2) = (log_key(), witness_key(1), witness_key(2));
    let (log, w1, w2) = (log.verifier(), w1.verifier(), w2.verifier());
    vec![
        (format!("log {log}\nlog {log}\nquorum none\n"), 2, "same public key"),
        (format!("witness a {w1}\nwitness b {w1}\nquorum a\n"), 2, "same public key"),
        (format!("witness a {w1}\nwitness a {w2}\nquorum a\n"), 2, "already taken"),
        (format!("witness none {w1}\nquorum none\n"), 1, "already taken"),
        (format!("witness a {log}\nquorum a\n"), 1, "cosignature/v1 key"),
        (format!("log {w1}\nquorum none\n"), 1, "Ed25519 key"),
        ("log nonsense\nquorum none\n".into(), 1, "not the text of a key"),
        ("quorum a\n".into(), 1, "not defined"),
        (format!("group g any a\nwitness a {w1}\nquorum g\n"), 1, "not defined"),
        (format!("witness a {w1}\ngroup g any g\nquorum g\n"), 2, "not defined"),
        (format!("witness a {w1}\ngroup g any a a\nquorum g\n"), 2, "already a member"),
        (format!("witness a {w1}\ngroup g any a\ngroup h any a\nquorum g\n"), 3, "already a member"),
        (format!("witness a {w1}\ngroup g 2 a\nquorum g\n"), 2, "from 1 to 1"),
        (format!("witness a {w1}\ngroup g 0 a\nquorum g\n"), 2, "from 1 to 1"),
        (format!("witness a {w1}\ngroup g 01 a\nquorum g\n"), 2, "from 1 to 1"),
        (format!("witness a {w1}\ngroup g any none\nquorum a\n"), 2, "not defined"),
        ("group g any\nquorum none\n".into(), 1, "none of"),
        ("quorum none\nquorum none\n".into(), 2, "already set"),
        ("quorum none extra\n".into(), 1, "none of"),
        ("quorum none\r\n".into(), 1, "0x0d"),
        ("trust everybody\n".into(), 1, "none of"),
    ]
}

#[test]
fn names_are_opaque_bytes() {
    let mut file = b"witness \xe2\x84\xaa\xff ".to_vec();
    file.extend_from_slice(format!("{}\nquorum K\n", witness_key(1).verifier()).as_bytes());
    assert!(matches!(Policy::parse(&file), Err(PolicyError::Line { number: 2, .. })));
    let file = file.strip_suffix(b"K\n").unwrap();
    assert!(Policy::parse(&[file, b"\xe2\x84\xaa\xff"].concat()).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..1500_usize, at in 0..1500_usize) {
        let _ = Policy::parse(&bytes);
        let mut file = example().into_bytes();
        let end = at.min(file.len());
        file.splice(end.min(cut)..end, bytes);
        if let Ok(policy) = Policy::parse(&file) {
            prop_assert_eq!(Policy::parse(&policy.to_file()).unwrap(), policy);
        }
    }
}
