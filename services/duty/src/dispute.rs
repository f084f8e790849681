//! A dispute (vướng mắc), from the provider to the Government: whoever lets his time pass hands it on.

use lienthong_proto::lienthong::registry::v1::{
    Dispute, DisputeCause as Cause, DisputeEvent, DisputeOutcome as Outcome, DisputeStage as Stage,
};
use time::OffsetDateTime;

use crate::rules::DutyRules;
use crate::{NotTaken, TEXT_CHARS_MAX, check_text, instant, timestamp};

/// Steps that a dispute keeps; the first and the newest stay, those between are in the log.
pub const EVENTS_MAX: usize = 64;
/// Who acts where nobody does.
pub const BROKER: &str = "broker";

/// What a dispute is about.
#[derive(Clone, Debug)]
pub struct About<'a> {
    /// Why.
    pub cause: Cause,
    /// The refusal; empty where none was declared.
    pub refusal: &'a str,
    /// Code of the provider.
    pub provider: &'a str,
    /// Code of the consumer.
    pub consumer: &'a str,
    /// Dataset.
    pub dataset: &'a str,
}

/// Opens a dispute: the provider has to answer first.
pub fn open(
    name: &str,
    about: &About<'_>,
    actor: &str,
    text: &str,
    now: OffsetDateTime,
    rules: &DutyRules,
) -> Dispute {
    let mut dispute = Dispute {
        name: name.to_owned(),
        cause: about.cause.into(),
        refusal: about.refusal.to_owned(),
        provider: about.provider.to_owned(),
        consumer: about.consumer.to_owned(),
        dataset: about.dataset.to_owned(),
        stage: Stage::Provider.into(),
        due_time: Some(timestamp(rules.calendar.due(now, rules.days.provider))),
        create_time: Some(timestamp(now)),
        ..Dispute::default()
    };
    note(&mut dispute, "opened", actor, text, now);
    dispute
}

/// Whether nobody has decided it.
pub fn is_open(dispute: &Dispute) -> bool {
    dispute.outcome() == Outcome::Unspecified
}

/// Hands a dispute on whose time has passed, as far as it has: after a long pause, several stages at once. Returns whether
/// anything changed. The Government has no deadline here.
pub fn escalate(dispute: &mut Dispute, now: OffsetDateTime, rules: &DutyRules) -> bool {
    let mut changed = false;
    while is_open(dispute) {
        let Some(due) = dispute.due_time.as_ref().and_then(instant).filter(|due| *due <= now) else { break };
        let (stage, days) = match dispute.stage() {
            Stage::Unspecified | Stage::Provider => (Stage::ItUnit, Some(rules.days.it_unit)),
            Stage::ItUnit => (Stage::Operator, Some(rules.days.operator)),
            Stage::Operator => (Stage::Government, None),
            Stage::Government => break,
        };
        let before = dispute.stage().as_str_name().trim_start_matches("DISPUTE_STAGE_").to_owned();
        dispute.stage = stage.into();
        dispute.due_time = days.map(|days| timestamp(rules.calendar.due(due, days)));
        let text = format!(
            "{before} let its time pass; it is with {} now · quá hạn, chuyển cấp tiếp theo (R-18)",
            stage.as_str_name().trim_start_matches("DISPUTE_STAGE_")
        );
        note(dispute, "escalated", BROKER, &text, due);
        changed = true;
    }
    changed
}

/// Puts on file what a party says. It stops no clock: only a decision, or that the cause is gone, does.
///
/// # Errors
/// [`NotTaken`].
pub fn answer(dispute: &mut Dispute, actor: &str, text: &str, now: OffsetDateTime) -> Result<(), NotTaken> {
    if !is_open(dispute) {
        return Err(NotTaken::Ended);
    }
    check_text("text", text, TEXT_CHARS_MAX, true)?;
    note(dispute, "answered", actor, text, now);
    Ok(())
}

/// Ends a dispute.
///
/// # Errors
/// [`NotTaken`].
pub fn decide(
    dispute: &mut Dispute,
    outcome: Outcome,
    actor: &str,
    text: &str,
    now: OffsetDateTime,
) -> Result<(), NotTaken> {
    if !is_open(dispute) {
        return Err(NotTaken::Ended);
    }
    if matches!(outcome, Outcome::Unspecified | Outcome::Settled) {
        return Err(NotTaken::Outcome);
    }
    if dispute.cause() != Cause::Refusal && outcome != Outcome::Unjustified {
        return Err(NotTaken::NothingToOverturn);
    }
    check_text("text", text, TEXT_CHARS_MAX, true)?;
    end(dispute, outcome, now);
    note(dispute, "decided", actor, text, now);
    Ok(())
}

/// Ends a dispute whose cause is gone; nothing for one that has ended.
pub fn settle(dispute: &mut Dispute, actor: &str, text: &str, now: OffsetDateTime) {
    if is_open(dispute) {
        end(dispute, Outcome::Settled, now);
        note(dispute, "settled", actor, text, now);
    }
}

fn end(dispute: &mut Dispute, outcome: Outcome, now: OffsetDateTime) {
    dispute.outcome = outcome.into();
    dispute.end_time = Some(timestamp(now));
    dispute.due_time = None;
}

fn note(dispute: &mut Dispute, kind: &str, actor: &str, text: &str, now: OffsetDateTime) {
    if dispute.events.len() >= EVENTS_MAX {
        dispute.events.remove(1);
    }
    dispute.events.push(DisputeEvent {
        time: Some(timestamp(now)),
        actor: actor.to_owned(),
        kind: kind.to_owned(),
        text: text.chars().take(TEXT_CHARS_MAX).collect(),
    });
}
