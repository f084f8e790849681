//! The witness: a role that watches logs and cosigns only what continues what it has seen (C2SP tlog-witness).
//!
//! **What.** A small HTTP server. A log submits each checkpoint that it publishes, with a proof that the new tree
//! contains the last one cosigned here; the witness makes the new head durable and only then answers with its
//! signature and the time.
//!
//! **Why.** A log alone can show two histories to two readers, or be set back to an old copy. With witnesses under
//! different administrations (here: the three national data centres) it would need all of a quorum to do so: a checkpoint
//! with k cosignatures is the same for everybody, and never goes back.
//!
//! **What not.** It stores no entry and sees no content: a checkpoint is a size, a root and a signature. It trusts
//! no connection, only signatures, so that its listener is plain HTTP behind the operator's proxy.
//!
//! | module | noun |
//! |---|---|
//! | [`config`] | what the operator sets |
//! | [`memory`] | the last head of each log, durable before anything is answered |
//! | [`routes`] | which address answers what |
//! | [`metrics`] | what is counted |
//! | [`server`] | start and stop |
//!
//! The protocol itself, without disk or network, is `lienthong_audit::witness`.

pub mod config;
pub mod memory;
pub mod metrics;
pub mod routes;
pub mod server;

pub use config::WitnessConfig;
pub use memory::{Memory, MemoryError};
pub use server::{Witness, WitnessError, check, run};
