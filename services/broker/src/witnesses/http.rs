//! As much HTTP/1.1 as the witness protocol needs: a request at a time on a connection that is kept.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lienthong_audit::note::NOTE_BYTES_MAX;
use tokio::net::TcpStream;

/// Where a witness is: an `http://` address, perhaps with a path.
#[derive(Debug)]
pub(super) struct Client {
    authority: String,
    prefix: String,
    kept: Option<SendRequest<Full<Bytes>>>,
}

/// What a witness answered.
#[derive(Debug)]
pub(super) struct Said {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl Client {
    /// Reads an address.
    pub fn new(url: &str) -> Result<Self, String> {
        let wrong = || format!("{url:?} is no address of the form http://HOST:PORT/PATH");
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(wrong());
        };
        let authority = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        Ok(Self { authority, prefix: uri.path().trim_end_matches('/').to_owned(), kept: None })
    }

    /// Sends a request and reads its answer, at most as long as a note may be.
    pub async fn send(&mut self, method: Method, path: &str, body: String) -> Result<Said, String> {
        let mut line = match self.kept.take().filter(|line| !line.is_closed()) {
            Some(line) => line,
            None => self.connect().await?,
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.prefix))
            .header(HOST, &self.authority)
            .body(Full::new(Bytes::from(body)))
            .map_err(text)?;
        line.ready().await.map_err(text)?;
        let response = line.send_request(request).await.map_err(text)?;
        let status = response.status().as_u16();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let body = Limited::new(response.into_body(), NOTE_BYTES_MAX).collect().await.map_err(text)?;
        let body = String::from_utf8(body.to_bytes().into()).map_err(text)?;
        self.kept = Some(line);
        Ok(Said { status, content_type, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(&self.authority).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let (line, connection) = handshake(TokioIo::new(stream)).await.map_err(text)?;
        // Ends with the line, or with the witness.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection to a witness ended");
            }
        });
        Ok(line)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (url, authority, prefix) in [
            ("http://w.example:7500", "w.example:7500", ""),
            ("http://w.example/", "w.example:80", ""),
            ("http://w.example:1/witness/", "w.example:1", "/witness"),
        ] {
            let client = Client::new(url).unwrap();
            assert_eq!((client.authority.as_str(), client.prefix.as_str()), (authority, prefix));
        }
        for url in ["", "w.example:7500", "https://w.example", "http://", "/a"] {
            assert!(Client::new(url).is_err(), "{url}");
        }
    }
}
