//! Changes of the catalog over real TLS: four eyes on each, nothing half applied, nothing lost when the process is killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::time::Duration;

use common::process::{Process, config_file};
use common::watcher::Watcher;
use common::{Line, Listening, MESH, Mesh, soon};
use lienthong_approval::{approve, folder_hash};
use lienthong_audit::log::LogReader;
use lienthong_broker::service::change::parts;
use lienthong_broker::sources::read_folder;
use lienthong_broker::{Broker, BrokerError};
use lienthong_catalog::SourceFile;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::Record;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::catalog::v1::catalog_change_service_client::CatalogChangeServiceClient;
use lienthong_proto::lienthong::catalog::v1::propose_change_request::{Head, Part};
use lienthong_proto::lienthong::catalog::v1::{
    ApproveChangeRequest, Change, ChangeKind, ChangeState, GetChangeRequest, ListChangesRequest,
    ProposeChangeRequest, ProposeChangeResponse, ReadFilesRequest, RejectChangeRequest,
};
use lienthong_proto::lienthong::registry::v1::PublishContractRequest;
use prost::Message as _;
use time::OffsetDateTime;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The child of the tests that kill.
#[tokio::test]
async fn child() {
    common::process::child().await;
}

fn client(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> CatalogChangeServiceClient<Line> {
    CatalogChangeServiceClient::new(mesh.line(broker, who)).max_decoding_message_size(64 << 20)
}

/// The folder with replaced texts.
fn folder(mesh: &Mesh, edits: &[(&str, &str)]) -> Vec<SourceFile> {
    let mut files = read_folder(&mesh.catalog_dir()).unwrap();
    for (from, to) in edits {
        let file = files.iter_mut().find(|file| file.text.contains(from)).expect("the text must be there");
        file.text = file.text.replacen(from, to, 1);
    }
    files
}

/// `CE-0001` grants one field more, under its next version.
fn one_more_field(mesh: &Mesh) -> Vec<SourceFile> {
    folder(
        mesh,
        &[
            ("- id: CE-0001\n    version: 1", "- id: CE-0001\n    version: 2"),
            (
                "ADMIN_PROCEDURE: [so_dinh_danh, ho_ten, noi_thuong_tru]",
                "ADMIN_PROCEDURE: [so_dinh_danh, ho_ten, noi_thuong_tru, gioi_tinh]",
            ),
        ],
    )
}

async fn send(
    client: &mut CatalogChangeServiceClient<Line>,
    head: Head,
    files: &[SourceFile],
) -> Result<ProposeChangeResponse, Status> {
    let head = ProposeChangeRequest { part: Some(Part::Head(head)) };
    let files = parts(files).map(|part| ProposeChangeRequest { part: Some(Part::File(part)) });
    let messages: Vec<_> = std::iter::once(head).chain(files).collect();
    Ok(soon(client.propose_change(tokio_stream::iter(messages))).await?.into_inner())
}

async fn present(client: &mut CatalogChangeServiceClient<Line>) -> Vec<u8> {
    let mut stream = soon(client.read_files(ReadFilesRequest::default())).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap().unwrap().content_hash
}

fn head(base: &[u8], files: &[SourceFile]) -> Head {
    Head { base_hash: base.to_vec(), content_hash: folder_hash(files).0.to_vec(), ..Head::default() }
}

/// Proposes as `who`: asks what there is to sign, and signs it.
async fn propose(
    mesh: &Mesh,
    broker: &impl Listening,
    who: &Issued,
    files: &[SourceFile],
    request_id: &str,
) -> Result<Change, Status> {
    let mut client = client(mesh, broker, who);
    let base = present(&mut client).await;
    let checked = send(&mut client, Head { validate_only: true, ..head(&base, files) }, files).await?;
    let statement = checked.change.unwrap().approved.unwrap().statement;
    let approval = approve(&who.credentials().unwrap(), &statement, OffsetDateTime::now_utc()).unwrap();
    let request_id = request_id.to_owned();
    let signed =
        Head { approval: Some(approval), request_id, note: "thử".to_owned(), ..head(&base, files) };
    Ok(send(&mut client, signed, files).await?.change.unwrap())
}

async fn second(
    mesh: &Mesh,
    broker: &impl Listening,
    who: &Issued,
    change: &Change,
) -> Result<Change, Status> {
    let statement = &change.approved.as_ref().unwrap().statement;
    let approval = approve(&who.credentials().unwrap(), statement, OffsetDateTime::now_utc()).unwrap();
    let (name, etag) = (change.name.clone(), change.etag.clone());
    let request = ApproveChangeRequest { name, approval: Some(approval), etag };
    Ok(soon(client(mesh, broker, who).approve_change(request)).await?.into_inner().change.unwrap())
}

async fn get(mesh: &Mesh, broker: &impl Listening, name: &str) -> Change {
    let request = GetChangeRequest { name: name.to_owned() };
    soon(client(mesh, broker, &mesh.officer).get_change(request)).await.unwrap().into_inner().change.unwrap()
}

fn acts(mesh: &Mesh) -> Vec<String> {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let acts = entries.iter().filter_map(|entry| match Record::decode(entry.as_ref()).unwrap().body {
        Some(Body::Administration(act)) if act.action.starts_with("catalog.") => {
            assert_eq!(act.content_hash.len(), 32, "{act:?}");
            Some(format!("{} {}", act.action, act.resource))
        }
        _ => None,
    });
    acts.collect()
}

async fn publish(mesh: &Mesh, broker: &Broker) {
    let request = PublishContractRequest { descriptor_set: lienthong_proto::descriptors::DANCU.to_vec() };
    soon(mesh.registry(broker, &mesh.g01).publish_contract(request)).await.unwrap();
}

#[tokio::test]
async fn two_persons_change_the_catalog_and_one_does_not() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    publish(&mesh, &broker).await;
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.h26).await;
    watcher.snapshot().await;
    let files = one_more_field(&mesh);
    let change = propose(&mesh, &broker, &mesh.officer, &files, "one").await.unwrap();
    assert_eq!((change.name.as_str(), change.state()), ("changes/00000002", ChangeState::Proposed));
    assert_eq!(change.activates, ["CE-0001@2"], "only what says something else is activated");
    assert_eq!(broker.epoch(), 2, "nothing is in force yet");

    // Who proposed is not who approves, whatever he signs with; nor is a signature by another than the caller.
    let alone = second(&mesh, &broker, &mesh.officer, &change).await.unwrap_err();
    assert!(alone.code() == Code::PermissionDenied && alone.message().contains("another person"), "{alone}");
    let stale = Change { etag: "0000000000000000".to_owned(), ..change.clone() };
    assert_eq!(second(&mesh, &broker, &mesh.second_officer, &stale).await.unwrap_err().code(), Code::Aborted);
    let statement = change.approved.clone().unwrap().statement;
    let foreign =
        approve(&mesh.officer.credentials().unwrap(), &statement, OffsetDateTime::now_utc()).unwrap();
    let (name, etag) = (change.name.clone(), change.etag.clone());
    let request = ApproveChangeRequest { name, approval: Some(foreign), etag };
    let foreign =
        soon(client(&mesh, &broker, &mesh.second_officer).approve_change(request)).await.unwrap_err();
    assert_eq!(foreign.code(), Code::PermissionDenied, "{foreign}");
    let node = second(&mesh, &broker, &mesh.g01, &change).await.unwrap_err();
    assert_eq!(node.code(), Code::PermissionDenied);
    assert_eq!(broker.epoch(), 2);

    let applied = second(&mesh, &broker, &mesh.second_officer, &change).await.unwrap();
    assert_eq!((applied.state(), applied.epoch, applied.approvers.len()), (ChangeState::Applied, 3, 2));
    let (bundle, _) = watcher.snapshot().await;
    let right = bundle.rights.iter().find(|right| right.id == "CE-0001/H26.90/ADMIN_PROCEDURE").unwrap();
    assert_eq!(right.fields, ["so_dinh_danh", "ho_ten", "noi_thuong_tru", "gioi_tinh"]);
    let activations = bundle.activations.unwrap();
    assert_eq!((activations.changes.len(), activations.approvers.len()), (2, 2), "the old change counts on");
    // The answer that was lost is given again.
    let again = second(&mesh, &broker, &mesh.second_officer, &change).await.unwrap();
    assert_eq!((again.name, again.epoch), (applied.name.clone(), 3));

    soon(broker.stop()).await.unwrap();
    assert_eq!(
        acts(&mesh),
        [
            "catalog.apply changes/00000001",
            "catalog.propose changes/00000002",
            "catalog.apply changes/00000002"
        ]
    );
    // The folder of the configuration is an older one: what was approved stays.
    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 3);
    assert!(!broker.reload().await.unwrap());
    assert_eq!(present(&mut client(&mesh, &broker, &mesh.officer)).await, folder_hash(&files).0);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn what_does_not_fit_is_refused_whole() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut officer = client(&mesh, &broker, &mesh.officer);
    let base = present(&mut officer).await;
    let good = one_more_field(&mesh);
    let mut refused =
        async |head: Head, files: &[SourceFile]| send(&mut officer, head, files).await.unwrap_err();

    let wrong = refused(head(&[0; 32], &good), &good).await;
    assert_eq!(wrong.code(), Code::Aborted, "somebody else's change would be lost: {wrong}");
    let wrong = refused(Head { content_hash: vec![1; 32], ..head(&base, &good) }, &good).await;
    assert!(wrong.message().contains("another hash"), "{wrong}");
    let unchanged = folder(&mesh, &[]);
    assert_eq!(refused(head(&base, &unchanged), &unchanged).await.code(), Code::FailedPrecondition);
    let bad = folder(&mesh, &[("status: ACTIVE", "status: AKTIVE")]);
    let wrong = refused(head(&base, &bad), &bad).await;
    let lines = wrong.get_error_details();
    let line = &lines.bad_request().unwrap().field_violations[0].description;
    assert!(line.starts_with("entries.yaml:") && line.contains("AKTIVE"), "{line}");
    let same_version = folder(&mesh, &[("VERIFICATION: [\"*\"]", "VERIFICATION: [so_dinh_danh]")]);
    let wrong = refused(head(&base, &same_version), &same_version).await;
    assert!(wrong.message().contains("CE-0002") && wrong.message().contains("raise its version"), "{wrong}");
    let unsigned = refused(head(&base, &good), &good).await;
    assert!(unsigned.message().contains("not signed"), "{unsigned}");
    let outside = vec![SourceFile { name: "../a.yaml".to_owned(), text: String::new() }];
    assert_eq!(refused(head(&base, &outside), &outside).await.code(), Code::InvalidArgument);

    // A plan keeps nothing.
    let checked = Head { validate_only: true, ..head(&base, &good) };
    let planned = send(&mut officer, checked, &good).await.unwrap().plan.unwrap();
    assert_eq!((planned.objects.len(), planned.objects[0].kind()), (1, ChangeKind::Altered));
    assert_eq!(planned.objects[0].object, "entries/CE-0001");
    let listed = soon(officer.list_changes(ListChangesRequest::default())).await.unwrap().into_inner();
    assert_eq!(listed.changes.len(), 1, "only what the broker began with");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_change_that_breaks_an_invariant_is_not_even_planned() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    publish(&mesh, &broker).await;
    let policy = r#"forbid (principal in Agency::"H29", action, resource in Dataset::"dancu");"#;
    let text = format!("invariants:\n  - {{id: IV-0001, name_vi: Thử, policy: '{policy}'}}\n");
    let mut files = folder(&mesh, &[]);
    files.push(SourceFile { name: "invariants.yaml".to_owned(), text });
    for _ in 0..2 {
        let refused = propose(&mesh, &broker, &mesh.officer, &files, "").await.unwrap_err();
        assert!(refused.message().contains("breaks an invariant"), "{refused}");
        let lines = refused.get_error_details();
        let line = &lines.bad_request().unwrap().field_violations[0].description;
        assert!(line.contains("IV-0001") && line.contains("CE-0001/H29/ADMIN_PROCEDURE"), "{line}");
    }
    // One that holds is planned, approved and kept, and what is exported holds it.
    for file in &mut files {
        file.text = file.text.replace("\"H29\"", "\"D90\"");
    }
    let change = propose(&mesh, &broker, &mesh.officer, &files, "").await.unwrap();
    second(&mesh, &broker, &mesh.second_officer, &change).await.unwrap();
    let address = broker.address();
    assert!(read(&mesh, &address).await.iter().any(|file| file.text.contains("IV-0001")));
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_request_that_is_sent_again_makes_one_change_and_the_slower_one_is_overtaken() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let first = propose(&mesh, &broker, &mesh.officer, &one_more_field(&mesh), "same").await.unwrap();
    let again = propose(&mesh, &broker, &mesh.officer, &one_more_field(&mesh), "same").await.unwrap();
    assert_eq!(first.name, again.name);
    let other = folder(&mesh, &[("name_vi: Bộ Công an", "name_vi: Bộ Công an (thử)")]);
    let stolen = propose(&mesh, &broker, &mesh.second_officer, &other, "same").await.unwrap_err();
    assert_eq!(stolen.code(), Code::InvalidArgument, "the id stands for another request");
    let slower = propose(&mesh, &broker, &mesh.second_officer, &other, "other").await.unwrap();
    assert!(slower.activates.is_empty(), "an agency's name activates no entry");

    second(&mesh, &broker, &mesh.second_officer, &first).await.unwrap();
    let overtaken = get(&mesh, &broker, &slower.name).await;
    assert_eq!(overtaken.state(), ChangeState::Overtaken);
    let late = second(&mesh, &broker, &mesh.officer, &overtaken).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "{late}");
    let reject = RejectChangeRequest { name: slower.name.clone(), reason: "overtaken".to_owned() };
    soon(client(&mesh, &broker, &mesh.officer).reject_change(reject)).await.unwrap();
    assert_eq!(get(&mesh, &broker, &slower.name).await.state(), ChangeState::Rejected);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_two_persons_did_not_sign_is_no_catalog() {
    let mesh = Mesh::new();
    let approvals = mesh.catalog_dir().join("approvals.json");
    let signed = fs::read_to_string(&approvals).unwrap();
    let refused = async |text: Option<&str>| {
        match text {
            Some(text) => fs::write(&approvals, text).unwrap(),
            None => fs::remove_file(&approvals).unwrap(),
        }
        match Broker::start(mesh.config()).await {
            Err(BrokerError::Unapproved(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(None).await.contains("lacks the approvals of two persons"));
    let mut one: serde_json::Value = serde_json::from_str(&signed).unwrap();
    one["approvals"].as_array_mut().unwrap().pop();
    assert!(refused(Some(&one.to_string())).await.contains("two persons"));
    let mut twice: serde_json::Value = serde_json::from_str(&signed).unwrap();
    twice["approvals"][1] = twice["approvals"][0].clone();
    assert!(refused(Some(&twice.to_string())).await.contains("approved twice"));
    let other_mesh = signed.replace(&format!("v1\\n{MESH}"), "v1\\nother");
    assert_ne!(other_mesh, signed);
    assert!(refused(Some(&other_mesh)).await.contains("another folder, or of another mesh"));

    // Signed, then edited: at the first start it is refused, later it is left aside.
    fs::write(&approvals, &signed).unwrap();
    let broker = mesh.start().await;
    let agencies = mesh.catalog_dir().join("agencies.yaml");
    let text = fs::read_to_string(&agencies).unwrap();
    fs::write(&agencies, text.replacen("Bộ Công an", "Bộ Công an (thử)", 1)).unwrap();
    let error = broker.reload().await.unwrap_err().to_string();
    assert!(error.contains("another folder"), "{error}");
    assert_eq!(broker.epoch(), 1);
    soon(broker.stop()).await.unwrap();
    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 1, "the catalog in force goes on");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn killed_while_a_change_is_approved() {
    let mesh = Mesh::new();
    let config = config_file(&mesh);
    for (version, round) in (1..).zip(0..6_u64) {
        let (process, address) = Process::start(&config).await;
        let (from, to) = (format!("- id: CE-0001\n    version: {version}"), version + 1);
        let files = {
            let base = soon(read(&mesh, &address)).await;
            edited(base, &from, &format!("- id: CE-0001\n    version: {to}"))
        };
        let change = propose(&mesh, &address, &mesh.officer, &files, "").await.unwrap();
        let approving = second(&mesh, &address, &mesh.second_officer, &change);
        let _ = tokio::time::timeout(Duration::from_millis(round * 7), approving).await;
        drop(process);

        // Applied, or as it was: then the second person does it again.
        let (process, address) = Process::start(&config).await;
        let now = get(&mesh, &address, &change.name).await;
        match now.state() {
            ChangeState::Applied => {}
            ChangeState::Proposed => {
                second(&mesh, &address, &mesh.second_officer, &now).await.unwrap();
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(folder_hash(&read(&mesh, &address).await), folder_hash(&files));
        drop(process);
    }
}

async fn read(mesh: &Mesh, address: &std::net::SocketAddr) -> Vec<SourceFile> {
    let mut officer = client(mesh, address, &mesh.officer);
    let mut stream = soon(officer.read_files(ReadFilesRequest::default())).await.unwrap().into_inner();
    let mut files: Vec<SourceFile> = Vec::new();
    while let Some(message) = soon(stream.message()).await.unwrap() {
        let Some(part) = message.file else { continue };
        let text = String::from_utf8(part.content).unwrap();
        match files.last_mut() {
            Some(file) if file.name == part.name => file.text.push_str(&text),
            _ => files.push(SourceFile { name: part.name, text }),
        }
    }
    files
}

fn edited(mut files: Vec<SourceFile>, from: &str, to: &str) -> Vec<SourceFile> {
    let file = files.iter_mut().find(|file| file.text.contains(from)).expect("the text must be there");
    file.text = file.text.replacen(from, to, 1);
    files
}
