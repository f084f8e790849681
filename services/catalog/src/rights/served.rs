//! What is served: the contracts of a bundle, its datasets and their methods.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lienthong_filter::Plan;
use lienthong_proto::lienthong::control::v1::{
    Contract, Dataset as DeclaredDataset, Guardrail as DeclaredGuardrail,
};
use lienthong_proto::lienthong::options::v1::{DecisionMode, ReleaseGate};

use super::identities::Identities;
use super::load::Problems;
use super::table::FieldList;
use super::{BundleError, Dataset, Index, Method, method, plans};
use crate::catalog::Classification;
use crate::condition::Guardrail;
use crate::contract::{ContractMethod, ContractModel, DeclaredAnnotations};

/// Contracts that decisions can rest on, by provider: as they are carried, and as they were read.
pub(super) type Models = HashMap<Box<str>, (Contract, Arc<ContractModel>)>;

/// Reads contracts. One that stands in `before` to the last byte is not read again.
pub(super) fn contracts(
    contracts: &[Contract],
    before: Option<&Index>,
    problems: &mut Problems,
) -> Result<Models, BundleError> {
    let mut models = Models::new();
    let mut seen = HashSet::new();
    for contract in contracts {
        if !seen.insert(contract.provider.as_str()) {
            let name = contract.provider.clone();
            return Err(BundleError::Twice { what: "the contract of", name });
        }
        match contract_model(contract, before) {
            Ok(model) => {
                models.insert(contract.provider.as_str().into(), (contract.clone(), model));
            }
            Err(why) => problems.note(format!("the contract of {} is left out: {why}", contract.provider)),
        }
    }
    Ok(models)
}

/// What a contract declares, or why decisions cannot rest on it.
pub(super) fn contract_model(
    contract: &Contract,
    before: Option<&Index>,
) -> Result<Arc<ContractModel>, String> {
    let known = before.and_then(|before| before.models.get(contract.provider.as_str()));
    if let Some((_, model)) = known.filter(|(carried, _)| carried == contract) {
        return Ok(Arc::clone(model));
    }
    let model = ContractModel::read(&contract.descriptor_set).map_err(|error| error.to_string())?;
    match model.first_undecidable() {
        None => Ok(Arc::new(model)),
        Some(finding) => Err(finding.to_string()),
    }
}

/// Guardrails by id; `None` for one that cannot be read.
pub(super) type Guardrails<'a> = HashMap<&'a str, Option<Arc<Guardrail>>>;

pub(super) fn guardrails<'a>(
    declared: &'a [DeclaredGuardrail],
    problems: &mut Problems,
) -> Result<Guardrails<'a>, BundleError> {
    let mut guardrails = HashMap::new();
    for declared in declared {
        let read = Guardrail::parse(&declared.id, &declared.name_vi, &declared.policy);
        let guardrail = read.inspect_err(|error| {
            problems.note(format!("guardrail {} cannot be read: {error}", declared.id));
        });
        if guardrails.insert(declared.id.as_str(), guardrail.ok().map(Arc::new)).is_some() {
            return Err(BundleError::Twice { what: "guardrail", name: declared.id.clone() });
        }
    }
    Ok(guardrails)
}

/// The guardrails that bind a dataset; `None` where one of them is not there: without it too much would be allowed.
fn guardrails_of(declared: &DeclaredDataset, known: &Guardrails<'_>) -> Option<Vec<Arc<Guardrail>>> {
    declared.guardrails.iter().map(|id| known.get(id.as_str()).cloned().flatten()).collect()
}

/// Slot by provider and dataset id.
pub(super) type DatasetSlots<'a> = HashMap<(&'a str, &'a str), u32>;

pub(super) fn datasets<'a>(
    declared: &'a [DeclaredDataset],
    models: &Models,
    identities: &Identities,
    guardrails: &Guardrails<'_>,
    problems: &mut Problems,
) -> Result<(Vec<Dataset>, DatasetSlots<'a>), BundleError> {
    let mut datasets = Vec::new();
    let mut slots = HashMap::new();
    let mut seen = HashSet::new();
    for (declared, slot_max) in declared.iter().zip(0u32..) {
        let key = (declared.provider.as_str(), declared.id.as_str());
        if !seen.insert(key) {
            return Err(BundleError::Twice { what: "dataset", name: format!("{}/{}", key.0, key.1) });
        }
        let contract = models.get(key.0).and_then(|(_, model)| model.dataset(key.1));
        let provider = identities.party(key.0);
        let provider = provider.filter(|party| !party.outside);
        let (Some(contract), Some(provider)) = (contract, provider) else {
            problems.note(format!(
                "dataset {} of {} is left out: no contract or no agency behind it",
                key.1, key.0
            ));
            continue;
        };
        let (Ok(release_gate), Ok(decision_mode)) =
            (ReleaseGate::try_from(declared.release_gate), DecisionMode::try_from(declared.decision_mode))
        else {
            problems.note(format!("dataset {} of {} is left out: an unknown gate or decision", key.1, key.0));
            continue;
        };
        let Some(guardrails) = guardrails_of(declared, guardrails) else {
            problems.note(format!(
                "dataset {} of {} is left out: a guardrail that binds it cannot be judged",
                key.1, key.0
            ));
            continue;
        };
        let class = Classification::from(contract.options());
        let slot = u32::try_from(datasets.len()).unwrap_or(slot_max);
        slots.insert(key, slot);
        datasets.push(Dataset {
            secret: contract.is_secret(),
            takes_default_purpose: contract.takes_default_purpose(),
            release_gate,
            decision_mode,
            // Absent or negative: no age at all is young enough.
            bundle_age_max: declared
                .bundle_age_max
                .and_then(|age| Duration::try_from(age).ok())
                .unwrap_or(Duration::ZERO),
            min_security_level: declared.min_security_level.max(class.security_level_min()),
            provider_security_level: provider.security_level,
            field_lists: Vec::new(),
            guardrails,
            contract: contract.clone(),
            declared: declared.clone(),
        });
    }
    Ok((datasets, slots))
}

/// Methods, and their slots by path.
pub(super) type Methods = (Vec<Arc<Method>>, HashMap<Box<str>, Vec<u32>>);

pub(super) fn methods(
    models: &Models,
    datasets: &[Dataset],
    dataset_slots: &DatasetSlots<'_>,
    problems: &mut Problems,
) -> Methods {
    let mut all: Vec<(&str, &ContractMethod)> = models
        .iter()
        .flat_map(|(provider, (_, model))| model.methods().iter().map(|method| (&**provider, method)))
        .collect();
    all.sort_by_key(|(provider, method)| (&method.path, *provider));
    let mut methods = Vec::new();
    let mut by_path: HashMap<Box<str>, Vec<u32>> = HashMap::new();
    for (provider, method) in all {
        let Some(dataset) = dataset_slots.get(&(provider, method.dataset.as_str())).copied() else {
            // Declared, but nobody's right and nobody's duty here.
            continue;
        };
        let Ok(observe) = Plan::observe(&method.request, &DeclaredAnnotations) else {
            // INVARIANT: the lint has compiled the same plan; a contract that fails it was left out.
            problems.note(format!(
                "method {} of {provider} is left out: its request cannot be observed",
                method.path
            ));
            continue;
        };
        let slot = u32::try_from(methods.len()).unwrap_or(u32::MAX);
        methods.push(Arc::new(Method {
            slot,
            dataset,
            path: method.path.as_str().into(),
            provider: provider.into(),
            dataset_id: method.dataset.as_str().into(),
            kind: method.kind,
            request: method.request.clone(),
            response: method.response.clone(),
            request_streaming: method.request_streaming,
            response_streaming: method.response_streaming,
            no_side_effects: method.no_side_effects,
            observe: Arc::new(observe),
            one_record: !method.response_streaming && method::holds_one_record(&method.response),
            application_metadata: datasets[dataset as usize].contract.application_metadata(),
            quality: OnceLock::new(),
            plans: release_plans(method, &datasets[dataset as usize], problems),
        }));
        by_path.entry(method.path.as_str().into()).or_default().push(slot);
    }
    (methods, by_path)
}

fn release_plans(
    method: &ContractMethod,
    dataset: &Dataset,
    problems: &mut Problems,
) -> Box<[Option<Arc<Plan>>]> {
    let plan = |list: &FieldList| match plans::release(&method.response, &list.fields, &list.hashing) {
        Ok(plan) => Some(Arc::new(plan)),
        Err(error) => {
            problems.note(format!(
                "a right to {} is of no use for {}: {error}",
                dataset.declared.id, method.path
            ));
            None
        }
    };
    dataset.field_lists.iter().map(plan).collect()
}
