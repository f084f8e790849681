//! Times as people in Việt Nam read them, numbers in groups, texts that no program obeys.

use maud::{Markup, html};
use prost_types::Timestamp;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};
use uuid::Uuid;

use crate::lang::Lang;

/// Names that stand in one cell of a table.
pub const NAMES_SHOWN_MAX: usize = 20;

/// The clock of people in Việt Nam.
pub const VIETNAM: UtcOffset = offset!(+7);

const DATE_AND_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month]/[year] [hour]:[minute]:[second]");
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[day]/[month]/[year]");
const INPUT_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// A moment, for people and for machines; a dash where there is none.
pub fn moment(at: Option<&Timestamp>) -> Markup {
    match at.and_then(when) {
        None => html! { "–" },
        Some(at) => html! {
            time datetime=(at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default()) {
                (text(at, DATE_AND_TIME))
            }
        },
    }
}

/// A day, for people and for machines; a dash where there is none.
pub fn day(at: Option<&Timestamp>) -> Markup {
    match at.and_then(when) {
        None => html! { "–" },
        Some(at) => html! { time datetime=(text(at, INPUT_DATE)) { (text(at, DATE)) } },
    }
}

/// A moment as one text, for files.
pub fn moment_text(at: Option<&Timestamp>) -> String {
    at.and_then(when).map(|at| text(at, DATE_AND_TIME)).unwrap_or_default()
}

/// Whole days from now until then; negative once it has passed.
pub fn days_until(then: &Timestamp, now: OffsetDateTime) -> i64 {
    (then.seconds - now.unix_timestamp()).div_euclid(86_400)
}

/// The first moment of a day in Việt Nam, of a date as a browser's form writes it: 2026-11-21.
pub fn midnight(date: &str) -> Option<Timestamp> {
    let date = Date::parse(date.trim(), INPUT_DATE).ok()?;
    Some(timestamp(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_offset(VIETNAM)))
}

/// The first moment of the day after a date.
pub fn midnight_after(date: &str) -> Option<Timestamp> {
    midnight(date).map(|at| Timestamp { seconds: at.seconds + 86_400, ..at })
}

/// The first moment of today in Việt Nam.
pub fn today(now: OffsetDateTime) -> Timestamp {
    timestamp(now.to_offset(VIETNAM).replace_time(Time::MIDNIGHT))
}

/// A number in groups of three: 1.234.567.
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

/// An exchange id as people write it; empty where there is none.
pub fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map(|id| id.to_string()).unwrap_or_default()
}

/// The people of these distinguished names, by their common names.
pub fn common_names(subjects: &[String]) -> String {
    subjects.iter().map(|subject| common_name(subject)).collect::<Vec<_>>().join("; ")
}

/// Of a distinguished name its common name, else all of it. A comma or another sign behind a backslash stands for itself
/// (RFC 4514 §2.4).
pub fn common_name(subject: &str) -> String {
    let (mut parts, mut escaped) = (vec![String::new()], false);
    for letter in subject.chars() {
        match letter {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            ',' if !escaped => parts.push(String::new()),
            other => {
                if let Some(part) = parts.last_mut() {
                    part.push(other);
                }
            }
        }
        escaped = false;
    }
    let name = parts.iter().find_map(|part| part.trim().strip_prefix("CN="));
    name.unwrap_or(subject).to_owned()
}

/// The first of many names, at most `shown_max`, and how many more there are.
pub fn first<T: AsRef<str>>(names: &[T], shown_max: usize, lang: Lang) -> String {
    let shown = names.iter().take(shown_max).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(shown_max) {
        0 => shown,
        more => format!("{shown} … {} {}", grouped(more as u64), lang.of("nữa", "more")),
    }
}

/// What happened and what to do, as sentences.
pub fn sentences(happened: &str, remedy: &str) -> String {
    let ended = |text: &str| format!("{}.", capital(text.trim_end_matches('.')));
    [happened, remedy].into_iter().filter(|text| !text.is_empty()).map(ended).collect::<Vec<_>>().join(" ")
}

/// A text that begins with a capital letter.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What anybody wrote, for people to read: signs that turn the direction of writing (Unicode UAX #9), by which `H62` could be
/// shown as `H26`, become U+FFFD. No page of ours needs one.
pub fn one_direction(text: String) -> String {
    if text.contains(turns) { text.replace(turns, "\u{fffd}") } else { text }
}

/// A value of anybody's as a cell of a file, that no spreadsheet takes for a formula (OWASP, CSV Injection): what begins as
/// one gets an apostrophe before it, also behind a semicolon, which separates cells where people write numbers with a comma.
/// Control characters but line ends, and signs that turn the direction of writing, go.
pub fn cell(value: &str) -> String {
    let (mut cell, mut begins) = (String::with_capacity(value.len()), true);
    for letter in value.chars().filter(|letter| (!letter.is_control() || *letter == '\n') && !turns(*letter))
    {
        if begins && FORMULA_BEGINS.contains(&letter) {
            cell.push('\'');
        }
        cell.push(letter);
        begins = matches!(letter, ';' | '\n') || (begins && letter.is_whitespace());
    }
    cell
}

/// [`cell`], quoted.
pub fn csv_cell(value: &str) -> String {
    format!("\"{}\"", cell(value).replace('"', "\"\""))
}

/// Signs with which a formula begins, the wide ones of East Asian keyboards too.
const FORMULA_BEGINS: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

fn turns(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn when(at: &Timestamp) -> Option<OffsetDateTime> {
    let whole = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
    Some(whole.to_offset(VIETNAM))
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: 0 }
}

fn text(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    // No format here can fail for a time that was made from a timestamp; if one did, nothing would be shown.
    at.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_those_of_viet_nam() {
        let at = timestamp(datetime!(2026-11-21 18:30:05 UTC));
        assert_eq!(
            moment(Some(&at)).into_string(),
            "<time datetime=\"2026-11-22T01:30:05+07:00\">22/11/2026 01:30:05</time>"
        );
        assert_eq!(day(Some(&at)).into_string(), "<time datetime=\"2026-11-22\">22/11/2026</time>");
        assert_eq!(midnight("2026-11-22"), Some(timestamp(datetime!(2026-11-21 17:00 UTC))));
        assert_eq!(midnight_after("2026-11-22"), Some(timestamp(datetime!(2026-11-22 17:00 UTC))));
        assert_eq!(today(datetime!(2026-11-21 17:00 UTC)), timestamp(datetime!(2026-11-21 17:00 UTC)));
        assert_eq!(midnight("22/11/2026"), None);
        let absurd = Timestamp { seconds: i64::MAX, nanos: -5 };
        assert_eq!(moment(Some(&absurd)).into_string(), "–");
    }

    #[test]
    fn days_until_are_whole_and_go_below_zero() {
        let now = datetime!(2026-11-21 12:00 UTC);
        assert_eq!(days_until(&timestamp(datetime!(2026-11-23 12:00 UTC)), now), 2);
        assert_eq!(days_until(&timestamp(datetime!(2026-11-21 11:00 UTC)), now), -1);
    }

    #[test]
    fn a_cell_of_a_file_computes_nothing() {
        for (value, expected) in [
            ("=1+1", "'=1+1"),
            ("＝cmd", "'＝cmd"),
            ("\t=1", "'=1"),
            ("\u{1b}=1", "'=1"),
            ("\u{202e}=1", "'=1"),
            ("  @SUM(A1)", "  '@SUM(A1)"),
            ("\n-1", "\n'-1"),
            ("a;=HYPERLINK(1)", "a;'=HYPERLINK(1)"),
            ("a; +1", "a; '+1"),
            ("H26.90-261121-0001", "H26.90-261121-0001"),
            ("a = b", "a = b"),
            ("a\u{1b}[31mb", "a[31mb"),
        ] {
            assert_eq!(cell(value), expected, "{value:?}");
        }
        assert_eq!(csv_cell("Bộ \"X\""), "\"Bộ \"\"X\"\"\"");
    }

    #[test]
    fn a_sentence_begins_with_a_capital_letter() {
        assert_eq!(capital("được phép"), "Được phép");
        assert_eq!(capital(""), "");
        assert_eq!(sentences("không có trường này", "bỏ trường đó."), "Không có trường này. Bỏ trường đó.");
        assert_eq!(sentences("bị chặn", ""), "Bị chặn.");
    }

    #[test]
    fn nothing_turns_the_direction_of_writing() {
        assert_eq!(one_direction("H\u{202e}62\u{2069}".to_owned()), "H\u{fffd}62\u{fffd}");
        assert_eq!(one_direction("Bộ Công an".to_owned()), "Bộ Công an");
    }

    #[test]
    fn of_many_names_the_first_are_shown() {
        let names: Vec<String> = (0..1_254).map(|number| number.to_string()).collect();
        assert_eq!(first(&names[..2], 20, Lang::Vi), "0, 1");
        assert!(first(&names, 20, Lang::En).ends_with(", 19 … 1.234 more"));
    }

    #[test]
    fn a_common_name_is_found_in_a_distinguished_one() {
        assert_eq!(common_name("CN=Lê Thị Kiểm, O=DEMO, C=VN"), "Lê Thị Kiểm");
        assert_eq!(common_name("C=VN,CN=A"), "A");
        assert_eq!(common_name(r"CN=Chứng thực\, nhánh Nhà nước,C=VN"), "Chứng thực, nhánh Nhà nước");
        assert_eq!(common_name("nobody"), "nobody");
        assert_eq!(common_name("lạ"), "lạ");
    }
}
