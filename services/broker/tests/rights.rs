//! Nodes watch their rights: over real TLS, against a broker in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails
#![allow(clippy::print_stderr)] // a measurement says what it measured

mod common;

use common::watcher::{Watcher, held};
use common::{G01, H26, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_broker::bundle::sha256;
use lienthong_catalog::{RightsIndex, parts::PART_BYTES};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{BundlePublished, Record};
use lienthong_proto::lienthong::control::v1::DecideRequest;
use lienthong_proto::lienthong::registry::v1::PublishContractRequest;
use lienthong_proto::reason::Reason;
use lienthong_proto::status;
use prost::Message as _;
use tonic::Code;

/// Every `BundlePublished` of the log, after the broker has stopped.
fn published(mesh: &Mesh) -> Vec<BundlePublished> {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let bodies = entries.iter().filter_map(|entry| Record::decode(entry.as_slice()).unwrap().body);
    bodies
        .filter_map(|body| match body {
            Body::BundlePublished(published) => Some(published),
            _ => None,
        })
        .collect()
}

/// What nodes' receipts put on record, after the broker has stopped.
fn receipts(mesh: &Mesh) -> Vec<String> {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let bodies = entries.iter().filter_map(|entry| Record::decode(entry.as_slice()).unwrap().body);
    bodies
        .filter_map(|body| match body {
            Body::Administration(act) if act.action == "rights.applied" => Some(act.detail),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_receipt_that_a_node_says_again_is_on_record_once() {
    let mesh = Mesh::new();
    for _ in 0..2 {
        let broker = mesh.start().await;
        let shown = || broker.board().row(G01).is_some_and(|row| row.applied_epoch == 1);
        for _ in 0..2 {
            let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
            g01.snapshot().await;
            g01.acknowledge(1, "").await;
            g01.heartbeat().await;
            soon(async {
                while !shown() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            })
            .await;
        }
        soon(broker.stop()).await.unwrap();
    }
    assert_eq!(receipts(&mesh), ["revocation lists in force"]);
}

/// A bundle of many parties is larger than one message of the watch should be.
#[tokio::test]
async fn a_large_bundle_comes_in_parts() {
    const AGENCIES: usize = 4_000;
    let mesh = Mesh::new();
    let agencies: Vec<_> = (0..AGENCIES)
        .map(|number| {
            format!(
                "  - {{code: H90.{number:05}, name_vi: DEMO {number}, bloc: LOCAL, level: COMMUNE, roles: [CONSUMER], \
                 security_level: 3}}\n"
            )
        })
        .collect();
    std::fs::write(mesh.catalog_dir().join("many.yaml"), format!("agencies:\n{}", agencies.concat()))
        .unwrap();
    mesh.approve();
    let broker = mesh.start().await;
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    g01.snapshot().await;
    assert_eq!(g01.parts, 0, "a small one comes in one message");

    let published = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    soon(mesh.registry(&broker, &mesh.g01).publish_contract(published)).await.unwrap();
    let (bundle, signed) = g01.snapshot().await;
    assert!(bundle.rights.len() > AGENCIES, "{}", bundle.rights.len());
    let parts = signed.bundle.len().div_ceil(PART_BYTES);
    assert!(parts > 2, "{parts}");
    assert_eq!((g01.parts, g01.deltas), (parts, 0));
    g01.acknowledge(bundle.epoch, "").await;
    assert_eq!(g01.heartbeat().await.bundle_hash, sha256(&signed.bundle));

    let mut again = Watcher::new(&mesh, &broker, &mesh.g01).await;
    assert_eq!(again.snapshot().await.0, bundle);
    assert_eq!(again.parts, parts);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_node_gets_its_signed_bundle_which_is_on_record() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let (bundle, signed) = watcher.snapshot().await;
    assert_eq!((bundle.audience.as_str(), bundle.epoch), (G01, 1));
    assert!(bundle.issue_time.is_some());
    assert_eq!(bundle.revocation_lists.len(), mesh.pki.crl_files().len());
    assert_eq!(RightsIndex::from_bundle(&bundle).unwrap().audience(), G01);

    let heartbeat = watcher.heartbeat().await;
    assert_eq!(heartbeat.epoch, 1);
    assert_eq!(heartbeat.bundle_hash, sha256(&signed.bundle));
    let next = watcher.heartbeat().await;
    let between = next.time.unwrap().seconds - heartbeat.time.unwrap().seconds;
    assert!((0..=3).contains(&between), "{between} s between two heartbeats");

    soon(broker.stop()).await.unwrap();
    let published = published(&mesh);
    assert_eq!(published.len(), 3, "one for each node of the registry");
    let own = published.iter().find(|published| published.audience == G01).unwrap();
    assert_eq!((own.epoch, own.hash.as_slice()), (1, sha256(&signed.bundle).as_slice()));
}

#[tokio::test]
async fn an_unchanged_restart_keeps_epoch_and_bytes() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let (_, first) = Watcher::new(&mesh, &broker, &mesh.g01).await.snapshot().await;
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 1);
    assert!(!broker.reload().await.unwrap(), "nothing changed");
    let (_, second) = Watcher::new(&mesh, &broker, &mesh.g01).await.snapshot().await;
    assert_eq!(first, second);
    // Who holds it already is not sent it again.
    let mut holder = Watcher::open(&mesh, &broker, &mesh.g01, held(&first)).await.unwrap();
    assert_eq!(holder.heartbeat().await.epoch, 1);
    soon(broker.stop()).await.unwrap();
    assert_eq!(published(&mesh).len(), 3, "the same epoch is on record once");
}

#[tokio::test]
async fn a_change_of_the_catalog_raises_the_epoch_and_reaches_the_watchers() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    assert_eq!(g01.snapshot().await.0.epoch, 1);
    assert_eq!(h26.snapshot().await.0.epoch, 1);

    mesh.edit("agencies.yaml", "name_vi: Bộ Công an", "name_vi: Bộ Công an (thử)");
    assert!(broker.reload().await.unwrap());
    let (bundle, _) = g01.snapshot().await;
    assert_eq!((bundle.epoch, g01.deltas), (2, 1), "the difference is enough");
    assert!(bundle.parties.iter().any(|party| party.name_vi == "Bộ Công an (thử)"));
    assert_eq!(h26.snapshot().await.0.epoch, 2, "one epoch for all");
    g01.acknowledge(2, "").await;
    h26.acknowledge(2, "disk full").await;
    soon(async {
        while broker.board().row(G01).unwrap().applied_epoch != 2
            || broker.board().row(H26).unwrap().error != "disk full"
        {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(broker.board().behind(2), 1);
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 2, "a restart goes on from there");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_mistake_at_reload_changes_nothing() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    mesh.edit("entries.yaml", "status: ACTIVE", "status: AKTIVE");
    let error = broker.reload().await.unwrap_err().to_string();
    assert!(error.contains("entries.yaml:") && error.contains("AKTIVE"), "{error}");
    assert_eq!(broker.epoch(), 1);
    assert_eq!(Watcher::new(&mesh, &broker, &mesh.g01).await.snapshot().await.0.epoch, 1);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_a_public_authority_stands_for_no_agency() {
    let mesh = Mesh::new();
    let holder = lienthong_certs::pki::Holder::Node {
        agency_code: "G01".to_owned(),
        agency_name: "DEMO – Cơ quan thử".to_owned(),
        node_id: "cong-cong".to_owned(),
    };
    let request = lienthong_certs::pki::Request::new(holder)
        .with_dns_names(&["localhost"])
        .with_branch(lienthong_certs::Branch::Public);
    let public = mesh.pki.issue(&request).unwrap();
    // The registry binds it all the same.
    mesh.write_registry(&[("G01", &public), ("H26.90", &mesh.h26)]);
    let broker = mesh.start().await;
    let refused = Watcher::open(&mesh, &broker, &public, (0, Vec::new())).await.err().unwrap();
    let read = status::read(&refused).unwrap();
    assert_eq!(read.reason, Reason::DenyCertificate);
    assert!(read.metadata["detail"].contains("public authority"), "{:?}", read.metadata);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn who_is_bound_to_nobody_is_told_so() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let refused = Watcher::open(&mesh, &broker, &mesh.unbound, (0, Vec::new())).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let read = status::read(&refused).unwrap();
    assert_eq!(read.reason, Reason::DenyCertificate);
    assert!(read.metadata["detail"].contains("binds to nobody"), "{:?}", read.metadata);
    // A system is bound, but not a node.
    let system = Watcher::open(&mesh, &broker, &mesh.h26_system, (0, Vec::new())).await.err().unwrap();
    assert!(status::read(&system).unwrap().metadata["detail"].contains("mot-cua"));
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_binding_that_is_taken_away_ends_the_watch() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    g01.snapshot().await;
    h26.snapshot().await;
    mesh.write_registry(&[("H26.90", &mesh.h26)]);
    assert!(broker.reload().await.unwrap());
    assert_eq!(status::read(&g01.refusal().await).unwrap().reason, Reason::DenyCertificate);
    assert_eq!(h26.snapshot().await.0.epoch, 2);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_slow_watcher_gets_the_newest_bundle_only() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    // A window that no bundle fits: while nobody reads, the broker cannot write.
    let mut watcher = Watcher::narrow(&mesh, &broker, &mesh.g01, 256).await;
    let mut name = "name_vi: Bộ Công an
"
    .to_owned();
    for round in 1..=20 {
        let next = format!(
            "name_vi: Bộ Công an {round}
"
        );
        mesh.edit("agencies.yaml", &name, &next);
        assert!(broker.reload().await.unwrap());
        name = next;
    }
    let mut epochs = Vec::new();
    while epochs.last() != Some(&21) {
        epochs.push(watcher.snapshot().await.0.epoch);
    }
    assert!(epochs.is_sorted() && epochs.len() <= 4, "old bundles were queued: {epochs:?}");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_watch_is_told_when_the_broker_stops() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.g01).await;
    watcher.snapshot().await;
    let (stopped, refusal) = tokio::join!(soon(broker.stop()), watcher.refusal());
    stopped.unwrap();
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
}

#[tokio::test]
async fn a_watch_that_says_something_else_is_ended() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    say.send(lienthong_proto::lienthong::control::v1::WatchRightsRequest { event: None }).await.unwrap();
    let said = tokio_stream::wrappers::ReceiverStream::new(said);
    let mut heard = soon(mesh.rights(&broker, &mesh.g01).watch_rights(said)).await.unwrap().into_inner();
    let status = soon(heard.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn who_refused_a_bundle_gets_the_next_one_whole() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let (_, first) = watcher.snapshot().await;
    // A second watch that holds it already can be told the difference as well.
    let mut holder = Watcher::open(&mesh, &broker, &mesh.g01, held(&first)).await.unwrap();
    holder.knows(&first);
    holder.heartbeat().await;
    watcher.acknowledge(0, "disk full").await;
    soon(async {
        while broker.board().row(G01).unwrap().error != "disk full" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    mesh.edit("agencies.yaml", "name_vi: Bộ Công an", "name_vi: Bộ Công an (thử)");
    assert!(broker.reload().await.unwrap());
    let whole = watcher.snapshot().await.1;
    assert_eq!(watcher.deltas, 0);
    assert_eq!(holder.snapshot().await.1, whole, "the same bundle, whichever way it comes");
    assert_eq!(holder.deltas, 1);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn the_broker_decides_for_a_node_by_that_nodes_own_rights() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let contract = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    let epoch =
        soon(mesh.registry(&broker, &mesh.g01).publish_contract(contract)).await.unwrap().into_inner().epoch;
    let asked = DecideRequest {
        method: "/vn.dancu.v1.CitizenService/GetCitizen".to_owned(),
        provider: "G01".to_owned(),
        consumer: "H26.90".to_owned(),
        system: "agencies/H26.90/systems/mot-cua".to_owned(),
        purpose: "ADMIN_PROCEDURE".to_owned(),
        dossier: "H26.90-261121-0001".to_owned(),
        ..DecideRequest::default()
    };
    let decide = async |who, asked: &DecideRequest| {
        soon(mesh.rights(&broker, who).decide(asked.clone())).await.map(tonic::Response::into_inner)
    };
    for who in [&mesh.g01, &mesh.h26] {
        let answer = decide(who, &asked).await.unwrap();
        assert_eq!((answer.epoch, answer.reason.as_str()), (epoch, ""));
        assert!(answer.right.starts_with("CE-0001/H26.90/"), "{}", answer.right);
    }
    let field = DecideRequest { fields: vec!["tinh_trang_hon_nhan".to_owned()], ..asked.clone() };
    let denied = decide(&mesh.g01, &field).await.unwrap();
    assert_eq!((denied.right.as_str(), denied.reason.as_str()), ("", "DENY_FIELD"));
    assert!(denied.detail.contains("tinh_trang_hon_nhan"), "{}", denied.detail);
    // What does not concern the asker is not in its rights; who is no node may not ask at all.
    let other = DecideRequest { provider: "G12".to_owned(), ..asked.clone() };
    assert_eq!(decide(&mesh.g01, &other).await.unwrap().reason, "DENY_UNKNOWN_METHOD");
    for who in [&mesh.h26_system, &mesh.officer, &mesh.unbound] {
        assert_eq!(decide(who, &asked).await.unwrap_err().code(), Code::PermissionDenied);
    }

    // The very next decision is by the new rights.
    mesh.edit(
        "entries.yaml",
        "ADMIN_PROCEDURE: [so_dinh_danh, ho_ten, noi_thuong_tru]",
        "ADMIN_PROCEDURE: [so_dinh_danh]",
    );
    assert!(broker.reload().await.unwrap());
    let narrowed = DecideRequest { fields: vec!["ho_ten".to_owned()], ..asked };
    let denied = decide(&mesh.g01, &narrowed).await.unwrap();
    assert_eq!((denied.epoch, denied.reason.as_str()), (epoch + 1, "DENY_FIELD"));
    soon(broker.stop()).await.unwrap();
}

/// Watchers that a change is to reach at once.
const WATCHERS: usize = 100;

/// Over one machine's loopback with all nodes on it, so that the number is the broker's work and not a network's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: how long a change takes to reach 100 nodes"]
async fn a_change_reaches_a_hundred_nodes() {
    const ROUNDS: usize = 20;
    let mesh = Mesh::new();
    let nodes = mesh.many_nodes(WATCHERS);
    let broker = mesh.start().await;
    let publish = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    soon(mesh.registry(&broker, &mesh.g01).publish_contract(publish)).await.unwrap();
    let mut watchers = Vec::new();
    for node in &nodes {
        let mut watcher = Watcher::new(&mesh, &broker, node).await;
        watcher.snapshot().await;
        watchers.push(watcher);
    }
    let mut taken_ms = Vec::new();
    let mut name = "name_vi: Bộ Công an\n".to_owned();
    for round in 0..ROUNDS {
        let next = format!("name_vi: Bộ Công an {round}\n");
        mesh.edit("agencies.yaml", &name, &next);
        name = next;
        let start = std::time::Instant::now();
        let waiting = watchers.into_iter().map(|mut watcher| {
            tokio::spawn(async move {
                watcher.snapshot().await;
                (start.elapsed().as_millis(), watcher)
            })
        });
        let waiting: Vec<_> = waiting.collect();
        assert!(broker.reload().await.unwrap());
        watchers = Vec::new();
        for heard in waiting {
            let (taken, watcher) = heard.await.unwrap();
            taken_ms.push(taken);
            watchers.push(watcher);
        }
    }
    taken_ms.sort_unstable();
    let at = |share: usize| taken_ms[(taken_ms.len() - 1) * share / 100];
    let deltas: usize = watchers.iter().map(|watcher| watcher.deltas).sum();
    eprintln!(
        "reload to bundle at {WATCHERS} nodes, {ROUNDS} changes, {deltas} deltas: p50 {} ms, p99 {} ms, max {} ms",
        at(50),
        at(99),
        at(100)
    );
    assert_eq!(deltas, WATCHERS * ROUNDS, "every change came as a difference");
    soon(broker.stop()).await.unwrap();
}
