//! One record of the log, as far as it counts. A record is its recorder's word about itself only: what a node says about an
//! exchange in which its agency has no part counts for nothing.

use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Aggregate, Closing, Exchange, Record, Side, Status};
use time::Date;

use crate::day;
use crate::tally::Pair;

/// How far a record's time may lie ahead of the clock, milliseconds.
pub const AHEAD_MS_MAX: i64 = day::DAY_MS;

/// How long an exchange may have gone on when it is recorded, milliseconds; one that is older counts on the day of its record.
pub const EXCHANGE_MS_MAX: i64 = 31 * day::DAY_MS;

/// Denials that one record may stand for: a minute of them, at far more than a node could answer. Of more, so many count.
pub const DENIED_TOGETHER_MAX: u64 = 60_000_000;

/// What a record says.
#[derive(Debug)]
pub(crate) struct Sign<'r> {
    /// Code of the agency whose node recorded it.
    pub agency: &'r str,
    /// When, by that node's clock, Unix milliseconds.
    pub time_ms: i64,
    pub said: Said<'r>,
}

#[derive(Debug)]
pub(crate) enum Said<'r> {
    /// An exchange began.
    Opened { exchange: &'r Exchange, about: About },
    /// It goes on: its id.
    GoesOn(&'r [u8]),
    /// It ended.
    Closed { closing: &'r Closing, exchange: &'r Exchange, about: About },
    /// The consumer's node denied so many calls.
    Denied { about: About, count: u64 },
    /// The node lives.
    Lives,
}

/// Between whom, and on which day, an exchange counts.
#[derive(Debug)]
pub(crate) struct About {
    pub pair: Pair,
    pub side: Side,
    /// The day on which it began, by the consumer's node: both sides count it there.
    pub day: Date,
}

/// Reads a record; `None` for the broker's own, and for what no node can have written now.
pub(crate) fn read(record: &Record, now_ms: i64) -> Option<Sign<'_>> {
    let agency = agency_of(&record.recorder)?;
    let time = record.time.as_ref()?;
    let time_ms = time.seconds.checked_mul(1_000)?.checked_add(i64::from(time.nanos / 1_000_000))?;
    if time_ms <= 0 || time_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
        return None;
    }
    let about = |exchange: &Exchange| about(exchange, agency, time_ms);
    let said = match record.body.as_ref()? {
        Body::Opening(opening) => opening
            .exchange
            .as_ref()
            .and_then(|exchange| Some(Said::Opened { exchange, about: about(exchange)? })),
        Body::Closing(closing) => closing
            .exchange
            .as_ref()
            .and_then(|exchange| Some(Said::Closed { closing, exchange, about: about(exchange)? })),
        Body::Progress(progress) if progress.side() == Side::Provider => {
            Some(Said::GoesOn(&progress.exchange_id))
        }
        Body::Denial(denial) => denial
            .exchange
            .as_ref()
            .and_then(about)
            .filter(|about| about.side == Side::Consumer)
            .map(|about| Said::Denied { about, count: 1 }),
        Body::Aggregate(many) => denied_together(many, agency, time_ms),
        _ => None,
    };
    Some(Sign { agency, time_ms, said: said.unwrap_or(Said::Lives) })
}

/// The agency of a node's resource name.
pub fn agency_of(node: &str) -> Option<&str> {
    let (agency, node) = node.strip_prefix("agencies/")?.split_once("/nodes/")?;
    (!agency.is_empty() && !node.is_empty()).then_some(agency)
}

/// Whether an exchange was answered, by the word of one side.
pub(crate) fn is_answered(status: Status) -> bool {
    matches!(status, Status::Delivered | Status::Empty)
}

fn about(exchange: &Exchange, agency: &str, time_ms: i64) -> Option<About> {
    let side = exchange.side();
    let own = match side {
        Side::Consumer => &exchange.consumer,
        Side::Provider => &exchange.provider,
        Side::Unspecified => return None,
    };
    if own != agency {
        return None;
    }
    let pair = Pair::new(&exchange.provider, &exchange.dataset, &exchange.consumer)?;
    let plausible = time_ms.saturating_sub(EXCHANGE_MS_MAX)..=time_ms.saturating_add(AHEAD_MS_MAX);
    let began_ms = began_ms(&exchange.id).filter(|began| plausible.contains(began));
    Some(About { pair, side, day: day::of_ms(began_ms.unwrap_or(time_ms)) })
}

/// Denials that were only counted: they count on the day of their record, which is made within a minute.
fn denied_together<'r>(many: &Aggregate, agency: &str, time_ms: i64) -> Option<Said<'r>> {
    if many.side() != Side::Consumer || many.consumer != agency {
        return None;
    }
    let pair = Pair::new(&many.provider, &many.dataset, &many.consumer)?;
    let about = About { pair, side: Side::Consumer, day: day::of_ms(time_ms) };
    Some(Said::Denied { about, count: many.count.min(DENIED_TOGETHER_MAX) })
}

/// The time in a UUIDv7, Unix milliseconds.
fn began_ms(id: &[u8]) -> Option<i64> {
    let id: &[u8; 16] = id.try_into().ok()?;
    (id[6] >> 4 == 7).then(|| id[..6].iter().fold(0, |time, byte| time << 8 | i64::from(*byte)))
}
