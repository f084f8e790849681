//! The accept loop, and one connection's life: arrive, prove, register, serve, leave.
//!
//! On the per-request path there is nothing of ours: hyper calls the service that `make_service` made for
//! this connection. All governing (age, revocation, drain) happens between requests, through the connection's
//! switch.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use rustls_pki_types::UnixTime;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use crate::acceptor::{Door, Entered, HandshakeRefusal, MutualTls, Source};
use crate::connections::{CapReached, Connections, DoorId, Registration};
use crate::control::{Control, Phase};
use crate::conversation::{self, AnyHttp, Conversation};
use crate::drain::{Drain, DrainOutcome};
use crate::handshakes::{RefusalReason, SourcePrefix};
use crate::leash::OnLeash;
use crate::limits::Limits;
use crate::listener::LocalListener;
use crate::material::{SharedMaterial, Tongue};
use crate::peer::{Direction, Peer};
use crate::preface::Listening;
use crate::turns::Turn;
use crate::waiting_room::{Seat, WaitingRoom};

/// How often a listener looks for old connections and due reports.
pub const HOUSEKEEPING_INTERVAL_MS: u64 = 1_000;

/// Pause after the system refused to accept (no file descriptors left, for example).
pub const ACCEPT_PAUSE_MS: u64 = 50;

/// How long one round of cutting waits for tasks to end.
const CUT_ROUND_MS: u64 = 50;

/// Any error a service or body may end with.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// One listener that is about to serve: who may come in, what is spoken, and by what bounds.
pub struct Server {
    entrance: Entrance,
    tongue: Tongue,
    limits: Limits,
    connections: Connections,
    drain: Drain,
    turn: Option<Turn>,
}

enum Entrance {
    Mesh(TcpListener, SharedMaterial),
    Local(LocalListener),
}

impl Server {
    /// HTTP/2 over mutual TLS 1.3.
    pub fn mesh(
        listener: TcpListener,
        material: SharedMaterial,
        limits: Limits,
        connections: Connections,
        drain: Drain,
    ) -> Self {
        let entrance = Entrance::Mesh(listener, material);
        Self { entrance, tongue: Tongue::Http2, limits, connections, drain, turn: None }
    }

    /// HTTP/2 without TLS on a hop that stays on this machine (design §6, *Local hops*).
    pub fn local(listener: LocalListener, limits: Limits, connections: Connections, drain: Drain) -> Self {
        let entrance = Entrance::Local(listener);
        Self { entrance, tongue: Tongue::Http2, limits, connections, drain, turn: None }
    }

    /// Accepts in turn with the other threads of the same socket.
    #[must_use]
    pub fn in_turn(self, turn: Turn) -> Self {
        Self { turn: Some(turn), ..self }
    }

    /// Speaks HTTP/1.1 too, to whoever likes that better.
    #[must_use]
    pub fn any_http(self) -> Self {
        Self { tongue: Tongue::AnyHttp, ..self }
    }

    /// Serves until the drain is over.
    ///
    /// `make_service` is called once for each connection whose peer was proved and registered. All tasks are
    /// spawned on the runtime that polls this future: on a current-thread runtime, everything stays on that
    /// thread.
    ///
    /// Nothing a peer sends ends this future. Refused handshakes are counted and reported by
    /// [`Connections::handshakes`].
    pub async fn serve<F, S, B>(self, make_service: F) -> DrainOutcome
    where
        F: Fn(&Peer) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Self { entrance, tongue, limits, connections, drain, turn } = self;
        let house = House::new(tongue, limits, connections, drain, make_service);
        match entrance {
            Entrance::Mesh(listener, material) => {
                attend(MutualTls { listener, material, tongue }, turn, house).await
            }
            Entrance::Local(LocalListener::Unix(listener)) => attend(listener, turn, house).await,
            Entrance::Local(LocalListener::Loopback(listener)) => attend(listener, turn, house).await,
        }
    }
}

/// What all connections of one listener share.
struct House<F> {
    limits: Limits,
    connections: Connections,
    drain: Drain,
    make_service: F,
    door: DoorId,
    room: Arc<WaitingRoom>,
    http: Http,
}

/// What is spoken behind the door.
enum Http {
    /// HTTP/2.
    Two(http2::Builder<OnLeash>),
    /// Either version.
    Any(auto::Builder<OnLeash>),
}

impl<F> House<F> {
    fn new(
        tongue: Tongue,
        limits: Limits,
        connections: Connections,
        drain: Drain,
        make_service: F,
    ) -> Arc<Self> {
        let http = match tongue {
            Tongue::Http2 => Http::Two(conversation::http2(&limits)),
            Tongue::AnyHttp => Http::Any(conversation::any_http(&limits)),
        };
        let door = connections.new_door();
        let room = WaitingRoom::new(limits.handshakes_pending_max);
        Arc::new(Self { limits, connections, drain, make_service, door, room, http })
    }
}

/// The accept loop; afterwards the drain.
async fn attend<D, F, S, B>(door: D, turn: Option<Turn>, house: Arc<House<F>>) -> DrainOutcome
where
    D: Door,
    F: Fn(&Peer) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let tasks = TaskTracker::new();
    let drain = house.drain.clone();
    let mut leaving = pin!(drain.started());
    let mut housekeeping = tokio::time::interval(Duration::from_millis(HOUSEKEEPING_INTERVAL_MS));
    housekeeping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = &mut leaving => break,
            _ = housekeeping.tick() => {
                house.connections.retire_old(house.door, &house.limits, Instant::now());
                house.connections.cut_expired(UnixTime::now());
                house.connections.handshakes().report_due();
            }
            arrival = next(&door, turn.as_ref()) => match arrival {
                Ok((arrival, source)) => {
                    // The seat is taken here, not in the task, so that the bound also holds for tasks not yet
                    // run.
                    let seat = house.room.enter(source.prefix);
                    let counted = turn.as_ref().map(Turn::accepted);
                    let admitted = admit::<D, F, S, B>(Arc::clone(&house), arrival, source, seat);
                    tasks.spawn(async move {
                        admitted.await;
                        drop(counted);
                    });
                }
                Err(error) => pause_after(&house, &error).await,
            },
        }
    }
    drop((door, turn));
    leave(&house.connections, house.door, &house.room, &drain, &tasks).await
}

/// The next arrival, once it is this thread's turn.
async fn next<D: Door>(door: &D, turn: Option<&Turn>) -> io::Result<(D::Arrival, Source)> {
    if let Some(turn) = turn {
        turn.comes().await;
    }
    door.accept().await
}

/// Ends the connections of one listener: politely, then by force at the deadline.
async fn leave(
    connections: &Connections,
    door: DoorId,
    room: &WaitingRoom,
    drain: &Drain,
    tasks: &TaskTracker,
) -> DrainOutcome {
    room.clear();
    let present = connections.count_of(door);
    connections.advance_all(door, Phase::Finishing);
    tasks.close();
    let cut = tokio::select! {
        () = tasks.wait() => 0,
        () = drain.overdue() => cut_all(connections, door, tasks).await,
    };
    connections.handshakes().report_rest();
    DrainOutcome { finished: present.saturating_sub(cut), cut }
}

/// Cuts until nobody is left; returns how many were cut. A handshake that ended in this very moment may
/// register one more connection after the first round.
async fn cut_all(connections: &Connections, door: DoorId, tasks: &TaskTracker) -> usize {
    let mut cut = 0;
    loop {
        cut += connections.advance_all(door, Phase::Cut);
        if tokio::time::timeout(Duration::from_millis(CUT_ROUND_MS), tasks.wait()).await.is_ok() {
            return cut;
        }
    }
}

/// One arrival: prove, register, serve.
async fn admit<D, F, S, B>(house: Arc<House<F>>, arrival: D::Arrival, source: Source, seat: Seat)
where
    D: Door,
    F: Fn(&Peer) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let admitted = match prove::<D>(arrival, &seat, house.limits.handshake_timeout, &house.drain).await {
        Ok(entered) => register(&house, entered, source),
        Err(refusal) => Err(refusal),
    };
    match admitted {
        Ok((io, registration)) => {
            drop(seat);
            house.connections.handshakes().accept();
            let service = (house.make_service)(registration.peer());
            let io = TokioIo::new(Listening::new(io, registration.control()));
            let patience = house.limits.preface_timeout;
            let ended = match &house.http {
                Http::Two(http) => govern(http.serve_connection(io, service), &registration, patience).await,
                Http::Any(http) => {
                    let connection = AnyHttp::new(http.serve_connection(io, service));
                    govern(connection, &registration, patience).await
                }
            };
            if let Err(silent) = ended {
                house.connections.handshakes().refuse(source.prefix, &silent.counted());
            }
        }
        Err(refusal) => {
            house.connections.handshakes().refuse(source.prefix, &refusal.counted());
            // Still in its seat: whoever lingers here is the first to make room.
            tokio::select! {
                () = refusal.hear_out() => {}
                () = seat.shown_out() => {}
            }
        }
    }
}

/// The handshake, bounded in time and by the room.
async fn prove<D: Door>(
    arrival: D::Arrival,
    seat: &Seat,
    patience: Duration,
    drain: &Drain,
) -> Result<Entered<D::Io>, HandshakeRefusal> {
    tokio::select! {
        biased;
        proved = tokio::time::timeout(patience, D::handshake(arrival)) => proved.unwrap_or_else(|_| {
            let detail = format!("not finished within {} ms", patience.as_millis());
            Err(HandshakeRefusal::new(RefusalReason::Timeout, &detail))
        }),
        () = seat.shown_out() => Err(if drain.is_started() {
            HandshakeRefusal::new(RefusalReason::Draining, "this listener is leaving")
        } else {
            HandshakeRefusal::new(RefusalReason::CrowdedOut, "too many unfinished (handshakes_pending_max)")
        }),
    }
}

/// Registers the peer, *then* confirms that it may still come in: a revocation in between finds it in the
/// register.
fn register<F, Io>(
    house: &House<F>,
    entered: Entered<Io>,
    source: Source,
) -> Result<(Io, Registration), HandshakeRefusal> {
    let Entered { io, proof, judged } = entered;
    let registration = house
        .connections
        .register(proof, source.address, Direction::Inbound, house.door, &house.limits)
        .map_err(|cap| HandshakeRefusal::new(reason_of(cap), &cap))?;
    if let Some(judged) = judged {
        judged.confirm(registration.peer()).map_err(|refusal| HandshakeRefusal::of_certificate(&refusal))?;
    }
    if house.drain.is_started() {
        registration.control().advance(Phase::Finishing);
    }
    Ok((io, registration))
}

/// Drives one connection until it ends by itself or its switch says so.
///
/// Cutting drops the connection, which resets all of its streams: hyper then drops the services' futures, so
/// that the cancellation reaches whatever they wait for. A peer that does not begin to speak within
/// `patience` loses its place.
async fn govern(
    connection: impl Conversation,
    registration: &Registration,
    patience: Duration,
) -> Result<(), HandshakeRefusal> {
    let control: &Control = registration.control();
    let mut connection = pin!(connection);
    let mut finishing = false;
    let mut silence = Some(Box::pin(tokio::time::sleep(patience)));
    let ending = poll_fn(|cx| {
        match control.watch(cx) {
            Phase::Open => {}
            Phase::Finishing if finishing => {}
            Phase::Finishing => {
                finishing = true;
                connection.as_mut().finish();
            }
            Phase::Cut => return Poll::Ready(Ok(())),
        }
        if let Poll::Ready(ended) = connection.as_mut().poll_serve(cx) {
            if let Err(error) = ended {
                tracing::debug!(peer = %registration.peer(), %error, "connection ended");
            }
            return Poll::Ready(Ok(()));
        }
        if control.heard_preface() {
            silence = None;
        }
        match &mut silence {
            Some(silence) => silence.as_mut().poll(cx).map(|()| {
                let detail = format!("nothing said within {} ms of the handshake", patience.as_millis());
                Err(HandshakeRefusal::new(RefusalReason::NoPreface, &detail))
            }),
            None => Poll::Pending,
        }
    });
    ending.await
}

async fn pause_after<F>(house: &House<F>, error: &io::Error) {
    // A peer that left before we accepted it is its own affair; anything else will not be better at once.
    let gone = matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset);
    let reason = if gone { RefusalReason::Closed } else { RefusalReason::Io };
    let refusal = HandshakeRefusal::new(reason, &format!("accept failed: {error}"));
    house.connections.handshakes().refuse(SourcePrefix::Elsewhere, &refusal.counted());
    if !gone {
        tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
    }
}

const fn reason_of(cap: CapReached) -> RefusalReason {
    match cap {
        CapReached::Connections { .. } => RefusalReason::ConnectionsMax,
        CapReached::ConnectionsPerPeer { .. } => RefusalReason::ConnectionsPerPeerMax,
    }
}
