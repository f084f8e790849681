//! The release filter, held against a slow reference and against hand-written edge cases.
//!
//! - `equivalence`: generated schemas, grants and messages against decode–drop–mask–encode.
//! - `edges`: one small message for each rule of the wire format and of settlement.
//! - `plans`: what a plan is compiled from, and the mistakes that it refuses.
//! - `generate`, `reference`, `support`: the tools of these.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests: a panic is how a test fails"
)]

mod edges;
mod equivalence;
mod generate;
mod plans;
mod reference;
mod support;
