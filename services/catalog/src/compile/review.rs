//! May this provider publish this contract? The question that the broker asks before it stores one, and again
//! before it compiles.

use crate::catalog::{Agency, Catalog};
use crate::contract::{ContractDataset, ContractModel};
use crate::finding::Finding;

impl Catalog {
    /// Everything that speaks against the contract, errors first: its own lint, and what the catalog says about the
    /// provider and its datasets. One error refuses the publication.
    pub fn review(&self, provider: &str, model: &ContractModel) -> Vec<Finding> {
        let mut findings = model.findings().to_vec();
        if !self.agency(provider).is_some_and(Agency::is_provider) {
            findings.push(Finding::error(
                provider,
                "R-09",
                "the provider is no active agency with the role PROVIDER",
                "have the agency registered as a provider",
            ));
        }
        findings.extend(model.datasets().iter().filter_map(|dataset| self.review_dataset(provider, dataset)));
        findings.extend(model.check_dictionary(self.dictionary()));
        findings.extend(model.check_code_lists(&|list| self.database_of(list).is_some()));
        findings.sort();
        findings
    }

    fn review_dataset(&self, provider: &str, dataset: &ContractDataset) -> Option<Finding> {
        let subject = dataset.record().full_name();
        let Some(database) = self.database_of(dataset.id()) else {
            let message = format!("dataset {} is in no database of the catalog", dataset.id());
            return Some(Finding::warning(subject, "R-09", message, "have it listed under its database"));
        };
        let is_master =
            dataset.options().master || database.dataset(dataset.id()).is_some_and(|listed| listed.master);
        if database.special_operational {
            let message =
                format!("dataset {} is in {}, a special operational database", dataset.id(), database.id);
            return Some(Finding::error(subject, "R-14", message, "leave the dataset out of the contract"));
        }
        (is_master && database.owner_code != provider).then(|| {
            let message =
                format!("{} is master data of {}, not of {provider}", dataset.id(), database.owner_code);
            Finding::error(subject, "R-12", message, "leave it to its one authoritative provider")
        })
    }
}
