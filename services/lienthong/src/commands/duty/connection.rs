//! `lienthong connection`: requests for data that the catalog does not grant.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use lienthong_proto::lienthong::registry::v1::{
    AnswerConnectionRequestRequest, ConnectionRequest, CreateConnectionRequestRequest,
    ListConnectionRequestsRequest,
};

use super::{Duties, full_name, purpose, service, word};
use crate::commands::{
    block_on,
    catalog::random_id,
    enroll::{BrokerArgs, show},
    listing::{PAGE_ITEMS, answered, every, listed, told},
};

/// Full name of what is listed here.
const MESSAGE: &str = "lienthong.registry.v1.ConnectionRequest";

/// `lienthong connection`.
#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// Ask a provider for data that the catalog does not grant
    Request(RequestArgs),
    /// Answer a request that was made to your agency, within 2 working days
    Answer(AnswerArgs),
    /// List requests of and to your agency; all for the operator
    List(ListArgs),
}

/// `lienthong connection request`.
#[derive(Debug, Args)]
pub struct RequestArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Resource name of the system that would call, for example agencies/H29/systems/mot-cua
    #[arg(long, value_name = "NAME")]
    system: String,
    /// Code of the provider
    #[arg(long, value_name = "CODE")]
    provider: String,
    /// Dataset
    #[arg(long, value_name = "ID")]
    dataset: String,
    /// Fields
    #[arg(long, value_delimiter = ',', value_name = "FIELD", required = true)]
    fields: Vec<String>,
    /// Purpose
    #[arg(long)]
    purpose: String,
    /// What the data is used for
    #[arg(long, value_name = "TEXT")]
    use_plan: String,
    /// Calls a day that are expected
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    calls_per_day: u32,
    /// Instrument and article
    #[arg(long, value_name = "TEXT")]
    legal_basis: String,
}

/// `lienthong connection answer`.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// Request, for example connectionRequests/00000012
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
    /// Accept it; the operator brings the right into the catalog
    #[arg(long, conflicts_with = "decline", required_unless_present = "decline")]
    accept: bool,
    /// Decline it
    #[arg(long)]
    decline: bool,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    text: String,
    /// Instrument and article, to decline
    #[arg(long, value_name = "TEXT", default_value = "")]
    legal_basis: String,
}

/// `lienthong connection list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Carries a command out.
pub fn run(command: ConnectionCommand) -> Result<ExitCode> {
    match command {
        ConnectionCommand::Request(args) => block_on(request(args)),
        ConnectionCommand::Answer(args) => block_on(answer(args)),
        ConnectionCommand::List(args) => block_on(list(args)),
    }
}

async fn request(args: RequestArgs) -> Result<ExitCode> {
    let request = CreateConnectionRequestRequest {
        system: args.system,
        provider: args.provider,
        dataset: args.dataset,
        fields: args.fields,
        purpose: purpose(Some(&args.purpose))?.into(),
        use_plan: args.use_plan,
        calls_per_day: args.calls_per_day,
        legal_basis: args.legal_basis,
        request_id: random_id()?,
    };
    let answer = answered(service(&args.broker)?.create_connection_request(request).await)?;
    told(&answer.connection_request.unwrap_or_default(), MESSAGE, args.broker.json, row)
}

async fn answer(args: AnswerArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let name = full_name("connectionRequests", &args.name);
    let seen = all(&mut service).await?.into_iter().find(|one| one.name == name);
    let seen = seen.with_context(|| format!("no request that your agency may see is called {name}"))?;
    let request = AnswerConnectionRequestRequest {
        name,
        accepted: args.accept,
        answer: args.text,
        legal_basis: args.legal_basis,
        etag: seen.etag,
    };
    let answer = answered(service.answer_connection_request(request).await)?;
    told(&answer.connection_request.unwrap_or_default(), MESSAGE, args.broker.json, row)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let all = all(&mut service(&args.broker)?).await?;
    listed(&all, "connectionRequests", MESSAGE, args.broker.json, row)
}

async fn all(service: &mut Duties) -> Result<Vec<ConnectionRequest>> {
    every(async |page_token| {
        let request = ListConnectionRequestsRequest {
            page_size: PAGE_ITEMS,
            page_token,
            ..ListConnectionRequestsRequest::default()
        };
        let page = answered(service.list_connection_requests(request).await)?;
        Ok((page.connection_requests, page.next_page_token))
    })
    .await
}

fn row(one: &ConnectionRequest) -> String {
    format!(
        "{}  {:<8}  {} → {} {}  answer due {}  {}",
        one.name,
        word(one.state().as_str_name(), "CONNECTION_REQUEST_STATE_"),
        one.requester,
        one.provider,
        one.dataset,
        show::time(one.due_time),
        one.use_plan
    )
}
