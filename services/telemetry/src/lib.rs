//! What a process of the mesh says about itself, and how it is told what to be.
//!
//! **What.** One TOML file per role is read here ([`config`]) and a commented sample of it is written
//! ([`sample`]). The log goes to standard error, traces to an OpenTelemetry collector if one is configured,
//! numbers and health to a small admin server of their own.
//!
//! **Why.** Every role needs these five things and none should have its own idea of them: an operator learns
//! them once. Crates whose interfaces change often (opentelemetry, the Prometheus encoder, the subscriber)
//! are named here only.
//!
//! **What not.** Not the audit log: what is said here may be lost and may be false; what must hold in court is
//! written by `lienthong-audit`. Nothing here knows agencies, datasets or calls.
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | a role's TOML file, read strictly |
//! | [`sample`] | a commented sample of such a file, made from the struct itself |
//! | [`settings`] | this crate's own section of it |
//! | [`subscriber`] | log lines and traces: where they go |
//! | [`rpc_span`] | one call as a span |
//! | [`trace_context`] | the W3C `traceparent` header in and out |
//! | [`metrics`] | the register of numbers, with its golden list |
//! | [`page_numbers`] | how a role answers people's browsers |
//! | [`readings`] | numbers that somebody else keeps, read when asked |
//! | [`health`] | who this process is and how it feels |
//! | [`admin`] | `/metrics`, `/health`, `/ready` |
//! | [`plain_http`] | a bounded HTTP/1.1 server, for the admin server and the gateway |

pub mod admin;
pub mod config;
pub mod health;
pub mod metrics;
pub mod page_numbers;
pub mod plain_http;
pub mod readings;
pub mod rpc_span;
pub mod sample;
pub mod settings;
pub mod subscriber;
pub mod trace_context;

pub use admin::AdminServer;
pub use config::{ConfigError, load};
pub use health::{Check, Health, Identity};
pub use metrics::Metrics;
pub use page_numbers::PageNumbers;
pub use readings::{Reading, Readings};
pub use rpc_span::{RpcSpan, Traced};
pub use sample::sample_toml;
pub use settings::{LogFormat, TelemetryConfig};
pub use subscriber::{Telemetry, TelemetryError};
