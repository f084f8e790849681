//! kill -9 of a real process that commits, again and again on one store: no acknowledged commit is lost, no batch is
//! torn.
//!
//! The parent starts this test binary anew as the child (`child`, below), reads its acknowledgements from a pipe, and
//! kills it at a moment that differs each time.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use lienthong_store::{Batch, KeyRange, Revision, SledOptions, SledStore, Store};
use tokio::process::Command;
use tokio::sync::oneshot;

const FOLDER: &str = "LIENTHONG_STORE_CRASH_FOLDER";
const ROUND: &str = "LIENTHONG_STORE_CRASH_ROUND";
const ROUNDS: u64 = 25;
const WORKERS: u64 = 6;

/// One acknowledgement of a child.
struct Acknowledged {
    worker: String,
    number: u64,
    revision: u64,
}

#[tokio::test]
async fn no_acknowledged_commit_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    // The last number that each worker of each round was acknowledged, and the last revision.
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    let mut revision = 0;
    for round in 0..ROUNDS {
        for acknowledged in run_and_kill(folder.path(), round).await {
            numbers.insert(acknowledged.worker, acknowledged.number);
            revision = revision.max(acknowledged.revision);
        }
        let store = SledStore::open(folder.path(), SledOptions::default()).await.unwrap();
        let reached = store.verify().await.unwrap().revision;
        assert!(reached >= Revision(revision), "{reached} after {revision} was acknowledged");
        for (worker, number) in &numbers {
            let found = store.get(format!("{worker}/a").as_bytes()).await.unwrap().expect(worker);
            let found: u64 = std::str::from_utf8(&found.value[..20]).unwrap().trim().parse().unwrap();
            assert!(found >= *number, "{worker}: {found} after {number} was acknowledged");
        }
        // Both keys of a batch, or none.
        let page = store.range(&KeyRange::all(), 1_000).await.unwrap();
        for pair in page.entries.chunks(2) {
            assert_eq!((&pair[0].value, pair[0].revision), (&pair[1].value, pair[1].revision));
        }
        store.close().await.unwrap();
    }
    assert!(revision > ROUNDS * WORKERS, "only {revision} commits: the children hardly ran");
}

/// Starts a child and kills it a while after its first acknowledgement; answers all acknowledgements that it gave.
async fn run_and_kill(folder: &Path, round: u64) -> Vec<Acknowledged> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap().into_owned_fd().unwrap();
    let (first, started) = oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || read_acknowledgements(output.into(), first));
    tokio::time::timeout(Duration::from_secs(60), started).await.expect("the child never committed").unwrap();
    // From at once to a good while later, in steps that are not those of the disk.
    tokio::time::sleep(Duration::from_micros(round * round * 331 % 150_000)).await;
    child.kill().await.unwrap();
    reader.await.unwrap()
}

fn read_acknowledgements(output: std::fs::File, first: oneshot::Sender<()>) -> Vec<Acknowledged> {
    let mut first = Some(first);
    let mut all = Vec::new();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // The last line may be cut in the middle: it counts only with its end mark.
        if let ["ack", worker, number, revision, "."] = line.split(' ').collect::<Vec<_>>()[..] {
            let (number, revision) = (number.parse().unwrap(), revision.parse().unwrap());
            all.push(Acknowledged { worker: worker.to_owned(), number, revision });
            if let Some(first) = first.take() {
                first.send(()).unwrap();
            }
        }
    }
    all
}

/// The process that is killed: some workers, each committing pairs of one value and telling what was acknowledged.
#[test]
#[ignore = "started by no_acknowledged_commit_is_lost, as a process of its own"]
fn child() {
    let (Ok(folder), Ok(round)) = (env::var(FOLDER), env::var(ROUND)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SledStore::open(Path::new(&folder), SledOptions::default()).await.unwrap();
        let work = |worker: u64| {
            let (store, name) = (&store, format!("{round:0>3}-{worker}"));
            async move {
                for number in 0usize.. {
                    // Short values and long ones.
                    let value = format!("{number:>20}{}", "x".repeat(number % 4 * 3_000));
                    let batch =
                        Batch::new().put(format!("{name}/a"), value.clone()).put(format!("{name}/b"), value);
                    let revision = store.commit(batch).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {name} {number} {revision} .").unwrap();
                    out.flush().unwrap();
                }
            }
        };
        join_all((0..WORKERS).map(work)).await;
    });
}
