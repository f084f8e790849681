//! `lienthong witness`: run, check the configuration, print one to begin from, make a key.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lienthong_audit::note::{KeyKind, SigningKey};
use lienthong_certs::files::create_private;
use lienthong_telemetry::{load, sample_toml};
use lienthong_witness::WitnessConfig;

use crate::{
    cli::{ConfigArgs, RunArgs},
    commands::roles::{checked, identity, sample, serve},
    out,
};

/// `lienthong witness`.
#[derive(Debug, Subcommand)]
pub enum WitnessCommand {
    /// Run until interrupted
    Run(RunArgs),
    /// Read the configuration and everything that it names, and say what is wrong
    CheckConfig(ConfigArgs),
    /// Print a commented configuration to begin from
    SampleConfig,
    /// Make a witness's key; prints its public half, for the policy of everybody who shall believe it
    CreateKey(CreateKeyArgs),
}

/// `lienthong witness create-key`.
#[derive(Debug, Args)]
pub struct CreateKeyArgs {
    /// Name of the witness: a schema-less URL that names it for ever, for example witness.example.vn/dc1
    #[arg(long)]
    pub name: String,
    /// New file of the private key; it is never overwritten
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
}

/// Carries a command out.
pub fn run(command: WitnessCommand) -> Result<ExitCode> {
    match command {
        WitnessCommand::SampleConfig => Ok(sample(&sample_toml(&WitnessConfig::sample()))),
        WitnessCommand::CheckConfig(args) => {
            checked(&load::<WitnessConfig>(&args.config)?, lienthong_witness::check)
        }
        WitnessCommand::Run(args) => {
            let config: WitnessConfig = load(&args.config)?;
            let identity = identity("witness", &config.mesh, config.development);
            serve(&args, &config.telemetry.clone(), &identity, async move |stop| {
                Ok(lienthong_witness::run(config, stop.cancelled_owned()).await?)
            })
        }
        WitnessCommand::CreateKey(args) => create_key(&args),
    }
}

fn create_key(args: &CreateKeyArgs) -> Result<ExitCode> {
    let key = SigningKey::generate(&args.name, KeyKind::CosignatureV1)?;
    create_private(&args.output, key.to_skey()?.as_bytes())
        .with_context(|| format!("no key was made in {}", args.output.display()))?;
    out::line(&key.verifier().to_string());
    Ok(ExitCode::SUCCESS)
}
