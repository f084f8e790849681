//! A node's journal under 64 waiters, each of which waits until its record is durable: records a second, and processor time a
//! record, everything counted.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use lienthong_audit::journal::{Handle, Journal, JournalOptions};

use super::{Site, float};
use crate::goal::Goal;
use crate::quantile::quantile;

/// A closing record of a usual exchange has about this size.
const RECORD_BYTES: usize = 400;
const WAITERS: usize = 64;
const THREADS: usize = 2;

/// Measures it.
pub fn run(site: &Site) -> anyhow::Result<Vec<Goal>> {
    let options = JournalOptions {
        backlog_records_max: u64::MAX,
        backlog_bytes_max: if site.small { 256 << 20 } else { 4 << 30 },
        ..JournalOptions::new("agencies/G01/nodes/n1")
    };
    let journal = Journal::open(site.dir("journal")?, options, SystemTime::now())?;
    let lasts = Duration::from_secs(if site.small { 1 } else { 10 });
    let (cpu, begun) = (process_cpu()?, Instant::now());
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let handle = journal.handle();
            std::thread::spawn(move || waiters(&handle, begun + lasts))
        })
        .collect();
    let mut waits = Vec::new();
    for thread in threads {
        waits.extend(thread.join().ok().context("a thread ended")??);
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), process_cpu()?.saturating_sub(cpu));
    waits.sort_unstable();
    let records = float(waits.len() as u64);
    let wait = |share| float(quantile(&waits, share).unwrap_or(0)) / 1000.0;
    Ok(vec![
        Goal::at_least("journal: durable records/s at 64 waiters", records / seconds, "records/s", 60_000.0),
        Goal::at_most(
            "journal: processor time a record, all of it",
            cpu.as_secs_f64() * 1e6 / records,
            "µs",
            20.0,
        ),
        Goal::told("journal: wait until durable, p50", wait(0.5), "ms"),
        Goal::told("journal: wait until durable, p99", wait(0.99), "ms"),
    ])
}

/// A closed loop; how long each record took until it was durable, microseconds.
fn waiters(handle: &Handle, until: Instant) -> anyhow::Result<Vec<u64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tasks: Vec<_> = (0..WAITERS / THREADS)
            .map(|waiter| {
                let handle = handle.clone();
                tokio::spawn(async move {
                    let mut record = [7; RECORD_BYTES];
                    record[..8].copy_from_slice(&(waiter as u64).to_be_bytes());
                    let mut waits = Vec::new();
                    while Instant::now() < until {
                        let begun = Instant::now();
                        let ticket = handle.append(record)?;
                        handle.durable(ticket.seq).await?;
                        waits.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
                    }
                    anyhow::Ok(waits)
                })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.extend(task.await??);
        }
        Ok(all)
    })
}

/// Processor time of every thread of this process so far, those that ended included.
fn process_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/self/stat")?;
    // utime and stime, in hundredths of a second (proc(5)).
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}
