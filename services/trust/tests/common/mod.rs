//! Keys and files for the tests.

#![allow(dead_code)] // each test binary uses its own part

use lienthong_audit::note::{KeyKind, SigningKey, VerifierKey};
use lienthong_certs::pki::DevPki;
use lienthong_certs::{Branch, files};
use lienthong_trust::mesh_trust::Parts;
use lienthong_trust::{Anchor, KeyPair, MeshTrust, Roots, SignedTrust, Witness, Witnesses};
use time::{Duration, OffsetDateTime};

pub const MESH: &str = "vn-test";

/// Keys from names: the same name always gives the same key.
pub fn key(name: &str) -> SigningKey {
    let mut seed = [0; 32];
    seed[..name.len().min(32)].copy_from_slice(&name.as_bytes()[..name.len().min(32)]);
    SigningKey::from_seed(name, KeyKind::Ed25519, &seed).unwrap()
}

pub fn log_key(number: u8) -> SigningKey {
    SigningKey::from_seed("log.test/1", KeyKind::Ed25519, &[number; 32]).unwrap()
}

pub fn public(key: &SigningKey) -> VerifierKey {
    key.verifier().clone()
}

pub fn witness(number: u8) -> Witness {
    let name = format!("witness.test/{number}");
    let key = SigningKey::from_seed(&name, KeyKind::CosignatureV1, &[100 + number; 32]).unwrap();
    Witness { key: public(&key), url: Some(format!("http://witness-{number}.test")) }
}

pub fn roots(threshold: usize, names: &[&str]) -> Roots {
    Roots { threshold, keys: names.iter().map(|name| public(&key(name))).collect() }
}

/// A whole PKI costs a second; tests share one.
pub fn anchors() -> Vec<Anchor> {
    static ANCHORS: std::sync::OnceLock<Vec<Anchor>> = std::sync::OnceLock::new();
    ANCHORS
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let pki = DevPki::create(&folder.path().join("pki"), MESH).unwrap();
            let anchor = |(parties, path): (Branch, std::path::PathBuf)| Anchor {
                label: format!("DEMO – {parties} G1"),
                parties,
                certificates: files::certificates(&path).unwrap(),
            };
            pki.trust_files().into_iter().map(anchor).collect()
        })
        .clone()
}

/// Whole seconds: the text holds no more.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_795_000_000).unwrap()
}

pub fn parts(version: u64) -> Parts {
    Parts {
        mesh: MESH.to_owned(),
        version,
        issued: now(),
        expires: now() + Duration::days(365),
        development: true,
        roots: roots(1, &["root-a"]),
        bundle: KeyPair { now: public(&key("bundle-1")), next: Some(public(&key("bundle-2"))) },
        log: KeyPair { now: public(&log_key(1)), next: None },
        witnesses: Witnesses { quorum: 2, known: vec![witness(1), witness(2), witness(3)] },
        anchors: anchors(),
    }
}

pub fn signed(parts: Parts, by: &[&str]) -> String {
    let keys: Vec<_> = by.iter().map(|name| key(name)).collect();
    SignedTrust::sign(&MeshTrust::new(parts).unwrap(), &keys.iter().collect::<Vec<_>>()).unwrap()
}

pub fn read(parts: Parts, by: &[&str]) -> SignedTrust {
    SignedTrust::read(signed(parts, by).as_bytes()).unwrap()
}
