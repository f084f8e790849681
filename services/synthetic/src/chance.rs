//! Variety without randomness: numbers that follow from what they are for.

use aws_lc_rs::digest::{SHA256, digest};
use prost_reflect::{DynamicMessage, MapKey, Value};

/// A number source whose numbers depend on its seed alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chance {
    seed: [u8; 32],
    taken: u64,
}

impl Chance {
    /// The source for a topic.
    pub fn of(topic: &str) -> Self {
        Self { seed: [0; 32], taken: 0 }.with(topic.as_bytes())
    }

    /// The source for a part of this one's topic; what was taken from this one makes no difference.
    #[must_use]
    pub fn with(&self, part: &[u8]) -> Self {
        let mut bytes = self.seed.to_vec();
        bytes.extend_from_slice(part);
        Self { seed: sha256(&bytes), taken: 0 }
    }

    /// The source for a number within this one's topic.
    #[must_use]
    pub fn at(&self, place: usize) -> Self {
        self.with(&(place as u64).to_be_bytes())
    }

    /// The source for a question; the fields named in `but` make no difference to it.
    #[must_use]
    pub fn asked(&self, question: &DynamicMessage, but: &[&str]) -> Self {
        let mut bytes = Vec::new();
        write_message(question, but, &mut bytes);
        self.with(&bytes)
    }

    /// A number below `bound`; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.taken += 1;
        let mut bytes = self.seed.to_vec();
        bytes.extend_from_slice(&self.taken.to_be_bytes());
        let hash = sha256(&bytes);
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        // The bias of a remainder is of no weight here.
        number.checked_rem(bound).unwrap_or(0)
    }

    /// One of several; `None` of none.
    pub fn one_of<'a, T>(&mut self, several: &'a [T]) -> Option<&'a T> {
        several.get(usize::try_from(self.below(several.len() as u64)).unwrap_or(0))
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A form in which equal messages are equal bytes: fields by number, maps by key.
fn write_message(message: &DynamicMessage, but: &[&str], bytes: &mut Vec<u8>) {
    let mut fields: Vec<_> = message.fields().filter(|(field, _)| !but.contains(&field.name())).collect();
    fields.sort_by_key(|(field, _)| field.number());
    bytes.extend_from_slice(&fields.len().to_be_bytes());
    for (field, value) in fields {
        bytes.extend_from_slice(&field.number().to_be_bytes());
        write_value(value, bytes);
    }
}

fn write_value(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Bool(value) => bytes.push(u8::from(*value)),
        Value::I32(value) | Value::EnumNumber(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::I64(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::U32(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::U64(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::F32(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::F64(value) => bytes.extend_from_slice(&value.to_be_bytes()),
        Value::String(value) => write_bytes(value.as_bytes(), bytes),
        Value::Bytes(value) => write_bytes(value, bytes),
        Value::Message(message) => write_message(message, &[], bytes),
        Value::List(values) => {
            bytes.extend_from_slice(&values.len().to_be_bytes());
            for value in values {
                write_value(value, bytes);
            }
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            bytes.extend_from_slice(&entries.len().to_be_bytes());
            for (key, value) in entries {
                write_bytes(key.as_bytes(), bytes);
                write_value(value, bytes);
            }
        }
    }
}

fn write_bytes(text: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&text.len().to_be_bytes());
    bytes.extend_from_slice(text);
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_topic_alone() {
        let (mut one, mut same, mut other) = (Chance::of("a"), Chance::of("a"), Chance::of("b"));
        let numbers: Vec<_> = (0..8).map(|_| one.below(1_000_000)).collect();
        assert_eq!(numbers, (0..8).map(|_| same.below(1_000_000)).collect::<Vec<_>>());
        assert_ne!(numbers, (0..8).map(|_| other.below(1_000_000)).collect::<Vec<_>>());
        assert_eq!(one.with(b"x"), Chance::of("a").with(b"x"), "what was taken makes no difference");
        assert_eq!(one.below(0), 0);
        assert_eq!(one.one_of::<u8>(&[]), None);
    }
}
