//! A real broker process, killed with SIGKILL while a node ships: nothing acknowledged is lost, nothing is doubled.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::journal::{Journal, Shipper};
use common::{G01, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_broker::{Broker, BrokerConfig};

/// Names the configuration that the child process runs with.
const CONFIG: &str = "LIENTHONG_TEST_BROKER_CONFIG";
const ROUNDS: u64 = 10;
const BATCH_RECORDS: u64 = 7;

/// The child: a broker that runs until it is killed. Does nothing when the tests are run as usual.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(CONFIG) else { return };
    let path = PathBuf::from(path);
    let config: BrokerConfig = lienthong_telemetry::load(&path).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let draft = path.with_extension("draft");
    fs::write(&draft, broker.address().to_string()).unwrap();
    fs::rename(draft, address_file(&path)).unwrap();
    std::future::pending::<()>().await;
}

fn address_file(config: &Path) -> PathBuf {
    config.with_extension("address")
}

/// Killed when dropped, so that no test leaves a process behind.
struct Process(Child);

impl Process {
    async fn start(config: &Path) -> (Process, SocketAddr) {
        let _ = fs::remove_file(address_file(config));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CONFIG, config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Process(child);
        let address = soon(async {
            loop {
                if let Ok(address) = fs::read_to_string(address_file(config)) {
                    return address.parse().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        (process, address.await)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead is dead enough.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
    let config = mesh.path("broker.toml");
    fs::write(&config, toml::to_string(&mesh.config()).unwrap()).unwrap();
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
