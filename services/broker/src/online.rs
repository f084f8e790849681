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
use crate::limits::ONLINE_INDEXES_MAX;
use crate::metrics::BrokerMetrics;

/// A node's bundle, indexed when it is first asked about.
type Index = Arc<OnceCell<RightsIndex>>;

/// Decides. Cheap to clone; all clones share their indexes.
#[derive(Clone)]
pub struct Online {
    /// By node; of each the newest.
    indexes: Arc<Mutex<HashMap<String, (Sha256, Index)>>>,
    metrics: BrokerMetrics,
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
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((hash, cell)) = indexes.get(&bundle.audience)
            && *hash == bundle.hash
        {
            return Arc::clone(cell);
        }
        if indexes.len() >= ONLINE_INDEXES_MAX && !indexes.contains_key(&bundle.audience) {
            // Any will do: it is made again when it is asked for.
            let other = indexes.keys().next().cloned();
            other.and_then(|node| indexes.remove(&node));
        }
        let cell = Index::default();
        indexes.insert(bundle.audience.clone(), (bundle.hash, Arc::clone(&cell)));
        cell
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
