//! Nodes ship their journals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::journal::{Journal, Shipper};
use common::{G01, H26, Mesh, ORIGIN, soon};
use lienthong_audit::batch::Position;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::log::{LogKey, LogReader};
use lienthong_broker::Broker;
use lienthong_broker::limits::SHIPMENTS_PER_NODE_MAX;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    Administration, BatchSeal, GetCheckpointRequest, Receipt, Record, SignedBatch,
};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Everything in the log, after the broker has stopped.
fn entries(mesh: &Mesh) -> Vec<Vec<u8>> {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    reader.entries(0..reader.size().unwrap()).unwrap()
}

fn bodies(mesh: &Mesh) -> impl Iterator<Item = Body> {
    entries(mesh).into_iter().filter_map(|entry| Record::decode(entry.as_slice()).unwrap().body)
}

fn findings(mesh: &Mesh) -> Vec<Administration> {
    let acts = bodies(mesh).filter_map(|body| match body {
        Body::Administration(act) => Some(act),
        _ => None,
    });
    acts.filter(|act| act.action.starts_with("journal.")).collect()
}

/// Checks that the log holds exactly records 1..=`last` of the journal, in order.
fn assert_holds(mesh: &Mesh, journal: &Journal, last: u64) {
    let entries = entries(mesh);
    let place = |seq| {
        let record = journal.record(seq);
        let mut places = entries.iter().enumerate().filter(|(_, entry)| **entry == record);
        let place = places.next().unwrap_or_else(|| panic!("record {seq} is not on record")).0;
        assert!(places.next().is_none(), "record {seq} is doubled");
        place
    };
    assert!((1..=last).map(place).is_sorted());
    assert!(!entries.contains(&journal.record(last + 1)), "more is on record than was shipped");
}

fn violation(status: &Status) -> String {
    match status.get_details_precondition_failure() {
        Some(failure) => failure.violations[0].r#type.clone(),
        None => panic!("no precondition failure in {status:?}"),
    }
}

#[tokio::test]
async fn a_journal_is_put_on_record_and_receipted() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    assert_eq!(position, Position::start(1));
    let first = shipper.ship(journal.batch(3)).await.unwrap();
    assert_eq!((first.journal_epoch, first.last_seq, first.entries), (1, 3, 3));
    let second = shipper.ship(journal.batch(2)).await.unwrap();
    assert_eq!((second.last_seq, second.entries), (5, 2));
    assert_eq!(second.first_index, first.first_index + 3 + 1, "the seal lies between");
    shipper.finish().await.unwrap();

    // The receipt's checkpoint is signed and covers the entries; anybody may ask for the newest one.
    let skey = fs::read_to_string(mesh.path("log.key")).unwrap();
    let log_key = LogKey::from_skey(&skey).unwrap();
    let checkpoint = Checkpoint::open(&second.checkpoint, log_key.verifier()).unwrap();
    assert!(checkpoint.origin == ORIGIN && checkpoint.size >= second.first_index + 3);
    let mut stranger = mesh.audit(&broker, &mesh.unbound);
    soon(async {
        loop {
            let published =
                stranger.get_checkpoint(GetCheckpointRequest {}).await.unwrap().into_inner().checkpoint;
            if Checkpoint::open(&published, log_key.verifier()).unwrap().size >= checkpoint.size {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;

    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &journal, 5);
    let entries = entries(&mesh);
    for Receipt { first_index, entries: count, last_seq, .. } in [first, second] {
        let seal = &entries[usize::try_from(first_index + count).unwrap()];
        let Some(Body::BatchSeal(seal)) = Record::decode(seal.as_slice()).unwrap().body else {
            panic!("no seal behind record {last_seq}")
        };
        assert_eq!(seal.certificate, mesh.g01.credentials().unwrap().certificate().fingerprint());
        assert_eq!((seal.first_index, seal.entries), (first_index, count));
    }
}

#[tokio::test]
async fn many_batches_of_many_nodes_at_once() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let (g01, h26) = tokio::join!(
        ship_many(&mesh, &broker, Journal::new(G01, &mesh.g01, 1, "a"), &mesh.g01),
        ship_many(&mesh, &broker, Journal::new(H26, &mesh.h26, 1, "b"), &mesh.h26),
    );
    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &g01, 100);
    assert_holds(&mesh, &h26, 100);
}

/// Sends twenty batches without waiting, then hears twenty receipts in order.
async fn ship_many(mesh: &Mesh, broker: &Broker, mut journal: Journal, who: &Issued) -> Journal {
    let (mut shipper, _) = Shipper::new(mesh, broker, who, 1).await;
    for _ in 0..20 {
        shipper.send(journal.batch(5)).await;
    }
    for number in 1..=20 {
        assert_eq!(shipper.receipt().await.unwrap().last_seq, number * 5);
    }
    shipper.finish().await.unwrap();
    journal
}

#[tokio::test]
async fn a_batch_sent_again_is_answered_and_not_doubled() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    let (first, second) = (journal.batch(3), journal.batch(2));
    let receipt = shipper.ship(first.clone()).await.unwrap();
    // Sent again before the next one, right behind it while it is under way, and after it.
    for batch in [&first, &second, &first, &second] {
        shipper.send(batch.clone()).await;
    }
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(shipper.receipt().await.unwrap());
    }
    assert_eq!((&answers[0], &answers[2]), (&receipt, &receipt));
    assert_eq!(answers[1], answers[3]);
    shipper.finish().await.unwrap();

    // On a new connection the newest is answered from the position.
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    assert_eq!(position, journal.position);
    let again = shipper.ship(second).await.unwrap();
    assert_eq!((again.first_index, again.entries, again.last_seq), (answers[1].first_index, 2, 5));
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &journal, 5);
}

/// What is wrong with a journal of four records on record: the batch, the violation, the code.
fn broken(mesh: &Mesh) -> Vec<(SignedBatch, &'static str, Code)> {
    let journal = |who, seed, skipped| {
        let mut journal = Journal::new(G01, who, 2, seed);
        journal.batch(skipped);
        journal
    };
    let mut foreign = Journal::new(H26, &mesh.g01, 2, "a");
    let mut impostor = journal(&mesh.g01, "a", 4);
    let seal = impostor.encode(Body::BatchSeal(BatchSeal::default()));
    vec![
        (journal(&mesh.g01, "a", 6).batch(2), "JOURNAL_GAP", Code::FailedPrecondition),
        (journal(&mesh.g01, "b", 4).batch(1), "JOURNAL_FORK", Code::FailedPrecondition),
        (journal(&mesh.g01, "a", 0).batch(2), "JOURNAL_ROLLBACK", Code::FailedPrecondition),
        (journal(&mesh.h26, "a", 4).batch(1), "JOURNAL_SIGNATURE", Code::PermissionDenied),
        (foreign.batch(1), "JOURNAL_NODE", Code::InvalidArgument),
        (impostor.batch_of(vec![seal], Vec::new()), "JOURNAL_RECORD", Code::InvalidArgument),
        (SignedBatch::default(), "JOURNAL_NODE", Code::InvalidArgument),
    ]
}

#[tokio::test]
async fn a_broken_history_is_refused_by_name_and_on_record_once() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 2, "a");
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 2).await;
    shipper.ship(journal.batch(4)).await.unwrap();
    shipper.finish().await.unwrap();

    for _attempt in 0..2 {
        for (batch, kind, code) in broken(&mesh) {
            let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 2).await;
            assert_eq!(position, journal.position);
            let refused = shipper.ship(batch).await.unwrap_err();
            assert_eq!((violation(&refused).as_str(), refused.code()), (kind, code), "{refused}");
        }
        let older = Shipper::open(&mesh, &broker, &mesh.g01, 1).await.unwrap().hear().await.unwrap_err();
        assert_eq!(violation(&older), "JOURNAL_EPOCH");
    }
    // After all that, the journal goes on.
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 2).await;
    assert_eq!(shipper.ship(journal.batch(1)).await.unwrap().last_seq, 5);
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &journal, 5);
    let mut found: Vec<String> = findings(&mesh).into_iter().map(|act| act.action).collect();
    found.sort();
    let once = ["epoch", "fork", "gap", "node", "record", "rollback", "signature"];
    assert_eq!(found, once.map(|kind| format!("journal.{kind}")));
}

#[tokio::test]
async fn what_was_under_way_is_answered_before_the_refusal() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    shipper.send(journal.batch(1)).await;
    shipper.send(journal.batch(1)).await;
    journal.batch(1);
    shipper.send(journal.batch(1)).await;
    assert_eq!(shipper.receipt().await.unwrap().last_seq, 1);
    assert_eq!(shipper.receipt().await.unwrap().last_seq, 2);
    assert_eq!(violation(&shipper.receipt().await.unwrap_err()), "JOURNAL_GAP");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn streams_of_one_node_are_bounded() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut shippers = Vec::new();
    for _ in 0..SHIPMENTS_PER_NODE_MAX {
        shippers.push(Shipper::new(&mesh, &broker, &mesh.g01, 1).await.0);
    }
    let one_more = Shipper::open(&mesh, &broker, &mesh.g01, 1).await.err().unwrap();
    assert_eq!(one_more.code(), Code::ResourceExhausted);
    Shipper::new(&mesh, &broker, &mesh.h26, 1).await.0.finish().await.unwrap();
    for shipper in shippers {
        shipper.finish().await.unwrap();
    }
    Shipper::new(&mesh, &broker, &mesh.g01, 1).await.0.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn two_streams_of_one_node_double_nothing() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut first, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    let (mut second, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    let batch = journal.batch(3);
    first.send(batch.clone()).await;
    second.send(batch).await;
    let answers = [first.receipt().await, second.receipt().await];
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (1, 1));
    assert_eq!(refused[0].as_ref().unwrap_err().code(), Code::Aborted);
    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &journal, 3);
}

#[tokio::test]
async fn a_lost_journal_begins_a_new_epoch_on_record() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    shipper.ship(journal.batch(4)).await.unwrap();
    shipper.finish().await.unwrap();
    let mut anew = Journal::new(G01, &mesh.g01, 2, "b");
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 2).await;
    assert_eq!(position, Position::start(2));
    assert_eq!(shipper.ship(anew.batch(2)).await.unwrap().journal_epoch, 2);
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
    assert_holds(&mesh, &journal, 4);
    assert_holds(&mesh, &anew, 2);
    let found = findings(&mesh);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].action.as_str(), found[0].resource.as_str()), ("journal.renewed", G01));
}

#[tokio::test]
async fn late_openings_are_on_record_once_even_across_a_restart() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let (late, later) = (journal.opening(1), journal.opening(2));
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    let first = vec![journal.record(1)];
    assert_eq!(shipper.ship(journal.batch_of(first, vec![late.clone()])).await.unwrap().entries, 2);
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    assert_eq!(position.last_seq, 1);
    let receipt =
        shipper.ship(journal.batch_of(Vec::new(), vec![late.clone(), later.clone()])).await.unwrap();
    assert_eq!((receipt.last_seq, receipt.entries), (1, 1));
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
    let entries = entries(&mesh);
    for opening in [late, later] {
        assert_eq!(entries.iter().filter(|entry| **entry == opening).count(), 1);
    }
}

/// A crash between the append and the save of the positions: what was saved is older than the log, or gone.
#[tokio::test]
async fn positions_follow_the_log_whatever_the_store_says() {
    let mesh = Mesh::new();
    let mut journal = Journal::new(G01, &mesh.g01, 1, "a");
    let broker = mesh.start().await;
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    shipper.ship(journal.batch(3)).await.unwrap();
    shipper.finish().await.unwrap();
    soon(broker.stop()).await.unwrap();
    let (store, old) = (mesh.data_dir().join("store"), mesh.path("old-store"));
    copy(&store, &old);

    let broker = mesh.start().await;
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    assert_eq!(position, journal.position);
    let last = journal.batch(2);
    shipper.ship(last.clone()).await.unwrap();
    soon(broker.stop()).await.unwrap();

    for (saved, epoch) in [(Some(&old), 1), (None, 2)] {
        fs::remove_dir_all(&store).unwrap();
        if let Some(old) = saved {
            copy(old, &store);
        }
        let broker = mesh.start().await;
        assert_eq!(broker.epoch(), epoch, "an epoch never falls back");
        let (mut shipper, position) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
        assert_eq!(position, journal.position, "the log knows");
        // The node never got its receipt, and sends the batch again.
        assert_eq!(shipper.ship(last.clone()).await.unwrap().last_seq, 5);
        shipper.finish().await.unwrap();
        soon(broker.stop()).await.unwrap();
    }
    assert_holds(&mesh, &journal, 5);
    assert_eq!(bodies(&mesh).filter(|body| matches!(body, Body::BatchSeal(_))).count(), 2);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
