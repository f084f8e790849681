//! Questions that were put to the log: an officer sees his agency's, his own among them; an auditor sees all.

use axum::response::{IntoResponse, Response};
use lienthong_audit::record;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, LogAccess, Record, RecordFilter, SearchRecordsRequest, TextMatch, record::Body,
};
use maud::{Markup, html};
use prost_types::Timestamp;

use axum::extract::Query;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::format::{common_name, grouped, id, moment};
use crate::pages::table::{
    self,
    Column::{Number, Text},
    table,
};
use crate::pages::{form, records};
use crate::proof::Judged;
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Questions of a page.
const PAGE_RECORDS: i32 = 50;

/// Whose questions, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    #[serde(skip_serializing_if = "String::is_empty")]
    actor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    page: String,
}

/// The page.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, &sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: &Sought) -> Result<Markup, Failure> {
    let actor = match sought.actor.trim() {
        "" => None,
        text => Some(TextMatch { text: text.to_owned(), prefix: false }),
    };
    let request = SearchRecordsRequest {
        filter: Some(RecordFilter { kind: "access".to_owned(), actor, ..RecordFilter::default() }),
        page_size: PAGE_RECORDS,
        page_token: sought.page.clone(),
        reason: words::OF_READINGS.to_owned(),
        ..SearchRecordsRequest::default()
    };
    let found = visit.desk().log().search_records(request).await?.into_inner();
    let judged = Judged::new(&visit.house.belief.policy(), &found.checkpoint);
    let next = Sought { page: found.next_page_token.clone(), ..sought.clone() };
    let asked = found.records.iter().filter_map(|found| read(&found.entry));
    Ok(html! {
        p.soft {
            (visit.text(
                "Mỗi lần tra cứu nhật ký đều được ghi lại, kể cả của bạn và kể cả trang này.",
                "Every question to the log is on record, yours and this page included.",
            ))
        }
        form.filter method="get" action=(visit.link("/readings")) role="search" {
            (form::line("actor", visit.text("Người hỏi", "Who asked"), &sought.actor, &visit.person.subject))
            div.wide { button { (visit.text("Lọc", "Filter")) } }
        }
        p role="status" { (records::verdict(visit, &judged, &found.records)) }
        (table(
            visit.text("Việc tra cứu", "Questions"),
            &[
                Text(visit.text("Thời điểm", "Time")),
                Text(visit.text("Người hỏi", "Who")),
                Text(visit.text("Việc", "What")),
                Text(visit.text("Câu hỏi", "Question")),
                Text(visit.text("Vụ việc, lý do", "Case, reason")),
                Number(visit.text("Kết quả", "Results")),
            ],
            &html! { @for (time, access) in asked { (line(visit, time.as_ref(), &access)) } },
        ))
        (table::next(visit, "/readings", &found.next_page_token, &next))
    })
}

fn read(entry: &[u8]) -> Option<(Option<Timestamp>, LogAccess)> {
    match record::decode(entry).ok()? {
        Record { time, body: Some(Body::LogAccess(access)), .. } => Some((time, access)),
        _ => None,
    }
}

fn line(visit: &Visit, time: Option<&Timestamp>, access: &LogAccess) -> Markup {
    let exchange = id(&access.exchange_id);
    html! {
        tr {
            td { (moment(time)) }
            td {
                (common_name(&access.actor))
                @if !access.agency.is_empty() { span.soft { " · " (access.agency) } }
                @if !access.via.is_empty() { div.soft { (visit.text("qua trang này", "through a console")) } }
            }
            td { (words::access(AccessKind::try_from(access.kind).unwrap_or_default(), visit.lang)) }
            td {
                (access.question)
                @if access.about_subject { div.warning { (visit.text("về một người", "about a person")) } }
                @if !exchange.is_empty() { div { a href=(visit.link(&format!("/exchanges/{exchange}"))) { code { (exchange) } } } }
            }
            td { @if !access.case_id.is_empty() { strong { (access.case_id) } " " } (words::why(&access.reason, visit.lang)) }
            td.number { (grouped(access.results)) }
        }
    }
}
