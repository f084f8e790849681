//! What was gathered, before anybody judges it. Plain values: the judgements are functions of these alone.

use std::{net::SocketAddr, time::Duration};

use lienthong_certs::{CertificateRefusal, Freshness};
use lienthong_proto::{lienthong::node::v1::GetDiagnosisResponse, reason::Reason};
use time::OffsetDateTime;

/// One's own certificate and key.
#[derive(Debug, Clone)]
pub struct Own {
    /// Where the key lives: a file, or a token in words.
    pub key: String,
    /// File of the certificate.
    pub certificate: String,
    /// Mode bits of the key's file; `None` where it is in a token.
    pub key_mode: Option<Result<u32, String>>,
    /// The pair, where it can be used.
    pub pair: Result<Pair, String>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Subject or names, for people.
    pub subject: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// End of validity.
    pub not_after: OffsetDateTime,
    /// The judgement as a client.
    pub judged: Judged,
}

/// What the trust that is configured here says of a certificate.
#[derive(Debug, Clone)]
pub enum Judged {
    /// Accepted; how fresh the knowledge about revocation is.
    Accepted(Freshness),
    /// Refused.
    Refused(CertificateRefusal),
    /// Nothing: authorities or revocation lists cannot be used.
    Unjudged(String),
}

/// Somebody who is to be reached.
#[derive(Debug, Clone)]
pub struct Reached {
    /// Who: `node`, `broker`, `backend …`.
    pub subject: String,
    /// Host and port, or path of a socket.
    pub address: String,
    /// What the name means.
    pub lookup: Result<Vec<SocketAddr>, String>,
    /// The connection: how long it took; `None` where there was no address.
    pub tcp: Option<Result<Duration, String>>,
    /// The handshake; `None` where there was no connection, or no certificate to show.
    pub tls: Option<Handshake>,
}

/// What became of a handshake.
#[derive(Debug, Clone)]
pub enum Handshake {
    /// Both sides accepted each other, and HTTP/2 began.
    Accepted {
        /// Names of the other side.
        names: Vec<String>,
        /// End of validity of its certificate.
        not_after: OffsetDateTime,
    },
    /// We refused the other side.
    ServerRefused(CertificateRefusal),
    /// The other side refused us, with this alert (RFC 8446 §6).
    RefusedUs(String),
    /// No HTTP/2 was agreed upon (ALPN).
    NoHttp2,
    /// Anything else.
    Failed(String),
}

/// What the node answered to `GetDiagnosis`.
#[derive(Debug, Clone)]
pub enum Asked {
    /// A diagnosis.
    Answered {
        /// It.
        diagnosis: Box<GetDiagnosisResponse>,
        /// This machine's clock when half of the time for question and answer had passed, Unix milliseconds.
        here_unix_ms: i64,
        /// Half of that time: the clocks may differ by this much and nobody could tell, milliseconds.
        uncertain_ms: i64,
    },
    /// The node is of a version without it.
    NotOffered,
    /// It did not answer.
    Failed(String),
}

/// The contract at hand against the one that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContractAtHand {
    /// Nobody gave one.
    NotGiven,
    /// It cannot be read.
    Unreadable(String),
    /// The very bytes.
    Same,
    /// The same but for comments.
    SameButComments,
    /// Another version.
    Differs {
        /// SHA-256 of the one at hand, hexadecimal.
        have: String,
        /// SHA-256 of the served one, hexadecimal.
        served: String,
    },
    /// The node did not give the served one.
    NotServed(String),
}

/// A question that went to the provider's node and back.
#[derive(Debug, Clone)]
pub enum Trip {
    /// It came back.
    Returned(Duration),
    /// It did not.
    Failed {
        /// Reason of the closed list, where it was one of the mesh's.
        reason: Option<Reason>,
        /// Words of the error.
        words: String,
    },
}

/// `grpc.health.v1` of a service.
#[derive(Debug, Clone)]
pub enum Health {
    /// It serves.
    Serving,
    /// It says that it does not.
    NotServing(String),
    /// Whoever was asked does not offer it.
    NotOffered,
    /// No answer.
    Failed(String),
}

/// What an integrator's doctor gathered.
#[derive(Debug)]
pub struct ClientFacts {
    /// When.
    pub now: OffsetDateTime,
    /// Own certificate.
    pub own: Own,
    /// The node.
    pub node: Reached,
    /// What it said; `None` where it could not be asked.
    pub asked: Option<Asked>,
    /// The method that is meant.
    pub method: Option<String>,
    /// The contract.
    pub contract: ContractAtHand,
    /// The way to the provider; `None` where no method is meant, or the provider is unknown.
    pub trip: Option<Trip>,
    /// The deadline that is meant.
    pub timeout: Duration,
    /// Health of the provider; as `trip`.
    pub health: Option<Health>,
}

/// What the running process says of itself on its admin listener.
#[derive(Debug, Clone)]
pub enum Process {
    /// It has no admin listener.
    NoAdmin,
    /// Nobody answers there.
    Silent(String),
    /// It answered.
    Answered {
        /// Checks that are not as they should be: name, detail.
        failing: Vec<(String, String)>,
        /// Version.
        version: String,
        /// Records that wait for the broker.
        backlog: Option<u64>,
    },
}

/// What lies in the node's data folder about its rights.
#[derive(Debug, Clone)]
pub struct RightsOnDisk {
    /// Epoch of the bundle.
    pub epoch: u64,
    /// Time since the broker's last sign of life.
    pub age: Duration,
    /// The node's clock less the broker's when it was last heard, milliseconds.
    pub ahead_ms: i64,
    /// The strictest age that a dataset of the bundle allows; `None` where it holds none.
    pub age_max: Option<Duration>,
    /// Whether the bundle's registry binds the own certificate to this node; `None` where it does not say.
    pub bound: Option<bool>,
}

/// Whether a volume is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// It lies on a dm-crypt device.
    Seen,
    /// It does not.
    NotSeen,
    /// The system does not say.
    Unknown,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Folder on it.
    pub folder: String,
    /// Bytes that are free; what went wrong otherwise.
    pub free_bytes: Result<u64, String>,
    /// Whether it is encrypted.
    pub encryption: Encryption,
}

/// A backend of a node.
#[derive(Debug, Clone)]
pub struct Backend {
    /// The way to it; `None` on a Unix socket.
    pub reached: Option<Reached>,
    /// Health of each of its services.
    pub services: Vec<(String, Health)>,
}

/// The mesh trust file that a node goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFacts {
    /// Its version: the newest that the node has seen.
    pub version: u64,
    /// When it ends.
    pub expires: OffsetDateTime,
    /// What is wrong with the configured file; the node goes on with what it holds.
    pub file: Result<u64, String>,
}

/// What an operator's doctor gathered.
#[derive(Debug)]
pub struct NodeFacts {
    /// When.
    pub now: OffsetDateTime,
    /// Name of the node.
    pub name: String,
    /// What the node itself says of its configuration.
    pub configuration: Result<(), String>,
    /// The mesh trust file that the node goes by.
    pub trust: Result<TrustFacts, String>,
    /// Own certificate.
    pub own: Own,
    /// The broker.
    pub broker: Reached,
    /// Backends.
    pub backends: Vec<Backend>,
    /// The running process.
    pub process: Process,
    /// Its rights; `None` where none were kept yet.
    pub rights: Result<Option<RightsOnDisk>, String>,
    /// Records that may wait.
    pub backlog_max: u64,
    /// Bytes of them, which the node reserves at its start.
    pub backlog_bytes_max: u64,
    /// Where its data lies.
    pub volume: Volume,
}
