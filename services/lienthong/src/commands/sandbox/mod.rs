//! `lienthong node run --sandbox`: the same contracts, rights and errors as in the mesh, on synthetic data, for
//! integrators without access to it.
//!
//! - [`plan`]: which agencies a sandbox has, from catalog and contracts. Pure.
//! - [`invitation`]: calls to paste. Pure.

pub mod invitation;
pub mod plan;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_broker::sources;
use lienthong_catalog::{Catalog, source::SourceFile};
use lienthong_proto::lienthong::catalog::v1::{CallableMethod, ListCallableMethodsRequest};
use lienthong_samples::{
    backend::{BackendKind, descriptor_set},
    catalog::CATALOG,
};

use crate::{
    cli::RunArgs,
    client::{Client, Stated},
    commands::stop_signal,
    demo::{layout::Layout, mesh::Mesh},
    out,
};

use invitation::Invitation;
use plan::{ContractFile, Player};

/// How long rights may take to reach the player's node, milliseconds.
const RIGHTS_TIMEOUT_MS: u64 = 15_000;

/// How long the list of callable methods must stay as it is before it counts as whole, milliseconds.
const RIGHTS_SETTLED_MS: u64 = 1_000;

/// Methods that are read of the player's node at once.
const METHODS_PAGE_SIZE: i32 = 1_000;

/// Contracts that a sandbox reads at most.
const CONTRACTS_MAX: usize = 256;

/// `lienthong node run`.
#[derive(Debug, Args)]
pub struct NodeRunArgs {
    /// Configuration file, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "is_sandbox", conflicts_with = "is_sandbox")]
    pub config: Option<PathBuf>,
    /// Run a whole mesh on synthetic data instead: broker, nodes and backends on this machine
    #[arg(long = "sandbox")]
    pub is_sandbox: bool,
    /// Stop when stdin closes, as it does when the program that started this one ends
    #[arg(long, hide = true)]
    pub with_parent: bool,
    /// What the sandbox is.
    #[command(flatten)]
    pub sandbox: SandboxArgs,
}

/// The sandbox of `lienthong node run --sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Agency and system to be, as the catalog knows them
    #[arg(
        long = "as",
        value_name = "AGENCY/SYSTEM",
        default_value = "H26.90/mot-cua",
        requires = "is_sandbox"
    )]
    pub player: Player,
    /// Folder with the catalog's YAML files; without it, the sample catalog
    #[arg(long, value_name = "DIR", requires = "is_sandbox")]
    pub catalog: Option<PathBuf>,
    /// Folder with contracts (*.binpb: descriptor sets with their imports); without it, the sample contracts
    #[arg(long, value_name = "DIR", requires = "is_sandbox")]
    pub contracts: Option<PathBuf>,
    /// Keep everything in this folder (it must be new or empty)
    #[arg(long, value_name = "DIR", requires = "is_sandbox")]
    pub data: Option<PathBuf>,
    /// Print one JSON object when the sandbox is ready, for machines
    #[arg(long, requires = "is_sandbox")]
    pub json: bool,
}

impl NodeRunArgs {
    /// The arguments of a node of the mesh; `None` for a sandbox.
    pub fn as_role(&self) -> Option<RunArgs> {
        let config = self.config.clone()?;
        Some(RunArgs { config, with_parent: self.with_parent })
    }
}

/// Starts a sandbox, says what to try, and stays up until interrupted. No process outlives this one.
pub async fn run(args: SandboxArgs, with_parent: bool) -> Result<ExitCode> {
    let stop = stop_signal(with_parent)?;
    let temporary = match &args.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("lienthong-sandbox-").tempdir()?),
    };
    let dir: &Path = match (&args.data, &temporary) {
        (Some(dir), _) => dir,
        (None, Some(temporary)) => temporary.path(),
        (None, None) => anyhow::bail!("there is no folder for the sandbox"),
    };
    let started = tokio::select! {
        started = start(&args, dir) => started,
        () = stop.cancelled() => return Ok(ExitCode::FAILURE),
    };
    let (mut mesh, invitation) = match started {
        Ok(started) => started,
        Err(error) => {
            // The folder stays, so that its logs can be read.
            if let Some(temporary) = temporary {
                out::note(&format!("logs: {}", temporary.keep().join("logs").display()));
            }
            return Err(error);
        }
    };
    out::line(&if args.json { invitation.to_json() } else { invitation.to_string() });
    stop.cancelled().await;
    mesh.stop().await?;
    Ok(ExitCode::SUCCESS)
}

async fn start(args: &SandboxArgs, dir: &Path) -> Result<(Mesh, Invitation)> {
    let files = catalog_files(args.catalog.as_deref())?;
    let catalog = Catalog::read(&files).map_err(|mistakes| {
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the catalog has mistakes:\n{}", told.join("\n"))
    })?;
    let contracts = contracts(args.contracts.as_deref())?;
    let planned = plan::sandbox(&catalog, &files, &contracts, &args.player)?;
    for note in &planned.notes {
        out::note(note);
    }
    let layout = Layout::of(&planned.plan, dir).context("the sandbox could not be laid out")?;
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let mesh = Mesh::start(layout, program.clone()).await?;
    let client = mesh.client(&args.player.profile())?;
    let methods = callable(&client).await?;
    let mut calls = Vec::new();
    for method in methods {
        let of_provider = Stated { provider: Some(method.provider.clone()), ..Stated::default() };
        let pool = client.contract(&method.path, &of_provider).await?;
        calls.push((method, pool));
    }
    let invitation = Invitation::new(&program, &mesh.layout, &args.player, &calls)?;
    Ok((mesh, invitation))
}

fn catalog_files(dir: Option<&Path>) -> Result<Vec<SourceFile>> {
    match dir {
        Some(dir) => Ok(sources::read_folder(dir)?),
        None => Ok(CATALOG
            .iter()
            .map(|(name, text)| SourceFile { name: (*name).to_owned(), text: (*text).to_owned() })
            .collect()),
    }
}

fn contracts(dir: Option<&Path>) -> Result<Vec<ContractFile>> {
    let Some(dir) = dir else {
        return Ok(BackendKind::ALL
            .iter()
            .map(|kind| ContractFile { name: kind.name().to_owned(), bytes: descriptor_set(*kind).to_vec() })
            .collect());
    };
    let unreadable = || format!("the folder of contracts {} cannot be read", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "binpb") {
            anyhow::ensure!(
                files.len() < CONTRACTS_MAX,
                "{} holds more than {CONTRACTS_MAX} contracts",
                dir.display()
            );
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or("contract").to_owned();
            let bytes =
                fs::read(&path).with_context(|| format!("the contract {} cannot be read", path.display()))?;
            files.push(ContractFile { name, bytes });
        }
    }
    anyhow::ensure!(
        !files.is_empty(),
        "{} holds no contract; a contract is a descriptor set with its imports, *.binpb (buf build -o NAME.binpb)",
        dir.display()
    );
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// What the player may call, once the node has heard of every contract; nothing where the catalog grants nothing.
async fn callable(client: &Client) -> Result<Vec<CallableMethod>> {
    let until = Instant::now() + Duration::from_millis(RIGHTS_TIMEOUT_MS);
    let (mut seen, mut since) = (Vec::new(), Instant::now());
    loop {
        let request = ListCallableMethodsRequest { page_size: METHODS_PAGE_SIZE, ..Default::default() };
        let methods = client.catalog().list_callable_methods(request).await?.into_inner().methods;
        if methods.len() != seen.len() {
            since = Instant::now();
        }
        seen = methods;
        let settled = since.elapsed() >= Duration::from_millis(RIGHTS_SETTLED_MS) && !seen.is_empty();
        if settled || Instant::now() > until {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
