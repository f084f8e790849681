//! Security officers at a command line, and the two judges of what they take away.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{GET_CITIZEN, PERSON, TestMesh, eventually, handling, program};

/// The number of the person of the story.
pub const NUMBER: &str = "999190000001";

/// A mesh, and the officers who watch over it.
pub struct Officers {
    /// The mesh.
    pub mesh: TestMesh,
}

/// What a program has said, and whether it ended well.
pub struct Ran {
    /// Whether it ended well.
    pub success: bool,
    /// Standard output, then standard error.
    pub said: String,
}

impl Ran {
    async fn of(command: &mut Command) -> Result<Self> {
        let output = command.output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok(Self { success: output.status.success(), said: String::from_utf8_lossy(&said).into_owned() })
    }
}

impl Officers {
    /// Starts a mesh.
    pub async fn start() -> Result<Self> {
        Ok(Self { mesh: TestMesh::start().await? })
    }

    /// The one-stop shop asks for the person of the story; the id of the exchange.
    pub async fn call(&self) -> Result<String> {
        let outcome = self.mesh.office(GET_CITIZEN, PERSON, &handling()).await?;
        ensure!(outcome.error.is_none(), "the call failed: {:?}", outcome.error);
        outcome.exchange_id.context("the answer names no exchange")
    }

    /// `lienthong` with these arguments.
    pub async fn run(&self, arguments: &[&str]) -> Result<Ran> {
        Ran::of(Command::new(program()?).args(arguments)).await
    }

    /// `lienthong audit`, asked by somebody on a case.
    pub async fn audit(&self, who: &str, command: &str, arguments: &[&str]) -> Result<Ran> {
        let profile = self.mesh.mesh.layout.profiles.get(who).context("nobody is called so")?;
        let asked = ["--case", "VA-2026-17", "--reason", "kiểm tra", "--profile", text(profile)?];
        self.run(&[&["audit", command], &asked[..], arguments].concat()).await
    }

    /// What a search finds.
    pub async fn search(&self, who: &str, arguments: &[&str]) -> Result<Value> {
        let ran = self.audit(who, "search", &[&["--json"], arguments].concat()).await?;
        ensure!(ran.success, "{}", ran.said);
        Ok(serde_json::from_str(&ran.said)?)
    }

    /// Waits until both sides' records are found by the person's number, which stands nowhere in the log.
    pub async fn has_found_both_sides(&self, exchange: &str) -> Result<()> {
        eventually("both records are found by their subject", async || {
            let found = self.search("auditor", &["--subject", NUMBER]).await?;
            Ok(exchanges(&found)?.iter().filter(|found| *found == exchange).count() == 2)
        })
        .await
    }

    /// A path in the mesh's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.mesh.folder.path().join(name)
    }

    /// Judged by the program itself.
    pub async fn judged(&self, evidence: &Path, policy: Option<&Path>) -> Result<Ran> {
        let mut command = Command::new(program()?);
        judging(command.args(["audit", "verify-evidence"]), evidence, policy).await
    }

    /// Judged by the program in Python, which shares no code with it.
    pub async fn judged_in_python(&self, evidence: &Path, policy: Option<&Path>) -> Result<Ran> {
        let python = std::env::var("LIENTHONG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/evidence/verify_evidence.py");
        let ran = judging(Command::new(python).arg(script), evidence, policy).await;
        ran.context("python3 with the package cryptography is needed; see tests/run")
    }
}

async fn judging(command: &mut Command, evidence: &Path, policy: Option<&Path>) -> Result<Ran> {
    command.arg(evidence);
    if let Some(policy) = policy {
        command.arg("--policy").arg(policy);
    }
    Ran::of(command).await
}

/// The exchange of each record that was found.
pub fn exchanges(found: &Value) -> Result<Vec<String>> {
    let records = found["records"].as_array().context("no records")?;
    records
        .iter()
        .map(|record| record["exchange"].as_str().map(str::to_owned).context("a record of no exchange"))
        .collect()
}

/// A path as an argument.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is not UTF-8")
}
