//! Certificates: whose ends soon, and how fast each node learned of the newest revocation lists.

use std::collections::BTreeMap;

use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::control::v1::{
    GetMeshStatusRequest, ListNodeStatesRequest, NodeState, RevocationState,
};
use lienthong_proto::lienthong::registry::v1::{ListNoticesRequest, Notice, NoticeKind};
use maud::{Markup, html};
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::format::{common_name, day, days_until, grouped, moment};
use crate::lang::Lang;
use crate::pages::table::{
    Column::{Number, Text},
    table,
};
use crate::shell;
use crate::visit::Visit;

/// Nodes of one answer, and answers that are read: what this page looks at.
const PAGE_NODES: i32 = 1_000;

/// See [`PAGE_NODES`].
const PAGES_MAX: usize = 10;

/// Certificates with fewer days left are shown.
const ENDS_WITHIN_DAYS: i64 = 60;

/// Nodes whose certificate ends that are shown, the soonest first.
const DUE_SHOWN_MAX: usize = 500;

/// Nodes that are named of those that judge by an older list; of more, only the number is told.
const NAMED_MAX: usize = 50;

/// Notices that are shown.
const NOTICES_MAX: i32 = 500;

/// The page.
pub async fn page(visit: Visit) -> Response {
    match content(&visit).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit) -> Result<Markup, Failure> {
    let mesh = visit.desk().status().get_mesh_status(GetMeshStatusRequest {}).await?.into_inner();
    let nodes = nodes(visit).await?;
    let request = ListNoticesRequest { page_size: NOTICES_MAX, ..ListNoticesRequest::default() };
    let notices = visit.desk().enrollments().list_notices(request).await?.into_inner().notices;
    Ok(html! {
        (ending(visit, &nodes))
        (told(visit, &notices))
        (revocation(visit, &mesh.revocation, &nodes))
    })
}

async fn nodes(visit: &Visit) -> Result<Vec<NodeState>, Failure> {
    let mut nodes = Vec::new();
    let mut page_token = String::new();
    for _ in 0..PAGES_MAX {
        let request = ListNodeStatesRequest { page_size: PAGE_NODES, page_token };
        let page = visit.desk().status().list_node_states(request).await?.into_inner();
        nodes.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(nodes)
}

fn ending(visit: &Visit, nodes: &[NodeState]) -> Markup {
    let (lang, now) = (visit.lang, OffsetDateTime::now_utc());
    let mut due: Vec<(i64, &NodeState)> = nodes
        .iter()
        .filter_map(|node| Some((days_until(node.certificate_not_after.as_ref()?, now), node)))
        .filter(|(days, _)| *days < ENDS_WITHIN_DAYS)
        .collect();
    due.sort_by_key(|(days, _)| *days);
    html! {
        h2 { (lang.of("Chứng thư sắp hết hạn", "Certificates that end soon")) }
        @if due.is_empty() {
            p.good {
                (lang.of("Không chứng thư nào của các nút đang kết nối hết hạn trong ", "No certificate of a connected node ends within "))
                (ENDS_WITHIN_DAYS) (lang.of(" ngày tới.", " days."))
            }
        } @else {
            (table(
                lang.of("Chứng thư sắp hết hạn", "Certificates that end soon"),
                &[
                    Text(lang.of("Nút", "Node")),
                    Text(lang.of("Hết hạn", "Ends")),
                    Number(lang.of("Còn lại, ngày", "Days left")),
                ],
                &html! {
                    @for (days, node) in due.iter().take(DUE_SHOWN_MAX) {
                        tr {
                            th scope="row" { code { (node.name.trim_start_matches("agencies/")) } }
                            td { (day(node.certificate_not_after.as_ref())) }
                            td.number { span class=(if *days < 14 { "bad" } else { "warning" }) { (days) } }
                        }
                    }
                },
            ))
            @if due.len() > DUE_SHOWN_MAX { p.warning { "… " (grouped((due.len() - DUE_SHOWN_MAX) as u64)) " " (lang.of("nút nữa", "more nodes")) } }
        }
    }
}

fn told(visit: &Visit, notices: &[Notice]) -> Markup {
    let lang = visit.lang;
    html! {
        @if !notices.is_empty() {
            h2 { (lang.of("Thông báo về chứng thư", "Notices about certificates")) }
            (table(
                lang.of("Thông báo về chứng thư", "Notices about certificates"),
                &[
                    Text(lang.of("Của", "Whose")),
                    Text(lang.of("Việc", "What")),
                    Text(lang.of("Từ", "Since")),
                ],
                &html! {
                    @for notice in notices {
                        tr {
                            th scope="row" { code { (notice.holder.trim_start_matches("agencies/")) } }
                            td { (notice_kind(notice.kind(), lang)) }
                            td { (moment(notice.time.as_ref())) }
                        }
                    }
                },
            ))
        }
    }
}

const fn notice_kind(kind: NoticeKind, lang: Lang) -> &'static str {
    match kind {
        NoticeKind::Unspecified => "–",
        NoticeKind::Renewed => lang.of("Đã thay chứng thư mới", "Renewed"),
        NoticeKind::EndsSoon => lang.of("Hết hạn trong 30 ngày", "Ends within 30 days"),
        NoticeKind::Ended => lang.of("Đã hết hạn, bị từ chối ở mọi nơi", "Ended, refused everywhere"),
    }
}

/// How one list spread.
#[derive(Debug, Default, PartialEq, Eq)]
struct Spread<'a> {
    /// When the first node judged by it, and the last, Unix milliseconds.
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    /// Nodes that judge by it.
    holders: usize,
    /// Connected nodes that do not yet.
    without: Vec<&'a str>,
}

fn spread<'a>(list: &RevocationState, nodes: &'a [NodeState]) -> Spread<'a> {
    let mut spread = Spread::default();
    for node in nodes {
        let held = node.revocation.iter().find(|held| held.list.as_ref() == Some(list));
        match held {
            Some(held) => {
                spread.holders += 1;
                let Some(since) = held.since.as_ref().map(milliseconds) else { continue };
                spread.first_ms = Some(spread.first_ms.map_or(since, |first| first.min(since)));
                spread.last_ms = Some(spread.last_ms.map_or(since, |last| last.max(since)));
            }
            None if node.connected => spread.without.push(&node.name),
            None => {}
        }
    }
    spread
}

fn revocation(visit: &Visit, lists: &[RevocationState], nodes: &[NodeState]) -> Markup {
    let lang = visit.lang;
    let names: BTreeMap<&[u8], &RevocationState> =
        lists.iter().map(|list| (list.authority.as_slice(), list)).collect();
    html! {
        h2 { (lang.of("Thu hồi: các nút biết nhanh thế nào", "Revocation: how fast nodes learned")) }
        p.soft {
            (lang.of(
                "Với mỗi danh sách thu hồi mới nhất: nút đầu và nút cuối dùng nó từ lúc nào, theo đồng hồ của nút.",
                "For each newest list: when the first and the last node began to judge by it, by the nodes' own clocks.",
            ))
        }
        @if names.is_empty() {
            p.warning { (lang.of("Chưa có danh sách thu hồi nào.", "There is no revocation list yet.")) }
        } @else {
            (table(
                lang.of("Thu hồi", "Revocation"),
                &[
                    Text(lang.of("Tổ chức chứng thực", "Authority")),
                    Text(lang.of("Số danh sách", "List number")),
                    Number(lang.of("Nút đã dùng", "Nodes that use it")),
                    Text(lang.of("Nút đầu tiên", "First node")),
                    Number(lang.of("Đến nút cuối, giây", "Until the last, seconds")),
                    Text(lang.of("Nút chưa dùng", "Nodes that do not yet")),
                ],
                &html! { @for list in names.values() { (row(visit, list, &spread(list, nodes))) } },
            ))
        }
    }
}

fn row(visit: &Visit, list: &RevocationState, spread: &Spread<'_>) -> Markup {
    let took = spread.first_ms.zip(spread.last_ms).map(|(first, last)| last - first);
    html! {
        tr {
            th scope="row" { (common_name(&list.issuer)) }
            td { code { (hex::encode(&list.crl_number)) } }
            td.number { (grouped(spread.holders as u64)) }
            td { (moment(spread.first_ms.map(timestamp).as_ref())) }
            td.number { @match took { Some(ms) => { (ms / 1_000) (visit.text(",", ".")) (format!("{:03}", ms % 1_000)) }, None => "–" } }
            td {
                @if spread.without.is_empty() { span.good { (visit.text("không nút nào", "none")) } }
                @for node in spread.without.iter().take(NAMED_MAX) { div.bad { code { (node.trim_start_matches("agencies/")) } } }
                @if spread.without.len() > NAMED_MAX { div { "… " (grouped(spread.without.len() as u64)) } }
            }
        }
    }
}

fn milliseconds(at: &Timestamp) -> i64 {
    at.seconds.saturating_mul(1_000).saturating_add(i64::from(at.nanos / 1_000_000))
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use lienthong_proto::lienthong::control::v1::node_state::ListInForce;

    use super::*;

    #[test]
    fn a_list_spreads_from_the_first_node_to_the_last() {
        let list = RevocationState { authority: vec![1], issuer: "CN=A".into(), crl_number: vec![7] };
        let older = RevocationState { crl_number: vec![6], ..list.clone() };
        let node = |name: &str, list: &RevocationState, ms: i64| NodeState {
            name: name.into(),
            connected: true,
            revocation: vec![ListInForce { list: Some(list.clone()), since: Some(timestamp(ms)) }],
            ..NodeState::default()
        };
        let gone = NodeState { name: "gone".into(), ..NodeState::default() };
        let nodes = [node("a", &list, 5_250), node("b", &list, 4_000), node("c", &older, 1), gone];
        let spread = spread(&list, &nodes);
        assert_eq!((spread.first_ms, spread.last_ms, spread.holders), (Some(4_000), Some(5_250), 2));
        assert_eq!(spread.without, ["c"], "a node that is away is no concern of this page");
    }
}
