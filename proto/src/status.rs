//! A reason as the gRPC status that a caller reads: code, English message, and three details:
//! `ErrorInfo` for machines, `LocalizedMessage` in Vietnamese and `Help` for people (AIP-193).

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::reason::{DOMAIN, Reason};

/// Longest detail that goes into a message, bytes.
pub const DETAIL_BYTES_MAX: usize = 256;

/// An error of the mesh, on its way to a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshError {
    /// Reason of the closed list.
    pub reason: Reason,
    /// Rule, catalog entry or right that decided; may be empty.
    pub rule: String,
    /// What exactly; never a value of data.
    pub detail: String,
    /// The exchange, once it has an id.
    pub exchange_id: Option<String>,
    /// Earliest useful retry, milliseconds; only where waiting helps.
    pub retry_after_ms: Option<u64>,
}

impl MeshError {
    /// An error for this reason with these words, cut to [`DETAIL_BYTES_MAX`] at a character border.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let mut detail: String = detail.into();
        if detail.len() > DETAIL_BYTES_MAX {
            let mut end = DETAIL_BYTES_MAX;
            while !detail.is_char_boundary(end) {
                end -= 1;
            }
            detail.truncate(end);
        }
        Self { reason, rule: String::new(), detail, exchange_id: None, retry_after_ms: None }
    }

    /// The same, naming what decided.
    #[must_use]
    pub fn with_rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = rule.into();
        self
    }

    /// The status as a caller reads it.
    pub fn to_status(&self) -> Status {
        let info = self.reason.info();
        let rule = if self.rule.is_empty() { info.rule } else { &self.rule };
        let mut metadata = HashMap::from([("rule".to_owned(), rule.to_owned())]);
        if !self.detail.is_empty() {
            metadata.insert("detail".to_owned(), self.detail.clone());
        }
        if let Some(id) = &self.exchange_id {
            metadata.insert("exchange_id".to_owned(), id.clone());
        }
        let mut details = ErrorDetails::new();
        details.set_error_info(info.name, DOMAIN, metadata).set_localized_message(
            "vi",
            format!("{}. {}.", capitalised(info.vi), capitalised(info.remedy_vi)),
        );
        if let Some(milliseconds) = self.retry_after_ms {
            details.set_retry_info(Some(std::time::Duration::from_millis(milliseconds)));
        }
        Status::with_error_details(info.code, self.to_string(), details)
    }

    /// The status as the headers of a trailers-only answer. Where waiting helps, `grpc-retry-pushback-ms` tells the
    /// retry policy of gRPC's own libraries what `RetryInfo` tells people.
    pub fn to_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        // INVARIANT: a status made here has no metadata of its own, so that nothing can be rejected.
        if self.to_status().add_header(&mut headers).is_err() {
            headers.insert("grpc-status", HeaderValue::from(self.reason.info().code as i32));
        }
        if let Some(milliseconds) = self.retry_after_ms {
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from(milliseconds));
        }
        headers
    }
}

impl std::fmt::Display for MeshError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let info = self.reason.info();
        write!(f, "{}: {}", info.name, info.en)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        write!(f, "; {}", info.remedy_en)
    }
}

impl std::error::Error for MeshError {}

/// What a client finds in a status that the mesh made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Reason of the closed list.
    pub reason: Reason,
    /// `ErrorInfo.metadata`.
    pub metadata: HashMap<String, String>,
    /// Vietnamese text, when there is one.
    pub vi: Option<String>,
}

/// Reads the mesh's reason from a status; `None` for a status that is not the mesh's.
pub fn read(status: &Status) -> Option<ReadError> {
    let details = status.get_error_details();
    let info = details.error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    Some(ReadError {
        reason: Reason::from_name(&info.reason)?,
        metadata: info.metadata.clone(),
        vi: details.localized_message().map(|message| message.message.clone()),
    })
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_reads_what_was_written() {
        let error = MeshError {
            exchange_id: Some("0193".to_owned()),
            retry_after_ms: Some(1500),
            ..MeshError::new(Reason::DenyField, "tinh_trang_hon_nhan").with_rule("CE-0001@1")
        };
        let headers = error.to_headers();
        assert_eq!(headers["grpc-retry-pushback-ms"], "1500");
        let status = Status::from_header_map(&headers).unwrap();
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        let read = read(&status).unwrap();
        assert_eq!(read.reason, Reason::DenyField);
        assert_eq!(read.metadata["detail"], "tinh_trang_hon_nhan");
        assert_eq!(read.metadata["rule"], "CE-0001@1");
        assert_eq!(read.metadata["exchange_id"], "0193");
        assert!(read.vi.unwrap().starts_with("Yêu cầu đích danh"));
    }

    #[test]
    fn a_foreign_status_is_not_ours() {
        assert!(read(&Status::permission_denied("no")).is_none());
    }

    #[test]
    fn a_long_detail_is_cut_at_a_character_border() {
        let error = MeshError::new(Reason::DenyContext, "ệ".repeat(1000));
        assert!(error.detail.len() <= DETAIL_BYTES_MAX);
        assert!(error.detail.chars().all(|c| c == 'ệ'));
    }
}
