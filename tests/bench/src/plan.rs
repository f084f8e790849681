//! What is measured: the cases, how long, how often, and whose turn it is. Pure.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contestant::Contestant;
use crate::exchange::{PAYLOADS_BYTES, STREAM_MESSAGE_BYTES};
use crate::load::Shape;

/// Concurrencies of the closed loop.
pub const CONCURRENCIES: [usize; 4] = [1, 16, 64, 256];
/// Calls under way where each has a connection of its own.
pub const FRESH_CONCURRENCY: usize = 16;
/// Rate of the open loop, calls a second.
pub const OPEN_PER_SECOND: u32 = 1_000;

/// One case: a payload, and how calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Case {
    /// Encoded bytes of the backend's answer.
    pub payload_bytes: usize,
    /// How calls are made.
    pub shape: Shape,
}

impl Case {
    /// Closed loop.
    pub const fn closed(payload_bytes: usize, concurrency: usize) -> Self {
        Self { payload_bytes, shape: Shape::Closed { concurrency } }
    }

    /// Open loop at [`OPEN_PER_SECOND`].
    pub const fn open(payload_bytes: usize) -> Self {
        Self { payload_bytes, shape: Shape::Open { per_second: OPEN_PER_SECOND } }
    }

    /// One stream of this many bytes.
    pub const fn stream(bytes: usize) -> Self {
        let messages = bytes / STREAM_MESSAGE_BYTES;
        Self { payload_bytes: STREAM_MESSAGE_BYTES, shape: Shape::Stream { messages } }
    }

    /// New connections, one call each.
    pub const fn fresh(payload_bytes: usize) -> Self {
        Self { payload_bytes, shape: Shape::Fresh { concurrency: FRESH_CONCURRENCY } }
    }

    /// Every case, in the order of the tables; the stream has so many bytes.
    pub fn all(stream_bytes: usize) -> Vec<Self> {
        let of = |bytes| {
            let closed = CONCURRENCIES.map(move |concurrency| Self::closed(bytes, concurrency));
            closed.into_iter().chain([Self::open(bytes)])
        };
        PAYLOADS_BYTES
            .into_iter()
            .flat_map(of)
            .chain([Self::fresh(256), Self::stream(stream_bytes)])
            .collect()
    }
}

/// As in the names of goals: `256B c64`, `4KiB 1000/s`.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = size(self.payload_bytes);
        match self.shape {
            Shape::Closed { concurrency } => f.pad(&format!("{size} c{concurrency}")),
            Shape::Open { per_second } => f.pad(&format!("{size} {per_second}/s")),
            Shape::Stream { .. } => f.pad(&format!("stream of {size}")),
            Shape::Fresh { .. } => f.pad(&format!("{size} new")),
        }
    }
}

/// A size as in the names of goals: `256B`, `4KiB`.
pub fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) { format!("{}KiB", bytes / 1024) } else { format!("{bytes}B") }
}

/// How a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// In which cases, by name; in all where none is named.
    pub cases: Vec<String>,
    /// Rounds.
    pub rounds: u16,
    /// Time before a measurement counts.
    pub warmup: Duration,
    /// Time in which a closed loop counts.
    pub window: Duration,
    /// Time in which the open loop counts: it makes few calls, and a percentile needs many.
    pub open_window: Duration,
    /// Time in which our mesh is measured alone.
    pub long_window: Duration,
    /// Bytes of the stream.
    pub stream_bytes: usize,
}

/// Bytes of the stream, unless the run says otherwise: 1 GiB.
pub const STREAM_BYTES: usize = 1024 * 1024 * 1024;

impl Plan {
    /// The thorough run, about a quarter of an hour.
    pub fn thorough(contestants: Vec<Contestant>) -> Self {
        Self {
            contestants,
            cases: Vec::new(),
            rounds: 5,
            warmup: Duration::from_millis(500),
            window: Duration::from_secs(3),
            open_window: Duration::from_secs(6),
            long_window: Duration::from_secs(60),
            stream_bytes: STREAM_BYTES,
        }
    }

    /// The quick run, within 5 minutes.
    pub fn quick(contestants: Vec<Contestant>) -> Self {
        Self {
            rounds: 2,
            warmup: Duration::from_millis(200),
            window: Duration::from_secs(1),
            open_window: Duration::from_secs(2),
            long_window: Duration::from_secs(5),
            ..Self::thorough(contestants)
        }
    }

    /// Who is measured in what, in this order. In each round every contestant is measured in every case; the cases go
    /// round in the outer circle, so that what is compared is measured side by side, and each round another contestant
    /// begins.
    pub fn turns(&self) -> impl Iterator<Item = Turn> {
        (0..self.rounds).flat_map(move |round| {
            let mut order = self.contestants.clone();
            let first = usize::from(round) % order.len().max(1);
            order.rotate_left(first);
            self.measured_cases().into_iter().flat_map(move |case| {
                let taking_part = order.clone().into_iter().filter(move |contestant| contestant.takes(case));
                taking_part.map(move |contestant| Turn { round, case, contestant })
            })
        })
    }

    /// The cases that are measured.
    fn measured_cases(&self) -> Vec<Case> {
        let is_named = |case: &Case| self.cases.is_empty() || self.cases.contains(&case.to_string());
        Case::all(self.stream_bytes).into_iter().filter(is_named).collect()
    }

    /// Names of [`cases`](Self::cases) that are no case's.
    pub fn unknown_cases(&self) -> Vec<&str> {
        let known: Vec<_> = Case::all(self.stream_bytes).iter().map(Case::to_string).collect();
        self.cases.iter().filter(|name| !known.contains(name)).map(String::as_str).collect()
    }

    /// Time in which a case counts; a stream counts until its end.
    pub fn window_of(&self, case: Case) -> Duration {
        match case.shape {
            Shape::Closed { .. } | Shape::Fresh { .. } => self.window,
            Shape::Stream { .. } => Duration::ZERO,
            Shape::Open { .. } => self.open_window,
        }
    }
}

/// One measurement of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Round, from 0.
    pub round: u16,
    /// Case.
    pub case: Case,
    /// Whose turn it is.
    pub contestant: Contestant,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everybody_is_measured_as_often_in_every_case_and_begins_in_turn() {
        let plan = Plan::quick(Contestant::ALL.to_vec());
        let turns: Vec<_> = plan.turns().collect();
        let cases = Case::all(STREAM_BYTES);
        let of_a_round: usize = Contestant::ALL
            .iter()
            .map(|contestant| cases.iter().filter(|case| contestant.takes(**case)).count())
            .sum();
        assert_eq!(turns.len(), usize::from(plan.rounds) * of_a_round);
        let distinct: HashSet<_> = turns.iter().map(|turn| format!("{turn:?}")).collect();
        assert_eq!(distinct.len(), turns.len());
        let first = |round| turns.iter().find(|turn| turn.round == round).unwrap().contestant;
        assert_eq!([first(0), first(1)], [Contestant::Direct, Contestant::Naive]);
        // Those that are compared stand side by side.
        let cases_in_turn: Vec<_> =
            turns.chunk_by(|one, next| one.case == next.case).map(|side| side[0].case).collect();
        assert_eq!(cases_in_turn.len(), usize::from(plan.rounds) * cases.len());
    }

    #[test]
    fn the_quick_run_measures_for_less_than_five_minutes() {
        let plan = Plan::quick(Contestant::ALL.to_vec());
        let measured: Duration = plan.turns().map(|turn| plan.warmup + plan.window_of(turn.case)).sum();
        assert!(measured < Duration::from_secs(200), "{measured:?}");
    }

    #[test]
    fn cases_are_named_as_the_goals_are() {
        assert_eq!(Case::closed(256, 64).to_string(), "256B c64");
        assert_eq!(Case::open(4096).to_string(), "4KiB 1000/s");
        assert_eq!(Case::fresh(256).to_string(), "256B new");
        assert_eq!(Case::stream(STREAM_BYTES).to_string(), "stream of 64KiB");
    }
}
