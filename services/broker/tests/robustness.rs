//! Bad input, bad files, bad luck: each a clear error, and the process lives on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;

use common::journal::{Journal, Shipper};
use common::watcher::Watcher;
use common::{G01, Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_broker::{Broker, BrokerConfig, check, run};
use lienthong_certs::judge::RevocationReason;
use lienthong_certs::pki::DevAuthority;
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Record, ShipJournalRequest};
use lienthong_proto::lienthong::control::v1::WatchRightsRequest;
use lienthong_proto::lienthong::registry::v1::PublishContractRequest;
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

async fn refusal(config: BrokerConfig) -> String {
    soon(Box::pin(Broker::start(config))).await.expect_err("it should not have started").to_string()
}

#[tokio::test]
async fn rubbish_on_the_port_disturbs_nobody() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.g01).await;
    watcher.snapshot().await;
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", &[0; 4096], b""] {
        let mut stream = TcpStream::connect(broker.address()).await.unwrap();
        // The broker may hang up while we are still talking.
        let _ = stream.write_all(rubbish).await;
        let _ = stream.shutdown().await;
        let _ = soon(stream.read_to_end(&mut Vec::new())).await;
    }
    // Protobuf rubbish inside a proper call ends that call only.
    let (say, said) = tokio::sync::mpsc::channel(1);
    say.send(ShipJournalRequest { event: None }).await.unwrap();
    let mut client = mesh.audit(&broker, &mesh.g01);
    let mut heard = soon(client.ship_journal(ReceiverStream::new(said))).await.unwrap().into_inner();
    assert_eq!(soon(heard.message()).await.unwrap_err().code(), Code::InvalidArgument);
    let too_large = PublishContractRequest { descriptor_set: vec![0; 3 << 20] };
    let refused = soon(mesh.registry(&broker, &mesh.g01).publish_contract(too_large)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    assert_eq!(watcher.heartbeat().await.epoch, 1);
    soon(broker.stop()).await.unwrap();
}

type Codec = tonic_prost::ProstCodec<WatchRightsRequest, WatchRightsRequest>;

#[tokio::test]
async fn an_unknown_method_is_answered_as_grpc_demands() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut client = tonic::client::Grpc::new(mesh.line(&broker, &mesh.g01));
    client.ready().await.unwrap();
    for path in ["/lienthong.registry.v1.RegistryService/DropEverything", "/no.Such/Service"] {
        let path = path.parse().unwrap();
        let request = tonic::Request::new(WatchRightsRequest::default());
        assert_eq!(
            soon(client.unary(request, path, Codec::default())).await.unwrap_err().code(),
            Code::Unimplemented
        );
    }
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn every_mistake_of_the_catalog_is_named_at_start() {
    let mesh = Mesh::new();
    mesh.edit("entries.yaml", "status: ACTIVE", "status: AKTIVE");
    mesh.edit("agencies.yaml", "bloc: GOVERNMENT", "blok: GOVERNMENT");
    let error = refusal(mesh.config()).await;
    for mistake in ["agencies.yaml:6:5: key", "blok", "AKTIVE", "entries.yaml:26:13: format"] {
        assert!(error.contains(mistake), "{mistake} is not in {error}");
    }
    assert!(!mesh.data_dir().exists(), "nothing was touched");
}

#[tokio::test]
async fn a_mistake_of_the_registry_names_file_and_certificate() {
    let mesh = Mesh::new();
    let registry = mesh.path("registry.yaml");
    let text = fs::read_to_string(&registry).unwrap();
    fs::write(&registry, text.replace("G01-n1.crt", "G01-n2.crt")).unwrap();
    let error = refusal(mesh.config()).await;
    assert!(error.contains("registry.yaml:2:") && error.contains("G01-n2.crt"), "{error}");
}

#[tokio::test]
async fn what_the_configuration_gets_wrong_is_named() {
    let mesh = Mesh::new();
    check(&mesh.config()).unwrap();
    let with = |change: &dyn Fn(&mut BrokerConfig)| {
        let mut config = mesh.config();
        change(&mut config);
        check(&config).expect_err("a mistake").to_string()
    };
    let development = with(&|config| config.development = false);
    assert!(development.contains("development"), "{development}");
    let mesh_id = with(&|config| config.mesh = "VN Test".to_owned());
    assert!(mesh_id.contains("configuration key mesh"), "{mesh_id}");
    let nobody = with(&|config| config.trust = lienthong_trust::TrustConfig::default());
    assert!(nobody.contains("cannot read"), "{nobody}");
    let log_key = with(&|config| config.log_keys.clone_from(&config.bundle_keys));
    assert!(log_key.contains("bundle.key"), "{log_key}");
    let key = with(&|config| config.key = mesh.g01.key.clone().into());
    assert!(key.contains("G01-n1.key"), "{key}");
    let in_flight = with(&|config| config.limits.batches_in_flight_max = 65);
    assert!(in_flight.contains("1 to 64"), "{in_flight}");
}

#[tokio::test]
async fn a_damaged_store_is_named() {
    let mesh = Mesh::new();
    soon(mesh.start().await.stop()).await.unwrap();
    let mut damaged = 0;
    for entry in fs::read_dir(mesh.data_dir().join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && fs::metadata(&path).unwrap().len() > 0 {
            let bytes = vec![0x5a; usize::try_from(fs::metadata(&path).unwrap().len()).unwrap()];
            fs::File::options().write(true).open(&path).unwrap().write_all(&bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let error = refusal(mesh.config()).await;
    assert!(error.contains("store"), "{error}");
}

#[tokio::test]
async fn a_log_is_never_begun_anew_beside_a_store() {
    let mesh = Mesh::new();
    soon(mesh.start().await.stop()).await.unwrap();
    fs::rename(mesh.data_dir().join("log"), mesh.path("stolen")).unwrap();
    let error = refusal(mesh.config()).await;
    assert!(error.contains("is missing") && error.contains("log"), "{error}");
    fs::create_dir(mesh.data_dir().join("log")).unwrap();
    assert!(refusal(mesh.config()).await.contains("holds no log"));
}

#[tokio::test]
async fn two_brokers_never_share_a_folder() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let error = refusal(mesh.config()).await;
    assert!(error.contains("in use"), "{error}");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_certificate_is_cut_at_reload() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    g01.snapshot().await;
    h26.snapshot().await;
    mesh.pki.revoke(&mesh.g01.binding, RevocationReason::KeyCompromise).unwrap();
    let list = fs::read(mesh.pki.crl(DevAuthority::State).unwrap()).unwrap();
    assert!(!list.is_empty());
    assert!(broker.reload().await.unwrap(), "nodes need the new list");
    g01.refusal().await;
    assert_eq!(h26.snapshot().await.0.epoch, 2);
    assert!(Watcher::open(&mesh, &broker, &mesh.g01, (0, Vec::new())).await.is_err());
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn no_other_file_holds_up_a_revocation() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    g01.snapshot().await;
    h26.snapshot().await;
    let before = broker.current_revocation();
    // Everything else is damaged at once: our certificate, the trust file, the catalog, another authority's list.
    fs::write(&mesh.broker.certificate, "half").unwrap();
    fs::write(mesh.path("mesh.trust"), "half").unwrap();
    mesh.edit("entries.yaml", "status: ACTIVE", "status: AKTIVE");
    mesh.pki.revoke(&mesh.g01.binding, RevocationReason::KeyCompromise).unwrap();
    let list = mesh.pki.crl(DevAuthority::State).unwrap();
    let others = mesh.pki.crl_files().into_iter().filter(|path| *path != list);
    let damaged: Vec<_> = others.map(|path| fs::write(&path, "half").map(|()| path).unwrap()).collect();
    assert!(!damaged.is_empty());

    let error = broker.take_files().await.unwrap_err().to_string();
    assert!(error.contains(damaged[0].to_str().unwrap()), "{error}");
    g01.refusal().await;
    let (bundle, _) = h26.snapshot().await;
    assert_eq!(
        (bundle.epoch, bundle.revocation_lists.len()),
        (2, 1 + damaged.len()),
        "the others stay in force"
    );
    let after = broker.current_revocation();
    assert_eq!(after.len(), before.len());
    assert_ne!(after, before, "heartbeats name the new list");

    let error = broker.reload().await.unwrap_err().to_string();
    for what in ["broker", "mesh.trust", "AKTIVE", damaged[0].to_str().unwrap()] {
        assert!(error.contains(what), "{what}: {error}");
    }
    assert_eq!(broker.epoch(), 2);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_trust_file_takes_effect_whatever_is_wrong_with_the_catalog() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut outsider = Watcher::new(&mesh, &broker, &mesh.outsider).await;
    outsider.snapshot().await;
    mesh.edit("entries.yaml", "status: ACTIVE", "status: AKTIVE");
    mesh.next_trust(|parts| parts.anchors.retain(|anchor| anchor.parties != lienthong_certs::Branch::Public));
    assert!(broker.reload().await.unwrap_err().to_string().contains("AKTIVE"));
    outsider.refusal().await;
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_list_that_is_published_is_fetched_and_cuts_whom_it_names() {
    let mesh = Mesh::new();
    mesh.pki.revoke(&mesh.g01.binding, RevocationReason::KeyCompromise).unwrap();
    let list = fs::read(mesh.pki.crl(DevAuthority::State).unwrap()).unwrap();
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = mesh.config();
    // No file says it: the address alone does.
    config.trust.revocation_lists.clear();
    config.trust.revocation_list_urls = vec![format!("http://{}/state.crl", server.local_addr().unwrap())];
    let kept = lienthong_broker::fetched_lists::places(&config);
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut g01 = Watcher::new(&mesh, &broker, &mesh.g01).await;
    g01.snapshot().await;
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut socket, _)) = server.accept().await {
            let _ = socket.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
            socket.write_all(&[head.as_bytes(), &list].concat()).await.unwrap();
        }
    });
    soon(async {
        while !kept[0].exists() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    // What the program does when it sees that the file has come.
    broker.take_files().await.unwrap();
    g01.refusal().await;
    soon(broker.stop()).await.unwrap();
    // It is known at the next start, without the server.
    let broker = Broker::start(config).await.unwrap();
    assert!(Watcher::open(&mesh, &broker, &mesh.g01, (0, Vec::new())).await.is_err());
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_renewed_certificate_is_bound_beside_the_old_one() {
    let mesh = Mesh::new();
    let renewed = mesh.pki.issue_node("G01", "DEMO – Cơ quan thử", "n1-moi", &["localhost"]).unwrap();
    let registry = mesh.path("registry.yaml");
    let text = fs::read_to_string(&registry).unwrap();
    let both = format!("{{file: \"{}\"}}, {{file", renewed.certificate.display());
    fs::write(&registry, text.replacen("{file", &both, 1)).unwrap();
    let broker = mesh.start().await;
    for who in [&mesh.g01, &renewed] {
        assert_eq!(Watcher::new(&mesh, &broker, who).await.snapshot().await.0.audience, G01);
    }
    // The journal goes on under the new key.
    let mut old = Journal::new(G01, &mesh.g01, 1, "a");
    let (mut shipper, _) = Shipper::new(&mesh, &broker, &mesh.g01, 1).await;
    shipper.ship(old.batch(2)).await.unwrap();
    let mut new = Journal::new(G01, &renewed, 1, "a");
    let (mut shipper, position) = Shipper::new(&mesh, &broker, &renewed, 1).await;
    new.position = position;
    assert_eq!(shipper.ship(new.batch(1)).await.unwrap().last_seq, 3);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_names_another_agency_is_refused() {
    let mesh = Mesh::new();
    // The registry binds G24's certificate to G12.
    mesh.write_registry(&[("G12", &mesh.unbound)]);
    let broker = mesh.start().await;
    let refused = Watcher::open(&mesh, &broker, &mesh.unbound, (0, Vec::new())).await.err().unwrap();
    assert!(refused.message().contains("names agency G24"), "{refused}");
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn health_and_metrics_tell_what_is_going_on() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let admin = broker.admin_address().unwrap();
    let mut watcher = Watcher::new(&mesh, &broker, &mesh.g01).await;
    watcher.snapshot().await;
    let set = PublishContractRequest { descriptor_set: descriptors::DANCU.to_vec() };
    soon(mesh.registry(&broker, &mesh.g01).publish_contract(set)).await.unwrap();
    let _ = Watcher::open(&mesh, &broker, &mesh.unbound, (0, Vec::new())).await.err().unwrap();
    let ready = http_get(admin, "/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let health = http_get(admin, "/health").await;
    assert!(health.contains("\"development\":true") && health.contains("epoch 2"), "{health}");
    let metrics = http_get(admin, "/metrics").await;
    for line in [
        "lienthong_broker_epoch 2",
        "lienthong_broker_nodes_connected 1",
        "lienthong_broker_nodes_behind 1",
        "lienthong_broker_contracts_total{outcome=\"published\"} 1",
        "lienthong_broker_calls_refused_total{rpc=\"/lienthong.control.v1.RightsService/WatchRights\",role=\"anonymous\"} 1",
    ] {
        assert!(metrics.lines().any(|written| written.trim_end() == line), "{line} is not in\n{metrics}");
    }
    soon(broker.stop()).await.unwrap();
}

async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn run_ends_when_told_and_leaves_everything_closed() {
    let mesh = Mesh::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(run(mesh.config(), async move {
        let _ = stopped.await;
    }));
    let checkpoint = mesh.data_dir().join("log/checkpoint");
    soon(async {
        while !checkpoint.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    stop.send(()).unwrap();
    soon(running).await.unwrap().unwrap();
    // Nothing is held any more.
    soon(mesh.start().await.stop()).await.unwrap();
}

#[tokio::test]
async fn sighup_takes_over_a_changed_catalog() {
    let mesh = Mesh::new();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(run(mesh.config(), async move {
        let _ = stopped.await;
    }));
    soon(epoch_on_record(&mesh, 1)).await;
    mesh.edit("agencies.yaml", "name_vi: Bộ Công an", "name_vi: Bộ Công an (thử)");
    let me = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &me]).status().unwrap().success());
    soon(epoch_on_record(&mesh, 2)).await;
    stop.send(()).unwrap();
    soon(running).await.unwrap().unwrap();
}

/// Waits until the published log says that this epoch was published.
async fn epoch_on_record(mesh: &Mesh, epoch: u64) {
    let reader = LogReader::new(&mesh.data_dir().join("log"));
    loop {
        let entries = reader.size().and_then(|size| reader.entries(0..size)).unwrap_or_default();
        let mut bodies = entries.iter().filter_map(|entry| Record::decode(entry.as_slice()).unwrap().body);
        if bodies.any(|body| matches!(body, Body::BundlePublished(published) if published.epoch == epoch)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
