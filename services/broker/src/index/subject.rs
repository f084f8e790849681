//! Who looked at one person's data: each exchange once, newest first, in the shape of Estonia's findUsage. Blocking.

use lienthong_audit::record;
use lienthong_index::{Clause, Query};
use lienthong_proto::lienthong::audit::v1::{
    Closing, Record, Side, SubjectAccessResponse, SubjectUse, record::Body,
};
use prost_types::Timestamp;

use super::disclosure::{Disclosed, of_exchange};
use super::evidence::{Proofs, exchange_of};
use super::question::{PartyName, exchange_clause, kind_clause, party_clause};
use super::{Index, SearchError};
use crate::service::page::PageToken;

/// Records of one exchange that are looked at for the one to show.
const RECORDS_LOOKED_AT_MAX: usize = 16;

/// Names of parties by their codes.
pub struct Names(pub Vec<PartyName>);

impl Names {
    fn of(&self, code: &str) -> String {
        let party = self.0.iter().find(|party| party.code == code);
        party.and_then(|party| party.names.first()).cloned().unwrap_or_default()
    }
}

/// A page of uses. An agency's officer is shown what may be disclosed, and is not told of the rest; the auditor
/// (`visible_to` is `None`) sees everything, with what holds for it.
///
/// # Errors
/// [`SearchError`].
pub fn uses(
    index: &Index,
    query: &Query,
    visible_to: Option<&str>,
    page: &PageToken,
    uses_max: usize,
    names: &Names,
    now: &Timestamp,
) -> Result<SubjectAccessResponse, SearchError> {
    let proofs = Proofs::now(index)?;
    let mut answer =
        SubjectAccessResponse { checkpoint: proofs.checkpoint.clone(), ..SubjectAccessResponse::default() };
    let (mut below, mut complete) = (page.below, page.complete_up_to);
    loop {
        let found = index.search(query, below, complete, uses_max)?;
        complete = Some(found.complete_up_to);
        (answer.complete_up_to, answer.subjects_missing) = (found.complete_up_to, found.subjects_missing);
        answer.minimum_index = found.minimum;
        for at in &found.entries {
            below = *at;
            let Ok(record) = record::decode(&proofs.entry(*at)?) else { continue };
            let Some(exchange) = exchange_of(&record).cloned() else { continue };
            // Both sides' records and their continuations are one use: the newest of them stands for it.
            let newest = Query {
                clauses: query.clauses.iter().cloned().chain([exchange_clause(&exchange.id)]).collect(),
                times_ms: query.times_ms.clone(),
            };
            if index.search(&newest, u64::MAX, complete, 1)?.entries.first() != Some(at) {
                continue;
            }
            let disclosed = of_exchange(index, &exchange.id)?;
            if !disclosed.at(now) {
                if visible_to.is_some() {
                    continue;
                }
                answer.withheld += 1;
            }
            answer.uses.push(one(index, &proofs, (*at, record), visible_to, names, disclosed)?);
            if answer.uses.len() == uses_max {
                break;
            }
        }
        let all_seen = found.entries.last().is_none_or(|last| *last == below);
        if answer.uses.len() == uses_max && (found.more || !all_seen) {
            answer.next_page_token = page.next(below, found.complete_up_to);
        }
        if answer.uses.len() == uses_max || !found.more {
            return Ok(answer);
        }
    }
}

/// A use, told by the provider's closing record where there is one: the provider released the data.
fn one(
    index: &Index,
    proofs: &Proofs,
    hit: (u64, Record),
    visible_to: Option<&str>,
    names: &Names,
    disclosed: Disclosed,
) -> Result<SubjectUse, SearchError> {
    let exchange_id = exchange_of(&hit.1).map(|exchange| exchange.id.clone()).unwrap_or_default();
    let mut clauses: Vec<Clause> = vec![exchange_clause(&exchange_id), kind_clause(&["closing"])];
    clauses.extend(visible_to.map(party_clause));
    let closings = index.search(&Query { clauses, times_ms: None }, u64::MAX, None, RECORDS_LOOKED_AT_MAX)?;
    let mut told = hit;
    for at in closings.entries {
        let Ok(record) = record::decode(&proofs.entry(at)?) else { continue };
        let provider =
            exchange_of(&record).is_some_and(|exchange| exchange.side == i32::from(Side::Provider));
        let is_closing = |record: &Record| matches!(record.body, Some(Body::Closing(_)));
        if provider || !is_closing(&told.1) {
            told = (at, record);
        }
        if provider {
            break;
        }
    }
    let (at, record) = told;
    let exchange = exchange_of(&record).cloned().unwrap_or_default();
    let closing = match &record.body {
        Some(Body::Closing(closing)) => closing.clone(),
        _ => Closing::default(),
    };
    Ok(SubjectUse {
        time: record.time,
        purpose: exchange.purpose,
        consumer_name: names.of(&exchange.consumer),
        consumer: exchange.consumer,
        system: exchange.system,
        provider_name: names.of(&exchange.provider),
        provider: exchange.provider,
        dataset: exchange.dataset,
        dossier: exchange.dossier,
        status: closing.status,
        fields_released: closing.fields_released,
        exchange_id,
        disclosure: disclosed.to_proto().into(),
        record: Some(proofs.found(at)?),
    })
}
