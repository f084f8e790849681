//! Guardrails and invariants against everything that was compiled.
//!
//! A guardrail that looks at no call is applied here, once, and costs no call anything: what it forbids is granted to
//! nobody. One that looks at calls or data binds its datasets' calls at the nodes; so does one that forbids only a part
//! of a right, such as one purpose of a right for any purpose. An invariant is checked last; a right that breaks it is
//! left out and told.

use std::collections::{BTreeMap, HashMap};

use lienthong_proto::lienthong::control::v1::{Guardrail as CarriedGuardrail, Right};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};

use super::Work;
use crate::condition::Guardrail;
use crate::condition::scope::{Terms, forbids};
use crate::condition::text::About;
use crate::condition::vocabulary::{ANY_AGENCY, check_guardrail};
use crate::contract::{ContractDataset, ContractModel, GrantedFields};
use crate::finding::Finding;
use crate::rights::origin_word;
use crate::{purpose, words};

impl Work<'_> {
    /// Applies every guardrail, then checks every invariant.
    pub(super) fn guard(&mut self) {
        let catalog = self.catalog;
        if catalog.guardrails().is_empty() && catalog.invariants().is_empty() {
            return;
        }
        let agencies: Vec<&str> = catalog
            .agencies()
            .iter()
            .filter(|agency| agency.is_consumer())
            .map(|agency| agency.code.as_str())
            .collect();
        for guardrail in catalog.guardrails() {
            self.apply(guardrail, &agencies);
        }
        for invariant in catalog.invariants() {
            self.keep(invariant, &agencies);
        }
    }

    fn apply(&mut self, guardrail: &Guardrail, agencies: &[&str]) {
        if guardrail.names().about != About::Right {
            let bound: Vec<(String, String)> =
                self.datasets.keys().filter(|(_, dataset)| guardrail.may_concern(dataset)).cloned().collect();
            for key in bound {
                self.check_types(guardrail, &key);
                self.bind(guardrail, &key);
            }
            return;
        }
        let mut judge = Judge::new(guardrail, agencies);
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let mut partly = Vec::new();
        let rights = std::mem::take(&mut self.rights);
        self.rights = rights
            .into_iter()
            .filter(|right| {
                match self.dataset_of(right).map_or(Verdict::Nothing, |of| judge.about(right, of)) {
                    Verdict::Nothing => true,
                    Verdict::Part(_) => {
                        partly.push((right.provider.clone(), right.dataset.clone()));
                        true
                    }
                    Verdict::All(_) => {
                        *taken.entry(entry_of(right).to_owned()).or_default() += 1;
                        false
                    }
                }
            })
            .collect();
        for key in partly {
            self.bind(guardrail, &key);
        }
        self.findings.extend(taken.into_iter().map(|(entry, rights)| {
            let message =
                format!("{} takes away {rights} of its rights: {}", guardrail.id(), guardrail.name_vi());
            Finding::warning(entry, "R-24", message, "leave them out of the entry, or change the guardrail")
        }));
    }

    /// Leaves out what an invariant forbids, and tells it.
    fn keep(&mut self, invariant: &Guardrail, agencies: &[&str]) {
        let mut judge = Judge::new(invariant, agencies);
        let rights = std::mem::take(&mut self.rights);
        let mut broken = Vec::new();
        self.rights = rights
            .into_iter()
            .filter(|right| {
                let verdict = self.dataset_of(right).map_or(Verdict::Nothing, |of| judge.about(right, of));
                let who = match verdict {
                    Verdict::Nothing => return true,
                    Verdict::Part(who) | Verdict::All(who) => who,
                };
                let message = format!(
                    "{} would be broken by right {}: it lets {who} read {} of {}; {}",
                    invariant.id(),
                    right.id,
                    right.dataset,
                    right.provider,
                    invariant.name_vi()
                );
                let remedy = "take the right out of the entry, or change the invariant first";
                broken.push(Finding::error(entry_of(right), "invariant", message, remedy));
                false
            })
            .collect();
        self.findings.extend(broken.iter().cloned());
        self.broken_invariants.extend(broken);
    }

    /// Has the nodes judge a guardrail in each call of a dataset.
    fn bind(&mut self, guardrail: &Guardrail, key: &(String, String)) {
        let Some(dataset) = self.datasets.get_mut(key) else { return };
        if !dataset.guardrails.iter().any(|id| id == guardrail.id()) {
            dataset.guardrails.push(guardrail.id().to_owned());
        }
        self.guardrails.entry(guardrail.id().to_owned()).or_insert_with(|| CarriedGuardrail {
            id: guardrail.id().to_owned(),
            name_vi: guardrail.name_vi().to_owned(),
            policy: guardrail.text().to_owned(),
        });
    }

    /// A guardrail must fit what it binds: where it does not, it can only deny.
    fn check_types(&mut self, guardrail: &Guardrail, (provider, dataset): &(String, String)) {
        let Some(model) = self.published.get(provider.as_str()).map(|one| one.model) else { return };
        let Some(declared) = model.dataset(dataset) else { return };
        let faults: Vec<String> = match guardrail.names().about {
            About::Right | About::Call => {
                check_guardrail(guardrail, None).err().into_iter().collect::<Vec<_>>()
            }
            About::Record => check_guardrail(guardrail, Some(declared.record())).err().into_iter().collect(),
            About::Request => requests(model, dataset)
                .filter_map(|method| check_guardrail(guardrail, Some(&method.request)).err())
                .collect(),
        }
        .iter()
        .map(ToString::to_string)
        .collect();
        self.findings.extend(faults.into_iter().map(|fault| {
            let message = format!("{} does not fit dataset {dataset}: {fault}", guardrail.id());
            let remedy =
                "correct it, or name the datasets that it is about; until then their calls are denied";
            Finding::error(guardrail.id(), "R-24", message, remedy)
        }));
    }

    pub(super) fn dataset_of(&self, right: &Right) -> Option<&ContractDataset> {
        self.published.get(right.provider.as_str())?.model.dataset(&right.dataset)
    }
}

/// The methods that exchange a dataset.
fn requests<'m>(
    model: &'m ContractModel,
    dataset: &'m str,
) -> impl Iterator<Item = &'m crate::contract::ContractMethod> {
    model.methods().iter().filter(move |method| method.dataset == dataset)
}

/// The entry that a right comes from; the rule, of a default right.
fn entry_of(right: &Right) -> &str {
    right.id.split_once('/').map_or(right.id.as_str(), |(entry, _)| entry)
}

/// What of a right is forbidden.
enum Verdict {
    Nothing,
    /// For some consumers or purposes; the first such consumer.
    Part(String),
    /// All of it; the first consumer.
    All(String),
}

/// Asks one policy about many rights, each different question once.
struct Judge<'a> {
    guardrail: &'a Guardrail,
    agencies: &'a [&'a str],
    known: HashMap<Asked, bool>,
}

/// What the answer depends on.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    provider: String,
    dataset: String,
    consumer: String,
    purpose: Purpose,
    fields: Vec<String>,
    masked_fields: Vec<String>,
    methods: Vec<i32>,
    origin: i32,
}

impl<'a> Judge<'a> {
    fn new(guardrail: &'a Guardrail, agencies: &'a [&'a str]) -> Self {
        Self { guardrail, agencies, known: HashMap::new() }
    }

    fn about(&mut self, right: &Right, dataset: &ContractDataset) -> Verdict {
        if !self.guardrail.may_concern(&right.dataset) {
            return Verdict::Nothing;
        }
        let purposes: Vec<Purpose> = match right.purpose() {
            Purpose::Unspecified => purpose::WORDS.map(|(purpose, _)| purpose).into(),
            one => vec![one],
        };
        let consumers = match right.consumer.as_str() {
            "" if self.guardrail.names().principal => self.agencies,
            "" => &[ANY_AGENCY],
            one => &[one],
        };
        let grantable = purposes.into_iter().filter(|purpose| *purpose != Purpose::Commercial);
        let mut asked = 0;
        let mut forbidden = Vec::new();
        for purpose in grantable {
            for consumer in consumers {
                asked += 1;
                if self.is_forbidden(right, dataset, consumer, purpose) {
                    forbidden.push(*consumer);
                }
            }
        }
        match forbidden.first() {
            None => Verdict::Nothing,
            Some(first) if forbidden.len() == asked => Verdict::All((*first).to_owned()),
            Some(first) => Verdict::Part((*first).to_owned()),
        }
    }

    fn is_forbidden(
        &mut self,
        right: &Right,
        dataset: &ContractDataset,
        consumer: &str,
        purpose: Purpose,
    ) -> bool {
        let names = self.guardrail.names();
        let words = |word: &str, list: &[String]| {
            if names.words.contains(word) { list.to_vec() } else { Vec::new() }
        };
        let granted = if names.words.contains("fields") || names.words.contains("masked_fields") {
            dataset.grant(&right.fields, &right.masked_fields).unwrap_or_default()
        } else {
            GrantedFields::default()
        };
        let list = |ids: Vec<&String>| ids.into_iter().cloned().collect::<Vec<String>>();
        let asked = Asked {
            provider: right.provider.clone(),
            dataset: right.dataset.clone(),
            consumer: if names.principal { consumer.to_owned() } else { ANY_AGENCY.to_owned() },
            purpose,
            fields: words("fields", &list(granted.ids.iter().collect())),
            masked_fields: words("masked_fields", &list(granted.masking.keys().collect())),
            methods: right.methods.clone(),
            origin: right.origin,
        };
        let guardrail = self.guardrail;
        *self.known.entry(asked).or_insert_with_key(|asked| {
            let kinds: Vec<MethodKind> = right.methods().collect();
            let methods =
                words::METHODS.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, word)| *word);
            let terms = Terms {
                right: &right.id,
                consumer: &asked.consumer,
                purpose,
                dataset: &right.dataset,
                provider: &right.provider,
                class: dataset.options(),
                fields: asked.fields.iter().map(String::as_str).collect(),
                masked_fields: asked.masked_fields.iter().map(String::as_str).collect(),
                methods: methods.collect(),
                origin: origin_word(right.origin()),
                condition: None,
                guardrails: &[],
                request: dataset.record(),
                record: dataset.record(),
            };
            forbids(&terms, guardrail)
        })
    }
}
