//! What another edition of the rights would change, shown on calls that were really made.

use super::call::{Call, Outcome, judge};
use crate::rights::RightsIndex;

/// A call that would be decided differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'a> {
    /// The call.
    pub call: &'a Call,
    /// How it is decided.
    pub before: Outcome,
    /// How it would be.
    pub after: Outcome,
}

impl Difference<'_> {
    /// Fields that the call would no longer get; every field where it would be denied.
    pub fn lost_fields(&self) -> Vec<&str> {
        missing(&self.before, &self.after)
    }

    /// Fields that the call would get besides.
    pub fn gained_fields(&self) -> Vec<&str> {
        missing(&self.after, &self.before)
    }
}

/// The calls that `after` decides differently than `before`, in their order. Not a difference by itself: another id of
/// the deciding right, or other words for the same denial.
pub fn what_if<'a>(before: &RightsIndex, after: &RightsIndex, calls: &'a [Call]) -> Vec<Difference<'a>> {
    calls
        .iter()
        .map(|call| Difference { call, before: judge(before, call), after: judge(after, call) })
        .filter(|difference| !decide_alike(&difference.before, &difference.after))
        .collect()
}

fn decide_alike(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (
            Outcome::Permitted { fields, condition, .. },
            Outcome::Permitted { fields: other_fields, condition: other_condition, .. },
        ) => fields == other_fields && condition == other_condition,
        (Outcome::Denied { reason, .. }, Outcome::Denied { reason: other, .. }) => reason == other,
        _ => false,
    }
}

/// Fields that the first outcome releases and the second does not.
fn missing<'a>(from: &'a Outcome, in_other: &Outcome) -> Vec<&'a str> {
    let Outcome::Permitted { fields, .. } = from else { return Vec::new() };
    let kept: &[String] = match in_other {
        Outcome::Permitted { fields, .. } => fields,
        Outcome::Denied { .. } => &[],
    };
    fields.iter().filter(|id| !kept.contains(id)).map(String::as_str).collect()
}
