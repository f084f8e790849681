//! What the objects of a catalog say about each other.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_proto::lienthong::options::v1::Sharing;

use super::object::{Draft, Drafts, Step};
use super::{Mistake, entry_rules};
use crate::catalog::{Agency, Entry, Selector};
use crate::condition::Guardrail;
use crate::contract::Beside;
use crate::{code, purpose};

pub(super) fn check(drafts: &Drafts<'_>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    unique(&drafts.agencies, "code", |agency| &agency.code, &mut mistakes);
    unique(&drafts.outside_parties, "code", |party| &party.code, &mut mistakes);
    unique(&drafts.databases, "id", |database| &database.id, &mut mistakes);
    unique(&drafts.entries, "id", |entry| &entry.id, &mut mistakes);
    unique(&drafts.dictionary, "id", |id| id, &mut mistakes);
    unique(&drafts.guardrails, "id", Guardrail::id, &mut mistakes);
    unique(&drafts.invariants, "id", Guardrail::id, &mut mistakes);
    let known = Known::of(drafts);
    drafts.agencies.iter().for_each(|agency| known.agency(agency, &mut mistakes));
    known.outside_parties(drafts, &mut mistakes);
    known.databases(drafts, &mut mistakes);
    for entry in &drafts.entries {
        known.references(entry, &mut mistakes);
        entry_rules::check(entry, &mut mistakes);
    }
    for draft in drafts.guardrails.iter().chain(&drafts.invariants) {
        known.named_by(draft, &mut mistakes);
    }
    providers(drafts, &known, &mut mistakes);
    contracts(drafts, &known, &mut mistakes);
    mistakes
}

/// A text must not come twice under this key.
fn unique<'d, T>(
    drafts: &'d [Draft<'_, T>],
    key: &str,
    text: impl Fn(&'d T) -> &'d str,
    mistakes: &mut Vec<Mistake>,
) {
    let mut seen: BTreeMap<&str, &Draft<'_, T>> = BTreeMap::new();
    for draft in drafts {
        let text = text(&draft.value);
        if let Some(first) = seen.get(text) {
            let message =
                format!("{key} {text:?} comes twice, first at {}:{}", first.file, first.node.place.line);
            mistakes.push(draft.mistake(&[Step::Key(key)], "id", message, "give each its own"));
        } else {
            seen.insert(text, draft);
        }
    }
}

/// What can be referred to.
struct Known<'d> {
    agencies: BTreeMap<&'d str, &'d Agency>,
    /// Owner, mastership and special operation by dataset; the first declaration counts.
    datasets: BTreeMap<&'d str, DatasetFacts<'d>>,
    outside: Vec<&'d str>,
    agency_codes: &'d BTreeSet<&'d str>,
    dataset_ids: &'d BTreeSet<&'d str>,
}

struct DatasetFacts<'d> {
    owner: &'d str,
    database: &'d str,
    master: bool,
    special_operational: bool,
}

impl<'d> Known<'d> {
    fn of(drafts: &'d Drafts<'_>) -> Self {
        let mut datasets = BTreeMap::new();
        for database in drafts.databases.iter().map(|draft| &draft.value) {
            for dataset in &database.datasets {
                datasets.entry(dataset.id.as_str()).or_insert(DatasetFacts {
                    owner: &database.owner_code,
                    database: &database.id,
                    master: dataset.master,
                    special_operational: database.special_operational,
                });
            }
        }
        Self {
            agencies: drafts.agencies.iter().map(|draft| (draft.value.code.as_str(), &draft.value)).collect(),
            datasets,
            outside: drafts.outside_parties.iter().map(|draft| draft.value.code.as_str()).collect(),
            agency_codes: &drafts.agency_codes,
            dataset_ids: &drafts.dataset_ids,
        }
    }

    fn agency(&self, draft: &Draft<'_, Agency>, mistakes: &mut Vec<Mistake>) {
        let agency = &draft.value;
        let successor = agency.successor_code.as_str();
        if !successor.is_empty() && (successor == agency.code || !self.agency_codes.contains(successor)) {
            let message = format!("successor {successor:?} is no other agency of the catalog");
            mistakes.push(draft.mistake(
                &[Step::Key("successor_code")],
                "reference",
                message,
                "name the agency that took over",
            ));
        }
        for (index, system) in agency.systems.iter().enumerate() {
            if agency.systems[..index].iter().any(|other| other.id == system.id) {
                let path = [Step::Key("systems"), Step::Item(index), Step::Key("id")];
                let message = format!("system {:?} of {} comes twice", system.id, agency.code);
                mistakes.push(draft.mistake(&path, "id", message, "give each its own"));
            }
        }
    }

    fn outside_parties(&self, drafts: &Drafts<'_>, mistakes: &mut Vec<Mistake>) {
        for draft in drafts
            .outside_parties
            .iter()
            .filter(|draft| self.agencies.contains_key(draft.value.code.as_str()))
        {
            let message = format!("{} is an agency and an outside party", draft.value.code);
            mistakes.push(draft.mistake(
                &[Step::Key("code")],
                "R-15",
                message,
                "a party is inside or outside the political system",
            ));
        }
    }

    /// Owners exist; a master dataset has one home.
    fn databases(&self, drafts: &Drafts<'_>, mistakes: &mut Vec<Mistake>) {
        for draft in &drafts.databases {
            let database = &draft.value;
            if !self.agency_codes.contains(database.owner_code.as_str()) {
                let message = format!("owner {:?} is no agency of the catalog", database.owner_code);
                mistakes.push(draft.mistake(
                    &[Step::Key("owner_code")],
                    "reference",
                    message,
                    "register the agency, or correct the code",
                ));
            }
            for (index, dataset) in database.datasets.iter().enumerate() {
                let path = [Step::Key("datasets"), Step::Item(index), Step::Key("id")];
                let first = database.datasets[..index].iter().any(|other| other.id == dataset.id);
                let elsewhere =
                    self.datasets.get(dataset.id.as_str()).filter(|facts| facts.database != database.id);
                match elsewhere {
                    Some(facts) if facts.master || dataset.master => {
                        let message =
                            format!("master dataset {} has a home already: {}", dataset.id, facts.database);
                        mistakes.push(draft.mistake(
                            &path,
                            "R-12",
                            message,
                            "a master dataset has exactly one authoritative provider",
                        ));
                    }
                    _ if first => {
                        let message = format!("dataset {} comes twice in {}", dataset.id, database.id);
                        mistakes.push(draft.mistake(&path, "id", message, "list it once"));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Who serves data must be registered as one who does.
    fn provider<T>(&self, draft: &Draft<'_, T>, key: &str, code: &str, mistakes: &mut Vec<Mistake>) {
        let path = [Step::Key(key)];
        match self.agencies.get(code) {
            None if self.agency_codes.contains(code) => {}
            None => {
                let message = format!("provider {code:?} is no agency of the catalog");
                mistakes.push(draft.mistake(
                    &path,
                    "reference",
                    message,
                    "register the agency, or correct the code",
                ));
            }
            Some(agency) if !agency.is_provider() => {
                let message = format!("{code} is not registered as a provider");
                mistakes.push(draft.mistake(&path, "R-09", message, "give the agency the role PROVIDER"));
            }
            Some(_) => {}
        }
    }

    /// What a guardrail names exists: one that names nobody forbids nothing, and nobody would notice.
    fn named_by(&self, draft: &Draft<'_, Guardrail>, mistakes: &mut Vec<Mistake>) {
        for (kind, id) in draft.value.entities() {
            let is_group_of =
                |whole: &&str| whole.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('.'));
            let (known, remedy) = match kind.as_str() {
                "Agency" => (
                    self.agency_codes.contains(id.as_str()) || self.agency_codes.iter().any(is_group_of),
                    "write a code of the catalog, or one that agencies stand below",
                ),
                "Dataset" => (
                    self.dataset_ids.contains(id.as_str()) || self.dataset_ids.iter().any(is_group_of),
                    "write a dataset of the catalog, or a group of datasets",
                ),
                "Action" => (purpose::from_word(&id).is_some(), "write a purpose"),
                _ => (false, "there are Agency, Dataset and Action"),
            };
            if !known {
                let message = format!("{} names {kind}::{id:?}, which is not there", draft.value.id());
                mistakes.push(draft.mistake(&[Step::Key("policy")], "reference", message, remedy));
            }
        }
    }

    fn references(&self, draft: &Draft<'_, Entry>, mistakes: &mut Vec<Mistake>) {
        let entry = &draft.value;
        self.provider(draft, "provider_code", &entry.provider_code, mistakes);
        match self.datasets.get(entry.dataset_id.as_str()) {
            None if self.dataset_ids.contains(entry.dataset_id.as_str()) => {}
            None => {
                let message = format!("dataset {:?} is in no database of the catalog", entry.dataset_id);
                mistakes.push(draft.mistake(
                    &[Step::Key("dataset_id")],
                    "reference",
                    message,
                    "list it under its database",
                ));
            }
            Some(facts) if facts.special_operational => {
                let message =
                    format!("{} is in {}, a special operational database", entry.dataset_id, facts.database);
                mistakes.push(draft.mistake(
                    &[Step::Key("dataset_id")],
                    "R-14",
                    message,
                    "remove the entry: such data is not shared by mandate",
                ));
            }
            Some(facts) if facts.master && facts.owner != entry.provider_code => {
                let message = format!(
                    "{} is master data of {}, not of {}",
                    entry.dataset_id, facts.owner, entry.provider_code
                );
                mistakes.push(draft.mistake(
                    &[Step::Key("provider_code")],
                    "R-12",
                    message,
                    "name the authoritative provider",
                ));
            }
            Some(_) => {}
        }
        for (index, selector) in entry.mandatory_consumers.iter().enumerate() {
            if let Some((rule, message, remedy)) = self.consumer(entry, selector) {
                let path = [Step::Key("mandatory_consumers"), Step::Item(index)];
                mistakes.push(draft.mistake(&path, rule, message, remedy));
            }
        }
    }

    fn consumer(&self, entry: &Entry, selector: &Selector) -> Option<(&'static str, String, &'static str)> {
        let text = selector.to_string();
        match selector {
            Selector::Code(code)
                if self.outside.contains(&code.as_str())
                    || !code::is_state_code(code) && !self.agency_codes.contains(code.as_str()) =>
            {
                return Some((
                    "R-15",
                    format!("{text} is outside the political system"),
                    "remove it: the mandatory catalog never entitles it",
                ));
            }
            Selector::Code(code) | Selector::Subtree(code) if !self.agency_codes.contains(code.as_str()) => {
                return Some((
                    "reference",
                    format!("consumer {text} is no agency of the catalog"),
                    "register the agency, or correct the code",
                ));
            }
            Selector::Sector(sector)
                if !self.agencies.values().any(|agency| agency.sectors.contains(sector)) =>
            {
                return Some((
                    "reference",
                    format!("no agency works in sector {sector:?}"),
                    "give agencies the sector, or correct it",
                ));
            }
            _ => {}
        }
        let inside = match selector {
            Selector::Code(code) | Selector::Subtree(code) => code::is_within(code, &entry.provider_code),
            _ => false,
        };
        (entry.classification.sharing == Sharing::Private && !inside).then(|| {
            (
                "R-23",
                format!("{text} is outside {}, whose private data this is", entry.provider_code),
                "name only units below the owner, or share the data",
            )
        })
    }
}

/// One active entry a dataset and provider.
fn providers(drafts: &Drafts<'_>, known: &Known<'_>, mistakes: &mut Vec<Mistake>) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for draft in drafts.entries.iter().filter(|draft| draft.value.status.is_in_force()) {
        let entry = &draft.value;
        if !known.datasets.contains_key(entry.dataset_id.as_str()) {
            continue;
        }
        if let Some(first) = seen.insert((&entry.dataset_id, &entry.provider_code), &entry.id) {
            let message = format!("{first} is in force for the same dataset and provider");
            mistakes.push(draft.mistake(
                &[Step::Key("dataset_id")],
                "R-12",
                message,
                "keep one entry in force, or retire the other",
            ));
        }
    }
}

/// Options beside a contract are of a provider, and given once.
fn contracts(drafts: &Drafts<'_>, known: &Known<'_>, mistakes: &mut Vec<Mistake>) {
    let mut besides: BTreeMap<&str, Beside> = BTreeMap::new();
    for draft in &drafts.contracts {
        let code = draft.value.provider.as_str();
        known.provider(draft, "provider", code, mistakes);
        let beside = besides.entry(code).or_default();
        for (element, given, place) in &draft.value.given {
            if let Err(first) = beside.add(element.clone(), given.clone()) {
                let message =
                    format!("{} of {element} is given twice, first at {first}", given.setting.name());
                mistakes.push(Mistake::new(draft.file, *place, "id", message, "give it once"));
            }
        }
    }
}
