//! `LogService`: proves to nodes, each a light witness, that the log keeps what it promised.

use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::log::{LogError, LogReader};
use lienthong_audit::merkle;
use lienthong_audit::note::Note;
use lienthong_audit::policy::Policy;
use lienthong_proto::lienthong::audit::v1::log_service_server::LogService;
use lienthong_proto::lienthong::audit::v1::{
    ProveReceiptsRequest, ProveReceiptsResponse, ReceiptProof, ReceiptToProve,
};
use lienthong_transport::Drain;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::door::Door;
use crate::ledger::Ledger;
use crate::limits::{PROOF_WAIT_MS_MAX, PROOFS_AT_ONCE_MAX};
use crate::places::Places;

/// The service.
#[derive(Clone, Debug)]
pub struct LogProofs {
    pub(crate) door: Door,
    pub(crate) ledger: Ledger,
    pub(crate) policy: Option<watch::Receiver<Arc<Policy>>>,
    pub(crate) drain: Drain,
    pub(crate) places: Places,
}

#[tonic::async_trait]
impl LogService for LogProofs {
    async fn prove_receipts(
        &self,
        request: Request<ProveReceiptsRequest>,
    ) -> Result<Response<ProveReceiptsResponse>, Status> {
        let node = self.door.admit_node(Rpc::ProveReceipts, &request)?;
        let _place = self.places.take(&node.name)?;
        let asked = request.into_inner();
        if asked.receipts.len() > PROOFS_AT_ONCE_MAX {
            return Err(Status::invalid_argument("at most 64 receipts are proven at once"));
        }
        self.wait_for_cosigned(&asked).await;
        let reader = self.ledger.reader().clone();
        let proven = spawn_blocking(move || prove(&reader, &asked)).await;
        match proven.unwrap_or(Err(LogError::Closed)) {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => {
                tracing::error!(%error, "receipts cannot be proven");
                Err(Status::unavailable("the log cannot be read now; ask again"))
            }
        }
    }
}

impl LogProofs {
    /// Waits until a checkpoint that covers the first receipt is published and cosigned, or the time is over.
    async fn wait_for_cosigned(&self, asked: &ProveReceiptsRequest) {
        let Some(first) = asked.receipts.first().map(|receipt| receipt.size) else { return };
        let wait = u64::from(asked.wait_ms).min(PROOF_WAIT_MS_MAX);
        let until = Instant::now() + Duration::from_millis(wait);
        let mut published = self.ledger.published_size();
        loop {
            let size = *published.borrow_and_update();
            if size >= first && self.is_cosigned().await {
                return;
            }
            tokio::select! {
                changed = timeout_at(until, published.changed()) => {
                    if !matches!(changed, Ok(Ok(()))) {
                        return;
                    }
                }
                _ = self.drain.started() => return,
            }
        }
    }

    async fn is_cosigned(&self) -> bool {
        let Some(policy) = self.policy.as_ref().map(|newest| newest.borrow().clone()) else { return true };
        self.ledger.published().await.is_ok_and(|note| policy.judge(&note).is_ok())
    }
}

/// Reads the published checkpoint and proves what it covers.
fn prove(reader: &LogReader, asked: &ProveReceiptsRequest) -> Result<ProveReceiptsResponse, LogError> {
    let checkpoint = reader.checkpoint_note()?;
    let parsed = checkpoint.parse::<Note>().ok().and_then(|note| note.text().parse::<Checkpoint>().ok());
    let size = parsed.map_or(0, |checkpoint| checkpoint.size);
    let tree = reader.tree(size);
    // A size beyond the tree has no proof; the node sees that its own is beyond.
    let consistency = |old: u64| -> Result<Vec<Vec<u8>>, LogError> {
        let path = merkle::consistency_proof(old, size, &tree)?.unwrap_or_default();
        Ok(path.iter().map(|hash| hash.0.to_vec()).collect())
    };
    let covered = |receipt: &&ReceiptToProve| receipt.size <= size;
    let proofs = asked.receipts.iter().take_while(covered).map(|receipt| {
        let inclusion = merkle::inclusion_proof(receipt.index, size, &tree)?.unwrap_or_default();
        Ok(ReceiptProof {
            consistency: consistency(receipt.size)?,
            inclusion: inclusion.iter().map(|hash| hash.0.to_vec()).collect(),
        })
    });
    let proofs = proofs.collect::<Result<_, LogError>>()?;
    Ok(ProveReceiptsResponse { consistency: consistency(asked.held_size)?, proofs, checkpoint })
}
