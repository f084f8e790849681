//! The end of step 4, for datasets that are decided online: what does the broker say?
//!
//! This node decides first, as always; then the broker; then this node again, by rights no older than the broker's.
//! So an online dataset is released only where both say yes, and a change of rights counts from the moment at which the
//! broker has made it. The broker away means no (design §1, idea 2).

use std::{sync::Arc, time::Duration};

use lienthong_catalog::{Method, RightsIndex};
use lienthong_proto::{
    lienthong::{
        audit::v1::PurposeSource,
        control::v1::{DecideRequest, DecideResponse, rights_service_client::RightsServiceClient},
    },
    reason::Reason,
    status::MeshError,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    call::{deadline::Deadline, identify::Caller, metadata::CallMetadata},
    core::Core,
    limits::{ONLINE_ANSWER_MS_MAX, ONLINE_PAUSE_MS, ONLINE_RIGHTS_MS_MAX},
    node::Node,
};

/// Asks the broker about one call. Returns the rights by which this node then decides.
///
/// # Errors
/// The broker's denial; `DENY_BROKER_UNREACHABLE` where it does not answer; `DENY_EPOCH` where the rights that it
/// decided by do not reach this node; `FAIL_DEADLINE` where the caller's time ends first.
pub async fn ask(
    core: &Core,
    method: &Method,
    caller: &Caller,
    stated: &CallMetadata,
    deadline: Deadline,
) -> Result<Arc<RightsIndex>, MeshError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let question = DecideRequest {
        method: method.path().to_owned(),
        provider: method.provider().to_owned(),
        consumer: caller.party.clone(),
        system: caller.system.clone(),
        purpose: text(&stated.purpose),
        purpose_is_default: stated.purpose_source == PurposeSource::Default,
        fields: stated.fields.clone().unwrap_or_default(),
        dossier: text(&stated.dossier),
        user: text(&stated.user),
    };
    let mut broker = RightsServiceClient::new(core.upstreams.broker().clone());
    let until = deadline.or_sooner(Duration::from_millis(ONLINE_ANSWER_MS_MAX));
    let answer = match timeout_at(until, broker.decide(question)).await {
        Ok(Ok(answer)) => answer.into_inner(),
        Ok(Err(status)) => {
            tracing::warn!(error = %status.message(), "the broker did not decide");
            return Err(unreachable("decided online, each time; the broker cannot be asked"));
        }
        Err(_) if deadline.is_over() => return Err(too_late("while the broker was asked")),
        Err(_) => return Err(unreachable("decided online, each time; the broker did not answer in time")),
    };
    let epoch = permitted_at(answer)?;
    rights_of(&core.node, epoch, deadline).await
}

/// The epoch by which the broker permits the call.
fn permitted_at(answer: DecideResponse) -> Result<u64, MeshError> {
    if !answer.right.is_empty() && answer.reason.is_empty() {
        return Ok(answer.epoch);
    }
    // A reason that this version does not know is a denial all the same.
    let reason = Reason::from_name(&answer.reason).unwrap_or(Reason::DenyNotEntitled);
    Err(MeshError::new(reason, answer.detail).with_rule(answer.rule))
}

/// This node's rights once they are of `epoch` or newer.
async fn rights_of(node: &Node, epoch: u64, deadline: Deadline) -> Result<Arc<RightsIndex>, MeshError> {
    let until = deadline.or_sooner(Duration::from_millis(ONLINE_RIGHTS_MS_MAX));
    loop {
        let held = node.rights.load_full();
        let held_epoch = held.as_ref().map_or(0, |rights| rights.epoch());
        match held {
            Some(rights) if held_epoch >= epoch => return Ok(rights),
            _ if deadline.is_over() => return Err(too_late("while newer rights were waited for")),
            _ if Instant::now() >= until => {
                let detail = format!("the broker decided by epoch {epoch}, the node holds {held_epoch}");
                return Err(MeshError::new(Reason::DenyEpoch, detail));
            }
            _ => sleep(Duration::from_millis(ONLINE_PAUSE_MS)).await,
        }
    }
}

fn too_late(detail: &str) -> MeshError {
    MeshError::new(Reason::FailDeadline, detail)
}

fn unreachable(detail: &str) -> MeshError {
    MeshError::new(Reason::DenyBrokerUnreachable, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_right_permits() {
        let answer = |right: &str, reason: &str| DecideResponse {
            epoch: 7,
            right: right.to_owned(),
            reason: reason.to_owned(),
            ..DecideResponse::default()
        };
        assert_eq!(permitted_at(answer("CE-0007/H26", "")).unwrap(), 7);
        let denied = |right, reason| permitted_at(answer(right, reason)).unwrap_err().reason;
        assert_eq!(denied("", "DENY_SUSPENDED"), Reason::DenySuspended);
        assert_eq!(denied("CE-0007/H26", "DENY_SUSPENDED"), Reason::DenySuspended);
        assert_eq!(denied("", "DENY_OF_NEXT_YEAR"), Reason::DenyNotEntitled);
        assert_eq!(denied("", ""), Reason::DenyNotEntitled);
    }
}
