//! `AuditService`: nodes ship their journals into the log; anybody reads the checkpoint.
//!
//! One stream ships one node's journal. Batches are judged in order and put on their way into the log without waiting
//! for each other, a bounded number at once; receipts leave in order. The ledger compares each batch with the journal's
//! position in the same step in which it appends, so a stream that breaks, or a second one, can lose or double nothing.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use lienthong_audit::batch::{BatchError, Checker, Position};
use lienthong_proto::lienthong::audit::v1::audit_service_server::AuditService;
use lienthong_proto::lienthong::audit::v1::ship_journal_request::Event as Said;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    GetCheckpointRequest, GetCheckpointResponse, JournalPosition, ListErasuresRequest, ListErasuresResponse,
    ShipJournalRequest, ShipJournalResponse,
};
use lienthong_transport::{Drain, Peer};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Rpc;
use crate::door::{Door, NodeGuest};
use crate::findings::Findings;
use crate::index::{Index, SearchError, erased};
use crate::ledger::Ledger;
use crate::limits::{ERASURES_PAGE_ENTRIES_MAX, HELLO_TIMEOUT_MS};
use crate::matching::heard::Heard;
use crate::metrics::BrokerMetrics;
use crate::places::{Place, Places};
use crate::service::page::PageToken;

mod refusal;
mod shipping;

use refusal::unavailable;
use shipping::Shipping;

/// The service.
#[derive(Clone, Debug)]
pub struct Audit {
    pub(crate) door: Door,
    pub(crate) ledger: Ledger,
    pub(crate) index: Index,
    pub(crate) findings: Findings,
    pub(crate) heard: Heard,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) drain: Drain,
    pub(crate) batches_in_flight_max: usize,
    pub(crate) places: Places,
}

#[tonic::async_trait]
impl AuditService for Audit {
    type ShipJournalStream = BoxStream<'static, Result<ShipJournalResponse, Status>>;

    async fn ship_journal(
        &self,
        request: Request<Streaming<ShipJournalRequest>>,
    ) -> Result<Response<Self::ShipJournalStream>, Status> {
        let node = self.door.admit_node(Rpc::ShipJournal, &request)?;
        let place = self.places.take(&node.name)?;
        self.keep_certificate(&node, request.extensions().get::<Peer>()).await;
        let opening = Opening { service: self.clone(), node, said: request.into_inner(), place };
        Ok(Response::new(stream::unfold(State::Opening(Box::new(opening)), step).boxed()))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        self.door.admit(Rpc::GetCheckpoint, &request)?;
        match self.ledger.published().await {
            Ok(checkpoint) => Ok(Response::new(GetCheckpointResponse { checkpoint })),
            Err(error) => {
                tracing::error!(%error, "the published checkpoint cannot be read");
                Err(Status::unavailable("the published checkpoint cannot be read now; ask again"))
            }
        }
    }

    async fn list_erasures(
        &self,
        request: Request<ListErasuresRequest>,
    ) -> Result<Response<ListErasuresResponse>, Status> {
        let node = self.door.admit_node(Rpc::ListErasures, &request)?;
        let ListErasuresRequest { carried_out_index, page_token } = request.into_inner();
        let page = PageToken::read(&page_token, &node.name)?;
        let index = self.index.clone();
        let listed = spawn_blocking(move || -> Result<ListErasuresResponse, SearchError> {
            let newest_index = match page.complete_up_to {
                Some(newest) => newest,
                None => erased::newest(&index)?,
            };
            let mut answer = ListErasuresResponse { newest_index, ..ListErasuresResponse::default() };
            if newest_index > carried_out_index {
                let found = erased::of_node(&index, &node.name, page.below, ERASURES_PAGE_ENTRIES_MAX)?;
                answer.exchange_ids = found.exchange_ids;
                let next = found.below.map(|below| page.next(below, newest_index));
                answer.next_page_token = next.unwrap_or_default();
            }
            Ok(answer)
        });
        match listed.await.map_err(|_| Status::internal("the list was interrupted"))? {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error) => {
                tracing::error!(%error, "erasures cannot be listed");
                Err(Status::unavailable("erasures cannot be listed now; ask again"))
            }
        }
    }
}

impl Audit {
    /// Keeps the certificate with which a node ships: whoever checks its batches later needs it.
    async fn keep_certificate(&self, node: &NodeGuest, peer: Option<&Peer>) {
        let (index, fingerprint) = (self.index.clone(), node.certificate.fingerprint());
        let chain = peer.map(|peer| peer.chain().to_vec()).unwrap_or_default();
        let kept = spawn_blocking(move || {
            index.certificates().keep(&fingerprint, &chain, OffsetDateTime::now_utc())
        });
        if let Ok(Err(error)) = kept.await {
            tracing::error!(%error, node = node.name, "a certificate could not be kept; evidence will lack it");
        }
    }
}

/// How far a stream has come.
enum State {
    Opening(Box<Opening>),
    Shipping(Box<Shipping>),
    Over,
}

/// The next message of the stream; an error is the last one.
async fn step(state: State) -> Option<(Result<ShipJournalResponse, Status>, State)> {
    let (said, state) = match state {
        State::Opening(opening) => match opening.hello().await {
            Ok(shipping) => {
                let position = shipping.position().to_proto();
                let index_key = Some(shipping.index_key());
                let position = Event::Position(JournalPosition { index_key, ..position });
                (Ok(Some(position)), State::Shipping(Box::new(shipping)))
            }
            Err(status) => (Err(status), State::Over),
        },
        State::Shipping(mut shipping) => match shipping.next().await {
            Ok(receipt) => (Ok(receipt.map(Event::Receipt)), State::Shipping(shipping)),
            Err(status) => (Err(status), State::Over),
        },
        State::Over => return None,
    };
    match said {
        Ok(Some(event)) => Some((Ok(ShipJournalResponse { event: Some(event) }), state)),
        Ok(None) => None,
        Err(status) => Some((Err(status), State::Over)),
    }
}

/// A stream that has not yet said hello.
struct Opening {
    service: Audit,
    node: NodeGuest,
    said: Streaming<ShipJournalRequest>,
    place: Place,
}

impl Opening {
    async fn hello(self: Box<Self>) -> Result<Shipping, Status> {
        let Opening { service, node, mut said, place } = *self;
        let first =
            timeout(Duration::from_millis(HELLO_TIMEOUT_MS), said.message()).await.map_err(|_| {
                Status::deadline_exceeded("no hello within 10 s; it is the first message of a journal")
            })??;
        let Some(Said::Hello(hello)) = first.and_then(|said| said.event) else {
            return Err(Status::invalid_argument("the first message of a journal is a hello"));
        };
        if let Err(proof) = service.ledger.compare(&node.name, &hello.newest_checkpoint).await {
            return Err(Status::failed_precondition(format!("the broker's log stopped: {proof}")));
        }
        let held = service.ledger.positions().of(&node.name);
        let position = match held {
            Some(held) if held.epoch == hello.journal_epoch => held,
            Some(held) if held.epoch > hello.journal_epoch => {
                let error = BatchError::Epoch { expected: held.epoch, found: hello.journal_epoch };
                return Err(service.refuse(&node, &held, &error).await);
            }
            Some(held) if held.last_seq > 0 => {
                service
                    .findings
                    .new_journal(&node.name, &held, hello.journal_epoch)
                    .await
                    .map_err(|error| unavailable(&error))?;
                Position::start(hello.journal_epoch)
            }
            _ => Position::start(hello.journal_epoch),
        };
        if service.door.may_log() {
            let Position { epoch, last_seq, .. } = position;
            tracing::info!(node = node.name, epoch, last_seq, "journal ships");
        }
        let checker = Checker::new(node.name.clone(), position);
        Ok(Shipping::new(service, node, said, checker, place))
    }
}
