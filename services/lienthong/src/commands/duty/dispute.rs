//! `lienthong dispute`: what parties say about a refusal, and how it ends.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use lienthong_proto::lienthong::registry::v1::{
    AnswerDisputeRequest, DecideDisputeRequest, Dispute, DisputeEvent, DisputeOutcome, GetDisputeRequest,
    ListDisputesRequest,
};

use super::{full_name, service, word};
use crate::commands::{
    block_on,
    enroll::{BrokerArgs, show},
    listing::{PAGE_ITEMS, answered, every, listed, told},
};

/// Full name of what is listed here.
const MESSAGE: &str = "lienthong.registry.v1.Dispute";

/// `lienthong dispute`.
#[derive(Debug, Subcommand)]
pub enum DisputeCommand {
    /// List disputes that your agency is party to; all for the operator
    List(ListArgs),
    /// Show one dispute, with everything that was said
    Show(ShowArgs),
    /// Put what your agency says on its file
    Answer(AnswerArgs),
    /// End a dispute (operator)
    Decide(DecideArgs),
}

/// `lienthong dispute list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Only those that are open
    #[arg(long)]
    open: bool,
}

/// `lienthong dispute show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Dispute, for example disputes/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// `lienthong dispute answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// Dispute, for example disputes/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// What your agency says; no personal data
    #[arg(long)]
    text: String,
}

/// `lienthong dispute decide`.
#[derive(Debug, Args)]
pub struct DecideArgs {
    /// Dispute, for example disputes/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// How it ends
    #[arg(long, value_enum)]
    outcome: OutcomeWord,
    /// Why; it goes on record
    #[arg(long)]
    text: String,
}

/// An outcome, as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OutcomeWord {
    /// The refusal stands
    Upheld,
    /// The refusal does not stand: the right is restored
    Overturned,
    /// There was no lawful reason
    Unjustified,
}

/// Carries a command out.
pub fn run(command: DisputeCommand) -> Result<ExitCode> {
    match command {
        DisputeCommand::List(args) => block_on(list(args)),
        DisputeCommand::Show(args) => block_on(show_one(args)),
        DisputeCommand::Answer(args) => block_on(answer(args)),
        DisputeCommand::Decide(args) => block_on(decide(args)),
    }
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let all = every(async |page_token| {
        let request = ListDisputesRequest { page_size: PAGE_ITEMS, page_token, open_only: args.open };
        let page = answered(service.list_disputes(request).await)?;
        Ok((page.disputes, page.next_page_token))
    })
    .await?;
    listed(&all, "disputes", MESSAGE, args.broker.json, row)
}

async fn show_one(args: ShowArgs) -> Result<ExitCode> {
    let dispute = get(&args.broker, &args.name).await?;
    told(&dispute, MESSAGE, args.broker.json, whole)
}

async fn answer(args: AnswerArgs) -> Result<ExitCode> {
    let request = AnswerDisputeRequest { name: full_name("disputes", &args.name), text: args.text };
    let answer = answered(service(&args.broker)?.answer_dispute(request).await)?;
    told(&answer.dispute.unwrap_or_default(), MESSAGE, args.broker.json, whole)
}

async fn decide(args: DecideArgs) -> Result<ExitCode> {
    let seen = get(&args.broker, &args.name).await?;
    let outcome = match args.outcome {
        OutcomeWord::Upheld => DisputeOutcome::Upheld,
        OutcomeWord::Overturned => DisputeOutcome::Overturned,
        OutcomeWord::Unjustified => DisputeOutcome::Unjustified,
    };
    let request =
        DecideDisputeRequest { name: seen.name, outcome: outcome.into(), text: args.text, etag: seen.etag };
    let answer = answered(service(&args.broker)?.decide_dispute(request).await)?;
    told(&answer.dispute.unwrap_or_default(), MESSAGE, args.broker.json, whole)
}

async fn get(broker: &BrokerArgs, name: &str) -> Result<Dispute> {
    let request = GetDisputeRequest { name: full_name("disputes", name) };
    let answer = answered(service(broker)?.get_dispute(request).await)?;
    Ok(answer.dispute.unwrap_or_default())
}

/// The dispute, and everything that was said.
fn whole(one: &Dispute) -> String {
    let event = |event: &DisputeEvent| {
        format!("\n  {}  {:<9}  {}  {}", show::time(event.time), event.kind, event.actor, event.text)
    };
    one.events.iter().fold(row(one), |text, one| text + &event(one))
}

fn row(one: &Dispute) -> String {
    let standing = match one.outcome() {
        DisputeOutcome::Unspecified => {
            let stage = word(one.stage().as_str_name(), "DISPUTE_STAGE_");
            match one.due_time {
                Some(due) => format!("with {stage} until {}", show::time(Some(due))),
                None => format!("with {stage}"),
            }
        }
        outcome => word(outcome.as_str_name(), "DISPUTE_OUTCOME_"),
    };
    format!(
        "{}  {}  {} ⊘ {} {}  {standing}",
        one.name,
        word(one.cause().as_str_name(), "DISPUTE_CAUSE_"),
        one.provider,
        one.consumer,
        one.dataset
    )
}
