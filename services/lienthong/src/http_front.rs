//! Plain HTTP in front of a node: the gateway's transcoder over the node's own egress, in one process. Neither knows the
//! other; here they meet.

use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, Response};
use lienthong_gateway::{
    front::{self, System},
    openapi::Reader,
    transcode::{Mesh, Space, rest::Routes},
};
use lienthong_node::{
    Egress, Front,
    front::{Answering, Arriving},
};
use lienthong_telemetry::health::HealthReport;
use prost_reflect::MethodDescriptor;
use tonic::Status;

/// What answers at a node's `http_listener`.
#[derive(Default)]
pub struct HttpFront {
    space: Space,
    routes: Arc<KnownRoutes>,
}

/// REST paths, made anew when the rights change.
#[derive(Default)]
struct KnownRoutes(Mutex<(u64, Arc<Routes>)>);

impl Front for HttpFront {
    fn answer(&self, egress: Egress, request: Request<Arriving>) -> Answering {
        let (space, routes) = (self.space.clone(), Arc::clone(&self.routes));
        let caller = Caller { egress, routes };
        Box::pin(async move { front::answer(&caller, &space, request).await })
    }
}

/// The mesh as the peer of one connection reaches it.
#[derive(Clone)]
struct Caller {
    egress: Egress,
    routes: Arc<KnownRoutes>,
}

impl Mesh for Caller {
    async fn call(&self, request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
        self.egress.call(request).await
    }

    fn method(&self, path: &str, provider: Option<&str>) -> Option<MethodDescriptor> {
        self.egress.method(path, provider)
    }

    fn routes(&self) -> Arc<Routes> {
        let epoch = self.egress.epoch();
        let mut known = self.routes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != epoch {
            *known = (epoch, Arc::new(Routes::of(self.egress.methods())));
        }
        Arc::clone(&known.1)
    }

    fn message_bytes_max(&self) -> usize {
        self.egress.message_bytes_max()
    }
}

impl System for Caller {
    async fn reader(&self, provider: Option<String>, server: String) -> Result<Reader, Status> {
        let callable = self.egress.callable(provider).await?;
        let (mesh, development) = self.egress.mesh();
        Ok(Reader {
            mesh: mesh.to_owned(),
            development,
            system: callable.system,
            agency: callable.agency,
            server,
            methods: callable.methods,
            contracts: callable.contracts,
        })
    }

    fn health(&self) -> HealthReport {
        self.egress.health()
    }
}
