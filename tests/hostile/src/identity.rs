//! What comes before anybody is known: certificates, revocation lists, tokens.

use std::sync::LazyLock;

use lienthong_audit::log::LogKey;
use lienthong_broker::enrollment::Token;
use lienthong_certs::judge::{RevocationList, RevocationReason};
use lienthong_certs::pki::{DevPki, Issued};
use lienthong_certs::{Branch, Judge, MeshKey, PeerCertificate, Profile, Usage};
use lienthong_trust::{SignedTrust, ceremony};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tempfile::TempDir;
use time::OffsetDateTime;

/// A development PKI, made once a process.
struct World {
    pki: DevPki,
    judge: Judge,
    node: Issued,
    _folder: TempDir,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let pki = DevPki::create(&folder.path().join("pki"), "thu-nghiem").unwrap();
    let node = pki.issue_node("G01", "DEMO – Bộ Công an", "nut-1", &["localhost"]).unwrap();
    let spent = pki.issue_node("H29", "DEMO – Cơ quan", "nut-2", &["localhost"]).unwrap();
    pki.revoke(&spent.binding, RevocationReason::KeyCompromise).unwrap();
    let judge = Judge::new(pki.anchors().unwrap(), pki.lists().unwrap(), Profile::development()).unwrap();
    World { pki, judge, node, _folder: folder }
});

/// A leaf, alone and below a true authority: read, judged for every use, and asked for a name.
pub fn certificate(data: &[u8]) {
    let leaf = CertificateDer::from(data);
    let _ = PeerCertificate::read(std::slice::from_ref(&leaf));
    let own = chain();
    let chain: Vec<CertificateDer<'_>> = std::iter::once(leaf)
        .chain(own.iter().skip(1).map(|one| CertificateDer::from(one.as_ref())))
        .collect();
    for usage in [Usage::Client, Usage::Server, Usage::Signature] {
        if let Ok(peer) = WORLD.judge.judge(&chain, usage, UnixTime::now()) {
            let issued_here = PeerCertificate::read(&own).unwrap();
            // Nobody but our authorities signs what the judge accepts.
            assert_eq!(peer.binding(), issued_here.binding(), "a changed certificate was accepted");
        }
    }
    let _ = Judge::judge_name(&chain, &ServerName::try_from("localhost").unwrap());
}

pub fn certificate_seeds() -> Vec<Vec<u8>> {
    chain().iter().map(|one| one.as_ref().to_vec()).collect()
}

/// A revocation list under our anchors.
pub fn revocation_list(data: &[u8]) {
    if let Ok(list) = RevocationList::read(data, WORLD.judge.anchors()) {
        assert!(!list.crl_number.is_empty() || list.is_empty() || list.len() < data.len());
    }
}

pub fn revocation_list_seeds() -> Vec<Vec<u8>> {
    let lists = WORLD.pki.crl_files();
    lists.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A token of enrollment.
pub fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(token) = Token::read(text)
    {
        assert_eq!(token.enrollment(), Token::read(text).unwrap().enrollment());
    }
}

pub fn token_seeds() -> Vec<Vec<u8>> {
    vec![Token::generate().unwrap().text().as_bytes().to_vec()]
}

/// A mesh trust file, as the broker hands it on.
pub fn trust_file(data: &[u8]) {
    if let Ok(signed) = SignedTrust::read(data) {
        let again = SignedTrust::read(signed.to_file().as_bytes());
        assert!(
            again.is_ok_and(|again| again.trust().version() == signed.trust().version()),
            "it reads back"
        );
    }
    drop(lienthong_trust::signed::read_unsigned(data));
}

pub fn trust_file_seeds() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let (_, authority) = WORLD.pki.trust_files().into_iter().next().unwrap();
    let first = ceremony::First {
        mesh: "thu-nghiem".to_owned(),
        development: true,
        bundle: ceremony::bundle_key("bundle-1", MeshKey::generate().unwrap().public_key()).unwrap(),
        log: LogKey::generate("log.thu.invalid/1").unwrap().verifier().clone(),
        witnesses: lienthong_trust::Witnesses::default(),
        anchors: vec![ceremony::anchor("State", Branch::State, &authority).unwrap()],
        valid_days: 9,
    };
    ceremony::begin(folder.path(), first, OffsetDateTime::now_utc()).unwrap();
    let files =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.filter(|bytes| SignedTrust::read(bytes).is_ok()).collect()
}

fn chain() -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(&WORLD.node.certificate).unwrap().map(|one| one.unwrap()).collect()
}
