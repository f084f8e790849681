//! What the log has promised this node, and whether it is kept: the shared part of the light witness.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use lienthong_audit::{
    light_witness::{LightWitness, Probe, Trouble, Unsettled},
    policy::Policy,
};
use lienthong_proto::lienthong::audit::v1::Receipt;
use tokio::sync::Notify;

use crate::limits::TROUBLES_WAITING_MAX;

/// The promises of the mesh's log.
#[derive(Debug)]
pub struct Promises {
    light: Mutex<LightWitness>,
    arrived: Notify,
    began: Instant,
    /// Contradictions that receipts showed at once, until they are put on record.
    troubles: Mutex<Vec<Trouble>>,
}

impl Promises {
    /// Promises under a policy. `held` is the newest checkpoint that was kept on disk.
    pub fn new(policy: Policy, held: Option<String>) -> Self {
        let light = Mutex::new(LightWitness::new(policy, held));
        Self { light, arrived: Notify::new(), began: Instant::now(), troubles: Mutex::default() }
    }

    /// Takes a receipt. It must carry a checkpoint of the log that covers what it promises.
    ///
    /// # Errors
    /// [`Unsettled`]: it is not to be believed.
    pub fn receive(&self, receipt: &Receipt, probe: Option<Probe>) -> Result<(), Unsettled> {
        let mut light = self.light();
        let now = self.began.elapsed();
        let received = light.receive(&receipt.checkpoint, receipt.last_seq, probe, now);
        let size = received.map(|checkpoint| checkpoint.size).inspect_err(|error| self.note(error))?;
        let needed = receipt.first_index.saturating_add(receipt.entries);
        if size < needed {
            let words = format!("a receipt promises {needed} entries, its checkpoint covers {size}");
            return Err(Unsettled::Unproven(words));
        }
        drop(light);
        self.arrived.notify_one();
        Ok(())
    }

    /// What receipts have shown to be wrong since the last look.
    pub fn take_troubles(&self) -> Vec<Trouble> {
        std::mem::take(&mut *self.troubles.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, error: &Unsettled) {
        let Unsettled::Trouble(trouble) = error else { return };
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.len() < TROUBLES_WAITING_MAX {
            troubles.push(trouble.clone());
        }
        self.arrived.notify_one();
    }

    /// Resolves when a receipt has arrived.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// The newest signed checkpoint that the node holds.
    pub fn newest(&self) -> Option<String> {
        self.light().newest_held().map(str::to_owned)
    }

    /// When the times of the light witness begin.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The light witness.
    pub fn light(&self) -> MutexGuard<'_, LightWitness> {
        self.light.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
