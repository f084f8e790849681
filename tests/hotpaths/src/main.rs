//! `hotpaths compare`: counts the instructions of each hot path under valgrind and compares them with those on record.
//! `hotpaths take`: takes one path so often; what is counted.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};
use lienthong_hotpaths::baseline::{Baseline, Compared, DRIFT_PERCENT_MAX, Tools, Verdict};
use lienthong_hotpaths::paths::{ALL, named};

/// Turns of the shorter of two runs; the longer makes twice as many. Their difference holds turns only: no preparation, no start,
/// no end.
const TURNS: u32 = 512;

/// Runs of which the middle one counts: seeds of hash maps differ from run to run.
const RUNS: usize = 3;

/// What every exchange pays for, in instructions.
#[derive(Debug, Parser)]
#[command(name = "hotpaths", version)]
struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Count the instructions of every path, and compare them with those on record
    Compare {
        /// Where they are on record
        baseline: PathBuf,
        /// Put the counts on record
        #[arg(long)]
        write: bool,
        /// Print one JSON object a path
        #[arg(long)]
        json: bool,
    },
    /// Take one path so often
    Take {
        /// Its name
        path: String,
        /// How often
        turns: u32,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Compare { baseline, write, json } => compare(&baseline, write, json),
        Task::Take { path, turns } => take(&path, turns).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn take(name: &str, turns: u32) -> anyhow::Result<()> {
    let path = named(name).with_context(|| format!("there is no path {name:?}"))?;
    let mut turn = (path.prepare)()?;
    (0..turns).try_for_each(|_| turn())
}

/// Whether every path passes.
fn compare(file: &Path, write: bool, json: bool) -> anyhow::Result<bool> {
    let tools = tools()?;
    let on_record = read(file)?;
    if let Some(other) = on_record.as_ref().filter(|record| record.tools != tools && !write) {
        println!("SKIPPED: the counts on record are of {:?}, this is {tools:?}", other.tools);
        return Ok(true);
    }
    let mut counts = BTreeMap::new();
    let mut passes = true;
    for path in ALL {
        let instructions = instructions(path.name)?;
        let before = on_record.as_ref().and_then(|record| record.instructions.get(path.name).copied());
        let compared = Compared::new(path.name, instructions, before);
        show(&compared, json)?;
        passes &= compared.passes();
        counts.insert(path.name.to_owned(), instructions);
    }
    if write {
        let text = serde_json::to_string_pretty(&Baseline { tools, instructions: counts })?;
        std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))?;
        return Ok(true);
    }
    if !passes {
        eprintln!(
            "A hot path takes over {DRIFT_PERCENT_MAX} % more instructions than on record, or is not on record. Find out why; if it \
             is meant, put it on record: tests/hotpaths/run --write"
        );
    }
    Ok(passes)
}

fn read(file: &Path) -> anyhow::Result<Option<Baseline>> {
    match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(serde_json::from_slice(&bytes?).with_context(|| file.display().to_string())?)),
    }
}

fn show(compared: &Compared, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(compared)?);
        return Ok(());
    }
    let beside = match (compared.verdict, compared.percent) {
        (Verdict::New, _) | (_, None) => "not on record".to_owned(),
        (Verdict::Same, Some(percent)) => format!("{percent:+.1} %"),
        (Verdict::Worse, Some(percent)) => format!("{percent:+.1} %  WORSE"),
        (Verdict::Better, Some(percent)) => format!("{percent:+.1} %  better: put it on record"),
    };
    println!("{:<48} {:>9} instructions  {beside}", compared.name, compared.instructions);
    Ok(())
}

/// Instructions of one turn.
fn instructions(path: &str) -> anyhow::Result<u64> {
    let mut runs = (0..RUNS).map(|_| of_one_run(path)).collect::<anyhow::Result<Vec<_>>>()?;
    runs.sort_unstable();
    runs.get(RUNS / 2).copied().context("nothing was counted")
}

fn of_one_run(path: &str) -> anyhow::Result<u64> {
    let (short, long) = (counted(path, TURNS)?, counted(path, 2 * TURNS)?);
    let turns = long.checked_sub(short).context("twice as many turns took fewer instructions")?;
    Ok(turns / u64::from(TURNS))
}

/// All instructions of a run of this program under valgrind.
fn counted(path: &str, turns: u32) -> anyhow::Result<u64> {
    let program = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(&program)
        .args(["take", path, &turns.to_string()])
        .output()
        .context("valgrind cannot be started: install the package valgrind of Debian")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{path}: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, count)) = line else { bail!("valgrind counts nothing: {said}") };
    Ok(count.trim().parse()?)
}

/// With what this machine counts.
fn tools() -> anyhow::Result<Tools> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Ok(Tools {
        compiler: version("rustc")?,
        valgrind: version("valgrind").context("install the package valgrind of Debian")?,
        avx2: processor.split_whitespace().any(|flag| flag == "avx2"),
    })
}

fn version(program: &str) -> anyhow::Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("{program} cannot be started"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
