//! How each agency keeps its duty to share, measured and not self-reported: a line an agency, and a printable card of one.

use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::compliance::v1::{
    Calls, Check, CheckState, Deadline, EntryCompliance, GetScorecardRequest, ListScorecardsRequest, Measure,
    Quality, Scorecard,
};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::format::{capital, day, grouped, midnight, moment};
use crate::pages::table::{
    Column::{Number, Text},
    next, table,
};
use crate::record::{fact, text};
use crate::shell;
use crate::visit::Visit;

/// Agencies of a page.
const PAGE_AGENCIES: i32 = 500;

/// Entries of a card.
const ENTRIES_SHOWN_MAX: usize = 100;

/// Which page, as the address says it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    page: String,
}

/// Every agency that the person may see.
pub async fn page(visit: Visit, Query(sought): Query<Sought>) -> Response {
    match content(&visit, sought).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

/// One agency's card.
pub async fn one(visit: Visit, Path(code): Path<String>) -> Response {
    let request = GetScorecardRequest { name: format!("agencies/{code}/scorecard") };
    let asked = visit.desk().compliance().get_scorecard(request).await;
    let found = asked
        .map_err(Failure::from)
        .and_then(|answer| answer.into_inner().scorecard.ok_or(Failure::NoSuchPage));
    match found {
        Ok(found) => {
            let title = format!("{} – {}", found.agency, visit.lang.name(&found.name_vi, &found.name_en));
            shell::titled(&visit, &title, &card(&visit, &found)).into_response()
        }
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit, sought: Sought) -> Result<Markup, Failure> {
    let request = ListScorecardsRequest { page_size: PAGE_AGENCIES, page_token: sought.page };
    let page = visit.desk().compliance().list_scorecards(request).await?.into_inner();
    let lang = visit.lang;
    Ok(html! {
        @if page.scorecards.is_empty() {
            p { (lang.of("Danh mục không giao cơ quan nào trong phạm vi của bạn chia sẻ dữ liệu.", "The catalog has no agency that you may see share anything.")) }
        } @else {
            (table(
                lang.of("Phiếu điểm", "Scorecards"),
                &[
                    Text(lang.of("Cơ quan", "Agency")),
                    Number(lang.of("Điểm", "Score")),
                    Number(lang.of("Mục đạt", "Entries kept")),
                    Number(lang.of("Cuộc gọi được phục vụ", "Calls served")),
                    Number(lang.of("Từ chối", "Refusals")),
                    Text(lang.of("Hạn gần nhất", "Nearest deadline")),
                ],
                &html! { @for one in &page.scorecards { (line(visit, one)) } },
            ))
        }
        (next(visit, "/compliance", &page.next_page_token, &Sought { page: page.next_page_token.clone() }))
    })
}

fn line(visit: &Visit, one: &Scorecard) -> Markup {
    let kept = one.entries_kept == one.entry_count;
    html! {
        tr {
            th scope="row" {
                a href=(visit.link(&format!("/compliance/{}", one.agency))) { (one.agency) }
                " " (visit.lang.name(&one.name_vi, &one.name_en))
            }
            td.number { (one.score) " %" }
            td.number { span class=(if kept { "good" } else { "bad" }) { (one.entries_kept) " / " (one.entry_count) } }
            td.number { (calls(one.calls.as_ref())) }
            td.number { (refusals(one)) }
            td { (deadline(visit, one.nearest_deadline.as_ref())) }
        }
    }
}

fn calls(calls: Option<&Calls>) -> String {
    calls.map_or_else(
        || "–".to_owned(),
        |calls| format!("{} / {}", grouped(calls.served), grouped(calls.requested)),
    )
}

fn refusals(one: &Scorecard) -> String {
    let counts = one.refusals.as_ref();
    let all = counts.map_or(0, |counts| counts.declared + counts.unjustified + counts.undeclared);
    grouped(u64::from(all))
}

fn deadline(visit: &Visit, deadline: Option<&Deadline>) -> Markup {
    let Some(deadline) = deadline else {
        return html! { span.good { (visit.text("đều đạt", "all met")) } };
    };
    let days = grouped(u64::from(deadline.days_left.unsigned_abs()));
    html! {
        (day(midnight(&deadline.date).as_ref()))
        @if deadline.met { div.good { (visit.text("đạt", "met")) } }
        @else if deadline.days_left < 0 { div.bad { (visit.text("quá hạn", "overdue by")) " " (days) " " (visit.text("ngày", "days")) } }
        @else { div.warning { (visit.text("còn", "in")) " " (days) " " (visit.text("ngày", "days")) } }
    }
}

fn card(visit: &Visit, one: &Scorecard) -> Markup {
    let lang = visit.lang;
    html! {
        ul.cards {
            li { strong { (one.score) " %" } (lang.of("điểm chung", "score")) }
            li { strong { (one.entries_kept) " / " (one.entry_count) } (lang.of("mục danh mục đạt", "entries kept")) }
            li { strong { (calls(one.calls.as_ref())) } (lang.of("cuộc gọi được phục vụ", "calls served")) }
            li { strong { (refusals(one)) } (lang.of("lần từ chối", "refusals")) }
        }
        p.soft {
            (lang.of("Đếm từ nhật ký của cả hai bên, năm", "Counted from both sides' records, year")) " " (one.year) ", "
            (lang.of("đến bản ghi số", "up to entry")) " " (grouped(one.counted_upto)) ", " (moment(one.as_of_time.as_ref())) "."
        }
        @for entry in worst(&one.entries) { (of_entry(visit, entry)) }
        @let more = one.entries.len().saturating_sub(ENTRIES_SHOWN_MAX);
        @if more > 0 {
            p.soft {
                "… " (grouped(more as u64)) " " (lang.of("mục nữa, điểm cao hơn; xem ở", "more entries, of higher scores; see")) " "
                a href=(visit.link(&format!("/catalog?provider={}", one.agency))) { (lang.of("danh mục", "the catalog")) }
            }
        }
    }
}

/// The entries of a card; of more than fit, those with the lowest scores.
fn worst(entries: &[EntryCompliance]) -> Vec<&EntryCompliance> {
    let mut shown: Vec<&EntryCompliance> = entries.iter().collect();
    if shown.len() > ENTRIES_SHOWN_MAX {
        shown.sort_by_key(|entry| entry.score);
        shown.truncate(ENTRIES_SHOWN_MAX);
    }
    shown
}

fn of_entry(visit: &Visit, entry: &EntryCompliance) -> Markup {
    let lang = visit.lang;
    let quality = entry.quality.unwrap_or_default();
    html! {
        section {
            h2 { (entry.entry) " · " code { (entry.dataset) } " · " (entry.score) " %" }
            div.table {
                table {
                    caption { (lang.of("Những điều được kiểm tra", "What is checked")) }
                    tbody { @for check in &entry.checks { (checked(visit, check)) } }
                }
            }
            dl.facts {
                (text(lang.of("Cuộc gọi được phục vụ", "Calls served"), &calls(entry.calls.as_ref())))
                (fact(lang.of("Hạn", "Deadline"), &deadline(visit, entry.deadline.as_ref())))
                (fact(lang.of("Đúng, đủ, sạch, sống, thống nhất, dùng chung", "Correct, complete, clean, live, consistent, shared"), &six(&quality)))
            }
        }
    }
}

fn checked(visit: &Visit, check: &Check) -> Markup {
    let (class, word) = match check.state() {
        CheckState::Passed => ("good", visit.text("đạt", "holds")),
        CheckState::Failed => ("bad", visit.text("không đạt", "does not hold")),
        CheckState::NotMeasured | CheckState::Unspecified => ("soft", visit.text("chưa đo", "not measured")),
    };
    html! {
        tr {
            td.name { span class=(class) { (word) } }
            td { (capital(visit.text(&check.text_vi, &check.text_en))) }
            td.name { (check.rule) }
        }
    }
}

/// The six qualities, each as so many of so many.
fn six(quality: &Quality) -> Markup {
    let measures = [
        &quality.correct,
        &quality.complete,
        &quality.clean,
        &quality.live,
        &quality.consistent,
        &quality.shared,
    ];
    let share = |measure: &Option<Measure>| match measure {
        Some(measure) if measure.total > 0 => {
            format!("{} / {}", grouped(measure.good), grouped(measure.total))
        }
        _ => "–".to_owned(),
    };
    let shares = measures.into_iter().map(share).collect::<Vec<_>>();
    html! { (shares.join(" · ")) }
}
