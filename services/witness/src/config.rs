//! What the operator sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use lienthong_telemetry::TelemetryConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that are judged at one time, by default.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// Configuration of a witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// Id of the mesh whose log is watched, as `/health` shows it.
    pub mesh: String,
    /// Where plain HTTP is served: both prefixes of C2SP tlog-witness, POST /add-checkpoint and
    /// GET /HASH/checkpoint. TLS is the reverse proxy's work; nothing here is secret, and all is signed.
    pub listen: SocketAddr,
    /// Folder of the heads that were cosigned. Never restore it from a backup: a witness that forgot what it cosigned
    /// must begin again with a new key.
    pub data_dir: PathBuf,
    /// The witness's private key, mode 0600, one line, as `lienthong witness create-key` writes it.
    pub key: PathBuf,
    /// Public keys of the logs that are watched, as C2SP signed-note writes them: "ORIGIN+HASH+KEY".
    #[schemars(example = ["log.example.vn/2026+00000000+BASE64"])]
    pub logs: Vec<String>,
    /// Whether the mesh lives on development certificates. `/health` shows it.
    #[serde(default)]
    pub development: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Log, traces, metrics, health.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// Bounds that an operator may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Requests that are judged at one time; one more is answered 503.
    pub requests_in_flight_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX }
    }
}

impl WitnessConfig {
    /// A configuration to begin from.
    pub fn sample() -> Self {
        Self {
            mesh: "demo".to_owned(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7500)),
            data_dir: PathBuf::from("/var/lib/lienthong/witness"),
            key: PathBuf::from("/etc/lienthong/keys/witness.key"),
            logs: vec![SAMPLE_LOG.to_owned()],
            development: false,
            limits: LimitsConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }
}

/// A key that verifies nothing of anybody: the form, to be replaced.
const SAMPLE_LOG: &str = "log.example.vn/2026+bad2de70+AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use lienthong_audit::note::VerifierKey;
    use lienthong_telemetry::{config::parse, sample_toml};

    use super::*;

    #[test]
    fn the_sample_reads_back_and_its_log_has_the_form_of_a_key() {
        let text = sample_toml(&WitnessConfig::sample());
        let read: WitnessConfig = parse(&text, std::path::Path::new("witness.toml")).unwrap();
        assert_eq!(read, WitnessConfig::sample());
        read.logs[0].parse::<VerifierKey>().unwrap();
    }
}
