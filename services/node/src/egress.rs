//! The consumer's node: a call of one of the agency's own systems on its way out. Read it top to bottom.

use std::{sync::Arc, time::Instant};

use http::Request;
use hyper::body::Incoming;
use lienthong_audit::digest::ExchangeKey;
use lienthong_catalog::{Method, Permitted, RightsIndex};
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

use crate::{
    call::{
        answer::{self, Answer},
        authorize::authorize,
        close::Closer,
        deadline::Deadline,
        deny::deny,
        forward::{self, Unanswered, check_head},
        identify::{self, Caller},
        metadata::{self, CallMetadata},
        open::{self, open},
        release::{Released, release},
        request_body::{RequestBody, RequestTally},
        resolve::resolve,
        standing::Standing,
    },
    clock,
    core::Core,
    diagnosis,
    limits::PROVIDER_NODES_TRIED_MAX,
    own_services, sandbox,
    upstream::{InFlight, ProviderNode},
};

/// A call that may go out.
struct Outgoing {
    core: Arc<Core>,
    rights: Arc<RightsIndex>,
    id: Uuid,
    received: Instant,
    caller: Caller,
    stated: CallMetadata,
    method: Arc<Method>,
    permitted: Permitted,
    deadline: Deadline,
}

/// Serves one call of one of the agency's own systems.
pub async fn call(core: Arc<Core>, peer: Peer, request: Request<Incoming>) -> Answer {
    let received = Instant::now();
    let Some(slot) = core.node.begin_call() else {
        return answer::error(&MeshError::new(Reason::FailOverloaded, "calls_in_flight_max"), None);
    };
    if diagnosis::is_asked(request.uri().path()) {
        return diagnosis::answer(core, peer, request).await;
    }
    let Some(rights) = core.node.rights.load_full() else {
        return answer::error(
            &MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet"),
            None,
        );
    };
    if own_services::is_own(request.uri().path()) {
        return own_services::from_own_system(core, rights, peer, request).await;
    }
    let id = match new_exchange_id(&core) {
        Ok(id) => id,
        Err(error) => return answer::error(&error, None),
    };

    let (caller, identified) = identify::own_system(&core.node, &rights, &peer);
    let (stated, stated_well) = CallMetadata::read(request.headers());
    let mut exchange = open::arrived(&core, Side::Consumer, id, 1, &caller, &stated, request.uri().path());
    let judged = identified
        .and(stated_well)
        .and_then(|()| sandbox::demanded(&core.node, request.headers()))
        .and_then(|()| judge(&core, &rights, &caller, &stated, &mut exchange, &request));
    match judged {
        Err(error) => deny(&core, exchange, id, &error),
        Ok((method, permitted, deadline)) => {
            let outgoing =
                Outgoing { core, rights, id, received, caller, stated, method, permitted, deadline };
            let nodes = match outgoing.provider_nodes() {
                Ok(nodes) => nodes,
                Err(error) => return deny(&outgoing.core, exchange, id, &error),
            };
            match outgoing.exchange(exchange, nodes, request).await {
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
    request: &Request<Incoming>,
) -> Result<(Arc<Method>, Permitted, Deadline), MeshError> {
    let method = resolve(rights, request.uri().path(), stated.provider.as_deref())?;
    open::resolved(exchange, &method);
    check_head(request)?;
    let permitted = authorize(&core.node, rights, &method, caller, stated)?;
    open::decided(exchange, &permitted, stated);
    let deadline = Deadline::read(request.headers(), &method, &core.node.limits)?;
    Ok((method, permitted, deadline))
}

impl Outgoing {
    /// Open, forward, release. What fails after the opening is closed with its reason.
    async fn exchange(
        self,
        mut exchange: Exchange,
        nodes: Vec<Arc<ProviderNode>>,
        request: Request<Incoming>,
    ) -> Result<Released, MeshError> {
        exchange.provider_node.clone_from(&nodes[0].name);
        let key = ExchangeKey::random().map_err(open::unavailable)?;
        let system = exchange.system.clone();
        let opened = open(&self.core, exchange, self.id, &key, self.received)?;
        let seq = opened.ticket.seq;
        let context = self.context(system, &key, &opened.ticket.leaf_hash.0);
        let tally = RequestTally::new(&key);
        let mut closer = Closer::new(Arc::clone(&self.core), opened, tally.clone());

        if !self.method.has_no_side_effects()
            && let Err(error) = self.deadline.limit(self.core.journal.durable(seq)).await
        {
            return Err(closer.fail(error));
        }
        let (parts, body) = request.into_parts();
        let subjects = Some(Arc::clone(self.method.request_plan()));
        let body = RequestBody::new(body, self.core.node.limits.message_bytes_max, subjects, tally);
        let call = [(metadata::CALL, metadata::call_header(&context))];
        let onward = forward::request(self.method.path(), &parts.headers, self.deadline, call, body);
        let (response, in_flight) = match self.send(&nodes, onward, &mut closer).await {
            Ok(answered) => answered,
            Err(error) => return Err(closer.fail(error)),
        };
        if let Err(error) = self.deadline.limit(self.core.journal.durable(seq)).await {
            return Err(closer.fail(error));
        }
        let streams = self.method.is_response_streaming();
        let standing = streams.then(|| Standing::new(self.caller, self.stated));
        let released =
            release(Side::Consumer, response, self.permitted, standing, self.deadline, closer, &key);
        Ok(released.holding(in_flight))
    }

    /// Sends the request to one of the provider's nodes; to the next one only if it was certainly not
    /// processed by the one before.
    async fn send(
        &self,
        nodes: &[Arc<ProviderNode>],
        mut request: Request<RequestBody>,
        closer: &mut Closer,
    ) -> Result<(http::Response<Incoming>, InFlight), MeshError> {
        let mut last = None;
        for node in nodes {
            closer.goes_to(&node.name);
            match forward::send(&node.upstream, request, self.deadline).await {
                Ok(answered) => return Ok(answered),
                Err(Unanswered::NotSent { error, request: Some(unsent) }) => {
                    request = *unsent;
                    tracing::warn!(%error, node = node.name, "a provider's node could not be reached");
                    last = Some(MeshError::new(Reason::FailProviderUnreachable, node.name.clone()));
                }
                Err(other) => {
                    let caused_by_request = closer.request().error();
                    return Err(caused_by_request
                        .unwrap_or_else(|| other.into_error(Reason::FailProviderUnreachable)));
                }
            }
        }
        Err(last
            .unwrap_or_else(|| MeshError::new(Reason::FailProviderUnreachable, "the provider has no node")))
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

    fn context(&self, system: String, key: &ExchangeKey, opening_hash: &[u8; 32]) -> CallContext {
        CallContext {
            exchange_id: self.id.as_bytes().to_vec(),
            attempt: 1,
            system,
            purpose: self.stated.purpose.clone().unwrap_or_default(),
            purpose_source: self.stated.purpose_source.into(),
            dossier: self.stated.dossier.clone().unwrap_or_default(),
            user: self.stated.user.clone().unwrap_or_default(),
            fields: self.stated.fields.clone().unwrap_or_default(),
            exchange_key: key.as_bytes().to_vec(),
            opening_hash: opening_hash.to_vec(),
            min_epoch: self.stated.min_epoch,
        }
    }
}

/// UUIDv7: the consumer's node makes it, and it stays over retries.
fn new_exchange_id(core: &Core) -> Result<Uuid, MeshError> {
    Ok(uuid::Builder::from_unix_timestamp_millis(clock::unix_ms(), &core.random()?).into_uuid())
}
