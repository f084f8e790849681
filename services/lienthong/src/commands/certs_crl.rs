//! `lienthong certs crl`: revocation lists made and shown.

use std::{path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use lienthong_certs::{
    Branch, DevPki, Freshness, RevocationLists, TrustAnchors,
    judge::RevocationList,
    pki::{CRL_DAYS, DevAuthority},
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use time::{Duration, format_description::well_known::Rfc3339};

use crate::out;

/// Entries shown to a person; `--json` has all of them.
const ENTRIES_SHOWN_MAX: usize = 50;

/// `lienthong certs crl`.
#[derive(Debug, Subcommand)]
pub enum CrlCommand {
    /// Publish the next list of the development PKI's authorities, with the entries that they have
    Make(MakeArgs),
    /// Say in plain words what a revocation list says, and whether the mesh would go by it
    Show(ShowArgs),
}

/// `lienthong certs crl make`.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// Folder of the development PKI
    pub dir: PathBuf,
    /// Only this authority's
    #[arg(long, value_enum)]
    pub authority: Option<Authority>,
    /// Days until the next list is due
    #[arg(long, value_name = "DAYS", default_value_t = CRL_DAYS, value_parser = clap::value_parser!(i64).range(1..=366))]
    pub days: i64,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// An authority of the development PKI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Authority {
    /// The root
    Root,
    /// Of state agencies
    State,
    /// Of Party agencies
    Party,
    /// Of everybody else
    Public,
}

/// `lienthong certs crl show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Revocation lists, PEM or DER
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The authorities that may have signed them, PEM
    #[arg(long = "authority", value_name = "FILE", required = true)]
    pub authorities: Vec<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries a command out.
pub fn run(command: CrlCommand) -> Result<ExitCode> {
    match command {
        CrlCommand::Make(args) => make(&args),
        CrlCommand::Show(args) => show(&args),
    }
}

fn make(args: &MakeArgs) -> Result<ExitCode> {
    let pki = DevPki::open(&args.dir)?;
    let mut made = Vec::new();
    for (name, authority) in [
        (Authority::Root, DevAuthority::Root),
        (Authority::State, DevAuthority::State),
        (Authority::Party, DevAuthority::Party),
        (Authority::Public, DevAuthority::Public),
    ] {
        if args.authority.is_none_or(|only| only == name) {
            made.push(pki.crl_due(authority, Duration::days(args.days))?);
        }
    }
    if args.json {
        out::line(&json!({ "lists": made }).to_string());
    } else {
        for path in &made {
            out::line(&path.display().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails where the mesh would not go by one of them: unreadable, of nobody known, or overdue.
fn show(args: &ShowArgs) -> Result<ExitCode> {
    let authorities: Vec<(Branch, PathBuf)> =
        args.authorities.iter().map(|path| (Branch::State, path.clone())).collect();
    let anchors = TrustAnchors::load(&authorities)?;
    let lists = RevocationLists::load(&args.files, &anchors)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(now);
    let mut all: Vec<(&RevocationList, Freshness)> =
        lists.lists().map(|list| (list, lists.freshness_of(list.authority, now))).collect();
    all.sort_by(|left, right| left.0.issuer.cmp(&right.0.issuer));
    let overdue = all.iter().any(|(_, freshness)| !matches!(freshness, Freshness::Fresh { .. }));
    if args.json {
        let shown: Vec<Value> = all.iter().map(|(list, freshness)| to_json(list, *freshness)).collect();
        out::line(&json!({ "lists": shown }).to_string());
    } else {
        for (list, freshness) in &all {
            tell(list, *freshness);
        }
    }
    Ok(if overdue { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(list: &RevocationList, freshness: Freshness) {
    out::line(&list.issuer);
    out::line(&format!(
        "  number {}, made {}, next due {}, {} revoked",
        hex::encode(&list.crl_number),
        text(list.this_update),
        text(list.next_update),
        list.len()
    ));
    if let Freshness::Stale { .. } = freshness {
        out::line("  OVERDUE: core, important and personal data will be refused (R-37)");
        out::line("  QUÁ HẠN: dữ liệu cốt lõi, quan trọng và dữ liệu cá nhân sẽ bị từ chối (R-37)");
    }
    let mut entries: Vec<_> = list.entries().collect();
    entries.sort_by(|left, right| (left.1.when, left.0).cmp(&(right.1.when, right.0)));
    for (serial, revocation) in entries.iter().take(ENTRIES_SHOWN_MAX) {
        out::line(&format!("  {} {}: {}", text(revocation.when), hex::encode(serial), revocation.reason));
    }
    if entries.len() > ENTRIES_SHOWN_MAX {
        out::line(&format!("  … and {} more; --json has all of them", entries.len() - ENTRIES_SHOWN_MAX));
    }
}

fn to_json(list: &RevocationList, freshness: Freshness) -> Value {
    let entries: Vec<Value> = list
        .entries()
        .map(|(serial, revocation)| {
            json!({
                "serial": hex::encode(serial),
                "time": text(revocation.when),
                "reason": revocation.reason.to_string(),
            })
        })
        .collect();
    json!({
        "issuer": list.issuer,
        "number": hex::encode(&list.crl_number),
        "thisUpdate": text(list.this_update),
        "nextUpdate": text(list.next_update),
        "fresh": matches!(freshness, Freshness::Fresh { .. }),
        "entries": entries,
    })
}

fn text(time: time::OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
