//! `lienthong refusal`: a provider declares that it does not serve an entitled consumer, and takes it back.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use lienthong_duty::purpose_word;
use lienthong_proto::lienthong::registry::v1::{
    DeclareRefusalRequest, ListRefusalsRequest, Refusal, RefusalState, WithdrawRefusalRequest,
};
use serde_json::json;

use super::{full_name, purpose, service, time, word};
use crate::{
    commands::{
        block_on,
        catalog::random_id,
        enroll::{BrokerArgs, show},
        listing::{PAGE_ITEMS, answered, every, listed, told},
        message_json,
    },
    out,
};

/// Full name of what is listed here.
const MESSAGE: &str = "lienthong.registry.v1.Refusal";

/// `lienthong refusal`.
#[derive(Debug, Subcommand)]
pub enum RefusalCommand {
    /// Declare that your agency does not serve an entitled consumer, with reason and legal basis
    Declare(DeclareArgs),
    /// List refusals of and towards your agency; all for the operator
    List(ListArgs),
    /// Take a refusal back: the right is restored at once
    Withdraw(WithdrawArgs),
    /// Print the reasons that the law knows, the deadlines and the holidays, as the program knows them
    Rules,
}

/// `lienthong refusal declare`.
#[derive(Debug, Args)]
pub struct DeclareArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Code of the consumer
    #[arg(long, value_name = "CODE")]
    consumer: String,
    /// Dataset
    #[arg(long, value_name = "ID")]
    dataset: String,
    /// Purpose; every one without it
    #[arg(long)]
    purpose: Option<String>,
    /// Reason, of `lienthong refusal rules`; any other counts as unjustified, and the data goes on
    #[arg(long)]
    reason: String,
    /// Instrument and article
    #[arg(long, value_name = "TEXT", default_value = "")]
    legal_basis: String,
    /// What happened; no personal data
    #[arg(long, value_name = "TEXT", default_value = "")]
    evidence: String,
    /// When you expect to serve again, RFC 3339: the suspension ends by itself then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Id of the request, for one that is sent again; random without it
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

/// `lienthong refusal list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Only those of this provider
    #[arg(long, value_name = "CODE", default_value = "")]
    provider: String,
}

/// `lienthong refusal withdraw`.
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    /// Refusal, for example refusals/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// What has changed; it goes on record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Carries a command out.
pub fn run(command: RefusalCommand) -> Result<ExitCode> {
    match command {
        RefusalCommand::Declare(args) => block_on(declare(args)),
        RefusalCommand::List(args) => block_on(list(args)),
        RefusalCommand::Withdraw(args) => block_on(withdraw(args)),
        RefusalCommand::Rules => {
            out::raw(lienthong_duty::rules::VIETNAM);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn declare(args: DeclareArgs) -> Result<ExitCode> {
    let request = DeclareRefusalRequest {
        consumer: args.consumer,
        dataset: args.dataset,
        purpose: purpose(args.purpose.as_deref())?.into(),
        reason: args.reason,
        legal_basis: args.legal_basis,
        evidence: args.evidence,
        expected_restore_time: args.until.as_deref().map(time).transpose()?,
        request_id: match args.request_id {
            Some(id) => id,
            None => random_id()?,
        },
    };
    let answer = answered(service(&args.broker)?.declare_refusal(request).await)?;
    let (refusal, dispute) = (answer.refusal.unwrap_or_default(), answer.dispute.unwrap_or_default());
    if args.broker.json {
        let refusal = message_json(MESSAGE, &refusal)?;
        let dispute = message_json("lienthong.registry.v1.Dispute", &dispute)?;
        out::line(&json!({ "refusal": refusal, "dispute": dispute }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out::line(&row(&refusal));
    if refusal.state() == RefusalState::Unjustified {
        out::note(&format!(
            "The refusal is on record as UNJUSTIFIED: {}\nThe data goes on. {} was opened; your agency answers by {}.\n\
             Từ chối không có căn cứ: dữ liệu vẫn được cung cấp; vướng mắc đã được mở.",
            refusal.judgement,
            dispute.name,
            show::time(dispute.due_time)
        ));
    } else {
        out::note(&format!(
            "{} right(s) suspended in epoch {}; {} was opened.\nĐã tạm ngừng cung cấp; vướng mắc đã được mở để theo dõi.",
            refusal.rights.len(),
            refusal.epoch,
            dispute.name
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let all = every(async |page_token| {
        let request = ListRefusalsRequest {
            page_size: PAGE_ITEMS,
            page_token,
            provider: args.provider.clone(),
            ..ListRefusalsRequest::default()
        };
        let page = answered(service.list_refusals(request).await)?;
        Ok((page.refusals, page.next_page_token))
    })
    .await?;
    listed(&all, "refusals", MESSAGE, args.broker.json, row)
}

async fn withdraw(args: WithdrawArgs) -> Result<ExitCode> {
    let request = WithdrawRefusalRequest { name: full_name("refusals", &args.name), reason: args.reason };
    let answer = answered(service(&args.broker)?.withdraw_refusal(request).await)?;
    told(&answer.refusal.unwrap_or_default(), MESSAGE, args.broker.json, row)
}

fn row(one: &Refusal) -> String {
    format!(
        "{}  {:<11}  {} ⊘ {} {} for {}  {}  {}",
        one.name,
        word(one.state().as_str_name(), "REFUSAL_STATE_"),
        one.provider,
        one.consumer,
        one.dataset,
        purpose_word(one.purpose()),
        one.reason,
        show::time(one.create_time)
    )
}
