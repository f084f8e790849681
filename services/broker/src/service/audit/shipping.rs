//! One stream that ships: batches in, receipts out, in order.

use std::collections::VecDeque;

use lienthong_audit::batch::{BatchError, CheckedEntry, Checker, Position};
use lienthong_certs::verify;
use lienthong_matching::half::unix_ms;
use lienthong_proto::lienthong::audit::v1::ship_journal_request::Event as Said;
use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, IndexKey, Receipt, SealedSubjects, ShipJournalRequest, SignedBatch, record::Body,
};
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tonic::{Status, Streaming};

use super::Audit;
use super::refusal::unavailable;
use crate::access::Rpc;
use crate::clock;
use crate::door::NodeGuest;
use crate::index::TokensError;
use crate::ledger::{Batch, LedgerError, Recorded};
use crate::limits::RECEIPTS_REMEMBERED_MAX;
use crate::matching::heard::Hearing;
use crate::places::Place;
use crate::records::check_nodes_record;

/// A journal on its way.
pub(super) struct Shipping {
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
    _place: Place,
}

/// What a batch tells of its node's time.
#[derive(Clone, Copy)]
struct Told {
    sealed_ms: i64,
    heard_ms: Option<i64>,
}

impl Told {
    /// Reads it from the header and, of a batch with items, from its last record in full.
    fn read(header: &BatchHeader, entries: &[CheckedEntry]) -> Self {
        let sealed_ms = unix_ms(header.seal_time.as_ref());
        let heard_ms = match entries.last() {
            Some(entry) => Some(unix_ms(entry.record.time.as_ref())),
            None => (header.last_seq < header.first_seq).then_some(sealed_ms),
        };
        Told { sealed_ms, heard_ms }
    }
}

/// A batch that waits for its answer.
enum UnderWay {
    /// It is on its way into the log.
    Appending { position: Position, told: Told, answer: oneshot::Receiver<Result<Recorded, LedgerError>> },
    /// It is on record, or will be once those before it are.
    Repeated { last_seq: u64 },
}

impl Shipping {
    /// A journal of which `checker` knows where it stands.
    pub(super) fn new(
        service: Audit,
        node: NodeGuest,
        said: Streaming<ShipJournalRequest>,
        checker: Checker,
        place: Place,
    ) -> Shipping {
        let (under_way, given) = (VecDeque::new(), VecDeque::new());
        Shipping { service, node, said, last_word: None, checker, under_way, given, _place: place }
    }

    /// Where the journal stands once everything under way is durable.
    pub(super) fn position(&self) -> &Position {
        self.checker.position()
    }

    /// The key to which the node seals subjects.
    pub(super) fn index_key(&self) -> IndexKey {
        self.service.index.key()
    }

    /// Waits for the next receipt; `None` when the node has said all and has all its receipts.
    pub(super) async fn next(&mut self) -> Result<Option<Receipt>, Status> {
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
                    return Ok(Some(self.receipt(answer?)));
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
            None => {
                Err(Status::invalid_argument("a message of a journal says nothing that this broker knows"))
            }
        };
        if let Err(status) = heard {
            self.last_word = Some(Err(status));
        }
    }

    /// Judges a batch and puts it on its way into the log.
    async fn take(&mut self, mut batch: SignedBatch) -> Result<(), Status> {
        self.service.door.still_admits(Rpc::ShipJournal, &self.node)?;
        let key = &self.node.certificate.spki_der;
        let checked = match self.checker.check(&batch, |message, signature| verify(key, message, signature)) {
            Ok(checked) => checked,
            Err(BatchError::Duplicate { last_seq }) => {
                self.under_way.push_back(UnderWay::Repeated { last_seq });
                return Ok(());
            }
            Err(error) => {
                return Err(self.service.refuse(&self.node, self.checker.position(), &error).await);
            }
        };
        for entry in &checked.entries {
            if let Err(error) = check_nodes_record(&self.node.name, &entry.record) {
                return Err(self.service.refuse_record(&self.node, self.checker.position(), error).await);
            }
        }
        let mut entries = checked.entries;
        let late = entries.split_off(entries.len().saturating_sub(checked.late));
        let told = Told::read(&checked.header, &entries);
        if let Some(subjects) = batch.subjects.take() {
            entries = self.keep_subjects(subjects, batch.header.clone(), entries).await?;
        }
        let batch = Batch {
            node: self.node.name.clone(),
            expects: *self.checker.position(),
            then: checked.position,
            entries: entries.into_iter().map(|entry| Vec::from(entry.bytes)).collect(),
            late: late.into_iter().map(|entry| Vec::from(entry.bytes)).collect(),
            header: batch.header,
            signature: batch.signature,
            certificate: self.node.certificate.fingerprint(),
        };
        let answer = self.service.ledger.put(batch).await.map_err(|error| unavailable(&error))?;
        self.checker.accept(checked.position);
        self.under_way.push_back(UnderWay::Appending { position: checked.position, told, answer });
        Ok(())
    }

    /// Hands the subjects of a batch to the index, before the batch is on record. Subjects that do not open are told and cost
    /// no record; subjects that cannot be kept hold the batch up, for its receipt would let the node forget them.
    async fn keep_subjects(
        &self,
        subjects: SealedSubjects,
        header: Vec<u8>,
        entries: Vec<CheckedEntry>,
    ) -> Result<Vec<CheckedEntry>, Status> {
        let index = self.service.index.clone();
        let kept = spawn_blocking(move || {
            let kept = index.take_in(&subjects, &header, &entries, OffsetDateTime::now_utc());
            (kept, entries)
        });
        let (kept, entries) =
            kept.await.map_err(|_| Status::unavailable("the index was interrupted; send again"))?;
        match kept {
            Ok(found) if found.is_empty() => Ok(()),
            Ok(found) => {
                // Before the records themselves: what is not told now nobody can tell later.
                let found = found.into_iter().map(Body::Finding).collect();
                let told = self.service.ledger.record(found).await;
                told.map(drop).map_err(|error| unavailable(&error))
            }
            Err(TokensError::Sealed(error)) => {
                let held = self.checker.position();
                tracing::error!(%error, node = self.node.name, "subjects of a batch do not open");
                let (node, detail) = (&self.node.name, error.to_string());
                let found = self.service.findings.journal(node, held, "subjects", &detail).await;
                found.map_err(|error| unavailable(&error))
            }
            Err(error @ TokensError::Io(_)) => Err(Status::unavailable(error.to_string())),
        }
        .map(|()| entries)
    }

    fn receipt(&mut self, (position, told, recorded): (Position, Told, Recorded)) -> Receipt {
        // With its seal, where it has one.
        let upto = recorded.first_index + recorded.entries + u64::from(recorded.entries > 0);
        let received_ms = unix_ms(Some(&clock::now()));
        let Told { sealed_ms, heard_ms } = told;
        self.service.heard.note(&self.node.name, Hearing { sealed_ms, heard_ms, received_ms, upto });
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
        receipt
    }

    /// The receipt of a batch that is on record: the one given on this stream, or what the journal's position says.
    fn receipt_again(&self, last_seq: u64) -> Receipt {
        self.service.metrics.batch_repeated();
        if let Some(receipt) = self.given.iter().rev().find(|receipt| receipt.last_seq == last_seq) {
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
async fn answer(under_way: &mut VecDeque<UnderWay>) -> Result<(Position, Told, Recorded), Status> {
    match under_way.front_mut() {
        Some(UnderWay::Appending { position, told, answer }) => {
            match answer.await.unwrap_or(Err(LedgerError::Closed)) {
                Ok(recorded) => Ok((*position, *told, recorded)),
                Err(error @ LedgerError::Moved { .. }) => Err(Status::aborted(error.to_string())),
                Err(error @ LedgerError::TooLong(_)) => Err(Status::invalid_argument(error.to_string())),
                Err(error) => Err(unavailable(&error)),
            }
        }
        Some(UnderWay::Repeated { .. }) | None => std::future::pending().await,
    }
}
