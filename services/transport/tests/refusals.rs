//! Who is not let in, why, what they are told, and that nobody else notices.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::raw::{raw_config, raw_tls};
use common::{Body, Mesh, Server, eventually, get, text};
use lienthong_certs::judge::RevocationReason;
use lienthong_certs::pki::{Holder, KeyKind, Request};
use lienthong_certs::{CertificateRefusal, Credentials};
use lienthong_transport::{
    Channel, ChannelOptions, ConnectError, Connections, Endpoint, Limits, RefusalReason, SendError,
    SharedMaterial, TlsMaterial, VerifyPeer, connect,
};
use rustls::HandshakeKind;
use rustls::crypto::aws_lc_rs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn every_key_of_the_profile_works_on_both_sides() {
    let mesh = Mesh::new();
    for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Ed25519, KeyKind::Rsa2048, KeyKind::Rsa3072]
    {
        let material = |side: &str| {
            let holder = Holder::Node {
                agency_code: "G01".to_owned(),
                agency_name: "DEMO – Cơ quan".to_owned(),
                node_id: format!("{side}-{kind:?}").to_lowercase(),
            };
            let request = Request::new(holder).with_dns_names(&["localhost"]).with_key(kind);
            mesh.shared(&mesh.pki.issue(&request).unwrap())
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::start(address, material("chu"), Limits::default());
        knock(&server, &material("khach")).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}

#[tokio::test]
async fn no_certificate_no_alpn_and_old_tls_are_refused() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());

    // No certificate: TLS 1.3 tells the client only after its own side has ended well.
    let mut tls = raw_tls(&server, raw_config(None, &[b"h2"])).await.unwrap();
    let told = tls.read(&mut [0; 64]).await.unwrap_err();
    assert!(told.to_string().contains("CertificateRequired"), "{told}");

    // A good certificate, but no HTTP/2.
    let issued = mesh.node("H26", "khong-alpn").credentials().unwrap();
    let mut without = raw_tls(&server, raw_config(Some(&issued), &[])).await.unwrap();
    assert_eq!(without.read(&mut [0; 64]).await.unwrap_or(0), 0);
    let refused = raw_tls(&server, raw_config(Some(&issued), &[b"http/1.1"])).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");

    // A TLS 1.2 hello: no `supported_versions`.
    let mut old = TcpStream::connect(server.address).await.unwrap();
    old.write_all(&tls12_hello()).await.unwrap();
    let mut alert = Vec::new();
    old.read_to_end(&mut alert).await.unwrap();
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 70], "a fatal protocol_version alert");

    let counts = server.connections.handshakes().counts();
    assert_eq!(counts.refused_for(RefusalReason::NoCertificate), 1, "{counts:?}");
    assert_eq!(counts.refused_for(RefusalReason::NoHttp2), 2, "{counts:?}");
    assert_eq!(counts.refused_for(RefusalReason::TlsProtocol), 1, "{counts:?}");
    assert_others_are_served(&mesh, &server).await;
}

#[tokio::test]
async fn no_session_is_ever_resumed() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let issued = mesh.node("H26", "quay-lai").credentials().unwrap();
    // This configuration would resume, and keeps tickets, if it were given any.
    let config = raw_config(Some(&issued), &[b"h2"]);
    for _ in 0..3 {
        let mut tls = raw_tls(&server, Arc::clone(&config)).await.unwrap();
        // Tickets would come with the first bytes of the server.
        let _ = tls.read(&mut [0; 64]).await.unwrap();
        let session = tls.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn the_key_exchange_is_hybrid() {
    let mesh = Mesh::new();
    let issued = mesh.node("G01", "luong-tu").credentials().unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain().to_vec(), issued.key_der().unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let endpoint = Endpoint::Mesh { address, server_name: None, material: mesh.client() };
    let dialling = tokio::spawn(async move { dial(&endpoint).await.map(|_| ()) });
    let (socket, _) = listener.accept().await.unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await.unwrap();
    assert_eq!(
        tls.get_ref().1.negotiated_key_exchange_group().unwrap().name(),
        rustls::NamedGroup::X25519MLKEM768
    );
    drop(tls);
    dialling.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn rubbish_half_open_and_slow_peers_disturb_nobody() {
    let mesh = Mesh::new();
    let limits = Limits {
        handshakes_pending_max: 16,
        handshake_timeout: Duration::from_millis(700),
        ..Limits::default()
    };
    let server = mesh.server(limits);

    for rubbish in
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &[0xff; 4_096]]
    {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(rubbish).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    let counts = server.connections.handshakes().counts();
    assert_eq!(counts.refused_for(RefusalReason::NotTls), 3, "{counts:?}");

    // Five times more half-open connections than there are seats, and one that sends its hello byte by byte.
    let mut half_open = Vec::new();
    for _ in 0..80 {
        half_open.push(TcpStream::connect(server.address).await.unwrap());
    }
    let slow = TcpStream::connect(server.address).await.unwrap();
    let loris = tokio::spawn(async move {
        let mut slow = slow;
        for byte in tls12_hello() {
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let begun = Instant::now();
    for _ in 0..5 {
        assert_others_are_served(&mesh, &server).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());

    let counted = || server.connections.handshakes().counts();
    assert!(counted().refused_for(RefusalReason::CrowdedOut) >= 60, "{:?}", counted());
    eventually("the rest has run out of time", || counted().refused_for(RefusalReason::Timeout) > 0).await;
    eventually("all are gone", || counted().refused_total() == 3 + 80 + 1).await;
    loris.await.unwrap();
}

#[tokio::test]
async fn refusals_are_reported_once_not_one_by_one() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let mut reports = server.connections.handshakes().subscribe();
    for _ in 0..5 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(b"not tls at all").await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    }
    server.stop(Duration::from_secs(5)).await;
    let report = reports.try_recv().unwrap();
    assert_eq!(report.source.to_string(), "127.0.0.0/24");
    assert_eq!((report.reason, report.count), (RefusalReason::NotTls, 5));
    assert!(reports.try_recv().is_err());
}

#[tokio::test]
async fn one_peer_takes_no_more_than_its_share() {
    let mesh = Mesh::new();
    let limits = Limits { connections_per_peer_max: 2, connections_max: 3, ..Limits::default() };
    let server = mesh.server(limits);
    let greedy = mesh.client();
    let _first = knock(&server, &greedy).await.unwrap();
    let second = knock(&server, &greedy).await.unwrap();
    let refused = knock(&server, &greedy).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Closed(_)), "{refused}");

    let other = mesh.client();
    let _third = knock(&server, &other).await.unwrap();
    assert!(knock(&server, &other).await.is_err(), "the register is full");
    let counts = server.connections.handshakes().counts();
    assert_eq!(counts.refused_for(RefusalReason::ConnectionsPerPeerMax), 1, "{counts:?}");
    assert_eq!(counts.refused_for(RefusalReason::ConnectionsMax), 1, "{counts:?}");

    drop(second);
    eventually("the place is free again", || server.connections.count() == 2).await;
    knock(&server, &greedy).await.unwrap();
}

#[tokio::test]
async fn a_client_refuses_servers_it_should_not_trust() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let client = mesh.client();

    // Another name.
    let endpoint = Endpoint::Mesh {
        address: server.address.to_string(),
        server_name: Some("khac.example".to_owned()),
        material: client.clone(),
    };
    let refused = dial(&endpoint).await.unwrap_err();
    assert!(
        matches!(&refused, ConnectError::ServerCertificate { refusal: CertificateRefusal::WrongName { .. } }),
        "{refused}"
    );

    // Nobody in particular.
    let endpoint =
        Endpoint::Mesh { address: server.address.to_string(), server_name: None, material: client.clone() };
    let refused =
        connect::<Body>(&endpoint, &Limits::default(), &Connections::new(), None).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NobodyExpected), "{refused}");

    // A revoked server.
    let bad = mesh.node("G01", "bi-thu-hoi");
    let revoked = Server::start("127.0.0.1:0".parse().unwrap(), mesh.shared(&bad), Limits::default());
    mesh.pki.revoke(&bad.binding, RevocationReason::KeyCompromise).unwrap();
    let refused = knock(&revoked, &mesh.client()).await.unwrap_err();
    assert!(
        matches!(&refused, ConnectError::ServerCertificate { refusal: CertificateRefusal::Revoked { .. } }),
        "{refused}"
    );
    eventually("the server counts that it was refused", || {
        let counts = revoked.connections.handshakes().counts();
        counts.refused_for(RefusalReason::RefusedByPeer) == 1
    })
    .await;

    // A good server that is not the one the registry names.
    let mut options = ChannelOptions::new(Connections::new());
    options.verify_peer = Some(Arc::new(|_| Err("bound to another agency".to_owned())));
    let register = options.register.clone();
    let channel: Channel<Body> = Channel::new(server.endpoint(&client), options);
    let refused = channel.send(get("/echo")).await.unwrap_err();
    assert!(refused.is_not_sent());
    assert!(refused.to_string().contains("bound to another agency"), "{refused}");
    eventually("nothing stays registered", || register.count() == 0).await;
}

#[tokio::test]
async fn a_client_gives_up_on_those_who_speak_no_tls_or_nothing() {
    let mesh = Mesh::new();
    let rude = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = rude.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = rude.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let (_silent, _) = rude.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    let endpoint = Endpoint::Mesh { address, server_name: None, material: mesh.client() };
    let refused = dial(&endpoint).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused}");
    let refused = dial(&endpoint).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Timeout { stage: "proving identity (tls)", .. }), "{refused}");
}

#[tokio::test]
async fn a_failed_connection_says_what_to_do() {
    let mesh = Mesh::new();
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = Endpoint::Mesh {
        address: nobody.to_string(),
        server_name: Some("localhost".to_owned()),
        material: mesh.client(),
    };
    let channel: Channel<Body> = Channel::new(endpoint, ChannelOptions::new(Connections::new()));
    let failed = channel.try_send(get("/echo")).await.unwrap_err();
    assert!(failed.error.is_not_sent());
    assert!(failed.request.is_some(), "the request comes back");
    assert!(matches!(&failed.error, SendError::NotConnected { .. }));
    assert!(
        failed.error.to_string().contains("is the other side running and reachable?"),
        "{}",
        failed.error
    );
}

#[test]
fn a_key_of_another_certificate_is_not_taken() {
    let mesh = Mesh::new();
    let one = mesh.node("G01", "mot");
    let two = mesh.node("G01", "hai");
    assert!(Credentials::load(&one.certificate, &two.key).is_err());
    assert!(TlsMaterial::new(one.credentials().unwrap(), mesh.judge()).is_ok());
}

async fn assert_others_are_served(mesh: &Mesh, server: &Server) {
    let answer = server.channel(&mesh.client()).send(get("/slow/0")).await.unwrap();
    assert_eq!(text(answer).await, "/slow/0");
}

async fn knock(
    server: &Server,
    client: &SharedMaterial,
) -> Result<lienthong_transport::Connection<Body>, ConnectError> {
    dial(&server.endpoint(client)).await
}

async fn dial(endpoint: &Endpoint) -> Result<lienthong_transport::Connection<Body>, ConnectError> {
    let limits = Limits { connect_timeout: Duration::from_secs(2), ..Limits::default() };
    let anybody: VerifyPeer = Arc::new(|_| Ok(()));
    connect(endpoint, &limits, &Connections::new(), Some(&anybody)).await
}

/// A well-formed TLS 1.2 ClientHello (RFC 5246 §7.4.1.2): one cipher suite, one signature algorithm, nothing
/// newer.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    body.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}
