//! Step 4: may it. The catalog decides; what it permits is the only key to the steps that follow.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use lienthong_catalog::{Method, Permitted, Question, RightsIndex, decide};
use lienthong_proto::{lienthong::audit::v1::Exchange, reason::Reason, status::MeshError};

use crate::{
    call::{deadline::Deadline, identify::Caller, metadata::CallMetadata, online, open},
    clock,
    core::Core,
    limits::ONLINE_STREAM_SILENCE_MS_MAX,
    node::Node,
};

/// A call that this node permits by itself. Where its dataset is decided online, the broker's word is still missing: only
/// [`confirm`](Self::confirm) gives the `Permitted` out.
#[must_use]
pub struct Judged {
    permitted: Permitted,
    online: bool,
}

/// Asks the catalog, by this node's own copy of the rights. Both nodes of an exchange ask; the provider's answer counts.
/// A dataset that is decided online is judged as if the rights were new: what this node denies by them, nobody needs to
/// be asked about.
pub fn authorize(
    node: &Node,
    rights: &RightsIndex,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
) -> Result<Judged, MeshError> {
    let online = rights.is_decided_online(method);
    let age = if online { Duration::ZERO } else { node.freshness.age() };
    let permitted = at_an_open_gate(node, judge(node, rights, method, caller, stated, age)?)?;
    Ok(Judged { permitted, online })
}

impl Judged {
    /// What is permitted so far: for the quota, and for the record of a denial that follows.
    pub fn so_far(&self) -> &Permitted {
        &self.permitted
    }

    /// Asks the broker where it is to be asked each time, and judges again by rights no older than those it decided by;
    /// then `rights` are these, and `exchange` says what was decided by them. It comes last, so that a caller who is over
    /// its quota, or who repeats itself, asks nothing of the broker.
    ///
    /// # Errors
    /// What [`online::ask`] says, or the denial by the newer rights.
    pub async fn confirm(
        self,
        core: &Core,
        rights: &mut Arc<RightsIndex>,
        caller: &Caller,
        stated: &CallMetadata,
        exchange: &mut Exchange,
        deadline: Deadline,
    ) -> Result<Permitted, MeshError> {
        if !self.online {
            return Ok(self.permitted);
        }
        let method = self.permitted.method();
        // In a box: no other call shall carry the state of the question.
        *rights = Box::pin(online::ask(core, method, caller, stated, deadline)).await?;
        let permitted = judge(&core.node, rights, method, caller, stated, Duration::ZERO)?;
        open::decided(exchange, &permitted, stated);
        at_an_open_gate(&core.node, permitted)
    }
}

/// A call whose answer could not be released is not begun.
fn at_an_open_gate(node: &Node, permitted: Permitted) -> Result<Permitted, MeshError> {
    node.gates.offers(permitted.release_gate()).map(|()| permitted)
}

/// About a call that was permitted before, or is only thought of: nobody is asked.
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
        place: caller.place,
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
