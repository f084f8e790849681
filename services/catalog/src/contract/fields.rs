//! The fields of a record, messages inside it included, and what a list of ids grants of them.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_filter::Masking as Release;
use lienthong_proto::lienthong::options::v1::{DataFieldOptions, Masking, Personal, Secrecy};
use lienthong_proto::options;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::{ContractDataset, RECORD_FIELDS_MAX};

/// A field of a record.
#[derive(Debug, Clone)]
pub struct ContractField {
    /// Name, or the names from the record downwards joined by dots.
    pub id: String,
    /// The field itself.
    pub descriptor: FieldDescriptor,
    /// What the contract says about it; all defaults where it says nothing.
    pub options: DataFieldOptions,
    /// Personal-data class: its own, else that of the message or dataset around it.
    pub personal: Personal,
    /// True where the field holds a message that it stands in: what is inside has no ids of its own.
    pub recursive: bool,
}

impl ContractField {
    /// True where a right must name the field.
    pub fn is_sensitive(&self) -> bool {
        self.personal == Personal::Sensitive
    }

    /// True where the field is declared a state secret, in a word that is known or not.
    pub fn is_secret(&self) -> bool {
        let harmless = [Secrecy::Unspecified, Secrecy::None].map(i32::from);
        !harmless.contains(&self.options.secrecy)
    }

    /// Protobuf type, for people.
    pub fn type_name(&self) -> String {
        type_name(&self.descriptor)
    }

    /// How the field is released where it is granted only masked. One without a declared masking is left out.
    fn masking(&self) -> Release {
        match self.options.masking() {
            Masking::Partial => Release::Partial,
            Masking::Hash => Release::Hash,
            Masking::Unspecified | Masking::Omit => Release::Omit,
        }
    }

    fn is_beneath(&self, parent: &Self) -> bool {
        self.id.strip_prefix(parent.id.as_str()).is_some_and(|rest| rest.starts_with('.'))
    }
}

/// What a list of ids grants of one dataset, spelled out.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantedFields {
    /// Ids that are released, masked ones included.
    pub ids: BTreeSet<String>,
    /// How the masked ones are.
    pub masking: BTreeMap<String, Release>,
}

impl GrantedFields {
    /// True where a consumer may ask for this id by name: it is granted, or a message around it is.
    pub fn covers(&self, id: &str) -> bool {
        self.ids.contains(id)
            || id
                .match_indices('.')
                .any(|(end, _)| self.ids.contains(&id[..end]) && !self.masking.contains_key(&id[..end]))
    }

    /// The masking that concerns these ids, or what is inside them.
    pub(crate) fn masking_of(&self, ids: &BTreeSet<String>) -> BTreeMap<String, Release> {
        let concerns = |masked: &str| {
            ids.contains(masked) || masked.match_indices('.').any(|(end, _)| ids.contains(&masked[..end]))
        };
        self.masking
            .iter()
            .filter(|(id, _)| concerns(id))
            .map(|(id, masking)| (id.clone(), *masking))
            .collect()
    }

    /// True where releasing needs the key of the consumer (HASH).
    pub fn needs_hash_key(&self) -> bool {
        self.masking.values().any(|masking| *masking == Release::Hash)
    }
}

/// Why a list of ids does not fit a dataset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field {id} does not exist in dataset {dataset}; correct the entry's field list (R-24)")]
pub struct FieldsError {
    /// The id as listed.
    pub id: String,
    /// Dataset.
    pub dataset: String,
}

/// Every field of a record, parents before what is inside them; `None` beyond [`RECORD_FIELDS_MAX`]. A message
/// inside itself is followed once: what would repeat has no id of its own and is never granted by `*`.
pub(super) fn walk(record: &MessageDescriptor, personal: Personal) -> Option<Vec<ContractField>> {
    let mut fields = Vec::new();
    let mut path = vec![record.full_name().to_owned()];
    descend(record, "", personal, &mut path, &mut fields).then_some(fields)
}

fn descend(
    message: &MessageDescriptor,
    prefix: &str,
    around: Personal,
    path: &mut Vec<String>,
    fields: &mut Vec<ContractField>,
) -> bool {
    for descriptor in message.fields() {
        if fields.len() == RECORD_FIELDS_MAX {
            return false;
        }
        let options = options::field(&descriptor).unwrap_or_default();
        let personal = match Personal::try_from(options.personal) {
            Ok(Personal::Unspecified) => around,
            Ok(own) => own,
            // A class that this version does not know is not one to be generous with.
            Err(_) => Personal::Sensitive,
        };
        let id = format!("{prefix}{}", descriptor.name());
        let inside = content(&descriptor);
        let recursive =
            inside.as_ref().is_some_and(|inside| path.iter().any(|name| name == inside.full_name()));
        let below = format!("{id}.");
        fields.push(ContractField { id, descriptor, options, personal, recursive });
        if let Some(inside) = inside.filter(|_| !recursive) {
            path.push(inside.full_name().to_owned());
            let complete = descend(&inside, &below, personal, path, fields);
            path.pop();
            if !complete {
                return false;
            }
        }
    }
    true
}

/// The message whose fields are data fields: the field's own type, or the value type of a map. Google's
/// well-known types are values.
fn content(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    match kind {
        Kind::Message(message) if !message.full_name().starts_with("google.protobuf.") => Some(message),
        _ => None,
    }
}

pub(super) fn grant(
    dataset: &ContractDataset,
    granted: &[String],
    masked: &[String],
) -> Result<GrantedFields, FieldsError> {
    let find = |id: &String| {
        dataset
            .fields
            .iter()
            .find(|field| field.id == *id)
            .ok_or_else(|| FieldsError { id: id.clone(), dataset: dataset.id().to_owned() })
    };
    let mut fields = GrantedFields::default();
    for id in granted {
        if id == "*" {
            let outermost = dataset.fields.iter().filter(|field| !field.id.contains('.'));
            outermost
                .filter(|field| !field.is_sensitive())
                .for_each(|field| open(dataset, field, &mut fields.ids));
        } else {
            open(dataset, find(id)?, &mut fields.ids);
        }
    }
    for id in masked {
        let field = find(id)?;
        fields.ids.insert(id.clone());
        fields.masking.insert(id.clone(), field.masking());
    }
    Ok(fields)
}

/// Grants a field that was named or stands in the open. What is sensitive inside it stays closed, and so does
/// a message inside itself as soon as the record has a sensitive field, which could hide in there without an id.
fn open(dataset: &ContractDataset, field: &ContractField, ids: &mut BTreeSet<String>) {
    let hides = |field: &ContractField| field.recursive && dataset.has_sensitive_fields();
    if hides(field) {
        return;
    }
    let inside = || dataset.fields.iter().filter(|other| other.is_beneath(field));
    let whole = field.is_sensitive() || !inside().any(|other| other.is_sensitive() || hides(other));
    if whole {
        ids.insert(field.id.clone());
        return;
    }
    let depth = field.id.matches('.').count() + 1;
    for child in inside().filter(|child| child.id.matches('.').count() == depth && !child.is_sensitive()) {
        open(dataset, child, ids);
    }
}

fn type_name(field: &FieldDescriptor) -> String {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{}, {}>", type_name(&key), type_name(&value));
    }
    let name = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(enumeration) => enumeration.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    };
    if field.is_list() { format!("repeated {name}") } else { name }
}
