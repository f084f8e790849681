//! Release plans: one for each field list and method, made at load; and those for `mesh-fields`, made on demand.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use lienthong_filter::{FieldSet, Grant, HashKey, Masking, Plan, PlanError};
use prost_reflect::MessageDescriptor;

use super::SUBSET_PLANS_MAX;
use crate::contract::{DeclaredAnnotations, GrantedFields};

/// What happens to HASH-masked fields at this node.
#[derive(Debug, Clone)]
pub(crate) enum Hashing {
    /// Here they are masked, with the key of one consumer and dataset.
    Key(HashKey),
    /// They come masked, from another agency's node.
    Elsewhere,
    /// They should be masked here, and there is no key: they are left out.
    NoKey,
}

/// The plan that releases these fields of a response.
pub(crate) fn release(
    response: &MessageDescriptor,
    fields: &GrantedFields,
    hashing: &Hashing,
) -> Result<Plan, PlanError> {
    let mut grant = Grant::new(FieldSet::Only(fields.ids.clone()));
    grant.masking.clone_from(&fields.masking);
    let hashed = grant.masking.values_mut().filter(|masking| **masking == Masking::Hash);
    match hashing {
        Hashing::Key(key) => grant.hash_key = Some(key.clone()),
        Hashing::Elsewhere => hashed.for_each(|masking| *masking = Masking::None),
        Hashing::NoKey => hashed.for_each(|masking| *masking = Masking::Omit),
    }
    Plan::compile(response, &DeclaredAnnotations, &grant)
}

/// Plans for subsets of a grant, kept because a consumer asks for the same subset again and again.
#[derive(Debug, Default)]
pub(crate) struct SubsetPlans {
    plans: Mutex<HashMap<SubsetKey, Arc<Plan>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SubsetKey {
    pub method: u32,
    pub field_list: u32,
    pub fields: BTreeSet<String>,
}

impl SubsetPlans {
    /// The plan of this subset, from the cache or made now. A full cache starts afresh.
    pub(crate) fn get_or_make(
        &self,
        key: SubsetKey,
        make: impl FnOnce(&BTreeSet<String>) -> Result<Plan, PlanError>,
    ) -> Result<Arc<Plan>, PlanError> {
        if let Some(plan) = self.lock().get(&key) {
            return Ok(Arc::clone(plan));
        }
        let plan = Arc::new(make(&key.fields)?);
        let mut plans = self.lock();
        if plans.len() >= SUBSET_PLANS_MAX {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SubsetKey, Arc<Plan>>> {
        // A panic elsewhere leaves a map of whole plans behind.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
