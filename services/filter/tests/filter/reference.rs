//! The slow way: decode with prost-reflect, drop and mask values by the full path of each field, compare
//! canonically. Shares no idea and no code with the filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use aws_lc_rs::hmac;
use lienthong_filter::{FieldSet, Grant, Masking};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};

/// What the reference released of a message.
pub struct Released {
    pub message: DynamicMessage,
    pub records: u32,
    /// Ids granted as such and present.
    pub ids: BTreeSet<String>,
}

/// The response, filtered.
pub fn release(response: &DynamicMessage, grant: &Grant) -> Released {
    let mut reference = Reference { grant, records: 0, ids: BTreeSet::new() };
    let message = reference.envelope(response);
    Released { message, records: reference.records, ids: reference.ids }
}

/// All subject values in a message, at whatever depth.
pub fn subjects(message: &DynamicMessage, found: &mut BTreeSet<Vec<u8>>) {
    for (field, value) in message.fields() {
        let subject = field.name().starts_with("subject");
        each_value(value, &mut |value| match value {
            Value::Message(inner) => subjects(inner, found),
            Value::String(text) if subject && !text.is_empty() => {
                found.insert(text.clone().into_bytes());
            }
            _ => {}
        });
    }
}

/// A text that is equal for two messages exactly if they hold the same known fields and the same unknown ones;
/// floats by their bits, maps sorted.
pub fn canonical(message: &DynamicMessage) -> String {
    let mut text = String::new();
    write_message(message, &mut text);
    text
}

struct Reference<'a> {
    grant: &'a Grant,
    records: u32,
    ids: BTreeSet<String>,
}

impl Reference<'_> {
    fn envelope(&mut self, message: &DynamicMessage) -> DynamicMessage {
        rebuild(message, |field, value| {
            let record = field.name().starts_with("record");
            Some(map_value(value, &mut |value| match value {
                Value::Message(inner) if record => {
                    self.records += 1;
                    Value::Message(self.record(inner, ""))
                }
                Value::Message(inner) => Value::Message(self.envelope(inner)),
                other => other.clone(),
            }))
        })
    }

    fn record(&mut self, message: &DynamicMessage, prefix: &str) -> DynamicMessage {
        rebuild(message, |field, value| {
            let path = format!("{prefix}{}", field.name());
            let granted = self.granted(&path);
            if !granted && !self.granted_beneath(&path) || self.masking(&path) == Masking::Omit {
                return None;
            }
            if granted && (!self.granted(prefix.trim_end_matches('.')) || prefix.is_empty()) {
                self.ids.insert(path.clone());
            }
            Some(map_value(value, &mut |value| match value {
                Value::Message(inner) => Value::Message(self.record(inner, &format!("{path}."))),
                other => mask(self.masking(&path), other),
            }))
        })
    }

    /// Whether the field, or one that it sits in, is granted by name.
    fn granted(&self, path: &str) -> bool {
        match &self.grant.fields {
            FieldSet::All => true,
            FieldSet::Only(ids) => ids.iter().any(|id| path == id || path.starts_with(&format!("{id}."))),
        }
    }

    fn granted_beneath(&self, path: &str) -> bool {
        match &self.grant.fields {
            FieldSet::All => true,
            FieldSet::Only(ids) => ids.iter().any(|id| id.starts_with(&format!("{path}."))),
        }
    }

    fn masking(&self, path: &str) -> Masking {
        self.grant.masking.get(path).copied().unwrap_or(Masking::None)
    }
}

fn mask(masking: Masking, value: &Value) -> Value {
    let token = |bytes: &[u8]| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), bytes).as_ref()[..16].to_vec()
    };
    match (masking, value) {
        (Masking::Partial, Value::String(text)) => {
            let chars: Vec<char> = text.chars().collect();
            let shown = (chars.len() / 6).min(3);
            let visible = |index: usize| index < shown || index >= chars.len() - shown;
            let masked =
                chars.iter().enumerate().map(|(index, char)| if visible(index) { *char } else { '*' });
            Value::String(masked.collect())
        }
        (Masking::Hash, Value::String(text)) if !text.is_empty() => {
            let mut digits = String::new();
            for byte in token(text.as_bytes()) {
                write!(digits, "{byte:02x}").unwrap();
            }
            Value::String(digits)
        }
        (Masking::Hash, Value::Bytes(bytes)) if !bytes.is_empty() => Value::Bytes(token(bytes).into()),
        _ => value.clone(),
    }
}

/// A message of the same type with each set field as `change` says; unknown fields are left out.
fn rebuild(
    message: &DynamicMessage,
    mut change: impl FnMut(&FieldDescriptor, &Value) -> Option<Value>,
) -> DynamicMessage {
    let mut rebuilt = DynamicMessage::new(message.descriptor());
    for (field, value) in message.fields() {
        if let Some(value) = change(&field, value) {
            rebuilt.set_field(&field, value);
        }
    }
    rebuilt
}

fn map_value(value: &Value, change: &mut dyn FnMut(&Value) -> Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.iter().map(change).collect()),
        Value::Map(entries) => {
            Value::Map(entries.iter().map(|(key, value)| (key.clone(), change(value))).collect())
        }
        value => change(value),
    }
}

fn each_value(value: &Value, visit: &mut dyn FnMut(&Value)) {
    match value {
        Value::List(values) => values.iter().for_each(visit),
        Value::Map(entries) => entries.values().for_each(visit),
        value => visit(value),
    }
}

fn write_message(message: &DynamicMessage, text: &mut String) {
    text.push('{');
    for (field, value) in message.fields() {
        write!(text, "{}:", field.number()).unwrap();
        write_value(value, text);
        text.push(' ');
    }
    for unknown in message.unknown_fields() {
        write!(text, "?{unknown:?} ").unwrap();
    }
    text.push('}');
}

fn write_value(value: &Value, text: &mut String) {
    match value {
        Value::F32(number) => write!(text, "{:x}", number.to_bits()).unwrap(),
        Value::F64(number) => write!(text, "{:x}", number.to_bits()).unwrap(),
        Value::Message(message) => write_message(message, text),
        Value::List(values) => {
            text.push('[');
            for value in values {
                write_value(value, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Map(entries) => {
            let sorted: BTreeMap<String, &Value> =
                entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            for (key, value) in sorted {
                write!(text, "{key}=>").unwrap();
                write_value(value, text);
                text.push(',');
            }
        }
        other => write!(text, "{other:?}").unwrap(),
    }
}

fn key_text(key: &MapKey) -> String {
    format!("{key:?}")
}

/// Whether a schema, from this message on, has a map field; prost-reflect reads those more leniently.
pub fn has_map(message: &prost_reflect::MessageDescriptor) -> bool {
    message.parent_pool().all_messages().any(|message| message.fields().any(|field| field.is_map()))
}

/// The kinds of masking that a field can have.
pub fn maskings(field: &FieldDescriptor) -> &'static [Masking] {
    let kind = match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    };
    match kind {
        Kind::String => &[Masking::None, Masking::Partial, Masking::Hash, Masking::Omit],
        Kind::Bytes => &[Masking::None, Masking::Hash, Masking::Omit],
        _ => &[Masking::None, Masking::Omit],
    }
}
