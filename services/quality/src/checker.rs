//! Looks at the records in the messages of one method.

use std::collections::BTreeMap;

use lienthong_proto::options;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};
use time::OffsetDateTime;

use crate::rules::Rules;
use crate::sample::Sample;

/// Messages around a record that are followed, one inside the other.
const DEPTH_MAX: usize = 8;

/// What the records of one method's responses are held to.
#[derive(Debug)]
pub struct Checker {
    response: MessageDescriptor,
    /// By full name of the record message.
    rules: BTreeMap<String, Rules>,
}

impl Checker {
    /// Reads what the contract demands of the records in this response; `None` where it demands nothing.
    pub fn of(response: &MessageDescriptor) -> Option<Self> {
        let mut rules = BTreeMap::new();
        gather(response, 0, &mut rules);
        (!rules.is_empty()).then(|| Self { response: response.clone(), rules })
    }

    /// Looks at the records of one message, as they came. A message that cannot be read says nothing: whether it may pass
    /// is the filter's to judge.
    pub fn look_at(&self, message: &[u8], now: OffsetDateTime, sample: &mut Sample) {
        if let Ok(read) = DynamicMessage::decode(self.response.clone(), message) {
            self.walk(&read, 0, now, sample);
        }
    }

    fn walk(&self, message: &DynamicMessage, depth: usize, now: OffsetDateTime, sample: &mut Sample) {
        if depth > DEPTH_MAX || !sample.has_room() {
            return;
        }
        if let Some(rules) = self.rules.get(message.descriptor().full_name()) {
            sample.add(&rules.look_at(message, now));
            return;
        }
        for (_, value) in message.fields() {
            match value {
                Value::Message(inside) => self.walk(inside, depth + 1, now, sample),
                Value::List(items) => {
                    for item in items.iter().filter_map(Value::as_message) {
                        self.walk(item, depth + 1, now, sample);
                    }
                }
                Value::Map(items) => {
                    for item in items.values().filter_map(Value::as_message) {
                        self.walk(item, depth + 1, now, sample);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The records in a message and in what is inside it.
fn gather(message: &MessageDescriptor, depth: usize, rules: &mut BTreeMap<String, Rules>) {
    if depth > DEPTH_MAX || rules.contains_key(message.full_name()) {
        return;
    }
    if options::dataset(message).is_some() {
        if let Some(found) = Rules::of(message) {
            rules.insert(message.full_name().to_owned(), found);
        }
        return;
    }
    for field in message.fields() {
        if let Some(inside) = field.kind().as_message() {
            gather(inside, depth + 1, rules);
        }
    }
}
