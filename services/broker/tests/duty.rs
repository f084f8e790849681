//! Refusals and disputes over real TLS: what suspends reaches both nodes, what does not changes nothing, and all is kept.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use common::watcher::Watcher;
use common::{Line, Listening, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_broker::Broker;
use lienthong_certs::pki::Issued;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::Record;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::control::v1::RightsBundle;
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::duty_service_client::DutyServiceClient;
use lienthong_proto::lienthong::registry::v1::{
    AnnounceOutageRequest, AnswerConnectionRequestRequest, AnswerDisputeRequest, ConnectionRequestState,
    CreateConnectionRequestRequest, DecideDisputeRequest, DeclareRefusalRequest, DeclareRefusalResponse,
    DisputeCause, DisputeOutcome, DisputeStage, GetDisputeRequest, ListConnectionRequestsRequest,
    ListDisputesRequest, ListRefusalsRequest, PublishContractRequest, Refusal, RefusalState,
    WithdrawRefusalRequest,
};
use prost::Message as _;
use prost_types::Timestamp;
use tonic::{Code, Status};

const DATASET: &str = "dancu.cong_dan";
const BASIS: &str = "252/2026/NĐ-CP, Điều 55.6";

fn client(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> DutyServiceClient<Line> {
    DutyServiceClient::new(mesh.line(broker, who))
}

async fn started(mesh: &Mesh) -> Broker {
    let broker = mesh.start().await;
    let request = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    soon(mesh.registry(&broker, &mesh.g01).publish_contract(request)).await.unwrap();
    broker
}

fn refusing(reason: &str, legal_basis: &str) -> DeclareRefusalRequest {
    DeclareRefusalRequest {
        consumer: "H26.90".to_owned(),
        dataset: DATASET.to_owned(),
        reason: reason.to_owned(),
        legal_basis: legal_basis.to_owned(),
        ..DeclareRefusalRequest::default()
    }
}

async fn declare(
    mesh: &Mesh,
    broker: &Broker,
    request: DeclareRefusalRequest,
) -> Result<DeclareRefusalResponse, Status> {
    Ok(soon(client(mesh, broker, &mesh.g01).declare_refusal(request)).await?.into_inner())
}

/// Ids of the rights that are suspended, each with what suspends it.
fn suspended(bundle: &RightsBundle) -> Vec<String> {
    let suspended = bundle.rights.iter().filter(|right| right.suspended);
    suspended.map(|right| format!("{} {} {}", right.id, right.suspended_by, right.suspended_reason)).collect()
}

fn later(seconds: i64) -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp { seconds: i64::try_from(now.as_secs()).unwrap() + seconds, nanos: 0 }
}

#[tokio::test]
async fn a_lawful_refusal_suspends_at_both_nodes_and_is_taken_back() {
    let mesh = Mesh::new();
    let broker = started(&mesh).await;
    let mut provider = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let mut consumer = Watcher::new(&mesh, &broker, &mesh.h26).await;
    assert!(suspended(&provider.snapshot().await.0).is_empty());
    assert!(suspended(&consumer.snapshot().await.0).is_empty());

    let request = DeclareRefusalRequest { request_id: "one".to_owned(), ..refusing("OVERLOAD", BASIS) };
    let declared = declare(&mesh, &broker, request.clone()).await.unwrap();
    let (refusal, dispute) = (declared.refusal.unwrap(), declared.dispute.unwrap());
    assert_eq!((refusal.state(), refusal.epoch), (RefusalState::Suspending, 3));
    assert_eq!((dispute.cause(), dispute.stage()), (DisputeCause::Refusal, DisputeStage::Provider));
    for watcher in [&mut provider, &mut consumer] {
        let (bundle, _) = watcher.snapshot().await;
        let expected = ["ADMIN_PROCEDURE", "STATE_MANAGEMENT"]
            .map(|purpose| format!("CE-0001/H26.90/{purpose} {} OVERLOAD", refusal.name));
        assert_eq!(suspended(&bundle), expected, "another consumer's rights stay");
    }
    // The same request again is the same refusal; another one is too much.
    assert_eq!(declare(&mesh, &broker, request).await.unwrap().refusal.unwrap().name, refusal.name);
    let twice = declare(&mesh, &broker, refusing("OVERLOAD", BASIS)).await.unwrap_err();
    assert_eq!(twice.code(), Code::FailedPrecondition, "{twice}");

    // It lives on in the store.
    soon(broker.stop()).await.unwrap();
    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 3);
    let mut provider = Watcher::new(&mesh, &broker, &mesh.g01).await;
    assert_eq!(suspended(&provider.snapshot().await.0).len(), 2);

    let withdraw =
        WithdrawRefusalRequest { name: refusal.name.clone(), reason: "đã nâng cấp".to_owned() };
    let foreign = soon(client(&mesh, &broker, &mesh.h26).withdraw_refusal(withdraw.clone())).await;
    assert_eq!(foreign.unwrap_err().code(), Code::NotFound, "who is refused cannot take it back");
    let ended = soon(client(&mesh, &broker, &mesh.g01).withdraw_refusal(withdraw)).await.unwrap();
    assert_eq!(ended.into_inner().refusal.unwrap().state(), RefusalState::Withdrawn);
    assert!(suspended(&provider.snapshot().await.0).is_empty());
    let request = GetDisputeRequest { name: dispute.name };
    let dispute = soon(client(&mesh, &broker, &mesh.h26).get_dispute(request)).await.unwrap().into_inner();
    assert_eq!(dispute.dispute.unwrap().outcome(), DisputeOutcome::Settled);
    soon(broker.stop()).await.unwrap();
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let actions: Vec<String> = entries
        .iter()
        .filter_map(|entry| match Record::decode(entry.as_ref()).unwrap().body {
            Some(Body::Administration(act)) if act.action.starts_with("refusal.") => Some(act.action),
            _ => None,
        })
        .collect();
    assert_eq!(actions, ["refusal.declare", "refusal.withdraw"]);
}

#[tokio::test]
async fn an_unjustified_refusal_stops_nothing_and_is_seen_by_the_consumer() {
    let mesh = Mesh::new();
    let broker = started(&mesh).await;
    let declared = declare(&mesh, &broker, refusing("chưa có chỉ đạo", "")).await.unwrap();
    let (refusal, dispute) = (declared.refusal.unwrap(), declared.dispute.unwrap());
    assert_eq!(refusal.state(), RefusalState::Unjustified);
    assert!(refusal.judgement.contains("R-05") && refusal.rights.is_empty(), "{refusal:?}");
    assert_eq!(dispute.cause(), DisputeCause::UnjustifiedRefusal);
    assert_eq!(broker.epoch(), 2, "no right changes");

    let seen = soon(client(&mesh, &broker, &mesh.h26).list_refusals(ListRefusalsRequest::default())).await;
    assert_eq!(seen.unwrap().into_inner().refusals.len(), 1);
    let answer =
        AnswerDisputeRequest { name: dispute.name.clone(), text: "chúng tôi cần dữ liệu".to_owned() };
    let answered = soon(client(&mesh, &broker, &mesh.h26_system).answer_dispute(answer)).await.unwrap();
    assert_eq!(answered.into_inner().dispute.unwrap().events.len(), 2);
    // Nobody else sees it, and nobody but the operator decides it.
    let open = ListDisputesRequest { open_only: true, ..ListDisputesRequest::default() };
    let strangers = soon(client(&mesh, &broker, &mesh.outsider).list_disputes(open.clone())).await.unwrap();
    assert!(strangers.into_inner().disputes.is_empty());
    let mut officer = client(&mesh, &broker, &mesh.officer);
    let seen = soon(officer.list_disputes(open.clone())).await.unwrap().into_inner().disputes.remove(0);
    let decide = |outcome: DisputeOutcome, etag: &str| DecideDisputeRequest {
        name: dispute.name.clone(),
        outcome: outcome.into(),
        text: "không có căn cứ".to_owned(),
        etag: etag.to_owned(),
    };
    let stale = soon(officer.decide_dispute(decide(DisputeOutcome::Unjustified, &dispute.etag))).await;
    assert_eq!(stale.unwrap_err().code(), Code::Aborted);
    let by_node =
        soon(client(&mesh, &broker, &mesh.g01).decide_dispute(decide(DisputeOutcome::Upheld, ""))).await;
    assert_eq!(by_node.unwrap_err().code(), Code::PermissionDenied);
    soon(officer.decide_dispute(decide(DisputeOutcome::Unjustified, &seen.etag))).await.unwrap();
    assert!(soon(officer.list_disputes(open)).await.unwrap().into_inner().disputes.is_empty());
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_suspension_ends_by_itself_and_an_overturned_one_at_once() {
    let mesh = Mesh::new();
    let broker = started(&mesh).await;
    let mut provider = Watcher::new(&mesh, &broker, &mesh.g01).await;
    provider.snapshot().await;
    let until = DeclareRefusalRequest {
        expected_restore_time: Some(later(2)),
        purpose: Purpose::AdminProcedure.into(),
        ..refusing("OVERLOAD", BASIS)
    };
    declare(&mesh, &broker, until).await.unwrap();
    assert_eq!(suspended(&provider.snapshot().await.0).len(), 1, "only that purpose");
    assert!(suspended(&provider.snapshot().await.0).is_empty(), "its time is over");

    let dispute = declare(&mesh, &broker, refusing("OVERLOAD", BASIS)).await.unwrap().dispute.unwrap();
    assert_eq!(suspended(&provider.snapshot().await.0).len(), 2);
    let decide = DecideDisputeRequest {
        name: dispute.name,
        outcome: DisputeOutcome::Overturned.into(),
        text: "hệ thống không quá tải".to_owned(),
        etag: dispute.etag,
    };
    soon(client(&mesh, &broker, &mesh.officer).decide_dispute(decide)).await.unwrap();
    assert!(suspended(&provider.snapshot().await.0).is_empty());
    let all = soon(client(&mesh, &broker, &mesh.officer).list_refusals(ListRefusalsRequest::default())).await;
    let states: Vec<_> = all.unwrap().into_inner().refusals.iter().map(Refusal::state).collect();
    assert_eq!(states, [RefusalState::Expired, RefusalState::Overturned]);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn only_what_the_catalog_entitles_can_be_refused() {
    let mesh = Mesh::new();
    let broker = started(&mesh).await;
    for request in [
        DeclareRefusalRequest { consumer: "9900000099".to_owned(), ..refusing("OVERLOAD", BASIS) },
        DeclareRefusalRequest { dataset: "bhyt.the".to_owned(), ..refusing("OVERLOAD", BASIS) },
        DeclareRefusalRequest { purpose: Purpose::Statistics.into(), ..refusing("OVERLOAD", BASIS) },
    ] {
        let refused = declare(&mesh, &broker, request).await.unwrap_err();
        assert!(refused.message().contains("nothing to refuse"), "{refused}");
    }
    let number = DeclareRefusalRequest { evidence: "999190000001".to_owned(), ..refusing("OVERLOAD", BASIS) };
    let refused = declare(&mesh, &broker, number).await.unwrap_err();
    assert!(refused.message().contains("12 digits"), "{refused}");
    let operator = client(&mesh, &broker, &mesh.officer).declare_refusal(refusing("OVERLOAD", BASIS)).await;
    assert_eq!(operator.unwrap_err().code(), Code::PermissionDenied, "a refusal is its provider's act");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn outages_are_announced_and_requests_answered() {
    let mesh = Mesh::new();
    let broker = started(&mesh).await;
    let outage = AnnounceOutageRequest {
        start_time: Some(later(3_600)),
        expected_end_time: Some(later(7_200)),
        note: "nâng cấp".to_owned(),
        datasets: vec![DATASET.to_owned()],
        ..AnnounceOutageRequest::default()
    };
    let announced = soon(client(&mesh, &broker, &mesh.g01).announce_outage(outage.clone())).await.unwrap();
    assert!(announced.into_inner().outage.unwrap().short_notice);
    let unknown = AnnounceOutageRequest { datasets: vec!["khong.co".to_owned()], ..outage };
    let refused = soon(client(&mesh, &broker, &mesh.g01).announce_outage(unknown)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let ask = CreateConnectionRequestRequest {
        system: "agencies/H26.90/systems/mot-cua".to_owned(),
        provider: "G01".to_owned(),
        dataset: DATASET.to_owned(),
        fields: vec!["que_quan".to_owned()],
        purpose: Purpose::PublicService.into(),
        use_plan: "cấp thẻ".to_owned(),
        legal_basis: "194/2025/NĐ-CP".to_owned(),
        ..CreateConnectionRequestRequest::default()
    };
    let foreign = soon(client(&mesh, &broker, &mesh.g01).create_connection_request(ask.clone())).await;
    assert_eq!(foreign.unwrap_err().code(), Code::InvalidArgument, "another agency's system");
    let asked = soon(client(&mesh, &broker, &mesh.h26).create_connection_request(ask)).await.unwrap();
    let asked = asked.into_inner().connection_request.unwrap();
    let answer = |accepted: bool, etag: &str| AnswerConnectionRequestRequest {
        name: asked.name.clone(),
        accepted,
        etag: etag.to_owned(),
        ..AnswerConnectionRequestRequest::default()
    };
    let own =
        soon(client(&mesh, &broker, &mesh.h26).answer_connection_request(answer(true, &asked.etag))).await;
    assert_eq!(own.unwrap_err().code(), Code::NotFound, "nobody grants himself");
    let mut g01 = client(&mesh, &broker, &mesh.g01);
    let bare = soon(g01.answer_connection_request(answer(false, &asked.etag))).await.unwrap_err();
    assert!(bare.message().contains("legal basis"), "{bare}");
    soon(g01.answer_connection_request(answer(true, &asked.etag))).await.unwrap();
    let all = soon(g01.list_connection_requests(ListConnectionRequestsRequest::default())).await.unwrap();
    assert_eq!(all.into_inner().connection_requests[0].state(), ConnectionRequestState::Accepted);
    soon(broker.stop()).await.unwrap();
}
