//! Who is on the other side of a connection.
//!
//! A [`Peer`] says what was *proved* (a judged certificate, a kernel-told uid), never what was claimed in a
//! request. Which agency and system that is, the caller reads from its registry.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lienthong_certs::{PeerCertificate, Usage};
use rustls_pki_types::CertificateDer;

use crate::control::Control;

/// The header under which a console hands on the chain that a person showed it: DER, leaf first, one value each. Whoever
/// hears it judges the chain itself, and whether this peer may speak for others.
pub const PERSON_KEY: &str = "mesh-person-bin";

/// The proven other side of one connection. Cheap to clone.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

impl Peer {
    /// What was proved about the other side.
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.identity
    }

    /// The judged certificate; `None` on local hops.
    pub fn certificate(&self) -> Option<&Arc<PeerCertificate>> {
        match &self.0.identity {
            PeerIdentity::Certificate(certificate) => Some(certificate),
            PeerIdentity::Unix(_) | PeerIdentity::Loopback => None,
        }
    }

    /// The other process's user, as the kernel tells it; `None` when the connection is not a Unix socket.
    pub fn unix(&self) -> Option<UnixPeer> {
        match &self.0.identity {
            PeerIdentity::Unix(unix) => Some(*unix),
            PeerIdentity::Certificate(_) | PeerIdentity::Loopback => None,
        }
    }

    /// The other side's address; `None` on Unix sockets.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.0.remote_address
    }

    /// This connection, unique within its register of [`Connections`](crate::Connections).
    pub fn connection_id(&self) -> ConnectionId {
        self.0.connection_id
    }

    /// Which side opened the connection.
    pub fn direction(&self) -> Direction {
        self.0.direction
    }

    /// Whether trust in this peer has ended since: its certificate was revoked or unbound, and its connection cut.
    pub fn was_shown_out(&self) -> bool {
        self.0.control.is_unwanted()
    }

    /// Takes one of the `max` places that this peer has for streams, over all its connections; `None` when it
    /// holds them all.
    pub fn take_place(&self, max: usize) -> Option<StreamPlace> {
        let before = self.0.share.streams.fetch_add(1, Ordering::Relaxed);
        let place = StreamPlace(Arc::clone(&self.0.share));
        (before < max).then_some(place)
    }

    pub(crate) fn new(
        proof: Proof,
        remote_address: Option<SocketAddr>,
        connection_id: ConnectionId,
        direction: Direction,
        control: Arc<Control>,
        share: Arc<Share>,
    ) -> Self {
        let key = proof.key(remote_address);
        let (identity, chain) = match proof {
            Proof::Certificate { certificate, chain } => (PeerIdentity::Certificate(certificate), chain),
            Proof::Unix(unix) => (PeerIdentity::Unix(unix), Vec::new()),
            Proof::Loopback => (PeerIdentity::Loopback, Vec::new()),
        };
        Self(Arc::new(Inner {
            identity,
            chain,
            remote_address,
            connection_id,
            direction,
            key,
            control,
            share,
        }))
    }

    /// The chain as presented, leaf first, to be judged again when trust changes. Empty on local hops.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.0.chain
    }

    /// As what the other side used its certificate.
    pub(crate) fn usage(&self) -> Usage {
        match self.0.direction {
            Direction::Inbound => Usage::Client,
            Direction::Outbound => Usage::Server,
        }
    }

    pub(crate) fn key(&self) -> PeerKey {
        self.0.key
    }
}

/// A stream's place in its peer's share, until it is dropped.
#[derive(Debug)]
pub struct StreamPlace(Arc<Share>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a connection proved about its other side.
#[derive(Clone, Debug)]
pub enum PeerIdentity {
    /// A certificate chain that the judge accepted, and possession of its key.
    Certificate(Arc<PeerCertificate>),
    /// A process on this machine, named by the kernel.
    Unix(UnixPeer),
    /// Some process on this machine, over plaintext loopback: proves nothing, development only.
    Loopback,
}

/// The other process of a Unix socket (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixPeer {
    /// Its effective user id when it connected; local hops map this to one system (design §6, Local hops).
    pub uid: u32,
}

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// They connected to us.
    Inbound,
    /// We connected to them.
    Outbound,
}

/// A connection's number within its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}

/// For logs: what was proved, from where, on which connection.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.identity {
            PeerIdentity::Certificate(certificate) => write!(f, "{}", certificate.binding())?,
            PeerIdentity::Unix(unix) => write!(f, "uid {}", unix.uid)?,
            PeerIdentity::Loopback => write!(f, "unproven loopback process")?,
        }
        if let Some(address) = self.0.remote_address {
            write!(f, " at {address}")?;
        }
        write!(f, " (connection {})", self.0.connection_id)
    }
}

struct Inner {
    identity: PeerIdentity,
    chain: Vec<CertificateDer<'static>>,
    remote_address: Option<SocketAddr>,
    connection_id: ConnectionId,
    direction: Direction,
    key: PeerKey,
    control: Arc<Control>,
    share: Arc<Share>,
}

/// What all connections of one peer hold together.
#[derive(Debug, Default)]
pub(crate) struct Share {
    streams: AtomicUsize,
}

/// What a finished handshake hands over.
pub(crate) enum Proof {
    Certificate { certificate: Arc<PeerCertificate>, chain: Vec<CertificateDer<'static>> },
    Unix(UnixPeer),
    Loopback,
}

impl Proof {
    /// Whose share a connection with this proof counts against.
    pub(crate) fn key(&self, remote_address: Option<SocketAddr>) -> PeerKey {
        match self {
            Self::Certificate { certificate, .. } => PeerKey::Certificate(certificate.fingerprint()),
            Self::Unix(unix) => PeerKey::Uid(unix.uid),
            Self::Loopback => PeerKey::Address(remote_address.map(|address| address.ip())),
        }
    }
}

/// What counts as one and the same peer for the caps on connections and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerKey {
    Certificate([u8; 32]),
    Uid(u32),
    Address(Option<IpAddr>),
}
