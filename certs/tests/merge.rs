//! Lists from several sources: of each authority the newer one counts, whatever the order.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

use lienthong_certs::inspect::ExpiryNotice;
use lienthong_certs::judge::{RevocationLists, RevocationReason};
use lienthong_certs::pki::DevAuthority;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

mod common;

use common::Mesh;

#[test]
fn of_each_authority_the_newer_list_counts_whatever_the_order() {
    let mesh = Mesh::new();
    let anchors = mesh.pki.anchors().unwrap();
    let node = mesh.node();
    let first = mesh.pki.lists().unwrap();
    mesh.pki.revoke(&node.binding, RevocationReason::KeyCompromise).unwrap();
    let second = mesh.pki.lists().unwrap();
    assert!(!first.same(&second) && second.same(&second.clone()));
    for merged in [first.newest(&second), second.newest(&first), RevocationLists::empty().newest(&second)] {
        assert!(merged.same(&second));
    }
    assert!(second.newest(&RevocationLists::empty()).same(&second));

    // What is handed on reads back as it was.
    for list in second.lists() {
        let again = RevocationLists::read(list.der(), &anchors).unwrap();
        assert_eq!(again.lists().next().unwrap().crl_number, list.crl_number);
    }
    let state = std::fs::read(mesh.pki.crl(DevAuthority::State).unwrap()).unwrap();
    assert!(RevocationLists::read(&state[..state.len() - 1], &anchors).is_err());
}

#[test]
fn the_end_of_a_certificate_is_told_at_30_14_and_7_days() {
    let now = datetime!(2026-11-22 07:00 UTC);
    let at = |left: Duration| ExpiryNotice::of(now + left, now);
    for (days, notice) in [
        (400, None),
        (31, None),
        (30, Some(ExpiryNotice::Plan)),
        (15, Some(ExpiryNotice::Plan)),
        (14, Some(ExpiryNotice::Soon)),
        (8, Some(ExpiryNotice::Soon)),
        (7, Some(ExpiryNotice::Urgent)),
        (0, Some(ExpiryNotice::Urgent)),
        (-1, Some(ExpiryNotice::Expired)),
    ] {
        assert_eq!(at(Duration::days(days)), notice, "{days} days");
    }
    assert_eq!(at(Duration::seconds(-1)), Some(ExpiryNotice::Expired));
    assert_eq!(ExpiryNotice::of(OffsetDateTime::UNIX_EPOCH, now), Some(ExpiryNotice::Expired));
}
