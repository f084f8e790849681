//! From catalog and contracts to rights, and to the bundle of each node.
//!
//! Compiling is deterministic: equal catalog and contracts give equal rights in equal order, so that equal content
//! gives equal bytes and an epoch need rise only when something changed. An entry that cannot be compiled grants
//! nothing and is a finding.

mod bundle;
mod compare;
mod covers;
mod defaults;
mod entries;
mod guard;
mod review;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lienthong_proto::lienthong::control::v1::{Contract, Dataset, Guardrail, Node, Party, Right, System};
use time::OffsetDateTime;

use crate::catalog::Catalog;
use crate::contract::ContractModel;
use crate::finding::{Finding, Severity};

pub use bundle::BUNDLE_BYTES_MAX;
pub use compare::{RightDifference, right_differences};

/// A contract that a provider published, as it is carried and as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Published<'a> {
    /// Provider, hash and descriptor set.
    pub contract: &'a Contract,
    /// The descriptor set, read.
    pub model: &'a ContractModel,
}

/// What names one edition of the rights.
#[derive(Debug, Clone)]
pub struct Issue {
    /// Mesh id.
    pub mesh: String,
    /// Rises strictly with every change.
    pub epoch: u64,
    /// When the bundles are made.
    pub time: OffsetDateTime,
    /// Certificate revocation lists that nodes need, DER.
    pub revocation_lists: Vec<Vec<u8>>,
}

/// The rights of the whole mesh.
#[derive(Debug)]
pub struct Rights {
    parties: BTreeMap<String, Party>,
    nodes: Vec<Node>,
    systems: Vec<System>,
    contracts: BTreeMap<String, Contract>,
    /// By provider and id.
    datasets: BTreeMap<(String, String), Dataset>,
    /// By id.
    all: Vec<Right>,
    /// Slots of those that release fields HASH-masked.
    hashed: Vec<usize>,
    of_provider: HashMap<String, Vec<usize>>,
    /// Open data under the empty code.
    of_consumer: HashMap<String, Vec<usize>>,
    compiled_entries: Vec<String>,
    /// Those that nodes must judge, by id.
    guardrails: BTreeMap<String, Guardrail>,
    findings: Vec<Finding>,
    broken_invariants: Vec<Finding>,
}

/// Compiles a catalog, bound to its registry, with the contracts published so far; at most one a provider.
pub fn compile(catalog: &Catalog, published: &[Published<'_>]) -> Rights {
    let mut work = Work::new(catalog, published);
    for entry in catalog.entries().iter().filter(|entry| entry.status.is_in_force()) {
        work.entry(entry);
    }
    work.default_rights();
    work.guard();
    work.finish()
}

impl Rights {
    /// What could not be compiled, and what breaks a duty; errors first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The same rights with the key of each that releases fields HASH-masked: 32 bytes, the same for every right of one
    /// consumer to one dataset, and secret from that consumer. A bundle holds it for the provider's nodes alone.
    #[must_use]
    pub fn with_hash_keys(mut self, key: &dyn Fn(&Right) -> Vec<u8>) -> Self {
        for slot in &self.hashed {
            if let Some(right) = self.all.get_mut(*slot) {
                right.hash_key = key(right);
            }
        }
        self
    }

    /// What an invariant forbids and the catalog would grant. Whoever changes the catalog refuses a change that breaks
    /// one; the rights that would do it are left out in any case.
    pub fn broken_invariants(&self) -> &[Finding] {
        &self.broken_invariants
    }

    /// Every right, by id.
    pub fn rights(&self) -> &[Right] {
        &self.all
    }

    /// Every dataset, by provider and id.
    pub fn datasets(&self) -> impl Iterator<Item = &Dataset> {
        self.datasets.values()
    }

    /// Every node of the registry, by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// True where the entry with this id compiled: its provider's contract declares the dataset.
    pub fn is_compiled(&self, entry: &str) -> bool {
        self.compiled_entries.iter().any(|id| id == entry)
    }
}

/// Rights in the making.
struct Work<'c> {
    catalog: &'c Catalog,
    /// By provider.
    published: BTreeMap<&'c str, Published<'c>>,
    datasets: BTreeMap<(String, String), Dataset>,
    rights: Vec<Right>,
    compiled_entries: Vec<String>,
    guardrails: BTreeMap<String, Guardrail>,
    findings: Vec<Finding>,
    broken_invariants: Vec<Finding>,
}

impl<'c> Work<'c> {
    /// Takes up the contracts that nothing speaks against.
    fn new(catalog: &'c Catalog, published: &'c [Published<'c>]) -> Self {
        let mut findings = Vec::new();
        let mut usable = BTreeMap::new();
        for one in published {
            let provider = one.contract.provider.as_str();
            let review = catalog.review(provider, one.model);
            let refused = review.iter().any(|finding| finding.severity == Severity::Error);
            findings.extend(review);
            if !refused && usable.insert(provider, *one).is_some() {
                let message = "the provider has two contracts; the later one counts";
                findings.push(Finding::error(provider, "R-09", message, "publish one contract a provider"));
            }
        }
        Self {
            catalog,
            published: usable,
            datasets: BTreeMap::new(),
            rights: Vec::new(),
            compiled_entries: Vec::new(),
            guardrails: BTreeMap::new(),
            findings,
            broken_invariants: Vec::new(),
        }
    }

    fn finish(mut self) -> Rights {
        self.rights.sort_by(|a, b| a.id.cmp(&b.id));
        self.findings.sort();
        let mut of_provider: HashMap<String, Vec<usize>> = HashMap::new();
        let mut of_consumer: HashMap<String, Vec<usize>> = HashMap::new();
        for (slot, right) in self.rights.iter().enumerate() {
            of_provider.entry(right.provider.clone()).or_default().push(slot);
            of_consumer.entry(right.consumer.clone()).or_default().push(slot);
        }
        let hashed = self.rights.iter().enumerate().filter(|(_, right)| self.is_hashed(right));
        let hashed = hashed.map(|(slot, _)| slot).collect();
        let contracts =
            self.published.iter().map(|(provider, one)| ((*provider).to_owned(), one.contract.clone()));
        Rights {
            parties: parties(self.catalog),
            nodes: self.catalog.nodes().to_vec(),
            systems: self.catalog.systems().to_vec(),
            contracts: contracts.collect(),
            datasets: self.datasets,
            all: self.rights,
            hashed,
            of_provider,
            of_consumer,
            compiled_entries: self.compiled_entries,
            guardrails: self.guardrails,
            findings: self.findings,
            broken_invariants: self.broken_invariants,
        }
    }
}

impl Work<'_> {
    /// True where a right releases a field HASH-masked.
    fn is_hashed(&self, right: &Right) -> bool {
        !right.masked_fields.is_empty()
            && self
                .dataset_of(right)
                .and_then(|dataset| dataset.grant(&right.fields, &right.masked_fields).ok())
                .is_some_and(|granted| granted.needs_hash_key())
    }
}

fn parties(catalog: &Catalog) -> BTreeMap<String, Party> {
    let inside = catalog.agencies().iter().filter(|agency| agency.is_active).map(|agency| Party {
        code: agency.code.clone(),
        name_vi: agency.name_vi.clone(),
        outside: false,
        security_level: agency.security_level,
    });
    let outside = catalog.outside_parties().iter().map(|party| Party {
        code: party.code.clone(),
        name_vi: party.name_vi.clone(),
        outside: true,
        security_level: 0,
    });
    inside.chain(outside).map(|party| (party.code.clone(), party)).collect()
}

fn timestamp(at: OffsetDateTime) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}

/// A bounded duration of the catalog as protobuf writes it.
fn seconds(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}
