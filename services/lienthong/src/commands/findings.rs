//! `lienthong audit findings`: what does not match, notes at it, and closing it with a reason.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use lienthong_proto::lienthong::audit::v1::{
    CloseFindingRequest, FindingEntry, FindingKind, FindingNote, ListFindingsRequest, NoteFindingRequest,
    WatchFindingsRequest, finding_service_client::FindingServiceClient,
};
use lienthong_transport::Channel;
use serde_json::{Value, json};

use crate::{
    client::{self, Client},
    commands::{
        block_on,
        enroll::{BrokerArgs, show},
    },
    out,
};

/// Findings in one page.
const PAGE_ITEMS: i32 = 100;

/// `lienthong audit findings`.
#[derive(Debug, Subcommand)]
pub enum FindingsCommand {
    /// List what does not match and is not closed
    List(ListArgs),
    /// Show findings and alerts as they are put on record, until interrupted
    Watch(WatchArgs),
    /// Note something at a finding, or say who follows it up; it is on record who did
    Note(NoteArgs),
    /// Close a finding with the reason that was found; it is on record who did
    Close(CloseArgs),
}

/// `lienthong audit findings list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Also those that were closed
    #[arg(long)]
    all: bool,
    /// Only of this kind
    #[arg(long)]
    kind: Option<KindWord>,
    /// Only those that concern this node, for example agencies/G01/nodes/n1
    #[arg(long, value_name = "NODE", default_value = "")]
    node: String,
}

/// `lienthong audit findings watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Go on behind the finding on record at this log index; without it, only new ones are shown
    #[arg(long, value_name = "INDEX")]
    after: Option<u64>,
    /// Only of this kind
    #[arg(long)]
    kind: Option<KindWord>,
    /// Only those that concern this node or system, for example agencies/G01/nodes/n1
    #[arg(long, value_name = "NODE", default_value = "")]
    node: String,
    /// End after so many findings
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

/// `lienthong audit findings note`.
#[derive(Debug, Args)]
pub struct NoteArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Id of the finding
    id: String,
    /// What is noted, at most 256 characters; kept for ever
    #[arg(default_value = "", required_unless_present = "assign", hide_default_value = true)]
    text: String,
    /// Who follows the finding up from now on, at most 128 characters
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    assign: String,
}

/// `lienthong audit findings close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Id of the finding
    id: String,
    /// Why it is closed, at most 256 characters
    #[arg(long)]
    reason: String,
}

/// A kind, as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum KindWord {
    /// One side of an exchange is not on record
    MissingSide,
    /// The two sides contradict each other
    Contradiction,
    /// A side came after it was reported missing
    LateSide,
    /// One attempt at two nodes, or twice
    DuplicateExchange,
    /// A node crashed between opening and closing
    UnknownAfterCrash,
    /// A node ships nothing
    SilentNode,
    /// Clocks lie too far apart
    ClockSkew,
    /// A journal does not go on from what is on record
    Journal,
    /// The log showed two histories
    LogForked,
    /// A receipt is in no cosigned checkpoint
    LogUnwitnessed,
    /// Far more is asked than before
    VolumeSpike,
    /// Somebody asks outside the working hours
    OffHours,
    /// Somebody goes through many people for one purpose
    Enumeration,
    /// An end user asked for data about himself
    OwnRecord,
    /// Somebody is denied again and again
    RepeatedDenials,
    /// Data lags further behind its source than its entry allows
    StaleData,
    /// A consumer's copy is older than its entry allows
    InvalidCopy,
    /// A provider runs another contract than the registered one
    ContractDrift,
    /// A backend turns an entitled consumer away, and nobody declared it
    UndeclaredRefusal,
    /// Both sides have counted a day differently
    CountsDiffer,
}

impl From<KindWord> for FindingKind {
    fn from(word: KindWord) -> Self {
        match word {
            KindWord::MissingSide => Self::MissingSide,
            KindWord::Contradiction => Self::Contradiction,
            KindWord::LateSide => Self::LateSide,
            KindWord::DuplicateExchange => Self::DuplicateExchange,
            KindWord::UnknownAfterCrash => Self::UnknownAfterCrash,
            KindWord::SilentNode => Self::SilentNode,
            KindWord::ClockSkew => Self::ClockSkew,
            KindWord::Journal => Self::Journal,
            KindWord::LogForked => Self::LogForked,
            KindWord::LogUnwitnessed => Self::LogUnwitnessed,
            KindWord::VolumeSpike => Self::VolumeSpike,
            KindWord::OffHours => Self::OffHours,
            KindWord::Enumeration => Self::Enumeration,
            KindWord::OwnRecord => Self::OwnRecord,
            KindWord::RepeatedDenials => Self::RepeatedDenials,
            KindWord::StaleData => Self::StaleData,
            KindWord::InvalidCopy => Self::InvalidCopy,
            KindWord::ContractDrift => Self::ContractDrift,
            KindWord::UndeclaredRefusal => Self::UndeclaredRefusal,
            KindWord::CountsDiffer => Self::CountsDiffer,
        }
    }
}

/// Carries a command out.
pub fn run(command: FindingsCommand) -> Result<ExitCode> {
    match command {
        FindingsCommand::List(args) => block_on(list(args)),
        FindingsCommand::Watch(args) => block_on(watch(args)),
        FindingsCommand::Note(args) => block_on(note(args)),
        FindingsCommand::Close(args) => block_on(close(args)),
    }
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    let mut service = service(&args.broker)?;
    let kind = args.kind.map_or(FindingKind::Unspecified, FindingKind::from);
    let (mut all, mut matched, mut page_token) = (Vec::new(), 0, String::new());
    loop {
        let request = ListFindingsRequest {
            page_size: PAGE_ITEMS,
            page_token,
            include_closed: args.all,
            kind: kind.into(),
            node: args.node.clone(),
        };
        let page =
            service.list_findings(request).await.map_err(|status| show::explained(&status))?.into_inner();
        all.extend(page.findings);
        (matched, page_token) = (page.matched_upto.max(matched), page.next_page_token);
        if page_token.is_empty() {
            break;
        }
    }
    if args.broker.json {
        let all: Vec<Value> = all.iter().map(to_json).collect();
        out::line(&json!({ "findings": all, "matched_upto": matched }).to_string());
    } else {
        for entry in &all {
            out::line(&shown(entry));
        }
        out::note(&format!("{} findings; the log is matched up to entry {matched}", all.len()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn watch(args: WatchArgs) -> Result<ExitCode> {
    let kind = args.kind.map_or(FindingKind::Unspecified, FindingKind::from);
    let request =
        WatchFindingsRequest { after_log_index: args.after, kind: kind.into(), node: args.node.clone() };
    let stream = service(&args.broker)?.watch_findings(request).await;
    let mut stream = stream.map_err(|status| show::explained(&status))?.into_inner();
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let said = stream.message().await.map_err(|status| show::explained(&status))?;
        let Some(said) = said else { break };
        let Some(entry) = said.finding else { continue };
        out::line(&if args.broker.json { to_json(&entry).to_string() } else { shown(&entry) });
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

async fn note(args: NoteArgs) -> Result<ExitCode> {
    let request = NoteFindingRequest { id: args.id, note: args.text, assignee: args.assign };
    let noted = service(&args.broker)?.note_finding(request).await;
    let noted = noted.map_err(|status| show::explained(&status))?.into_inner().finding;
    said(noted, args.broker.json)
}

async fn close(args: CloseArgs) -> Result<ExitCode> {
    let request = CloseFindingRequest { id: args.id, reason: args.reason };
    let closed = service(&args.broker)?.close_finding(request).await;
    let closed = closed.map_err(|status| show::explained(&status))?.into_inner().finding;
    said(closed, args.broker.json)
}

fn said(finding: Option<FindingEntry>, json: bool) -> Result<ExitCode> {
    let finding = finding.context("the broker answered without the finding")?;
    out::line(&if json { to_json(&finding).to_string() } else { shown(&finding) });
    Ok(ExitCode::SUCCESS)
}

fn service(args: &BrokerArgs) -> Result<FindingServiceClient<Channel<tonic::body::Body>>> {
    Ok(FindingServiceClient::new(Client::new(&client::profile(&args.profile)?)?.channel()))
}

/// A kind in one word.
fn word(kind: FindingKind) -> &'static str {
    kind.as_str_name().trim_start_matches("FINDING_KIND_")
}

/// A finding for people: a line, and a line each of where to look.
fn shown(entry: &FindingEntry) -> String {
    let Some(found) = &entry.finding else { return "an empty finding".to_owned() };
    let mut lines = vec![
        format!("{}  {}  {}", found.id, word(found.kind()), show::local(entry.find_time)),
        format!("  {}", printable(&found.detail)),
        format!("  concerns   {}", printable(&found.nodes.join(", "))),
    ];
    if let Ok(id) = uuid::Uuid::from_slice(&found.exchange_id) {
        lines.push(format!("  exchange   {id} of {}", printable(&found.dataset)));
    }
    if !found.user.is_empty() {
        lines.push(format!("  end user   {}", printable(&found.user)));
    }
    if !found.rule.is_empty() {
        lines.push(format!("  watch rule {}", printable(&found.rule)));
    }
    let entries: Vec<String> = found.entries.iter().map(u64::to_string).collect();
    lines.push(format!("  on record  entry {} ({})", entry.log_index, entries.join(", ")));
    if !entry.assignee.is_empty() {
        lines.push(format!("  followed   by {}", printable(&entry.assignee)));
    }
    lines.extend(entry.notes.iter().map(noted));
    if let Some(closed) = &entry.closed {
        let who = format!("{} by {}", show::local(entry.close_time), closed.actor);
        lines.push(format!("  closed     {}: {}", printable(&who), printable(&closed.reason)));
    }
    lines.join("\n")
}

/// A note, in a line.
fn noted(note: &FindingNote) -> String {
    let who = printable(&format!("{} by {}", show::local(note.time), note.actor));
    let given =
        if note.assignee.is_empty() { String::new() } else { format!(" → {}", printable(&note.assignee)) };
    format!("  note       {who}: {}{given}", printable(&note.note))
}

fn to_json(entry: &FindingEntry) -> Value {
    let found = entry.finding.clone().unwrap_or_default();
    json!({
        "id": found.id,
        "kind": word(found.kind()),
        "exchange_id": uuid::Uuid::from_slice(&found.exchange_id).ok().map(|id| id.to_string()),
        "nodes": found.nodes,
        "dataset": found.dataset,
        "rule": found.rule,
        "user": found.user,
        "entries": found.entries,
        "detail": found.detail,
        "checkpoints": found.checkpoints,
        "recorder": entry.recorder,
        "log_index": entry.log_index,
        "find_time": entry.find_time.map(|time| time.to_string()),
        "assignee": entry.assignee,
        "notes": entry.notes.iter().map(|note| json!({
            "actor": note.actor,
            "note": note.note,
            "assignee": note.assignee,
            "time": note.time.map(|time| time.to_string()),
        })).collect::<Vec<_>>(),
        "closed": entry.closed.as_ref().map(|closed| json!({
            "actor": closed.actor,
            "reason": closed.reason,
            "time": entry.close_time.map(|time| time.to_string()),
            "log_index": entry.close_log_index,
        })),
    })
}

/// What nodes wrote may be hostile: no control character reaches a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
