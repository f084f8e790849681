//! A plan: one consumer's view of one message type, compiled once, applied to the bytes of every message.

use prost_reflect::MessageDescriptor;

use crate::annotations::Annotations;
use crate::compile::{self, Compiled};
use crate::error::{Fault, FilterError, PlanError};
use crate::grant::Grant;
use crate::mask::Mask;
use crate::report::{Checkpoint, Report};
use crate::wire::{Field, Wire};
use crate::{collect, settle, walk, wire};

pub use crate::wire::{DEPTH_MAX, MESSAGE_BYTES_MAX};

/// Fields that one message may declare.
pub const FIELDS_PER_MESSAGE_MAX: usize = 512;
/// Field ids that one plan can release.
pub const FIELD_IDS_MAX: usize = 1024;
/// Message types, each in each of the views that the grant gives of it, that one plan can hold.
pub const PLAN_NODES_MAX: usize = 4096;

/// A compiled filter. Immutable: share it between threads, keep it as long as the right it was made from.
#[derive(Debug)]
pub struct Plan {
    /// The outermost message is node 0.
    nodes: Box<[Node]>,
    /// True where each message is one record.
    is_record: bool,
    ids: Box<[Box<str>]>,
    kind: PlanKind,
}

impl Plan {
    /// Compiles the release filter for a response message. Every id that the grant names must exist, every
    /// masking must fit its field, and the message must hold a record: else a [`PlanError`] says what to do.
    pub fn compile(
        message: &MessageDescriptor,
        annotations: &dyn Annotations,
        grant: &Grant,
    ) -> Result<Self, PlanError> {
        compile::release(message, annotations, grant).map(|compiled| Self::new(compiled, PlanKind::Release))
    }

    /// Compiles a plan for a request message, which keeps everything and only collects subject values, all of
    /// those on the wire, also where a later one takes the place of an earlier one.
    pub fn observe(message: &MessageDescriptor, annotations: &dyn Annotations) -> Result<Self, PlanError> {
        compile::observe(message, annotations).map(|compiled| Self::new(compiled, PlanKind::Observe))
    }

    /// Appends the filtered `message` to `out` and adds what happened to `report`.
    ///
    /// Repeated occurrences of a singular field are settled first, as every decoder would (the last scalar wins,
    /// messages merge, the last member of a oneof wins), so that what was superseded is not released. Fields
    /// keep their order. On an error `out` and `report` are as they were before the call, and nothing of the
    /// message may be released.
    pub fn apply(&self, message: &[u8], out: &mut Vec<u8>, report: &mut Report) -> Result<(), FilterError> {
        self.apply_rows(message, out, report, None).map(|_| ())
    }

    /// The same, with only the records that `admits` lets pass: it sees each record whole, as it came, before anything
    /// is filtered. A record that may not pass is dropped and counted, nothing in it is noted. False where the message
    /// is itself such a record, so that there is nothing to send.
    pub fn apply_within(
        &self,
        message: &[u8],
        out: &mut Vec<u8>,
        report: &mut Report,
        admits: &dyn Fn(&[u8]) -> bool,
    ) -> Result<bool, FilterError> {
        self.apply_rows(message, out, report, Some(admits))
    }

    fn apply_rows(
        &self,
        message: &[u8],
        out: &mut Vec<u8>,
        report: &mut Report,
        admits: Option<Admits<'_>>,
    ) -> Result<bool, FilterError> {
        check_length(message)?;
        if self.is_record && admits.is_some_and(|admits| !admits(message)) {
            report.records_out_of_scope = report.records_out_of_scope.saturating_add(1);
            return Ok(false);
        }
        let before = Before { out: out.len(), report: report.checkpoint() };
        out.reserve(message.len());
        let result = match self.kind {
            PlanKind::Release => self.release(message, out, report, before, admits),
            PlanKind::Observe => {
                collect::subjects(self, message, report).map(|()| out.extend_from_slice(message))
            }
        };
        match &result {
            Ok(()) => report.records = report.records.saturating_add(u32::from(self.is_record)),
            Err(_) => before.restore(out, report),
        }
        result.map(|()| true)
    }

    /// Collects the subjects of `message` into `report` and changes nothing else; for requests, with a plan made
    /// by [`Plan::observe`]. On an error the report is as it was before the call.
    pub fn subjects(&self, message: &[u8], report: &mut Report) -> Result<(), FilterError> {
        check_length(message)?;
        let checkpoint = report.checkpoint();
        let result = collect::subjects(self, message, report);
        if result.is_err() {
            report.restore(checkpoint);
        }
        result
    }

    /// The ids of the fields that this plan can release, by their index in [`Report::fields_released`]. Where a
    /// whole message is granted it has one id; what is beneath has none of its own.
    pub fn ids(&self) -> &[Box<str>] {
        &self.ids
    }

    /// The ids of the fields that were released, of a report that only this plan has filled.
    pub fn released<'a>(&'a self, report: &'a Report) -> impl Iterator<Item = &'a str> {
        self.ids
            .iter()
            .enumerate()
            .filter(|(index, _)| report.fields_released.contains(*index))
            .map(|(_, id)| &**id)
    }

    fn new(compiled: Compiled, kind: PlanKind) -> Self {
        Self { nodes: compiled.nodes, is_record: compiled.is_record, ids: compiled.ids, kind }
    }

    pub(crate) fn root(&self) -> &Node {
        &self.nodes[0]
    }

    pub(crate) fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[usize::from(index)]
    }

    /// One pass if no singular field repeats, which is the rule; else begins again with two.
    fn release(
        &self,
        message: &[u8],
        out: &mut Vec<u8>,
        report: &mut Report,
        before: Before,
        admits: Option<Admits<'_>>,
    ) -> Result<(), FilterError> {
        match walk::filter(self, message, out, report, admits) {
            Ok(()) => Ok(()),
            Err(walk::Stop::Malformed(error)) => Err(error),
            Err(walk::Stop::Repeated) => {
                before.restore(out, report);
                settle::filter(self, message, out, report, admits)
            }
        }
    }
}

/// Whether a record may pass.
pub(crate) type Admits<'a> = &'a dyn Fn(&[u8]) -> bool;

/// The state of what `apply` writes to, before it did.
#[derive(Clone, Copy)]
struct Before {
    out: usize,
    report: Checkpoint,
}

impl Before {
    fn restore(self, out: &mut Vec<u8>, report: &mut Report) {
        out.truncate(self.out);
        report.restore(self.report);
    }
}

fn check_length(message: &[u8]) -> Result<(), FilterError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(FilterError::new(MESSAGE_BYTES_MAX, Fault::TooLong));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlanKind {
    Release,
    Observe,
}

/// Index of a node in its plan.
pub(crate) type NodeIndex = u16;

/// One message type in one view.
#[derive(Debug)]
pub(crate) struct Node {
    slots: Box<[Slot]>,
    /// Slot index by field number, for the numbers that are small, as nearly all are.
    dense: Box<[u16]>,
    /// Field number and slot index of the rest, sorted.
    sparse: Box<[(u32, u16)]>,
}

/// Numbers below this are found by index.
const DENSE_NUMBERS_MAX: u32 = 1024;
const NO_SLOT: u16 = u16::MAX;

impl Node {
    /// A node of these known fields, by number.
    pub(crate) fn new(fields: Vec<(u32, Slot)>) -> Self {
        let mut dense = Vec::new();
        let mut sparse = Vec::new();
        let mut slots = Vec::with_capacity(fields.len());
        for (number, slot) in fields {
            // FIELDS_PER_MESSAGE_MAX is far below NO_SLOT.
            let index = u16::try_from(slots.len()).unwrap_or(NO_SLOT);
            slots.push(slot);
            if number < DENSE_NUMBERS_MAX {
                let place = number as usize;
                if dense.len() <= place {
                    dense.resize(place + 1, NO_SLOT);
                }
                dense[place] = index;
            } else {
                sparse.push((number, index));
            }
        }
        sparse.sort_unstable();
        Self { slots: slots.into(), dense: dense.into(), sparse: sparse.into() }
    }

    /// The slot of the field with this number, if the descriptor knows it, and the slot's index.
    #[inline]
    pub(crate) fn find(&self, number: u32) -> Option<(u16, &Slot)> {
        let index = match self.dense.get(number as usize) {
            Some(index) => *index,
            None => match self.sparse.binary_search_by_key(&number, |(number, _)| *number) {
                Ok(place) => self.sparse[place].1,
                Err(_) => NO_SLOT,
            },
        };
        self.slots.get(usize::from(index)).map(|slot| (index, slot))
    }
}

/// A known field of a node.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Wire type of the field; of its elements if it is a list.
    pub wire: Wire,
    /// Whether the field is a list that may also come packed.
    pub packable: bool,
    /// What the field must be unique in: singular fields have a key each, members of a oneof share one, lists
    /// and maps have none.
    pub key: Option<u16>,
    /// Index of the id to report when the field is released.
    pub id: Option<u16>,
    /// Whether the value names a subject.
    pub subject: bool,
    /// Whether each value is a record.
    pub record: bool,
    /// What is done with the field.
    pub action: Action,
}

/// What is done with a field.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Stays as it is.
    Keep,
    /// Goes.
    Drop,
    /// Goes, but the subjects inside are collected.
    DropObserved(NodeIndex),
    /// Is a message: stays, filtered by the node.
    Enter(NodeIndex),
    /// Stays, its value masked.
    Mask(Mask),
}

impl Slot {
    /// Checks that a field on the wire is what its declaration says.
    #[inline]
    pub(crate) fn check(&self, field: &Field, bytes: &[u8]) -> Result<(), FilterError> {
        if field.wire == self.wire {
            return Ok(());
        }
        self.check_other(field, bytes)
    }

    fn check_other(&self, field: &Field, bytes: &[u8]) -> Result<(), FilterError> {
        if field.wire == Wire::Len && self.packable {
            return wire::check_packed(bytes, field, self.wire);
        }
        let fault = Fault::WireTypeMismatch {
            number: field.number,
            expected: self.wire.code(),
            found: field.wire.code(),
        };
        Err(FilterError::new(field.start, fault))
    }
}
