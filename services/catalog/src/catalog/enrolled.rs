//! What enrollment adds to the registry file: nodes and certificates that were approved one by one.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::control::v1::{CertificateBinding, Node};

use super::Catalog;

/// Everything that enrollment has bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Enrolled {
    /// Nodes.
    pub nodes: Vec<Node>,
    /// Certificates of information systems, by resource name.
    pub systems: BTreeMap<String, Vec<CertificateBinding>>,
}

impl Catalog {
    /// The same catalog with what was enrolled beside its registry. Where the registry file has a word on a node or on a
    /// system's certificates, that word counts; what belongs to no active party, or to no listed system, is left
    /// out until the catalog lists it again.
    #[must_use]
    pub fn with_enrolled(&self, enrolled: &Enrolled) -> Self {
        let mut nodes = self.nodes.clone();
        let new = enrolled.nodes.iter().filter(|node| {
            self.takes_part(&node.agency) && !self.nodes.iter().any(|declared| declared.name == node.name)
        });
        nodes.extend(new.cloned());
        let mut systems = self.systems.clone();
        for system in &mut systems {
            if let Some(certificates) = enrolled.systems.get(&system.name)
                && system.certificates.is_empty()
                && self.takes_part(&system.agency)
            {
                system.certificates.clone_from(certificates);
            }
        }
        self.clone().bound(nodes, systems)
    }

    /// Whether this is the code of an active agency or of a registered outside party: whoever may have a node.
    pub fn takes_part(&self, code: &str) -> bool {
        self.agency(code).map_or_else(
            || self.outside_parties.iter().any(|party| party.code == code),
            |agency| agency.is_active,
        )
    }
}
