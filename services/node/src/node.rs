//! What all threads of a node share: who it is, what it may decide by, and where it writes.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use lienthong_audit::journal::Journal;
use lienthong_catalog::RightsIndex;
use lienthong_proto::{reason::Reason, status::MeshError};
use lienthong_transport::{Peer, StreamPlace};
use tokio_util::sync::CancellationToken;

use crate::{
    call::replay::ReplayWindow, config::LimitsConfig, denials::Denials, freshness::Freshness, gates::Gates,
    limits::OVERLOAD_RETRY_MS, message_space::MessageSpace, metrics::Metrics, own_files::OwnFiles,
    promises::Promises, quota::Quotas, revocation::Revocation, services::Services,
};

/// A running node.
pub struct Node {
    /// Resource name, for example `agencies/G01/nodes/n1`.
    pub name: String,
    /// Code of its agency.
    pub agency: String,
    /// Mesh that it belongs to.
    pub mesh: String,
    /// True where certificates made for development are accepted.
    pub development: bool,
    /// What it decides by; `None` until the first bundle.
    pub rights: ArcSwapOption<RightsIndex>,
    /// How old that is.
    pub freshness: Freshness,
    /// Exchanges seen from other nodes.
    pub replay: ReplayWindow,
    /// Its records.
    pub journal: Journal,
    /// Age of the oldest record that the broker has not receipted, milliseconds; looked at once a second.
    pub backlog_age_ms: AtomicU64,
    /// How far its records have come, and who waits for that.
    pub gates: Gates,
    /// What the log has promised.
    pub promises: Promises,
    /// When the process began; quotas run on this clock.
    pub started: Instant,
    /// Bounds.
    pub limits: LimitsConfig,
    /// Which denials are recorded one by one.
    pub denials: Denials,
    /// Calls per minute under each right.
    pub quotas: Quotas,
    /// How fresh the knowledge of revoked certificates is.
    pub revocation: Revocation,
    /// Its certificate, key and revocation lists on disk.
    pub own_files: OwnFiles,
    /// Numbers for the operator.
    pub metrics: Metrics,
    /// Systems behind a Unix socket, by uid.
    pub systems_by_uid: HashMap<u32, String>,
    /// Memory for messages under way.
    pub messages: MessageSpace,
    /// Calls under way.
    pub calls: AtomicUsize,
    /// What its own services share.
    pub services: Services,
    /// Cancelled when the node begins to stop: what would go on for ever ends then.
    pub stopping: CancellationToken,
}

/// Counts a call as under way until it is dropped.
pub struct CallSlot {
    node: Arc<Node>,
    /// In its peer's share.
    _place: StreamPlace,
}

impl Node {
    /// Begins a call of `peer`; `FAIL_OVERLOADED` where [`LimitsConfig::calls_in_flight_max`] are under way, or
    /// [`LimitsConfig::calls_per_peer_max`] of them are its own.
    pub fn begin_call(self: &Arc<Self>, peer: &Peer) -> Result<CallSlot, MeshError> {
        let max = self.limits.calls_per_peer_max;
        let place = peer.take_place(max).ok_or_else(|| overloaded("calls_per_peer_max", max))?;
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        let slot = CallSlot { node: Arc::clone(self), _place: place };
        let max = self.limits.calls_in_flight_max;
        if before < max { Ok(slot) } else { Err(overloaded("calls_in_flight_max", max)) }
    }

    /// The system that a Unix user stands for.
    pub fn system_of_uid(&self, uid: u32) -> Option<&str> {
        self.systems_by_uid.get(&uid).map(String::as_str)
    }
}

impl Drop for CallSlot {
    fn drop(&mut self) {
        self.node.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a caller hears who finds the node full, or has filled his share of it.
fn overloaded(limit: &str, max: usize) -> MeshError {
    let full = MeshError::new(Reason::FailOverloaded, format!("{max} calls are under way ({limit})"));
    MeshError { retry_after_ms: Some(OVERLOAD_RETRY_MS), ..full }
}
