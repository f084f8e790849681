//! What the operator sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lienthong_console::ConsoleConfig;
use lienthong_telemetry::TelemetryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Configuration of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Id of the mesh, as its pages show it.
    pub mesh: String,
    /// Where plain HTTP is served. TLS towards the public is the reverse proxy's work.
    pub listen: SocketAddr,
    /// The broker's log folder, laid out as C2SP tlog-tiles. It is only read.
    pub log_dir: PathBuf,
    /// Public key of the log, as C2SP signed-note writes it: "ORIGIN+HASH+KEY". With it the gateway checks the
    /// checkpoint's signature before it speaks of the log; without it, it says that it has not.
    #[serde(default)]
    #[schemars(example = "log.example.vn/2026+00000000+BASE64")]
    pub log_verifier_key: Option<String>,
    /// Whether this mesh lives on development certificates. Every page shows it.
    #[serde(default)]
    pub development: bool,
    /// The console, for people with an official-use certificate; without it, there are public pages only.
    #[serde(default)]
    pub console: Option<ConsoleConfig>,
    /// Log, traces, metrics, health.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl GatewayConfig {
    /// A configuration to begin from, for generated samples.
    pub fn sample() -> Self {
        Self { console: Some(ConsoleConfig::sample()), ..Self::default() }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            mesh: "mesh-thu-nghiem".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            log_dir: PathBuf::from("/var/lib/lienthong/broker/log"),
            log_verifier_key: None,
            development: false,
            console: None,
            telemetry: TelemetryConfig::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lienthong_telemetry::sample_toml;

    use super::*;

    #[test]
    fn the_sample_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.toml");
        std::fs::write(&path, sample_toml(&GatewayConfig::sample())).unwrap();
        assert_eq!(lienthong_telemetry::load::<GatewayConfig>(&path).unwrap(), GatewayConfig::sample());
    }
}
