//! `contracts`: options beside the contract of a provider whose proto cannot be changed.
//!
//! ```yaml
//! contracts:
//!   - provider: G12
//!     messages:
//!       kho.v1.Hang:
//!         dataset: {id: kho.hang, name_vi: Hàng hóa, key_fields: [ma], sharing: SHARED, importance: OTHER,
//!                   secrecy: NONE, personal: NONE}
//!         fields:
//!           ma: {label_vi: Mã hàng}
//!       kho.v1.ListHangResponse:
//!         records: [hang]
//!     methods:
//!       kho.v1.KhoService.ListHang:
//!         exchange: {dataset: kho.hang, kind: QUERY}
//!         idempotency_level: NO_SIDE_EFFECTS
//! ```
//!
//! What stands under `dataset`, `exchange` and the name of a field are the options of that name in `options.proto`.

use lienthong_proto::descriptors;
use prost_reflect::{Kind, Value as OptionValue};

use super::object::Reader;
use super::options;
use super::tree::{Key, Located, Place};
use crate::contract::{Element, Given, Setting};

/// What one item of `contracts` says.
#[derive(Debug)]
pub(super) struct BesideContract {
    /// Code of the provider.
    pub provider: String,
    /// Each message and method that is named, with file and line.
    pub named: Vec<(Element, String)>,
    /// Each option with its element and its place.
    pub given: Vec<(Element, Given, Place)>,
}

pub(super) fn contract(reader: &mut Reader<'_>, node: &Located) -> Option<BesideContract> {
    let mut object = reader.object(node, "the contract")?;
    let provider = object.text("provider");
    let (messages, methods) = (object.entries("messages"), object.entries("methods"));
    let mut sound = object.finish();
    let (mut named, mut given) = (Vec::new(), Vec::new());
    for (name, node) in messages {
        named.push((Element::Message(name.name.clone()), place(reader, name.place)));
        sound &= is_full_name(reader, name, 1) && message(reader, &name.name, node, &mut given);
    }
    for (name, node) in methods {
        named.push((Element::Method(name.name.clone()), place(reader, name.place)));
        sound &= is_full_name(reader, name, 2) && method(reader, &name.name, node, &mut given);
    }
    sound.then_some(BesideContract { provider, named, given })
}

fn message(
    reader: &mut Reader<'_>,
    name: &str,
    node: &Located,
    given: &mut Vec<(Element, Given, Place)>,
) -> bool {
    let Some(mut object) = reader.object(node, "the message") else { return false };
    let (dataset, fields) = (object.optional("dataset"), object.entries("fields"));
    let records = object.items("records");
    let mut sound = object.finish();
    if let Some(node) = dataset {
        let element = Element::Message(name.to_owned());
        sound &= option(reader, element, Setting::Dataset, node, node.place, given);
    }
    for (field, node) in fields {
        let element = Element::Field(format!("{name}.{}", field.name));
        sound &= option(reader, element, Setting::Field, node, field.place, given);
    }
    for node in records {
        let Some(field) = reader.text(node, "records") else {
            sound = false;
            continue;
        };
        let element = Element::Field(format!("{name}.{field}"));
        let value = OptionValue::Bool(true);
        given.push((
            element,
            Given { setting: Setting::Record, value, place: place(reader, node.place) },
            node.place,
        ));
    }
    sound
}

fn method(
    reader: &mut Reader<'_>,
    name: &str,
    node: &Located,
    given: &mut Vec<(Element, Given, Place)>,
) -> bool {
    let Some(mut object) = reader.object(node, "the method") else { return false };
    let (exchange, idempotency) = (object.optional("exchange"), object.optional("idempotency_level"));
    object.demand("exchange", "R-01", "say which dataset it exchanges, and how; or leave the method out");
    let mut sound = object.finish();
    let element = || Element::Method(name.to_owned());
    if let Some(node) = exchange {
        sound &= option(reader, element(), Setting::Exchange, node, node.place, given);
    }
    if let Some(node) = idempotency {
        sound &= option(reader, element(), Setting::IdempotencyLevel, node, node.place, given);
    }
    sound
}

/// Reads one option by what its descriptor says that it is.
fn option(
    reader: &mut Reader<'_>,
    element: Element,
    setting: Setting,
    node: &Located,
    at: Place,
    given: &mut Vec<(Element, Given, Place)>,
) -> bool {
    let pool = descriptors::mesh();
    let kind = match setting.extension() {
        Some(name) => pool.get_extension_by_name(name).map(|extension| extension.kind()),
        None => pool
            .get_message_by_name("google.protobuf.MethodOptions")
            .and_then(|options| Some(options.get_field_by_name(setting.name())?.kind())),
    };
    let value = match kind {
        Some(Kind::Message(descriptor)) => {
            options::message(reader, node, &descriptor, setting.name()).map(OptionValue::Message)
        }
        Some(Kind::Enum(words)) => options::word(reader, node, &words, setting.name()),
        // INVARIANT: the mesh's own pool has these options, and they are of these kinds (tested).
        _ => None,
    };
    let Some(value) = value else { return false };
    given.push((element, Given { setting, value, place: place(reader, at) }, at));
    true
}

/// File and line, for findings that come once a contract is there.
fn place(reader: &Reader<'_>, at: Place) -> String {
    format!("{}:{}", reader.file(), at.line)
}

/// Full names are identifiers split by dots; that of a method has a service before it.
fn is_full_name(reader: &mut Reader<'_>, key: &Key, parts_min: usize) -> bool {
    let is_identifier = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let good = key.name.split('.').all(is_identifier) && key.name.split('.').count() >= parts_min;
    if !good {
        let (what, example) = match parts_min {
            1 => ("message", "kho.v1.Hang"),
            _ => ("method", "kho.v1.KhoService.GetHang"),
        };
        let message = format!("{:?} is no full name of a {what}", key.name);
        reader.note(
            key.place,
            "format",
            message,
            format!("write package and names split by dots: {example}"),
        );
    }
    good
}
