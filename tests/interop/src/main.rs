//! The clients of `tests/interop/`, one language after the other, against one mesh: what each does of one list of
//! scenarios.
//!
//! [`scenarios`] reads the list, [`stage`] is the mesh and what happens to it, [`client`] is one client as a process,
//! [`verdict`] compares what came with what should, [`table`] shows it. The clients and how they are built: `run`.
#![allow(clippy::print_stdout)] // a test runner speaks to whoever runs it

mod client;
mod pages;
mod scenarios;
mod stage;
mod table;
mod verdict;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;

use crate::{
    client::Client,
    scenarios::Phase,
    stage::Stage,
    table::Table,
    verdict::{Outcome, Verdict, judge},
};

/// Runs clients of other languages against a mesh of this program.
#[derive(Parser)]
struct Args {
    /// A client: name=command, for each language.
    #[arg(long = "client", value_name = "NAME=COMMAND")]
    clients: Vec<String>,
    /// A page of docs/clients whose blocks are run.
    #[arg(long = "page", value_name = "NAME")]
    pages: Vec<String>,
    /// Folder in which the pages are run, each in one of its own.
    #[arg(long, default_value = "target/interop/pages")]
    work: PathBuf,
    /// Only scenarios whose names contain this.
    #[arg(long, default_value = "")]
    only: String,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let list = scenarios::read(&args.only)?;
    let clients = args.clients.iter().map(|text| Client::parse(text)).collect::<Result<Vec<_>>>()?;
    let mut stage = Stage::open().await?;
    let mut table = Table::new(clients.iter().map(|client| client.name.clone()).collect());
    for phase in Phase::ALL {
        let of_phase: Vec<_> = list.iter().filter(|item| item.phase == phase).collect();
        if of_phase.is_empty() || clients.is_empty() {
            continue;
        }
        let plays = stage.play(phase, &clients, &of_phase).await?;
        for item in of_phase {
            for (client, played) in clients.iter().zip(&plays) {
                let told = match played.get(item.id()) {
                    Some(outcome) => Outcome::read(outcome),
                    None => Outcome::Lost("it told nothing".to_owned()),
                };
                let watch = match &told {
                    Outcome::Told(_) => stage.watch(client, item).await?,
                    _ => None,
                };
                table.put(item, judge(item, &client.name, &told, watch.as_ref()));
            }
        }
    }
    let mut passed = table.show();
    for page in &args.pages {
        let verdict = pages::run(page, &args.work, &stage).await?;
        println!("page {page}: {verdict}");
        if let Verdict::Failed(how) = &verdict {
            println!("{how}");
        }
        passed &= !matches!(verdict, Verdict::Failed(_));
    }
    stage.close().await?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
