//! What a leaf says of itself before a real judge: purpose, key, names; and every refusal that they have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

mod common;

use common::{Mesh, chain, leaf_params, node_holder, now, uri};
use lienthong_certs::certificate::{PeerCertificate, Usage};
use lienthong_certs::judge::{CertificateRefusal, Judge, Profile, RevocationLists};
use lienthong_certs::pki::{KeyKind, Request};
use rcgen::{CustomExtension, DnType, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm};
use rustls_pki_types::ServerName;
use unicode_normalization::UnicodeNormalization as _;

const ALL_USAGES: [Usage; 3] = [Usage::Client, Usage::Server, Usage::Signature];

#[test]
fn a_purpose_must_be_stated_on_the_leaf() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    let key = KeyPair::generate().unwrap();
    let any = vec![rcgen::ExtendedKeyUsagePurpose::Any];
    let email = vec![rcgen::ExtendedKeyUsagePurpose::EmailProtection];
    for purposes in [vec![], any, email] {
        let mut params = leaf_params();
        params.extended_key_usages = purposes;
        let chain = mesh.by_state(&params, &key);
        for needed in [Usage::Client, Usage::Server] {
            assert_eq!(
                judge.judge(&chain, needed, now()),
                Err(CertificateRefusal::WrongUsage { needed }),
                "{:?}",
                params.extended_key_usages
            );
        }
        assert!(judge.judge(&chain, Usage::Signature, now()).is_ok());
    }
    let mut params = leaf_params();
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let chain = mesh.by_state(&params, &key);
    for needed in ALL_USAGES {
        assert_eq!(judge.judge(&chain, needed, now()), Err(CertificateRefusal::WrongUsage { needed }));
    }
}

/// A public key as bytes: no library here would make an RSA key as small as this.
struct WeakRsa(Vec<u8>);

impl WeakRsa {
    fn of_1024_bits() -> WeakRsa {
        let mut key = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
        key.extend([0xc3; 128]);
        key.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
        WeakRsa(key)
    }
}

impl PublicKeyData for WeakRsa {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

#[test]
fn weak_and_unlisted_keys_are_refused_by_name() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    let weak = mesh.by_state(&leaf_params(), &WeakRsa::of_1024_bits());
    assert_eq!(
        judge.judge(&weak, Usage::Client, now()),
        Err(CertificateRefusal::KeyTooWeak { found: "RSA-1024".into() })
    );
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let unlisted = mesh.by_state(&leaf_params(), &p521);
    assert!(matches!(
        judge.judge(&unlisted, Usage::Client, now()),
        Err(CertificateRefusal::KeyTooWeak { found }) if found.contains("1.3.132.0.35")
    ));
    let strict = Profile { rsa_bits_min: 3072, ..Profile::development() };
    let strict = Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), strict).unwrap();
    let rsa = mesh.pki.issue(&Request::new(node_holder()).with_key(KeyKind::Rsa2048)).unwrap();
    assert!(matches!(
        strict.judge(&chain(&rsa), Usage::Client, now()),
        Err(CertificateRefusal::KeyTooWeak { .. })
    ));
}

#[test]
fn bad_alternative_names_are_refused() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    let key = KeyPair::generate().unwrap();
    let two_agencies = vec![uri("urn:vn-mesh:agency:G01"), uri("urn:vn-mesh:agency:G12")];
    let no_code = vec![uri("urn:vn-mesh:agency:g01")];
    let empty_code = vec![uri("urn:vn-mesh:agency:")];
    let no_dns_name = vec![SanType::DnsName("not a name".try_into().unwrap())];
    let too_many = (0..65).map(|i| SanType::DnsName(format!("n{i}.example").try_into().unwrap())).collect();
    for names in [two_agencies, no_code, empty_code, no_dns_name, too_many] {
        let mut params = leaf_params();
        params.subject_alt_names = names;
        let chain = mesh.by_state(&params, &key);
        let refusal = judge.judge(&chain, Usage::Client, now()).unwrap_err();
        assert!(matches!(refusal, CertificateRefusal::BadSan(_)), "{refusal:?}");
    }
}

#[test]
fn the_dialled_name_must_be_in_the_certificate() {
    let mesh = Mesh::new();
    let chain = chain(&mesh.node());
    for good in ["g01.example", "127.0.0.1"] {
        assert_eq!(Judge::judge_name(&chain, &ServerName::try_from(good).unwrap()), Ok(()));
    }
    for bad in ["g12.example", "example", "127.0.0.2"] {
        assert_eq!(
            Judge::judge_name(&chain, &ServerName::try_from(bad).unwrap()),
            Err(CertificateRefusal::WrongName { expected: bad.into() })
        );
    }
}

#[test]
fn the_twin_of_an_agency_name_is_seen_through() {
    let mesh = Mesh::new();
    let genuine = mesh.node();
    let mut params = leaf_params();
    params.subject_alt_names.push(uri("urn:vn-mesh:agency:G01"));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Bộ Công an".nfd().collect::<String>());
    params.distinguished_name.push(DnType::CommonName, "nut-1");
    let twin = mesh.by_state(&params, &KeyPair::generate().unwrap());

    let read = PeerCertificate::read(&twin).unwrap();
    assert_eq!(read.subject.organization.as_deref(), Some("Bộ Công an"), "one form, whatever the bytes");
    assert!(!read.names_in_nfc);
    assert_ne!(read.binding(), &genuine.binding, "and never the genuine one's binding");
    let refusal = mesh.judge().judge(&twin, Usage::Client, now()).unwrap_err();
    assert!(matches!(refusal, CertificateRefusal::NameNotNormalised { .. }), "{refusal:?}");

    // Where the official authority itself issues such names, the operator may say so.
    let lenient = Profile { unnormalised_names: true, ..Profile::development() };
    let judge = Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), lenient).unwrap();
    assert!(judge.judge(&twin, Usage::Client, now()).is_ok());
}

/// A name that a terminal or a log page would show as another one.
#[test]
fn names_with_invisible_characters_are_refused() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    for name in ["nut\n1", "nut\u{1b}[2J", "\u{202e}1-tun", "nut\u{200b}-1", "nut\u{0}"] {
        let mut params = leaf_params();
        params.distinguished_name.push(DnType::CommonName, name);
        let chain = mesh.by_state(&params, &KeyPair::generate().unwrap());
        let refusal = judge.judge(&chain, Usage::Client, now()).unwrap_err();
        assert!(matches!(refusal, CertificateRefusal::Malformed(_)), "{refusal:?}");
        assert!(!refusal.to_string().contains(name));
    }
}

/// The string types of older authorities say the same name.
#[test]
fn older_string_types_are_read() {
    use rcgen::DnValue;
    let mesh = Mesh::new();
    let key = KeyPair::generate().unwrap();
    for value in [
        DnValue::BmpString("Bộ Công an".try_into().unwrap()),
        DnValue::UniversalString("Bộ Công an".try_into().unwrap()),
        DnValue::Utf8String("Bộ Công an".into()),
    ] {
        let mut params = leaf_params();
        params.distinguished_name.push(DnType::OrganizationName, value);
        let peer = mesh.judge().judge(&mesh.by_state(&params, &key), Usage::Client, now()).unwrap();
        assert_eq!(peer.subject.organization.as_deref(), Some("Bộ Công an"));
    }
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let mesh = Mesh::new();
    let mut params = leaf_params();
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 7], vec![5, 0]);
    extension.set_criticality(true);
    params.custom_extensions.push(extension);
    let chain = mesh.by_state(&params, &KeyPair::generate().unwrap());
    assert_eq!(
        mesh.judge().judge(&chain, Usage::Client, now()),
        Err(CertificateRefusal::UnknownCriticalExtension)
    );
}
