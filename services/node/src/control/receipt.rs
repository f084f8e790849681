//! The node's receipt for a bundle: since when it decides by it, by which revocation lists it judges, and when the last
//! connection was gone that may not go on. The broker shows it to whoever revoked.

use std::time::Duration;

use lienthong_proto::lienthong::control::v1::{
    RevocationState, WatchRightsRequest,
    watch_rights_request::{Acknowledgement, Event},
};
use lienthong_transport::{Connections, Peer};
use prost_types::Timestamp;
use tokio::sync::mpsc;

use crate::{clock, limits::CUT_WAIT_MS_MAX};

/// A bundle that took effect.
#[derive(Debug)]
pub struct Applied {
    /// Its epoch.
    pub epoch: u64,
    /// Since when the node decides by it.
    pub since: Timestamp,
    /// Whose connections were cut because of it.
    pub cut: Vec<Peer>,
    /// The revocation lists in force since then.
    pub revocation: Vec<RevocationState>,
}

impl Applied {
    /// What the broker is told at once.
    pub fn acknowledgement(&self) -> Acknowledgement {
        Acknowledgement {
            epoch: self.epoch,
            applied_time: Some(self.since),
            connections_cut: u32::try_from(self.cut.len()).unwrap_or(u32::MAX),
            revocation: self.revocation.clone(),
            ..Acknowledgement::default()
        }
    }

    /// Tells it once more when every connection that was cut is gone, with its streams. A connection that is still
    /// there after [`CUT_WAIT_MS_MAX`] (its thread stands still) is an error here, and its time stays open there.
    pub async fn tell_when_cut(self, connections: Connections, say: mpsc::Sender<WatchRightsRequest>) {
        let gone = connections.gone(self.cut.iter().map(Peer::connection_id));
        if tokio::time::timeout(Duration::from_millis(CUT_WAIT_MS_MAX), gone).await.is_err() {
            tracing::error!(
                epoch = self.epoch,
                "connections that were cut are still there after {CUT_WAIT_MS_MAX} ms"
            );
            return;
        }
        let receipt = Acknowledgement { cut_time: Some(clock::timestamp()), ..self.acknowledgement() };
        // A watch that has ended meanwhile says all of it anew when it begins again.
        let _ = say.send(WatchRightsRequest { event: Some(Event::Acknowledgement(receipt)) }).await;
    }
}
