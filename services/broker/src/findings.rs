//! What the broker finds wrong with a journal, put on record once each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lienthong_audit::batch::Position;
use lienthong_audit::finding;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Finding, FindingKind};

use crate::ledger::{Ledger, LedgerError};
use crate::records::{Act, RECORDER, administration};

/// Records findings. Cheap to clone.
///
/// A journal that stands still and keeps sending the same bad batch is one finding, not one for each attempt: a finding
/// is repeated only after the journal has moved, or the broker was started again.
#[derive(Clone, Debug)]
pub struct Findings {
    ledger: Ledger,
    /// Node and kind → where the journal stood. At most nodes × kinds.
    recorded: Arc<Mutex<HashMap<(String, &'static str), Position>>>,
}

impl Findings {
    /// Findings that go into this log.
    pub fn new(ledger: Ledger) -> Findings {
        Findings { ledger, recorded: Arc::default() }
    }

    /// Puts on record that `node` sent something that its journal, which stands at `held`, cannot go on with.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be put on record.
    pub async fn journal(
        &self,
        node: &str,
        held: &Position,
        kind: &'static str,
        detail: &str,
    ) -> Result<(), LedgerError> {
        if !self.is_new(node, kind, *held) {
            return Ok(());
        }
        let action = format!("journal.{kind}");
        let act = Act { actor: RECORDER, action: &action, resource: node, detail, ..Act::default() };
        let about: [&[u8]; 4] =
            [node.as_bytes(), kind.as_bytes(), &held.epoch.to_be_bytes(), &held.last_seq.to_be_bytes()];
        let found = Finding {
            id: finding::id(FindingKind::Journal, &about),
            kind: FindingKind::Journal.into(),
            nodes: vec![node.to_owned()],
            detail: finding::detail(&format!("{kind}: {detail}")),
            ..Finding::default()
        };
        let recorded = self.ledger.record(vec![administration(act), Body::Finding(found)]).await;
        if recorded.is_err() {
            self.recorded.lock().unwrap_or_else(PoisonError::into_inner).remove(&(node.to_owned(), kind));
        }
        recorded.map(drop)
    }

    /// Puts on record that `node` gave up the journal that stands at `held` and begins a new one.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be put on record.
    pub async fn new_journal(&self, node: &str, held: &Position, epoch: u64) -> Result<(), LedgerError> {
        let detail = format!(
            "the node begins journal epoch {epoch}; epoch {} is on record up to record {}, what followed is lost",
            held.epoch, held.last_seq
        );
        self.journal(node, held, "renewed", &detail).await
    }

    fn is_new(&self, node: &str, kind: &'static str, held: Position) -> bool {
        let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.insert((node.to_owned(), kind), held) != Some(held)
    }
}
