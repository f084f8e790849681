//! `lienthong certs`.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Result;
use lienthong_certs::{
    files,
    inspect::{Inspection, inspect},
    judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors},
    pki::DevPki,
};
use serde_json::{Value, json};

use crate::{
    cli::{CertsCommand, CertsInitArgs, CertsInspectArgs},
    commands::{certs_crl, certs_issue, certs_request, doctor::refusals},
    out,
};

/// Carries a command out.
pub fn run(command: CertsCommand) -> Result<ExitCode> {
    match command {
        CertsCommand::Init(args) => init(&args),
        CertsCommand::Request(args) => certs_request::run(&args),
        CertsCommand::Issue(args) => certs_issue::issue(&args),
        CertsCommand::Renew(args) => certs_issue::renew(&args),
        CertsCommand::Revoke(args) => certs_issue::revoke(&args),
        CertsCommand::Crl(command) => certs_crl::run(command),
        CertsCommand::Inspect(args) => inspect_one(args),
    }
}

fn init(args: &CertsInitArgs) -> Result<ExitCode> {
    let pki = DevPki::create(&args.dir, &args.mesh)?;
    if args.json {
        let trust: serde_json::Map<String, Value> = pki
            .trust_files()
            .into_iter()
            .map(|(branch, path)| (branch.to_string().to_lowercase(), json!(path)))
            .collect();
        let told =
            json!({ "mesh": pki.mesh_id(), "dir": args.dir, "trust": trust, "lists": pki.crl_files() });
        out::line(&told.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out::line(&format!("development PKI of mesh {} in {}", pki.mesh_id(), args.dir.display()));
    for (branch, path) in pki.trust_files() {
        out::line(&format!("trust for {branch:?}: {}", path.display()));
    }
    out::note("its certificates carry a mark that every production role refuses; never use it for real data");
    Ok(ExitCode::SUCCESS)
}

fn inspect_one(args: CertsInspectArgs) -> Result<ExitCode> {
    let branches = [(Branch::State, args.state), (Branch::Party, args.party), (Branch::Public, args.public)];
    let anchors: Vec<(Branch, PathBuf)> = branches
        .into_iter()
        .flat_map(|(branch, paths)| paths.into_iter().map(move |path| (branch, path)))
        .collect();
    let anchors = TrustAnchors::load(&anchors)?;
    let lists = RevocationLists::load(&args.crl, &anchors)?;
    let profile = if args.development { Profile::development() } else { Profile::default() };
    let judge = Judge::new(anchors, lists, profile)?;
    let chain = files::certificates(&args.certificate)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let inspection = inspect(&judge, &chain, rustls_pki_types::UnixTime::since_unix_epoch(now));
    if args.json {
        out::line(&to_json(&inspection).to_string());
        return Ok(if inspection.accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    for verdict in &inspection.verdicts {
        out::line(&verdict.sentence());
        if let Some(remedy) = verdict.remedy() {
            out::line(&format!("  → {remedy}"));
        }
        if let Err(refusal) = &verdict.outcome {
            out::line(&format!("  {}", refusals::seen(refusal).vi));
            out::line(&format!("  → {}", refusals::fix(refusal).vi));
        }
    }
    for note in &inspection.notes {
        out::line(&format!("note: {note}"));
    }
    Ok(if inspection.accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn to_json(inspection: &Inspection) -> Value {
    let verdicts: Vec<Value> = inspection
        .verdicts
        .iter()
        .map(|verdict| match &verdict.outcome {
            Ok(accepted) => json!({
                "usage": verdict.usage.to_string(),
                "accepted": true,
                "branch": accepted.branch.map(|branch| branch.to_string()),
                "issuer": accepted.binding.issuer,
                "serial": accepted.binding.serial_hex(),
                "spkiSha256": hex::encode(accepted.binding.spki_sha256),
                "claimedAgency": accepted.claimed_agency,
            }),
            Err(refusal) => json!({
                "usage": verdict.usage.to_string(),
                "accepted": false,
                "label": refusal.label(),
                "problem": { "en": refusal.to_string(), "vi": refusals::seen(refusal).vi },
                "remedy": { "en": refusal.remedy(), "vi": refusals::fix(refusal).vi },
            }),
        })
        .collect();
    let subject = inspection.certificate.as_ref().map(|certificate| certificate.subject.text.clone());
    json!({
        "accepted": inspection.accepted(),
        "subject": subject,
        "verdicts": verdicts,
        "notes": inspection.notes,
    })
}
