//! A node's configuration file.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use lienthong_certs::KeySource;
use lienthong_telemetry::TelemetryConfig;
use lienthong_trust::TrustConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// Configuration of `lienthong node run`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Resource name of this node, as the registry knows it.
    pub name: String,
    /// Id of the mesh. A bundle of another mesh is refused.
    pub mesh: String,
    /// Folder for the journal, the rights bundle and their state. Kept between starts.
    pub data_dir: PathBuf,
    /// True only for demonstrations and tests: accept certificates made for development. `/health` shows it.
    #[serde(default)]
    pub development: bool,
    /// Official-use certificate of this node, PEM, leaf first, with its intermediates.
    pub certificate: PathBuf,
    /// Its private key: a PEM file of mode 0600; or a token, which signs for TLS and for the journal:
    /// { pkcs11 = { module = "LIBRARY.so", token = "LABEL", key = "LABEL", id = "HEX", pin_file = "FILE" } }, with key, id
    /// or both.
    pub key: KeySource,
    /// Renewal of the certificate without a person.
    #[serde(default)]
    pub renewal: RenewalConfig,
    /// Whom the node trusts.
    pub trust: TrustConfig,
    /// Traffic threads; 0: one a core.
    #[serde(default)]
    pub threads: usize,
    /// Where other nodes call.
    pub mesh_listener: SocketAddr,
    /// Where the agency's own systems call.
    pub local_listener: LocalListenerConfig,
    /// Where the agency's own systems call in plain HTTP: JSON, the Connect protocol, gRPC-Web, REST paths; HTTP/1.1 or
    /// HTTP/2, with the same certificates and by the same rules as at local_listener. Absent: nowhere.
    #[serde(default)]
    pub http_listener: Option<LocalListenerConfig>,
    /// The broker.
    pub broker: BrokerEndpointConfig,
    /// The agency's own backends, where it provides data.
    #[serde(default)]
    pub backends: Vec<BackendConfig>,
    /// Logs, metrics, health.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
}

/// Renewal of the certificate without a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalConfig {
    /// Folder in which the node and whoever speaks to its authority meet. Near the end of the certificate the node writes
    /// a new key (`next.key`) and a signing request (`next.csr`) there; what is put there as `next.crt` it proves to the
    /// broker, and puts in the place of certificate and key, which it must be allowed to replace. Absent: people do.
    #[schemars(example = "/var/lib/lienthong/renewal")]
    pub folder: Option<PathBuf>,
    /// Days before its end at which a certificate is renewed; one that is valid for a short time, in its last third.
    pub days_before: u16,
    /// Keep the key, as a key in a token is kept anyway: where the enrollment was made for one key.
    pub keep_key: bool,
}

impl Default for RenewalConfig {
    fn default() -> Self {
        Self { folder: None, days_before: limits::RENEWAL_DAYS_BEFORE_DEFAULT, keep_key: false }
    }
}

/// Where the agency's own systems call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum LocalListenerConfig {
    /// Mutual TLS: a system is who its certificate says.
    Tls(SocketAddr),
    /// A Unix socket: a system is the uid of its process.
    Unix(UnixListenerConfig),
}

/// A Unix socket for local systems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnixListenerConfig {
    /// Path of the socket.
    pub path: PathBuf,
    /// Uid, as text, to resource name of a system.
    pub systems: BTreeMap<String, String>,
}

/// The broker, as a node knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerEndpointConfig {
    /// Host and port.
    pub address: String,
    /// DNS name that its certificate must carry.
    pub server_name: String,
}

/// A backend of the agency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendConfig {
    /// gRPC services that it serves, for example "vn.dancu.v1.CitizenService".
    pub services: Vec<String>,
    /// Where it listens.
    pub endpoint: BackendEndpointConfig,
    /// Contract to publish: a serialized FileDescriptorSet with its imports.
    pub contract: PathBuf,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum BackendEndpointConfig {
    /// Mutual TLS.
    Tls(TlsBackendConfig),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A backend behind mutual TLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsBackendConfig {
    /// Host and port.
    pub address: String,
    /// DNS name that its certificate must carry.
    pub server_name: String,
}

/// Bounds that an operator may set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest message, bytes, uncompressed.
    pub message_bytes_max: usize,
    /// Messages that the node holds at once, bytes, uncompressed: those that come in pieces, and those that wait for a
    /// slow reader.
    pub message_bytes_held_max: usize,
    /// Calls under way at once.
    pub calls_in_flight_max: usize,
    /// Calls under way of one peer: a node of another agency, or a system of one's own.
    pub calls_per_peer_max: usize,
    /// Deadline of a unary call that states none, milliseconds.
    pub unary_deadline_ms: u64,
    /// Longest wait for a receipt, or for witnesses, before data behind the release gates RECEIPT and WITNESSED is
    /// released, milliseconds; beyond it the call is denied.
    pub gate_wait_ms: u64,
    /// How long a stopping node lets calls finish, milliseconds.
    pub drain_ms: u64,
    /// Journal records that may wait for the broker before a class of data is closed.
    pub journal_backlog_records_max: u64,
    /// Bytes of them. The node reserves this much disk when it starts.
    pub journal_backlog_bytes_max: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            message_bytes_held_max: limits::MESSAGE_BYTES_HELD_MAX,
            calls_in_flight_max: limits::CALLS_IN_FLIGHT_MAX,
            calls_per_peer_max: limits::CALLS_PER_PEER_MAX,
            unary_deadline_ms: limits::UNARY_DEADLINE_MS_DEFAULT,
            gate_wait_ms: limits::GATE_WAIT_MS_DEFAULT,
            drain_ms: limits::DRAIN_MS,
            journal_backlog_records_max: 10_000_000,
            journal_backlog_bytes_max: 1024 * 1024 * 1024,
        }
    }
}

impl NodeConfig {
    /// A configuration to begin from, with the values of the sample agency H26.90.
    pub fn sample() -> Self {
        Self {
            name: "agencies/H26.90/nodes/n1".into(),
            mesh: "demo".into(),
            data_dir: "/var/lib/lienthong/node".into(),
            development: false,
            certificate: "/etc/lienthong/node.crt".into(),
            key: "/etc/lienthong/node.key".into(),
            renewal: RenewalConfig::default(),
            trust: TrustConfig::sample(),
            threads: 0,
            mesh_listener: SocketAddr::from(([0, 0, 0, 0], 7443)),
            local_listener: LocalListenerConfig::Tls(SocketAddr::from(([127, 0, 0, 1], 7080))),
            http_listener: Some(LocalListenerConfig::Tls(SocketAddr::from(([127, 0, 0, 1], 7081)))),
            broker: BrokerEndpointConfig {
                address: "broker.demo.lienthong.test:7400".into(),
                server_name: "broker.demo.lienthong.test".into(),
            },
            backends: vec![BackendConfig {
                services: vec!["vn.dancu.v1.CitizenService".into()],
                endpoint: BackendEndpointConfig::Unix("/run/lienthong/dancu.sock".into()),
                contract: "/etc/lienthong/contracts/dancu.binpb".into(),
            }],
            telemetry: TelemetryConfig::default(),
            limits: LimitsConfig::default(),
        }
    }

    /// Code of the agency, from the node's name.
    pub fn agency(&self) -> Option<&str> {
        let mut parts = self.name.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("agencies"), Some(code), Some("nodes"), Some(_), None) => Some(code),
            _ => None,
        }
    }
}
