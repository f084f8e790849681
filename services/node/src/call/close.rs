//! Step 9: the closing record, right after the exchange. It is self-contained: under the JOURNAL gate it
//! is the one leaf of its side, and carries the hash of the opening record.
//!
//! Whoever drops a [`Closer`] without closing closes as interrupted: a caller that goes away, a task
//! that is cancelled and a connection that breaks all leave their record.

use std::sync::Arc;

use lienthong_audit::{
    digest::Digester,
    journal::{AppendError, SubjectRow, Ticket},
    record,
};
use lienthong_filter::Report;
use lienthong_proto::{
    lienthong::audit::v1::{Closing, Digest, Status, record::Body},
    reason::Reason,
    status::MeshError,
};
use lienthong_quality::Sample;
use prost::Message;
use tonic::Code;

use crate::{
    call::{
        open::{Opened, new_record},
        request_body::RequestTally,
        subjects::Continued,
    },
    core::Core,
    limits::{SUBJECTS_HELD_MAX, SUBJECTS_PER_RECORD_MAX},
};

/// Room for salt, time, recorder and tags around the body of a record, bytes.
pub const ENVELOPE_BYTES: usize = 256;

/// Closes one exchange, exactly once.
pub struct Closer {
    core: Arc<Core>,
    /// `None` once closed.
    opened: Option<Opened>,
    request: RequestTally,
    digester: Digester,
    /// What the release step saw.
    pub report: Report,
    /// What a sample of the records was like; at the provider's node.
    pub sample: Sample,
    /// Leaf hash of the peer's opening record, once it told it.
    pub peer_opening_hash: Vec<u8>,
    /// What the applications sent beside their messages and the dataset does not declare: so many were dropped.
    pub metadata_dropped: u64,
    /// Nodes to which earlier attempts went.
    earlier_nodes: Vec<String>,
    /// Subjects that are on record already.
    continued: Continued,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In one word.
    pub status: Status,
    /// Reason of the closed list, or [`UNDECLARED_REFUSAL`](lienthong_proto::reason::UNDECLARED_REFUSAL); empty when all
    /// went well.
    pub reason: String,
    /// gRPC status code that the caller sees.
    pub code: Code,
}

impl Ending {
    /// Nobody's decision: it failed, after something was delivered or before.
    pub fn failed(reason: Reason, delivered: bool) -> Self {
        let status = Self::status_of(Some(reason), delivered);
        Self { status, reason: reason.name().to_owned(), code: reason.info().code }
    }

    /// The word for what did not end well: the same on both sides.
    pub fn status_of(reason: Option<Reason>, delivered: bool) -> Status {
        match reason {
            _ if delivered => Status::Partial,
            Some(reason) if reason.is_denial() => Status::Denied,
            _ => Status::Failed,
        }
    }
}

impl Closer {
    /// Takes over an exchange that is on record.
    pub fn new(core: Arc<Core>, opened: Opened, digester: Digester, request: RequestTally) -> Self {
        Self {
            core,
            opened: Some(opened),
            request,
            digester,
            report: Report::with_subjects_max(SUBJECTS_HELD_MAX),
            sample: Sample::default(),
            peer_opening_hash: Vec::new(),
            metadata_dropped: 0,
            earlier_nodes: Vec::new(),
            continued: Continued::default(),
        }
    }

    /// Closes with an error that the caller hears before anything was released, and gives it back.
    pub fn fail(&mut self, error: MeshError) -> MeshError {
        let nothing = self.digester.begin().finish();
        self.close(&Ending::failed(error.reason, false), nothing, Vec::new());
        error
    }

    /// Notes which of the provider's nodes the exchange goes to, and at which attempt.
    pub fn goes_to(&mut self, node: &str, attempt: u32) {
        let Some(opened) = &mut self.opened else { return };
        opened.exchange.attempt = attempt;
        if opened.exchange.provider_node != node {
            let earlier = std::mem::replace(&mut opened.exchange.provider_node, node.to_owned());
            if attempt > 1 {
                self.earlier_nodes.push(earlier);
            }
        }
    }

    /// The exchange; `None` once closed.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.as_ref()
    }

    /// What was seen of the request.
    pub fn request(&self) -> &RequestTally {
        &self.request
    }

    /// What begins the exchange's digests.
    pub fn digester(&self) -> &Digester {
        &self.digester
    }

    /// The node's thread that serves this exchange.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Puts the subjects seen so far on record, where they would not fit the closing record: a stream may name more than
    /// memory should hold.
    pub fn continue_subjects(&mut self) {
        let Some(opened) = &self.opened else { return };
        let waiting = self.request.with_subjects(|subjects| subjects.len()) + self.report.subjects.len();
        if waiting > SUBJECTS_PER_RECORD_MAX {
            let salt = &opened.subject_salt;
            let subjects = self.continued.take(&self.request, &mut self.report.subjects, salt);
            self.continued.write(&self.core, opened, subjects);
        }
    }

    /// Writes the closing record. A second call does nothing.
    pub fn close(&mut self, ending: &Ending, response: Digest, released: Vec<String>) {
        let Some(mut opened) = self.opened.take() else { return };
        let request = self.request.end();
        self.core.node.metrics.ended(ending, opened.received.elapsed());
        self.core.node.metrics.metadata_dropped.inc_by(self.metadata_dropped);
        let mut subjects =
            self.continued.take(&self.request, &mut self.report.subjects, &opened.subject_salt);
        let named = subjects.iter().take(SUBJECTS_PER_RECORD_MAX);
        let mut closing = fitting(Closing {
            opening_hash: opened.ticket.leaf_hash.0.to_vec(),
            peer_opening_hash: std::mem::take(&mut self.peer_opening_hash),
            status: ending.status.into(),
            reason: ending.reason.clone(),
            grpc_status: ending.code as u32,
            request: Some(request),
            response: Some(response),
            fields_released: released,
            records: u64::from(self.report.records),
            fields_dropped: self.report.dropped_fields,
            unknown_dropped: self.report.dropped_unknown,
            subjects: named.map(|subject| subject.commitment.clone()).collect(),
            duration_us: u64::try_from(opened.received.elapsed().as_micros()).unwrap_or(u64::MAX),
            exchange: Some(std::mem::take(&mut opened.exchange)),
            metadata_dropped: self.metadata_dropped,
            earlier_nodes: std::mem::take(&mut self.earlier_nodes),
            records_out_of_scope: u64::from(self.report.records_out_of_scope),
            quality: self.sample.quality(),
            ..Closing::default()
        });
        let rest = subjects.split_off(closing.subjects.len());
        if !rest.is_empty() {
            opened.exchange = closing.exchange.clone().unwrap_or_default();
            self.continued.write(&self.core, &opened, rest);
        }
        (closing.continuations, closing.subjects_more) = (self.continued.parts, self.continued.more);
        let about = SubjectRow {
            salt: opened.subject_salt,
            ids: subjects.into_iter().map(|subject| subject.id).collect(),
        };
        let record = new_record(&self.core, opened.closing_salt, Body::Closing(closing));
        let written = record::encode(&record)
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.put(bytes, about).map_err(|error| error.to_string()));
        if let Err(error) = written {
            // The opening record stands; it ships by itself, and at the next start the sweeper closes it
            // as UNKNOWN_AFTER_CRASH.
            tracing::error!(%error, exchange = %opened.id, "a closing record could not be written");
        }
    }

    fn put(&self, closing: Vec<u8>, about: SubjectRow) -> Result<Ticket, AppendError> {
        if about.ids.is_empty() {
            return self.core.journal.append_owed(closing);
        }
        self.core.journal.append_owed_about(closing, about)
    }
}

/// A record has at most [`record::RECORD_BYTES_MAX`] bytes. Subjects that find no room go into continuation records; of
/// released fields that are too many, the first are named, with "…" in place of the rest.
fn fitting(mut closing: Closing) -> Closing {
    const REST: &str = "…";
    let room = record::RECORD_BYTES_MAX - ENVELOPE_BYTES;
    if closing.encoded_len() <= room {
        return closing;
    }
    while closing.encoded_len() > room && closing.subjects.pop().is_some() {}
    let full = |closing: &Closing| closing.encoded_len() + REST.len() + 2 > room;
    if closing.encoded_len() > room {
        while full(&closing) && closing.fields_released.pop().is_some() {}
        closing.fields_released.push(REST.to_owned());
    }
    closing
}

impl Drop for Closer {
    fn drop(&mut self) {
        if self.opened.is_some() {
            let delivered = self.report.records > 0;
            self.close(&Ending::failed(Reason::FailInterrupted, delivered), Digest::default(), Vec::new());
        }
    }
}
