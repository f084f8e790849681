//! A channel outlives its connections, and says of each failure whether the request may have been sent.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Body, Mesh, Server, eventually, get, post, text};
use lienthong_transport::channel::RESENDS_MAX;
use lienthong_transport::{
    Channel, ChannelOptions, ConnectError, Connections, Endpoint, Limits, SendError, SharedMaterial,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};

#[tokio::test]
async fn a_channel_connects_only_when_used_and_again_after_a_restart() {
    let mesh = Mesh::new();
    let material = mesh.shared(&mesh.node("G01", "nut-1"));
    let server = Server::start("127.0.0.1:0".parse().unwrap(), material.clone(), Limits::default());
    let address = server.address;
    let channel = server.channel(&mesh.client());
    assert!(!channel.is_connected());
    assert_eq!(server.connections.count(), 0);
    assert_eq!(text(channel.send(post("/echo", b"1")).await.unwrap()).await, "1");

    server.stop(Duration::from_secs(5)).await;
    let refused = channel.send(get("/echo")).await.unwrap_err();
    assert!(refused.is_not_sent(), "{refused}");

    let _again = Server::start(address, material, Limits::default());
    let deadline = Instant::now() + Duration::from_secs(10);
    let answer = loop {
        match channel.send(post("/echo", b"2")).await {
            Ok(answer) => break answer,
            Err(error) => assert!(error.is_not_sent() && Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(text(answer).await, "2");
}

#[tokio::test]
async fn a_dead_endpoint_is_not_hammered() {
    let knocks = Arc::new(AtomicUsize::new(0));
    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closing.local_addr().unwrap();
    let count = Arc::clone(&knocks);
    tokio::spawn(async move {
        loop {
            drop(closing.accept().await.unwrap());
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let channel: Channel<Body> =
        Channel::new(Endpoint::Loopback(address), ChannelOptions::new(Connections::new()));
    let begun = Instant::now();
    let mut refused = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let error = channel.send(get("/")).await.unwrap_err();
        assert!(error.is_not_sent());
        assert!(matches!(&error, SendError::NotConnected { .. }), "{error}");
        refused += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // 50, 100, 200, 400, 800, … ms, each at least halved by jitter.
    let knocked = knocks.load(Ordering::Relaxed);
    assert!((3..=8).contains(&knocked), "{knocked} attempts for {refused} requests");
    assert!(refused > knocked * 5, "{knocked} attempts for {refused} requests");
}

#[tokio::test]
async fn many_who_wait_share_one_attempt() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { text(channel.send(post("/echo", b"x")).await.unwrap()).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), "x");
    }
    assert_eq!(server.connections.handshakes().counts().accepted, 1);
}

#[tokio::test]
async fn several_connections_are_used_by_turns_and_repaired() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let register = Connections::new();
    let mut options = ChannelOptions::new(register.clone());
    options.connections = 3;
    let channel: Channel<Body> = Channel::new(server.endpoint(&mesh.client()), options);
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.connections.count() < 3 {
        assert!(Instant::now() < deadline, "three connections were asked for");
        assert_eq!(text(channel.send(post("/echo", b"x")).await.unwrap()).await, "x");
    }
    let one = register.peers()[0].connection_id();
    assert_eq!(register.close_where(|peer| peer.connection_id() == one, "test"), 1);
    eventually("one is gone", || server.connections.count() < 3).await;
    let deadline = Instant::now() + Duration::from_secs(10);
    while server.connections.count() < 3 {
        assert!(Instant::now() < deadline, "the third was not repaired");
        assert_eq!(text(channel.send(post("/echo", b"x")).await.unwrap()).await, "x");
    }
}

#[tokio::test]
async fn waiting_requests_are_bounded() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let mut options = ChannelOptions::new(Connections::new());
    options.requests_waiting_max = 2;
    let channel: Channel<Body> = Channel::new(server.endpoint(&mesh.client()), options);
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let channel = channel.clone();
            tokio::spawn(async move { channel.send(get("/hang")).await.map(|_| ()) })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = channel.try_send(post("/echo", b"x")).await.unwrap_err();
    assert!(matches!(refused.error, SendError::TooManyWaiting { max: 2 }), "{}", refused.error);
    assert!(refused.request.is_some());

    // Giving up frees the place and resets the stream.
    for call in waiting {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert_eq!(text(channel.send(post("/echo", b"x")).await.unwrap()).await, "x");
    eventually("the service heard of it", || server.cancelled.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn a_broken_connection_says_that_the_request_may_have_arrived() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let channel = server.channel(&mesh.client());
    let hanging = tokio::spawn(async move { channel.send(get("/hang")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.connections.close_where(|_| true, "test"), 1);
    let error = hanging.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Interrupted { .. }), "{error}");
    assert!(!error.is_not_sent());
}

/// Hand-made HTTP/2 frames: what the specification says was not processed is sent again, with its body, a few times; any
/// other request is not.
#[tokio::test]
async fn what_http2_guarantees_unprocessed_is_sent_again_and_nothing_else() {
    // RST_STREAM(REFUSED_STREAM); GOAWAY(last stream 0, NO_ERROR); RST_STREAM(CANCEL).
    let refused = |stream: u8| vec![0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 7];
    let go_away = |_: u8| vec![0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let cancelled = |stream: u8| vec![0, 0, 4, 3, 0, 0, 0, 0, stream, 0, 0, 0, 8];
    for refusal in [&refused as &dyn Fn(u8) -> Vec<u8>, &go_away] {
        for refusals in [1, RESENDS_MAX, RESENDS_MAX + 1] {
            let (answer, bodies) = refused_at_first(refusals, refusal).await;
            assert_eq!(bodies, vec!["con so"; (refusals + 1).min(RESENDS_MAX + 1)]);
            match answer {
                Ok(status) => assert!(status == 200 && refusals <= RESENDS_MAX),
                Err(error) => assert!(error.is_not_sent() && refusals > RESENDS_MAX, "{error}"),
            }
        }
    }
    let (answer, bodies) = refused_at_first(1, &cancelled).await;
    assert!(!answer.unwrap_err().is_not_sent());
    assert_eq!(bodies, ["con so"], "it may have been processed: once");
}

/// Sends one request to a server that refuses the first so many times; the answer, and the bodies that the server saw.
async fn refused_at_first(
    refusals: usize,
    refusal: &dyn Fn(u8) -> Vec<u8>,
) -> (Result<u16, SendError>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gia.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let channel: Channel<Body> = Channel::new(Endpoint::Unix(path), ChannelOptions::new(Connections::new()));
    let mut bodies = Vec::new();
    let serving = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            // Empty SETTINGS and the acknowledgement of theirs.
            socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0]).await.unwrap();
            let mut seen = Vec::new();
            for stream in (1_u8..).step_by(2) {
                // DATA with END_STREAM on this stream: the request is there.
                let head = [0, 0, 6, 0, 1, 0, 0, 0, stream];
                let body = loop {
                    let found = seen.windows(15).find(|window| window.starts_with(&head));
                    if let Some(window) = found {
                        break Some(String::from_utf8(window[9..].to_vec()).unwrap());
                    }
                    if socket.read_buf(&mut seen).await.is_ok_and(|read| read == 0) {
                        break None;
                    }
                };
                let Some(body) = body else { break };
                bodies.push(body);
                // HEADERS with END_STREAM: `:status: 200` is the 8th entry of the static table (RFC 7541).
                let answer = if bodies.len() <= refusals {
                    refusal(stream)
                } else {
                    vec![0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88]
                };
                socket.write_all(&answer).await.unwrap();
            }
        }
    };
    let answer = tokio::select! {
        answer = channel.send(post("/", b"con so")) => answer.map(|answer| answer.status().as_u16()),
        () = serving => unreachable!("it serves for ever"),
    };
    (answer, bodies)
}

#[tokio::test]
async fn an_expected_name_that_is_none_is_an_error_not_a_panic() {
    let mesh = Mesh::new();
    let endpoint = |address: &str, name: &str, material: &SharedMaterial| Endpoint::Mesh {
        address: address.to_owned(),
        server_name: Some(name.to_owned()),
        material: material.clone(),
    };
    let client = mesh.client();
    for (address, name) in
        [("127.0.0.1:1", "không phải tên"), ("127.0.0.1:1", ""), ("no port", "localhost"), ("", "x")]
    {
        let channel: Channel<Body> =
            Channel::new(endpoint(address, name, &client), ChannelOptions::new(Connections::new()));
        let error = channel.send(get("/")).await.unwrap_err();
        let SendError::NotConnected { cause, .. } = &error else { panic!("{error}") };
        assert!(
            matches!(**cause, ConnectError::BadServerName(_) | ConnectError::Lookup(_)),
            "{address:?} {name:?}: {error}"
        );
    }
}
