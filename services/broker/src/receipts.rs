//! On record: since when a node judges by another revocation list, and that what it had to cut is gone. Whoever revoked
//! can show it years later; the board shows it now. A node says its receipts again whenever it connects, since the answer
//! to one may have been lost; each is put on record once.

use lienthong_proto::lienthong::audit::v1::record::Body;

use crate::ledger::Ledger;
use crate::records::{Act, administration};
use crate::shelf::Shelf;
use crate::stored::StoredReceipt;

/// What of a node's receipt is worth a place on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Epoch of the bundle.
    pub epoch: u64,
    /// What happened, in words.
    pub what: String,
    /// What is on record then.
    pub on_record: StoredReceipt,
}

/// Puts what `node` acknowledged on record, and notes that it is there.
pub async fn keep(ledger: Ledger, shelf: Shelf, node: String, effect: Effect) {
    let Effect { epoch, what, on_record } = effect;
    if let Err(error) = ledger.record(vec![receipt(&node, epoch, &what)]).await {
        tracing::error!(%error, node, epoch, "a node's receipt is not on record");
        return;
    }
    if let Err(error) = shelf.put_receipt(&node, &on_record).await {
        tracing::warn!(%error, node, epoch, "a node's receipt may be put on record once more");
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
