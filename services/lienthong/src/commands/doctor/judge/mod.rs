//! From facts to findings. Pure: the same facts, the same report.
//!
//! - [`certificate`]: one's own; [`reach`]: the way to somebody; [`node`]: what the node said; [`service`]: contract,
//!   deadline, health; [`machine`]: journal, disk, process; [`trust`]: the mesh trust file.

pub mod certificate;
pub mod machine;
pub mod node;
pub mod reach;
pub mod service;
pub mod trust;

use super::{
    facts::{ClientFacts, Handshake, NodeFacts, Reached},
    finding::Finding,
};

/// An integrator's report.
pub fn client(facts: &ClientFacts) -> Vec<Finding> {
    let mut findings = certificate::own(&facts.own, accepts_us(&facts.node), facts.now);
    findings.extend(reach::findings(&facts.node, facts.now));
    findings.extend(node::findings(facts.asked.as_ref(), facts.method.as_deref()));
    findings.extend(service::findings(facts));
    findings
}

/// An operator's report.
pub fn operator(facts: &NodeFacts) -> Vec<Finding> {
    let mut findings = vec![machine::configuration(&facts.configuration)];
    findings.push(trust::finding(&facts.trust, facts.now));
    findings.extend(certificate::own(&facts.own, accepts_us(&facts.broker), facts.now));
    findings.extend(reach::findings(&facts.broker, facts.now));
    findings.push(machine::process(&facts.process));
    findings.extend(machine::rights(&facts.rights, &facts.name));
    for backend in &facts.backends {
        findings.extend(backend.reached.iter().flat_map(|reached| reach::findings(reached, facts.now)));
        let services = backend.services.iter();
        findings.extend(services.map(|(service, health)| service::health(Some(health), service)));
    }
    findings.push(machine::journal(&facts.process, facts.backlog_max));
    findings.extend(machine::volume(&facts.volume, facts.backlog_bytes_max));
    findings
}

/// Whether somebody who holds current revocation lists accepted our certificate.
fn accepts_us(reached: &Reached) -> bool {
    matches!(reached.tls, Some(Handshake::Accepted { .. } | Handshake::NoHttp2))
}
