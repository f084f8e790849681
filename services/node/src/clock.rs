//! The node's wall clock, read at the edges only: the cores below take times as arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, since 1970-01-01 UTC.
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Now, Unix milliseconds.
pub fn unix_ms() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// Now, Unix microseconds.
pub fn unix_us() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

/// Now, as the decision takes it.
pub fn now() -> time::OffsetDateTime {
    time::OffsetDateTime::now_utc()
}

/// Now, as records and contracts state it.
pub fn timestamp() -> prost_types::Timestamp {
    since(since_epoch())
}

/// A moment given as Unix milliseconds.
pub fn timestamp_of(unix_ms: u64) -> prost_types::Timestamp {
    since(Duration::from_millis(unix_ms))
}

/// A moment given by the system.
pub fn timestamp_of_system(time: SystemTime) -> prost_types::Timestamp {
    since(time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}

fn since(epoch: Duration) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: i64::try_from(epoch.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(epoch.subsec_nanos()).unwrap_or(0),
    }
}
