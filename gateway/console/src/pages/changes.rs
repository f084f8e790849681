//! Changes of the catalog: what waits for the second person, and what each change says. Approving needs a signature by the
//! approver's own key, which the console never holds: the page shows the command that makes it.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::catalog::v1::{
    Change, ChangeState, GetChangeRequest, ListChangesRequest, Plan,
};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::format::{NAMES_SHOWN_MAX, common_name, common_names, first, grouped, moment};
use crate::pages::preview;
use crate::pages::table::{Column::Text, next, table};
use crate::record::{fact, text};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Changes of a page.
const PAGE_CHANGES: i32 = 100;

/// Which page, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    page: String,
}

/// All changes.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// One change.
pub async fn one(visit: Visit, Path(id): Path<String>) -> Response {
    let asked = visit.desk().changes().get_change(GetChangeRequest { name: format!("changes/{id}") }).await;
    let found =
        asked.map_err(Failure::from).and_then(|answer| answer.into_inner().change.ok_or(Failure::NoSuchPage));
    match found {
        Ok(change) => {
            let title = format!("{} {id}", visit.text("Thay đổi", "Change"));
            let plan = if change.state() == ChangeState::Proposed {
                Some(preview::plan(&visit, &change).await)
            } else {
                None
            };
            shell::titled(&visit, &title, &story(&visit, &change, &id, plan.as_ref())).into_response()
        }
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: Sought) -> Result<Markup, Failure> {
    let request = ListChangesRequest {
        page_size: PAGE_CHANGES,
        page_token: sought.page,
        ..ListChangesRequest::default()
    };
    let page = visit.desk().changes().list_changes(request).await?.into_inner();
    let waiting = page.changes.iter().filter(|change| change.state() == ChangeState::Proposed).count();
    let lang = visit.lang;
    Ok(html! {
        p role="status" {
            @if waiting > 0 {
                span.warning { (grouped(waiting as u64)) " " (lang.of("thay đổi chờ người thứ hai.", "changes wait for the second person.")) }
            } @else {
                (lang.of("Không có thay đổi nào chờ phê duyệt.", "No change waits for approval."))
            }
        }
        @if !page.changes.is_empty() {
            (table(
                lang.of("Thay đổi", "Changes"),
                &[
                    Text(lang.of("Thay đổi", "Change")),
                    Text(lang.of("Tình trạng", "State")),
                    Text(lang.of("Người đề xuất, phê duyệt", "Proposed and approved by")),
                    Text(lang.of("Để làm gì", "What for")),
                    Text(lang.of("Kích hoạt", "Activates")),
                ],
                &html! { @for change in page.changes.iter().rev() { (line(visit, change)) } },
            ))
        }
        (next(visit, "/changes", &page.next_page_token, &Sought { page: page.next_page_token.clone() }))
    })
}

fn line(visit: &Visit, change: &Change) -> Markup {
    let id = change.name.trim_start_matches("changes/");
    html! {
        tr {
            th scope="row" { a href=(visit.link(&format!("/changes/{id}"))) { (id) } div.soft { (moment(change.create_time.as_ref())) } }
            td { span class=(if change.state() == ChangeState::Proposed { "warning" } else { "" }) { (words::change(change.state(), visit.lang)) } }
            td { @for person in &change.approvers { div { (common_name(person)) } } }
            td { (change.note) }
            td { (first(&change.activates, NAMES_SHOWN_MAX, visit.lang)) }
        }
    }
}

fn story(visit: &Visit, change: &Change, id: &str, plan: Option<&Result<Plan, Failure>>) -> Markup {
    let lang = visit.lang;
    html! {
        dl.facts {
            (text(lang.of("Tình trạng", "State"), words::change(change.state(), lang)))
            (text(lang.of("Để làm gì", "What for"), &change.note))
            (text(lang.of("Người đề xuất, phê duyệt", "Proposed and approved by"), &common_names(&change.approvers)))
            (fact(lang.of("Đề xuất lúc", "Proposed"), &moment(change.create_time.as_ref())))
            (fact(lang.of("Quyết định lúc", "Decided"), &moment(change.decide_time.as_ref())))
            (text(lang.of("Kích hoạt", "Activates"), &change.activates.join(", ")))
            (text(lang.of("Bị bác vì", "Rejected because"), &change.reason))
            (text(lang.of("Giá trị băm của nội dung", "Hash of its content"), &hex::encode(&change.content_hash)))
            (text(lang.of("Tệp", "Files"), &grouped(u64::from(change.files))))
        }
        @match plan {
            Some(Ok(plan)) => (preview::show(visit, plan)),
            Some(Err(failure)) => p.warning { (failure.text(lang)) },
            None => {},
        }
        @if change.state() == ChangeState::Proposed {
            h2 { (lang.of("Xem và phê duyệt", "Look at it, and approve")) }
            p {
                (lang.of(
                    "Phê duyệt là một chữ ký bằng khóa của chính bạn; trang này không giữ khóa nào. Trên máy của bạn:",
                    "Approval is a signature by your own key, which this console never holds. At your own desk:",
                ))
            }
            pre { code { "lienthong catalog diff --profile you.toml changes/" (id) "\nlienthong catalog approve --profile you.toml changes/" (id) } }
        }
    }
}
