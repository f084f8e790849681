//! `lienthong audit erase` and `lienthong audit end-user`: erasing what is kept of a person, and saying who an end user is.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use lienthong_proto::lienthong::audit::v1::{EraseSubjectRequest, RegisterUserRequest};
use serde_json::json;

use super::search::{AskerArgs, refused};
use crate::out;

/// `lienthong audit erase`.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// Who asks; --case is the case, --reason the authority and its decision
    #[command(flatten)]
    pub asker: AskerArgs,
    /// Citizen number or business number
    pub subject: String,
    /// The law by which it is done, for example "Luật 91/2025 Đ14"
    #[arg(long, value_name = "LAW")]
    pub legal_basis: String,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong audit end-user`.
#[derive(Debug, Args)]
pub struct EndUserArgs {
    /// Who asks
    #[command(flatten)]
    pub asker: AskerArgs,
    /// Resource name of the agency's system, for example agencies/H26.90/systems/mot-cua
    pub system: String,
    /// The end user's opaque id there
    pub user: String,
    /// His own citizen number, of which a keyed hash is kept
    #[arg(long, value_name = "NUMBER", required_unless_present = "forget", conflicts_with = "forget")]
    pub number: Option<String>,
    /// Forget what was kept of him
    #[arg(long)]
    pub forget: bool,
}

/// Carries `erase` out.
pub async fn run(args: &EraseArgs) -> Result<ExitCode> {
    let request = EraseSubjectRequest {
        subject: args.subject.clone(),
        legal_basis: args.legal_basis.clone(),
        authority: args.asker.reason.clone(),
        case_id: args.asker.case.clone(),
    };
    let answer = args.asker.service()?.erase_subject(request).await.map_err(refused)?.into_inner();
    if args.json {
        let answer = json!({ "index": answer.index, "records": answer.records, "applied": answer.applied });
        out::line(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out::line(&format!(
        "on record as entry {}; {} records were found by the person",
        answer.index, answer.records
    ));
    out::line(if answer.applied {
        "erased from the index; each node erases its keys and salts as soon as it hears of it"
    } else {
        "the index erases it once it has come up to that entry; each node erases its keys and salts then"
    });
    Ok(ExitCode::SUCCESS)
}

/// Carries `end-user` out.
pub async fn end_user(args: &EndUserArgs) -> Result<ExitCode> {
    let request = RegisterUserRequest {
        system: args.system.clone(),
        user: args.user.clone(),
        subject: args.number.clone().unwrap_or_default(),
    };
    let answer = args.asker.service()?.register_user(request).await.map_err(refused)?.into_inner();
    out::line(&format!("on record as entry {}", answer.index));
    Ok(ExitCode::SUCCESS)
}
