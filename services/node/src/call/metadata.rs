//! Step 1: what a caller states beside its message. `mesh-*` is reserved: a backend states the
//! keys below, and everything else under the prefix is dropped.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use lienthong_audit::digest::{EXCHANGE_KEY_BYTES, ExchangeKey};
use lienthong_proto::{
    lienthong::{audit::v1::PurposeSource, exchange::v1::CallContext},
    reason::Reason,
    status::MeshError,
};
use prost::Message;
use uuid::Uuid;

use crate::limits::{
    CALL_CONTEXT_BYTES_MAX, METADATA_VALUE_BYTES_MAX, PEER_TEXT_BYTES_MAX, REQUESTED_FIELDS_MAX,
};

/// Why data is asked for; required, unless the system has a default purpose for such data.
pub const PURPOSE: HeaderName = HeaderName::from_static("mesh-purpose");
/// Dossier that the call serves.
pub const DOSSIER: HeaderName = HeaderName::from_static("mesh-dossier");
/// Opaque id of the end user.
pub const USER: HeaderName = HeaderName::from_static("mesh-user");
/// Provider, where several agencies serve the same method.
pub const PROVIDER: HeaderName = HeaderName::from_static("mesh-provider");
/// Fields to ask for, comma-separated, where fewer than the granted ones are wanted.
pub const FIELDS: HeaderName = HeaderName::from_static("mesh-fields");
/// Epoch that both nodes must have seen.
pub const MIN_EPOCH: HeaderName = HeaderName::from_static("mesh-min-epoch");
/// Id of the exchange, in every answer.
pub const EXCHANGE_ID: HeaderName = HeaderName::from_static("mesh-exchange-id");
/// Leaf hash of the provider's opening record, in the trailers of every answer.
pub const RECORD_HASH: HeaderName = HeaderName::from_static("mesh-record-hash-bin");
/// From the consumer's node to the provider's: a [`CallContext`].
pub const CALL: HeaderName = HeaderName::from_static("mesh-call-bin");
/// From the provider's node to its backend: code of the consumer.
pub const CONSUMER: HeaderName = HeaderName::from_static("mesh-consumer");
/// From the provider's node to its backend: resource name of the consumer's system.
pub const SYSTEM: HeaderName = HeaderName::from_static("mesh-system");

/// What a caller stated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallMetadata {
    /// `mesh-purpose`, as sent.
    pub purpose: Option<String>,
    /// Where the purpose came from, as the one who states it says.
    pub purpose_source: PurposeSource,
    /// `mesh-dossier`.
    pub dossier: Option<String>,
    /// `mesh-user`.
    pub user: Option<String>,
    /// `mesh-provider`.
    pub provider: Option<String>,
    /// `mesh-fields`, split.
    pub fields: Option<Vec<String>>,
    /// `mesh-min-epoch`; 0: any.
    pub min_epoch: u64,
}

impl CallMetadata {
    /// Reads what a backend states. Each key at most once, printable UTF-8, at most
    /// [`METADATA_VALUE_BYTES_MAX`] bytes; otherwise `DENY_CONTEXT`, with nothing taken as stated: the
    /// denial goes on record, the malformed text does not.
    pub fn read(headers: &HeaderMap) -> (Self, Result<(), MeshError>) {
        match Self::read_all(headers) {
            Ok(stated) => (stated, Ok(())),
            Err(error) => (Self::default(), Err(error)),
        }
    }

    fn read_all(headers: &HeaderMap) -> Result<Self, MeshError> {
        Ok(Self {
            purpose: text(headers, &PURPOSE)?,
            purpose_source: PurposeSource::Caller,
            dossier: text(headers, &DOSSIER)?,
            user: text(headers, &USER)?,
            provider: text(headers, &PROVIDER)?,
            fields: text(headers, &FIELDS)?.map(|list| split_fields(&list)).transpose()?,
            min_epoch: match text(headers, &MIN_EPOCH)? {
                None => 0,
                Some(number) => {
                    number.parse().map_err(|_| context("mesh-min-epoch must be a whole number"))?
                }
            },
        })
    }
}

/// What the consumer's node tells the provider's: the caller's statements and the exchange.
#[derive(Debug, Clone)]
pub struct PeerCall {
    /// What the caller stated.
    pub metadata: CallMetadata,
    /// Exchange, as the consumer's node made it.
    pub context: CallContext,
    /// Its id; made here where the other side gave none, so that the denial has one.
    pub exchange_id: Uuid,
    /// Key of the digests.
    pub key: ExchangeKey,
}

impl PeerCall {
    /// Reads the header of the consumer's node; absent or malformed, it is `DENY_CONTEXT`, and what a
    /// caller without a node stated in plain headers is read for the record.
    pub fn read(headers: &HeaderMap) -> (Self, Result<(), MeshError>) {
        match Self::read_all(headers) {
            Ok(call) => (call, Ok(())),
            Err(error) => {
                let (metadata, _) = CallMetadata::read(headers);
                let call = Self {
                    metadata,
                    context: CallContext::default(),
                    exchange_id: Uuid::now_v7(),
                    key: ExchangeKey::from_bytes([0; EXCHANGE_KEY_BYTES]),
                };
                (call, Err(error))
            }
        }
    }

    fn read_all(headers: &HeaderMap) -> Result<Self, MeshError> {
        let value = one(headers, &CALL)?
            .ok_or_else(|| context("mesh-call-bin is missing: only a node of the mesh may call here"))?;
        if value.len() > CALL_CONTEXT_BYTES_MAX * 4 / 3 + 4 {
            return Err(context("mesh-call-bin is larger than 4096 bytes"));
        }
        let encoded = value.as_bytes();
        let unpadded = encoded.strip_suffix(b"==").or(encoded.strip_suffix(b"=")).unwrap_or(encoded);
        let bytes = STANDARD_NO_PAD.decode(unpadded).map_err(|_| context("mesh-call-bin is not base64"))?;
        let context_ = CallContext::decode(bytes.as_slice())
            .map_err(|_| context("mesh-call-bin is not a CallContext"))?;
        let exchange_id = Uuid::from_slice(&context_.exchange_id);
        let key = ExchangeKey::from_slice(&context_.exchange_key);
        let (Ok(exchange_id), Some(key)) = (exchange_id, key) else {
            return Err(context("mesh-call-bin has no exchange id or key"));
        };
        let texts = [&context_.purpose, &context_.dossier, &context_.user, &context_.system];
        if !matches!(context_.opening_hash.len(), 0 | 32)
            || texts.iter().any(|text| text.len() > PEER_TEXT_BYTES_MAX || text.chars().any(char::is_control))
        {
            return Err(context("mesh-call-bin is malformed"));
        }
        let fields =
            if context_.fields.is_empty() { None } else { Some(named_once(context_.fields.clone())?) };
        let metadata = CallMetadata {
            purpose: some(&context_.purpose),
            purpose_source: context_.purpose_source(),
            dossier: some(&context_.dossier),
            user: some(&context_.user),
            provider: None,
            fields,
            min_epoch: context_.min_epoch,
        };
        Ok(Self { metadata, context: context_, exchange_id, key })
    }
}

/// The header that carries a [`CallContext`]. Marked sensitive: it holds the exchange key, and
/// must never enter an HPACK table.
pub fn call_header(context: &CallContext) -> HeaderValue {
    let encoded = STANDARD_NO_PAD.encode(context.encode_to_vec());
    // INVARIANT: base64 is visible ASCII.
    let mut value = HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn split_fields(list: &str) -> Result<Vec<String>, MeshError> {
    named_once(list.split(',').map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned).collect())
}

/// Requested fields, each once, few and short enough for every record of the exchange.
fn named_once(mut fields: Vec<String>) -> Result<Vec<String>, MeshError> {
    fields.sort_unstable();
    fields.dedup();
    if fields.is_empty() {
        return Err(context("mesh-fields names no field"));
    }
    if fields.len() > REQUESTED_FIELDS_MAX {
        return Err(context("mesh-fields names more than 256 fields"));
    }
    if fields.iter().map(String::len).sum::<usize>() > METADATA_VALUE_BYTES_MAX {
        return Err(context("mesh-fields is longer than 1024 bytes"));
    }
    Ok(fields)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, MeshError> {
    let Some(value) = one(headers, name)? else {
        return Ok(None);
    };
    if value.len() > METADATA_VALUE_BYTES_MAX {
        return Err(context(format!("{name} is longer than {METADATA_VALUE_BYTES_MAX} bytes")));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| context(format!("{name} is not UTF-8")))?;
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(context(format!("{name} holds control characters")));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, MeshError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(context(format!("{name} is given more than once")));
    }
    Ok(first)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn context(detail: impl Into<String>) -> MeshError {
    MeshError::new(Reason::DenyContext, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_caller_states_its_context() {
        let (read, well) = CallMetadata::read(&headers(&[
            ("mesh-purpose", b"ADMIN_PROCEDURE"),
            ("mesh-fields", b"ho_ten, noi_thuong_tru"),
            ("mesh-min-epoch", b"7"),
        ]));
        well.unwrap();
        assert_eq!(read.purpose.as_deref(), Some("ADMIN_PROCEDURE"));
        assert_eq!(read.fields, Some(vec!["ho_ten".to_owned(), "noi_thuong_tru".to_owned()]));
        assert_eq!(read.min_epoch, 7);
    }

    #[test]
    fn malformed_metadata_names_the_key() {
        for (pairs, names) in [
            (&[("mesh-purpose", b"A".as_slice()), ("mesh-purpose", b"B")][..], "mesh-purpose"),
            (&[("mesh-user", b"\xff\xfe".as_slice())][..], "mesh-user"),
            (&[("mesh-fields", b" , ".as_slice())][..], "mesh-fields"),
            (&[("mesh-min-epoch", b"-1".as_slice())][..], "mesh-min-epoch"),
            (&[("mesh-dossier", [b'x'; 1025].as_slice())][..], "mesh-dossier"),
        ] {
            let error = CallMetadata::read(&headers(pairs)).1.unwrap_err();
            assert_eq!(error.reason, Reason::DenyContext);
            assert!(error.detail.contains(names), "{} does not name {names}", error.detail);
        }
    }

    #[test]
    fn nodes_understand_each_other() {
        let sent = CallContext {
            exchange_id: vec![1; 16],
            attempt: 1,
            purpose: "VERIFICATION".into(),
            exchange_key: vec![2; 32],
            opening_hash: vec![3; 32],
            fields: vec!["ho_ten".into()],
            ..CallContext::default()
        };
        let mut headers = HeaderMap::new();
        headers.insert(CALL, call_header(&sent));
        let (read, well) = PeerCall::read(&headers);
        well.unwrap();
        assert_eq!(read.context, sent);
        assert_eq!(read.metadata.purpose.as_deref(), Some("VERIFICATION"));
    }

    proptest::proptest! {
        #[test]
        fn rubbish_never_panics(bytes in proptest::collection::vec(32u8..=255, 0..300)) {
            let value = HeaderValue::from_bytes(&bytes);
            proptest::prop_assume!(value.is_ok());
            let mut headers = HeaderMap::new();
            headers.insert(CALL, value.unwrap());
            let _ = PeerCall::read(&headers);
        }
    }
}
