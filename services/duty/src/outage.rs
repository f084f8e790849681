//! Planned maintenance, announced.

use lienthong_proto::lienthong::registry::v1::{AnnounceOutageRequest, Outage};
use time::OffsetDateTime;

use crate::rules::DutyRules;
use crate::{NotTaken, SHORT_CHARS_MAX, check_text, instant, timestamp};

/// Announces an outage of `provider`. Too short a notice is kept as such, never turned away: consumers had better know.
///
/// # Errors
/// [`NotTaken`].
pub fn announce(
    name: &str,
    provider: &str,
    actor: &str,
    request: &AnnounceOutageRequest,
    now: OffsetDateTime,
    rules: &DutyRules,
) -> Result<Outage, NotTaken> {
    check_text("note", &request.note, SHORT_CHARS_MAX, true)?;
    let start = request.start_time.as_ref().and_then(instant).filter(|start| *start > now);
    let start = start.ok_or(NotTaken::Time("start_time is not in the future"))?;
    let end = request.expected_end_time.as_ref().and_then(instant).filter(|end| *end > start);
    let end = end.ok_or(NotTaken::Time("an outage has an expected end, after its beginning (R-17)"))?;
    let notice = rules.calendar.between(now, start);
    Ok(Outage {
        name: name.to_owned(),
        provider: provider.to_owned(),
        datasets: request.datasets.clone(),
        start_time: Some(timestamp(start)),
        expected_end_time: Some(timestamp(end)),
        note: request.note.clone(),
        announced_by: actor.to_owned(),
        create_time: Some(timestamp(now)),
        notice_working_days: notice,
        short_notice: notice < rules.days.maintenance_notice,
    })
}

/// Whether an outage was announced for this provider, dataset and time.
pub fn covers(outage: &Outage, provider: &str, dataset: &str, at: OffsetDateTime) -> bool {
    let begun = outage.start_time.as_ref().and_then(instant).is_some_and(|start| start <= at);
    let ended = outage.expected_end_time.as_ref().and_then(instant).is_none_or(|end| end <= at);
    let meant = outage.datasets.is_empty() || outage.datasets.iter().any(|one| one == dataset);
    outage.provider == provider && meant && begun && !ended
}
