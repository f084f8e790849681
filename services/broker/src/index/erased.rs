//! Exchanges of which a person was erased: what nodes must carry out, and what evidence cannot show any more. Blocking.

use std::collections::BTreeSet;

use lienthong_audit::record;
use lienthong_index::{Clause, Dimension, Query, Term, Want};

use super::evidence::exchange_of;
use super::indexer::entry;
use super::question::{exchange_clause, kind_clause};
use super::{Index, SearchError};
use crate::records::RECORDER;

/// A page of exchanges of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Their ids, each once.
    pub exchange_ids: Vec<Vec<u8>>,
    /// Where the next page goes on; `None`: this is the last one.
    pub below: Option<u64>,
}

/// Index of the newest erasure that the index has applied; 0: none.
///
/// # Errors
/// [`SearchError`].
pub fn newest(index: &Index) -> Result<u64, SearchError> {
    let query = Query { clauses: vec![recorded_by(RECORDER), kind_clause(&["erasure"])], times_ms: None };
    let upto = index.upto();
    Ok(index.search(&query, upto, Some(upto), 1)?.entries.first().copied().unwrap_or(0))
}

/// Exchanges on record by `node`, before entry `below`, of which a person was erased: as many as `entries_max` entries name.
///
/// # Errors
/// [`SearchError`].
pub fn of_node(index: &Index, node: &str, below: u64, entries_max: usize) -> Result<Page, SearchError> {
    let query = Query { clauses: vec![recorded_by(node), erased()], times_ms: None };
    let found = index.search(&query, below, None, entries_max)?;
    let mut ids = BTreeSet::new();
    for at in &found.entries {
        let record = record::decode(&entry(index.reader(), *at)?).ok();
        ids.extend(record.as_ref().and_then(exchange_of).map(|exchange| exchange.id.clone()));
    }
    let below = found.entries.last().copied().filter(|_| found.more);
    Ok(Page { exchange_ids: ids.into_iter().collect(), below })
}

/// Whether a person was erased of an exchange.
///
/// # Errors
/// [`SearchError`].
pub fn is_erased(index: &Index, exchange_id: &[u8]) -> Result<bool, SearchError> {
    let query = Query { clauses: vec![exchange_clause(exchange_id), erased()], times_ms: None };
    Ok(!index.search(&query, u64::MAX, None, 1)?.entries.is_empty())
}

fn recorded_by(recorder: &str) -> Clause {
    Clause(vec![Want::Exactly(Term::text(Dimension::Recorder, recorder))])
}

fn erased() -> Clause {
    Clause(vec![Want::Exactly(Term::flag(Dimension::SubjectsErased))])
}
