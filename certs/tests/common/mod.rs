//! A fresh development PKI for each test, and a hand on its authorities' keys for certificates the PKI
//! itself would not make.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

use std::path::PathBuf;

use lienthong_certs::judge::{Judge, Profile, RevocationLists, TrustAnchors};
use lienthong_certs::pki::{DevPki, Holder, Issued};
use rcgen::{CertificateParams, Issuer, KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use time::OffsetDateTime;

pub struct Mesh {
    pub pki: DevPki,
    pub dir: TempDir,
}

impl Mesh {
    pub fn new() -> Mesh {
        Mesh::named("thu-nghiem")
    }

    pub fn named(mesh_id: &str) -> Mesh {
        let dir = tempfile::tempdir().unwrap();
        Mesh { pki: DevPki::create(dir.path(), mesh_id).unwrap(), dir }
    }

    /// A judge over everything the PKI has published by now.
    pub fn judge(&self) -> Judge {
        Judge::new(self.pki.anchors().unwrap(), self.pki.lists().unwrap(), Profile::development()).unwrap()
    }

    pub fn node(&self) -> Issued {
        self.pki.issue_node("G01", "Bộ Công an", "nut-1", &["g01.example", "127.0.0.1"]).unwrap()
    }

    pub fn issuer(&self, stem: &str) -> Issuer<'static, KeyPair> {
        let pem = |end: &str| std::fs::read_to_string(self.path(&format!("ca/{stem}.{end}"))).unwrap();
        Issuer::from_ca_cert_pem(&pem("crt"), KeyPair::from_pem(&pem("key")).unwrap()).unwrap()
    }

    pub fn authority(&self, stem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(&format!("ca/{stem}.crt"))).unwrap()
    }

    /// A leaf by the State authority, made by hand, with that authority above it.
    pub fn by_state(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Vec<CertificateDer<'static>> {
        let leaf = params.signed_by(key, &self.issuer("state")).unwrap();
        vec![leaf.into(), self.authority("state")]
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }
}

/// A judge over `anchors` alone, without lists.
pub fn judge_of(anchors: TrustAnchors) -> Judge {
    Judge::new(anchors, RevocationLists::empty(), Profile::development()).unwrap()
}

pub fn chain(issued: &Issued) -> Vec<CertificateDer<'static>> {
    issued.credentials().unwrap().chain().to_vec()
}

pub fn now() -> UnixTime {
    UnixTime::now()
}

pub fn at(time: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(time.unix_timestamp()).unwrap()))
}

/// Parameters of a leaf that any judge accepts, for tests that then spoil one thing.
pub fn leaf_params() -> CertificateParams {
    let mut params = CertificateParams::new(vec!["nut.example".to_owned()]).unwrap();
    let today = OffsetDateTime::now_utc();
    params.not_before = today - time::Duration::days(1);
    params.not_after = today + time::Duration::days(100);
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params
}

pub fn uri(text: &str) -> rcgen::SanType {
    rcgen::SanType::URI(text.try_into().unwrap())
}

/// Some node.
pub fn node_holder() -> Holder {
    Holder::Node { agency_code: "G01".into(), agency_name: "Bộ Công an".into(), node_id: "nut-1".into() }
}
