//! Step 2: who calls. Identity is what the registry binds the certificate to, never what a request says
//!

use std::sync::Arc;

use lienthong_catalog::{Place, RightsIndex};
use lienthong_certs::{Branch, PeerCertificate};
use lienthong_proto::{lienthong::control::v1::CertificateBinding, reason::Reason, status::MeshError};
use lienthong_transport::{Peer, PeerIdentity};

use crate::node::Node;

/// Who calls, as far as it was proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Code of the party; empty while unknown.
    pub party: String,
    /// Resource name of the information system; empty while unknown.
    pub system: String,
    /// Where the rights have found both, which spares each decision the search.
    pub place: Option<Place>,
    /// Resource name of the node that calls; empty for the agency's own systems.
    pub node: String,
    /// SHA-256 of the certificate; empty on local hops.
    pub certificate: Vec<u8>,
    /// The certificate as it was judged; `None` on local hops.
    pub judged: Option<Arc<PeerCertificate>>,
}

/// What the registry binds a certificate by.
pub fn binding_of(certificate: &PeerCertificate) -> CertificateBinding {
    let binding = certificate.binding();
    CertificateBinding {
        issuer: binding.issuer.clone(),
        serial: binding.serial.clone(),
        spki_sha256: binding.spki_sha256.to_vec(),
    }
}

/// Identifies one of the agency's own systems.
pub fn own_system(node: &Node, rights: &RightsIndex, peer: &Peer) -> (Caller, Result<(), MeshError>) {
    let mut caller = unnamed(peer);
    let system = match peer.identity() {
        PeerIdentity::Certificate(certificate) => rights.system_of(&binding_of(certificate)),
        PeerIdentity::Unix(unix) => node.system_of_uid(unix.uid).and_then(|name| rights.system(name)),
        PeerIdentity::Loopback => None,
    };
    let Some(system) = system else {
        return (caller, Err(unbound(peer, "an information system")));
    };
    caller.party.clone_from(&system.agency);
    caller.system.clone_from(&system.name);
    caller.place = rights.place(&caller.party, Some(&caller.system));
    if let Err(error) = fits_branch(rights, peer, &system.agency) {
        return (caller, Err(error));
    }
    if system.agency != node.agency {
        let error =
            denied(format!("{} belongs to {}; it calls its own agency's node", system.name, system.agency));
        return (caller, Err(error));
    }
    (caller, Ok(()))
}

/// Identifies the node of another party, and the system that it speaks for.
pub fn peer_node(rights: &RightsIndex, peer: &Peer, system: &str) -> (Caller, Result<(), MeshError>) {
    let mut caller = unnamed(peer);
    let bound =
        peer.certificate().and_then(|certificate| rights.node_of_certificate(&binding_of(certificate)));
    let Some(bound) = bound else {
        return (caller, Err(unbound(peer, "a node that may call here")));
    };
    caller.party.clone_from(&bound.agency);
    caller.node.clone_from(&bound.name);
    if let Err(error) = fits_branch(rights, peer, &bound.agency) {
        return (caller, Err(error));
    }
    if system.is_empty() {
        return (caller, Ok(()));
    }
    let Some(place) = rights.place(&bound.agency, Some(system)) else {
        let error =
            denied(format!("the node of {} speaks for a system that is not registered there", bound.agency));
        return (caller, Err(error));
    };
    system.clone_into(&mut caller.system);
    caller.place = Some(place);
    (caller, Ok(()))
}

/// A public authority vouches for parties outside the political system alone: whatever the registry binds, no certificate
/// of it stands for an agency.
pub fn fits_branch(rights: &RightsIndex, peer: &Peer, party: &str) -> Result<(), MeshError> {
    let is_public = peer.certificate().is_some_and(|certificate| certificate.branch == Some(Branch::Public));
    if is_public && rights.party(party).is_none_or(|party| !party.outside) {
        let detail =
            format!("a public authority vouches for the certificate, and {party} is an agency of the state");
        return Err(denied(detail));
    }
    Ok(())
}

/// What the handshake says of a caller.
fn unnamed(peer: &Peer) -> Caller {
    let judged = peer.certificate().cloned();
    let certificate =
        judged.as_ref().map(|certificate| certificate.fingerprint().to_vec()).unwrap_or_default();
    Caller { certificate, judged, ..Caller::default() }
}

fn unbound(peer: &Peer, what: &str) -> MeshError {
    denied(match peer.identity() {
        PeerIdentity::Certificate(certificate) => {
            let binding = certificate.binding();
            format!(
                "the registry does not bind certificate {} of {} to {what}",
                hex::encode(&binding.serial),
                binding.issuer
            )
        }
        PeerIdentity::Unix(unix) => format!("uid {} is not mapped to {what}", unix.uid),
        PeerIdentity::Loopback => format!("plaintext loopback proves nothing; it is not mapped to {what}"),
    })
}

fn denied(detail: String) -> MeshError {
    MeshError::new(Reason::DenyCertificate, detail)
}
