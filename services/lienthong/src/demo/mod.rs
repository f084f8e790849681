//! `lienthong demo`: a whole mesh of sample agencies on this machine, each role a process of its own, and its
//! story.
//!
//! - [`plan`]: which agencies; [`layout`]: what lies on disk before the first process starts, and on
//!   which ports ([`ports`]); its trust ([`trust`]) and its gateway ([`gateway`]).
//! - [`process`]: one role as a process; [`mesh`]: all of them.
//! - [`story`]: what is played; [`narrator`]: how it is told.

pub mod gateway;
pub mod layout;
pub mod mesh;
pub mod narrator;
pub mod plan;
pub mod ports;
pub mod process;
pub mod story;
pub mod trust;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};

use crate::{
    cli::DemoArgs,
    commands::stop_signal,
    demo::{layout::Layout, mesh::Mesh, narrator::Narrator},
    out,
};

/// Starts the mesh, plays the story, and stays up unless told otherwise. No process outlives this one.
pub async fn run(args: DemoArgs) -> Result<ExitCode> {
    let stop = stop_signal(false)?;
    let temporary = match &args.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("lienthong-demo-").tempdir()?),
    };
    let dir: &Path = match (&args.data, &temporary) {
        (Some(dir), _) => dir,
        (None, Some(temporary)) => temporary.path(),
        (None, None) => anyhow::bail!("there is no folder for the demo"),
    };
    let mut narrator = Narrator::new(args.json);
    let told = tokio::select! {
        told = tell(dir, &mut narrator) => told,
        () = stop.cancelled() => return Ok(ExitCode::FAILURE),
    };
    let mut mesh = match told {
        Ok(mesh) => mesh,
        Err(error) => {
            // The folder stays, so that its logs can be read.
            if let Some(temporary) = temporary {
                out::note(&format!("logs: {}", temporary.keep().join("logs").display()));
            }
            return Err(error);
        }
    };
    let all_true = narrator.end();
    if !args.once {
        if !args.json {
            out::line(&mesh.invitation());
        }
        stop.cancelled().await;
    }
    mesh.stop().await?;
    Ok(if all_true { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn tell(dir: &Path, narrator: &mut Narrator) -> Result<Mesh> {
    let layout = Layout::create(dir).context("the demo could not be laid out")?;
    narrator.scenario("start", "A mesh of sample agencies starts, each role a process of its own");
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let mut mesh = Mesh::start(layout, program).await?;
    narrator.step(
        "broker, 3 witnesses, 5 nodes, 4 backends and the gateway are ready, mutual TLS on every hop of data",
        "every role ready",
        &mesh.took(),
        true,
    );
    story::play(&mut mesh, narrator).await?;
    Ok(mesh)
}
