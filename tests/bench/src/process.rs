//! A process of the run. None outlives it: each ends by itself when its stdin closes, whatever ends the run, and is
//! told to end, and at last killed, when it is dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::oneshot;

/// How long a process may take to say that it is ready.
const READY_TIMEOUT_MS: u64 = 20_000;
/// How long a process may take to end once its stdin is closed, before it is killed.
const END_TIMEOUT_MS: u64 = 3_000;
/// Pause between two looks whether it has.
const END_LOOK_MS: u64 = 10;
/// Lines of a log that an error shows.
const LOG_LINES_SHOWN_MAX: usize = 5;

/// What becomes of what a process prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdout {
    /// It is read here.
    Read,
    /// It goes to the log, as stderr does.
    Log,
}

/// A running process.
pub struct Process {
    name: String,
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts a process; what it says on stderr goes to `<logs>/<name>.log`.
    pub fn start<A: AsRef<OsStr>>(
        name: &str,
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        logs: &Path,
        stdout: Stdout,
    ) -> anyhow::Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let stderr = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let stdout = match stdout {
            Stdout::Read => Stdio::piped(),
            Stdout::Log => stderr.try_clone()?.into(),
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {} for {name}", program.display()))?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self { name: name.to_owned(), child, stdout, log })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the address that a server of this program prints when it listens.
    pub async fn address(&mut self) -> anyhow::Result<SocketAddr> {
        let mut line = String::new();
        if let Some(stdout) = &mut self.stdout {
            let reading = stdout.read_line(&mut line);
            let read = tokio::time::timeout(Duration::from_millis(READY_TIMEOUT_MS), reading).await;
            read.with_context(|| self.complaint("is not ready"))??;
        }
        line.trim().parse().with_context(|| self.complaint("ended before it was ready"))
    }

    /// Waits until `ready` says yes, asking again and again.
    pub async fn ready(&mut self, mut ready: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let waiting = async {
            while !ready().await {
                if let Some(status) = self.child.try_wait()? {
                    bail!("{status}");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        let waited = tokio::time::timeout(Duration::from_millis(READY_TIMEOUT_MS), waiting).await;
        waited.context("it took too long").flatten().with_context(|| self.complaint("is not ready"))
    }

    /// Waits for its end, and gives all that it printed; it must have ended well.
    pub async fn output(mut self) -> anyhow::Result<String> {
        let mut text = String::new();
        if let Some(stdout) = &mut self.stdout {
            stdout.read_to_string(&mut text).await?;
        }
        let status = self.child.wait().await?;
        if status.success() { Ok(text) } else { bail!(self.complaint(&format!("ended with {status}"))) }
    }

    /// What is wrong with it, with the end of its log.
    fn complaint(&self, what: &str) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.len().saturating_sub(LOG_LINES_SHOWN_MAX);
        format!("{} {what}:\n{}", self.name, lines[last..].join("\n"))
    }
}

/// Closes its stdin, so that it can end those that it started itself, before it is killed.
impl Drop for Process {
    #[allow(clippy::disallowed_methods)] // a drop cannot wait otherwise, and nothing else runs by then
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let until = Instant::now() + Duration::from_millis(END_TIMEOUT_MS);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(END_LOOK_MS));
        }
    }
}

/// Returns when stdin closes, as it does when the process that started this one ends.
///
/// Reads on a thread of its own, for which nobody waits: tokio's stdin would keep a process that fails from ending.
pub async fn parent_left() {
    let (left, leaves) = oneshot::channel();
    std::thread::spawn(move || {
        // An error says the same as an end: nobody is there.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = left.send(());
    });
    // A thread that could not wait says the same, too.
    let _ = leaves.await;
}
