//! The admin server over real sockets, with strangers of every kind.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lienthong_telemetry::plain_http::{CONNECTIONS_MAX, HEAD_BYTES_MAX};
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes, shorter than the patience of a person.
const PATIENCE: Duration = Duration::from_secs(20);

struct Running {
    address: SocketAddr,
    bundle_is_fresh: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start() -> Self {
        let identity = Identity { role: "node".into(), mesh: "thử-nghiệm".into(), development: true };
        let bundle_is_fresh = Arc::new(AtomicBool::new(true));
        let fresh = Arc::clone(&bundle_is_fresh);
        let health = Health::new(identity.clone()).check("listener", || Check::ok("listens")).check(
            "rights",
            move || {
                if fresh.load(Ordering::Relaxed) {
                    Check::ok("epoch 7, 1 s old")
                } else {
                    Check::failing("epoch 7, 25 h old; the broker is unreachable")
                }
            },
        );
        let admin =
            AdminServer::bind("127.0.0.1:0".parse().unwrap(), health, Metrics::new(&identity)).await.unwrap();
        let address = admin.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(admin.serve(async {
            let _ = stopped.await;
        }));
        Self { address, bundle_is_fresh, stop, served }
    }

    /// Status line, and everything after it.
    async fn get(&self, path: &str) -> (String, String) {
        let answer =
            self.say(&format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")).await;
        let (status, rest) = answer.split_once("\r\n").unwrap();
        (status.to_owned(), rest.to_owned())
    }

    /// Everything that is answered to these bytes until the connection ends.
    async fn say(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good an end as any.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.served).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn health_and_readiness_follow_the_checks() {
    let server = Running::start().await;
    let (status, ready) = server.get("/ready").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(ready.ends_with(
        "{\"role\":\"node\",\"mesh\":\"thử-nghiệm\",\"development\":true,\"version\":\"0.1.0\",\"ok\":true,\
         \"checks\":[{\"name\":\"listener\",\"ok\":true,\"detail\":\"listens\"},\
         {\"name\":\"rights\",\"ok\":true,\"detail\":\"epoch 7, 1 s old\"}]}"
    ));

    server.bundle_is_fresh.store(false, Ordering::Relaxed);
    let (status, ready) = server.get("/ready").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(ready.contains("the broker is unreachable"), "{ready}");
    let (status, health) = server.get("/health").await;
    assert_eq!(status, "HTTP/1.1 200 OK", "alive, though not ready");
    assert!(health.contains("\"ok\":false"), "{health}");
    assert!(health.to_lowercase().contains("cache-control: no-store"), "{health}");
    server.stop().await;
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let server = Running::start().await;
    let (status, metrics) = server.get("/metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(metrics.contains("application/openmetrics-text; version=1.0.0"), "{metrics}");
    assert!(metrics.contains("lienthong_build_info{role=\"node\""), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn strangers_get_an_error_and_the_rest_go_on() {
    let server = Running::start().await;
    assert_eq!(server.get("/nothing").await.0, "HTTP/1.1 404 Not Found");
    let post = server
        .say("POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await;
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
    let rubbish = server.say("\u{16}\u{3}\u{1}\0rubbish\r\n\r\n").await;
    assert!(rubbish.is_empty() || rubbish.starts_with("HTTP/1.1 400"), "{rubbish}");
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(2 * HEAD_BYTES_MAX));
    let long = server.say(&long).await;
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 4"), "{long}");
    assert_eq!(server.get("/ready").await.0, "HTTP/1.1 200 OK");
    server.stop().await;
}

#[tokio::test]
async fn silent_peers_hold_the_door_only_for_a_while() {
    let server = Running::start().await;
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    // Every seat is taken by somebody who says nothing; after the timeout for a head they are free again.
    let (status, _) = server.get("/ready").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_says_so() {
    let server = Running::start().await;
    let identity = Identity { role: "node".into(), mesh: "m".into(), development: false };
    let refused = AdminServer::bind(server.address, Health::new(identity.clone()), Metrics::new(&identity))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("is the port taken"), "{refused}");
    server.stop().await;
}
