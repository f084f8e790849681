//! The audit log, measured: what it takes in and how fast it says so, how fast it answers, how fast it is proven.
//!
//! - [`ingest`]: four nodes ship to a broker, every index on; the same records into PostgreSQL ([`postgres`]).
//! - [`search`]: the first page of each question, out of an index of ten million records.
//! - [`verify`]: every byte of a log read and hashed offline.
//! - [`journal`]: a node's own file, under 64 waiters.
//! - [`soak`]: an hour of records, where it is asked for.
//!
//! `--small` shows that each works and judges nothing. Numbers of different machines are not compared: ratios are.

mod ingest;
mod journal;
mod postgres;
mod records;
mod search;
mod soak;
mod verify;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::{AuditArgs, AuditPart};
use crate::out;

/// One number, and the goal that it has.
#[derive(Debug, Clone, Serialize)]
pub struct Goal {
    /// What was measured: the same name in every run.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it should be; empty where it is only told.
    pub wanted: String,
    /// Whether it is so; `None` where it is only told, or the run is small.
    pub holds: Option<bool>,
}

/// Where and how much.
#[derive(Debug)]
pub struct Site {
    /// Folder on the disk that is measured.
    pub folder: PathBuf,
    /// The program.
    pub lienthong: PathBuf,
    /// Few records, and nothing is judged.
    pub small: bool,
}

impl Site {
    /// A number that is only told.
    pub fn told(name: &str, value: f64, unit: &'static str) -> Goal {
        Goal { name: name.to_owned(), value, unit, wanted: String::new(), holds: None }
    }

    /// A number that should be at least this much.
    pub fn at_least(&self, name: &str, value: f64, unit: &'static str, least: f64) -> Goal {
        self.judged(name, (value, unit), format!("≥ {least}"), value >= least)
    }

    /// A number that should be at most this much.
    pub fn at_most(&self, name: &str, value: f64, unit: &'static str, most: f64) -> Goal {
        self.judged(name, (value, unit), format!("≤ {most}"), value <= most)
    }

    fn judged(&self, name: &str, (value, unit): (f64, &'static str), wanted: String, holds: bool) -> Goal {
        Goal { name: name.to_owned(), value, unit, wanted, holds: (!self.small).then_some(holds) }
    }

    fn dir(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.folder.join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

/// Measures the parts asked for, in a folder of its own; prints a line a goal. Whether all hold.
pub fn run(arguments: &AuditArgs) -> anyhow::Result<bool> {
    let folder = match &arguments.data {
        Some(data) => tempfile::tempdir_in(data)?,
        None => tempfile::tempdir()?,
    };
    let lienthong = match &arguments.lienthong {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("lienthong"),
    };
    let site = Site { folder: folder.path().to_owned(), lienthong, small: arguments.small };
    let mut all = true;
    for part in &arguments.parts {
        let goals = match part {
            AuditPart::Journal => journal::run(&site)?,
            AuditPart::Verify => verify::run(&site)?,
            AuditPart::Search => search::run(&site)?,
            AuditPart::Ingest => ingest::run(&site)?,
            AuditPart::Soak => soak::run(&site, arguments.soak_minutes)?,
        };
        for goal in goals {
            all &= goal.holds != Some(false);
            show(&goal, arguments.json)?;
        }
    }
    Ok(all)
}

fn show(goal: &Goal, json: bool) -> anyhow::Result<()> {
    if json {
        out::line(&serde_json::to_string(goal)?);
        return Ok(());
    }
    let Goal { name, value, unit, wanted, holds } = goal;
    let verdict = match holds {
        Some(true) => format!("goal {wanted}: holds"),
        Some(false) => format!("goal {wanted}: MISSED"),
        None if wanted.is_empty() => String::new(),
        None => format!("goal {wanted}, not judged"),
    };
    out::line(&format!("{name:<64} {value:>12.3} {unit:<12} {verdict}"));
    Ok(())
}

/// Bytes of all files below a folder.
pub fn bytes_below(dir: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// A count as a number with a fraction: exact up to 2⁵³.
#[allow(clippy::cast_precision_loss)]
pub const fn float(count: u64) -> f64 {
    count as f64
}
