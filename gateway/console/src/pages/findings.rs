//! Findings: what does not match or tripped a rule, open until somebody closes it with a reason.

use axum::Form;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::audit::v1::{
    CloseFindingRequest, FindingEntry, FindingKind, FindingNote, ListFindingsRequest, ListFindingsResponse,
    NoteFindingRequest,
};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::format::{common_name, id, moment};
use crate::pages::form;
use crate::pages::table::{self, Column::Text};
use crate::shell;
use crate::visit::{Role, Visit};
use crate::words;

/// Findings of a page.
const PAGE_FINDINGS: i32 = 50;

/// Newest findings that the live region holds.
const LIVE_SHOWN: u32 = 5;

const CLOSE: &str = "/findings/close";

const NOTE: &str = "/findings/note";

/// What is looked for, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    closed: String,
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

/// A form that closes a finding.
#[derive(Debug, Deserialize)]
pub struct Closing {
    seal: String,
    id: String,
    reason: String,
}

/// Closes a finding with a reason, on record.
pub async fn close(visit: Visit, Form(closing): Form<Closing>) -> Response {
    let done = async {
        form::check(&visit, CLOSE, &closing.seal)?;
        let request = CloseFindingRequest { id: closing.id, reason: closing.reason };
        visit.desk().findings().close_finding(request).await?;
        Ok::<_, Failure>(())
    };
    match done.await {
        Ok(()) => (StatusCode::SEE_OTHER, [(LOCATION, visit.link("/findings"))]).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// A form that notes something at a finding.
#[derive(Debug, Deserialize)]
pub struct Noting {
    seal: String,
    id: String,
    note: String,
    assignee: String,
}

/// Notes something at a finding, or says who follows it up, on record.
pub async fn note(visit: Visit, Form(noting): Form<Noting>) -> Response {
    let done = async {
        form::check(&visit, NOTE, &noting.seal)?;
        let request = NoteFindingRequest { id: noting.id, note: noting.note, assignee: noting.assignee };
        visit.desk().findings().note_finding(request).await?;
        Ok::<_, Failure>(())
    };
    match done.await {
        Ok(()) => (StatusCode::SEE_OTHER, [(LOCATION, visit.link("/findings"))]).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: &Sought) -> Result<Markup, Failure> {
    let kind = FindingKind::from_str_name(&format!("FINDING_KIND_{}", sought.kind)).unwrap_or_default();
    let request = ListFindingsRequest {
        page_size: PAGE_FINDINGS,
        page_token: sought.page.clone(),
        include_closed: !sought.closed.is_empty(),
        kind: kind.into(),
        node: sought.node.trim().to_owned(),
    };
    let ListFindingsResponse { findings, next_page_token, .. } =
        visit.desk().findings().list_findings(request).await?.into_inner();
    let next = Sought { page: next_page_token.clone(), ..sought.clone() };
    Ok(html! {
        (live(visit))
        (fields(visit, sought))
        @if findings.is_empty() {
            p.good { (visit.text("Không có phát hiện nào như vậy.", "There is no such finding.")) }
        } @else {
            (table(visit, &findings))
        }
        (table::next(visit, "/findings", &next_page_token, &next))
    })
}

/// Where new findings appear by themselves; empty, and hidden, until one does.
pub fn live(visit: &Visit) -> Markup {
    html! {
        ul.live data-live=(visit.link("/findings/live")) data-shown=(LIVE_SHOWN) role="log" aria-live="polite"
            aria-label=(visit.text("Phát hiện mới", "New findings")) hidden {}
    }
}

fn fields(visit: &Visit, sought: &Sought) -> Markup {
    let lang = visit.lang;
    let kinds = words::findings().map(|kind| {
        (kind.as_str_name().trim_start_matches("FINDING_KIND_"), words::finding(kind, lang).to_owned())
    });
    html! {
        form.filter method="get" action=(visit.link("/findings")) role="search" {
            (form::choice("kind", lang.of("Loại", "Kind"), lang.of("Tất cả", "Any"), &sought.kind, kinds))
            (form::line("node", lang.of("Nút hoặc hệ thống", "Node or system"), &sought.node, "agencies/G01/nodes/n1"))
            div {
                label { input type="checkbox" name="closed" value="1" checked[!sought.closed.is_empty()]; (lang.of("Kể cả đã đóng", "Closed ones too")) }
            }
            div.wide { button { (lang.of("Lọc", "Filter")) } }
        }
    }
}

/// Findings as a table; whoever may close one finds the form in its row.
pub fn table(visit: &Visit, findings: &[FindingEntry]) -> Markup {
    let lang = visit.lang;
    html! {
        (table::table(
            lang.of("Phát hiện", "Findings"),
            &[
                Text(lang.of("Thời điểm", "Time")),
                Text(lang.of("Phát hiện", "Finding")),
                Text(lang.of("Liên quan đến", "Concerns")),
                Text(lang.of("Chi tiết", "Detail")),
                Text(lang.of("Tình trạng", "State")),
            ],
            &html! { @for entry in findings { (line(visit, entry)) } },
        ))
    }
}

fn line(visit: &Visit, entry: &FindingEntry) -> Markup {
    let found = entry.finding.clone().unwrap_or_default();
    let exchange = id(&found.exchange_id);
    html! {
        tr #(found.id) {
            td { (moment(entry.find_time.as_ref())) }
            th scope="row" {
                (words::finding(FindingKind::try_from(found.kind).unwrap_or_default(), visit.lang))
                @if !found.rule.is_empty() { br; span.soft { (visit.text("quy tắc", "rule")) " " (found.rule) } }
            }
            td {
                @for node in &found.nodes { div { code { (node) } } }
                @if !found.user.is_empty() { div { (visit.text("người dùng", "user")) " " (found.user) } }
            }
            td {
                (found.detail)
                @if !exchange.is_empty() && visit.may_see("/exchanges/{id}") {
                    div { a href=(visit.link(&format!("/exchanges/{exchange}"))) { (visit.text("Xem trao đổi", "See the exchange")) } }
                }
            }
            td {
                @match &entry.closed {
                    Some(closed) => {
                        span.good { (visit.text("Đã đóng", "Closed")) }
                        div.soft { (closed.reason) " – " (common_name(&closed.actor)) ", " (moment(entry.close_time.as_ref())) }
                    },
                    None => {
                        @if entry.assignee.is_empty() {
                            span.warning { (visit.text("Chưa ai theo dõi", "Nobody follows it up")) }
                        } @else {
                            (visit.text("Theo dõi:", "Follows it up:")) " " strong { (common_name(&entry.assignee)) }
                        }
                    },
                }
                (notes(visit, &entry.notes))
                @if entry.closed.is_none() && visit.person.role == Role::Operator {
                    (note_form(visit, &found.id))
                    (close_form(visit, &found.id))
                }
            }
        }
    }
}

/// What was noted, the oldest first.
fn notes(visit: &Visit, notes: &[FindingNote]) -> Markup {
    html! {
        @if !notes.is_empty() {
            ul.notes {
                @for note in notes {
                    li {
                        @if note.note.is_empty() { (visit.text("Giao cho", "Given to")) " " (common_name(&note.assignee)) } @else { (note.note) }
                        div.soft { (common_name(&note.actor)) ", " (moment(note.time.as_ref())) }
                    }
                }
            }
        }
    }
}

fn note_form(visit: &Visit, finding: &str) -> Markup {
    let (note, assignee) = (format!("note-{finding}"), format!("assignee-{finding}"));
    html! {
        details {
            summary { (visit.text("Ghi chú, giao việc…", "Note, assign…")) }
            form method="post" action=(visit.link(NOTE)) {
                (form::seal(visit, NOTE))
                input type="hidden" name="id" value=(finding);
                label for=(note) { (visit.text("Ghi chú, được giữ mãi", "Note, kept for ever")) }
                input type="text" id=(note) name="note" maxlength="256";
                label for=(assignee) { (visit.text("Người theo dõi", "Who follows it up")) }
                input type="text" id=(assignee) name="assignee" maxlength="128" placeholder=(common_name(&visit.person.subject));
                button { (visit.text("Ghi", "Put on record")) }
            }
        }
    }
}

fn close_form(visit: &Visit, finding: &str) -> Markup {
    let field = format!("reason-{finding}");
    html! {
        details {
            summary { (visit.text("Đóng…", "Close…")) }
            form method="post" action=(visit.link(CLOSE)) {
                (form::seal(visit, CLOSE))
                input type="hidden" name="id" value=(finding);
                label for=(field) { (visit.text("Lý do, được giữ mãi", "Reason, kept for ever")) }
                input type="text" id=(field) name="reason" required maxlength="256";
                button { (visit.text("Đóng phát hiện", "Close the finding")) }
            }
        }
    }
}
