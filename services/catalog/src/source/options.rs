//! Options of `options.proto`, written in YAML as protobuf's JSON would be. Which keys there are, and what each takes,
//! is read from the options' own descriptor: nothing is declared twice.

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, Value as OptionValue,
};

use super::object::Reader;
use super::tree::{Located, Value};

/// An options message; nothing at all is one without any option. `None` where it has a mistake.
pub(super) fn message(
    reader: &mut Reader<'_>,
    node: &Located,
    descriptor: &MessageDescriptor,
    what: &str,
) -> Option<DynamicMessage> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let entries = match &node.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Null => &[],
        _ => {
            reader.wrong_type(node, what, "a mapping");
            return None;
        }
    };
    let mut sound = true;
    for (key, node) in entries {
        let Some(field) = descriptor.get_field_by_name(&key.name) else {
            let known: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
            let message = format!("{what} has no key {:?}", key.name);
            reader.note(key.place, "key", message, format!("known keys: {}", known.join(", ")));
            sound = false;
            continue;
        };
        match value(reader, node, &field) {
            Some(value) => message.set_field(&field, value),
            None => sound = false,
        }
    }
    sound.then_some(message)
}

/// The value of one option.
fn value(reader: &mut Reader<'_>, node: &Located, field: &FieldDescriptor) -> Option<OptionValue> {
    if !field.is_list() {
        return single(reader, node, field);
    }
    let Value::List(items) = &node.value else {
        reader.wrong_type(node, field.name(), "a list");
        return None;
    };
    let values: Vec<OptionValue> = items.iter().filter_map(|item| single(reader, item, field)).collect();
    (values.len() == items.len()).then_some(OptionValue::List(values))
}

fn single(reader: &mut Reader<'_>, node: &Located, field: &FieldDescriptor) -> Option<OptionValue> {
    match (field.kind(), &node.value) {
        (Kind::Message(inside), _) => message(reader, node, &inside, field.name()).map(OptionValue::Message),
        (Kind::Enum(words), _) => word(reader, node, &words, field.name()),
        (Kind::Bool, Value::Bool(flag)) => Some(OptionValue::Bool(*flag)),
        (Kind::Bool, _) => {
            reader.wrong_type(node, field.name(), "true or false");
            None
        }
        // The options have no other kinds (tested).
        (_, _) => reader.text(node, field.name()).map(|text| OptionValue::String(text.to_owned())),
    }
}

/// A word of an enum: its short form (`QUERY`), or the whole name (`METHOD_KIND_QUERY`). The first one of an enum says
/// that nothing was said, so that it cannot be said.
pub(super) fn word(
    reader: &mut Reader<'_>,
    node: &Located,
    words: &EnumDescriptor,
    what: &str,
) -> Option<OptionValue> {
    let text = reader.text(node, what)?;
    let prefix = prefix(words);
    let said = || words.values().filter(|value| value.number() != 0);
    let found = said().find(|value| value.name() == text || value.name().strip_prefix(&prefix) == Some(text));
    if found.is_none() {
        let known: Vec<String> =
            said().map(|value| value.name().trim_start_matches(&prefix).to_owned()).collect();
        let message = format!("{what} {text:?} is unknown");
        reader.note(node.place, "format", message, format!("write one of {}", known.join(", ")));
    }
    found.map(|value| OptionValue::EnumNumber(value.number()))
}

/// What the names of an enum begin with: `METHOD_KIND_`, of `METHOD_KIND_UNSPECIFIED`.
fn prefix(words: &EnumDescriptor) -> String {
    words.default_value().name().strip_suffix("UNSPECIFIED").unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lienthong_proto::descriptors;

    /// A kind of option that cannot be read would be read as a text.
    #[test]
    fn each_option_is_of_a_kind_that_is_read() {
        let mut waiting: Vec<MessageDescriptor> = ["dataset", "field", "record", "exchange"]
            .iter()
            .filter_map(|name| {
                descriptors::mesh().get_extension_by_name(&format!("lienthong.options.v1.{name}"))
            })
            .filter_map(|extension| extension.kind().as_message().cloned())
            .collect();
        assert_eq!(waiting.len(), 3);
        while let Some(message) = waiting.pop() {
            for field in message.fields() {
                assert!(!field.is_map(), "{field:?}");
                match field.kind() {
                    Kind::Message(inside) => waiting.push(inside),
                    Kind::String | Kind::Bool => {}
                    Kind::Enum(words) => assert!(!prefix(&words).is_empty(), "{field:?}"),
                    _ => panic!("{field:?} cannot be given beside a contract"),
                }
            }
        }
    }
}
