//! The fields of a message that a condition names: their types in Cedar, and their values on the wire.
//!
//! Only what is named is read; the rest of the message is skipped, not decoded. Where a singular field comes more than
//! once the last one counts and messages merge, as in every decoder.

use cedar_policy::RestrictedExpression;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use unicode_normalization::{IsNormalized, is_nfc, is_nfc_quick};

use super::text::ConditionError;

/// Values of one repeated field that are compared; a longer list is as good as missing.
pub(crate) const LIST_VALUES_MAX: usize = 1_024;

/// The named fields of one message type.
#[derive(Debug)]
pub(crate) struct Shape {
    fields: Vec<Named>,
}

/// A named field, or a message on the way to one.
#[derive(Debug)]
struct Named {
    number: u32,
    name: String,
    what: What,
}

#[derive(Debug)]
enum What {
    Message(Shape),
    Value {
        kind: Scalar,
        list: bool,
        /// True where an absent number or flag is zero or false, not missing.
        implicit: bool,
    },
}

#[derive(Debug)]
enum Scalar {
    Bool,
    /// Varint that is not zigzag; true where it is signed.
    Varint(bool),
    ZigZag,
    Fixed32(bool),
    Fixed64(bool),
    Text,
    Word(EnumDescriptor),
}

impl Shape {
    /// Finds the named fields, dotted, in a message type.
    pub(crate) fn of<'a>(
        message: &MessageDescriptor,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<Self, ConditionError> {
        let mut shape = Self { fields: Vec::new() };
        for name in names {
            shape.add(message, name, name)?;
        }
        Ok(shape)
    }

    /// The same as a type of Cedar's schema language.
    pub(crate) fn cedar_type(&self) -> String {
        let attribute = |field: &Named| {
            let of = match &field.what {
                What::Message(inner) => inner.cedar_type(),
                What::Value { kind, list: false, .. } => kind.cedar_type().to_owned(),
                What::Value { kind, list: true, .. } => format!("Set<{}>", kind.cedar_type()),
            };
            format!("\"{}\": {of}", field.name)
        };
        let attributes: Vec<String> = self.fields.iter().map(attribute).collect();
        format!("{{{}}}", attributes.join(", "))
    }

    /// The values of a message as a record of Cedar's; what is missing is left out. `None` for bytes that are not such a
    /// message.
    pub(crate) fn read(&self, message: &[u8]) -> Option<RestrictedExpression> {
        let mut values = Values::of(self);
        values.take_in(self, message)?;
        values.into_record(self)
    }

    fn add(&mut self, message: &MessageDescriptor, rest: &str, whole: &str) -> Result<(), ConditionError> {
        let (name, rest) = rest.split_once('.').map_or((rest, None), |(name, rest)| (name, Some(rest)));
        let fault = |fault: &str| ConditionError::Field {
            message: message.full_name().to_owned(),
            fault: format!("{fault} (condition on {whole})"),
        };
        let field = message
            .get_field_by_name(name)
            .ok_or_else(|| fault(&format!("has no field {name}; correct the condition")))?;
        if field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic()) {
            return Err(fault(&format!("has {name} in a oneof, which a condition cannot name")));
        }
        if let (Kind::Message(inner), Some(rest)) = (field.kind(), rest) {
            if field.is_list() || field.is_map() || field.is_group() {
                return Err(fault(&format!("has {name} more than once; a condition is about one value")));
            }
            let known = self.fields.iter().position(|known| known.number == field.number());
            let slot = known.unwrap_or_else(|| {
                let what = What::Message(Self { fields: Vec::new() });
                self.fields.push(Named { number: field.number(), name: name.to_owned(), what });
                self.fields.len() - 1
            });
            return match &mut self.fields[slot].what {
                What::Message(shape) => shape.add(&inner, rest, whole),
                What::Value { .. } => Err(fault(&format!("has {name} as a value"))),
            };
        }
        let kind = Scalar::of(&field).filter(|_| rest.is_none() && !field.is_map());
        let kind = kind.ok_or_else(|| {
            fault(&format!(
                "has {name} as something that a condition cannot compare; name a text, number, flag or enum"
            ))
        })?;
        let what = What::Value { kind, list: field.is_list(), implicit: !field.supports_presence() };
        self.fields.push(Named { number: field.number(), name: name.to_owned(), what });
        Ok(())
    }
}

impl Scalar {
    fn of(field: &FieldDescriptor) -> Option<Self> {
        Some(match field.kind() {
            Kind::Bool => Self::Bool,
            Kind::Int32 | Kind::Int64 => Self::Varint(true),
            Kind::Uint32 | Kind::Uint64 => Self::Varint(false),
            Kind::Sint32 | Kind::Sint64 => Self::ZigZag,
            Kind::Fixed32 => Self::Fixed32(false),
            Kind::Sfixed32 => Self::Fixed32(true),
            Kind::Fixed64 => Self::Fixed64(false),
            Kind::Sfixed64 => Self::Fixed64(true),
            Kind::String => Self::Text,
            Kind::Enum(words) => Self::Word(words),
            Kind::Double | Kind::Float | Kind::Bytes | Kind::Message(_) => return None,
        })
    }

    fn cedar_type(&self) -> &'static str {
        match self {
            Self::Bool => "Bool",
            Self::Text | Self::Word(_) => "String",
            _ => "Long",
        }
    }

    fn wire(&self) -> WireType {
        match self {
            Self::Bool | Self::Varint(_) | Self::ZigZag | Self::Word(_) => WireType::Varint,
            Self::Fixed32(_) => WireType::ThirtyTwoBit,
            Self::Fixed64(_) => WireType::SixtyFourBit,
            Self::Text => WireType::LengthDelimited,
        }
    }

    /// What the field says where it is absent and has no presence of its own; `None`: nothing.
    fn absent(&self) -> Option<Value> {
        match self {
            Self::Bool => Some(Value::Bool(false)),
            Self::Text | Self::Word(_) => None,
            _ => Some(Value::Number(0)),
        }
    }

    /// Reads one value. `None`: malformed.
    fn read(&self, bytes: &mut &[u8]) -> Option<Read> {
        let unsigned = |number: u64| i64::try_from(number).ok().map(Value::Number);
        Some(Read(match self {
            Self::Bool => Some(Value::Bool(decode_varint(bytes).ok()? != 0)),
            Self::Varint(true) => Some(Value::Number(decode_varint(bytes).ok()?.cast_signed())),
            Self::Varint(false) => unsigned(decode_varint(bytes).ok()?),
            Self::ZigZag => {
                let number = decode_varint(bytes).ok()?;
                Some(Value::Number((number >> 1).cast_signed() ^ -(number & 1).cast_signed()))
            }
            Self::Fixed32(signed) => {
                let number = bytes.try_get_u32_le().ok()?;
                Some(Value::Number(if *signed { number.cast_signed().into() } else { number.into() }))
            }
            Self::Fixed64(true) => Some(Value::Number(bytes.try_get_i64_le().ok()?)),
            Self::Fixed64(false) => unsigned(bytes.try_get_u64_le().ok()?),
            Self::Text => {
                let text = delimited(bytes)?;
                std::str::from_utf8(text)
                    .ok()
                    .filter(|text| says_something(text))
                    .map(|text| Value::Text(text.to_owned()))
            }
            Self::Word(words) => {
                #[expect(clippy::cast_possible_truncation, reason = "as every decoder reads an enum")]
                let number = decode_varint(bytes).ok()? as i32;
                let word = words.get_value(number).filter(|_| number != 0);
                word.map(|word| Value::Text(word.name().to_owned()))
            }
        }))
    }
}

/// A value on the wire; nothing where it says nothing.
struct Read(Option<Value>);

/// A text that is there and in NFC: its twin in another form is another text to Cedar, and the same to a reader.
fn says_something(text: &str) -> bool {
    !text.is_empty()
        && match is_nfc_quick(text.chars()) {
            IsNormalized::Yes => true,
            IsNormalized::No => false,
            IsNormalized::Maybe => is_nfc(text),
        }
}

#[derive(Debug, Clone)]
enum Value {
    Bool(bool),
    Number(i64),
    Text(String),
}

impl Value {
    fn into_cedar(self) -> RestrictedExpression {
        match self {
            Self::Bool(flag) => RestrictedExpression::new_bool(flag),
            Self::Number(number) => RestrictedExpression::new_long(number),
            Self::Text(text) => RestrictedExpression::new_string(text),
        }
    }
}

/// What was read so far, a slot for each field of a shape.
struct Values(Vec<Slot>);

enum Slot {
    /// Not on the wire.
    Absent,
    /// There, but says nothing: an empty text, an unknown word, a list that is too long.
    Mute,
    One(Value),
    List(Vec<Value>),
    Message(Values),
}

impl Values {
    fn of(shape: &Shape) -> Self {
        Self(shape.fields.iter().map(|_| Slot::Absent).collect())
    }

    /// Takes in one occurrence of a message; `None` if it is malformed.
    fn take_in(&mut self, shape: &Shape, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let (number, wire) = decode_key(&mut bytes).ok()?;
            let Some(index) = shape.fields.iter().position(|field| field.number == number) else {
                skip_field(wire, number, &mut bytes, DecodeContext::default()).ok()?;
                continue;
            };
            let slot = &mut self.0[index];
            match &shape.fields[index].what {
                What::Message(inner) if wire == WireType::LengthDelimited => {
                    let body = delimited(&mut bytes)?;
                    if !matches!(slot, Slot::Message(_)) {
                        *slot = Slot::Message(Self::of(inner));
                    }
                    if let Slot::Message(values) = slot {
                        values.take_in(inner, body)?;
                    }
                }
                What::Value { kind, list: false, .. } if wire == kind.wire() => {
                    *slot = kind.read(&mut bytes)?.0.map_or(Slot::Mute, Slot::One);
                }
                What::Value { kind, list: true, .. } if wire == kind.wire() => {
                    slot.push(kind.read(&mut bytes)?.0);
                }
                What::Value { kind, list: true, .. } if wire == WireType::LengthDelimited => {
                    let mut packed = delimited(&mut bytes)?;
                    while !packed.is_empty() {
                        slot.push(kind.read(&mut packed)?.0);
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn into_record(self, shape: &Shape) -> Option<RestrictedExpression> {
        let mut pairs = Vec::with_capacity(self.0.len());
        for (field, slot) in shape.fields.iter().zip(self.0) {
            let value = match (&field.what, slot) {
                (What::Message(inner), Slot::Message(values)) => Some(values.into_record(inner)?),
                (_, Slot::One(value)) => Some(value.into_cedar()),
                (_, Slot::List(values)) => {
                    Some(RestrictedExpression::new_set(values.into_iter().map(Value::into_cedar)))
                }
                // A list is never missing: it may be empty.
                (What::Value { list: true, .. }, Slot::Absent) => Some(RestrictedExpression::new_set([])),
                (What::Value { kind, implicit: true, .. }, Slot::Absent) => {
                    kind.absent().map(Value::into_cedar)
                }
                _ => None,
            };
            pairs.extend(value.map(|value| (field.name.clone(), value)));
        }
        RestrictedExpression::new_record(pairs).ok()
    }
}

impl Slot {
    /// One more value of a list. One that says nothing makes the whole list say nothing.
    fn push(&mut self, value: Option<Value>) {
        match (&mut *self, value) {
            (Self::Mute, _) => {}
            (Self::List(values), Some(value)) if values.len() < LIST_VALUES_MAX => values.push(value),
            (Self::Absent, Some(value)) => *self = Self::List(vec![value]),
            _ => *self = Self::Mute,
        }
    }
}

/// The bytes behind a length.
fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (body, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(body)
}
