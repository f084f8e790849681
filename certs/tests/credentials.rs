//! A role's own certificate and key, from real files of every accepted form.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

mod common;

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use common::{Mesh, leaf_params};
use lienthong_certs::credentials::{Credentials, CredentialsError};
use lienthong_certs::files::FileError;
use lienthong_certs::pki::{Holder, KeyKind, Request};
use lienthong_certs::signer::{SignatureError, verify};
use lienthong_certs::{KeyAlgorithm, SignatureAlgorithm};

fn holder(system: &str) -> Holder {
    Holder::System {
        agency_code: "G12".into(), agency_name: "Bộ Tài chính".into(), system_id: system.into()
    }
}

#[test]
fn every_kind_of_key_signs_what_its_certificate_verifies() {
    let mesh = Mesh::new();
    for (kind, key, signature) in [
        (KeyKind::EcdsaP256, KeyAlgorithm::EcdsaP256, SignatureAlgorithm::EcdsaP256Sha256),
        (KeyKind::EcdsaP384, KeyAlgorithm::EcdsaP384, SignatureAlgorithm::EcdsaP384Sha384),
        (KeyKind::Ed25519, KeyAlgorithm::Ed25519, SignatureAlgorithm::Ed25519),
        (KeyKind::Rsa2048, KeyAlgorithm::Rsa { bits: 2048 }, SignatureAlgorithm::RsaPssSha256),
        (KeyKind::Rsa3072, KeyAlgorithm::Rsa { bits: 3072 }, SignatureAlgorithm::RsaPssSha256),
    ] {
        let request = Request::new(holder(&format!("{kind:?}"))).with_key(kind);
        let credentials = mesh.pki.issue(&request).unwrap().credentials().unwrap();
        assert_eq!(credentials.chain().len(), 2, "leaf and its authority");
        assert_eq!(credentials.certificate().key_algorithm, key);
        let signer = credentials.signer();
        assert_eq!(signer.algorithm(), signature);
        assert_eq!(signer.spki_der(), credentials.certificate().spki_der);

        let made = signer.sign(b"record 1").unwrap();
        assert_eq!(verify(signer.spki_der(), b"record 1", &made), Ok(()));
        assert_eq!(verify(signer.spki_der(), b"record 2", &made), Err(SignatureError::Signature));
        let mut bent = made.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(verify(signer.spki_der(), b"record 1", &bent), Err(SignatureError::Signature));
        let other = mesh.pki.issue(&Request::new(holder(&format!("{kind:?}-2"))).with_key(kind)).unwrap();
        let other = other.credentials().unwrap();
        assert_eq!(verify(&other.certificate().spki_der, b"record 1", &made), Err(SignatureError::Signature));
    }
}

#[test]
fn a_key_outside_the_profile_verifies_nothing() {
    let p521 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&p521);
    let signature = rcgen::SigningKey::sign(&p521, b"record").unwrap();
    assert!(matches!(verify(&spki, b"record", &signature), Err(SignatureError::Algorithm(_))));
    assert_eq!(verify(&[&spki[..], &[0]].concat(), b"record", &signature), Err(SignatureError::Key));
}

/// The older key files that `openssl` and vendors' tools write.
#[test]
fn sec1_and_pkcs1_key_files_are_read() {
    let mesh = Mesh::new();
    for (kind, tool, label) in
        [(KeyKind::EcdsaP256, "ec", "EC PRIVATE KEY"), (KeyKind::Rsa2048, "rsa", "RSA PRIVATE KEY")]
    {
        let issued = mesh.pki.issue(&Request::new(holder(tool)).with_key(kind)).unwrap();
        let traditional = mesh.path(&format!("{tool}.key"));
        let Ok(output) =
            Command::new("openssl").arg(tool).arg("-in").arg(&issued.key).arg("-traditional").output()
        else {
            return; // no openssl on this machine: nothing here can make such a file
        };
        let mut text = String::from_utf8(output.stdout).unwrap();
        if !text.contains(label) {
            // `openssl ec` writes SEC 1 without being asked and does not know the option.
            let output = Command::new("openssl").arg(tool).arg("-in").arg(&issued.key).output().unwrap();
            text = String::from_utf8(output.stdout).unwrap();
        }
        assert!(text.contains(label), "{text}");
        lienthong_certs::files::create_private(&traditional, text.as_bytes()).unwrap();
        let credentials = Credentials::load(&issued.certificate, &traditional).unwrap();
        let signature = credentials.signer().sign(b"record").unwrap();
        assert_eq!(verify(&credentials.certificate().spki_der, b"record", &signature), Ok(()));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let mesh = Mesh::new();
    let first = mesh.pki.issue(&Request::new(holder("a"))).unwrap();
    let same_kind = mesh.pki.issue(&Request::new(holder("b"))).unwrap();
    let other_kind = mesh.pki.issue(&Request::new(holder("c")).with_key(KeyKind::Ed25519)).unwrap();
    for other in [same_kind, other_kind] {
        let refused = Credentials::load(&first.certificate, &other.key).unwrap_err();
        assert!(matches!(refused, CredentialsError::KeyMismatch { .. }), "{refused}");
        assert!(refused.to_string().contains("ECDSA P-256"), "{refused}");
    }
    // The authority first and the leaf second: the key is the second's.
    let pem = std::fs::read_to_string(&first.certificate).unwrap();
    let (leaf, authority) = pem.split_at(pem.rfind("-----BEGIN").unwrap());
    let swapped = mesh.path("swapped.crt");
    std::fs::write(&swapped, format!("{authority}{leaf}")).unwrap();
    assert!(matches!(Credentials::load(&swapped, &first.key), Err(CredentialsError::KeyMismatch { .. })));
}

#[test]
fn files_that_cannot_serve_are_refused_clearly() {
    let mesh = Mesh::new();
    let issued = mesh.pki.issue(&Request::new(holder("a"))).unwrap();
    set_permissions(&issued.key, Permissions::from_mode(0o644)).unwrap();
    let refused = issued.credentials().unwrap_err();
    assert!(
        matches!(refused, CredentialsError::File(FileError::Permissions { mode: 0o644, .. })),
        "{refused}"
    );
    set_permissions(&issued.key, Permissions::from_mode(0o400)).unwrap();
    assert!(issued.credentials().is_ok());

    let file = |name: &str, text: &str| -> PathBuf {
        let path = mesh.path(name);
        lienthong_certs::files::create_private(&path, text.as_bytes()).unwrap();
        path
    };
    let empty = file("empty.pem", "");
    let rubbish = file("rubbish.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    let encrypted = file(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let absent = mesh.path("absent.pem");
    for certificate in [&empty, &broken, &absent] {
        let refused = Credentials::load(certificate, &issued.key).unwrap_err();
        assert!(matches!(refused, CredentialsError::File(_)), "{refused}");
    }
    let refused = Credentials::load(&rubbish, &issued.key).unwrap_err();
    assert!(matches!(refused, CredentialsError::Certificate { .. }), "{refused}");
    for key in [&empty, &encrypted, &absent] {
        let refused = Credentials::load(&issued.certificate, key).unwrap_err();
        assert!(matches!(refused, CredentialsError::File(_)), "{refused}");
    }
    let many = file("many.pem", &std::fs::read_to_string(&issued.certificate).unwrap().repeat(3));
    let refused = Credentials::load(&many, &issued.key).unwrap_err();
    assert!(matches!(refused, CredentialsError::ChainTooLong { count: 6, .. }), "{refused}");
}

#[test]
fn no_secret_is_shown() {
    let mesh = Mesh::new();
    let issued = mesh.pki.issue(&Request::new(holder("a"))).unwrap();
    let credentials = issued.credentials().unwrap();
    let shown = format!("{credentials:?}");
    assert!(shown.contains("Bộ Tài chính"));
    let secret = credentials.key_der().unwrap().secret_der().to_vec();
    assert!(!shown.contains(&format!("{:?}", &secret[..8]).replace(['[', ']'], "")));
}

#[test]
fn a_leaf_made_by_other_tools_is_read() {
    let mesh = Mesh::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let chain = mesh.by_state(&leaf_params(), &key);
    let pem: String = chain.iter().map(|der| pem_of(der)).collect();
    let (certificate, key_file) = (mesh.path("other.crt"), mesh.path("other.key"));
    std::fs::write(&certificate, pem).unwrap();
    lienthong_certs::files::create_private(&key_file, key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(Credentials::load(&certificate, &key_file).unwrap().chain(), chain);
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("some words before\n-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
