//! What stands around every page: who looks, where to go, in which language.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use crate::failure::Failure;
use crate::format::{common_name, one_direction};
use crate::lang::Lang;
use crate::pages::{GROUPS, Group, PAGES};
use crate::routes::House;
use crate::visit::Visit;

/// The style sheet: light and dark, screen and paper.
pub const STYLE: &str = include_str!("console.css");

/// The one script: shows findings as they come. Every page is whole without it.
pub const SCRIPT: &str = include_str!("live.js");

/// A page.
pub fn page(visit: &Visit, content: &Markup) -> Html<String> {
    titled(visit, visit.page.title(visit.lang), content)
}

/// A page about one thing.
pub fn titled(visit: &Visit, title: &str, content: &Markup) -> Html<String> {
    let lang = visit.lang;
    frame(
        &visit.house,
        lang,
        title,
        &html! {
            header.top {
                a.brand href=(visit.link("/")) { "Liên Thông" }
                p.who {
                    strong { (common_name(&visit.person.subject)) }
                    " · " (visit.person.role.title(lang))
                    @if !visit.person.agency.is_empty() {
                        " · " (lang.name(&visit.person.agency_vi, &visit.person.agency_en)) " (" (visit.person.agency) ")"
                    }
                }
                p.language {
                    a href=(format!("/{}{}", lang.other(), visit.address)) lang=(lang.other().code())
                        hreflang=(lang.other().code()) { (lang.other().own_name()) }
                    @if visit.house.trial.is_some() {
                        " · " a href=(format!("/{lang}/sign-in")) { (lang.of("Đổi người", "Another person")) }
                    }
                }
            }
            div.body {
                nav aria-label=(lang.of("Các trang", "Pages")) {
                    @for group in GROUPS { (menu(visit, *group)) }
                }
                main #content tabindex="-1" {
                    h1 { (title) }
                    (content)
                }
            }
        },
    )
}

/// A page that could not be made, for somebody who is known.
pub fn failed(visit: &Visit, failure: &Failure) -> Html<String> {
    titled(visit, failure.title(visit.lang), &words(failure, visit.lang))
}

/// A page for somebody who is not.
pub fn stranger(house: &House, lang: Lang, failure: &Failure) -> Html<String> {
    let title = failure.title(lang);
    frame(
        house,
        lang,
        title,
        &html! {
            header.top { span.brand { "Liên Thông" } }
            div.body {
                main #content tabindex="-1" {
                    h1 { (title) }
                    (words(failure, lang))
                    @if house.trial.is_some() {
                        p { a.button href=(format!("/{lang}/sign-in")) { (lang.of("Chọn người đăng nhập thử", "Choose a person for the trial")) } }
                    }
                }
            }
        },
    )
}

/// The outermost frame.
pub fn frame(house: &House, lang: Lang, title: &str, content: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang=(lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Liên Thông" }
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/live.js" defer {}
            }
            body {
                a.skip href="#content" { (lang.of("Đến nội dung", "Skip to content")) }
                @if house.development {
                    p.development role="note" {
                        (lang.of(
                            "Môi trường thử nghiệm: chứng thư và dữ liệu chỉ dùng để thử.",
                            "Development mesh: certificates and data are for trials only.",
                        ))
                    }
                }
                (content)
                footer {
                    p { (house.mesh) " · Liên Thông " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    };
    Html(one_direction(page.into_string()))
}

fn menu(visit: &Visit, group: Group) -> Markup {
    let pages =
        PAGES.iter().filter(|page| page.group == Some(group) && page.roles.contains(&visit.person.role));
    let pages: Vec<_> = pages.collect();
    html! {
        @if !pages.is_empty() {
            section {
                h2 { (group.title(visit.lang)) }
                ul {
                    @for page in pages {
                        li {
                            a href=(visit.link(page.path)) aria-current=[(page.path == visit.page.path).then_some("page")] {
                                (page.title(visit.lang))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn words(failure: &Failure, lang: Lang) -> Markup {
    html! {
        p { (failure.text(lang)) }
        @if !failure.detail().is_empty() {
            details {
                summary { (lang.of("Thông tin cho người hỗ trợ", "For those who help")) }
                p { code { (failure.detail()) } }
            }
        }
    }
}
