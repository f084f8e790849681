//! Tables, and the way to their next page.

use maud::{Markup, html};
use serde::Serialize;

use crate::visit::Visit;

/// A column, by its title.
#[derive(Clone, Copy, Debug)]
pub enum Column<'a> {
    /// Of words.
    Text(&'a str),
    /// Of numbers.
    Number(&'a str),
}

/// A table about something. Wider than the screen, it is moved by itself, by keyboard too.
pub fn table(about: &str, columns: &[Column<'_>], rows: &Markup) -> Markup {
    html! {
        div.table tabindex="0" role="region" aria-label=(about) {
            table {
                thead { tr {
                    @for column in columns {
                        @match column {
                            Column::Text(title) => th scope="col" { (title) },
                            Column::Number(title) => th.number scope="col" { (title) },
                        }
                    }
                } }
                tbody { (rows) }
            }
        }
    }
}

/// The way to the next page, where `token` names one: what is `sought` there, at `path`.
pub fn next(visit: &Visit, path: &str, token: &str, sought: &impl Serialize) -> Markup {
    html! {
        @if !token.is_empty() {
            // Strings always have such a form.
            @let question = serde_urlencoded::to_string(sought).unwrap_or_default();
            p.actions {
                a.button href=(format!("{}?{question}", visit.link(path))) { (visit.text("Trang sau", "Next page")) }
            }
        }
    }
}
