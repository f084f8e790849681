//! The log and its witnesses: how large it is, how far it is indexed and matched, and who has signed its newest checkpoint.

use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::control::v1::{GetMeshStatusRequest, GetMeshStatusResponse};
use maud::{Markup, html};

use crate::failure::Failure;
use crate::format::{common_name, grouped, moment};
use crate::pages::table::{Column::Text, table};
use crate::proof::Judged;
use crate::record::{fact, text};
use crate::shell;
use crate::visit::Visit;

/// The page.
pub async fn page(visit: Visit) -> Response {
    match content(&visit).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit) -> Result<Markup, Failure> {
    let mesh = visit.desk().status().get_mesh_status(GetMeshStatusRequest {}).await?.into_inner();
    let lang = visit.lang;
    let reached = |upto: u64| {
        let behind = mesh.log_entries.saturating_sub(upto);
        format!("{} ({} {})", grouped(upto), grouped(behind), lang.of("chưa xử lý", "to go"))
    };
    Ok(html! {
        ul.cards {
            li { strong { (grouped(mesh.log_entries)) } (lang.of("bản ghi đã công bố", "entries published")) }
            li { strong { (grouped(mesh.log_entries.saturating_sub(mesh.indexed_upto))) } (lang.of("bản ghi chưa lập chỉ mục", "entries not yet indexed")) }
            li { strong { (grouped(mesh.log_entries.saturating_sub(mesh.matched_upto))) } (lang.of("bản ghi chưa đối soát", "entries not yet matched")) }
        }
        (checkpoint(visit, &mesh))
        h2 { (lang.of("Nền tảng điều phối", "The broker")) }
        dl.facts {
            (text(lang.of("Phiên bản", "Version"), &mesh.software_version))
            (fact(lang.of("Chạy từ", "Runs since"), &moment(mesh.start_time.as_ref())))
            (fact(lang.of("Giờ của nền tảng", "Its time"), &moment(mesh.now.as_ref())))
            (text(lang.of("Đã lập chỉ mục đến", "Indexed up to"), &reached(mesh.indexed_upto)))
            (text(lang.of("Đã đối soát đến", "Matched up to"), &reached(mesh.matched_upto)))
        }
        h2 { (lang.of("Danh sách thu hồi đang áp dụng", "Revocation lists in force")) }
        (table(
            lang.of("Danh sách thu hồi đang áp dụng", "Revocation lists in force"),
            &[
                Text(lang.of("Tổ chức chứng thực", "Authority")),
                Text(lang.of("Số danh sách", "List number")),
            ],
            &html! { @for list in &mesh.revocation { tr { th scope="row" { (common_name(&list.issuer)) } td { code { (hex::encode(&list.crl_number)) } } } } },
        ))
    })
}

fn checkpoint(visit: &Visit, mesh: &GetMeshStatusResponse) -> Markup {
    let lang = visit.lang;
    let policy = visit.house.belief.policy();
    let judged = Judged::new(&policy, &mesh.checkpoint);
    let signed = judged.witnesses(&policy);
    html! {
        h2 { (lang.of("Điểm kiểm soát mới nhất", "The newest checkpoint")) }
        dl.facts {
            @match judged.checkpoint() {
                Ok(checkpoint) => {
                    (text(lang.of("Nguồn nhật ký", "Log origin"), &checkpoint.origin))
                    (text(lang.of("Số bản ghi", "Entries"), &grouped(checkpoint.size)))
                    (fact(lang.of("Giá trị băm gốc", "Root hash"), &html! { code { (checkpoint.root.to_base64()) } }))
                    (fact(lang.of("Chữ ký", "Signature"), &html! { span.good { (lang.of("đã kiểm tra bằng khóa trong tệp tin cậy", "checked with a key of the trust file")) } }))
                }
                Err(problem) => (fact(lang.of("Chữ ký", "Signature"), &html! { span.bad { (problem) } })),
            }
            @for witness in policy.witnesses() {
                @let name = String::from_utf8_lossy(&witness.name).into_owned();
                @let has = signed.contains(&name);
                (fact(&format!("{} {name}", lang.of("Nhân chứng", "Witness")), &html! {
                    span class=(if has { "good" } else { "bad" }) { (if has { lang.of("đã ký", "has signed") } else { lang.of("chưa ký điểm này", "has not signed this one") }) }
                }))
            }
            @if policy.asks_for_witnesses() {
                (fact(lang.of("Đủ số nhân chứng", "Enough witnesses"), &html! {
                    span class=(if judged.cosigned { "good" } else { "bad" }) { (if judged.cosigned { lang.of("đủ", "yes") } else { lang.of("chưa", "not yet") }) }
                }))
            }
        }
    }
}
