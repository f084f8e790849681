//! A filter as the index understands it, and as it is put on record. Pure.

use std::fmt::Write as _;

use lienthong_index::{Clause, Dimension, Query, Term, Want, fold};
use lienthong_proto::lienthong::audit::v1::{RecordFilter, Status as Ending, TextMatch};
use lienthong_proto::lienthong::options::v1::Purpose;
use prost_types::Timestamp;

/// Longest text of a filter, characters.
pub const FILTER_TEXT_CHARS_MAX: usize = 256;

/// Longest question on record, characters.
pub const QUESTION_CHARS_MAX: usize = 512;

/// So many digits in a row may be the number of a person, and do not go on record.
const DIGITS_SHOWN_MAX: usize = 8;

/// The words for kinds of records.
pub const KINDS: [&str; 15] = [
    "opening",
    "closing",
    "denial",
    "progress",
    "continuation",
    "aggregate",
    "seal",
    "bundle",
    "administration",
    "manifest",
    "finding",
    "finding-closed",
    "access",
    "pruning",
    "erasure",
];

/// A party of the mesh, by what people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartyName {
    /// Its code.
    pub code: String,
    /// Its names.
    pub names: Vec<String>,
}

/// Why a filter is no question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// A text that is empty or too long.
    #[error("{field}: give 1 to {FILTER_TEXT_CHARS_MAX} characters")]
    Text {
        /// Which.
        field: &'static str,
    },
    /// Bytes of the wrong length.
    #[error("{field}: give {bytes} bytes")]
    Length {
        /// Which.
        field: &'static str,
        /// How many it must be.
        bytes: usize,
    },
    /// A kind that there is not.
    #[error("no record is of kind \"{0}\"; the kinds are {list}", list = KINDS.join(", "))]
    Kind(String),
    /// A number that stands for nothing.
    #[error("{field}: {number} stands for nothing")]
    Number {
        /// Which.
        field: &'static str,
        /// What it was.
        number: i32,
    },
    /// A span of time that ends before it begins.
    #[error("to_time is before from_time")]
    Times,
}

/// The query for a filter. `subject` are the terms of the person asked about; `visible_to` bounds the answer to one party's
/// exchanges.
///
/// # Errors
/// [`QuestionError`].
pub fn query(
    filter: &RecordFilter,
    subject: Vec<Term>,
    visible_to: Option<&str>,
    parties: &[PartyName],
) -> Result<Query, QuestionError> {
    let mut clauses = Vec::new();
    if let Some(agency) = visible_to {
        clauses.push(party_clause(agency));
    }
    if !filter.subject.is_empty() {
        clauses.push(Clause(subject.into_iter().map(Want::Exactly).collect()));
    }
    let both: &[Dimension] = &[Dimension::Consumer, Dimension::Provider];
    for (field, wanted, dimensions) in [
        ("agency", &filter.agency, both),
        ("consumer", &filter.consumer, &both[..1]),
        ("provider", &filter.provider, &both[1..]),
    ] {
        if let Some(text) = checked(field, wanted.as_ref())? {
            let wants = codes(text, parties).into_iter().flat_map(|(code, prefix)| {
                dimensions.iter().map(move |dimension| want(*dimension, &code, prefix)).collect::<Vec<_>>()
            });
            clauses.push(Clause(wants.collect()));
        }
    }
    for (field, wanted, dimension) in [
        ("system", &filter.system, Dimension::System),
        ("dataset", &filter.dataset, Dimension::Dataset),
        ("method", &filter.method, Dimension::Method),
        ("user", &filter.user, Dimension::User),
        ("dossier", &filter.dossier, Dimension::Dossier),
        ("right", &filter.right, Dimension::Right),
        ("reason", &filter.reason, Dimension::Reason),
        ("resource", &filter.resource, Dimension::Resource),
        ("actor", &filter.actor, Dimension::Actor),
    ] {
        if let Some(text) = checked(field, wanted.as_ref())? {
            clauses.push(Clause(vec![want(dimension, &text.text, text.prefix)]));
        }
    }
    for (field, number, known, dimension) in [
        ("purpose", filter.purpose, Purpose::try_from(filter.purpose).is_ok(), Dimension::Purpose),
        ("status", filter.status, Ending::try_from(filter.status).is_ok(), Dimension::Status),
    ] {
        if !known {
            return Err(QuestionError::Number { field, number });
        }
        if number != 0 {
            clauses.push(Clause(vec![Want::Exactly(Term::number(dimension, number))]));
        }
    }
    for (field, value, bytes, dimension) in [
        ("exchange_id", &filter.exchange_id, 16, Dimension::Exchange),
        ("certificate", &filter.certificate, 32, Dimension::Certificate),
    ] {
        if value.is_empty() {
            continue;
        }
        if value.len() != bytes {
            return Err(QuestionError::Length { field, bytes });
        }
        clauses.push(Clause(vec![Want::Exactly(Term::bytes(dimension, value))]));
    }
    if !filter.kind.is_empty() {
        if !KINDS.contains(&filter.kind.as_str()) {
            return Err(QuestionError::Kind(filter.kind.chars().take(32).collect()));
        }
        clauses.push(Clause(vec![Want::Exactly(Term::text(Dimension::Kind, &filter.kind))]));
    }
    Ok(Query { clauses, times_ms: times(filter)? })
}

/// That an exchange has this party.
pub fn party_clause(agency: &str) -> Clause {
    Clause(vec![want(Dimension::Consumer, agency, false), want(Dimension::Provider, agency, false)])
}

/// That a record belongs to this exchange.
pub fn exchange_clause(exchange_id: &[u8]) -> Clause {
    Clause(vec![Want::Exactly(Term::bytes(Dimension::Exchange, exchange_id))])
}

/// That a record is of one of these kinds.
pub fn kind_clause(kinds: &[&str]) -> Clause {
    Clause(kinds.iter().map(|kind| Want::Exactly(Term::text(Dimension::Kind, kind))).collect())
}

/// The filter in words, for the record. Who a question is about never stands there, nor does what looks like the number of
/// a person in another field.
pub fn words(filter: &RecordFilter) -> String {
    let mut words = String::new();
    for (field, wanted) in [
        ("agency", &filter.agency),
        ("consumer", &filter.consumer),
        ("provider", &filter.provider),
        ("system", &filter.system),
        ("dataset", &filter.dataset),
        ("method", &filter.method),
        ("user", &filter.user),
        ("dossier", &filter.dossier),
        ("right", &filter.right),
        ("reason", &filter.reason),
        ("resource", &filter.resource),
        ("actor", &filter.actor),
    ] {
        if let Some(text) = wanted {
            let star = if text.prefix { "*" } else { "" };
            let _ = write!(words, "{field}={}{star} ", without_numbers(&text.text));
        }
    }
    for (field, value) in [("exchange", &filter.exchange_id), ("certificate", &filter.certificate)] {
        if !value.is_empty() {
            let _ = write!(words, "{field}={} ", hex::encode(value));
        }
    }
    if let Some(purpose) =
        Purpose::try_from(filter.purpose).ok().filter(|purpose| *purpose != Purpose::Unspecified)
    {
        let _ = write!(words, "purpose={} ", purpose.as_str_name().trim_start_matches("PURPOSE_"));
    }
    if let Some(status) = Ending::try_from(filter.status).ok().filter(|status| *status != Ending::Unspecified)
    {
        let _ = write!(words, "status={} ", status.as_str_name().trim_start_matches("STATUS_"));
    }
    if !filter.kind.is_empty() {
        let _ = write!(words, "kind={} ", filter.kind);
    }
    for (field, time) in [("from", &filter.from_time), ("to", &filter.to_time)] {
        if let Some(time) = time {
            let _ = write!(words, "{field}={time} ");
        }
    }
    if !filter.subject.is_empty() {
        words.push_str("subject=… ");
    }
    words.trim_end().chars().take(QUESTION_CHARS_MAX).collect()
}

fn want(dimension: Dimension, text: &str, prefix: bool) -> Want {
    let term = Term::text(dimension, text);
    if prefix { Want::Beginning(term) } else { Want::Exactly(term) }
}

fn checked<'a>(
    field: &'static str,
    wanted: Option<&'a TextMatch>,
) -> Result<Option<&'a TextMatch>, QuestionError> {
    match wanted {
        Some(text) if text.text.is_empty() || text.text.chars().count() > FILTER_TEXT_CHARS_MAX => {
            Err(QuestionError::Text { field })
        }
        other => Ok(other),
    }
}

/// What is meant by the name of a party: the text itself, as a code, and the codes of all whose name it is.
fn codes(text: &TextMatch, parties: &[PartyName]) -> Vec<(String, bool)> {
    let wanted = fold(&text.text);
    let mut codes = vec![(text.text.clone(), text.prefix)];
    for party in parties {
        let named = party
            .names
            .iter()
            .map(|name| fold(name))
            .any(|name| name == wanted || text.prefix && name.starts_with(&wanted));
        if named {
            codes.push((party.code.clone(), false));
        }
    }
    codes
}

fn times(filter: &RecordFilter) -> Result<Option<std::ops::Range<i64>>, QuestionError> {
    let ms = |time: &Timestamp| {
        time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
    };
    // Times before 1970 are nobody's; a record without a time is never within a span.
    let from = filter.from_time.as_ref().map(ms);
    let to = filter.to_time.as_ref().map(ms);
    match (from, to) {
        (None, None) => Ok(None),
        (Some(from), Some(to)) if to < from => Err(QuestionError::Times),
        (from, to) => Ok(Some(from.unwrap_or(0)..to.unwrap_or(i64::MAX))),
    }
}

/// A text in which nothing looks like the number of a person.
pub fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    let mut digits = String::new();
    for letter in text.chars().chain(std::iter::once('\n')) {
        if letter.is_numeric() {
            digits.push(letter);
            continue;
        }
        shown.push_str(if digits.chars().count() > DIGITS_SHOWN_MAX { "…" } else { &digits });
        digits.clear();
        if !letter.is_control() {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use lienthong_index::Row;
    use lienthong_proto::lienthong::audit::v1::{Closing, Exchange, Record, record::Body};

    use super::*;

    fn row(consumer: &str, user: &str) -> Row {
        let exchange = Exchange {
            id: vec![7; 16],
            consumer: consumer.to_owned(),
            provider: "G01".to_owned(),
            system: format!("agencies/{consumer}/systems/mot-cua"),
            user: user.to_owned(),
            dataset: "dancu.cong_dan".to_owned(),
            ..Exchange::default()
        };
        let body = Body::Closing(Closing { exchange: Some(exchange), ..Closing::default() });
        Row::of(&Record { version: 1, body: Some(body), ..Record::default() })
    }

    #[allow(clippy::unnecessary_wraps)] // as the fields are
    fn text(text: &str, prefix: bool) -> Option<TextMatch> {
        Some(TextMatch { text: text.to_owned(), prefix })
    }

    fn parties() -> Vec<PartyName> {
        let party =
            |code: &str, name: &str| PartyName { code: code.to_owned(), names: vec![name.to_owned()] };
        vec![
            party("G01", "Bộ Công an"),
            party("H26.90", "Ủy ban nhân dân phường Ba Đình"),
            party("H260", "Sở Thử nghiệm"),
        ]
    }

    fn finds(filter: &RecordFilter, visible_to: Option<&str>, row: &Row) -> bool {
        query(filter, Vec::new(), visible_to, &parties()).unwrap().accepts(row)
    }

    #[test]
    fn names_are_found_with_and_without_marks() {
        for name in ["Bộ Công an", "bo cong an", "BO CONG AN", "g01"] {
            let filter = RecordFilter { agency: text(name, false), ..RecordFilter::default() };
            assert!(finds(&filter, None, &row("H26.90", "cb")), "{name}");
            let filter = RecordFilter { consumer: text(name, false), ..RecordFilter::default() };
            assert!(!finds(&filter, None, &row("H26.90", "cb")), "{name}");
        }
        let filter = RecordFilter { consumer: text("uy ban nhan dan", true), ..RecordFilter::default() };
        assert!(finds(&filter, None, &row("H26.90", "cb")));
        let filter = RecordFilter {
            system: text("mot-cua", false),
            user: text("CB", true),
            ..RecordFilter::default()
        };
        assert!(finds(&filter, None, &row("H26.90", "cb-1")));
    }

    #[test]
    fn an_agency_sees_what_it_is_party_to_whatever_it_asks() {
        let everything = RecordFilter::default();
        assert!(finds(&everything, None, &row("H26.90", "")));
        assert!(finds(&everything, Some("H26.90"), &row("H26.90", "")));
        assert!(finds(&everything, Some("G01"), &row("H26.90", "")));
        // A code that another one begins with is another agency.
        assert!(!finds(&everything, Some("H26"), &row("H26.90", "")));
        assert!(!finds(&everything, Some("H26.90"), &row("H260", "")));
        let other = RecordFilter { consumer: text("H26.90", false), ..RecordFilter::default() };
        assert!(!finds(&other, Some("H260"), &row("H26.90", "")));
    }

    #[test]
    fn nobody_stands_in_the_record_of_a_question() {
        let filter = RecordFilter {
            subject: "999190000001".to_owned(),
            user: text("cb 999190000001\u{1b}[31m", false),
            dossier: text("H26.90-261121-0001", false),
            ..RecordFilter::default()
        };
        assert_eq!(words(&filter), "user=cb …[31m dossier=H26.90-261121-0001 subject=…");
        let long = RecordFilter { user: text(&"ệ".repeat(5_000), false), ..RecordFilter::default() };
        assert_eq!(words(&long).chars().count(), QUESTION_CHARS_MAX);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |filter: RecordFilter| query(&filter, Vec::new(), None, &[]).unwrap_err();
        assert_eq!(
            refused(RecordFilter { user: text("", true), ..RecordFilter::default() }),
            QuestionError::Text { field: "user" }
        );
        assert!(matches!(
            refused(RecordFilter { exchange_id: vec![1], ..RecordFilter::default() }),
            QuestionError::Length { .. }
        ));
        assert!(matches!(
            refused(RecordFilter { kind: "rubbish".to_owned(), ..RecordFilter::default() }),
            QuestionError::Kind(_)
        ));
        assert!(matches!(
            refused(RecordFilter { purpose: 9_999, ..RecordFilter::default() }),
            QuestionError::Number { .. }
        ));
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        assert_eq!(
            refused(RecordFilter { from_time: time(2), to_time: time(1), ..RecordFilter::default() }),
            QuestionError::Times
        );
    }
}
