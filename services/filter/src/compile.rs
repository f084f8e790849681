//! From descriptors, annotations and grant to the nodes of a plan.
//!
//! A node is a message type in one *view*. The same type in the same view shares a node, so that recursive types
//! give a finite plan. New nodes wait in a queue: a deep contract does not deepen the stack.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use prost_reflect::prost::encoding::WireType;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::annotations::Annotations;
use crate::error::PlanError;
use crate::grant::{FieldSet, Grant, HashKey, Masking};
use crate::mask::Mask;
use crate::plan::{Action, FIELD_IDS_MAX, FIELDS_PER_MESSAGE_MAX, Node, NodeIndex, PLAN_NODES_MAX, Slot};
use crate::wire::{DEPTH_MAX, Wire};

/// What a plan is made of.
pub(crate) struct Compiled {
    /// The nodes; the outermost message is the first.
    pub nodes: Box<[Node]>,
    /// True where the outermost message is a record.
    pub is_record: bool,
    /// The ids that can be released.
    pub ids: Box<[Box<str>]>,
}

/// A release plan.
pub(crate) fn release(
    message: &MessageDescriptor,
    annotations: &dyn Annotations,
    grant: &Grant,
) -> Result<Compiled, PlanError> {
    if annotations.is_record_message(message) {
        check_grant(message, std::slice::from_ref(message), grant)?;
        return Compiler::new(message, annotations, Some(grant)).run(View::Record(Share::of(grant)));
    }
    check_grant(message, &record_types(message, annotations)?, grant)?;
    Compiler::new(message, annotations, Some(grant)).run(View::Envelope)
}

/// A plan that only collects subjects.
pub(crate) fn observe(
    message: &MessageDescriptor,
    annotations: &dyn Annotations,
) -> Result<Compiled, PlanError> {
    Compiler::new(message, annotations, None).run(View::Observed)
}

/// How a message type is seen at a place of the response.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum View {
    /// Outside of records: all stays.
    Envelope,
    /// A record, or a message in it, of which this share is granted.
    Record(Share),
    /// An entry of a map of which this share is granted: the key stays, the share is of the value.
    MapEntry(Share),
    /// Not released; only looked into for subjects.
    Observed,
}

/// The part of a grant that concerns one place, its ids read from there. The id `""` is the place itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Share {
    /// What ids begin with here; `None` beneath a field that was granted whole and reported so.
    prefix: Option<String>,
    fields: FieldSet,
    masking: BTreeMap<String, Masking>,
}

impl Share {
    fn of(grant: &Grant) -> Self {
        Self { prefix: Some(String::new()), fields: grant.fields.clone(), masking: grant.masking.clone() }
    }

    /// The share of a field of this place; `None` if nothing of it is granted.
    fn field(&self, name: &str) -> Option<Self> {
        let mut masking: BTreeMap<String, Masking> =
            self.masking.iter().filter_map(|(id, masking)| Some((beneath(id, name)?, *masking))).collect();
        if masking.get("") == Some(&Masking::Omit) {
            return None;
        }
        masking.retain(|_, masking| *masking != Masking::None);
        let fields = match &self.fields {
            FieldSet::All => FieldSet::All,
            FieldSet::Only(ids) if ids.contains(name) => FieldSet::All,
            FieldSet::Only(ids) => {
                let beneath: BTreeSet<String> = ids.iter().filter_map(|id| beneath(id, name)).collect();
                if beneath.is_empty() {
                    return None;
                }
                FieldSet::Only(beneath)
            }
        };
        let prefix = match (&self.prefix, &fields) {
            (Some(prefix), FieldSet::Only(_)) => Some(format!("{prefix}{name}.")),
            _ => None,
        };
        Some(Self { prefix, fields, masking })
    }

    fn is_whole(&self) -> bool {
        self.fields == FieldSet::All
    }
}

/// What is left of an id beneath the field `name`: `""` for the field itself.
fn beneath(id: &str, name: &str) -> Option<String> {
    match id.strip_prefix(name)? {
        "" => Some(String::new()),
        rest => rest.strip_prefix('.').map(str::to_owned),
    }
}

struct Compiler<'a> {
    outermost: &'a MessageDescriptor,
    annotations: &'a dyn Annotations,
    grant: Option<&'a Grant>,
    /// Node index by message type and view.
    known: HashMap<(String, View), NodeIndex>,
    /// What each node is made from, by its index.
    queue: Vec<(MessageDescriptor, View)>,
    ids: Vec<Box<str>>,
    id_index: HashMap<String, u16>,
}

impl<'a> Compiler<'a> {
    fn new(
        outermost: &'a MessageDescriptor,
        annotations: &'a dyn Annotations,
        grant: Option<&'a Grant>,
    ) -> Self {
        Self {
            outermost,
            annotations,
            grant,
            known: HashMap::new(),
            queue: Vec::new(),
            ids: Vec::new(),
            id_index: HashMap::new(),
        }
    }

    fn run(mut self, view: View) -> Result<Compiled, PlanError> {
        let is_record = matches!(view, View::Record(_));
        self.node(self.outermost.clone(), view)?;
        let mut nodes = Vec::new();
        while let Some((message, view)) = self.queue.get(nodes.len()).cloned() {
            nodes.push(self.build(&message, &view)?);
        }
        Ok(Compiled { nodes: nodes.into(), is_record, ids: self.ids.into() })
    }

    fn node(&mut self, message: MessageDescriptor, view: View) -> Result<NodeIndex, PlanError> {
        let key = (message.full_name().to_owned(), view);
        if let Some(index) = self.known.get(&key) {
            return Ok(*index);
        }
        let index = NodeIndex::try_from(self.queue.len())
            .ok()
            .filter(|index| usize::from(*index) < PLAN_NODES_MAX)
            .ok_or_else(|| PlanError::TooLarge { message: self.outermost.full_name().to_owned() })?;
        self.queue.push((message, key.1.clone()));
        self.known.insert(key, index);
        Ok(index)
    }

    fn build(&mut self, message: &MessageDescriptor, view: &View) -> Result<Node, PlanError> {
        let fields = message.fields().len();
        if fields > FIELDS_PER_MESSAGE_MAX {
            return Err(PlanError::TooManyFields { message: message.full_name().to_owned(), fields });
        }
        let mut keys = Keys::default();
        let mut slots = Vec::with_capacity(fields);
        for field in message.fields() {
            slots.push((field.number(), self.slot(&field, view, &mut keys)?));
        }
        Ok(Node::new(slots))
    }

    fn slot(&mut self, field: &FieldDescriptor, view: &View, keys: &mut Keys) -> Result<Slot, PlanError> {
        let subject = self.annotations.is_subject(field);
        if subject && field.kind() != Kind::String {
            return Err(PlanError::SubjectKind { field: field.full_name().to_owned() });
        }
        let record = self.annotations.is_record(field);
        let (action, id) = match view {
            View::Envelope if record => (self.record(field)?, None),
            View::Envelope => (self.message_or_keep(field, View::Envelope)?, None),
            View::Observed if self.holds_subject(field) => {
                (self.message_or_keep(field, View::Observed)?, None)
            }
            View::Observed => (Action::Keep, None),
            View::Record(_) | View::MapEntry(_) if record => {
                return Err(PlanError::RecordInRecord { field: field.full_name().to_owned() });
            }
            View::Record(share) => self.granted_or_not(field, share)?,
            View::MapEntry(_) if field.number() == MAP_KEY_NUMBER => (Action::Keep, None),
            View::MapEntry(share) => (self.granted(field, share)?, None),
        };
        let wire = wire_type(field);
        Ok(Slot {
            wire,
            packable: field.is_list() && !matches!(wire, Wire::Len | Wire::Group),
            key: keys.of(field),
            id,
            subject,
            record: record && matches!(view, View::Envelope),
            action,
        })
    }

    fn record(&mut self, field: &FieldDescriptor) -> Result<Action, PlanError> {
        match (field.kind(), self.grant) {
            (Kind::Message(message), Some(grant)) if !field.is_map() => {
                Ok(Action::Enter(self.node(message, View::Record(Share::of(grant)))?))
            }
            _ => Err(PlanError::RecordKind { field: field.full_name().to_owned() }),
        }
    }

    fn message_or_keep(&mut self, field: &FieldDescriptor, view: View) -> Result<Action, PlanError> {
        match field.kind() {
            Kind::Message(message) => Ok(Action::Enter(self.node(message, view)?)),
            _ => Ok(Action::Keep),
        }
    }

    /// A field of a record: what is done with it, and the id under which its release is reported.
    fn granted_or_not(
        &mut self,
        field: &FieldDescriptor,
        share: &Share,
    ) -> Result<(Action, Option<u16>), PlanError> {
        match share.field(field.name()) {
            None if self.holds_subject(field) => match field.kind() {
                Kind::Message(message) => {
                    Ok((Action::DropObserved(self.node(message, View::Observed)?), None))
                }
                _ => Ok((Action::Drop, None)),
            },
            None => Ok((Action::Drop, None)),
            Some(inner) => {
                let action = self.granted(field, &inner)?;
                let id = match &share.prefix {
                    Some(prefix) if inner.is_whole() => Some(self.id(format!("{prefix}{}", field.name()))?),
                    _ => None,
                };
                Ok((action, id))
            }
        }
    }

    /// A field of which `share` is granted.
    fn granted(&mut self, field: &FieldDescriptor, share: &Share) -> Result<Action, PlanError> {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                Ok(Action::Enter(self.node(entry, View::MapEntry(share.clone()))?))
            }
            Kind::Message(message) => Ok(Action::Enter(self.node(message, View::Record(share.clone()))?)),
            kind => match share.masking.get("") {
                None | Some(Masking::None) => Ok(Action::Keep),
                Some(Masking::Omit) => Ok(Action::Drop),
                Some(Masking::Partial) => Ok(Action::Mask(Mask::Partial)),
                Some(Masking::Hash) if kind == Kind::String => {
                    Ok(Action::Mask(Mask::HashText(self.hash_key(field)?)))
                }
                Some(Masking::Hash) => Ok(Action::Mask(Mask::HashBytes(self.hash_key(field)?))),
            },
        }
    }

    fn hash_key(&self, field: &FieldDescriptor) -> Result<HashKey, PlanError> {
        self.grant
            .and_then(|grant| grant.hash_key.clone())
            .ok_or_else(|| PlanError::HashKeyMissing { field: field.full_name().to_owned() })
    }

    fn id(&mut self, id: String) -> Result<u16, PlanError> {
        if let Some(index) = self.id_index.get(&id) {
            return Ok(*index);
        }
        let index = self.ids.len();
        match u16::try_from(index) {
            Ok(short) if index < FIELD_IDS_MAX => {
                self.ids.push(id.as_str().into());
                self.id_index.insert(id, short);
                Ok(short)
            }
            _ => Err(PlanError::TooManyIds { message: self.outermost.full_name().to_owned() }),
        }
    }

    /// Whether a subject is somewhere inside the message that this field holds.
    fn holds_subject(&self, field: &FieldDescriptor) -> bool {
        let kind = field.kind();
        let Some(message) = kind.as_message() else {
            return false;
        };
        reachable(message, |_| true)
            .iter()
            .any(|inner| inner.fields().any(|f| self.annotations.is_subject(&f)))
    }
}

const MAP_KEY_NUMBER: u32 = 1;

/// Gives each singular field of a message its key; the members of a oneof share one.
#[derive(Default)]
struct Keys {
    next: u16,
    oneofs: HashMap<String, u16>,
}

impl Keys {
    fn of(&mut self, field: &FieldDescriptor) -> Option<u16> {
        if field.is_list() || field.is_map() {
            return None;
        }
        let fresh = self.next;
        let key = match field.containing_oneof() {
            Some(oneof) => *self.oneofs.entry(oneof.name().to_owned()).or_insert(fresh),
            None => fresh,
        };
        self.next += 1;
        Some(key)
    }
}

fn wire_type(field: &FieldDescriptor) -> Wire {
    if field.is_group() {
        return Wire::Group;
    }
    match field.kind().wire_type() {
        WireType::Varint => Wire::Varint,
        WireType::SixtyFourBit => Wire::Fixed64,
        WireType::ThirtyTwoBit => Wire::Fixed32,
        WireType::LengthDelimited | WireType::StartGroup | WireType::EndGroup => Wire::Len,
    }
}

/// The message types of the fields marked as record, at whatever depth of the envelope.
fn record_types(
    message: &MessageDescriptor,
    annotations: &dyn Annotations,
) -> Result<Vec<MessageDescriptor>, PlanError> {
    let records: Vec<MessageDescriptor> = reachable(message, |field| !annotations.is_record(field))
        .iter()
        .flat_map(MessageDescriptor::fields)
        .filter(|field| annotations.is_record(field))
        .filter_map(|field| field.kind().as_message().cloned())
        .collect();
    if records.is_empty() {
        return Err(PlanError::NoRecord { message: message.full_name().to_owned() });
    }
    Ok(records)
}

/// The message types that can be reached from one through the fields that `through` allows; that one first.
fn reachable(
    message: &MessageDescriptor,
    through: impl Fn(&FieldDescriptor) -> bool,
) -> Vec<MessageDescriptor> {
    let mut seen = HashSet::from([message.full_name().to_owned()]);
    let mut found = vec![message.clone()];
    let mut next = 0;
    while let Some(message) = found.get(next).cloned() {
        next += 1;
        for field in message.fields().filter(|field| through(field)) {
            if let Kind::Message(inner) = field.kind()
                && seen.insert(inner.full_name().to_owned())
            {
                found.push(inner);
            }
        }
    }
    found
}

/// Checks that each id of the grant exists and that each masking fits.
fn check_grant(
    message: &MessageDescriptor,
    records: &[MessageDescriptor],
    grant: &Grant,
) -> Result<(), PlanError> {
    let ids = match &grant.fields {
        FieldSet::All => 0,
        FieldSet::Only(ids) => ids.len(),
    };
    if ids.max(grant.masking.len()) > FIELD_IDS_MAX {
        return Err(PlanError::TooManyIds { message: message.full_name().to_owned() });
    }
    let find = |id: &str| {
        if id.split('.').count() > DEPTH_MAX {
            return Err(PlanError::IdTooDeep { id: id.to_owned() });
        }
        let fields: Vec<FieldDescriptor> =
            records.iter().filter_map(|record| field_of_id(record, id)).collect();
        if fields.is_empty() {
            return Err(PlanError::UnknownField {
                id: id.to_owned(),
                message: message.full_name().to_owned(),
            });
        }
        Ok(fields)
    };
    if let FieldSet::Only(ids) = &grant.fields {
        for id in ids {
            find(id)?;
        }
    }
    for (id, masking) in &grant.masking {
        for field in find(id)? {
            check_masking(id, *masking, &field.kind())?;
        }
    }
    Ok(())
}

/// The field that an id names in a record; for a map, the value of its entries.
fn field_of_id(record: &MessageDescriptor, id: &str) -> Option<FieldDescriptor> {
    let mut names = id.split('.');
    let mut field = field_of_name(record, names.next()?)?;
    for name in names {
        field = field_of_name(field.kind().as_message()?, name)?;
    }
    Some(field)
}

fn field_of_name(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let field = message.get_field_by_name(name)?;
    if field.is_map() {
        return Some(field.kind().as_message()?.map_entry_value_field());
    }
    Some(field)
}

fn check_masking(id: &str, masking: Masking, kind: &Kind) -> Result<(), PlanError> {
    let misfit = |masking| PlanError::MaskingKind { id: id.to_owned(), masking };
    match (masking, kind) {
        (Masking::None | Masking::Omit, _)
        | (Masking::Partial, Kind::String)
        | (Masking::Hash, Kind::String | Kind::Bytes) => Ok(()),
        (Masking::Partial, _) => Err(misfit("PARTIAL")),
        (Masking::Hash, _) => Err(misfit("HASH")),
    }
}
