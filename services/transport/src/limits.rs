//! Every bound of a connection, named, with its unit and the reason for its value.
//!
//! [`Limits::default`] is right for the traffic of mesh listeners and upstream connections,
//! [`Limits::control`] for control services. A role that needs another value changes that one field.

use std::time::Duration;

/// Handshakes that may be unfinished at one listener at the same time. When one more arrives, one of the network
/// that holds most of them is shown out, so that slow peers never keep a new one from being heard.
pub const HANDSHAKES_PENDING_MAX: usize = 512;

/// Handshakes of those who knock that may be on the blocking threads of a process at once, waiting for a key in a token:
/// fewer than the token lets wait for strangers, so that none is turned away, and far fewer than there are threads.
pub const SIGNING_HANDSHAKES_MAX: usize = 32;

/// From the accepted socket to the end of the TLS handshake. Three round trips on the worst link in the
/// country take under a second.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 5_000;

/// From the end of the handshake to the first bytes of HTTP/2 (the client's preface, RFC 9113 §3.4). An honest
/// client sends them with its part of the handshake.
pub const PREFACE_TIMEOUT_MS: u64 = 5_000;

/// On HTTP/1.1, from the end of one request to the end of the next one's head.
pub const HTTP1_HEAD_TIMEOUT_MS: u64 = 30_000;

/// Bytes of an HTTP/1.1 request's head, and of what waits to be written on its connection.
pub const HTTP1_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Header fields of an HTTP/1.1 request.
pub const HTTP1_HEADERS_MAX: usize = 100;

/// Once the other side of a control service waits no more, this long until its stream is reset.
pub const DEADLINE_GRACE_MS: u64 = 1_000;

/// From the first packet to a proven HTTP/2 peer, name lookup included, for outgoing connections.
pub const CONNECT_TIMEOUT_MS: u64 = 5_000;

/// Once we have said our last word, this long for the other side to hear it and to close: three times the round trip on the
/// worst link in the country.
pub const FAREWELL_TIMEOUT_MS: u64 = 250;

/// Connections that may be registered at the same time, over all listeners sharing one register.
pub const CONNECTIONS_MAX: usize = 16_384;

/// Connections of one peer (one certificate, one uid): a node with 64 cores and 4 connections a core fits.
pub const CONNECTIONS_PER_PEER_MAX: usize = 256;

/// Streams that a peer may hold open on one connection (`SETTINGS_MAX_CONCURRENT_STREAMS`, RFC 9113 §6.5.2).
pub const STREAMS_PER_CONNECTION_MAX: u32 = 512;

/// Bytes of one decoded header list (`SETTINGS_MAX_HEADER_LIST_SIZE`); more is answered with 431. Larger than what the
/// services behind it take, so that they can refuse in their own words.
pub const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;

/// Receive window of one stream: 100 Mbit/s at 80 ms round trip.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Receive window of one connection: 400 Mbit/s at 80 ms round trip; also what one peer can make us buffer.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Bytes that may wait to be written for one stream before its body is no longer polled.
pub const STREAM_SEND_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Largest DATA frame we accept. The HTTP/2 minimum; larger ones gain nothing on any link we measured.
pub const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// Silence after which the kernel asks whether the other machine still lives (`TCP_KEEPIDLE`).
pub const TCP_KEEPALIVE_IDLE_MS: u64 = 20_000;

/// Pause between the kernel's questions (`TCP_KEEPINTVL`).
pub const TCP_KEEPALIVE_PAUSE_MS: u64 = 5_000;

/// Bytes or questions unanswered for this long close the connection (`TCP_USER_TIMEOUT`, RFC 5482).
pub const TCP_UNANSWERED_MAX_MS: u64 = 30_000;

/// Silence after which an HTTP/2 PING asks whether the other *process* still lives, where it is switched on.
pub const PING_INTERVAL_MS: u64 = 20_000;

/// An unanswered PING closes the connection after this long.
pub const PING_TIMEOUT_MS: u64 = 10_000;

/// Age at which a connection is asked to finish, so that traffic spreads again over listeners and a
/// long-lived connection is judged again. Each connection takes up to 10 % less, so that they do not all go
/// at once.
pub const CONNECTION_AGE_MAX_MS: u64 = 60 * 60 * 1_000;

/// How long calls in flight may go on once a connection was asked to finish.
pub const CONNECTION_AGE_GRACE_MS: u64 = 5 * 60 * 1_000;

/// Requests that may wait for a response head on one [`Channel`](crate::Channel).
pub const REQUESTS_WAITING_MAX: usize = 4_096;

/// Largest body that is kept until the head of its response is there, so that the request can be sent again.
pub const RESEND_BODY_BYTES_MAX: usize = 64 * 1024;

/// What one channel keeps of all bodies together; beyond it, a request is sent once.
pub const RESEND_CHANNEL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// First pause after a failed connection attempt; it doubles up to [`BACKOFF_MAX_MS`].
pub const BACKOFF_MIN_MS: u64 = 50;

/// Longest pause between connection attempts.
pub const BACKOFF_MAX_MS: u64 = 5_000;

/// A request waits this long for the next connection attempt; for a later one it is refused at once, so that
/// the caller can go to another provider node.
pub const BACKOFF_PATIENCE_MS: u64 = 200;

/// A connection that lived shorter than this counts as a failed attempt.
pub const CONNECTION_STABLE_MS: u64 = 1_000;

/// The bounds of one listener or one channel.
#[derive(Clone, Debug)]
pub struct Limits {
    /// See [`HANDSHAKES_PENDING_MAX`].
    pub handshakes_pending_max: usize,
    /// See [`HANDSHAKE_TIMEOUT_MS`].
    pub handshake_timeout: Duration,
    /// See [`PREFACE_TIMEOUT_MS`].
    pub preface_timeout: Duration,
    /// See [`CONNECT_TIMEOUT_MS`].
    pub connect_timeout: Duration,
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`CONNECTIONS_PER_PEER_MAX`].
    pub connections_per_peer_max: usize,
    /// See [`STREAMS_PER_CONNECTION_MAX`].
    pub streams_per_connection_max: u32,
    /// See [`HEADER_LIST_BYTES_MAX`].
    pub header_list_bytes_max: u32,
    /// See [`STREAM_WINDOW_BYTES`].
    pub stream_window_bytes: u32,
    /// See [`CONNECTION_WINDOW_BYTES`].
    pub connection_window_bytes: u32,
    /// See [`STREAM_SEND_BUFFER_BYTES_MAX`].
    pub stream_send_buffer_bytes_max: usize,
    /// See [`FRAME_BYTES_MAX`].
    pub frame_bytes_max: u32,
    /// See [`PING_INTERVAL_MS`]. `None`, the default, sends no PING: hyper keeps a clock per frame for it,
    /// about 1 µs of a 20 µs hop (`examples/proxy`: 0.2 to 2 µs), and on the traffic path the kernel's
    /// keepalive and each call's deadline find the same faults. [`Limits::control`] switches it on.
    pub ping_interval: Option<Duration>,
    /// See [`PING_TIMEOUT_MS`].
    pub ping_timeout: Duration,
    /// See [`CONNECTION_AGE_MAX_MS`]. `None` lets connections live as long as they like.
    pub connection_age_max: Option<Duration>,
    /// See [`CONNECTION_AGE_GRACE_MS`].
    pub connection_age_grace: Duration,
}

impl Limits {
    /// For control connections: few requests, streams that are silent for long. A process that hangs is
    /// noticed by an unanswered PING.
    pub fn control() -> Self {
        Self { ping_interval: Some(Duration::from_millis(PING_INTERVAL_MS)), ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes_pending_max: HANDSHAKES_PENDING_MAX,
            handshake_timeout: Duration::from_millis(HANDSHAKE_TIMEOUT_MS),
            preface_timeout: Duration::from_millis(PREFACE_TIMEOUT_MS),
            connect_timeout: Duration::from_millis(CONNECT_TIMEOUT_MS),
            connections_max: CONNECTIONS_MAX,
            connections_per_peer_max: CONNECTIONS_PER_PEER_MAX,
            streams_per_connection_max: STREAMS_PER_CONNECTION_MAX,
            header_list_bytes_max: HEADER_LIST_BYTES_MAX,
            stream_window_bytes: STREAM_WINDOW_BYTES,
            connection_window_bytes: CONNECTION_WINDOW_BYTES,
            stream_send_buffer_bytes_max: STREAM_SEND_BUFFER_BYTES_MAX,
            frame_bytes_max: FRAME_BYTES_MAX,
            ping_interval: None,
            ping_timeout: Duration::from_millis(PING_TIMEOUT_MS),
            connection_age_max: Some(Duration::from_millis(CONNECTION_AGE_MAX_MS)),
            connection_age_grace: Duration::from_millis(CONNECTION_AGE_GRACE_MS),
        }
    }
}
