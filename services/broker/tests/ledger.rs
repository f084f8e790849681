//! The one writer of the log, over a real log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

use std::sync::Arc;

use lienthong_audit::batch::Position;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::leaf_hash;
use lienthong_audit::log::{ENTRY_BYTES_MAX, Log};
use lienthong_audit::log::{LogKey, LogOptions};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{BatchHeader, Record};
use prost::Message;

use lienthong_broker::ledger::{Batch, Ledger, LedgerError, Recorded};
use lienthong_broker::positions::Positions;
use lienthong_broker::records::{Act, administration};

const ORIGIN: &str = "example.test/log";
const NODE: &str = "agencies/G01/nodes/n1";

fn open(folder: &tempfile::TempDir, key: &str) -> Log {
    let dir = folder.path().join("log");
    let key = LogKey::from_skey(key).unwrap();
    let options = LogOptions { publish_interval_ms: 1, ..LogOptions::default() };
    if dir.exists() {
        Log::open(&dir, ORIGIN, key, &options).unwrap()
    } else {
        Log::create(&dir, ORIGIN, key, &options).unwrap()
    }
}

fn new_key() -> String {
    LogKey::generate(ORIGIN).unwrap().signing_key().to_skey().unwrap().to_string()
}

fn position(last_seq: u64) -> Position {
    let head = if last_seq == 0 { Position::start(1).head } else { leaf_hash(&last_seq.to_be_bytes()) };
    Position { epoch: 1, last_seq, head }
}

/// A batch of one entry a sequence number.
fn batch(node: &str, from: u64, to: u64) -> Batch {
    let header = BatchHeader {
        node: node.to_owned(),
        journal_epoch: 1,
        first_seq: from + 1,
        last_seq: to,
        head: position(to).head.0.to_vec(),
        ..BatchHeader::default()
    };
    Batch {
        node: node.to_owned(),
        expects: position(from),
        then: position(to),
        entries: (from + 1..=to).map(|seq| format!("{node} {seq}").into_bytes()).collect(),
        late: Vec::new(),
        header: header.encode_to_vec(),
        signature: vec![1; 64],
        certificate: [2; 32],
    }
}

async fn put(ledger: &Ledger, batch: Batch) -> Result<Recorded, LedgerError> {
    ledger.put(batch).await.unwrap().await.unwrap()
}

#[tokio::test]
async fn entries_lie_where_the_seal_says() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::default());
    let act = || vec![administration(Act { action: "test", ..Act::default() })];
    ledger.record(act()).await.unwrap();
    // Submitted together, they form groups as they come; indexes must hold either way.
    let nodes: Vec<String> = (0..40).map(|number| format!("agencies/G01/nodes/n{number}")).collect();
    let mut answers = Vec::new();
    for node in &nodes {
        answers.push(ledger.put(batch(node, 0, 3)).await.unwrap());
        answers.push(ledger.put(batch(node, 3, 5)).await.unwrap());
    }
    let mut recorded = Vec::new();
    for answer in answers {
        recorded.push(answer.await.unwrap().unwrap());
    }
    drop(ledger);
    closed.await.unwrap();

    let log = open(&folder, &key);
    let entries = log.reader().entries(0..log.size()).unwrap();
    assert_eq!(entries.len(), 1 + 40 * (3 + 1 + 2 + 1));
    for (node, pair) in nodes.iter().zip(recorded.chunks(2)) {
        for (recorded, first, count) in [(&pair[0], 1, 3), (&pair[1], 4, 2)] {
            assert_eq!(recorded.entries, count);
            for offset in 0..count {
                let entry = &entries[usize::try_from(recorded.first_index + offset).unwrap()];
                assert_eq!(*entry, format!("{node} {}", first + offset).into_bytes());
            }
            let seal = &entries[usize::try_from(recorded.first_index + count).unwrap()];
            let Some(Body::BatchSeal(seal)) = Record::decode(seal.as_slice()).unwrap().body else {
                panic!("no seal behind the batch")
            };
            assert_eq!((seal.first_index, seal.entries), (recorded.first_index, count));
        }
    }
}

#[tokio::test]
async fn the_same_batch_twice_is_on_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let positions = Arc::new(Positions::default());
    let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::clone(&positions));
    // Both are under way at once, as from two streams.
    let first = ledger.put(batch(NODE, 0, 2)).await.unwrap();
    let second = ledger.put(batch(NODE, 0, 2)).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap().entries, 2);
    assert!(matches!(second.await.unwrap(), Err(LedgerError::Moved { epoch: 1, last_seq: 2 })));
    assert!(matches!(put(&ledger, batch(NODE, 5, 6)).await, Err(LedgerError::Moved { .. })));
    assert_eq!(positions.of(NODE), Some(position(2)));
    drop(ledger);
    closed.await.unwrap();
    assert_eq!(open(&folder, &key).size(), 3);
}

#[tokio::test]
async fn a_late_opening_is_on_record_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let (ledger, closed) = Ledger::start(open(&folder, &key), "", Arc::default());
    let late = |from, to| Batch { late: vec![b"opening".to_vec()], ..batch(NODE, from, to) };
    assert_eq!(put(&ledger, late(0, 2)).await.unwrap().entries, 3);
    assert_eq!(put(&ledger, late(2, 3)).await.unwrap().entries, 1);
    // A batch of late openings only, sent again: nothing is left to record.
    assert_eq!(put(&ledger, late(3, 3)).await.unwrap().entries, 0);
    drop(ledger);
    closed.await.unwrap();
    assert_eq!(open(&folder, &key).size(), 4 + 2);
}

#[tokio::test]
async fn a_checkpoint_of_all_that_is_durable_condemns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let log = open(&folder, &key);
    let mut published = log.published();
    let receipt = log.append(vec![b"one".to_vec()]).await.unwrap();
    published.wait_for(|size| *size == 1).await.unwrap();
    // The ledger has announced nothing yet: a node may be told of a checkpoint before.
    let (ledger, closed) = Ledger::start(log, "", Arc::default());
    ledger.compare("a node", &receipt.checkpoint).await.unwrap();
    assert!(ledger.is_open());
    // More than is durable is another history, whoever shows it.
    let signer = LogKey::from_skey(&key).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, 2, leaf_hash(b"two"));
    let ahead = checkpoint.sign(signer.signing_key()).unwrap().to_string();
    let proof = ledger.compare("a node", &ahead).await.unwrap_err();
    assert!(proof.contains("2 entries") && proof.contains("ends at 1"), "{proof}");
    assert!(!ledger.is_open());
    drop(ledger);
    closed.await.unwrap_err();
}

#[tokio::test]
async fn an_entry_too_long_ends_its_own_submission_only() {
    let folder = tempfile::tempdir().unwrap();
    let (ledger, closed) = Ledger::start(open(&folder, &new_key()), "", Arc::default());
    let padded = Batch { signature: vec![0; ENTRY_BYTES_MAX], ..batch(NODE, 0, 2) };
    let refused = ledger.put(padded).await.unwrap();
    let taken = ledger.put(batch("agencies/G12/nodes/n1", 0, 2)).await.unwrap();
    assert!(matches!(refused.await.unwrap(), Err(LedgerError::TooLong(_))));
    assert_eq!(taken.await.unwrap().unwrap().first_index, 0);
    drop(ledger);
    closed.await.unwrap();
}
