//! Every bound of the transcoder.

/// Largest message in JSON, bytes; also the largest on the wire that is written as JSON. Binary messages may be as large as
/// the node takes them.
pub const JSON_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Largest JSON text that a message becomes, bytes: a number of an enum may become a long name.
pub const JSON_TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Deepest nesting of JSON that is read. serde_json itself ends at 128.
pub const JSON_DEPTH_MAX: usize = 100;

/// Bytes that all callers together hold in messages that are not whole yet, or are being turned.
pub const HELD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Violations of a `google.rpc.BadRequest` that are shown in JSON beside their bytes.
pub const DETAILS_SHOWN_MAX: usize = 16;

/// How long a request that was answered early is still heard, milliseconds.
pub const HEARD_OUT_MS: u64 = 5_000;

/// Bytes of it that are taken in meanwhile.
pub const HEARD_OUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Values of a query string.
pub const QUERY_PAIRS_MAX: usize = 128;
