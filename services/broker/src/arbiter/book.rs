//! The arbiter's book: everything that is kept, and how it is named, stored and shown.

use std::collections::BTreeMap;

use lienthong_proto::lienthong::registry::v1::{ConnectionRequest, Dispute, Outage, Refusal};
use prost::Message;

use super::{Actor, ArbiterError};
use crate::bundle::sha256;
use crate::error::BrokerError;
use crate::limits::{ACTS_KEPT_MAX, REQUEST_ID_CHARS_MAX};
use crate::shelf::Shelf;
use crate::stored::StoredAct;
use crate::suspensions::Suspensions;

/// Everything that is kept, by resource name.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// Refusals.
    pub refusals: BTreeMap<String, Refusal>,
    /// Disputes.
    pub disputes: BTreeMap<String, Dispute>,
    /// Outages.
    pub outages: BTreeMap<String, Outage>,
    /// Connection requests.
    pub requests: BTreeMap<String, ConnectionRequest>,
    /// What a request made: by agency and request id.
    pub(super) made: BTreeMap<(String, String), String>,
}

impl Book {
    /// Takes up what is stored.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn open(shelf: &Shelf) -> Result<Book, BrokerError> {
        let mut book = Book::default();
        for (name, act) in shelf.acts().await? {
            let bytes = act.content.as_slice();
            let read = match name.split('/').next() {
                Some("refusals") => {
                    Refusal::decode(bytes).map(|one| drop(book.refusals.insert(name.clone(), one)))
                }
                Some("disputes") => {
                    Dispute::decode(bytes).map(|one| drop(book.disputes.insert(name.clone(), one)))
                }
                Some("outages") => {
                    Outage::decode(bytes).map(|one| drop(book.outages.insert(name.clone(), one)))
                }
                _ => {
                    ConnectionRequest::decode(bytes).map(|one| drop(book.requests.insert(name.clone(), one)))
                }
            };
            read.map_err(|source| BrokerError::Stored { key: name.clone(), problem: source.to_string() })?;
            if !act.request_id.is_empty() {
                book.made.insert((act.agency, act.request_id), name);
            }
        }
        Ok(book)
    }

    /// What they suspend.
    pub fn suspensions(&self) -> Suspensions {
        Suspensions::of(self.refusals.values())
    }
}

/// One thing that a step changed, to be stored.
pub(super) enum Changed<'a> {
    Refusal(&'a Refusal),
    Dispute(&'a Dispute),
    Outage(&'a Outage),
    Request(&'a ConnectionRequest),
}

impl Changed<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Changed::Refusal(one) => &one.name,
            Changed::Dispute(one) => &one.name,
            Changed::Outage(one) => &one.name,
            Changed::Request(one) => &one.name,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Changed::Refusal(one) => one.encode_to_vec(),
            Changed::Dispute(one) => one.encode_to_vec(),
            Changed::Outage(one) => one.encode_to_vec(),
            Changed::Request(one) => one.encode_to_vec(),
        }
    }
}

/// One thing as it is put on the shelf.
pub(super) fn stored(changed: &Changed<'_>, actor: &Actor, request_id: &str) -> (String, StoredAct) {
    let act = StoredAct {
        content: changed.bytes(),
        agency: actor.agency.clone(),
        request_id: request_id.to_owned(),
    };
    (changed.name().to_owned(), act)
}

/// One thing by its name, if the actor may see it.
pub(super) fn visible<'b, T>(
    book: &'b BTreeMap<String, T>,
    name: &str,
    may: impl Fn(&T) -> bool,
) -> Option<&'b T> {
    book.get(name).filter(|one| may(one))
}

/// Refuses more than the bound.
pub(super) fn room(kept: usize) -> Result<(), ArbiterError> {
    if kept < ACTS_KEPT_MAX { Ok(()) } else { Err(ArbiterError::TooMany) }
}

/// A request id within its bound.
pub(super) fn request_id(id: &str) -> Result<String, ArbiterError> {
    if id.chars().count() > REQUEST_ID_CHARS_MAX { Err(ArbiterError::RequestId) } else { Ok(id.to_owned()) }
}

/// The name after the newest. Eight digits, so that names are in the order of the numbers for long.
pub(super) fn next_name(kind: &str, newest: Option<&String>) -> String {
    let number = newest.and_then(|name| name.rsplit('/').next()?.parse::<u64>().ok()).unwrap_or_default();
    format!("{kind}/{:08}", number + 1)
}

/// A refusal with its etag.
pub(super) fn shown(refusal: Refusal) -> Refusal {
    Refusal { etag: etag(&refusal), ..refusal }
}

/// A dispute with its etag.
pub(super) fn shown_dispute(dispute: Dispute) -> Dispute {
    Dispute { etag: etag(&dispute), ..dispute }
}

/// A connection request with its etag.
pub(super) fn shown_request(request: ConnectionRequest) -> ConnectionRequest {
    ConnectionRequest { etag: etag(&request), ..request }
}

fn etag(message: &impl Message) -> String {
    hex::encode(&sha256(&message.encode_to_vec())[..8])
}
