//! How often each reason was given today, beside the same hours of the same weekday before: what is unusual is seen without
//! knowing what is usual.

use lienthong_index::Query;
use lienthong_proto::lienthong::audit::v1::{CountReasonsResponse, ReasonCount, RecordFilter, TextMatch};
use lienthong_proto::reason::Reason;
use prost_types::Timestamp;

use crate::index::question::QuestionError;
use crate::index::{Found, Index, SearchError};

/// Records of one reason that are counted in one span.
const COUNTED_MAX: usize = 10_000;

/// Weeks that make the usual.
const WEEKS: i64 = 4;

const DAY_S: i64 = 24 * 60 * 60;

/// Việt Nam's clock is ahead of UTC.
const VIET_NAM_S: i64 = 7 * 60 * 60;

/// Counts; `question` bounds a filter to what the asker may see.
///
/// # Errors
/// [`SearchError`].
pub fn count(
    index: &Index,
    now_s: i64,
    question: impl Fn(&RecordFilter) -> Result<Query, QuestionError>,
) -> Result<CountReasonsResponse, SearchError> {
    let search = |filter: &RecordFilter, entries_max: usize| match question(filter) {
        Ok(query) => index.search(&query, u64::MAX, None, entries_max),
        // Reasons of the closed list and times are always a question.
        Err(_) => Ok(Found::default()),
    };
    let midnight_s = midnight(now_s);
    let spans: Vec<(i64, i64)> =
        (0..=WEEKS).map(|week| week * 7 * DAY_S).map(|back| (midnight_s - back, now_s + 1 - back)).collect();
    let mut answer = CountReasonsResponse { from_time: Some(seconds(midnight_s)), ..Default::default() };
    // A week before the log began says nothing of what is usual.
    let mut weeks = 0;
    for (_, to_s) in &spans[1..] {
        let before = RecordFilter { to_time: Some(seconds(*to_s)), ..RecordFilter::default() };
        if search(&before, 1)?.entries.is_empty() {
            break;
        }
        weeks += 1;
    }
    for reason in Reason::all() {
        let of_span = |(from_s, to_s): (i64, i64)| RecordFilter {
            reason: Some(TextMatch { text: reason.name.to_owned(), prefix: false }),
            from_time: Some(seconds(from_s)),
            to_time: Some(seconds(to_s)),
            ..RecordFilter::default()
        };
        let found = search(&of_span(spans[0]), COUNTED_MAX)?;
        answer.complete_up_to = found.complete_up_to;
        if found.entries.is_empty() {
            continue;
        }
        let mut count = ReasonCount {
            reason: reason.name.to_owned(),
            today: found.entries.len() as u64,
            earlier: Vec::new(),
            more: found.more,
        };
        for span in &spans[1..=weeks] {
            let found = search(&of_span(*span), COUNTED_MAX)?;
            count.more |= found.more;
            count.earlier.push(found.entries.len() as u64);
        }
        answer.counts.push(count);
    }
    answer.counts.sort_by_key(|count| std::cmp::Reverse(count.today));
    Ok(answer)
}

/// The beginning of the day in Việt Nam, in which this second is.
fn midnight(now_s: i64) -> i64 {
    (now_s + VIET_NAM_S).div_euclid(DAY_S) * DAY_S - VIET_NAM_S
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_seventeen_hours_utc() {
        let seventeen = 1_763_744_400; // 2025-11-21T17:00:00Z
        for (now_s, expected) in [
            (seventeen, seventeen),
            (seventeen - 1, seventeen - DAY_S),
            (seventeen + DAY_S - 1, seventeen),
            (0, -VIET_NAM_S),
        ] {
            assert_eq!(midnight(now_s), expected, "{now_s}");
        }
    }
}
