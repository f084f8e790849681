//! A message as JSON Schema (2020-12, as OpenAPI 3.1 takes it), as proto3's JSON mapping writes it.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// Schemas of one document; one that no document reaches is not in it.
pub const SCHEMAS_MAX: usize = 2_000;

/// The schemas of these messages and of all that they hold, by full name.
pub fn schemas(roots: impl IntoIterator<Item = MessageDescriptor>) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    let mut waiting: Vec<MessageDescriptor> = roots.into_iter().collect();
    while let Some(message) = waiting.pop() {
        if all.len() >= SCHEMAS_MAX || all.contains_key(message.full_name()) || well_known(&message).is_some()
        {
            continue;
        }
        let inner = message.fields().filter_map(|field| held(&field));
        waiting.extend(inner);
        all.insert(message.full_name().to_owned(), of_message(&message));
    }
    all
}

/// Where the schema of a message stands.
pub fn reference(message: &MessageDescriptor) -> Value {
    let elsewhere = || json!({ "$ref": format!("#/components/schemas/{}", message.full_name()) });
    well_known(message).unwrap_or_else(elsewhere)
}

/// A message that a caller could send: something in each field, so that it shows how it looks.
pub fn example(message: &MessageDescriptor) -> Value {
    example_at(message, 0)
}

/// What a caller could send as one field.
pub fn example_of(field: &FieldDescriptor) -> Value {
    example_field(field, 0)
}

/// The schema of one field.
pub fn of_field(field: &FieldDescriptor) -> Value {
    let mut schema = if field.is_map() {
        let value = field.kind().as_message().map(MessageDescriptor::map_entry_value_field);
        json!({ "type": "object", "additionalProperties": value.map_or(json!({}), |value| of_kind(&value.kind())) })
    } else if field.is_list() {
        json!({ "type": "array", "items": of_kind(&field.kind()) })
    } else {
        of_kind(&field.kind())
    };
    if let Some(options) = lienthong_proto::options::field(field)
        && let Some(object) = schema.as_object_mut()
    {
        object.insert("description".to_owned(), options.label_vi.into());
    }
    schema
}

/// Whether JSON writes the message in a way of its own.
pub fn is_well_known(message: &MessageDescriptor) -> bool {
    well_known(message).is_some()
}

/// Deeper than this an example says nothing.
const EXAMPLE_DEPTH_MAX: usize = 3;

fn example_at(message: &MessageDescriptor, depth: usize) -> Value {
    match message.full_name() {
        "google.protobuf.Timestamp" => return "2026-01-31T00:00:00Z".into(),
        "google.protobuf.Duration" => return "1s".into(),
        "google.protobuf.FieldMask" => return "".into(),
        name if name.starts_with("google.protobuf.") => return Value::Null,
        _ => {}
    }
    let mut object = Map::new();
    for field in message.fields() {
        let later_of_oneof =
            field.containing_oneof().is_some_and(|of| of.fields().next().as_ref() != Some(&field));
        if later_of_oneof
            || field.is_map()
            || (depth >= EXAMPLE_DEPTH_MAX && field.kind().as_message().is_some())
        {
            continue;
        }
        let value = example_field(&field, depth);
        object.insert(field.json_name().to_owned(), value);
    }
    Value::Object(object)
}

fn example_field(field: &FieldDescriptor, depth: usize) -> Value {
    let value = match field.kind() {
        Kind::Message(inner) => example_at(&inner, depth + 1),
        Kind::Enum(of) => of.default_value().name().into(),
        Kind::Bool => false.into(),
        Kind::String => "…".into(),
        Kind::Bytes => "".into(),
        Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64 => "0".into(),
        _ => 0.into(),
    };
    if field.is_list() { json!([value]) } else { value }
}

fn of_message(message: &MessageDescriptor) -> Value {
    let properties: Map<String, Value> =
        message.fields().map(|field| (field.json_name().to_owned(), of_field(&field))).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let Some(dataset) = lienthong_proto::options::dataset(message) {
        schema["title"] = dataset.name_vi.into();
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Double | Kind::Float => json!({ "type": ["number", "string"] }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0 }),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": "string", "format": "int64" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": "string", "format": "uint64" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Enum(of) => {
            json!({ "enum": of.values().map(|value| value.name().to_owned()).collect::<Vec<_>>() })
        }
        Kind::Message(message) => reference(message),
    }
}

/// Messages that JSON writes in a way of its own.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "google.protobuf.Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
        "google.protobuf.FieldMask" => json!({ "type": "string" }),
        "google.protobuf.Struct" | "google.protobuf.Any" | "google.protobuf.Empty" => {
            json!({ "type": "object" })
        }
        "google.protobuf.ListValue" => json!({ "type": "array" }),
        "google.protobuf.Value" => json!({}),
        name if name.starts_with("google.protobuf.") && name.ends_with("Value") => {
            message.get_field_by_name("value").map_or(json!({}), |value| of_kind(&value.kind()))
        }
        _ => return None,
    })
}

/// The message that a field holds, or the values of its map.
fn held(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    let message = kind.as_message()?;
    if field.is_map() {
        return message.map_entry_value_field().kind().as_message().cloned();
    }
    Some(message.clone())
}
