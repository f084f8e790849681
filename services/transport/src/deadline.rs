//! How long the other side waits for an answer: `grpc-timeout` (gRPC over HTTP/2, "Timeout"), the one header of gRPC
//! that this crate reads. A deadline that only the other side knew would leave its work running after it has gone.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

/// `grpc-timeout`.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What the headers state; `None` where they state none, or nothing that can be read.
pub fn stated(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(&TIMEOUT)?.as_bytes())
}

/// Reads one to eight digits and a unit of `HMSmun`.
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_nothing_else() {
        for (text, seconds) in [("1H", 3600), ("2M", 120), ("3S", 3), ("4000m", 4), ("99999999S", 99_999_999)]
        {
            assert_eq!(parse(text.as_bytes()), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(
            (parse(b"5u"), parse(b"6n")),
            (Some(Duration::from_micros(5)), Some(Duration::from_nanos(6)))
        );
        for text in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S", "1\u{661}S"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
