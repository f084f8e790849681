//! Who takes part: agencies with their nodes and systems, and what each shares.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::catalog::v1::{ListEntriesRequest, ListEntriesResponse};
use lienthong_proto::lienthong::registry::v1::{Agency, GetAgencyRequest, ListAgenciesRequest};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::format::{NAMES_SHOWN_MAX, first, grouped};
use crate::lang::Lang;
use crate::pages::table::{
    Column::{Number, Text},
    next, table,
};
use crate::record::text;
use crate::shell;
use crate::visit::Visit;
use crate::words;

/// Agencies of a page.
const PAGE_AGENCIES: i32 = 500;

/// Entries of an agency that are shown.
const ENTRIES_MAX: i32 = 200;

/// Nodes, and systems, of an agency that are named.
const OWN_SHOWN_MAX: usize = 200;

/// Which page, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    page: String,
}

/// All agencies.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// One agency.
pub async fn one(visit: Visit, Path(code): Path<String>) -> Response {
    match about(&visit, &code).await {
        Ok((title, content)) => shell::titled(&visit, &title, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: Sought) -> Result<Markup, Failure> {
    let request = ListAgenciesRequest {
        page_size: PAGE_AGENCIES,
        page_token: sought.page,
        ..ListAgenciesRequest::default()
    };
    let page = visit.desk().registry().list_agencies(request).await?.into_inner();
    let lang = visit.lang;
    Ok(html! {
        (table(
            lang.of("Cơ quan", "Agencies"),
            &[
                Text(lang.of("Mã", "Code")),
                Text(lang.of("Tên", "Name")),
                Text(lang.of("Khối", "Bloc")),
                Text(lang.of("Vai trò", "Roles")),
                Number(lang.of("Nút", "Nodes")),
                Number(lang.of("Hệ thống", "Systems")),
                Number(lang.of("Cấp độ", "Level")),
            ],
            &html! {
                @for agency in &page.agencies {
                    tr {
                        th scope="row" { a href=(visit.link(&format!("/agencies/{}", agency.code))) { (agency.code) } }
                        td {
                            (lang.name(&agency.name_vi, &agency.name_en))
                            @if !agency.active { span.warning { " – " (lang.of("đã sáp nhập vào", "merged into")) " " (agency.successor.trim_start_matches("agencies/")) } }
                        }
                        td { (words::registered(&agency.bloc, lang)) }
                        td { (roles(agency, lang)) }
                        td.number { (grouped(agency.nodes.len() as u64)) }
                        td.number { (grouped(agency.systems.len() as u64)) }
                        td.number { @if agency.security_level > 0 { (agency.security_level) } @else { "–" } }
                    }
                }
            },
        ))
        (next(visit, "/agencies", &page.next_page_token, &Sought { page: page.next_page_token.clone() }))
    })
}

async fn about(visit: &Visit, code: &str) -> Result<(String, Markup), Failure> {
    let name = format!("agencies/{code}");
    let agency = visit.desk().registry().get_agency(GetAgencyRequest { name }).await?.into_inner().agency;
    let agency = agency.ok_or(Failure::NoSuchPage)?;
    // The registry found an agency of this code, so it holds nothing that would end the quotes.
    let filter = format!("provider = \"{}\"", agency.code);
    let request = ListEntriesRequest { page_size: ENTRIES_MAX, filter, ..ListEntriesRequest::default() };
    let ListEntriesResponse { entries, next_page_token, .. } =
        visit.desk().catalog().list_entries(request).await?.into_inner();
    let lang = visit.lang;
    let title = format!("{} – {}", agency.code, lang.name(&agency.name_vi, &agency.name_en));
    Ok((
        title,
        html! {
            (facts(visit, &agency))
            h2 { (lang.of("Phải chia sẻ", "Must share")) }
            @if entries.is_empty() {
                p { (lang.of("Danh mục không giao cơ quan này chia sẻ tập dữ liệu nào.", "The catalog has this agency share nothing.")) }
            } @else {
                (table(
                    lang.of("Phải chia sẻ", "Must share"),
                    &[
                        Text(lang.of("Mục", "Entry")),
                        Text(lang.of("Tập dữ liệu", "Dataset")),
                        Text(lang.of("Với", "With")),
                        Text(lang.of("Hợp đồng dữ liệu", "Contract")),
                    ],
                    &html! {
                        @for entry in &entries {
                            @let id = entry.name.trim_start_matches("entries/");
                            tr {
                                th scope="row" { a href=(visit.link(&format!("/catalog/{id}"))) { (id) } }
                                td { code { (entry.dataset) } }
                                td { (first(&words::consumers(&entry.mandatory_consumers, lang), NAMES_SHOWN_MAX, lang)) }
                                td {
                                    @if entry.published { span.good { (lang.of("đã công bố", "published")) } }
                                    @else { span.bad { (lang.of("chưa công bố", "not published")) } }
                                }
                            }
                        }
                    },
                ))
            }
            @if !next_page_token.is_empty() {
                p.actions {
                    a href=(visit.link(&format!("/catalog?provider={}", agency.code))) { (lang.of("Tất cả các mục", "All entries")) }
                }
            }
            @if visit.may_see("/records") {
                p.actions { a href=(visit.link(&format!("/records?agency={}", agency.code))) { (lang.of("Tìm trong nhật ký", "Search the log")) } }
            }
        },
    ))
}

fn roles(agency: &Agency, lang: Lang) -> String {
    agency.roles.iter().map(|role| words::registered(role, lang)).collect::<Vec<_>>().join(", ")
}

fn facts(visit: &Visit, agency: &Agency) -> Markup {
    let lang = visit.lang;
    let contact = agency.contact.clone().unwrap_or_default();
    let contact = [contact.display_name, contact.position, contact.phone, contact.email];
    let contact = contact.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
    let nodes: Vec<&str> = agency.nodes.iter().map(|node| node.name.as_str()).collect();
    let systems: Vec<&str> = agency.systems.iter().map(|system| system.name.as_str()).collect();
    let level = if agency.security_level > 0 { agency.security_level.to_string() } else { String::new() };
    html! {
        dl.facts {
            (text(lang.of("Khối", "Bloc"), words::registered(&agency.bloc, lang)))
            (text(lang.of("Cấp", "Level"), words::registered(&agency.level, lang)))
            (text(lang.of("Vai trò", "Roles"), &roles(agency, lang)))
            (text(lang.of("Cấp độ an toàn đã phê duyệt", "Approved security level"), &level))
            (text(lang.of("Đầu mối dữ liệu", "Data contact"), &contact))
            (text(lang.of("Nút", "Nodes"), &first(&nodes, OWN_SHOWN_MAX, lang)))
            (text(lang.of("Hệ thống", "Systems"), &first(&systems, OWN_SHOWN_MAX, lang)))
        }
    }
}
