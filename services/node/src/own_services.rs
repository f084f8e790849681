//! The node's own services: its agency's shared-data catalog, for its systems and for other nodes. They
//! describe data and carry none, so they are no exchanges and leave no exchange record.

use std::{convert::Infallible, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use lienthong_audit::digest::{EXCHANGE_KEY_BYTES, ExchangeKey};
use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::{
        catalog::v1::{
            GetContractRequest, GetContractResponse, ListCallableMethodsRequest, ListCallableMethodsResponse,
            ListDatasetsRequest, ListDatasetsResponse,
            node_catalog_service_server::{NodeCatalogService, NodeCatalogServiceServer, SERVICE_NAME},
        },
        exchange::v1::CallContext,
    },
    reason::Reason,
    status::MeshError,
};
use lienthong_transport::Peer;
use tonic::{Response, Status};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    call::{
        answer::{self, Answer, AnswerBody},
        deadline::Deadline,
        forward,
        identify::{self, Caller},
        metadata::{self, CallMetadata},
        request_body::{RequestBody, RequestTally},
    },
    clock,
    core::Core,
};

/// Entries of one page, unless the caller asks for fewer or more.
const PAGE_SIZE_DEFAULT: usize = 50;
/// Entries of one page at most.
const PAGE_SIZE_MAX: usize = 1_000;

/// The methods that the node itself answers.
const METHODS: [&str; 3] = ["ListDatasets", "ListCallableMethods", "GetContract"];

/// True for a path that the node itself answers.
pub fn is_own(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(SERVICE_NAME))
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|method| METHODS.contains(&method))
}

/// Answers one of the agency's own systems; `mesh-provider` asks another agency's node instead.
pub async fn from_own_system(
    core: Arc<Core>,
    rights: Arc<RightsIndex>,
    peer: Peer,
    request: Request<Incoming>,
) -> Answer {
    let (caller, identified) = identify::own_system(&core.node, &rights, &peer);
    let (stated, stated_well) = CallMetadata::read(request.headers());
    if let Err(error) = identified.and(stated_well) {
        return refuse(&core, &error);
    }
    match stated.provider {
        Some(provider) if provider != core.node.agency => {
            match ask(&core, &rights, &caller, &provider, request).await {
                Ok(answer) => answer,
                Err(error) => refuse(&core, &error),
            }
        }
        _ => serve(core, rights, caller, request).await,
    }
}

/// Answers another agency's node.
pub async fn from_peer(
    core: Arc<Core>,
    rights: Arc<RightsIndex>,
    caller: Caller,
    identified: Result<(), MeshError>,
    request: Request<Incoming>,
) -> Answer {
    let entitled = identified.and_then(|()| match rights.party(&caller.party) {
        Some(party) if !party.outside => Ok(()),
        _ => {
            Err(MeshError::new(Reason::DenyNotEntitled, "the catalog is for parties of the political system")
                .with_rule("R-15"))
        }
    });
    match entitled {
        Ok(()) => serve(core, rights, caller, request).await,
        Err(error) => refuse(&core, &error),
    }
}

fn refuse(core: &Core, error: &MeshError) -> Answer {
    core.node.metrics.denied(error.reason);
    answer::error(error, None)
}

/// Passes a question on to another agency's node.
async fn ask(
    core: &Arc<Core>,
    rights: &RightsIndex,
    caller: &Caller,
    provider: &str,
    request: Request<Incoming>,
) -> Result<Answer, MeshError> {
    let Some(node) = rights.nodes_of(provider).first() else {
        let detail = format!("{provider} has no node that this agency may call");
        return Err(MeshError::new(Reason::FailProviderUnreachable, detail));
    };
    let upstream = core.upstreams.peer(&core.node, node);
    let deadline = Deadline::read_unary(request.headers(), &core.node.limits)?;
    let key = ExchangeKey::from_bytes([0; EXCHANGE_KEY_BYTES]);
    let context = CallContext {
        exchange_id: Uuid::now_v7().as_bytes().to_vec(),
        attempt: 1,
        system: caller.system.clone(),
        exchange_key: key.as_bytes().to_vec(),
        ..CallContext::default()
    };
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let body = RequestBody::new(body, &core.node.messages, None, RequestTally::new(&key));
    let call = [(metadata::CALL, metadata::call_header(&context))];
    let onward = forward::request(path, &parts.headers, HeaderMap::new(), deadline, call, body);
    let (response, in_flight) = forward::send(&upstream.upstream, onward, deadline)
        .await
        .map_err(|unanswered| unanswered.into_error(Reason::FailProviderUnreachable))?;
    let (head, body) = response.into_parts();
    // A catalog answer is a page: it is taken in whole, within the deadline and the largest message.
    let page = Limited::new(body, core.node.limits.message_bytes_max).collect();
    let page = match deadline.at() {
        Some(at) => tokio::time::timeout_at(at, page)
            .await
            .map_err(|_| MeshError::new(Reason::FailDeadline, "while the catalog was on its way"))?,
        None => page.await,
    };
    drop(in_flight);
    let page = page.map_err(|error| MeshError::new(Reason::FailInterrupted, error.to_string()))?;
    let mut answer = http::Response::new(AnswerBody::Service(tonic::body::Body::new(page)));
    for name in PASSED {
        if let Some(value) = head.headers.get(name) {
            answer.headers_mut().insert(name, value.clone());
        }
    }
    Ok(answer)
}

/// Headers of another node's catalog answer that go on.
const PASSED: [&str; 4] = ["content-type", "grpc-status", "grpc-message", "grpc-status-details-bin"];

async fn serve(
    core: Arc<Core>,
    rights: Arc<RightsIndex>,
    caller: Caller,
    request: Request<Incoming>,
) -> Answer {
    let catalog = OwnCatalog { agency: core.node.agency.clone(), rights, caller };
    let answered: Result<_, Infallible> = NodeCatalogServiceServer::new(catalog).oneshot(request).await;
    match answered {
        Ok(response) => response.map(AnswerBody::Service),
        Err(never) => match never {},
    }
}

/// The catalog as one caller sees it.
struct OwnCatalog {
    agency: String,
    rights: Arc<RightsIndex>,
    caller: Caller,
}

impl OwnCatalog {
    fn callable(&self) -> Vec<lienthong_proto::lienthong::catalog::v1::CallableMethod> {
        let system = (!self.caller.system.is_empty()).then_some(self.caller.system.as_str());
        let mut methods = self.rights.callable_methods(&self.caller.party, system, clock::now());
        if self.caller.party != self.agency {
            // Another agency learns what it may call here, not elsewhere.
            methods.retain(|method| method.provider == self.agency);
        }
        methods
    }
}

#[tonic::async_trait]
impl NodeCatalogService for OwnCatalog {
    async fn list_datasets(
        &self,
        request: tonic::Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsResponse>, Status> {
        let request = request.into_inner();
        let datasets = self.rights.shared_datasets(&self.agency);
        let (datasets, next_page_token) = page(datasets, request.page_size, &request.page_token)?;
        Ok(Response::new(ListDatasetsResponse {
            agency: self.agency.clone(),
            datasets,
            next_page_token,
            epoch: self.rights.epoch(),
        }))
    }

    async fn list_callable_methods(
        &self,
        request: tonic::Request<ListCallableMethodsRequest>,
    ) -> Result<Response<ListCallableMethodsResponse>, Status> {
        let request = request.into_inner();
        let (methods, next_page_token) = page(self.callable(), request.page_size, &request.page_token)?;
        Ok(Response::new(ListCallableMethodsResponse { methods, next_page_token }))
    }

    async fn get_contract(
        &self,
        request: tonic::Request<GetContractRequest>,
    ) -> Result<Response<GetContractResponse>, Status> {
        let symbol = request.into_inner().symbol;
        let service = symbol.trim_start_matches('/').split('/').next().unwrap_or_default();
        let provider = if symbol.is_empty() {
            Some(self.agency.clone())
        } else {
            let called = self.callable().into_iter();
            called
                .filter(|method| method.path.trim_start_matches('/').split('/').next() == Some(service))
                .map(|method| method.provider)
                .next()
        };
        let contract =
            provider.as_deref().and_then(|provider| self.rights.contract(provider)).ok_or_else(|| {
                let detail = if symbol.is_empty() {
                    "this agency publishes no contract"
                } else {
                    "nothing that you may call"
                };
                MeshError::new(Reason::DenyUnknownMethod, detail).to_status()
            })?;
        Ok(Response::new(GetContractResponse {
            provider: contract.provider.clone(),
            hash: contract.hash.to_vec(),
            descriptor_set: contract.descriptor_set.to_vec(),
        }))
    }
}

/// One page of a list (AIP-158): the token is the place to go on from, opaque to callers.
fn page<T>(items: Vec<T>, size: i32, token: &str) -> Result<(Vec<T>, String), Status> {
    let size = match usize::try_from(size) {
        Err(_) => return Err(invalid("page_size is negative")),
        Ok(0) => PAGE_SIZE_DEFAULT,
        Ok(size) => size.min(PAGE_SIZE_MAX),
    };
    let start = if token.is_empty() {
        0
    } else {
        let bytes =
            URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid("page_token is not one of this node's"))?;
        let bytes: [u8; 4] = bytes.try_into().map_err(|_| invalid("page_token is not one of this node's"))?;
        u32::from_be_bytes(bytes) as usize
    };
    let end = start.saturating_add(size);
    let next = match u32::try_from(end) {
        Ok(next) if end < items.len() => URL_SAFE_NO_PAD.encode(next.to_be_bytes()),
        _ => String::new(),
    };
    Ok((items.into_iter().skip(start).take(size).collect(), next))
}

fn invalid(detail: &str) -> Status {
    MeshError::new(Reason::DenyContext, detail).to_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_everything_once() {
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let (items, next) = page((0..125).collect(), 0, &token).unwrap();
            seen.extend(items);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (0..125).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_page_is_refused() {
        assert!(page(vec![1], -1, "").is_err());
        assert!(page(vec![1], 0, "x").is_err());
        assert!(page(vec![1], 0, "not base64 at all!").is_err());
    }

    #[test]
    fn only_the_nodes_own_paths_are_its_own() {
        assert!(is_own("/lienthong.catalog.v1.NodeCatalogService/ListDatasets"));
        assert!(!is_own("/lienthong.catalog.v1.NodeCatalogServiceX/ListDatasets"));
        assert!(!is_own("/vn.dancu.v1.CitizenService/GetCitizen"));
    }
}
