//! What a call asks the provider to do, judged against its bounds. No I/O, no clock.

use std::collections::HashMap;
use std::time::Duration;

use lienthong_proto::vn::thunghiem::v1::{Echo, Instruction};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::records::PAYLOAD_BYTES_MAX;

/// Longest wait, milliseconds: for a delay, a pause, or a cancellation.
pub const WAIT_MS_MAX: u64 = 60_000;

/// Longest name of a watch, bytes.
pub const WATCH_BYTES_MAX: usize = 64;

/// Longest text of an instruction, bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Most field violations.
pub const VIOLATIONS_MAX: usize = 64;

/// Domain of every `google.rpc.ErrorInfo` of the trial.
pub const ERROR_DOMAIN: &str = "thunghiem.vn";

/// An instruction within its bounds.
#[derive(Clone, Debug)]
pub struct Orders {
    /// How the call fails, where it is to.
    pub failure: Option<Failure>,
    /// Wait before the answer begins.
    pub delay: Duration,
    /// Never answer.
    pub wait_for_cancellation: bool,
    /// Where metadata is sent back.
    pub echo: Echo,
    /// Payload of each record of the answer.
    pub payload_bytes: usize,
    /// The watch that counts the call; empty: none.
    pub watch: String,
}

/// A failure that was asked for.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Code, message, details, and the trailers that belong to it.
    pub status: Status,
    /// In a stream of answers: after this many messages.
    pub after: u32,
    /// In a stream of answers: without initial metadata.
    pub trailers_only: bool,
    /// Only the first this many calls of the watch; 0: all.
    pub first: u32,
}

impl Orders {
    /// Judges what came; an instruction beyond its bounds is refused, with the field named.
    pub fn read(instruction: Option<Instruction>) -> Result<Self, Status> {
        let asked = instruction.unwrap_or_default();
        let texts = [
            ("message", &asked.message),
            ("error_reason", &asked.error_reason),
            ("debug_detail", &asked.debug_detail),
        ];
        for (field, text) in texts {
            within(field, text.len(), TEXT_BYTES_MAX, "bytes")?;
        }
        within("watch", asked.watch.len(), WATCH_BYTES_MAX, "bytes")?;
        within("field_violations", asked.field_violations.len(), VIOLATIONS_MAX, "violations")?;
        let payload_bytes = usize::try_from(asked.payload_bytes).unwrap_or(usize::MAX);
        within("payload_bytes", payload_bytes, PAYLOAD_BYTES_MAX, "bytes")?;
        Ok(Self {
            failure: failure(&asked)?,
            delay: wait("delay", asked.delay.as_ref())?,
            wait_for_cancellation: asked.wait_for_cancellation,
            echo: asked.echo(),
            payload_bytes,
            watch: asked.watch,
        })
    }
}

/// A wait of at most [`WAIT_MS_MAX`]; absent: none.
pub fn wait(field: &str, duration: Option<&prost_types::Duration>) -> Result<Duration, Status> {
    let longest = Duration::from_millis(WAIT_MS_MAX);
    let wait = duration.map_or(Ok(Duration::ZERO), |duration| Duration::try_from(*duration));
    wait.ok()
        .filter(|wait| *wait <= longest)
        .ok_or_else(|| refused(field, &format!("must be between 0 and {} seconds", longest.as_secs())))
}

/// INVALID_ARGUMENT with the field named, for people and in a `google.rpc.BadRequest`.
pub fn refused(field: &str, description: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, format!("{field} {description}"), details)
}

fn within(field: &str, size: usize, max: usize, unit: &str) -> Result<(), Status> {
    if size <= max { Ok(()) } else { Err(refused(field, &format!("has {size} {unit}; at most {max}"))) }
}

fn failure(asked: &Instruction) -> Result<Option<Failure>, Status> {
    if asked.code == 0 {
        return Ok(None);
    }
    if !(1..=16).contains(&asked.code) {
        return Err(refused("code", "must be a gRPC status code, 0 to 16"));
    }
    let mut status =
        Status::with_error_details(Code::from_i32(asked.code), asked.message.clone(), details(asked)?);
    if let Some(pushback) = &asked.retry_pushback {
        let pushback_ms =
            pushback.seconds.saturating_mul(1_000).saturating_add(i64::from(pushback.nanos / 1_000_000));
        status.metadata_mut().insert("grpc-retry-pushback-ms", MetadataValue::from(pushback_ms));
    }
    Ok(Some(Failure {
        status,
        after: asked.fail_after,
        trailers_only: asked.trailers_only,
        first: asked.fail_first,
    }))
}

fn details(asked: &Instruction) -> Result<ErrorDetails, Status> {
    let mut details = ErrorDetails::new();
    for violation in &asked.field_violations {
        details.add_bad_request_violation(&violation.field, &violation.description);
    }
    if !asked.error_reason.is_empty() {
        details.set_error_info(&asked.error_reason, ERROR_DOMAIN, HashMap::new());
    }
    if let Some(delay) = &asked.retry_delay {
        details.set_retry_info(Some(wait("retry_delay", Some(delay))?));
    }
    if !asked.debug_detail.is_empty() {
        details.set_debug_info(Vec::new(), &asked.debug_detail);
    }
    Ok(details)
}

#[cfg(test)]
mod tests {
    use lienthong_proto::vn::thunghiem::v1::FieldViolation;

    use super::*;

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }

    #[test]
    fn nothing_asked_is_nothing_done() {
        let orders = Orders::read(None).unwrap();
        assert!(orders.failure.is_none() && !orders.wait_for_cancellation);
        assert_eq!((orders.delay, orders.payload_bytes, orders.echo), (Duration::ZERO, 0, Echo::Unspecified));
    }

    #[test]
    fn a_failure_carries_what_was_asked_for() {
        let asked = Instruction {
            code: 9,
            message: "chưa đủ điều kiện".into(),
            field_violations: vec![FieldViolation { field: "a".into(), description: "b".into() }],
            error_reason: "TRIAL".into(),
            retry_delay: Some(seconds(3)),
            debug_detail: "inside".into(),
            retry_pushback: Some(seconds(-1)),
            ..Instruction::default()
        };
        let status = Orders::read(Some(asked)).unwrap().failure.unwrap().status;
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "chưa đủ điều kiện"));
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1000");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "a");
        assert_eq!(details.error_info().unwrap().domain, ERROR_DOMAIN);
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(3)));
        assert_eq!(details.debug_info().unwrap().detail, "inside");
    }

    #[test]
    fn every_bound_is_kept_and_named() {
        let long = |bytes: usize| "x".repeat(bytes);
        let payload = u32::try_from(PAYLOAD_BYTES_MAX).unwrap();
        for (field, at, above) in [
            (
                "watch",
                Instruction { watch: long(WATCH_BYTES_MAX), ..Instruction::default() },
                Instruction { watch: long(WATCH_BYTES_MAX + 1), ..Instruction::default() },
            ),
            (
                "payload_bytes",
                Instruction { payload_bytes: payload, ..Instruction::default() },
                Instruction { payload_bytes: payload + 1, ..Instruction::default() },
            ),
            (
                "delay",
                Instruction { delay: Some(seconds(60)), ..Instruction::default() },
                Instruction { delay: Some(seconds(61)), ..Instruction::default() },
            ),
            (
                "delay",
                Instruction { delay: Some(seconds(0)), ..Instruction::default() },
                Instruction { delay: Some(seconds(-1)), ..Instruction::default() },
            ),
            (
                "code",
                Instruction { code: 16, ..Instruction::default() },
                Instruction { code: 17, ..Instruction::default() },
            ),
            (
                "message",
                Instruction { message: long(TEXT_BYTES_MAX), ..Instruction::default() },
                Instruction { message: long(TEXT_BYTES_MAX + 1), ..Instruction::default() },
            ),
            (
                "field_violations",
                Instruction {
                    field_violations: vec![FieldViolation::default(); VIOLATIONS_MAX],
                    ..Instruction::default()
                },
                Instruction {
                    field_violations: vec![FieldViolation::default(); VIOLATIONS_MAX + 1],
                    ..Instruction::default()
                },
            ),
        ] {
            assert!(Orders::read(Some(at)).is_ok(), "{field}");
            let refused = Orders::read(Some(above)).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, field);
        }
    }
}
