//! The duty to share where it is not met: connection requests, refusals, disputes with their clocks, planned outages.

use axum::extract::{Path, Query};
use axum::response::{Html, IntoResponse, Response};
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::{
    ConnectionRequest, ConnectionRequestState, Dispute, DisputeCause, DisputeOutcome, DisputeStage,
    GetDisputeRequest, ListConnectionRequestsRequest, ListDisputesRequest, ListOutagesRequest,
    ListRefusalsRequest, Outage, Refusal, RefusalState,
};
use maud::{Markup, html};
use prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::format::{NAMES_SHOWN_MAX, capital, common_name, day, days_until, first, grouped, moment};
use crate::pages::table::{
    self,
    Column::{self, Text},
    table,
};
use crate::record::{fact, text};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Items of a page.
const PAGE_ITEMS: i32 = 100;

/// Which page, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    page: String,
}

/// Connection requests.
pub async fn requests(visit: Visit, Query(sought): Query<Sought>) -> Response {
    let request = ListConnectionRequestsRequest {
        page_size: PAGE_ITEMS,
        page_token: sought.page,
        ..Default::default()
    };
    let lang = visit.lang;
    match visit.desk().duty().list_connection_requests(request).await {
        Err(status) => visit.failed(&status.into()),
        Ok(page) => {
            let page = page.into_inner();
            let heads = [
                lang.of("Yêu cầu", "Request"),
                lang.of("Bên đề nghị", "Requester"),
                lang.of("Cung cấp", "Provider"),
                lang.of("Dữ liệu", "Data"),
                lang.of("Dùng vào việc", "Use"),
                lang.of("Tình trạng", "State"),
                lang.of("Hạn trả lời", "Answer due"),
            ];
            let rows: Vec<Markup> =
                page.connection_requests.iter().map(|one| request_line(&visit, one)).collect();
            list(&visit, &heads, &rows, &page.next_page_token).into_response()
        }
    }
}

/// Refusals.
pub async fn refusals(visit: Visit, Query(sought): Query<Sought>) -> Response {
    let request =
        ListRefusalsRequest { page_size: PAGE_ITEMS, page_token: sought.page, ..Default::default() };
    let lang = visit.lang;
    match visit.desk().duty().list_refusals(request).await {
        Err(status) => visit.failed(&status.into()),
        Ok(page) => {
            let page = page.into_inner();
            let heads = [
                lang.of("Từ chối", "Refusal"),
                lang.of("Cung cấp", "Provider"),
                lang.of("Khai thác", "Consumer"),
                lang.of("Tập dữ liệu", "Dataset"),
                lang.of("Lý do", "Reason"),
                lang.of("Căn cứ", "Legal basis"),
                lang.of("Tình trạng", "State"),
                lang.of("Dự kiến khôi phục", "Expected restore"),
            ];
            let rows: Vec<Markup> = page.refusals.iter().map(|one| refusal_line(&visit, one)).collect();
            list(&visit, &heads, &rows, &page.next_page_token).into_response()
        }
    }
}

/// Disputes.
pub async fn disputes(visit: Visit, Query(sought): Query<Sought>) -> Response {
    let request =
        ListDisputesRequest { page_size: PAGE_ITEMS, page_token: sought.page, ..Default::default() };
    let lang = visit.lang;
    match visit.desk().duty().list_disputes(request).await {
        Err(status) => visit.failed(&status.into()),
        Ok(page) => {
            let page = page.into_inner();
            let heads = [
                lang.of("Vướng mắc", "Dispute"),
                lang.of("Nguyên nhân", "Cause"),
                lang.of("Cung cấp", "Provider"),
                lang.of("Khai thác", "Consumer"),
                lang.of("Tập dữ liệu", "Dataset"),
                lang.of("Đang chờ", "Waits for"),
                lang.of("Hạn", "Due"),
                lang.of("Kết quả", "Outcome"),
            ];
            let rows: Vec<Markup> = page.disputes.iter().map(|one| dispute_line(&visit, one)).collect();
            list(&visit, &heads, &rows, &page.next_page_token).into_response()
        }
    }
}

/// Planned outages.
pub async fn outages(visit: Visit, Query(sought): Query<Sought>) -> Response {
    let request = ListOutagesRequest { page_size: PAGE_ITEMS, page_token: sought.page, ..Default::default() };
    let lang = visit.lang;
    match visit.desk().duty().list_outages(request).await {
        Err(status) => visit.failed(&status.into()),
        Ok(page) => {
            let page = page.into_inner();
            let heads = [
                lang.of("Cơ quan", "Agency"),
                lang.of("Tập dữ liệu", "Datasets"),
                lang.of("Bắt đầu", "From"),
                lang.of("Dự kiến xong", "Expected end"),
                lang.of("Nội dung", "What for"),
                lang.of("Báo trước", "Notice"),
            ];
            let rows: Vec<Markup> = page.outages.iter().map(|one| outage_line(&visit, one)).collect();
            list(&visit, &heads, &rows, &page.next_page_token).into_response()
        }
    }
}

/// One dispute with what was said and done.
pub async fn dispute(visit: Visit, Path(id): Path<String>) -> Response {
    let asked = visit.desk().duty().get_dispute(GetDisputeRequest { name: format!("disputes/{id}") }).await;
    let found = asked
        .map_err(Failure::from)
        .and_then(|answer| answer.into_inner().dispute.ok_or(Failure::NoSuchPage));
    match found {
        Ok(dispute) => {
            let title = format!("{} {id}", visit.text("Vướng mắc", "Dispute"));
            shell::titled(&visit, &title, &story(&visit, &dispute)).into_response()
        }
        Err(failure) => visit.failed(&failure),
    }
}

fn list(visit: &Visit, heads: &[&str], rows: &[Markup], next: &str) -> Html<String> {
    let columns: Vec<Column<'_>> = heads.iter().map(|head| Text(head)).collect();
    shell::page(
        visit,
        &html! {
            @if rows.is_empty() {
                p { (visit.text("Chưa có gì ở đây.", "There is nothing here.")) }
            } @else {
                (table(visit.page.title(visit.lang), &columns, &html! { @for row in rows { (row) } }))
            }
            (table::next(visit, visit.page.path, next, &Sought { page: next.to_owned() }))
        },
    )
}

fn request_line(visit: &Visit, one: &ConnectionRequest) -> Markup {
    let state = one.state();
    html! {
        tr {
            th scope="row" { (number(&one.name)) div.soft { (moment(one.create_time.as_ref())) } }
            td { (one.requester) div.soft { code { (one.system) } } }
            td { (one.provider) }
            td { code { (one.dataset) } div.soft { (first(&one.fields, NAMES_SHOWN_MAX, visit.lang)) } }
            td { (purpose(one.purpose, visit)) div.soft { (one.use_plan) } div.soft { (one.legal_basis) } }
            td {
                span class=(if state == ConnectionRequestState::Overdue { "bad" } else { "" }) { (words::request(state, visit.lang)) }
                @if !one.answer.is_empty() { div.soft { (one.answer) } }
            }
            td { (clock(visit, one.due_time.as_ref(), one.answer_time.is_none())) }
        }
    }
}

fn refusal_line(visit: &Visit, one: &Refusal) -> Markup {
    let state = one.state();
    html! {
        tr {
            th scope="row" { (number(&one.name)) div.soft { (moment(one.create_time.as_ref())) } }
            td { (one.provider) }
            td { (one.consumer) }
            td { code { (one.dataset) } div.soft { (purpose(one.purpose, visit)) } }
            td { (words::registered(&one.reason, visit.lang)) div.soft { (one.evidence) } }
            td { (one.legal_basis) @if !one.judgement.is_empty() { div.bad { (judgement(&one.judgement, visit)) } } }
            td {
                span class=(if state == RefusalState::Unjustified { "bad" } else { "" }) { (words::refusal(state, visit.lang)) }
                @if !one.dispute.is_empty() { div { a href=(visit.link(&format!("/{}", one.dispute))) { (visit.text("vướng mắc", "dispute")) " " (number(&one.dispute)) } } }
            }
            td { (moment(one.expected_restore_time.as_ref())) }
        }
    }
}

/// Why the broker found no reason of the law, which it writes in English; Vietnamese.
fn judgement(text: &str, visit: &Visit) -> String {
    let (en, vi) = text.split_once("; ").unwrap_or((text, text));
    capital(visit.text(vi, en))
}

fn dispute_line(visit: &Visit, one: &Dispute) -> Markup {
    let open = one.outcome() == DisputeOutcome::Unspecified;
    html! {
        tr {
            th scope="row" { a href=(visit.link(&format!("/{}", one.name))) { (number(&one.name)) } }
            td { (words::cause(DisputeCause::try_from(one.cause).unwrap_or_default(), visit.lang)) }
            td { (one.provider) }
            td { (one.consumer) }
            td { code { (one.dataset) } }
            td { @if open { (words::stage(DisputeStage::try_from(one.stage).unwrap_or_default(), visit.lang)) } @else { "–" } }
            td { (clock(visit, one.due_time.as_ref(), open)) }
            td { (words::outcome(one.outcome(), visit.lang)) }
        }
    }
}

fn outage_line(visit: &Visit, one: &Outage) -> Markup {
    html! {
        tr {
            th scope="row" { (one.provider) }
            td { @if one.datasets.is_empty() { (visit.text("tất cả", "all")) } @else { code { (first(&one.datasets, NAMES_SHOWN_MAX, visit.lang)) } } }
            td { (moment(one.start_time.as_ref())) }
            td { (moment(one.expected_end_time.as_ref())) }
            td { (one.note) }
            td {
                (grouped(u64::from(one.notice_working_days))) " " (visit.text("ngày làm việc", "working days"))
                @if one.short_notice { div.bad { (visit.text("ngắn hơn quy định", "shorter than required")) } }
            }
        }
    }
}

fn story(visit: &Visit, one: &Dispute) -> Markup {
    let lang = visit.lang;
    let open = one.outcome() == DisputeOutcome::Unspecified;
    html! {
        dl.facts {
            (text(lang.of("Nguyên nhân", "Cause"), words::cause(DisputeCause::try_from(one.cause).unwrap_or_default(), lang)))
            (text(lang.of("Cơ quan cung cấp", "Provider"), &one.provider))
            (text(lang.of("Cơ quan khai thác", "Consumer"), &one.consumer))
            (text(lang.of("Tập dữ liệu", "Dataset"), &one.dataset))
            @if open {
                (text(lang.of("Đang chờ", "Waits for"), words::stage(DisputeStage::try_from(one.stage).unwrap_or_default(), lang)))
                (fact(lang.of("Hạn", "Due"), &clock(visit, one.due_time.as_ref(), true)))
            }
            (text(lang.of("Kết quả", "Outcome"), words::outcome(one.outcome(), lang)))
        }
        h2 { (lang.of("Diễn biến", "What was said and done")) }
        (table(
            lang.of("Diễn biến", "What was said and done"),
            &[
                Text(lang.of("Thời điểm", "Time")),
                Text(lang.of("Ai", "Who")),
                Text(lang.of("Việc", "What")),
                Text(lang.of("Nội dung", "In their words")),
            ],
            &html! {
                @for event in &one.events {
                    tr {
                        td { (moment(event.time.as_ref())) }
                        td { (common_name(&event.actor)) }
                        td { (step(&event.kind, visit)) }
                        td { (event.text) }
                    }
                }
            },
        ))
    }
}

fn step<'a>(kind: &'a str, visit: &Visit) -> &'a str {
    match kind {
        "opened" => visit.lang.of("mở", "opened"),
        "answered" => visit.lang.of("trả lời", "answered"),
        "escalated" => visit.lang.of("chuyển cấp trên", "escalated"),
        "decided" => visit.lang.of("quyết định", "decided"),
        "settled" => visit.lang.of("đã ổn thỏa", "settled"),
        other => other,
    }
}

/// When something is due, and how long that is from now, while it matters.
fn clock(visit: &Visit, due: Option<&Timestamp>, matters: bool) -> Markup {
    let left = due.filter(|_| matters).map(|at| days_until(at, OffsetDateTime::now_utc()));
    html! {
        (day(due))
        @match left {
            Some(days) if days < 0 => div.bad { (visit.text("quá hạn", "overdue by")) " " (grouped(days.unsigned_abs())) " " (visit.text("ngày", "days")) },
            Some(days) => div.soft { (visit.text("còn", "in")) " " (grouped(days.unsigned_abs())) " " (visit.text("ngày", "days")) },
            None => {}
        }
    }
}

fn purpose(purpose: i32, visit: &Visit) -> &'static str {
    words::purpose(Purpose::try_from(purpose).unwrap_or_default(), visit.lang)
}

/// The last part of a resource name.
fn number(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
