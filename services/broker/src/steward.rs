//! The steward: the one place where what the mesh decides by is changed.
//!
//! Start, reload and the publication of a contract all end here, one at a time: compile a draft, let the issuer number
//! it and put it on record, and show it to the watchers.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lienthong_catalog::catalog::{Agency, Catalog, Enrolled};
use lienthong_catalog::{ContractError, Finding, Severity};
use prost_types::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use crate::bundle::{Sha256, sha256};
use crate::clock;
use crate::declared::Declared;
use crate::enrollment::Enrolling;
use crate::error::BrokerError;
use crate::generation::{Contract, Draft, Generation, Material};
use crate::issuer::{Issuer, Occasion};
use crate::masking::MaskingSecret;
use crate::metrics::BrokerMetrics;
use crate::records::{Act, RECORDER};
use crate::shelf::{Shelf, Shelved, Shelving};
use crate::stored::{StoredContract, StoredEpoch};

/// The steward.
#[derive(Debug)]
pub struct Steward {
    issuer: Issuer,
    metrics: BrokerMetrics,
    generations: watch::Sender<Arc<Generation>>,
    /// Held by whoever changes something.
    desk: Mutex<Desk>,
}

/// What the next draft is made of.
#[derive(Debug)]
struct Desk {
    material: Material,
    /// Version and time of each contract, by provider.
    about: BTreeMap<String, StoredContract>,
    newest: StoredEpoch,
    /// What the newest compilation noticed.
    findings: Vec<Finding>,
}

/// What became of a contract.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// SHA-256 of the descriptor set as it was published.
    pub hash: Sha256,
    /// Datasets that it declares.
    pub datasets: Vec<String>,
    /// What the lint found: warnings.
    pub findings: Vec<String>,
    /// Newest epoch.
    pub epoch: u64,
    /// When this contract took effect.
    pub publish_time: Option<Timestamp>,
    /// False if the very same contract was in force before.
    pub changed: bool,
}

/// Why a contract is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not a descriptor set that can be read.
    #[error("the contract cannot be read: {0}")]
    Unreadable(#[from] ContractError),
    /// The agency is none that may serve data.
    #[error(
        "{0} is no active agency with the role PROVIDER, so that its contract would serve nobody; have the operator \
             enter the role in the catalog"
    )]
    NotAProvider(String),
    /// It breaks rules.
    #[error("the contract has {} mistake(s) that forbid publication: {}", .0.len(), .0.first().map_or("", String::as_str))]
    Findings(Vec<String>),
    /// The broker could not store or record it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Steward {
    /// Takes up what is stored, together with what the operator declares, and issues the first generation.
    ///
    /// # Errors
    /// [`BrokerError`] if the store or the log fails, or a certificate stands for two parties.
    pub async fn open(
        mesh: &str,
        declared: Declared,
        enrolled: Enrolled,
        shelf: &Shelf,
        issuer: Issuer,
        masking: MaskingSecret,
        metrics: BrokerMetrics,
    ) -> Result<Steward, BrokerError> {
        let mut about = BTreeMap::new();
        let mut contracts = BTreeMap::new();
        for (provider, shelved) in shelf.contracts().await? {
            match read_contract(&provider, shelved.descriptor_set, &declared.catalog).await {
                Ok(contract) => {
                    contracts.insert(provider.clone(), contract);
                }
                // It was good when it was published: a newer broker reads more strictly. Its datasets are shared again
                // once the provider publishes one that passes.
                Err(error) => tracing::error!(provider, %error, "a stored contract is left out"),
            }
            about.insert(provider, shelved.about);
        }
        let Declared { catalog, revocation_lists, revocation, operators, signer, trusts } = declared;
        let material = Material {
            signer,
            trusts,
            mesh: mesh.into(),
            catalog,
            enrolled: Arc::new(enrolled),
            contracts,
            revocation_lists,
            revocation,
            operators,
            masking: Arc::new(masking),
        };
        let mut newest = issuer.newest().await?;
        let mut findings = Vec::new();
        let draft = compile(material.clone(), &mut findings).await?;
        let generation = issuer.issue(&mut newest, draft, CATALOG_APPLIED).await?;
        metrics.epoch(generation.epoch());
        let generations = watch::Sender::new(Arc::new(generation));
        Ok(Steward {
            issuer,
            metrics,
            generations,
            desk: Mutex::new(Desk { material, about, newest, findings }),
        })
    }

    /// The newest generation.
    pub fn current(&self) -> Arc<Generation> {
        self.generations.borrow().clone()
    }

    /// The newest generation, to wait for newer ones.
    pub fn watch(&self) -> watch::Receiver<Arc<Generation>> {
        self.generations.subscribe()
    }

    /// Takes over what the operator declares now. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn declare(&self, declared: Declared) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        let Declared { catalog, revocation_lists, revocation, operators, signer, trusts } = declared;
        let contracts = annotated_anew(&desk.material, &catalog).await?;
        let material = Material {
            catalog,
            contracts,
            revocation_lists,
            revocation,
            operators,
            signer,
            trusts,
            ..desk.material.clone()
        };
        let known = desk.findings.clone();
        let draft = compile(material.clone(), &mut desk.findings).await?;
        keeps_invariants(&draft, &known)?;
        let before = self.current().epoch();
        let generation = self.issuer.issue(&mut desk.newest, draft, CATALOG_APPLIED).await?;
        desk.material = material;
        self.show(generation);
        Ok(self.current().epoch() > before)
    }

    /// Takes over revocation lists, and nothing else of what the operator declares. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn take_lists(&self, revocation_lists: Arc<[Vec<u8>]>) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        if desk.material.revocation_lists == revocation_lists {
            return Ok(false);
        }
        let material = Material { revocation_lists, ..desk.material.clone() };
        let draft = compile(material.clone(), &mut desk.findings).await?;
        let before = self.current().epoch();
        let generation = self.issuer.issue(&mut desk.newest, draft, LISTS_APPLIED).await?;
        desk.material = material;
        self.show(generation);
        Ok(self.current().epoch() > before)
    }

    /// Publishes the contract of `agency`, sent by its node `publisher`.
    ///
    /// # Errors
    /// [`PublishError`]; the contract in force stays.
    pub async fn publish(
        &self,
        publisher: &str,
        agency: &str,
        descriptor_set: Bytes,
    ) -> Result<Published, PublishError> {
        let mut desk = self.desk.lock().await;
        if !desk.material.catalog.agency(agency).is_some_and(Agency::is_provider) {
            return Err(PublishError::NotAProvider(agency.to_owned()));
        }
        let hash = sha256(&descriptor_set);
        let held =
            desk.material.contracts.get(agency).filter(|held| held.carried.published_hash == hash.as_slice());
        let changed = held.is_none();
        let contract = match held {
            Some(contract) => Arc::clone(contract),
            None => read_contract(agency, descriptor_set, &desk.material.catalog).await?,
        };
        let mut findings = contract.model.findings().to_vec();
        findings.extend(contract.model.check_dictionary(desk.material.catalog.dictionary()));
        if changed && findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(PublishError::Findings(errors_of(&findings)));
        }
        if changed {
            self.enact(&mut desk, publisher, agency, &contract, hash).await?;
        }
        Ok(Published {
            hash,
            datasets: contract.model.datasets().iter().map(|dataset| dataset.id().to_owned()).collect(),
            findings: findings.iter().map(ToString::to_string).collect(),
            epoch: self.current().epoch(),
            publish_time: desk.about.get(agency).and_then(|about| about.publish_time),
            changed,
        })
    }

    /// Puts into effect what enrollment has bound, all of it, now that `changed` is as it is; `act` goes on record.
    /// Answers the newest epoch.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn bind(
        &self,
        enrolled: Enrolled,
        changed: &Enrolling,
        act: Act<'_>,
    ) -> Result<u64, BrokerError> {
        let mut desk = self.desk.lock().await;
        let material = Material { enrolled: Arc::new(enrolled), ..desk.material.clone() };
        let draft = compile(material.clone(), &mut desk.findings).await?;
        let stored = changed.to_stored();
        let occasion = Occasion { act, shelving: Some(Shelving::Enrollment(changed.name(), &stored)) };
        let generation = self.issuer.issue(&mut desk.newest, draft, occasion).await?;
        desk.material = material;
        self.show(generation);
        Ok(self.current().epoch())
    }

    async fn enact(
        &self,
        desk: &mut Desk,
        publisher: &str,
        agency: &str,
        contract: &Arc<Contract>,
        hash: Sha256,
    ) -> Result<(), BrokerError> {
        let mut material = desk.material.clone();
        material.contracts.insert(agency.to_owned(), Arc::clone(contract));
        let known = desk.findings.clone();
        let draft = compile(material.clone(), &mut desk.findings).await?;
        keeps_invariants(&draft, &known)?;
        let version = desk.about.get(agency).map_or(1, |before| before.version + 1);
        let shelved = Shelved::new(version, clock::now(), publisher, contract.published.clone());
        let act = Act {
            actor: publisher,
            action: "contract.publish",
            resource: &format!("agencies/{agency}"),
            content_hash: Some(hash),
            detail: &format!("version {version}"),
            epoch: 0,
        };
        let occasion = Occasion { act, shelving: Some(Shelving::Contract(agency, &shelved)) };
        let generation = self.issuer.issue(&mut desk.newest, draft, occasion).await?;
        desk.about.insert(agency.to_owned(), shelved.about);
        desk.material = material;
        self.show(generation);
        Ok(())
    }

    fn show(&self, generation: Generation) {
        tracing::info!(epoch = generation.epoch(), "rights in force");
        self.metrics.epoch(generation.epoch());
        self.generations.send_replace(Arc::new(generation));
    }
}

/// The act behind a generation that follows from the operator's files.
const CATALOG_APPLIED: Occasion<'static> = Occasion {
    act: Act {
        actor: RECORDER,
        action: "catalog.apply",
        resource: "catalog",
        epoch: 0,
        content_hash: None,
        detail: "",
    },
    shelving: None,
};

/// The act behind a generation that follows from revocation lists alone.
const LISTS_APPLIED: Occasion<'static> = Occasion {
    act: Act {
        actor: RECORDER,
        action: "revocation.apply",
        resource: "revocation_lists",
        epoch: 0,
        content_hash: None,
        detail: "",
    },
    shelving: None,
};

/// Compiles on a thread that may take its time: a national catalog needs a while. Of what the compilation notices,
/// the log is told what is new and what is settled since `before`.
async fn compile(material: Material, before: &mut Vec<Finding>) -> Result<Draft, BrokerError> {
    let draft =
        spawn_blocking(move || Draft::compile(&material)).await.map_err(|_| BrokerError::Stopped)??;
    for finding in draft.findings.iter().filter(|finding| !before.contains(finding)) {
        tracing::warn!(%finding, "noticed");
    }
    for finding in before.iter().filter(|finding| !draft.findings.contains(finding)) {
        tracing::info!(%finding, "settled");
    }
    before.clone_from(&draft.findings);
    Ok(draft)
}

/// Refuses a change that breaks an invariant which held before.
fn keeps_invariants(draft: &Draft, known: &[Finding]) -> Result<(), BrokerError> {
    let broken = draft.broken_invariants.iter().filter(|finding| !known.contains(finding));
    let broken: Vec<String> = broken.map(ToString::to_string).collect();
    if broken.is_empty() { Ok(()) } else { Err(BrokerError::Invariants(broken)) }
}

/// The contracts under another catalog: those for which it says something else beside than the one in force are read
/// again. One that nobody could publish so refuses the catalog.
async fn annotated_anew(
    material: &Material,
    catalog: &Arc<Catalog>,
) -> Result<BTreeMap<String, Arc<Contract>>, BrokerError> {
    let mut contracts = material.contracts.clone();
    for (provider, contract) in &mut contracts {
        if material.catalog.beside(provider) == catalog.beside(provider) {
            continue;
        }
        let refused = |findings| BrokerError::Contract { provider: provider.clone(), findings };
        *contract = match read_contract(provider, contract.published.clone(), catalog).await {
            Ok(contract) => contract,
            Err(PublishError::Broker(error)) => return Err(error),
            Err(error) => return Err(refused(vec![error.to_string()])),
        };
        if contract.model.has_errors() {
            return Err(refused(errors_of(contract.model.findings())));
        }
    }
    Ok(contracts)
}

fn errors_of(findings: &[Finding]) -> Vec<String> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(ToString::to_string).collect()
}

/// Reads a contract on a thread that may take its time.
async fn read_contract(
    provider: &str,
    published: Bytes,
    catalog: &Arc<Catalog>,
) -> Result<Arc<Contract>, PublishError> {
    let (provider, catalog) = (provider.to_owned(), Arc::clone(catalog));
    let read = spawn_blocking(move || Contract::read(&provider, published, catalog.beside(&provider))).await;
    Ok(Arc::new(read.map_err(|_| BrokerError::Stopped)??))
}
