//! What is wrong with a contract, and by which rule.

use std::collections::BTreeSet;

use lienthong_filter::{FieldSet, Grant, Plan};
use lienthong_proto::lienthong::options::v1::{Importance, MethodKind, Personal, Secrecy, Sharing};
use lienthong_proto::options;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use unicode_normalization::is_nfc;

use super::{ContractDataset, ContractField, ContractMethod, DeclaredAnnotations, metadata, values};
use crate::finding::Finding;
use crate::source::Dictionary;

/// Longest dataset id, characters.
const DATASET_ID_CHARS_MAX: usize = 100;

/// Everything that can be said about a contract by itself.
pub(super) fn lint(datasets: &[ContractDataset], methods: &[ContractMethod]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pair in datasets.windows(2).filter(|pair| pair[0].id() == pair[1].id()) {
        findings.push(Finding::error(
            pair[1].record.full_name(),
            "R-12",
            format!("dataset {} is declared twice, also by {}", pair[0].id(), pair[0].record.full_name()),
            "keep one record message a dataset",
        ));
    }
    for dataset in datasets {
        name(dataset, &mut findings);
        classification(dataset, &mut findings);
        keys(dataset, &mut findings);
        metadata::lint(dataset, &mut findings);
        values::lint(dataset, &mut findings);
        dataset.fields.iter().for_each(|field| data_field(dataset, field, &mut findings));
    }
    for method in methods {
        exchange(method, datasets, &mut findings);
    }
    findings
}

/// A method without the exchange option.
pub(super) fn not_shared(method: &MethodDescriptor) -> Finding {
    Finding::warning(
        method.full_name(),
        "R-01",
        "the method exchanges no dataset and cannot be called through the mesh",
        "declare option exchange, in the proto or beside it in the catalog, or leave the method out of the contract",
    )
}

/// References that the shared data dictionary does not know.
pub(super) fn dictionary(datasets: &[ContractDataset], dictionary: &Dictionary) -> Vec<Finding> {
    let mut findings = Vec::new();
    for field in datasets.iter().flat_map(|dataset| &dataset.fields) {
        let reference = &field.options.dictionary_ref;
        if !reference.is_empty() && !dictionary.contains(reference) {
            findings.push(Finding::warning(
                field.descriptor.full_name(),
                "R-40",
                format!("the shared data dictionary has no entry {reference}"),
                "use the dictionary's id, or have the entry added to it",
            ));
        }
    }
    findings
}

fn name(dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    let subject = dataset.record.full_name();
    if !is_dataset_id(dataset.id()) {
        findings.push(Finding::error(
            subject,
            "R-09",
            format!("dataset id {:?} is not groups of [a-z0-9_] split by \".\"", dataset.id()),
            "write an id such as \"dancu.cong_dan\"",
        ));
    }
    let (vi, en) = (&dataset.options.name_vi, &dataset.options.name_en);
    if vi.is_empty() {
        findings.push(Finding::error(
            subject,
            "R-09",
            "the dataset has no Vietnamese name",
            "declare name_vi",
        ));
    }
    if !is_nfc(vi) || !is_nfc(en) {
        findings.push(Finding::error(
            subject,
            "R-40",
            "the dataset's name is not in Unicode form NFC",
            "save the proto file in NFC",
        ));
    }
}

fn classification(dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    let options = &dataset.options;
    let missing: Vec<&str> = [
        ("sharing", options.sharing() == Sharing::Unspecified),
        ("importance", options.importance() == Importance::Unspecified),
        ("secrecy", options.secrecy() == Secrecy::Unspecified),
        ("personal", options.personal() == Personal::Unspecified),
    ]
    .into_iter()
    .filter_map(|(axis, missing)| missing.then_some(axis))
    .collect();
    let subject = dataset.record.full_name();
    if !missing.is_empty() {
        findings.push(Finding::error(
            subject,
            "R-22",
            format!("the classification is not complete: {} not declared", missing.join(", ")),
            "declare all four axes; see lienthong/options/v1/vocabulary.proto",
        ));
    }
    if !matches!(options.secrecy(), Secrecy::Unspecified | Secrecy::None) {
        findings.push(secret(subject, "the dataset"));
    }
    if options.sharing() == Sharing::Open
        && options.personal() != Personal::None
        && !missing.contains(&"personal")
    {
        findings.push(Finding::warning(
            subject,
            "R-22",
            "open data holds personal data",
            "check the classification with the data owner",
        ));
    }
}

fn secret(subject: &str, what: &str) -> Finding {
    Finding::error(
        subject,
        "R-21",
        format!("{what} is declared a state secret"),
        "leave it out of the contract: state secrets never enter the mesh",
    )
}

fn keys(dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    let subject = dataset.record.full_name();
    if dataset.options.key_fields.is_empty() {
        findings.push(Finding::error(
            subject,
            "R-42",
            "the dataset names no key field",
            "declare key_fields",
        ));
    }
    let mut seen = BTreeSet::new();
    for key in &dataset.options.key_fields {
        match dataset.record.get_field_by_name(key) {
            None => findings.push(Finding::error(
                subject,
                "R-42",
                format!("key field {key} does not exist in the record"),
                "name fields of the record message itself",
            )),
            Some(field) if field.is_list() || field.is_map() || matches!(field.kind(), Kind::Message(_)) => {
                findings.push(Finding::error(
                    field.full_name(),
                    "R-42",
                    "a key field is a message, a list or a map",
                    "use fields with one plain value as key",
                ));
            }
            Some(_) if !seen.insert(key) => findings.push(Finding::error(
                subject,
                "R-42",
                format!("key field {key} is named twice"),
                "name each key field once",
            )),
            Some(_) => {}
        }
    }
}

fn data_field(dataset: &ContractDataset, field: &ContractField, findings: &mut Vec<Finding>) {
    let subject = field.descriptor.full_name();
    if field.is_secret() {
        findings.push(secret(subject, "the field"));
    }
    if !is_snake(field.descriptor.name()) {
        findings.push(Finding::warning(
            subject,
            "R-40",
            "the field id is not lower-case ASCII snake",
            "in a contract that can be changed, rename the field: [a-z][a-z0-9_]*",
        ));
    }
    if field.options.subject && !matches!(field.descriptor.kind(), Kind::String) {
        findings.push(subject_kind(&field.descriptor));
    }
    if field.options.label_vi.is_empty() {
        findings.push(Finding::warning(
            subject,
            "R-40",
            "the field has no Vietnamese label",
            "declare label_vi in option (lienthong.options.v1.field)",
        ));
    } else if !is_nfc(&field.options.label_vi) {
        findings.push(Finding::error(
            subject,
            "R-40",
            "the field's label is not in Unicode form NFC",
            "save the proto file in NFC",
        ));
    }
    if field.recursive && dataset.has_sensitive_fields() {
        findings.push(Finding::error(
            subject,
            "R-26",
            "the record contains itself and has sensitive fields, which no right could name inside it",
            "refer to the other record by its key",
        ));
    }
}

fn subject_kind(field: &FieldDescriptor) -> Finding {
    Finding::error(
        field.full_name(),
        "R-47",
        "a subject field is not a string",
        "identifiers of people are strings; mark only those",
    )
}

fn exchange(method: &ContractMethod, datasets: &[ContractDataset], findings: &mut Vec<Finding>) {
    let subject = method.path.as_str();
    if method.kind == MethodKind::Unspecified {
        findings.push(Finding::error(
            subject,
            "R-02",
            "the method does not say how it exchanges data",
            "declare the kind of option (lienthong.options.v1.exchange)",
        ));
    }
    let Some(dataset) = datasets.iter().find(|dataset| dataset.id() == method.dataset) else {
        findings.push(Finding::error(
            subject,
            "R-09",
            format!(
                "the method exchanges dataset {:?}, which this contract does not declare",
                method.dataset
            ),
            "declare the dataset on its record message, or correct the id",
        ));
        return;
    };
    envelope(method, dataset, findings);
    let everything = Grant::new(FieldSet::All);
    for outcome in [
        Plan::compile(&method.response, &DeclaredAnnotations, &everything),
        Plan::observe(&method.request, &DeclaredAnnotations),
    ] {
        if let Err(error) = outcome {
            findings.push(Finding::error(subject, "R-25", error.to_string(), "correct the contract"));
        }
    }
}

/// Looks at every field of a response that is not inside a record: data must not sit outside of records, where
/// nothing is filtered.
fn envelope(method: &ContractMethod, dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    // A response that is the record itself has no envelope.
    if method.response == dataset.record {
        return;
    }
    if let Some(other) = options::dataset(&method.response) {
        findings.push(Finding::error(
            method.path.as_str(),
            "R-25",
            format!("the response is a record of dataset {:?}, not of {:?}", other.id, dataset.id()),
            "let the method exchange the dataset of its response",
        ));
        return;
    }
    let mut seen = BTreeSet::new();
    let mut waiting = vec![method.response.clone()];
    while let Some(message) = waiting.pop() {
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            if options::is_record(&field) {
                if !holds(&field, &dataset.record) {
                    findings.push(Finding::error(
                        method.path.as_str(),
                        "R-25",
                        format!(
                            "{} is marked record and is not {}",
                            field.name(),
                            dataset.record.full_name()
                        ),
                        "mark only fields of the dataset's record message as record",
                    ));
                }
            } else if is_data(&field) {
                findings.push(Finding::error(
                    method.path.as_str(),
                    "R-25",
                    format!(
                        "{} carries data outside of a record, where nothing is filtered",
                        field.full_name()
                    ),
                    "move the field into the record, or mark it record",
                ));
            } else if let Kind::Message(inside) = field.kind() {
                waiting.push(inside);
            }
        }
    }
}

fn holds(field: &FieldDescriptor, record: &MessageDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message == *record)
}

fn is_data(field: &FieldDescriptor) -> bool {
    let is_record_message =
        matches!(field.kind(), Kind::Message(message) if options::dataset(&message).is_some());
    is_record_message || options::field(field).is_some()
}

pub(super) fn is_dataset_id(id: &str) -> bool {
    id.len() <= DATASET_ID_CHARS_MAX
        && id.split('.').all(|group| {
            !group.is_empty()
                && group.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
