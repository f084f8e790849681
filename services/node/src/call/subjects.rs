//! Whom an exchange is about, on record whole: what finds no room in the closing record stands in continuation records
//! before it, under the same exchange id (design §6, Subjects). A record holds salted commitments only; the ids wait
//! beside the journal until the broker's index has heard them, sealed.

use std::{collections::HashSet, sync::Arc};

use lienthong_audit::{
    digest::{self, SALT_BYTES},
    journal::SubjectRow,
    record,
};
use lienthong_filter::Subjects;
use lienthong_proto::lienthong::audit::v1::{Continuation, record::Body};
use prost::Message;

use crate::{
    call::{
        close::ENVELOPE_BYTES,
        open::{Opened, new_record},
        request_body::RequestTally,
    },
    core::Core,
};

/// A person or organisation that an exchange is about.
pub struct Subject {
    /// What the record holds.
    pub commitment: Vec<u8>,
    /// What opens it.
    pub id: String,
}

/// What is on record of an exchange's subjects before its closing record.
#[derive(Default)]
pub struct Continued {
    /// Continuation records.
    pub parts: u32,
    /// Subjects that no record names.
    pub more: u64,
}

impl Continued {
    /// Takes the subjects that request and response have named since the last time: distinct, in the order seen.
    pub fn take(
        &mut self,
        request: &RequestTally,
        response: &mut Subjects,
        salt: &[u8; SALT_BYTES],
    ) -> Vec<Subject> {
        let mut seen = HashSet::new();
        let mut taken = Vec::new();
        let mut drain = |subjects: &mut Subjects| {
            self.more += subjects.overflow();
            for id in subjects.iter() {
                let id = String::from_utf8_lossy(id).into_owned();
                if seen.insert(id.clone()) {
                    taken.push(Subject { commitment: digest::commit(salt, &id).to_vec(), id });
                }
            }
            subjects.clear();
        };
        request.with_subjects(&mut drain);
        drain(response);
        taken
    }

    /// Puts subjects on record as continuations of an exchange that is open. What cannot be written is counted.
    pub fn write(&mut self, core: &Arc<Core>, opened: &Opened, subjects: Vec<Subject>) {
        let mut rest = subjects.into_iter().peekable();
        while rest.peek().is_some() {
            let mut continuation = Continuation {
                exchange: Some(opened.exchange.clone()),
                opening_hash: opened.ticket.leaf_hash.0.to_vec(),
                part: self.parts + 1,
                subjects: Vec::new(),
            };
            let room = (record::RECORD_BYTES_MAX - ENVELOPE_BYTES).saturating_sub(continuation.encoded_len());
            let fits = room / COMMITMENT_BYTES;
            let (commitments, ids): (Vec<_>, Vec<_>) =
                rest.by_ref().take(fits.max(1)).map(|subject| (subject.commitment, subject.id)).unzip();
            let count = commitments.len() as u64;
            continuation.subjects = commitments;
            let about = SubjectRow { salt: opened.subject_salt, ids };
            match put(core, continuation, about) {
                Ok(()) => self.parts += 1,
                Err(error) => {
                    tracing::error!(%error, exchange = %opened.id, "subjects of an exchange could not be put on record");
                    self.more += count + rest.by_ref().count() as u64;
                }
            }
        }
    }
}

/// Bytes that a commitment takes in a record: tag, length, HMAC-SHA-256.
const COMMITMENT_BYTES: usize = 2 + 32;

fn put(
    core: &Arc<Core>,
    continuation: Continuation,
    about: SubjectRow,
) -> Result<(), Box<dyn std::error::Error>> {
    let record = new_record(core, core.random()?, Body::Continuation(continuation));
    core.journal.append_owed_about(record::encode(&record)?, about)?;
    Ok(())
}
