//! The broker's metrics (OpenMetrics). `tests/golden/metrics.txt` lists their names.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::access::Rpc;
use crate::board::Board;
use crate::identity::Role;

/// The broker's counters. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct BrokerMetrics(Arc<Families>);

#[derive(Debug, Default)]
struct Families {
    refused: Family<RpcAndRole, Counter>,
    batches: Family<Outcome, Counter>,
    batch_entries: Counter,
    reloads: Family<Outcome, Counter>,
    publications: Family<Outcome, Counter>,
    epoch: Gauge,
    log_entries: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcAndRole {
    rpc: &'static str,
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl BrokerMetrics {
    /// Puts every metric into `registry`; those of nodes are read from `board` at each scrape.
    pub fn register(&self, registry: &mut Registry, board: Board) {
        let registry = registry.sub_registry_with_prefix("lienthong_broker");
        let Families {
            refused,
            batches,
            batch_entries,
            reloads,
            publications,
            epoch,
            log_entries,
        } = &*self.0;
        registry.register(
            "calls_refused",
            "Calls that the access table does not allow",
            refused.clone(),
        );
        registry.register(
            "journal_batches",
            "Journal batches, by what became of them",
            batches.clone(),
        );
        registry.register(
            "journal_entries",
            "Entries that journal batches added to the log",
            batch_entries.clone(),
        );
        registry.register(
            "reloads",
            "Reloads of catalog, registry and trust, by outcome",
            reloads.clone(),
        );
        registry.register(
            "contracts_published",
            "Contracts that providers sent, by outcome",
            publications.clone(),
        );
        registry.register("epoch", "Newest epoch of the rights", epoch.clone());
        registry.register("log_entries", "Entries of the audit log", log_entries.clone());
        registry.register_collector(Box::new(BoardCollector {
            board,
            epoch: epoch.clone(),
        }));
    }

    /// Counts a call that was refused at the door.
    pub fn refused(&self, rpc: Rpc, role: Role) {
        self.0
            .refused
            .get_or_create(&RpcAndRole {
                rpc: rpc.path(),
                role: role.name(),
            })
            .inc();
    }

    /// Counts a batch that is on record now.
    pub fn batch_taken(&self, entries: u64) {
        self.batch("taken");
        self.0.batch_entries.inc_by(entries);
    }

    /// Counts a batch that was on record already.
    pub fn batch_repeated(&self) {
        self.batch("repeated");
    }

    /// Counts a batch that was not taken.
    pub fn batch_refused(&self, kind: &'static str) {
        self.batch(kind);
    }

    /// Counts a reload: `applied`, `unchanged` or `refused`.
    pub fn reloaded(&self, outcome: &'static str) {
        self.0.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a contract: `published`, `unchanged` or `refused`.
    pub fn contract(&self, outcome: &'static str) {
        self.0.publications.get_or_create(&Outcome { outcome }).inc();
    }

    /// Shows the newest epoch.
    pub fn epoch(&self, epoch: u64) {
        self.0.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// Shows the size of the log.
    pub fn log_entries(&self, entries: u64) {
        self.0.log_entries.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    fn batch(&self, outcome: &'static str) {
        self.0.batches.get_or_create(&Outcome { outcome }).inc();
    }
}

/// Reads the board when somebody asks for metrics.
#[derive(Debug)]
struct BoardCollector {
    board: Board,
    epoch: Gauge,
}

impl Collector for BoardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let epoch = u64::try_from(self.epoch.get()).unwrap_or_default();
        let rows = [
            (
                "nodes_connected",
                "Nodes that watch their rights now",
                self.board.connected(),
            ),
            (
                "nodes_behind",
                "Connected nodes that do not yet decide by the newest epoch",
                self.board.behind(epoch),
            ),
        ];
        for (name, help, value) in rows {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
