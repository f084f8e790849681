//! Who may read a field of a dataset, for which purpose, on which terms.

use lienthong_proto::lienthong::control::v1::Right;

use crate::compile::Rights;
use crate::contract::{ContractModel, GrantedFields};

/// One right to read.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    /// The right.
    pub right: &'a Right,
    /// What it grants, spelled out; empty where the contract is not at hand.
    pub fields: GrantedFields,
}

/// The rights by which a field of a dataset may be read, by id: for every provider of the dataset, or for one. Without a
/// field: every right to the dataset. A suspended right is listed as well, and says so.
///
/// `contract` gives the contract of a provider; a right whose contract is not at hand is listed where it names the field
/// itself, or every field.
pub fn who_can<'a, 'c>(
    rights: &'a Rights,
    dataset: &str,
    provider: Option<&str>,
    field: Option<&str>,
    contract: impl Fn(&str) -> Option<&'c ContractModel>,
) -> Vec<Reader<'a>> {
    rights
        .rights()
        .iter()
        .filter(|right| {
            right.dataset == dataset && provider.is_none_or(|provider| right.provider == provider)
        })
        .filter_map(|right| {
            let declared = contract(&right.provider).and_then(|model| model.dataset(dataset));
            let granted =
                declared.and_then(|dataset| dataset.grant(&right.fields, &right.masked_fields).ok());
            let reads = field.is_none_or(|field| match &granted {
                Some(granted) => granted.covers(field),
                None => right.fields.iter().chain(&right.masked_fields).any(|id| id == field || id == "*"),
            });
            reads.then(|| Reader { right, fields: granted.unwrap_or_default() })
        })
        .collect()
}
