//! Who takes part: parties, their nodes and systems, and the certificates that stand for them.

use std::collections::HashMap;
use std::ops::Range;

use lienthong_proto::lienthong::control::v1::{CertificateBinding, Node, Party, RightsBundle, System};
use lienthong_proto::lienthong::options::v1::Purpose;

use super::load::Problems;
use super::{BundleError, Span};
use crate::decide::Question;
use crate::purpose;

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// The identities of one bundle. Parties and systems are known by slot, for rights to refer to.
#[derive(Debug)]
pub(crate) struct Identities {
    /// By code.
    parties: Vec<Party>,
    party_facts: HashMap<Box<str>, PartyFacts>,
    /// By agency and name.
    nodes: Vec<Node>,
    nodes_of: HashMap<Box<str>, Range<usize>>,
    node_by_certificate: HashMap<CertificateBinding, usize>,
    /// By name.
    systems: Vec<System>,
    system_facts: HashMap<Box<str>, SystemFacts>,
    system_by_certificate: HashMap<CertificateBinding, usize>,
}

/// What a decision must know of a party, beside its code in one place of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartyFacts {
    pub slot: u32,
    pub outside: bool,
    pub security_level: u32,
}

/// What a decision must know of a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SystemFacts {
    pub slot: u32,
    /// Slot of its party.
    pub party: u32,
    pub security_level: u32,
    /// Purpose of its calls that state none.
    pub default_purpose: Option<Purpose>,
}

/// Who asks, as one index knows him: found by name once, for every decision by that index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of the index: a place says nothing in another one.
    pub(super) index: u64,
    pub(crate) known: Known,
}

impl Place {
    /// A place without a system answers no question that names one, nor the other way round.
    pub(super) fn is_of(&self, question: &Question<'_>) -> bool {
        self.known.system.is_some() == question.system.is_some()
    }
}

/// What a decision must know of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub party: PartyFacts,
    /// The system that was named, where it is one of this party.
    pub system: Option<SystemFacts>,
    /// The party's rights.
    pub rights: Span,
}

impl Identities {
    /// Reads the identities of a bundle, or says how they contradict each other.
    pub(super) fn read(bundle: &RightsBundle, problems: &mut Problems) -> Result<Self, BundleError> {
        let (parties, party_facts) = parties(&bundle.parties)?;
        let (nodes, nodes_of) = nodes(&bundle.nodes, &party_facts)?;
        let (systems, system_facts) = systems(&bundle.systems, &party_facts, problems)?;
        let node_by_certificate =
            certificates(nodes.iter().map(|node| (node.name.as_str(), &node.certificates)))?;
        let system_by_certificate =
            certificates(systems.iter().map(|system| (system.name.as_str(), &system.certificates)))?;
        Ok(Self {
            parties,
            party_facts,
            nodes,
            nodes_of,
            node_by_certificate,
            systems,
            system_facts,
            system_by_certificate,
        })
    }

    #[inline]
    pub(crate) fn party_facts(&self, code: &str) -> Option<PartyFacts> {
        self.party_facts.get(code).copied()
    }

    #[inline]
    pub(crate) fn system_facts(&self, name: &str) -> Option<SystemFacts> {
        self.system_facts.get(name).copied()
    }

    pub(super) fn parties_count(&self) -> usize {
        self.parties.len()
    }

    /// The party with this code.
    pub(crate) fn party(&self, code: &str) -> Option<&Party> {
        self.party_facts(code).map(|facts| self.party_at(facts.slot))
    }

    pub(crate) fn party_at(&self, slot: u32) -> &Party {
        &self.parties[slot as usize]
    }

    /// The system with this resource name.
    pub(super) fn system(&self, name: &str) -> Option<&System> {
        self.system_facts(name).map(|facts| self.system_at(facts.slot))
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

/// Facts by name.
type Facts<F> = HashMap<Box<str>, F>;

/// Gathers facts by name; a name that comes twice is an error.
fn facts<'a, F>(
    what: &'static str,
    named: impl Iterator<Item = (&'a str, F)>,
) -> Result<Facts<F>, BundleError> {
    let mut facts = HashMap::new();
    for (name, fact) in named {
        if facts.insert(Box::from(name), fact).is_some() {
            return Err(BundleError::Twice { what, name: name.to_owned() });
        }
    }
    Ok(facts)
}

// Slots are counted by `u32`: IDENTITIES_MAX is far below its end.

fn parties(parties: &[Party]) -> Result<(Vec<Party>, Facts<PartyFacts>), BundleError> {
    let mut parties = parties.to_vec();
    parties.sort_by(|a, b| a.code.cmp(&b.code));
    let named = parties.iter().zip(0..).map(|(party, slot)| {
        let facts = PartyFacts { slot, outside: party.outside, security_level: party.security_level };
        (party.code.as_str(), facts)
    });
    let facts = facts("party", named)?;
    Ok((parties, facts))
}

type NodesByAgency = HashMap<Box<str>, Range<usize>>;

fn nodes(nodes: &[Node], parties: &Facts<PartyFacts>) -> Result<(Vec<Node>, NodesByAgency), BundleError> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|a, b| (&a.agency, &a.name).cmp(&(&b.agency, &b.name)));
    facts("node", nodes.iter().map(|node| (node.name.as_str(), ())))?;
    let mut by_agency = HashMap::new();
    let mut start = 0;
    for group in nodes.chunk_by(|a, b| a.agency == b.agency) {
        let agency = group[0].agency.as_str();
        if !parties.contains_key(agency) {
            return Err(orphan(&group[0].name, agency));
        }
        by_agency.insert(Box::from(agency), start..start + group.len());
        start += group.len();
    }
    Ok((nodes, by_agency))
}

fn systems(
    systems: &[System],
    parties: &Facts<PartyFacts>,
    problems: &mut Problems,
) -> Result<(Vec<System>, Facts<SystemFacts>), BundleError> {
    let mut systems = systems.to_vec();
    systems.sort_by(|a, b| a.name.cmp(&b.name));
    let named: Result<Vec<_>, BundleError> = systems
        .iter()
        .zip(0..)
        .map(|(system, slot)| {
            let agency = system.agency.as_str();
            let party = parties.get(agency).ok_or_else(|| orphan(&system.name, agency))?.slot;
            let facts = SystemFacts {
                slot,
                party,
                security_level: system.security_level,
                default_purpose: default_purpose(system, problems),
            };
            Ok((system.name.as_str(), facts))
        })
        .collect();
    let facts = facts("system", named?.into_iter())?;
    Ok((systems, facts))
}

/// The system's default purpose, where it may be one; otherwise its calls must state theirs.
fn default_purpose(system: &System, problems: &mut Problems) -> Option<Purpose> {
    let purpose = Purpose::try_from(system.default_purpose).ok();
    let default = purpose.filter(|purpose| purpose::may_be_default(*purpose));
    if default.is_none() && purpose != Some(Purpose::Unspecified) {
        let word = purpose.map_or("an unknown one", purpose::word);
        problems
            .note(format!("the default purpose of {} is left out: {word} needs a statement", system.name));
    }
    default
}

fn orphan(name: &str, agency: &str) -> BundleError {
    BundleError::Orphan { name: name.to_owned(), agency: agency.to_owned() }
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
