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
mod search;
mod soak;
mod verify;

use std::path::{Path, PathBuf};

use crate::cli::{AuditArgs, AuditPart};

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
            let goal = if site.small { goal.not_judged() } else { goal };
            all &= goal.is_met();
            goal.show(arguments.json)?;
        }
    }
    Ok(all)
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
