//! At start: what the last process left open is closed as `UNKNOWN_AFTER_CRASH`, and what it had seen from
//! other nodes is remembered, before any traffic is taken.

use lienthong_audit::{digest, journal::JournalError, record};

use crate::{clock, node::Node};

/// Closes every exchange that a crash left open.
pub fn close(node: &Node) -> Result<usize, JournalError> {
    let orphans = node.journal.sweep()?;
    let journal = node.journal.handle();
    for orphan in &orphans {
        let written = digest::salt()
            .map_err(|error| error.to_string())
            .and_then(|salt| {
                record::encode(&orphan.closing(salt, clock::timestamp())).map_err(|error| error.to_string())
            })
            .and_then(|bytes| journal.append(bytes).map_err(|error| error.to_string()));
        match written {
            Ok(_) => tracing::warn!(
                seq = orphan.seq,
                "an exchange was open when the node ended; it is closed as unknown"
            ),
            // It stays open in the journal and is found again at the next start.
            Err(error) => tracing::error!(seq = orphan.seq, error, "an open exchange could not be closed"),
        }
    }
    Ok(orphans.len())
}
