//! Entries in force: the dataset that each mandates, and a right for each consumer and purpose.

use std::collections::BTreeSet;

use lienthong_proto::lienthong::control::v1::{Dataset, Right, RightOrigin};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose, Sharing};

use super::{Work, seconds, timestamp};
use crate::catalog::{Agency, DatabaseKind, Entry, EntryStatus, Fields, Freshness};
use crate::condition::text::About;
use crate::condition::vocabulary::check_condition;
use crate::condition::{Condition, ConditionError};
use crate::contract::{ContractDataset, ContractModel};
use crate::finding::Finding;
use crate::{code, purpose};

impl Work<'_> {
    /// Compiles one entry, or says why it grants nothing.
    pub(super) fn entry(&mut self, entry: &Entry) {
        self.sync_duty(entry);
        let checked = self.contract_dataset(entry).and_then(|(model, dataset)| {
            self.check_against(entry, dataset)?;
            let conditions = check_conditions(entry, model, dataset)?;
            Ok(unserved_methods(entry, model).into_iter().chain(conditions).collect::<Vec<_>>())
        });
        match checked {
            Ok(unserved) => {
                self.findings.extend(unserved);
                let key = (entry.provider_code.clone(), entry.dataset_id.clone());
                self.datasets.insert(key, declared(entry));
                self.rights.extend(self.mandated(entry));
                self.compiled_entries.push(entry.id.clone());
            }
            Err(finding) => self.findings.push(finding),
        }
    }

    /// Shared and master data is synchronised to the National General Database.
    fn sync_duty(&mut self, entry: &Entry) {
        let is_master = self.is_master(&entry.dataset_id);
        let is_shared = entry.classification.sharing == Sharing::Shared;
        if (is_shared || is_master) && !entry.methods.contains(&MethodKind::SyncToNationalDb) {
            self.findings.push(Finding::warning(
                format!("{} {}", entry.versioned_id(), entry.dataset_id),
                "R-03",
                "shared or master data is not synchronised to the National General Database",
                "add SYNC_TO_NATIONAL_DB to the entry's methods and to the contract",
            ));
        }
    }

    fn is_master(&self, dataset: &str) -> bool {
        self.catalog
            .database_of(dataset)
            .and_then(|database| database.dataset(dataset))
            .is_some_and(|dataset| dataset.master)
    }

    fn contract_dataset(&self, entry: &Entry) -> Result<(&ContractModel, &ContractDataset), Finding> {
        let subject = format!("{} {}", entry.versioned_id(), entry.dataset_id);
        let model = self.published.get(entry.provider_code.as_str()).map(|one| one.model);
        model.and_then(|model| Some((model, model.dataset(&entry.dataset_id)?))).ok_or_else(|| {
            let message = format!(
                "{} has published no contract for the dataset, so nobody can be served",
                entry.provider_code
            );
            Finding::warning(subject, "R-10", message, "have the provider publish its contract")
        })
    }

    /// Entry and contract must say the same, and the entry's fields must exist.
    fn check_against(&self, entry: &Entry, dataset: &ContractDataset) -> Result<(), Finding> {
        let subject = || format!("{} {}", entry.versioned_id(), entry.dataset_id);
        let (class, options) = (&entry.classification, dataset.options());
        let differing: Vec<&str> = [
            ("sharing", class.sharing != options.sharing()),
            ("importance", class.importance != options.importance()),
            ("secrecy", class.secrecy != options.secrecy()),
            ("personal", class.personal != options.personal()),
            ("master", self.is_master(&entry.dataset_id) != options.master),
        ]
        .into_iter()
        .filter_map(|(axis, differs)| differs.then_some(axis))
        .collect();
        if !differing.is_empty() {
            let message =
                format!("catalog and contract classify the dataset differently: {}", differing.join(", "));
            return Err(Finding::error(subject(), "R-22", message, "agree on one classification in both"));
        }
        for (purpose, fields) in &entry.purposes {
            let granted = dataset.grant(&fields.granted, &fields.masked).map_err(|error| {
                Finding::error(subject(), "R-24", error.to_string(), "correct the entry's field list")
            })?;
            if granted.ids.is_empty() {
                let message = format!("{} grants no field that is not sensitive", purpose::word(*purpose));
                return Err(Finding::error(
                    subject(),
                    "R-26",
                    message,
                    "name the sensitive fields that the law grants",
                ));
            }
        }
        Ok(())
    }

    /// A right for each consumer and purpose; one for everybody where the data is open.
    fn mandated(&self, entry: &Entry) -> Vec<Right> {
        let mut rights = Vec::new();
        for (purpose, fields) in &entry.purposes {
            if entry.classification.sharing == Sharing::Open {
                let open = right(entry, format!("{}/OPEN", entry.id), "", *purpose, fields);
                rights.push(Right { origin: RightOrigin::Open.into(), ..open });
                continue;
            }
            for consumer in self.consumers(entry) {
                let id = format!("{}/{consumer}/{}", entry.id, purpose::word(*purpose));
                rights.push(right(entry, id, consumer, *purpose, fields));
            }
        }
        rights.retain(|right| !right.methods.is_empty());
        rights.extend(self.national_sync(entry));
        rights
    }

    /// The right of the National General Database to synchronise: one where the entry lists the method,
    /// whoever else the entry names.
    fn national_sync(&self, entry: &Entry) -> Option<Right> {
        let mut databases = self.catalog.databases().iter();
        let sink = databases.find(|database| database.kind == DatabaseKind::NationalGeneralDb)?;
        if !entry.methods.contains(&MethodKind::SyncToNationalDb) || sink.owner_code == entry.provider_code {
            return None;
        }
        let everything = Fields { granted: vec!["*".to_owned()], ..Fields::default() };
        let fields = entry.purposes.get(&Purpose::NationalSync).unwrap_or(&everything);
        let id = format!("{}/{}/SYNC_TO_NATIONAL_DB", entry.id, sink.owner_code);
        let right = right(entry, id, &sink.owner_code, Purpose::NationalSync, fields);
        Some(Right { methods: vec![MethodKind::SyncToNationalDb.into()], ..right })
    }

    /// The agencies that the entry means, but for the provider, which has its own data by R-07; private data only
    /// inside the provider's subtree.
    fn consumers<'a>(&'a self, entry: &Entry) -> BTreeSet<&'a str> {
        let means = |agency: &&Agency| {
            agency.code != entry.provider_code
                && (entry.classification.sharing != Sharing::Private
                    || code::is_within(&agency.code, &entry.provider_code))
        };
        let selected = entry.mandatory_consumers.iter().flat_map(|selector| self.catalog.consumers(selector));
        selected.filter(means).map(|agency| agency.code.as_str()).collect()
    }
}

/// Conditions on rows must fit the contract: an error where one fits nowhere, a warning for each method whose requests it
/// does not fit, whose calls are denied therefore.
fn check_conditions(
    entry: &Entry,
    model: &ContractModel,
    dataset: &ContractDataset,
) -> Result<Vec<Finding>, Finding> {
    let subject = || format!("{} {}", entry.versioned_id(), entry.dataset_id);
    let mut warnings = Vec::new();
    for (purpose, fields) in entry.purposes.iter().filter(|(_, fields)| !fields.condition.is_empty()) {
        let misfit = |error: ConditionError| {
            let message = format!("the condition for {}: {error}", purpose::word(*purpose));
            Finding::error(subject(), "R-24", message, "correct the entry's condition")
        };
        let condition = Condition::parse(&fields.condition).map_err(misfit)?;
        if condition.names().about != About::Request {
            check_condition(&condition, dataset.record()).map_err(misfit)?;
            continue;
        }
        let methods = model.methods().iter().filter(|method| method.dataset == entry.dataset_id);
        let (mut fits, mut misfits) = (false, Vec::new());
        for method in methods.filter(|method| entry.methods.contains(&method.kind)) {
            match check_condition(&condition, &method.request) {
                Ok(()) => fits = true,
                Err(error) => misfits.push((method.path.as_str(), error)),
            }
        }
        match misfits.pop() {
            Some((_, error)) if !fits => return Err(misfit(error)),
            last => warnings.extend(misfits.into_iter().chain(last).map(|(path, error)| {
                let word = purpose::word(*purpose);
                let message = format!("calls of {path} for {word} are denied: {error}");
                Finding::warning(subject(), "R-24", message, "write the condition about the record instead")
            })),
        }
    }
    Ok(warnings)
}

/// A right of this entry. Its methods are all that the entry lists but synchronisation to the National General
/// Database, which is that database's alone.
fn right(entry: &Entry, id: String, consumer: &str, purpose: Purpose, fields: &Fields) -> Right {
    let methods = entry.methods.iter().filter(|kind| **kind != MethodKind::SyncToNationalDb);
    Right {
        id,
        dataset: entry.dataset_id.clone(),
        provider: entry.provider_code.clone(),
        consumer: consumer.to_owned(),
        system: String::new(),
        purpose: purpose.into(),
        fields: fields.granted.clone(),
        masked_fields: fields.masked.clone(),
        methods: methods.map(|kind| i32::from(*kind)).collect(),
        calls_per_minute_max: entry.calls_per_minute_max,
        valid_from: Some(timestamp(entry.valid_from())),
        valid_to: entry.valid_to().map(timestamp),
        origin: RightOrigin::CatalogMandatory.into(),
        legal_basis: entry.legal_basis.iter().map(ToString::to_string).collect(),
        suspended: entry.status == EntryStatus::Suspended,
        condition: fields.condition.clone(),
        ..Right::default()
    }
}

/// What nodes must know of the dataset.
fn declared(entry: &Entry) -> Dataset {
    Dataset {
        id: entry.dataset_id.clone(),
        provider: entry.provider_code.clone(),
        release_gate: entry.release_gate.into(),
        decision_mode: entry.decision.into(),
        min_security_level: entry.min_security_level.max(entry.classification.security_level_min()),
        bundle_age_max: Some(seconds(entry.bundle_age_max())),
        freshness: entry.freshness.map(Freshness::to_proto),
        entry: entry.versioned_id(),
        legal_basis: entry.legal_basis.iter().map(ToString::to_string).collect(),
        ..Dataset::default()
    }
}

/// Methods that the entry promises and no method of the contract serves.
fn unserved_methods(entry: &Entry, model: &ContractModel) -> Option<Finding> {
    let served = |kind: &MethodKind| {
        model.methods().iter().any(|method| method.dataset == entry.dataset_id && method.kind == *kind)
    };
    let missing: Vec<&str> = entry
        .methods
        .iter()
        .filter(|kind| **kind != MethodKind::OfflinePackage && !served(kind))
        .map(|kind| kind.as_str_name().trim_start_matches("METHOD_KIND_"))
        .collect();
    (!missing.is_empty()).then(|| {
        Finding::warning(
            format!("{} {}", entry.versioned_id(), entry.dataset_id),
            "R-10",
            format!("the contract serves no {}", missing.join(", ")),
            "have the provider add the methods",
        )
    })
}
