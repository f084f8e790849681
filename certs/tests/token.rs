//! Keys in a token, against SoftHSM: every kind signs, and whatever goes wrong is named and mends itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code

use std::time::{Duration, Instant};
use std::{fs, path::Path, path::PathBuf};

use lienthong_certs::pki::{Holder, Issued, KeyKind, Request};
use lienthong_certs::{
    Credentials, CredentialsError, DevPki, KeySource, MeshKey, SignError, Signer as _, TokenError, TokenKey,
    verify,
};

#[path = "common/softhsm.rs"]
mod softhsm;

use softhsm::SoftHsm;

/// How long a token that is back may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    folder: tempfile::TempDir,
    pki: DevPki,
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), "vn-test").unwrap();
        Bench { folder, pki }
    }

    fn issue(&self, system: &str, key: KeyKind) -> Issued {
        self.pki.issue(&request(system).with_key(key)).unwrap()
    }

    /// A certificate, and its key in a form that `softhsm2-util` reads: of Ed25519, PKCS #8 version 1.
    fn certified(&self, system: &str, kind: KeyKind) -> (PathBuf, PathBuf) {
        if kind != KeyKind::Ed25519 {
            let issued = self.issue(system, kind);
            return (issued.certificate, issued.key);
        }
        let at = |end: &str| self.folder.path().join(format!("{system}.{end}"));
        let key = MeshKey::generate().unwrap();
        key.save(&at("key")).unwrap();
        let chain = self.pki.certify(&request(system), key.spki_der()).unwrap();
        fs::write(at("crt"), chain).unwrap();
        (at("crt"), at("key"))
    }
}

fn request(system: &str) -> Request {
    Request::new(Holder::System {
        agency_code: "H26".to_owned(),
        agency_name: "DEMO – Cơ quan thử".to_owned(),
        system_id: system.to_owned(),
    })
}

fn open(certificate: &Path, token: &TokenKey) -> Result<Credentials, CredentialsError> {
    Credentials::open(certificate, &KeySource::from(token.clone()))
}

#[test]
fn every_kind_of_key_signs_inside_its_token() {
    let Some(hsm) = SoftHsm::within("every_kind_of_key_signs_inside_its_token") else { return };
    let bench = Bench::new();
    // The library looks for tokens when it begins: all of them are there before the first is opened.
    let kinds = [
        ("p256", KeyKind::EcdsaP256),
        ("p384", KeyKind::EcdsaP384),
        ("ed25519", KeyKind::Ed25519),
        ("rsa2048", KeyKind::Rsa2048),
        ("rsa3072", KeyKind::Rsa3072),
    ];
    let tokens = kinds.map(|(label, kind)| {
        let (certificate, key) = bench.certified(label, kind);
        (certificate, hsm.token(label, &key))
    });
    for (certificate, token) in tokens {
        let credentials = open(&certificate, &token).unwrap();
        assert!(credentials.key_der().is_none());
        let signer = credentials.signer();
        assert!(signer.may_wait());
        for message in [&b""[..], b"batch 7"] {
            let signature = signer.sign(message).unwrap();
            verify(signer.spki_der(), message, &signature).unwrap();
        }
        // Many at once, more than there are sessions.
        std::thread::scope(|scope| {
            for number in 0..8_u8 {
                let signer = &signer;
                scope.spawn(move || {
                    verify(signer.spki_der(), &[number], &signer.sign(&[number]).unwrap()).unwrap();
                });
            }
        });
    }
}

#[test]
fn a_token_that_is_taken_away_is_named_and_used_again_once_it_is_back() {
    let name = "a_token_that_is_taken_away_is_named_and_used_again_once_it_is_back";
    let Some(hsm) = SoftHsm::within(name) else { return };
    let bench = Bench::new();
    let one = bench.issue("one", KeyKind::EcdsaP256);
    let other = bench.issue("other", KeyKind::Rsa2048);
    let (token, beside) = (hsm.token("H26", &one.key), hsm.token("H29", &other.key));
    let signer = open(&one.certificate, &token).unwrap().signer();
    let neighbour = open(&other.certificate, &beside).unwrap().signer();
    for round in 0..2 {
        hsm.take_away();
        let until = Instant::now() + PATIENCE;
        let refused = loop {
            match signer.sign(b"away") {
                Err(SignError::Token(error)) => break error,
                _ => assert!(Instant::now() < until, "it signs without its token"),
            }
        };
        assert!(
            matches!(
                refused,
                TokenError::Absent { .. } | TokenError::Failed { .. } | TokenError::Module { .. }
            ),
            "round {round}: {refused}"
        );
        assert!(refused.to_string().contains("H26") || refused.to_string().contains("softhsm"), "{refused}");
        assert_eq!(signer.trouble(), Some(refused.into()));
        hsm.put_back();
        let until = Instant::now() + PATIENCE;
        for signer in [&signer, &neighbour] {
            let signature = loop {
                match signer.sign(b"back") {
                    Ok(signature) => break signature,
                    Err(error) => assert!(Instant::now() < until, "round {round}: {error}"),
                }
                std::thread::yield_now();
            };
            verify(signer.spki_der(), b"back", &signature).unwrap();
            assert_eq!(signer.trouble(), None);
        }
    }
}

#[test]
fn what_is_wrong_with_a_token_is_named() {
    let Some(hsm) = SoftHsm::within("what_is_wrong_with_a_token_is_named") else { return };
    let bench = Bench::new();
    let issued = bench.issue("one", KeyKind::EcdsaP256);
    let other = bench.issue("other", KeyKind::EcdsaP256);
    let good = hsm.token("H26", &issued.key);
    let refused = |token: TokenKey| open(&issued.certificate, &token).unwrap_err();
    let changed = |change: &dyn Fn(&mut TokenKey)| {
        let mut token = good.clone();
        change(&mut token);
        refused(token)
    };
    let of_token = |error: CredentialsError| match error {
        CredentialsError::Token(error) => error,
        other => panic!("{other}"),
    };

    let error = of_token(changed(&|token| token.module = "/nowhere.so".into()));
    assert!(
        matches!(&error, TokenError::Module { .. }) && error.to_string().contains("/nowhere.so"),
        "{error}"
    );
    let error = of_token(changed(&|token| token.module = "/usr/lib/x86_64-linux-gnu/libm.so.6".into()));
    assert!(matches!(error, TokenError::Module { .. }), "{error}");
    let error = of_token(changed(&|token| token.token = "H99".to_owned()));
    assert_eq!(error, TokenError::Absent { token: "H99".to_owned() });
    let error = of_token(changed(&|token| token.key = Some("none".to_owned())));
    assert!(matches!(error, TokenError::Key { found: 0, .. }), "{error}");
    let error = of_token(changed(&|token| token.id = Some("xyz".to_owned())));
    assert!(error.to_string().contains("hexadecimal"), "{error}");

    // Two keys of one label: the id tells them apart.
    hsm.import("H26", "key", "02", &other.key);
    assert!(matches!(of_token(refused(good.clone())), TokenError::Key { found: 2, .. }));
    open(&issued.certificate, &TokenKey { id: Some("01".to_owned()), ..good.clone() }).unwrap();
    let error = refused(TokenKey { id: Some("02".to_owned()), ..good.clone() });
    assert!(
        matches!(error, CredentialsError::KeyMismatch { .. }) && error.to_string().contains("H26"),
        "{error}"
    );
}

/// A token that says that its next wrong PIN is the last one: SoftHSM behind a library that says so, and counts logins.
#[test]
fn the_last_try_of_a_pin_is_never_spent() {
    let Some(hsm) = SoftHsm::within("the_last_try_of_a_pin_is_never_spent") else { return };
    let bench = Bench::new();
    let issued = bench.issue("one", KeyKind::EcdsaP256);
    let good = hsm.token("H26", &issued.key);
    let (final_try, logins) = (bench.folder.path().join("final-try"), bench.folder.path().join("logins"));
    let module = bench.folder.path().join("last-try.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/last_try.c");
    let text = |path: &Path| format!("\"{}\"", path.display());
    let compiled = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&module)
        .arg(format!("-DMODULE={}", text(&good.module)))
        .arg(format!("-DFINAL_TRY={}", text(&final_try)))
        .arg(format!("-DLOGINS={}", text(&logins)))
        .args([source, "-ldl"])
        .status()
        .unwrap();
    assert!(compiled.success(), "a C compiler is needed, as for the house itself");
    let token = TokenKey { module, ..good };

    fs::write(&final_try, "").unwrap();
    for _ in 0..3 {
        let refused = open(&issued.certificate, &token).unwrap_err();
        assert!(
            matches!(&refused, CredentialsError::Token(TokenError::LastTry { token }) if token == "H26"),
            "{refused}"
        );
    }
    assert!(!logins.exists(), "the right PIN was not tried either: it might have been a wrong one");
    // The vendor's tool has logged in and so reset the count.
    fs::remove_file(&final_try).unwrap();
    let signer = open(&issued.certificate, &token).unwrap().signer();
    verify(signer.spki_der(), b"again", &signer.sign(b"again").unwrap()).unwrap();
    assert!(logins.exists());
}

#[test]
fn a_wrong_pin_is_tried_once_until_its_file_changes() {
    let Some(hsm) = SoftHsm::within("a_wrong_pin_is_tried_once_until_its_file_changes") else { return };
    let bench = Bench::new();
    let issued = bench.issue("one", KeyKind::EcdsaP256);
    let token = hsm.token("H26", &issued.key);
    let good = fs::read(&token.pin_file).unwrap();
    let signer = open(&issued.certificate, &token).unwrap().signer();
    fs::write(&token.pin_file, "999999\n").unwrap();
    // It signs on in the session that it has; a new one needs the PIN.
    signer.sign(b"still").unwrap();
    hsm.take_away();
    while signer.sign(b"away").is_ok() {}
    hsm.put_back();
    let until = Instant::now() + PATIENCE;
    let refused = |text: &str| match signer.sign(b"pin") {
        Err(SignError::Token(TokenError::Pin { detail, .. })) => detail.contains(text),
        _ => false,
    };
    while !refused("refused this PIN before") {
        assert!(Instant::now() < until, "{:?}", signer.trouble());
        std::thread::yield_now();
    }
    for _ in 0..20 {
        assert!(refused("refused this PIN before"), "{:?}", signer.trouble());
    }
    // Whoever reads the configuration again, as at every reload, does not spend another try.
    for _ in 0..3 {
        let again = open(&issued.certificate, &token).unwrap_err().to_string();
        assert!(again.contains("refused this PIN before"), "{again}");
    }
    fs::write(&token.pin_file, good).unwrap();
    signer.sign(b"good again").unwrap();
    // A PIN that others may read is none.
    fs::set_permissions(&token.pin_file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let error = open(&issued.certificate, &token).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}
