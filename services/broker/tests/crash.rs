//! A real broker process, killed with SIGKILL while a node ships: nothing acknowledged is lost, nothing is doubled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::journal::{Journal, Shipper};
use common::process::{Process, config_file};
use common::{G01, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_audit::verify::{VerifyOptions, verify_dir};

const ROUNDS: u64 = 10;
const BATCH_RECORDS: u64 = 7;

/// The child of this test.
#[tokio::test]
async fn child() {
    common::process::child().await;
}

/// Connects and takes up the journal where the broker says it stands, after the last record that was receipted.
async fn take_up(mesh: &Mesh, address: SocketAddr, receipted: u64) -> (Shipper, Journal) {
    let (shipper, position) = Shipper::new(mesh, &address, &mesh.g01, 1).await;
    assert!(position.last_seq >= receipted, "record {receipted} was receipted and is lost");
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    journal.batch(position.last_seq);
    assert_eq!(journal.position, position, "the log holds another history");
    (shipper, journal)
}

/// Ships until the broker dies. Answers the last record that was receipted.
async fn ship_until_it_dies(mut shipper: Shipper, mut journal: Journal) -> u64 {
    let mut receipted = journal.position.last_seq;
    // As many under way as the broker takes at once, so that a kill always meets some.
    for _ in 0..8 {
        shipper.send(journal.batch(BATCH_RECORDS)).await;
    }
    while let Ok(receipt) = shipper.receipt().await {
        receipted = receipt.last_seq;
        if shipper.try_send(journal.batch(BATCH_RECORDS)).is_err() {
            break;
        }
    }
    receipted
}

#[tokio::test]
async fn killed_while_it_takes_in_a_journal() {
    let mesh = Mesh::new();
    let config = config_file(&mesh);
    let mut receipted = 0;
    for round in 0..ROUNDS {
        let (process, address) = Process::start(&config).await;
        let (shipper, journal) = take_up(&mesh, address, receipted).await;
        let killing = async {
            tokio::time::sleep(Duration::from_millis(1 + round * 11)).await;
            drop(process);
        };
        (receipted, ()) = tokio::join!(ship_until_it_dies(shipper, journal), killing);
    }
    assert!(receipted > ROUNDS * BATCH_RECORDS, "only {receipted} records in all: nothing was tried");

    let broker = mesh.start().await;
    let (shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    assert!(position.last_seq >= receipted);
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();

    let log = mesh.data_dir().join("log");
    let reader = LogReader::new(&log);
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let journal = Journal::new(G01, &mesh.g01, 1, "a");
    let own: HashMap<Vec<u8>, u64> =
        (1..=position.last_seq + 1).map(|seq| (journal.record(seq), seq)).collect();
    // Seals and bundles lie between; the journal's own records follow each other without gap or repetition.
    let seqs: Vec<u64> = entries.iter().filter_map(|entry| own.get(entry).copied()).collect();
    assert!(seqs.iter().copied().eq(1..=position.last_seq), "{seqs:?}");
    let report = verify_dir(&log, &VerifyOptions::default());
    assert!(report.is_sound(), "{report:?}");
}
