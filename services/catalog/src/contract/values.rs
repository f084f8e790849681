//! What is wrong with what a contract demands of its values: patterns, code lists, the time of the last change.

use std::collections::BTreeSet;

use lienthong_quality::{is_pattern, is_time};

use super::lint::is_dataset_id;
use super::{ContractDataset, ContractField};
use crate::finding::Finding;

/// Everything that can be said without the catalog.
pub(super) fn lint(dataset: &ContractDataset, findings: &mut Vec<Finding>) {
    dataset.fields.iter().for_each(|field| value(field, findings));
    let dated: Vec<&ContractField> =
        dataset.fields.iter().filter(|field| field.options.update_time).collect();
    if let [_, second, ..] = dated[..] {
        findings.push(Finding::error(
            second.descriptor.full_name(),
            "R-43",
            format!("{} tells already when the source changed the record", dated[0].id),
            "mark one field update_time",
        ));
    }
}

/// Code lists that no database of the catalog has. Each is told once.
pub(super) fn code_lists(datasets: &[ContractDataset], is_listed: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let own: BTreeSet<&str> = datasets.iter().map(ContractDataset::id).collect();
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for field in datasets.iter().flat_map(|dataset| &dataset.fields) {
        let list = field.options.code_list.as_str();
        let is_known = list.is_empty() || own.contains(list) || is_listed(list);
        if !is_known && told.insert(list) {
            findings.push(Finding::warning(
                field.descriptor.full_name(),
                "R-40",
                format!("code list {list} is a dataset of no database of the catalog"),
                "name the dataset of the code list, or have it listed under its database",
            ));
        }
    }
    findings
}

fn value(field: &ContractField, findings: &mut Vec<Finding>) {
    let subject = field.descriptor.full_name();
    let options = &field.options;
    if !options.regex.is_empty() && !is_pattern(&options.regex) {
        findings.push(Finding::error(
            subject,
            "R-40",
            "the pattern of the field cannot be read, or is too large",
            "write a regular expression without look-around and back-references, of at most 1 KiB",
        ));
    }
    if !options.code_list.is_empty() && !is_dataset_id(&options.code_list) {
        findings.push(Finding::error(
            subject,
            "R-40",
            format!("code list {:?} is no dataset id", options.code_list),
            "name the dataset of the code list, such as \"danhmuc.dvhc\"",
        ));
    }
    if options.update_time && !is_time(&field.descriptor) {
        findings.push(Finding::error(
            subject,
            "R-43",
            "the field is marked update_time and holds no time",
            "mark a google.protobuf.Timestamp of the record itself, or a text in RFC 3339",
        ));
    }
}
