//! Enrollment over real TLS: from token to binding, each misuse refused, and nothing lost when the process is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::time::Duration;

use common::process::Process;
use common::watcher::Watcher;
use common::{Line, Listening, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_broker::enrollment::{describe, expected};
use lienthong_certs::pki::{Holder, Issued, Request};
use lienthong_certs::{Branch, DevPki, renewal};
use lienthong_proto::lienthong::audit::v1::Record;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::registry::v1::enrollment_service_client::EnrollmentServiceClient;
use lienthong_proto::lienthong::registry::v1::{
    ApproveEnrollmentRequest, CreateTokenRequest, EnrollRequest, Enrollment, EnrollmentState as State,
    GetEnrollmentRequest, ListAgenciesRequest, ListEnrollmentsRequest, ListNoticesRequest, Notice,
    NoticeKind, RejectEnrollmentRequest, RenewCertificateRequest, UnbindEnrollmentRequest,
};
use prost::Message as _;
use tonic::{Code, Status};

const NEW: &str = "agencies/G24/nodes/n1";

fn client(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> EnrollmentServiceClient<Line> {
    EnrollmentServiceClient::new(mesh.line(broker, who))
}

async fn offer(mesh: &Mesh, broker: &impl Listening, holder: &str, who: &Issued) -> Result<String, Status> {
    let expected = expected(who.credentials().unwrap().certificate());
    let request =
        CreateTokenRequest { holder: holder.to_owned(), expected: Some(expected), valid_seconds: 60 };
    let created = soon(client(mesh, broker, &mesh.officer).create_token(request)).await?.into_inner();
    Ok(created.token)
}

/// A token that has expired: its enrollment says so.
async fn expired(mesh: &Mesh, broker: &impl Listening, holder: &str, who: &Issued) -> String {
    let expected = expected(who.credentials().unwrap().certificate());
    let request =
        CreateTokenRequest { holder: holder.to_owned(), expected: Some(expected), valid_seconds: 1 };
    let mut officers = client(mesh, broker, &mesh.officer);
    let created = soon(officers.create_token(request)).await.unwrap().into_inner();
    let name = created.enrollment.unwrap().name;
    soon(async {
        loop {
            let get = GetEnrollmentRequest { name: name.clone() };
            let one = officers.get_enrollment(get).await.unwrap().into_inner().enrollment.unwrap();
            if one.state() == State::Expired {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    created.token
}

async fn enroll(
    mesh: &Mesh,
    broker: &impl Listening,
    token: &str,
    who: &Issued,
) -> Result<Enrollment, Status> {
    let request = EnrollRequest {
        token: token.to_owned(),
        address: "127.0.0.1:7999".to_owned(),
        server_name: "localhost".to_owned(),
    };
    let enrolled = soon(client(mesh, broker, who).enroll(request)).await?.into_inner();
    Ok(enrolled.enrollment.unwrap())
}

async fn approve(
    mesh: &Mesh,
    broker: &impl Listening,
    by: &Issued,
    one: &Enrollment,
) -> Result<Enrollment, Status> {
    let fingerprint = one.certificate.as_ref().unwrap().fingerprint.clone();
    let request = ApproveEnrollmentRequest { name: one.name.clone(), fingerprint };
    Ok(soon(client(mesh, broker, by).approve_enrollment(request)).await?.into_inner().enrollment.unwrap())
}

fn acts(mesh: &Mesh) -> Vec<String> {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let acts = entries.iter().filter_map(|entry| match Record::decode(entry.as_slice()).unwrap().body {
        Some(Body::Administration(act)) if act.action.starts_with("enrollment.") => Some(act.action),
        _ => None,
    });
    acts.collect()
}

#[tokio::test]
async fn a_new_node_comes_in_with_four_eyes_and_goes_out_at_once() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let stranger = client(&mesh, &broker, &mesh.unbound);

    let token = offer(&mesh, &broker, NEW, &mesh.unbound).await.unwrap();
    let waiting = enroll(&mesh, &broker, &token, &mesh.unbound).await.unwrap();
    assert_eq!((waiting.state(), waiting.holder.as_str()), (State::Waiting, NEW));
    let again = enroll(&mesh, &broker, &token, &mesh.unbound).await.unwrap();
    assert_eq!(again, waiting, "the same again gets the same answer");
    let get = GetEnrollmentRequest { name: waiting.name.clone() };
    let seen = soon(stranger.clone().get_enrollment(get.clone())).await.unwrap().into_inner();
    assert_eq!(seen.enrollment.as_ref(), Some(&waiting));
    let own = GetEnrollmentRequest { name: "enrollments/-".to_owned() };
    let seen = soon(stranger.clone().get_enrollment(own.clone())).await.unwrap().into_inner();
    assert_eq!(seen.enrollment.as_ref(), Some(&waiting), "whose certificate it is need not know its name");
    let nobody = soon(client(&mesh, &broker, &mesh.g01).get_enrollment(own)).await.unwrap_err();
    assert!(nobody.message().contains("registry file"), "{nobody}");
    let of_another = soon(client(&mesh, &broker, &mesh.g01).get_enrollment(get)).await.unwrap_err();
    assert_eq!(of_another.code(), Code::NotFound, "{of_another}");

    let alone = approve(&mesh, &broker, &mesh.officer, &waiting).await.unwrap_err();
    assert!(alone.code() == Code::PermissionDenied && alone.message().contains("four eyes"), "{alone}");
    let before = broker.epoch();
    let active = approve(&mesh, &broker, &mesh.second_officer, &waiting).await.unwrap();
    assert!(active.state() == State::Active && active.epoch > before, "{active:?}");

    let mut watcher = Watcher::new(&mesh, &broker, &mesh.unbound).await;
    let (bundle, _) = watcher.snapshot().await;
    assert_eq!((bundle.audience.as_str(), bundle.epoch), (NEW, active.epoch));
    let own = bundle.nodes.iter().find(|node| node.name == NEW).unwrap();
    assert_eq!((own.address.as_str(), own.server_name.as_str()), ("127.0.0.1:7999", "localhost"));

    let reason = "key device lost".to_owned();
    let unbind = UnbindEnrollmentRequest { name: active.name.clone(), reason };
    let officers = client(&mesh, &broker, &mesh.officer);
    soon(officers.clone().unbind_enrollment(unbind)).await.unwrap();
    watcher.refusal().await;
    let request = ListAgenciesRequest::default();
    let outside = soon(mesh.registry(&broker, &mesh.unbound).list_agencies(request)).await.unwrap_err();
    assert_eq!(outside.code(), Code::PermissionDenied, "{outside}");

    let all = soon(officers.clone().list_enrollments(ListEnrollmentsRequest::default())).await.unwrap();
    assert_eq!(all.into_inner().enrollments[0].state(), State::Unbound);
    soon(broker.stop()).await.unwrap();
    assert_eq!(
        acts(&mesh),
        ["enrollment.offer", "enrollment.enroll", "enrollment.approve", "enrollment.unbind"]
    );
}

#[tokio::test]
async fn an_unbound_certificate_reaches_nothing_but_its_enrollment() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut stranger = client(&mesh, &broker, &mesh.unbound);
    let list = soon(stranger.list_enrollments(ListEnrollmentsRequest::default())).await.unwrap_err();
    assert_eq!(list.code(), Code::PermissionDenied);
    let create = soon(stranger.create_token(CreateTokenRequest::default())).await.unwrap_err();
    assert_eq!(create.code(), Code::PermissionDenied);
    let renew = soon(stranger.renew_certificate(RenewCertificateRequest::default())).await.unwrap_err();
    assert_eq!(renew.code(), Code::PermissionDenied);
    let guess = enroll(&mesh, &broker, "lte1_x", &mesh.unbound).await.unwrap_err();
    assert_eq!(guess.code(), Code::InvalidArgument, "{guess}");
    let guess = format!("lte1_{}_{}", "0".repeat(16), "0".repeat(64));
    let guess = enroll(&mesh, &broker, &guess, &mesh.unbound).await.unwrap_err();
    assert_eq!(guess.code(), Code::PermissionDenied, "{guess}");
    // It may ask every second, and no more often.
    let mut throttled = 0;
    for _ in 0..200 {
        let request = GetEnrollmentRequest { name: "enrollments/none".to_owned() };
        let code = soon(stranger.get_enrollment(request)).await.unwrap_err().code();
        throttled += u32::from(code == Code::ResourceExhausted);
    }
    assert!(throttled >= 40, "{throttled}");
    let declared = enroll(&mesh, &broker, "x", &mesh.g01).await.unwrap_err();
    assert_eq!(declared.code(), Code::InvalidArgument, "others are not held up: {declared}");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_token_is_refused_for_whatever_it_was_not_made_for() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let refused = |holder: &'static str| {
        let (mesh, broker) = (&mesh, &broker);
        async move { offer(mesh, broker, holder, &mesh.unbound).await.unwrap_err() }
    };
    let unknown = refused("agencies/X99/nodes/n1").await;
    assert!(unknown.message().contains("catalog"), "{unknown}");
    let declared = refused("agencies/G01/nodes/n1").await;
    assert!(declared.message().contains("registry file"), "{declared}");
    let system = refused("agencies/G24/systems/none").await;
    assert!(system.message().contains("R-31"), "{system}");
    assert_eq!(refused("agencies/G24").await.code(), Code::InvalidArgument);

    let late = expired(&mesh, &broker, NEW, &mesh.unbound).await;
    let late = enroll(&mesh, &broker, &late, &mesh.unbound).await.unwrap_err();
    assert!(late.message().contains("expired"), "{late}");
    let token = offer(&mesh, &broker, NEW, &mesh.unbound).await.unwrap();
    let twice = refused(NEW).await;
    assert!(twice.message().contains("already"), "{twice}");
    // Of another agency, of another subject, and bound to somebody: each a wrong try, on record.
    let other = mesh.pki.issue_node("G24", "DEMO – Cơ quan thử", "n2", &["localhost"]).unwrap();
    for wrong in [&mesh.g01, &other] {
        let error = enroll(&mesh, &broker, &token, wrong).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied, "{error}");
    }
    let waiting = enroll(&mesh, &broker, &token, &mesh.unbound).await.unwrap();
    let spent = enroll(&mesh, &broker, &token, &other).await.unwrap_err();
    assert!(spent.message().contains("used already"), "{spent}");

    let reject = RejectEnrollmentRequest { name: waiting.name.clone(), reason: "not ours".to_owned() };
    let mut officers = client(&mesh, &broker, &mesh.officer);
    soon(officers.reject_enrollment(reject)).await.unwrap();
    let ended = enroll(&mesh, &broker, &token, &mesh.unbound).await.unwrap_err();
    assert!(ended.message().contains("ended"), "{ended}");
    let late = approve(&mesh, &broker, &mesh.second_officer, &waiting).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    soon(broker.stop()).await.unwrap();
    let wrong = acts(&mesh).iter().filter(|act| *act == "enrollment.wrong-try").count();
    assert_eq!(wrong, 2);
}

/// A public authority vouches for parties outside the political system: the operator may expect such a certificate, and it
/// still stands for no agency.
#[tokio::test]
async fn a_certificate_of_a_public_authority_is_not_enrolled_for_an_agency() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let holder = Holder::Node {
        agency_code: "G24".to_owned(),
        agency_name: "DEMO – Cơ quan thử".to_owned(),
        node_id: "cong-cong".to_owned(),
    };
    let request = Request::new(holder).with_dns_names(&["localhost"]).with_branch(Branch::Public);
    let public = mesh.pki.issue(&request).unwrap();
    let token = offer(&mesh, &broker, NEW, &public).await.unwrap();
    let refused = enroll(&mesh, &broker, &token, &public).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("R-39"), "{refused}");
    soon(broker.stop()).await.unwrap();
    assert_eq!(acts(&mesh).last().map(String::as_str), Some("enrollment.wrong-try"));
}

#[tokio::test]
async fn a_certificate_is_renewed_by_the_one_before_it() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let token = offer(&mesh, &broker, NEW, &mesh.unbound).await.unwrap();
    let waiting = enroll(&mesh, &broker, &token, &mesh.unbound).await.unwrap();
    let active = approve(&mesh, &broker, &mesh.second_officer, &waiting).await.unwrap();

    let next = issued_again(&mesh, &mesh.unbound);
    let present = mesh.unbound.credentials().unwrap();
    let credentials = next.credentials().unwrap();
    let request = |signed_by: &lienthong_certs::Credentials, enrollment: &str| {
        let statement = renewal::statement(
            common::MESH,
            enrollment,
            &present.certificate().fingerprint(),
            &credentials.certificate().fingerprint(),
        );
        RenewCertificateRequest {
            chain: credentials.chain().iter().map(|der| der.to_vec()).collect(),
            signature: signed_by.signer().sign(&statement).unwrap(),
        }
    };
    let mut node = client(&mesh, &broker, &mesh.unbound);
    let unsigned = soon(node.renew_certificate(request(&present, &active.name))).await.unwrap_err();
    assert!(unsigned.message().contains("has not signed"), "{unsigned}");
    let other = soon(node.renew_certificate(request(&credentials, "enrollments/1"))).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied, "{other}");
    let declared =
        client(&mesh, &broker, &mesh.g01).renew_certificate(request(&credentials, &active.name)).await;
    assert!(declared.unwrap_err().message().contains("registry file"));

    let renewed =
        soon(node.renew_certificate(request(&credentials, &active.name))).await.unwrap().into_inner();
    let renewed = renewed.enrollment.unwrap();
    assert_eq!(renewed.certificate, Some(describe(credentials.certificate())));
    assert_eq!(renewed.previous_certificate, Some(describe(present.certificate())));
    // Both are the node, so that nothing fails while it changes over.
    for who in [&mesh.unbound, &next] {
        let mut watcher = Watcher::new(&mesh, &broker, who).await;
        assert_eq!(watcher.snapshot().await.0.audience, NEW);
    }
    // The contact is told who renewed; the operator hears of all, others of their own agency.
    for who in [&mesh.officer, &mesh.unbound, &next] {
        let told = notices(&mesh, &broker, who).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].kind(), told[0].holder.as_str()), (NoticeKind::Renewed, NEW));
        assert_eq!(told[0].certificate, Some(describe(credentials.certificate())));
        assert!(told[0].contact.as_ref().is_some_and(|contact| !contact.email.is_empty()), "{told:?}");
    }
    assert_eq!(notices(&mesh, &broker, &mesh.g01).await, []);
    soon(broker.stop()).await.unwrap();
    assert_eq!(acts(&mesh).last().map(String::as_str), Some("enrollment.renew"));
}

async fn notices(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> Vec<Notice> {
    let request = ListNoticesRequest::default();
    soon(client(mesh, broker, who).list_notices(request)).await.unwrap().into_inner().notices
}

/// A certificate of the same name by the same authority: issued by the same PKI once the first one's files are put away.
fn issued_again(mesh: &Mesh, before: &Issued) -> Issued {
    let aside = mesh.path("aside");
    fs::create_dir_all(&aside).unwrap();
    let (old_certificate, old_key) = (aside.join("old.crt"), aside.join("old.key"));
    fs::rename(&before.certificate, &old_certificate).unwrap();
    fs::rename(&before.key, &old_key).unwrap();
    let holder = Holder::Node {
        agency_code: "G24".to_owned(),
        agency_name: "DEMO – Cơ quan thử".to_owned(),
        node_id: "n1".to_owned(),
    };
    let pki = DevPki::open(&mesh.path("pki")).unwrap();
    let again = pki.issue(&Request::new(holder).with_dns_names(&["localhost"])).unwrap();
    let (certificate, key) = (aside.join("new.crt"), aside.join("new.key"));
    fs::rename(&again.certificate, &certificate).unwrap();
    fs::rename(&again.key, &key).unwrap();
    fs::rename(&old_certificate, &before.certificate).unwrap();
    fs::rename(&old_key, &before.key).unwrap();
    Issued { certificate, key, ..again }
}

/// The child of the kill tests.
#[tokio::test]
async fn child() {
    common::process::child().await;
}

#[tokio::test]
async fn what_was_answered_outlives_a_kill_at_every_step() {
    let mesh = Mesh::new();
    let config = common::process::config_file(&mesh);
    let (process, address) = Process::start(&config).await;
    let token = offer(&mesh, &address, NEW, &mesh.unbound).await.unwrap();
    drop(process);

    let (process, address) = Process::start(&config).await;
    let waiting = enroll(&mesh, &address, &token, &mesh.unbound).await.unwrap();
    drop(process);

    let (process, address) = Process::start(&config).await;
    let other = mesh.pki.issue_node("G24", "DEMO – Cơ quan thử", "n2", &["localhost"]).unwrap();
    let spent = enroll(&mesh, &address, &token, &other).await.unwrap_err();
    assert_eq!(spent.code(), Code::PermissionDenied, "single use outlives the kill: {spent}");
    let active = approve(&mesh, &address, &mesh.second_officer, &waiting).await.unwrap();
    drop(process);

    let (process, address) = Process::start(&config).await;
    let mut watcher = Watcher::new(&mesh, &address, &mesh.unbound).await;
    let (bundle, _) = watcher.snapshot().await;
    assert_eq!((bundle.audience.as_str(), bundle.epoch), (NEW, active.epoch), "the same epoch again");
    drop(process);
}
