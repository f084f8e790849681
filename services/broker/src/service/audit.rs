//! `AuditService`: nodes ship their journals into the log; anybody reads the checkpoint.
//!
//! One stream ships one node's journal. Batches are judged in order and put on their way into the log without waiting
//! for each other, a bounded number at once; receipts leave in order. The ledger compares each batch with the journal's
//! position in the same step in which it appends, so a stream that breaks, or a second one, can lose or double nothing.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{self, BoxStream, StreamExt};
use lienthong_audit::batch::{BatchError, Checker, Position};
use lienthong_certs::verify;
use lienthong_proto::lienthong::audit::v1::audit_service_server::AuditService;
use lienthong_proto::lienthong::audit::v1::ship_journal_request::Event as Said;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    GetCheckpointRequest, GetCheckpointResponse, Receipt, ShipJournalRequest, ShipJournalResponse,
    SignedBatch,
};
use lienthong_transport::Drain;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::Rpc;
use crate::door::{Door, NodeGuest};
use crate::findings::Findings;
use crate::ledger::{Batch, Ledger, LedgerError, Recorded};
use crate::limits::{HELLO_TIMEOUT_MS, RECEIPTS_REMEMBERED_MAX};
use crate::metrics::BrokerMetrics;
use crate::records::{NotANodesRecord, check_nodes_record};

/// The service.
#[derive(Clone, Debug)]
pub struct Audit {
    pub(crate) door: Door,
    pub(crate) ledger: Ledger,
    pub(crate) findings: Findings,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) drain: Drain,
    pub(crate) batches_in_flight_max: usize,
}

#[tonic::async_trait]
impl AuditService for Audit {
    type ShipJournalStream = BoxStream<'static, Result<ShipJournalResponse, Status>>;

    async fn ship_journal(
        &self,
        request: Request<Streaming<ShipJournalRequest>>,
    ) -> Result<Response<Self::ShipJournalStream>, Status> {
        let node = self.door.admit_node(Rpc::ShipJournal, &request)?;
        let opening = Opening {
            service: self.clone(),
            node,
            said: request.into_inner(),
        };
        Ok(Response::new(
            stream::unfold(State::Opening(Box::new(opening)), step).boxed(),
        ))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        self.door.admit(Rpc::GetCheckpoint, &request)?;
        Ok(Response::new(GetCheckpointResponse {
            checkpoint: self.ledger.checkpoint().to_string(),
        }))
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
                let position = Event::Position(shipping.checker.position().to_proto());
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
}

impl Opening {
    async fn hello(self: Box<Self>) -> Result<Shipping, Status> {
        let Opening {
            service,
            node,
            mut said,
        } = *self;
        let first = timeout(Duration::from_millis(HELLO_TIMEOUT_MS), said.message())
            .await
            .map_err(|_| {
                Status::deadline_exceeded("no hello within 10 s; it is the first message of a journal")
            })??;
        let Some(Said::Hello(hello)) = first.and_then(|said| said.event) else {
            return Err(Status::invalid_argument(
                "the first message of a journal is a hello",
            ));
        };
        let held = service.ledger.positions().of(&node.name);
        let position = match held {
            Some(held) if held.epoch == hello.journal_epoch => held,
            Some(held) if held.epoch > hello.journal_epoch => {
                let error = BatchError::Epoch {
                    expected: held.epoch,
                    found: hello.journal_epoch,
                };
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
        tracing::info!(
            node = node.name,
            epoch = position.epoch,
            last_seq = position.last_seq,
            "journal ships"
        );
        let checker = Checker::new(node.name.clone(), position);
        let (under_way, given) = (VecDeque::new(), VecDeque::new());
        Ok(Shipping {
            service,
            node,
            said,
            last_word: None,
            checker,
            under_way,
            given,
        })
    }
}

impl Audit {
    /// The status for a batch or hello that is not taken. A sign of tampering or loss goes on record, once.
    async fn refuse(&self, node: &NodeGuest, held: &Position, error: &BatchError) -> Status {
        let on_record = error.is_alarm() || matches!(error, BatchError::Gap { .. });
        self.refusal(node, held, kind(error), &error.to_string(), on_record)
            .await
    }

    /// The same for a record that the node may not make.
    async fn refuse_record(&self, node: &NodeGuest, held: &Position, error: NotANodesRecord) -> Status {
        self.refusal(node, held, "record", &error.to_string(), true).await
    }

    async fn refusal(
        &self,
        node: &NodeGuest,
        held: &Position,
        kind: &'static str,
        description: &str,
        on_record: bool,
    ) -> Status {
        self.metrics.batch_refused(kind);
        tracing::error!(node = node.name, kind, description, "journal refused");
        if on_record {
            if let Err(error) = self.findings.journal(&node.name, held, kind, description).await {
                return unavailable(&error);
            }
        }
        status(&node.name, kind, description)
    }
}

/// A journal on its way.
struct Shipping {
    service: Audit,
    node: NodeGuest,
    said: Streaming<ShipJournalRequest>,
    /// How the stream ends once everything under way is answered; `None` while the node is heard.
    last_word: Option<Result<(), Status>>,
    /// Where the journal stands once everything under way is durable.
    checker: Checker,
    /// Batches that are not yet answered, in order.
    under_way: VecDeque<UnderWay>,
    /// The newest receipts, for batches that are sent again.
    given: VecDeque<Receipt>,
}

/// A batch that waits for its answer.
enum UnderWay {
    /// It is on its way into the log.
    Appending {
        position: Position,
        answer: oneshot::Receiver<Result<Recorded, LedgerError>>,
    },
    /// It is on record, or will be once those before it are.
    Repeated { last_seq: u64 },
}

impl Shipping {
    /// Waits for the next receipt; `None` when the node has said all and has all its receipts.
    async fn next(&mut self) -> Result<Option<Receipt>, Status> {
        loop {
            if let Some(UnderWay::Repeated { last_seq }) = self.under_way.front() {
                let receipt = self.receipt_again(*last_seq);
                self.under_way.pop_front();
                return Ok(Some(receipt));
            }
            let listening = self.last_word.is_none();
            let room = self.under_way.len() < self.service.batches_in_flight_max;
            tokio::select! {
                biased;
                answer = answer(&mut self.under_way), if !self.under_way.is_empty() => {
                    self.under_way.pop_front();
                    return self.receipt(answer?).map(Some);
                }
                _ = self.service.drain.started(), if listening => {
                    self.last_word = Some(Err(Status::unavailable("the broker is stopping; connect again")));
                }
                said = self.said.message(), if listening && room => match said? {
                    Some(said) => self.hear(said).await,
                    None => self.last_word = Some(Ok(())),
                },
                else => return self.last_word.take().unwrap_or(Ok(())).map(|()| None),
            }
        }
    }

    async fn hear(&mut self, said: ShipJournalRequest) {
        let heard = match said.event {
            Some(Said::Batch(batch)) => self.take(batch).await,
            Some(Said::Hello(_)) => Err(Status::invalid_argument("a journal says hello once")),
            None => Err(Status::invalid_argument(
                "a message of a journal says nothing that this broker knows",
            )),
        };
        if let Err(status) = heard {
            self.last_word = Some(Err(status));
        }
    }

    /// Judges a batch and puts it on its way into the log.
    async fn take(&mut self, batch: SignedBatch) -> Result<(), Status> {
        self.service.door.still_admits(Rpc::ShipJournal, &self.node)?;
        let key = &self.node.certificate.spki_der;
        let checked = match self
            .checker
            .check(&batch, |message, signature| verify(key, message, signature))
        {
            Ok(checked) => checked,
            Err(BatchError::Duplicate { last_seq }) => {
                self.under_way.push_back(UnderWay::Repeated { last_seq });
                return Ok(());
            }
            Err(error) => {
                return Err(self
                    .service
                    .refuse(&self.node, self.checker.position(), &error)
                    .await);
            }
        };
        for entry in &checked.entries {
            if let Err(error) = check_nodes_record(&self.node.name, entry) {
                return Err(self
                    .service
                    .refuse_record(&self.node, self.checker.position(), error)
                    .await);
            }
        }
        let mut entries: Vec<Vec<u8>> = checked.entries.into_iter().map(Vec::from).collect();
        let late = entries.split_off(entries.len().saturating_sub(checked.late));
        let batch = Batch {
            node: self.node.name.clone(),
            expects: *self.checker.position(),
            then: checked.position,
            entries,
            late,
            header: batch.header,
            signature: batch.signature,
            certificate: self.node.certificate.fingerprint(),
        };
        let answer = self
            .service
            .ledger
            .put(batch)
            .await
            .map_err(|error| unavailable(&error))?;
        self.checker.accept(checked.position);
        self.under_way.push_back(UnderWay::Appending {
            position: checked.position,
            answer,
        });
        Ok(())
    }

    fn receipt(&mut self, (position, recorded): (Position, Recorded)) -> Result<Receipt, Status> {
        self.service.metrics.batch_taken(recorded.entries);
        let receipt = Receipt {
            journal_epoch: position.epoch,
            last_seq: position.last_seq,
            first_index: recorded.first_index,
            entries: recorded.entries,
            checkpoint: recorded.checkpoint.to_string(),
        };
        if self.given.len() == RECEIPTS_REMEMBERED_MAX {
            self.given.pop_front();
        }
        self.given.push_back(receipt.clone());
        Ok(receipt)
    }

    /// The receipt of a batch that is on record: the one given on this stream, or what the journal's position says.
    fn receipt_again(&self, last_seq: u64) -> Receipt {
        self.service.metrics.batch_repeated();
        if let Some(receipt) = self
            .given
            .iter()
            .rev()
            .find(|receipt| receipt.last_seq == last_seq)
        {
            return receipt.clone();
        }
        let journal = self.service.ledger.positions().journal(&self.node.name);
        let newest = journal.filter(|journal| journal.position.last_seq == last_seq);
        Receipt {
            journal_epoch: self.checker.position().epoch,
            last_seq,
            first_index: newest.as_ref().map_or(0, |journal| journal.first_index),
            entries: newest.as_ref().map_or(0, |journal| journal.entries),
            checkpoint: self.service.ledger.checkpoint().to_string(),
        }
    }
}

/// Waits for the answer to the batch at the front; can be given up and asked again.
async fn answer(under_way: &mut VecDeque<UnderWay>) -> Result<(Position, Recorded), Status> {
    match under_way.front_mut() {
        Some(UnderWay::Appending { position, answer }) => {
            match answer.await.unwrap_or(Err(LedgerError::Closed)) {
                Ok(recorded) => Ok((*position, recorded)),
                Err(error @ LedgerError::Moved { .. }) => Err(Status::aborted(error.to_string())),
                Err(error) => Err(unavailable(&error)),
            }
        }
        Some(UnderWay::Repeated { .. }) | None => std::future::pending().await,
    }
}

fn unavailable(error: &LedgerError) -> Status {
    Status::unavailable(format!("nothing can be put on record: {error}"))
}

/// The kind of a refusal, as it stands in metrics, records and `PreconditionFailure.type`.
fn kind(error: &BatchError) -> &'static str {
    match error {
        BatchError::Malformed(_) | BatchError::Oversized { .. } | BatchError::TooLarge { .. } => "malformed",
        BatchError::Node { .. } => "node",
        BatchError::Epoch { .. } => "epoch",
        BatchError::Gap { .. } => "gap",
        BatchError::Fork { .. } => "fork",
        BatchError::Rollback { .. } => "rollback",
        BatchError::Duplicate { .. } => "duplicate",
        BatchError::Chain { .. } => "chain",
        BatchError::Signature { .. } => "signature",
    }
}

/// The status that ends the stream, with a detail for machines.
fn status(node: &str, kind: &str, description: &str) -> Status {
    let code = match kind {
        "malformed" | "node" | "record" => Code::InvalidArgument,
        "signature" => Code::PermissionDenied,
        _ => Code::FailedPrecondition,
    };
    let violation = format!("JOURNAL_{}", kind.to_uppercase());
    let details = ErrorDetails::with_precondition_failure_violation(violation, node, description);
    Status::with_error_details(code, description, details)
}
