//! What ends an answer whose caller has stopped reading. Its body is then not asked any more (see
//! [`lienthong_transport::leash`]), so that neither the deadline nor a withdrawn right would be noticed: the call would
//! keep its place, and its record stay open, for as long as the caller likes.

use std::{future::pending, sync::Arc, time::Duration};

use lienthong_catalog::Permitted;
use lienthong_transport::leash;
use tokio::time::{sleep, sleep_until};

use crate::{
    call::{deadline::Deadline, standing::Standing},
    limits::STALLED_READER_GRACE_MS,
    node::Node,
};

/// Puts the call that the present task serves on its leash. A body that can still move ends by itself within the grace,
/// with its reason in its trailers; else the stream is reset, and its record says why.
pub fn hold(deadline: Deadline, standing: Option<&Standing>, node: &Arc<Node>, permitted: &Permitted) {
    let Some(standing) = standing else { return hold_to(deadline) };
    let lost = standing.beside().lost(Arc::clone(node), permitted.clone());
    leash::end_with(async move {
        tokio::select! {
            () = over(deadline) => {}
            () = lost => {}
        }
        grace().await;
    });
}

/// The same where nothing but the deadline ends it.
pub fn hold_to(deadline: Deadline) {
    leash::end_with(async move {
        over(deadline).await;
        grace().await;
    });
}

async fn over(deadline: Deadline) {
    match deadline.at() {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

async fn grace() {
    sleep(Duration::from_millis(STALLED_READER_GRACE_MS)).await;
}
