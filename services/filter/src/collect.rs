//! Subjects only: looks into a message and changes nothing.

use crate::error::{Fault, FilterError};
use crate::plan::{Action, Node, Plan};
use crate::report::Report;
use crate::wire::{self, DEPTH_MAX};

/// Collects the subjects of a whole message.
pub(crate) fn subjects(plan: &Plan, message: &[u8], report: &mut Report) -> Result<(), FilterError> {
    inside(plan, plan.root(), message, 0, 0, report)
}

/// Collects the subjects of the message that starts at `at` and ends with `bytes`.
pub(crate) fn inside(
    plan: &Plan,
    node: &Node,
    bytes: &[u8],
    mut at: usize,
    depth: usize,
    report: &mut Report,
) -> Result<(), FilterError> {
    if depth >= DEPTH_MAX {
        return Err(FilterError::new(at, Fault::TooDeep));
    }
    while at < bytes.len() {
        let field = wire::field(bytes, at)?;
        at = field.end;
        let Some((_, slot)) = node.find(field.number) else {
            continue;
        };
        slot.check(&field, bytes)?;
        if slot.subject {
            report.subjects.insert(&bytes[field.value()], field.start)?;
        }
        if let Action::Enter(child) | Action::DropObserved(child) = &slot.action {
            inside(plan, plan.node(*child), &bytes[..field.body_end], field.body, depth + 1, report)?;
        }
    }
    Ok(())
}
