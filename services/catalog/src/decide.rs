//! The decision: may this consumer call this method, for this purpose, for these fields, now?
//!
//! One pure function. The same question is asked twice, at the consumer's node and at the provider's; the
//! provider's answer counts. Checks run in a fixed order and the first that fails names the denial:
//!
//! 1. who asks at all: outside parties, a method that nobody serves;
//! 2. what never goes: state secrets;
//! 3. whether this node may decide: clock, age of its rights, epoch that the call demands;
//! 4. the purpose: stated, or the system's default where the data takes one; known, not trade;
//! 5. the right: to the dataset at all, then for this purpose;
//! 6. the context that the purpose needs ([`context`]);
//! 7. the right's own terms: validity, suspension, method, security level, fields, and that
//!    its condition on rows can be judged.
//!
//! Where several rights would do, they are tried from the most specific to the most general, and the one that
//! comes farthest through step 7 names the denial. A right without a condition on rows is preferred to one with: nobody
//! is refused a row by one right that another right gives. Whether a row meets its condition is asked with the data
//! ([`crate::condition`]): what binds a permitted call, [`Permitted`] holds. Whatever is missing, unknown or malformed
//! denies.

pub mod context;
mod denial;
mod permitted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lienthong_filter::Plan;
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::options::v1::{DecisionMode, Purpose};
use lienthong_proto::reason::Reason;
use time::OffsetDateTime;

use crate::condition::scope::Rules;
use crate::contract::GrantedFields;
use crate::purpose;
use crate::rights::{
    Dataset, Index, Known, Method, Moment, NO_CONDITION, Place, RightRow, RightsIndex, RulesKey, Span,
    SubsetKey, release_plan,
};

pub use denial::Denial;
pub use permitted::Permitted;

/// Fields that `mesh-fields` may name.
pub const FIELDS_REQUESTED_MAX: usize = 256;

/// What is asked. Texts are as they came with the call.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The method, as resolved.
    pub method: &'a Method,
    /// Code of the consumer, from the registry's binding of its certificate, never from the call itself.
    pub consumer: &'a str,
    /// Resource name of the consumer's information system; `None` where only the node is known.
    pub system: Option<&'a str>,
    /// Both of them, as the caller has found them before ([`RightsIndex::place`]). Without it, or by another index, they
    /// are looked up.
    pub place: Option<Place>,
    /// `mesh-purpose`.
    pub purpose: Option<&'a str>,
    /// What another node says of that purpose: `DEFAULT` claims that it is the system's own.
    pub purpose_source: PurposeSource,
    /// `mesh-fields`, split; `None` asks for everything that is granted.
    pub requested_fields: Option<Vec<&'a str>>,
    /// `mesh-dossier`.
    pub dossier: Option<&'a str>,
    /// `mesh-user`.
    pub user: Option<&'a str>,
    /// `mesh-min-epoch`; 0 without one.
    pub min_epoch: u64,
    /// The time of the decision.
    pub now: OffsetDateTime,
    /// Time since the last broker-signed heartbeat, on the monotonic clock.
    pub rights_age: Duration,
    /// True where the wall clock is behind the largest broker time ever seen.
    pub clock_behind: bool,
}

/// Decides. Only here can a [`Permitted`] be made.
pub fn decide(rights: &RightsIndex, question: &Question<'_>) -> Result<Permitted, Denial> {
    let index = &*rights.0;
    let known = index.known(question);
    if known.is_some_and(|known| known.party.outside) {
        return Err(Denial::new(
            Reason::DenyNotEntitled,
            "R-15",
            "the catalog entitles no party outside the political system",
        ));
    }
    let method = index.own(question.method).ok_or_else(|| {
        Denial::new(Reason::DenyUnknownMethod, "R-01", "the method is no longer part of this node's rights")
    })?;
    let dataset = index.dataset_of(method);
    check_secrecy(dataset)?;
    check_freshness(index, dataset, question)?;
    let (purpose, purpose_source) = purpose_of(dataset, known, question)?;
    let Some(known) = known else {
        return Err(not_entitled());
    };
    let asker = Asker::identify(known, question)?;
    let mut candidates = asker.rights(index, method.dataset, purpose).peekable();
    if candidates.peek().is_none() {
        return Err(asker.without_right(index, method.dataset, purpose));
    }
    context::check(purpose, question).map_err(|detail| Denial::new(Reason::DenyContext, "R-24", detail))?;

    let now = Moment::of_clock(question.now);
    let requested = question.requested_fields.as_deref();
    let mut farthest: Option<Unmet<'_>> = None;
    let mut chosen: Option<Chosen<'_>> = None;
    for (slot, row) in candidates {
        let key = RulesKey { right: slot, method: method.slot, consumer: asker.consumer, purpose };
        match terms(index, method, dataset, row, &asker, now, requested).and_then(|plan| {
            let rules = rules(index, method, dataset, row, key)?;
            Ok(Chosen { slot, row, plan, rules })
        }) {
            Ok(fitting) => {
                let is_last = fitting.row.condition == NO_CONDITION;
                if is_last || chosen.is_none() {
                    chosen = Some(fitting);
                }
                if is_last {
                    break;
                }
            }
            Err(term) if farthest.as_ref().is_none_or(|unmet| term > unmet.term) => {
                farthest = Some(Unmet { term, row, slot });
            }
            Err(_) => {}
        }
    }
    if let Some(Chosen { slot, plan, rules, .. }) = chosen {
        let wanted = |text: Option<&str>| rules.as_ref().and(text).map(Box::from);
        return Ok(Permitted {
            rights: rights.clone(),
            method: method.slot,
            consumer: asker.consumer,
            system: asker.system,
            right: slot,
            purpose,
            purpose_source,
            plan,
            stated_system: wanted(question.system),
            stated_dossier: wanted(question.dossier),
            rules,
        });
    }
    // INVARIANT: there was at least one right, so one is the farthest; were there none, nothing is allowed.
    Err(farthest.map_or_else(not_entitled, |unmet| {
        denial::of_term(index, method, dataset, purpose, &unmet, requested)
    }))
}

/// A term of a right, in the order in which they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Term {
    Validity,
    Suspension,
    Method,
    ConsumerLevel,
    ProviderLevel,
    Fields,
    Rows,
}

/// The right that came farthest, and the term that it did not meet.
pub(crate) struct Unmet<'a> {
    pub term: Term,
    pub row: &'a RightRow,
    pub slot: u32,
}

/// A right that meets every term.
struct Chosen<'a> {
    slot: u32,
    row: &'a RightRow,
    plan: Arc<Plan>,
    rules: Option<Arc<Rules>>,
}

/// Who asks, as slots of the index.
struct Asker {
    consumer: u32,
    rights: Span,
    system: Option<u32>,
    security_level: u32,
}

impl Asker {
    fn identify(known: Known, question: &Question<'_>) -> Result<Self, Denial> {
        let Known { party, system, rights } = known;
        let asker = Self { consumer: party.slot, rights, system: None, security_level: party.security_level };
        match (question.system, system) {
            (None, _) => Ok(asker),
            (Some(_), Some(system)) => {
                Ok(Self { system: Some(system.slot), security_level: system.security_level, ..asker })
            }
            (Some(_), None) => Err(Denial::new(
                Reason::DenyCertificate,
                "R-34",
                "the registry knows no such system of the consumer",
            )),
        }
    }

    /// The rights that hold for this asker, the most specific first.
    fn rights<'a>(
        &self,
        index: &'a Index,
        dataset: u32,
        purpose: Purpose,
    ) -> impl Iterator<Item = (u32, &'a RightRow)> {
        index.rights.candidates(self.rights, dataset, purpose, self.system)
    }

    /// Why there is none: names the purposes that this asker does have a right for, and nothing else.
    fn without_right(&self, index: &Index, dataset: u32, asked: Purpose) -> Denial {
        let granted: Vec<&str> = purpose::WORDS
            .iter()
            .filter(|(other, _)| self.rights(index, dataset, *other).next().is_some())
            .map(|(_, word)| *word)
            .collect();
        if granted.is_empty() {
            return not_entitled();
        }
        let detail = format!("{} is not granted; granted: {}", purpose::word(asked), granted.join(", "));
        Denial::new(Reason::DenyPurpose, "R-24", detail)
    }
}

fn not_entitled() -> Denial {
    Denial::new(Reason::DenyNotEntitled, "R-01", "")
}

fn check_secrecy(dataset: &Dataset) -> Result<(), Denial> {
    if dataset.secret {
        return Err(Denial::new(
            Reason::DenyStateSecret,
            "R-21",
            "the contract declares a state secret, or no secrecy at all",
        ));
    }
    Ok(())
}

fn check_freshness(index: &Index, dataset: &Dataset, question: &Question<'_>) -> Result<(), Denial> {
    const RULE: &str = "design: freshness and clock";
    if question.clock_behind {
        return Err(Denial::new(Reason::DenyClock, RULE, ""));
    }
    if dataset.decision_mode == DecisionMode::Online && !question.rights_age.is_zero() {
        return Err(Denial::new(
            Reason::DenyBrokerUnreachable,
            "design: the broker decides",
            "decided online, each time",
        ));
    }
    if question.rights_age > dataset.bundle_age_max {
        let detail = format!(
            "last sign of the broker {} s ago; this dataset allows {} s",
            question.rights_age.as_secs(),
            dataset.bundle_age_max.as_secs()
        );
        return Err(Denial::new(Reason::DenyRightsStale, RULE, detail));
    }
    if question.min_epoch > index.epoch {
        let detail = format!("the node holds epoch {}, the call demands {}", index.epoch, question.min_epoch);
        return Err(Denial::new(Reason::DenyEpoch, "design: the broker decides", detail));
    }
    Ok(())
}

/// The purpose of the call, and where it came from: stated, or the system's registered default. A node that says it
/// took the default is believed only where this index would have taken the same one.
fn purpose_of(
    dataset: &Dataset,
    known: Option<Known>,
    question: &Question<'_>,
) -> Result<(Purpose, PurposeSource), Denial> {
    let denied = |detail| Err(Denial::new(Reason::DenyPurpose, "R-24", detail));
    let stated = match question.purpose.map(purpose::from_word) {
        Some(None) => return denied("mesh-purpose is none of the known purposes"),
        Some(Some(Purpose::Commercial)) => return Err(Denial::new(Reason::DenyCommercial, "R-29", "")),
        Some(Some(stated)) if question.purpose_source != PurposeSource::Default => {
            return Ok((stated, PurposeSource::Caller));
        }
        claimed => claimed.flatten(),
    };
    match known.and_then(|known| known.system?.default_purpose) {
        None if stated.is_none() => denied("mesh-purpose is missing"),
        Some(default) if stated.is_none_or(|claimed| claimed == default) => {
            if dataset.takes_default_purpose {
                return Ok((default, PurposeSource::Default));
            }
            denied(
                "mesh-purpose is missing; a default purpose does not count for personal, core or important data",
            )
        }
        _ => denied("the purpose is said to be the system's default, and the registry has not this one"),
    }
}

/// The plan that releases what this right grants, or the first term that it does not meet.
fn terms(
    index: &Index,
    method: &Method,
    dataset: &Dataset,
    row: &RightRow,
    asker: &Asker,
    now: Moment,
    requested: Option<&[&str]>,
) -> Result<Arc<Plan>, Term> {
    if !row.is_valid_at(now) {
        return Err(Term::Validity);
    }
    if row.suspended {
        return Err(Term::Suspension);
    }
    if !row.grants(method.kind) {
        return Err(Term::Method);
    }
    if asker.security_level < dataset.min_security_level {
        return Err(Term::ConsumerLevel);
    }
    if dataset.provider_security_level < dataset.min_security_level {
        return Err(Term::ProviderLevel);
    }
    match requested {
        None => method.plans.get(row.field_list as usize).cloned().flatten(),
        Some(requested) => subset(index, method, dataset, row, requested),
    }
    .ok_or(Term::Fields)
}

/// What binds the rows of the call; a condition that cannot be judged here is a term that is not met.
fn rules(
    index: &Index,
    method: &Method,
    dataset: &Dataset,
    row: &RightRow,
    key: RulesKey,
) -> Result<Option<Arc<Rules>>, Term> {
    if Index::is_unbound(dataset, row) {
        return Ok(None);
    }
    index.rules(key, method).map(Some).ok_or(Term::Rows)
}

/// The plan for the fields that were asked for by name; none if one of them is not granted.
fn subset(
    index: &Index,
    method: &Method,
    dataset: &Dataset,
    row: &RightRow,
    requested: &[&str],
) -> Option<Arc<Plan>> {
    let list = &dataset.field_lists[row.field_list as usize];
    if requested.iter().any(|id| !is_granted(dataset, &list.fields, id)) {
        return None;
    }
    let key = SubsetKey {
        method: method.slot,
        field_list: row.field_list,
        fields: requested.iter().map(|id| (*id).to_owned()).collect(),
    };
    let make = |ids: &BTreeSet<String>| {
        let fields = GrantedFields { ids: ids.clone(), masking: list.fields.masking_of(ids) };
        release_plan(&method.response, &fields, &list.hashing)
    };
    index.subset_plans.get_or_make(key, make).ok()
}

/// True where the contract has the field and the list grants it.
fn is_granted(dataset: &Dataset, list: &GrantedFields, id: &str) -> bool {
    list.covers(id) && dataset.contract.fields().iter().any(|field| field.id == id)
}

/// The purposes for which this consumer has a right to a dataset that is valid now, and the fields of each.
pub(crate) fn granted_by_purpose<'a>(
    index: &'a Index,
    method: &Method,
    consumer: u32,
    system: Option<u32>,
    now: Moment,
) -> impl Iterator<Item = (Purpose, &'a GrantedFields)> {
    let (dataset, kind) = (method.dataset, method.kind);
    let lists = &index.datasets[dataset as usize].field_lists;
    let any = std::iter::once(Purpose::Unspecified);
    any.chain(purpose::WORDS.iter().map(|(purpose, _)| *purpose)).filter_map(move |purpose| {
        let [own, open] = [index.rights.of_consumer(consumer), index.rights.of_everybody()]
            .map(|rights| index.rights.of(rights, dataset, purpose, system));
        let mut rows = own.chain(open).map(|(_, row)| row);
        let row = rows.find(|row| row.is_valid_at(now) && !row.suspended && row.grants(kind))?;
        Some((purpose, &lists[row.field_list as usize].fields))
    })
}
