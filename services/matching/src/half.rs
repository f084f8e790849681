//! What matching must know of one side's record.

use lienthong_audit::hash::sha256;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Denial, Digest, Exchange, Record, Side, Status, record::Body,
};
use prost::Message;
use prost_types::Timestamp;

use crate::ExchangeId;

/// One side's record of an exchange. A protobuf message, so that it can be kept and read by later versions.
#[derive(Clone, PartialEq, Message)]
pub struct Half {
    /// Its log index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// The node that made it.
    #[prost(string, tag = "2")]
    pub recorder: String,
    /// The side on which that node stood.
    #[prost(enumeration = "Side", tag = "3")]
    pub side: i32,
    /// 1 for the first attempt.
    #[prost(uint32, tag = "4")]
    pub attempt: u32,
    /// When the exchange began by the recorder's clock, Unix milliseconds.
    #[prost(int64, tag = "5")]
    pub start_ms: i64,
    /// When the record was made.
    #[prost(int64, tag = "6")]
    pub end_ms: i64,
    /// Hash of who asked whom for what: the same on both sides.
    #[prost(bytes = "vec", tag = "7")]
    pub terms: Vec<u8>,
    /// The node of the other side.
    #[prost(string, tag = "8")]
    pub other: String,
    /// Nodes to which earlier attempts went.
    #[prost(string, repeated, tag = "9")]
    pub earlier: Vec<String>,
    /// Leaf hash of the opening record.
    #[prost(bytes = "vec", tag = "10")]
    pub opening: Vec<u8>,
    /// Leaf hash of the other side's, as it was told; empty if it was not.
    #[prost(bytes = "vec", tag = "11")]
    pub other_opening: Vec<u8>,
    /// How it ended.
    #[prost(enumeration = "Status", tag = "12")]
    pub status: i32,
    /// Requests.
    #[prost(message, optional, tag = "13")]
    pub request: Option<Digest>,
    /// Responses.
    #[prost(message, optional, tag = "14")]
    pub response: Option<Digest>,
    /// Records released.
    #[prost(uint64, tag = "15")]
    pub records: u64,
    /// Right that decided, as "right_id@epoch".
    #[prost(string, tag = "16")]
    pub right: String,
    /// Dataset.
    #[prost(string, tag = "17")]
    pub dataset: String,
    /// True for a denial by the provider's node: nothing was opened.
    #[prost(bool, tag = "18")]
    pub denied: bool,
}

impl Half {
    /// Reads what a record says of an exchange; `None` where it owes nothing to another side: a consumer's own denial,
    /// openings, progress, and all that is no exchange.
    pub fn read(index: u64, record: &Record) -> Option<(ExchangeId, Half)> {
        let end_ms = unix_ms(record.time.as_ref());
        let (exchange, half) = match record.body.as_ref()? {
            Body::Closing(closing) => (closing.exchange.as_ref()?, of_closing(closing, end_ms)),
            Body::Denial(denial) => {
                let exchange =
                    denial.exchange.as_ref().filter(|exchange| exchange.side() == Side::Provider)?;
                (exchange, of_denial(denial, end_ms))
            }
            _ => return None,
        };
        let id = ExchangeId::try_from(exchange.id.as_slice()).ok()?;
        let side = exchange.side();
        let other = match side {
            Side::Consumer => &exchange.provider_node,
            Side::Provider => &exchange.consumer_node,
            Side::Unspecified => return None,
        };
        let half = Half {
            index,
            recorder: record.recorder.clone(),
            side: side.into(),
            attempt: exchange.attempt,
            terms: terms(exchange),
            other: other.clone(),
            right: exchange.right.clone(),
            dataset: exchange.dataset.clone(),
            ..half
        };
        Some((id, half))
    }

    /// Whether the recorder says how the exchange ended, and that all went as it should.
    pub fn is_complete(&self) -> bool {
        matches!(self.status(), Status::Delivered | Status::Empty)
    }

    /// Messages of the response that the recorder saw.
    pub fn messages(&self) -> u64 {
        self.response.as_ref().map_or(0, |digest| digest.messages)
    }

    /// Whether the consumer says that it reached nobody, or got nothing: then the provider need not know of it.
    pub fn needs_no_other(&self) -> bool {
        self.side() == Side::Consumer && !self.is_complete() && self.messages() == 0
    }
}

fn of_closing(closing: &Closing, end_ms: i64) -> Half {
    let duration_ms = i64::try_from(closing.duration_us / 1000).unwrap_or(i64::MAX);
    Half {
        start_ms: end_ms.saturating_sub(duration_ms),
        end_ms,
        earlier: closing.earlier_nodes.clone(),
        opening: closing.opening_hash.clone(),
        other_opening: closing.peer_opening_hash.clone(),
        status: closing.status,
        request: closing.request.clone(),
        response: closing.response.clone(),
        records: closing.records,
        ..Half::default()
    }
}

fn of_denial(_: &Denial, end_ms: i64) -> Half {
    Half { start_ms: end_ms, end_ms, status: Status::Denied.into(), denied: true, ..Half::default() }
}

/// Who asked whom for what. What each side decides for itself (the right and its epoch, the peer's certificate) is not in
/// it, nor what is only known at the end (node of the provider, attempt).
fn terms(exchange: &Exchange) -> Vec<u8> {
    let of_both = Exchange {
        id: Vec::new(),
        attempt: 0,
        side: 0,
        provider_node: String::new(),
        right: String::new(),
        peer_certificate: Vec::new(),
        ..exchange.clone()
    };
    sha256(&of_both.encode_to_vec()).0.to_vec()
}

/// A timestamp as Unix milliseconds; 0 where there is none.
pub fn unix_ms(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000))
}
