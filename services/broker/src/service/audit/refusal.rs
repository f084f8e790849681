//! Why a journal does not go on: on record where people must look, and in words that a node can act on.

use lienthong_audit::batch::{BatchError, Position};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::Audit;
use crate::door::NodeGuest;
use crate::ledger::LedgerError;
use crate::records::NotANodesRecord;

impl Audit {
    /// The status for a batch or hello that is not taken. A sign of tampering or loss goes on record, once.
    pub(super) async fn refuse(&self, node: &NodeGuest, held: &Position, error: &BatchError) -> Status {
        let on_record = error.is_alarm() || matches!(error, BatchError::Gap { .. });
        self.refusal(node, held, kind(error), &error.to_string(), on_record).await
    }

    /// The same for a record that the node may not make.
    pub(super) async fn refuse_record(
        &self,
        node: &NodeGuest,
        held: &Position,
        error: NotANodesRecord,
    ) -> Status {
        self.refusal(node, held, "record", &error.to_string(), true).await
    }

    async fn refusal(
        &self,
        node: &NodeGuest,
        held: &Position,
        kind: &'static str,
        description: &str,
        on_record: bool,
    ) -> Status {
        self.metrics.batch_refused(kind);
        if self.door.may_log() {
            tracing::error!(node = node.name, kind, description, "journal refused");
        }
        if on_record && let Err(error) = self.findings.journal(&node.name, held, kind, description).await {
            return unavailable(&error);
        }
        status(&node.name, kind, description)
    }
}

/// The status while nothing can be put on record.
pub(super) fn unavailable(error: &LedgerError) -> Status {
    Status::unavailable(format!("nothing can be put on record: {error}"))
}

/// The kind of a refusal, as it stands in metrics, records and `PreconditionFailure.type`.
fn kind(error: &BatchError) -> &'static str {
    match error {
        BatchError::Malformed(_) | BatchError::Oversized { .. } | BatchError::TooLarge { .. } => "malformed",
        BatchError::Node { .. } => "node",
        BatchError::Epoch { .. } => "epoch",
        BatchError::Gap { .. } => "gap",
        BatchError::Fork { .. } => "fork",
        BatchError::Rollback { .. } => "rollback",
        BatchError::Duplicate { .. } => "duplicate",
        BatchError::Chain { .. } | BatchError::LateOpenings { .. } => "chain",
        BatchError::Signature { .. } => "signature",
    }
}

/// The status that ends the stream, with a detail for machines.
fn status(node: &str, kind: &str, description: &str) -> Status {
    let code = match kind {
        "malformed" | "node" | "record" => Code::InvalidArgument,
        "signature" => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    };
    let violation = format!("JOURNAL_{}", kind.to_uppercase());
    let details = ErrorDetails::with_precondition_failure_violation(violation, node, description);
    Status::with_error_details(code, description, details)
}
