//! From a question to its answers. The same question always has the same answers.

use lienthong_proto::options;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use tonic::{Code, Status};

use crate::{
    chance::Chance,
    fake,
    pattern::Pattern,
    record::{NOT_FOUND_ENDING, key_fields, key_text, made_key, record},
    value::{self, chosen_fields},
};

/// Records behind every list, all its pages together.
pub const LIST_RECORDS: usize = 7;

/// Records of a page when the question names no size.
pub const PAGE_RECORDS_DEFAULT: usize = 3;

/// Messages of an answer that streams.
pub const STREAM_MESSAGES: usize = 5;

/// Fields of a question that choose a page of the answer and not what it is about (AIP-158).
const PAGE_FIELDS: [&str; 2] = ["page_size", "page_token"];

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No record has this key, by the rule of [`NOT_FOUND_ENDING`], or because it could be somebody's.
    #[error("no record has this {field}; a sandbox knows no key that ends in {NOT_FOUND_ENDING}, and of personal numbers only those that begin with {prefix}", prefix = fake::PERSON_PREFIX)]
    NotFound {
        /// Field of the question.
        field: String,
    },
    /// A key that no record can have.
    #[error("{field} does not match {pattern}")]
    Malformed {
        /// Field of the question.
        field: String,
        /// What the contract says of it.
        pattern: String,
    },
    /// A token that no answer of this list had.
    #[error("page_token is not one of this list's")]
    PageToken,
}

impl From<NoAnswer> for Status {
    fn from(error: NoAnswer) -> Self {
        let code = match error {
            NoAnswer::NotFound { .. } => Code::NotFound,
            NoAnswer::Malformed { .. } | NoAnswer::PageToken => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

/// A question: one message, or several of a caller that streams.
#[derive(Debug, Clone)]
pub struct Question {
    method: MethodDescriptor,
    message: DynamicMessage,
    chance: Chance,
}

impl Question {
    /// The question of one message.
    pub fn new(method: &MethodDescriptor, message: DynamicMessage) -> Self {
        let chance = Chance::of(method.output().full_name()).asked(&message, &PAGE_FIELDS);
        Self { method: method.clone(), message, chance }
    }

    /// The same with one more message behind the ones before; the last one is the one that is echoed.
    #[must_use]
    pub fn and(self, message: DynamicMessage) -> Self {
        let chance = self.chance.asked(&message, &[]);
        Self { message, chance, ..self }
    }

    /// Every message of the answer: one, or [`STREAM_MESSAGES`] where the method streams its answer.
    pub fn answers(&self) -> Result<Vec<DynamicMessage>, NoAnswer> {
        let count = if self.method.is_server_streaming() { STREAM_MESSAGES } else { 1 };
        (0..count).map(|place| self.answer(place)).collect()
    }

    /// One message of the answer.
    pub fn answer(&self, place: usize) -> Result<DynamicMessage, NoAnswer> {
        let output = self.method.output();
        self.check(&output)?;
        let chance = self.chance.at(place);
        let mut answer = DynamicMessage::new(output.clone());
        let page = self.page()?;
        for field in chosen_fields(&output, &self.chance) {
            let value = match record_of(&field) {
                Some(descriptor) if field.is_list() => Some(self.list(&descriptor, &page)),
                Some(descriptor) => {
                    Some(Value::Message(record(&descriptor, self.asked_of(&descriptor), &chance)))
                }
                None => beside(&field, &page, &chance),
            };
            if let Some(value) = value {
                answer.set_field(&field, value);
            }
        }
        Ok(answer)
    }

    /// Where the question says what it wants of a record: in the record that it sends, else in itself.
    fn asked_of(&self, descriptor: &MessageDescriptor) -> &DynamicMessage {
        let sent = self.message.fields().find_map(|(_, value)| match value {
            Value::Message(sent) if sent.descriptor() == *descriptor => Some(sent),
            _ => None,
        });
        sent.unwrap_or(&self.message)
    }

    fn list(&self, descriptor: &MessageDescriptor, page: &Page) -> Value {
        let one = |place| Value::Message(record(descriptor, &self.message, &self.chance.at(place)));
        Value::List((page.start..page.end).map(one).collect())
    }

    /// Whether the keys in the question can have, and do have, a record.
    fn check(&self, output: &MessageDescriptor) -> Result<(), NoAnswer> {
        let records: Vec<_> =
            output.fields().filter_map(|field| Some((record_of(&field)?, field.is_list()))).collect();
        for (record, is_list) in &records {
            for name in key_fields(record) {
                let Some(asked) = self.message.descriptor().get_field_by_name(&name) else { continue };
                let key = key_text(&self.message.get_field(&asked));
                if *is_list && key.is_empty() {
                    continue;
                }
                let said = record.get_field_by_name(&name).and_then(|field| options::field(&field));
                let pattern = said.map(|said| said.regex).unwrap_or_default();
                if Pattern::read(&pattern).is_some_and(|read| !read.matches(&key)) {
                    return Err(NoAnswer::Malformed { field: name, pattern });
                }
                if key.ends_with(NOT_FOUND_ENDING) {
                    return Err(NoAnswer::NotFound { field: name });
                }
            }
        }
        real_number(&self.message, 0).map_or(Ok(()), |field| Err(NoAnswer::NotFound { field }))
    }

    fn page(&self) -> Result<Page, NoAnswer> {
        let said = |name: &str| self.message.get_field_by_name(name).map(std::borrow::Cow::into_owned);
        let start = match said("page_token") {
            Some(Value::String(token)) if !token.is_empty() => {
                let start: usize = token.parse().map_err(|_| NoAnswer::PageToken)?;
                if start > LIST_RECORDS {
                    return Err(NoAnswer::PageToken);
                }
                start
            }
            _ => 0,
        };
        let size = match said("page_size") {
            Some(Value::I32(size)) => usize::try_from(size).ok().filter(|size| *size > 0),
            _ => None,
        };
        let size = size.unwrap_or(PAGE_RECORDS_DEFAULT);
        Ok(Page { start, end: start.saturating_add(size).min(LIST_RECORDS) })
    }
}

/// A question to begin with: the keys of a record that there is, and nothing else. The same each time.
pub fn example(method: &MethodDescriptor) -> DynamicMessage {
    let input = method.input();
    let mut question = DynamicMessage::new(input.clone());
    let output = method.output();
    let records = output.fields().filter(|field| !field.is_list()).filter_map(|field| record_of(&field));
    for record in records {
        for name in key_fields(&record) {
            if let (Some(asked), Some(field)) =
                (input.get_field_by_name(&name), record.get_field_by_name(&name))
                && asked.kind() == field.kind()
                && let Some(key) = made_key(&field, &Chance::of(record.full_name()))
            {
                question.set_field(&asked, key);
            }
        }
    }
    question
}

/// Which records of a list.
struct Page {
    start: usize,
    end: usize,
}

/// What stands beside the records.
fn beside(field: &FieldDescriptor, page: &Page, chance: &Chance) -> Option<Value> {
    match (field.name(), field.kind()) {
        ("next_page_token", Kind::String) => {
            (page.end < LIST_RECORDS).then(|| Value::String(page.end.to_string()))
        }
        ("total_size", Kind::Int32) => i32::try_from(LIST_RECORDS).ok().map(Value::I32),
        _ => value::value(field, &chance.with(field.name().as_bytes()), 1),
    }
}

/// The record message that sits in a field of a response.
fn record_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_map() => {
            (options::is_record(field) || options::dataset(&message).is_some()).then_some(message)
        }
        _ => None,
    }
}

/// The first field of a question with a number that could be a real person's.
fn real_number(message: &DynamicMessage, depth: usize) -> Option<String> {
    if depth >= value::DEPTH_MAX {
        return None;
    }
    message.fields().find_map(|(field, value)| {
        let found = holds_real_number(value, depth);
        found.then(|| field.name().to_owned())
    })
}

fn holds_real_number(value: &Value, depth: usize) -> bool {
    match value {
        Value::String(text) => fake::may_be_real(text),
        Value::Message(message) => real_number(message, depth + 1).is_some(),
        Value::List(values) => values.iter().any(|value| holds_real_number(value, depth)),
        Value::Map(entries) => entries.values().any(|value| holds_real_number(value, depth)),
        _ => false,
    }
}
