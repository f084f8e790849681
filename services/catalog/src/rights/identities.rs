//! Who takes part: parties, their nodes and systems, and the certificates that stand for them.

use std::collections::HashMap;
use std::ops::Range;

use lienthong_proto::lienthong::control::v1::{CertificateBinding, Node, Party, RightsBundle, System};

use super::BundleError;

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// The identities of one bundle. Parties and systems are known by slot, for rights to refer to.
#[derive(Debug)]
pub(crate) struct Identities {
    /// By code.
    parties: Vec<Party>,
    party_slots: Slots,
    /// By agency and name.
    nodes: Vec<Node>,
    nodes_of: HashMap<Box<str>, Range<usize>>,
    node_by_certificate: HashMap<CertificateBinding, usize>,
    /// By name.
    systems: Vec<System>,
    system_slots: Slots,
    system_by_certificate: HashMap<CertificateBinding, usize>,
}

impl Identities {
    /// Reads the identities of a bundle, or says how they contradict each other.
    pub(super) fn read(bundle: &RightsBundle) -> Result<Self, BundleError> {
        let (parties, party_slots) = parties(&bundle.parties)?;
        let (nodes, nodes_of) = nodes(&bundle.nodes, &party_slots)?;
        let (systems, system_slots) = systems(&bundle.systems, &party_slots)?;
        let node_by_certificate =
            certificates(nodes.iter().map(|node| (node.name.as_str(), &node.certificates)))?;
        let system_by_certificate =
            certificates(systems.iter().map(|system| (system.name.as_str(), &system.certificates)))?;
        Ok(Self {
            parties,
            party_slots,
            nodes,
            nodes_of,
            node_by_certificate,
            systems,
            system_slots,
            system_by_certificate,
        })
    }

    #[inline]
    pub(crate) fn party_slot(&self, code: &str) -> Option<u32> {
        self.party_slots.get(code).copied()
    }

    #[inline]
    pub(crate) fn party(&self, slot: u32) -> &Party {
        &self.parties[slot as usize]
    }

    /// A system and its slot.
    #[inline]
    pub(crate) fn system(&self, name: &str) -> Option<(u32, &System)> {
        self.system_slots.get(name).map(|slot| (*slot, self.system_at(*slot)))
    }

    pub(crate) fn system_at(&self, slot: u32) -> &System {
        &self.systems[slot as usize]
    }

    pub(super) fn nodes_of(&self, agency: &str) -> &[Node] {
        self.nodes_of.get(agency).map_or(&[], |range| &self.nodes[range.clone()])
    }

    pub(super) fn node_of_certificate(&self, certificate: &CertificateBinding) -> Option<&Node> {
        self.node_by_certificate.get(certificate).map(|slot| &self.nodes[*slot])
    }

    pub(super) fn system_of_certificate(&self, certificate: &CertificateBinding) -> Option<&System> {
        self.system_by_certificate.get(certificate).map(|slot| &self.systems[*slot])
    }
}

/// Slots by name.
type Slots = HashMap<Box<str>, u32>;

/// Numbers names in their order; a name that comes twice is an error. The bounds above are far below `u32::MAX`.
fn slots<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<Slots, BundleError> {
    let mut slots = HashMap::new();
    for (name, slot) in names.zip(0..) {
        if slots.insert(Box::from(name), slot).is_some() {
            return Err(BundleError::Twice { what, name: name.to_owned() });
        }
    }
    Ok(slots)
}

fn parties(parties: &[Party]) -> Result<(Vec<Party>, Slots), BundleError> {
    let mut parties = parties.to_vec();
    parties.sort_by(|a, b| a.code.cmp(&b.code));
    let slots = slots("party", parties.iter().map(|party| party.code.as_str()))?;
    Ok((parties, slots))
}

type NodesByAgency = HashMap<Box<str>, Range<usize>>;

fn nodes(nodes: &[Node], parties: &Slots) -> Result<(Vec<Node>, NodesByAgency), BundleError> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|a, b| (&a.agency, &a.name).cmp(&(&b.agency, &b.name)));
    slots("node", nodes.iter().map(|node| node.name.as_str()))?;
    let mut by_agency = HashMap::new();
    let mut start = 0;
    for group in nodes.chunk_by(|a, b| a.agency == b.agency) {
        let agency = group[0].agency.as_str();
        if !parties.contains_key(agency) {
            return Err(BundleError::Orphan { name: group[0].name.clone(), agency: agency.to_owned() });
        }
        by_agency.insert(Box::from(agency), start..start + group.len());
        start += group.len();
    }
    Ok((nodes, by_agency))
}

fn systems(systems: &[System], parties: &Slots) -> Result<(Vec<System>, Slots), BundleError> {
    let mut systems = systems.to_vec();
    systems.sort_by(|a, b| a.name.cmp(&b.name));
    let slots = slots("system", systems.iter().map(|system| system.name.as_str()))?;
    if let Some(orphan) = systems.iter().find(|system| !parties.contains_key(system.agency.as_str())) {
        return Err(BundleError::Orphan { name: orphan.name.clone(), agency: orphan.agency.clone() });
    }
    Ok((systems, slots))
}

/// Owners by certificate. One owner may hold several; no certificate has two owners.
fn certificates<'a>(
    owners: impl Iterator<Item = (&'a str, &'a Vec<CertificateBinding>)>,
) -> Result<HashMap<CertificateBinding, usize>, BundleError> {
    let mut by_certificate = HashMap::new();
    for (slot, (name, certificates)) in owners.enumerate() {
        for certificate in certificates {
            let fault = |fault| BundleError::Certificate { name: name.to_owned(), fault };
            if certificate.issuer.is_empty()
                || certificate.serial.is_empty()
                || certificate.spki_sha256.len() != SHA256_BYTES
            {
                return Err(fault("not bound by issuer, serial and key"));
            }
            if by_certificate.insert(certificate.clone(), slot).is_some_and(|before| before != slot) {
                return Err(fault("bound to another one too"));
            }
        }
    }
    Ok(by_certificate)
}
