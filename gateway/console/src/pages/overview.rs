//! What is new today, for whoever looks.

use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::audit::v1::{
    CountReasonsRequest, CountReasonsResponse, ListFindingsRequest, ReasonCount,
};
use lienthong_proto::lienthong::catalog::v1::{ChangeState, ListChangesRequest};
use lienthong_proto::lienthong::registry::v1::{
    ConnectionRequestState, ListConnectionRequestsRequest, ListDisputesRequest,
};
use maud::{Markup, html};

use crate::failure::Failure;
use crate::format::{grouped, moment};
use crate::pages::findings;
use crate::shell;
use crate::visit::{Role, Visit};
use crate::words;

/// Newest findings that are shown.
const FINDINGS_SHOWN: i32 = 10;

/// Things of one kind that wait and are counted; of more, so many are said.
const WAITING_MAX: i32 = 100;

/// A reason given this many times as often as usual is marked, if it was given at least [`UNUSUAL_LEAST`] times.
const UNUSUAL_TIMES: u64 = 3;

/// See [`UNUSUAL_TIMES`].
const UNUSUAL_LEAST: u64 = 10;

/// The page.
pub async fn page(visit: Visit) -> Response {
    match content(&visit).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit) -> Result<Markup, Failure> {
    let waiting = waiting(visit).await?;
    let reasons = if visit.may_see("/records") { Some(reasons(visit).await?) } else { None };
    let findings = if visit.may_see("/findings") { Some(open_findings(visit).await?) } else { None };
    Ok(html! {
        @if visit.may_see("/findings") { (findings::live(visit)) }
        @if visit.person.role == Role::Head { (scorecard(visit)) }
        (waiting)
        @if let Some(reasons) = reasons { (reasons) }
        @if let Some(findings) = findings { (findings) }
    })
}

/// What waits for somebody: the same for all who may see it.
async fn waiting(visit: &Visit) -> Result<Markup, Failure> {
    let lang = visit.lang;
    let mut cards: Vec<(usize, bool, &str, &str)> = Vec::new();
    if visit.may_see("/changes") {
        let request = ListChangesRequest {
            page_size: WAITING_MAX,
            state: ChangeState::Proposed.into(),
            ..ListChangesRequest::default()
        };
        let page = visit.desk().changes().list_changes(request).await?.into_inner();
        let title = lang.of("thay đổi danh mục chờ phê duyệt", "catalog changes wait for approval");
        cards.push((page.changes.len(), false, title, "/changes"));
    }
    let states = [
        (ConnectionRequestState::Pending, lang.of("yêu cầu kết nối chờ trả lời", "connection requests wait")),
        (ConnectionRequestState::Overdue, lang.of("yêu cầu kết nối quá hạn", "connection requests overdue")),
    ];
    for (state, title) in states {
        let request = ListConnectionRequestsRequest {
            page_size: WAITING_MAX,
            state: state.into(),
            ..ListConnectionRequestsRequest::default()
        };
        let page = visit.desk().duty().list_connection_requests(request).await?.into_inner();
        let late = state == ConnectionRequestState::Overdue;
        cards.push((page.connection_requests.len(), late, title, "/requests"));
    }
    let request =
        ListDisputesRequest { page_size: WAITING_MAX, open_only: true, ..ListDisputesRequest::default() };
    let page = visit.desk().duty().list_disputes(request).await?.into_inner();
    cards.push((
        page.disputes.len(),
        false,
        lang.of("vướng mắc đang giải quyết", "open disputes"),
        "/disputes",
    ));
    let full = usize::try_from(WAITING_MAX).unwrap_or(usize::MAX);
    Ok(html! {
        ul.cards {
            @for (count, late, title, path) in cards {
                li {
                    strong class=(if late && count > 0 { "warning" } else { "" }) {
                        (grouped(count as u64)) @if count >= full { "+" }
                    }
                    a href=(visit.link(path)) { (title) }
                }
            }
        }
    })
}

fn scorecard(visit: &Visit) -> Markup {
    html! {
        p {
            a.button href=(visit.link(&format!("/compliance/{}", visit.person.agency))) {
                (visit.text("Phiếu điểm của cơ quan tôi", "My agency's scorecard"))
            }
        }
    }
}

async fn open_findings(visit: &Visit) -> Result<Markup, Failure> {
    let request = ListFindingsRequest { page_size: FINDINGS_SHOWN, ..ListFindingsRequest::default() };
    let open = visit.desk().findings().list_findings(request).await?.into_inner();
    Ok(html! {
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

/// Why calls came to nothing today, beside what is usual.
async fn reasons(visit: &Visit) -> Result<Markup, Failure> {
    let CountReasonsResponse { counts, from_time, .. } =
        visit.desk().log().count_reasons(CountReasonsRequest {}).await?.into_inner();
    let lang = visit.lang;
    Ok(html! {
        h2 { (lang.of("Bị chặn, bị từ chối, thất bại hôm nay", "Denied, refused and failed today")) }
        @if counts.is_empty() {
            p.good { (lang.of("Hôm nay chưa có cuộc gọi nào bị chặn.", "No call was denied today.")) }
        } @else {
            div.table tabindex="0" role="region" aria-label=(lang.of("Theo lý do", "By reason")) {
                table {
                    caption {
                        (lang.of(
                            "Số bản ghi theo lý do, nhiều nhất trước. Thường lệ: trung bình cùng thứ, cùng giờ của bốn tuần trước. Từ ",
                            "Records by reason, the most frequent first. Usual: the mean of the same weekday and hours of four weeks. Since ",
                        ))
                        (moment(from_time.as_ref())) "."
                    }
                    thead { tr {
                        th scope="col" { (lang.of("Lý do", "Reason")) }
                        th scope="col" { (lang.of("Ý nghĩa", "What it means")) }
                        th.number scope="col" { (lang.of("Hôm nay", "Today")) }
                        th.number scope="col" { (lang.of("Thường lệ", "Usual")) }
                    } }
                    tbody { @for count in &counts { (line(visit, count)) } }
                }
            }
        }
    })
}

fn line(visit: &Visit, count: &ReasonCount) -> Markup {
    let usual = usual(&count.earlier);
    html! {
        tr {
            th scope="row" { a href=(visit.link(&format!("/records?reason={}", count.reason))) { code { (count.reason) } } }
            td { (words::reason(&count.reason, visit.lang)) }
            td.number {
                @if is_unusual(count.today, usual) {
                    span.warning { (grouped(count.today)) } div.warning { (visit.text("nhiều hơn thường lệ", "more than usual")) }
                } @else { (grouped(count.today)) }
                @if count.more { "+" }
            }
            td.number {
                @match usual {
                    Some(usual) => (grouped(usual)),
                    None => span.soft { (visit.text("chưa biết", "not known yet")) },
                }
            }
        }
    }
}

/// The mean of the weeks before, rounded to the nearest; `None` where the log had not begun.
fn usual(earlier: &[u64]) -> Option<u64> {
    let weeks = earlier.len() as u64;
    (weeks > 0).then(|| (earlier.iter().sum::<u64>() + weeks / 2) / weeks)
}

fn is_unusual(today: u64, usual: Option<u64>) -> bool {
    usual.is_some_and(|usual| today >= UNUSUAL_LEAST && today > UNUSUAL_TIMES * usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_is_a_mean_and_what_is_above_it_by_far_is_marked() {
        assert_eq!(usual(&[]), None);
        assert_eq!(usual(&[3]), Some(3));
        assert_eq!(usual(&[0, 1]), Some(1), "half is rounded up");
        assert_eq!(usual(&[10, 20, 30, 40]), Some(25));
        assert!(is_unusual(76, Some(25)) && !is_unusual(75, Some(25)));
        assert!(!is_unusual(9, Some(0)) && is_unusual(10, Some(0)), "a handful is no news");
        assert!(!is_unusual(1_000, None), "nobody knows");
    }
}
