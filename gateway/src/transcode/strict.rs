//! JSON that says everything once. What is said twice is read differently by different readers: a proxy that checks the
//! first and a backend that takes the last do not see the same request.
//!
//! prost-reflect takes the last. This looks beforehand, field by field as the message declares them: `soDinhDanh` and
//! `so_dinh_danh` are one field.

use std::{collections::HashSet, fmt};

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::limits::JSON_DEPTH_MAX;

/// What a value is read as.
#[derive(Clone)]
enum Shape {
    /// A message with fields.
    Message(MessageDescriptor),
    /// A map of such values.
    Map(Box<Shape>),
    /// Anything: only its own keys must differ.
    Free,
}

/// Looks through the value of a message.
pub fn check(message: &MessageDescriptor, json: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Look { shape: shape_of_message(message), depth: 0 }.deserialize(&mut reader)?;
    reader.end()
}

/// A message of its own fields, or one that JSON writes in a way of its own (`google.protobuf.*`).
fn shape_of_message(message: &MessageDescriptor) -> Shape {
    match message.full_name() {
        name if name.starts_with("google.protobuf.") => Shape::Free,
        _ => Shape::Message(message.clone()),
    }
}

fn shape_of(field: &FieldDescriptor) -> Shape {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return Shape::Free };
        let value = entry.map_entry_value_field();
        return Shape::Map(Box::new(shape_of_kind(&value.kind())));
    }
    shape_of_kind(&field.kind())
}

fn shape_of_kind(kind: &Kind) -> Shape {
    match kind {
        Kind::Message(message) => shape_of_message(message),
        _ => Shape::Free,
    }
}

struct Look {
    shape: Shape,
    depth: usize,
}

impl Look {
    fn inside<E: Error>(&self, shape: Shape) -> Result<Self, E> {
        if self.depth >= JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {JSON_DEPTH_MAX}")));
        }
        Ok(Self { shape, depth: self.depth + 1 })
    }
}

/// A key, told apart from others of the same object.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Field(u32),
    Name(String),
}

impl<'de> DeserializeSeed<'de> for Look {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let (key, shape) = match &self.shape {
                Shape::Message(message) => {
                    let field =
                        message.get_field_by_json_name(&name).or_else(|| message.get_field_by_name(&name));
                    match field {
                        Some(field) => (Key::Field(field.number()), shape_of(&field)),
                        None => (Key::Name(name.clone()), Shape::Free),
                    }
                }
                Shape::Map(value) => (Key::Name(name.clone()), (**value).clone()),
                Shape::Free => (Key::Name(name.clone()), Shape::Free),
            };
            if !seen.insert(key) {
                return Err(A::Error::custom(format_args!("{:?} is said twice", short(&name))));
            }
            map.next_value_seed(self.inside(shape)?)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.inside(self.shape.clone())?)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// A name as an error repeats it.
fn short(name: &str) -> String {
    name.chars().take(40).collect()
}
