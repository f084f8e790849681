//! `lienthong catalog export`, `diff` and `sign`: catalog folders and the catalog in force.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_approval::folder_hash;
use lienthong_audit::hash::Hash;
use lienthong_broker::sources;
use lienthong_catalog::source::differences;
use lienthong_certs::Credentials;
use serde_json::json;
use time::OffsetDateTime;

use super::{folder, show};
use crate::{
    client,
    commands::enroll::{BrokerArgs, show as enrollment},
    out,
};

/// `lienthong catalog export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Folder to write to; it must be new or empty
    dir: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Export this change, for example changes/00000012, instead of the catalog in force
    #[arg(long, value_name = "NAME", default_value = "")]
    change: String,
}

/// `lienthong catalog diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// Folder with the YAML files
    dir: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// `lienthong catalog sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// Folder with the YAML files; the approval is added to its approvals.json
    dir: PathBuf,
    /// Profile, TOML, as of `lienthong call`: its certificate and key sign
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Id of the mesh
    #[arg(long, value_name = "ID")]
    mesh: String,
    /// Hash of the folder that must be in force when this one is taken up; any without it
    #[arg(long, value_name = "HEX")]
    base: Option<String>,
}

/// Writes the catalog in force as files, byte for byte as they were applied.
pub async fn export(args: ExportArgs) -> Result<ExitCode> {
    let mut service = folder::service(&args.broker)?;
    let files = folder::fetch(&mut service, &args.change).await?;
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("the folder {} cannot be made", args.dir.display()))?;
    anyhow::ensure!(
        fs::read_dir(&args.dir)?.next().is_none(),
        "the folder {} is not empty; name a new one",
        args.dir.display()
    );
    for file in &files {
        let path = std::path::Path::new(&file.name);
        let plain = path.components().count() == 1 && path.extension().is_some_and(|one| one == "yaml");
        anyhow::ensure!(
            plain,
            "the broker sent a file called {:?}, which is no file of a catalog",
            file.name
        );
        fs::write(args.dir.join(&file.name), &file.text)?;
    }
    let hash = hex::encode(folder_hash(&files).0);
    if args.broker.json {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        out::line(&json!({ "content_hash": hash, "files": names }).to_string());
    } else {
        for file in &files {
            out::line(&file.name);
        }
        out::note(&format!("{} files, content {hash}", files.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares a folder with the catalog in force; fails where they differ, as `diff` does.
pub async fn diff(args: DiffArgs) -> Result<ExitCode> {
    let files = sources::read_folder(&args.dir)?;
    let mut service = folder::service(&args.broker)?;
    let present = folder::fetch(&mut service, "").await?;
    let found = differences(&present, &files).map_err(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}", lines.join("\n"))
    })?;
    let same_text = folder_hash(&present) == folder_hash(&files);
    if args.broker.json {
        let objects = found.iter().map(|one| {
            json!({ "object": one.object, "difference": format!("{:?}", one.difference).to_uppercase(), "lines": one.lines })
        });
        let objects: Vec<_> = objects.collect();
        out::line(&json!({ "identical": same_text, "objects": objects }).to_string());
    } else {
        for line in show::differences(&found) {
            out::line(&line);
        }
        if same_text {
            out::note("no difference");
        } else if found.is_empty() {
            out::note("the files differ in their text only: both say the same");
        }
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Signs a folder offline, for a broker that takes it up from its configuration.
pub fn sign(args: &SignArgs) -> Result<ExitCode> {
    let profile = client::profile(&args.profile)?;
    let credentials = Credentials::open(&profile.certificate, &profile.key)?;
    let base = args.base.as_deref().map(enrollment::read_fingerprint).transpose()?;
    let base = base.and_then(|base| Hash::from_slice(&base));
    let statement =
        sources::sign_folder(&args.dir, &args.mesh, base, &credentials, OffsetDateTime::now_utc())?;
    out::line(String::from_utf8_lossy(&statement.to_bytes()).trim_end());
    out::note(&format!("signed by {}", credentials.certificate().subject));
    Ok(ExitCode::SUCCESS)
}
