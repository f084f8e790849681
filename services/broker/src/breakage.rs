//! Does another version of a contract break those who call it? Asked before it takes the place of the one in force.

use std::collections::BTreeSet;

use lienthong_catalog::catalog::Catalog;
use lienthong_catalog::compile::Rights;
use lienthong_schema::compare;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};

use crate::generation::Contract;

/// What would break, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakage {
    /// Codes of the agencies whose systems would break.
    pub agencies: BTreeSet<String>,
    /// Their systems that a certificate is bound to: those who call.
    pub integrators: usize,
    /// What changes, each in words.
    pub changes: Vec<String>,
}

/// What `new` would break of `old` for other agencies that have a right to it. Changes that touch nobody's dataset, and
/// datasets that nobody calls, break nothing. Pure.
pub fn breakage(old: &Contract, new: &Contract, rights: &Rights, catalog: &Catalog) -> Option<Breakage> {
    let (before, after) = (pool(old)?, pool(new)?);
    let breaking: Vec<_> = compare(&before, &after).into_iter().filter(|change| change.breaking).collect();
    if breaking.is_empty() {
        return None;
    }
    let provider = old.carried.provider.as_str();
    let (mut agencies, mut changes) = (BTreeSet::new(), BTreeSet::new());
    for dataset in old.model.datasets() {
        let touched = elements(old, dataset.id());
        let broken: Vec<String> = breaking
            .iter()
            .filter(|change| touches(&change.subject, &touched))
            .map(|change| format!("{}: {}", change.subject, change.what))
            .collect();
        if broken.is_empty() {
            continue;
        }
        let users = rights.rights().iter().filter(|right| {
            right.provider == provider && right.dataset == dataset.id() && right.consumer != provider
        });
        for right in users {
            if right.consumer.is_empty() {
                let all = catalog.agencies().iter().filter(|agency| agency.is_consumer());
                agencies.extend(all.map(|agency| agency.code.clone()).filter(|code| code != provider));
            } else {
                agencies.insert(right.consumer.clone());
            }
        }
        changes.extend(broken);
    }
    let calling: Vec<_> = catalog
        .systems()
        .iter()
        .filter(|system| !system.certificates.is_empty() && agencies.contains(&system.agency))
        .collect();
    let agencies: BTreeSet<String> = calling.iter().map(|system| system.agency.clone()).collect();
    let integrators = calling.len();
    (integrators > 0).then(|| Breakage { agencies, integrators, changes: changes.into_iter().collect() })
}

fn pool(contract: &Contract) -> Option<DescriptorPool> {
    contract.model.methods().first().map(|method| method.request.parent_pool().clone())
}

/// Full names of everything that a call for the dataset is made of: methods, and the messages around and inside.
fn elements(contract: &Contract, dataset: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for method in contract.model.methods().iter().filter(|method| method.dataset == dataset) {
        let path = method.path.trim_start_matches('/');
        names.insert(path.replace('/', "."));
        names.extend(path.split('/').next().map(str::to_owned));
        let mut waiting: Vec<MessageDescriptor> = vec![method.request.clone(), method.response.clone()];
        while let Some(message) = waiting.pop() {
            if !names.insert(message.full_name().to_owned()) {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(inside) => waiting.push(inside),
                    Kind::Enum(values) => drop(names.insert(values.full_name().to_owned())),
                    _ => {}
                }
            }
        }
    }
    names
}

/// A change is of an element, or of something right inside of it: `field a.b.C.d` of `a.b.C`.
fn touches(subject: &str, names: &BTreeSet<String>) -> bool {
    let name = subject.rsplit(' ').next().unwrap_or(subject);
    names.contains(name) || name.rsplit_once('.').is_some_and(|(around, _)| names.contains(around))
}
