//! The rights of one node: a bundle, indexed for decisions and immutable.
//!
//! A bundle that contradicts itself about identities is refused whole ([`BundleError`]). A right or a contract in
//! it that makes no sense is left out, which can only deny, and is listed in [`RightsIndex::problems`], so that
//! one agency's mistake does not stop the others.

mod identities;
mod load;
mod method;
mod plans;
mod rows;
mod rules;
mod served;
mod table;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lienthong_proto::lienthong::control::v1::{
    CertificateBinding, Contract, Node, Party, RightsBundle, System,
};
use lienthong_proto::lienthong::options::v1::{DecisionMode, Purpose};
use prost_types::Timestamp;

use crate::contract::ContractModel;
use crate::decide::Question;

pub use identities::Place;
pub(crate) use identities::{Identities, Known};
pub use load::{BundleError, TooMany};
pub use method::{Method, Resolution};
pub(crate) use plans::{SubsetKey, SubsetPlans, release as release_plan};
pub(crate) use rules::{RulesCache, RulesKey, origin as origin_word};
use served::Models;
pub(crate) use table::{Dataset, Moment, NO_CONDITION, Particulars, RightRow, RightTable, Span};

/// Rights that one bundle may hold.
pub const RIGHTS_MAX: usize = 2_000_000;
/// Parties, nodes or systems, each, that one bundle may hold.
pub const IDENTITIES_MAX: usize = 1_000_000;
/// Problems of one bundle that are told in words.
pub const PROBLEMS_MAX: usize = 1000;
/// Release plans for `mesh-fields` that are kept for reuse.
pub const SUBSET_PLANS_MAX: usize = 1024;
/// Sets of conditions and guardrails, one for each right, purpose and method in use, that are kept for reuse.
pub const RULES_KEPT_MAX: usize = 4096;

/// What a node decides by. Cheap to clone: a handle to one immutable index.
#[derive(Clone)]
pub struct RightsIndex(pub(crate) Arc<Index>);

#[derive(Debug)]
pub(crate) struct Index {
    /// Tells this index from every other one of this process.
    pub number: u64,
    pub mesh: String,
    pub audience: String,
    pub epoch: u64,
    pub issue_time: Timestamp,
    pub identities: Identities,
    pub contracts: Vec<Contract>,
    /// Those of them that can be decided by.
    pub models: Models,
    pub datasets: Vec<Dataset>,
    pub methods: Vec<Arc<Method>>,
    pub methods_by_path: HashMap<Box<str>, Vec<u32>>,
    pub rights: RightTable,
    pub subset_plans: SubsetPlans,
    pub rules: RulesCache,
    /// Rights that a provider refuses: by id, the refusal and its reason.
    pub refusals: HashMap<String, String>,
    pub problems: Vec<String>,
}

impl RightsIndex {
    /// Whether a bundle holds no more than is taken in: for the broker to ask before it publishes one.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn takes(bundle: &RightsBundle) -> Result<(), TooMany> {
        load::check_counts(bundle)
    }

    /// Indexes a bundle whose signature was verified.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn from_bundle(bundle: &RightsBundle) -> Result<Self, BundleError> {
        load::index(bundle, None).map(|index| Self(Arc::new(index)))
    }

    /// The same for the bundle that takes this one's place: what did not change is not read again. Equal bundles give equal
    /// decisions, whichever way they were indexed.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn followed_by(&self, bundle: &RightsBundle) -> Result<Self, BundleError> {
        load::index(bundle, Some(&self.0)).map(|index| Self(Arc::new(index)))
    }

    /// What a contract of a bundle declares, where decisions can rest on it; taken over from the rights in force, where they hold
    /// the very same contract.
    pub fn contract_model(contract: &Contract, in_force: Option<&Self>) -> Option<Arc<ContractModel>> {
        served::contract_model(contract, in_force.map(|rights| &*rights.0)).ok()
    }

    /// Mesh that the bundle belongs to.
    pub fn mesh(&self) -> &str {
        &self.0.mesh
    }

    /// Resource name of the node that the bundle is for.
    pub fn audience(&self) -> &str {
        &self.0.audience
    }

    /// Epoch of the bundle.
    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    /// When the broker made the bundle.
    pub fn issue_time(&self) -> Timestamp {
        self.0.issue_time
    }

    /// What of the bundle was left out and why; empty in a healthy mesh.
    pub fn problems(&self) -> &[String] {
        &self.0.problems
    }

    /// Finds the method of a gRPC path; `provider` is needed where several agencies serve it.
    pub fn method(&self, path: &str, provider: Option<&str>) -> Resolution {
        let slots = self.0.methods_by_path.get(path).map_or(&[][..], Vec::as_slice);
        let mut methods = slots.iter().filter_map(|slot| self.0.methods.get(*slot as usize));
        match (provider, slots) {
            (Some(provider), _) => methods
                .find(|method| method.provider() == provider)
                .map_or(Resolution::Unknown, |method| Resolution::One(Arc::clone(method))),
            (None, [_]) => {
                methods.next().map_or(Resolution::Unknown, |method| Resolution::One(Arc::clone(method)))
            }
            (None, []) => Resolution::Unknown,
            (None, _) => Resolution::Ambiguous(methods.map(|method| method.provider().to_owned()).collect()),
        }
    }

    /// How old this node's rights may be and still decide about a method's dataset; none at all for a method of
    /// another index.
    pub fn age_max(&self, method: &Method) -> Duration {
        self.0.own(method).map_or(Duration::ZERO, |method| self.0.dataset_of(method).bundle_age_max)
    }

    /// True where the broker decides each call to a method's dataset.
    pub fn is_decided_online(&self, method: &Method) -> bool {
        let mode = self.0.own(method).map(|method| self.0.dataset_of(method).decision_mode);
        mode == Some(DecisionMode::Online)
    }

    /// Every method of the bundle, by path and provider.
    pub fn methods(&self) -> &[Arc<Method>] {
        &self.0.methods
    }

    /// The node that the registry binds to this certificate.
    pub fn node_of_certificate(&self, certificate: &CertificateBinding) -> Option<&Node> {
        self.0.identities.node_of_certificate(certificate)
    }

    /// The party whose node the registry binds to this certificate.
    pub fn party_of_node(&self, certificate: &CertificateBinding) -> Option<&Party> {
        self.party(&self.node_of_certificate(certificate)?.agency)
    }

    /// The information system that the registry binds to this certificate.
    pub fn system_of(&self, certificate: &CertificateBinding) -> Option<&System> {
        self.0.identities.system_of_certificate(certificate)
    }

    /// The system with this resource name.
    pub fn system(&self, name: &str) -> Option<&System> {
        self.0.identities.system(name)
    }

    /// The party with this code.
    pub fn party(&self, code: &str) -> Option<&Party> {
        self.0.identities.party(code)
    }

    /// Who asks, for decisions by this index to take over; `None` where it knows no such party, or no such system of it.
    pub fn place(&self, party: &str, system: Option<&str>) -> Option<Place> {
        let known = self.0.find(party, system)?;
        let is_whole = known.system.is_some() || system.is_none();
        is_whole.then_some(Place { index: self.0.number, known })
    }

    /// The purpose of a call that states none: the system's default, where the method's data takes one. Of use to show
    /// what will be decided; [`mod@crate::decide`] asks by itself.
    pub fn default_purpose(&self, method: &Method, consumer: &str, system: &str) -> Option<Purpose> {
        let purpose = self.0.find(consumer, Some(system))?.system?.default_purpose?;
        let dataset = self.0.dataset_of(self.0.own(method)?);
        dataset.takes_default_purpose.then_some(purpose)
    }

    /// Those of the names that are fields of the method's dataset: what of a request may stand on record whatever becomes
    /// of it.
    pub fn fields_among(&self, method: &Method, names: &[String]) -> Vec<String> {
        let Some(own) = self.0.own(method) else { return Vec::new() };
        let fields = self.0.dataset_of(own).contract.fields();
        names.iter().filter(|name| fields.iter().any(|field| field.id == **name)).cloned().collect()
    }

    /// The nodes of an agency, by name.
    pub fn nodes_of(&self, agency: &str) -> &[Node] {
        self.0.identities.nodes_of(agency)
    }

    /// The contract of a provider, as published.
    pub fn contract(&self, provider: &str) -> Option<&Contract> {
        self.0.contracts.iter().find(|contract| contract.provider == provider)
    }
}

impl std::fmt::Debug for RightsIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RightsIndex({} at epoch {})", self.audience(), self.epoch())
    }
}

impl Index {
    /// The dataset that a method of this index exchanges.
    pub(crate) fn dataset_of(&self, method: &Method) -> &Dataset {
        &self.datasets[method.dataset as usize]
    }

    /// Who asks: as it was found before, where that was here.
    #[inline]
    pub(crate) fn known(&self, question: &Question<'_>) -> Option<Known> {
        match question.place {
            Some(place) if place.index == self.number && place.is_of(question) => Some(place.known),
            _ => self.find(question.consumer, question.system),
        }
    }

    /// Who asks, by name; `None` for a party that is not known.
    fn find(&self, party: &str, system: Option<&str>) -> Option<Known> {
        let party = self.identities.party_facts(party)?;
        let system = system.and_then(|name| self.identities.system_facts(name));
        let system = system.filter(|system| system.party == party.slot);
        Some(Known { party, system, rights: self.rights.of_consumer(party.slot) })
    }

    /// This index's own form of a method: the same object, or the one of the same path and provider where the
    /// caller resolved by an older bundle.
    pub(crate) fn own<'a>(&'a self, method: &Method) -> Option<&'a Arc<Method>> {
        match self.methods.get(method.slot as usize) {
            Some(own) if std::ptr::eq(Arc::as_ptr(own), method) => Some(own),
            _ => {
                let slots = self.methods_by_path.get(method.path())?;
                let methods = slots.iter().map(|slot| &self.methods[*slot as usize]);
                methods.into_iter().find(|own| own.provider() == method.provider())
            }
        }
    }
}
