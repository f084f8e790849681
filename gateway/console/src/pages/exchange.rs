//! One exchange's whole story: both sides, the right that decided, what was released, and whether the log bears it out.

use axum::extract::Path;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use lienthong_audit::evidence::EvidenceFile;
use lienthong_proto::lienthong::audit::v1::{
    FoundRecord, GetEvidenceRequest, RecordFilter, SearchRecordsRequest, SearchRecordsResponse, Side,
};
use lienthong_proto::lienthong::catalog::v1::{ExplainRequest, ExplainResponse};
use maud::{Markup, html};
use tonic::Code;
use uuid::Uuid;

use crate::failure::Failure;
use crate::format::{grouped, sentences};
use crate::pages::records;
use crate::proof::Judged;
use crate::record::{facts, row, side_of};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Records of one exchange that are shown.
const RECORDS_MAX: i32 = 100;

/// The page.
pub async fn page(visit: Visit, Path(id): Path<String>) -> Response {
    let title = format!("{} {id}", visit.text("Trao đổi", "Exchange"));
    match content(&visit, &id).await {
        Ok(content) => shell::titled(&visit, &title, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// The evidence file.
pub async fn evidence(visit: Visit, Path(id): Path<String>) -> Response {
    let file = async {
        let request = GetEvidenceRequest {
            exchange_id: read(&id)?,
            reason: words::OF_EVIDENCE.to_owned(),
            ..GetEvidenceRequest::default()
        };
        let answer = visit.desk().log().get_evidence(request).await?.into_inner();
        let evidence = answer.evidence.ok_or(Failure::NoSuchPage)?;
        Ok(EvidenceFile { evidence, key: None }.to_json())
    };
    match file.await {
        Ok(text) => {
            let name = format!("attachment; filename=\"lienthong-evidence-{id}.json\"");
            ([(CONTENT_TYPE, "application/json".to_owned()), (CONTENT_DISPOSITION, name)], text)
                .into_response()
        }
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, id: &str) -> Result<Markup, Failure> {
    let exchange_id = read(id)?;
    let request = SearchRecordsRequest {
        filter: Some(RecordFilter { exchange_id, ..RecordFilter::default() }),
        page_size: RECORDS_MAX,
        reason: words::OF_EXCHANGE.to_owned(),
        ..SearchRecordsRequest::default()
    };
    let found = visit.desk().log().search_records(request).await?.into_inner();
    if found.records.is_empty() {
        return Err(tonic::Status::not_found(
            "no exchange of this id is on record among those that you may see",
        )
        .into());
    }
    let explained = match visit
        .desk()
        .decisions()
        .explain(ExplainRequest { decision: format!("decisions/{id}") })
        .await
    {
        Ok(explained) => Some(explained.into_inner()),
        // What is no decision has no explanation.
        Err(status) if matches!(status.code(), Code::NotFound | Code::PermissionDenied) => None,
        Err(status) => return Err(status.into()),
    };
    Ok(html! {
        (proofs(visit, &found))
        @if let Some(explained) = &explained { (decision(visit, explained)) }
        @for record in by_side(&found.records) {
            @let shown = row(record, visit.lang);
            h2 { (words::kind(shown.kind, visit.lang)) " · " (shown.who) }
            p.soft { (visit.text("Bản ghi số", "Entry")) " " (grouped(record.index)) }
            (facts(record, visit.lang))
        }
        p.actions {
            a.button href=(visit.link(&format!("/exchanges/{id}/evidence.json"))) {
                (visit.text("Tải tệp chứng cứ", "Download the evidence file"))
            }
            span.soft {
                (visit.text("Kiểm tra ngoại tuyến bằng ", "Verify it offline with "))
                code { "lienthong audit verify-evidence" }
            }
        }
    })
}

/// An exchange's records, the consumer's side first, each side's from the oldest to the newest. Which side's reached the log
/// first is chance.
fn by_side(records: &[FoundRecord]) -> Vec<&FoundRecord> {
    let mut records: Vec<_> = records.iter().rev().collect();
    records.sort_by_key(|record| match side_of(record) {
        Side::Consumer => 0,
        Side::Provider => 1,
        Side::Unspecified => 2,
    });
    records
}

fn proofs(visit: &Visit, found: &SearchRecordsResponse) -> Markup {
    let judged = Judged::new(&visit.house.belief.policy(), &found.checkpoint);
    html! { p role="status" { (records::verdict(visit, &judged, &found.records)) } }
}

fn decision(visit: &Visit, explained: &ExplainResponse) -> Markup {
    let ExplainResponse { permitted, reason, rule, text_vi, text_en, remedy_vi, remedy_en, inside, .. } =
        explained;
    html! {
        h2 { (visit.text("Vì sao được quyết định như vậy", "Why it was decided so")) }
        p {
            span class=(if *permitted { "good" } else { "bad" }) {
                (if *permitted { visit.text("Được phép", "Permitted") } else { visit.text("Bị chặn", "Denied") })
            }
            @if !rule.is_empty() { " · " (visit.text("quyền hoặc quy tắc", "right or rule")) " " code { (rule) } }
            @if !reason.is_empty() { " · " code { (reason) } }
        }
        @let text = visit.text(text_vi, text_en);
        @if !text.is_empty() { p { (sentences(text, visit.text(remedy_vi, remedy_en))) } }
        @if let Some(now) = inside.as_ref().and_then(|inside| inside.now.as_ref()) {
            p.soft {
                (visit.text("Theo danh mục đang có hiệu lực, cuộc gọi này sẽ ", "By the catalog in force this call would be "))
                (if now.permitted { visit.text("được phép.", "permitted.") } else { visit.text("bị chặn.", "denied.") })
            }
        }
    }
}

fn read(id: &str) -> Result<Vec<u8>, Failure> {
    Uuid::parse_str(id).map(|id| id.as_bytes().to_vec()).map_err(|_| Failure::NoSuchPage)
}
