//! The verifier against every way of tampering that we could think of. Whatever was changed is found, at its place;
//! what was not changed passes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod bench;
mod files;
mod history;
mod sound;
