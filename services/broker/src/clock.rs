//! The one place where the broker asks for the time.

use std::time::SystemTime;

use prost_types::Timestamp;

/// The wall clock, UTC.
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
