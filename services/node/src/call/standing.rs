//! A live stream is judged again: at every message once the rights have changed, and every second whatever
//! happens, so that a withdrawn right, an expired one or rights grown too old end it within moments (design §2, §6;
//! A unary answer is over before it could be judged again.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lienthong_catalog::Permitted;
use lienthong_proto::{reason::Reason, status::MeshError};
use lienthong_transport::Peer;
use tokio::time::{Instant, Sleep};

use crate::{
    call::{authorize::still_authorized, identify::Caller, metadata::CallMetadata},
    limits::STANDING_LOOK_MS,
    node::Node,
};

/// What is asked again.
pub struct Standing {
    caller: Caller,
    stated: CallMetadata,
    peer: Peer,
    next_look: Pin<Box<Sleep>>,
}

impl Standing {
    /// Keeps what the first decision was about.
    pub fn new(caller: Caller, stated: CallMetadata, peer: Peer) -> Self {
        Self { caller, stated, peer, next_look: Box::pin(tokio::time::sleep(pause())) }
    }

    /// Judges again if it is time to; `DENY_REVOKED_LIVE` where the stream may not go on, `DENY_AUDIT_UNAVAILABLE` where its
    /// release gate stays closed. Wakes the task when the
    /// next look is due, also when no message comes.
    pub fn look(
        &mut self,
        context: &mut Context<'_>,
        node: &Node,
        permitted: &mut Permitted,
    ) -> Result<(), MeshError> {
        let mut due = false;
        while let Poll::Ready(()) = self.next_look.as_mut().poll(context) {
            due = true;
            self.next_look.as_mut().reset(Instant::now() + pause());
        }
        self.judge(due, node, permitted)
    }

    /// The same about this very moment; without `due`, only where the rights have changed.
    pub fn judge(&self, due: bool, node: &Node, permitted: &mut Permitted) -> Result<(), MeshError> {
        if self.peer.was_shown_out() {
            return Err(revoked("the certificate of this connection is accepted no more"));
        }
        let rights = node.rights.load();
        let Some(rights) = rights.as_ref() else { return Err(revoked("this node holds no rights")) };
        if !due && rights.epoch() == permitted.epoch() {
            return Ok(());
        }
        let again = still_authorized(node, rights, permitted.method(), &self.caller, &self.stated)
            .map_err(|error| revoked(&error.to_string()))?;
        if again.epoch() != permitted.epoch() {
            if again.purpose() != permitted.purpose() {
                return Err(revoked("the system's default purpose has changed; call again"));
            }
            if !again.fields().eq(permitted.fields()) {
                return Err(revoked("the granted fields have changed; call again"));
            }
            if !again.is_bound_as(permitted) {
                return Err(revoked("the rows of the right have changed; call again"));
            }
            *permitted = again;
        }
        // What its messages need to be released may have gone meanwhile.
        node.gates.still_offers(permitted.release_gate())
    }

    /// Waits until the stream may not go on, whether or not anything of it moves.
    pub async fn lost(mut self, node: Arc<Node>, mut permitted: Permitted) {
        poll_fn(|context| match self.look(context, &node, &mut permitted) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        })
        .await;
    }

    /// The same standing, with a clock of its own.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self::new(self.caller.clone(), self.stated.clone(), self.peer.clone())
    }
}

/// Waits for the answer of a stream to begin, as long as the stream may live.
pub async fn while_permitted<T>(
    standing: &mut Option<Standing>,
    node: &Node,
    permitted: &mut Permitted,
    answer: impl Future<Output = Result<T, MeshError>>,
) -> Result<T, MeshError> {
    let Some(standing) = standing else { return answer.await };
    let mut answer = pin!(answer);
    poll_fn(|context| {
        standing.look(context, node, permitted)?;
        answer.as_mut().poll(context)
    })
    .await
}

fn pause() -> Duration {
    Duration::from_millis(STANDING_LOOK_MS)
}

fn revoked(why: &str) -> MeshError {
    MeshError::new(Reason::DenyRevokedLive, why)
}
