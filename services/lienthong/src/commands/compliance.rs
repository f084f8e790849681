//! `lienthong compliance`: how agencies keep their duty to share.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use lienthong_gateway::console::format::cell;
use lienthong_proto::lienthong::compliance::v1::{
    Check, CheckKind, CheckState, EntryCompliance, ExportReportRequest, ExportReportResponse,
    GetScorecardRequest, Lag, ListEntryComplianceRequest, ListScorecardsRequest, Measure, ReportRow,
    Scorecard, compliance_service_client::ComplianceServiceClient,
};
use lienthong_transport::Channel;

use crate::{
    client::{self, Client},
    commands::{
        block_on,
        enroll::BrokerArgs,
        listing::{PAGE_ITEMS, answered, every, listed},
        message_json,
    },
    out::{self, Colour, paint},
};

/// `lienthong compliance`.
#[derive(Debug, Subcommand)]
pub enum ComplianceCommand {
    /// Show the scorecard of an agency, each of its entries with every check
    Show(ShowArgs),
    /// List scorecards; with --entries, single entries
    List(ListArgs),
    /// Write the report of a year: for each entry who asked and was served, refusals, lag, quality
    Export(ExportArgs),
}

/// `lienthong compliance show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Code of the agency, for example G01
    agency: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// `lienthong compliance list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// List entries instead of agencies
    #[arg(long)]
    entries: bool,
    /// Only entries of which a check has failed
    #[arg(long, requires = "entries")]
    failing: bool,
}

/// `lienthong compliance export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    broker: BrokerArgs,
    /// Year, in Việt Nam; without it, this one. The broker keeps this one and the two before
    #[arg(long, value_name = "YEAR")]
    year: Option<i32>,
    /// How it is written; with --json, JSON
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Where to; without it, standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, a line an entry
    Csv,
    /// JSON, with everything
    Json,
}

/// Carries a command out.
pub fn run(command: ComplianceCommand) -> Result<ExitCode> {
    match command {
        ComplianceCommand::Show(args) => block_on(show_one(args)),
        ComplianceCommand::List(args) => block_on(list(args)),
        ComplianceCommand::Export(args) => block_on(export(args)),
    }
}

type Service = ComplianceServiceClient<Channel<tonic::body::Body>>;

fn service(broker: &BrokerArgs) -> Result<Service> {
    let client = Client::new(&client::profile(&broker.profile)?)?;
    Ok(ComplianceServiceClient::new(client.channel()))
}

async fn show_one(args: ShowArgs) -> Result<ExitCode> {
    let request = GetScorecardRequest { name: format!("agencies/{}/scorecard", args.agency) };
    let answer = answered(service(&args.broker)?.get_scorecard(request).await)?;
    let card = answer.scorecard.unwrap_or_default();
    if args.broker.json {
        out::line(&message_json("lienthong.compliance.v1.Scorecard", &card)?.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let colourful = out::stdout_is_terminal();
    out::line(&card_row(&card));
    for entry in &card.entries {
        out::line("");
        for line in entry_lines(entry, colourful) {
            out::line(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: ListArgs) -> Result<ExitCode> {
    if args.entries {
        let all = entries(&mut service(&args.broker)?, args.failing).await?;
        let name = "lienthong.compliance.v1.EntryCompliance";
        return listed(&all, "entries", name, args.broker.json, entry_row);
    }
    let all = scorecards(&mut service(&args.broker)?).await?;
    listed(&all, "scorecards", "lienthong.compliance.v1.Scorecard", args.broker.json, card_row)
}

async fn export(args: ExportArgs) -> Result<ExitCode> {
    let report = report(&mut service(&args.broker)?, args.year.unwrap_or_default()).await?;
    let text = if args.broker.json || args.format == Format::Json {
        let name = "lienthong.compliance.v1.ExportReportResponse";
        format!("{}\n", serde_json::to_string_pretty(&message_json(name, &report)?)?)
    } else {
        csv(&report)?
    };
    match &args.out {
        Some(path) => {
            fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
            out::note(&format!(
                "{} entries of {} written to {}",
                report.rows.len(),
                report.year,
                path.display()
            ));
        }
        None => out::raw(&text),
    }
    Ok(ExitCode::SUCCESS)
}

async fn scorecards(service: &mut Service) -> Result<Vec<Scorecard>> {
    every(async |page_token| {
        let request = ListScorecardsRequest { page_size: PAGE_ITEMS, page_token };
        let page = answered(service.list_scorecards(request).await)?;
        Ok((page.scorecards, page.next_page_token))
    })
    .await
}

async fn entries(service: &mut Service, failing_only: bool) -> Result<Vec<EntryCompliance>> {
    every(async |page_token| {
        let request = ListEntryComplianceRequest {
            page_size: PAGE_ITEMS,
            page_token,
            failing_only,
            ..ListEntryComplianceRequest::default()
        };
        let page = answered(service.list_entry_compliance(request).await)?;
        Ok((page.entries, page.next_page_token))
    })
    .await
}

async fn report(service: &mut Service, year: i32) -> Result<ExportReportResponse> {
    let mut report = ExportReportResponse::default();
    loop {
        let page_token = std::mem::take(&mut report.next_page_token);
        let request = ExportReportRequest { year, page_size: PAGE_ITEMS, page_token };
        let page = answered(service.export_report(request).await)?;
        let mut rows = std::mem::take(&mut report.rows);
        rows.extend(page.rows);
        report = ExportReportResponse { rows, ..page };
        if report.next_page_token.is_empty() {
            return Ok(report);
        }
    }
}

fn card_row(card: &Scorecard) -> String {
    let calls = card.calls.unwrap_or_default();
    let refusals = card.refusals.clone().unwrap_or_default();
    let deadline = match &card.nearest_deadline {
        Some(deadline) => format!("{} days to {}", deadline.days_left, deadline.date),
        None => "every deadline met".to_owned(),
    };
    format!(
        "{:<8} {:>3} %  {}/{} entries kept  {} of {} calls served  {} unlawful refusals  {deadline}  {}",
        card.agency,
        card.score,
        card.entries_kept,
        card.entry_count,
        calls.served,
        calls.requested,
        refusals.unjustified + refusals.undeclared,
        card.name_vi
    )
}

fn entry_row(entry: &EntryCompliance) -> String {
    let failing = entry.checks.iter().filter(|check| check.state() == CheckState::Failed);
    let failing: Vec<String> = failing.map(|check| word(check.kind())).collect();
    let failing =
        if failing.is_empty() { "kept".to_owned() } else { format!("fails: {}", failing.join(", ")) };
    format!("{:<12} {:<8} {:<28} {:>3} %  {failing}", entry.entry, entry.provider, entry.dataset, entry.score)
}

fn entry_lines(entry: &EntryCompliance, colourful: bool) -> Vec<String> {
    let calls = entry.calls.unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}  {} %", entry.entry, entry.dataset, entry.score),
        format!(
            "  calls       {} requested, {} served, {} denied, {} refused, {} failed; {} of {} entitled consumers served",
            calls.requested,
            calls.served,
            calls.denied,
            calls.refused,
            calls.failed,
            calls.served_consumers,
            calls.entitled_consumers
        ),
    ];
    if calls.p95_us > 0 {
        lines.push(format!("  answers in  {} µs median, {} µs for 95 of 100", calls.p50_us, calls.p95_us));
    }
    let quality = entry.quality.unwrap_or_default();
    let measures = [
        ("đúng", &quality.correct),
        ("đủ", &quality.complete),
        ("sạch", &quality.clean),
        ("sống", &quality.live),
        ("thống nhất", &quality.consistent),
        ("dùng chung", &quality.shared),
    ];
    let measures: Vec<String> =
        measures.iter().map(|(name, measure)| format!("{name} {}", percent(measure.as_ref()))).collect();
    lines.push(format!("  quality     {}", measures.join(" · ")));
    lines.extend(entry.checks.iter().map(|check| check_line(check, colourful)));
    lines
}

fn check_line(check: &Check, colourful: bool) -> String {
    let (mark, colour) = match check.state() {
        CheckState::Passed => ("✓", Colour::Green),
        CheckState::Failed => ("✗", Colour::Red),
        CheckState::NotMeasured | CheckState::Unspecified => ("·", Colour::Dim),
    };
    format!(
        "  {} {:<11} {:<5} {} / {}",
        paint(colour, mark, colourful),
        word(check.kind()),
        check.rule,
        check.text_vi,
        check.text_en
    )
}

fn word(kind: CheckKind) -> String {
    kind.as_str_name().trim_start_matches("CHECK_KIND_").to_ascii_lowercase()
}

fn percent(measure: Option<&Measure>) -> String {
    match measure {
        Some(Measure { good, total }) if *total > 0 => {
            format!("{} %", u128::from(*good) * 100 / u128::from(*total))
        }
        _ => "–".to_owned(),
    }
}

const COLUMNS: [&str; 27] = [
    "year",
    "entry",
    "dataset",
    "provider",
    "score_percent",
    "entitled_consumers",
    "asking_consumers",
    "served_consumers",
    "requested",
    "served",
    "denied",
    "refused",
    "failed",
    "records",
    "p50_us",
    "p95_us",
    "refusals_declared",
    "refusals_unjustified",
    "refusals_undeclared",
    "refusals_by_reason",
    "longest_lag_s",
    "lag_episodes",
    "correct",
    "complete",
    "clean",
    "live_days",
    "days_differing",
];

fn csv(report: &ExportReportResponse) -> Result<String> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in &report.rows {
        writer.write_record(csv_row(report.year, row))?;
    }
    Ok(String::from_utf8(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)?)
}

fn csv_row(year: i32, row: &ReportRow) -> [String; COLUMNS.len()] {
    let calls = row.calls.unwrap_or_default();
    let refusals = row.refusals.clone().unwrap_or_default();
    let lag: Lag = row.lag.unwrap_or_default();
    let quality = row.quality.unwrap_or_default();
    let reconciliation = row.reconciliation.clone().unwrap_or_default();
    let by_reason: Vec<String> =
        refusals.by_reason.iter().map(|one| format!("{}={}", one.reason, one.count)).collect();
    let of = |measure: Option<Measure>| {
        measure.map(|measure| format!("{}/{}", measure.good, measure.total)).unwrap_or_default()
    };
    [
        year.to_string(),
        row.entry.clone(),
        row.dataset.clone(),
        row.provider.clone(),
        row.score.to_string(),
        calls.entitled_consumers.to_string(),
        calls.asking_consumers.to_string(),
        calls.served_consumers.to_string(),
        calls.requested.to_string(),
        calls.served.to_string(),
        calls.denied.to_string(),
        calls.refused.to_string(),
        calls.failed.to_string(),
        calls.records.to_string(),
        calls.p50_us.to_string(),
        calls.p95_us.to_string(),
        refusals.declared.to_string(),
        refusals.unjustified.to_string(),
        refusals.undeclared.to_string(),
        by_reason.join("; "),
        lag.longest.map_or(0, |longest| longest.seconds).to_string(),
        lag.episodes.to_string(),
        of(quality.correct),
        of(quality.complete),
        of(quality.clean),
        of(quality.live),
        reconciliation.days_differing.to_string(),
    ]
    .map(|text| cell(&text))
}
