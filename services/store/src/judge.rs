//! What a batch does to a state: the part of a commit that is the same in every store.

use crate::batch::Batch;
use crate::contract::{Event, Revision};
use crate::error::StoreError;

/// Judges a batch against the revisions of the keys it names. Answers the events that it causes, in the order of the keys:
/// none if it has no effect.
pub(crate) fn judge(
    batch: Batch,
    mut revision_of: impl FnMut(&[u8]) -> Result<Option<Revision>, StoreError>,
) -> Result<Vec<Event>, StoreError> {
    for (key, expected) in &batch.requirements {
        let (required, found) = (expected.revision(), revision_of(key)?);
        if required != found {
            return Err(StoreError::Conflict { key: key.clone(), required, found });
        }
    }
    let mut events = Vec::with_capacity(batch.operations.len());
    for (key, value) in batch.operations {
        match value {
            Some(value) => events.push(Event::Put { key, value }),
            None if revision_of(&key)?.is_some() => events.push(Event::Delete { key }),
            None => {}
        }
    }
    Ok(events)
}
