//! At start: what the last process left open is closed as `UNKNOWN_AFTER_CRASH`, and what it had seen from
//! other nodes is remembered, before any traffic is taken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lienthong_audit::{digest, journal::JournalError, record};
use lienthong_proto::lienthong::audit::v1::{Record, Side, record::Body};

use crate::{clock, limits::REPLAY_WINDOW_MS, node::Node};

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
            .and_then(|bytes| journal.append_owed(bytes).map_err(|error| error.to_string()));
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

/// Puts the exchanges that other nodes brought within the replay window back into it (design §6, Replay and
/// retry): a restart forgets nothing.
pub fn refill_replay_window(node: &Node) -> Result<(), JournalError> {
    let now_ms = clock::unix_ms();
    // Twice the window: an id may lie one window ahead of the clock, and be played back one window later.
    let since =
        SystemTime::now().checked_sub(Duration::from_millis(2 * REPLAY_WINDOW_MS)).unwrap_or(UNIX_EPOCH);
    node.journal.recent(since, |bytes| {
        // What does not decode was no record of this node's making.
        if let Ok(Record { body: Some(Body::Opening(opening)), .. }) = record::decode(bytes)
            && let Some(exchange) = opening.exchange
            && exchange.side() == Side::Provider
            && let Ok(id) = <[u8; 16]>::try_from(exchange.id.as_slice())
        {
            node.replay.remember(&exchange.consumer_node, id, exchange.attempt, now_ms);
        }
    })
}
