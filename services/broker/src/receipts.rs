//! On record: since when a node judges by another revocation list, and that what it had to cut is gone. Whoever revoked
//! can show it years later; the board shows it now.

use lienthong_proto::lienthong::audit::v1::record::Body;

use crate::ledger::Ledger;
use crate::records::{Act, administration};

/// Puts what `node` acknowledged on record.
pub async fn keep(ledger: Ledger, node: String, epoch: u64, effect: String) {
    if let Err(error) = ledger.record(vec![receipt(&node, epoch, &effect)]).await {
        tracing::error!(%error, node, epoch, "a node's receipt is not on record");
    }
}

fn receipt(node: &str, epoch: u64, effect: &str) -> Body {
    administration(Act {
        actor: node,
        action: "rights.applied",
        resource: node,
        epoch,
        content_hash: None,
        detail: effect,
    })
}
