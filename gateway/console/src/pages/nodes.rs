//! The nodes: who is connected, by which epoch each decides, and how long its certificate lasts.

use axum::extract::Query;
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::control::v1::{
    GetMeshStatusRequest, GetMeshStatusResponse, ListNodeStatesRequest, NodeState,
};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::failure::Failure;
use crate::format::{common_name, day, days_until, grouped, moment};
use crate::pages::table::{
    Column::{Number, Text},
    next, table,
};
use crate::shell;
use crate::visit::Visit;

/// Nodes of a page.
const PAGE_NODES: i32 = 500;

/// Days before its end at which a certificate is shown as due.
const CERTIFICATE_DUE_DAYS: i64 = 30;

/// Which page, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    page: String,
}

/// The page.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: Sought) -> Result<Markup, Failure> {
    let mesh = visit.desk().status().get_mesh_status(GetMeshStatusRequest {}).await?.into_inner();
    let request = ListNodeStatesRequest { page_size: PAGE_NODES, page_token: sought.page };
    let page = visit.desk().status().list_node_states(request).await?.into_inner();
    let lang = visit.lang;
    let behind = page.nodes.iter().filter(|node| node.connected && node.applied_epoch < mesh.epoch).count();
    Ok(html! {
        ul.cards {
            li { strong { (grouped(u64::from(mesh.nodes_connected))) " / " (grouped(u64::from(mesh.nodes))) } (lang.of("nút đang kết nối", "nodes connected")) }
            li { strong { (grouped(mesh.epoch)) } (lang.of("kỳ quyền mới nhất", "newest epoch of rights")) }
            li { strong class=(if behind > 0 { "warning" } else { "" }) { (grouped(behind as u64)) } (lang.of("nút chậm hơn kỳ mới nhất", "nodes behind it")) }
            li { strong { (grouped(mesh.trust_version)) } (lang.of("phiên bản tệp tin cậy", "version of the trust file")) }
        }
        (table(
            lang.of("Các nút", "Nodes"),
            &[
                Text(lang.of("Nút", "Node")),
                Text(lang.of("Kết nối", "Connected")),
                Text(lang.of("Phiên bản", "Version")),
                Number(lang.of("Kỳ quyền", "Epoch")),
                Text(lang.of("Từ lúc", "Since")),
                Number(lang.of("Tệp tin cậy", "Trust")),
                Text(lang.of("Chứng thư hết hạn", "Certificate until")),
                Number(lang.of("Nhật ký đã nhận", "Journal received")),
                Text(lang.of("Thu hồi", "Revocation")),
            ],
            &html! { @for node in &page.nodes { (line(visit, node, &mesh)) } },
        ))
        (next(visit, "/nodes", &page.next_page_token, &Sought { page: page.next_page_token.clone() }))
    })
}

fn line(visit: &Visit, node: &NodeState, mesh: &GetMeshStatusResponse) -> Markup {
    let lang = visit.lang;
    let mut lists: Vec<_> =
        node.revocation.iter().filter_map(|held| Some((held.list.as_ref()?, held.since.as_ref()))).collect();
    lists.sort_by_key(|(list, _)| &list.issuer);
    let left = node.certificate_not_after.as_ref().map(|end| days_until(end, OffsetDateTime::now_utc()));
    html! {
        tr {
            th scope="row" { code { (node.name.trim_start_matches("agencies/")) } }
            td.name { @if node.connected { span.good { (lang.of("có", "yes")) } } @else { span.bad { (lang.of("không", "no")) } } }
            td { (node.software_version) }
            td.number {
                span class=(if node.connected && node.applied_epoch < mesh.epoch { "warning" } else { "" }) { (grouped(node.applied_epoch)) }
                @if !node.error.is_empty() { div.bad { (node.error) } }
            }
            td { (moment(node.applied_time.as_ref())) }
            td.number {
                (grouped(node.trust_version))
                @if !node.trust_error.is_empty() { div.bad { (node.trust_error) } }
            }
            td {
                (day(node.certificate_not_after.as_ref()))
                @if let Some(days) = left {
                    div class=(if days < CERTIFICATE_DUE_DAYS { "warning" } else { "soft" }) { (days) " " (lang.of("ngày", "days")) }
                }
            }
            td.number { (grouped(node.journal_seq)) }
            td {
                @if !node.revocation.is_empty() {
                    details {
                        summary { (node.revocation.len()) " " (lang.of("danh sách", "lists")) }
                        @for (list, since) in &lists {
                            div { (common_name(&list.issuer)) " #" (hex::encode(&list.crl_number)) ", " (lang.of("từ", "since")) " " (moment(*since)) }
                        }
                    }
                }
                @if node.connections_cut > 0 {
                    div.soft { (lang.of("đã cắt", "cut")) " " (node.connections_cut) ", " (moment(node.cut_time.as_ref())) }
                }
            }
        }
    }
}
