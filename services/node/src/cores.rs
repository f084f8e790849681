//! The traffic threads: one current-thread runtime a core, each with its own listeners and its own
//! connections, so that a call never changes thread. Control and admin run elsewhere, and an audit search
//! never delays an exchange.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use hyper::service::service_fn;
use lienthong_transport::{
    Connections, Drain, Limits, ListenError, LocalListener, Peer, SharedMaterial, bind, bind_unix, serve,
    serve_local,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
};

use crate::{
    config::{BackendEndpointConfig, BrokerEndpointConfig, LocalListenerConfig},
    core::Core,
    egress, ingress,
    node::Node,
    sandbox,
    upstream::Upstreams,
};

/// What the traffic threads are made from.
pub struct CoresConfig {
    /// How many.
    pub threads: usize,
    /// Where other nodes call.
    pub mesh_listener: SocketAddr,
    /// Where the agency's own systems call.
    pub local_listener: LocalListenerConfig,
    /// The broker, for the rare question of a caller that only it can answer.
    pub broker: BrokerEndpointConfig,
    /// The agency's backends: gRPC services and where they are.
    pub backends: Vec<(Vec<String>, BackendEndpointConfig)>,
}

/// Why the traffic threads could not start.
#[derive(Debug, thiserror::Error)]
pub enum CoresError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system.
    #[error("a traffic thread could not start: {0}")]
    Thread(#[from] io::Error),
    /// A thread ended before it served.
    #[error("a traffic thread ended before it served; the log says why")]
    Ended,
}

/// Running traffic threads.
pub struct Cores {
    threads: Vec<thread::JoinHandle<()>>,
    /// Where other nodes call, with the port that the system chose if none was given.
    pub mesh_address: SocketAddr,
    /// Where own systems call; `None` on a Unix socket.
    pub local_address: Option<SocketAddr>,
}

/// The sockets of one thread, before its runtime takes them.
struct Sockets {
    mesh: std::net::TcpListener,
    local: LocalSocket,
}

enum LocalSocket {
    Tls(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Cores {
    /// Starts the threads; returns once all listen. Must be called inside a tokio runtime.
    pub async fn start(
        config: CoresConfig,
        node: &Arc<Node>,
        material: &SharedMaterial,
        connections: &Connections,
        drain: &Drain,
    ) -> Result<Self, CoresError> {
        let (sockets, mesh_address, local_address) = open_sockets(&config)?;
        let mut threads = Vec::with_capacity(sockets.len());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let upstreams = Upstreams::new(material, connections, &config.broker, &config.backends);
            let scratch = Mutex::default();
            let core =
                Arc::new(Core { node: Arc::clone(node), journal: node.journal.handle(), upstreams, scratch });
            let (material, connections, drain) = (material.clone(), connections.clone(), drain.clone());
            let (ready, listening) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("traffic-{number}")).spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => {
                        runtime.block_on(run(core, sockets, material, connections, drain, ready));
                    }
                    Err(error) => tracing::error!(%error, "a traffic thread has no runtime"),
                }
            })?;
            listening.await.map_err(|_| CoresError::Ended)?;
            threads.push(thread);
        }
        Ok(Self { threads, mesh_address, local_address })
    }

    /// Waits until the threads have drained.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a traffic thread panicked");
            }
        }
    }
}

async fn run(
    core: Arc<Core>,
    sockets: Sockets,
    material: SharedMaterial,
    connections: Connections,
    drain: Drain,
    ready: oneshot::Sender<()>,
) {
    let mesh = match TcpListener::from_std(sockets.mesh) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the mesh listener cannot be used"),
    };
    let for_peers = Arc::clone(&core);
    let from_peers = move |peer: &Peer| {
        let (core, peer) = (Arc::clone(&for_peers), peer.clone());
        service_fn(move |request| {
            let (core, peer) = (Arc::clone(&core), peer.clone());
            // Boxed once: the state of a call is kilobytes, and hyper moves what it is given.
            Box::pin(async move { Ok::<_, Infallible>(ingress::call(core, peer, request).await) })
        })
    };
    let from_own = move |peer: &Peer| {
        let (core, peer) = (Arc::clone(&core), peer.clone());
        service_fn(move |request| {
            let (core, peer) = (Arc::clone(&core), peer.clone());
            Box::pin(async move {
                let node = Arc::clone(&core.node);
                Ok::<_, Infallible>(sandbox::marked(&node, egress::call(core, peer, request).await))
            })
        })
    };
    let limits = Limits::default();
    let peers = serve(mesh, material.clone(), limits.clone(), connections.clone(), drain.clone(), from_peers);
    match sockets.local {
        LocalSocket::Tls(socket) => match TcpListener::from_std(socket) {
            Ok(listener) => {
                // A dropped receiver means that nobody waits any more.
                let _ = ready.send(());
                tokio::join!(peers, serve(listener, material, limits, connections, drain, from_own));
            }
            Err(error) => tracing::error!(%error, "the local listener cannot be used"),
        },
        LocalSocket::Unix(socket) => match UnixListener::from_std(socket) {
            Ok(listener) => {
                let _ = ready.send(());
                tokio::join!(
                    peers,
                    serve_local(LocalListener::Unix(listener), limits, connections, drain, from_own)
                );
            }
            Err(error) => tracing::error!(%error, "the local socket cannot be used"),
        },
    }
}

/// Each thread gets a listener of its own on the same port (`SO_REUSEPORT`), or its own handle to the one
/// Unix socket.
fn open_sockets(config: &CoresConfig) -> Result<(Vec<Sockets>, SocketAddr, Option<SocketAddr>), CoresError> {
    let first_mesh = bind(config.mesh_listener, true)?;
    let mesh_address = first_mesh.local_addr()?;
    let (first_local, local_address) = match &config.local_listener {
        LocalListenerConfig::Tls(address) => {
            let listener = bind(*address, true)?;
            let address = listener.local_addr()?;
            (LocalSocket::Tls(listener.into_std()?), Some(address))
        }
        LocalListenerConfig::Unix(unix) => {
            (LocalSocket::Unix(bind_unix(&unix.path, SOCKET_MODE)?.into_std()?), None)
        }
    };
    let mut sockets = vec![Sockets { mesh: first_mesh.into_std()?, local: first_local }];
    for _ in 1..config.threads.max(1) {
        let local = match (&sockets[0].local, local_address) {
            (LocalSocket::Tls(_), Some(address)) => LocalSocket::Tls(bind(address, true)?.into_std()?),
            (LocalSocket::Tls(socket), None) => LocalSocket::Tls(socket.try_clone()?),
            (LocalSocket::Unix(socket), _) => LocalSocket::Unix(socket.try_clone()?),
        };
        sockets.push(Sockets { mesh: bind(mesh_address, true)?.into_std()?, local });
    }
    Ok((sockets, mesh_address, local_address))
}

/// Mode of the local Unix socket: the node's user and group.
const SOCKET_MODE: u32 = 0o660;
