//! What binds the rows of one right's calls of one method: put together when it is first asked for, and kept.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use lienthong_proto::lienthong::control::v1::RightOrigin;
use lienthong_proto::lienthong::options::v1::Purpose;

use super::{Dataset, Index, Method, NO_CONDITION, RULES_KEPT_MAX, RightRow};
use crate::condition::scope::{Rules, Terms};
use crate::words;

/// Who calls what by which right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RulesKey {
    pub right: u32,
    pub method: u32,
    pub consumer: u32,
    pub purpose: Purpose,
}

/// The rules that were asked for; `None` for those that cannot be put together, so that nothing is allowed.
#[derive(Debug, Default)]
pub(crate) struct RulesCache(RwLock<HashMap<RulesKey, Option<Arc<Rules>>>>);

impl Index {
    /// True where no condition and no guardrail binds the calls of this right.
    #[inline]
    pub(crate) fn is_unbound(dataset: &Dataset, row: &RightRow) -> bool {
        row.condition == NO_CONDITION && dataset.guardrails.is_empty()
    }

    /// What binds these calls; `None` where they cannot be judged. A full cache starts afresh.
    pub(crate) fn rules(&self, key: RulesKey, method: &Method) -> Option<Arc<Rules>> {
        if let Some(rules) = self.rules.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return rules.clone();
        }
        let rules = self.make_rules(key, method).map(Arc::new);
        let mut kept = self.rules.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= RULES_KEPT_MAX {
            kept.clear();
        }
        kept.insert(key, rules.clone());
        rules
    }

    fn make_rules(&self, key: RulesKey, method: &Method) -> Option<Rules> {
        let (dataset, row) = (self.dataset_of(method), self.rights.row(key.right));
        let list = &dataset.field_lists.get(row.field_list as usize)?.fields;
        let methods = words::METHODS.iter().filter(|(kind, _)| row.grants(*kind)).map(|(_, word)| *word);
        Rules::new(&Terms {
            right: &self.rights.particulars(key.right).id,
            consumer: &self.identities.party_at(key.consumer).code,
            purpose: key.purpose,
            dataset: &method.dataset_id,
            provider: &method.provider,
            class: dataset.contract.options(),
            fields: list.ids.iter().map(String::as_str).collect(),
            masked_fields: list.masking.keys().map(String::as_str).collect(),
            methods: methods.collect(),
            origin: origin(self.rights.particulars(key.right).origin),
            condition: self.rights.condition(row).map(AsRef::as_ref),
            guardrails: &dataset.guardrails,
            request: &method.request,
            record: dataset.contract.record(),
        })
        .ok()
    }
}

/// The word of an origin, without the prefix of the proto.
pub(crate) fn origin(origin: RightOrigin) -> &'static str {
    origin.as_str_name().trim_start_matches("RIGHT_ORIGIN_")
}
