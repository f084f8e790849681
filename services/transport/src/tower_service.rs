//! The same listeners for tower services: tonic's `Routes`, axum's `Router`.
//!
//! The proven [`Peer`] of the connection is found in each request's extensions. A call whose caller waits no more
//! (`grpc-timeout`) is dropped, whatever it does: its stream is reset.

use std::error::Error;
use std::pin::Pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::deadline;
use crate::drain::DrainOutcome;
use crate::leash;
use crate::limits::DEADLINE_GRACE_MS;
use crate::peer::Peer;
use crate::serve::Server;

impl Server {
    /// Serves a tower service; otherwise as [`Server::serve`].
    pub async fn serve_tower<T, B>(self, service: T) -> DrainOutcome
    where
        T: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        T::Future: Send + 'static,
        T::Error: Into<Box<dyn Error + Send + Sync>> + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.serve(move |peer: &Peer| ForPeer { service: service.clone(), peer: peer.clone() }).await
    }
}

/// One connection's view of the tower service.
struct ForPeer<T> {
    service: T,
    peer: Peer,
}

impl<T, B> hyper::service::Service<Request<Incoming>> for ForPeer<T>
where
    T: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    T::Future: Send,
{
    type Response = Response<B>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, T::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        let patience = deadline::stated(request.headers());
        let service = self.service.clone();
        Box::pin(async move {
            if let Some(patience) = patience {
                leash::end_with(sleep(patience + Duration::from_millis(DEADLINE_GRACE_MS)));
            }
            service.oneshot(request).await
        })
    }
}
