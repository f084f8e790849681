//! Saves the journals' positions now and then, so that a start need not read the whole log.

use std::sync::Arc;
use std::time::Duration;

use lienthong_transport::Drain;
use tokio::time::{MissedTickBehavior, interval};

use crate::positions::Positions;
use crate::shelf::Shelf;

/// The saver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Saver {
    /// Where to.
    pub shelf: Shelf,
    /// What.
    pub positions: Arc<Positions>,
    /// How often.
    pub interval: Duration,
}

impl Saver {
    /// Saves what changed. A failure costs a longer start, nothing else, so that it is told and not returned.
    pub async fn save(&self) {
        if let Some(changes) = self.positions.take_changes()
            && let Err(error) = self.shelf.save_journals(&changes).await
        {
            tracing::warn!(%error, "positions not saved; the next start reads more of the log");
            self.positions.untake(changes);
        }
    }

    /// Saves until the broker begins to stop.
    pub async fn keep_saving(self, drain: Drain) {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = drain.started() => return,
                _ = tick.tick() => self.save().await,
            }
        }
    }
}
