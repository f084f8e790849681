//! The gRPC services: thin edges that admit the caller, hand the work on, and put the answer into words.

pub mod audit;
pub mod catalog;
pub mod registry;
pub mod rights;

use tonic::Status;

/// The status for a resource that is not there. What was asked for is shown only as far as a name may be long.
fn not_found(kind: &str, name: &str, example: &str) -> Status {
    let shown = &name[..name.floor_char_boundary(128)];
    Status::not_found(format!(
        "no {kind} is called \"{}\"; a name looks like {example}",
        shown.escape_debug()
    ))
}
