//! Decides single calls for nodes, by the newest rights: for datasets that are marked `decision: ONLINE`.
//!
//! A node may hold rights that a change has just made old. For most data that moment is short enough; for an online
//! dataset nobody releases anything by rights that the broker does not stand by now. The broker answers by the very
//! bundle that it has sealed for the asking node: it can permit nothing that it has not signed, and a node learns nothing
//! beyond what its own bundle holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lienthong_catalog::{Denial, Question, Resolution, RightsIndex, decide};
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{DecideRequest, DecideResponse, RightsBundle};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use prost::Message;
use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tonic::Status;

use crate::bundle::{SealedBundle, Sha256};
use crate::limits::ONLINE_BUNDLE_BYTES_MAX;
use crate::metrics::BrokerMetrics;

/// A node's bundle, indexed when it is first asked about.
type Index = Arc<OnceCell<RightsIndex>>;

/// Decides. Cheap to clone; all clones share their indexes.
#[derive(Clone)]
pub struct Online {
    indexes: Arc<Mutex<Indexes>>,
    metrics: BrokerMetrics,
}

/// The indexes of the nodes that asked last.
#[derive(Default)]
struct Indexes {
    /// By node; of each the newest.
    held: HashMap<String, Held>,
    /// Bundles that they were made from, bytes together: about what they take.
    bytes: usize,
    /// Counts questions.
    now: u64,
}

/// One of them.
struct Held {
    hash: Sha256,
    index: Index,
    bytes: usize,
    /// The last question that it was for.
    used: u64,
}

impl Online {
    /// Holds no index yet.
    pub fn new(metrics: BrokerMetrics) -> Online {
        Online { indexes: Arc::default(), metrics }
    }

    /// Decides what is asked by `bundle`, the asker's newest.
    ///
    /// # Errors
    /// `INTERNAL` if the broker cannot read what it has sealed itself.
    pub async fn decide(
        &self,
        bundle: &Arc<SealedBundle>,
        asked: &DecideRequest,
    ) -> Result<DecideResponse, Status> {
        let rights = self.index(bundle).await?;
        let decided = judge(&rights, asked, OffsetDateTime::now_utc());
        self.metrics.decided_online(if decided.is_ok() { "permitted" } else { "denied" });
        let epoch = rights.epoch();
        Ok(match decided {
            Ok(right) => DecideResponse { epoch, right, ..DecideResponse::default() },
            Err(error) => DecideResponse {
                epoch,
                right: String::new(),
                reason: error.reason.name().to_owned(),
                rule: error.rule,
                detail: error.detail,
            },
        })
    }

    async fn index(&self, bundle: &Arc<SealedBundle>) -> Result<RightsIndex, Status> {
        let cell = self.cell(bundle);
        let made = cell.get_or_try_init(|| {
            let bundle = Arc::clone(bundle);
            async move { spawn_blocking(move || read(&bundle)).await.map_err(|_| unreadable())? }
        });
        made.await.cloned()
    }

    fn cell(&self, bundle: &SealedBundle) -> Index {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).of(bundle, ONLINE_BUNDLE_BYTES_MAX)
    }
}

impl Indexes {
    /// The place for the index of `bundle`. Where together they would take more than `bytes_max`, those go that were not
    /// asked for longest; the one asked for stays, however large.
    fn of(&mut self, bundle: &SealedBundle, bytes_max: usize) -> Index {
        self.now += 1;
        let now = self.now;
        if let Some(held) = self.held.get_mut(&bundle.audience)
            && held.hash == bundle.hash
        {
            held.used = now;
            return Arc::clone(&held.index);
        }
        self.forget(&bundle.audience);
        let bytes = bundle.signed.bundle.len();
        while self.bytes + bytes > bytes_max
            && let Some(idle) =
                self.held.iter().min_by_key(|(_, held)| held.used).map(|(node, _)| node.clone())
        {
            self.forget(&idle);
        }
        let index = Index::default();
        let held = Held { hash: bundle.hash, index: Arc::clone(&index), bytes, used: now };
        self.held.insert(bundle.audience.clone(), held);
        self.bytes += bytes;
        index
    }

    fn forget(&mut self, node: &str) {
        self.bytes -= self.held.remove(node).map_or(0, |held| held.bytes);
    }
}

impl std::fmt::Debug for Online {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Online").finish_non_exhaustive()
    }
}

/// The right that permits the call, or why it is denied. Pure.
fn judge(rights: &RightsIndex, asked: &DecideRequest, now: OffsetDateTime) -> Result<String, MeshError> {
    let Resolution::One(method) = rights.method(&asked.method, Some(&asked.provider)) else {
        return Err(MeshError::new(Reason::DenyUnknownMethod, "").with_rule("R-01"));
    };
    let question = Question {
        method: &method,
        consumer: &asked.consumer,
        system: said(&asked.system),
        purpose: said(&asked.purpose),
        place: None,
        purpose_source: if asked.purpose_is_default { PurposeSource::Default } else { PurposeSource::Caller },
        requested_fields: (!asked.fields.is_empty())
            .then(|| asked.fields.iter().map(String::as_str).collect()),
        dossier: said(&asked.dossier),
        user: said(&asked.user),
        min_epoch: 0,
        now,
        rights_age: Duration::ZERO,
        clock_behind: false,
    };
    decide(rights, &question).map(|permitted| permitted.right_id().to_owned()).map_err(Denial::into)
}

fn said(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn read(bundle: &SealedBundle) -> Result<RightsIndex, Status> {
    let decoded = RightsBundle::decode(bundle.signed.bundle.as_slice()).map_err(|error| error.to_string());
    let index =
        decoded.and_then(|bundle| RightsIndex::from_bundle(&bundle).map_err(|error| error.to_string()));
    index.map_err(|error| {
        tracing::error!(
            node = bundle.audience,
            epoch = bundle.epoch,
            error,
            "a sealed bundle cannot be read"
        );
        unreadable()
    })
}

fn unreadable() -> Status {
    Status::internal("the broker cannot read the rights that it has issued; its log says why")
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::control::v1::SignedBundle;

    use super::*;

    fn sealed(node: &str, version: u8, bytes: usize) -> SealedBundle {
        let signed = SignedBundle { bundle: vec![version; bytes], ..SignedBundle::default() };
        SealedBundle { audience: node.to_owned(), epoch: version.into(), hash: [version; 32], signed }
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let mut indexes = Indexes::default();
        let a = indexes.of(&sealed("a", 1, 40), 100);
        indexes.of(&sealed("b", 1, 40), 100);
        assert!(Arc::ptr_eq(&a, &indexes.of(&sealed("a", 1, 40), 100)));
        indexes.of(&sealed("c", 1, 40), 100);
        assert!(indexes.held.contains_key("a") && !indexes.held.contains_key("b"));
        // A newer bundle takes the place of the one before.
        assert!(!Arc::ptr_eq(&a, &indexes.of(&sealed("a", 2, 60), 100)));
        assert_eq!((indexes.held.len(), indexes.bytes), (2, 100));
        indexes.of(&sealed("d", 1, 500), 100);
        assert_eq!((indexes.held.len(), indexes.bytes), (1, 500));
    }
}
