//! The broker's metrics (OpenMetrics). `tests/golden/metrics.txt` lists their names.

use std::sync::Arc;

use lienthong_proto::lienthong::audit::v1::FindingKind;
use lienthong_telemetry::{Metrics, Reading, Readings};
use lienthong_transport::Connections;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::access::Rpc;
use crate::board::Board;
use crate::identity::Role;
use crate::positions::Positions;

/// The broker's counters. Cheap to clone; all clones count together.
#[derive(Clone, Debug, Default)]
pub struct BrokerMetrics(Arc<Families>);

#[derive(Debug, Default)]
struct Families {
    refused: Family<RpcAndRole, Counter>,
    batches: Family<Outcome, Counter>,
    batch_entries: Counter,
    reloads: Family<Outcome, Counter>,
    lists_fetched: Family<Outcome, Counter>,
    contracts: Family<Outcome, Counter>,
    duty: Family<Outcome, Counter>,
    enrollments: Family<Outcome, Counter>,
    decisions: Family<Outcome, Counter>,
    epoch: Gauge,
    certificate_expiry: Gauge,
    trust_version: Gauge,
    witnesses: Family<WitnessAnswer, Counter>,
    cosigned: Gauge,
    findings: Family<OfKind, Counter>,
    findings_open: Gauge,
    pairs_open: Gauge,
    compliance_entries: Gauge,
    compliance_kept: Gauge,
    compliance_score: Gauge,
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessAnswer {
    witness: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

impl BrokerMetrics {
    /// Puts every metric into the process's register. What board and log know is read when somebody asks.
    #[allow(clippy::too_many_lines)] // a list: every metric, one after the other
    pub fn register(&self, metrics: &Metrics, board: &Board, positions: &Arc<Positions>) {
        let Families {
            refused,
            batches,
            batch_entries,
            reloads,
            contracts,
            duty,
            enrollments,
            decisions,
            epoch,
            trust_version,
            ..
        } = &*self.0;
        metrics.register(
            "broker_calls_refused",
            "Calls that the access table does not allow",
            refused.clone(),
        );
        metrics.register(
            "broker_journal_batches",
            "Journal batches, by what became of them",
            batches.clone(),
        );
        metrics.register(
            "broker_journal_entries",
            "Entries that journals added to the log",
            batch_entries.clone(),
        );
        metrics.register(
            "broker_reloads",
            "Reloads of catalog, registry and trust, by outcome",
            reloads.clone(),
        );
        metrics.register(
            "broker_revocation_lists_fetched",
            "Revocation lists asked for where they are published, by outcome",
            self.0.lists_fetched.clone(),
        );
        metrics.register("broker_contracts", "Contracts that providers sent, by outcome", contracts.clone());
        metrics.register(
            "broker_duty",
            "Acts of the duty to share: refusals, disputes, requests",
            duty.clone(),
        );
        metrics.register(
            "broker_enrollments",
            "Steps of enrollments, by what was done, refused or throttled",
            enrollments.clone(),
        );
        metrics.register(
            "broker_online_decisions",
            "Calls that were decided for nodes one by one, by outcome",
            decisions.clone(),
        );
        metrics.register(
            "broker_certificate_expiry_seconds",
            "End of the validity of the broker's certificate, Unix time",
            self.0.certificate_expiry.clone(),
        );
        self.register_audit(metrics);
        self.register_compliance(metrics);
        metrics.register("broker_epoch", "Newest epoch of the rights", epoch.clone());
        let (connected, behind, newest, log) =
            (board.clone(), board.clone(), epoch.clone(), Arc::clone(positions));
        let connected = Reading::new(move || connected.connected() as u64);
        metrics.register("broker_nodes_connected", "Nodes that watch their rights now", connected);
        let behind = Reading::new(move || behind.behind(newest.get().try_into().unwrap_or_default()) as u64);
        metrics.register("broker_nodes_behind", "Connected nodes that decide by an older epoch", behind);
        register_trust(metrics, board, trust_version);
        let entries = Reading::new(move || log.reflected());
        metrics.register("broker_log_entries", "Entries of the audit log", entries);
    }

    fn register_compliance(&self, metrics: &Metrics) {
        let Families { compliance_entries, compliance_kept, compliance_score, .. } = &*self.0;
        metrics.register(
            "broker_compliance_entries",
            "Entries of the catalog in force",
            compliance_entries.clone(),
        );
        metrics.register(
            "broker_compliance_entries_kept",
            "Entries of which no check has failed",
            compliance_kept.clone(),
        );
        metrics.register(
            "broker_compliance_score_percent",
            "Mean score of the entries",
            compliance_score.clone(),
        );
    }

    /// How the entries in force are kept: how many, of how many no check has failed, and their mean score.
    pub fn compliance(&self, entries: i64, kept: i64, score: i64) {
        self.0.compliance_entries.set(entries);
        self.0.compliance_kept.set(kept);
        self.0.compliance_score.set(score);
    }

    /// What the doors know, read when somebody asks.
    pub fn register_doors(&self, metrics: &Metrics, connections: &Connections) {
        let (doors, inside) = (connections.clone(), connections.clone());
        metrics.register(
            "broker_handshakes",
            "Handshakes at this broker's door, by what became of them",
            Readings::new("outcome", move || doors.handshakes().outcomes()),
        );
        let inside = Reading::new(move || inside.count() as u64);
        metrics.register("broker_connections", "Live connections", inside);
    }

    /// How far the index is behind the log, read when somebody asks.
    pub fn register_index(&self, metrics: &Metrics, lag: impl Fn() -> u64 + Send + Sync + 'static) {
        let lag = Reading::new(lag);
        metrics.register("broker_index_lag_entries", "Published entries that are not indexed yet", lag);
    }

    /// What vouches for the log, and what it says.
    fn register_audit(&self, metrics: &Metrics) {
        let Families { witnesses, cosigned, findings, findings_open, pairs_open, .. } = &*self.0;
        metrics.register("broker_findings", "Findings of matching, by kind", findings.clone());
        metrics.register(
            "broker_findings_open",
            "Findings recorded less those closed since this broker started",
            findings_open.clone(),
        );
        metrics.register(
            "broker_exchanges_unmatched",
            "Exchanges of which a side's record is owed still",
            pairs_open.clone(),
        );
        metrics.register(
            "broker_witness_answers",
            "Answers of witnesses to checkpoints: cosigned, away, late, contradicts",
            witnesses.clone(),
        );
        metrics.register(
            "broker_log_cosigned",
            "Entries of the newest checkpoint that the quorum of witnesses has cosigned",
            cosigned.clone(),
        );
    }

    /// Counts a call that was refused at the door.
    pub fn refused(&self, rpc: Rpc, role: Role) {
        self.0.refused.get_or_create(&RpcAndRole { rpc: rpc.path(), role: role.name() }).inc();
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

    /// Counts a look at where a revocation list is published: `taken`, `unchanged` or `refused`.
    pub fn list_fetched(&self, outcome: &'static str) {
        self.0.lists_fetched.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a contract: `published`, `unchanged` or `refused`.
    pub fn contract(&self, outcome: &'static str) {
        self.0.contracts.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a step of an enrollment: what was done, `refused` or `throttled`.
    pub fn enrollment(&self, outcome: &'static str) {
        self.0.enrollments.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts a call that was decided for a node: `permitted` or `denied`.
    pub fn decided_online(&self, outcome: &'static str) {
        self.0.decisions.get_or_create(&Outcome { outcome }).inc();
    }

    /// Shows when the broker's certificate ends.
    pub fn certificate_expiry(&self, not_after: time::OffsetDateTime) {
        self.0.certificate_expiry.set(not_after.unix_timestamp());
    }

    /// Counts an act of the duty to share: `refusal`, `refusal_unjustified`, `refusal_undeclared`, `refusal_ended`,
    /// `dispute_escalated`, `dispute_decided`, `connection_overdue`.
    pub fn duty(&self, outcome: &'static str) {
        self.0.duty.get_or_create(&Outcome { outcome }).inc();
    }

    /// Shows the newest epoch.
    pub fn epoch(&self, epoch: u64) {
        self.0.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
    }

    /// Counts a finding of matching.
    pub fn finding(&self, kind: FindingKind) {
        let kind = kind.as_str_name().trim_start_matches("FINDING_KIND_");
        self.0.findings.get_or_create(&OfKind { kind }).inc();
    }

    /// Shows what matching has open.
    pub fn matching(&self, pairs: u64, findings: i64) {
        self.0.pairs_open.set(i64::try_from(pairs).unwrap_or(i64::MAX));
        self.0.findings_open.set(findings);
    }

    /// Shows the version of the mesh trust file.
    pub fn trust_version(&self, version: u64) {
        self.0.trust_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// Counts what came of asking a witness.
    pub fn witness(&self, witness: &str, outcome: &'static str) {
        self.0.witnesses.get_or_create(&WitnessAnswer { witness: witness.to_owned(), outcome }).inc();
    }

    /// Shows the size of the newest checkpoint with a quorum.
    pub fn cosigned(&self, size: u64) {
        self.0.cosigned.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    fn batch(&self, outcome: &'static str) {
        self.0.batches.get_or_create(&Outcome { outcome }).inc();
    }
}

fn register_trust(metrics: &Metrics, board: &Board, version: &Gauge) {
    let (rows, newest) = (board.clone(), version.clone());
    metrics.register("broker_trust_version", "Version of the mesh trust file", version.clone());
    let behind = Reading::new(move || rows.behind_trust(newest.get().try_into().unwrap_or_default()) as u64);
    metrics.register(
        "broker_nodes_behind_trust",
        "Connected nodes that hold an older mesh trust file",
        behind,
    );
}

#[cfg(test)]
mod tests {
    use lienthong_telemetry::Identity;

    use super::*;

    #[test]
    fn the_metrics_are_those_that_were_reviewed() {
        let identity = Identity { role: "broker".to_owned(), mesh: "vn-test".to_owned(), development: true };
        let metrics = Metrics::new(&identity);
        let (broker, board, positions) = (BrokerMetrics::default(), Board::default(), Arc::default());
        broker.register(&metrics, &board, &positions);
        broker.register_doors(&metrics, &Connections::new());
        broker.register_index(&metrics, || 9);
        metrics.check_golden(include_str!("../tests/golden/metrics.txt")).unwrap();

        broker.epoch(3);
        let watch = board.enter("agencies/G01/nodes/n1", "0.1.0", 2, 2);
        positions.advance([], 0, 7);
        let text = metrics.encode().unwrap();
        for line in [
            "lienthong_broker_nodes_connected 1",
            "lienthong_broker_nodes_behind 1",
            "lienthong_broker_log_entries 7",
            "lienthong_broker_index_lag_entries 9",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} is not in\n{text}");
        }
        drop(watch);
    }
}
