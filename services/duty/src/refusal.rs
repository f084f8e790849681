//! A refusal, from declaration to its end.

use lienthong_proto::lienthong::registry::v1::{
    DeclareRefusalRequest, DisputeCause, Refusal, RefusalState as State,
};
use time::OffsetDateTime;

use crate::rules::{DutyRules, Judgement};
use crate::{NotTaken, SHORT_CHARS_MAX, TEXT_CHARS_MAX, check_text, instant, timestamp};

/// Declares a refusal of `provider`: judged, never turned away for its reason.
///
/// # Errors
/// [`NotTaken`] for texts and times that cannot be kept.
pub fn declare(
    name: &str,
    provider: &str,
    actor: &str,
    request: &DeclareRefusalRequest,
    now: OffsetDateTime,
    rules: &DutyRules,
) -> Result<Refusal, NotTaken> {
    check_text("reason", &request.reason, SHORT_CHARS_MAX, true)?;
    check_text("legal_basis", &request.legal_basis, SHORT_CHARS_MAX, false)?;
    check_text("evidence", &request.evidence, TEXT_CHARS_MAX, false)?;
    if let Some(restore) = &request.expected_restore_time
        && instant(restore).is_none_or(|restore| restore <= now)
    {
        return Err(NotTaken::Time("expected_restore_time is not in the future"));
    }
    let (state, judgement) = match rules.judge(&request.reason, &request.legal_basis) {
        Judgement::Lawful => (State::Suspending, String::new()),
        Judgement::Unjustified(why) => (State::Unjustified, why),
    };
    Ok(Refusal {
        name: name.to_owned(),
        state: state.into(),
        provider: provider.to_owned(),
        consumer: request.consumer.clone(),
        dataset: request.dataset.clone(),
        purpose: request.purpose,
        reason: request.reason.clone(),
        legal_basis: request.legal_basis.clone(),
        evidence: request.evidence.clone(),
        judgement,
        declared_by: actor.to_owned(),
        create_time: Some(timestamp(now)),
        expected_restore_time: request.expected_restore_time,
        ..Refusal::default()
    })
}

/// The cause of the dispute that a refusal opens.
pub fn cause(refusal: &Refusal) -> DisputeCause {
    if refusal.state() == State::Unjustified {
        DisputeCause::UnjustifiedRefusal
    } else {
        DisputeCause::Refusal
    }
}

/// Whether it can still be taken back: it suspends, or stands as unjustified.
pub fn is_standing(refusal: &Refusal) -> bool {
    matches!(refusal.state(), State::Suspending | State::Unjustified) && refusal.end_time.is_none()
}

/// Ends a refusal. One that was unjustified stays so: it counts against the provider, withdrawn or not.
///
/// # Errors
/// [`NotTaken::Ended`].
pub fn end(refusal: &mut Refusal, state: State, actor: &str, now: OffsetDateTime) -> Result<(), NotTaken> {
    if !is_standing(refusal) {
        return Err(NotTaken::Ended);
    }
    if refusal.state() == State::Suspending {
        refusal.state = state.into();
    }
    refusal.end_time = Some(timestamp(now));
    actor.clone_into(&mut refusal.ended_by);
    Ok(())
}

/// Whether its own time is over: the suspension ends by itself.
pub fn is_over(refusal: &Refusal, now: OffsetDateTime) -> bool {
    refusal.state() == State::Suspending
        && refusal.expected_restore_time.as_ref().and_then(instant).is_some_and(|restore| restore <= now)
}
