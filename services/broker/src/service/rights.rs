//! `RightsService`: each node watches its own bundle.
//!
//! The stream is made on demand, one message each time the connection can take one. A slow watcher therefore gets the
//! newest bundle and a fresh heartbeat when it is ready for them, never a queue of old ones, and costs no memory.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use lienthong_catalog::{delta, parts};
use lienthong_proto::lienthong::control::v1::rights_service_server::RightsService;
use lienthong_proto::lienthong::control::v1::watch_rights_request::{
    Event as Said, Hello, TrustAcknowledgement,
};
use lienthong_proto::lienthong::control::v1::watch_rights_response::Event;
use lienthong_proto::lienthong::control::v1::{
    BundleDelta, DecideRequest, DecideResponse, TrustFile, WatchRightsRequest, WatchRightsResponse,
};
use lienthong_transport::Drain;
use prost::Message;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tonic::{Request, Response, Status, Streaming};

use crate::access::Rpc;
use crate::board::{Board, Entry};
use crate::bundle::{SealedBundle, Sha256};
use crate::clock;
use crate::door::{Door, NodeGuest};
use crate::generation::Generation;
use crate::ledger::Ledger;
use crate::limits::{BOARD_TEXT_BYTES_MAX, HEARTBEAT_INTERVAL_MS, HELLO_TIMEOUT_MS, RESPONSE_BYTES_MAX};
use crate::online::Online;
use crate::places::{Place, Places};
use crate::receipts;
use crate::shelf::Shelf;
use crate::text;

/// The service.
#[derive(Clone, Debug)]
pub struct Rights {
    pub(crate) door: Door,
    pub(crate) generations: watch::Receiver<Arc<Generation>>,
    pub(crate) board: Board,
    pub(crate) ledger: Ledger,
    pub(crate) shelf: Shelf,
    pub(crate) drain: Drain,
    pub(crate) places: Places,
    pub(crate) online: Online,
}

#[tonic::async_trait]
impl RightsService for Rights {
    type WatchRightsStream = BoxStream<'static, Result<WatchRightsResponse, Status>>;

    async fn watch_rights(
        &self,
        request: Request<Streaming<WatchRightsRequest>>,
    ) -> Result<Response<Self::WatchRightsStream>, Status> {
        let node = self.door.admit_node(Rpc::WatchRights, &request)?;
        let place = self.places.take(&node.name)?;
        let watch = Opening { service: self.clone(), node, said: request.into_inner(), place };
        Ok(Response::new(stream::unfold(State::Opening(Box::new(watch)), step).boxed()))
    }

    async fn decide(&self, request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        let node = self.door.admit_node(Rpc::Decide, &request)?;
        let bundle = newest(&node.generation, &node.name)?;
        self.online.decide(&bundle, &request.into_inner()).await.map(Response::new)
    }
}

/// How far a stream has come.
enum State {
    Opening(Box<Opening>),
    Watching(Box<Watch>),
    Over,
}

/// The next message of the stream; an error is the last one.
async fn step(state: State) -> Option<(Result<WatchRightsResponse, Status>, State)> {
    let mut watch = match state {
        State::Opening(opening) => match opening.hello().await {
            Ok(watch) => Box::new(watch),
            Err(status) => return Some((Err(status), State::Over)),
        },
        State::Watching(watch) => watch,
        State::Over => return None,
    };
    match watch.next().await {
        Ok(Some(event)) => Some((Ok(WatchRightsResponse { event: Some(event) }), State::Watching(watch))),
        Ok(None) => None,
        Err(status) => Some((Err(status), State::Over)),
    }
}

/// A watch that has not yet said hello.
struct Opening {
    service: Rights,
    node: NodeGuest,
    said: Streaming<WatchRightsRequest>,
    place: Place,
}

impl Opening {
    async fn hello(self: Box<Self>) -> Result<Watch, Status> {
        let Opening { service, node, mut said, place } = *self;
        let first =
            timeout(Duration::from_millis(HELLO_TIMEOUT_MS), said.message()).await.map_err(|_| {
                Status::deadline_exceeded("no hello within 10 s; it is the first message of a watch")
            })??;
        let Some(Said::Hello(Hello { held_epoch, held_hash, software_version, trust_version })) =
            first.and_then(|said| said.event)
        else {
            return Err(Status::invalid_argument("the first message of a watch is a hello"));
        };
        let newest = service.generations.borrow().epoch();
        let entry = service.board.enter(&node.name, &software_version, held_epoch, newest);
        entry.trusts(trust_version, "");
        entry.certified_until(node.certificate.not_after);
        if service.door.may_log() {
            let version = text::cut(&software_version, BOARD_TEXT_BYTES_MAX);
            tracing::info!(node = node.name, held_epoch, version, "watch begins");
        }
        let mut beat = interval(Duration::from_millis(HEARTBEAT_INTERVAL_MS));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Rights { door, generations, ledger, shelf, drain, .. } = service;
        Ok(Watch {
            door,
            generations,
            ledger,
            shelf,
            drain,
            node,
            entry,
            said,
            beat,
            held: Held::Told(held_hash),
            rest: None,
            recording: None,
            trust_version,
            _place: place,
        })
    }
}

/// A watch under way.
struct Watch {
    door: Door,
    generations: watch::Receiver<Arc<Generation>>,
    ledger: Ledger,
    shelf: Shelf,
    drain: Drain,
    node: NodeGuest,
    entry: Entry,
    said: Streaming<WatchRightsRequest>,
    beat: Interval,
    held: Held,
    /// A bundle on its way in parts, and where the next one begins.
    rest: Option<(Arc<SealedBundle>, usize)>,
    /// The node's receipt on its way into the log.
    recording: Option<JoinHandle<()>>,
    /// Version of the trust file that it holds, or is about to.
    trust_version: u64,
    _place: Place,
}

/// The bundle that the node holds, or is about to.
enum Held {
    /// One that it has from another stream, by its hash.
    Told(Vec<u8>),
    /// One that can be the base of a delta.
    Known(Arc<SealedBundle>),
    /// Not the one that it was handed: it refused that.
    Refused(Sha256),
}

impl Held {
    fn is(&self, bundle: &SealedBundle) -> bool {
        match self {
            Held::Told(hash) => *hash == bundle.hash,
            Held::Known(held) => held.hash == bundle.hash,
            Held::Refused(hash) => *hash == bundle.hash,
        }
    }
}

impl Watch {
    /// Waits for what the node must hear next; `None` when the node has left.
    async fn next(&mut self) -> Result<Option<Event>, Status> {
        loop {
            let (generation, bundle) = self.newest()?;
            // A bundle that began is sent to its end, even if another has replaced it: that one is a delta then.
            if let Some((bundle, offset)) = self.rest.take() {
                return Ok(Some(self.part(bundle, offset)));
            }
            // The bundle first: a key that signs now was the next one under the trust that the node holds.
            if !self.held.is(&bundle) {
                let before = std::mem::replace(&mut self.held, Held::Known(Arc::clone(&bundle)));
                self.entry.sent(bundle.epoch);
                return Ok(Some(match difference(before, Arc::clone(&bundle)).await {
                    Some(delta) => Event::Delta(delta),
                    None if bundle.signed.bundle.len() <= parts::PART_BYTES => {
                        Event::Snapshot(bundle.signed.clone())
                    }
                    None => self.part(bundle, 0),
                }));
            }
            if let Held::Told(_) = self.held {
                self.held = Held::Known(Arc::clone(&bundle));
            }
            if let Some(file) = generation.trusts().after(self.trust_version) {
                self.trust_version = file.trust().version();
                return Ok(Some(Event::TrustFile(TrustFile { note: file.to_file().into_bytes() })));
            }
            tokio::select! {
                biased;
                _ = self.drain.started() => return Err(Status::unavailable("the broker is stopping; connect again")),
                changed = self.generations.changed() => {
                    changed.map_err(|_| Status::unavailable("the broker is stopping; connect again"))?;
                }
                said = self.said.message() => match said? {
                    Some(said) => self.hear(said).await?,
                    None => return Ok(None),
                },
                _ = self.beat.tick() => {
                    let trust_version = generation.trusts().newest().trust().version();
                    let heartbeat = generation.signer().heartbeat(&bundle, generation.revocation(), trust_version, clock::now());
                    let heartbeat = heartbeat.map_err(|error| {
                        tracing::error!(%error, "heartbeat not signed");
                        Status::internal("the heartbeat could not be signed")
                    })?;
                    return Ok(Some(Event::Heartbeat(heartbeat)));
                }
            }
        }
    }

    /// The part of a bundle that begins at `offset`; the rest comes after it.
    fn part(&mut self, bundle: Arc<SealedBundle>, offset: usize) -> Event {
        let (part, next) = parts::part(&bundle.signed, offset);
        self.rest = next.map(|offset| (bundle, offset));
        Event::Part(part)
    }

    /// The node's newest bundle, while it is one of the registry's.
    fn newest(&mut self) -> Result<(Arc<Generation>, Arc<SealedBundle>), Status> {
        self.generations.mark_unchanged();
        let generation = self.door.still_admits(Rpc::WatchRights, &self.node)?;
        let bundle = newest(&generation, &self.node.name)?;
        Ok((generation, bundle))
    }

    async fn hear(&mut self, said: WatchRightsRequest) -> Result<(), Status> {
        match said.event {
            Some(Said::Acknowledgement(acknowledgement)) => {
                let (node, epoch) = (&self.node.name, acknowledgement.epoch);
                let error = text::cut(&acknowledgement.error, BOARD_TEXT_BYTES_MAX);
                if !error.is_empty()
                    && let Held::Known(refused) = &self.held
                {
                    // What the node really holds is not known: no delta can start from it.
                    self.held = Held::Refused(refused.hash);
                }
                match (self.door.may_log(), error) {
                    (true, "") => tracing::info!(node, epoch, "bundle took effect"),
                    (true, error) => tracing::error!(node, epoch, error, "node did not take the bundle"),
                    (false, _) => {}
                }
                match self.entry.acknowledged(&acknowledgement, clock::now()) {
                    Ok(Some(effect)) => {
                        let keeping =
                            receipts::keep(self.ledger.clone(), self.shelf.clone(), node.clone(), effect);
                        // One at a time: a node that says more than can be recorded is not heard meanwhile.
                        if let Some(before) = self.recording.replace(tokio::spawn(keeping)) {
                            drop(before.await);
                        }
                    }
                    Err(why) if self.door.may_log() => {
                        tracing::error!(node, epoch, why, "acknowledgement refused");
                    }
                    Ok(None) | Err(_) => {}
                }
                Ok(())
            }
            Some(Said::TrustAcknowledgement(TrustAcknowledgement { version, error })) => {
                let (node, error) = (&self.node.name, text::cut(&error, BOARD_TEXT_BYTES_MAX));
                match (self.door.may_log(), error) {
                    (true, "") => tracing::info!(node, version, "mesh trust file took effect"),
                    (true, error) => {
                        tracing::error!(node, version, error, "node did not take the mesh trust file");
                    }
                    (false, _) => {}
                }
                self.entry.trusts(version, error);
                Ok(())
            }
            Some(Said::Hello(_)) => Err(Status::invalid_argument("a watch says hello once")),
            None => Err(Status::invalid_argument("a message of a watch says nothing that this broker knows")),
        }
    }
}

fn newest(generation: &Generation, node: &str) -> Result<Arc<SealedBundle>, Status> {
    generation
        .bundle(node)
        .ok_or_else(|| Status::internal("the registry knows this node, but no bundle was made for it"))
}

/// What leads from the bundle that a node holds to `bundle`; `None` where the whole is shorter, or the difference too large
/// for one message.
async fn difference(before: Held, bundle: Arc<SealedBundle>) -> Option<BundleDelta> {
    let Held::Known(base) = before else { return None };
    // Finding it takes a while for a bundle of many megabytes. Where it fails, the whole bundle will do.
    let found = spawn_blocking(move || {
        let pieces = delta::between(&base.signed.bundle, &bundle.signed.bundle)?;
        Some(BundleDelta {
            base_hash: base.hash.to_vec(),
            pieces,
            key_name: bundle.signed.key_name.clone(),
            signature: bundle.signed.signature.clone(),
        })
    });
    found.await.ok().flatten().filter(|delta| delta.encoded_len() <= RESPONSE_BYTES_MAX)
}
