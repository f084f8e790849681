//! The benchmark: one exchange, consumer backend → node → node → provider backend, against what a user would pick
//! instead.
//!
//! **What.** `bench run` starts real processes (load generator, backend, proxies, nodes, broker), lets the contestants
//! take turns round by round on this machine, and reports medians, spreads, ratios and whether the goals hold.
//!
//! **Why our own load generator.** A full gRPC client costs more than a hop and hides the differences; and every answer
//! must be compared with what was expected, byte for byte.
//!
//! **What not.** No micro benchmark (those are in `tests/hotpaths`), no number that one machine alone makes
//! meaningful: compare ratios, and only of one run.
//!
//! - [`exchange`]: the question and the answer. [`pki`]: who proves what. [`contestant`]: who takes part.
//! - [`mod@run`]: the rounds. **Start here.** [`plan`]: what is measured. [`summary`]: medians, ratios, goals. [`report`]:
//!   how they are shown.
//! - [`mod@load`]: the load generator. [`backend`], [`naive`], [`notary`], [`nginx`], [`bare`], [`mesh`]: what is called.
//! - [`identity`]: what proving identity costs; `bench identity` runs it alone.
//! - [`audit`]: what the log takes in, answers and proves; `bench audit` runs it alone.
//! - [`rights`]: what a decision, an index, a change of the catalog and the filter cost; `bench rights` runs it alone.
//! - [`alone`]: our mesh with nobody beside it; [`hold`]: connections that say nothing.
//! - [`growth`]: what everything costs as what is around it grows; `bench growth` runs it alone.
//! - [`tonic_server`], [`process`], [`threads`], [`host`], [`quantile`], [`goal`], [`cli`], [`out`]: one noun each.

mod alone;
mod audit;
mod backend;
mod bare;
mod cli;
mod contestant;
mod exchange;
mod goal;
mod growth;
mod hold;
mod host;
mod identity;
mod load;
mod mesh;
mod naive;
mod nginx;
mod notary;
mod out;
mod pki;
mod plan;
mod process;
mod quantile;
mod report;
mod rights;
mod run;
mod summary;
mod threads;
mod tonic_server;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::cli::{Cli, Command, LoadArgs};
use crate::exchange::Exchange;
use crate::load::Measurement;
use crate::notary::Notary;
use crate::pki::Pki;

/// The same allocator in every process of the run.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            out::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn command(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => {
            return threads::runtime()?.block_on(run::run_until_interrupted(&arguments));
        }
        Command::Identity(arguments) => {
            return Ok(if identity::run(arguments.json)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Audit(arguments) => {
            return Ok(if audit::run(&arguments)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Rights(arguments) => {
            return Ok(if rights::run(&arguments)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Growth(arguments) => return growth::run(&arguments),
        Command::Load(arguments) => load(&arguments)?,
        Command::Hold(arguments) => tokio::runtime::Runtime::new()?.block_on(async {
            let pki = Pki::open(&arguments.pki)?;
            let held = hold::Held::open(&pki, arguments.address, arguments.connections).await?;
            serve(arguments.address, held.failed()).await
        })?,
        Command::LoadRights(arguments) => rights::load(&arguments.bundle)?,
        Command::Certificates(arguments) => drop(Pki::create(&arguments.pki)?),
        Command::Backend(arguments) => tokio::runtime::Runtime::new()?.block_on(async {
            let server = backend::start(&Pki::open(&arguments.pki)?, arguments.stream_messages).await?;
            serve(server.address, server.failed()).await
        })?,
        Command::ProxyBare(arguments) => {
            let servers = bare::start(&Pki::open(&arguments.pki)?, arguments.role, arguments.upstream)?;
            threads::runtime()?.block_on(serve(servers.address, servers.failed()))?;
        }
        Command::ProxyNaive(arguments) => tokio::runtime::Runtime::new()?.block_on(async {
            let pki = Pki::open(&arguments.pki)?;
            let proxy = naive::start(&pki, arguments.role, arguments.upstream, None).await?;
            serve(proxy.address, proxy.failed()).await
        })?,
        Command::ProxyNotarised(arguments) => tokio::runtime::Runtime::new()?.block_on(async {
            let pki = Pki::open(&arguments.pki)?;
            let notary = Notary::new(&arguments.pki, &arguments.data, arguments.role)?;
            let proxy = naive::start(&pki, arguments.role, arguments.upstream, Some(notary)).await?;
            serve(proxy.address, proxy.failed()).await
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Says where a server listens, and serves until it fails or whoever started it leaves.
async fn serve(address: SocketAddr, failed: impl Future<Output = anyhow::Error>) -> anyhow::Result<()> {
    out::line(&address.to_string());
    tokio::select! {
        () = process::parent_left() => Ok(()),
        error = failed => Err(error),
    }
}

/// One measurement; its result is the one line on stdout.
fn load(arguments: &LoadArgs) -> anyhow::Result<()> {
    let measurement = Measurement {
        address: arguments.address,
        exchange: match arguments.shape.stream {
            Some(_) => Exchange::stream(),
            None => Exchange::of(arguments.payload),
        }
        .context("the payload is smaller than a filled record (200 bytes)")?,
        released: arguments.released,
        shape: arguments.shape.shape().context("give --concurrency, --per-second, --stream or --fresh")?,
        warmup: arguments.warmup(),
        window: arguments.window(),
    };
    let measured = load::run(&measurement, &Pki::open(&arguments.pki)?)?;
    out::line(&serde_json::to_string(&measured)?);
    Ok(())
}
