//! The consumer's node: a call of one of the agency's own systems on its way out. Read it top to bottom.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use lienthong_audit::digest::{Digester, EXCHANGE_KEY_BYTES, ExchangeKey};
use lienthong_catalog::{Method, Permitted, RightsIndex, purpose};
use lienthong_proto::{
    lienthong::{
        audit::v1::{Exchange, Side},
        exchange::v1::CallContext,
    },
    reason::Reason,
    status::MeshError,
};
use lienthong_transport::Peer;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    call::{
        answer::{self, Answer},
        authorize::{Judged, authorize},
        caller_body::CallerBody,
        close::Closer,
        conclude::is_temporary,
        deadline::Deadline,
        deny::deny,
        forward::{self, RequestHead, Unanswered, check_head},
        identify::{self, Caller},
        metadata::{self, CallMetadata},
        open::{self, open},
        release::{Released, release},
        request_body::{RequestBody, RequestTally},
        resolve::resolve,
        standing::{self, Standing},
    },
    clock,
    core::Core,
    limits::PROVIDER_NODES_TRIED_MAX,
    message_space::MessageSpace,
    sandbox,
    services::{self, Own},
    upstream::{InFlight, ProviderNode},
};

/// A call that may go out.
struct Outgoing {
    core: Arc<Core>,
    peer: Peer,
    rights: Arc<RightsIndex>,
    id: Uuid,
    key: ExchangeKey,
    received: Instant,
    caller: Caller,
    stated: CallMetadata,
    method: Arc<Method>,
    deadline: Deadline,
}

/// Serves one call of one of the agency's own systems.
pub async fn call(core: Arc<Core>, peer: Peer, request: Request<CallerBody>) -> Answer {
    let received = Instant::now();
    let slot = match core.node.begin_call(&peer) {
        Ok(slot) => slot,
        Err(full) => return answer::error(&full, None),
    };
    if services::diagnosis::is_asked(request.uri().path()) {
        return services::diagnosis::answer(core, peer, request).await;
    }
    let Some(mut rights) = core.node.rights.load_full() else {
        return answer::error(
            &MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet"),
            None,
        );
    };
    if let Some(own) = Own::for_own_system(request.uri().path()) {
        return services::from_own_system(core, &rights, peer, own, slot, request).await;
    }
    let (id, key) = match new_exchange(&core) {
        Ok(new) => new,
        Err(error) => return answer::error(&error, None),
    };

    let (caller, identified) = identify::own_system(&core.node, &rights, &peer);
    let (stated, stated_well) = CallMetadata::read(request.headers());
    let mut exchange = open::arrived(&core, Side::Consumer, id, 1, &caller, &stated, request.uri().path());
    let well = identified.and(stated_well).and_then(|()| sandbox::demanded(&core.node, request.headers()));
    let judged = match well {
        Ok(()) => judge(&core, &rights, &caller, &stated, &mut exchange, &request),
        Err(error) => Err(error),
    };
    let confirmed = match judged {
        Ok((judged, deadline)) => judged
            .confirm(&core, &mut rights, &caller, &stated, &mut exchange, deadline)
            .await
            .map(|permitted| (permitted, deadline)),
        Err(error) => Err(error),
    };
    match confirmed {
        Err(error) => deny(&core, exchange, id, &error),
        Ok((permitted, deadline)) => {
            let method = Arc::clone(permitted.method());
            let outgoing =
                Outgoing { core, peer, rights, id, key, received, caller, stated, method, deadline };
            let (revocation, metrics) = (&outgoing.core.node.revocation, &outgoing.core.node.metrics);
            let nodes = outgoing.provider_nodes();
            let nodes = match nodes.and_then(|nodes| revocation.of_providers(nodes, &permitted, metrics)) {
                Ok(nodes) => nodes,
                Err(error) => return deny(&outgoing.core, exchange, id, &error),
            };
            match outgoing.exchange(permitted, exchange, nodes, request).await {
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
    let method = resolve(rights, request.uri().path(), stated.provider.as_deref())?;
    open::resolved(exchange, rights, &method, stated);
    check_head(request)?;
    let judged = authorize(&core.node, rights, &method, caller, stated)?;
    open::decided(exchange, judged.so_far(), stated);
    let deadline = Deadline::read(request.headers(), &method, &core.node.limits)?;
    Ok((judged, deadline))
}

impl Outgoing {
    /// Open, forward, release. What fails after the opening is closed with its reason.
    async fn exchange(
        self,
        mut permitted: Permitted,
        mut exchange: Exchange,
        nodes: Vec<Arc<ProviderNode>>,
        request: Request<CallerBody>,
    ) -> Result<Released, MeshError> {
        exchange.provider_node.clone_from(&nodes[0].name);
        let system = exchange.system.clone();
        let (parts, body) = request.into_parts();
        let head = RequestHead::read(&parts.headers, self.method.application_metadata());
        let digester = Digester::new(&self.key);
        let tally = RequestTally::new(&digester);
        if self.may_be_asked_twice() && nodes.len() > 1 {
            tally.keep();
        }
        let subjects = Some(Arc::clone(self.method.request_plan()));
        let space = self.core.node.messages.of(&self.caller.system);
        let made_whole = body.is_made() && !self.method.is_request_streaming();
        let mut body = RequestBody::new(body, &space, subjects, tally.clone()).made_whole(made_whole);
        if let Ok(head) = &head {
            tally.metadata(&head.metadata);
            body = body.compressed(head.encoding).within(permitted.request_scope());
            if let Err(error) = body.first(self.deadline).await {
                return Ok(Released::Ended(deny(&self.core, exchange, self.id, &error)));
            }
        }
        let gate = permitted.release_gate();
        let opened = open(&self.core, exchange, self.id, &self.key, gate, self.received)?;
        let seq = opened.ticket.seq;
        let context = self.context(&permitted, system, &opened.ticket.leaf_hash.0);
        let mut closer = Closer::new(Arc::clone(&self.core), opened, digester, tally);
        let head = match head {
            Ok(head) => head,
            Err(error) => return Ok(Released::failed(Side::Consumer, &mut closer, error)),
        };
        closer.metadata_dropped += head.metadata_dropped;
        if !self.method.has_no_side_effects()
            && let Err(error) = self.core.node.gates.pass(gate, seq, self.deadline, &self.core.journal).await
        {
            return Ok(Released::failed(Side::Consumer, &mut closer, error));
        }
        let onward = Onward { headers: parts.headers, head, context };
        let node = Arc::clone(&self.core.node);
        let streams = self.method.is_request_streaming() || self.method.is_response_streaming();
        let mut standing =
            streams.then(|| Standing::new(self.caller.clone(), self.stated.clone(), self.peer.clone()));
        // In a box, for it is moved, and is two thirds of this call's state.
        let sent = Box::pin(self.send(&nodes, onward, body, &space, &mut closer));
        let (response, in_flight) =
            match standing::while_permitted(&mut standing, &node, &mut permitted, sent).await {
                Ok(answered) => answered,
                Err(error) => return Ok(Released::failed(Side::Consumer, &mut closer, error)),
            };
        if let Err(error) = self.core.node.gates.pass(gate, seq, self.deadline, &self.core.journal).await {
            return Ok(Released::failed(Side::Consumer, &mut closer, error));
        }
        let released = release(Side::Consumer, response, permitted, standing, self.deadline, &space, closer);
        Ok(released.holding(in_flight))
    }

    /// Sends the request to one of the provider's nodes; to the next one only if it was certainly not processed by the
    /// one before, or if it is a read that may be asked twice.
    async fn send(
        &self,
        nodes: &[Arc<ProviderNode>],
        mut onward: Onward,
        mut body: RequestBody,
        space: &MessageSpace,
        closer: &mut Closer,
    ) -> Result<(http::Response<Incoming>, InFlight), MeshError> {
        for (node, attempt) in nodes.iter().zip(1..) {
            onward.context.attempt = attempt;
            closer.goes_to(&node.name, attempt);
            let request = onward.request(self.method.path(), self.deadline, body);
            let answer = forward::send(&node.upstream, request, self.deadline).await;
            let last = attempt as usize == nodes.len();
            let again = || {
                let frames = if last { None } else { closer.request().again() };
                frames.map(|frames| {
                    RequestBody::again(frames, space, closer.request().clone())
                        .compressed(onward.head.encoding)
                })
            };
            let (answered, again) = match answer {
                Ok(answered) if is_temporary(answered.0.headers()) => (Ok(answered), again()),
                Ok(answered) => return Ok(answered),
                Err(Unanswered::NotSent { error, request: Some(unsent) }) => {
                    tracing::warn!(%error, node = node.name, "a provider's node could not be reached");
                    let nobody = MeshError::new(Reason::FailProviderUnreachable, node.name.clone());
                    (Err(nobody), (!last).then(|| unsent.into_body()))
                }
                Err(other) => {
                    let again = if let Unanswered::Deadline = &other { None } else { again() };
                    let caused_by_request = closer.request().error();
                    let error = caused_by_request
                        .unwrap_or_else(|| other.into_error(Reason::FailProviderUnreachable));
                    (Err(error), again)
                }
            };
            match again {
                Some(again) => body = again,
                None => return answered,
            }
        }
        Err(MeshError::new(Reason::FailProviderUnreachable, "the provider has no node"))
    }

    /// A unary read: only that is sent again when it may have been processed (design §6, Replay and retry).
    fn may_be_asked_twice(&self) -> bool {
        self.method.has_no_side_effects()
            && !self.method.is_request_streaming()
            && !self.method.is_response_streaming()
    }

    /// The provider's nodes to try, the less busy of two random ones first.
    fn provider_nodes(&self) -> Result<Vec<Arc<ProviderNode>>, MeshError> {
        let registered = self.rights.nodes_of(self.method.provider());
        let mut nodes: Vec<_> =
            registered.iter().map(|node| self.core.upstreams.peer(&self.core.node, node)).collect();
        if nodes.is_empty() {
            let detail = format!("{} has no node in the registry", self.method.provider());
            return Err(MeshError::new(Reason::FailProviderUnreachable, detail));
        }
        if nodes.len() > 1 {
            let start = usize::from(self.id.as_bytes()[15]) % nodes.len();
            nodes.rotate_left(start);
            if nodes[1].upstream.load() < nodes[0].upstream.load() {
                nodes.swap(0, 1);
            }
            nodes.truncate(PROVIDER_NODES_TRIED_MAX);
        }
        Ok(nodes)
    }

    fn context(&self, permitted: &Permitted, system: String, opening_hash: &[u8; 32]) -> CallContext {
        CallContext {
            exchange_id: self.id.as_bytes().to_vec(),
            attempt: 1,
            system,
            purpose: purpose::word(permitted.purpose()).to_owned(),
            purpose_source: permitted.purpose_source().into(),
            dossier: self.stated.dossier.clone().unwrap_or_default(),
            user: self.stated.user.clone().unwrap_or_default(),
            fields: self.stated.fields.clone().unwrap_or_default(),
            exchange_key: self.key.as_bytes().to_vec(),
            opening_hash: opening_hash.to_vec(),
            min_epoch: self.stated.min_epoch,
        }
    }
}

/// What a request is made from, for each of the provider's nodes anew.
struct Onward {
    /// Headers of the caller.
    headers: HeaderMap,
    head: RequestHead,
    context: CallContext,
}

impl Onward {
    fn request(&self, path: &str, deadline: Deadline, body: RequestBody) -> Request<RequestBody> {
        let call = [(metadata::CALL, metadata::call_header(&self.context))];
        forward::request(path, &self.headers, self.head.metadata.clone(), deadline, call, body)
    }
}

/// The id of a new exchange, a UUIDv7 that stays over retries, and the key of its digests, of random bytes that are drawn
/// at once: each drawing asks the processor for entropy.
fn new_exchange(core: &Core) -> Result<(Uuid, ExchangeKey), MeshError> {
    let drawn: Zeroizing<[u8; ID_RANDOM_BYTES + EXCHANGE_KEY_BYTES]> = Zeroizing::new(core.random()?);
    let (mut id, mut key) = ([0; ID_RANDOM_BYTES], [0; EXCHANGE_KEY_BYTES]);
    id.copy_from_slice(&drawn[..ID_RANDOM_BYTES]);
    key.copy_from_slice(&drawn[ID_RANDOM_BYTES..]);
    let id = uuid::Builder::from_unix_timestamp_millis(clock::unix_ms(), &id).into_uuid();
    Ok((id, ExchangeKey::from_bytes(key)))
}

/// Random bytes of a UUIDv7 (RFC 9562 §5.7).
const ID_RANDOM_BYTES: usize = 10;
