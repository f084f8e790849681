//! The mandatory-sharing catalog: what must be shared, by whom, with whom, for what; whether it is; and each entry's rights.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::catalog::v1::{
    Entry, GetEntryRequest, ListEntriesRequest, PurposeFields, WhoCanRequest, WhoCanResponse,
};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tonic::Code;

use crate::failure::Failure;
use crate::format::{NAMES_SHOWN_MAX, common_names, day, days_until, first, grouped};
use crate::pages::form;
use crate::pages::table::{self, Column::Text, table};
use crate::record::{fact, text};
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Entries of a page.
const PAGE_ENTRIES: i32 = 200;

/// Readers of an entry that are shown.
const READERS_MAX: i32 = 1_000;

/// What is looked for, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    #[serde(skip_serializing_if = "String::is_empty")]
    provider: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dataset: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    page: String,
}

impl Sought {
    fn filter(&self) -> String {
        let terms = [("provider", &self.provider), ("dataset", &self.dataset)];
        let terms = terms.into_iter().filter(|(_, value)| !value.trim().is_empty());
        // A quote ends the value for the broker; no code or dataset has one.
        terms
            .map(|(field, value)| format!("{field} = \"{}\"", value.trim().replace('"', "")))
            .collect::<Vec<_>>()
            .join(" AND ")
    }
}

/// All entries.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, &sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// One entry.
pub async fn entry(visit: Visit, Path(id): Path<String>) -> Response {
    match one(&visit, &id).await {
        Ok((title, content)) => shell::titled(&visit, &title, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: &Sought) -> Result<Markup, Failure> {
    let request = ListEntriesRequest {
        page_size: PAGE_ENTRIES,
        page_token: sought.page.clone(),
        filter: sought.filter(),
        ..ListEntriesRequest::default()
    };
    let page = visit.desk().catalog().list_entries(request).await?.into_inner();
    let next = Sought { page: page.next_page_token.clone(), ..sought.clone() };
    let lang = visit.lang;
    let published = page.entries.iter().filter(|entry| entry.published).count();
    Ok(html! {
        form.filter method="get" action=(visit.link("/catalog")) role="search" {
            (form::line("provider", lang.of("Cơ quan cung cấp", "Provider"), &sought.provider, "G01"))
            (form::line("dataset", lang.of("Tập dữ liệu", "Dataset"), &sought.dataset, "dancu.cong_dan"))
            div.wide { button { (lang.of("Lọc", "Filter")) } }
        }
        p role="status" {
            (grouped(page.entries.len() as u64)) " " (lang.of("mục trên trang này, trong đó", "entries on this page, of which")) " "
            (grouped(published as u64)) " " (lang.of("đã công bố hợp đồng dữ liệu.", "have a published contract."))
        }
        (table(
            lang.of("Mục danh mục", "Entries"),
            &[
                Text(lang.of("Mục", "Entry")),
                Text(lang.of("Tập dữ liệu", "Dataset")),
                Text(lang.of("Cung cấp", "Provider")),
                Text(lang.of("Bắt buộc chia sẻ với", "Mandatory consumers")),
                Text(lang.of("Mục đích", "Purposes")),
                Text(lang.of("Tình trạng", "State")),
                Text(lang.of("Hạn", "Deadline")),
            ],
            &html! { @for entry in &page.entries { (line(visit, entry)) } },
        ))
        (table::next(visit, "/catalog", &page.next_page_token, &next))
    })
}

fn line(visit: &Visit, entry: &Entry) -> Markup {
    let id = entry.name.trim_start_matches("entries/");
    html! {
        tr {
            th.name scope="row" { a href=(visit.link(&format!("/catalog/{id}"))) { (id) } }
            td { code { (entry.dataset) } }
            td { a href=(visit.link(&format!("/agencies/{}", entry.provider))) { (entry.provider) } }
            td { (first(&words::consumers(&entry.mandatory_consumers, visit.lang), NAMES_SHOWN_MAX, visit.lang)) }
            td { @for purpose in &entry.purposes { div { (purpose_of(purpose, visit)) } } }
            td.name {
                (words::registered(&entry.status, visit.lang))
                div {
                    @if entry.published { span.good { (visit.text("đã công bố", "published")) } }
                    @else { span.bad { (visit.text("chưa công bố", "not published")) } }
                }
            }
            td.name { (deadline(visit, entry)) }
        }
    }
}

fn deadline(visit: &Visit, entry: &Entry) -> Markup {
    let left = entry.deadline_time.as_ref().map(|at| days_until(at, OffsetDateTime::now_utc()));
    // The catalog has the first moment that is too late; people speak of the last day that is not.
    let last =
        entry.deadline_time.as_ref().map(|at| prost_types::Timestamp { seconds: at.seconds - 1, nanos: 0 });
    html! {
        (day(last.as_ref()))
        @match left {
            Some(days) if days < 0 && !entry.published => div.bad { (visit.text("quá hạn", "overdue by")) " " (grouped(days.unsigned_abs())) " " (visit.text("ngày", "days")) },
            Some(days) if days >= 0 => div.soft { (visit.text("còn", "in")) " " (grouped(days.unsigned_abs())) " " (visit.text("ngày", "days")) },
            _ => {}
        }
    }
}

fn purpose_of(granted: &PurposeFields, visit: &Visit) -> &'static str {
    match Purpose::try_from(granted.purpose).unwrap_or_default() {
        // Open data: whoever asks states a purpose, and any will do.
        Purpose::Unspecified => visit.lang.of("Mọi mục đích", "Any purpose"),
        purpose => words::purpose(purpose, visit.lang),
    }
}

async fn one(visit: &Visit, id: &str) -> Result<(String, Markup), Failure> {
    let name = format!("entries/{id}");
    let entry = visit.desk().catalog().get_entry(GetEntryRequest { name }).await?.into_inner().entry;
    let entry = entry.ok_or(Failure::NoSuchPage)?;
    let request = WhoCanRequest {
        dataset: entry.dataset.clone(),
        provider: entry.provider.clone(),
        page_size: READERS_MAX,
        ..WhoCanRequest::default()
    };
    let readers = match visit.desk().decisions().who_can(request).await {
        Ok(readers) => Some(readers.into_inner()),
        // Who may read a provider's data is told to some only.
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::NotFound) => None,
        Err(status) => return Err(status.into()),
    };
    let title = format!("{} {id}", visit.text("Mục danh mục", "Catalog entry"));
    Ok((
        title,
        html! {
            (facts(visit, &entry))
            (granted(visit, &entry))
            @if let Some(readers) = &readers { (reading(visit, readers)) }
        },
    ))
}

fn facts(visit: &Visit, entry: &Entry) -> Markup {
    let lang = visit.lang;
    let methods = entry.methods.iter().filter_map(|kind| MethodKind::try_from(*kind).ok());
    let methods = methods.map(|kind| words::method(kind, lang));
    html! {
        dl.facts {
            (text(lang.of("Tập dữ liệu", "Dataset"), &entry.dataset))
            (text(lang.of("Cơ quan cung cấp", "Provider"), &entry.provider))
            (text(lang.of("Phiên bản", "Version"), &entry.version.to_string()))
            (text(lang.of("Tình trạng", "State"), words::registered(&entry.status, lang)))
            (fact(lang.of("Hợp đồng dữ liệu", "Contract"), &html! {
                @if entry.published { span.good { (lang.of("đã công bố", "published")) } }
                @else { span.bad { (lang.of("chưa công bố", "not published")) } }
            }))
            (text(lang.of("Căn cứ pháp lý", "Legal basis"), &entry.legal_basis.join("; ")))
            (text(lang.of("Bắt buộc chia sẻ với", "Mandatory consumers"), &words::consumers(&entry.mandatory_consumers, lang).join(", ")))
            (text(lang.of("Phương thức", "Methods"), &methods.collect::<Vec<_>>().join(", ")))
            (fact(lang.of("Có hiệu lực từ", "Effective from"), &day(entry.effective_time.as_ref())))
            (fact(lang.of("Hạn hoàn thành", "Deadline"), &deadline(visit, entry)))
            (text(lang.of("Người phê duyệt", "Approved by"), &common_names(&entry.approved_by)))
        }
    }
}

fn granted(visit: &Visit, entry: &Entry) -> Markup {
    let lang = visit.lang;
    html! {
        h2 { (lang.of("Trường dữ liệu theo mục đích", "Fields by purpose")) }
        (table(
            lang.of("Trường theo mục đích", "Fields by purpose"),
            &[
                Text(lang.of("Mục đích", "Purpose")),
                Text(lang.of("Trường", "Fields")),
                Text(lang.of("Che một phần", "Masked")),
                Text(lang.of("Điều kiện bản ghi", "Condition on rows")),
            ],
            &html! {
                @for purpose in &entry.purposes {
                    tr {
                        th scope="row" { (purpose_of(purpose, visit)) }
                        td { (purpose.fields.join(", ")) }
                        td { (purpose.masked_fields.join(", ")) }
                        td { @if !purpose.condition.is_empty() { code { (purpose.condition) } } }
                    }
                }
            },
        ))
    }
}

fn reading(visit: &Visit, readers: &WhoCanResponse) -> Markup {
    let lang = visit.lang;
    html! {
        h2 { (lang.of("Ai được đọc", "Who may read")) }
        (table(
            lang.of("Ai được đọc", "Who may read"),
            &[
                Text(lang.of("Cơ quan", "Agency")),
                Text(lang.of("Mục đích", "Purpose")),
                Text(lang.of("Trường", "Fields")),
                Text(lang.of("Quyền", "Right")),
            ],
            &html! {
                @for reader in &readers.readers {
                    tr {
                        th scope="row" { @if reader.consumer.is_empty() { (lang.of("mọi cơ quan", "every agency")) } @else { (reader.consumer) } }
                        td { (words::purpose(Purpose::try_from(reader.purpose).unwrap_or_default(), lang)) }
                        td { (first(&reader.fields, NAMES_SHOWN_MAX, lang)) }
                        td {
                            code { (reader.right) }
                            @if reader.suspended { div.bad { (lang.of("đang tạm ngừng", "suspended")) } }
                        }
                    }
                }
            },
        ))
        @if !readers.next_page_token.is_empty() {
            p.soft { "… " (lang.of("chỉ hiện", "only the first")) " " (grouped(readers.readers.len() as u64)) " " (lang.of("dòng đầu.", "are shown.")) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_typed_in_becomes_a_term_of_its_own() {
        let sought = Sought { provider: " G01\" AND status = \"X ".into(), ..Sought::default() };
        assert_eq!(sought.filter(), "provider = \"G01 AND status = X\"");
        assert_eq!(Sought::default().filter(), "");
    }
}
