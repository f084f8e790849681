//! Another protocol in front of the egress. What a caller of plain HTTP says becomes the same call that a gRPC caller
//! makes, in the same process and of the same proven peer: no rule is written twice.
//!
//! The protocol itself is not known here. Whoever runs a node hands in a [`Front`]; it hands each call on to an
//! [`Egress`], which is this node as one connection's peer may use it.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use lienthong_catalog::Resolution;
use lienthong_proto::{
    lienthong::{audit::v1::Side, catalog::v1::CallableMethod},
    reason::Reason,
    status::MeshError,
};
use lienthong_telemetry::{Health, health::HealthReport};
use lienthong_transport::{Peer, leash};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::Status;

use crate::{
    call::{caller_body::CallerBody, identify},
    core::Core,
    egress, sandbox,
    services::{asker::Asker, view},
    trace,
};

/// A protocol that is served in front of the egress.
pub trait Front: Send + Sync + 'static {
    /// Answers one request of the peer behind `egress`.
    fn answer(&self, egress: Egress, request: Request<Arriving>) -> Answering;
}

/// The body of a request that came in.
pub type Arriving = Incoming;

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = Response<tonic::body::Body>> + Send>>;

/// A node, as the peer of one connection may use it.
#[derive(Clone)]
pub struct Egress {
    core: Arc<Core>,
    peer: Peer,
    health: Health,
}

/// What one of the agency's systems may call now.
pub struct Callable {
    /// Resource name of the system.
    pub system: String,
    /// Code of its agency.
    pub agency: String,
    /// By path and provider.
    pub methods: Vec<CallableMethod>,
    /// Their contracts, cut down to them, with those of the node's own services.
    pub contracts: DescriptorPool,
}

impl Egress {
    /// This thread's egress for a proven peer.
    pub fn new(core: Arc<Core>, peer: Peer, health: Health) -> Self {
        Self { core, peer, health }
    }

    /// Serves one gRPC call: identified, judged, recorded and answered as one off the wire. An error of its body that is a
    /// status of the mesh is the reason of its denial.
    pub async fn call(&self, request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
        let mut request = request.map(CallerBody::Front);
        let span = trace::arrived(&self.core.node, Side::Consumer, &mut request);
        let answer = Box::pin(egress::call(Arc::clone(&self.core), self.peer.clone(), request)).await;
        trace::answered(span, sandbox::marked(&self.core.node, answer)).map(tonic::body::Body::new)
    }

    /// How a method is declared, by gRPC path and, where several agencies serve it, provider. Whether the caller may call
    /// it is not asked.
    pub fn method(&self, path: &str, provider: Option<&str>) -> Option<MethodDescriptor> {
        let rights = self.core.node.rights.load_full();
        match rights.map(|rights| rights.method(path, provider)) {
            Some(Resolution::One(method)) => declared(method.request().parent_pool(), path),
            _ => declared(view::own_contracts(), path)
                .filter(|method| view::is_own_service(method.parent_service().full_name())),
        }
    }

    /// Every method that the node knows, with the code of its provider.
    pub fn methods(&self) -> Vec<(String, MethodDescriptor)> {
        let Some(rights) = self.core.node.rights.load_full() else { return Vec::new() };
        let known = rights.methods().iter().filter_map(|method| {
            let declared = declared(method.request().parent_pool(), method.path())?;
            Some((method.provider().to_owned(), declared))
        });
        known.collect()
    }

    /// The epoch of the rights that the node decides by: what it knows changes with it. 0 before the first.
    pub fn epoch(&self) -> u64 {
        self.core.node.rights.load().as_ref().map_or(0, |rights| rights.epoch())
    }

    /// What the caller may call now; the error is what a call would hear.
    pub async fn callable(&self, provider: Option<String>) -> Result<Callable, Status> {
        let node = &self.core.node;
        let Some(rights) = node.rights.load_full() else {
            let stale = MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet");
            return Err(stale.to_status());
        };
        let (caller, identified) = identify::own_system(node, &rights, &self.peer);
        identified.map_err(|error| error.to_status())?;
        let (system, agency) = (caller.system.clone(), caller.party.clone());
        let asker = Asker { core: Arc::clone(&self.core), caller, provider };
        let methods = asker.callable(&rights);
        let contracts = asker.view().await?;
        Ok(Callable { system, agency, methods, contracts })
    }

    /// Id of the mesh, and whether it lives on development certificates.
    pub fn mesh(&self) -> (&str, bool) {
        (&self.core.node.mesh, self.core.node.development)
    }

    /// Who the node is and how it feels, as its operator sees it.
    pub fn health(&self) -> HealthReport {
        self.health.report()
    }

    /// Largest message that the node takes, bytes.
    pub fn message_bytes_max(&self) -> usize {
        self.core.node.limits.message_bytes_max
    }
}

/// The declaration of a gRPC path.
pub(crate) fn declared(pool: &DescriptorPool, path: &str) -> Option<MethodDescriptor> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    pool.get_service_by_name(service)?.methods().find(|method| method.name() == name)
}

/// Serves one request through a front, for as long as its answer is read.
pub async fn serve(
    (front, health): (Arc<dyn Front>, Health),
    core: Arc<Core>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<OnALeash>, Infallible> {
    let node = Arc::clone(&core.node);
    let answer = front.answer(Egress::new(core, peer, health), request).await;
    node.metrics.http_answered(answer.status());
    Ok(answer.map(OnALeash))
}

/// An answer that gives back the leash of its call when it has gone: an HTTP/1.1 connection lives on.
pub struct OnALeash(tonic::body::Body);

impl Drop for OnALeash {
    fn drop(&mut self) {
        leash::let_go();
    }
}

impl Body for OnALeash {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
