//! The chancery: the one place where changes of the catalog are kept, from proposal to force (R-09).
//!
//! ```text
//! propose ─▶ PROPOSED ─▶ approve, by another person ─▶ APPLIED: the steward compiles, the issuer records and stores
//!               ├─▶ reject ─▶ REJECTED
//!               └─▶ another change is applied ─▶ OVERTAKEN
//! ```
//!
//! A folder with two approvals in a file comes in the same way, at start and at a reload: it is a change that was signed
//! elsewhere. What was in force before comes in only as a new change that stands on the present one.

mod import;
mod refusal;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use lienthong_audit::hash::Hash;
use lienthong_catalog::catalog::Catalog;
use lienthong_catalog::{Mistake, SourceFile};
use lienthong_certs::Judge;
use lienthong_proto::lienthong::catalog::v1::{Change, ChangeState as State, Replay};
use lienthong_proto::lienthong::control::v1::Approver;
use prost::Message;
use time::OffsetDateTime;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;

use crate::activated::Activated;
use crate::bundle::sha256;
use crate::declared::{Declared, Registry};
use crate::error::BrokerError;
use crate::ledger::Ledger;
use crate::limits::CHANGES_KEPT_MAX;
use crate::records::{Act, RECORDER, administration};
use crate::registrar::House;
use crate::replay::replay;
use crate::shelf::{Shelf, ShelvedChange};
use crate::steward::{Preview, Steward};
use crate::stored::StoredChange;
use import::{import, present};

pub use refusal::{ChanceryError, Unfit};
pub use steps::{Proposal, Proposed};

/// The catalog folder in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Number of its change.
    pub number: u64,
    /// Its files.
    pub files: Arc<[SourceFile]>,
    /// Their hash.
    pub content: Hash,
    /// By whose signatures its entries are in force.
    pub activated: Arc<Activated>,
}

/// What the broker starts with.
#[derive(Debug)]
pub struct Opened {
    /// The chancery's book.
    pub book: Book,
    /// The folder in force.
    pub in_force: Arc<InForce>,
    /// What it says, bound to the registry.
    pub catalog: Arc<Catalog>,
    /// To be stored with the first epoch, where the folder came in now.
    pub imported: Option<ShelvedChange>,
}

/// Changes by number.
pub type Book = BTreeMap<u64, StoredChange>;

/// The chancery.
#[derive(Debug)]
pub struct Chancery {
    mesh: Arc<str>,
    steward: Arc<Steward>,
    ledger: Ledger,
    shelf: Shelf,
    judge: watch::Receiver<Arc<Judge>>,
    /// Where the log lies.
    log: PathBuf,
    /// What the operator's files say now: the registry, and who may approve. Held by whoever changes something.
    desk: Mutex<Desk>,
}

#[derive(Debug)]
struct Desk {
    book: Book,
    registry: Arc<Registry>,
    approvers: Arc<[Approver]>,
}

impl Chancery {
    /// Takes up what is stored, or the folder of the configuration where nothing is.
    ///
    /// # Errors
    /// [`BrokerError`]: without a stored catalog, also where the folder lacks its two approvals.
    pub async fn open(
        shelf: &Shelf,
        declared: &Declared,
        mesh: &str,
        judge: &Judge,
    ) -> Result<Opened, BrokerError> {
        let book: Book = shelf.changes().await?.into_iter().map(|one| (one.number, one)).collect();
        let Some(number) = shelf.catalog_in_force().await? else {
            let import = import(declared, &book, None, mesh, judge)?;
            return Ok(Opened {
                book,
                in_force: import.in_force,
                catalog: Arc::clone(&declared.catalog),
                imported: Some(import.shelved),
            });
        };
        let present = Arc::new(present(shelf, &book, number).await?);
        match import(declared, &book, Some(&present), mesh, judge) {
            Ok(import) => Ok(Opened {
                book,
                in_force: import.in_force,
                catalog: Arc::clone(&declared.catalog),
                imported: Some(import.shelved),
            }),
            Err(unfit) => {
                if !matches!(unfit, Unfit::InForceBefore) {
                    tracing::error!(%unfit, "the catalog folder is left aside; the catalog in force goes on");
                }
                let catalog = read(&present.files, &declared.registry).map_err(BrokerError::Mistakes)?;
                Ok(Opened { book, in_force: present, catalog: Arc::new(catalog), imported: None })
            }
        }
    }

    /// A chancery that keeps this book.
    pub fn new(house: &House, log: PathBuf, mut opened: Opened, declared: &Declared) -> Chancery {
        if let Some(imported) = opened.imported {
            opened.book.insert(imported.change.number, imported.change);
        }
        let desk = Desk {
            book: opened.book,
            registry: Arc::clone(&declared.registry),
            approvers: Arc::clone(&declared.approvers),
        };
        let House { mesh, steward, ledger, shelf, judge, .. } = house.clone();
        Chancery { mesh, steward, ledger, shelf, judge, log, desk: Mutex::new(desk) }
    }

    /// Takes over what the operator's files say now; the catalog folder too, where two persons have signed it. Returns
    /// whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then.
    pub async fn declare(&self, declared: Declared, judge: &Judge) -> Result<bool, BrokerError> {
        let mut desk = self.desk.lock().await;
        let present = self.steward.in_force().await;
        let import = match import(&declared, &desk.book, Some(&present), &self.mesh, judge) {
            Ok(import) => Some(import),
            Err(Unfit::InForceBefore) => None,
            Err(unfit) => return Err(unfit.into()),
        };
        let (catalog, in_force) = if let Some(import) = &import {
            (Arc::clone(&declared.catalog), Arc::clone(&import.in_force))
        } else {
            let catalog = read(&present.files, &declared.registry).map_err(BrokerError::Mistakes)?;
            (Arc::new(catalog), present)
        };
        let (registry, approvers) = (Arc::clone(&declared.registry), Arc::clone(&declared.approvers));
        let shelved = import.map(|import| import.shelved);
        let rose = self.steward.declare(declared, catalog, in_force, shelved.as_ref()).await?;
        if let Some(ShelvedChange { change, .. }) = shelved {
            desk.book.insert(change.number, change);
        }
        (desk.registry, desk.approvers) = (registry, approvers);
        Ok(rose)
    }

    /// One change.
    ///
    /// # Errors
    /// [`Unfit::NotFound`].
    pub async fn get(&self, name: &str) -> Result<Change, Unfit> {
        let (desk, present) = (self.desk.lock().await, self.steward.in_force().await);
        Ok(Self::shown(found(&desk.book, name)?, Some(present.content)))
    }

    /// All changes in `state`, or all; ordered by name.
    pub async fn list(&self, state: State) -> Vec<Change> {
        let (desk, present) = (self.desk.lock().await, self.steward.in_force().await);
        let shown = desk.book.values().map(|one| Self::shown(one, Some(present.content)));
        shown.filter(|one| state == State::Unspecified || one.state() == state).collect()
    }

    /// The files of a change, or those in force.
    ///
    /// # Errors
    /// [`ChanceryError`].
    pub async fn files(&self, name: &str) -> Result<Arc<[SourceFile]>, ChanceryError> {
        if name.is_empty() {
            return Ok(Arc::clone(&self.steward.in_force().await.files));
        }
        let stored = found(&self.desk.lock().await.book, name)?.clone();
        if stored.parts == 0 {
            return Err(Unfit::Forgotten(name.to_owned()).into());
        }
        Ok(self.shelf.folder(&stored).await?.into())
    }

    /// Decides the calls of the last days again, as a change would.
    ///
    /// # Errors
    /// [`BrokerError`] if the log cannot be read.
    pub async fn replay(&self, preview: &Preview, days: u32) -> Result<Replay, BrokerError> {
        let (log, before, after) = (self.log.clone(), preview.before.clone(), preview.after.clone());
        let now = OffsetDateTime::now_utc();
        spawn_blocking(move || replay(&log, &before, &after, days, now))
            .await
            .map_err(|_| BrokerError::Stopped)?
    }

    fn state(stored: &StoredChange, present: Hash) -> State {
        let change = stored.change.as_ref();
        match change.map_or(State::Unspecified, Change::state) {
            State::Proposed if change.is_some_and(|change| change.base_hash != present.0) => State::Overtaken,
            state => state,
        }
    }

    fn shown(stored: &StoredChange, present: Option<Hash>) -> Change {
        let state = present.map_or_else(|| stored.shown().state(), |present| Self::state(stored, present));
        let change = Change { state: state.into(), etag: String::new(), ..stored.shown() };
        let etag = hex::encode(&sha256(&change.encode_to_vec())[..8]);
        Change { etag, ..change }
    }

    /// Keeps the book within its bound: ended changes go first to last, but for those whose signatures count still.
    async fn forget(&self, book: &mut Book, present: &InForce) -> Result<(), BrokerError> {
        while book.len() >= CHANGES_KEPT_MAX {
            let counts = |number: &u64| {
                present.activated.changes().any(|one| one == *number) || *number == present.number
            };
            let ended = |one: &StoredChange| Self::state(one, present.content) != State::Proposed;
            let oldest =
                book.iter().find(|(number, one)| ended(one) && !counts(number)).map(|(number, _)| *number);
            let Some(stored) = oldest.and_then(|number| book.remove(&number)) else { return Ok(()) };
            self.shelf.forget_change(&stored).await?;
        }
        Ok(())
    }

    async fn record(
        &self,
        action: &str,
        actor: &str,
        stored: &StoredChange,
        detail: &str,
    ) -> Result<(), BrokerError> {
        let (resource, content) = (name(stored.number), stored.shown().content_hash);
        let content_hash = content.try_into().ok();
        let act = Act { actor, action, resource: &resource, epoch: 0, content_hash, detail };
        self.ledger.record(vec![administration(act)]).await?;
        Ok(())
    }
}

impl StoredChange {
    fn shown(&self) -> Change {
        self.change.clone().unwrap_or_default()
    }
}

/// The resource name of a change. Eight digits, so that names are in the order of the numbers for long.
pub fn name(number: u64) -> String {
    format!("changes/{number:08}")
}

/// The act that goes on record when a change takes effect.
pub(crate) fn applied<'a>(actor: &'a str, resource: &'a str, content: Hash, detail: &'a str) -> Act<'a> {
    let actor = if actor.is_empty() { RECORDER } else { actor };
    Act { actor, action: "catalog.apply", resource, epoch: 0, content_hash: Some(content.0), detail }
}

fn found<'b>(book: &'b Book, name: &str) -> Result<&'b StoredChange, Unfit> {
    let number = name.strip_prefix("changes/").and_then(|number| number.parse().ok());
    number.and_then(|number: u64| book.get(&number)).ok_or_else(|| Unfit::NotFound(name.to_owned()))
}

fn read(files: &[SourceFile], registry: &Registry) -> Result<Catalog, Vec<Mistake>> {
    registry.bind(&Catalog::read(files)?)
}
