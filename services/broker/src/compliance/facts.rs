//! What is known of each entry beside the log: from the catalog, the contracts, the board, and the arbiter's book.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lienthong_catalog::catalog::{Entry, Freshness};
use lienthong_compliance::facts::Refusals;
use lienthong_compliance::{ContractStanding, EntryFacts, day};
use lienthong_duty::{dispute, instant, outage, refusal};
use lienthong_proto::lienthong::options::v1::MethodKind;
use lienthong_proto::lienthong::registry::v1::{Dispute, DisputeCause, Outage, Refusal, RefusalState};
use lienthong_proto::reason::UNDECLARED_REFUSAL;
use prost_types::Timestamp;
use time::OffsetDateTime;

use super::Desk;
use crate::arbiter::Actor;
use crate::generation::Generation;
use crate::records::RECORDER;

/// Gathers the facts.
#[derive(Debug)]
pub struct Facts;

impl Facts {
    /// The facts of every entry in force or about to be, ordered by entry; refusals are those of the year. `drifts` says
    /// which agencies run another contract than the registered one, and why.
    pub async fn gather(
        desk: &Desk,
        drifts: BTreeMap<String, String>,
        year: i32,
        now: OffsetDateTime,
    ) -> Vec<EntryFacts> {
        let everything = Actor { name: RECORDER.to_owned(), agency: String::new(), sees_all: true };
        let refusals = desk.arbiter.refusals(&everything).await;
        let disputes = desk.arbiter.disputes(&everything).await;
        let outages = desk.arbiter.outages().await;
        let board = desk.board.rows();
        let generation = desk.steward.current();
        let connected: HashSet<String> = generation
            .catalog()
            .nodes()
            .iter()
            .filter(|node| board.get(&node.name).is_some_and(|row| row.watches > 0))
            .map(|node| node.agency.clone())
            .collect();
        let known = Known {
            generation: &generation,
            entitled: desk.entitled.of(&generation),
            refusals: counted(&refusals, &disputes, year),
            outages: &outages,
            connected,
            drifts,
            now,
        };
        let entries = generation.entries().iter().filter(|entry| entry.status.is_in_force());
        entries.map(|entry| known.of(entry)).collect()
    }
}

/// Provider and dataset.
type Holding = (String, String);

struct Known<'k> {
    generation: &'k Generation,
    entitled: Arc<Entitled>,
    refusals: HashMap<Holding, Refusals>,
    outages: &'k [Outage],
    connected: HashSet<String>,
    drifts: BTreeMap<String, String>,
    now: OffsetDateTime,
}

impl Known<'_> {
    fn of(&self, entry: &Entry) -> EntryFacts {
        let holding = (entry.provider_code.clone(), entry.dataset_id.clone());
        let synchronises =
            |kind: &MethodKind| matches!(kind, MethodKind::SyncToConsumer | MethodKind::SyncToNationalDb);
        let activated = self.generation.activate_time(&entry.id).as_ref().and_then(instant);
        EntryFacts {
            id: entry.id.clone(),
            versioned_id: entry.versioned_id(),
            dataset: entry.dataset_id.clone(),
            provider: entry.provider_code.clone(),
            is_in_force: entry.status.is_in_force(),
            contract: self.contract(entry),
            is_connected: self.connected.contains(&entry.provider_code),
            freshness: entry.freshness.map(|freshness| match freshness {
                Freshness::RealTime => Duration::ZERO,
                Freshness::Within(lag) => lag,
            }),
            is_synchronised: entry.methods.iter().any(synchronises),
            copy_age_max: entry.max_staleness.filter(|_| entry.methods.contains(&MethodKind::SyncToConsumer)),
            entitled_consumers: self.entitled.get(&holding).copied().unwrap_or_default(),
            deadline: entry.deadline,
            reviewed: activated.unwrap_or_else(|| entry.valid_from()).max(entry.valid_from()),
            refusals: self.refusals.get(&holding).cloned().unwrap_or_default(),
            is_dated: self.is_dated(entry),
            is_planned_outage: self
                .outages
                .iter()
                .any(|one| outage::covers(one, &entry.provider_code, &entry.dataset_id, self.now)),
        }
    }

    fn contract(&self, entry: &Entry) -> ContractStanding {
        let Some(contract) = self.generation.contracts().get(&entry.provider_code) else {
            return ContractStanding::Missing;
        };
        if contract.model.dataset(&entry.dataset_id).is_none() {
            return ContractStanding::Missing;
        }
        if let Some(why) = self.drifts.get(&entry.provider_code) {
            return ContractStanding::Drifted(why.clone());
        }
        let declared: HashSet<MethodKind> = contract
            .model
            .methods()
            .iter()
            .filter(|method| method.dataset == entry.dataset_id)
            .map(|method| method.kind)
            .collect();
        // A package on storage media is handed over outside the mesh.
        let lacking = entry
            .methods
            .iter()
            .filter(|kind| **kind != MethodKind::OfflinePackage && !declared.contains(kind))
            .map(|kind| kind.as_str_name().trim_start_matches("METHOD_KIND_").to_owned());
        let lacking: Vec<String> = lacking.collect();
        if lacking.is_empty() { ContractStanding::Fits } else { ContractStanding::Lacks(lacking) }
    }

    fn is_dated(&self, entry: &Entry) -> bool {
        let contract = self.generation.contracts().get(&entry.provider_code);
        let dataset = contract.and_then(|contract| contract.model.dataset(&entry.dataset_id));
        dataset.is_some_and(|dataset| dataset.fields().iter().any(|field| field.options.update_time))
    }
}

/// How many consumers have a right to what, by provider and dataset. The provider itself needs none.
type Entitled = HashMap<Holding, u32>;

/// The same, kept as long as its epoch: a mesh may have a million rights. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct EntitledOfEpoch(Arc<Mutex<(u64, Arc<Entitled>)>>);

impl EntitledOfEpoch {
    fn of(&self, generation: &Generation) -> Arc<Entitled> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != generation.epoch() {
            *kept = (generation.epoch(), Arc::new(entitled(generation)));
        }
        Arc::clone(&kept.1)
    }
}

fn entitled(generation: &Generation) -> Entitled {
    let mut consumers: HashMap<(&str, &str), HashSet<&str>> = HashMap::new();
    for right in generation.rights().rights() {
        if !right.consumer.is_empty() && right.consumer != right.provider {
            consumers.entry((&right.provider, &right.dataset)).or_default().insert(&right.consumer);
        }
    }
    let count = |of: HashSet<&str>| u32::try_from(of.len()).unwrap_or(u32::MAX);
    consumers
        .into_iter()
        .map(|((provider, dataset), of)| ((provider.to_owned(), dataset.to_owned()), count(of)))
        .collect()
}

fn counted(refusals: &[Refusal], disputes: &[Dispute], year: i32) -> HashMap<Holding, Refusals> {
    let mut counted: HashMap<Holding, Refusals> = HashMap::new();
    let in_year =
        |time: Option<&Timestamp>| time.and_then(instant).is_some_and(|time| day::of(time).year() == year);
    for one in refusals {
        let goes_on = refusal::is_standing(one);
        if !in_year(one.create_time.as_ref()) && !goes_on {
            continue;
        }
        let of = counted.entry((one.provider.clone(), one.dataset.clone())).or_default();
        let unlawful = matches!(one.state(), RefusalState::Unjustified | RefusalState::Overturned);
        *(if unlawful { &mut of.unjustified } else { &mut of.declared }) += 1;
        of.unlawful_open += u32::from(unlawful && goes_on);
        *of.by_reason.entry(one.reason.clone()).or_default() += 1;
    }
    for one in disputes.iter().filter(|one| one.cause() == DisputeCause::UndeclaredRefusal) {
        let goes_on = dispute::is_open(one);
        if !in_year(one.create_time.as_ref()) && !goes_on {
            continue;
        }
        let of = counted.entry((one.provider.clone(), one.dataset.clone())).or_default();
        of.undeclared += 1;
        of.unlawful_open += u32::from(goes_on);
        *of.by_reason.entry(UNDECLARED_REFUSAL.to_owned()).or_default() += 1;
    }
    counted
}
