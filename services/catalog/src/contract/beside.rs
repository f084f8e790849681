//! Options beside a contract: what the catalog says about a service whose proto cannot be changed.
//!
//! They are the very options of `lienthong/options/v1/options.proto`, given for elements by their full names
//! (`source/contracts.rs` reads them), and [`super::annotate`] puts them where the proto would have had them.

use std::collections::BTreeMap;
use std::fmt;

use prost_reflect::Value;

/// The options that the catalog gives beside the contract of one provider.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    given: BTreeMap<Element, Vec<Given>>,
    /// File and line where each element is named first.
    named: BTreeMap<Element, String>,
}

impl Beside {
    /// None at all.
    pub const NONE: Self = Self { given: BTreeMap::new(), named: BTreeMap::new() };

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Takes note of an element and the place where it is named.
    pub(crate) fn name(&mut self, element: Element, place: String) {
        self.named.entry(element).or_insert(place);
    }

    /// Takes up an option; gives it back where the element has it already, with the place of the first.
    pub(crate) fn add(&mut self, element: Element, option: Given) -> Result<(), String> {
        self.name(element.clone(), option.place.clone());
        let given = self.given.entry(element).or_default();
        if let Some(first) = given.iter().find(|first| first.setting == option.setting) {
            return Err(first.place.clone());
        }
        given.push(option);
        Ok(())
    }

    /// Every element and where it is named; messages before fields before methods, by name.
    pub(super) fn elements(&self) -> impl Iterator<Item = (&Element, &str)> {
        self.named.iter().map(|(element, place)| (element, place.as_str()))
    }

    pub(super) fn of(&self, element: &Element) -> &[Given] {
        self.given.get(element).map_or(&[], Vec::as_slice)
    }
}

/// What an option is given for, by its full name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Element {
    /// A message: `package.Message`.
    Message(String),
    /// A field: `package.Message.field`.
    Field(String),
    /// A method: `package.Service.Method`.
    Method(String),
}

impl Element {
    /// The full name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Message(name) | Self::Field(name) | Self::Method(name) => name,
        }
    }

    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Field(_) => "field",
            Self::Method(_) => "method",
        }
    }

    /// The message around a field.
    pub(super) fn message_around(&self) -> Option<Self> {
        match self {
            Self::Field(name) => {
                let (message, _) = name.rsplit_once('.')?;
                Some(Self::Message(message.to_owned()))
            }
            Self::Message(_) | Self::Method(_) => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One option of an element.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    /// Which one.
    pub setting: Setting,
    /// What it is set to.
    pub value: Value,
    /// File and line that give it, for people.
    pub place: String,
}

/// The options that can be given beside a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// `dataset` of a message.
    Dataset,
    /// `field` of a field.
    Field,
    /// `record` of a field.
    Record,
    /// `exchange` of a method.
    Exchange,
    /// `idempotency_level` of a method, protobuf's own.
    IdempotencyLevel,
}

impl Setting {
    /// The full name of the extension that it is; none for protobuf's own option.
    pub(crate) fn extension(self) -> Option<&'static str> {
        match self {
            Self::Dataset => Some("lienthong.options.v1.dataset"),
            Self::Field => Some("lienthong.options.v1.field"),
            Self::Record => Some("lienthong.options.v1.record"),
            Self::Exchange => Some("lienthong.options.v1.exchange"),
            Self::IdempotencyLevel => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dataset => "dataset",
            Self::Field => "field",
            Self::Record => "record",
            Self::Exchange => "exchange",
            Self::IdempotencyLevel => "idempotency_level",
        }
    }
}
