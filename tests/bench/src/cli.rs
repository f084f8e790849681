//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::contestant::Contestant;
use crate::load::Shape;
use crate::pki::Role;

/// Rights in the provider's bundle, unless the run says otherwise.
const RIGHTS: u32 = 10_000;

/// Measures one exchange against what a user would pick instead.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands: `run` for people, the others for the processes that it starts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the benchmark
    Run(RunArgs),
    /// Measure handshakes, revocation lists and the identity of a request, in a minute
    Identity(IdentityArgs),
    /// Measure the audit log: what it takes in, answers and proves, beside PostgreSQL
    Audit(AuditArgs),
    /// Measure decisions, the memory of rights, a change of a nation's catalog and the filter, in a minute
    Rights(RightsArgs),
    /// Measure what everything costs as agencies, rights, the log, nodes and connections grow
    Growth(GrowthArgs),
    /// Generate load and check every answer
    Load(LoadArgs),
    /// Hold connections that say nothing
    Hold(HoldArgs),
    /// Load one rights bundle and say how the process has grown
    LoadRights(LoadRightsArgs),
    /// Make the certificates of a run in a new folder
    Certificates(PkiArgs),
    /// Answer as the provider's backend
    Backend(BackendArgs),
    /// Forward as a naive tonic proxy (contestant b)
    ProxyNaive(ProxyArgs),
    /// Forward as a naive tonic proxy that signs, and records durably (contestant f)
    ProxyNotarised(ProxyArgs),
    /// Forward as a bare hyper proxy (contestant g)
    ProxyBare(ProxyArgs),
}

/// `bench run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Fewer and shorter rounds: ends within 5 minutes
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON object a goal instead of the tables
    #[arg(long)]
    pub json: bool,
    /// Rounds; in each, every contestant is measured in every case
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub rounds: Option<u16>,
    /// Milliseconds that each measurement counts
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(50..=600_000))]
    pub window_ms: Option<u64>,
    /// Size of the stream, MiB [default: 1024; the goals are judged at that size only]
    #[arg(long, value_name = "N", value_parser = parse_mib)]
    pub stream_mib: Option<usize>,
    /// Rights in the provider's bundle
    #[arg(long, value_name = "N", default_value_t = RIGHTS, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rights: u32,
    /// Contestants to measure, by letter
    #[arg(long, value_name = "LETTERS", value_delimiter = ',', default_values = ["a", "b", "c", "d", "e", "f", "g"])]
    pub only: Vec<Contestant>,
    /// Cases to measure, by name as in the tables, such as '256B c64' [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub cases: Vec<String>,
    /// Folder for journals and logs; on the disk that shall be measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The lienthong program [default: beside this one]
    #[arg(long, value_name = "FILE")]
    pub lienthong: Option<PathBuf>,
    /// Write the report to docs/benchmarks.md, under the present folder
    #[arg(long)]
    pub write: bool,
}

/// `bench identity`.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// Print one JSON object a goal
    #[arg(long)]
    pub json: bool,
}

/// `bench audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to measure
    #[arg(value_enum, default_values = ["journal", "verify", "search", "ingest"])]
    pub parts: Vec<AuditPart>,
    /// How long the soak lasts, minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 60)]
    pub soak_minutes: u64,
    /// Few records: shows that it works, and judges nothing
    #[arg(long)]
    pub small: bool,
    /// Print one JSON object a goal
    #[arg(long)]
    pub json: bool,
    /// Folder for journals and logs; on the disk that shall be measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The lienthong program [default: beside this one]
    #[arg(long, value_name = "FILE")]
    pub lienthong: Option<PathBuf>,
}

/// A part of `bench audit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AuditPart {
    /// A node's journal under 64 waiters
    Journal,
    /// The offline verifier
    Verify,
    /// First pages out of an index of ten million records
    Search,
    /// Four nodes ship to a broker; PostgreSQL beside it
    Ingest,
    /// Four nodes ship for an hour: memory, lag and disk stay bounded
    Soak,
}

/// `bench rights`.
#[derive(Debug, Args)]
pub struct RightsArgs {
    /// Few rights and agencies: shows that it works, and judges nothing
    #[arg(long)]
    pub small: bool,
    /// Print one JSON object a goal
    #[arg(long)]
    pub json: bool,
}

/// `bench growth`.
#[derive(Debug, Args)]
pub struct GrowthArgs {
    /// What shall grow
    #[arg(value_enum, default_values = ["agencies", "log", "nodes", "rights", "connections"])]
    pub parts: Vec<GrowthPart>,
    /// Small sizes and few rounds: shows that it works, and judges nothing
    #[arg(long)]
    pub quick: bool,
    /// Print one JSON object a goal
    #[arg(long)]
    pub json: bool,
    /// Folder for journals and logs; on the disk that shall be measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The lienthong program [default: beside this one]
    #[arg(long, value_name = "FILE")]
    pub lienthong: Option<PathBuf>,
    /// Write the tables to docs/benchmarks-growth.md, under the present folder
    #[arg(long)]
    pub write: bool,
}

/// A series of `bench growth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GrowthPart {
    /// A nation's catalog
    Agencies,
    /// The audit log
    Log,
    /// Nodes that watch their rights
    Nodes,
    /// Rights in the provider's bundle
    Rights,
    /// Connections that are only held
    Connections,
}

impl GrowthArgs {
    /// The lienthong program.
    pub fn lienthong(&self) -> anyhow::Result<PathBuf> {
        let beside = std::env::current_exe()?.with_file_name("lienthong");
        Ok(self.lienthong.clone().unwrap_or(beside))
    }
}

/// `bench load-rights`.
#[derive(Debug, Args)]
pub struct LoadRightsArgs {
    /// An encoded `RightsBundle`
    pub bundle: PathBuf,
}

/// `bench load`.
#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Whom to call
    #[arg(long)]
    pub address: SocketAddr,
    /// Folder of the certificates
    #[arg(long)]
    pub pki: PathBuf,
    /// Encoded bytes of the backend's answer
    #[arg(long, default_value_t = 256)]
    pub payload: usize,
    /// Expect granted fields only
    #[arg(long)]
    pub released: bool,
    /// How calls are made
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Milliseconds before anything counts
    #[arg(long, default_value_t = 300)]
    pub warmup_ms: u64,
    /// Milliseconds that count
    #[arg(long, default_value_t = 1_000)]
    pub window_ms: u64,
}

/// Closed or open loop, a stream, or new connections.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ShapeArgs {
    /// Closed loop: calls under way
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// Open loop: calls begun each second
    #[arg(long, value_name = "N")]
    pub per_second: Option<u32>,
    /// One answer of so many messages
    #[arg(long, value_name = "MESSAGES")]
    pub stream: Option<usize>,
    /// Each call over a connection of its own: calls under way
    #[arg(long, value_name = "N")]
    pub fresh: Option<usize>,
}

fn parse_mib(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(mib @ 1..=65_536) => Ok(mib),
        _ => Err("a number of MiB from 1 to 65536".to_owned()),
    }
}

/// `bench hold`.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// Whom to connect to
    #[arg(long)]
    pub address: SocketAddr,
    /// Folder of the certificates
    #[arg(long)]
    pub pki: PathBuf,
    /// How many
    #[arg(long)]
    pub connections: usize,
}

/// `bench backend`.
#[derive(Debug, Args)]
pub struct BackendArgs {
    /// Folder of the certificates
    #[arg(long)]
    pub pki: PathBuf,
    /// Messages of a stream
    #[arg(long, default_value_t = 16)]
    pub stream_messages: usize,
}

/// `bench certificates`.
#[derive(Debug, Args)]
pub struct PkiArgs {
    /// Folder of the certificates
    #[arg(long)]
    pub pki: PathBuf,
}

/// `bench proxy-naive`, `bench proxy-notarised`, `bench proxy-bare`.
#[derive(Debug, Args)]
pub struct ProxyArgs {
    /// Folder of the certificates
    #[arg(long)]
    pub pki: PathBuf,
    /// Whose certificate it shows
    #[arg(long)]
    pub role: Role,
    /// Where it forwards to
    #[arg(long)]
    pub upstream: SocketAddr,
    /// Folder of what it records, if it does
    #[arg(long)]
    pub data: PathBuf,
}

impl ShapeArgs {
    /// The shape asked for; exactly one key is given.
    pub fn shape(&self) -> Option<Shape> {
        let closed = self.concurrency.map(|concurrency| Shape::Closed { concurrency });
        let stream = self.stream.map(|messages| Shape::Stream { messages });
        let fresh = self.fresh.map(|concurrency| Shape::Fresh { concurrency });
        closed.or(stream).or(fresh).or(self.per_second.map(|per_second| Shape::Open { per_second }))
    }
}

impl LoadArgs {
    /// Time before anything counts.
    pub fn warmup(&self) -> Duration {
        Duration::from_millis(self.warmup_ms)
    }

    /// Time in which it does.
    pub fn window(&self) -> Duration {
        Duration::from_millis(self.window_ms)
    }
}
