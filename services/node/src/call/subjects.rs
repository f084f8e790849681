//! Whom an exchange is about, on record whole: what finds no room in the closing record stands in continuation records
//! before it, under the same exchange id (design §6, Subjects). A record holds salted commitments only; the ids wait
//! beside the journal until the broker's index has heard them, sealed.

use std::{collections::HashSet, sync::Arc};

use lienthong_audit::{
    digest::{self, SALT_BYTES},
    hash::Hash,
    journal::SubjectRow,
    record,
};
use lienthong_filter::Subjects;
use lienthong_proto::lienthong::audit::v1::{Continuation, Exchange, record::Body};
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
        let mut waiting = subjects.len() as u64;
        for (continuation, ids) in
            continuations(&opened.exchange, &opened.ticket.leaf_hash, self.parts, subjects)
        {
            let about = SubjectRow { salt: opened.subject_salt, ids };
            let named = continuation.subjects.len() as u64;
            if let Err(error) = put(core, continuation, about) {
                tracing::error!(%error, exchange = %opened.id, "subjects of an exchange could not be put on record");
                break;
            }
            self.parts += 1;
            waiting -= named;
        }
        self.more += waiting;
    }
}

/// The records that name these subjects, and the ids of each: as many as a record has room for.
fn continuations(
    exchange: &Exchange,
    opening: &Hash,
    parts: u32,
    subjects: Vec<Subject>,
) -> Vec<(Continuation, Vec<String>)> {
    let empty = Continuation {
        exchange: Some(exchange.clone()),
        opening_hash: opening.0.to_vec(),
        part: u32::MAX,
        subjects: Vec::new(),
    };
    let room = (record::RECORD_BYTES_MAX - ENVELOPE_BYTES).saturating_sub(empty.encoded_len());
    let fits = (room / COMMITMENT_BYTES).max(1);
    let mut rest = subjects.into_iter().peekable();
    let mut made = Vec::new();
    for part in parts + 1.. {
        if rest.peek().is_none() {
            break;
        }
        let taken = rest.by_ref().take(fits).map(|subject| (subject.commitment, subject.id));
        let (subjects, ids) = taken.unzip();
        made.push((Continuation { part, subjects, ..empty.clone() }, ids));
    }
    made
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

#[cfg(test)]
mod tests {
    use lienthong_audit::hash::leaf_hash;
    use lienthong_proto::lienthong::audit::v1::Record;

    use super::*;

    const SALT: [u8; SALT_BYTES] = [5; SALT_BYTES];

    fn subject(number: u32) -> Subject {
        let id = format!("9990{number:08}");
        Subject { commitment: digest::commit(&SALT, &id).to_vec(), id }
    }

    /// An exchange of any size that a call may have.
    fn exchange(fields: usize) -> Exchange {
        Exchange {
            id: vec![1; 16],
            system: "agencies/H26.90/systems/mot-cua".to_owned(),
            fields_requested: vec!["truong_thong_tin".to_owned(); fields],
            ..Exchange::default()
        }
    }

    #[test]
    fn the_rest_of_the_subjects_stands_in_continuations() {
        for fields in [0, 100, 500] {
            let subjects = (0..731).map(subject).collect();
            let made = continuations(&exchange(fields), &leaf_hash(b"opening"), 3, subjects);
            let named: Vec<Vec<u8>> = made.iter().flat_map(|(one, _)| one.subjects.clone()).collect();
            assert_eq!(named, (0..731).map(|number| subject(number).commitment).collect::<Vec<_>>());
            let parts: Vec<u32> = made.iter().map(|(one, _)| one.part).collect();
            assert_eq!(parts, (4..4 + u32::try_from(made.len()).unwrap()).collect::<Vec<_>>());
            for (one, ids) in made {
                assert_eq!(one.subjects.len(), ids.len());
                let record = Record {
                    version: 1,
                    salt: vec![1; 16],
                    recorder: format!("agencies/H26.90/nodes/{}", "n".repeat(64)),
                    time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 1 }),
                    body: Some(Body::Continuation(one)),
                    ..Record::default()
                };
                // Half a thousand requested fields leave no room for even one record; it is refused, and counted.
                assert!(fields == 500 || record::encode(&record).is_ok(), "{fields}");
            }
        }
        assert!(continuations(&exchange(0), &leaf_hash(b""), 0, Vec::new()).is_empty());
    }
}
