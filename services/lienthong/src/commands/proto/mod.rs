//! `lienthong proto`: what one may call, as contracts: listed, pulled for one's own tools, compared.

mod diff;
mod list;
mod module;
mod pull;
mod served;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};

/// `lienthong proto`.
#[derive(Debug, Subcommand)]
pub enum ProtoCommand {
    /// List the methods that one may call, with provider, dataset, purposes and contract version
    List(ListArgs),
    /// Pull the protos of what one may call, from one's own node
    // Here, --version is the contract's.
    #[command(disable_version_flag = true)]
    Pull(PullArgs),
    /// Say what changed between two versions of a contract, or since a pull, and what of it breaks a client
    Diff(DiffArgs),
}

/// Whom to ask.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Client profile, TOML: node, server_name, certificate, key, trust, development
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// Only what this agency provides
    #[arg(long, value_name = "AGENCY")]
    pub provider: Option<String>,
    /// How long to wait for each answer of the node, seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout: u64,
}

/// `lienthong proto list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Print one JSON array, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong proto pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Only this service, for example vn.dancu.v1.CitizenService
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// Version of the contract: the first 8 or more digits that `proto list` shows. Without it, the one in force
    #[arg(long, value_name = "HASH")]
    pub version: Option<String>,
    /// What to make
    #[arg(long, value_enum, default_value_t = Format::Dir)]
    pub format: Format,
    /// Folder (dir, buf) or file (zip, descriptor-set) to write; a folder must be new, empty, or of an earlier pull
    #[arg(long, short, value_name = "PATH")]
    pub output: PathBuf,
}

/// What a pull makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder of .proto files
    Dir,
    /// The same as one archive
    Zip,
    /// One serialized google.protobuf.FileDescriptorSet, with all imports
    DescriptorSet,
    /// A buf module: the folder with a buf.yaml
    Buf,
}

/// `lienthong proto diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Folder of an earlier pull (dir or buf), compared with what is served now
    #[arg(value_name = "DIR", conflicts_with_all = ["from", "to"], required_unless_present = "from")]
    pub dir: Option<PathBuf>,
    /// Older version of the contract of --provider
    #[arg(long, value_name = "HASH", requires = "provider")]
    pub from: Option<String>,
    /// Newer version; without it, the one in force
    #[arg(long, value_name = "HASH", requires = "from")]
    pub to: Option<String>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries a command out. `diff` fails where something breaks a client.
pub async fn run(command: ProtoCommand) -> Result<ExitCode> {
    match command {
        ProtoCommand::List(args) => list::run(args).await,
        ProtoCommand::Pull(args) => pull::run(args).await,
        ProtoCommand::Diff(args) => diff::run(args).await,
    }
}
