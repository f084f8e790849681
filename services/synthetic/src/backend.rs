//! A synthetic backend behind a listener, as an agency would run its own.

use std::{fmt, io, net::SocketAddr, pin::pin, time::Duration};

use lienthong_proto::descriptors::{self, DescriptorSetError};
use lienthong_transport::{Connections, Drain, Limits, ListenError, Server, SharedMaterial, bind};
use tokio::net::TcpListener;
use tonic_health::ServingStatus;
use tower::util::BoxCloneSyncService;

use crate::service::Synthetic;

/// How long calls in flight may go on after shutdown began, milliseconds.
pub const DRAIN_MS: u64 = 5_000;

/// A synthetic backend that listens but does not serve yet.
pub struct SyntheticBackend {
    agency: String,
    listener: TcpListener,
    material: SharedMaterial,
    services: Vec<String>,
    synthetic: Synthetic,
}

/// Why a synthetic backend does not start.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// The contract.
    #[error("the contract of a synthetic backend cannot be used: {0}")]
    Contract(#[from] DescriptorSetError),
    /// The contract has nothing to serve.
    #[error("the contract declares no service; give the descriptor set of one, with its imports")]
    NoService,
    /// The listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl SyntheticBackend {
    /// Reads the contract, a serialized `FileDescriptorSet` with its imports, and opens the socket. Only nodes of
    /// the agency are answered. Must be called on a tokio runtime.
    pub fn open(
        agency: &str,
        contract: &[u8],
        listen: SocketAddr,
        material: SharedMaterial,
    ) -> Result<Self, SyntheticError> {
        let contract = descriptors::pool(contract)?;
        let services: Vec<_> = contract.services().map(|service| service.full_name().to_owned()).collect();
        if services.is_empty() {
            return Err(SyntheticError::NoService);
        }
        let synthetic = Synthetic::new(&contract, agency);
        Ok(Self { agency: agency.to_owned(), listener: bind(listen, false)?, material, services, synthetic })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends, then finishes what is in flight (at most [`DRAIN_MS`]).
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (health, health_service) = tonic_health::server::health_reporter();
        for service in &self.services {
            health.set_service_status(service, ServingStatus::Serving).await;
        }
        let service = self.synthetic.with_health(BoxCloneSyncService::new(health_service));
        let drain = Drain::new();
        tracing::info!(agency = self.agency, services = ?self.services, "synthetic backend serves");
        let (limits, connections) = (Limits::default(), Connections::new());
        let server = Server::mesh(self.listener, self.material, limits, connections, drain.clone());
        let serving = server.serve_tower(service);
        let stopping = async {
            shutdown.await;
            for service in &self.services {
                health.set_service_status(service, ServingStatus::NotServing).await;
            }
            drain.start(Duration::from_millis(DRAIN_MS));
        };
        let (mut serving, mut stopping) = (pin!(serving), pin!(stopping));
        tokio::select! {
            _ = &mut serving => {}
            () = &mut stopping => drop(serving.await),
        }
    }
}

impl fmt::Debug for SyntheticBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyntheticBackend").field("agency", &self.agency).finish_non_exhaustive()
    }
}
