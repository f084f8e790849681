//! The arbiter: the one place where refusals, disputes, outages and connection requests are kept and changed (R-04 to R-06,
//!
//!
//! What each step means is judged by `lienthong-duty`; here it is put on record, stored, and, where it suspends or restores a
//! right, put into effect through the [`Steward`] in one write with its epoch. Every second the arbiter looks at the clock and
//! at what the log has grown by: disputes climb, suspensions end, and refusals that nobody declared are noticed.

mod actor;
mod book;
mod error;
mod refusals;
mod requests;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use lienthong_duty::DutyRules;
use tokio::sync::{Mutex, watch as watched};

use crate::bundle::{Sha256, sha256};
use crate::error::BrokerError;
use crate::ledger::Ledger;
use crate::metrics::BrokerMetrics;
use crate::records::{Act, administration};
use crate::registrar::House;
use crate::shelf::{Shelf, Shelving};
use crate::steward::Steward;
use crate::stored::StoredAct;
use book::Changed;

pub use actor::Actor;
pub use book::Book;
pub use error::ArbiterError;

/// The arbiter.
#[derive(Debug)]
pub struct Arbiter {
    steward: Arc<Steward>,
    ledger: Ledger,
    shelf: Shelf,
    metrics: BrokerMetrics,
    rules: watched::Sender<Arc<DutyRules>>,
    log: PathBuf,
    /// Held by whoever changes something.
    book: Mutex<Book>,
}

impl Arbiter {
    /// An arbiter that keeps this book, and follows the log in this folder.
    pub fn new(
        book: Book,
        house: &House,
        metrics: BrokerMetrics,
        rules: Arc<DutyRules>,
        log: PathBuf,
    ) -> Arbiter {
        let (rules, book) = (watched::Sender::new(rules), Mutex::new(book));
        let House { steward, ledger, shelf, .. } = house.clone();
        Arbiter { steward, ledger, shelf, metrics, rules, log, book }
    }

    /// Judges by these rules from now on.
    pub fn set_rules(&self, rules: Arc<DutyRules>) {
        self.rules.send_replace(rules);
    }

    /// Records and stores a step; where it changes what is suspended, puts it into effect in the same write. Answers the
    /// newest epoch.
    async fn enact(
        &self,
        before: &Book,
        after: &Book,
        act: OwnedAct,
        acts: &[(String, StoredAct)],
    ) -> Result<u64, ArbiterError> {
        let act = act.borrow();
        let (old, new) = (before.suspensions(), after.suspensions());
        if old != new {
            return Ok(self.steward.suspend(Arc::new(new), act, Shelving::Acts(acts)).await?);
        }
        self.ledger.record(vec![administration(act)]).await.map_err(BrokerError::from)?;
        self.shelf.put_acts(acts).await?;
        Ok(self.steward.current().epoch())
    }

    fn act(actor: &str, action: &'static str, changed: &Changed<'_>, detail: &str) -> OwnedAct {
        OwnedAct {
            actor: actor.to_owned(),
            action,
            resource: changed.name().to_owned(),
            content: sha256(&changed.bytes()),
            detail: detail.to_owned(),
        }
    }
}

/// An act whose texts are its own.
struct OwnedAct {
    actor: String,
    action: &'static str,
    resource: String,
    content: Sha256,
    detail: String,
}

impl OwnedAct {
    fn borrow(&self) -> Act<'_> {
        Act {
            actor: &self.actor,
            action: self.action,
            resource: &self.resource,
            epoch: 0,
            content_hash: Some(self.content),
            detail: &self.detail,
        }
    }
}
