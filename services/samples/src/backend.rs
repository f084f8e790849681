//! One sample agency's server: what it listens on, how it starts and stops.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use http::{Request, Response};
use lienthong_proto::descriptors;
use lienthong_proto::vn::dancu::v1::citizen_service_server::{CitizenServiceServer, SERVICE_NAME as DANCU};
use lienthong_proto::vn::danhmuc::v1::administrative_unit_service_server::{
    AdministrativeUnitServiceServer, SERVICE_NAME as DANHMUC,
};
use lienthong_proto::vn::dkdn::v1::enterprise_service_server::{
    EnterpriseServiceServer, SERVICE_NAME as DKDN,
};
use lienthong_proto::vn::thunghiem::v1::trial_service_server::SERVICE_NAME as THUNGHIEM;
use lienthong_telemetry::{RpcSpan, Traced};
use lienthong_transport::{
    Connections, Drain, Limits, ListenError, LocalListener, Server, SharedMaterial, bind, bind_loopback,
    bind_unix,
};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;
use tonic_health::ServingStatus;
use tower::{Service, ServiceExt as _, service_fn};

use crate::caller::{self, OwnNode};
use crate::dancu::{self, CitizenBackend};
use crate::danhmuc::{self, AdministrativeUnitBackend, CodeList, DvhcError};
use crate::dkdn::{self, EnterpriseBackend};
use crate::thunghiem::{self, TrialBackend};

/// Largest question that a register reads, in bytes; the contracts ask in well under one kilobyte.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// How long calls in flight may go on after shutdown began.
pub const DRAIN_MS: u64 = 5_000;

/// Mode of a Unix socket: the agency's node runs as another user of the same group.
pub const UNIX_SOCKET_MODE: u32 = 0o660;

/// Which agency's backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// The population register of G01.
    Dancu,
    /// The business register of G12.
    Dkdn,
    /// The code list of administrative units of G09.
    Danhmuc,
    /// The connection trial, in the demonstration at G09.
    Thunghiem,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dancu, Self::Dkdn, Self::Danhmuc, Self::Thunghiem];

    /// The short name, as the command line takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dancu => "dancu",
            Self::Dkdn => "dkdn",
            Self::Danhmuc => "danhmuc",
            Self::Thunghiem => "thunghiem",
        }
    }

    /// Code of the agency that runs it.
    pub const fn agency_code(self) -> &'static str {
        match self {
            Self::Dancu => "G01",
            Self::Dkdn => "G12",
            Self::Danhmuc | Self::Thunghiem => "G09",
        }
    }

    /// Full name of the gRPC service.
    pub const fn service_name(self) -> &'static str {
        match self {
            Self::Dancu => DANCU,
            Self::Dkdn => DKDN,
            Self::Danhmuc => DANHMUC,
            Self::Thunghiem => THUNGHIEM,
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| BackendError::KindUnknown(name.chars().take(40).collect()))
    }
}

/// The contract of `kind` with its imports, a serialized `FileDescriptorSet`.
pub fn descriptor_set(kind: BackendKind) -> &'static [u8] {
    match kind {
        BackendKind::Dancu => descriptors::DANCU,
        BackendKind::Dkdn => descriptors::DKDN,
        BackendKind::Danhmuc => descriptors::DANHMUC,
        BackendKind::Thunghiem => descriptors::THUNGHIEM,
    }
}

/// Where a backend listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; without TLS only a loopback address is accepted.
    Tcp(SocketAddr),
    /// A Unix socket, made with mode [`UNIX_SOCKET_MODE`].
    Unix(PathBuf),
}

/// What a backend needs to start.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// Where it listens.
    pub listen: Listen,
    /// Certificate, key and judge for TCP; `None` on a Unix socket, or on loopback for development.
    pub tls: Option<SharedMaterial>,
    /// The real list of administrative units; `None`: see [`danhmuc::find`]. Only `danhmuc` reads it.
    pub dvhc_csv: Option<PathBuf>,
}

/// Starts the backend and serves until `shutdown` ends, then finishes what is in flight (at most [`DRAIN_MS`]).
pub async fn run(
    kind: BackendKind,
    config: BackendConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), BackendError> {
    Backend::open(kind, config)?.serve(shutdown).await;
    Ok(())
}

/// A backend that listens but does not serve yet: whoever needs to know its address asks here.
#[derive(Debug)]
pub struct Backend {
    kind: BackendKind,
    door: Door,
    routes: Routes,
}

impl Backend {
    /// Reads the rows and opens the socket. Must be called on a tokio runtime.
    pub fn open(kind: BackendKind, config: BackendConfig) -> Result<Self, BackendError> {
        let routes = routes(kind, config.dvhc_csv.as_deref())?;
        let door = Door::open(config.listen, config.tls)?;
        Ok(Self { kind, door, routes })
    }

    /// The TCP address it listens on, with the port that the system chose; `None` on a Unix socket.
    pub fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        match &self.door {
            Door::Tls(listener, _) => listener.local_addr().map(Some),
            Door::Local(LocalListener::Loopback(listener)) => listener.local_addr().map(Some),
            Door::Local(LocalListener::Unix(_)) => Ok(None),
        }
    }

    /// Serves until `shutdown` ends, then finishes what is in flight (at most [`DRAIN_MS`]).
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_service_status(self.kind.service_name(), ServingStatus::Serving).await;
        let service = traced(self.routes.add_service(health_service).map_request(caller::logged), self.kind);
        let (limits, connections, drain) = (Limits::default(), Connections::new(), Drain::new());
        tracing::info!(backend = self.kind.name(), agency = self.kind.agency_code(), "backend serves");
        let server = match self.door {
            Door::Tls(listener, material) => {
                Server::mesh(listener, material, limits, connections, drain.clone())
            }
            Door::Local(listener) => Server::local(listener, limits, connections, drain.clone()),
        };
        let serving = server.serve_tower(service);
        let stopping = async {
            shutdown.await;
            // Whoever watches `grpc.health.v1` goes elsewhere before the door closes.
            health.set_service_status(self.kind.service_name(), ServingStatus::NotServing).await;
            drain.start(Duration::from_millis(DRAIN_MS));
        };
        let (mut serving, mut stopping) = (pin!(serving), pin!(stopping));
        let outcome = tokio::select! {
            outcome = &mut serving => outcome,
            () = &mut stopping => serving.await,
        };
        tracing::info!(
            backend = self.kind.name(),
            finished = outcome.finished,
            cut = outcome.cut,
            "backend stopped"
        );
    }
}

/// Why a backend does not start.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// No backend has this name.
    #[error("there is no sample backend {0:?}; choose dancu, dkdn, danhmuc or thunghiem")]
    KindUnknown(String),
    /// The socket cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// TLS was asked for on a Unix socket.
    #[error("unix socket {path} takes no TLS: leave out the certificate, or listen on a TCP address", path = .0.display())]
    TlsOverUnix(PathBuf),
    /// The list of administrative units is not usable.
    #[error(transparent)]
    AdministrativeUnits(#[from] DvhcError),
}

#[derive(Debug)]
enum Door {
    Tls(TcpListener, SharedMaterial),
    Local(LocalListener),
}

impl Door {
    fn open(listen: Listen, tls: Option<SharedMaterial>) -> Result<Self, BackendError> {
        match (listen, tls) {
            (Listen::Tcp(address), Some(material)) => Ok(Self::Tls(bind(address, false)?, material)),
            (Listen::Tcp(address), None) => {
                Ok(Self::Local(LocalListener::Loopback(bind_loopback(address, false)?)))
            }
            (Listen::Unix(path), None) => {
                Ok(Self::Local(LocalListener::Unix(bind_unix(&path, UNIX_SOCKET_MODE)?)))
            }
            (Listen::Unix(path), Some(_)) => Err(BackendError::TlsOverUnix(path)),
        }
    }
}

/// Answers each call inside a span of the trace that it comes with, where traces are exported.
fn traced<S, B>(
    service: S,
    kind: BackendKind,
) -> impl Service<Request<B>, Response = Response<Traced<Body>>, Error = S::Error, Future: Send> + Clone
where
    S: Service<Request<B>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    let service_name = kind.service_name();
    service_fn(move |mut request: Request<B>| {
        let service = service.clone();
        async move {
            let known =
                |path: &str| path.strip_prefix('/').is_some_and(|path| path.starts_with(service_name));
            let span = RpcSpan::arrived(&mut request, known);
            let answer = service.oneshot(request).await?;
            Ok(Traced::answer(answer, span, |_| None))
        }
    })
}

fn routes(kind: BackendKind, dvhc_csv: Option<&Path>) -> Result<Routes, BackendError> {
    let own_node = OwnNode { agency_code: kind.agency_code() };
    Ok(match kind {
        BackendKind::Dancu => {
            let backend = CitizenBackend::new(dancu::Register::new(dancu::rows::residents()));
            let server = CitizenServiceServer::new(backend).max_decoding_message_size(REQUEST_BYTES_MAX);
            Routes::new(InterceptedService::new(server, own_node))
        }
        BackendKind::Dkdn => {
            let backend = EnterpriseBackend::new(dkdn::Register::new(dkdn::rows::enterprises()));
            let server = EnterpriseServiceServer::new(backend).max_decoding_message_size(REQUEST_BYTES_MAX);
            Routes::new(InterceptedService::new(server, own_node))
        }
        BackendKind::Danhmuc => {
            let backend = AdministrativeUnitBackend::new(code_list(dvhc_csv)?);
            let server =
                AdministrativeUnitServiceServer::new(backend).max_decoding_message_size(REQUEST_BYTES_MAX);
            Routes::new(InterceptedService::new(server, own_node))
        }
        BackendKind::Thunghiem => thunghiem::routes(TrialBackend::default(), own_node),
    })
}

fn code_list(dvhc_csv: Option<&Path>) -> Result<CodeList, DvhcError> {
    let Some(path) = danhmuc::find(dvhc_csv) else {
        tracing::warn!(
            variable = danhmuc::file::PATH_VARIABLE,
            "no list of administrative units found; serving a small sample"
        );
        return Ok(CodeList::new(danhmuc::sample::units()));
    };
    let code_list = CodeList::new(danhmuc::read(&path)?);
    tracing::info!(units = code_list.len(), file = %path.display(), "administrative units read");
    Ok(code_list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.to_string().parse::<BackendKind>().unwrap(), kind);
            assert!(
                descriptors::pool(descriptor_set(kind))
                    .unwrap()
                    .get_service_by_name(kind.service_name())
                    .is_some()
            );
        }
        let unknown = "thue".parse::<BackendKind>().unwrap_err();
        assert!(unknown.to_string().contains("dancu, dkdn, danhmuc or thunghiem"), "{unknown}");
    }
}
