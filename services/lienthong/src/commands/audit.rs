//! `lienthong audit`: the offline verifier, and questions to the log.

use std::{fs, io::IsTerminal, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use lienthong_audit::{
    policy::Policy,
    verify::{Progress, VerifyOptions, VerifyReport, verify_dir},
};
use serde_json::json;

use crate::{
    cli::{AuditCommand, VerifyArgs},
    commands::{block_on, findings},
    out,
};

pub mod backup;
pub mod erase;
pub mod evidence;
pub mod export;
pub mod reindex;
pub mod search;
pub mod show;
pub mod subject;

/// Carries a command out.
pub fn run(command: AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::Verify(args) => verify(&args),
        AuditCommand::Findings(command) => findings::run(command),
        AuditCommand::Search(args) => block_on(search::run(&args)),
        AuditCommand::Export(args) => block_on(export::run(&args)),
        AuditCommand::Evidence(args) => block_on(evidence::run(&args)),
        AuditCommand::VerifyEvidence(args) => evidence::verify(&args),
        AuditCommand::Subject(args) => block_on(subject::run(&args)),
        AuditCommand::Disclose(args) => block_on(subject::disclose(&args)),
        AuditCommand::Erase(args) => block_on(erase::run(&args)),
        AuditCommand::EndUser(args) => block_on(erase::end_user(&args)),
        AuditCommand::Backup(args) => backup::run(&args),
        AuditCommand::Restore(args) => backup::run_restore(&args),
        AuditCommand::Reindex(args) => reindex::run(&args),
    }
}

/// Whom to believe, where a file says so.
fn policy(path: Option<&PathBuf>) -> Result<Option<Policy>> {
    let Some(path) = path else { return Ok(None) };
    let bytes = fs::read(path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
    let policy = Policy::parse(&bytes);
    Ok(Some(policy.with_context(|| format!("the policy {} is no tlog-policy", path.display()))?))
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let policy = policy(args.policy.as_ref())?;
    let seen = match &args.seen {
        None => None,
        Some(path) => Some(
            fs::read_to_string(path)
                .with_context(|| format!("the checkpoint {} cannot be read", path.display()))?,
        ),
    };
    let show = |progress: Progress| {
        out::note(&format!("{} of {} entries", progress.entries, progress.entries_total));
    };
    let progress: Option<&dyn Fn(Progress)> =
        if std::io::stderr().is_terminal() && !args.json { Some(&show) } else { None };
    let report = verify_dir(&args.dir, &VerifyOptions { policy, seen, progress });
    if args.json {
        out::line(&to_json(&report));
    } else {
        out::raw(&report.to_string());
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(report: &VerifyReport) -> String {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind.to_string(),
                "file": finding.file,
                "bytes": finding.bytes.as_ref().map(|range| [range.start, range.end]),
                "first_index": finding.first_index,
                "what": finding.what,
            })
        })
        .collect();
    json!({
        "verdict": report.verdict.to_string(),
        "sound": report.is_sound(),
        "origin": report.checkpoint.as_ref().map(|checkpoint| checkpoint.origin.clone()),
        "size": report.checkpoint.as_ref().map(|checkpoint| checkpoint.size),
        "root": report.checkpoint.as_ref().map(|checkpoint| checkpoint.root.to_string()),
        "signers": report.signers,
        "entries": report.entries,
        "pruned": report.pruned,
        "files": report.files,
        "bytes": report.bytes,
        "findings": findings,
        "findings_left_out": report.findings_left_out,
        "notes": report.notes,
    })
    .to_string()
}
