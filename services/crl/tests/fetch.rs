//! Against real HTTP servers that do what servers do: answer, stall, lie, break off, point elsewhere.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lienthong_certs::DevPki;
use lienthong_certs::judge::RevocationReason;
use lienthong_certs::pki::DevAuthority;
use lienthong_crl::keeper::KeepError;
use lienthong_crl::{FetchError, Keeper, Outcome, Pace};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that sends the same bytes to everybody, and then hangs up, or does not.
struct Server {
    port: u16,
    answer: Arc<Mutex<(Vec<u8>, bool)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (answer, asked) =
            (Arc::new(Mutex::new((Vec::new(), true))), Arc::<Mutex<Vec<String>>>::default());
        let server = Server { port, answer: Arc::clone(&answer), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        let mut some = [0; 1024];
                        match socket.read(&mut some).await {
                            Ok(read @ 1..) => request.extend(&some[..read]),
                            _ => return,
                        }
                    }
                    asked.lock().unwrap().push(String::from_utf8(request).unwrap());
                    let (bytes, hangs_up) = answer.lock().unwrap().clone();
                    // Whoever asked may have gone.
                    let _ = socket.write_all(&bytes).await;
                    if !hangs_up {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        server
    }

    fn says(&self, head: &str, body: &[u8]) {
        *self.answer.lock().unwrap() = ([head.as_bytes(), b"\r\n\r\n", body].concat(), true);
    }

    fn gives(&self, body: &[u8]) {
        self.says(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}", body.len()), body);
    }

    fn stalls_after(&self, bytes: &[u8]) {
        *self.answer.lock().unwrap() = (bytes.to_vec(), false);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct World {
    folder: TempDir,
    pki: DevPki,
    server: Server,
    keeper: Keeper,
}

impl World {
    async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), "vn-test").unwrap();
        let server = Server::start().await;
        let address = format!("http://127.0.0.1:{}/crl/state.crl", server.port).parse().unwrap();
        let keeper = Keeper { address, place: folder.path().join("kept/state.crl") };
        World { folder, pki, server, keeper }
    }

    /// The authority's newest list.
    fn list(&self) -> Vec<u8> {
        fs::read(self.pki.crl(DevAuthority::State).unwrap()).unwrap()
    }

    fn revoke_one(&self, id: &str) {
        let node = self.pki.issue_node("H29", "DEMO – Cơ quan thử", id, &["n1.h29.test"]).unwrap();
        self.pki.revoke(&node.binding, RevocationReason::KeyCompromise).unwrap();
    }

    async fn once(&self, timeout: Duration) -> Result<Outcome, KeepError> {
        self.keeper.once(&mut None, timeout, self.pki.anchors().unwrap()).await
    }

    fn kept(&self) -> Vec<u8> {
        fs::read(&self.keeper.place).unwrap()
    }
}

#[tokio::test]
async fn a_newer_list_is_kept_and_an_older_one_never_takes_its_place() {
    let world = World::new().await;
    let old = world.list();
    world.server.gives(&old);
    assert_eq!(world.once(PATIENCE).await.unwrap(), Outcome::Taken);
    assert_eq!(world.once(PATIENCE).await.unwrap(), Outcome::Unchanged);
    world.revoke_one("n1");
    let new = world.list();
    world.server.gives(&new);
    assert_eq!(world.once(PATIENCE).await.unwrap(), Outcome::Taken);
    world.server.gives(&old);
    assert_eq!(world.once(PATIENCE).await.unwrap(), Outcome::Unchanged);
    assert_eq!(world.kept(), new);
    let request = &world.server.asked()[0];
    assert!(request.starts_with("GET /crl/state.crl HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{}\r\n", world.server.port)), "{request}");
}

#[tokio::test]
async fn a_server_that_stalls_lies_breaks_off_or_points_elsewhere_changes_nothing() {
    let world = World::new().await;
    let list = world.list();
    world.server.gives(&list);
    world.once(PATIENCE).await.unwrap();
    world.revoke_one("n1");
    let next = world.list();
    let refused = async |timeout| match world.once(timeout).await.unwrap_err() {
        KeepError::Fetch(error) => error,
        other => panic!("{other}"),
    };

    let moment = Duration::from_millis(300);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", next.len());
    for stalled in [&b""[..], b"HTTP/1.1 200", head.as_bytes(), &[head.as_bytes(), &next[..9]].concat()] {
        world.server.stalls_after(stalled);
        assert!(matches!(refused(moment).await, FetchError::Timeout(300)));
    }
    let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}", next.len());
    world.server.says(&whole, &next[..next.len() - 1]);
    assert!(matches!(refused(PATIENCE).await, FetchError::Broken(_)), "it broke off");
    world.server.says("220 mail.example.vn ESMTP", b"");
    assert!(matches!(refused(PATIENCE).await, FetchError::Broken(_)), "it is no web server");
    world.server.says("HTTP/1.1 200 OK\r\ncontent-length: 99999999999", b"");
    assert!(matches!(refused(PATIENCE).await, FetchError::TooLarge));
    world.server.says("HTTP/1.1 404 Not Found\r\ncontent-length: 0", b"");
    assert!(matches!(refused(PATIENCE).await, FetchError::Status(status) if status == 404));
    world.server.says("HTTP/1.1 304 Not Modified\r\ncontent-length: 0", b"");
    assert!(matches!(refused(PATIENCE).await, FetchError::Redirect(_)), "nobody asked it for that");
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{}/other\r\ncontent-length: 0",
        world.server.port
    );
    world.server.says(&elsewhere, b"");
    let error = refused(PATIENCE).await;
    assert!(error.to_string().contains("/other"), "{error}");
    assert!(
        world.server.asked().iter().all(|request| request.starts_with("GET /crl/state.crl ")),
        "it was followed"
    );

    // Well sent, and no list that counts.
    let stranger = DevPki::create(&world.folder.path().join("stranger"), "vn-test").unwrap();
    let strangers = fs::read(stranger.crl(DevAuthority::State).unwrap()).unwrap();
    let mut altered = next.clone();
    *altered.last_mut().unwrap() ^= 1;
    for body in [&b"<html>sign in</html>"[..], b"", &strangers, &altered, &next[..next.len() / 2]] {
        world.server.gives(body);
        assert!(matches!(world.once(PATIENCE).await, Err(KeepError::List(_))));
    }
    assert_eq!(world.kept(), list);
    world.server.gives(&next);
    assert_eq!(world.once(PATIENCE).await.unwrap(), Outcome::Taken);
}

#[tokio::test]
async fn an_endless_answer_ends_at_the_bound() {
    let world = World::new().await;
    let most = usize::try_from(lienthong_certs::judge::CRL_BYTES_MAX).unwrap();
    world.server.says("HTTP/1.1 200 OK", &vec![0x30; most + 1]);
    assert!(matches!(world.once(PATIENCE).await, Err(KeepError::Fetch(FetchError::TooLarge))));
    assert!(!world.keeper.place.exists());
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_not_sent_again_and_a_failure_is_tried_again() {
    let world = World::new().await;
    let pace =
        Pace { interval: Duration::from_millis(20), retry_min: Duration::from_millis(5), timeout: PATIENCE };
    world.server.says("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0", b"");
    let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
    let (told, anchors) = (Arc::clone(&outcomes), world.pki.anchors().unwrap());
    let running = tokio::spawn(world.keeper.clone().run(
        pace,
        move || anchors.clone(),
        move |outcome| told.lock().unwrap().push(outcome),
    ));
    let until = async |wanted: Outcome, count: usize| {
        let seen = async {
            while outcomes.lock().unwrap().iter().filter(|outcome| **outcome == wanted).count() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap();
    };
    until(Outcome::Refused, 3).await;
    let list = world.list();
    let time = "last-modified: Sun, 22 Nov 2026 08:00:00 GMT";
    world.server.says(&format!("HTTP/1.1 200 OK\r\n{time}\r\ncontent-length: {}", list.len()), &list);
    until(Outcome::Taken, 1).await;
    world.server.says("HTTP/1.1 304 Not Modified", b"");
    until(Outcome::Unchanged, 2).await;
    running.abort();
    let conditional = "if-modified-since: Sun, 22 Nov 2026 08:00:00 GMT";
    assert!(world.server.asked().last().unwrap().contains(conditional));
    assert_eq!(world.kept(), list);
}
