//! JSON over HTTP for every typed method, from descriptors alone: no code per service.
//!
//! **What.** A caller speaks the Connect protocol (unary with POST or GET, streams; JSON or binary), gRPC-Web, a REST path
//! that the contract declares with `google.api.http`, or gRPC itself; what reaches the mesh is always the same gRPC call.
//! The answer goes the way back, with errors that machines and people can read.
//!
//! **Why a library.** Who calls, what he may call and what goes on record is the node's: see [`Mesh`], the one thing that
//! this asks for. Nothing here decides anything, so nothing here can be a way around a rule.
//!
//! **What not.** No TLS, no rights, no records; no knowledge of any service.
//!
//! Pure, bytes and descriptors in, bytes out:
//!
//! | module | noun |
//! |---|---|
//! | [`limits`] | every bound |
//! | [`codes`] | gRPC code, Connect code, HTTP status: one table |
//! | [`codec`] | one message, JSON and wire |
//! | [`strict`] | JSON that says everything once |
//! | [`envelope`] | messages of a stream, length-prefixed |
//! | [`packing`] | gzip, bounded |
//! | [`protocol`] | what a request speaks |
//! | [`query`] | a message in a query string |
//! | [`rest`] | paths that a contract declares |
//! | [`failure`] | an error as all of its readers want it |
//!
//! The edge: [`front`] takes a request, [`request`] makes the gRPC call of it while it is read, [`mod@answer`] the answer;
//! [`heard`] is a request that is heard out, [`space`] the memory of those that are not whole.

pub mod answer;
pub mod codec;
pub mod codes;
pub mod envelope;
pub mod failure;
pub mod front;
pub mod heard;
pub mod limits;
pub mod packing;
pub mod protocol;
pub mod query;
pub mod request;
pub mod rest;
pub mod space;
pub mod strict;

pub use front::{Mesh, answer};
pub use space::Space;
