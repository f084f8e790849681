//! Step 4: may it. The catalog decides; what it permits is the only key to the steps that follow.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lienthong_catalog::{Method, Permitted, Question, RightsIndex, decide};
use lienthong_proto::{reason::Reason, status::MeshError};

use crate::{
    call::{identify::Caller, metadata::CallMetadata, online},
    clock,
    core::Core,
    limits::ONLINE_STREAM_SILENCE_MS_MAX,
    node::Node,
};

/// Asks the catalog, and the broker first where the dataset is decided online: then `rights` are no older than those the
/// broker decided by. Both nodes of an exchange ask, each by its own copy of the rights; the provider's answer counts.
pub async fn authorize(
    core: &Core,
    rights: &mut Arc<RightsIndex>,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
) -> Result<Permitted, MeshError> {
    if !rights.is_decided_online(method) {
        let permitted = judge(&core.node, rights, method, caller, stated, core.node.freshness.age())?;
        return at_an_open_gate(&core.node, permitted);
    }
    // What this node denies by itself, nobody needs to be asked about.
    let permitted = judge(&core.node, rights, method, caller, stated, Duration::ZERO)?;
    at_an_open_gate(&core.node, permitted)?;
    *rights = online::ask(core, method, caller, stated).await?;
    judge(&core.node, rights, method, caller, stated, Duration::ZERO)
}

/// A call whose answer could not be released is not begun.
fn at_an_open_gate(node: &Node, permitted: Permitted) -> Result<Permitted, MeshError> {
    node.gates.offers(permitted.release_gate()).map(|()| permitted)
}

/// The same without asking anybody, about a call that was permitted before, or is only thought of.
pub fn still_authorized(
    node: &Node,
    rights: &RightsIndex,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
) -> Result<Permitted, MeshError> {
    let mut age = node.freshness.age();
    if rights.is_decided_online(method) && age <= Duration::from_millis(ONLINE_STREAM_SILENCE_MS_MAX) {
        age = Duration::ZERO;
    }
    judge(node, rights, method, caller, stated, age)
}

/// `rights_age` is zero where the rights are known to be the broker's newest.
fn judge(
    node: &Node,
    rights: &RightsIndex,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
    rights_age: Duration,
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
        rights_age,
        clock_behind: node.freshness.clock_is_behind(clock::unix_ms()),
    };
    let permitted = decide(rights, &question)?;
    on_record_in_time(node, &permitted)?;
    node.revocation.check(caller, &permitted, &node.metrics)?;
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
    Ok(())
}
