//! What a rule must know of a record.

use lienthong_proto::lienthong::audit::v1::{Exchange, Record, Side, Status, record::Body};
use prost_types::Timestamp;

/// One record, as rules see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its log index.
    pub index: u64,
    /// When it was made, by its recorder's clock, Unix milliseconds.
    pub time_ms: i64,
    /// Resource name of the system that asked.
    pub system: String,
    /// Opaque id of its end user; empty: none was named.
    pub user: String,
    /// Dataset; empty where it is not known.
    pub dataset: String,
    /// Purpose, as the contract names it.
    pub purpose: &'static str,
    /// Dossier; empty: none.
    pub dossier: String,
    /// Exchange id; empty where there is none.
    pub exchange_id: Vec<u8>,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Something was asked and answered.
    Answered {
        /// Records released.
        records: u64,
        /// People whom the records are about; an answer that found nobody counts as one.
        people: u64,
    },
    /// Further people of an exchange.
    MorePeople(u64),
    /// So many calls were denied.
    Denied(u64),
}

impl Event {
    /// Reads what a record says. The provider's record counts for an exchange, so that each counts once; a denial counts where
    /// it was made. `None` for what no rule looks at.
    pub fn read(index: u64, record: &Record) -> Option<Event> {
        let time_ms = unix_ms(record.time.as_ref());
        let (exchange, what) = match record.body.as_ref()? {
            Body::Closing(closing) => {
                let exchange =
                    closing.exchange.as_ref().filter(|exchange| exchange.side() == Side::Provider)?;
                let people = (closing.subjects.len() as u64).saturating_add(closing.subjects_more);
                let what = match closing.status() {
                    Status::Empty => What::Answered { records: 0, people: 1 },
                    Status::Delivered | Status::Partial => {
                        What::Answered { records: closing.records, people }
                    }
                    _ => return None,
                };
                (exchange, what)
            }
            Body::Continuation(more) => {
                let exchange = more.exchange.as_ref().filter(|exchange| exchange.side() == Side::Provider)?;
                (exchange, What::MorePeople(more.subjects.len() as u64))
            }
            Body::Denial(denial) => (denial.exchange.as_ref()?, What::Denied(1)),
            Body::Aggregate(many) if many.source.contains("/systems/") => {
                return Some(Event {
                    system: many.source.clone(),
                    ..Event::of(index, time_ms, &Exchange::default(), What::Denied(many.count))
                });
            }
            _ => return None,
        };
        (!exchange.system.is_empty()).then(|| Event::of(index, time_ms, exchange, what))
    }

    fn of(index: u64, time_ms: i64, exchange: &Exchange, what: What) -> Event {
        Event {
            index,
            time_ms,
            system: exchange.system.clone(),
            user: exchange.user.clone(),
            dataset: exchange.dataset.clone(),
            purpose: exchange.purpose().as_str_name(),
            dossier: exchange.dossier.clone(),
            exchange_id: exchange.id.clone(),
            what,
        }
    }
}

fn unix_ms(time: Option<&Timestamp>) -> i64 {
    time.map_or(0, |time| time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000))
}
