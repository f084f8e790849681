//! The two-pass filter, for messages in which singular fields repeat.
//!
//! A decoder lets the last occurrence of a scalar win, merges the occurrences of a message, and lets the last
//! member of a oneof win. So the filter first finds, in each message, the *live* occurrences of each singular field;
//! then it filters those alone. A merged message is the sequence of its parts, called *segments* here: it is read
//! part by part and never joined in memory, so that a part that is cut short stays an error.
//!
//! Encoders do not write such messages; this is the path of hostile ones. Work is bounded by
//! `DEPTH_MAX × n log n`, memory by a few bytes for each field.

use std::ops::Range;
use std::slice;

use crate::collect;
use crate::error::{Fault, FilterError};
use crate::mask;
use crate::plan::{Action, Admits, Node, NodeIndex, Plan, Slot};
use crate::report::Report;
use crate::wire::{self, DEPTH_MAX, Field, Wire};

/// Filters a whole message into `out`. After an error, `out` and `report` hold a part of the work.
pub(crate) fn filter(
    plan: &Plan,
    message: &[u8],
    out: &mut Vec<u8>,
    report: &mut Report,
    admits: Option<Admits<'_>>,
) -> Result<(), FilterError> {
    let whole = 0..message.len();
    Settle { plan, input: message, out, report, admits }.message(plan.root(), slice::from_ref(&whole), 0)
}

struct Settle<'a> {
    plan: &'a Plan,
    input: &'a [u8],
    out: &'a mut Vec<u8>,
    report: &'a mut Report,
    admits: Option<Admits<'a>>,
}

impl Settle<'_> {
    fn message(&mut self, node: &Node, segments: &[Range<usize>], depth: usize) -> Result<(), FilterError> {
        let begin = segments.first().map_or(0, |segment| segment.start);
        if depth >= DEPTH_MAX {
            return Err(FilterError::new(begin, Fault::TooDeep));
        }
        let occurrences = Occurrences::find(node, self.input, segments)?;
        for segment in segments {
            let bytes = &self.input[..segment.end];
            let mut at = segment.start;
            while at < segment.end {
                let field = wire::field(bytes, at)?;
                at = field.end;
                let Some((_, slot)) = node.find(field.number) else {
                    self.report.dropped_unknown = self.report.dropped_unknown.saturating_add(1);
                    continue;
                };
                match slot.key {
                    None => self.live(slot, &field, slice::from_ref(&field.value()), depth)?,
                    Some(key) => self.singular(slot, key, &field, &occurrences, depth)?,
                }
            }
        }
        Ok(())
    }

    /// A field that is not repeatable: it is taken where its last occurrence stands.
    fn singular(
        &mut self,
        slot: &Slot,
        key: u16,
        field: &Field,
        occurrences: &Occurrences,
        depth: usize,
    ) -> Result<(), FilterError> {
        let all = occurrences.of(key);
        let Some(last) = all.last().filter(|last| last.start() == field.start) else {
            return Ok(());
        };
        let parts = match slot.action {
            Action::Enter(_) | Action::DropObserved(_) => {
                all.iter().rev().take_while(|other| other.slot == last.slot).count()
            }
            _ => 1,
        };
        let superseded = all.len() - parts;
        self.report.superseded = self.report.superseded.saturating_add(superseded as u64);
        if parts == 1 {
            return self.live(slot, field, slice::from_ref(&field.value()), depth);
        }
        let mut segments = Vec::with_capacity(parts);
        for part in &all[superseded..] {
            // The first pass found this field whole inside its own message, which ends where it may.
            let part = wire::field(self.input, part.start())?;
            segments.push(part.value());
        }
        self.live(slot, field, &segments, depth)
    }

    /// A field that counts; `segments` are its value, in more than one part only if it is a message.
    fn live(
        &mut self,
        slot: &Slot,
        field: &Field,
        segments: &[Range<usize>],
        depth: usize,
    ) -> Result<(), FilterError> {
        if slot.subject {
            self.report.subjects.insert(&self.input[field.value()], field.start)?;
        }
        if let Some(id) = slot.id {
            self.report.fields_released.insert(id);
        }
        match &slot.action {
            Action::Keep => self.out.extend_from_slice(&self.input[field.start..field.end]),
            Action::Drop => self.report.dropped_fields = self.report.dropped_fields.saturating_add(1),
            Action::DropObserved(child) => {
                let node = self.plan.node(*child);
                for segment in segments {
                    let bytes = &self.input[..segment.end];
                    collect::inside(self.plan, node, bytes, segment.start, depth + 1, self.report)?;
                }
                self.report.dropped_fields = self.report.dropped_fields.saturating_add(1);
            }
            Action::Enter(_) if slot.record && !self.admits(segments) => {
                self.report.records_out_of_scope = self.report.records_out_of_scope.saturating_add(1);
            }
            Action::Enter(child) => {
                self.report.records = self.report.records.saturating_add(u32::from(slot.record));
                self.enter(*child, field, segments, depth)?;
            }
            Action::Mask(_) if field.value().is_empty() => {
                self.out.extend_from_slice(&self.input[field.start..field.end]);
            }
            Action::Mask(mask) => {
                self.report.masked = self.report.masked.saturating_add(1);
                mask::field(mask, self.input, field, self.out)?;
            }
        }
        Ok(())
    }

    /// Whether a record may pass; one that came in parts is judged as the one that it merges to.
    fn admits(&self, segments: &[Range<usize>]) -> bool {
        self.admits.is_none_or(|admits| match segments {
            [whole] => admits(&self.input[whole.clone()]),
            parts => {
                let parts: Vec<&[u8]> = parts.iter().map(|part| &self.input[part.clone()]).collect();
                admits(&parts.concat())
            }
        })
    }

    fn enter(
        &mut self,
        child: NodeIndex,
        field: &Field,
        segments: &[Range<usize>],
        depth: usize,
    ) -> Result<(), FilterError> {
        let plan = self.plan;
        self.out.extend_from_slice(&self.input[field.start..field.tag_end]);
        if field.wire == Wire::Group {
            self.message(plan.node(child), segments, depth + 1)?;
            self.out.extend_from_slice(&self.input[field.body_end..field.end]);
        } else {
            let length_at = self.out.len();
            self.out.push(0);
            self.message(plan.node(child), segments, depth + 1)?;
            let length = self.out.len() - (length_at + 1);
            wire::patch_length(self.out, length_at, 1, length);
        }
        Ok(())
    }
}

/// The occurrences of the singular fields of one message, grouped by key, each group in the order of the wire.
struct Occurrences(Vec<Occurrence>);

#[derive(Clone, Copy)]
struct Occurrence {
    key: u16,
    slot: u16,
    start: u32,
}

impl Occurrence {
    fn start(self) -> usize {
        self.start as usize
    }
}

impl Occurrences {
    /// Reads the message once, and so checks all of its fields, those as well that will be superseded.
    fn find(node: &Node, input: &[u8], segments: &[Range<usize>]) -> Result<Self, FilterError> {
        let mut found = Vec::new();
        for segment in segments {
            let bytes = &input[..segment.end];
            let mut at = segment.start;
            while at < segment.end {
                let field = wire::field(bytes, at)?;
                at = field.end;
                let Some((slot_index, slot)) = node.find(field.number) else {
                    continue;
                };
                slot.check(&field, bytes)?;
                if let Some(key) = slot.key {
                    #[expect(
                        clippy::cast_possible_truncation,
                        reason = "MESSAGE_BYTES_MAX is checked at the door"
                    )]
                    let start = field.start as u32;
                    found.push(Occurrence { key, slot: slot_index, start });
                }
            }
        }
        found.sort_unstable_by_key(|occurrence| (occurrence.key, occurrence.start));
        Ok(Self(found))
    }

    fn of(&self, key: u16) -> &[Occurrence] {
        let begin = self.0.partition_point(|occurrence| occurrence.key < key);
        let length = self.0[begin..].partition_point(|occurrence| occurrence.key == key);
        &self.0[begin..begin + length]
    }
}
