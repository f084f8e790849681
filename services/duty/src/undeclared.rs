//! Refusals that nobody declared, read from the log: a backend that turns an entitled consumer away, or is down beyond its
//! service level (design §6, *Outcomes*).
//!
//! A fold over the closing records of providers' nodes, in the order of the log. What the mesh itself denied never comes here:
//! a closing record stands for a call that the rights allowed.

use std::collections::HashMap;

use lienthong_proto::lienthong::audit::v1::{Closing, Side, Status};
use lienthong_proto::reason::{Reason, UNDECLARED_REFUSAL};
use time::OffsetDateTime;

/// Alike answers after which it is no accident.
pub const TURNED_AWAY_MIN: u32 = 3;
/// Time for which a backend may be down, seconds: a quarter of an hour.
pub const DOWN_SECONDS_MAX: i64 = 15 * 60;
/// Consumers × datasets that are followed at once; beyond them, those seen longest ago are forgotten.
pub const FOLLOWED_MAX: usize = 100_000;

/// gRPC status of a call that the backend did not allow.
const PERMISSION_DENIED: u32 = 7;
/// gRPC status of a method that the backend does not serve.
const UNIMPLEMENTED: u32 = 12;
/// gRPC status of a caller whom the backend does not know.
const UNAUTHENTICATED: u32 = 16;

/// Who asked whom for what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Code of the provider.
    pub provider: String,
    /// Code of the consumer.
    pub consumer: String,
    /// Dataset.
    pub dataset: String,
}

/// What a record shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The backend turns the consumer away, with this gRPC status.
    TurnedAway(u32),
    /// The backend is down beyond its service level.
    Down,
    /// The backend serves again: what it did before is over.
    Serves,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Followed {
    pairs: HashMap<Pair, Seen>,
    clock: u64,
}

#[derive(Debug, Default)]
struct Seen {
    turned_away: u32,
    down_since: Option<OffsetDateTime>,
    told: bool,
    touched: u64,
}

impl Followed {
    /// Takes a closing record in, made at `at`. Answers a sign once, when it begins or ends. `planned` says whether an
    /// outage was announced for provider, dataset and time.
    pub fn observe(
        &mut self,
        closing: &Closing,
        at: OffsetDateTime,
        planned: &dyn Fn(&Pair) -> bool,
    ) -> Option<(Pair, Sign)> {
        let exchange = closing.exchange.as_ref().filter(|exchange| exchange.side() == Side::Provider)?;
        let refuses = closing.reason == UNDECLARED_REFUSAL
            && [PERMISSION_DENIED, UNIMPLEMENTED, UNAUTHENTICATED].contains(&closing.grpc_status);
        let down = closing.reason == Reason::FailBackendUnreachable.name();
        let serves = matches!(closing.status(), Status::Delivered | Status::Empty);
        if !refuses && !down && !serves {
            return None;
        }
        let pair = Pair {
            provider: exchange.provider.clone(),
            consumer: exchange.consumer.clone(),
            dataset: exchange.dataset.clone(),
        };
        if serves {
            let seen = self.pairs.remove(&pair)?;
            return seen.told.then_some((pair, Sign::Serves));
        }
        self.make_room(&pair);
        self.clock += 1;
        let seen = self.pairs.entry(pair.clone()).or_default();
        seen.touched = self.clock;
        let sign = if refuses {
            seen.turned_away += 1;
            (seen.turned_away >= TURNED_AWAY_MIN).then_some(Sign::TurnedAway(closing.grpc_status))
        } else if planned(&pair) {
            seen.down_since = None;
            None
        } else {
            let since = *seen.down_since.get_or_insert(at);
            ((at - since).whole_seconds() >= DOWN_SECONDS_MAX).then_some(Sign::Down)
        };
        let sign = sign.filter(|_| !seen.told)?;
        seen.told = true;
        Some((pair, sign))
    }

    fn make_room(&mut self, pair: &Pair) {
        if self.pairs.len() >= FOLLOWED_MAX && !self.pairs.contains_key(pair) {
            let mut touched: Vec<u64> = self.pairs.values().map(|seen| seen.touched).collect();
            touched.sort_unstable();
            let border = touched.get(touched.len() / 2).copied().unwrap_or_default();
            self.pairs.retain(|_, seen| seen.touched > border);
        }
    }
}
