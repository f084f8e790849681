//! The gateway over a real log, asked over real sockets: by the public, by monitors, by people who should not.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::leaf_hash;
use lienthong_audit::log::{Log, LogKey, LogOptions};
use lienthong_audit::note::VerifierKey;
use lienthong_gateway::{Gateway, GatewayConfig, GatewayError};
use lienthong_telemetry::TelemetryConfig;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

const ORIGIN: &str = "log.example/thu-nghiem";

/// One full tile of level 0 and 44 hashes more, so one hash of level 1.
const ENTRIES: u64 = 300;

/// An answer, split.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Lower case, with final line ends.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn has(&self, header: &str) -> bool {
        self.head.contains(&format!("\r\n{header}\r\n"))
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    async fn start(log_dir: &Path, key: Option<&VerifierKey>) -> Self {
        let gateway = Gateway::open(config(log_dir, key)).await.unwrap();
        let address = gateway.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(gateway.serve(async {
            let _ = stopped.await;
        }));
        Self { address, stop, serving }
    }

    async fn get(&self, target: &str) -> Answer {
        get(self.address, target).await
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

fn config(log_dir: &Path, key: Option<&VerifierKey>) -> GatewayConfig {
    GatewayConfig {
        mesh: "mạng thử".into(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        log_dir: log_dir.to_owned(),
        log_verifier_key: key.map(ToString::to_string),
        development: true,
        console: None,
        telemetry: TelemetryConfig::default(),
    }
}

/// The target goes over the wire as it is: no client tidies it.
async fn get(address: SocketAddr, target: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end + 2].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

/// A log with [`ENTRIES`] entries, closed, so that everything is published.
async fn write_log() -> (TempDir, VerifierKey) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let log = Log::create(&dir, ORIGIN, LogKey::generate(ORIGIN).unwrap(), &LogOptions::default()).unwrap();
    log.append((0..ENTRIES).map(entry).collect()).await.unwrap();
    let key = log.verifier();
    tokio::task::spawn_blocking(|| log.close()).await.unwrap().unwrap();
    // What lies beside the log must never be served.
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    (folder, key)
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

#[tokio::test]
async fn the_checkpoint_is_served_fresh() {
    let (folder, key) = write_log().await;
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    let answer = gateway.get("/log/checkpoint").await;
    assert_eq!(answer.status, 200);
    assert!(answer.has("cache-control: no-cache") && answer.has("content-type: text/plain; charset=utf-8"));
    assert!(answer.has("access-control-allow-origin: *"), "{}", answer.head);
    let checkpoint = Checkpoint::open(answer.text(), &key).unwrap();
    assert_eq!(checkpoint.size, ENTRIES);
    gateway.stop().await;
}

#[tokio::test]
async fn hash_tiles_are_served_for_ever() {
    let (folder, key) = write_log().await;
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    for (target, first, width) in [("/log/tile/0/000", 0, 256), ("/log/tile/0/001.p/44", 256, 44)] {
        let answer = gateway.get(target).await;
        assert_eq!(answer.status, 200, "{target}");
        assert!(answer.has("content-type: application/octet-stream"), "{}", answer.head);
        assert!(answer.has("cache-control: public, max-age=31536000, immutable"), "{}", answer.head);
        let expected: Vec<u8> = (first..first + width).flat_map(|index| leaf_hash(&entry(index)).0).collect();
        assert_eq!(answer.body, expected, "{target}");
    }
    assert_eq!(gateway.get("/log/tile/1/000.p/1").await.body.len(), 32);
    for missing in ["/log/tile/0/002", "/log/tile/0/001.p/45", "/log/tile/5/000", "/log/tile/0/x001/000"] {
        let answer = gateway.get(missing).await;
        assert_eq!(answer.status, 404, "{missing}");
        assert!(
            answer.has("cache-control: no-store"),
            "a tile that is not there yet may come: {}",
            answer.head
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn entry_bundles_are_refused_with_the_reason_whether_they_exist_or_not() {
    let (folder, key) = write_log().await;
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    assert!(folder.path().join("log/tile/entries/000").is_file(), "there is something to refuse");
    let refused = gateway.get("/log/tile/entries/000").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().starts_with("entries are not public"), "{}", refused.text());
    for same in [
        "/log/tile/entries/001.p/44",
        "/log/tile/entries/999",
        "/log/tile/entries/",
        "/log/tile/%65ntries/000",
    ] {
        let other = gateway.get(same).await;
        assert_eq!((other.status, other.text()), (403, refused.text()), "{same}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn nobody_walks_out_of_the_log_or_into_its_cellar() {
    let (folder, key) = write_log().await;
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    let entries = std::fs::read(folder.path().join("log/tile/entries/000")).unwrap();
    for target in [
        "/log/../secret",
        "/log/tile/../../secret",
        "/log/tile/../../../secret",
        "/log/tile/%2e%2e/%2e%2e/secret",
        "/log/tile/..%2f..%2fsecret",
        "/log/tile/0/..%2f..%2f..%2fsecret",
        "/log/tile/0/../entries/000",
        "/log/tile/0/..%2fentries%2f000",
        "/log/tile/0%2f000",
        "/log/tile//etc/passwd",
        "/log//etc/passwd",
        "/log/tile/%00",
        "/log/tile/0/000%00",
        "/log/tile/0/000/",
        "/log/tile/%ff%fe",
        "/log/checkpoint/",
        "/log/checkpoint/../wal",
        "/log/wal",
        "/log/",
        "/log/tile/",
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "http://gateway/log/../secret",
        "/log/tile/..\\..\\secret",
    ] {
        let answer = gateway.get(target).await;
        // `0%2f000` is the canonical tile, differently spelt: what it gives is public anyway.
        if target == "/log/tile/0%2f000" {
            assert_eq!((answer.status, answer.body.len()), (200, 256 * 32));
            continue;
        }
        assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
        let said = String::from_utf8_lossy(&answer.body);
        assert!(!said.contains("root:") && said != "secret" && answer.body != entries, "{target}: {said}");
    }
    assert_eq!(gateway.get("/log/tile/0/000").await.status, 200, "and it lives on");
    gateway.stop().await;
}

#[tokio::test]
async fn a_damaged_tile_is_not_served() {
    let (folder, key) = write_log().await;
    let tile = folder.path().join("log/tile/0/000");
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    for damage in [256 * 32 - 1, 256 * 32 + 1] {
        std::fs::remove_file(&tile).unwrap();
        std::fs::write(&tile, vec![0; damage]).unwrap();
        let answer = gateway.get("/log/tile/0/000").await;
        assert_eq!(answer.status, 500);
        assert_eq!(answer.text(), "this file of the log cannot be served now\n");
        assert!(answer.has("cache-control: no-store"), "{}", answer.head);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_is_strict_and_says_what_the_log_says() {
    let (folder, key) = write_log().await;
    let gateway = Running::start(&folder.path().join("log"), Some(&key)).await;
    let page = gateway.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.has(
        "content-security-policy: default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    ));
    assert!(page.has("x-content-type-options: nosniff") && page.has("referrer-policy: no-referrer"));
    for expected in ["mạng thử", ORIGIN, "<dd>300</dd>", "Đã kiểm tra", "Môi trường thử nghiệm"]
    {
        assert!(page.text().contains(expected), "missing {expected} in {}", page.text());
    }
    let style = gateway.get("/style.css").await;
    assert!(style.status == 200 && style.has("content-type: text/css; charset=utf-8"));
    let health = gateway.get("/health").await;
    assert!(
        health.text().contains("\"development\":true")
            && health.text().contains("\"detail\":\"300 entries\"")
    );
    assert_eq!(gateway.get("/ready").await.status, 200);
    gateway.stop().await;
}

#[tokio::test]
async fn a_log_signed_by_another_key_is_never_shown_as_checked() {
    let (folder, _) = write_log().await;
    let stranger = LogKey::generate(ORIGIN).unwrap().verifier().clone();
    let gateway = Running::start(&folder.path().join("log"), Some(&stranger)).await;
    let page = gateway.get("/").await;
    assert!(page.text().contains("Chưa đọc được nhật ký") && !page.text().contains("<dd>300</dd>"));
    assert_eq!(gateway.get("/ready").await.status, 503);
    gateway.stop().await;

    let unjudging = Running::start(&folder.path().join("log"), None).await;
    let page = unjudging.get("/").await;
    assert!(page.text().contains("<dd>300</dd>") && page.text().contains("Chưa kiểm tra"));
    unjudging.stop().await;
}

#[tokio::test]
async fn a_log_that_comes_later_is_found() {
    let (folder, key) = write_log().await;
    let (now, later) = (folder.path().join("log"), folder.path().join("later"));
    let gateway = Running::start(&later, Some(&key)).await;
    assert_eq!(gateway.get("/ready").await.status, 503);
    assert_eq!(gateway.get("/log/checkpoint").await.status, 404);
    assert_eq!(gateway.get("/").await.status, 200);
    std::fs::rename(now, later).unwrap();
    let ready = async {
        while gateway.get("/ready").await.status != 200 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, ready).await.unwrap();
    gateway.stop().await;
}

#[tokio::test]
async fn a_wrong_start_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = config(folder.path(), None);
    wrong.log_verifier_key = Some("no key".into());
    let refused = Gateway::open(wrong).await.unwrap_err();
    assert!(matches!(refused, GatewayError::LogKey(_)), "{refused}");

    let first = Gateway::open(config(folder.path(), None)).await.unwrap();
    let mut second = config(folder.path(), None);
    second.listen = first.local_addr().unwrap();
    let refused = Gateway::open(second).await.unwrap_err();
    assert!(refused.to_string().contains("is the port taken"), "{refused}");
}

#[tokio::test]
async fn the_admin_listener_serves_beside_the_public_one() {
    let folder = tempfile::tempdir().unwrap();
    // The system names a free port; nobody else of this test wants it.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = config(folder.path(), None);
    config.telemetry.admin_listen = Some(free);
    let gateway = Gateway::open(config).await.unwrap();
    let public = gateway.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(gateway.serve(async {
        let _ = stopped.await;
    }));
    assert!(get(free, "/metrics").await.text().contains("role=\"gateway\""));
    assert_eq!(get(public, "/metrics").await.status, 404);
    stop.send(()).unwrap();
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}
