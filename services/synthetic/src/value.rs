//! A value for one field, by its type and its options.

use std::collections::HashMap;

use lienthong_proto::{lienthong::options::v1::DataFieldOptions, options};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

use crate::{
    chance::Chance,
    text::{Known, text},
};

/// How deep messages are filled; what lies deeper stays empty. A message may hold itself.
pub const DEPTH_MAX: usize = 6;

/// Items of a list or map that is no list of records.
pub const ITEMS: usize = 2;

/// The oldest moment of synthetic data, Unix seconds: 2026-01-01 00:00 UTC.
const MOMENT_FIRST_UNIX_SECONDS: i64 = 1_767_225_600;

/// How far behind it the latest lies, seconds: half a year.
const MOMENTS_SECONDS: u64 = 180 * 86_400;

/// A message with every field filled; of a oneof, one.
pub fn message(descriptor: &MessageDescriptor, chance: &Chance, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if depth >= DEPTH_MAX || fill_well_known(&mut message, chance) {
        return message;
    }
    for field in chosen_fields(descriptor, chance) {
        if let Some(value) = value(&field, &chance.with(field.name().as_bytes()), depth) {
            message.set_field(&field, value);
        }
    }
    message
}

/// The fields that are filled: all, and of each oneof one.
pub fn chosen_fields(descriptor: &MessageDescriptor, chance: &Chance) -> Vec<FieldDescriptor> {
    let is_chosen = |field: &FieldDescriptor| match field.containing_oneof() {
        Some(oneof) if !oneof.is_synthetic() => {
            let choices: Vec<_> = oneof.fields().map(|choice| choice.number()).collect();
            chance.with(oneof.name().as_bytes()).one_of(&choices) == Some(&field.number())
        }
        _ => true,
    };
    descriptor.fields().filter(is_chosen).collect()
}

/// A value for a field; `None` where it is better left empty.
pub fn value(field: &FieldDescriptor, chance: &Chance, depth: usize) -> Option<Value> {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let (key_field, value_field) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        let items = (0..ITEMS).filter_map(|place| {
            let key = key(&one(&key_field, &chance.at(place), depth)?)?;
            Some((key, one(&value_field, &chance.at(place), depth)?))
        });
        return Some(Value::Map(items.collect::<HashMap<_, _>>()));
    }
    if field.is_list() {
        return Some(Value::List((0..ITEMS).filter_map(|n| one(field, &chance.at(n), depth)).collect()));
    }
    one(field, chance, depth)
}

/// One value of a field's type.
fn one(field: &FieldDescriptor, chance: &Chance, depth: usize) -> Option<Value> {
    let mut number = chance.with(b"number");
    let small = i32::try_from(number.below(1000) + 1).unwrap_or(1);
    Some(match field.kind() {
        Kind::Double => Value::F64(f64::from(small) / 4.0),
        #[allow(clippy::cast_precision_loss)] // below 2^24
        Kind::Float => Value::F32(small as f32 / 4.0),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(small),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::from(small)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(small.unsigned_abs()),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::from(small.unsigned_abs())),
        Kind::Bool => Value::Bool(number.below(2) == 1),
        Kind::Bytes => {
            let bytes: Vec<u8> = (0..8).filter_map(|_| u8::try_from(number.below(256)).ok()).collect();
            Value::Bytes(bytes.into())
        }
        Kind::String => {
            let said = options::field(field).unwrap_or_default();
            let text = text(known(field, &said), chance);
            if text.is_empty() {
                return None;
            }
            Value::String(text)
        }
        Kind::Enum(kind) => {
            // The first value usually means that nothing is said.
            let values: Vec<_> = kind.values().map(|value| value.number()).collect();
            let said: Vec<_> = values.iter().copied().filter(|value| *value != 0).collect();
            Value::EnumNumber(*number.one_of(if said.is_empty() { &values } else { &said })?)
        }
        Kind::Message(kind) => Value::Message(message(&kind, chance, depth + 1)),
    })
}

/// What is known of a text field.
fn known<'a>(field: &'a FieldDescriptor, said: &'a DataFieldOptions) -> Known<'a> {
    Known {
        name: field.name(),
        label: &said.label_vi,
        dictionary_ref: &said.dictionary_ref,
        regex: &said.regex,
    }
}

/// Fills a well-known type; false for any other message.
fn fill_well_known(message: &mut DynamicMessage, chance: &Chance) -> bool {
    let mut number = chance.with(b"well-known");
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let after = i64::try_from(number.below(MOMENTS_SECONDS)).unwrap_or(0);
            message.set_field_by_name("seconds", Value::I64(MOMENT_FIRST_UNIX_SECONDS + after));
            true
        }
        "google.protobuf.Duration" => {
            let seconds = i64::try_from(number.below(3600)).unwrap_or(0);
            message.set_field_by_name("seconds", Value::I64(seconds));
            true
        }
        // Of any type, any shape, or any path: there is no value that is surely right.
        "google.protobuf.Any"
        | "google.protobuf.Struct"
        | "google.protobuf.Value"
        | "google.protobuf.FieldMask" => true,
        _ => false,
    }
}

fn key(value: &Value) -> Option<MapKey> {
    Some(match value {
        Value::Bool(value) => MapKey::Bool(*value),
        Value::I32(value) => MapKey::I32(*value),
        Value::I64(value) => MapKey::I64(*value),
        Value::U32(value) => MapKey::U32(*value),
        Value::U64(value) => MapKey::U64(*value),
        Value::String(value) => MapKey::String(value.clone()),
        _ => return None,
    })
}
