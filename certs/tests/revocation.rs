//! Revocation lists as files: verified once, indexed, never older than what is held.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails, in its helpers too")]

mod common;

use std::time::{Duration, Instant};

use common::{Mesh, at, chain, now};
use lienthong_certs::certificate::{PeerCertificate, Usage};
use lienthong_certs::judge::{
    CertificateRefusal, Freshness, Judge, Profile, RevocationError, RevocationList, RevocationLists,
    RevocationReason, TrustAnchors,
};
use lienthong_certs::pki::{CRL_DAYS, DevAuthority};
use proptest::prelude::*;
use rcgen::{
    CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope,
    KeyIdMethod, RevokedCertParams, SerialNumber,
};
use time::OffsetDateTime;

fn params(number: u64, serials: impl Iterator<Item = u64>) -> CertificateRevocationListParams {
    let today = OffsetDateTime::now_utc();
    CertificateRevocationListParams {
        this_update: today,
        next_update: today + time::Duration::DAY,
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: today,
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    }
}

fn signed(mesh: &Mesh, stem: &str, params: &CertificateRevocationListParams) -> Vec<u8> {
    params.signed_by(&mesh.issuer(stem)).unwrap().der().to_vec()
}

#[test]
fn the_published_list_says_what_was_revoked() {
    let mesh = Mesh::new();
    let node = mesh.node();
    let system = mesh.pki.issue_system("G01", "Bộ Công an", "dan-cu").unwrap();
    let list = || {
        let bytes = std::fs::read(mesh.path("crl/state.crl")).unwrap();
        RevocationList::read(&bytes, &mesh.pki.anchors().unwrap()).unwrap()
    };
    assert!(list().is_empty());
    assert_eq!(list().crl_number, [1]);

    mesh.pki.revoke(&node.binding, RevocationReason::Superseded).unwrap();
    mesh.pki.revoke(&system.binding, RevocationReason::CessationOfOperation).unwrap();
    mesh.pki.revoke(&node.binding, RevocationReason::KeyCompromise).unwrap();
    mesh.pki.crl(DevAuthority::State).unwrap();
    let list = list();
    assert_eq!(list.len(), 2);
    assert_eq!(list.crl_number, [5]);
    assert_eq!(list.find(&node.binding.serial).unwrap().reason, RevocationReason::Superseded);
    assert_eq!(list.find(&system.binding.serial).unwrap().reason, RevocationReason::CessationOfOperation);
    assert_eq!(list.find(&[1]), None);
    assert_eq!(list.issuer, node.binding.issuer);
}

#[test]
fn every_reason_comes_back_as_it_went_in() {
    let mesh = Mesh::new();
    for (index, reason) in [
        RevocationReason::Unspecified,
        RevocationReason::KeyCompromise,
        RevocationReason::AuthorityCompromise,
        RevocationReason::AffiliationChanged,
        RevocationReason::Superseded,
        RevocationReason::CessationOfOperation,
        RevocationReason::Hold,
        RevocationReason::PrivilegeWithdrawn,
    ]
    .into_iter()
    .enumerate()
    {
        let issued = mesh.pki.issue_system("G01", "Bộ Công an", &format!("he-thong-{index}")).unwrap();
        mesh.pki.revoke(&issued.binding, reason).unwrap();
        let refusal = mesh.judge().judge(&chain(&issued), Usage::Client, now()).unwrap_err();
        assert!(
            matches!(refusal, CertificateRefusal::Revoked { reason: found, .. } if found == reason),
            "{refusal:?}"
        );
    }
}

#[test]
fn revoking_at_once_from_many_threads_loses_nothing() {
    let mesh = Mesh::new();
    let issued: Vec<_> = (0..8)
        .map(|index| mesh.pki.issue_system("G01", "Bộ Công an", &format!("he-thong-{index}")).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for issued in &issued {
            scope.spawn(|| mesh.pki.revoke(&issued.binding, RevocationReason::Superseded));
        }
    });
    let judge = mesh.judge();
    for issued in &issued {
        assert!(matches!(
            judge.judge(&chain(issued), Usage::Client, now()),
            Err(CertificateRefusal::Revoked { .. })
        ));
    }
}

#[test]
fn freshness_is_a_fact_and_no_refusal() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let judge = mesh.judge();
    let peer = judge.judge(&chain(&issued), Usage::Client, now()).unwrap();
    let authority = &peer.binding().issuer;
    let today = OffsetDateTime::now_utc();
    let hours = |freshness| match freshness {
        Freshness::Fresh { age } | Freshness::Stale { age } => age.as_secs() / 3600,
        Freshness::Missing => panic!("a list is held"),
    };

    assert!(matches!(judge.lists().freshness(authority, now()), Freshness::Fresh { .. }));
    let later = today + time::Duration::days(CRL_DAYS) + time::Duration::HOUR;
    let stale = judge.freshness(&peer, at(later));
    assert!(matches!(stale, Freshness::Stale { .. }));
    assert_eq!(hours(stale), 7 * 24 + 1);
    // Before the list was made there is no negative age.
    assert_eq!(hours(judge.freshness(&peer, at(today - time::Duration::DAY))), 0);
    assert!(judge.judge(&chain(&issued), Usage::Client, at(later)).is_ok(), "stale alone refuses nothing");

    assert_eq!(judge.lists().freshness("CN=nobody", now()), Freshness::Missing);
    let none =
        Judge::new(mesh.pki.anchors().unwrap(), RevocationLists::empty(), Profile::development()).unwrap();
    assert_eq!(none.freshness(&peer, now()), Freshness::Missing);
}

#[test]
fn the_freshness_of_a_chain_is_the_worst_in_it() {
    let mesh = Mesh::new();
    let node = chain(&mesh.node());
    let anchors = mesh.pki.anchors().unwrap();
    // The root's list counts too: an intermediate may be revoked there.
    let state = RevocationLists::load(&[mesh.path("crl/state.crl")], &anchors).unwrap();
    let judge = Judge::new(anchors, state, Profile::development()).unwrap();
    let peer = judge.judge(&node, Usage::Client, now()).unwrap();
    let nearest = judge.lists().freshness(&peer.binding().issuer, now());
    assert!(matches!(nearest, Freshness::Fresh { .. }));
    assert_eq!(judge.freshness(&peer, now()), Freshness::Missing);
    let unjudged = PeerCertificate::read(&node).unwrap();
    assert_eq!(judge.freshness(&unjudged, now()), Freshness::Missing);
}

#[test]
fn the_worst_freshness_is_the_greatest() {
    let age = Duration::from_secs;
    let mut all = [
        Freshness::Missing,
        Freshness::Stale { age: age(1) },
        Freshness::Fresh { age: age(9) },
        Freshness::Fresh { age: age(2) },
    ];
    all.sort();
    assert_eq!(
        all,
        [
            Freshness::Fresh { age: age(2) },
            Freshness::Fresh { age: age(9) },
            Freshness::Stale { age: age(1) },
            Freshness::Missing
        ]
    );
}

#[test]
fn a_list_of_nobody_we_know_is_refused() {
    let (mesh, other) = (Mesh::named("ta"), Mesh::named("ta"));
    let anchors = mesh.pki.anchors().unwrap();
    let same_name_other_key = signed(&other, "state", &params(9, 1..3));
    let refused = RevocationList::read(&same_name_other_key, &anchors);
    assert!(matches!(refused, Err(RevocationError::Unverified(name)) if name.contains("DEMO")));
    let empty = RevocationList::read(&same_name_other_key, &TrustAnchors::empty());
    assert!(matches!(empty, Err(RevocationError::Unverified(_))));
}

#[test]
fn an_authority_speaks_for_its_own_certificates_only() {
    let mesh = Mesh::new();
    let issued = mesh.node();
    let mut party = params(9, 0..0);
    party.revoked_certs.push(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&issued.binding.serial),
        revocation_time: OffsetDateTime::now_utc(),
        reason_code: None,
        invalidity_date: None,
    });
    let anchors = mesh.pki.anchors().unwrap();
    let list = RevocationList::read(&signed(&mesh, "party", &party), &anchors).unwrap();
    let lists = mesh.pki.lists().unwrap().with(list).unwrap();
    let judge = Judge::new(anchors, lists, Profile::development()).unwrap();
    assert!(judge.judge(&chain(&issued), Usage::Client, now()).is_ok());
}

#[test]
fn an_older_list_never_replaces_a_newer_one() {
    let mesh = Mesh::new();
    let anchors = mesh.pki.anchors().unwrap();
    let read = |number, serials| {
        RevocationList::read(&signed(&mesh, "state", &params(number, serials)), &anchors).unwrap()
    };
    let lists = RevocationLists::empty().with(read(256, 1..3)).unwrap();
    let refused = lists.with(read(255, 0..0));
    assert!(
        matches!(refused, Err(RevocationError::Older { offered, held, .. }) if offered == "ff" && held == "0100")
    );
    assert_eq!(lists.lists().next().unwrap().len(), 2, "what is held stays");
    let newer = lists.with(read(257, 1..6)).unwrap();
    assert_eq!(newer.lists().next().unwrap().len(), 5);
    assert_eq!(lists.lists().next().unwrap().len(), 2, "a judge that holds the old lists is not disturbed");
}

#[test]
fn a_list_that_does_not_cover_everything_is_refused() {
    let mesh = Mesh::new();
    let anchors = mesh.pki.anchors().unwrap();
    for scope in [CrlScope::UserCertsOnly, CrlScope::CaCertsOnly] {
        let mut partial = params(9, 1..3);
        partial.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec!["http://pki.example/a.crl".into()] },
            scope: Some(scope),
        });
        let refused = RevocationList::read(&signed(&mesh, "state", &partial), &anchors);
        assert!(matches!(refused, Err(RevocationError::Partial(_))), "{refused:?}");
    }
    let mut whole = params(9, 1..3);
    whole.issuing_distribution_point = Some(CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://pki.example/a.crl".into()] },
        scope: None,
    });
    assert_eq!(RevocationList::read(&signed(&mesh, "state", &whole), &anchors).unwrap().len(), 2);
}

#[test]
fn lists_are_read_in_der_and_pem_and_errors_name_the_file() {
    let mesh = Mesh::new();
    let anchors = mesh.pki.anchors().unwrap();
    let pem: String = ["state", "party"]
        .map(|stem| params(7, 1..4).signed_by(&mesh.issuer(stem)).unwrap().pem().unwrap())
        .concat();
    let path = mesh.path("both.pem");
    std::fs::write(&path, pem).unwrap();
    let lists = RevocationLists::load(std::slice::from_ref(&path), &anchors).unwrap();
    assert_eq!(lists.lists().count(), 2);

    for rubbish in [&b""[..], b"rubbish", b"0", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
        std::fs::write(&path, rubbish).unwrap();
        let error = RevocationLists::load(std::slice::from_ref(&path), &anchors).unwrap_err();
        assert!(error.to_string().contains("both.pem"), "{error}");
    }
    assert!(matches!(
        RevocationLists::load(&[mesh.path("absent.crl")], &anchors),
        Err(RevocationError::File(_))
    ));
}

/// 200,000 look-ups against 100,000 entries: a scan would compare twenty thousand million times, which no
/// machine does in these five seconds.
#[test]
fn a_hundred_thousand_entries_are_one_hash_look_up() {
    const ENTRIES: u64 = 100_000;
    let mesh = Mesh::new();
    let issued = mesh.node();
    let anchors = mesh.pki.anchors().unwrap();
    let der = signed(&mesh, "state", &params(9, 1..=ENTRIES));
    let list = RevocationList::read(&der, &anchors).unwrap();
    let state = list.authority;
    let lists = mesh.pki.lists().unwrap().with(list).unwrap();
    let bytes = |serial: u64| serial.to_be_bytes()[serial.leading_zeros() as usize / 8..].to_vec();

    let start = Instant::now();
    for serial in 1..=ENTRIES {
        assert!(lists.find(state, &bytes(serial)).is_some());
        assert!(lists.find(state, &bytes(serial + ENTRIES)).is_none());
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    let judge = Judge::new(anchors, lists, Profile::development()).unwrap();
    assert!(judge.judge(&chain(&issued), Usage::Client, now()).is_ok());
}

#[test]
fn no_changed_byte_of_a_list_survives() {
    let mesh = Mesh::new();
    let anchors = mesh.pki.anchors().unwrap();
    let der = signed(&mesh, "state", &params(9, 1..20));
    proptest!(ProptestConfig::with_cases(300), |(position in 0..der.len(), flip in 1..=255_u8)| {
        let mut changed = der.clone();
        changed[position] ^= flip;
        prop_assert!(RevocationList::read(&changed, &anchors).is_err());
    });
    for length in 0..der.len() {
        assert!(RevocationList::read(&der[..length], &anchors).is_err(), "cut at {length}");
    }
    assert!(RevocationList::read(&[&der[..], &[0]].concat(), &anchors).is_err());
}
