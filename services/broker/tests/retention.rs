//! A broker whose log is older than its retention: what is over goes by itself, on record, and everything says so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

use std::time::Duration;

use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader};
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_broker::backup::{BackupError, backup, restore};
use lienthong_broker::index::blocks::BLOCK_ENTRIES;
use lienthong_broker::{Broker, BrokerConfig, records};
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::search_service_client::SearchServiceClient;
use lienthong_proto::lienthong::audit::v1::{
    Administration, RecordFilter, SearchRecordsRequest, SearchRecordsResponse,
};
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::datetime;

use common::{Line, Mesh, ORIGIN};

mod common;

const BLOCK: u64 = BLOCK_ENTRIES as u64;

/// Entries of a block and a half that the broker recorded at these two times.
fn begin_log(mesh: &Mesh, first: OffsetDateTime, second: OffsetDateTime) {
    let key = LogKey::from_skey(&std::fs::read_to_string(mesh.path("log.key")).unwrap()).unwrap();
    std::fs::create_dir_all(mesh.data_dir()).unwrap();
    let log = Log::create(&mesh.data_dir().join("log"), ORIGIN, key, &LogOptions::default()).unwrap();
    for begin in (0..BLOCK * 3 / 2).step_by(4_096) {
        let time = if begin < BLOCK { first } else { second };
        let time = Timestamp { seconds: time.unix_timestamp(), nanos: 0 };
        let entry = |number: u64| {
            let act = Administration { action: format!("act.{}", number % 100), ..Administration::default() };
            records::encode(Body::Administration(act), time, records::salt().unwrap())
        };
        log.append_blocking((begin..begin + 4_096).map(entry).collect()).unwrap();
    }
    log.close().unwrap();
}

/// A configuration with an auditor.
fn watched(mesh: &Mesh) -> (Issued, BrokerConfig) {
    let auditor = mesh.pki.issue_person("G01.90", "Lê Thị Kiểm", "kiem-toan").unwrap();
    let auditors = vec![auditor.certificate.clone()];
    (auditor, BrokerConfig { auditors, ..mesh.config() })
}

/// Waits for what takes long on a busy machine: a block of 65,536 rows.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(300), what).await.unwrap()
}

async fn search(broker: &Broker, mesh: &Mesh, auditor: &Issued, kind: &str) -> SearchRecordsResponse {
    let line: Line = mesh.line(broker, auditor);
    let filter = Some(RecordFilter { kind: kind.to_owned(), ..RecordFilter::default() });
    let request = SearchRecordsRequest { filter, page_size: 500, ..SearchRecordsRequest::default() };
    SearchServiceClient::new(line)
        .max_decoding_message_size(64 << 20)
        .search_records(request)
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_its_retention_goes_by_itself_and_everything_says_so() {
    let mesh = Mesh::new();
    begin_log(&mesh, datetime!(2015-01-01 0:00 UTC), datetime!(2016-01-01 0:00 UTC));
    let (auditor, config) = watched(&mesh);
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    // The quarter of the entries that go, one of which nobody recorded anything, and that of the day before those that stay.
    let keys = mesh.data_dir().join("index/keys");
    std::fs::create_dir_all(&keys).unwrap();
    let key_of = |quarter: &str| keys.join(format!("{quarter}.key"));
    for quarter in ["2015Q1", "2015Q3", "2015Q4"] {
        std::fs::write(key_of(quarter), [7; 32]).unwrap();
    }
    for round in 0..2 {
        let broker = Broker::start(config.clone()).await.unwrap();
        in_time(async {
            while search(&broker, &mesh, &auditor, "pruning").await.minimum_index < BLOCK {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert_eq!(reader.minimum().unwrap(), BLOCK);
        in_time(async {
            while key_of("2015Q1").exists() || key_of("2015Q3").exists() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert!(key_of("2015Q4").exists());
        let found = in_time(async {
            loop {
                let found = search(&broker, &mesh, &auditor, "pruning").await;
                if !found.records.is_empty() {
                    return found;
                }
            }
        })
        .await;
        assert_eq!(found.records.len(), 1, "once, and not again in round {round}");
        let acts = search(&broker, &mesh, &auditor, "administration").await;
        assert!(acts.records.iter().all(|found| found.index >= BLOCK));
        assert_eq!(broker.retention().unwrap().step(OffsetDateTime::now_utc()).await.unwrap(), None);
        broker.stop().await.unwrap();
        let report = verify_dir(&mesh.data_dir().join("log"), &VerifyOptions::default());
        assert!(report.is_sound() && report.pruned == BLOCK, "{report}");
        assert!(report.to_string().contains("pruned"), "{report}");
    }

    let (copy, again) = (mesh.path("copy"), mesh.path("again"));
    backup(&mesh.data_dir(), &copy, OffsetDateTime::now_utc()).unwrap();
    restore::<BackupError>(&copy, &again, |draft| {
        let report = verify_dir(&draft.join("log"), &VerifyOptions::default());
        assert!(report.is_sound() && report.pruned == BLOCK, "{report}");
        Ok(())
    })
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_as_old_as_the_first_record_behind_it() {
    let mesh = Mesh::new();
    let (old, young) =
        (datetime!(2015-01-01 0:00 UTC), OffsetDateTime::now_utc() - time::Duration::days(300));
    begin_log(&mesh, old, young);
    let (auditor, config) = watched(&mesh);
    let broker = Broker::start(config).await.unwrap();
    // The block is whole, so that pruning could begin.
    in_time(async {
        while search(&broker, &mesh, &auditor, "manifest").await.records.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    // The first block was on record by the time of the first entry behind it, for all that anybody knows.
    assert_eq!(broker.retention().unwrap().step(OffsetDateTime::now_utc()).await.unwrap(), None);
    let later = OffsetDateTime::now_utc() + time::Duration::days(366 * 5);
    let pruned = in_time(async {
        loop {
            if let Some(pruned) = broker.retention().unwrap().step(later).await.unwrap() {
                return pruned;
            }
            // Matching may still be on its way there.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(pruned.minimum, BLOCK);
    broker.stop().await.unwrap();
}
