//! Which revocation lists the bundles carry, as heartbeats name them: a node that holds an older one notices.

use lienthong_certs::judge::RevocationList;
use lienthong_proto::lienthong::control::v1::RevocationState;

/// Names these lists, of which there is one an authority.
pub fn states(lists: &[&RevocationList]) -> Vec<RevocationState> {
    let state = |list: &&RevocationList| RevocationState {
        authority: list.authority.as_bytes().to_vec(),
        issuer: list.issuer.clone(),
        crl_number: list.crl_number.clone(),
    };
    lists.iter().map(state).collect()
}
