//! What the operator sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lienthong_certs::KeySource;
use lienthong_trust::TrustConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The console of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsoleConfig {
    /// Where pages are served over mutual TLS: a browser shows its person's official-use certificate. HTTP/2.
    pub listen: SocketAddr,
    /// The console's certificate chain, PEM, leaf first; the broker must know it as a console. Read at start.
    pub certificate: PathBuf,
    /// The private key of that certificate: a PEM file of mode 0600, or a token. Read at start.
    pub key: KeySource,
    /// Whom the console trusts.
    pub trust: TrustConfig,
    /// Folder in which the console keeps the mesh trust files that it has taken.
    pub data_dir: PathBuf,
    /// The broker.
    pub broker: BrokerAddress,
    /// Sign-in without a certificate, for trials: only in a mesh of development certificates, and only from this machine.
    #[serde(default)]
    pub trial: Option<TrialConfig>,
}

/// Where the broker is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerAddress {
    /// Host and port of its mesh listener.
    pub address: String,
    /// DNS name that its certificate must carry.
    pub server_name: String,
}

/// A door for trials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrialConfig {
    /// Where pages are served in plain HTTP; a loopback address.
    pub listen: SocketAddr,
    /// Certificates of the people whom a visitor may choose to be, PEM.
    pub people: Vec<PathBuf>,
}

impl ConsoleConfig {
    /// A configuration to begin from, for generated samples.
    pub fn sample() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            certificate: PathBuf::from("/etc/lienthong/console.crt"),
            key: PathBuf::from("/etc/lienthong/keys/console.key").into(),
            trust: TrustConfig::sample(),
            data_dir: PathBuf::from("/var/lib/lienthong/console"),
            broker: BrokerAddress {
                address: "broker.example.vn:7000".to_owned(),
                server_name: "broker.example.vn".to_owned(),
            },
            trial: None,
        }
    }
}
