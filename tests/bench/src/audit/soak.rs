//! An hour of records, by default: whether memory, the lag of the index and the disk stay where they were after a quarter of it.
//! A round is half a minute; each is told on stderr.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::ingest::{House, Phase, catch_up, ship};
use super::{Site, bytes_below, float};
use crate::goal::Goal;
use crate::mesh::{metrics, value};
use crate::out;
use crate::process::Process;
use crate::quantile::quantile;

/// Records a second of all nodes together: a busy day of the whole country, all day long.
const OFFERED: u64 = 4_000;
const ROUND_SECONDS: u64 = 30;
/// Memory may grow by this much after the first quarter: caches fill up.
const GROWTH_MAX: f64 = 1.25;
/// How far the index may lag at the end of a round: what comes in a minute.
const LAG_ENTRIES_MAX: f64 = 60.0 * 4_000.0;

/// What the broker was like after a round.
#[derive(Debug, Clone, Copy)]
struct Look {
    memory_bytes: u64,
    lag_entries: u64,
    /// Bytes on disk, and of the records so far.
    disk: f64,
}

/// Measures it for so long.
pub fn run(site: &Site, minutes: u64) -> anyhow::Result<Vec<Goal>> {
    tokio::runtime::Runtime::new()?.block_on(measure(site, minutes))
}

async fn measure(site: &Site, minutes: u64) -> anyhow::Result<Vec<Goal>> {
    let House { broker, files, mut nodes } = House::open(site, "soak").await?;
    let until = Instant::now() + Duration::from_secs(if site.small { 4 } else { minutes * 60 });
    let seconds = if site.small { 1 } else { ROUND_SECONDS };
    let phase = Phase { name: "a round", offered: Some(OFFERED), seconds };
    let (mut looks, mut waits, mut bytes, mut records) = (Vec::new(), Vec::new(), 0, 0);
    while Instant::now() < until {
        // A connection lives for an hour: a stream that went on for longer would be cut in the middle.
        for node in &mut nodes {
            node.reopen().await?;
        }
        let taken = ship(&mut nodes, phase, site.small).await?;
        (bytes, records) = (bytes + taken.bytes, records + taken.records);
        waits.extend(taken.waits);
        let look = Look {
            memory_bytes: resident(&broker)?,
            lag_entries: value(&metrics(files.admin).await?, "lienthong_broker_index_lag_entries", "")
                .context("the broker tells no lag")?,
            disk: float(bytes_below(&files.data_dir)?) / float(bytes),
        };
        out::note(&format!("{records} records: {look:?}"));
        looks.push(look);
    }
    let begun = Instant::now();
    catch_up(files.admin).await?;
    let caught_up = begun.elapsed().as_secs_f64();
    waits.sort_unstable();
    let quarter = looks.get(looks.len() / 4).context("no round was made")?;
    let memory = looks.iter().map(|look| look.memory_bytes).max().unwrap_or_default();
    let lag = looks.iter().map(|look| look.lag_entries).max().unwrap_or_default();
    let disk = looks.last().map_or(0.0, |look| look.disk);
    let mib = |bytes: u64| float(bytes) / 1024.0 / 1024.0;
    Ok(vec![
        Goal::told("soak: records", float(records), "records"),
        Goal::told("soak: receipt p99", float(quantile(&waits, 0.99).unwrap_or(0)) / 1000.0, "ms"),
        Goal::told("soak: memory of the broker, most", mib(memory), "MiB"),
        Goal::at_most(
            "soak: memory, most of that after a quarter",
            float(memory) / float(quarter.memory_bytes),
            "ratio",
            GROWTH_MAX,
        ),
        Goal::at_most("soak: lag of the index, most", float(lag), "entries", LAG_ENTRIES_MAX),
        Goal::told("soak: index caught up after", caught_up, "s"),
        Goal::at_most("soak: disk bytes, of the records' own", disk, "ratio", 3.0),
    ])
}

/// Bytes that a process holds in memory.
fn resident(process: &Process) -> anyhow::Result<u64> {
    let pid = process.pid().context("the broker has ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = kib.and_then(|rest| rest.split_whitespace().next()).context("no VmRSS")?;
    Ok(kib.parse::<u64>()? * 1024)
}
