//! Tests of the whole journal on real files; `faults` puts a disk under it that pauses, fails and fills.

mod crash;
mod faults;
mod folder;
mod power;
mod shipping;
mod waiting;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lienthong_proto::lienthong::audit::v1::{Closing, Denial, Exchange, Opening, Record, record::Body};

use super::disk::Disk;
use super::{Handle, Journal, JournalError, JournalOptions, Ticket};
use crate::record::{self, RECORD_VERSION};

/// Small segments and a small backlog, so that bounds are met soon.
fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes_max: 16 * 1024,
        backlog_bytes_max: 64 * 1024,
        ..JournalOptions::new("G01/node-1")
    }
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_700_000)
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, options(), now()).unwrap()
}

fn open_on(dir: &Path, disk: &Arc<impl Disk + 'static>, options: JournalOptions) -> Journal {
    Journal::open_on(dir, options, now(), Arc::clone(disk) as Arc<dyn Disk>).unwrap()
}

fn encode(body: Body) -> Vec<u8> {
    let time = Some(prost_types::Timestamp::from(now()));
    let (salt, recorder) = (vec![3; 16], "G01/node-1".to_owned());
    record::encode(&Record {
        version: RECORD_VERSION,
        salt,
        recorder,
        time,
        clock_error_us: 10,
        body: Some(body),
    })
    .unwrap()
}

fn exchange(id: u64) -> Exchange {
    Exchange {
        id: u128::from(id).to_be_bytes().to_vec(),
        consumer: "H26.90".to_owned(),
        ..Exchange::default()
    }
}

fn opening(id: u64) -> Vec<u8> {
    encode(Body::Opening(Opening { exchange: Some(exchange(id)) }))
}

fn closing(id: u64, opening: &Ticket) -> Vec<u8> {
    let opening_hash = opening.leaf_hash.0.to_vec();
    encode(Body::Closing(Closing { exchange: Some(exchange(id)), opening_hash, ..Closing::default() }))
}

fn denial(id: u64) -> Vec<u8> {
    encode(Body::Denial(Denial { exchange: Some(exchange(id)), ..Denial::default() }))
}

/// Appends a record and waits until it is durable.
fn commit(handle: &Handle, record: impl AsRef<[u8]>) -> Ticket {
    let ticket = handle.append(record).unwrap();
    wait(handle, ticket.seq).unwrap();
    ticket
}

fn wait(handle: &Handle, seq: u64) -> Result<(), JournalError> {
    runtime().block_on(async {
        tokio::time::timeout(PATIENCE, handle.durable(seq)).await.expect("it took too long")
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Long enough for the slowest disk; nothing waits that long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);
