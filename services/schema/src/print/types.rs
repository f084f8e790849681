//! Messages, enums and extensions as source.

use std::collections::HashSet;

use prost_reflect::{
    Cardinality, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor,
};
use prost_types::FieldDescriptorProto;

use super::{
    Page,
    options::{Setting, settings},
    text,
};

/// One more than the largest field number: `to max`.
const FIELD_NUMBERS_END: i32 = 536_870_912;

/// Full names of the messages that belong to groups, which are written where their field is.
pub fn groups(extensions: impl Iterator<Item = ExtensionDescriptor>) -> HashSet<String> {
    let groups = extensions.filter(ExtensionDescriptor::is_group);
    groups
        .filter_map(|group| group.kind().as_message().map(|message| message.full_name().to_owned()))
        .collect()
}

/// A field or an extension: both are written alike.
struct Field<'a> {
    proto: &'a FieldDescriptorProto,
    kind: Kind,
    cardinality: Cardinality,
    settings: Vec<Setting>,
    is_map: bool,
    is_group: bool,
    stands: Stands,
}

/// Where a field is declared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Message,
    Oneof,
    Extend,
}

impl Page<'_> {
    pub(super) fn message(&mut self, message: &MessageDescriptor, path: &[i32]) {
        self.leading(path);
        self.open(&format!("message {}", message.name()));
        self.message_body(message, path);
        self.close_block();
    }

    pub(super) fn enumeration(&mut self, values: &EnumDescriptor, path: &[i32]) {
        self.leading(path);
        self.open(&format!("enum {}", values.name()));
        self.option_lines(&settings(&values.options(), self.names, values.full_name()));
        let proto = values.enum_descriptor_proto();
        self.reserved(
            proto.reserved_range.iter().map(|range| (range.start(), range.end())),
            i32::MAX,
            &proto.reserved_name,
        );
        let mut in_order: Vec<_> = values.values().collect();
        in_order.sort_by_key(|value| value.path().last().copied());
        for (place, value) in (0..).zip(in_order) {
            let path = [path, &[2, place]].concat();
            self.leading(&path);
            let settings = settings(&value.options(), self.names, value.full_name());
            let settings = brackets(&settings);
            self.element(&format!("{} = {}{settings};", value.name(), value.number()), &path);
        }
        self.close_block();
    }

    /// Extensions, in blocks of what they extend.
    pub(super) fn extensions(&mut self, extensions: &[ExtensionDescriptor], path: &[i32], scope: &str) {
        let mut place = 0;
        for block in extensions
            .chunk_by(|a, b| a.containing_message().full_name() == b.containing_message().full_name())
        {
            self.blank();
            let extended = block[0].containing_message();
            let extended = self.names.seen_from(scope, &self.package, extended.full_name());
            self.open(&format!("extend {extended}"));
            for extension in block {
                let field = Field {
                    proto: extension.field_descriptor_proto(),
                    kind: extension.kind(),
                    cardinality: extension.cardinality(),
                    settings: settings(&extension.options(), self.names, scope),
                    is_map: false,
                    is_group: extension.is_group(),
                    stands: Stands::Extend,
                };
                self.field(&field, &[path, &[place]].concat(), scope);
                place += 1;
            }
            self.close_block();
        }
    }

    /// The order of declarations is that of the descriptors, so that they compile to the same: a map or group
    /// brings its type with it, and stands before the types that follow.
    fn message_body(&mut self, message: &MessageDescriptor, path: &[i32]) {
        let proto = message.descriptor_proto();
        self.option_lines(&settings(&message.options(), self.names, message.full_name()));
        self.reserved(
            proto.reserved_range.iter().map(|range| (range.start(), range.end().saturating_sub(1))),
            FIELD_NUMBERS_END - 1,
            &proto.reserved_name,
        );
        self.extension_ranges(message);
        for (place, values) in (0..).zip(message.child_enums()) {
            self.blank();
            self.enumeration(&values, &[path, &[4, place]].concat());
        }
        let fields: Vec<FieldDescriptor> = in_order(message);
        let brought: Vec<Option<String>> = fields.iter().map(brings).collect();
        let by_extension = groups(message.child_extensions());
        let types: Vec<MessageDescriptor> = in_order_of_types(message);
        let is_brought =
            |message: &MessageDescriptor| brought.iter().flatten().any(|name| name == message.full_name());
        let last_brought = types.iter().rposition(&is_brought);
        let mut next = 0;
        let mut written = HashSet::new();
        for (place, inner) in types.iter().enumerate() {
            if let Some(field) = brought.iter().position(|name| name.as_deref() == Some(inner.full_name())) {
                self.fields(fields.get(next..=field).unwrap_or_default(), &mut written, message, path);
                next = next.max(field + 1);
            } else if !by_extension.contains(inner.full_name())
                && last_brought.is_some_and(|last| place < last)
            {
                self.blank();
                self.message(inner, &child_path(path, place));
            }
        }
        self.fields(&fields[next..], &mut written, message, path);
        for (place, inner) in types.iter().enumerate() {
            let later = last_brought.is_none_or(|last| place > last);
            if later && !is_brought(inner) && !by_extension.contains(inner.full_name()) {
                self.blank();
                self.message(inner, &child_path(path, place));
            }
        }
        let extensions: Vec<ExtensionDescriptor> = message.child_extensions().collect();
        self.extensions(&extensions, &[path, &[6]].concat(), message.full_name());
    }

    fn fields(
        &mut self,
        fields: &[FieldDescriptor],
        written: &mut HashSet<String>,
        message: &MessageDescriptor,
        path: &[i32],
    ) {
        if !fields.is_empty()
            && (self.out.ends_with(";\n") || self.out.ends_with("}\n"))
            && written.is_empty()
        {
            self.blank();
        }
        for field in fields {
            match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => self.declared(field, message, path, Stands::Message),
                Some(oneof) if written.insert(oneof.full_name().to_owned()) => {
                    self.oneof(&oneof, message, path);
                }
                Some(_) => {}
            }
        }
    }

    fn oneof(&mut self, oneof: &OneofDescriptor, message: &MessageDescriptor, path: &[i32]) {
        let place =
            message.oneofs().position(|other| other == *oneof).and_then(|place| i32::try_from(place).ok());
        self.leading(&[path, &[8, place.unwrap_or_default()]].concat());
        self.open(&format!("oneof {}", oneof.name()));
        self.option_lines(&settings(&oneof.options(), self.names, message.full_name()));
        for field in in_order(message).iter().filter(|field| field.containing_oneof().as_ref() == Some(oneof))
        {
            self.declared(field, message, path, Stands::Oneof);
        }
        self.close_block();
    }

    fn declared(
        &mut self,
        field: &FieldDescriptor,
        message: &MessageDescriptor,
        path: &[i32],
        stands: Stands,
    ) {
        let written = Field {
            proto: field.field_descriptor_proto(),
            kind: field.kind(),
            cardinality: field.cardinality(),
            settings: settings(&field.options(), self.names, message.full_name()),
            is_map: field.is_map(),
            is_group: field.is_group(),
            stands,
        };
        self.field(&written, &[path, &[2, *field.path().last().unwrap_or(&0)]].concat(), message.full_name());
    }

    fn field(&mut self, field: &Field<'_>, path: &[i32], scope: &str) {
        self.leading(path);
        let label = match field.cardinality {
            Cardinality::Repeated if field.is_map => "",
            Cardinality::Repeated => "repeated ",
            Cardinality::Required => "required ",
            Cardinality::Optional if field.stands == Stands::Oneof => "",
            Cardinality::Optional if self.proto3 && !field.proto.proto3_optional() => "",
            Cardinality::Optional => "optional ",
        };
        let settings = brackets(&declarations(field));
        let number = field.proto.number();
        match &field.kind {
            Kind::Message(group) if field.is_group => {
                self.open(&format!("{label}group {} = {number}{settings}", group.name()));
                let path: Vec<i32> = group.path().to_vec();
                self.message_body(group, &path);
                self.close_block();
            }
            kind => {
                let written = self.kind(kind, field.is_map, scope);
                self.element(&format!("{label}{written} {} = {number}{settings};", field.proto.name()), path);
            }
        }
    }

    fn kind(&self, kind: &Kind, is_map: bool, scope: &str) -> String {
        match kind {
            Kind::Message(entry) if is_map => {
                let key = self.kind(&entry.map_entry_key_field().kind(), false, scope);
                let value = self.kind(&entry.map_entry_value_field().kind(), false, scope);
                format!("map<{key}, {value}>")
            }
            Kind::Message(message) => self.names.seen_from(scope, &self.package, message.full_name()),
            Kind::Enum(values) => self.names.seen_from(scope, &self.package, values.full_name()),
            Kind::Double => "double".to_owned(),
            Kind::Float => "float".to_owned(),
            Kind::Int32 => "int32".to_owned(),
            Kind::Int64 => "int64".to_owned(),
            Kind::Uint32 => "uint32".to_owned(),
            Kind::Uint64 => "uint64".to_owned(),
            Kind::Sint32 => "sint32".to_owned(),
            Kind::Sint64 => "sint64".to_owned(),
            Kind::Fixed32 => "fixed32".to_owned(),
            Kind::Fixed64 => "fixed64".to_owned(),
            Kind::Sfixed32 => "sfixed32".to_owned(),
            Kind::Sfixed64 => "sfixed64".to_owned(),
            Kind::Bool => "bool".to_owned(),
            Kind::String => "string".to_owned(),
            Kind::Bytes => "bytes".to_owned(),
        }
    }

    /// `reserved 2, 4 to 6; reserved "a";`. Ranges include both ends.
    fn reserved(&mut self, ranges: impl Iterator<Item = (i32, i32)>, max: i32, names: &[String]) {
        let ranges: Vec<String> = ranges.map(|(start, end)| range(start, end, max)).collect();
        if !ranges.is_empty() {
            self.line(&format!("reserved {};", ranges.join(", ")));
        }
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| text::quoted(name.as_bytes())).collect();
            self.line(&format!("reserved {};", names.join(", ")));
        }
    }

    fn extension_ranges(&mut self, message: &MessageDescriptor) {
        for range_ in &message.descriptor_proto().extension_range {
            let range = range(range_.start(), range_.end().saturating_sub(1), FIELD_NUMBERS_END - 1);
            self.line(&format!("extensions {range};"));
        }
    }

    /// Closes a block; an empty one stays on its line.
    fn close_block(&mut self) {
        if self.out.ends_with("{\n") {
            self.out.truncate(self.out.len() - 1);
            self.out.push_str("}\n");
            self.indent -= 1;
        } else {
            self.close();
        }
    }
}

/// Fields in the order of their descriptors.
fn in_order(message: &MessageDescriptor) -> Vec<FieldDescriptor> {
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(|field| field.path().last().copied());
    fields
}

fn in_order_of_types(message: &MessageDescriptor) -> Vec<MessageDescriptor> {
    let mut types: Vec<MessageDescriptor> = message.child_messages().collect();
    types.sort_by_key(|inner| inner.path().last().copied());
    types
}

fn child_path(path: &[i32], place: usize) -> Vec<i32> {
    [path, &[3, i32::try_from(place).unwrap_or(i32::MAX)]].concat()
}

/// The type that a map or group field declares with itself.
fn brings(field: &FieldDescriptor) -> Option<String> {
    match field.kind() {
        Kind::Message(message) if field.is_map() || field.is_group() => Some(message.full_name().to_owned()),
        _ => None,
    }
}

/// What stands in the brackets of a field: default and JSON name, where they are declared, and its options.
fn declarations(field: &Field<'_>) -> Vec<Setting> {
    let mut declarations = Vec::new();
    let mut declare = |name: &str, value: String| declarations.push(Setting { name: name.to_owned(), value });
    if let Some(default) = &field.proto.default_value {
        declare(
            "default",
            match field.kind {
                Kind::String => text::quoted(default.as_bytes()),
                // Compilers write a large number with all its digits, and read them back as an integer that is too large.
                Kind::Double => default.parse().map_or_else(|_| default.clone(), text::float),
                Kind::Float => default.parse().map_or_else(|_| default.clone(), text::single),
                // Already escaped (descriptor.proto, `default_value`).
                Kind::Bytes => format!("\"{default}\""),
                _ => default.clone(),
            },
        );
    }
    if let Some(json_name) = &field.proto.json_name
        && field.stands != Stands::Extend
        && *json_name != text::json_name(field.proto.name())
    {
        declare("json_name", text::quoted(json_name.as_bytes()));
    }
    declarations.extend(field.settings.iter().cloned());
    declarations
}

/// ` [a = 1, b = 2]`; one a line where a value has several lines.
fn brackets(settings: &[Setting]) -> String {
    let written: Vec<String> =
        settings.iter().map(|setting| format!("{} = {}", setting.name, setting.value)).collect();
    match written.as_slice() {
        [] => String::new(),
        [one] => format!(" [{one}]"),
        several if several.iter().all(|one| !one.contains('\n')) => format!(" [{}]", several.join(", ")),
        several => {
            let inner = several.join(",\n").split('\n').map(|line| format!("  {line}")).collect::<Vec<_>>();
            format!(" [\n{}\n]", inner.join("\n"))
        }
    }
}

fn range(start: i32, end: i32, max: i32) -> String {
    if start == end {
        start.to_string()
    } else if end >= max {
        format!("{start} to max")
    } else {
        format!("{start} to {end}")
    }
}
