//! `lienthong audit verify`: the offline verifier.

use std::{fs, io::IsTerminal, process::ExitCode};

use anyhow::{Context, Result};
use lienthong_audit::{
    policy::Policy,
    verify::{Progress, VerifyOptions, VerifyReport, verify_dir},
};
use serde_json::json;

use crate::{
    cli::{AuditCommand, VerifyArgs},
    commands::findings,
    out,
};

/// Carries a command out.
pub fn run(command: AuditCommand) -> Result<ExitCode> {
    match command {
        AuditCommand::Verify(args) => verify(&args),
        AuditCommand::Findings(command) => findings::run(command),
    }
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let policy = match &args.policy {
        None => None,
        Some(path) => {
            let bytes =
                fs::read(path).with_context(|| format!("the policy {} cannot be read", path.display()))?;
            Some(
                Policy::parse(&bytes)
                    .with_context(|| format!("the policy {} is no tlog-policy", path.display()))?,
            )
        }
    };
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
        "files": report.files,
        "bytes": report.bytes,
        "findings": findings,
        "findings_left_out": report.findings_left_out,
        "notes": report.notes,
    })
    .to_string()
}
