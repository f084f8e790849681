//! `lienthong outage`: planned maintenance, announced.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use lienthong_proto::lienthong::registry::v1::{AnnounceOutageRequest, ListOutagesRequest, Outage};

use super::{service, time};
use crate::{
    commands::{
        block_on,
        catalog::random_id,
        enroll::{BrokerArgs, show},
        listing::{PAGE_ITEMS, answered, every, listed, told},
    },
    out,
};

/// Full name of what is listed here.
const MESSAGE: &str = "lienthong.registry.v1.Outage";

/// `lienthong outage`.
#[derive(Debug, Subcommand)]
pub enum OutageCommand {
    /// Announce planned maintenance of your agency, at least 7 working days ahead
    Announce(AnnounceArgs),
    /// List announced outages
    List(ListArgs),
}

/// `lienthong outage announce`.
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Dataset; all of your agency's without it
    #[arg(long = "dataset", value_name = "ID")]
    datasets: Vec<String>,
    /// When it begins, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: String,
    /// When it is expected to end, RFC 3339
    #[arg(long, value_name = "TIME")]
    until: String,
    /// What for
    #[arg(long, value_name = "TEXT")]
    note: String,
}

/// `lienthong outage list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Only those of this provider
    #[arg(long, value_name = "CODE", default_value = "")]
    provider: String,
}

/// Carries a command out.
pub fn run(command: OutageCommand) -> Result<ExitCode> {
    match command {
        OutageCommand::Announce(args) => block_on(announce(args)),
        OutageCommand::List(args) => block_on(list(args)),
    }
}

async fn announce(args: AnnounceArgs) -> Result<ExitCode> {
    let request = AnnounceOutageRequest {
        datasets: args.datasets,
        start_time: Some(time(&args.from)?),
        expected_end_time: Some(time(&args.until)?),
        note: args.note,
        request_id: random_id()?,
    };
    let answer = answered(service(&args.broker)?.announce_outage(request).await)?;
    let outage = answer.outage.unwrap_or_default();
    told(&outage, MESSAGE, args.broker.json, row)?;
    if outage.short_notice && !args.broker.json {
        out::note(
            "The notice is shorter than R-17 demands; the outage counts against your agency.\n\
             Thông báo chưa đủ số ngày làm việc theo quy định.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let all = every(async |page_token| {
        let request =
            ListOutagesRequest { page_size: PAGE_ITEMS, page_token, provider: args.provider.clone() };
        let page = answered(service.list_outages(request).await)?;
        Ok((page.outages, page.next_page_token))
    })
    .await?;
    listed(&all, "outages", MESSAGE, args.broker.json, row)
}

fn row(one: &Outage) -> String {
    let datasets = if one.datasets.is_empty() { "everything".to_owned() } else { one.datasets.join(", ") };
    format!(
        "{}  {}  {datasets}  {} to {}  {} working days of notice  {}",
        one.name,
        one.provider,
        show::time(one.start_time),
        show::time(one.expected_end_time),
        one.notice_working_days,
        one.note
    )
}
