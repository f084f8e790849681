//! How a contract is published: judged against the rules and against those who call it, then put into effect. Where many
//! providers publish at once, as at the first start of a mesh, they share a compilation and an epoch.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lienthong_catalog::catalog::Agency;
use lienthong_catalog::{ContractError, Finding, Severity};
use prost_types::Timestamp;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{Desk, Invariants, Steward, errors_of, read_contract};
use crate::breakage::{Breakage, breakage};
use crate::bundle::{Sha256, sha256};
use crate::clock;
use crate::error::BrokerError;
use crate::generation::Contract;
use crate::issuer::Occasion;
use crate::limits::{PUBLICATIONS_AT_ONCE_MAX, PUBLICATIONS_WAITING_MAX};
use crate::records::Act;
use crate::shelf::{Shelved, Shelving};

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
    /// It would break those who call it.
    #[error(
        "the contract breaks {} integrators of {} agencies ({}): {}; publish the new shape under a new package version beside \
             the old one, and take the old one away when nobody calls it any more",
        .0.integrators, .0.agencies.len(), .0.agencies.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
        .0.changes.first().map_or("", String::as_str)
    )]
    Breaks(Breakage),
    /// The broker could not store or record it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Too many wait already.
    #[error("{PUBLICATIONS_WAITING_MAX} contracts wait to be published; try again in a moment")]
    Busy,
}

impl PublishError {
    /// Whether the contract itself is at fault, and not the broker that could not take it.
    pub fn is_of_the_contract(&self) -> bool {
        match self {
            PublishError::Unreadable(_) | PublishError::Findings(_) | PublishError::Breaks(_) => true,
            PublishError::Broker(error) => matches!(error, BrokerError::Invariants(_)),
            PublishError::NotAProvider(_) | PublishError::Busy => false,
        }
    }
}

/// Contracts whose turn has not come.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Submitted>>);

/// A contract as it was sent.
#[derive(Debug)]
struct Submitted {
    publisher: String,
    agency: String,
    descriptor_set: Bytes,
    answer: oneshot::Sender<Result<Published, PublishError>>,
}

/// A contract that may take effect.
struct Judged {
    publisher: String,
    agency: String,
    fit: Fit,
    answer: oneshot::Sender<Result<Published, PublishError>>,
}

impl Waiting {
    fn push(&self, one: Submitted) -> Result<(), PublishError> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= PUBLICATIONS_WAITING_MAX {
            return Err(PublishError::Busy);
        }
        waiting.push(one);
        Ok(())
    }

    /// The next to be judged together, at most one of each agency: its next one is judged against this one.
    fn take(&self) -> Vec<Submitted> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, mut left, mut agencies) = (Vec::new(), Vec::new(), BTreeSet::new());
        for one in mem::take(&mut *waiting) {
            if taken.len() < PUBLICATIONS_AT_ONCE_MAX && agencies.insert(one.agency.clone()) {
                taken.push(one);
            } else {
                left.push(one);
            }
        }
        *waiting = left;
        taken
    }
}

impl Steward {
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
        let (answer, mut answered) = oneshot::channel();
        let (publisher, agency) = (publisher.to_owned(), agency.to_owned());
        self.waiting.push(Submitted { publisher, agency, descriptor_set, answer })?;
        // Whoever comes to the desk next takes along all who wait; so it may have been somebody else.
        loop {
            let mut desk = self.desk.lock().await;
            match answered.try_recv() {
                Ok(done) => return done,
                Err(oneshot::error::TryRecvError::Closed) => return Err(BrokerError::Stopped.into()),
                Err(oneshot::error::TryRecvError::Empty) => {
                    let together = self.waiting.take();
                    self.publish_together(&mut desk, together).await;
                }
            }
        }
    }

    async fn publish_together(&self, desk: &mut Desk, submitted: Vec<Submitted>) {
        let mut judged = Vec::new();
        for one in submitted {
            match self.judge(desk, &one.agency, one.descriptor_set).await {
                Ok(fit) => judged.push(Judged {
                    publisher: one.publisher,
                    agency: one.agency,
                    fit,
                    answer: one.answer,
                }),
                // Who no longer waits needs no answer, here and below.
                Err(error) => drop(one.answer.send(Err(error))),
            }
        }
        let changed: Vec<&Judged> = judged.iter().filter(|one| one.fit.changed).collect();
        if let Err(error) = self.enact(desk, &changed).await {
            if changed.len() > 1 {
                tracing::warn!(%error, contracts = changed.len(), "not published together; each is tried alone");
            }
            // Each alone, so that one that breaks an invariant keeps no other back, and each gets its own answer.
            for one in judged {
                let done = if one.fit.changed { self.enact(desk, &[&one]).await } else { Ok(()) };
                self.answer(desk, one, done);
            }
            return;
        }
        for one in judged {
            self.answer(desk, one, Ok(()));
        }
    }

    fn answer(&self, desk: &Desk, one: Judged, done: Result<(), BrokerError>) {
        let datasets = one.fit.contract.model.datasets().iter();
        let published = Published {
            hash: one.fit.hash,
            datasets: datasets.map(|dataset| dataset.id().to_owned()).collect(),
            findings: one.fit.findings.iter().map(ToString::to_string).collect(),
            epoch: self.current().epoch(),
            publish_time: desk.about.get(&one.agency).and_then(|about| about.publish_time),
            changed: one.fit.changed,
        };
        drop(one.answer.send(done.map(|()| published).map_err(PublishError::from)));
    }

    async fn judge(&self, desk: &Desk, agency: &str, descriptor_set: Bytes) -> Result<Fit, PublishError> {
        let catalog = &desk.material.catalog;
        if !catalog.agency(agency).is_some_and(Agency::is_provider) {
            return Err(PublishError::NotAProvider(agency.to_owned()));
        }
        let hash = sha256(&descriptor_set);
        let before = desk.material.contracts.get(agency);
        let held = before.filter(|held| held.carried.published_hash == hash.as_slice());
        let changed = held.is_none();
        let contract = match held {
            Some(contract) => Arc::clone(contract),
            None => read_contract(agency, descriptor_set, catalog).await?,
        };
        let mut findings = contract.model.findings().to_vec();
        findings.extend(contract.model.check_dictionary(catalog.dictionary()));
        if changed && findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(PublishError::Findings(errors_of(&findings)));
        }
        if let Some(before) = before.filter(|_| changed) {
            let (now, old, new) = (self.current(), Arc::clone(before), Arc::clone(&contract));
            let broken = spawn_blocking(move || breakage(&old, &new, now.rights(), now.catalog()));
            if let Some(broken) = broken.await.map_err(|_| BrokerError::Stopped)? {
                return Err(PublishError::Breaks(broken));
            }
        }
        Ok(Fit { contract, hash, changed, findings })
    }

    /// Puts contracts into effect, with one epoch.
    async fn enact(&self, desk: &mut Desk, contracts: &[&Judged]) -> Result<(), BrokerError> {
        if contracts.is_empty() {
            return Ok(());
        }
        let mut material = desk.material.clone();
        let (mut shelved, mut texts) = (Vec::new(), Vec::new());
        for one in contracts {
            material.contracts.insert(one.agency.clone(), Arc::clone(&one.fit.contract));
            let version = desk.about.get(&one.agency).map_or(1, |before| before.version + 1);
            let published = one.fit.contract.published.clone();
            shelved.push(Shelved::new(version, clock::now(), &one.publisher, published));
            texts.push((format!("agencies/{}", one.agency), format!("version {version}")));
        }
        let acts = contracts.iter().zip(&texts).map(|(one, (resource, detail))| Act {
            actor: &one.publisher,
            action: "contract.publish",
            resource,
            content_hash: Some(one.fit.hash),
            detail,
            epoch: 0,
        });
        let shelving =
            contracts.iter().zip(&shelved).map(|(one, shelved)| Shelving::Contract(&one.agency, shelved));
        let occasion = Occasion { acts: acts.collect(), shelving: shelving.collect() };
        self.take_effect(desk, material, occasion, Invariants::Kept).await?;
        desk.about.extend(
            contracts.iter().zip(&shelved).map(|(one, shelved)| (one.agency.clone(), shelved.about.clone())),
        );
        Ok(())
    }
}

/// A contract that nothing speaks against.
struct Fit {
    contract: Arc<Contract>,
    hash: Sha256,
    changed: bool,
    findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(waiting: &Waiting, agency: String) -> Result<(), PublishError> {
        let (answer, _) = oneshot::channel();
        waiting.push(Submitted { publisher: String::new(), agency, descriptor_set: Bytes::new(), answer })
    }

    fn taken(waiting: &Waiting) -> Vec<String> {
        waiting.take().into_iter().map(|one| one.agency).collect()
    }

    #[test]
    fn who_wait_go_together_but_for_two_of_one_agency() {
        let waiting = Waiting::default();
        for agency in ["G01", "G09", "G01", "G24", "G01"] {
            push(&waiting, agency.to_owned()).unwrap();
        }
        assert_eq!(taken(&waiting), ["G01", "G09", "G24"]);
        assert_eq!((taken(&waiting), taken(&waiting)), (vec!["G01".to_owned()], vec!["G01".to_owned()]));
        assert!(taken(&waiting).is_empty());
    }

    #[test]
    fn many_at_once_share_few_epochs_and_too_many_are_told() {
        let waiting = Waiting::default();
        for agency in 0..PUBLICATIONS_WAITING_MAX {
            push(&waiting, format!("G{agency}")).unwrap();
        }
        assert!(matches!(push(&waiting, "X".to_owned()), Err(PublishError::Busy)));
        let rounds: Vec<usize> =
            std::iter::repeat_with(|| taken(&waiting).len()).take_while(|n| *n > 0).collect();
        assert_eq!(rounds, [PUBLICATIONS_AT_ONCE_MAX; PUBLICATIONS_WAITING_MAX / PUBLICATIONS_AT_ONCE_MAX]);
    }
}
