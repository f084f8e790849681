//! Real certificates before a real judge: who is accepted, and every refusal that paths, time and authorities have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

mod common;

use common::{Mesh, at, chain, judge_of, leaf_params, node_holder, now};
use lienthong_certs::certificate::{PeerCertificate, Usage};
use lienthong_certs::judge::{
    Branch, CertificateRefusal, Freshness, Judge, Profile, RevocationLists, RevocationReason, TrustAnchors,
    TrustError,
};
use lienthong_certs::pki::{DevAuthority, Holder, KeyKind, Request};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

const ALL_USAGES: [Usage; 3] = [Usage::Client, Usage::Server, Usage::Signature];

#[test]
fn every_kind_of_holder_is_accepted_as_what_it_is() {
    let mesh = Mesh::new();
    let node = mesh.node();
    let system = mesh.pki.issue_system("H26.90", "Trung tâm Phục vụ hành chính công", "motcua").unwrap();
    let person = mesh.pki.issue_person("G01.90", "Trần Thị Thử", "operator.catalog.01").unwrap();
    let company = mesh.pki.issue_public("9900000099", "Công ty CP Ví Dụ", &["vidu.example"]).unwrap();
    let judge = mesh.judge();

    for (issued, branch, agency, usages) in [
        (&node, Branch::State, Some("G01"), &ALL_USAGES[..]),
        (&system, Branch::State, Some("H26.90"), &ALL_USAGES),
        (&person, Branch::State, Some("G01.90"), &[Usage::Client, Usage::Signature]),
        (&company, Branch::Public, None, &ALL_USAGES),
    ] {
        for usage in usages {
            let peer = judge.judge(&chain(issued), *usage, now()).unwrap();
            assert_eq!(peer.binding(), &issued.binding);
            assert_eq!(peer.branch, Some(branch));
            assert_eq!(peer.agency_urn.as_deref(), agency);
            assert!(peer.development);
            assert_eq!(peer.mesh_id.as_deref(), Some("thu-nghiem"));
            assert!(matches!(judge.freshness(&peer, now()), Freshness::Fresh { .. }));
        }
    }
    assert_eq!(
        judge.judge(&chain(&person), Usage::Server, now()),
        Err(CertificateRefusal::WrongUsage { needed: Usage::Server })
    );
    let subject = PeerCertificate::read(&chain(&node)).unwrap().subject;
    assert_eq!(subject.organization.as_deref(), Some("Bộ Công an"));
    assert_eq!(subject.common_name.as_deref(), Some("nut-1"));
    assert_eq!(subject.text, "CN=nut-1,OU=DEMO – Nút trao đổi,O=Bộ Công an,C=VN");
    assert_eq!(PeerCertificate::read(&chain(&node)).unwrap().dns_names, ["g01.example"]);
}

#[test]
fn every_kind_of_key_and_both_branches_are_accepted() {
    let mesh = Mesh::new();
    for (index, key) in
        [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048, KeyKind::Rsa3072]
            .into_iter()
            .enumerate()
    {
        let holder = Holder::System {
            agency_code: "D90".into(),
            agency_name: "Tòa án nhân dân tối cao".into(),
            system_id: format!("he-thong-{index}"),
        };
        let request = Request::new(holder).with_key(key).with_branch(Branch::Party);
        let issued = mesh.pki.issue(&request).unwrap();
        let peer = mesh.judge().judge(&chain(&issued), Usage::Client, now()).unwrap();
        assert_eq!(peer.branch, Some(Branch::Party), "{key:?}");
    }
}

#[test]
fn validity_is_a_closed_interval() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let (chain, judge) = (chain(&issued), mesh.judge());
    let peer = PeerCertificate::read(&chain).unwrap();
    let second = Duration::SECOND;
    assert!(judge.judge(&chain, Usage::Client, at(peer.not_before)).is_ok());
    assert!(judge.judge(&chain, Usage::Client, at(peer.not_after)).is_ok());
    assert_eq!(
        judge.judge(&chain, Usage::Client, at(peer.not_before - second)),
        Err(CertificateRefusal::NotYetValid { not_before: peer.not_before })
    );
    assert_eq!(
        judge.judge(&chain, Usage::Client, at(peer.not_after + second)),
        Err(CertificateRefusal::Expired { not_after: peer.not_after })
    );
}

#[test]
fn an_expired_and_a_future_certificate_are_refused_today() {
    let mesh = Mesh::new();
    let today = OffsetDateTime::now_utc();
    let day = Duration::DAY;
    let expired = Request::new(node_holder()).with_validity(today - day * 3, today - day);
    let issued = mesh.pki.issue(&expired).unwrap();
    assert!(matches!(
        mesh.judge().judge(&chain(&issued), Usage::Client, now()),
        Err(CertificateRefusal::Expired { .. })
    ));
    let holder = Holder::Enterprise { enterprise_code: "9900000017".into(), name: "Công ty Mai Sau".into() };
    let issued = mesh.pki.issue(&Request::new(holder).with_validity(today + day, today + day * 2)).unwrap();
    assert!(matches!(
        mesh.judge().judge(&chain(&issued), Usage::Client, now()),
        Err(CertificateRefusal::NotYetValid { .. })
    ));
}

#[test]
fn five_years_to_the_second_and_no_more() {
    let mesh = Mesh::new();
    let start = OffsetDateTime::now_utc() - Duration::DAY;
    let five_years = start.replace_year(start.year() + 5).unwrap_or(start + Duration::days(5 * 365));
    let issued = mesh.pki.issue(&Request::new(node_holder()).with_validity(start, five_years)).unwrap();
    assert!(mesh.judge().judge(&chain(&issued), Usage::Client, now()).is_ok());

    let holder =
        Holder::Enterprise { enterprise_code: "9900000025".into(), name: "Công ty Lâu Dài".into() };
    let request = Request::new(holder).with_validity(start, five_years + Duration::SECOND * 2);
    let issued = mesh.pki.issue(&request).unwrap();
    assert_eq!(
        mesh.judge().judge(&chain(&issued), Usage::Client, now()),
        Err(CertificateRefusal::LifetimeTooLong { years_max: 5 })
    );
}

#[test]
fn another_mesh_is_an_unknown_authority() {
    let (ours, theirs) = (Mesh::named("ta"), Mesh::named("ho"));
    let issued = theirs.node();
    let Err(CertificateRefusal::UnknownAuthority { issuer }) =
        ours.judge().judge(&chain(&issued), Usage::Client, now())
    else {
        panic!("must be unknown");
    };
    assert!(issuer.contains("OU=ho"), "the operator sees whose it is: {issuer}");
}

/// Same names, other keys: the certificate an impostor with our configuration would make.
#[test]
fn an_authority_of_the_same_name_with_another_key_does_not_count() {
    let (ours, theirs) = (Mesh::named("ta"), Mesh::named("ta"));
    let issued = theirs.node();
    assert_eq!(
        ours.judge().judge(&chain(&issued), Usage::Client, now()),
        Err(CertificateRefusal::BadSignature)
    );
}

#[test]
fn a_public_authority_counts_only_where_configured() {
    let mesh = Mesh::new();
    let company = mesh.pki.issue_public("9900000099", "Công ty CP Ví Dụ", &[]).unwrap();
    let files: Vec<_> =
        mesh.pki.trust_files().into_iter().filter(|(branch, _)| *branch != Branch::Public).collect();
    let judge = judge_of(TrustAnchors::load(&files).unwrap());
    assert!(matches!(
        judge.judge(&chain(&company), Usage::Client, now()),
        Err(CertificateRefusal::UnknownAuthority { .. })
    ));
}

#[test]
fn a_forgotten_intermediate_is_known_from_the_trust_files() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let leaf = &chain(&issued)[..1];
    assert!(mesh.judge().judge(leaf, Usage::Client, now()).is_ok());

    let mut root_only = TrustAnchors::empty();
    root_only.add(Branch::State, &mesh.authority("root")).unwrap();
    let judge = judge_of(root_only);
    assert!(matches!(
        judge.judge(leaf, Usage::Client, now()),
        Err(CertificateRefusal::UnknownAuthority { .. })
    ));
    let peer = judge.judge(&chain(&issued), Usage::Client, now()).unwrap();
    assert_eq!(peer.branch, Some(Branch::State), "the root's branch, where nothing nearer is configured");
    assert_eq!(judge.freshness(&peer, now()), Freshness::Missing);
}

#[test]
fn a_revoked_leaf_is_refused_with_reason_and_time() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let before = OffsetDateTime::now_utc() - Duration::SECOND;
    mesh.pki.revoke(&issued.binding, RevocationReason::KeyCompromise).unwrap();
    let judge = mesh.judge();
    for usage in ALL_USAGES {
        let refusal = judge.judge(&chain(&issued), usage, now()).unwrap_err();
        let CertificateRefusal::Revoked { serial, authority, reason, when } = &refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(*serial, issued.binding.serial_hex());
        assert!(!authority);
        assert_eq!(*reason, RevocationReason::KeyCompromise);
        assert!(*when >= before && *when <= OffsetDateTime::now_utc());
        assert!(refusal.to_string().contains("the key is compromised"), "{refusal}");
    }
    let other = mesh.pki.issue_system("G01", "Bộ Công an", "dan-cu").unwrap();
    assert!(judge.judge(&chain(&other), Usage::Client, now()).is_ok(), "only the revoked one is refused");
}

#[test]
fn a_revoked_intermediate_takes_its_leaves_with_it() {
    let mesh = Mesh::new();
    let state = mesh.node();
    let party = Request::new(Holder::System {
        agency_code: "A01".into(),
        agency_name: "Văn phòng Mẫu".into(),
        system_id: "van-ban".into(),
    });
    let party = mesh.pki.issue(&party.with_branch(Branch::Party)).unwrap();
    let authority = mesh.pki.authority_binding(DevAuthority::State).unwrap();
    mesh.pki.revoke(&authority, RevocationReason::AuthorityCompromise).unwrap();
    let judge = mesh.judge();
    assert!(matches!(
        judge.judge(&chain(&state), Usage::Client, now()),
        Err(CertificateRefusal::Revoked {
            authority: true,
            reason: RevocationReason::AuthorityCompromise,
            ..
        })
    ));
    assert!(judge.judge(&chain(&party), Usage::Client, now()).is_ok());
}

#[test]
fn a_self_signed_certificate_is_refused_as_such() {
    let mesh = Mesh::new();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf_params().self_signed(&key).unwrap();
    assert_eq!(mesh.judge().judge(&[leaf.into()], Usage::Client, now()), Err(CertificateRefusal::SelfSigned));
}

fn authority_params(name: &str, below: u8) -> CertificateParams {
    let mut params = leaf_params();
    params.subject_alt_names.clear();
    params.extended_key_usages.clear();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

#[test]
fn chains_too_long_or_too_deep_are_refused() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    // The State authority may issue leaves only: an authority below it is one too deep.
    let below = CertifiedIssuer::signed_by(
        authority_params("Dưới nhánh", 0),
        KeyPair::generate().unwrap(),
        &mesh.issuer("state"),
    )
    .unwrap();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &below).unwrap();
    let deep = vec![leaf.into(), below.der().clone(), mesh.authority("state")];
    assert_eq!(judge.judge(&deep, Usage::Client, now()), Err(CertificateRefusal::ChainTooLong));

    let mut long = chain(&mesh.node());
    long.resize(6, mesh.authority("root"));
    assert_eq!(judge.judge(&long, Usage::Client, now()), Err(CertificateRefusal::ChainTooLong));
    long.truncate(5);
    assert!(judge.judge(&long, Usage::Client, now()).is_ok(), "needless company does no harm");
}

#[test]
fn authorities_and_leaves_keep_their_places() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    assert_eq!(
        judge.judge(&[mesh.authority("state")], Usage::Client, now()),
        Err(CertificateRefusal::WrongPlace)
    );
    // A leaf that issues: the oldest trick there is.
    let issued = mesh.node();
    let key = KeyPair::from_pem(&std::fs::read_to_string(&issued.key).unwrap()).unwrap();
    let node = rcgen::Issuer::from_ca_cert_der(&chain(&issued)[0], key).unwrap();
    let forged = leaf_params().signed_by(&KeyPair::generate().unwrap(), &node).unwrap();
    let mut forged_chain = vec![forged.into()];
    forged_chain.extend(chain(&issued));
    assert_eq!(judge.judge(&forged_chain, Usage::Client, now()), Err(CertificateRefusal::WrongPlace));
}

#[test]
fn production_refuses_development_authorities_at_start() {
    let mesh = Mesh::new();
    let refused = Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), Profile::default());
    assert!(matches!(refused, Err(TrustError::Development(name)) if name.contains("DEMO")));
}

#[test]
fn production_refuses_development_marks_anywhere_in_the_path() {
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(authority_params("Gốc thật", 1), key()).unwrap();
    let mut anchors = TrustAnchors::empty();
    anchors.add(Branch::State, root.der()).unwrap();
    let judge = Judge::new(anchors, RevocationLists::empty(), Profile::default()).unwrap();
    let mark = |value: &[u8]| {
        CustomExtension::from_oid_content(&lienthong_certs::development::EXTENSION_OID, value.to_vec())
    };

    let clean = leaf_params().signed_by(&key(), &root).unwrap();
    assert!(judge.judge(&[clean.into()], Usage::Client, now()).is_ok());

    // A damaged mark is a mark still.
    for value in [&b"\x0c\x04demo"[..], b"\x05\x00", b"\x0c\x04DEMO"] {
        let mut params = leaf_params();
        params.custom_extensions.push(mark(value));
        let marked = params.signed_by(&key(), &root).unwrap();
        assert_eq!(
            judge.judge(&[marked.into()], Usage::Client, now()),
            Err(CertificateRefusal::DevelopmentCertificate)
        );
    }
    let mut params = authority_params("Nhánh thử", 0);
    params.custom_extensions.push(mark(b"\x0c\x04demo"));
    let between = CertifiedIssuer::signed_by(params, key(), &root).unwrap();
    let leaf = leaf_params().signed_by(&key(), &between).unwrap();
    assert_eq!(
        judge.judge(&[leaf.into(), between.der().clone()], Usage::Client, now()),
        Err(CertificateRefusal::DevelopmentCertificate)
    );
}

#[test]
fn two_generations_of_one_name_stand_side_by_side() {
    let generation =
        || CertifiedIssuer::self_signed(authority_params("Gốc", 0), KeyPair::generate().unwrap()).unwrap();
    let (first, second, third) = (generation(), generation(), generation());
    let mut anchors = TrustAnchors::empty();
    anchors.add(Branch::State, first.der()).unwrap();
    anchors.add(Branch::Party, second.der()).unwrap();
    let judge = judge_of(anchors);
    let leaf = |issuer| vec![leaf_params().signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().into()];
    let branch = |issuer| judge.judge(&leaf(issuer), Usage::Client, now()).map(|peer| peer.branch);
    assert_eq!(branch(&first), Ok(Some(Branch::State)));
    assert_eq!(branch(&second), Ok(Some(Branch::Party)));
    assert_eq!(branch(&third), Err(CertificateRefusal::BadSignature));
}

#[test]
fn trust_is_refused_where_it_cannot_mean_anything() {
    let mesh = Mesh::new();
    let mut anchors = TrustAnchors::empty();
    let leaf = chain(&mesh.node())[0].clone();
    assert!(matches!(anchors.add(Branch::State, &leaf), Err(TrustError::NotAnAuthority(_))));
    assert!(anchors.is_empty());

    let alone = mesh.path("alone.pem");
    std::fs::copy(mesh.path("ca/state.crt"), &alone).unwrap();
    let error = TrustAnchors::load(&[(Branch::State, alone.clone())]).unwrap_err();
    assert!(matches!(error, TrustError::NoRoot(_)), "{error}");
    std::fs::write(&alone, "rubbish").unwrap();
    assert!(matches!(TrustAnchors::load(&[(Branch::State, alone)]), Err(TrustError::File(_))));
}

#[test]
fn rubbish_is_malformed_and_nothing_worse() {
    let mesh = Mesh::new();
    let judge = mesh.judge();
    let chain = chain(&mesh.node());
    let refused = |chain: &[CertificateDer<'_>]| judge.judge(chain, Usage::Client, now()).unwrap_err();
    assert!(matches!(refused(&[]), CertificateRefusal::Malformed(_)));
    assert!(matches!(refused(&[CertificateDer::from(vec![0x30; 17_000])]), CertificateRefusal::Malformed(_)));
    let followed = CertificateDer::from([chain[0].as_ref(), &[0]].concat());
    assert!(matches!(refused(&[followed]), CertificateRefusal::Malformed(_)));
    for length in 0..chain[0].len() {
        let cut = CertificateDer::from(&chain[0][..length]);
        assert!(matches!(refused(&[cut]), CertificateRefusal::Malformed(_)), "cut at {length}");
    }
    // Rubbish behind a good leaf does not spoil it: the path is found among what is good.
    let company = [chain[0].clone(), CertificateDer::from(vec![7; 100])];
    assert!(judge.judge(&company, Usage::Client, now()).is_ok());
}

#[test]
fn every_refusal_has_a_label_and_a_remedy_of_its_own() {
    let when = OffsetDateTime::UNIX_EPOCH;
    let revoked = |authority| CertificateRefusal::Revoked {
        serial: "01".into(),
        authority,
        reason: RevocationReason::Hold,
        when,
    };
    let all = [
        CertificateRefusal::Expired { not_after: when },
        CertificateRefusal::NotYetValid { not_before: when },
        CertificateRefusal::UnknownAuthority { issuer: "CN=a".into() },
        CertificateRefusal::SelfSigned,
        CertificateRefusal::BadSignature,
        CertificateRefusal::WeakSignature,
        revoked(false),
        CertificateRefusal::WrongUsage { needed: Usage::Client },
        CertificateRefusal::LifetimeTooLong { years_max: 5 },
        CertificateRefusal::KeyTooWeak { found: "RSA-1024".into() },
        CertificateRefusal::BadSan("x".into()),
        CertificateRefusal::WrongName { expected: "a".into() },
        CertificateRefusal::NameNotNormalised { subject: "a".into() },
        CertificateRefusal::ChainTooLong,
        CertificateRefusal::WrongPlace,
        CertificateRefusal::NameConstraint,
        CertificateRefusal::UnknownCriticalExtension,
        CertificateRefusal::Malformed("x".into()),
        CertificateRefusal::DevelopmentCertificate,
    ];
    let labels: std::collections::BTreeSet<_> = all.iter().map(CertificateRefusal::label).collect();
    let remedies: std::collections::BTreeSet<_> = all.iter().map(CertificateRefusal::remedy).collect();
    assert_eq!(labels.len(), all.len());
    assert_eq!(remedies.len(), all.len());
    assert_ne!(revoked(true).remedy(), revoked(false).remedy());
}

#[test]
fn an_old_signature_algorithm_in_the_chain_is_refused() {
    let mesh = Mesh::new();
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let root = CertifiedIssuer::self_signed(authority_params("Gốc P-521", 0), p521).unwrap();
    let leaf = leaf_params().signed_by(&KeyPair::generate().unwrap(), &root).unwrap();
    let mut anchors = mesh.pki.anchors().unwrap();
    anchors.add(Branch::State, root.der()).unwrap();
    assert_eq!(
        judge_of(anchors).judge(&[leaf.into()], Usage::Client, now()),
        Err(CertificateRefusal::WeakSignature)
    );
}

#[test]
fn no_changed_byte_survives() {
    let mesh = Mesh::new();
    let (judge, chain) = (mesh.judge(), chain(&mesh.node()));
    proptest!(ProptestConfig::with_cases(300), |(position in 0..chain[0].len(), flip in 1..=255_u8)| {
        let mut changed = chain[0].to_vec();
        changed[position] ^= flip;
        let changed = [CertificateDer::from(changed), chain[1].clone()];
        prop_assert!(judge.judge(&changed, Usage::Client, now()).is_err());
    });
}
