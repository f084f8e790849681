//! A listener that sends its connections away, because they are old or because it goes, fails not one request: what
//! HTTP/2 says was not processed is sent again (RFC 9113 §6.8).

#![allow(clippy::unwrap_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Body, Mesh, Server, post, text};
use lienthong_transport::{Channel, DrainOutcome, Limits};
use tokio::task::JoinHandle;

/// Callers at one channel: so many that something is always just being sent.
const CALLERS: usize = 48;

/// Callers that ask without a pause until they are told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    fn on(channel: &Channel<Body>) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let callers = (0..CALLERS)
            .map(|caller| {
                let (channel, stop, answered) = (channel.clone(), Arc::clone(&stop), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut number = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        let said = format!("{caller}/{number}");
                        let answer = channel.send(post("/echo", said.as_bytes())).await;
                        let answer = answer.unwrap_or_else(|error| panic!("request {said}: {error}"));
                        assert_eq!(text(answer).await, said);
                        answered.fetch_add(1, Ordering::Relaxed);
                        number += 1;
                    }
                })
            })
            .collect();
        Self { stop, answered, callers }
    }

    /// Stops, and says how many were answered; a failed request fails the test.
    async fn end(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}

async fn old_connections_go() {
    let mesh = Mesh::new();
    let limits = Limits { connection_age_max: Some(Duration::from_secs(1)), ..Limits::default() };
    let server = mesh.server(limits);
    let load = Load::on(&server.channel(&mesh.client()));
    let accepted = || server.connections.handshakes().counts().accepted;
    let deadline = Instant::now() + Duration::from_secs(60);
    while accepted() < 7 {
        assert!(!load.callers.iter().any(JoinHandle::is_finished), "a request failed");
        assert!(Instant::now() < deadline, "{} connections in a minute, of one second each", accepted());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answered = load.end().await;
    assert!(answered > 500, "{answered} answers are no load");
}

#[tokio::test]
async fn connections_that_grow_old_under_load_fail_no_request() {
    old_connections_go().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn connections_that_grow_old_under_load_fail_no_request_on_many_threads() {
    old_connections_go().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_listener_whose_successor_stands_ready_leaves_under_load_without_a_failed_request() {
    let mesh = Mesh::new();
    let material = mesh.shared(&mesh.node("G01", "nut-1"));
    let mut server = Server::start("127.0.0.1:0".parse().unwrap(), material.clone(), Limits::default());
    let channel = server.channel(&mesh.client());
    channel.connected().await.unwrap();
    let load = Load::on(&channel);
    for _ in 0..6 {
        let successor = Server::start(server.address, material.clone(), Limits::default());
        let outcome = server.stop(Duration::from_secs(20)).await;
        assert_eq!(outcome, DrainOutcome { finished: outcome.finished, cut: 0 });
        server = successor;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!load.callers.iter().any(JoinHandle::is_finished), "a request failed");
    }
    let answered = load.end().await;
    assert!(answered > 500, "{answered} answers are no load");
}
