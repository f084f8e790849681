//! Liên Thông's program: what each command does, a client of one's own node, and the demo.
//!
//! **What.** The thin edge where everything is put together. The binary is `main.rs`; this library is the same
//! code for the end-to-end tests, which start the same roles from the same layout.
//!
//! **What not.** No rule, no format, no protocol: those are the crates below.
//!
//! - [`cli`]: the command line; [`commands`]: what each command does; [`out`]: how it speaks.
//! - [`http_front`]: plain HTTP in front of a node.
//! - [`client`]: typed calls from descriptors, without generated code.
//! - [`demo`]: a whole mesh of sample agencies on this machine, and its story.

pub mod cli;
pub mod client;
pub mod commands;
pub mod demo;
pub mod http_front;
pub mod out;
