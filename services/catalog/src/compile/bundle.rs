//! The bundle of one node: what concerns its agency, as provider and as consumer, and nothing else.

use std::collections::BTreeSet;

use lienthong_proto::lienthong::control::v1::{Guardrail, Right, RightsBundle};

use super::{Issue, Rights, timestamp};

/// The largest bundle, bytes, serialized: no broker makes a larger one, and no node takes one. A million rights, each of
/// another agency, are 400 MB.
pub const BUNDLE_BYTES_MAX: usize = 512 << 20;

/// The audience of [`Rights::whole`]: no resource name of a node.
const WHOLE_MESH: &str = "mesh";

impl Rights {
    /// The bundle of the node with this resource name; `None` for a node that the registry does not know. The node
    /// of an outside party learns who it is, and no more.
    pub fn bundle_for(&self, audience: &str, issue: &Issue) -> Option<RightsBundle> {
        let node = self.nodes.iter().find(|node| node.name == audience)?;
        let agency = node.agency.as_str();
        let outside = self.parties.get(agency)?.outside;
        let rights: Vec<&Right> = if outside { Vec::new() } else { self.rights_of(agency) };
        let served = if outside { BTreeSet::new() } else { self.served_by(agency) };
        let datasets: BTreeSet<(&str, &str)> = rights
            .iter()
            .map(|right| (right.provider.as_str(), right.dataset.as_str()))
            .chain(served.clone())
            .collect();
        let parties = self.parties_of(agency, &rights, !served.is_empty());
        let known = |code: &str| parties.contains(code);
        Some(RightsBundle {
            mesh: issue.mesh.clone(),
            audience: audience.to_owned(),
            epoch: issue.epoch,
            issue_time: Some(timestamp(issue.time)),
            parties: self.parties.values().filter(|party| known(&party.code)).cloned().collect(),
            nodes: self.nodes.iter().filter(|node| known(&node.agency)).cloned().collect(),
            systems: self.systems.iter().filter(|system| known(&system.agency)).cloned().collect(),
            contracts: self
                .contracts
                .values()
                .filter(|contract| datasets.iter().any(|(provider, _)| *provider == contract.provider))
                .cloned()
                .collect(),
            datasets: self
                .datasets
                .values()
                .filter(|dataset| datasets.contains(&(dataset.provider.as_str(), dataset.id.as_str())))
                .cloned()
                .collect(),
            rights: rights.into_iter().map(|right| told_to(agency, right)).collect(),
            revocation_lists: issue.revocation_lists.clone(),
            guardrails: self.guardrails_of(&datasets),
            // Who approved the entries is no matter of compiling them.
            activations: None,
        })
    }

    /// The rights of the whole mesh as one bundle, to be asked about ([`crate::inquiry`]); no node may hold it.
    pub fn whole(&self, issue: &Issue) -> RightsBundle {
        RightsBundle {
            mesh: issue.mesh.clone(),
            audience: WHOLE_MESH.to_owned(),
            epoch: issue.epoch.max(1),
            issue_time: Some(timestamp(issue.time)),
            parties: self.parties.values().cloned().collect(),
            nodes: self.nodes.clone(),
            systems: self.systems.clone(),
            contracts: self.contracts.values().cloned().collect(),
            datasets: self.datasets.values().cloned().collect(),
            rights: self.all.iter().map(|right| told_to("", right)).collect(),
            guardrails: self.guardrails.values().cloned().collect(),
            ..RightsBundle::default()
        }
    }

    /// Rights to what the agency provides, its own rights, and open data; by id.
    fn rights_of(&self, agency: &str) -> Vec<&Right> {
        let provided = self.of_provider.get(agency).into_iter().flatten();
        let own = self.of_consumer.get(agency).into_iter().flatten();
        let open = self.of_consumer.get("").into_iter().flatten();
        let slots: BTreeSet<usize> = provided.chain(own).chain(open).copied().collect();
        slots.into_iter().map(|slot| &self.all[slot]).collect()
    }

    /// The guardrails that bind one of these datasets, by id.
    fn guardrails_of(&self, datasets: &BTreeSet<(&str, &str)>) -> Vec<Guardrail> {
        let bound = self
            .datasets
            .values()
            .filter(|dataset| datasets.contains(&(dataset.provider.as_str(), dataset.id.as_str())));
        let ids: BTreeSet<&String> = bound.flat_map(|dataset| &dataset.guardrails).collect();
        ids.into_iter().filter_map(|id| self.guardrails.get(id)).cloned().collect()
    }

    /// Datasets that the agency provides.
    fn served_by(&self, agency: &str) -> BTreeSet<(&str, &str)> {
        let of = self.datasets.values().filter(|dataset| dataset.provider == agency);
        of.map(|dataset| (dataset.provider.as_str(), dataset.id.as_str())).collect()
    }

    /// The agency itself, those that it may ask, and those that may ask it. A provider knows every outside party,
    /// so that refusing one is a decision; a provider of open data knows every agency.
    fn parties_of<'a>(
        &'a self,
        agency: &'a str,
        rights: &[&'a Right],
        is_provider: bool,
    ) -> BTreeSet<&'a str> {
        let mut parties = BTreeSet::from([agency]);
        let mut everybody = false;
        for right in rights {
            parties.insert(right.provider.as_str());
            if right.provider == agency {
                everybody |= right.consumer.is_empty();
                parties.insert(right.consumer.as_str());
            }
        }
        let others =
            self.parties.values().filter(|party| if party.outside { is_provider } else { everybody });
        parties.extend(others.map(|party| party.code.as_str()));
        parties
    }
}

/// A right as this agency's nodes learn it: keys of masking are the provider's.
fn told_to(agency: &str, right: &Right) -> Right {
    let mut told = right.clone();
    if right.provider != agency {
        told.hash_key.clear();
    }
    told
}
