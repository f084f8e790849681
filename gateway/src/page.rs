//! The public page: in Vietnamese first, then in English. No script, no image, nothing from elsewhere.

use lienthong_telemetry::Identity;
use lienthong_telemetry::health::VERSION;
use maud::{DOCTYPE, Markup, html};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, UtcOffset};

use crate::head::{Head, Seen};

/// The style sheet, light and dark.
pub const STYLE: &str = include_str!("style.css");

/// The clock of people in Việt Nam.
const VIETNAM: UtcOffset = offset!(+7);

const FOR_PEOPLE: &[BorrowedFormatItem<'_>] =
    format_description!("[hour]:[minute]:[second], [day]/[month]/[year]");

/// The front page; `numbers` where there is a page of them.
pub fn front(identity: &Identity, seen: &Seen, numbers: bool) -> Markup {
    let content = html! {
        (log_section(identity, seen))
        @if numbers {
            p { a href="/statistics" { "Số liệu công khai, dữ liệu mở và nhân chứng" } " " span.en lang="en" { "Public numbers, open data, witnesses" } }
        }
        (what_is_public())
        (what_is_not_public())
    };
    framed(
        identity,
        "Mạng trao đổi dữ liệu bắt buộc giữa các cơ quan nhà nước",
        "Mandatory data exchange between public agencies",
        &content,
    )
}

/// What stands around every public page.
pub fn framed(identity: &Identity, title: &str, title_en: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="vi" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Liên Thông – " (identity.mesh) }
                link rel="stylesheet" href="/style.css";
            }
            body {
                @if identity.development { (development_banner()) }
                header {
                    h1 { a href="/" { "Liên Thông" } }
                    p { (title) }
                    p.en lang="en" { (title_en) }
                }
                main { (content) }
                footer { "Liên Thông " (VERSION) }
            }
        }
    }
}

fn development_banner() -> Markup {
    html! {
        aside.development role="note" {
            strong { "Môi trường thử nghiệm." }
            " Chứng thư ở đây là giả, không có giá trị pháp lý. "
            span lang="en" { "Development mesh: its certificates are fake and have no legal force." }
        }
    }
}

fn log_section(identity: &Identity, seen: &Seen) -> Markup {
    html! {
        section aria-labelledby="log" {
            h2 #log { "Nhật ký chia sẻ dữ liệu " span.en lang="en" { "Exchange log" } }
            dl {
                (fact("Mạng", "Mesh", &html! { (identity.mesh) }))
                @match seen {
                    Ok(head) => (head_facts(head)),
                    Err(_) => (fact("Trạng thái", "State", &html! {
                        span.warning { "Chưa đọc được nhật ký" }
                        span.en lang="en" { "The log cannot be shown now" }
                    })),
                }
            }
        }
    }
}

fn head_facts(head: &Head) -> Markup {
    html! {
        (fact("Nguồn nhật ký", "Log origin", &html! { code { (head.checkpoint.origin) } }))
        (fact("Số bản ghi", "Entries", &html! { (grouped(head.checkpoint.size)) }))
        (fact("Giá trị băm gốc", "Root hash", &html! { code { (head.checkpoint.root.to_base64()) } }))
        (fact("Công bố lúc", "Published", &moment(head.published)))
        (fact("Chữ ký", "Signature", &signature(head.verified)))
    }
}

fn signature(verified: bool) -> Markup {
    html! {
        @if verified {
            "Đã kiểm tra bằng khóa công khai của nhật ký"
            span.en lang="en" { "Checked with the log's public key" }
        } @else {
            span.warning { "Chưa kiểm tra: máy chủ này không được cấu hình khóa" }
            span.en lang="en" { "Not checked: this server has no key configured" }
        }
    }
}

fn what_is_public() -> Markup {
    html! {
        section aria-labelledby="public" {
            h2 #public { "Ai cũng có thể kiểm tra " span.en lang="en" { "Anyone can check" } }
            p {
                "Mỗi lần cơ quan chia sẻ dữ liệu đều để lại một bản ghi trong nhật ký này. "
                "Không ai, kể cả đơn vị vận hành, sửa hay xóa được bản ghi mà không bị phát hiện: "
                "hãy lưu lại " a href="/log/checkpoint" { "điểm kiểm soát" }
                " hôm nay và so sánh về sau."
            }
            p.en lang="en" {
                "Every exchange leaves a record in this log. Nobody, the operator included, can change or remove one "
                "unnoticed: keep today's " a href="/log/checkpoint" { "checkpoint" } " and compare later. "
                "Formats: C2SP tlog-tiles, signed-note; hash tiles are under " code { "/log/tile/" } "."
            }
        }
    }
}

fn what_is_not_public() -> Markup {
    html! {
        section aria-labelledby="private" {
            h2 #private { "Những gì không công khai " span.en lang="en" { "What is not public" } }
            p {
                "Nội dung bản ghi cho biết cơ quan nào hỏi về việc gì, vào lúc nào, nên chỉ người có thẩm quyền được "
                "xem. Dữ liệu của công dân không nằm trong nhật ký."
            }
            p.en lang="en" {
                "Records say which agency asked about what and when, so only authorised roles read them. "
                "Citizens' data is not in the log at all."
            }
        }
    }
}

/// One fact, named in both languages.
pub fn fact(vietnamese: &str, english: &str, value: &Markup) -> Markup {
    html! {
        div {
            dt { (vietnamese) @if !english.is_empty() { " " span.en lang="en" { (english) } } }
            dd { (value) }
        }
    }
}

/// A moment for people in Việt Nam, with the exact one for machines.
fn moment(at: OffsetDateTime) -> Markup {
    // Neither format can fail for a time that a file can have; if one did, the fact would be shown empty.
    let machine = at.to_offset(UtcOffset::UTC).replace_nanosecond(0).unwrap_or(at).format(&Rfc3339);
    let people = at.to_offset(VIETNAM).format(&FOR_PEOPLE);
    html! {
        time datetime=(machine.unwrap_or_default()) { (people.unwrap_or_default()) " (UTC+07:00)" }
    }
}

/// A number in groups of three, as Vietnamese writes it: 1.234.567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('.');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lienthong_audit::checkpoint::Checkpoint;
    use lienthong_audit::hash::Hash;
    use time::macros::datetime;

    use super::*;
    use crate::head::HeadError;
    use crate::log_folder::LogFolderError;

    fn identity(development: bool) -> Identity {
        Identity { role: "gateway".into(), mesh: "<script>alert(1)</script>".into(), development }
    }

    fn head() -> Head {
        Head {
            checkpoint: Checkpoint::new("log.example/\"><b>", 1_234_567, Hash([7; 32])),
            published: datetime!(2026-11-21 18:30:05.123 UTC),
            verified: true,
        }
    }

    #[test]
    fn the_page_says_what_the_log_says() {
        let page = front(&identity(true), &Ok(head()), true).into_string();
        for expected in [
            "1.234.567",
            "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
            "<time datetime=\"2026-11-21T18:30:05Z\">01:30:05, 22/11/2026 (UTC+07:00)</time>",
            "Môi trường thử nghiệm",
            "Đã kiểm tra",
        ] {
            assert!(page.contains(expected), "missing {expected} in {page}");
        }
        assert!(!front(&identity(false), &Ok(head()), false).into_string().contains("Môi trường thử nghiệm"));
    }

    #[test]
    fn what_others_wrote_is_text_and_never_markup() {
        let page = front(&identity(false), &Ok(head()), false).into_string();
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn a_log_that_cannot_be_read_is_said_and_not_explained_to_strangers() {
        let error = HeadError::Folder(LogFolderError::Unreadable {
            file: "checkpoint".into(),
            source: std::io::Error::other("secret detail"),
        });
        let page = front(&identity(false), &Err(Arc::new(error)), false).into_string();
        assert!(page.contains("Chưa đọc được nhật ký") && !page.contains("secret detail"), "{page}");
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_the_style_has_both_lights() {
        let page = front(&identity(true), &Ok(head()), true).into_string();
        for forbidden in ["http://", "https://", "style=", "<script", "<img", "onclick"] {
            assert!(!page.contains(forbidden), "{forbidden} in {page}");
        }
        assert!(STYLE.contains("prefers-color-scheme: dark") && !STYLE.contains("url("));
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1.000"), (u64::MAX, "18.446.744.073.709.551.615")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
