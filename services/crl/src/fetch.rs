//! One request, bounded in time and size. No redirect is followed and no proxy is asked, whatever the environment says:
//! the operator named one address, and that one is asked.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, HOST, IF_MODIFIED_SINCE, LAST_MODIFIED, LOCATION, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lienthong_certs::judge::CRL_BYTES_MAX;
use tokio::net::TcpStream;

use crate::address::Address;

/// What an address answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A body, and the time that it says it was changed, to be told next time.
    Body(Bytes, Option<HeaderValue>),
    /// The same as last time.
    Unchanged,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody answers there.
    #[error("nobody answers: {0}")]
    Unreachable(#[source] std::io::Error),
    /// It took too long, all in all.
    #[error("not there within {0} ms")]
    Timeout(u128),
    /// Another answer than a list.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// It points elsewhere.
    #[error(
        "it points to {0:?}; name that address in the configuration, if it is right: redirects are not followed"
    )]
    Redirect(String),
    /// More than a list may have.
    #[error("it is larger than {CRL_BYTES_MAX} bytes")]
    TooLarge,
    /// The answer broke off, or is none of HTTP.
    #[error("the answer is broken: {0}")]
    Broken(String),
}

/// Asks `address` once; `known` is what it said of its time when it was last fetched. All of it ends within `timeout`.
///
/// # Errors
/// [`FetchError`].
pub async fn fetch(
    address: &Address,
    known: Option<&HeaderValue>,
    timeout: Duration,
) -> Result<Fetched, FetchError> {
    let asked = tokio::time::timeout(timeout, ask(address, known)).await;
    asked.unwrap_or(Err(FetchError::Timeout(timeout.as_millis())))
}

async fn ask(address: &Address, known: Option<&HeaderValue>) -> Result<Fetched, FetchError> {
    let broken = |error: &dyn std::error::Error| FetchError::Broken(error.to_string());
    let socket = TcpStream::connect(&address.authority).await.map_err(FetchError::Unreachable)?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(socket)).await.map_err(|error| broken(&error))?;
    // It is polled here, and ends with the request, however that ends.
    let mut connection = std::pin::pin!(connection);
    let mut request = Request::get(&address.target)
        .header(HOST, &address.host)
        .header(USER_AGENT, concat!("lienthong/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/pkix-crl, */*;q=0.1");
    if let Some(known) = known {
        request = request.header(IF_MODIFIED_SINCE, known);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let said = |name| head.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        match head.status {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Fetched::Unchanged),
            status if status.is_redirection() => {
                let to = said(LOCATION).unwrap_or_default().chars().take(256).collect();
                return Err(FetchError::Redirect(to));
            }
            status => return Err(FetchError::Status(status)),
        }
        let bytes_max = usize::try_from(CRL_BYTES_MAX).unwrap_or(usize::MAX);
        if said(CONTENT_LENGTH)
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: u64| length > CRL_BYTES_MAX)
        {
            return Err(FetchError::TooLarge);
        }
        let collected = Limited::new(body, bytes_max).collect().await;
        let bytes = collected.map_err(|error| {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            if too_large { FetchError::TooLarge } else { FetchError::Broken(error.to_string()) }
        })?;
        Ok(Fetched::Body(bytes.to_bytes(), head.headers.get(LAST_MODIFIED).cloned()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answered = &mut answer => answered,
        ended = &mut connection => match ended {
            // All of it may have come already.
            Ok(()) => answer.await,
            Err(error) => Err(broken(&error)),
        },
    }
}
