//! Step 6: the opening record. Nothing is released that is not on record: what follows may overlap with
//! the write, but no byte of an answer leaves before the journal says that the record is durable.

use std::{sync::Arc, time::Instant};

use lienthong_audit::{
    digest::{ExchangeKey, SALT_BYTES},
    journal::Ticket,
    keys::KeyRow,
    record::{self, RECORD_VERSION},
};
use lienthong_catalog::{Method, Permitted, RightsIndex, code, decide::context, purpose};
use lienthong_proto::{
    lienthong::{
        audit::v1::{Exchange, Opening, PurposeSource, Record, Side, record::Body},
        options::v1::ReleaseGate,
    },
    reason::Reason,
    status::MeshError,
};
use uuid::Uuid;

use crate::{
    call::{identify::Caller, metadata::CallMetadata},
    clock,
    core::Core,
    limits::METHOD_BYTES_MAX,
};

/// An exchange that is on record and not yet closed.
pub struct Opened {
    /// The exchange, as every record of it on this side says.
    pub exchange: Exchange,
    /// Its id.
    pub id: Uuid,
    /// Where the opening record stands in the journal.
    pub ticket: Ticket,
    /// Salt of the closing record.
    pub closing_salt: [u8; SALT_BYTES],
    /// Salt of the subject commitments.
    pub subject_salt: [u8; SALT_BYTES],
    /// When the call arrived.
    pub received: Instant,
}

/// Writes the opening record, and keeps the key of the digests beside it.
pub fn open(
    core: &Arc<Core>,
    exchange: Exchange,
    id: Uuid,
    key: &ExchangeKey,
    gate: ReleaseGate,
    received: Instant,
) -> Result<Opened, MeshError> {
    let salts: [u8; 3 * SALT_BYTES] = core.random()?;
    let [opening_salt, closing_salt, subject_salt] = split(&salts);
    let record = new_record(core, opening_salt, Body::Opening(Opening { exchange: Some(exchange) }));
    let bytes = record::encode(&record).map_err(unavailable)?;
    // Lent to the record, not copied: the closing record says the same of it.
    let exchange = match record.body {
        Some(Body::Opening(opening)) => opening.exchange.unwrap_or_default(),
        _ => Exchange::default(),
    };
    let keys = KeyRow { exchange: *id.as_bytes(), key: key.clone(), salt: subject_salt };
    let ticket = match gate {
        ReleaseGate::Unspecified | ReleaseGate::Journal => core.journal.append_with_keys(bytes, keys),
        // Under the stricter gates it ships itself: it is what the receipt, or the checkpoint, must cover.
        ReleaseGate::Receipt | ReleaseGate::Witnessed => core.journal.append_whole_with_keys(bytes, keys),
    };
    let ticket = ticket.map_err(unavailable)?;
    if !matches!(gate, ReleaseGate::Unspecified | ReleaseGate::Journal) {
        core.node.gates.hurry();
    }
    Ok(Opened { exchange, id, ticket, closing_salt, subject_salt, received })
}

/// The exchange as far as it is known when the call arrives: for its denial, or to be completed by
/// [`decided`].
pub fn arrived(
    core: &Core,
    side: Side,
    id: Uuid,
    attempt: u32,
    caller: &Caller,
    stated: &CallMetadata,
    path: &str,
) -> Exchange {
    let (consumer_node, provider, provider_node) = match side {
        Side::Provider => (caller.node.clone(), core.node.agency.clone(), core.node.name.clone()),
        _ => (
            core.node.name.clone(),
            well_formed(stated.provider.as_ref(), code::is_party_code),
            String::new(),
        ),
    };
    Exchange {
        id: id.as_bytes().to_vec(),
        attempt,
        side: side.into(),
        consumer: caller.party.clone(),
        system: caller.system.clone(),
        consumer_node,
        provider,
        provider_node,
        method: cut(path, METHOD_BYTES_MAX).to_owned(),
        dataset: String::new(),
        purpose: stated.purpose.as_deref().and_then(purpose::from_word).unwrap_or_default().into(),
        purpose_source: stated.purpose_source.into(),
        dossier: well_formed(stated.dossier.as_ref(), code::is_dossier_code),
        user: well_formed(stated.user.as_ref(), context::is_user),
        right: String::new(),
        peer_certificate: caller.certificate.clone(),
        fields_requested: Vec::new(),
    }
}

/// A text that the rules of the mesh allow on record; a citizen number in the wrong place, or a kilobyte of
/// rubbish, is not there, not even in the record of its own denial.
fn well_formed(text: Option<&String>, is_well_formed: impl Fn(&str) -> bool) -> String {
    text.filter(|text| is_well_formed(text)).cloned().unwrap_or_default()
}

/// The beginning of a text, at most `bytes_max` long, cut between characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Completes an exchange with the method it goes to, the fields of its data that are asked for, and the default purpose of
/// a call that states none.
pub fn resolved(exchange: &mut Exchange, rights: &RightsIndex, method: &Method, stated: &CallMetadata) {
    method.provider().clone_into(&mut exchange.provider);
    method.dataset_id().clone_into(&mut exchange.dataset);
    exchange.fields_requested =
        stated.fields.as_ref().map(|names| rights.fields_among(method, names)).unwrap_or_default();
    // For a denial that follows: what is permitted says its purpose itself.
    if stated.purpose.is_none()
        && let Some(default) = rights.default_purpose(method, &exchange.consumer, &exchange.system)
    {
        exchange.purpose = default.into();
        exchange.purpose_source = PurposeSource::Default.into();
    }
}

/// Completes an exchange with what was decided.
pub fn decided(exchange: &mut Exchange, permitted: &Permitted, stated: &CallMetadata) {
    exchange.right = permitted.grant();
    exchange.purpose = permitted.purpose().into();
    exchange.purpose_source = permitted.purpose_source().into();
    exchange.fields_requested = stated.fields.clone().unwrap_or_default();
}

/// A record of this node, now.
pub fn new_record(core: &Core, salt: [u8; SALT_BYTES], body: Body) -> Record {
    Record {
        version: RECORD_VERSION,
        salt: salt.to_vec(),
        recorder: core.node.name.clone(),
        time: Some(clock::timestamp()),
        clock_error_us: 0,
        body: Some(body),
    }
}

/// What a caller hears when a record cannot be written.
pub fn unavailable(error: impl std::fmt::Display) -> MeshError {
    MeshError::new(Reason::DenyAuditUnavailable, error.to_string())
}

fn split(bytes: &[u8; 3 * SALT_BYTES]) -> [[u8; SALT_BYTES]; 3] {
    let mut salts = [[0; SALT_BYTES]; 3];
    for (salt, chunk) in salts.iter_mut().zip(bytes.chunks_exact(SALT_BYTES)) {
        salt.copy_from_slice(chunk);
    }
    salts
}
