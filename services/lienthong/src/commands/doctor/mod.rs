//! `lienthong doctor`: why calls fail, or when they will; each check with its fix in one line.
//!
//! Facts are gathered at the edge ([`client`] for an integrator, [`operator`] for a node's machine, [`reach`] for the
//! way to somebody), then judged by pure functions ([`judge`]) and shown ([`report`]).

pub mod client;
pub mod facts;
pub mod finding;
pub mod judge;
pub mod operator;
mod own;
pub mod reach;
pub mod refusals;
pub mod report;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Args;
use lienthong_node::NodeConfig;

use crate::{
    commands::doctor::{
        finding::is_well,
        report::{Lang, lines, to_json},
    },
    out,
};

/// `lienthong doctor`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("patient").required(true).args(["profile", "config"])))]
pub struct DoctorArgs {
    /// Client profile, TOML: look at a call from a system to its node
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Configuration of a node, TOML: look at the node from its machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The call that is meant.
    #[command(flatten)]
    pub call: MeantCall,
    /// Language of the report; without it, that of LANG, else both
    #[arg(long, value_enum)]
    pub lang: Option<Lang>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// A call, as it would be made.
#[derive(Debug, Clone, Args)]
pub struct MeantCall {
    /// gRPC path of the method that is meant, for example /vn.dancu.v1.CitizenService/GetCitizen
    #[arg(long, value_name = "PATH", requires = "profile")]
    pub method: Option<String>,
    /// Purpose of the call
    #[arg(long, requires = "method")]
    pub purpose: Option<String>,
    /// Dossier that the call serves
    #[arg(long, requires = "method")]
    pub dossier: Option<String>,
    /// Opaque id of the end user
    #[arg(long, requires = "method")]
    pub user: Option<String>,
    /// Provider, where several agencies serve the method
    #[arg(long, value_name = "AGENCY", requires = "method")]
    pub provider: Option<String>,
    /// Fields to ask for, where fewer than the granted ones are wanted
    #[arg(long, value_delimiter = ',', value_name = "FIELD", requires = "method")]
    pub fields: Vec<String>,
    /// Contract at hand, a descriptor set, to compare with the one that is served
    #[arg(long, value_name = "FILE", requires = "method")]
    pub contract: Option<PathBuf>,
    /// Deadline of the call, seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Revocation lists, PEM or DER
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub crl: Vec<PathBuf>,
}

/// Gathers, judges, shows. Fails where a check fails.
pub async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let findings = match (&args.profile, &args.config) {
        (Some(path), _) => {
            let profile = crate::client::profile(path)?;
            judge::client(&client::gather(&profile, &args.call).await)
        }
        (None, Some(path)) => {
            let config: NodeConfig = lienthong_telemetry::load(path)?;
            judge::operator(&operator::gather(&config).await)
        }
        (None, None) => anyhow::bail!("give --profile FILE or --config FILE"),
    };
    if args.json {
        out::line(&to_json(&findings));
    } else {
        let lang = args.lang.unwrap_or_else(Lang::of_environment);
        for line in lines(&findings, lang, out::stdout_is_terminal()) {
            out::line(&line);
        }
    }
    Ok(if is_well(&findings) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
