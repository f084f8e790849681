//! A console asks for people who have proved themselves to it, over real TLS: what they may do, it may for them, and nothing
//! else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::time::Duration;

use lienthong_audit::record;
use lienthong_broker::config::OfficerConfig;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_certs::files;
use lienthong_certs::judge::RevocationReason;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::search_service_client::SearchServiceClient;
use lienthong_proto::lienthong::audit::v1::{LogAccess, RecordFilter, SearchRecordsRequest, record::Body};
use lienthong_proto::lienthong::control::v1::mesh_status_service_client::MeshStatusServiceClient;
use lienthong_proto::lienthong::control::v1::{
    GetMeshStatusRequest, ListNodeStatesRequest, WhoAmIRequest, WhoAmIResponse,
};
use lienthong_transport::peer::PERSON_KEY;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use common::{Mesh, soon};

struct House {
    mesh: Mesh,
    console: Issued,
    auditor: Issued,
    officer: Issued,
    steward: Issued,
    head: Issued,
}

impl House {
    fn new() -> House {
        let mesh = Mesh::new();
        let console = mesh.pki.issue_system("G01.90", "DEMO – Vận hành", "console").unwrap();
        let auditor = mesh.pki.issue_person("G01.90", "Lê Thị Kiểm", "kiem-toan").unwrap();
        let officer = mesh.pki.issue_person("H26.90", "Phạm Văn An", "an-ninh").unwrap();
        let steward = mesh.pki.issue_person("G01.90", "Đỗ Văn Mục", "danh-muc").unwrap();
        let head = mesh.pki.issue_person("H26.90", "Vũ Thị Trưởng", "thu-truong").unwrap();
        House { mesh, console, auditor, officer, steward, head }
    }

    fn config(&self) -> BrokerConfig {
        BrokerConfig {
            auditors: vec![self.auditor.certificate.clone()],
            officers: vec![OfficerConfig {
                certificate: self.officer.certificate.clone(),
                agency: "H26.90".to_owned(),
            }],
            stewards: vec![self.steward.certificate.clone()],
            heads: vec![OfficerConfig {
                certificate: self.head.certificate.clone(),
                agency: "H26.90".to_owned(),
            }],
            consoles: vec![self.console.certificate.clone()],
            ..self.mesh.config()
        }
    }

    async fn who(
        &self,
        broker: &Broker,
        caller: &Issued,
        person: &[&Issued],
    ) -> Result<WhoAmIResponse, Status> {
        let mut status = MeshStatusServiceClient::new(self.mesh.line(broker, caller));
        soon(status.who_am_i(speaking(WhoAmIRequest {}, person))).await.map(tonic::Response::into_inner)
    }
}

/// A question for these people: more than one is an attack.
fn speaking<T>(message: T, people: &[&Issued]) -> Request<T> {
    let mut request = Request::new(message);
    for person in people {
        for der in files::certificates(&person.certificate).unwrap() {
            request.metadata_mut().append_bin(PERSON_KEY, MetadataValue::from_bytes(&der));
        }
    }
    request
}

fn everything() -> SearchRecordsRequest {
    SearchRecordsRequest { filter: Some(RecordFilter::default()), ..SearchRecordsRequest::default() }
}

#[tokio::test]
async fn a_console_is_whoever_it_speaks_for_and_the_record_names_both() {
    let house = House::new();
    let broker = Broker::start(house.config()).await.unwrap();

    let itself = house.who(&broker, &house.console, &[]).await.unwrap();
    assert_eq!((itself.role.as_str(), itself.console.as_str()), ("console", ""));
    let auditor = house.who(&broker, &house.console, &[&house.auditor]).await.unwrap();
    assert_eq!((auditor.role.as_str(), auditor.agency.as_str()), ("auditor", ""));
    assert_eq!(auditor.console, itself.name);
    let officer = house.who(&broker, &house.console, &[&house.officer]).await.unwrap();
    assert_eq!((officer.role.as_str(), officer.agency.as_str()), ("officer", "H26.90"));
    assert!(!officer.agency_name_vi.is_empty());

    let steward = house.who(&broker, &house.console, &[&house.steward]).await.unwrap();
    assert_eq!((steward.role.as_str(), steward.agency.as_str()), ("steward", ""));
    let head = house.who(&broker, &house.console, &[&house.head]).await.unwrap();
    assert_eq!((head.role.as_str(), head.agency.as_str()), ("head", "H26.90"));
    // Neither sees the log.
    for person in [&house.steward, &house.head] {
        let mut search = SearchServiceClient::new(house.mesh.line(&broker, &house.console));
        let refused = soon(search.search_records(speaking(everything(), &[person]))).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }

    // What the officer may not, the console may not for him.
    let mut status = MeshStatusServiceClient::new(house.mesh.line(&broker, &house.console));
    let refused = soon(status.get_mesh_status(speaking(GetMeshStatusRequest {}, &[&house.officer]))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let mesh = soon(status.get_mesh_status(speaking(GetMeshStatusRequest {}, &[&house.auditor]))).await;
    let mesh = mesh.unwrap().into_inner();
    assert_eq!((mesh.epoch, mesh.trust_version), (broker.epoch(), 1));
    assert!(mesh.nodes >= 2 && mesh.nodes_connected == 0 && !mesh.checkpoint.is_empty());

    // By itself it may do nothing.
    let mut search = SearchServiceClient::new(house.mesh.line(&broker, &house.console));
    let alone = soon(search.search_records(Request::new(everything()))).await.unwrap_err();
    assert_eq!(alone.code(), Code::PermissionDenied);
    soon(search.search_records(speaking(everything(), &[&house.auditor]))).await.unwrap();
    let asked = RecordFilter { kind: "access".to_owned(), ..RecordFilter::default() };
    let asked = SearchRecordsRequest { filter: Some(asked), ..SearchRecordsRequest::default() };
    let access = soon(async {
        loop {
            // The log is published once a second; the question before is found once it is in it.
            let found = search.search_records(speaking(asked.clone(), &[&house.auditor])).await.unwrap();
            let oldest = found.into_inner().records.pop();
            if let Some(found) = oldest
                && let Some(Body::LogAccess(access)) = record::decode(&found.entry).unwrap().body
            {
                break access;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let access: LogAccess = access.await;
    assert_eq!((access.actor, access.via), (auditor.name, itself.name));
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn only_a_console_speaks_for_others_and_only_for_people() {
    let house = House::new();
    let broker = Broker::start(house.config()).await.unwrap();
    let speakers = [&house.auditor, &house.mesh.g01, &house.mesh.h26_system, &house.mesh.unbound];
    for speaker in speakers {
        let refused = house.who(&broker, speaker, &[&house.auditor]).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let spoken = [&house.mesh.g01, &house.mesh.h26_system, &house.mesh.unbound, &house.console];
    for person in spoken {
        let refused = house.who(&broker, &house.console, &[person]).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let many = [&house.auditor; 6];
    assert_eq!(house.who(&broker, &house.console, &many).await.unwrap_err().code(), Code::PermissionDenied);
    let mut request = Request::new(WhoAmIRequest {});
    request.metadata_mut().insert_bin(PERSON_KEY, MetadataValue::from_bytes(b"rubbish"));
    let mut status = MeshStatusServiceClient::new(house.mesh.line(&broker, &house.console));
    assert_eq!(soon(status.who_am_i(request)).await.unwrap_err().code(), Code::PermissionDenied);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn whoever_is_revoked_is_nobody_behind_a_console_too() {
    let house = House::new();
    let broker = Broker::start(house.config()).await.unwrap();
    house.who(&broker, &house.console, &[&house.auditor]).await.unwrap();
    let auditor = house.auditor.credentials().unwrap();
    house.mesh.pki.revoke(auditor.certificate().binding(), RevocationReason::Unspecified).unwrap();
    broker.reload().await.unwrap();
    let refused = house.who(&broker, &house.console, &[&house.auditor]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    house.who(&broker, &house.console, &[&house.officer]).await.unwrap();
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn every_node_of_the_registry_is_listed_connected_or_not() {
    let house = House::new();
    let broker = Broker::start(house.config()).await.unwrap();
    let mut status = MeshStatusServiceClient::new(house.mesh.line(&broker, &house.auditor));
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListNodeStatesRequest { page_size: 1, page_token };
        let page = soon(status.list_node_states(request)).await.unwrap().into_inner();
        assert!(page.nodes.iter().all(|node| !node.connected && node.certificate_not_after.is_none()));
        names.extend(page.nodes.into_iter().map(|node| node.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(names.iter().any(|name| name == common::G01) && names.is_sorted(), "{names:?}");
    soon(broker.stop()).await.unwrap();
}
