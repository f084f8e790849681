//! A denial: its reason of the closed list, the rule, and what exactly.
//!
//! A detail helps a consumer that has a right to do better, by naming what would have been granted. A stranger
//! learns nothing: not which purposes, fields or agencies there are.

use std::collections::HashMap;

use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;

use super::{Term, Unmet};
use crate::purpose;
use crate::rights::{Dataset, Index, Method};
use crate::words;

/// The mesh applied the catalog and said no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Reason of the closed list.
    pub reason: Reason,
    /// Rule behind it.
    pub rule: &'static str,
    /// What exactly; may be empty. Safe to show to the caller.
    pub detail: String,
    /// The right that came closest, where there is one.
    pub right: Option<String>,
}

impl Denial {
    pub(super) fn new(reason: Reason, rule: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, rule, detail: detail.into(), right: None }
    }
}

impl From<Denial> for MeshError {
    fn from(denial: Denial) -> Self {
        let rule = match &denial.right {
            Some(right) => format!("{}, {right}", denial.rule),
            None => denial.rule.to_owned(),
        };
        MeshError::new(denial.reason, denial.detail).with_rule(rule)
    }
}

impl std::fmt::Display for Denial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        MeshError::from(self.clone()).fmt(f)
    }
}

impl std::error::Error for Denial {}

impl Denial {
    /// The same, where a provider's refusal suspends the right: its act, not the mesh's.
    fn or_refused(self, refusals: &HashMap<String, String>) -> Self {
        let refused = self.right.as_ref().and_then(|right| refusals.get(right));
        match refused {
            Some(words) if self.reason == Reason::DenySuspended => {
                Self { reason: Reason::RefusedByProvider, rule: "R-04, R-05", detail: words.clone(), ..self }
            }
            _ => self,
        }
    }
}

/// The denial for a term that a right does not meet.
pub(super) fn of_term(
    index: &Index,
    method: &Method,
    dataset: &Dataset,
    asked: Purpose,
    unmet: &Unmet<'_>,
    requested: Option<&[&str]>,
) -> Denial {
    let row = unmet.row;
    let (reason, rule, detail) = match unmet.term {
        Term::Validity => (Reason::DenyExpiredRight, "R-09", format!("valid {}", row.validity())),
        Term::Suspension => (Reason::DenySuspended, "R-04, R-17", String::new()),
        Term::Method => {
            let granted: Vec<&str> =
                words::METHODS.iter().filter(|(kind, _)| row.grants(*kind)).map(|(_, word)| *word).collect();
            (
                Reason::DenyMethod,
                "R-02",
                format!(
                    "{} is not granted; granted: {}",
                    words::of(words::METHODS, method.kind),
                    granted.join(", ")
                ),
            )
        }
        Term::ConsumerLevel => (
            Reason::DenySecurityLevel,
            "R-30, R-31",
            format!("the consumer's level is below {}", dataset.min_security_level),
        ),
        Term::ProviderLevel => (
            Reason::DenySecurityLevel,
            "R-30, R-31",
            format!("the provider's level is below {}", dataset.min_security_level),
        ),
        Term::Fields => (Reason::DenyField, "R-25", fields(dataset, unmet, asked, requested)),
        Term::Rows => (
            Reason::DenyRowScope,
            "R-24",
            "what binds the rows of this right cannot be judged for this method".to_owned(),
        ),
    };
    let right = index.rights.particulars(unmet.slot).id.to_string();
    Denial { right: Some(right), ..Denial::new(reason, rule, detail) }.or_refused(&index.refusals)
}

/// Names the first field that is not granted, and those that are.
fn fields(dataset: &Dataset, unmet: &Unmet<'_>, asked: Purpose, requested: Option<&[&str]>) -> String {
    let list = &dataset.field_lists[unmet.row.field_list as usize].fields;
    let refused = requested.into_iter().flatten().find(|id| !super::is_granted(dataset, list, id));
    match refused {
        Some(id) => {
            let granted: Vec<&str> = list.ids.iter().map(String::as_str).collect();
            let (id, purpose) = (id.escape_debug(), purpose::word(asked));
            format!("{id} is not granted for {purpose}; granted: {}", granted.join(", "))
        }
        None => "the right's field list does not fit the contract".to_owned(),
    }
}
