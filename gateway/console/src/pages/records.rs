//! The search: every filter that the log has, newest first, each record checked against the log as it is shown.

use axum::extract::Query;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use lienthong_catalog::purpose;
use lienthong_proto::lienthong::audit::v1::{
    FoundRecord, RecordFilter, SearchRecordsRequest, SearchRecordsResponse, Status, TextMatch,
};
use lienthong_proto::lienthong::options::v1::Purpose;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;
use crate::format::{csv_cell, grouped, midnight, midnight_after, moment};
use crate::pages::form;
use crate::pages::table::{self, Column::Text};
use crate::proof::Judged;
use crate::record::{Row, row};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Records of a page.
const PAGE_RECORDS: i32 = 50;

/// Records of a file at most.
const FILE_RECORDS_MAX: usize = 10_000;

/// Records that one question for a file brings.
const FILE_PAGE_RECORDS: i32 = 500;

/// What is searched for, as the address says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    /// Consumer or provider.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub agency: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    consumer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    system: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dossier: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    purpose: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    /// Reason of the closed list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    right: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    exchange: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    actor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    to: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    case: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    /// Token of the page.
    #[serde(skip_serializing_if = "String::is_empty")]
    page: String,
}

impl Sought {
    fn is_nothing(&self) -> bool {
        *self == Sought::default()
    }

    /// As the broker takes it.
    fn filter(&self) -> Result<RecordFilter, Failure> {
        let text = |text: &str| match text.trim() {
            "" => None,
            text => Some(match text.strip_suffix('*') {
                Some(beginning) => TextMatch { text: beginning.to_owned(), prefix: true },
                None => TextMatch { text: text.to_owned(), prefix: false },
            }),
        };
        let date = |text: &str, read: fn(&str) -> Option<prost_types::Timestamp>| match text.trim() {
            "" => Ok(None),
            text => read(text).map(Some).ok_or_else(|| Failure::Input {
                vi: format!("“{text}” không phải là một ngày; ví dụ đúng: 2026-11-21."),
                en: format!("“{text}” is no date; a good one: 2026-11-21."),
            }),
        };
        let exchange_id = match self.exchange.trim() {
            "" => Vec::new(),
            text => Uuid::parse_str(text).map(|id| id.as_bytes().to_vec()).map_err(|_| Failure::Input {
                vi: format!("“{text}” không phải là mã trao đổi."),
                en: format!("“{text}” is no exchange id."),
            })?,
        };
        let certificate = hex::decode(self.certificate.trim()).map_err(|_| Failure::Input {
            vi: "Giá trị băm của chứng thư gồm 64 chữ số thập lục phân.".to_owned(),
            en: "A certificate's hash has 64 hexadecimal digits.".to_owned(),
        })?;
        let status = Status::from_str_name(&format!("STATUS_{}", self.status)).unwrap_or_default();
        Ok(RecordFilter {
            agency: text(&self.agency),
            consumer: text(&self.consumer),
            provider: text(&self.provider),
            system: text(&self.system),
            dataset: text(&self.dataset),
            user: text(&self.user),
            dossier: text(&self.dossier),
            right: text(&self.right),
            reason: text(&self.reason),
            actor: text(&self.actor),
            purpose: purpose::from_word(&self.purpose).unwrap_or(Purpose::Unspecified).into(),
            status: status.into(),
            exchange_id,
            certificate,
            kind: self.kind.clone(),
            from_time: date(&self.from, midnight)?,
            to_time: date(&self.to, midnight_after)?,
            ..RecordFilter::default()
        })
    }

    fn request(&self) -> Result<SearchRecordsRequest, Failure> {
        Ok(SearchRecordsRequest {
            filter: Some(self.filter()?),
            page_size: PAGE_RECORDS,
            page_token: self.page.clone(),
            case_id: self.case.clone(),
            reason: self.why.clone(),
            export: false,
        })
    }

    fn address(&self, path: &str) -> String {
        // Strings always have such a form.
        format!("{path}?{}", serde_urlencoded::to_string(self).unwrap_or_default())
    }
}

/// The page.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, &sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// The results as a file.
pub async fn csv(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match file(&visit, &sought).await {
        Ok(text) => {
            let headers = [
                (CONTENT_TYPE, "text/csv; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"lienthong-records.csv\""),
            ];
            (headers, text).into_response()
        }
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: &Sought) -> Result<Markup, Failure> {
    // Looking at the empty form asks nothing, so nothing goes on record.
    let found = if sought.is_nothing() {
        None
    } else {
        Some(visit.desk().log().search_records(sought.request()?).await?.into_inner())
    };
    Ok(html! {
        p.soft {
            (visit.text(
                "Chữ hoa, chữ thường và dấu không ảnh hưởng. Kết thúc bằng * để tìm theo phần đầu. Mỗi lần tìm được ghi vào \
                 nhật ký cùng tên bạn.",
                "Case and Vietnamese marks make no difference. End with * to search by the beginning. Each search goes on \
                 record with your name.",
            ))
        }
        (fields(visit, sought))
        @if let Some(found) = &found { (results(visit, sought, found)) }
    })
}

fn fields(visit: &Visit, sought: &Sought) -> Markup {
    let lang = visit.lang;
    let any = lang.of("Tất cả", "Any");
    let purposes = words::purposes().map(|one| (purpose::word(one), words::purpose(one, lang).to_owned()));
    let statuses = words::statuses()
        .map(|one| (one.as_str_name().trim_start_matches("STATUS_"), words::status(one, lang).to_owned()));
    let kinds = words::KINDS.iter().map(|(word, ..)| (*word, words::kind(word, lang).to_owned()));
    html! {
        form.filter method="get" action=(visit.link("/records")) role="search" {
            (form::line("agency", lang.of("Cơ quan (một trong hai bên)", "Agency (either side)"), &sought.agency, "G01, Bộ Công an…"))
            (form::line("consumer", lang.of("Cơ quan khai thác", "Consumer"), &sought.consumer, ""))
            (form::line("provider", lang.of("Cơ quan cung cấp", "Provider"), &sought.provider, ""))
            (form::line("system", lang.of("Hệ thống khai thác", "Consumer's system"), &sought.system, ""))
            (form::line("dataset", lang.of("Tập dữ liệu", "Dataset"), &sought.dataset, "dancu.*"))
            (form::choice("purpose", lang.of("Mục đích", "Purpose"), any, &sought.purpose, purposes))
            (form::choice("status", lang.of("Kết quả", "Outcome"), any, &sought.status, statuses))
            (form::line("reason", lang.of("Lý do", "Reason"), &sought.reason, "DENY_FIELD"))
            (form::line("user", lang.of("Người dùng cuối", "End user"), &sought.user, ""))
            (form::line("dossier", lang.of("Mã hồ sơ", "Dossier"), &sought.dossier, ""))
            (form::line("right", lang.of("Quyền đã quyết định", "Right that decided"), &sought.right, ""))
            (form::choice("kind", lang.of("Loại bản ghi", "Kind of record"), any, &sought.kind, kinds))
            (form::line("exchange", lang.of("Mã trao đổi", "Exchange id"), &sought.exchange, ""))
            (form::line("certificate", lang.of("Giá trị băm của chứng thư", "Certificate hash"), &sought.certificate, ""))
            (form::line("actor", lang.of("Người thực hiện", "Actor"), &sought.actor, ""))
            (form::date("from", lang.of("Từ ngày", "From"), &sought.from))
            (form::date("to", lang.of("Đến hết ngày", "Through"), &sought.to))
            (form::line("case", lang.of("Hồ sơ vụ việc", "Case"), &sought.case, ""))
            (form::line("why", lang.of("Lý do tra cứu", "Why you search"), &sought.why, ""))
            div.wide { button { (lang.of("Tìm", "Search")) } }
        }
    }
}

fn results(visit: &Visit, sought: &Sought, found: &SearchRecordsResponse) -> Markup {
    let judged = Judged::new(&visit.house.belief.policy(), &found.checkpoint);
    let next = Sought { page: found.next_page_token.clone(), ..sought.clone() };
    html! {
        p role="status" {
            (grouped(found.records.len() as u64)) " " (visit.text("bản ghi trên trang này; đầy đủ đến bản ghi số", "records on this page; complete up to entry"))
            " " (grouped(found.complete_up_to)) ". "
            @if found.indexed_up_to < found.complete_up_to {
                (visit.text("Chỉ mục mới đến số", "Indexed up to")) " " (grouped(found.indexed_up_to)) ". "
            }
            (verdict(visit, &judged, &found.records))
        }
        @if found.records.is_empty() {
            p { (visit.text("Không có bản ghi nào như vậy trong phạm vi bạn được xem.", "There is no such record among those that you may see.")) }
        } @else {
            (table(visit, &found.records))
            p.actions {
                @if !found.next_page_token.is_empty() {
                    a.button href=(next.address(&visit.link("/records"))) { (visit.text("Trang sau", "Next page")) }
                }
                a href=(Sought { page: String::new(), ..sought.clone() }.address(&visit.link("/records.csv"))) {
                    (visit.text("Tải kết quả (CSV, nhiều nhất", "Download the results (CSV, at most")) " "
                    (grouped(FILE_RECORDS_MAX as u64)) " " (visit.text("bản ghi)", "records)"))
                }
            }
        }
    }
}

/// What the proofs of these records came to, computed now.
pub fn verdict(visit: &Visit, judged: &Judged, records: &[FoundRecord]) -> Markup {
    let bad = records.iter().find_map(|found| judged.holds(found).err());
    html! {
        @match bad {
            None if judged.checkpoint().is_ok() => span.good {
                (visit.text("Đã kiểm chứng lúc này: từng bản ghi nằm trong nhật ký", "Verified now: each record stands in the log"))
                @if judged.cosigned { (visit.text(", nhân chứng đã ký", ", and the witnesses have signed")) }
                "."
            },
            None => span.bad { (judged.checkpoint().err().unwrap_or_default()) },
            Some(problem) => span.bad {
                (visit.text("Kiểm chứng thất bại: ", "Verification failed: ")) (problem)
            },
        }
    }
}

/// Records as a table.
pub fn table(visit: &Visit, records: &[FoundRecord]) -> Markup {
    let lang = visit.lang;
    html! {
        (table::table(
            lang.of("Bản ghi", "Records"),
            &[
                Text(lang.of("Thời điểm, trao đổi", "Time, exchange")),
                Text(lang.of("Bản ghi", "Record")),
                Text(lang.of("Khai thác ← cung cấp", "Consumer ← provider")),
                Text(lang.of("Dữ liệu, mục đích", "Data, purpose")),
                Text(lang.of("Kết quả", "Outcome")),
                Text(lang.of("Người dùng", "User")),
            ],
            &html! { @for found in records { (line(visit, &row(found, lang))) } },
        ))
    }
}

fn line(visit: &Visit, row: &Row) -> Markup {
    let short = row.exchange.get(..8).unwrap_or_default();
    html! {
        tr {
            td.name {
                (moment(row.time.as_ref()))
                @if !row.exchange.is_empty() {
                    div { a href=(visit.link(&format!("/exchanges/{}", row.exchange))) title=(row.exchange) { code { (short) "…" } } }
                }
            }
            td.name { (words::kind(row.kind, visit.lang)) div.soft { (row.who) } }
            td.name {
                @if !row.consumer.is_empty() { (row.consumer) }
                @if !row.provider.is_empty() { " ← " (row.provider) }
            }
            td { @if !row.dataset.is_empty() { code { (row.dataset) } } div.soft { (row.purpose) } }
            td.said {
                span class=(if row.good { "" } else { "bad" }) { (row.outcome) }
                @if row.outcome != row.detail { div.soft { (row.detail) } }
            }
            td { (row.user) }
        }
    }
}

async fn file(visit: &Visit, sought: &Sought) -> Result<String, Failure> {
    let mut request =
        SearchRecordsRequest { page_size: FILE_PAGE_RECORDS, export: true, ..sought.request()? };
    let mut desk = visit.desk().log();
    let cells =
        |cells: &[String]| cells.iter().map(|cell| csv_cell(cell)).collect::<Vec<_>>().join(",") + "\r\n";
    // The mark tells spreadsheets that the file is UTF-8.
    let mut text = format!("\u{feff}{}", cells(&Row::heads(visit.lang).map(str::to_owned)));
    let mut records = 0;
    loop {
        let page = desk.search_records(request.clone()).await?.into_inner();
        for found in &page.records {
            text.push_str(&cells(&row(found, visit.lang).cells(found.index, visit.lang)));
        }
        records += page.records.len();
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || records >= FILE_RECORDS_MAX {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_sought_and_nothing_more() {
        let sought = Sought { dataset: "dancu.*".into(), reason: "DENY_FIELD".into(), ..Sought::default() };
        assert_eq!(sought.address("/vi/records"), "/vi/records?dataset=dancu.*&reason=DENY_FIELD");
        let filter = sought.filter().unwrap();
        assert_eq!(filter.dataset, Some(TextMatch { text: "dancu.".into(), prefix: true }));
        assert_eq!(filter.reason, Some(TextMatch { text: "DENY_FIELD".into(), prefix: false }));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for wrong in [
            Sought { from: "21/11/2026".into(), ..Sought::default() },
            Sought { exchange: "x".into(), ..Sought::default() },
            Sought { certificate: "xyz".into(), ..Sought::default() },
        ] {
            assert!(matches!(wrong.filter(), Err(Failure::Input { .. })), "{wrong:?}");
        }
    }
}
