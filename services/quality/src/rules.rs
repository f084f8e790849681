//! What is demanded of one record message, read from its options once.

use lienthong_proto::options;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use regex::{Regex, RegexBuilder};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::sample::Seen;

/// Longest pattern that is kept, bytes.
const PATTERN_BYTES_MAX: usize = 1024;
/// Bytes of a compiled pattern; a larger one is not judged.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Messages inside a record that are followed, one inside the other.
const DEPTH_MAX: usize = 8;
/// Full name of the message that holds a moment.
const TIMESTAMP: &str = "google.protobuf.Timestamp";
/// Fields of one record that are judged.
const FIELDS_MAX: usize = 1_024;

/// Whether a text is a pattern that can be judged by.
pub fn is_pattern(text: &str) -> bool {
    pattern(text).is_some()
}

/// Whether a field can hold the time of a record's last change: a single google.protobuf.Timestamp or text.
pub fn is_time(field: &FieldDescriptor) -> bool {
    let holds = match field.kind() {
        Kind::String => true,
        Kind::Message(message) => message.full_name() == TIMESTAMP,
        _ => false,
    };
    holds && !field.is_list() && !field.is_map()
}

/// The rules of one record message.
#[derive(Debug)]
pub(crate) struct Rules {
    fields: Vec<Rule>,
    keys: Vec<FieldDescriptor>,
    update_time: Option<FieldDescriptor>,
}

#[derive(Debug)]
struct Rule {
    field: FieldDescriptor,
    is_required: bool,
    pattern: Option<Regex>,
    /// Rules of what is inside.
    inside: Vec<Rule>,
}

impl Rules {
    /// Reads the options of a record; `None` where they demand nothing that could be judged.
    pub(crate) fn of(record: &MessageDescriptor) -> Option<Self> {
        let mut left = FIELDS_MAX;
        let fields = rules_of(record, &mut vec![record.full_name().to_owned()], &mut left);
        let declared = options::dataset(record).unwrap_or_default();
        let keys = declared.key_fields.iter().map(|name| record.get_field_by_name(name));
        let keys: Vec<FieldDescriptor> = keys.collect::<Option<_>>().unwrap_or_default();
        let update_time =
            record.fields().find(|field| options::field(field).is_some_and(|declared| declared.update_time));
        (!fields.is_empty() || !keys.is_empty() || update_time.is_some()).then_some(Self {
            fields,
            keys,
            update_time,
        })
    }

    pub(crate) fn look_at(&self, record: &DynamicMessage, now: OffsetDateTime) -> Seen {
        let mut seen = Seen { is_dated: self.update_time.is_some(), ..Seen::default() };
        judge(&self.fields, record, &mut seen);
        let key = self
            .keys
            .iter()
            .map(|field| is_there(record, field).then(|| record.get_field(field).to_string()));
        seen.key = key.collect::<Option<_>>().unwrap_or_default();
        seen.age_ms = self.update_time.as_ref().and_then(|field| {
            let changed = time_of(record.get_field(field).as_ref()).filter(|_| record.has_field(field))?;
            // A source may run a little ahead of this clock.
            u64::try_from((now - changed).whole_milliseconds().max(0)).ok()
        });
        seen
    }
}

fn rules_of(message: &MessageDescriptor, path: &mut Vec<String>, left: &mut usize) -> Vec<Rule> {
    let mut rules = Vec::new();
    for field in message.fields() {
        if *left == 0 {
            break;
        }
        *left -= 1;
        let declared = options::field(&field).unwrap_or_default();
        let pattern = Some(declared.regex.as_str()).filter(|text| !text.is_empty()).and_then(pattern);
        let inside = match field.kind() {
            Kind::Message(inside)
                if !field.is_map()
                    && path.len() < DEPTH_MAX
                    && !path.iter().any(|name| name == inside.full_name()) =>
            {
                path.push(inside.full_name().to_owned());
                let found = rules_of(&inside, path, left);
                path.pop();
                found
            }
            _ => Vec::new(),
        };
        let is_enum = matches!(field.kind(), Kind::Enum(_));
        if declared.required || pattern.is_some() || is_enum || !inside.is_empty() {
            rules.push(Rule { field, is_required: declared.required, pattern, inside });
        }
    }
    rules
}

fn pattern(text: &str) -> Option<Regex> {
    if text.len() > PATTERN_BYTES_MAX {
        return None;
    }
    RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build().ok()
}

fn judge(rules: &[Rule], message: &DynamicMessage, seen: &mut Seen) {
    for rule in rules {
        if !is_there(message, &rule.field) {
            seen.incomplete |= rule.is_required;
            continue;
        }
        judge_value(rule, message.get_field(&rule.field).as_ref(), seen);
    }
}

fn judge_value(rule: &Rule, value: &Value, seen: &mut Seen) {
    match value {
        Value::List(items) => items.iter().for_each(|item| judge_value(rule, item, seen)),
        Value::String(text) => {
            seen.incorrect |= rule.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text));
        }
        Value::EnumNumber(number) => {
            if let Kind::Enum(words) = rule.field.kind() {
                seen.incorrect |= words.get_value(*number).is_none();
            }
        }
        Value::Message(inside) => judge(&rule.inside, inside, seen),
        _ => {}
    }
}

/// Whether a field has a value. A number without presence may be zero and right; a text may not be empty.
fn is_there(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    if message.has_field(field) {
        return true;
    }
    !field.supports_presence()
        && !field.is_list()
        && !field.is_map()
        && !matches!(field.kind(), Kind::String | Kind::Bytes | Kind::Enum(_))
}

/// The time in a google.protobuf.Timestamp, or in a text of RFC 3339.
fn time_of(value: &Value) -> Option<OffsetDateTime> {
    match value {
        Value::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok(),
        Value::Message(message) if message.descriptor().full_name() == TIMESTAMP => {
            let seconds = message.get_field_by_name("seconds")?.as_i64()?;
            OffsetDateTime::from_unix_timestamp(seconds).ok()
        }
        _ => None,
    }
}
