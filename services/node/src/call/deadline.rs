//! The deadline of a call: read from `grpc-timeout`, shortened by what is spent, sent on, enforced
//! (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use lienthong_audit::journal::JournalError;
use lienthong_catalog::Method;
use lienthong_proto::{reason::Reason, status::MeshError};
use tokio::time::Instant;

use crate::{call::answer::said_once, config::LimitsConfig, limits::DEADLINE_MS_MAX};

pub use lienthong_transport::deadline::TIMEOUT;

/// When a call must be over; no moment for a stream that states no deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Reads the caller's deadline. A unary call that states none has the configured one; a stream none.
    pub fn read(headers: &HeaderMap, method: &Method, limits: &LimitsConfig) -> Result<Self, MeshError> {
        let unary = !method.is_request_streaming() && !method.is_response_streaming();
        let otherwise = unary.then(|| Duration::from_millis(limits.unary_deadline_ms));
        Self::read_or(headers, Instant::now(), otherwise)
    }

    /// The same for a call that is known to be unary.
    pub fn read_unary(headers: &HeaderMap, limits: &LimitsConfig) -> Result<Self, MeshError> {
        Self::read_or(headers, Instant::now(), Some(Duration::from_millis(limits.unary_deadline_ms)))
    }

    fn read_or(headers: &HeaderMap, now: Instant, otherwise: Option<Duration>) -> Result<Self, MeshError> {
        let stated = match headers.get(&TIMEOUT) {
            None => otherwise,
            Some(value) => Some(lienthong_transport::deadline::parse(value.as_bytes()).ok_or_else(|| {
                MeshError::new(Reason::DenyContext, "grpc-timeout must be 1 to 8 digits and a unit of HMSmun")
            })?),
        };
        Ok(Self(stated.map(|timeout| now + timeout.min(Duration::from_millis(DEADLINE_MS_MAX)))))
    }

    /// None at all.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The moment, if there is one.
    pub fn at(self) -> Option<Instant> {
        self.0
    }

    /// The moment, or `patience` from now if that is sooner.
    pub fn or_sooner(self, patience: Duration) -> Instant {
        let end = Instant::now() + patience;
        self.0.map_or(end, |at| at.min(end))
    }

    /// Whether the moment has come.
    pub fn is_over(self) -> bool {
        self.0.is_some_and(|at| at <= Instant::now())
    }

    /// Waits for the journal, but not beyond the deadline.
    pub async fn limit(
        self,
        durable: impl Future<Output = Result<(), JournalError>>,
    ) -> Result<(), MeshError> {
        let outcome = match self.0 {
            None => durable.await,
            Some(at) => match tokio::time::timeout_at(at, durable).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    return Err(MeshError::new(Reason::FailDeadline, "while the record was being written"));
                }
            },
        };
        outcome.map_err(|error| MeshError::new(Reason::DenyAuditUnavailable, error.to_string()))
    }

    /// What is left of it, as a header for the next hop; `None` without a deadline.
    pub fn header(self, now: Instant) -> Option<HeaderValue> {
        let left = self.0?.saturating_duration_since(now);
        // At most eight digits, and never zero: microseconds below 100 s, milliseconds below 10⁵ s, else seconds.
        let text = match left.as_micros().max(1) {
            micros @ ..100_000_000 => format!("{micros}u"),
            _ if left.as_millis() < 100_000_000 => format!("{}m", left.as_millis()),
            _ => format!("{}S", left.as_secs()),
        };
        Some(said_once(HeaderValue::from_str(&text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static str) -> Result<Deadline, MeshError> {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_static(text));
        Deadline::read_or(&headers, Instant::now(), None)
    }

    #[test]
    fn every_unit_is_read() {
        for text in ["1H", "2M", "3S", "4m", "5u", "6n", "99999999S"] {
            assert!(read(text).unwrap().at().is_some(), "{text}");
        }
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_spent_is_taken_off() {
        let start = Instant::now();
        let deadline = Deadline(Some(start + Duration::from_secs(2)));
        assert_eq!(deadline.header(start + Duration::from_millis(500)).unwrap(), "1500000u");
        assert_eq!(deadline.header(start + Duration::from_secs(9)).unwrap(), "1u");
        assert!(Deadline(None).header(start).is_none());
    }
}
