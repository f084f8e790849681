//! The duty to share, and what happens where it is not met.
//!
//! **What.** Refusals judged by a list of reasons, disputes that climb by themselves, outages announced in time, connection
//! requests answered in time; and what backends do to entitled consumers without declaring it. All times are counted in
//! working days of Việt Nam, with holidays as data.
//!
//! **Why.** A provider may not refuse a consumer whom the catalog entitles. The only way not to deliver is a recorded act with
//! a reason of the list and a legal basis. Refusing is an act with a name, and it has a clock.
//!
//! **What not.** No clock and no storage: whoever calls says what time it is and keeps what comes out. Who may act, and what an
//! act does to rights, is the broker's.
//!
//! | module | noun |
//! |---|---|
//! | [`calendar`] | working days |
//! | [`rules`] | reasons, deadlines and holidays, as the operator's file says them |
//! | [`refusal`] | a refusal, from declaration to its end |
//! | [`dispute`] | a dispute, from the provider to the Government |
//! | [`outage`], [`connection`] | planned maintenance; requests for more data |
//! | [`undeclared`] | refusals that nobody declared, read from the log |

pub mod calendar;
pub mod connection;
pub mod dispute;
pub mod outage;
pub mod refusal;
pub mod rules;
pub mod undeclared;

pub use calendar::Calendar;
pub use rules::{DutyRules, RulesError};

use lienthong_proto::lienthong::options::v1::Purpose;
use prost_types::Timestamp;
use time::OffsetDateTime;

/// Longest text of an act, characters.
pub const TEXT_CHARS_MAX: usize = 512;
/// Longest short text: a note, a reason, a legal basis, characters.
pub const SHORT_CHARS_MAX: usize = 256;

/// Why an act is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A text that is missing, too long, or more than one line.
    #[error("{what}: write 1 to {max} characters on one line, without personal data")]
    Text {
        /// Which.
        what: &'static str,
        /// Most characters.
        max: usize,
    },
    /// A number of twelve digits is somebody's.
    #[error("{what} holds 12 digits in a row, which may be a personal number; leave it out")]
    PersonalNumber {
        /// Which.
        what: &'static str,
    },
    /// A time that is not what it must be.
    #[error("{0}")]
    Time(&'static str),
    /// It has ended.
    #[error("it has ended already")]
    Ended,
    /// No outcome was said.
    #[error("say how the dispute ends: UPHELD, OVERTURNED or UNJUSTIFIED")]
    Outcome,
    /// A refusal that suspends nothing cannot be overturned.
    #[error("an unjustified refusal suspends nothing; the dispute about it ends as UNJUSTIFIED")]
    NothingToOverturn,
    /// Declining needs both.
    #[error("to decline needs a reason and its legal basis (R-16)")]
    Undocumented,
}

/// One line, not empty, within its bound, and nobody's number in it.
///
/// # Errors
/// [`NotTaken::Text`], [`NotTaken::PersonalNumber`].
pub fn check_text(what: &'static str, text: &str, max: usize, required: bool) -> Result<(), NotTaken> {
    let empty = text.trim().is_empty();
    if (required && empty) || text.chars().count() > max || text.contains(['\n', '\r', '\0']) {
        return Err(NotTaken::Text { what, max });
    }
    let mut run = 0;
    for one in text.chars() {
        run = if one.is_ascii_digit() { run + 1 } else { 0 };
        if run >= 12 {
            return Err(NotTaken::PersonalNumber { what });
        }
    }
    Ok(())
}

/// A purpose as its word; `*` for every one.
pub fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Unspecified => "*",
        purpose => purpose.as_str_name().trim_start_matches("PURPOSE_"),
    }
}

/// A time as protobuf writes it.
pub fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}

/// A time as protobuf wrote it; `None` for one that no calendar has.
pub fn instant(at: &Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.seconds).ok()
}
