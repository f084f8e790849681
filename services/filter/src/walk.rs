//! The one-pass filter, for messages in which no singular field repeats.
//!
//! The pass follows the nesting of the message and copies nothing until it must: `copied` is the first input
//! byte that is neither in `out` nor dropped, and whatever stays simply lengthens the run that starts there, across
//! the borders of nested messages. A drop or a mask ends the run, which is then copied as one slice. When a message
//! ends in which something changed, the length in front of it, already in `out`, is corrected.

use crate::collect;
use crate::error::{Fault, FilterError};
use crate::mask::{self, Mask};
use crate::plan::{Action, Admits, FIELDS_PER_MESSAGE_MAX, Node, NodeIndex, Plan};
use crate::report::Report;
use crate::wire::{self, DEPTH_MAX, Field, Wire};

/// Why the pass could not go on.
pub(crate) enum Stop {
    /// A singular field, or a second member of a oneof, came again: settle first.
    Repeated,
    /// The message is malformed.
    Malformed(FilterError),
}

impl From<FilterError> for Stop {
    fn from(error: FilterError) -> Self {
        Self::Malformed(error)
    }
}

/// Filters a whole message into `out`. After a [`Stop`], `out` and `report` hold a part of the work.
pub(crate) fn filter(
    plan: &Plan,
    message: &[u8],
    out: &mut Vec<u8>,
    report: &mut Report,
    admits: Option<Admits<'_>>,
) -> Result<(), Stop> {
    let mut walk = Walk { plan, input: message, out, report, admits, copied: 0 };
    walk.message(plan.root(), 0, message.len(), 0)?;
    walk.copy_until(message.len());
    Ok(())
}

struct Walk<'a> {
    plan: &'a Plan,
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    report: &'a mut Report,
    admits: Option<Admits<'a>>,
    copied: usize,
}

impl Walk<'_> {
    fn message(&mut self, node: &Node, mut at: usize, end: usize, depth: usize) -> Result<(), Stop> {
        if depth >= DEPTH_MAX {
            return Err(FilterError::new(at, Fault::TooDeep).into());
        }
        let bytes = &self.input[..end];
        let mut seen = Seen::default();
        while at < end {
            let field = wire::field(bytes, at)?;
            at = field.end;
            let Some((_, slot)) = node.find(field.number) else {
                self.report.dropped_unknown = self.report.dropped_unknown.saturating_add(1);
                self.leave_out(&field);
                continue;
            };
            slot.check(&field, bytes)?;
            if slot.key.is_some_and(|key| seen.again(key)) {
                return Err(Stop::Repeated);
            }
            if slot.subject {
                self.report.subjects.insert(&bytes[field.value()], field.start)?;
            }
            if let Some(id) = slot.id {
                self.report.fields_released.insert(id);
            }
            match &slot.action {
                Action::Keep => {}
                Action::Drop => self.drop_known(&field),
                Action::DropObserved(child) => {
                    let inside = &bytes[..field.body_end];
                    collect::inside(
                        self.plan,
                        self.plan.node(*child),
                        inside,
                        field.body,
                        depth + 1,
                        self.report,
                    )?;
                    self.drop_known(&field);
                }
                Action::Enter(_)
                    if slot.record && self.admits.is_some_and(|admits| !admits(&bytes[field.value()])) =>
                {
                    self.report.records_out_of_scope = self.report.records_out_of_scope.saturating_add(1);
                    self.leave_out(&field);
                }
                Action::Enter(child) => {
                    self.report.records = self.report.records.saturating_add(u32::from(slot.record));
                    self.enter(*child, &field, depth)?;
                }
                Action::Mask(mask) => self.mask(mask, &field)?,
            }
        }
        Ok(())
    }

    fn enter(&mut self, child: NodeIndex, field: &Field, depth: usize) -> Result<(), Stop> {
        let plan = self.plan;
        // Where the length will stand in `out`, once the run that it is part of is copied.
        let length_at = self.out.len() + (field.tag_end - self.copied);
        self.message(plan.node(child), field.body, field.body_end, depth + 1)?;
        let unchanged = self.copied <= field.start;
        if unchanged || field.wire == Wire::Group {
            return Ok(());
        }
        self.copy_until(field.body_end);
        let length_bytes = field.body - field.tag_end;
        let length = self.out.len() - (length_at + length_bytes);
        wire::patch_length(self.out, length_at, length_bytes, length);
        Ok(())
    }

    fn mask(&mut self, mask: &Mask, field: &Field) -> Result<(), FilterError> {
        if field.value().is_empty() {
            return Ok(());
        }
        self.copy_until(field.start);
        self.copied = field.end;
        self.report.masked = self.report.masked.saturating_add(1);
        mask::field(mask, self.input, field, self.out)
    }

    fn drop_known(&mut self, field: &Field) {
        self.report.dropped_fields = self.report.dropped_fields.saturating_add(1);
        self.leave_out(field);
    }

    fn leave_out(&mut self, field: &Field) {
        self.copy_until(field.start);
        self.copied = field.end;
    }

    fn copy_until(&mut self, end: usize) {
        self.out.extend_from_slice(&self.input[self.copied..end]);
        self.copied = end;
    }
}

/// The keys that were seen in one message.
#[derive(Default)]
struct Seen([u64; FIELDS_PER_MESSAGE_MAX / 64]);

impl Seen {
    /// Notes a key; whether it was there already.
    #[inline]
    fn again(&mut self, key: u16) -> bool {
        let word = &mut self.0[usize::from(key) / 64];
        let bit = 1 << (key % 64);
        let again = *word & bit != 0;
        *word |= bit;
        again
    }
}
