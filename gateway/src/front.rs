//! What is answered at a node's HTTP listener: calls, and beside them the few pages that an integrator wants there. Which
//! system asks is known from its certificate; every page is that system's own.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use lienthong_console::format::one_direction;
use lienthong_proto::reason::Reason;
use lienthong_telemetry::health::HealthReport;
use maud::Markup;
use tonic::Status;

use crate::{
    openapi::{Reader, document, page},
    page::STYLE,
    routes::CONTENT_POLICY,
    transcode::{
        self, Mesh, Space,
        answer::{PROBLEM, error, plain},
        failure::Failure,
        front::refusal,
        protocol::Refused,
    },
};

/// The mesh as one system reaches it, and what the node says of it.
pub trait System: Mesh {
    /// What the system may call now; `server` is the address that it came by.
    fn reader(
        &self,
        provider: Option<String>,
        server: String,
    ) -> impl Future<Output = Result<Reader, Status>> + Send;

    /// Who the node is and how it feels.
    fn health(&self) -> HealthReport;
}

/// Answers one request.
pub async fn answer<S, B>(system: &S, space: &Space, request: Request<B>) -> Response<tonic::body::Body>
where
    S: System,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    match own_page(parts.uri.path()) {
        Some(asked) if parts.method == Method::GET => {
            drop(body);
            asked.show(system, &parts).await
        }
        Some(_) => refusal(Refused::WrongVerb),
        None => transcode::answer(system, space, Request::from_parts(parts, body)).await,
    }
}

/// A page of the front itself.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Page {
    Index,
    Dataset(String),
    Document(String),
    Reason(String),
    Style,
    Health,
    Ready,
}

/// No method has such a path: its first part is the full name of a service, which has a dot in it.
fn own_page(path: &str) -> Option<Page> {
    Some(match path {
        "/" | "/openapi" | "/openapi/" => Page::Index,
        "/style.css" => Page::Style,
        "/health" => Page::Health,
        "/ready" => Page::Ready,
        _ => {
            if let Some(name) = path.strip_prefix("/errors/") {
                return Some(Page::Reason(name.to_owned()));
            }
            let name = path.strip_prefix("/openapi/")?;
            match name.strip_suffix(".json") {
                Some(id) => Page::Document(id.to_owned()),
                None => Page::Dataset(name.to_owned()),
            }
        }
    })
}

impl Page {
    async fn show<S: System>(self, system: &S, parts: &Parts) -> Response<tonic::body::Body> {
        match self {
            Self::Style => plain(StatusCode::OK, "text/css; charset=utf-8", STYLE.into()),
            Self::Health => health(StatusCode::OK, &system.health()),
            Self::Ready => {
                let report = system.health();
                health(if report.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &report)
            }
            Self::Reason(name) => match Reason::from_name(&name) {
                Some(reason) => html(&page::reason(reason.info())),
                None => refusal(Refused::NoMethod),
            },
            Self::Index | Self::Dataset(_) | Self::Document(_) => {
                let provider = parts.headers.get("mesh-provider").and_then(|value| value.to_str().ok());
                match system.reader(provider.map(str::to_owned), server(parts)).await {
                    Ok(reader) => self.of(&reader),
                    Err(status) => {
                        let mut headers = HeaderMap::new();
                        // A status of the node's own making has nothing that a header could not hold.
                        let _ = status.add_header(&mut headers);
                        let failed = Failure::told_by(&headers);
                        let failed =
                            failed.unwrap_or_else(|| Failure::plain(status.code(), status.message()));
                        error(&failed, PROBLEM)
                    }
                }
            }
        }
    }

    fn of(&self, reader: &Reader) -> Response<tonic::body::Body> {
        let (Self::Dataset(id) | Self::Document(id)) = self else { return html(&page::index(reader)) };
        let dataset = reader.dataset(id);
        if dataset.methods.is_empty() {
            // Whether there is one that the reader may not call is not told.
            return refusal(Refused::NoMethod);
        }
        match self {
            Self::Document(_) => {
                let text = document::document(reader, &dataset).to_string();
                plain(StatusCode::OK, "application/json", text.into())
            }
            _ => html(&page::dataset(reader, &dataset)),
        }
    }
}

/// The address that the request came by, as it says itself; of a request that says none, nothing but a path.
fn server(parts: &Parts) -> String {
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or(host);
    authority
        .filter(|authority| is_authority(authority))
        .map(|host| format!("https://{host}"))
        .unwrap_or_default()
}

/// What may stand in a command of a page: nothing that a shell or a reader would take for something else.
fn is_authority(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
}

fn html(page: &Markup) -> Response<tonic::body::Body> {
    let mut response =
        plain(StatusCode::OK, "text/html; charset=utf-8", one_direction(page.0.clone()).into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn health(status: StatusCode, report: &HealthReport) -> Response<tonic::body::Body> {
    let text = serde_json::to_vec(report).unwrap_or_default();
    plain(status, "application/json", text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_calls() {
        assert_eq!(own_page("/openapi/dancu.cong_dan.json"), Some(Page::Document("dancu.cong_dan".into())));
        assert_eq!(own_page("/openapi/dancu.cong_dan"), Some(Page::Dataset("dancu.cong_dan".into())));
        assert_eq!(own_page("/errors/DENY_FIELD"), Some(Page::Reason("DENY_FIELD".into())));
        for path in ["/vn.dancu.v1.CitizenService/GetCitizen", "/v1/units/1", "/openapix", ""] {
            assert_eq!(own_page(path), None, "{path}");
        }
    }

    #[test]
    fn a_host_that_is_none_stands_in_no_command() {
        let parts = |host: &'static str| {
            Request::builder().header(header::HOST, host).body(()).unwrap().into_parts().0
        };
        assert_eq!(server(&parts("n1.h26.test:7081")), "https://n1.h26.test:7081");
        assert_eq!(server(&parts("x;rm$(y)")), "");
    }
}
