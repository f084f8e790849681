//! The contract held against every implementation, and the embedded one against damage and sudden death.
//!
//! - `conformance`: what every store promises, run on each.
//! - `embedded`: restart, damage, export, locks.
//! - `crash`: kill -9 of a real process, again and again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

mod conformance;
mod crash;
mod embedded;
