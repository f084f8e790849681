//! How fast a journal is on this disk. Not run by default:
//! `cargo test --release -p lienthong-audit --test journal_speed -- --ignored --nocapture`.
//!
//! Goals: at least 60,000 durable records a second at 64 waiters; at most 20 µs of processor time a record,
//! everything counted (append, hash, commit, chain, wake-ups, and the runtime's own work).

#![allow(clippy::unwrap_used, clippy::expect_used)] // a panic is how a test fails

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use lienthong_audit::journal::{Handle, Journal, JournalOptions};
use lienthong_proto::lienthong::audit::v1::SignedBatch;

/// A closing record of a usual exchange has about this size.
const RECORD_BYTES: usize = 400;
const DURATION: Duration = Duration::from_secs(5);

fn open() -> (tempfile::TempDir, Journal) {
    // Beside the build, which is on a real disk; the system's folder for temporary files may be in memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = JournalOptions {
        backlog_records_max: u64::MAX,
        backlog_bytes_max: 4 << 30,
        ..JournalOptions::new("G01/node-1")
    };
    let journal = Journal::open(dir.path(), options, SystemTime::now()).unwrap();
    (dir, journal)
}

#[test]
#[ignore = "a measurement"]
fn durable_records_a_second() {
    for (threads, waiters) in [(1, 1), (1, 64), (2, 64), (2, 256), (2, 2000)] {
        let (_dir, journal) = open();
        let (cpu, start) = (process_cpu(), Instant::now());
        let mut latencies = load(&journal, threads, waiters);
        let (elapsed, cpu) = (start.elapsed(), process_cpu().saturating_sub(cpu));
        report(&format!("{waiters} waiters on {threads} runtimes"), &mut latencies, elapsed, cpu);
    }
}

#[test]
#[ignore = "a measurement"]
fn durable_records_a_second_while_shipping() {
    let (_dir, journal) = open();
    let position = lienthong_audit::batch::Position::start(journal.epoch()).to_proto();
    let mut shipper = journal.shipper(&position).unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&done);
    let shipping = std::thread::spawn(move || {
        runtime().block_on(async {
            let (mut batches, mut records) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let now = SystemTime::now();
                let _ = tokio::time::timeout(Duration::from_millis(20), shipper.ready(now)).await;
                // Gather for a moment, as a node does.
                tokio::time::sleep(Duration::from_millis(5)).await;
                while let Some(batch) = next(&mut shipper) {
                    batches += 1;
                    records += batch.items.len();
                    shipper.acknowledge(shipper.position().last_seq).unwrap();
                }
            }
            (batches, records)
        })
    });
    let (cpu, start) = (process_cpu(), Instant::now());
    let mut latencies = load(&journal, 2, 64);
    let (elapsed, cpu) = (start.elapsed(), process_cpu().saturating_sub(cpu));
    report("64 waiters on 2 runtimes, shipping", &mut latencies, elapsed, cpu);
    done.store(true, Ordering::Relaxed);
    let (batches, records) = shipping.join().unwrap();
    say(&format!("    shipped {records} records in {batches} batches; {:?}", journal.backlog()));
}

#[test]
#[ignore = "a measurement"]
fn append_alone() {
    let (_dir, journal) = open();
    let handle = journal.handle();
    let record = [7; RECORD_BYTES];
    let mut rounds = Vec::new();
    let start = Instant::now();
    while start.elapsed() < DURATION {
        let (round, mut last) = (Instant::now(), 0);
        for _ in 0..1000 {
            last = handle.append(record).unwrap().seq;
        }
        rounds.push(round.elapsed() / 1000);
        runtime().block_on(handle.durable(last)).unwrap();
    }
    // The median: other work on the machine lengthens some rounds.
    rounds.sort_unstable();
    say(&format!("append alone: {:?} a record", rounds[rounds.len() / 2]));
}

fn next(shipper: &mut lienthong_audit::journal::Shipper) -> Option<SignedBatch> {
    shipper.next_batch(SystemTime::now(), |_| Ok::<_, String>(vec![0; 64])).unwrap()
}

/// A closed loop; returns how long each record took until it was durable.
fn load(journal: &Journal, threads: usize, waiters: usize) -> Vec<Duration> {
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (handle, waiters) = (journal.handle(), waiters / threads);
            std::thread::spawn(move || runtime().block_on(tasks(handle, waiters)))
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

async fn tasks(handle: Handle, waiters: usize) -> Vec<Duration> {
    let end = Instant::now() + DURATION;
    let tasks: Vec<_> = (0..waiters)
        .map(|waiter| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let mut record = [7; RECORD_BYTES];
                record[..8].copy_from_slice(&(waiter as u64).to_be_bytes());
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let start = Instant::now();
                    let ticket = handle.append(record).unwrap();
                    handle.durable(ticket.seq).await.unwrap();
                    latencies.push(start.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.append(&mut task.await.unwrap());
    }
    all
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn report(what: &str, latencies: &mut [Duration], elapsed: Duration, cpu: Duration) {
    latencies.sort_unstable();
    let records = u32::try_from(latencies.len()).unwrap();
    let at = |part: usize| latencies[(latencies.len() - 1) * part / 1000];
    let rate = f64::from(records) / elapsed.as_secs_f64();
    say(&format!(
        "{what}: {rate:.0} records/s, p50 {:?}, p99 {:?}, p99.9 {:?}; {:?} of processor time a record",
        at(500),
        at(990),
        at(999),
        cpu / records
    ));
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

/// Processor time of every thread of this process so far, those that ended included.
fn process_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, in hundredths of a second (proc(5)).
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
