//! Invariants refuse changes; decisions are asked about: who can, what if, why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;

use common::journal::{Journal, Shipper};
use common::{G01, Mesh, soon};
use lienthong_broker::config::OfficerConfig;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_certs::pki::Issued;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Denial, Exchange, Side};
use lienthong_proto::lienthong::catalog::v1::decision_service_client::DecisionServiceClient;
use lienthong_proto::lienthong::catalog::v1::{
    Call, CatalogFile, ExplainRequest, WhatIfRequest, WhoCanRequest,
};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::PublishContractRequest;
use tonic::Code;

type Client = DecisionServiceClient<common::Line>;

fn decisions(mesh: &Mesh, broker: &Broker, who: &Issued) -> Client {
    DecisionServiceClient::new(mesh.line(broker, who)).max_decoding_message_size(64 << 20)
}

async fn publish(mesh: &Mesh, broker: &Broker) {
    let request = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    soon(mesh.registry(broker, &mesh.g01).publish_contract(request)).await.unwrap();
}

const CALL: &str = "/vn.dancu.v1.CitizenService/GetCitizen";

fn call(purpose: Purpose) -> Call {
    Call {
        consumer: "H26.90".to_owned(),
        method: CALL.to_owned(),
        purpose: purpose.into(),
        dossier: "H26.90-261121-0001".to_owned(),
        ..Call::default()
    }
}

#[tokio::test]
async fn a_change_that_breaks_an_invariant_is_refused() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    publish(&mesh, &broker).await;
    let epoch = broker.epoch();
    let invariant = "invariants:\n  - id: IV-0001\n    name_vi: Thử\n    policy: 'forbid (principal in Agency::\"H29\", action, resource in Dataset::\"dancu\");'\n";
    let path = mesh.catalog_dir().join("invariants.yaml");
    fs::write(&path, invariant).unwrap();
    mesh.approve();
    let error = broker.reload().await.unwrap_err().to_string();
    for part in ["IV-0001", "CE-0001", "CE-0001/H29/ADMIN_PROCEDURE"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(broker.reload().await.is_err(), "what was refused once is refused again");
    assert_eq!(broker.epoch(), epoch, "nothing changed");
    fs::write(&path, invariant.replace("H29", "D90")).unwrap();
    mesh.approve();
    broker.reload().await.unwrap();
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn who_can_and_what_if_are_answered() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    publish(&mesh, &broker).await;
    let mut operator = decisions(&mesh, &broker, &mesh.officer);
    let who = |provider: &str| WhoCanRequest {
        dataset: "dancu.cong_dan".to_owned(),
        provider: provider.to_owned(),
        field: "ngay_sinh".to_owned(),
        page_size: 1_000,
        ..WhoCanRequest::default()
    };
    let readers = soon(operator.who_can(who(""))).await.unwrap().into_inner().readers;
    assert!(readers.iter().any(|reader| reader.right == "CE-0001/H26.90/STATE_MANAGEMENT"), "{readers:?}");
    assert!(!readers.iter().any(|reader| reader.right == "CE-0001/H26.90/ADMIN_PROCEDURE"));
    let own = soon(decisions(&mesh, &broker, &mesh.g01).who_can(who(""))).await.unwrap().into_inner().readers;
    assert_eq!(own, readers, "its own data");
    let mut consumer = decisions(&mesh, &broker, &mesh.h26);
    assert!(soon(consumer.who_can(who(""))).await.unwrap().into_inner().readers.is_empty());
    assert_eq!(soon(consumer.who_can(who("G01"))).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(
        soon(consumer.what_if(WhatIfRequest::default())).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let files: Vec<CatalogFile> = fs::read_dir(mesh.catalog_dir())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            CatalogFile {
                name,
                text: text.replacen(
                    "ADMIN_PROCEDURE: [so_dinh_danh, ho_ten",
                    "ADMIN_PROCEDURE: [so_dinh_danh",
                    1,
                ),
            }
        })
        .collect();
    let calls = vec![call(Purpose::AdminProcedure), call(Purpose::Statistics)];
    let asked = WhatIfRequest { calls, files };
    let answer = soon(operator.what_if(asked.clone())).await.unwrap().into_inner();
    assert!(answer.mistakes.is_empty(), "{:?}", answer.mistakes);
    let (now, then) = (answer.judgements[0].now.clone().unwrap(), answer.judgements[0].then.clone().unwrap());
    assert_eq!(now.fields, ["ho_ten", "noi_thuong_tru", "so_dinh_danh"]);
    assert_eq!(then.fields, ["noi_thuong_tru", "so_dinh_danh"]);
    let denied = answer.judgements[1].now.clone().unwrap();
    assert_eq!((denied.permitted, denied.reason.as_str()), (false, "DENY_PURPOSE"));
    let unreadable = CatalogFile { name: "x.yaml".to_owned(), text: "entries: 7".to_owned() };
    let answer = soon(operator.what_if(WhatIfRequest { files: vec![unreadable], ..asked }))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.mistakes[0].contains("x.yaml:"), "{:?}", answer.mistakes);
    assert!(answer.judgements.iter().all(|judgement| judgement.then.is_none()));
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_decision_on_record_is_explained_to_its_parties_and_in_full_to_operator_auditor_and_officer() {
    let mesh = Mesh::new();
    let person = |code: &str, id: &str| mesh.pki.issue_person(code, "Người Mẫu", id).unwrap();
    let (auditor, party, stranger) =
        (person("G01.90", "kiem-toan"), person("H26.90", "an-toan"), person("G12", "an-toan-2"));
    let officer = |issued: &Issued, agency: &str| OfficerConfig {
        certificate: issued.certificate.clone(),
        agency: agency.to_owned(),
    };
    let config = BrokerConfig {
        auditors: vec![auditor.certificate.clone()],
        officers: vec![officer(&party, "H26.90"), officer(&stranger, "G12")],
        ..mesh.config()
    };
    let broker = Broker::start(config).await.unwrap();
    let id = uuid::Uuid::parse_str("0195f3a2-7c1e-7000-8000-000000000001").unwrap();
    let mut journal = Journal::new(G01, &mesh.g01, 1, "decisions");
    let exchange = Exchange {
        id: id.as_bytes().to_vec(),
        attempt: 1,
        side: Side::Provider.into(),
        consumer: "H26.90".to_owned(),
        provider: "G01".to_owned(),
        method: CALL.to_owned(),
        ..Exchange::default()
    };
    let denial = Denial {
        exchange: Some(exchange),
        reason: "DENY_FIELD".to_owned(),
        rule: "R-25".to_owned(),
        detail: "ngay_sinh is not granted".to_owned(),
    };
    let entry = journal.encode(Body::Denial(denial));
    let batch = journal.batch_of(vec![entry], Vec::new());
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    soon(shipper.ship(batch)).await.unwrap();

    let asked = || ExplainRequest { decision: format!("decisions/{id}") };
    // What is on record is read once its checkpoint is published, within moments.
    let told = soon(async {
        loop {
            match decisions(&mesh, &broker, &mesh.h26).explain(asked()).await {
                Ok(told) => break told.into_inner(),
                Err(error) if error.code() == Code::NotFound => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    assert_eq!(told.decision, format!("decisions/{id}/PROVIDER/1"));
    assert_eq!((told.permitted, told.reason.as_str(), told.rule.as_str()), (false, "DENY_FIELD", "R-25"));
    assert!(!told.text_vi.is_ascii() && told.inside.is_none(), "{told:?}");
    for sees_all in [&mesh.officer, &auditor, &party] {
        let full = soon(decisions(&mesh, &broker, sees_all).explain(asked())).await.unwrap().into_inner();
        assert_eq!(full.inside.unwrap().detail, "ngay_sinh is not granted");
    }
    // Whether there is such an exchange is no business of another agency's officer.
    let other = soon(decisions(&mesh, &broker, &stranger).explain(asked())).await.unwrap_err();
    assert_eq!(other.code(), Code::NotFound, "{other}");
    let unknown = ExplainRequest { decision: format!("decisions/{id}/CONSUMER") };
    let error = soon(decisions(&mesh, &broker, &mesh.h26).explain(unknown)).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    soon(broker.stop()).await.unwrap();
}
