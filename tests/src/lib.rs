//! What the end-to-end tests stand on: the built program, and a mesh of its roles as real processes with real
//! TLS in a folder of their own.
//!
//! The tests themselves are in `tests/`, a file a topic. They start the program from the same target folder
//! that they were built into; `tests/run` builds it first.

pub mod browser;
pub mod country;
pub mod desk;
pub mod load;
pub mod new_agency;
pub mod officers;
pub mod records;
#[path = "../../certs/tests/common/softhsm.rs"]
pub mod softhsm;
pub mod trial;
pub mod web;
pub mod wording;

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::Stated,
    commands::call::{self, Outcome},
    demo::{layout::Layout, mesh::Mesh, plan::Plan},
};
use lienthong_proto::{reason::Reason, status};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Gets one citizen.
pub const GET_CITIZEN: &str = "/vn.dancu.v1.CitizenService/GetCitizen";

/// Gets one record of the connection trial.
pub const GET_TRIAL_RECORD: &str = "/vn.thunghiem.v1.TrialService/GetRecord";

/// The person of the story.
pub const PERSON: &str = r#"{"soDinhDanh":"999190000001"}"#;

/// The one-stop shop's client profile.
pub const OFFICE: &str = "H26.90-mot-cua";

/// The program under test.
pub fn program() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    // target/<profile>/deps/<test>, or target/<profile>/<program> → target/<profile>/lienthong
    let folder = test.parent().context("the test lies in no target folder")?;
    let profile = if folder.ends_with("deps") { folder.parent().context("no profile")? } else { folder };
    let program = profile.join("lienthong");
    ensure!(program.exists(), "{} is not built; run `cargo build` first, or tests/run", program.display());
    Ok(program)
}

/// A mesh of its own for one test. Its processes end with it.
pub struct TestMesh {
    /// The mesh.
    pub mesh: Mesh,
    /// Its folder, removed at the end.
    pub folder: TempDir,
}

impl TestMesh {
    /// Starts broker, nodes and backends, and waits until the one-stop shop can call the population register.
    pub async fn start() -> Result<Self> {
        Self::start_changed(|_| Ok(())).await
    }

    /// The same, with something changed on disk before the first process starts.
    pub async fn start_changed(change: impl FnOnce(&Layout) -> Result<()>) -> Result<Self> {
        Self::start_plan(&Plan::demo(), change).await
    }

    /// The same of another plan than the demo's.
    pub async fn start_plan(plan: &Plan, change: impl FnOnce(&Layout) -> Result<()>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lienthong-test-").tempdir()?;
        let layout = Layout::of(plan, &folder.path().join("mesh"))?;
        change(&layout)?;
        let mesh = Mesh::start(layout, program()?).await?;
        let started = Self { mesh, folder };
        started.until_served().await?;
        Ok(started)
    }

    /// Waits until the one-stop shop gets an answer.
    pub async fn until_served(&self) -> Result<()> {
        eventually("the one-stop shop gets an answer", async || {
            let outcome = self.office(GET_CITIZEN, PERSON, &handling()).await?;
            Ok(outcome.error.is_none())
        })
        .await
    }

    /// One call of the one-stop shop.
    pub async fn office(&self, method: &str, data: &str, stated: &Stated) -> Result<Outcome> {
        call::call(&self.mesh.client(OFFICE)?, method, data, stated).await
    }

    /// Stops every role in order; an error names the one that did not end well.
    pub async fn stop(mut self) -> Result<()> {
        self.mesh.stop().await
    }

    /// What a role has written to its log.
    pub fn log_of(&self, role: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.mesh.layout.logs.join(format!("{role}.log")))?)
    }
}

/// What the clerk states.
pub fn handling() -> Stated {
    Stated {
        purpose: Some("ADMIN_PROCEDURE".to_owned()),
        dossier: Some("H26.90-261121-0001".to_owned()),
        ..Stated::default()
    }
}

/// The mesh's reason in an outcome.
pub fn reason(outcome: &Outcome) -> Option<Reason> {
    outcome.error.as_ref().and_then(status::read).map(|read| read.reason)
}

/// The number in the line of a role's metrics that begins with `name` (labels and all); zero where there is none yet.
pub async fn metric(admin: SocketAddr, name: &str) -> Result<f64> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.map_or(Ok(0.0), |number| number.trim().parse())?)
}

/// How long anything may take to become true, milliseconds; machines are slow and noisy.
pub const PATIENCE_MS: u64 = 30_000;

/// Waits until something becomes true. An error while waiting is not yet a failure; the last one is told.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let until = std::time::Instant::now() + std::time::Duration::from_millis(PATIENCE_MS);
    loop {
        let seen = check().await;
        match seen {
            Ok(true) => return Ok(()),
            seen if std::time::Instant::now() > until => {
                let told = seen.err().map(|error| format!(": {error:#}")).unwrap_or_default();
                anyhow::bail!("after {} s still not true: {what}{told}", PATIENCE_MS / 1000);
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}
