//! What the node itself answers: its agency's shared-data catalog, reflection, health. These describe data and carry
//! none, so they are no exchanges and leave no exchange record; they are counted.
//!
//! Everything here is told *per asker*: what a caller may not call does not exist for it.
//!
//! - [`catalog`]: `lienthong.catalog.v1.NodeCatalogService`, for own systems and other agencies' nodes;
//!   [`contract`]: the contracts it hands out; [`onward`]: a question goes on to another agency's node.
//! - [`reflection`]: `grpc.reflection.v1` and `v1alpha`, for own systems.
//! - [`health`]: `grpc.health.v1`, for own systems and other agencies' nodes; [`probe`]: the question to the provider
//!   or the backend behind it.
//! - [`diagnosis`]: what is wrong with a call, for own systems; answers also before the node holds rights.
//! - [`asker`]: who asks, and what that caller may call; [`view`]: the contracts as that caller sees them.

pub mod asker;
pub mod catalog;
pub mod contract;
pub mod diagnosis;
pub mod dossier;
pub mod health;
pub mod onward;
pub mod page;
pub mod probe;
pub mod reflection;
pub mod view;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Uri};
use http_body::{Body, Frame, SizeHint};
use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::catalog::v1::node_catalog_service_server::{self as catalog_v1, NodeCatalogServiceServer},
    reason::Reason,
    status::MeshError,
};
use lienthong_transport::Peer;
use tonic_health::pb::health_server::{self as health_v1, HealthServer};
use tonic_reflection::pb::v1::server_reflection_server::{self as reflection_v1, ServerReflectionServer};
use tower::ServiceExt;

use crate::{
    call::{
        answer::{self, Answer, AnswerBody},
        caller_body::CallerBody,
        deadline::{Deadline, TIMEOUT},
        identify::{self, Caller},
        leash,
        metadata::CallMetadata,
    },
    core::Core,
    limits::QUESTION_BYTES_MAX,
    node::CallSlot,
};
use asker::Asker;
use probe::Probes;
use view::Views;

/// What the own services of all traffic threads share.
#[derive(Debug, Default)]
pub struct Services {
    /// Contracts, as callers see them.
    pub views: Views,
    /// The health of providers and backends, as last heard.
    pub probes: Probes,
    /// Health watches under way.
    pub watches: AtomicUsize,
}

/// A service that the node itself answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// `lienthong.catalog.v1.NodeCatalogService`.
    Catalog,
    /// `grpc.reflection.v1.ServerReflection`, and `v1alpha`, which has the same messages on the wire.
    Reflection,
    /// `grpc.health.v1.Health`.
    Health,
}

/// Older clients know this name alone.
const REFLECTION_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
const REFLECTION_PATH: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

impl Own {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Catalog, Self::Reflection, Self::Health];

    /// The service behind a path that one of the agency's own systems calls.
    pub fn for_own_system(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        match (service, method) {
            (
                catalog_v1::SERVICE_NAME,
                "ListDatasets" | "ListCallableMethods" | "GetContract" | "CheckDossier",
            ) => Some(Self::Catalog),
            (reflection_v1::SERVICE_NAME | REFLECTION_ALPHA, "ServerReflectionInfo") => {
                Some(Self::Reflection)
            }
            (health_v1::SERVICE_NAME, "Check" | "Watch") => Some(Self::Health),
            _ => None,
        }
    }

    /// The service behind a path that another agency's node calls: catalog, and one look at a backend's health.
    pub fn for_peer(path: &str) -> Option<Self> {
        match Self::for_own_system(path) {
            Some(Self::Health) if path.ends_with("/Watch") => None,
            Some(Self::Reflection) => None,
            own => own,
        }
    }

    /// Whether this method of it answers for as long as its caller likes.
    fn is_streaming(self, path: &str) -> bool {
        self == Self::Reflection || path.ends_with("/Watch")
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Reflection => "reflection",
            Self::Health => "health",
        }
    }
}

/// Answers one of the agency's own systems. `mesh-provider` names whose contract or health is meant; of the catalog
/// service, it asks that agency's node itself.
pub async fn from_own_system(
    core: Arc<Core>,
    rights: &RightsIndex,
    peer: Peer,
    own: Own,
    slot: CallSlot,
    request: Request<CallerBody>,
) -> Answer {
    let (caller, identified) = identify::own_system(&core.node, rights, &peer);
    let (stated, stated_well) = CallMetadata::read(request.headers());
    if let Err(error) = identified.and(stated_well) {
        return refuse(&core, &error);
    }
    match stated.provider {
        Some(provider) if own == Own::Catalog && provider != core.node.agency => {
            core.node.metrics.asked(own);
            match onward::ask(&core, rights, &caller, &provider, request).await {
                Ok(answer) => answer,
                Err(error) => refuse(&core, &error),
            }
        }
        provider => serve(own, Asker { core, caller, provider }, slot, request).await,
    }
}

/// Answers another agency's node.
pub async fn from_peer(
    core: Arc<Core>,
    rights: &RightsIndex,
    caller: Caller,
    identified: Result<(), MeshError>,
    own: Own,
    slot: CallSlot,
    request: Request<CallerBody>,
) -> Answer {
    let entitled = identified.and_then(|()| match rights.party(&caller.party) {
        Some(party) if !party.outside => Ok(()),
        _ => {
            Err(MeshError::new(Reason::DenyNotEntitled, "the catalog is for parties of the political system")
                .with_rule("R-15"))
        }
    });
    match entitled {
        Ok(()) => serve(own, Asker { core, caller, provider: None }, slot, request).await,
        Err(error) => refuse(&core, &error),
    }
}

fn refuse(core: &Core, error: &MeshError) -> Answer {
    core.node.metrics.denied(error.reason);
    answer::error(error, None)
}

/// Answers within the caller's deadline. The call counts as under way until the answer has gone.
async fn serve(own: Own, asker: Asker, slot: CallSlot, mut request: Request<CallerBody>) -> Answer {
    let core = Arc::clone(&asker.core);
    core.node.metrics.asked(own);
    let deadline = match Deadline::read_unary(request.headers(), &core.node.limits) {
        Ok(deadline) => deadline,
        Err(error) => return refuse(&core, &error),
    };
    if !own.is_streaming(request.uri().path()) || request.headers().contains_key(&TIMEOUT) {
        leash::hold_to(deadline);
    }
    let answered = async {
        let answered: Result<_, Infallible> = match own {
            Own::Catalog => {
                let service = NodeCatalogServiceServer::new(catalog::OwnCatalog(asker));
                service.max_decoding_message_size(QUESTION_BYTES_MAX).oneshot(request).await
            }
            Own::Reflection => {
                *request.uri_mut() = Uri::from_static(REFLECTION_PATH);
                let service = ServerReflectionServer::new(reflection::Reflection(asker));
                service.max_decoding_message_size(QUESTION_BYTES_MAX).oneshot(request).await
            }
            Own::Health => {
                let service = HealthServer::new(health::OwnHealth(asker));
                service.max_decoding_message_size(QUESTION_BYTES_MAX).oneshot(request).await
            }
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    let answered = match deadline.at() {
        None => answered.await,
        Some(at) => match tokio::time::timeout_at(at, answered).await {
            Ok(answered) => answered,
            Err(_) => return refuse(&core, &MeshError::new(Reason::FailDeadline, "while the node answered")),
        },
    };
    answered.map(|body| AnswerBody::Service(tonic::body::Body::new(Held { body, _slot: slot })))
}

/// An answer that counts as a call under way until it has gone.
struct Held {
    body: tonic::body::Body,
    _slot: CallSlot,
}

impl Body for Held {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_nodes_own_paths_are_its_own() {
        for (path, own, for_peer) in [
            ("/lienthong.catalog.v1.NodeCatalogService/ListDatasets", Some(Own::Catalog), Some(Own::Catalog)),
            ("/lienthong.catalog.v1.NodeCatalogServiceX/ListDatasets", None, None),
            ("/lienthong.catalog.v1.NodeCatalogService/Nothing", None, None),
            (REFLECTION_PATH, Some(Own::Reflection), None),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Some(Own::Reflection), None),
            ("/grpc.health.v1.Health/Check", Some(Own::Health), Some(Own::Health)),
            ("/grpc.health.v1.Health/Watch", Some(Own::Health), None),
            ("/vn.dancu.v1.CitizenService/GetCitizen", None, None),
            ("", None, None),
        ] {
            assert_eq!(Own::for_own_system(path), own, "{path}");
            assert_eq!(Own::for_peer(path), for_peer, "{path}");
        }
    }
}
