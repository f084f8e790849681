//! A record of a dataset, as a function of its key: whichever method asks for the same key gets the same record.

use lienthong_proto::options;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};

use crate::{
    chance::Chance,
    pattern::Pattern,
    value::{chosen_fields, value},
};

/// A key that ends so has no record: clients can test what they do then.
pub const NOT_FOUND_ENDING: &str = "404";

/// Keys tried before one that ends in [`NOT_FOUND_ENDING`] is taken after all.
const KEYS_TRIED_MAX: usize = 8;

/// Names of the fields that identify a record; none where the message is no record of a dataset.
pub fn key_fields(descriptor: &MessageDescriptor) -> Vec<String> {
    options::dataset(descriptor).map(|dataset| dataset.key_fields).unwrap_or_default()
}

/// The record that a question is about. Where the question names the key, it is the record of that key; `chance`
/// makes a key where it does not. What the question and the record both have, the record has as it was asked.
pub fn record(descriptor: &MessageDescriptor, asked: &DynamicMessage, chance: &Chance) -> DynamicMessage {
    let mut record = DynamicMessage::new(descriptor.clone());
    let keys = key_fields(descriptor);
    let mut of_key = Chance::of(descriptor.full_name());
    for name in &keys {
        let Some(field) = descriptor.get_field_by_name(name) else { continue };
        if let Some(key) =
            asked_value(asked, &field).or_else(|| made_key(&field, &chance.with(name.as_bytes())))
        {
            of_key = of_key.with(key_text(&key).as_bytes());
            record.set_field(&field, key);
        }
    }
    if keys.is_empty() {
        of_key = chance.clone();
    }
    for field in chosen_fields(descriptor, &of_key) {
        if keys.iter().any(|key| key == field.name()) {
            continue;
        }
        let made = || value(&field, &of_key.with(field.name().as_bytes()), 1);
        if let Some(value) = asked_value(asked, &field).or_else(made) {
            record.set_field(&field, value);
        }
    }
    record
}

/// A key as text, for its ending and for what follows from it.
pub fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// What the question says in a field of the same name and type; `None` where it says nothing there.
fn asked_value(asked: &DynamicMessage, field: &FieldDescriptor) -> Option<Value> {
    let same = asked.descriptor().get_field_by_name(field.name())?;
    let alike = same.kind() == field.kind() && same.cardinality() == field.cardinality();
    (alike && !field.is_list() && asked.has_field(&same)).then(|| asked.get_field(&same).into_owned())
}

/// A key that there is a record of.
pub fn made_key(field: &FieldDescriptor, chance: &Chance) -> Option<Value> {
    // By its pattern where it has one: what the dictionary finds plausible is too little to tell records apart.
    let pattern =
        options::field(field).and_then(|said| Pattern::read(&said.regex).filter(|_| !said.regex.is_empty()));
    let made = |n: usize| match &pattern {
        Some(pattern) if field.kind() == Kind::String => pattern.text(&chance.at(n)).map(Value::String),
        _ => value(field, &chance.at(n), 1),
    };
    let mut keys = (0..KEYS_TRIED_MAX).filter_map(made).peekable();
    let first = keys.peek().cloned();
    keys.find(|key| !key_text(key).ends_with(NOT_FOUND_ENDING)).or(first)
}
