//! `lienthong certs`.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Result;
use lienthong_certs::{
    files,
    inspect::inspect,
    judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors},
    pki::DevPki,
};

use crate::{
    cli::{CertsCommand, CertsInitArgs, CertsInspectArgs},
    commands::certs_request,
    out,
};

/// Carries a command out.
pub fn run(command: CertsCommand) -> Result<ExitCode> {
    match command {
        CertsCommand::Init(args) => init(&args),
        CertsCommand::Request(args) => certs_request::run(&args),
        CertsCommand::Inspect(args) => inspect_one(args),
    }
}

fn init(args: &CertsInitArgs) -> Result<ExitCode> {
    let pki = DevPki::create(&args.dir, &args.mesh)?;
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
    for verdict in &inspection.verdicts {
        out::line(&verdict.sentence());
        if let Some(remedy) = verdict.remedy() {
            out::line(&format!("  → {remedy}"));
        }
    }
    for note in &inspection.notes {
        out::line(&format!("note: {note}"));
    }
    Ok(if inspection.accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
