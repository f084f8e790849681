//! Exchanges that a crash left open: an opening record without its closing record.

use std::collections::HashMap;

use lienthong_proto::lienthong::audit::v1::{Closing, Record, Status, record::Body};

use super::recover::Found;
use crate::digest::SALT_BYTES;
use crate::hash::Hash;
use crate::record::{self, Kind, RECORD_VERSION};

/// An opening record without a closing record.
#[derive(Debug, Clone, PartialEq)]
pub struct Orphan {
    /// Its place in the journal.
    pub seq: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// The record.
    pub opening: Record,
}

impl Orphan {
    /// The record that closes the exchange as `STATUS_UNKNOWN_AFTER_CRASH`, made at `time`: a finding until it is
    /// matched with the peer's record.
    pub fn closing(&self, salt: [u8; SALT_BYTES], time: prost_types::Timestamp) -> Record {
        let exchange = match &self.opening.body {
            Some(Body::Opening(opening)) => opening.exchange.clone(),
            _ => None,
        };
        let closing = Closing {
            exchange,
            opening_hash: self.leaf_hash.0.to_vec(),
            status: Status::UnknownAfterCrash.into(),
            ..Closing::default()
        };
        Record {
            version: RECORD_VERSION,
            salt: salt.to_vec(),
            recorder: self.opening.recorder.clone(),
            time: Some(time),
            clock_error_us: 0,
            body: Some(Body::Closing(closing)),
        }
    }
}

/// The exchanges that are open at some place of a journal. Memory is bounded by those open at one time.
#[derive(Debug, Default)]
pub(super) struct OpenExchanges(HashMap<Hash, (u64, Vec<u8>)>);

impl OpenExchanges {
    /// Takes in the next record.
    pub fn take(&mut self, found: &Found<'_>) {
        match record::kind(found.body) {
            Kind::Opening => {
                self.0.insert(found.leaf, (found.seq, found.body.to_vec()));
            }
            Kind::Closing(Some(opening)) => {
                self.0.remove(&opening);
            }
            Kind::Closing(None) | Kind::Other => {}
        }
    }

    /// Those that are open at the end, oldest first.
    pub fn into_orphans(self) -> Vec<Orphan> {
        let mut orphans: Vec<Orphan> = self
            .0
            .into_iter()
            .filter_map(|(leaf_hash, (seq, bytes))| {
                // What does not decode was never an opening record.
                Some(Orphan { seq, leaf_hash, opening: record::decode(&bytes).ok()? })
            })
            .collect();
        orphans.sort_unstable_by_key(|orphan| orphan.seq);
        orphans
    }
}
