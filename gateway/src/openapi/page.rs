//! The pages of an integrator, in Vietnamese first, then in English. No script, nothing from elsewhere.

use lienthong_proto::reason::{DOMAIN, ReasonInfo};
use maud::{DOCTYPE, Markup, html};

use super::{Dataset, Reader, document, lines, paths, word};
use crate::transcode::rest;

/// The list of datasets.
pub fn index(reader: &Reader) -> Markup {
    let datasets = reader.datasets();
    framed(
        reader,
        "Dữ liệu được khai thác",
        &html! {
            section aria-labelledby="datasets" {
                h2 #datasets { "Tập dữ liệu " span.en lang="en" { "Datasets" } }
                @if datasets.is_empty() {
                    p { "Hệ thống này chưa được cấp quyền nào. " span.en lang="en" { "This system has no right yet." } }
                }
                dl {
                    @for dataset in &datasets {
                        div {
                            dt { a href=(format!("/openapi/{}", dataset.id)) { (document::title(dataset)) } }
                            dd {
                                code { (dataset.id) } ", " (dataset.methods.len()) " phương thức "
                                a href=(format!("/openapi/{}.json", dataset.id)) { "OpenAPI 3.1" }
                                @if !dataset.options.name_en.is_empty() { span.en lang="en" { (dataset.options.name_en) } }
                            }
                        }
                    }
                }
            }
        },
    )
}

/// One dataset.
pub fn dataset(reader: &Reader, dataset: &Dataset<'_>) -> Markup {
    framed(
        reader,
        &document::title(dataset),
        &html! {
            p {
                code { (dataset.id) } " "
                a href=(format!("/openapi/{}.json", dataset.id)) { "OpenAPI 3.1 (JSON)" }
                " " a href="/openapi" { "Các tập dữ liệu khác" span.en lang="en" { " Other datasets" } }
            }
            @for method in &dataset.methods {
                section {
                    h2 { (method.declared.name()) " " span.en { (method.callable.provider) } }
                    p { code { (method.callable.path) } }
                    dl {
                        @for granted in &method.callable.purposes {
                            div {
                                dt { (word(granted.purpose())) }
                                dd { (granted.fields.join(", ")) }
                            }
                        }
                    }
                    @for line in lines::lines(reader, method) {
                        (command(&line))
                    }
                    @for rule in rest::rules(&method.declared) {
                        p { code { (rule.verb) " " (rule.openapi_path()) } }
                        (command(&paths::line(reader, method, &rule)))
                    }
                }
            }
        },
    )
}

fn command(line: &lines::Line) -> Markup {
    html! {
        p { span.en { (line.tool) } }
        pre tabindex="0" { code { (line.command) } }
    }
}

/// What a reason means.
pub fn reason(info: &ReasonInfo) -> Markup {
    html! {
        (DOCTYPE)
        html lang="vi" {
            (head(info.name))
            body {
                header { h1 { (info.name) } p { (DOMAIN) ", " (format!("{:?}", info.code)) ", " (info.rule) } }
                main {
                    section {
                        h2 { "Điều gì xảy ra, cần làm gì" }
                        p { (info.vi) }
                        p { (info.remedy_vi) }
                    }
                    section lang="en" {
                        h2 { "What happened, what to do" }
                        p { (info.en) }
                        p { (info.remedy_en) }
                    }
                }
            }
        }
    }
}

fn framed(reader: &Reader, title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="vi" {
            (head(title))
            body {
                @if reader.development {
                    aside.development role="note" {
                        strong { "Môi trường thử nghiệm." }
                        " Chứng thư ở đây là giả. "
                        span lang="en" { "Development mesh: its certificates are fake." }
                    }
                }
                header {
                    h1 { (title) }
                    p { (reader.system) " · " (reader.mesh) }
                    p.en lang="en" { "What this system may call now, and how" }
                }
                main { (content) }
            }
        }
    }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { "Liên Thông – " (title) }
            link rel="stylesheet" href="/style.css";
        }
    }
}
