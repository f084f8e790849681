//! A YAML file as a tree whose every value and key knows its place.
//!
//! Deserializing straight into structs would stop at the first unknown key; a tree lets the reader go on and name
//! them all.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use unicode_normalization::is_nfc;

use super::{Mistake, SourceFile};

/// Longest file, bytes.
pub const SOURCE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A line and a column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: u64,
    pub column: u64,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Located {
    pub place: Place,
    pub value: Value,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// A number that is no integer, or too large; nothing in a catalog is one.
    Number,
    Text(String),
    List(Vec<Located>),
    /// In the order of the file; keys are unique.
    Map(Vec<(Key, Located)>),
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub place: Place,
    pub name: String,
}

impl Located {
    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The item of a list.
    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    /// What this is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Integer(_) => "a number",
            Value::Number => "a number that is not whole",
            Value::Text(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Reads a file. An empty one is an empty mapping.
pub(super) fn parse(file: &SourceFile) -> Result<Located, Mistake> {
    let start = Place { line: 1, column: 1 };
    if file.text.len() > SOURCE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {SOURCE_BYTES_MAX} are read", file.text.len());
        return Err(Mistake::new(&file.name, start, "yaml", message, "split it"));
    }
    match serde_saphyr::from_str::<Spanned<Value>>(&file.text) {
        Ok(root) if matches!(root.value, Value::Null) => {
            Ok(Located { place: start, value: Value::Map(Vec::new()) })
        }
        Ok(root) => Ok(located(root)),
        Err(error) => {
            let place = error.location().map_or(start, |location| Place {
                line: location.line().max(1),
                column: location.column().max(1),
            });
            let message = error.without_snippet().to_string();
            // The place is said once, by the mistake itself.
            let message = message.split(" at line ").next().unwrap_or(&message);
            Err(Mistake::new(&file.name, place, "yaml", message, "correct the YAML"))
        }
    }
}

/// Every text and key that is not in Unicode form NFC.
pub(super) fn not_nfc(file: &str, tree: &Located) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut waiting = vec![tree];
    let mut check = |text: &str, place| {
        if !is_nfc(text) {
            mistakes.push(Mistake::new(
                file,
                place,
                "nfc",
                format!("{text:?} is not in Unicode form NFC"),
                "save the file in NFC",
            ));
        }
    };
    while let Some(node) = waiting.pop() {
        match &node.value {
            Value::Text(text) => check(text, node.place),
            Value::List(items) => waiting.extend(items),
            Value::Map(entries) => {
                for (key, value) in entries {
                    check(&key.name, key.place);
                    waiting.push(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Number => {}
        }
    }
    mistakes
}

fn located(spanned: Spanned<Value>) -> Located {
    Located { place: place(&spanned), value: spanned.value }
}

fn place<T>(spanned: &Spanned<T>) -> Place {
    Place { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, number, list or mapping")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Number, Value::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(located(item));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map: Vec<(Key, Located)> = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let place = place(&key);
            if map.iter().any(|(known, _)| known.name == key.value) {
                return Err(de::Error::custom(format!("key {} comes twice", key.value)));
            }
            map.push((Key { place, name: key.value }, located(entries.next_value()?)));
        }
        Ok(Value::Map(map))
    }
}
