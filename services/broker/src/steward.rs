//! The steward: the one place where what the mesh decides by is changed.
//!
//! Start, reload and the publication of a contract all end here, one at a time: compile a draft, let the issuer number
//! it and put it on record, and show it to the watchers.

mod publication;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lienthong_catalog::catalog::{Catalog, Enrolled};
use lienthong_catalog::compile::{RightDifference, right_differences};
use lienthong_catalog::{Finding, Severity};
use lienthong_proto::lienthong::control::v1::RevocationState;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use crate::bundle::BundleSigner;
use crate::chancery::{self, InForce};
use crate::declared::Declared;
use crate::enrollment::Enrolling;
use crate::error::BrokerError;
use crate::generation::{Contract, Draft, Generation, Material};
use crate::issuer::{Issuer, Occasion};
use crate::masking::MaskingSecret;
use crate::metrics::BrokerMetrics;
use crate::records::{Act, RECORDER};
use crate::shelf::{Shelf, ShelvedChange, Shelving};
use crate::stored::{StoredContract, StoredEpoch};
use crate::suspensions::Suspensions;
use crate::trust::MeshTrusts;
use publication::Waiting;

pub use publication::{PublishError, Published};

/// The steward.
#[derive(Debug)]
pub struct Steward {
    issuer: Issuer,
    metrics: BrokerMetrics,
    generations: watch::Sender<Arc<Generation>>,
    waiting: Waiting,
    /// Held by whoever changes something.
    desk: Mutex<Desk>,
}

/// Whom the mesh believes, as every bundle carries it.
#[derive(Clone, Debug)]
pub struct Grounds {
    /// Certificate revocation lists, DER.
    pub revocation_lists: Arc<[Vec<u8>]>,
    /// The same, as heartbeats name them.
    pub revocation: Arc<[RevocationState]>,
    /// Signs by the bundle key in use.
    pub signer: BundleSigner,
    /// The mesh trust files that nodes are handed.
    pub trusts: MeshTrusts,
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

/// What stands when the steward begins.
#[derive(Debug)]
pub struct Standing<'a> {
    /// The catalog in force.
    pub opened: &'a chancery::Opened,
    /// What refusals suspend.
    pub suspensions: Arc<Suspensions>,
    /// What enrollment has bound.
    pub enrolled: Enrolled,
    /// Gives the keys of HASH masking.
    pub masking: MaskingSecret,
}

impl Desk {
    /// Takes note of what a compilation noticed: the log is told what is new and what is settled.
    fn notice(&mut self, findings: Vec<Finding>) {
        for finding in findings.iter().filter(|finding| !self.findings.contains(finding)) {
            tracing::warn!(%finding, "noticed");
        }
        for finding in self.findings.iter().filter(|finding| !findings.contains(finding)) {
            tracing::info!(%finding, "settled");
        }
        self.findings = findings;
    }
}

impl Steward {
    /// Takes up what is stored, together with what the operator declares, and issues the first generation.
    ///
    /// # Errors
    /// [`BrokerError`] if the store or the log fails, or a certificate stands for two parties.
    pub async fn open(
        mesh: &str,
        declared: Declared,
        grounds: Grounds,
        standing: Standing<'_>,
        shelf: &Shelf,
        issuer: Issuer,
        metrics: BrokerMetrics,
    ) -> Result<Steward, BrokerError> {
        let Standing { opened, suspensions, enrolled, masking } = standing;
        let (catalog, in_force) = (Arc::clone(&opened.catalog), Arc::clone(&opened.in_force));
        let mut about = BTreeMap::new();
        let mut contracts = BTreeMap::new();
        for (provider, shelved) in shelf.contracts().await? {
            match read_contract(&provider, shelved.descriptor_set, &catalog).await {
                Ok(contract) => {
                    contracts.insert(provider.clone(), contract);
                }
                // It was good when it was published: a newer broker reads more strictly. Its datasets are shared again
                // once the provider publishes one that passes.
                Err(error) => tracing::error!(provider, %error, "a stored contract is left out"),
            }
            about.insert(provider, shelved.about);
        }
        let Declared { operators, .. } = declared;
        let Grounds { revocation_lists, revocation, signer, trusts } = grounds;
        let material = Material {
            signer,
            trusts,
            mesh: mesh.into(),
            catalog,
            in_force,
            suspensions,
            enrolled: Arc::new(enrolled),
            contracts,
            revocation_lists,
            revocation,
            operators,
            masking: Arc::new(masking),
        };
        let mut newest = issuer.newest().await?;
        let draft = compile(&material).await?;
        let findings = draft.findings.clone();
        let resource = chancery::name(opened.in_force.number);
        let occasion = adopted(&resource, &opened.in_force, opened.imported.as_ref());
        let generation = issuer.issue(&mut newest, draft, occasion).await?;
        metrics.epoch(generation.epoch());
        let generations = watch::Sender::new(Arc::new(generation));
        let mut desk = Desk { material, about, newest, findings: Vec::new() };
        desk.notice(findings);
        let waiting = Waiting::default();
        Ok(Steward { issuer, metrics, generations, waiting, desk: Mutex::new(desk) })
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
    pub async fn declare(
        &self,
        declared: Declared,
        catalog: Arc<Catalog>,
        in_force: Arc<InForce>,
        imported: Option<&ShelvedChange>,
    ) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        let Declared { operators, .. } = declared;
        let contracts = annotated_anew(&desk.material, &catalog).await?;
        let resource = chancery::name(in_force.number);
        let occasion = adopted(&resource, &in_force, imported);
        let material = Material {
            catalog,
            in_force: Arc::clone(&in_force),
            contracts,
            operators,
            ..desk.material.clone()
        };
        let before = self.current().epoch();
        Ok(self.take_effect(&mut desk, material, occasion, Invariants::Kept).await? > before)
    }

    /// Takes over whom the mesh believes, and nothing else of what the operator declares. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn believe(&self, grounds: Grounds) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        let Grounds { revocation_lists, revocation, signer, trusts } = grounds;
        let material = Material { revocation_lists, revocation, signer, trusts, ..desk.material.clone() };
        let (before, occasion) = (self.current().epoch(), Occasion::of(TRUST_APPLIED, None));
        Ok(self.take_effect(&mut desk, material, occasion, Invariants::AsTheyAre).await? > before)
    }

    /// Takes over revocation lists alone. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn take_lists(
        &self,
        revocation_lists: Arc<[Vec<u8>]>,
        revocation: Arc<[RevocationState]>,
    ) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        if desk.material.revocation_lists == revocation_lists {
            return Ok(false);
        }
        let material = Material { revocation_lists, revocation, ..desk.material.clone() };
        let (before, occasion) = (self.current().epoch(), Occasion::of(LISTS_APPLIED, None));
        Ok(self.take_effect(&mut desk, material, occasion, Invariants::AsTheyAre).await? > before)
    }

    /// Puts an approved change into force; answers the newest epoch.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn apply(
        &self,
        catalog: Arc<Catalog>,
        in_force: Arc<InForce>,
        shelved: &ShelvedChange,
        actor: &str,
        detail: &str,
    ) -> Result<u64, BrokerError> {
        let mut desk = self.desk.lock().await;
        let contracts = annotated_anew(&desk.material, &catalog).await?;
        let resource = chancery::name(in_force.number);
        let act = chancery::applied(actor, &resource, in_force.content, detail);
        let material =
            Material { catalog, in_force: Arc::clone(&in_force), contracts, ..desk.material.clone() };
        let occasion = Occasion::of(act, Some(Shelving::Catalog(shelved)));
        self.take_effect(&mut desk, material, occasion, Invariants::Kept).await
    }

    /// Puts into effect what refusals suspend now; `act` goes on record. Answers the newest epoch.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn suspend(
        &self,
        suspensions: Arc<Suspensions>,
        act: Act<'_>,
        shelving: Shelving<'_>,
    ) -> Result<u64, BrokerError> {
        let mut desk = self.desk.lock().await;
        let material = Material { suspensions, ..desk.material.clone() };
        let occasion = Occasion::of(act, Some(shelving));
        self.take_effect(&mut desk, material, occasion, Invariants::AsTheyAre).await
    }

    /// What another catalog would mean; nothing is changed.
    ///
    /// # Errors
    /// [`BrokerError`]: what would keep it from being applied.
    pub async fn preview(&self, catalog: Arc<Catalog>) -> Result<Preview, BrokerError> {
        let (before, known, current) = {
            let desk = self.desk.lock().await;
            (desk.material.clone(), desk.findings.clone(), self.current())
        };
        let contracts = annotated_anew(&before, &catalog).await?;
        let after = Material { catalog, contracts, ..before.clone() };
        let compared = spawn_blocking(move || {
            // What would refuse the change refuses its preview.
            let draft = Draft::compile(&after)?;
            keeps_invariants(&draft, &known)?;
            let findings = draft.findings.iter().filter(|finding| !known.contains(finding));
            let findings = findings.map(ToString::to_string).collect();
            let rights = right_differences(current.rights(), draft.rights());
            Ok::<_, BrokerError>(Preview { findings, rights, before, after })
        });
        compared.await.map_err(|_| BrokerError::Stopped)?
    }

    /// The catalog folder in force.
    pub async fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.desk.lock().await.material.in_force)
    }

    /// What the newest generation is made of.
    pub async fn material(&self) -> Material {
        self.desk.lock().await.material.clone()
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
        let stored = changed.to_stored();
        let occasion = Occasion::of(act, Some(Shelving::Enrollment(changed.name(), &stored)));
        self.take_effect(&mut desk, material, occasion, Invariants::AsTheyAre).await
    }

    /// Compiles, issues and shows what the desk is to hold from now on; answers the newest epoch.
    async fn take_effect(
        &self,
        desk: &mut Desk,
        material: Material,
        occasion: Occasion<'_>,
        invariants: Invariants,
    ) -> Result<u64, BrokerError> {
        let draft = compile(&material).await?;
        if invariants == Invariants::Kept {
            keeps_invariants(&draft, &desk.findings)?;
        }
        let findings = draft.findings.clone();
        let generation = self.issuer.issue(&mut desk.newest, draft, occasion).await?;
        desk.notice(findings);
        desk.material = material;
        self.show(generation);
        Ok(self.current().epoch())
    }

    fn show(&self, generation: Generation) {
        tracing::info!(epoch = generation.epoch(), "rights in force");
        self.metrics.epoch(generation.epoch());
        self.generations.send_replace(Arc::new(generation));
    }
}

/// What another catalog would mean.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What compilation would notice that it does not notice now.
    pub findings: Vec<String>,
    /// Rights that would be gained or lost.
    pub rights: Vec<RightDifference>,
    /// What the mesh decides by now.
    pub before: Material,
    /// What it would decide by.
    pub after: Material,
}

/// What a step may do to what the stewards declared must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invariants {
    /// None may break that held before.
    Kept,
    /// The step grants nothing to anybody; what is broken already goes on being left out.
    AsTheyAre,
}

/// The act behind a generation that follows from the operator's files: an import, or a reload of registry and trust.
fn adopted<'a>(resource: &'a str, in_force: &InForce, imported: Option<&'a ShelvedChange>) -> Occasion<'a> {
    let detail = if imported.is_some() { "imported, two approvals beside the folder" } else { "" };
    let act = chancery::applied(RECORDER, resource, in_force.content, detail);
    Occasion::of(act, imported.map(Shelving::Catalog))
}

/// The act behind a generation that follows from another mesh trust file.
const TRUST_APPLIED: Act<'static> = Act {
    actor: RECORDER,
    action: "trust.rights",
    resource: "mesh_trust",
    epoch: 0,
    content_hash: None,
    detail: "",
};

/// The act behind a generation that follows from revocation lists alone.
const LISTS_APPLIED: Act<'static> = Act {
    actor: RECORDER,
    action: "revocation.apply",
    resource: "revocation_lists",
    epoch: 0,
    content_hash: None,
    detail: "",
};

/// Compiles on a thread that may take its time: a national catalog needs a while.
async fn compile(material: &Material) -> Result<Draft, BrokerError> {
    let material = material.clone();
    Ok(spawn_blocking(move || Draft::compile(&material)).await.map_err(|_| BrokerError::Stopped)??)
}

/// Refuses a change that breaks an invariant which held before: `known` is what was noticed before it.
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
