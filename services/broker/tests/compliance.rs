//! How the duty is kept, as the broker counts and tells it: drift of a contract, numbers across a restart, who sees what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::time::SystemTime;

use common::journal::{Journal, Shipper};
use common::{G01, H26, Line, Listening, Mesh, soon};
use lienthong_certs::pki::Issued;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::finding_service_client::FindingServiceClient;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Exchange, FindingEntry, FindingKind, ListFindingsRequest, Record, Side, Status,
};
use lienthong_proto::lienthong::compliance::v1::compliance_service_client::ComplianceServiceClient;
use lienthong_proto::lienthong::compliance::v1::{
    CheckKind, CheckState, EntryCompliance, GetStatisticsRequest, ListEntryComplianceRequest,
    ListScorecardsRequest,
};
use lienthong_proto::lienthong::registry::v1::PublishContractRequest;
use prost::Message as _;
use tonic::Code;

fn desk(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> ComplianceServiceClient<Line> {
    ComplianceServiceClient::new(mesh.line(broker, who))
}

async fn population(desk: &mut ComplianceServiceClient<Line>) -> EntryCompliance {
    let filter = "dataset = \"dancu.cong_dan\"".to_owned();
    let asked = ListEntryComplianceRequest { filter, ..ListEntryComplianceRequest::default() };
    let mut answer = soon(desk.list_entry_compliance(asked)).await.unwrap().into_inner();
    answer.entries.remove(0)
}

fn published(entry: &EntryCompliance) -> CheckState {
    entry.checks.iter().find(|check| check.kind() == CheckKind::Published).unwrap().state()
}

async fn drifts(mesh: &Mesh, broker: &impl Listening, include_closed: bool) -> Vec<FindingEntry> {
    let asked = ListFindingsRequest {
        kind: FindingKind::ContractDrift.into(),
        include_closed,
        ..ListFindingsRequest::default()
    };
    let mut desk = FindingServiceClient::new(mesh.line(broker, &mesh.officer));
    soon(desk.list_findings(asked)).await.unwrap().into_inner().findings
}

/// Waits until the findings of drift are so many.
async fn until_drifts(mesh: &Mesh, broker: &impl Listening, count: usize) {
    soon(async {
        while drifts(mesh, broker, false).await.len() != count {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_another_contract_is_a_finding_until_it_is_registered() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let publish = |set: &[u8]| PublishContractRequest { descriptor_set: set.to_vec() };
    soon(g01.publish_contract(publish(b"rubbish"))).await.unwrap_err();
    assert!(drifts(&mesh, &broker, true).await.is_empty(), "what was never registered cannot drift");
    let mut steward = desk(&mesh, &broker, &mesh.officer);
    assert_eq!(published(&population(&mut steward).await), CheckState::Failed, "nothing is published");

    soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap();
    assert_eq!(published(&population(&mut steward).await), CheckState::Passed);
    for _ in 0..2 {
        soon(g01.publish_contract(publish(b"rubbish"))).await.unwrap_err();
    }
    until_drifts(&mesh, &broker, 1).await;
    let entry = population(&mut steward).await;
    let check = entry.checks.iter().find(|check| check.kind() == CheckKind::Published).unwrap();
    assert_eq!(check.state(), CheckState::Failed);
    assert!(check.text_en.contains("cannot be read"), "{}", check.text_en);
    soon(broker.stop()).await.unwrap();

    // It stays, whoever is started anew, until the node's contract is taken.
    let broker = mesh.start().await;
    until_drifts(&mesh, &broker, 1).await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap();
    until_drifts(&mesh, &broker, 0).await;
    assert_eq!(drifts(&mesh, &broker, true).await.len(), 1);
    assert_eq!(published(&population(&mut desk(&mesh, &broker, &mesh.officer)).await), CheckState::Passed);
    soon(broker.stop()).await.unwrap();
}

fn side(journal: &Journal, number: u8, side: Side) -> Vec<u8> {
    let exchange = Exchange {
        id: vec![number; 16],
        attempt: 1,
        side: side.into(),
        consumer: "H26.90".into(),
        consumer_node: H26.into(),
        provider: "G01".into(),
        provider_node: G01.into(),
        dataset: "dancu.cong_dan".into(),
        ..Exchange::default()
    };
    let closing = Closing {
        exchange: Some(exchange),
        status: Status::Delivered.into(),
        records: 1,
        ..Closing::default()
    };
    let record = Record::decode(journal.encode(Body::Closing(closing)).as_slice()).unwrap();
    Record { time: Some(SystemTime::now().into()), ..record }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_stays_counted_once_across_a_restart() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut h26 = Journal::new(H26, &mesh.h26, 7, "h26");
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    let records = (0..5).map(|number| side(&h26, number, Side::Consumer)).collect();
    consumer.ship(h26.batch_of(records, Vec::new())).await.unwrap();
    let served = async |broker: &lienthong_broker::Broker, wanted: u64| {
        let mut steward = desk(&mesh, broker, &mesh.officer);
        soon(async {
            while population(&mut steward).await.calls.unwrap().served != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    };
    served(&broker, 5).await;
    drop(consumer);
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    let one = vec![side(&h26, 9, Side::Consumer)];
    consumer.ship(h26.batch_of(one, Vec::new())).await.unwrap();
    served(&broker, 6).await;

    // An agency sees its own card, a stranger none; what tells nobody apart is for all.
    let cards = soon(desk(&mesh, &broker, &mesh.g01).list_scorecards(ListScorecardsRequest::default())).await;
    let cards = cards.unwrap().into_inner().scorecards;
    assert_eq!(cards.iter().map(|card| card.agency.as_str()).collect::<Vec<_>>(), ["G01"]);
    let mut stranger = desk(&mesh, &broker, &mesh.unbound);
    let refused = soon(stranger.list_scorecards(ListScorecardsRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let public = soon(stranger.get_statistics(GetStatisticsRequest {})).await.unwrap().into_inner();
    let g01 = public.agencies.iter().find(|agency| agency.agency == "G01").unwrap();
    assert_eq!((g01.requested, g01.served), (6, 6));
    // Open data is named to everybody; its methods from when the contract is published.
    let [units] = &public.open[..] else { panic!("{:?}", public.open) };
    assert_eq!((units.dataset.as_str(), units.provider.as_str()), ("danhmuc.dvhc", "G09"));
    assert_eq!((public.open_datasets, units.methods.len()), (1, 0));
    soon(broker.stop()).await.unwrap();
}
