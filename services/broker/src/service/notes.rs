//! What is noted at a finding while it is open, and the rules that find. A note is an act of administration: the log alone
//! tells it again.

use std::time::Duration;

use lienthong_audit::finding::{DETAIL_CHARS_MAX, is_id};
use lienthong_proto::lienthong::audit::v1::{
    FindingEntry, ListWatchRulesResponse, NoteFindingRequest, WatchRule,
};
use lienthong_watch::Rules;
use lienthong_watch::rules::{Rule, Test, Whose};
use tonic::Status;

use super::findings::{FindingDesk, unavailable};
use super::not_found;
use crate::clock;
use crate::door::Guest;
use crate::limits::{FINDING_CLOSE_WAIT_MS, FINDING_NOTES_MAX};
use crate::matching::files::{ASSIGNED, FINDINGS_PREFIX, NOTED, note_of, with_note};
use crate::records::{Act, administration};

/// Longest name of whoever follows a finding up, characters.
const ASSIGNEE_CHARS_MAX: usize = 128;

const MINUTE_MS: i64 = 60_000;

impl FindingDesk {
    /// Adds a note to an open finding, or says who follows it up.
    pub(super) async fn note(
        &self,
        guest: &Guest,
        asked: NoteFindingRequest,
    ) -> Result<FindingEntry, Status> {
        let (note, assignee) = (asked.note.trim(), asked.assignee.trim());
        if note.is_empty() && assignee.is_empty() {
            return Err(Status::invalid_argument("give a note, or who follows the finding up"));
        }
        one_line("note", note, DETAIL_CHARS_MAX)?;
        one_line("assignee", assignee, ASSIGNEE_CHARS_MAX)?;
        let entry = if is_id(&asked.id) {
            self.shelf.finding(&asked.id).await.map_err(|error| unavailable(&error))?
        } else {
            None
        };
        let entry =
            entry.ok_or_else(|| not_found("finding", &asked.id, "0123456789abcdef0123456789abcdef"))?;
        if let Some(closed) = &entry.closed {
            let said =
                format!("closed by {}: {}; nothing is added to it any more", closed.actor, closed.reason);
            return Err(Status::failed_precondition(said));
        }
        if self.is_closing(&asked.id) {
            let said = "closed a moment ago; nothing is added to it any more";
            return Err(Status::failed_precondition(said));
        }
        if entry.notes.len() + 2 > FINDING_NOTES_MAX {
            let said = format!("a finding has at most {FINDING_NOTES_MAX} notes; close it with a reason");
            return Err(Status::failed_precondition(said));
        }
        let actor = match guest.console() {
            "" => guest.caller.to_string(),
            console => format!("{} through {console}", guest.caller),
        };
        let resource = format!("{FINDINGS_PREFIX}{}", asked.id);
        let acts = [(NOTED, note), (ASSIGNED, assignee)].into_iter().filter(|(_, detail)| !detail.is_empty());
        let acts: Vec<_> = acts.collect();
        let bodies = acts.iter().map(|(action, detail)| {
            administration(Act { actor: &actor, action, resource: &resource, detail, ..Act::default() })
        });
        let recorded = self.ledger.record(bodies.collect()).await;
        let recorded = recorded.map_err(|error| Status::unavailable(error.to_string()))?;
        let patience = Duration::from_millis(FINDING_CLOSE_WAIT_MS);
        self.progress.reaches(recorded.first_index + recorded.entries, patience).await;
        let saved = self.shelf.finding(&asked.id).await.map_err(|error| unavailable(&error))?;
        let last = recorded.first_index + recorded.entries - 1;
        if let Some(saved) =
            saved.filter(|saved| saved.notes.last().is_some_and(|note| note.log_index >= last))
        {
            return Ok(saved);
        }
        // On record, and not yet saved: what matching will make of it.
        let notes = (recorded.first_index..).zip(&acts).map(|(log_index, (action, detail))| {
            note_of(action, detail, &actor, Some(clock::now()), log_index)
        });
        Ok(notes.flatten().fold(entry, with_note))
    }
}

/// The rules in the words of the contract.
pub(super) fn told(rules: &Rules) -> ListWatchRulesResponse {
    ListWatchRulesResponse { rules: rules.as_slice().iter().map(rule).collect() }
}

fn rule(rule: &Rule) -> WatchRule {
    let of = match rule.of {
        Whose::System => "system",
        Whose::User => "user",
    };
    let told = WatchRule {
        name: rule.name.clone(),
        of: of.to_owned(),
        datasets: rule.datasets.clone(),
        except: rule.except.clone(),
        ..WatchRule::default()
    };
    let minutes = |window_ms: i64| u32::try_from(window_ms / MINUTE_MS).unwrap_or_default();
    match &rule.test {
        Test::VolumeSpike { window_ms, least, times_usual } => WatchRule {
            kind: "volume-spike".to_owned(),
            window_minutes: minutes(*window_ms),
            least: *least,
            times_usual: *times_usual,
            ..told
        },
        Test::Enumeration { window_ms, least } => WatchRule {
            kind: "enumeration".to_owned(),
            window_minutes: minutes(*window_ms),
            least: *least,
            ..told
        },
        Test::RepeatedDenials { window_ms, least } => WatchRule {
            kind: "repeated-denials".to_owned(),
            window_minutes: minutes(*window_ms),
            least: *least,
            ..told
        },
        Test::OffHours(hours) => WatchRule {
            kind: "off-hours".to_owned(),
            from_minute: hours.from,
            to_minute: hours.to,
            days: (1..).zip(hours.days).filter(|(_, counts)| *counts).map(|(day, _)| day).collect(),
            ..told
        },
    }
}

fn one_line(field: &str, text: &str, chars_max: usize) -> Result<(), Status> {
    if text.chars().count() > chars_max || text.chars().any(char::is_control) {
        let problem =
            format!("{field}: give one line of at most {chars_max} characters; it is kept for ever");
        return Err(Status::invalid_argument(problem));
    }
    Ok(())
}
