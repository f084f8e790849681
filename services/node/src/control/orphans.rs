//! At start: what the last process left open is closed as `UNKNOWN_AFTER_CRASH`, and what it had seen from
//! other nodes is remembered, before any traffic is taken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lienthong_audit::{
    digest,
    journal::JournalError,
    record::{self, Kind},
};
use lienthong_proto::lienthong::audit::v1::Side;
use prost::Message;

use crate::{clock, limits::REPLAY_WINDOW_MS, node::Node};

/// Closes every exchange that a crash left open.
pub fn close(node: &Node) {
    let journal = node.journal.handle();
    for orphan in &node.journal.sweep() {
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
        if record::kind(bytes) == Kind::Opening
            && let Ok(Record { opening: Some(Opening { exchange: Some(exchange) }) }) = Record::decode(bytes)
            && exchange.side() == Side::Provider
            && let Ok(id) = <[u8; 16]>::try_from(exchange.id.as_slice())
        {
            node.replay.remember(&exchange.consumer_node, id, exchange.attempt, now_ms);
        }
    })
}

/// Of a record, what the replay window must know; the rest is skipped (protobuf encoding, unknown fields). A busy node reads
/// back hundreds of thousands of them before it serves.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(message, optional, tag = "10")]
    opening: Option<Opening>,
}

#[derive(Clone, PartialEq, Message)]
struct Opening {
    #[prost(message, optional, tag = "1")]
    exchange: Option<Exchange>,
}

#[derive(Clone, PartialEq, Message)]
struct Exchange {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    attempt: u32,
    #[prost(enumeration = "Side", tag = "3")]
    side: i32,
    #[prost(string, tag = "6")]
    consumer_node: String,
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::audit::v1::{self as whole, record::Body};

    use super::*;

    #[test]
    fn what_the_window_reads_stands_where_records_have_it() {
        let exchange = whole::Exchange {
            id: vec![7; 16],
            attempt: 2,
            side: Side::Provider.into(),
            consumer_node: "agencies/H26.90/nodes/n1".to_owned(),
            system: "agencies/H26.90/systems/mot-cua".to_owned(),
            ..whole::Exchange::default()
        };
        let body = Body::Opening(whole::Opening { exchange: Some(exchange.clone()) });
        let record = whole::Record { version: 1, body: Some(body), ..whole::Record::default() };
        let read =
            Record::decode(record.encode_to_vec().as_slice()).unwrap().opening.unwrap().exchange.unwrap();
        assert_eq!((read.id.clone(), read.attempt, read.side()), (exchange.id, 2, Side::Provider));
        assert_eq!(read.consumer_node, exchange.consumer_node);
    }
}
