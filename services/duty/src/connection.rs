//! Requests for data that the catalog does not grant.

use lienthong_proto::lienthong::registry::v1::{
    AnswerConnectionRequestRequest, ConnectionRequest, ConnectionRequestState as State,
    CreateConnectionRequestRequest,
};
use time::OffsetDateTime;

use crate::rules::DutyRules;
use crate::{NotTaken, SHORT_CHARS_MAX, TEXT_CHARS_MAX, check_text, instant, timestamp};

/// Makes a request of `requester`.
///
/// # Errors
/// [`NotTaken`].
pub fn create(
    name: &str,
    requester: &str,
    request: &CreateConnectionRequestRequest,
    now: OffsetDateTime,
    rules: &DutyRules,
) -> Result<ConnectionRequest, NotTaken> {
    check_text("use_plan", &request.use_plan, TEXT_CHARS_MAX, true)?;
    check_text("legal_basis", &request.legal_basis, SHORT_CHARS_MAX, true)?;
    Ok(ConnectionRequest {
        name: name.to_owned(),
        state: State::Pending.into(),
        requester: requester.to_owned(),
        system: request.system.clone(),
        provider: request.provider.clone(),
        dataset: request.dataset.clone(),
        fields: request.fields.clone(),
        purpose: request.purpose,
        use_plan: request.use_plan.clone(),
        calls_per_day: request.calls_per_day,
        legal_basis: request.legal_basis.clone(),
        create_time: Some(timestamp(now)),
        due_time: Some(timestamp(rules.calendar.due(now, rules.days.connection_answer))),
        ..ConnectionRequest::default()
    })
}

/// Answers a request. Declining needs a reason and a legal basis.
///
/// # Errors
/// [`NotTaken`].
pub fn answer(
    request: &mut ConnectionRequest,
    actor: &str,
    answer: &AnswerConnectionRequestRequest,
    now: OffsetDateTime,
) -> Result<(), NotTaken> {
    if !matches!(request.state(), State::Pending | State::Overdue) {
        return Err(NotTaken::Ended);
    }
    check_text("answer", &answer.answer, TEXT_CHARS_MAX, false)?;
    check_text("legal_basis", &answer.legal_basis, SHORT_CHARS_MAX, false)?;
    if !answer.accepted && (answer.answer.trim().is_empty() || answer.legal_basis.trim().is_empty()) {
        return Err(NotTaken::Undocumented);
    }
    request.state = if answer.accepted { State::Accepted } else { State::Declined }.into();
    request.answer.clone_from(&answer.answer);
    request.answer_legal_basis.clone_from(&answer.legal_basis);
    request.answer_time = Some(timestamp(now));
    actor.clone_into(&mut request.answered_by);
    Ok(())
}

/// Marks a request whose time has passed. Returns whether it was not marked before.
pub fn overdue(request: &mut ConnectionRequest, now: OffsetDateTime) -> bool {
    let late = request.due_time.as_ref().and_then(instant).is_some_and(|due| due <= now);
    let news = late && request.state() == State::Pending;
    if news {
        request.state = State::Overdue.into();
    }
    news
}
