//! The register of live connections: who is inside right now, and the means to show them out.
//!
//! Trust may change while a connection lives. A connection is registered *before* anything is served on it,
//! and checked again *after*, so that a revocation finds it either in the register or at that check, never
//! between.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lienthong_certs::CertificateRefusal;
use rustls_pki_types::UnixTime;
use tokio::sync::Notify;

use crate::control::{Control, Phase};
use crate::handshakes::Handshakes;
use crate::limits::Limits;
use crate::material::SharedMaterial;
use crate::peer::{ConnectionId, Direction, Peer, PeerKey, Proof, Share};

/// The register. Clones share it; one per process is usual, for listeners and channels alike.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Register>);

impl Connections {
    /// An empty register.
    pub fn new() -> Self {
        Self(Arc::new(Register {
            next: AtomicU64::new(1),
            live: Mutex::default(),
            left: Notify::new(),
            handshakes: Handshakes::new(),
        }))
    }

    /// How many connections are live, both directions.
    pub fn count(&self) -> usize {
        self.live().entries.len()
    }

    /// Everyone who is inside now.
    pub fn peers(&self) -> Vec<Peer> {
        self.live().entries.values().map(|entry| entry.peer.clone()).collect()
    }

    /// Who came in and who was turned away at this register's listeners.
    pub fn handshakes(&self) -> &Handshakes {
        &self.0.handshakes
    }

    /// Cuts every connection whose peer is `unwanted`, with all its streams, now. Returns how many.
    ///
    /// `unwanted` runs under the register's lock: keep it to a look-up.
    pub fn close_where(&self, unwanted: impl Fn(&Peer) -> bool, reason: &str) -> usize {
        self.cut_where(unwanted, reason).len()
    }

    /// As [`Connections::close_where`]; returns whom it cut. They are told to go, and soon are: see
    /// [`Connections::gone`].
    pub fn cut_where(&self, unwanted: impl Fn(&Peer) -> bool, reason: &str) -> Vec<Peer> {
        let mut cut = Vec::new();
        for entry in self.live().entries.values().filter(|entry| unwanted(&entry.peer)) {
            if entry.control.show_out() {
                tracing::info!(peer = %entry.peer, reason, "connection closed");
                cut.push(entry.peer.clone());
            }
        }
        cut
    }

    /// Waits until none of these is live any more: their sockets are closed, with every stream on them.
    pub async fn gone(&self, cut: impl IntoIterator<Item = ConnectionId>) {
        let mut present: Vec<ConnectionId> = cut.into_iter().collect();
        loop {
            // Made before the look: whoever leaves between the two is heard.
            let left = self.0.left.notified();
            {
                let live = self.live();
                while present.last().is_some_and(|id| !live.entries.contains_key(id)) {
                    present.pop();
                }
            }
            if present.is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Cuts every connection whose certificate the present trust refuses: after a revocation, a removed
    /// authority, or simply when a certificate has expired meanwhile. Returns who was shown out and why.
    ///
    /// Each chain is judged once, however many connections it has, and outside the lock; some 150 µs each, so
    /// not on a traffic thread.
    pub fn close_refused(&self, material: &SharedMaterial) -> Vec<(Peer, CertificateRefusal)> {
        let present = self.with_controls();
        let mut verdicts = HashMap::new();
        let mut closed = Vec::new();
        for (peer, control) in &present {
            let verdict = verdicts
                .entry((peer.chain(), peer.direction()))
                .or_insert_with(|| material.judge_again(peer).err());
            if let Some(refusal) = verdict
                && control.show_out()
            {
                tracing::info!(%peer, reason = %refusal, "connection closed: certificate no longer accepted");
                closed.push((peer.clone(), refusal.clone()));
            }
        }
        closed
    }

    /// Has every connection that we began under a certificate finish: calls under way go on, and the next ones go over new
    /// connections. For the moment after our own certificate was replaced, so that whoever drops the authority of the one
    /// before finds nothing of ours under it. What others began, they end; a listener asks them to when it is old.
    /// Returns how many.
    pub fn finish_outbound(&self) -> usize {
        let live = self.live();
        let ours = live.entries.values().filter(|entry| {
            entry.peer.direction() == Direction::Outbound && entry.peer.certificate().is_some()
        });
        ours.filter(|entry| entry.control.advance(Phase::Finishing)).count()
    }

    /// Registers a peer whose handshake just ended.
    pub(crate) fn register(
        &self,
        proof: Proof,
        remote_address: Option<std::net::SocketAddr>,
        direction: Direction,
        door: DoorId,
        limits: &Limits,
    ) -> Result<Registration, CapReached> {
        let id = ConnectionId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let key = proof.key(remote_address);
        let control = Arc::new(Control::default());
        let mut live = self.live();
        if live.entries.len() >= limits.connections_max {
            return Err(CapReached::Connections { max: limits.connections_max });
        }
        if live.per_peer.get(&key).is_some_and(|held| held.connections >= limits.connections_per_peer_max) {
            return Err(CapReached::ConnectionsPerPeer { max: limits.connections_per_peer_max });
        }
        let held = live.per_peer.entry(key).or_default();
        held.connections += 1;
        let peer =
            Peer::new(proof, remote_address, id, direction, Arc::clone(&control), Arc::clone(&held.share));
        let entry = Entry {
            peer: peer.clone(),
            control: Arc::clone(&control),
            door,
            opened: Instant::now(),
            finishing_since: None,
        };
        live.entries.insert(id, entry);
        drop(live);
        Ok(Registration { connections: self.clone(), peer, control })
    }

    /// A number for one listener, by which it finds its own connections again.
    pub(crate) fn new_door(&self) -> DoorId {
        DoorId(self.0.next.fetch_add(1, Ordering::Relaxed))
    }

    /// How many connections came in by `door` and are live.
    pub(crate) fn count_of(&self, door: DoorId) -> usize {
        self.live().entries.values().filter(|entry| entry.door == door).count()
    }

    /// Moves every connection of `door` to `phase`; returns how many took that step.
    pub(crate) fn advance_all(&self, door: DoorId, phase: Phase) -> usize {
        let live = self.live();
        live.entries.values().filter(|entry| entry.door == door && entry.control.advance(phase)).count()
    }

    /// Asks connections of `door` that have grown old to finish, and cuts those whose grace is over.
    pub(crate) fn retire_old(&self, door: DoorId, limits: &Limits, now: Instant) {
        let Some(age_max) = limits.connection_age_max else {
            return;
        };
        for entry in self.live().entries.values_mut().filter(|entry| entry.door == door) {
            match entry.finishing_since {
                None if now.saturating_duration_since(entry.opened)
                    >= staggered(age_max, entry.peer.connection_id()) =>
                {
                    entry.finishing_since = Some(now);
                    entry.control.advance(Phase::Finishing);
                }
                Some(since) if now.saturating_duration_since(since) >= limits.connection_age_grace => {
                    entry.control.advance(Phase::Cut);
                }
                None | Some(_) => {}
            }
        }
    }

    /// Cuts whoever's certificate has ended since the handshake, whichever side made the connection.
    pub(crate) fn cut_expired(&self, now: UnixTime) {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        for entry in self.live().entries.values() {
            let end = entry.peer.certificate().map(|certificate| certificate.not_after);
            if end.is_some_and(|end| end.unix_timestamp() < now) && entry.control.advance(Phase::Cut) {
                tracing::warn!(peer = %entry.peer, "connection cut: its certificate has ended");
            }
        }
    }

    fn with_controls(&self) -> Vec<(Peer, Arc<Control>)> {
        let live = self.live();
        live.entries.values().map(|entry| (entry.peer.clone(), Arc::clone(&entry.control))).collect()
    }

    fn deregister(&self, peer: &Peer) {
        let mut live = self.live();
        live.entries.remove(&peer.connection_id());
        if let Some(held) = live.per_peer.get_mut(&peer.key()) {
            held.connections -= 1;
            if held.connections == 0 {
                live.per_peer.remove(&peer.key());
            }
        }
        drop(live);
        self.0.left.notify_waiters();
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

/// A bound of the register was reached; the newcomer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapReached {
    /// The register is full.
    #[error("{max} connections are open already (connections_max)")]
    Connections {
        /// The bound.
        max: usize,
    },
    /// This peer has its share.
    #[error("this peer holds {max} connections already (connections_per_peer_max)")]
    ConnectionsPerPeer {
        /// The bound.
        max: usize,
    },
}

/// One listener, or one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoorId(u64);

/// A place in the register. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Registration {
    connections: Connections,
    peer: Peer,
    control: Arc<Control>,
}

impl Registration {
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.connections.deregister(&self.peer);
    }
}

#[derive(Debug)]
struct Register {
    next: AtomicU64,
    live: Mutex<Live>,
    /// Told whenever somebody has left.
    left: Notify,
    handshakes: Handshakes,
}

#[derive(Debug, Default)]
struct Live {
    entries: HashMap<ConnectionId, Entry>,
    per_peer: HashMap<PeerKey, Held>,
}

/// What one peer holds.
#[derive(Debug, Default)]
struct Held {
    connections: usize,
    share: Arc<Share>,
}

#[derive(Debug)]
struct Entry {
    peer: Peer,
    control: Arc<Control>,
    door: DoorId,
    opened: Instant,
    finishing_since: Option<Instant>,
}

/// `age` less 0–10 %, by the connection's number: connections opened together do not end together.
fn staggered(age: Duration, id: ConnectionId) -> Duration {
    // A multiplicative hash spreads consecutive numbers evenly over the steps.
    let step = u32::try_from(id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54).unwrap_or(0);
    age.saturating_sub(age / 10 * step / 1_024)
}
