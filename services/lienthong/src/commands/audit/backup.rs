//! `lienthong audit backup` and `restore`: a broker's data folder as a copy that proves itself.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_broker::{
    backup::{Backup, backup, restore},
    state::log_dir,
};
use serde_json::json;
use time::OffsetDateTime;

use super::policy;
use crate::out;

/// `lienthong audit backup`.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Data folder of the stopped broker, or of a snapshot of its volume
    pub data_dir: PathBuf,
    /// Folder of the backup; into one that is there, only what is new is copied. It holds secrets of the index
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong audit restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Folder of the backup
    pub backup: PathBuf,
    /// Data folder to make; must not be there
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Which log key and which witnesses to believe (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A signed checkpoint of this log that was seen before: a backup that ends earlier is refused
    #[arg(long, value_name = "FILE")]
    pub seen: Option<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries `backup` out.
pub fn run(args: &BackupArgs) -> Result<ExitCode> {
    let made = backup(&args.data_dir, &args.to, OffsetDateTime::now_utc())?;
    show(&made, args.json, "backed up");
    Ok(ExitCode::SUCCESS)
}

/// Carries `restore` out.
pub fn run_restore(args: &RestoreArgs) -> Result<ExitCode> {
    let seen = match &args.seen {
        None => None,
        Some(path) => Some(fs::read_to_string(path).with_context(|| path.display().to_string())?),
    };
    let options = VerifyOptions { policy: policy(args.policy.as_ref())?, seen, ..VerifyOptions::default() };
    let made = restore::<anyhow::Error>(&args.backup, &args.to, |draft| {
        let report = verify_dir(&log_dir(draft), &options);
        if !args.json {
            out::raw(&report.to_string());
        }
        ensure!(
            report.is_sound(),
            "the log of the backup is not sound; it lies in {} to be looked at, and nothing was restored (R-48)",
            draft.display()
        );
        Ok(())
    })?;
    show(&made, args.json, "restored");
    if !args.json {
        out::note(
            "start the broker: it asks witnesses and nodes first, signs nothing if any of them holds more than this backup, \
             and puts the restore on record",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn show(made: &Backup, as_json: bool, what: &str) {
    let Backup { time, entries, files, bytes, copied, manifest_hash } = made;
    if as_json {
        let made = json!({
            "time": time, "entries": entries, "files": files, "bytes": bytes, "copied": copied,
            "manifest_sha256": manifest_hash,
        });
        out::line(&made.to_string());
        return;
    }
    out::line(&format!(
        "{what}: {files} files, {bytes} bytes, {copied} of them copied now; the log has {entries} entries"
    ));
    out::line(&format!("backup of {time}, SHA-256 of its manifest {manifest_hash}"));
}
