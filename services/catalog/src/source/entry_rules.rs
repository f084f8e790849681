//! Rules that one entry must meet by itself.

use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose, Secrecy, Sharing};

use super::Mistake;
use super::object::{Draft, Step};
use crate::catalog::{Entry, Selector};
use crate::purpose;

/// Approvers of an entry, different persons.
const APPROVERS: usize = 2;

/// Every mistake of one entry that its keys together make.
pub(super) fn check(draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
    classification(draft, mistakes);
    open_data(draft, mistakes);
    terms(draft, mistakes);
    if draft.value.status.is_in_force() {
        activation(draft, mistakes);
    }
}

fn classification(draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
    let entry = &draft.value;
    if entry.classification.secrecy != Secrecy::None {
        let path = [Step::Key("classification"), Step::Key("secrecy")];
        let message = format!("{} is a state secret", entry.dataset_id);
        let remedy = "remove the entry: state secrets never enter the mesh";
        mistakes.push(draft.mistake(&path, "R-21", message, remedy));
    }
    let least = entry.classification.security_level_min();
    if entry.min_security_level < least {
        let message = format!("core and important data needs security level {least} or more");
        let remedy = format!("set min_security_level to {least} or more");
        mistakes.push(draft.mistake(&[Step::Key("min_security_level")], "R-30", message, remedy));
    }
}

/// Open data, and nothing else, is for everybody and any purpose.
fn open_data(draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
    let entry = &draft.value;
    let mut mistake = |key, rule, message, remedy| {
        mistakes.push(draft.mistake(&[Step::Key(key)], rule, message, remedy));
    };
    if entry.classification.sharing == Sharing::Open {
        if entry.purposes.keys().any(|purpose| *purpose != Purpose::Unspecified) {
            mistake("purposes", "R-22", "open data is open for any purpose", "write purposes: [ANY]");
        }
        if entry.mandatory_consumers.iter().any(|selector| *selector != Selector::All) {
            let (message, remedy) = ("open data is open to every agency", "write mandatory_consumers: [ALL]");
            mistake("mandatory_consumers", "R-22", message, remedy);
        }
        if entry.purposes.values().any(|fields| !fields.condition.is_empty()) {
            mistake(
                "conditions_by_purpose",
                "R-22",
                "open data is open in every row",
                "remove the conditions",
            );
        }
    } else if entry.purposes.contains_key(&Purpose::Unspecified) {
        mistake("purposes", "R-24", "ANY is a purpose of open data only", "name the purposes");
    }
}

fn terms(draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
    let entry = &draft.value;
    if entry.methods.contains(&MethodKind::SyncToConsumer) && entry.max_staleness.is_none() {
        let message = "copies at consumers are allowed without a limit to their age";
        mistakes.push(draft.mistake(&[Step::Key("methods")], "R-13", message, "set max_staleness"));
    }
    for (key, end) in [("effective_to", entry.effective_to), ("deadline", entry.deadline)] {
        if end.is_some_and(|end| end < entry.effective_from) {
            let message = format!("{key} is before effective_from");
            mistakes.push(draft.mistake(&[Step::Key(key)], "R-09", message, "correct the dates"));
        }
    }
    for (index, approver) in entry.approved_by.iter().enumerate() {
        if entry.approved_by[..index].contains(approver) {
            let path = [Step::Key("approved_by"), Step::Item(index)];
            let message = format!("{approver:?} approved twice");
            mistakes.push(draft.mistake(&path, "R-09", message, "have two different persons approve"));
        }
    }
}

/// What an entry in force must have.
fn activation(draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
    let entry = &draft.value;
    let bare =
        entry.purposes.iter().find(|(_, fields)| fields.granted.is_empty() && fields.masked.is_empty());
    let bare = bare.map(|(purpose, _)| format!("fields for {}", purpose::word(*purpose)));
    let lacks = [
        (entry.legal_basis.is_empty(), "legal basis", "cite the instrument and article"),
        (entry.mandatory_consumers.is_empty(), "consumers", "name whom the law entitles"),
        (entry.purposes.is_empty(), "purposes", "name what the data may be used for"),
        (entry.methods.is_empty(), "method", "name how the data is exchanged"),
        (entry.approved_by.len() != APPROVERS, "exactly two approvers", "have two different persons approve"),
        (bare.is_some(), bare.as_deref().unwrap_or_default(), "list the fields under fields_by_purpose"),
    ];
    for (_, what, remedy) in lacks.into_iter().filter(|(lacks, ..)| *lacks) {
        let message = format!("an entry without {what} cannot be {}", entry.status.word());
        mistakes.push(draft.mistake(&[Step::Key("status")], "R-09", message, remedy));
    }
}
