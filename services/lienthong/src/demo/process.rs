//! The processes of the demo: each is this program in another role. None outlives it: they stop when their
//! stdin closes, whatever ends the demo, and are killed when they are dropped.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

/// How long a role may take to be ready.
const READY_TIMEOUT_MS: u64 = 20_000;

/// How long a role may take to stop before it is killed.
const STOP_TIMEOUT_MS: u64 = 15_000;

/// A running role.
pub struct Role {
    /// Name, for people and for its log file.
    pub name: String,
    child: Child,
    ready_at: ReadyAt,
}

/// How a role shows that it is ready.
#[derive(Debug, Clone, Copy)]
pub enum ReadyAt {
    /// Its admin listener answers `/ready` with 200.
    Admin(SocketAddr),
    /// Its listener accepts connections.
    Port(SocketAddr),
}

impl Role {
    /// Starts `program` in a role; its output goes to `<logs>/<name>.log`.
    pub fn start(
        program: &Path,
        name: &str,
        arguments: &[&str],
        logs: &Path,
        ready_at: ReadyAt,
    ) -> Result<Self> {
        let path = logs.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("the log {} cannot be written", path.display()))?;
        let child = Command::new(program)
            .args(arguments)
            .arg("--with-parent")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        Ok(Self { name: name.to_owned(), child, ready_at })
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(READY_TIMEOUT_MS);
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended before it was ready ({status}); its log says why", self.name);
            }
            if is_ready(self.ready_at).await {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {} s; its log says why", self.name, READY_TIMEOUT_MS / 1000);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Kills it at once (SIGKILL).
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops it by closing its stdin, and waits for its end.
    pub async fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        drop(self.child.stdin.take());
        let patience = Duration::from_millis(STOP_TIMEOUT_MS);
        let Ok(status) = tokio::time::timeout(patience, self.child.wait()).await else {
            self.child.kill().await?;
            bail!("{} did not stop within {} s and was killed", self.name, STOP_TIMEOUT_MS / 1000);
        };
        let status = status?;
        anyhow::ensure!(status.success(), "{} ended with {status}; its log says why", self.name);
        Ok(())
    }
}

/// Whether a role shows that it is ready.
pub async fn is_ready(at: ReadyAt) -> bool {
    match at {
        ReadyAt::Port(address) => TcpStream::connect(address).await.is_ok(),
        ReadyAt::Admin(address) => matches!(get_ready(address).await, Ok(true)),
    }
}

/// Asks `/ready` in HTTP/1.1.
async fn get_ready(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).await?;
    Ok(head.ends_with(b" 200"))
}
