//! What the log brings, and what time does: counted, saved, told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use lienthong_compliance::observed::Holding;
use lienthong_compliance::pulse::Demand;
use lienthong_compliance::{EntryFacts, day};
use lienthong_proto::lienthong::audit::v1::Record;
use lienthong_proto::lienthong::options::v1::MethodKind;
use lienthong_transport::Drain;
use prost::Message;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Examiner;
use crate::error::BrokerError;
use crate::limits::{
    COMPLIANCE_ENTRIES_AT_ONCE, COMPLIANCE_INTERVAL_MS, COMPLIANCE_ROWS_AT_ONCE, COMPLIANCE_SAVE_MS,
};

impl Examiner {
    /// Counts, looks at the clock and tells, until the broker begins to stop.
    pub async fn keep_examining(self: Arc<Self>, drain: Drain) {
        let mut tick = interval(Duration::from_millis(COMPLIANCE_INTERVAL_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut save_at = Instant::now() + Duration::from_millis(COMPLIANCE_SAVE_MS);
        loop {
            tokio::select! {
                _ = drain.started() => break,
                _ = tick.tick() => {}
            }
            if let Err(error) = self.look().await {
                tracing::error!(%error, "compliance is not counted; tried again in a moment");
            }
            if Instant::now() >= save_at {
                save_at = Instant::now() + Duration::from_millis(COMPLIANCE_SAVE_MS);
                if let Err(error) = self.save().await {
                    tracing::error!(%error, "what was counted is not saved; tried again in a moment");
                }
            }
        }
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "what was counted is not saved; it is counted again at the next start");
        }
    }

    async fn look(&self) -> Result<(), BrokerError> {
        while self.follow().await? {}
        let now = OffsetDateTime::now_utc();
        let facts = self.facts(now).await;
        let demands = demands(&facts, &self.rules);
        let news = {
            let mut counted = self.lock();
            let board = self.desk.board.rows();
            let is_connected = |node: &str| board.get(node).is_some_and(|row| row.watches > 0);
            counted.observed.beat(&is_connected, day::unix_ms(now));
            counted.observed.pulse(&demands, now)
        };
        self.tell(news, Instant::now() >= self.settled_at).await?;
        self.measure(&facts, now);
        Ok(())
    }

    /// Takes in the next entries of the log; true where there may be more.
    async fn follow(&self) -> Result<bool, BrokerError> {
        let size = *self.desk.ledger.published_size().borrow();
        let from = self.lock().position;
        if from >= size {
            return Ok(false);
        }
        let to = size.min(from + COMPLIANCE_ENTRIES_AT_ONCE);
        let reader = self.desk.ledger.reader().clone();
        let read = spawn_blocking(move || {
            let entries = reader.entries(from..to)?;
            Ok::<Vec<Option<Record>>, BrokerError>(
                entries.iter().map(|entry| Record::decode(entry.as_slice()).ok()).collect(),
            )
        });
        let records = read.await.map_err(|_| BrokerError::Stopped)??;
        let kinds = Kinds::of(&self.desk.steward.current());
        let now_ms = day::unix_ms(OffsetDateTime::now_utc());
        let mut full = false;
        {
            let mut counted = self.lock();
            for record in records {
                if let Some(record) = record {
                    counted.observed.take(&record, &|provider, path| kinds.kind(provider, path), now_ms);
                }
                counted.position += 1;
                if counted.observed.changes() + ROWS_OF_A_RECORD_MAX > COMPLIANCE_ROWS_AT_ONCE {
                    full = true;
                    break;
                }
            }
        }
        // Rows and position go into one batch, so that a crash counts nothing twice.
        if full {
            self.save().await?;
        }
        Ok(true)
    }

    fn measure(&self, facts: &[EntryFacts], now: OffsetDateTime) {
        let counted = self.lock();
        let cards = facts
            .iter()
            .map(|one| lienthong_compliance::entry::judge(one, &counted.observed, &self.rules, now));
        let (mut entries, mut kept, mut score) = (0_i64, 0, 0);
        for card in cards {
            entries += 1;
            kept += i64::from(!lienthong_compliance::entry::is_failing(&card));
            score += i64::from(card.score);
        }
        self.desk.metrics.compliance(entries, kept, score.checked_div(entries).unwrap_or(0));
    }
}

/// Rows that one record changes at most: a tally, a day, a stream, a sign of life.
const ROWS_OF_A_RECORD_MAX: usize = 4;

/// How the registered methods exchange records.
struct Kinds(HashMap<String, HashMap<String, MethodKind>>);

impl Kinds {
    fn of(generation: &crate::generation::Generation) -> Kinds {
        let of_provider = |(provider, contract): (&String, &Arc<crate::generation::Contract>)| {
            let methods = contract.model.methods().iter().map(|method| (method.path.clone(), method.kind));
            (provider.clone(), methods.collect())
        };
        Kinds(generation.contracts().iter().map(of_provider).collect())
    }

    fn kind(&self, provider: &str, path: &str) -> Option<MethodKind> {
        self.0.get(provider)?.get(path).copied()
    }
}

/// What the entries hold the data to; of several about the same data, the strictest.
fn demands(facts: &[EntryFacts], rules: &lienthong_compliance::Rules) -> BTreeMap<Holding, Demand> {
    let mut demands: BTreeMap<Holding, Demand> = BTreeMap::new();
    for one in facts.iter().filter(|one| one.is_in_force) {
        let demand = demands.entry((one.provider.clone(), one.dataset.clone())).or_default();
        let stricter = |held: Option<Duration>, new: Option<Duration>| match (held, new) {
            (Some(held), Some(new)) => Some(held.min(new)),
            (held, new) => held.or(new),
        };
        demand.lag_max = stricter(demand.lag_max, one.lag_max(rules));
        demand.copy_age_max = stricter(demand.copy_age_max, one.copy_age_max);
        demand.is_planned |= one.is_planned_outage;
    }
    demands
}
