//! What is new today, for whoever looks.

use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::audit::v1::{ListFindingsRequest, RecordFilter, SearchRecordsRequest};
use maud::{Markup, html};
use std::collections::BTreeMap;
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::format::{grouped, today};
use crate::pages::findings;
use crate::record::{Row, row};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Newest denials that are counted.
const DENIALS_MAX: i32 = 500;

/// Newest findings that are shown.
const FINDINGS_SHOWN: i32 = 10;

/// The page.
pub async fn page(visit: Visit) -> Response {
    match content(&visit).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit) -> Result<Markup, Failure> {
    let request = ListFindingsRequest { page_size: FINDINGS_SHOWN, ..ListFindingsRequest::default() };
    let open = visit.desk().findings().list_findings(request).await?.into_inner();
    let denials = if visit.may_see("/records") { Some(denials(visit).await?) } else { None };
    Ok(html! {
        (findings::live(visit))
        @if let Some(denials) = &denials { (reasons(visit, denials)) }
        h2 { (visit.text("Phát hiện đang mở", "Open findings")) }
        @if open.findings.is_empty() {
            p.good { (visit.text("Không có phát hiện nào đang mở.", "No finding is open.")) }
        } @else {
            (findings::table(visit, &open.findings))
            @if !open.next_page_token.is_empty() {
                p { a href=(visit.link("/findings")) { (visit.text("Xem tất cả", "See all")) } }
            }
        }
    })
}

async fn denials(visit: &Visit) -> Result<Vec<Row>, Failure> {
    let filter = RecordFilter {
        kind: "denial".to_owned(),
        from_time: Some(today(OffsetDateTime::now_utc())),
        ..RecordFilter::default()
    };
    let request = SearchRecordsRequest {
        filter: Some(filter),
        page_size: DENIALS_MAX,
        reason: "console: today's denials".to_owned(),
        ..SearchRecordsRequest::default()
    };
    let page = visit.desk().log().search_records(request).await?.into_inner();
    Ok(page.records.iter().map(|found| row(found, visit.lang)).collect())
}

fn reasons(visit: &Visit, denials: &[Row]) -> Markup {
    let mut by_reason: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for denial in denials {
        *by_reason.entry(&denial.reason).or_default().entry(&denial.consumer).or_default() += 1;
    }
    let mut groups: Vec<(u64, &str, BTreeMap<&str, u64>)> =
        by_reason.into_iter().map(|(reason, by)| (by.values().sum(), reason, by)).collect();
    groups.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    html! {
        h2 { (visit.text("Bị chặn hôm nay", "Denied today")) }
        @if groups.is_empty() {
            p.good { (visit.text("Hôm nay chưa có cuộc gọi nào bị chặn.", "No call was denied today.")) }
        } @else {
            div.table {
                table {
                    caption {
                        (visit.text("Theo lý do, nhiều nhất trước", "By reason, the most frequent first"))
                        @if denials.len() >= usize::try_from(DENIALS_MAX).unwrap_or(usize::MAX) {
                            " (" (visit.text("tính trên", "of the newest")) " " (grouped(denials.len() as u64))
                            " " (visit.text("lần gần nhất", "denials")) ")"
                        }
                    }
                    thead { tr {
                        th scope="col" { (visit.text("Lý do", "Reason")) }
                        th scope="col" { (visit.text("Ý nghĩa", "What it means")) }
                        th.number scope="col" { (visit.text("Số lần", "Times")) }
                        th scope="col" { (visit.text("Cơ quan khai thác", "Consumers")) }
                    } }
                    tbody {
                        @for (count, reason, by) in &groups {
                            tr {
                                th scope="row" {
                                    a href=(visit.link(&format!("/records?reason={reason}"))) { code { (reason) } }
                                }
                                td { (words::reason(reason, visit.lang)) }
                                td.number { (grouped(*count)) }
                                td {
                                    @for (place, (consumer, times)) in by.iter().enumerate() {
                                        @if place > 0 { ", " }
                                        (consumer) " (" (times) ")"
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
