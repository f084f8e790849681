//! The load generator, the same for every contestant: light, so that what it calls is what is measured, and strict:
//! every answer is compared byte for byte.
//!
//! **Closed loop**: so many calls under way at all times, over 16 connections, on one runtime per core. Gives throughput.
//! **Open loop**: a call every so often whatever the answers do, timed from the moment it was *due*, so that a stall
//! is not hidden by the calls it kept from being made. Gives latency.
//! **Stream**: one answer of many messages, each compared as it arrives. Gives throughput.
//! **Fresh**: every call over a connection of its own, with a full handshake. Gives connections a second.

mod caller;
mod closed;
mod fresh;
pub mod http2;
mod open;
mod stream;
mod ticks;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;
use crate::pki::Pki;
use crate::quantile::quantile;
use caller::Caller;

/// Connections that a measurement spreads its calls over; fewer calls than that, fewer connections.
pub const CONNECTIONS_MAX: usize = 16;
/// How long connecting and the last answers may take beyond the measurement itself.
const PATIENCE_MS: u64 = 15_000;

/// How calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// So many calls under way at all times.
    Closed {
        /// Calls.
        concurrency: usize,
    },
    /// So many calls begun each second.
    Open {
        /// Calls a second.
        per_second: u32,
    },
    /// One answer of so many messages.
    Stream {
        /// Messages of [`STREAM_MESSAGE_BYTES`](crate::exchange::STREAM_MESSAGE_BYTES).
        messages: usize,
    },
    /// So many calls under way at all times, each over a connection of its own.
    Fresh {
        /// Calls.
        concurrency: usize,
    },
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Whom to call.
    pub address: SocketAddr,
    /// What to ask, and what to expect.
    pub exchange: Exchange,
    /// True where the answer must hold granted fields only.
    pub released: bool,
    /// How calls are made.
    pub shape: Shape,
    /// Time before anything counts.
    pub warmup: Duration,
    /// Time in which it does.
    pub window: Duration,
}

/// What one measurement saw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Calls answered in all, warm-up included: as many exchanges must be on record.
    pub answered: u64,
    /// Calls answered a second within the window; of a stream, its messages a second.
    pub per_second: f64,
    /// Median of their latencies, microseconds; of a stream, how long it took.
    pub p50_us: f64,
    /// 99th percentile, microseconds.
    pub p99_us: f64,
}

/// Runs one measurement; the first wrong answer ends it.
pub fn run(measurement: &Measurement, pki: &Pki) -> anyhow::Result<Measured> {
    let counted = match measurement.shape {
        Shape::Closed { concurrency } => closed::run(measurement, pki, concurrency)?,
        Shape::Open { per_second } => open::run(measurement, pki, per_second)?,
        Shape::Stream { messages } => return stream::run(measurement, pki, messages),
        Shape::Fresh { concurrency } => fresh::run(measurement, pki, concurrency)?,
    };
    counted.measured(measurement.window)
}

impl Measurement {
    fn expected(&self) -> bytes::Bytes {
        let Exchange { answer, released, .. } = &self.exchange;
        if self.released { released.clone() } else { answer.clone() }
    }

    /// The longest that the measurement may take before it counts as stuck.
    fn patience(&self) -> Duration {
        self.warmup + self.window + Duration::from_millis(PATIENCE_MS)
    }
}

/// When answers count.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    fn beginning(now: Instant, measurement: &Measurement) -> Self {
        let from = now + measurement.warmup;
        Self { from, until: from + measurement.window }
    }
}

/// Answers counted so far, by one worker or by all.
#[derive(Debug, Default)]
struct Counted {
    answered: u64,
    latencies_ns: Vec<u64>,
}

impl Counted {
    /// Counts the answer to a call due at `due` that arrived at `now`.
    fn answer(&mut self, window: Window, due: Instant, now: Instant) {
        self.answered += 1;
        if window.from <= now && now < window.until {
            let latency = now.saturating_duration_since(due).as_nanos();
            self.latencies_ns.push(u64::try_from(latency).unwrap_or(u64::MAX));
        }
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.latencies_ns.extend(other.latencies_ns);
    }

    fn measured(mut self, window: Duration) -> anyhow::Result<Measured> {
        self.latencies_ns.sort_unstable();
        let in_us = |share| {
            quantile(&self.latencies_ns, share).map(|ns| Duration::from_nanos(ns).as_secs_f64() * 1e6)
        };
        let (Some(p50_us), Some(p99_us)) = (in_us(0.5), in_us(0.99)) else {
            anyhow::bail!("no call was answered within the window of {window:?}");
        };
        let count = u32::try_from(self.latencies_ns.len())?;
        Ok(Measured {
            answered: self.answered,
            per_second: f64::from(count) / window.as_secs_f64(),
            p50_us,
            p99_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_within_the_window_count_and_all_are_remembered() {
        let now = Instant::now();
        let window = Window { from: now + Duration::from_millis(10), until: now + Duration::from_millis(20) };
        let mut counted = Counted::default();
        for after_ms in [5, 10, 19, 20] {
            counted.answer(window, now, now + Duration::from_millis(after_ms));
        }
        assert_eq!(counted.answered, 4);
        let measured = counted.measured(Duration::from_millis(10)).unwrap();
        assert!((measured.per_second - 200.0).abs() < 1e-9);
        assert!((measured.p50_us - 10_000.0).abs() < 1e-9, "{measured:?}");
    }

    #[test]
    fn no_answer_is_an_error_and_not_a_zero() {
        assert!(Counted::default().measured(Duration::from_secs(1)).is_err());
    }
}
