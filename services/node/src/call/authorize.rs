//! Step 4: may it. The catalog decides; what it permits is the only key to the steps that follow.

use std::{sync::atomic::Ordering, time::Duration};

use lienthong_catalog::{Method, Permitted, Question, RightsIndex, decide};
use lienthong_proto::{lienthong::options::v1::ReleaseGate, reason::Reason, status::MeshError};

use crate::{
    call::{identify::Caller, metadata::CallMetadata},
    clock,
    node::Node,
};

/// Asks the catalog. Both nodes of an exchange ask, each by its own copy of the rights; the provider's
/// answer counts.
pub fn authorize(
    node: &Node,
    rights: &RightsIndex,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
) -> Result<Permitted, MeshError> {
    let question = Question {
        method,
        consumer: &caller.party,
        system: (!caller.system.is_empty()).then_some(caller.system.as_str()),
        purpose: stated.purpose.as_deref(),
        purpose_source: stated.purpose_source,
        requested_fields: stated.fields.as_ref().map(|fields| fields.iter().map(String::as_str).collect()),
        dossier: stated.dossier.as_deref(),
        user: stated.user.as_deref(),
        min_epoch: stated.min_epoch,
        now: clock::now(),
        // Never zero: zero would mean that the broker was asked about this very call.
        rights_age: node.freshness.age().max(Duration::from_millis(1)),
        clock_behind: node.freshness.clock_is_behind(clock::unix_ms()),
    };
    let permitted = decide(rights, &question)?;
    on_record_in_time(node, &permitted)?;
    Ok(permitted)
}

/// Nothing is released that is not on record, and records reach the broker no later than the class of the data
/// allows (design §6, Opening, closing, shipping).
fn on_record_in_time(node: &Node, permitted: &Permitted) -> Result<(), MeshError> {
    let allowed = permitted.bundle_age_max();
    let age = Duration::from_millis(node.backlog_age_ms.load(Ordering::Relaxed));
    if age > allowed {
        let detail = format!(
            "the oldest record without a receipt is {} s old; this dataset allows {} s",
            age.as_secs(),
            allowed.as_secs()
        );
        return Err(MeshError::new(Reason::DenyAuditUnavailable, detail));
    }
    match permitted.release_gate() {
        ReleaseGate::Unspecified | ReleaseGate::Journal => Ok(()),
        // A gate that this node cannot hold is never passed.
        gate @ (ReleaseGate::Receipt | ReleaseGate::Witnessed) => {
            let detail = format!("this node does not offer the release gate {}", gate.as_str_name());
            Err(MeshError::new(Reason::DenyAuditUnavailable, detail))
        }
    }
}
