//! The catalog as the law states it: agencies, databases, entries, and whom an entry means.
//!
//! Made only from files without a mistake ([`crate::source`]), so every reference in it resolves.

mod agency;
mod database;
mod enrolled;
mod entry;

use std::collections::BTreeMap;

use lienthong_proto::lienthong::control::v1::{Node, System};

use crate::condition::Guardrail;
use crate::contract::Beside;
use crate::source::Dictionary;

pub use agency::{Agency, AgencySystem, Bloc, Contact, Level, OutsideParty, Role, node_name, system_name};
pub use database::{Database, DatabaseDataset, DatabaseKind, LegalBasis};
pub use enrolled::Enrolled;
pub use entry::{Classification, Entry, EntryStatus, Fields, Freshness, Selector};

/// Everything that the operator maintains.
#[derive(Debug, Clone)]
pub struct Catalog {
    agencies: Vec<Agency>,
    outside_parties: Vec<OutsideParty>,
    databases: Vec<Database>,
    entries: Vec<Entry>,
    guardrails: Vec<Guardrail>,
    invariants: Vec<Guardrail>,
    dictionary: Dictionary,
    /// By provider.
    contracts: BTreeMap<String, Beside>,
    nodes: Vec<Node>,
    systems: Vec<System>,
}

/// What a catalog is made of, in any order.
pub(crate) struct CatalogParts {
    pub agencies: Vec<Agency>,
    pub outside_parties: Vec<OutsideParty>,
    pub databases: Vec<Database>,
    pub entries: Vec<Entry>,
    pub guardrails: Vec<Guardrail>,
    pub invariants: Vec<Guardrail>,
    pub dictionary: Dictionary,
    pub contracts: BTreeMap<String, Beside>,
}

impl Catalog {
    pub(crate) fn new(parts: CatalogParts) -> Self {
        let CatalogParts {
            mut agencies,
            mut outside_parties,
            mut databases,
            mut entries,
            mut guardrails,
            mut invariants,
            dictionary,
            contracts,
        } = parts;
        agencies.sort_by(|a, b| a.code.cmp(&b.code));
        outside_parties.sort_by(|a, b| a.code.cmp(&b.code));
        databases.sort_by(|a, b| a.id.cmp(&b.id));
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        guardrails.sort_by(|a, b| a.id().cmp(b.id()));
        invariants.sort_by(|a, b| a.id().cmp(b.id()));
        let systems = agencies.iter().flat_map(Agency::unbound_systems).collect();
        Self {
            agencies,
            outside_parties,
            databases,
            entries,
            guardrails,
            invariants,
            dictionary,
            contracts,
            nodes: Vec::new(),
            systems,
        }
    }

    /// The same catalog with the nodes and certificates of a registry.
    pub(crate) fn bound(mut self, mut nodes: Vec<Node>, mut systems: Vec<System>) -> Self {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        systems.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes = nodes;
        self.systems = systems;
        self
    }

    /// The same catalog with the nodes and systems of another one: a catalog that is only thought of meets the registry
    /// that there is.
    #[must_use]
    pub fn with_registry_of(self, other: &Self) -> Self {
        let (nodes, systems) = (other.nodes.clone(), other.systems.clone());
        self.bound(nodes, systems)
    }

    /// Agencies, by code.
    pub fn agencies(&self) -> &[Agency] {
        &self.agencies
    }

    /// The agency with this code.
    pub fn agency(&self, code: &str) -> Option<&Agency> {
        let found = self.agencies.binary_search_by(|agency| agency.code.as_str().cmp(code)).ok()?;
        self.agencies.get(found)
    }

    /// Registered parties outside the political system, by code.
    pub fn outside_parties(&self) -> &[OutsideParty] {
        &self.outside_parties
    }

    /// Databases, by id.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The database that declares a dataset.
    pub fn database_of(&self, dataset: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.dataset(dataset).is_some())
    }

    /// Entries of the mandatory-sharing catalog, by id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Central prohibitions that hold whatever a right says, by id.
    pub fn guardrails(&self) -> &[Guardrail] {
        &self.guardrails
    }

    /// Prohibitions that must have nothing to forbid: a change that would break one is refused. By id.
    pub fn invariants(&self) -> &[Guardrail] {
        &self.invariants
    }

    /// The shared data dictionary.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// The options beside the contract of a provider; none where its proto says it all.
    pub fn beside(&self, provider: &str) -> &Beside {
        static NONE: Beside = Beside::NONE;
        self.contracts.get(provider).unwrap_or(&NONE)
    }

    /// Nodes of the registry, by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Information systems, by name; with certificates once a registry was read.
    pub fn systems(&self) -> &[System] {
        &self.systems
    }

    /// The agencies that a selector of this entry means: those that take part as consumers.
    pub fn consumers<'a, 's>(
        &'a self,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a Agency> + use<'a, 's> {
        self.agencies.iter().filter(move |agency| agency.is_consumer() && selector.means(agency))
    }
}
