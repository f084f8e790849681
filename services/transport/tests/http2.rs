//! What a connection may be once its peer has proved who it is: its windows, its streams, its silences, its headers.

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::raw::{
    CANCEL, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, REFUSED_STREAM, RST_STREAM, RawPeer, SETTINGS,
    asks, frame, raw_config, raw_tls,
};
use common::{Mesh, Server, eventually, get, text};
use http::{Request, StatusCode};
use lienthong_transport::limits::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use lienthong_transport::{Limits, RefusalReason};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

#[tokio::test]
async fn a_peer_that_proves_itself_and_says_nothing_loses_its_place() {
    let mesh = Mesh::new();
    let limits = Limits { preface_timeout: Duration::from_millis(600), ..Limits::default() };
    let server = mesh.server(limits);
    let mut silent = RawPeer::silent(&mesh, &server, "im-lang").await;
    let mut halting = RawPeer::silent(&mesh, &server, "ngap-ngung").await;
    halting.say(&PREFACE[..PREFACE.len() - 1]).await;
    let mut speaking = RawPeer::connect(&mesh, &server, "noi").await;
    eventually("all three are inside", || server.connections.count() == 3).await;
    eventually("two have lost their places", || server.connections.count() == 1).await;
    // Our own settings come, then the end.
    for peer in [&mut silent, &mut halting] {
        while peer.hear().await.is_some() {}
    }
    let counts = server.connections.handshakes().counts();
    assert_eq!(counts.refused_for(RefusalReason::NoPreface), 2, "{counts:?}");

    // Whoever has begun to speak may be silent from then on.
    tokio::time::sleep(Duration::from_millis(900)).await;
    speaking.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &asks("/slow/1"))).await;
    assert!(speaking.hear_one_of(&[HEADERS]).await.is_some());
    assert_eq!(server.connections.count(), 1);
}

/// hyper does not ask a body for more while the last of it finds no room; the leash ends the stream all the same.
#[tokio::test]
async fn a_stream_whose_reader_stops_ends_with_its_leash_and_no_other_does() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let mut client = Http2::connect(&mesh, &server, "ngung-doc").await;
    let stalled = client.ask("/leashed/700").await;
    let mut body = stalled.into_body();
    // Takes what the window holds and gives none of it back.
    let mut held = 0;
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(10), body.data()).await.unwrap() {
            Some(Ok(data)) => held += data.len(),
            Some(Err(error)) => break error,
            None => panic!("it ended well after {held} bytes"),
        }
    };
    assert_eq!(ended.reason(), Some(h2::Reason::CANCEL), "{ended}");
    assert!(held > 0);
    eventually("the body is gone", || server.cancelled.load(Ordering::Relaxed) == 1).await;
    // The connection and its other streams go on.
    assert_eq!(client.ask("/slow/1").await.status(), StatusCode::OK);
    assert_eq!(server.connections.count(), 1);
}

#[tokio::test]
async fn windows_are_fit_for_a_wide_area_network() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let client = Http2::connect(&mesh, &server, "cua-so").await;
    // Streams whose handler reads nothing: what they may send is what the window is.
    let mut sending = Vec::new();
    let (mut most, mut all) = (0, 0);
    for _ in 0..=CONNECTION_WINDOW_BYTES / STREAM_WINDOW_BYTES {
        let request = Request::get("https://localhost/hang").body(()).unwrap();
        let (answer, mut stream) =
            client.sender.clone().ready().await.unwrap().send_request(request, false).unwrap();
        stream.reserve_capacity(2 * STREAM_WINDOW_BYTES as usize);
        let window = granted(&mut stream).await;
        most = most.max(window);
        all += window;
        sending.push((answer, stream));
    }
    assert_eq!(u32::try_from(most).unwrap(), STREAM_WINDOW_BYTES);
    assert_eq!(u32::try_from(all).unwrap(), CONNECTION_WINDOW_BYTES);
}

/// What a stream may send before anybody reads.
async fn granted(stream: &mut h2::SendStream<bytes::Bytes>) -> usize {
    let mut granted = 0;
    let quiet = Duration::from_millis(300);
    while let Ok(Some(Ok(capacity))) =
        tokio::time::timeout(quiet, std::future::poll_fn(|cx| stream.poll_capacity(cx))).await
    {
        granted = granted.max(capacity);
    }
    granted
}

#[tokio::test]
async fn a_process_that_hangs_is_noticed_by_its_silence() {
    let mesh = Mesh::new();
    let limits = Limits {
        ping_interval: Some(Duration::from_millis(200)),
        ping_timeout: Duration::from_millis(300),
        ..Limits::control()
    };
    let server = mesh.server(limits);
    // Its kernel answers for it, it does not.
    let hanging = RawPeer::connect(&mesh, &server, "treo").await;
    let living = server.channel(&mesh.client());
    living.connected().await.unwrap();
    eventually("both are inside", || server.connections.count() == 2).await;
    eventually("only the living one stays", || server.connections.count() == 1).await;
    assert_eq!(text(living.send(get("/slow/1")).await.unwrap()).await, "/slow/1");
    drop(hanging);
}

#[tokio::test]
async fn streams_beyond_the_bound_of_a_connection_are_refused_unprocessed() {
    let mesh = Mesh::new();
    let limits = Limits { streams_per_connection_max: 3, ..Limits::default() };
    let server = mesh.server(limits);
    let mut greedy = RawPeer::connect(&mesh, &server, "tham-lam").await;
    let settings = greedy.hear_one_of(&[SETTINGS]).await.unwrap();
    let advertised = settings.payload.chunks_exact(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(advertised[2..], [0, 0, 0, 3]);
    for stream in [1, 3, 5, 7] {
        greedy.say(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &asks("/hang"))).await;
    }
    let refused = greedy.hear_one_of(&[RST_STREAM, GOAWAY]).await.unwrap();
    assert_eq!((refused.kind, refused.stream, refused.code()), (RST_STREAM, 7, REFUSED_STREAM));
    // One that is given up makes room for the next.
    greedy.say(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes())).await;
    eventually("the call given up is cancelled", || server.cancelled.load(Ordering::Relaxed) == 1).await;
    greedy.say(&frame(HEADERS, END_HEADERS | END_STREAM, 9, &asks("/slow/1"))).await;
    assert_eq!(greedy.hear_one_of(&[HEADERS]).await.unwrap().stream, 9);
}

#[tokio::test]
async fn one_peer_takes_no_more_places_than_its_share_over_all_its_connections() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    let (greedy, other) = (mesh.client(), mesh.client());
    let channels = [server.channel(&greedy), server.channel(&greedy), server.channel(&greedy)];
    let held = |channel: &lienthong_transport::Channel<common::Body>| {
        let channel = channel.clone();
        tokio::spawn(async move { text(channel.send(get("/place/1500")).await.unwrap()).await })
    };
    let holding = [held(&channels[0]), held(&channels[1])];
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(text(channels[2].send(get("/place/0")).await.unwrap()).await, "full");
    assert_eq!(text(server.channel(&other).send(get("/place/0")).await.unwrap()).await, "served");
    for holding in holding {
        assert_eq!(holding.await.unwrap(), "served");
    }
    assert_eq!(text(channels[2].send(get("/place/0")).await.unwrap()).await, "served");
}

#[tokio::test]
async fn a_header_list_beyond_its_bound_is_answered_with_431() {
    let mesh = Mesh::new();
    let server = mesh.server(Limits { header_list_bytes_max: 16 * 1024, ..Limits::default() });
    let mut client = Http2::connect(&mesh, &server, "dau-dai").await;
    for (bytes, status) in
        [(8 * 1024, StatusCode::OK), (32 * 1024, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
    {
        let request =
            Request::get("https://localhost/slow/1").header("x-dai", "d".repeat(bytes)).body(()).unwrap();
        let (answer, _) = client.sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), status, "{bytes}");
    }
    assert_eq!(client.ask("/slow/1").await.status(), StatusCode::OK, "the connection goes on");
}

/// h2's own client over a connection that is none of ours.
struct Http2 {
    sender: h2::client::SendRequest<bytes::Bytes>,
}

impl Http2 {
    async fn connect(mesh: &Mesh, server: &Server, name: &str) -> Self {
        let issued = mesh.node("H26", name).credentials().unwrap();
        let tls: TlsStream<TcpStream> = raw_tls(server, raw_config(Some(&issued), &[b"h2"])).await.unwrap();
        // What it may send is for us to bound, not for it.
        let (sender, connection) =
            h2::client::Builder::new().max_send_buffer_size(64 * 1024 * 1024).handshake(tls).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        // Not before the server's settings are known.
        let mut client = Self { sender };
        assert_eq!(client.ask("/slow/1").await.status(), StatusCode::OK);
        client
    }

    async fn ask(&mut self, path: &str) -> http::Response<h2::RecvStream> {
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let (answer, _) = self.sender.clone().ready().await.unwrap().send_request(request, true).unwrap();
        answer.await.unwrap()
    }
}
