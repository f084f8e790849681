//! The traffic threads: one current-thread runtime a core, each with its own connections, so that a call never
//! changes thread; they accept in turn. Control and admin run elsewhere, and an audit search
//! never delays an exchange.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use http::Request;
use hyper::{body::Incoming, service::service_fn};
use lienthong_proto::lienthong::audit::v1::Side;
use lienthong_telemetry::Health;
use lienthong_transport::{
    Connections, Drain, Limits, ListenError, LocalListener, Peer, Server, SharedMaterial, Turn, Turns, bind,
    bind_unix,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
};

use crate::{
    call::caller_body::CallerBody,
    config::{BackendEndpointConfig, BrokerEndpointConfig, LocalListenerConfig},
    core::Core,
    egress,
    front::{self, Front},
    ingress,
    looks::Looks,
    node::Node,
    sandbox, trace,
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
    /// Where they call in plain HTTP, and what answers them.
    pub http: Option<(LocalListenerConfig, Arc<dyn Front>)>,
    /// How the node feels.
    pub health: Health,
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
    /// Where they call in plain HTTP; `None` on a Unix socket, or nowhere.
    pub http_address: Option<SocketAddr>,
}

/// The sockets of one thread, before its runtime takes them.
struct Sockets {
    mesh: std::net::TcpListener,
    local: LocalSocket,
    http: Option<LocalSocket>,
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
        let Opened { threads: sockets, mesh_address, local_address, http_address } = open_sockets(&config)?;
        let (at_mesh, at_local, at_http) = (Turns::default(), Turns::default(), Turns::default());
        let front = config.http.map(|(_, front)| (front, config.health));
        let mut threads = Vec::with_capacity(sockets.len());
        for (number, sockets) in sockets.into_iter().enumerate() {
            let upstreams = Upstreams::new(material, connections, &config.broker, &config.backends);
            let scratch = Mutex::default();
            let (node, journal) = (Arc::clone(node), node.journal.handle());
            let core = Arc::new(Core { node, journal, upstreams, scratch, looks: Looks::default() });
            let doors = Doors {
                material: material.clone(),
                connections: connections.clone(),
                drain: drain.clone(),
                front: front.clone(),
            };
            let turns = [&at_mesh, &at_local, &at_http].map(Turns::join);
            let (ready, listening) = oneshot::channel();
            let journal = core.journal.clone();
            let thread = thread::Builder::new().name(format!("traffic-{number}")).spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.on_thread_park(move || journal.rest()).enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(run(core, sockets, turns, doors, ready)),
                    Err(error) => tracing::error!(%error, "a traffic thread has no runtime"),
                }
            })?;
            listening.await.map_err(|_| CoresError::Ended)?;
            threads.push(thread);
        }
        Ok(Self { threads, mesh_address, local_address, http_address })
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

/// What the doors of one thread need.
#[derive(Clone)]
struct Doors {
    material: SharedMaterial,
    connections: Connections,
    drain: Drain,
    front: Option<(Arc<dyn Front>, Health)>,
}

async fn run(
    core: Arc<Core>,
    sockets: Sockets,
    [at_mesh, at_local, at_http]: [Turn; 3],
    doors: Doors,
    ready: oneshot::Sender<()>,
) {
    let mesh = TcpListener::from_std(sockets.mesh);
    let local = sockets.local.listener();
    let http = sockets.http.map(LocalSocket::listener).transpose();
    let (mesh, local, http) = match (mesh, local, http) {
        (Ok(mesh), Ok(local), Ok(http)) => (mesh, local, http),
        (mesh, local, http) => {
            for error in [mesh.err(), local.err(), http.err()].into_iter().flatten() {
                tracing::error!(%error, "a listener cannot be used");
            }
            return;
        }
    };
    // A dropped receiver means that nobody waits any more.
    let _ = ready.send(());
    let in_plain_http = async {
        if let Some((listener, front)) = http.zip(doors.front.clone()) {
            serve_http(Arc::clone(&core), listener, at_http, front, doors.clone()).await;
        }
    };
    tokio::join!(
        serve_peers(Arc::clone(&core), mesh, at_mesh, doors.clone()),
        serve_own(Arc::clone(&core), local, at_local, doors.clone()),
        in_plain_http
    );
}

/// Other agencies' nodes.
async fn serve_peers(core: Arc<Core>, listener: TcpListener, turn: Turn, doors: Doors) {
    let from_peers = move |peer: &Peer| {
        let (core, peer) = (Arc::clone(&core), peer.clone());
        service_fn(move |request: Request<Incoming>| {
            let (core, peer) = (Arc::clone(&core), peer.clone());
            // Boxed once: the state of a call is kilobytes, and hyper moves what it is given.
            Box::pin(async move {
                let mut request = request.map(CallerBody::Wire);
                let span = trace::arrived(&core.node, Side::Provider, &mut request);
                Ok::<_, Infallible>(trace::answered(span, ingress::call(core, peer, request).await))
            })
        })
    };
    let Doors { material, connections, drain, .. } = doors;
    let server = Server::mesh(listener, material, Limits::default(), connections, drain);
    server.in_turn(turn).serve(from_peers).await;
}

/// The agency's own systems, in gRPC.
async fn serve_own(core: Arc<Core>, listener: LocalSocketListener, turn: Turn, doors: Doors) {
    let from_own = move |peer: &Peer| {
        let (core, peer) = (Arc::clone(&core), peer.clone());
        service_fn(move |request: Request<Incoming>| {
            let (core, peer) = (Arc::clone(&core), peer.clone());
            Box::pin(async move {
                let node = Arc::clone(&core.node);
                let mut request = request.map(CallerBody::Wire);
                let span = trace::arrived(&node, Side::Consumer, &mut request);
                let answer = egress::call(core, peer, request).await;
                Ok::<_, Infallible>(trace::answered(span, sandbox::marked(&node, answer)))
            })
        })
    };
    at_own_door(listener, doors).in_turn(turn).serve(from_own).await;
}

/// The agency's own systems, in plain HTTP.
async fn serve_http(
    core: Arc<Core>,
    listener: LocalSocketListener,
    turn: Turn,
    front: (Arc<dyn Front>, Health),
    doors: Doors,
) {
    let from_own = move |peer: &Peer| {
        let (front, core, peer) = (front.clone(), Arc::clone(&core), peer.clone());
        service_fn(move |request: Request<Incoming>| {
            Box::pin(front::serve(front.clone(), Arc::clone(&core), peer.clone(), request))
        })
    };
    at_own_door(listener, doors).any_http().in_turn(turn).serve(from_own).await;
}

fn at_own_door(listener: LocalSocketListener, doors: Doors) -> Server {
    let Doors { material, connections, drain, .. } = doors;
    match listener {
        LocalSocketListener::Tls(listener) => {
            Server::mesh(listener, material, Limits::default(), connections, drain)
        }
        LocalSocketListener::Unix(listener) => {
            Server::local(LocalListener::Unix(listener), Limits::default(), connections, drain)
        }
    }
}

/// What the system gave, for all threads.
struct Opened {
    threads: Vec<Sockets>,
    mesh_address: SocketAddr,
    local_address: Option<SocketAddr>,
    http_address: Option<SocketAddr>,
}

/// Each thread gets its own handle to each socket; they accept in turn ([`Turns`]).
fn open_sockets(config: &CoresConfig) -> Result<Opened, CoresError> {
    let mesh = bind(config.mesh_listener, false)?;
    let mesh_address = mesh.local_addr()?;
    let (local, local_address) = LocalSocket::open(&config.local_listener)?;
    let http = config.http.as_ref().map(|(listener, _)| LocalSocket::open(listener)).transpose()?;
    let (http, http_address) = http.map_or((None, None), |(socket, address)| (Some(socket), address));
    let mut threads = vec![Sockets { mesh: mesh.into_std()?, local, http }];
    for _ in 1..config.threads.max(1) {
        let http = threads[0].http.as_ref().map(LocalSocket::another).transpose()?;
        let local = threads[0].local.another()?;
        threads.push(Sockets { mesh: threads[0].mesh.try_clone()?, local, http });
    }
    Ok(Opened { threads, mesh_address, local_address, http_address })
}

/// A local socket that its thread's runtime has taken.
enum LocalSocketListener {
    Tls(TcpListener),
    Unix(UnixListener),
}

impl LocalSocket {
    /// The first of them, and its address where it has one.
    fn open(config: &LocalListenerConfig) -> Result<(Self, Option<SocketAddr>), CoresError> {
        match config {
            LocalListenerConfig::Tls(address) => {
                let listener = bind(*address, false)?;
                let address = listener.local_addr()?;
                Ok((Self::Tls(listener.into_std()?), Some(address)))
            }
            LocalListenerConfig::Unix(unix) => {
                Ok((Self::Unix(bind_unix(&unix.path, SOCKET_MODE)?.into_std()?), None))
            }
        }
    }

    /// The same for another thread.
    fn another(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tls(socket) => Self::Tls(socket.try_clone()?),
            Self::Unix(socket) => Self::Unix(socket.try_clone()?),
        })
    }

    fn listener(self) -> io::Result<LocalSocketListener> {
        Ok(match self {
            Self::Tls(socket) => LocalSocketListener::Tls(TcpListener::from_std(socket)?),
            Self::Unix(socket) => LocalSocketListener::Unix(UnixListener::from_std(socket)?),
        })
    }
}

/// Mode of the local Unix socket: the node's user and group.
const SOCKET_MODE: u32 = 0o660;
