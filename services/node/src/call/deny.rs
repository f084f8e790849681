//! Where a call ends without an exchange: the denial is recorded (it releases nothing, so it does not
//! wait for the disk), and the caller hears the reason.

use std::sync::Arc;

use lienthong_audit::record;
use lienthong_proto::{
    lienthong::audit::v1::{Denial, Exchange, record::Body},
    status::MeshError,
};
use uuid::Uuid;

use crate::{
    call::{
        answer::{self, Answer},
        open::new_record,
    },
    clock,
    core::Core,
};

/// Records a denial and answers with it.
pub fn deny(core: &Arc<Core>, exchange: Exchange, id: Uuid, error: &MeshError) -> Answer {
    core.node.metrics.denied(error.reason);
    if core.node.denials.is_whole(&exchange, error.reason, clock::unix_ms())
        && let Err(failure) = put_on_record(core, exchange, error)
    {
        tracing::error!(error = %failure, exchange = %id, "a denial could not be recorded");
    }
    answer::error(error, Some(id))
}

fn put_on_record(
    core: &Core,
    exchange: Exchange,
    error: &MeshError,
) -> Result<(), Box<dyn std::error::Error>> {
    let denial = Denial {
        exchange: Some(exchange),
        reason: error.reason.name().to_owned(),
        rule: if error.rule.is_empty() { error.reason.info().rule.to_owned() } else { error.rule.clone() },
        detail: error.detail.clone(),
    };
    let bytes = record::encode(&new_record(core, core.random()?, Body::Denial(denial)))?;
    core.journal.append(bytes)?;
    Ok(())
}
