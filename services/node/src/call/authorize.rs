//! Step 5: may it. The catalog decides; what it permits is the only key to the steps that follow.

use lienthong_catalog::{Method, Permitted, Question, RightsIndex, decide};
use lienthong_proto::status::MeshError;

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
        requested_fields: stated
            .fields
            .as_ref()
            .map(|fields| fields.iter().map(String::as_str).collect()),
        dossier: stated.dossier.as_deref(),
        user: stated.user.as_deref(),
        min_epoch: stated.min_epoch,
        now: clock::now(),
        rights_age: node.freshness.age(),
        clock_behind: node.freshness.clock_is_behind(clock::unix_ms()),
    };
    decide(rights, &question).map_err(Into::into)
}
