//! This crate's section of a role's configuration.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a process says about itself, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// Which log lines are written: levels by module, as in "info,lienthong_node=debug". The environment variable
    /// LIENTHONG_LOG goes before this key.
    pub log_filter: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Where traces are exported: an OpenTelemetry collector (OTLP over gRPC, no TLS) on this machine or in a trusted
    /// network. Absent: none are exported.
    #[schemars(example = "http://127.0.0.1:4317")]
    pub otlp_endpoint: Option<String>,
    /// One trace in this many is exported, where the caller did not decide; 1 exports all.
    pub trace_one_in: u32,
    /// Where the admin server (/metrics, /health, /ready) listens. It has no TLS and asks nobody who he is: keep it
    /// inside the machine or the monitoring network. Absent: none is started.
    #[schemars(example = "127.0.0.1:9464")]
    pub admin_listen: Option<SocketAddr>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_filter: "info".to_owned(),
            log_format: LogFormat::Auto,
            otlp_endpoint: None,
            trace_one_in: 1,
            admin_listen: None,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}
