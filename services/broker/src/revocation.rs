//! Which revocation lists the bundles carry, as heartbeats name them: a node that holds an older one notices.

use std::collections::BTreeMap;

use lienthong_certs::judge::{RevocationList, TrustAnchors};
use lienthong_proto::lienthong::control::v1::RevocationState;

/// The newest of `lists` (DER) of each authority. One that cannot be read names nothing: it was refused when it was
/// loaded, or nodes leave it out as well.
pub fn states(lists: &[Vec<u8>], anchors: &TrustAnchors) -> Vec<RevocationState> {
    let mut newest = BTreeMap::new();
    for list in lists.iter().filter_map(|der| RevocationList::read(der, anchors).ok()) {
        let authority = list.authority.as_bytes().to_vec();
        let state = RevocationState {
            authority: authority.clone(),
            issuer: list.issuer,
            crl_number: list.crl_number,
        };
        let held = newest.entry(authority).or_insert_with(|| state.clone());
        if rank(held) < rank(&state) {
            *held = state;
        }
    }
    newest.into_values().collect()
}

/// Numbers have no leading zeros: the longer one is the larger.
fn rank(state: &RevocationState) -> (usize, &[u8]) {
    (state.crl_number.len(), &state.crl_number)
}

#[cfg(test)]
mod tests {
    use lienthong_certs::DevPki;
    use lienthong_certs::judge::RevocationReason;

    use super::*;

    #[test]
    fn the_newest_list_of_each_authority_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), "vn-test").unwrap();
        let anchors = pki.anchors().unwrap();
        let read = || -> Vec<Vec<u8>> {
            let files = pki.crl_files();
            files.iter().flat_map(|file| crate::trust::lists_in(file).unwrap()).collect()
        };
        let before = read();
        let node = pki.issue_node("H29", "DEMO – Cơ quan thử", "n1", &["n1.h29.test"]).unwrap();
        pki.revoke(&node.binding, RevocationReason::KeyCompromise).unwrap();
        let after = read();
        let (old, new) = (states(&before, &anchors), states(&after, &anchors));
        assert_eq!(old.len(), new.len());
        assert!(!new.is_empty() && old != new);
        let mixed: Vec<Vec<u8>> = after.into_iter().chain(before).chain([vec![0xff]]).collect();
        assert_eq!(states(&mixed, &anchors), new);
    }
}
