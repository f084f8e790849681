//! From a plain descriptor set and the options beside it to one that has them inside.
//!
//! The set is walked as protobuf messages, not as descriptors, so that everything else in it stays: other people's
//! options, comments, what this version does not know.

use std::collections::BTreeSet;

use lienthong_proto::descriptors;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::ContractError;
use super::beside::{Beside, Element, Given};
use crate::finding::Finding;

/// The rule that all findings of this file stand under: what is shared is declared, once.
const RULE: &str = "R-09";

/// The files that declare the options, each after what it imports.
const OPTION_FILES: [&str; 3] = [
    "google/protobuf/descriptor.proto",
    "lienthong/options/v1/vocabulary.proto",
    "lienthong/options/v1/options.proto",
];

/// Elements of a contract that are compared to find the nearest name; a contract of 1 MiB has fewer.
const NAMES_COMPARED_MAX: usize = 20_000;
/// Findings about missing names that tell the nearest one.
const NEAREST_NAMED_MAX: usize = 20;
/// From this likeness on (0 to 1), a name is worth suggesting.
const LIKENESS_MIN: f64 = 0.4;

/// Puts the options in. The same input gives the same bytes; without options, those that came.
pub(super) fn annotate(
    descriptor_set: &[u8],
    beside: &Beside,
) -> Result<(Vec<u8>, Vec<Finding>), ContractError> {
    if beside.is_empty() {
        return Ok((descriptor_set.to_vec(), Vec::new()));
    }
    let mut set = decode(descriptor_set)?;
    let mut work = Work { beside, seen: BTreeSet::new(), findings: Vec::new() };
    messages(&mut set, "file").for_each(|file| work.file(file));
    if let Some(files) = list(&mut set, "file") {
        import_options(files)?;
    }
    work.report_missing();
    Ok((set.encode_to_vec(), work.findings))
}

struct Work<'a> {
    beside: &'a Beside,
    /// Everything that the descriptor set declares.
    seen: BTreeSet<Element>,
    findings: Vec<Finding>,
}

impl Work<'_> {
    fn file(&mut self, file: &mut DynamicMessage) {
        let name = text(file, "name");
        let package = text(file, "package");
        let mut extended = false;
        for message in messages(file, "message_type") {
            extended |= self.message(message, &package, &name);
        }
        for service in messages(file, "service") {
            let service_name = join(&package, &text(service, "name"));
            for method in messages(service, "method") {
                let element = Element::Method(join(&service_name, &text(method, "name")));
                extended |= self.element(element, method, &name);
            }
        }
        if extended {
            import(file);
        }
    }

    /// True where an extension was set in the message or in what is inside it.
    fn message(&mut self, message: &mut DynamicMessage, around: &str, file: &str) -> bool {
        let name = join(around, &text(message, "name"));
        let mut extended = self.element(Element::Message(name.clone()), message, file);
        for field in messages(message, "field") {
            let element = Element::Field(join(&name, &text(field, "name")));
            extended |= self.element(element, field, file);
        }
        for inside in messages(message, "nested_type") {
            extended |= self.message(inside, &name, file);
        }
        extended
    }

    fn element(&mut self, element: Element, node: &mut DynamicMessage, file: &str) -> bool {
        let mut extended = false;
        for given in self.beside.of(&element) {
            match Self::set(given, node) {
                Some(()) => extended |= given.setting.extension().is_some(),
                None => self.findings.push(Finding::error(
                    subject(&given.place, &element),
                    RULE,
                    format!("option {} is declared in {file} already", given.setting.name()),
                    "declare it once: in the proto, or beside it",
                )),
            }
        }
        self.seen.insert(element);
        extended
    }

    /// Sets one option; `None` where it is set already.
    fn set(given: &Given, node: &mut DynamicMessage) -> Option<()> {
        let options = node.get_field_by_name_mut("options")?.as_message_mut()?;
        if let Some(name) = given.setting.extension() {
            let extension = descriptors::mesh().get_extension_by_name(name)?;
            if options.has_extension(&extension) {
                return None;
            }
            options.set_extension(&extension, given.value.clone());
        } else {
            let name = given.setting.name();
            if options.has_field_by_name(name) {
                return None;
            }
            options.set_field_by_name(name, given.value.clone());
        }
        Some(())
    }

    /// A name that is not there would leave its element without a class: an error, never passed over.
    fn report_missing(&mut self) {
        let mut told = 0;
        for (element, place) in self.beside.elements() {
            // The fields of a message that is not there are not missing each by itself.
            let stands = element.message_around().is_none_or(|message| self.seen.contains(&message));
            if !stands || self.seen.contains(element) {
                continue;
            }
            told += 1;
            let nearest = if told <= NEAREST_NAMED_MAX { self.nearest(element) } else { None };
            let hint = nearest.map(|near| format!("; the nearest is {near}")).unwrap_or_default();
            self.findings.push(Finding::error(
                subject(place, element),
                RULE,
                format!("the published contract has no such {}{hint}", element.kind()),
                "correct the name, or have the provider publish the contract that has it",
            ));
        }
    }

    /// The name most like a missing one: a field of the same message, a message or a method of the contract.
    fn nearest(&self, missing: &Element) -> Option<&str> {
        let is_alike = |other: &&Element| {
            other.kind() == missing.kind() && other.message_around() == missing.message_around()
        };
        let likeness = |other: &Element| strsim::normalized_damerau_levenshtein(other.name(), missing.name());
        let compared = self.seen.iter().filter(is_alike).take(NAMES_COMPARED_MAX);
        let scored = compared.map(|other| (likeness(other), other.name()));
        let (_, name) =
            scored.filter(|(score, _)| *score >= LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(name)
    }
}

/// A descriptor set as a message of the mesh's own pool, in which the options are known fields.
fn decode(set: &[u8]) -> Result<DynamicMessage, ContractError> {
    let mut decoded = descriptors::empty_set();
    decoded.merge(set)?;
    Ok(decoded)
}

/// Adds the files that declare the options, in front of all that may import them.
fn import_options(files: &mut Vec<Value>) -> Result<(), ContractError> {
    let mut own = decode(descriptors::MESH)?;
    for name in OPTION_FILES.iter().rev() {
        let is_it = |file: &Value| file.as_message().is_some_and(|file| text(file, "name") == *name);
        let file = match files.iter().position(is_it) {
            Some(at) => Some(files.remove(at)),
            // INVARIANT: the mesh's own set has its options.
            None => list(&mut own, "file").and_then(|own| Some(own.swap_remove(own.iter().position(is_it)?))),
        };
        files.splice(0..0, file.map(without_comments));
    }
    Ok(())
}

fn without_comments(mut file: Value) -> Value {
    if let Some(file) = file.as_message_mut() {
        file.clear_field_by_name("source_code_info");
    }
    file
}

/// The file imports the options that were set in it.
fn import(file: &mut DynamicMessage) {
    let options = Value::String(OPTION_FILES[2].to_owned());
    if let Some(dependencies) = list(file, "dependency").filter(|names| !names.contains(&options)) {
        dependencies.push(options);
    }
}

fn subject(place: &str, element: &Element) -> String {
    format!("{place}: {element}")
}

fn join(around: &str, name: &str) -> String {
    if around.is_empty() { name.to_owned() } else { format!("{around}.{name}") }
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn list<'m>(message: &'m mut DynamicMessage, field: &str) -> Option<&'m mut Vec<Value>> {
    message.get_field_by_name_mut(field)?.as_list_mut()
}

fn messages<'m>(
    message: &'m mut DynamicMessage,
    field: &str,
) -> impl Iterator<Item = &'m mut DynamicMessage> + use<'m> {
    list(message, field).into_iter().flatten().filter_map(Value::as_message_mut)
}
