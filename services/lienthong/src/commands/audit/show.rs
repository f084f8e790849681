//! Records of the log, as people and machines read them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lienthong_audit::record;
use lienthong_proto::lienthong::{
    audit::v1::{
        Exchange, FoundRecord, LogAccess, LogPruned, Record, Side, Status, SubjectErased, record::Body,
    },
    options::v1::Purpose,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, macros::format_description};
use uuid::Uuid;

/// What a record says, in the columns of a table.
#[derive(Debug, Default)]
pub struct Shown {
    /// When, Hà Nội time.
    pub time: String,
    /// Which body.
    pub kind: &'static str,
    /// Whose record: the side, or who acted.
    pub side: String,
    /// Code of the consumer.
    pub consumer: String,
    /// Code of the provider.
    pub provider: String,
    /// Dataset.
    pub dataset: String,
    /// Purpose.
    pub purpose: String,
    /// How it ended: status, or reason.
    pub outcome: String,
    /// End user.
    pub user: String,
    /// Dossier code.
    pub dossier: String,
    /// Consumer's system.
    pub system: String,
    /// Right that decided.
    pub right: String,
    /// Exchange id.
    pub exchange: String,
    /// What the columns before do not say.
    pub detail: String,
}

/// One record.
pub fn shown(entry: &[u8]) -> Shown {
    let Ok(record) = record::decode(entry) else {
        return Shown {
            kind: "?",
            detail: "not a record that this program knows".to_owned(),
            ..Shown::default()
        };
    };
    let Record { time, recorder, body, .. } = record;
    let time = time.as_ref().map(local_time).unwrap_or_default();
    let mut shown = Shown { time, kind: kind_of(body.as_ref()), ..Shown::default() };
    match body {
        Some(Body::Opening(opening)) => shown.fill(opening.exchange),
        Some(Body::Closing(closing)) => {
            shown.outcome = match closing.reason.as_str() {
                "" => word(Status::try_from(closing.status).unwrap_or_default().as_str_name(), "STATUS_"),
                reason => reason.to_owned(),
            };
            shown.detail = format!("{} records", closing.records);
            shown.fill(closing.exchange);
        }
        Some(Body::Denial(denial)) => {
            shown.outcome.clone_from(&denial.reason);
            shown.detail.clone_from(&denial.detail);
            shown.fill(denial.exchange);
        }
        Some(Body::Continuation(continuation)) => {
            shown.detail = format!("part {}: {} subjects", continuation.part, continuation.subjects.len());
            shown.fill(continuation.exchange);
        }
        Some(Body::Progress(progress)) => {
            shown.exchange = id(&progress.exchange_id);
            shown.detail = format!("{} records so far", progress.records);
        }
        Some(Body::Administration(act)) => {
            shown.side = act.actor;
            shown.outcome = act.action;
            shown.detail = format!("{} {}", act.resource, act.detail);
        }
        Some(Body::LogAccess(access)) => shown.access(&access),
        Some(Body::LogPruned(pruned)) => shown.pruned(&pruned),
        Some(Body::SubjectErased(erased)) => shown.erased(erased),
        Some(Body::BundlePublished(bundle)) => {
            shown.detail = format!("epoch {} for {}", bundle.epoch, bundle.audience);
        }
        Some(Body::BatchSeal(seal)) => {
            shown.detail = format!("{} entries from {}", seal.entries, seal.first_index);
        }
        Some(Body::IndexManifest(manifest)) => {
            shown.detail = format!("{} entries from {}", manifest.entries, manifest.first_index);
        }
        Some(Body::Aggregate(aggregate)) => {
            shown.outcome = aggregate.reason;
            shown.dataset = aggregate.dataset;
            shown.detail = format!("{} times from {}", aggregate.count, aggregate.source);
        }
        Some(Body::Finding(finding)) => {
            shown.exchange = id(&finding.exchange_id);
            shown.dataset = finding.dataset;
            shown.detail = finding.detail;
        }
        Some(Body::FindingClosed(closed)) => {
            shown.side = closed.actor;
            shown.detail = format!("{} {}", closed.id, closed.reason);
        }
        None => {}
    }
    if shown.side.is_empty() {
        shown.side = recorder;
    }
    shown
}

/// A table for people: one line a record, nothing in it that a terminal would obey.
pub fn records_table(records: &[&FoundRecord]) -> String {
    let head = [
        "entry", "time", "kind", "who", "consumer", "provider", "dataset", "purpose", "outcome", "user",
        "exchange",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    for found in records {
        let shown = shown(&found.entry);
        let who = if shown.exchange.is_empty() || shown.side == "consumer" || shown.side == "provider" {
            shown.side
        } else {
            String::new()
        };
        let user = if shown.user.is_empty() { shown.detail } else { shown.user };
        rows.push([
            found.index.to_string(),
            shown.time,
            shown.kind.to_owned(),
            who,
            shown.consumer,
            shown.provider,
            shown.dataset,
            shown.purpose,
            shown.outcome,
            user,
            shown.exchange,
        ]);
    }
    table(&rows)
}

/// Columns as wide as their widest cell, at most `CELL_CHARS_MAX` characters; empty columns left out.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    let mut used = [false; N];
    let cells: Vec<[String; N]> = rows.iter().map(|row| row.clone().map(|cell| plain(&cell))).collect();
    for (at, row) in cells.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(cell.chars().count());
            used[column] |= at > 0 && !cell.is_empty();
        }
    }
    let mut text = String::new();
    for row in &cells {
        let line: Vec<String> = row
            .iter()
            .enumerate()
            .filter(|(column, _)| used[*column])
            .map(|(column, cell)| {
                let fill = widths[column].saturating_sub(cell.chars().count());
                format!("{cell}{}", " ".repeat(fill))
            })
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Longest cell of a table, characters.
const CELL_CHARS_MAX: usize = 48;

fn plain(cell: &str) -> String {
    let mut shown: String =
        cell.chars().filter(|letter| !letter.is_control()).take(CELL_CHARS_MAX + 1).collect();
    if shown.chars().count() > CELL_CHARS_MAX {
        shown = shown.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
    }
    shown
}

/// A record with its proof, for machines.
pub fn record_json(found: &FoundRecord, checkpoint: &str) -> Value {
    let Shown {
        time,
        kind,
        side,
        consumer,
        provider,
        dataset,
        purpose,
        outcome,
        user,
        dossier,
        system,
        right,
        exchange,
        detail,
    } = shown(&found.entry);
    json!({
        "index": found.index,
        "time": time,
        "kind": kind,
        "who": side,
        "consumer": consumer,
        "provider": provider,
        "dataset": dataset,
        "purpose": purpose,
        "outcome": outcome,
        "user": user,
        "dossier": dossier,
        "system": system,
        "right": right,
        "exchange": exchange,
        "detail": detail,
        "entry": STANDARD.encode(&found.entry),
        "path": found.path.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
        "checkpoint": checkpoint,
    })
}

/// A time as people in Hà Nội read it.
pub fn local_time(time: &Timestamp) -> String {
    let hanoi = UtcOffset::from_hms(7, 0, 0).unwrap_or(UtcOffset::UTC);
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp(time.seconds)
        .ok()
        .and_then(|time| time.to_offset(hanoi).format(format).ok())
        .unwrap_or_default()
}

/// An exchange id as people write it.
pub fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map(|id| id.to_string()).unwrap_or_default()
}

/// An enum's name without its prefix; nothing for "not stated".
pub fn word(name: &str, prefix: &str) -> String {
    let word = name.strip_prefix(prefix).unwrap_or(name);
    if word == "UNSPECIFIED" { String::new() } else { word.to_owned() }
}

impl Shown {
    fn fill(&mut self, exchange: Option<Exchange>) {
        let exchange = exchange.unwrap_or_default();
        self.side = match exchange.side() {
            Side::Consumer => "consumer".to_owned(),
            Side::Provider => "provider".to_owned(),
            Side::Unspecified => String::new(),
        };
        self.purpose =
            word(Purpose::try_from(exchange.purpose).unwrap_or_default().as_str_name(), "PURPOSE_");
        self.exchange = id(&exchange.id);
        self.consumer = exchange.consumer;
        self.provider = exchange.provider;
        self.dataset = exchange.dataset;
        self.user = exchange.user;
        self.dossier = exchange.dossier;
        self.system = exchange.system;
        self.right = exchange.right;
    }

    fn pruned(&mut self, pruned: &LogPruned) {
        let LogPruned { entries, minimum_index, retention_months, .. } = pruned;
        self.detail = format!("{entries} entries before {minimum_index}, after {retention_months} months");
    }

    fn erased(&mut self, erased: SubjectErased) {
        let SubjectErased { actor, authority, case_id, legal_basis, records, .. } = erased;
        self.side = actor;
        self.detail = format!("[{case_id}] {legal_basis}; {authority}: {records} records");
    }

    fn access(&mut self, access: &LogAccess) {
        self.side.clone_from(&access.actor);
        self.consumer.clone_from(&access.agency);
        self.outcome = word(access.kind().as_str_name(), "ACCESS_KIND_");
        self.exchange = id(&access.exchange_id);
        let case = if access.case_id.is_empty() { String::new() } else { format!(" [{}]", access.case_id) };
        self.detail = format!("{}{case}: {} results", access.question, access.results);
    }
}

fn kind_of(body: Option<&Body>) -> &'static str {
    match body {
        Some(Body::Opening(_)) => "opening",
        Some(Body::Closing(_)) => "closing",
        Some(Body::Denial(_)) => "denial",
        Some(Body::Progress(_)) => "progress",
        Some(Body::Aggregate(_)) => "aggregate",
        Some(Body::BatchSeal(_)) => "seal",
        Some(Body::BundlePublished(_)) => "bundle",
        Some(Body::Administration(_)) => "administration",
        Some(Body::Continuation(_)) => "continuation",
        Some(Body::IndexManifest(_)) => "manifest",
        Some(Body::Finding(_)) => "finding",
        Some(Body::FindingClosed(_)) => "finding-closed",
        Some(Body::LogAccess(_)) => "access",
        Some(Body::LogPruned(_)) => "pruning",
        Some(Body::SubjectErased(_)) => "erasure",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_nothing_that_a_terminal_obeys() {
        let rows =
            [["who".to_owned(), "empty".to_owned()], ["Bộ\u{1b}[31m Công an\n".to_owned(), String::new()]];
        assert_eq!(table(&rows), "who\nBộ[31m Công an\n");
        let rows = [["a".to_owned()], ["ệ".repeat(60)]];
        assert!(table(&rows).lines().all(|line| line.chars().count() <= CELL_CHARS_MAX));
    }
}
