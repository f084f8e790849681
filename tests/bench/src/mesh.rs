//! Contestants d and e: two nodes and a broker, real processes of the `lienthong` program, everything on.
//!
//! After each measurement the records are counted where an operator would look: the nodes' own metrics and the
//! broker's. Every answered call must have left one pair of records, no more and no fewer.

mod catalog;
mod files;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::contestant::{Site, text};
use crate::host;
use crate::process::{Process, Stdout};
use crate::summary::Recorded;
use files::Files;
pub use files::{BrokerFiles, free_addresses};

/// How long the broker may take to have all records of one measurement.
const DRAIN_TIMEOUT_MS: u64 = 120_000;
/// A node that has started is idle after this time, milliseconds: its allocator has given back what the start took.
const IDLE_AFTER_MS: u64 = 3_000;

/// How long all parts may take to agree on the rights.
const RIGHTS_TIMEOUT_MS: u64 = 240_000;
/// How long the log must stand still at the start before it is counted.
const STILL_MS: u64 = 700;
/// Pause between two looks.
const LOOK_INTERVAL_MS: u64 = 10;
/// Largest page of metrics that is read.
const METRICS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Records of one exchange: one of each side.
const RECORDS_PER_EXCHANGE: u64 = 2;
/// Under the gate `RECEIPT` the opening is a record of its own.
const RECORDS_PER_RECEIPTED_EXCHANGE: u64 = 4;

/// The mesh, running.
pub struct Mesh {
    /// The consumer's, then the provider's.
    nodes: Vec<Process>,
    broker: Process,
    address: SocketAddr,
    /// Admin listeners of the nodes and of the broker.
    node_admins: [SocketAddr; 2],
    broker_admin: SocketAddr,
    /// Records that one answered call leaves on the log.
    records_per_exchange: u64,
    /// What was counted last.
    counted: Counts,
    /// Memory of each node before the first call, bytes.
    idle_bytes: [u64; 2],
    launcher: Launcher,
    /// Configurations of the nodes.
    node_configs: [PathBuf; 2],
}

/// Starts parts of a mesh.
struct Launcher {
    lienthong: PathBuf,
    logs: PathBuf,
    gate: String,
}

impl Launcher {
    fn start(&self, name: &str, role: &str, config: &Path) -> anyhow::Result<Process> {
        let arguments = [role, "run", "--config", text(config)?, "--with-parent"];
        Process::start(&format!("{name} {}", self.gate), &self.lienthong, arguments, &self.logs, Stdout::Log)
    }
}

/// Names of the nodes' processes, the consumer's first.
const NODE_NAMES: [&str; 2] = ["node-H26.90", "node-G01"];

/// What the parts say they have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    /// Answers delivered, by each node.
    delivered: [u64; 2],
    /// Records of nodes that are durable in the broker's log; the seals of batches are counted apart.
    log: u64,
}

impl Mesh {
    /// Starts broker and nodes, and waits until all decide by the same rights; answers pass the release gate `gate`.
    pub async fn start(site: &Site, backend: SocketAddr, gate: &str) -> anyhow::Result<Self> {
        let folder = site.data.join(gate);
        let files = Files::write(&folder, site, backend, gate)?;
        let launcher =
            Launcher { lienthong: site.lienthong.clone(), logs: site.data.clone(), gate: gate.to_owned() };
        let mut broker = launcher.start("broker", "broker", &files.broker)?;
        broker.ready(async || is_ready(files.broker_admin).await).await?;
        let mut nodes = Vec::with_capacity(NODE_NAMES.len());
        for (name, config) in NODE_NAMES.iter().zip(&files.nodes) {
            nodes.push(launcher.start(name, "node", config)?);
        }
        for (node, admin) in nodes.iter_mut().zip(files.node_admins) {
            node.ready(async || is_ready(admin).await).await?;
        }
        let mut mesh = Self {
            nodes,
            broker,
            address: files.local_listener,
            node_admins: files.node_admins,
            broker_admin: files.broker_admin,
            records_per_exchange: match gate {
                "RECEIPT" => RECORDS_PER_RECEIPTED_EXCHANGE,
                _ => RECORDS_PER_EXCHANGE,
            },
            counted: Counts { delivered: [0; 2], log: 0 },
            idle_bytes: [0; 2],
            launcher,
            node_configs: files.nodes,
        };
        let agreeing = tokio::time::timeout(Duration::from_millis(RIGHTS_TIMEOUT_MS), mesh.agree());
        agreeing.await.context("the nodes do not come to decide by the broker's newest rights")??;
        mesh.counted = mesh.stand_still().await?;
        tokio::time::sleep(Duration::from_millis(IDLE_AFTER_MS)).await;
        for (bytes, node) in mesh.idle_bytes.iter_mut().zip(&mesh.nodes) {
            *bytes = host::resident_bytes(node.pid().context("a node ended")?)?;
        }
        Ok(mesh)
    }

    /// Where the consumer's system calls.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The consumer's node, the provider's, the broker.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().chain([&self.broker])
    }

    /// Memory of the larger node before the first call, bytes.
    pub fn idle_bytes(&self) -> u64 {
        self.idle_bytes.into_iter().max().unwrap_or(0)
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Process] {
        &self.nodes
    }

    /// Ends the consumer's node, starts it again, and tells how long that took until it served. What it counted begins anew.
    pub async fn restart_node(&mut self) -> anyhow::Result<Duration> {
        drop(self.nodes.remove(0));
        let begun = Instant::now();
        let node = self.launcher.start(NODE_NAMES[0], "node", &self.node_configs[0])?;
        self.nodes.insert(0, node);
        while !is_ready(self.node_admins[0]).await {
            ensure!(
                begun.elapsed() < Duration::from_millis(RIGHTS_TIMEOUT_MS),
                "a node does not start again"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        self.counted = self.stand_still().await?;
        Ok(took)
    }

    /// Starts it so often; how long each took, milliseconds.
    pub async fn restarts(&mut self, times: usize) -> anyhow::Result<Vec<f64>> {
        let mut took = Vec::with_capacity(times);
        for _ in 0..times {
            took.push(self.restart_node().await?.as_secs_f64() * 1e3);
        }
        Ok(took)
    }

    /// Waits until the broker has the records of one stream: its pair, and those of its progress.
    pub async fn settle_stream(&mut self) -> anyhow::Result<()> {
        let before = self.counted;
        let now = self.stand_still().await?;
        let records = now.log - before.log;
        ensure!(
            now.delivered == before.delivered.map(|count| count + 1) && records >= self.records_per_exchange,
            "one stream was answered, but the records do not come to the log: {before:?}, then {now:?}"
        );
        self.counted = now;
        Ok(())
    }

    /// Waits until the broker has the records of `answered` calls, and checks that there are as many as there must be.
    pub async fn settle(&mut self, answered: u64) -> anyhow::Result<Recorded> {
        let begun = Instant::now();
        let before = self.counted;
        let records = self.records_per_exchange * answered;
        let expected =
            Counts { delivered: before.delivered.map(|count| count + answered), log: before.log + records };
        let mut now = self.counts().await?;
        let backlog = expected.log.saturating_sub(now.log);
        while now != expected {
            let over =
                now.log > expected.log || now.delivered.iter().zip(expected.delivered).any(|(a, b)| *a > b);
            let late = begun.elapsed() > Duration::from_millis(DRAIN_TIMEOUT_MS);
            ensure!(
                !over && !late,
                "{answered} calls were answered, but the records {}: expected {expected:?}, counted {now:?}",
                if over { "are too many" } else { "do not come to the log" },
            );
            pause().await;
            now = self.counts().await?;
        }
        self.counted = now;
        Ok(Recorded { records, backlog, drain_seconds: begun.elapsed().as_secs_f64() })
    }

    /// Waits until the provider's contract is published and both nodes decide by the epoch that came of it.
    async fn agree(&self) -> anyhow::Result<()> {
        loop {
            let broker = metrics(self.broker_admin).await?;
            let epoch = value(&broker, "lienthong_broker_epoch", "");
            let published = value(&broker, "lienthong_broker_contracts_total", r#"outcome="published""#);
            let mut agreed = published.is_some_and(|contracts| contracts > 0);
            for admin in self.node_admins {
                agreed &= value(&metrics(admin).await?, "lienthong_node_epoch", "") == epoch;
            }
            if agreed {
                return Ok(());
            }
            pause().await;
        }
    }

    /// Waits until what the start itself recorded is on the log.
    async fn stand_still(&self) -> anyhow::Result<Counts> {
        let (mut counts, mut since) = (self.counts().await?, Instant::now());
        while since.elapsed() < Duration::from_millis(STILL_MS) {
            pause().await;
            let now = self.counts().await?;
            if now != counts {
                (counts, since) = (now, Instant::now());
            }
        }
        Ok(counts)
    }

    async fn counts(&self) -> anyhow::Result<Counts> {
        let mut delivered = [0; 2];
        for (count, admin) in delivered.iter_mut().zip(self.node_admins) {
            let metrics = metrics(admin).await?;
            *count = value(&metrics, "lienthong_node_exchanges_total", r#"status="DELIVERED""#).unwrap_or(0);
        }
        let log = value(&metrics(self.broker_admin).await?, "lienthong_broker_journal_entries_total", "");
        Ok(Counts { delivered, log: log.context("the broker does not tell how many records it has")? })
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(LOOK_INTERVAL_MS)).await;
}

async fn is_ready(admin: SocketAddr) -> bool {
    get(admin, "/ready").await.is_ok()
}

/// The page of metrics of an admin listener.
pub async fn metrics(admin: SocketAddr) -> anyhow::Result<String> {
    get(admin, "/metrics").await
}

/// The body of a page of an admin listener.
async fn get(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    // HTTP/1.0: the body ends where the connection does, and is not chunked.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut page = String::new();
    stream.take(METRICS_BYTES_MAX).read_to_string(&mut page).await?;
    let (head, body) = page.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.split(' ').nth(1) == Some("200"), "{path} of {admin} answers {head}");
    Ok(body.to_owned())
}

/// The value of a metric, the first with this label.
pub fn value(metrics: &str, name: &str, label: &str) -> Option<u64> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let of_name = lines.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label));
    of_name.filter_map(|rest| rest.rsplit(' ').next()).find_map(|value| value.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_name_and_label() {
        let page = "# TYPE x counter\nx_total{status=\"DENIED\"} 3\nx_total{status=\"DELIVERED\"} 12\nx 7\nxy 9\n# EOF\n";
        assert_eq!(value(page, "x_total", r#"status="DELIVERED""#), Some(12));
        assert_eq!(value(page, "x", ""), Some(7));
        assert_eq!(value(page, "x_total", r#"status="FAILED""#), None);
        assert_eq!(value(page, "y", ""), None);
    }
}
