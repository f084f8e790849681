//! Who asks, as the agency's own node says.
//!
//! A node strips whatever `mesh-*` metadata a caller sent and sets its own (design §6, *Metadata*), so a backend may
//! believe them as far as it believes its node. A register that must decide by consumer can read them from the
//! request; the sample registers only write them to the log, at level debug.
//!
//! Which node is its own, a backend on TCP tells by certificate: [`OwnNode`].

use std::fmt;

use http::HeaderMap;
use lienthong_transport::Peer;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Agency code of the consumer.
pub const CONSUMER: &str = "mesh-consumer";
/// The consumer's information system.
pub const SYSTEM: &str = "mesh-system";
/// The purpose of the call, one of the registered purposes.
pub const PURPOSE: &str = "mesh-purpose";
/// Opaque id of the person behind the call.
pub const USER: &str = "mesh-user";
/// Id of the exchange, a UUIDv7, the same in every record of it.
pub const EXCHANGE_ID: &str = "mesh-exchange-id";

/// Characters of one value that are shown.
pub const VALUE_CHARS_MAX: usize = 64;

/// What a node says about a call.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a>(&'a HeaderMap);

impl<'a> Caller<'a> {
    /// Reads the metadata of one call.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self(headers)
    }

    /// The value under `name`, or `-` where there is none; never longer than [`VALUE_CHARS_MAX`].
    pub fn value(&self, name: &str) -> &'a str {
        let value = self.0.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        // `to_str` lets only visible ASCII pass, so every index is a character boundary.
        &value[..value.len().min(VALUE_CHARS_MAX)]
    }
}

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} for {}", self.value(CONSUMER), self.value(SYSTEM), self.value(PURPOSE))
    }
}

/// Writes the call to the log, at level debug, and passes it on.
pub fn logged<B>(request: http::Request<B>) -> http::Request<B> {
    let caller = Caller::of(request.headers());
    tracing::debug!(
        method = request.uri().path(),
        consumer = caller.value(CONSUMER),
        system = caller.value(SYSTEM),
        purpose = caller.value(PURPOSE),
        user = caller.value(USER),
        exchange_id = caller.value(EXCHANGE_ID),
        "call"
    );
    request
}

/// Lets only the agency's own certificates ask: whoever else is of the mesh must come through the node, which decides
/// and records. On a local hop the kernel has already said who may open the socket.
///
/// The agency is read from the judged certificate's URN. That suits these fake rows; a register of real ones also pins
/// its node's certificate.
#[derive(Clone, Copy, Debug)]
pub struct OwnNode {
    /// Code of the agency that runs the backend.
    pub agency_code: &'static str,
}

impl Interceptor for OwnNode {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let certificate = request.extensions().get::<Peer>().and_then(Peer::certificate);
        match certificate.map(|certificate| certificate.agency_urn.as_deref()) {
            Some(agency) if agency != Some(self.agency_code) => Err(Status::permission_denied(format!(
                "this backend answers only the node of {}; ask through your own node",
                self.agency_code
            ))),
            _ => Ok(request),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn hostile_values_are_cut_or_dropped() {
        let mut headers = HeaderMap::new();
        headers.insert(CONSUMER, HeaderValue::from_static("H26.90"));
        headers.insert(USER, HeaderValue::from_str(&"x".repeat(10_000)).unwrap());
        headers.insert(SYSTEM, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        let caller = Caller::of(&headers);
        assert_eq!(caller.value(CONSUMER), "H26.90");
        assert_eq!(caller.value(USER).len(), VALUE_CHARS_MAX);
        assert_eq!(caller.value(SYSTEM), "-");
        assert_eq!(caller.to_string(), "H26.90/- for -");
    }
}
