//! What one edition of the rights grants otherwise than another.

use lienthong_proto::lienthong::control::v1::Right;
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};

use super::Rights;
use crate::source::Difference;

/// What one consumer gains or loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightDifference {
    /// How the right differs.
    pub difference: Difference,
    /// Its id.
    pub id: String,
    /// Code of the consumer; empty: every agency.
    pub consumer: String,
    /// Code of the provider.
    pub provider: String,
    /// Dataset.
    pub dataset: String,
    /// Purpose; `UNSPECIFIED`: any.
    pub purpose: Purpose,
    /// Fields that it grants and did not.
    pub gained: Vec<String>,
    /// Fields that it granted and does not.
    pub lost: Vec<String>,
    /// What else differs, for people.
    pub lines: Vec<String>,
}

/// What `after` grants otherwise than `before`, by id of the rights.
pub fn right_differences(before: &Rights, after: &Rights) -> Vec<RightDifference> {
    let (mut old, mut new) = (before.rights().iter().peekable(), after.rights().iter().peekable());
    let mut differences = Vec::new();
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a.id == b.id => {
                if a != b {
                    differences.push(difference(Difference::Altered, Some(a), Some(b)));
                }
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a.id > b.id => {
                differences.push(difference(Difference::Added, None, Some(b)));
                new.next();
            }
            (Some(a), _) => {
                differences.push(difference(Difference::Removed, Some(a), None));
                old.next();
            }
            (None, Some(b)) => {
                differences.push(difference(Difference::Added, None, Some(b)));
                new.next();
            }
            (None, None) => return differences.into_iter().flatten().collect(),
        }
    }
}

/// `None` where two rights differ in what nobody gains or loses.
fn difference(
    difference: Difference,
    before: Option<&Right>,
    after: Option<&Right>,
) -> Option<RightDifference> {
    let about = after.or(before)?;
    let fields = |right: Option<&Right>| right.map(|right| right.fields.clone()).unwrap_or_default();
    let (old, new) = (fields(before), fields(after));
    let without = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|field| !those.contains(field)).cloned().collect()
    };
    let lines = match (before, after) {
        (Some(before), Some(after)) => lines(before, after),
        _ => Vec::new(),
    };
    let found = RightDifference {
        difference,
        id: about.id.clone(),
        consumer: about.consumer.clone(),
        provider: about.provider.clone(),
        dataset: about.dataset.clone(),
        purpose: about.purpose(),
        gained: without(&new, &old),
        lost: without(&old, &new),
        lines,
    };
    let says = !found.gained.is_empty() || !found.lost.is_empty() || !found.lines.is_empty();
    (difference != Difference::Altered || says).then_some(found)
}

fn lines(before: &Right, after: &Right) -> Vec<String> {
    let methods = |right: &Right| {
        let words: Vec<&str> = right
            .methods()
            .map(|kind: MethodKind| kind.as_str_name().trim_start_matches("METHOD_KIND_"))
            .collect();
        words.join(", ")
    };
    let day =
        |time: Option<prost_types::Timestamp>| time.map_or_else(|| "–".to_owned(), |time| time.to_string());
    let quota = |right: &Right| match right.calls_per_minute_max {
        0 => "–".to_owned(),
        calls => calls.to_string(),
    };
    let all_rows = |right: &Right| match right.condition.as_str() {
        "" => "every row".to_owned(),
        condition => condition.to_owned(),
    };
    [
        ("methods", methods(before), methods(after)),
        ("masked fields", before.masked_fields.join(", "), after.masked_fields.join(", ")),
        ("calls per minute", quota(before), quota(after)),
        ("rows", all_rows(before), all_rows(after)),
        ("valid from", day(before.valid_from), day(after.valid_from)),
        ("valid to", day(before.valid_to), day(after.valid_to)),
        ("suspended", before.suspended.to_string(), after.suspended.to_string()),
    ]
    .into_iter()
    .filter(|(_, old, new)| old != new)
    .map(|(what, old, new)| format!("{what}: {old} → {new}"))
    .collect()
}
