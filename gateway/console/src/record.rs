//! A record of the log as a row and as a list of facts.

use lienthong_audit::record;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, Closing, Denial, Exchange, FindingKind, FoundRecord, LogAccess, PurposeSource, Record, Side,
    Status, record::Body,
};
use lienthong_proto::lienthong::options::v1::Purpose;
use maud::{Markup, html};
use prost_types::Timestamp;

use crate::format::{common_name, grouped, id, moment, moment_text};
use crate::lang::Lang;
use crate::words;

/// What a record says, in the columns of a table.
#[derive(Debug, Default)]
pub struct Row {
    /// When, by its recorder's clock.
    pub time: Option<Timestamp>,
    /// Which kind, as the search names it.
    pub kind: &'static str,
    /// Which side of an exchange, or who acted.
    pub who: String,
    /// Code of the consumer.
    pub consumer: String,
    /// Code of the provider.
    pub provider: String,
    /// Dataset.
    pub dataset: String,
    /// Purpose, in words.
    pub purpose: &'static str,
    /// How it ended, in words.
    pub outcome: String,
    /// Whether that was good.
    pub good: bool,
    /// End user.
    pub user: String,
    /// Exchange id; empty without one.
    pub exchange: String,
    /// What the others do not say.
    pub detail: String,
    /// Reason of the closed list; empty without one.
    pub reason: String,
}

/// One record as a row.
pub fn row(found: &FoundRecord, lang: Lang) -> Row {
    let Ok(Record { time, recorder, body, .. }) = record::decode(&found.entry) else {
        let detail =
            lang.of("không phải bản ghi mà phần mềm này biết", "not a record that this program knows");
        return Row { detail: detail.to_owned(), ..Row::default() };
    };
    let mut row = Row { time, good: true, who: recorder, ..Row::default() };
    match body {
        Some(Body::Opening(opening)) => row.exchange("opening", opening.exchange, lang),
        Some(Body::Closing(closing)) => row.closing(closing, lang),
        Some(Body::Denial(denial)) => row.denial(denial, lang),
        Some(Body::Continuation(more)) => row.exchange("continuation", more.exchange, lang),
        Some(Body::Progress(progress)) => {
            (row.kind, row.exchange, row.detail) =
                ("progress", id(&progress.exchange_id), grouped(progress.records));
        }
        Some(Body::Administration(act)) => {
            (row.kind, row.who, row.outcome) = ("administration", act.actor, act.action);
            row.detail = format!("{} {}", act.resource, act.detail);
        }
        Some(Body::LogAccess(access)) => row.access(&access, lang),
        Some(Body::BundlePublished(bundle)) => {
            (row.kind, row.detail) = ("bundle", format!("{} · {}", bundle.audience, bundle.epoch));
        }
        Some(Body::BatchSeal(seal)) => (row.kind, row.detail) = ("seal", grouped(seal.entries)),
        Some(Body::IndexManifest(manifest)) => {
            (row.kind, row.detail) = ("manifest", grouped(manifest.first_index));
        }
        Some(Body::Aggregate(aggregate)) => {
            (row.kind, row.good) = ("aggregate", false);
            row.outcome = words::reason(&aggregate.reason, lang);
            row.detail = format!("{} × {}", grouped(aggregate.count), aggregate.source);
            row.dataset = aggregate.dataset;
        }
        Some(Body::Finding(finding)) => {
            (row.kind, row.good) = ("finding", false);
            words::finding(FindingKind::try_from(finding.kind).unwrap_or_default(), lang)
                .clone_into(&mut row.outcome);
            (row.exchange, row.dataset, row.detail) =
                (id(&finding.exchange_id), finding.dataset, finding.detail);
        }
        Some(Body::FindingClosed(closed)) => {
            (row.kind, row.who, row.detail) = ("finding-closed", closed.actor, closed.reason);
        }
        Some(Body::LogPruned(_)) => row.kind = "pruning",
        Some(Body::SubjectErased(erased)) => {
            (row.kind, row.who) = ("erasure", common_name(&erased.actor));
            row.detail = erased.case_id;
        }
        None => {}
    }
    row
}

impl Row {
    fn exchange(&mut self, kind: &'static str, exchange: Option<Exchange>, lang: Lang) {
        let exchange = exchange.unwrap_or_default();
        self.kind = kind;
        side(exchange.side(), lang).clone_into(&mut self.who);
        self.purpose = words::purpose(Purpose::try_from(exchange.purpose).unwrap_or_default(), lang);
        self.exchange = id(&exchange.id);
        (self.consumer, self.provider) = (exchange.consumer, exchange.provider);
        (self.dataset, self.user) = (exchange.dataset, exchange.user);
    }

    fn closing(&mut self, closing: Closing, lang: Lang) {
        let status = Status::try_from(closing.status).unwrap_or_default();
        self.good = matches!(status, Status::Delivered | Status::Empty);
        words::status(status, lang).clone_into(&mut self.outcome);
        self.detail = match closing.reason.as_str() {
            "" => format!("{} {}", grouped(closing.records), lang.of("bản ghi", "records")),
            reason => words::reason(reason, lang),
        };
        self.reason.clone_from(&closing.reason);
        self.exchange("closing", closing.exchange, lang);
    }

    fn denial(&mut self, denial: Denial, lang: Lang) {
        self.good = false;
        self.outcome = words::reason(&denial.reason, lang);
        (self.reason, self.detail) = (denial.reason, denial.detail);
        self.exchange("denial", denial.exchange, lang);
    }

    fn access(&mut self, access: &LogAccess, lang: Lang) {
        self.kind = "access";
        self.who = common_name(&access.actor);
        self.consumer.clone_from(&access.agency);
        words::access(AccessKind::try_from(access.kind).unwrap_or_default(), lang)
            .clone_into(&mut self.outcome);
        self.exchange = id(&access.exchange_id);
        self.detail.clone_from(&access.question);
    }

    /// The columns of a file.
    pub fn cells(&self, index: u64, lang: Lang) -> [String; 12] {
        [
            index.to_string(),
            moment_text(self.time.as_ref()),
            words::kind(self.kind, lang).to_owned(),
            self.who.clone(),
            self.consumer.clone(),
            self.provider.clone(),
            self.dataset.clone(),
            self.purpose.to_owned(),
            self.outcome.clone(),
            self.user.clone(),
            self.exchange.clone(),
            self.detail.clone(),
        ]
    }

    /// The heads of those columns.
    pub const fn heads(lang: Lang) -> [&'static str; 12] {
        [
            lang.of("Số thứ tự", "Index"),
            lang.of("Thời điểm", "Time"),
            lang.of("Loại", "Kind"),
            lang.of("Bên ghi", "Recorder"),
            lang.of("Cơ quan khai thác", "Consumer"),
            lang.of("Cơ quan cung cấp", "Provider"),
            lang.of("Tập dữ liệu", "Dataset"),
            lang.of("Mục đích", "Purpose"),
            lang.of("Kết quả", "Outcome"),
            lang.of("Người dùng", "End user"),
            lang.of("Mã trao đổi", "Exchange"),
            lang.of("Chi tiết", "Detail"),
        ]
    }
}

/// A side of an exchange.
pub const fn side(side: Side, lang: Lang) -> &'static str {
    match side {
        Side::Consumer => lang.of("Bên khai thác", "Consumer"),
        Side::Provider => lang.of("Bên cung cấp", "Provider"),
        Side::Unspecified => "–",
    }
}

/// The side of an exchange that wrote a record; of what neither did, none.
pub fn side_of(found: &FoundRecord) -> Side {
    let exchange = match record::decode(&found.entry).ok().and_then(|record| record.body) {
        Some(Body::Opening(opening)) => opening.exchange,
        Some(Body::Closing(closing)) => closing.exchange,
        Some(Body::Denial(denial)) => denial.exchange,
        Some(Body::Continuation(more)) => more.exchange,
        _ => None,
    };
    exchange.unwrap_or_default().side()
}

/// Everything that a record says, as facts.
pub fn facts(found: &FoundRecord, lang: Lang) -> Markup {
    let Ok(Record { time, recorder, clock_error_us, body, .. }) = record::decode(&found.entry) else {
        return html! { p { (lang.of("Không đọc được bản ghi này.", "This record cannot be read.")) } };
    };
    html! {
        dl.facts {
            (fact(lang.of("Thời điểm", "Time"), &html! { (moment(time.as_ref())) span.soft { " ± " (clock_error_us) " µs" } }))
            (fact(lang.of("Nơi ghi", "Recorder"), &html! { code { (recorder) } }))
            @match &body {
                Some(Body::Opening(opening)) => (exchange(opening.exchange.as_ref(), lang)),
                Some(Body::Closing(closing)) => {
                    (exchange(closing.exchange.as_ref(), lang))
                    (closed(closing, lang))
                }
                Some(Body::Denial(denial)) => {
                    (exchange(denial.exchange.as_ref(), lang))
                    (text(lang.of("Lý do", "Reason"), &format!("{} – {}", denial.reason, words::reason(&denial.reason, lang))))
                    (text(lang.of("Quy tắc", "Rule"), &denial.rule))
                    (text(lang.of("Chi tiết", "Detail"), &denial.detail))
                }
                Some(Body::Continuation(more)) => (exchange(more.exchange.as_ref(), lang)),
                _ => {}
            }
        }
    }
}

fn exchange(exchange: Option<&Exchange>, lang: Lang) -> Markup {
    let Some(exchange) = exchange else { return html! {} };
    let purpose = words::purpose(Purpose::try_from(exchange.purpose).unwrap_or_default(), lang);
    let default = exchange.purpose_source() == PurposeSource::Default;
    html! {
        (text(lang.of("Cơ quan khai thác", "Consumer"), &exchange.consumer))
        (text(lang.of("Hệ thống khai thác", "Consumer's system"), &exchange.system))
        (text(lang.of("Cơ quan cung cấp", "Provider"), &exchange.provider))
        (text(lang.of("Phương thức", "Method"), &exchange.method))
        (text(lang.of("Tập dữ liệu", "Dataset"), &exchange.dataset))
        (fact(lang.of("Mục đích", "Purpose"), &html! {
            (purpose)
            @if default { span.soft { " (" (lang.of("mặc định của hệ thống", "the system's default")) ")" } }
        }))
        (text(lang.of("Mã hồ sơ", "Dossier"), &exchange.dossier))
        (text(lang.of("Người dùng cuối", "End user"), &exchange.user))
        (text(lang.of("Quyền đã quyết định", "Right that decided"), &exchange.right))
        (text(lang.of("Trường yêu cầu đích danh", "Fields asked for by name"), &exchange.fields_requested.join(", ")))
        (text(lang.of("Lần thử", "Attempt"), &exchange.attempt.to_string()))
    }
}

fn closed(closing: &Closing, lang: Lang) -> Markup {
    let status = Status::try_from(closing.status).unwrap_or_default();
    let good = matches!(status, Status::Delivered | Status::Empty);
    html! {
        (fact(lang.of("Kết quả", "Outcome"), &html! { span class=(if good { "good" } else { "bad" }) { (words::status(status, lang)) } }))
        @if !closing.reason.is_empty() {
            (text(lang.of("Lý do", "Reason"), &format!("{} – {}", closing.reason, words::reason(&closing.reason, lang))))
        }
        (text(lang.of("Bản ghi đã cung cấp", "Records released"), &grouped(closing.records)))
        (text(lang.of("Trường đã cung cấp", "Fields released"), &closing.fields_released.join(", ")))
        (text(lang.of("Trường bị lược bỏ", "Fields dropped"), &grouped(closing.fields_dropped)))
        (text(lang.of("Bản ghi ngoài phạm vi", "Records out of scope"), &grouped(closing.records_out_of_scope)))
        (text(lang.of("Chủ thể (cam kết băm)", "Subjects (commitments)"), &grouped(closing.subjects.len() as u64 + closing.subjects_more)))
        (text(lang.of("Thời gian xử lý", "Duration"), &format!("{} µs", grouped(closing.duration_us))))
    }
}

/// A fact in words; nothing where there is nothing to say.
pub fn text(name: &str, value: &str) -> Markup {
    if value.is_empty() {
        html! {}
    } else {
        fact(name, &html! { (value) })
    }
}

/// A fact.
pub fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}
