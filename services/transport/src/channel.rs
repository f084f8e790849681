//! A lasting handle to one remote endpoint: connects when first needed, again when it must, sends a request again that the
//! other side certainly did not process, and says of each failed one whether it may have been.
//!
//! A channel belongs to the runtime on which it is first used: make one per traffic thread.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::sync::oneshot;

use crate::backoff::Backoff;
use crate::connections::Connections;
use crate::connector::{ConnectError, Endpoint, VerifyPeer, connect};
use crate::control::{Control, Phase};
use crate::limits::{BACKOFF_PATIENCE_MS, CONNECTION_STABLE_MS, Limits, REQUESTS_WAITING_MAX};
use crate::peer::Peer;
use crate::resend::{KeptBytes, Resend, ResendBody};
use crate::send_error::{FailedSend, SendError};

/// HTTP/2 connections that one channel holds at most.
pub const CHANNEL_CONNECTIONS_MAX: usize = 16;

/// A request that a connection gave back (it was just ending), or that the other side says it did not process, is sent again
/// this many times.
pub const RESENDS_MAX: usize = 3;

/// What a channel needs beside its endpoint.
#[derive(Clone)]
pub struct ChannelOptions {
    /// HTTP/2 connections to hold, 1 to [`CHANNEL_CONNECTIONS_MAX`]. One is fastest where the channel belongs
    /// to one traffic thread (measured); a control runtime with several threads gains from two.
    pub connections: usize,
    /// Requests that may wait for a response head; see [`REQUESTS_WAITING_MAX`].
    pub requests_waiting_max: usize,
    /// Bounds of each connection.
    pub limits: Limits,
    /// Where connections are registered, so that a revocation also closes outgoing ones.
    pub register: Connections,
    /// The caller's check of the proven peer.
    pub verify_peer: Option<VerifyPeer>,
}

impl ChannelOptions {
    /// One connection, default limits, no check beyond the certificate's.
    pub fn new(register: Connections) -> Self {
        Self {
            connections: 1,
            requests_waiting_max: REQUESTS_WAITING_MAX,
            limits: Limits::default(),
            register,
            verify_peer: None,
        }
    }
}

/// The handle. Clones share the connections; `B` is the body of the requests.
///
/// Traffic threads call [`Channel::send`]; tonic clients use it as a `tower::Service`.
pub struct Channel<B>(Arc<Inner<B>>);

impl<B> Channel<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A channel that connects when first used.
    pub fn new(endpoint: Endpoint, options: ChannelOptions) -> Self {
        let slots = (0..options.connections.clamp(1, CHANNEL_CONNECTIONS_MAX)).map(|_| Slot::new()).collect();
        let (scheme, authority) = endpoint.origin();
        Self(Arc::new(Inner {
            scheme,
            authority,
            waiting: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            kept: KeptBytes::default(),
            slots,
            target: Arc::new(Target { endpoint, options }),
        }))
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.target.endpoint
    }

    /// Who is on the other side, once connected.
    pub fn peer(&self) -> Option<Peer> {
        self.0.slots.iter().find_map(|slot| {
            slot.live.load().as_ref().filter(|live| live.is_usable()).map(|live| live.bond.peer.clone())
        })
    }

    /// Whether a request could be sent without connecting first.
    pub fn is_connected(&self) -> bool {
        self.peer().is_some()
    }

    /// Connects if it is not connected, and says with whom.
    pub async fn connected(&self) -> Result<Peer, SendError> {
        self.live().await?;
        // Between the two it can only have been lost again.
        self.peer().ok_or_else(|| self.0.target.lost())
    }

    /// Sends a request and waits for the head of the response. A request whose URI names no authority goes to
    /// the endpoint's. Dropping the future resets the stream.
    pub async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, SendError> {
        self.try_send(request).await.map_err(|failed| failed.error)
    }

    /// As [`Channel::send`], and gives the request back where it was certainly not sent.
    pub async fn try_send(&self, request: Request<B>) -> Result<Response<Incoming>, FailedSend<B>> {
        let Some(_place) = self.0.wait_in_line() else {
            let max = self.0.target.options.requests_waiting_max;
            return Err(FailedSend { error: SendError::TooManyWaiting { max }, request: Some(request) });
        };
        let resend = Resend::new(self.0.with_origin(request), &self.0.kept);
        let mut error = self.0.target.lost();
        for _ in 0..=RESENDS_MAX {
            let Some(request) = resend.request() else { break };
            let (answer, bond) = match self.live().await {
                Ok(live) => (live.sender.clone().try_send_request(request), Arc::clone(&live.bond)),
                Err(error) => return Err(FailedSend { error, request: resend.unsent() }),
            };
            // Whoever waits holds no sender: see `let_go`.
            let mut failed = match answer.await {
                Ok(response) => {
                    bond.note_answer();
                    return Ok(response);
                }
                Err(failed) => failed,
            };
            if failed.take_message().is_some() {
                bond.leave();
                continue;
            }
            error = SendError::of(failed.into_error(), self.endpoint());
            if !error.is_not_sent() {
                return Err(FailedSend { error, request: None });
            }
            if error.says_go_away() {
                bond.leave();
            }
        }
        Err(FailedSend { error, request: resend.unsent() })
    }

    /// A live connection, made if there is none.
    async fn live(&self) -> Result<Arc<Live<B>>, SendError> {
        for _ in 0..=RESENDS_MAX {
            if let Some(live) = self.0.next_live() {
                return Ok(live);
            }
            match self.0.begin(0) {
                Begun::Connecting(connecting) => {
                    connecting.await.map_err(|cause| self.not_connected(cause))?;
                }
                Begun::Pausing { pause, .. } if pause <= Duration::from_millis(BACKOFF_PATIENCE_MS) => {
                    tokio::time::sleep(pause).await;
                }
                Begun::Pausing { cause, .. } => return Err(self.not_connected(cause)),
            }
        }
        Err(self.0.target.lost())
    }

    fn not_connected(&self, cause: Arc<ConnectError>) -> SendError {
        let retry_in = self.0.slots[0].attempt().backoff.wait(Instant::now());
        SendError::NotConnected { endpoint: self.endpoint().to_string(), retry_in, cause }
    }
}

impl<B> tower::Service<Request<B>> for Channel<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Incoming>;
    type Error = SendError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, SendError>> + Send>>;

    /// Always ready: bounds and connections are looked at when the request is there, so that a clone never
    /// holds a place that it does not use.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let channel = self.clone();
        Box::pin(async move { channel.send(request).await })
    }
}

impl<B> Clone for Channel<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Channel<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.0.target.endpoint)
    }
}

struct Inner<B> {
    target: Arc<Target>,
    scheme: Scheme,
    authority: Authority,
    waiting: AtomicUsize,
    next: AtomicUsize,
    kept: KeptBytes,
    slots: Box<[Slot<B>]>,
}

/// Where a channel leads and by what rules: what a connection attempt needs to know.
struct Target {
    endpoint: Endpoint,
    options: ChannelOptions,
}

/// The place of one connection.
struct Slot<B> {
    live: ArcSwapOption<Live<B>>,
    attempt: Mutex<Attempt>,
}

struct Live<B> {
    sender: SendRequest<ResendBody<B>>,
    bond: Arc<Bond>,
}

/// What is known of a connection, also by those who wait for an answer on it.
struct Bond {
    peer: Peer,
    control: Arc<Control>,
    since: Instant,
    /// A request was answered on it.
    answered: AtomicBool,
    /// The other side has asked to use another one (GOAWAY).
    leaving: AtomicBool,
}

#[derive(Default)]
struct Attempt {
    backoff: Backoff,
    last: Option<Arc<ConnectError>>,
    /// The connection that was let go of, until somebody knocks again.
    ended: Option<Arc<Bond>>,
    under_way: Option<Connecting>,
}

/// An attempt that all who wait share; a task drives it, so that it goes on when they give up.
type Connecting = Shared<BoxFuture<'static, Result<(), Arc<ConnectError>>>>;

enum Begun {
    Connecting(Connecting),
    Pausing { pause: Duration, cause: Arc<ConnectError> },
}

impl<B> Inner<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// The next live connection, by turns. Begins to repair the first dead one it meets.
    fn next_live(self: &Arc<Self>) -> Option<Arc<Live<B>>> {
        let count = self.slots.len();
        let start = if count == 1 { 0 } else { self.next.fetch_add(1, Ordering::Relaxed) % count };
        for step in 0..count {
            let live = self.slots[(start + step) % count].live.load();
            if let Some(live) = live.as_ref().filter(|live| live.is_usable()) {
                if step > 0 {
                    self.begin(start);
                }
                return Some(Arc::clone(live));
            }
        }
        None
    }

    /// Joins or begins the attempt to connect slot `index`, unless it is too early to knock again.
    fn begin(self: &Arc<Self>, index: usize) -> Begun {
        let slot = &self.slots[index];
        let mut attempt = slot.attempt();
        if let Some(under_way) = &attempt.under_way {
            return Begun::Connecting(under_way.clone());
        }
        let now = Instant::now();
        let held = slot.live.swap(None).map(|live| Arc::clone(&live.bond));
        if let Some(ended) = held.or(attempt.ended.take()) {
            attempt.note_end(&ended, now);
        }
        let pause = attempt.backoff.wait(now);
        if let Some(cause) = attempt.last.clone().filter(|_| !pause.is_zero()) {
            return Begun::Pausing { pause, cause };
        }
        let connecting =
            attempt_to_connect(Arc::downgrade(self), Arc::clone(&self.target), index).boxed().shared();
        attempt.under_way = Some(connecting.clone());
        drop(attempt);
        tokio::spawn(connecting.clone().map(|_| ()));
        Begun::Connecting(connecting)
    }

    fn wait_in_line(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        (before < self.target.options.requests_waiting_max).then_some(place)
    }

    fn with_origin(&self, mut request: Request<B>) -> Request<B> {
        if request.uri().authority().is_none() {
            let path = request.uri().path_and_query().cloned();
            let mut parts = http::uri::Parts::default();
            parts.scheme = Some(self.scheme.clone());
            parts.authority = Some(self.authority.clone());
            parts.path_and_query = Some(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
            // Scheme, authority and path together always make a URI.
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        request
    }
}

async fn attempt_to_connect<B>(
    channel: Weak<Inner<B>>,
    target: Arc<Target>,
    index: usize,
) -> Result<(), Arc<ConnectError>>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Target { endpoint, options } = &*target;
    let connected = connect(endpoint, &options.limits, &options.register, options.verify_peer.as_ref())
        .await
        .map_err(Arc::new);
    let Some(channel) = channel.upgrade() else {
        return Ok(());
    };
    let slot = &channel.slots[index];
    let mut attempt = slot.attempt();
    attempt.under_way = None;
    match connected {
        Ok(connection) => {
            let bond = Arc::new(Bond {
                peer: connection.peer,
                control: connection.control,
                since: Instant::now(),
                answered: AtomicBool::new(false),
                leaving: AtomicBool::new(false),
            });
            attempt.ended = None;
            slot.live.store(Some(Arc::new(Live { sender: connection.sender, bond: Arc::clone(&bond) })));
            tokio::spawn(let_go(Arc::downgrade(&channel), index, bond, connection.ended));
            Ok(())
        }
        Err(error) => {
            tracing::debug!(%endpoint, %error, "cannot connect");
            attempt.backoff.failed(Instant::now(), chance());
            attempt.last = Some(Arc::clone(&error));
            Err(error)
        }
    }
}

/// Lets go of a connection that has ended.
///
/// A request that is handed over in the very moment of the end can be left in hyper's queue, behind what the ending task gave
/// back. It comes back, to be sent again, once nobody can write to that queue any more: whoever waited for an answer and held
/// a sender would wait for himself.
async fn let_go<B>(
    channel: Weak<Inner<B>>,
    index: usize,
    bond: Arc<Bond>,
    ended: oneshot::Receiver<Infallible>,
) {
    let Err(_) = ended.await;
    let Some(channel) = channel.upgrade() else { return };
    let slot = &channel.slots[index];
    let mut attempt = slot.attempt();
    if slot.live.load().as_ref().is_some_and(|live| Arc::ptr_eq(&live.bond, &bond)) {
        slot.live.store(None);
        attempt.ended = Some(bond);
    }
}

impl Attempt {
    /// Notes that a connection ended: a short life without an answer is a failed attempt, any other clears the record.
    fn note_end(&mut self, ended: &Bond, now: Instant) {
        let stable = Duration::from_millis(CONNECTION_STABLE_MS);
        if ended.answered.load(Ordering::Relaxed) || now.saturating_duration_since(ended.since) >= stable {
            self.backoff.succeeded();
        } else {
            let ended = ConnectError::Closed(std::io::ErrorKind::ConnectionReset.into());
            self.backoff.failed(now, chance());
            self.last = Some(Arc::new(ended));
        }
    }
}

impl<B> Slot<B> {
    fn new() -> Self {
        Self { live: ArcSwapOption::empty(), attempt: Mutex::default() }
    }

    fn attempt(&self) -> MutexGuard<'_, Attempt> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> Live<B> {
    fn is_usable(&self) -> bool {
        self.bond.control.phase() == Phase::Open
            && !self.bond.leaving.load(Ordering::Relaxed)
            && !self.sender.is_closed()
    }
}

impl Bond {
    /// Nothing more is sent on it; what is under way ends.
    fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Looks before it writes: the line in the cache is shared by all who send.
    fn note_answer(&self) {
        if !self.answered.load(Ordering::Relaxed) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }
}

impl Target {
    fn lost(&self) -> SendError {
        SendError::ConnectionLost { endpoint: self.endpoint.to_string() }
    }
}

/// A place in the line of waiting requests.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A random number: every `RandomState` has its own keys.
fn chance() -> u64 {
    RandomState::new().hash_one(0_u8)
}
