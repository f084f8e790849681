//! The development PKI as a folder, and what `inspect` says about what it issues.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use common::{Mesh, at, chain, now};
use lienthong_certs::certificate::{PeerCertificate, Usage};
use lienthong_certs::inspect::inspect;
use lienthong_certs::judge::{
    CertificateRefusal, Freshness, Judge, Profile, RevocationLists, RevocationReason,
};
use lienthong_certs::pki::{DevAuthority, DevPki, Holder, PkiError, Request};
use lienthong_certs::{Credentials, request};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use time::OffsetDateTime;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

#[test]
fn a_pki_is_opened_as_it_was_made_and_never_made_twice() {
    let mesh = Mesh::named("vn-demo");
    let again = DevPki::open(mesh.dir.path()).unwrap();
    assert_eq!(again.mesh_id(), "vn-demo");
    let issued = again.issue_node("G09", "Bộ Nội vụ", "nut-1", &["localhost"]).unwrap();
    assert!(mesh.judge().judge(&chain(&issued), Usage::Server, now()).is_ok());
    assert!(matches!(DevPki::create(mesh.dir.path(), "vn-demo"), Err(PkiError::Exists(_))));
    assert!(matches!(DevPki::open(&mesh.path("nowhere")), Err(PkiError::File(_))));
    let other = tempfile::tempdir().unwrap();
    assert!(matches!(DevPki::create(other.path(), "VN Demo"), Err(PkiError::MeshId(_))));
}

#[test]
fn a_root_without_the_mark_is_not_ours() {
    let mesh = Mesh::new();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = common::leaf_params();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(mesh.path("ca/root.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    assert!(matches!(DevPki::open(mesh.dir.path()), Err(PkiError::NotOurs(_))));
}

#[test]
fn every_key_is_private_and_every_certificate_is_marked() {
    let mesh = Mesh::new();
    mesh.node();
    mesh.pki.issue_public("9900000099", "Công ty CP Ví Dụ", &[]).unwrap();
    let (mut keys, mut certificates) = (0, 0);
    for folder in ["ca", "issued"] {
        for entry in fs::read_dir(mesh.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "key") {
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
                keys += 1;
            } else {
                for der in lienthong_certs::files::certificates(&path).unwrap() {
                    let certificate = PeerCertificate::read(&[der]).unwrap();
                    assert_eq!(certificate.mesh_id.as_deref(), Some("thu-nghiem"), "{path:?}");
                    assert!(certificate.names_in_nfc);
                    assert!(certificate.subject.text.contains("DEMO") || folder == "issued");
                    certificates += 1;
                }
            }
        }
    }
    assert_eq!((keys, certificates), (6, 7));
}

#[test]
fn a_certificate_is_never_issued_over_another() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let again = mesh.pki.issue_node("G01", "Bộ Công an", "nut-1", &[]);
    assert!(matches!(again, Err(PkiError::AlreadyIssued(path)) if path == issued.certificate));
    assert_eq!(mesh.pki.issued("G01-nut-1").unwrap(), Some(issued));
    assert_eq!(mesh.pki.issued("G01-nut-2").unwrap(), None);
}

#[test]
fn names_that_do_not_fit_are_refused_before_anything_is_written() {
    let mesh = Mesh::new();
    let long = "Ủ".repeat(65);
    for refused in [
        mesh.pki.issue_node("G01", "Bộ Công an", "../../root", &[]),
        mesh.pki.issue_node("G01", "Bộ Công an", "nút", &[]),
        mesh.pki.issue_node("g01", "Bộ Công an", "nut", &[]),
        mesh.pki.issue_node("G01", &long, "nut", &[]),
        mesh.pki.issue_node("G01", "", "nut", &[]),
        mesh.pki.issue_node("G01", "Bộ Công an", "nut", &["bộ.example"]),
        mesh.pki.issue_person("G01", "", "operator"),
        mesh.pki.issue_public("99/1", "Công ty", &[]),
    ] {
        assert!(matches!(refused, Err(PkiError::Name { .. })), "{refused:?}");
    }
    assert!(matches!(mesh.pki.issued("../ca/root"), Err(PkiError::Name { .. })));
    assert_eq!(fs::read_dir(mesh.path("issued")).unwrap().count(), 0);
    assert!(mesh.pki.issue_node("G01", &"Ủ".repeat(64), "nut", &[]).is_ok());
}

#[test]
fn a_stranger_cannot_be_revoked_here() {
    let (ours, theirs) = (Mesh::named("ta"), Mesh::named("ho"));
    let issued = theirs.node();
    let refused = ours.pki.revoke(&issued.binding, RevocationReason::Superseded);
    assert!(matches!(refused, Err(PkiError::NotIssuedHere(_))));
}

#[test]
fn inspect_says_as_whom_a_certificate_is_accepted() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let said = inspect(&mesh.judge(), &chain(&issued), now());
    assert!(said.accepted());
    let accepted = said.verdicts[0].outcome.as_ref().unwrap();
    assert_eq!(accepted.binding, issued.binding);
    assert_eq!(accepted.claimed_agency.as_deref(), Some("G01"));
    assert!(matches!(accepted.freshness, Freshness::Fresh { .. }));
    assert_eq!(
        said.verdicts[0].sentence(),
        "accepted for TLS client authentication as a certificate of the State branch"
    );
    assert_eq!(said.verdicts[0].remedy(), None);
    assert!(said.notes.iter().any(|note| note.contains("G01")));
    assert!(said.notes.iter().any(|note| note.contains("development")));
    assert_eq!(said.notes.len(), 2, "{:?}", said.notes);
}

#[test]
fn inspect_says_why_not_and_what_to_do() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    mesh.pki.revoke(&issued.binding, RevocationReason::KeyCompromise).unwrap();
    let said = inspect(&mesh.judge(), &chain(&issued), now());
    assert!(!said.accepted());
    let sentence = said.verdicts[1].sentence();
    assert!(
        sentence.starts_with("refused for TLS server authentication: the certificate with serial"),
        "{sentence}"
    );
    assert_eq!(said.verdicts[1].remedy(), Some("request a new certificate with a new key"));

    let rubbish = inspect(&mesh.judge(), &[CertificateDer::from(vec![1, 2, 3])], now());
    assert_eq!(rubbish.certificate, None);
    assert!(
        rubbish
            .verdicts
            .iter()
            .all(|verdict| matches!(verdict.outcome, Err(CertificateRefusal::Malformed(_))))
    );
}

#[test]
fn inspect_warns_of_the_end_and_of_lists_that_lack() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let judge =
        Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), Profile::development()).unwrap();
    let soon = OffsetDateTime::now_utc() + time::Duration::days(340);
    let said = inspect(&judge, &chain(&issued), at(soon));
    assert!(
        said.notes.iter().any(
            |note| note.starts_with("it expires in 24 days") || note.starts_with("it expires in 25 days")
        ),
        "{:?}",
        said.notes
    );
    assert!(said.notes.iter().any(|note| note.contains("no revocation list")), "{:?}", said.notes);
    let after = OffsetDateTime::now_utc() + time::Duration::days(400);
    let said = inspect(&judge, &chain(&issued), at(after));
    assert!(!said.accepted());
    assert!(!said.notes.iter().any(|note| note.contains("expires")), "{:?}", said.notes);
}

#[test]
fn all_authorities_can_be_named() {
    let mesh = Mesh::new();
    for authority in DevAuthority::ALL {
        let binding = mesh.pki.authority_binding(authority).unwrap();
        let above = authority.parent().unwrap_or(authority);
        assert!(binding.issuer.contains(above.common_name().split(',').next().unwrap()), "{binding}");
    }
}

#[test]
fn a_key_never_leaves_its_holder_to_be_certified() {
    let folder = tempfile::tempdir().unwrap();
    let pki = DevPki::create(&folder.path().join("pki"), "vn-test").unwrap();
    let holder = Holder::Node {
        agency_code: "H29".to_owned(),
        agency_name: "Ủy ban nhân dân Thành phố Hồ Chí Minh".to_owned(),
        node_id: "n1".to_owned(),
    };
    let key = folder.path().join("node.key");
    let prepared = request::prepare(holder.clone(), &["n1.h29.test"], &key).unwrap();
    assert_eq!(request::prepare(holder.clone(), &["n1.h29.test"], &key).unwrap().spki_der, prepared.spki_der);
    assert!(prepared.pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    let der = CertificateSigningRequestDer::from_pem_slice(prepared.pem.as_bytes()).unwrap();
    let (_, read) = X509CertificationRequest::from_der(&der).unwrap();
    read.verify_signature().unwrap();
    assert_eq!(
        read.certification_request_info.subject.to_string(),
        "C=VN, O=Ủy ban nhân dân Thành phố Hồ Chí Minh, OU=Nút trao đổi dữ liệu, CN=n1"
    );

    let chain = pki
        .certify(&Request::new(holder.clone()).with_dns_names(&["n1.h29.test"]), &prepared.spki_der)
        .unwrap();
    let certificate = folder.path().join("node.crt");
    fs::write(&certificate, chain).unwrap();
    let credentials = Credentials::load(&certificate, &key).unwrap();
    assert_eq!(credentials.certificate().agency_urn.as_deref(), Some("H29"));
    assert!(pki.certify(&Request::new(holder), b"no key").is_err());
    fs::write(&key, "rubbish").unwrap();
    assert!(
        request::prepare(Holder::Enterprise { enterprise_code: "1".into(), name: "x".into() }, &[], &key)
            .is_err()
    );
}

#[test]
fn a_renewed_certificate_says_the_same_for_the_same_key_and_longer() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    let now = now();
    let issued = [
        mesh.node(),
        mesh.pki.issue_system("G01", "Bộ Công an", "ho-so").unwrap(),
        mesh.pki.issue_person("G01", "Nguyễn Văn Mẫu", "operator.catalog.01").unwrap(),
        mesh.pki.issue_public("9900000099", "Công ty Thử", &["api.cong-ty.example"]).unwrap(),
    ];
    for before in issued {
        let name = before.certificate.file_stem().unwrap().to_str().unwrap().to_owned();
        let old = before.credentials().unwrap();
        let after = mesh.pki.renew(&name).unwrap();
        let new = after.credentials().unwrap();
        let (old, new) = (old.certificate().clone(), (new.certificate().clone(), new.chain().to_vec()));
        let (new, chain) = new;
        assert_ne!(before.binding.serial, after.binding.serial, "{name}");
        assert_eq!(before.binding.spki_sha256, after.binding.spki_sha256, "{name}");
        let said = |certificate: &PeerCertificate| {
            (
                certificate.subject.clone(),
                certificate.agency_urn.clone(),
                certificate.dns_names.clone(),
                certificate.usages.clone(),
            )
        };
        assert_eq!(said(&old), said(&new));
        judge.judge(&chain, Usage::Client, now).unwrap();
    }
    // The IP address is there as well.
    let node = lienthong_certs::files::certificates(&mesh.path("issued/G01-nut-1.crt")).unwrap();
    let local = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    Judge::judge_name(&node, &local).unwrap();
    assert!(mesh.pki.renew("G01-nobody").is_err());
    assert!(mesh.pki.renew("../ca/root").is_err());
}
