//! Options as source: every one that is set, the mesh's and the agency's own included.

use prost_reflect::{DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, Value};

use super::{names::Names, text};

/// One option.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// `deprecated`, or `(lienthong.options.v1.field)`.
    pub name: String,
    /// Its value; of several lines where it is a message.
    pub value: String,
}

/// Every option that is set, those of descriptor.proto first, then extensions by number.
pub fn settings(options: &DynamicMessage, names: &Names, scope: &str) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (field, value) in options.fields() {
        // A map entry is written as a map; what was not interpreted cannot be.
        if !matches!(field.full_name(), "google.protobuf.MessageOptions.map_entry")
            && field.name() != "uninterpreted_option"
        {
            set(&mut settings, field.name(), value, &field.kind());
        }
    }
    let mut extensions: Vec<(ExtensionDescriptor, &Value)> = options.extensions().collect();
    extensions.sort_by_key(|(extension, _)| extension.number());
    for (extension, value) in extensions {
        // Written in full: what an option is called should be easy to look for.
        let name = names.seen_from(scope, "\0", extension.full_name());
        set(&mut settings, &format!("({name})"), value, &extension.kind());
    }
    settings
}

fn set(settings: &mut Vec<Setting>, name: &str, value: &Value, kind: &Kind) {
    let mut add = |value: String| settings.push(Setting { name: name.to_owned(), value });
    match value {
        Value::List(values) => values.iter().for_each(|value| add(written(value, kind))),
        value => add(written(value, kind)),
    }
}

fn written(value: &Value, kind: &Kind) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => text::single(*value),
        Value::F64(value) => text::float(*value),
        Value::String(value) => text::quoted(value.as_bytes()),
        Value::Bytes(value) => text::quoted(value),
        Value::EnumNumber(number) => match kind {
            Kind::Enum(values) => {
                values.get_value(*number).map_or_else(|| number.to_string(), |value| value.name().to_owned())
            }
            _ => number.to_string(),
        },
        Value::Message(message) => aggregate(message),
        // INVARIANT: an option's own type is neither; they are written where they are fields of a message.
        Value::List(_) | Value::Map(_) => String::new(),
    }
}

/// A message in text format, `{` to `}`, a line a field.
fn aggregate(message: &DynamicMessage) -> String {
    let mut lines = Vec::new();
    for (field, value) in message.fields() {
        write_field(&mut lines, &name_of(&field), &field.kind(), value);
    }
    let mut extensions: Vec<(ExtensionDescriptor, &Value)> = message.extensions().collect();
    extensions.sort_by_key(|(extension, _)| extension.number());
    for (extension, value) in extensions {
        write_field(&mut lines, &format!("[{}]", extension.full_name()), &extension.kind(), value);
    }
    if lines.is_empty() {
        return "{}".to_owned();
    }
    format!("{{\n{}\n}}", lines.join("\n"))
}

/// A group is called by its message.
fn name_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(message) if field.is_group() => message.name().to_owned(),
        _ => field.name().to_owned(),
    }
}

fn write_field(lines: &mut Vec<String>, name: &str, kind: &Kind, value: &Value) {
    match value {
        Value::List(values) => values.iter().for_each(|value| write_field(lines, name, kind, value)),
        Value::Map(entries) => {
            let Kind::Message(entry) = kind else { return };
            let (of_key, of_value) =
                (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
            let mut written: Vec<String> = entries
                .iter()
                .map(|(key, value)| {
                    let mut inner = Vec::new();
                    write_field(&mut inner, "key", &of_key, &Value::from(MapKey::clone(key)));
                    write_field(&mut inner, "value", &of_value, value);
                    format!("{name} {{\n{}\n}}", inner.join("\n"))
                })
                .collect();
            written.sort();
            lines.extend(written.iter().map(|entry| indented(entry)));
        }
        Value::Message(message) => lines.push(indented(&format!("{name} {}", aggregate(message)))),
        value => lines.push(format!("  {name}: {}", written(value, kind))),
    }
}

/// Two spaces before the first line and the last, whose inner ones have theirs already; the rest goes one level in.
fn indented(text: &str) -> String {
    text.split('\n').map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
