//! From a bundle to its index.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lienthong_filter::{HashKey, Plan};
use lienthong_proto::lienthong::control::v1::{
    CertificateBinding, Contract, Dataset as DeclaredDataset, Node, Party, Right, RightOrigin, RightsBundle,
    System,
};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose, Sharing};

use super::table::{FieldList, Key, RightParts};
use super::{
    ANY_CONSUMER, Dataset, IDENTITIES_MAX, Index, Method, Moment, RIGHTS_MAX, RightRow, RightTable,
    SubsetPlans, plans,
};
use crate::catalog::Classification;
use crate::code;
use crate::contract::{ContractMethod, ContractModel, DeclaredAnnotations, GrantedFields};

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// Why a bundle was refused whole. The node goes on with the bundle it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The header says not what the bundle is.
    #[error("the rights bundle names no {0}; have the broker make it anew")]
    Header(&'static str),
    /// More than the index takes in.
    #[error("the rights bundle holds {given} {what}; at most {max} are taken in")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many were given.
        given: usize,
        /// Bound.
        max: usize,
    },
    /// A name that must be unique is not.
    #[error("the rights bundle holds {what} {name} twice; have the broker make it anew")]
    Twice {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A node or system of nobody.
    #[error("{name} belongs to {agency}, which is no party of the rights bundle (R-34)")]
    Orphan {
        /// Resource name.
        name: String,
        /// Code of its party, as written.
        agency: String,
    },
    /// A certificate that stands for two identities, or for none.
    #[error("the certificate of {name} is {fault} (R-34); correct the binding in the registry")]
    Certificate {
        /// Resource name.
        name: String,
        /// What is wrong.
        fault: &'static str,
    },
}

pub(super) fn index(
    bundle: &RightsBundle,
    hash_key: &dyn Fn(&str, &str) -> Option<HashKey>,
) -> Result<Index, BundleError> {
    check_header(bundle)?;
    let mut problems = Vec::new();
    let (parties, party_slots) = parties(&bundle.parties)?;
    let (nodes, nodes_of) = nodes(&bundle.nodes, &party_slots)?;
    let node_by_certificate =
        certificates(nodes.iter().map(|node| (node.name.as_str(), &node.certificates)))?;
    let (systems, system_slots) = systems(&bundle.systems, &party_slots)?;
    let system_by_certificate = certificates(
        systems
            .iter()
            .map(|system| (system.name.as_str(), &system.certificates)),
    )?;

    let models = contracts(&bundle.contracts, &mut problems)?;
    let (mut datasets, dataset_slots) =
        datasets(&bundle.datasets, &models, &parties, &party_slots, &mut problems)?;
    let rights = Rights {
        datasets: &mut datasets,
        dataset_slots: &dataset_slots,
        parties: &parties,
        party_slots: &party_slots,
        systems: &systems,
        system_slots: &system_slots,
        hash_key,
        field_lists: HashMap::new(),
        bases: HashMap::new(),
        legal_bases: Vec::new(),
    }
    .table(&bundle.rights, &mut problems);
    let (methods, methods_by_path) = methods(&models, &datasets, &dataset_slots, &mut problems);

    Ok(Index {
        mesh: bundle.mesh.clone(),
        audience: bundle.audience.clone(),
        epoch: bundle.epoch,
        issue_time: bundle.issue_time.unwrap_or_default(),
        parties,
        party_slots,
        nodes,
        nodes_of,
        node_by_certificate,
        systems,
        system_slots,
        system_by_certificate,
        contracts: bundle.contracts.clone(),
        datasets,
        methods,
        methods_by_path,
        rights,
        subset_plans: SubsetPlans::default(),
        problems,
    })
}

fn check_header(bundle: &RightsBundle) -> Result<(), BundleError> {
    for (name, missing) in [
        ("mesh", bundle.mesh.is_empty()),
        ("audience", bundle.audience.is_empty()),
        ("epoch", bundle.epoch == 0),
    ] {
        if missing {
            return Err(BundleError::Header(name));
        }
    }
    for (what, given, max) in [
        ("parties", bundle.parties.len(), IDENTITIES_MAX),
        ("nodes", bundle.nodes.len(), IDENTITIES_MAX),
        ("systems", bundle.systems.len(), IDENTITIES_MAX),
        ("datasets", bundle.datasets.len(), IDENTITIES_MAX),
        ("rights", bundle.rights.len(), RIGHTS_MAX),
    ] {
        if given > max {
            return Err(BundleError::TooMany { what, given, max });
        }
    }
    Ok(())
}

/// Slots by name.
type Slots = HashMap<Box<str>, u32>;

/// Numbers names in their order; a name that comes twice is an error. The bounds above are far below `u32::MAX`.
fn slots<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Result<Slots, BundleError> {
    let mut slots = HashMap::new();
    for (name, slot) in names.zip(0..) {
        if slots.insert(Box::from(name), slot).is_some() {
            return Err(BundleError::Twice {
                what,
                name: name.to_owned(),
            });
        }
    }
    Ok(slots)
}

fn parties(parties: &[Party]) -> Result<(Vec<Party>, Slots), BundleError> {
    let mut parties = parties.to_vec();
    parties.sort_by(|a, b| a.code.cmp(&b.code));
    let slots = slots("party", parties.iter().map(|party| party.code.as_str()))?;
    Ok((parties, slots))
}

type NodesByAgency = HashMap<Box<str>, Range<usize>>;

fn nodes(nodes: &[Node], parties: &Slots) -> Result<(Vec<Node>, NodesByAgency), BundleError> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by(|a, b| (&a.agency, &a.name).cmp(&(&b.agency, &b.name)));
    slots("node", nodes.iter().map(|node| node.name.as_str()))?;
    let mut by_agency = HashMap::new();
    let mut start = 0;
    for group in nodes.chunk_by(|a, b| a.agency == b.agency) {
        let agency = group[0].agency.as_str();
        if !parties.contains_key(agency) {
            return Err(BundleError::Orphan {
                name: group[0].name.clone(),
                agency: agency.to_owned(),
            });
        }
        by_agency.insert(Box::from(agency), start..start + group.len());
        start += group.len();
    }
    Ok((nodes, by_agency))
}

fn systems(systems: &[System], parties: &Slots) -> Result<(Vec<System>, Slots), BundleError> {
    let mut systems = systems.to_vec();
    systems.sort_by(|a, b| a.name.cmp(&b.name));
    let slots = slots("system", systems.iter().map(|system| system.name.as_str()))?;
    if let Some(orphan) = systems
        .iter()
        .find(|system| !parties.contains_key(system.agency.as_str()))
    {
        return Err(BundleError::Orphan {
            name: orphan.name.clone(),
            agency: orphan.agency.clone(),
        });
    }
    Ok((systems, slots))
}

/// Owners by certificate. One owner may hold several; no certificate has two owners.
fn certificates<'a>(
    owners: impl Iterator<Item = (&'a str, &'a Vec<CertificateBinding>)>,
) -> Result<HashMap<CertificateBinding, usize>, BundleError> {
    let mut by_certificate = HashMap::new();
    for (slot, (name, certificates)) in owners.enumerate() {
        for certificate in certificates {
            let fault = |fault| BundleError::Certificate {
                name: name.to_owned(),
                fault,
            };
            if certificate.issuer.is_empty()
                || certificate.serial.is_empty()
                || certificate.spki_sha256.len() != SHA256_BYTES
            {
                return Err(fault("not bound by issuer, serial and key"));
            }
            if by_certificate
                .insert(certificate.clone(), slot)
                .is_some_and(|before| before != slot)
            {
                return Err(fault("bound to another one too"));
            }
        }
    }
    Ok(by_certificate)
}

/// The contracts that decisions can rest on, by provider.
fn contracts<'a>(
    contracts: &'a [Contract],
    problems: &mut Vec<String>,
) -> Result<HashMap<&'a str, ContractModel>, BundleError> {
    slots(
        "the contract of",
        contracts.iter().map(|contract| contract.provider.as_str()),
    )?;
    let mut models = HashMap::new();
    for contract in contracts {
        match ContractModel::read(&contract.descriptor_set) {
            Ok(model) => match model.first_undecidable() {
                None => {
                    models.insert(contract.provider.as_str(), model);
                }
                Some(finding) => problems.push(format!(
                    "the contract of {} is left out: {finding}",
                    contract.provider
                )),
            },
            Err(error) => problems.push(format!(
                "the contract of {} is left out: {error}",
                contract.provider
            )),
        }
    }
    Ok(models)
}

/// Slot by provider and dataset id.
type DatasetSlots<'a> = HashMap<(&'a str, &'a str), u32>;

fn datasets<'a>(
    declared: &'a [DeclaredDataset],
    models: &HashMap<&str, ContractModel>,
    parties: &[Party],
    party_slots: &Slots,
    problems: &mut Vec<String>,
) -> Result<(Vec<Dataset>, DatasetSlots<'a>), BundleError> {
    let mut datasets = Vec::new();
    let mut slots = HashMap::new();
    let mut seen = HashSet::new();
    for (declared, slot_max) in declared.iter().zip(0u32..) {
        let key = (declared.provider.as_str(), declared.id.as_str());
        if !seen.insert(key) {
            return Err(BundleError::Twice {
                what: "dataset",
                name: format!("{}/{}", key.0, key.1),
            });
        }
        let contract = models.get(key.0).and_then(|model| model.dataset(key.1));
        let provider = party_slots
            .get(key.0)
            .map(|slot| &parties[*slot as usize])
            .filter(|party| !party.outside);
        let (Some(contract), Some(provider)) = (contract, provider) else {
            problems.push(format!(
                "dataset {} of {} is left out: no contract or no agency behind it",
                key.1, key.0
            ));
            continue;
        };
        let class = Classification::from(contract.options());
        let slot = u32::try_from(datasets.len()).unwrap_or(slot_max);
        slots.insert(key, slot);
        datasets.push(Dataset {
            secret: contract.is_secret(),
            release_gate: declared.release_gate(),
            decision_mode: declared.decision_mode(),
            // Absent or negative: no age at all is young enough.
            bundle_age_max: declared
                .bundle_age_max
                .and_then(|age| Duration::try_from(age).ok())
                .unwrap_or(Duration::ZERO),
            min_security_level: declared.min_security_level.max(class.security_level_min()),
            provider_security_level: provider.security_level,
            field_lists: Vec::new(),
            contract: contract.clone(),
            declared: declared.clone(),
        });
    }
    Ok((datasets, slots))
}

/// What turning rights into rows needs, and what it gathers on the way.
struct Rights<'a> {
    datasets: &'a mut [Dataset],
    dataset_slots: &'a DatasetSlots<'a>,
    parties: &'a [Party],
    party_slots: &'a Slots,
    systems: &'a [System],
    system_slots: &'a Slots,
    hash_key: &'a dyn Fn(&str, &str) -> Option<HashKey>,
    /// Slot of each field list as written, by dataset; per consumer where a key makes it differ.
    field_lists: HashMap<FieldListKey<'a>, Option<u32>>,
    bases: HashMap<&'a [String], u32>,
    legal_bases: Vec<Vec<String>>,
}

#[derive(PartialEq, Eq, Hash)]
struct FieldListKey<'a> {
    dataset: u32,
    fields: &'a [String],
    masked: &'a [String],
    hashed_for: Option<u32>,
}

impl<'a> Rights<'a> {
    fn table(mut self, rights: &'a [Right], problems: &mut Vec<String>) -> RightTable {
        let mut rows = Vec::with_capacity(rights.len());
        let mut seen = HashSet::with_capacity(rights.len());
        for right in rights {
            let row = if seen.insert(right.id.as_str()) {
                self.row(right)
            } else {
                Err("its id comes twice")
            };
            match row {
                Ok(row) => rows.push(row),
                Err(why) => problems.push(format!("right {} is left out: {why}", right.id)),
            }
        }
        RightTable::new(rows, self.legal_bases)
    }

    fn row(&mut self, right: &'a Right) -> Result<RightRow, &'static str> {
        let slot = self
            .dataset_slots
            .get(&(right.provider.as_str(), right.dataset.as_str()))
            .copied();
        let slot = slot.ok_or("its dataset is not in the bundle")?;
        let consumer = self.consumer(right, slot)?;
        let purpose = purpose(right)?;
        let methods: Vec<MethodKind> = right.methods().collect();
        if methods.is_empty()
            || right.methods.len() != methods.len()
            || methods.contains(&MethodKind::Unspecified)
        {
            return Err("it does not say which methods it grants (R-02)");
        }
        let valid_from = right
            .valid_from
            .and_then(Moment::of)
            .ok_or("it does not say from when it is valid")?;
        let valid_to = match right.valid_to {
            None => Moment::END_OF_TIME,
            Some(end) => Moment::of(end).ok_or("its end is no time")?,
        };
        Ok(RightRow::new(&RightParts {
            id: &right.id,
            key: Key {
                dataset: slot,
                consumer,
                purpose: purpose as i32,
            },
            system: self.system(right)?,
            origin: right.origin(),
            methods: &methods,
            suspended: right.suspended,
            field_list: self
                .field_list(right, slot, consumer)
                .ok_or("its field list does not fit the contract (R-24)")?,
            calls_per_minute_max: right.calls_per_minute_max,
            valid_from,
            valid_to,
            legal_basis: self.legal_basis(&right.legal_basis),
        }))
    }

    fn consumer(&self, right: &Right, dataset: u32) -> Result<u32, &'static str> {
        let sharing = self.datasets[dataset as usize].contract.options().sharing();
        if right.consumer.is_empty() {
            return match (right.origin(), sharing) {
                (RightOrigin::Open, Sharing::Open) => Ok(ANY_CONSUMER),
                _ => Err("only open data may be granted to everybody (R-22)"),
            };
        }
        let slot = *self
            .party_slots
            .get(right.consumer.as_str())
            .ok_or("its consumer is not in the bundle")?;
        if self.parties[slot as usize].outside {
            return Err("its consumer is outside the political system (R-15)");
        }
        if matches!(sharing, Sharing::Private | Sharing::Unspecified)
            && !code::is_within(&right.consumer, &right.provider)
        {
            return Err("private data stays inside the owner's code subtree (R-23)");
        }
        Ok(slot)
    }

    fn system(&self, right: &Right) -> Result<Option<u32>, &'static str> {
        if right.system.is_empty() {
            return Ok(None);
        }
        let slot = *self
            .system_slots
            .get(right.system.as_str())
            .ok_or("its system is not in the bundle")?;
        if self.systems[slot as usize].agency != right.consumer {
            return Err("its system is not the consumer's (R-34)");
        }
        Ok(Some(slot))
    }

    fn field_list(&mut self, right: &'a Right, dataset: u32, consumer: u32) -> Option<u32> {
        let key = |hashed_for| FieldListKey {
            dataset,
            fields: &right.fields,
            masked: &right.masked_fields,
            hashed_for,
        };
        let known = self
            .field_lists
            .get(&key(None))
            .or_else(|| self.field_lists.get(&key(Some(consumer))));
        if let Some(known) = known {
            return *known;
        }
        let into = &mut self.datasets[dataset as usize];
        let fields = into
            .contract
            .grant(&right.fields, &right.masked_fields)
            .ok()
            .filter(|fields| !fields.ids.is_empty());
        let hashed = fields.as_ref().is_some_and(GrantedFields::needs_hash_key);
        let slot = fields.and_then(|fields| {
            let hash_key = if hashed {
                (self.hash_key)(&right.consumer, &right.dataset)
            } else {
                None
            };
            into.field_lists.push(FieldList { fields, hash_key });
            u32::try_from(into.field_lists.len() - 1).ok()
        });
        self.field_lists.insert(key(hashed.then_some(consumer)), slot);
        slot
    }

    fn legal_basis(&mut self, basis: &'a [String]) -> u32 {
        *self.bases.entry(basis).or_insert_with(|| {
            self.legal_bases.push(basis.to_vec());
            u32::try_from(self.legal_bases.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn purpose(right: &Right) -> Result<Purpose, &'static str> {
    match (Purpose::try_from(right.purpose), right.origin()) {
        (_, RightOrigin::Unspecified) => Err("it does not say where it comes from"),
        (Err(_), _) => Err("its purpose is unknown (R-24)"),
        (Ok(Purpose::Commercial), _) => Err("trade is no purpose of this mesh (R-29)"),
        (Ok(Purpose::Unspecified), RightOrigin::Open | RightOrigin::Default) => Ok(Purpose::Unspecified),
        (Ok(Purpose::Unspecified), _) => Err("it states no purpose (R-24)"),
        (Ok(_), RightOrigin::Open) => Err("open data is open for any purpose"),
        (Ok(purpose), _) => Ok(purpose),
    }
}

type Methods = (Vec<Arc<Method>>, HashMap<Box<str>, Vec<u32>>);

fn methods(
    models: &HashMap<&str, ContractModel>,
    datasets: &[Dataset],
    dataset_slots: &DatasetSlots<'_>,
    problems: &mut Vec<String>,
) -> Methods {
    let mut all: Vec<(&str, &ContractMethod)> = models
        .iter()
        .flat_map(|(provider, model)| model.methods().iter().map(|method| (*provider, method)))
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
            problems.push(format!(
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
            plans: release_plans(method, &datasets[dataset as usize], problems),
        }));
        by_path.entry(method.path.as_str().into()).or_default().push(slot);
    }
    (methods, by_path)
}

fn release_plans(
    method: &ContractMethod,
    dataset: &Dataset,
    problems: &mut Vec<String>,
) -> Box<[Option<Arc<Plan>>]> {
    let plan = |list: &FieldList| match plans::release(&method.response, &list.fields, list.hash_key.clone())
    {
        Ok(plan) => Some(Arc::new(plan)),
        Err(error) => {
            problems.push(format!(
                "a right to {} is of no use for {}: {error}",
                dataset.declared.id, method.path
            ));
            None
        }
    };
    dataset.field_lists.iter().map(plan).collect()
}
