//! The node's receipt for a bundle: since when it decides by it, by which revocation lists it judges, and when the last
//! connection was gone that may not go on. The broker shows it to whoever revoked.
//!
//! A receipt may be lost with the stream that carried it: so the node keeps the newest ones, and says them again after
//! each hello.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    /// Whose connections were cut because of it, or by the node's own revocation lists since the bundle before.
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

    /// Notes, and tells once more, when every connection that was cut is gone, with its streams. A connection that is still
    /// there after [`CUT_WAIT_MS_MAX`] (its thread stands still) is an error here, and its time stays open there.
    pub async fn tell_when_cut(
        self,
        connections: Connections,
        receipts: Receipts,
        say: mpsc::Sender<WatchRightsRequest>,
    ) {
        let gone = connections.gone(self.cut.iter().map(Peer::connection_id));
        if tokio::time::timeout(Duration::from_millis(CUT_WAIT_MS_MAX), gone).await.is_err() {
            tracing::error!(
                epoch = self.epoch,
                "connections that were cut are still there after {CUT_WAIT_MS_MAX} ms"
            );
            return;
        }
        let receipt = Acknowledgement { cut_time: Some(clock::timestamp()), ..self.acknowledgement() };
        receipts.note(&receipt);
        // A watch that has ended meanwhile says all of it anew when it begins again.
        let _ = say.send(message(receipt)).await;
    }
}

/// The newest receipts, to be said again. Cheap to clone; all clones hold the same.
#[derive(Debug, Clone, Default)]
pub struct Receipts(Arc<Mutex<Newest>>);

#[derive(Debug, Default)]
struct Newest {
    /// Of the bundle in effect.
    applied: Option<Acknowledgement>,
    /// Of the last bundle that cut something.
    cut: Option<Acknowledgement>,
}

impl Receipts {
    /// Keeps a receipt in the place of an older one.
    pub fn note(&self, receipt: &Acknowledgement) {
        let newer = |held: &Option<Acknowledgement>| {
            held.as_ref().is_none_or(|held| {
                (held.epoch, held.cut_time.is_some()) <= (receipt.epoch, receipt.cut_time.is_some())
            })
        };
        let mut newest = self.newest();
        if newer(&newest.applied) {
            newest.applied = Some(receipt.clone());
        }
        if receipt.connections_cut > 0 && newer(&newest.cut) {
            newest.cut = Some(receipt.clone());
        }
    }

    /// What is said after a hello, in this order.
    pub fn again(&self) -> Vec<WatchRightsRequest> {
        let newest = self.newest();
        let both = [&newest.cut, &newest.applied].into_iter().flatten();
        let mut all: Vec<_> = both.cloned().map(message).collect();
        all.dedup();
        all
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        // Plain values; a panic elsewhere cannot leave one half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receipt, as the watch carries it.
pub fn message(receipt: Acknowledgement) -> WatchRightsRequest {
    WatchRightsRequest { event: Some(Event::Acknowledgement(receipt)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(epoch: u64, cut: u32) -> Acknowledgement {
        Acknowledgement { epoch, connections_cut: cut, ..Acknowledgement::default() }
    }

    #[test]
    fn what_was_cut_is_said_again_although_newer_bundles_cut_nothing() {
        let receipts = Receipts::default();
        assert_eq!(receipts.again(), []);
        receipts.note(&applied(3, 2));
        assert_eq!(receipts.again(), [message(applied(3, 2))], "once where it is the newest");
        receipts.note(&applied(4, 0));
        assert_eq!(receipts.again(), [message(applied(3, 2)), message(applied(4, 0))]);
        let gone = Acknowledgement { cut_time: Some(clock::timestamp()), ..applied(3, 2) };
        receipts.note(&gone);
        assert_eq!(receipts.again(), [message(gone.clone()), message(applied(4, 0))]);
        receipts.note(&applied(3, 2));
        assert_eq!(receipts.again()[0], message(gone), "that they are gone is not forgotten");
    }
}
