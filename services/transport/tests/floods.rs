//! Those who come in numbers: half-open, idle, resetting, pinging, never finishing. What each costs is bounded, and the
//! others are served meanwhile.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a panic is how a test fails; its numbers are worth reading

mod common;

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::raw::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, PING,
    RST_STREAM, RawPeer, SETTINGS, asks, frame, raw_config,
};
use common::{Mesh, Server, eventually, get, text};
use lienthong_transport::{Limits, RefusalReason};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

/// What one hostile connection may make us hold, far above what it does: windows and buffers.
const HELD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Frames of a flood. A server that kept something of each would hold hundreds of MiB.
const FRAMES: usize = 400_000;

#[tokio::test]
async fn one_network_that_floods_the_door_crowds_out_nobody_else() {
    let mesh = Mesh::new();
    let limits = Limits { handshakes_pending_max: 16, ..Limits::default() };
    let server = mesh.server(limits);
    // An honest peer of another network, on a slow line: it has connected and says nothing yet.
    let honest = from("127.0.2.1", server.address).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(from("127.0.1.1", server.address).await);
    }
    let counts = || server.connections.handshakes().counts();
    eventually("the flood crowds itself out", || counts().refused_for(RefusalReason::CrowdedOut) >= 280)
        .await;
    let issued = mesh.node("H26", "duong-cham").credentials().unwrap();
    let tls = TlsConnector::from(raw_config(Some(&issued), &[b"h2"]))
        .connect(ServerName::try_from("localhost").unwrap(), honest)
        .await
        .unwrap();
    eventually("the honest one is inside", || server.connections.count() == 1).await;
    drop((tls, flood));
}

#[tokio::test]
async fn a_flood_of_resets_is_cut_off() {
    let (mesh, server) = world();
    let mut peer = RawPeer::connect(&mesh, &server, "dat-lai").await;
    let before = resident_bytes();
    for batch in 0..200_u32 {
        let mut bytes = Vec::new();
        for number in 0..200 {
            let stream = 1 + 2 * (batch * 200 + number);
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &asks("/hang")));
            bytes.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        peer.say(&bytes).await;
    }
    let goaway = peer.hear_one_of(&[GOAWAY]).await;
    assert_eq!(goaway.map(|frame| frame.code()), Some(ENHANCE_YOUR_CALM));
    held_since(before);
    others_are_served(&mesh, &server).await;
}

#[tokio::test]
async fn headers_without_an_end_are_cut_off() {
    let (mesh, server) = world();
    let mut peer = RawPeer::connect(&mesh, &server, "vo-tan").await;
    let before = resident_bytes();
    peer.say(&frame(HEADERS, 0, 1, &asks("/slow/1"))).await;
    let more = frame(CONTINUATION, 0, 1, &[0; 1]);
    let times = peer.flood(&more, FRAMES, Duration::from_secs(2)).await;
    assert!(times < FRAMES, "all of it was taken");
    let goaway = peer.hear_one_of(&[GOAWAY]).await;
    assert!(goaway.is_none_or(|frame| frame.code() == ENHANCE_YOUR_CALM));
    eventually("it has lost its place", || server.connections.count() == 0).await;
    held_since(before);
    others_are_served(&mesh, &server).await;
}

/// Nobody reads the answers: we stop reading the questions.
#[tokio::test]
async fn floods_of_small_frames_are_not_kept() {
    let (mesh, server) = world();
    let mut window = vec![0, 4];
    window.extend(65_535_u32.to_be_bytes());
    for (name, one) in [
        ("hoi", frame(PING, 0, 0, &[7; 8])),
        ("thoa-thuan", frame(SETTINGS, 0, 0, &window)),
        ("trong", frame(DATA, 0, 1, &[])),
        ("la", frame(0xbb, 0, 0, &[7; 8])),
    ] {
        let mut peer = RawPeer::connect(&mesh, &server, name).await;
        peer.say(&frame(HEADERS, END_HEADERS, 1, &asks("/hang"))).await;
        let before = resident_bytes();
        let batch: Vec<u8> = one.repeat(1_000);
        let batches = peer.flood(&batch, FRAMES / 1_000, Duration::from_secs(1)).await;
        println!("{name}: {} of {FRAMES} frames taken", batches * 1_000);
        held_since(before);
        others_are_served(&mesh, &server).await;
    }
}

/// A request whose headers, or whose body, never end keeps its own place and nobody else's.
#[tokio::test]
async fn slow_headers_and_slow_bodies_disturb_nobody() {
    let (mesh, server) = world();
    let before = resident_bytes();
    let mut slow = Vec::new();
    for number in 0..20 {
        let mut peer = RawPeer::connect(&mesh, &server, &format!("cham-{number}")).await;
        if number % 2 == 0 {
            let whole = frame(HEADERS, END_HEADERS | END_STREAM, 1, &asks("/slow/1"));
            peer.say(&whole[..whole.len() - 1]).await;
        } else {
            peer.say(&frame(HEADERS, END_HEADERS, 1, &asks("/echo"))).await;
            peer.say(&frame(DATA, 0, 1, b"mot")).await;
        }
        slow.push(peer);
    }
    others_are_served(&mesh, &server).await;
    held_since(before);
    // They were slow, not refused: what comes late is taken.
    let late = &mut slow[1];
    late.say(&frame(DATA, END_STREAM, 1, b" hai")).await;
    assert_eq!(late.hear_one_of(&[DATA]).await.unwrap().payload, b"mot hai");
}

/// Idle connections of the long run; the quick one has a fifth of them.
const IDLE_CONNECTIONS: usize = 10_000;

/// What an idle connection may cost, with TLS, HTTP/2 and its place in the register.
const IDLE_KIB_MAX: u64 = 128;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_cost_little_and_bounded_memory() {
    if let Some(folder) = std::env::var_os(LISTEN_IN) {
        return listen_in(folder.into()).await;
    }
    let wanted = if std::env::var_os("LIENTHONG_TEST_LONG").is_some() {
        IDLE_CONNECTIONS
    } else {
        IDLE_CONNECTIONS / 5
    };
    let count = wanted.min(open_files_max() - OPEN_FILES_BESIDE);
    let mesh = Mesh::new();
    // A process of its own, so that its memory is that of the server's side alone.
    let mut listener = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "idle_connections_cost_little_and_bounded_memory", "--nocapture"])
        .env(LISTEN_IN, mesh.folder.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(listener.stdout.take().unwrap()).lines();
    let address: SocketAddr = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some(address) = line.split(LISTENS_ON).nth(1) {
            break address.parse().unwrap();
        }
    };
    let pid = listener.id().unwrap();
    let issued = mesh.node("H26", "ranh-roi").credentials().unwrap();
    let connector = TlsConnector::from(raw_config(Some(&issued), &[b"h2"]));
    let begun = Instant::now();
    let mut idle = vec![connect_idle(&connector, address).await];
    let before = resident_bytes_of(pid);
    while idle.len() < count {
        let together = (0..100).map(|_| connect_idle(&connector, address));
        idle.extend(futures_util::future::join_all(together).await);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let kib = (resident_bytes_of(pid) - before) / 1024 / idle.len() as u64;
    println!("{} idle connections in {:?}: {kib} KiB each", idle.len(), begun.elapsed());
    assert!(kib <= IDLE_KIB_MAX, "{kib} KiB an idle connection");
    // All of them are still there, and the listener still answers.
    assert!(connect_idle(&connector, address).await.get_ref().0.peer_addr().is_ok());
    listener.kill().await.unwrap();
}

/// Files beside the connections.
const OPEN_FILES_BESIDE: usize = 200;

/// How many files this process may open.
fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

const LISTEN_IN: &str = "LIENTHONG_TEST_LISTEN_IN";
const LISTENS_ON: &str = "listens on ";

/// The other process: serves until it is killed.
async fn listen_in(folder: std::path::PathBuf) {
    let pki = lienthong_certs::DevPki::open(&folder.join("pki")).unwrap();
    let issued = pki.issue_node("G01", "DEMO – Cơ quan", "cho", &["localhost"]).unwrap();
    let judge = lienthong_certs::Judge::new(
        pki.anchors().unwrap(),
        pki.lists().unwrap(),
        lienthong_certs::Profile::development(),
    );
    let material =
        lienthong_transport::TlsMaterial::new(issued.credentials().unwrap(), judge.unwrap()).unwrap();
    let limits = Limits { connections_per_peer_max: IDLE_CONNECTIONS * 2, ..Limits::default() };
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::start(address, lienthong_transport::SharedMaterial::new(material), limits);
    println!("{LISTENS_ON}{}", server.address);
    std::future::pending::<()>().await;
}

async fn connect_idle(
    connector: &TlsConnector,
    address: SocketAddr,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let socket = TcpStream::connect(address).await.unwrap();
    let mut tls = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
    tls.write_all(common::raw::PREFACE).await.unwrap();
    tls.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    // The server's settings: it has taken us in.
    tls.read_exact(&mut [0; 9]).await.unwrap();
    tls
}

fn world() -> (Mesh, Server) {
    let mesh = Mesh::new();
    let server = mesh.server(Limits::default());
    (mesh, server)
}

/// A connection from this address of the loopback network.
async fn from(source: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

async fn others_are_served(mesh: &Mesh, server: &Server) {
    let channel = server.channel(&mesh.client());
    let answer =
        tokio::time::timeout(Duration::from_secs(10), channel.send(get("/slow/0"))).await.unwrap().unwrap();
    assert_eq!(text(answer).await, "/slow/0");
}

fn held_since(before: u64) {
    let held = resident_bytes().saturating_sub(before);
    assert!(held < HELD_BYTES_MAX, "{} MiB are held", held / 1024 / 1024);
}

fn resident_bytes() -> u64 {
    resident_bytes_of(std::process::id())
}

fn resident_bytes_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
