//! What a request speaks, told by its method, its content type and its path alone.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};

use super::codec::Codec;

/// A language that the front speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken {
    /// gRPC itself.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// Connect, one message each way.
    Unary(Codec),
    /// The same with the message in the query string.
    Get,
    /// Connect, messages in envelopes.
    Stream(Codec),
}

/// A request that speaks no language of the front. It is answered by its status; it is no call, so it leaves no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No path of a method.
    #[error("there is no such page; a method is called at /PACKAGE.SERVICE/METHOD, and /openapi lists yours")]
    NoMethod,
    /// Neither POST nor GET.
    #[error("a method is called with POST, or with GET where it has no side effects")]
    WrongVerb,
    /// GET of a method with side effects.
    #[error("the method may have side effects: call it with POST")]
    NotSafe,
    /// A content type that is none of [`CONTENT_TYPES`], or not of the method's kind.
    #[error(
        "send application/json, or application/connect+json to a method that streams (also +proto, and gRPC-Web)"
    )]
    WrongType,
    /// gRPC needs trailers and frames.
    #[error("gRPC itself needs HTTP/2; over HTTP/1.1 speak Connect (application/json) or gRPC-Web")]
    NeedsHttp2,
    /// Another version of Connect.
    #[error("connect-protocol-version must be 1")]
    WrongConnect,
}

/// What may be posted.
pub const CONTENT_TYPES: &str = "application/json, application/proto, application/connect+json, \
                                 application/connect+proto, application/grpc, application/grpc-web, application/grpc-web-text";

impl Refused {
    /// Status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoMethod => StatusCode::NOT_FOUND,
            Self::WrongVerb | Self::NotSafe => StatusCode::METHOD_NOT_ALLOWED,
            Self::WrongType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NeedsHttp2 => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::WrongConnect => StatusCode::BAD_REQUEST,
        }
    }

    /// Headers that help.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::WrongVerb => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST"));
            }
            Self::NotSafe => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::WrongType => {
                headers.insert("accept-post", HeaderValue::from_static(CONTENT_TYPES));
            }
            Self::NoMethod | Self::NeedsHttp2 | Self::WrongConnect => {}
        }
        headers
    }
}

/// Connect's header that tells its version.
pub const CONNECT_VERSION: &str = "connect-protocol-version";

/// What this request speaks.
pub fn spoken(request: &Parts) -> Result<Spoken, Refused> {
    if !is_method(request.uri.path()) {
        return Err(Refused::NoMethod);
    }
    if request.headers.get(CONNECT_VERSION).is_some_and(|version| version != "1") {
        return Err(Refused::WrongConnect);
    }
    match request.method {
        Method::GET => Ok(Spoken::Get),
        Method::POST => {
            let content_type = request.headers.get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
            let spoken = of_type(content_type).ok_or(Refused::WrongType)?;
            if spoken == Spoken::Grpc && request.version != Version::HTTP_2 {
                return Err(Refused::NeedsHttp2);
            }
            Ok(spoken)
        }
        _ => Err(Refused::WrongVerb),
    }
}

/// True for `/package.Service/Method`.
fn is_method(path: &str) -> bool {
    let mut parts = path.split('/');
    let named = |part: Option<&str>| part.is_some_and(|part| !part.is_empty());
    parts.next() == Some("") && named(parts.next()) && named(parts.next()) && parts.next().is_none()
}

fn of_type(content_type: &str) -> Option<Spoken> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    let kind = kind.trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/grpc" | "application/grpc+proto" => return Some(Spoken::Grpc),
        "application/grpc-web"
        | "application/grpc-web+proto"
        | "application/grpc-web-text"
        | "application/grpc-web-text+proto" => return Some(Spoken::GrpcWeb),
        _ => {}
    }
    let parameters = parameters.trim().to_ascii_lowercase().replace('"', "");
    if !parameters.is_empty() && parameters != "charset=utf-8" {
        return None;
    }
    let name = kind.strip_prefix("application/")?;
    match name.strip_prefix("connect+") {
        Some(name) => Codec::named(name).map(Spoken::Stream),
        None => Codec::named(name).map(Spoken::Unary),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn told(method: &str, path: &str, content_type: &str) -> Result<Spoken, Refused> {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
        spoken(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn content_types_say_what_is_spoken() {
        for (content_type, expected) in [
            ("application/json", Ok(Spoken::Unary(Codec::Json))),
            ("Application/JSON; charset=\"UTF-8\"", Ok(Spoken::Unary(Codec::Json))),
            ("application/json; charset=latin1", Err(Refused::WrongType)),
            ("application/proto", Ok(Spoken::Unary(Codec::Proto))),
            ("application/connect+json", Ok(Spoken::Stream(Codec::Json))),
            ("application/connect+proto", Ok(Spoken::Stream(Codec::Proto))),
            ("application/grpc-web+proto", Ok(Spoken::GrpcWeb)),
            ("application/grpc-web-text", Ok(Spoken::GrpcWeb)),
            ("application/grpc", Err(Refused::NeedsHttp2)),
            ("application/connect+xml", Err(Refused::WrongType)),
            ("text/plain", Err(Refused::WrongType)),
            ("application/x-www-form-urlencoded", Err(Refused::WrongType)),
            ("", Err(Refused::WrongType)),
        ] {
            assert_eq!(told("POST", "/a.B/C", content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn only_paths_of_methods_are_calls() {
        for path in ["/", "/a.B", "/a.B/", "//C", "/a.B/C/d", "/a.B/C/"] {
            assert_eq!(told("POST", path, "application/json"), Err(Refused::NoMethod), "{path}");
        }
        assert_eq!(told("GET", "/a.B/C?x=y", ""), Ok(Spoken::Get));
        assert_eq!(told("DELETE", "/a.B/C", ""), Err(Refused::WrongVerb));
    }
}
