//! HTTP/2 as the load generator speaks it: the `h2` crate without a layer above, with windows large enough never to
//! matter.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;

/// Receive window of one stream, bytes.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// Receive window of one connection, bytes.
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Settings of a connection.
pub fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .enable_push(false);
    builder
}

/// A body that has arrived.
#[derive(Debug, Default)]
pub struct Collected {
    /// All its bytes.
    pub message: Bytes,
    /// What followed them.
    pub trailers: Option<HeaderMap>,
}

/// Waits for a body. Copies only where it came in several frames.
pub async fn collect(mut body: RecvStream) -> Result<Collected, h2::Error> {
    let mut message = Bytes::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if message.is_empty() {
            message = data;
        } else {
            let mut joined = BytesMut::from(message);
            joined.extend_from_slice(&data);
            message = joined.freeze();
        }
    }
    let trailers = body.trailers().await?;
    Ok(Collected { message, trailers })
}
