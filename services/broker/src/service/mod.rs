//! The gRPC services: thin edges that admit the caller, hand the work on, and put the answer into words.

pub mod audit;
pub mod catalog;
pub mod registry;
pub mod rights;
