//! What time and the log bring: disputes climb, suspensions end, refusals that nobody declared are noticed.

use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::log::LogReader;
use lienthong_audit::record::{self, Kind};
use lienthong_duty::undeclared::{Followed, Pair, Sign};
use lienthong_duty::{connection, dispute, instant, outage, refusal};
use lienthong_proto::lienthong::audit::v1::Record;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::registry::v1::{
    ConnectionRequest, Dispute, DisputeCause, Outage, Refusal, RefusalState,
};
use lienthong_transport::Drain;
use prost::Message;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::book::{Changed, next_name, room, stored};
use super::{Actor, Arbiter, ArbiterError};
use crate::error::BrokerError;
use crate::limits::{ARBITER_INTERVAL_MS, LOG_FOLLOWED_AT_ONCE};
use crate::records::RECORDER;

impl Arbiter {
    /// Ticks, and follows the log, until the broker begins to stop.
    pub async fn keep_watching(self: Arc<Self>, drain: Drain) {
        let mut tick = interval(Duration::from_millis(ARBITER_INTERVAL_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut followed, mut next) = (Followed::default(), None);
        loop {
            tokio::select! {
                _ = drain.started() => return,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.tick(OffsetDateTime::now_utc()).await {
                tracing::error!(%error, "deadlines not kept; tried again in a moment");
            }
            if let Err(error) = self.follow(&mut followed, &mut next).await {
                tracing::error!(%error, "the log is not followed; tried again in a moment");
            }
        }
    }

    /// Lets time pass: suspensions end, disputes climb, requests become overdue.
    ///
    /// # Errors
    /// [`ArbiterError`]; what was not taken is tried again with the next tick.
    pub async fn tick(&self, now: OffsetDateTime) -> Result<(), ArbiterError> {
        let mut book = self.book.lock().await;
        let over: Vec<Refusal> =
            book.refusals.values().filter(|one| refusal::is_over(one, now)).cloned().collect();
        for mut ended in over {
            refusal::end(&mut ended, RefusalState::Expired, RECORDER, now)?;
            let text = "the time of the suspension is over; hết thời hạn tạm ngừng";
            self.end(&mut book, ended, RECORDER, "refusal.expire", text, now).await?;
        }
        let rules = self.rules.borrow().clone();
        let broker = Actor { name: RECORDER.to_owned(), agency: String::new(), sees_all: true };
        let climbing: Vec<Dispute> = book
            .disputes
            .values()
            .filter_map(|one| {
                let mut climbed = one.clone();
                dispute::escalate(&mut climbed, now, &rules).then_some(climbed)
            })
            .collect();
        for climbed in climbing {
            let stage = climbed.stage().as_str_name();
            let act = Self::act(RECORDER, "dispute.escalate", &Changed::Dispute(&climbed), stage);
            self.enact(&book, &book, act, &[stored(&Changed::Dispute(&climbed), &broker, "")]).await?;
            tracing::warn!(dispute = climbed.name, stage, provider = climbed.provider, "a dispute climbs");
            self.metrics.duty("dispute_escalated");
            book.disputes.insert(climbed.name.clone(), climbed);
        }
        let late: Vec<ConnectionRequest> = book
            .requests
            .values()
            .filter_map(|one| {
                let mut late = one.clone();
                connection::overdue(&mut late, now).then_some(late)
            })
            .collect();
        for late in late {
            let act = Self::act(RECORDER, "connection.overdue", &Changed::Request(&late), &late.provider);
            self.enact(&book, &book, act, &[stored(&Changed::Request(&late), &broker, "")]).await?;
            self.metrics.duty("connection_overdue");
            book.requests.insert(late.name.clone(), late);
        }
        Ok(())
    }

    /// Takes note of a refusal that nobody declared, or of its end.
    ///
    /// # Errors
    /// [`ArbiterError`].
    pub async fn undeclared(&self, pair: &Pair, sign: Sign, now: OffsetDateTime) -> Result<(), ArbiterError> {
        let mut book = self.book.lock().await;
        let open = book.disputes.values().find(|one| {
            dispute::is_open(one)
                && one.cause() == DisputeCause::UndeclaredRefusal
                && (&one.provider, &one.consumer, &one.dataset)
                    == (&pair.provider, &pair.consumer, &pair.dataset)
        });
        let broker = Actor { name: RECORDER.to_owned(), agency: String::new(), sees_all: true };
        let (changed, action, detail) = match (sign, open.cloned()) {
            (Sign::Serves, Some(mut open)) => {
                dispute::settle(&mut open, RECORDER, "the provider serves again; đã phục vụ trở lại", now);
                (open, "dispute.settle", "the provider serves again".to_owned())
            }
            (Sign::Serves, None) | (_, Some(_)) => return Ok(()),
            (sign, None) => {
                room(book.disputes.len())?;
                let what = match sign {
                    Sign::TurnedAway(status) => {
                        format!("the backend turned calls away with gRPC status {status}")
                    }
                    Sign::Down | Sign::Serves => "the backend is down beyond its service level".to_owned(),
                };
                let detail = format!(
                    "UNDECLARED_REFUSAL: {} towards {} for {}: {what}",
                    pair.provider, pair.consumer, pair.dataset
                );
                let name = next_name("disputes", book.disputes.keys().next_back());
                let about = dispute::About {
                    cause: DisputeCause::UndeclaredRefusal,
                    refusal: "",
                    provider: &pair.provider,
                    consumer: &pair.consumer,
                    dataset: &pair.dataset,
                };
                let rules = self.rules.borrow().clone();
                (dispute::open(&name, &about, RECORDER, &what, now, &rules), "refusal.undeclared", detail)
            }
        };
        let act = Self::act(RECORDER, action, &Changed::Dispute(&changed), &detail);
        self.enact(&book, &book, act, &[stored(&Changed::Dispute(&changed), &broker, "")]).await?;
        if dispute::is_open(&changed) {
            self.metrics.duty("refusal_undeclared");
            tracing::warn!(dispute = changed.name, %detail, "a refusal that nobody declared");
        }
        book.disputes.insert(changed.name.clone(), changed);
        Ok(())
    }

    /// Reads what the log has grown by. Begins at its end: what backends did before this start is not judged again.
    async fn follow(&self, followed: &mut Followed, next: &mut Option<u64>) -> Result<(), ArbiterError> {
        let log = self.log.clone();
        let from = *next;
        let read = spawn_blocking(move || {
            let reader = LogReader::new(&log);
            let size = reader.size()?;
            let from = from.unwrap_or(size).min(size);
            let to = size.min(from + LOG_FOLLOWED_AT_ONCE);
            let entries = if from < to { reader.entries(from..to)? } else { Vec::new() };
            Ok::<_, BrokerError>((to, entries))
        });
        let (to, entries) = read.await.map_err(|_| BrokerError::Stopped)??;
        let outages: Vec<Outage> = if entries.is_empty() { Vec::new() } else { self.outages().await };
        for entry in entries.iter().filter(|entry| matches!(record::kind(entry), Kind::Closing(_))) {
            let Ok(record) = Record::decode(entry.as_ref()) else { continue };
            let at = record.time.as_ref().and_then(instant);
            if let (Some(Body::Closing(closing)), Some(at)) = (&record.body, at) {
                let planned = |pair: &Pair| {
                    outages.iter().any(|one| outage::covers(one, &pair.provider, &pair.dataset, at))
                };
                if let Some((pair, sign)) = followed.observe(closing, at, &planned) {
                    self.undeclared(&pair, sign, OffsetDateTime::now_utc()).await?;
                }
            }
        }
        *next = Some(to);
        Ok(())
    }
}
