//! `lienthong audit search`.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;
use lienthong_catalog::purpose;
use lienthong_proto::lienthong::audit::v1::{
    RecordFilter, SearchRecordsRequest, SearchRecordsResponse, Status, TextMatch,
    search_service_client::SearchServiceClient,
};
use lienthong_transport::Channel;
use prost_types::Timestamp;
use serde_json::json;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::show;
use crate::{
    client::{self, Client},
    out,
};

/// Pages are asked for until so many records are shown, unless told otherwise.
const RECORDS_SHOWN_DEFAULT: usize = 50;

/// The service of the log's questions.
pub type Search = SearchServiceClient<Channel<tonic::body::Body>>;

/// `lienthong audit search`.
#[derive(Debug, Args)]
pub struct SearchArgs {
    /// Who asks, and why
    #[command(flatten)]
    pub asker: AskerArgs,
    /// What is searched for
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Show at most so many records
    #[arg(long, value_name = "N", default_value_t = RECORDS_SHOWN_DEFAULT)]
    pub limit: usize,
    /// Go on with the page that an earlier search ended with
    #[arg(long, value_name = "TOKEN")]
    pub page: Option<String>,
    /// Print one JSON object with entries and proofs, for machines
    #[arg(long)]
    pub json: bool,
}

/// Who asks, and why.
#[derive(Debug, Args)]
pub struct AskerArgs {
    /// Client profile of an auditor or officer, leading to the broker
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// Case on which the question is put; needed where it is about a person
    #[arg(long, default_value = "")]
    pub case: String,
    /// Why; goes on record
    #[arg(long, default_value = "")]
    pub reason: String,
}

impl AskerArgs {
    /// The service, as this asker.
    pub fn service(&self) -> Result<Search> {
        Ok(Client::new(&client::profile(&self.profile)?)?.search())
    }
}

/// What is searched for. A text may end in * to mean whatever begins so; marks and case make no difference.
#[derive(Debug, Default, Args)]
pub struct FilterArgs {
    /// Consumer or provider: code or name
    #[arg(long)]
    pub agency: Option<String>,
    /// Consumer: code or name
    #[arg(long)]
    pub consumer: Option<String>,
    /// Provider: code or name
    #[arg(long)]
    pub provider: Option<String>,
    /// Consumer's system
    #[arg(long)]
    pub system: Option<String>,
    /// Dataset
    #[arg(long)]
    pub dataset: Option<String>,
    /// gRPC path
    #[arg(long)]
    pub method: Option<String>,
    /// End user
    #[arg(long)]
    pub user: Option<String>,
    /// Dossier code
    #[arg(long)]
    pub dossier: Option<String>,
    /// Right that decided, as right_id@epoch
    #[arg(long)]
    pub right: Option<String>,
    /// Reason of the closed list, for example DENY_FIELD
    #[arg(long = "denied-for", value_name = "REASON")]
    pub denied_for: Option<String>,
    /// Purpose, for example ADMIN_PROCEDURE
    #[arg(long)]
    pub purpose: Option<String>,
    /// How it ended: DELIVERED, EMPTY, DENIED, REFUSED, FAILED, PARTIAL
    #[arg(long)]
    pub status: Option<String>,
    /// Exchange id
    #[arg(long)]
    pub exchange: Option<Uuid>,
    /// SHA-256 of the peer's certificate, hexadecimal
    #[arg(long, value_name = "HEX")]
    pub certificate: Option<String>,
    /// What an act was about, as a resource name, or the case of a question
    #[arg(long)]
    pub resource: Option<String>,
    /// Who acted or asked
    #[arg(long)]
    pub actor: Option<String>,
    /// Kind of record: closing, denial, opening, administration, access, …
    #[arg(long)]
    pub kind: Option<String>,
    /// Whom it is about: citizen number or business number
    #[arg(long)]
    pub subject: Option<String>,
    /// From this time on: a date (Hà Nội time), or RFC 3339
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
}

impl FilterArgs {
    /// As the broker takes it.
    pub fn to_proto(&self) -> Result<RecordFilter> {
        let text = |text: &Option<String>| text.as_deref().map(text_match);
        let purpose = match &self.purpose {
            None => 0,
            Some(word) => purpose::from_word(&word.to_uppercase())
                .with_context(|| format!("--purpose {word}: there is no such purpose"))?
                .into(),
        };
        let status = match &self.status {
            None => 0,
            Some(word) => Status::from_str_name(&format!("STATUS_{}", word.to_uppercase()))
                .with_context(|| format!("--status {word}: there is no such status"))?
                .into(),
        };
        let certificate = match &self.certificate {
            None => Vec::new(),
            Some(digits) => hex::decode(digits).context("--certificate: give 64 hexadecimal digits")?,
        };
        let time = |option: &str, text: &Option<String>| {
            text.as_deref().map(|text| time_of(option, text)).transpose()
        };
        Ok(RecordFilter {
            agency: text(&self.agency),
            consumer: text(&self.consumer),
            provider: text(&self.provider),
            system: text(&self.system),
            dataset: text(&self.dataset),
            method: text(&self.method),
            user: text(&self.user),
            dossier: text(&self.dossier),
            right: text(&self.right),
            reason: text(&self.denied_for),
            purpose,
            status,
            exchange_id: self.exchange.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            certificate,
            resource: text(&self.resource),
            actor: text(&self.actor),
            kind: self.kind.clone().unwrap_or_default(),
            subject: self.subject.clone().unwrap_or_default(),
            from_time: time("--from", &self.from)?,
            to_time: time("--to", &self.to)?,
        })
    }
}

/// Carries the command out.
pub async fn run(args: &SearchArgs) -> Result<ExitCode> {
    let mut service = args.asker.service()?;
    let mut request = SearchRecordsRequest {
        filter: Some(args.filter.to_proto()?),
        page_token: args.page.clone().unwrap_or_default(),
        case_id: args.asker.case.clone(),
        reason: args.asker.reason.clone(),
        ..SearchRecordsRequest::default()
    };
    let mut shown = 0;
    let mut pages = Vec::new();
    while shown < args.limit {
        request.page_size = i32::try_from(args.limit - shown).unwrap_or(i32::MAX);
        let page = service.search_records(request.clone()).await.map_err(refused)?.into_inner();
        shown += page.records.len();
        request.page_token.clone_from(&page.next_page_token);
        pages.push(page);
        if request.page_token.is_empty() {
            break;
        }
    }
    if args.json {
        out::line(&to_json(&pages)?);
    } else {
        out::raw(&table(&pages));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the broker says, in its own words.
#[expect(clippy::needless_pass_by_value, reason = "as map_err hands it over")]
pub fn refused(status: tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("the broker answers {:?}: {}", status.code(), status.message())
}

/// A text that ends in * means whatever begins so.
pub fn text_match(text: &str) -> TextMatch {
    match text.strip_suffix('*') {
        Some(beginning) => TextMatch { text: beginning.to_owned(), prefix: true },
        None => TextMatch { text: text.to_owned(), prefix: false },
    }
}

/// A date, at midnight in Hà Nội, or a time as RFC 3339 writes it.
pub fn time_of(option: &str, text: &str) -> Result<Timestamp> {
    let hanoi = UtcOffset::from_hms(7, 0, 0)?;
    let date = time::macros::format_description!("[year]-[month]-[day]");
    let time = match Date::parse(text, &date) {
        Ok(date) => PrimitiveDateTime::new(date, time::Time::MIDNIGHT).assume_offset(hanoi),
        Err(_) => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(time) => time,
            Err(_) => bail!(
                "{option} {text}: give a date such as 2026-11-21, or a time such as 2026-11-21T08:00:00+07:00"
            ),
        },
    };
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default();
    Ok(Timestamp { seconds: time.unix_timestamp(), nanos })
}

fn table(pages: &[SearchRecordsResponse]) -> String {
    let records: Vec<_> = pages.iter().flat_map(|page| &page.records).collect();
    let mut text = show::records_table(&records);
    let Some(last) = pages.last() else { return text };
    let lag = if last.indexed_up_to < last.complete_up_to {
        format!(" (indexed before {}, the rest read from the log)", last.indexed_up_to)
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "{} records; complete for the entries before {}{lag}",
        records.len(),
        last.complete_up_to
    );
    if last.subjects_missing > 0 {
        let _ = writeln!(
            text,
            "{} records in the log name subjects of whom no node has told the index",
            last.subjects_missing
        );
    }
    if last.minimum_index > 0 {
        let _ = writeln!(text, "{}", pruned(last.minimum_index));
    }
    if !last.next_page_token.is_empty() {
        let _ = writeln!(text, "there is more: --page {}", last.next_page_token);
    }
    text
}

/// What an answer does not hold because it is gone.
pub fn pruned(minimum_index: u64) -> String {
    format!("entries before {minimum_index} are gone, because their retention is over (R-50)")
}

fn to_json(pages: &[SearchRecordsResponse]) -> Result<String> {
    let records: Vec<_> = pages
        .iter()
        .flat_map(|page| page.records.iter().map(|found| show::record_json(found, &page.checkpoint)))
        .collect();
    let last = pages.last().context("the broker gave no page")?;
    let answer = json!({
        "records": records,
        "complete_up_to": last.complete_up_to,
        "indexed_up_to": last.indexed_up_to,
        "subjects_missing": last.subjects_missing,
        "minimum_index": last.minimum_index,
        "next_page_token": last.next_page_token,
    });
    Ok(answer.to_string())
}
