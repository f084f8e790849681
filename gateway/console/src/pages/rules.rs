//! The watch rules that are applied: what trips a finding, in words.

use axum::response::{IntoResponse, Response};
use lienthong_proto::lienthong::audit::v1::{ListWatchRulesRequest, WatchRule};
use maud::{Markup, html};

use crate::failure::Failure;
use crate::format::grouped;
use crate::lang::Lang;
use crate::pages::table::{Column::Text, table};
use crate::shell;
use crate::visit::Visit;

const HOUR_MINUTES: u32 = 60;
const DAY_MINUTES: u32 = 24 * HOUR_MINUTES;

/// The page.
pub async fn page(visit: Visit) -> Response {
    match content(&visit).await {
        Ok(content) => shell::page(&visit, &content).into_response(),
        Err(failure) => visit.failed(&failure),
    }
}

async fn content(visit: &Visit) -> Result<Markup, Failure> {
    let rules = visit.desk().findings().list_watch_rules(ListWatchRulesRequest {}).await?.into_inner().rules;
    let lang = visit.lang;
    Ok(html! {
        p {
            (lang.of(
                "Mỗi quy tắc xét mọi cuộc gọi đã ghi và tạo một phát hiện khi có vượt ngưỡng. Đơn vị vận hành sửa các quy tắc trong tệp ",
                "Each rule looks at every call on record, and makes a finding when it trips. The operator changes them in the file ",
            ))
            code { "watch_rules" }
            (lang.of(" của nền tảng điều phối.", " of the broker."))
        }
        @if rules.is_empty() {
            p.warning { (lang.of("Chưa có quy tắc nào: không có gì được giám sát.", "There are no rules: nobody watches.")) }
        } @else {
            (table(
                lang.of("Quy tắc", "Rules"),
                &[
                    Text(lang.of("Quy tắc", "Rule")),
                    Text(lang.of("Tạo phát hiện khi", "Makes a finding when")),
                    Text(lang.of("Tập dữ liệu", "Datasets")),
                    Text(lang.of("Trừ các hệ thống", "Except systems")),
                ],
                &html! { @for rule in &rules { (line(visit, rule)) } },
            ))
        }
        p { a href=(visit.link("/findings")) { (lang.of("Xem các phát hiện", "See the findings")) } }
    })
}

fn line(visit: &Visit, rule: &WatchRule) -> Markup {
    let lang = visit.lang;
    html! {
        tr {
            th scope="row" { (rule.name) }
            td.said { (said(rule, lang)) }
            td {
                @if rule.datasets.is_empty() { (lang.of("Tất cả", "All")) }
                @for dataset in &rule.datasets { div { code { (dataset) } } }
            }
            td {
                @if rule.except.is_empty() { "–" }
                @for system in &rule.except { div { code { (system.trim_start_matches("agencies/")) } } }
            }
        }
    }
}

/// A rule as a sentence.
fn said(rule: &WatchRule, lang: Lang) -> String {
    let who = match rule.of.as_str() {
        "user" => lang.of("một người dùng", "an end user"),
        _ => lang.of("một hệ thống", "a system"),
    };
    let (least, window) = (grouped(rule.least), span(rule.window_minutes, lang));
    match (rule.kind.as_str(), lang) {
        ("volume-spike", Lang::Vi) => {
            format!("{who} lấy từ {least} bản ghi trong {window} và quá {} lần thường lệ", rule.times_usual)
        }
        ("volume-spike", Lang::En) => {
            format!(
                "{who} gets {least} records or more in {window}, and over {} times the usual",
                rule.times_usual
            )
        }
        ("enumeration", Lang::Vi) => {
            format!("{who} hỏi về từ {least} người dưới cùng một hồ sơ trong {window}")
        }
        ("enumeration", Lang::En) => {
            format!("{who} asks about {least} people or more under one dossier in {window}")
        }
        ("repeated-denials", Lang::Vi) => format!("{who} bị chặn từ {least} lần trong {window}"),
        ("repeated-denials", Lang::En) => format!("{who} is denied {least} times or more in {window}"),
        ("off-hours", Lang::Vi) => format!("{who} khai thác ngoài giờ {}", hours(rule, lang)),
        ("off-hours", Lang::En) => format!("{who} asks outside {}", hours(rule, lang)),
        (other, _) => other.to_owned(),
    }
}

fn hours(rule: &WatchRule, lang: Lang) -> String {
    let clock = |minute: u32| format!("{:02}:{:02}", minute / HOUR_MINUTES % 24, minute % HOUR_MINUTES);
    let names = match lang {
        Lang::Vi => ["T2", "T3", "T4", "T5", "T6", "T7", "CN"],
        Lang::En => ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    };
    let days =
        rule.days.iter().filter_map(|day| names.get(usize::try_from(*day).ok()?.checked_sub(1)?).copied());
    format!("{}–{}, {}", clock(rule.from_minute), clock(rule.to_minute), days.collect::<Vec<_>>().join(" "))
}

fn span(minutes: u32, lang: Lang) -> String {
    match minutes {
        0 => String::new(),
        whole if whole.is_multiple_of(DAY_MINUTES) => {
            format!("{} {}", whole / DAY_MINUTES, lang.of("ngày", "days"))
        }
        whole if whole.is_multiple_of(HOUR_MINUTES) => {
            format!("{} {}", whole / HOUR_MINUTES, lang.of("giờ", "hours"))
        }
        whole => format!("{whole} {}", lang.of("phút", "minutes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_rule_is_a_sentence_in_both_languages() {
        let rule = |kind: &str| WatchRule {
            kind: kind.to_owned(),
            of: "user".to_owned(),
            window_minutes: 90,
            least: 1_000,
            times_usual: 5,
            from_minute: 7 * 60,
            to_minute: 18 * 60 + 30,
            days: vec![1, 5, 9],
            ..WatchRule::default()
        };
        assert_eq!(
            said(&rule("off-hours"), Lang::Vi),
            "một người dùng khai thác ngoài giờ 07:00–18:30, T2 T6"
        );
        assert_eq!(
            said(&rule("volume-spike"), Lang::En),
            "an end user gets 1.000 records or more in 90 minutes, and over 5 times the usual"
        );
        for kind in ["volume-spike", "off-hours", "enumeration", "repeated-denials"] {
            for lang in Lang::ALL {
                assert_ne!(said(&rule(kind), lang), kind);
            }
        }
        assert_eq!(span(2 * DAY_MINUTES, Lang::En), "2 days");
        assert_eq!(span(180, Lang::Vi), "3 giờ");
    }
}
