//! The provider's node: a call of another agency's node on its way in. Its decision counts. Read it top
//! to bottom.

use std::{sync::Arc, time::Instant};

use http::{HeaderName, HeaderValue, Request};
use lienthong_audit::digest::{Digester, ExchangeKey};
use lienthong_catalog::{Method, Permitted, RightsIndex, purpose};
use lienthong_proto::{
    lienthong::{
        audit::v1::{Exchange, Side},
        options::v1::Purpose,
    },
    reason::Reason,
    status::MeshError,
};
use lienthong_transport::Peer;
use uuid::Uuid;

use crate::{
    call::{
        answer::{self, Answer},
        authorize::{Judged, authorize},
        caller_body::CallerBody,
        close::Closer,
        deadline::Deadline,
        deny::deny,
        forward::{self, RequestHead, check_head},
        identify::{self, Caller},
        metadata::{self, CallMetadata, PeerCall},
        open::{self, open},
        release::{Released, release},
        request_body::{RequestBody, RequestTally},
        resolve::resolve,
        standing::{self, Standing},
    },
    clock,
    core::Core,
    node::Node,
    services::{self, Own},
};

/// A call that may come in.
struct Admitted {
    core: Arc<Core>,
    peer: Peer,
    id: Uuid,
    received: Instant,
    key: ExchangeKey,
    peer_opening_hash: Vec<u8>,
    method: Arc<Method>,
    permitted: Permitted,
    deadline: Deadline,
}

/// Serves one call of another agency's node.
pub async fn call(core: Arc<Core>, peer: Peer, request: Request<CallerBody>) -> Answer {
    let received = Instant::now();
    let slot = match core.node.begin_call(&peer) {
        Ok(slot) => slot,
        Err(full) => return answer::error(&full, None),
    };
    let Some(mut rights) = core.node.rights.load_full() else {
        return answer::error(
            &MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet"),
            None,
        );
    };
    let (said, said_well) = PeerCall::read(request.headers());
    let (caller, identified) = identify::peer_node(&rights, &peer, &said.context.system);
    if let Some(own) = Own::for_peer(request.uri().path()) {
        return services::from_peer(core, &rights, caller, identified, own, slot, request).await;
    }

    let id = said.exchange_id;
    let attempt = said.context.attempt;
    let path = request.uri().path();
    let mut exchange = open::arrived(&core, Side::Provider, id, attempt, &caller, &said.metadata, path);
    let judged = match identified {
        Ok(()) => judge(&core, &rights, &caller, &said.metadata, &mut exchange, &request),
        Err(error) => Err(error),
    };
    let judged = judged.and_then(|(judged, deadline)| {
        said_well?;
        core.node.replay.accept(&caller.node, *id.as_bytes(), attempt, clock::unix_ms())?;
        take_quota(&core.node, &caller, judged.so_far())?;
        Ok((judged, deadline))
    });
    let confirmed = match judged {
        Ok((judged, deadline)) => judged
            .confirm(&core, &mut rights, &caller, &said.metadata, &mut exchange, deadline)
            .await
            .map(|permitted| (permitted, deadline)),
        Err(error) => Err(error),
    };
    match confirmed {
        Err(error) => deny(&core, exchange, id, &error),
        Ok((permitted, deadline)) => {
            let admitted = Admitted {
                core,
                peer,
                id,
                received,
                key: said.key,
                peer_opening_hash: said.context.opening_hash,
                method: Arc::clone(permitted.method()),
                permitted,
                deadline,
            };
            match admitted.exchange(exchange, &caller, said.metadata, request).await {
                Ok(released) => released.holding(slot).into_answer(),
                Err(error) => answer::error(&error, Some(id)),
            }
        }
    }
}

/// Resolve and authorize; fills in what becomes known of the exchange.
fn judge(
    core: &Core,
    rights: &RightsIndex,
    caller: &Caller,
    stated: &CallMetadata,
    exchange: &mut Exchange,
    request: &Request<CallerBody>,
) -> Result<(Judged, Deadline), MeshError> {
    let method = resolve(rights, request.uri().path(), Some(&core.node.agency))?;
    open::resolved(exchange, rights, &method, stated);
    check_head(request)?;
    let judged = authorize(&core.node, rights, &method, caller, stated)?;
    open::decided(exchange, judged.so_far(), stated);
    let deadline = Deadline::read(request.headers(), &method, &core.node.limits)?;
    Ok((judged, deadline))
}

/// Calls are counted for a system: one that is not named has no quota, no level and no place on record.
fn take_quota(node: &Node, caller: &Caller, permitted: &Permitted) -> Result<(), MeshError> {
    if caller.system.is_empty() {
        return Err(MeshError::new(Reason::DenyContext, "mesh-call-bin names no system"));
    }
    let now_us = u64::try_from(node.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    node.quotas.take(&caller.system, permitted.right_id(), permitted.calls_per_minute_max(), now_us)
}

impl Admitted {
    /// Open, forward to the backend, release. What fails after the opening is closed with its reason.
    async fn exchange(
        self,
        exchange: Exchange,
        caller: &Caller,
        stated: CallMetadata,
        request: Request<CallerBody>,
    ) -> Result<Released, MeshError> {
        let (parts, body) = request.into_parts();
        let head = RequestHead::read(&parts.headers, self.method.application_metadata());
        let digester = Digester::new(&self.key);
        let tally = RequestTally::new(&digester);
        tally.metadata(&parts.headers);
        let subjects = Some(Arc::clone(self.method.request_plan()));
        let space = self.core.node.messages.of(&caller.party);
        // A backend need not know how to unpack what its consumers know how to pack.
        let mut body = RequestBody::new(body, &space, subjects, tally.clone()).unpacked();
        if let Ok(head) = &head {
            body = body.compressed(head.encoding).within(self.permitted.request_scope());
            if let Err(error) = body.first(self.deadline).await {
                return Ok(Released::Ended(deny(&self.core, exchange, self.id, &error)));
            }
        }
        let gate = self.permitted.release_gate();
        let opened = open(&self.core, exchange, self.id, &self.key, gate, self.received)?;
        let seq = opened.ticket.seq;
        let mut closer = Closer::new(Arc::clone(&self.core), opened, digester, tally);
        closer.peer_opening_hash = self.peer_opening_hash;
        let Some(backend) = self.core.upstreams.backend(self.method.path()).cloned() else {
            let detail = format!("no backend is configured for {}", self.method.path());
            return Ok(Released::failed(
                Side::Provider,
                &mut closer,
                MeshError::new(Reason::FailBackendUnreachable, detail),
            ));
        };

        let head = match head {
            Ok(head) => head,
            Err(error) => return Ok(Released::failed(Side::Provider, &mut closer, error)),
        };
        closer.metadata_dropped += head.metadata_dropped;
        if !self.method.has_no_side_effects()
            && let Err(error) = self.core.node.gates.pass(gate, seq, self.deadline, &self.core.journal).await
        {
            return Ok(Released::failed(Side::Provider, &mut closer, error));
        }
        let told = for_backend(self.id, caller, self.permitted.purpose(), &stated);
        let path = self.method.path();
        let onward = forward::request(path, &parts.headers, head.metadata, self.deadline, told, body);
        let node = Arc::clone(&self.core.node);
        let streams = self.method.is_request_streaming() || self.method.is_response_streaming();
        let mut standing = streams.then(|| Standing::new(caller.clone(), stated, self.peer));
        let mut permitted = self.permitted;
        // In a box, for it is moved, and is most of this call's state.
        let sent = Box::pin(async {
            forward::send(&backend, onward, self.deadline)
                .await
                .map_err(|unanswered| unanswered.into_error(Reason::FailBackendUnreachable))
        });
        let (response, in_flight) =
            match standing::while_permitted(&mut standing, &node, &mut permitted, sent).await {
                Ok(answered) => answered,
                Err(error) => {
                    let error = closer.request().error().unwrap_or(error);
                    return Ok(Released::failed(Side::Provider, &mut closer, error));
                }
            };
        if let Err(error) = self.core.node.gates.pass(gate, seq, self.deadline, &self.core.journal).await {
            return Ok(Released::failed(Side::Provider, &mut closer, error));
        }
        let released = release(Side::Provider, response, permitted, standing, self.deadline, &space, closer);
        Ok(released.holding(in_flight))
    }
}

/// What the backend learns of its caller (design §6, Local hops).
fn for_backend(
    id: Uuid,
    caller: &Caller,
    purpose: Purpose,
    stated: &CallMetadata,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut told = Vec::with_capacity(6);
    told.push((metadata::EXCHANGE_ID, answer::exchange_id_value(id)));
    told.push((metadata::PURPOSE, HeaderValue::from_static(purpose::word(purpose))));
    let texts = [
        (metadata::CONSUMER, Some(&caller.party)),
        (metadata::SYSTEM, Some(&caller.system)),
        (metadata::USER, stated.user.as_ref()),
        (metadata::DOSSIER, stated.dossier.as_ref()),
    ];
    for (name, text) in texts {
        // What is no header value (none that was read from one) is not told.
        if let Some(text) = text
            && let Ok(mut value) = HeaderValue::from_bytes(text.as_bytes())
        {
            // Of a person and a dossier nothing stays in a table of HPACK.
            value.set_sensitive(name == metadata::USER || name == metadata::DOSSIER);
            told.push((name, value));
        }
    }
    told
}
