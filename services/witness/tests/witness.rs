//! A witness over real HTTP: every answer of C2SP tlog-witness, and a memory that survives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::merkle::{consistency_proof, root_of};
use lienthong_audit::note::{KeyKind, Note, SigningKey};
use lienthong_audit::witness::{AddCheckpoint, REQUEST_BYTES_MAX, SIZE_MEDIA_TYPE, origin_hash};
use lienthong_telemetry::{Identity, Metrics};
use lienthong_witness::metrics::WitnessMetrics;
use lienthong_witness::{Memory, MemoryError, Witness, WitnessConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const ORIGIN: &str = "log.example/1";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[1; 32]).unwrap()
}

fn witness_key() -> SigningKey {
    SigningKey::from_seed("witness.example/1", KeyKind::CosignatureV1, &[2; 32]).unwrap()
}

fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|number| leaf_hash(&number.to_be_bytes())).collect()
}

/// A request of an honest log.
fn request(old_size: u64, size: u64) -> AddCheckpoint {
    let Ok(proof) = consistency_proof(old_size, size, &leaves(size)[..]);
    AddCheckpoint {
        old_size,
        proof: proof.unwrap_or_default(),
        checkpoint: signed(size, root_of(&leaves(size))),
    }
}

fn signed(size: u64, root: Hash) -> String {
    Checkpoint::new(ORIGIN, size, root).sign(&log_key()).unwrap().to_string()
}

fn config(dir: &Path) -> WitnessConfig {
    let key = dir.join("witness.key");
    if !key.exists() {
        lienthong_certs::files::create_private(&key, witness_key().to_skey().unwrap().as_bytes()).unwrap();
    }
    WitnessConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: dir.join("data"),
        key,
        logs: vec![log_key().verifier().to_string()],
        ..WitnessConfig::sample()
    }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(dir: &Path) -> Running {
        let witness = Witness::open(config(dir)).await.unwrap();
        let address = witness.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            witness.serve(async move { drop(stopped.await) }).await.unwrap();
        });
        Running { address, stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap();
    }

    /// Status, head and body.
    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: witness\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        // A witness that refuses early need not read all of it.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
    }

    async fn add(&self, request: &AddCheckpoint) -> (u16, String, String) {
        self.ask("POST", "/add-checkpoint", &request.to_string()).await
    }
}

/// The lines of an answer as cosignatures of `checkpoint`; their time.
fn cosigned(checkpoint: &str, lines: &str) -> u64 {
    let note: Note = format!("{checkpoint}{lines}").parse().unwrap();
    let (log, witness) = (log_key(), witness_key());
    let verified = note.verify([log.verifier(), witness.verifier()]).unwrap();
    assert_eq!(verified.len(), 2);
    verified.iter().find_map(|signature| signature.time_s).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_and_every_refusal_has_its_status() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Running::start(dir.path()).await;
    let shown = format!("/{}/checkpoint", origin_hash(ORIGIN));
    assert_eq!(witness.ask("GET", &shown, "").await.0, 404);

    let first = request(0, 5);
    let (status, _, lines) = witness.add(&first).await;
    assert_eq!(status, 200, "{lines}");
    assert!(cosigned(&first.checkpoint, &lines) > 1_700_000_000);
    let next = request(5, 300);
    let (status, _, lines) = witness.add(&next).await;
    assert_eq!(status, 200, "{lines}");
    cosigned(&next.checkpoint, &lines);
    let (status, _, kept) = witness.ask("GET", &shown, "").await;
    assert_eq!((status, kept), (200, format!("{}{lines}", next.checkpoint)));

    // Who stands elsewhere is told where the witness stands.
    let (status, head, body) = witness.add(&request(5, 400)).await;
    assert_eq!((status, body.as_str()), (409, "300\n"));
    assert!(head.contains(&format!("content-type: {SIZE_MEDIA_TYPE}")), "{head}");
    // The same tree again is cosigned again; another one of that size is not.
    assert_eq!(witness.add(&request(300, 300)).await.0, 200);
    let other = AddCheckpoint { checkpoint: signed(300, leaf_hash(b"other")), ..request(300, 300) };
    assert_eq!(witness.add(&other).await.0, 422);
    let grown = AddCheckpoint { checkpoint: signed(301, leaf_hash(b"other")), ..request(300, 301) };
    assert_eq!(witness.add(&grown).await.0, 422);
    assert_eq!(witness.add(&AddCheckpoint { old_size: 302, ..request(300, 301) }).await.0, 400);
    assert_eq!(witness.ask("POST", "/add-checkpoint", "hello").await.0, 400);
    let stranger = SigningKey::generate(ORIGIN, KeyKind::Ed25519).unwrap();
    let forged = Checkpoint::new(ORIGIN, 301, leaf_hash(b"x")).sign(&stranger).unwrap().to_string();
    assert_eq!(witness.add(&AddCheckpoint { checkpoint: forged, ..request(300, 301) }).await.0, 403);
    let unknown = SigningKey::generate("elsewhere", KeyKind::Ed25519).unwrap();
    let unknown = Checkpoint::new("elsewhere", 1, leaf_hash(b"x")).sign(&unknown).unwrap().to_string();
    assert_eq!(witness.add(&AddCheckpoint { checkpoint: unknown, ..request(0, 1) }).await.0, 404);
    let long = "a".repeat(REQUEST_BYTES_MAX + 1);
    assert_eq!(witness.ask("POST", "/add-checkpoint", &long).await.0, 413);
    assert_eq!(witness.ask("GET", "/add-checkpoint", "").await.0, 405);
    assert_eq!(witness.ask("GET", "/../../etc/passwd/checkpoint", "").await.0, 404);
    witness.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_that_comes_back_has_forgotten_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let witness = Running::start(dir.path()).await;
    let (status, _, lines) = witness.add(&request(0, 40)).await;
    assert_eq!(status, 200);
    let before = cosigned(&request(0, 40).checkpoint, &lines);
    witness.stop().await;

    let witness = Running::start(dir.path()).await;
    assert_eq!(witness.add(&request(0, 7)).await.0, 409);
    let (status, _, lines) = witness.add(&request(40, 41)).await;
    assert_eq!(status, 200);
    assert!(cosigned(&request(40, 41).checkpoint, &lines) >= before);
    witness.stop().await;
}

#[test]
fn of_many_requests_at_once_each_continues_what_was_cosigned_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let memory =
        Arc::new(Memory::open(dir.path(), witness_key(), vec![log_key().verifier().clone()]).unwrap());
    let given = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for first in 1..=4 {
            let (memory, given) = (&memory, &given);
            scope.spawn(move || {
                for size in (first..60).step_by(3) {
                    for old in 0..size {
                        if memory.add(&request(old, size).to_string(), 1_800_000_000).is_ok() {
                            given.lock().unwrap().push((old, size));
                        }
                    }
                }
            });
        }
    });
    let mut given = given.into_inner().unwrap();
    given.sort_unstable();
    assert!(given.len() > 3, "{given:?}");
    // Each cosigned step begins where another one ended: one chain, no branch.
    let mut stands = 0;
    for (old, size) in given {
        assert_eq!(old, stands);
        stands = size;
    }
    assert_eq!(memory.sizes(), [(ORIGIN.to_owned(), stands)]);
}

#[test]
fn a_clock_that_went_back_gives_no_earlier_time() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::open(dir.path(), witness_key(), vec![log_key().verifier().clone()]).unwrap();
    let first = memory.add(&request(0, 1).to_string(), 2_000_000_000).unwrap();
    assert_eq!(cosigned(&request(0, 1).checkpoint, &first.line), 2_000_000_000);
    let second = memory.add(&request(1, 2).to_string(), 1_000_000_000).unwrap();
    assert_eq!(cosigned(&request(1, 2).checkpoint, &second.line), 2_000_000_000);
}

#[test]
fn a_damaged_or_foreign_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let logs = || vec![log_key().verifier().clone()];
    let open = || Memory::open(dir.path(), witness_key(), logs());
    let memory = open().unwrap();
    assert!(matches!(open(), Err(MemoryError::Locked(_))), "two witnesses with one memory");
    memory.add(&request(0, 9).to_string(), 1_800_000_000).unwrap();
    drop(memory);
    let file = dir.path().join(format!("{}.checkpoint", origin_hash(ORIGIN)));
    let good = std::fs::read(&file).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&file, bad).unwrap();
        assert!(matches!(open(), Err(MemoryError::Damaged { .. })), "byte {at}");
    }
    std::fs::write(&file, &good).unwrap();
    let other = SigningKey::generate("witness.example/1", KeyKind::CosignatureV1).unwrap();
    assert!(matches!(Memory::open(dir.path(), other, logs()), Err(MemoryError::Damaged { .. })));
    assert_eq!(open().unwrap().sizes(), [(ORIGIN.to_owned(), 9)]);
}

#[test]
fn a_head_that_cannot_be_made_durable_is_never_cosigned() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::open(dir.path(), witness_key(), vec![log_key().verifier().clone()]).unwrap();
    // Where the new head is written beside the old one there is a folder.
    std::fs::create_dir(dir.path().join(format!("{}.checkpoint.new", origin_hash(ORIGIN)))).unwrap();
    memory.add(&request(0, 3).to_string(), 1_800_000_000).unwrap_err();
    assert!(memory.failure().is_some());
    // The disk may be well again; what it holds is not known, so the witness must be started again.
    std::fs::remove_dir(dir.path().join(format!("{}.checkpoint.new", origin_hash(ORIGIN)))).unwrap();
    memory.add(&request(0, 3).to_string(), 1_800_000_000).unwrap_err();
    assert_eq!(memory.sizes(), [(ORIGIN.to_owned(), 0)]);
}

#[test]
fn the_metrics_are_those_that_were_reviewed() {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::open(dir.path(), witness_key(), vec![log_key().verifier().clone()]).unwrap();
    let identity = Identity { role: "witness".to_owned(), mesh: "vn-test".to_owned(), development: true };
    let (register, metrics) = (Metrics::new(&identity), WitnessMetrics::default());
    metrics.register(&register, &Arc::new(memory));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/metrics.txt");
    if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, register.list()).unwrap();
    }
    register.check_golden(&std::fs::read_to_string(golden).unwrap()).unwrap();
    assert!(register.encode().unwrap().contains("lienthong_witness_log_size{origin=\"log.example/1\"} 0"));
}
