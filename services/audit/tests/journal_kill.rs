//! `kill -9` of a real process under load, again and again, on one journal.
//!
//! The child appends records from two runtimes and prints the number of each one once it is durable. The parent
//! kills it at some point, opens the journal, and demands every record that was printed, as it was, exactly once.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use lienthong_audit::batch::{Checker, Position};
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::journal::{self, Handle, Journal, JournalOptions};
use lienthong_audit::record::{self, RECORD_VERSION};
use lienthong_proto::lienthong::audit::v1::{Denial, Record, record::Body};

const ROUNDS: u64 = 12;
const THREADS: u64 = 2;
const TASKS: u64 = 16;
const FOLDER: &str = "JOURNAL_KILL_FOLDER";
const ROUND: &str = "JOURNAL_KILL_ROUND";

fn options() -> JournalOptions {
    JournalOptions {
        segment_bytes_max: 256 * 1024,
        backlog_bytes_max: 64 * 1024 * 1024,
        ..JournalOptions::new("G01/node-1")
    }
}

fn open(dir: &Path) -> Journal {
    Journal::open(dir, options(), SystemTime::now()).unwrap()
}

#[test]
fn no_durable_record_is_lost_and_none_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<u64, String> = HashMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(FOLDER, dir.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed after some number of records, at whatever point it then is.
        let until = 300 + 777 * round;
        let mut taken = 0;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| {
            let Some((seq, leaf)) = line.strip_prefix("durable ").and_then(|line| line.split_once(' '))
            else {
                return false;
            };
            // The last line may be cut short by the kill.
            if leaf.len() == 64 {
                assert_eq!(
                    acknowledged.insert(seq.parse().unwrap(), leaf.to_owned()),
                    None,
                    "{seq} was given twice"
                );
            }
            true
        };
        while taken < until {
            taken += u64::from(take(lines.next().expect("the child ended by itself").unwrap()));
        }
        child.kill().unwrap();
        // What it had printed before it died counts too.
        for line in lines.map_while(Result::ok) {
            take(line);
        }
        child.wait().unwrap();
        verify(dir.path(), &acknowledged);
    }
    assert!(acknowledged.len() as u64 > ROUNDS * 300);
}

/// Reads the journal twice, from its files and as the broker would, and compares.
fn verify(dir: &Path, acknowledged: &HashMap<u64, String>) {
    let journal = open(dir);
    let last_seq = journal.durable_seq();
    let mut broker = Checker::new("G01/node-1", Position::start(journal.epoch()));
    let mut shipper = journal.shipper(&broker.position().to_proto()).unwrap();
    let mut leaves: Vec<Hash> = Vec::new();
    while let Some(batch) = shipper.next_batch(SystemTime::now(), |_| Ok::<_, String>(vec![])).unwrap() {
        let judged = broker.check(&batch, |_, _| Ok::<_, String>(())).unwrap();
        leaves.extend(judged.entries.iter().map(|entry| leaf_hash(&entry.bytes)));
        broker.accept(judged.position);
    }
    assert_eq!(leaves.len() as u64, last_seq);
    for (seq, leaf) in acknowledged {
        let found = usize::try_from(seq - 1).ok().and_then(|at| leaves.get(at)).map(ToString::to_string);
        assert_eq!(found.as_ref(), Some(leaf), "record {seq} of {last_seq}");
    }
    let mut unique = leaves.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), leaves.len(), "a record is there twice");
    drop(shipper);
    journal.close().unwrap();
    let checked = journal::check(dir).unwrap();
    assert_eq!((checked.first_seq, checked.last_seq, checked.head), (1, last_seq, broker.position().head));
}

/// Not a test: the process that is killed.
#[test]
#[ignore = "the child of the test above"]
fn child() {
    let (Some(dir), Ok(round)) = (std::env::var_os(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let journal = open(Path::new(&dir));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (handle, round) = (journal.handle(), round.clone());
            std::thread::spawn(move || load(&handle, &round, thread))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn load(handle: &Handle, round: &str, thread: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let (handle, name) = (handle.clone(), format!("{round}-{thread}-{task}"));
                tokio::spawn(async move {
                    for n in 0_u64.. {
                        let ticket = handle.append(denial(&format!("{name}-{n}"))).unwrap();
                        tokio::time::timeout(Duration::from_secs(30), handle.durable(ticket.seq))
                            .await
                            .unwrap()
                            .unwrap();
                        let line = format!("durable {} {}\n", ticket.seq, ticket.leaf_hash);
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

fn denial(detail: &str) -> Vec<u8> {
    let denial = Denial { detail: detail.to_owned(), ..Denial::default() };
    record::encode(&Record { version: RECORD_VERSION, body: Some(Body::Denial(denial)), ..Record::default() })
        .unwrap()
}
