//! One client as a process: scenarios in on standard input, outcomes out on standard output, a line each.

use std::{
    collections::{BTreeMap, HashMap},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::scenarios::Item;

/// How long a client may be silent.
const SILENCE_TIMEOUT_MS: u64 = 60_000;

/// Outcomes of one client by scenario; one that is missing was not told.
pub type Played = HashMap<String, Value>;

/// A client of one language.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its name in the table.
    pub name: String,
    command: Vec<String>,
}

impl Client {
    /// Reads `name=command and its arguments`.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("a client is written name=command")?;
        let command: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
        ensure!(!command.is_empty(), "the client {name} has no command");
        Ok(Self { name: name.to_owned(), command })
    }

    /// Starts it with the callers' environment.
    pub fn start(&self, environment: &BTreeMap<String, String>) -> Result<Running> {
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the client {} cannot be started: {:?}", self.name, self.command))?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Running { _child: child, input, output })
    }
}

/// A client that runs.
pub struct Running {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    /// Plays scenarios one after the other.
    pub async fn play(&mut self, client: &Client, items: &[&Item]) -> Played {
        let mut played = Played::new();
        for item in items {
            let told = match self.tell(&item.line_for(client)).await {
                Ok(()) => self.outcome().await,
                Err(error) => Err(error),
            };
            match told {
                Ok(outcome) => played.insert(item.id().to_owned(), outcome),
                Err(error) => {
                    played.insert(item.id().to_owned(), serde_json::json!({"lost": format!("{error:#}")}));
                    break;
                }
            };
        }
        played
    }

    /// Writes a line.
    pub async fn tell(&mut self, line: &str) -> Result<()> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        Ok(self.input.flush().await?)
    }

    /// Waits for the empty line of a client that pauses; `false`: it gave its outcome instead.
    pub async fn paused(&mut self) -> Result<Option<Value>> {
        let line = self.line().await?;
        if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&line)?)) }
    }

    /// The next outcome.
    pub async fn outcome(&mut self) -> Result<Value> {
        let line = self.line().await?;
        serde_json::from_str(&line).with_context(|| format!("the client wrote {line:?}"))
    }

    async fn line(&mut self) -> Result<String> {
        let line = timeout(Duration::from_millis(SILENCE_TIMEOUT_MS), self.output.next_line()).await;
        line.context("the client is silent")??.context("the client ended")
    }
}
