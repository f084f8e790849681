//! The node's numbers for its operator. Counters are found once and touched without a lock on the way of
//! a call.

use std::{fmt::Write, time::Duration};

use lienthong_proto::{lienthong::audit::v1::Status, reason::Reason};
use lienthong_telemetry::{Reading, Readings};
use lienthong_transport::Connections;
use prometheus_client::{
    encoding::{EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::{
    call::close::Ending,
    services::{Own, probe::Found},
};

/// Every number of a node.
#[derive(Debug)]
pub struct Metrics {
    denied: Vec<(Reason, Counter)>,
    denied_family: Family<Vec<(&'static str, Label)>, Counter>,
    ended: Vec<Counter>,
    ended_family: Family<Vec<(&'static str, Label)>, Counter>,
    asked: Family<Vec<(&'static str, Label)>, Counter>,
    probed: Family<Vec<(&'static str, Label)>, Counter>,
    duration: Histogram,
    /// What applications said beside their messages and their dataset does not declare.
    pub metadata_dropped: Counter,
    /// Epoch that the node decides by.
    pub epoch: Gauge,
    /// Bundles that were refused.
    pub bundles_refused: Counter,
    /// Version of the mesh trust file.
    pub trust_version: Gauge,
    /// When it ends, seconds since 1970-01-01 UTC.
    pub trust_expiry: Gauge,
    /// Records that the broker has not receipted.
    pub backlog: Gauge,
    /// Findings against the log itself.
    pub log_findings: Counter,
    /// Receipts that are not yet proven to be kept.
    pub promises: Gauge,
    /// Age of the rights, seconds; -1: never heard of the broker.
    pub rights_age_seconds: Gauge,
    /// End of the validity of the node's certificate, Unix time.
    pub certificate_expiry: Gauge,
    /// Calls for open data that went on although a revocation list was overdue or missing.
    pub revocation_soft_fails: Counter,
    reloads: Family<Vec<(&'static str, Label)>, Counter>,
    renewals: Family<Vec<(&'static str, Label)>, Counter>,
    lists_fetched: Family<Vec<(&'static str, Label)>, Counter>,
    http_answered: Family<Vec<(&'static str, u16)>, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Label(&'static str);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.0)
    }
}

const STATUSES: [Status; 8] = [
    Status::Unspecified,
    Status::Delivered,
    Status::Empty,
    Status::Denied,
    Status::Refused,
    Status::Failed,
    Status::Partial,
    Status::UnknownAfterCrash,
];

impl Default for Metrics {
    fn default() -> Self {
        let denied_family = Family::<Vec<(&'static str, Label)>, Counter>::default();
        let denied = Reason::all()
            .map(|info| (info.reason, denied_family.get_or_create_owned(&vec![("reason", Label(info.name))])))
            .collect();
        let ended_family = Family::<Vec<(&'static str, Label)>, Counter>::default();
        let ended = STATUSES
            .iter()
            .map(|status| {
                let name = status.as_str_name().trim_start_matches("STATUS_");
                ended_family.get_or_create_owned(&vec![("status", Label(name))])
            })
            .collect();
        let (asked, probed) = (Family::default(), Family::default());
        for own in Own::ALL {
            drop(asked.get_or_create(&vec![("service", Label(own.name()))]));
        }
        for found in Found::ALL {
            drop(probed.get_or_create(&vec![("found", Label(found.name()))]));
        }
        Self {
            asked,
            probed,
            denied,
            denied_family,
            ended,
            ended_family,
            duration: Histogram::new(exponential_buckets(0.000_1, 2.0, 18)),
            metadata_dropped: Counter::default(),
            epoch: Gauge::default(),
            bundles_refused: Counter::default(),
            trust_version: Gauge::default(),
            trust_expiry: Gauge::default(),
            backlog: Gauge::default(),
            log_findings: Counter::default(),
            promises: Gauge::default(),
            rights_age_seconds: Gauge::default(),
            certificate_expiry: Gauge::default(),
            revocation_soft_fails: Counter::default(),
            reloads: Family::default(),
            renewals: Family::default(),
            lists_fetched: Family::default(),
            http_answered: Family::default(),
        }
    }
}

impl Metrics {
    /// A call was denied or could not begin.
    pub fn denied(&self, reason: Reason) {
        if let Some((_, counter)) = self.denied.iter().find(|(known, _)| *known == reason) {
            counter.inc();
        }
    }

    /// An exchange ended.
    pub fn ended(&self, ending: &Ending, took: Duration) {
        if let Some(counter) =
            usize::try_from(ending.status as i32).ok().and_then(|status| self.ended.get(status))
        {
            counter.inc();
        }
        self.duration.observe(took.as_secs_f64());
    }

    /// One of the node's own services was asked.
    pub fn asked(&self, own: Own) {
        self.asked.get_or_create(&vec![("service", Label(own.name()))]).inc();
    }

    /// A provider's node or a backend was asked how it is.
    pub fn probed(&self, found: Found) {
        self.probed.get_or_create(&vec![("found", Label(found.name()))]).inc();
    }

    /// The node's files were read again: `applied`, `unchanged` or `refused`.
    pub fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&vec![("outcome", Label(outcome))]).inc();
    }

    /// A step of the renewal of the certificate: `requested`, `renewed`, or `refused` at each try that failed.
    pub fn renewed(&self, outcome: &'static str) {
        self.renewals.get_or_create(&vec![("outcome", Label(outcome))]).inc();
    }

    /// A revocation list was asked for where it is published: `taken`, `unchanged` or `refused`.
    pub fn list_fetched(&self, outcome: &'static str) {
        self.lists_fetched.get_or_create(&vec![("outcome", Label(outcome))]).inc();
    }

    /// A request in plain HTTP was answered with this status.
    pub fn http_answered(&self, status: http::StatusCode) {
        self.http_answered.get_or_create(&vec![("status", status.as_u16())]).inc();
    }

    /// Gives every number its name.
    pub fn register(&self, register: &lienthong_telemetry::Metrics, connections: &Connections) {
        let doors = connections.clone();
        register.register(
            "node_handshakes",
            "Handshakes at this node's doors, by what became of them",
            Readings::new("outcome", move || doors.handshakes().outcomes()),
        );
        let inside = connections.clone();
        register.register(
            "node_connections",
            "Live connections, both directions",
            Reading::new(move || inside.count() as u64),
        );
        register.register("node_denials", "Calls denied, by reason", self.denied_family.clone());
        register.register("node_exchanges", "Exchanges ended, by status", self.ended_family.clone());
        register.register(
            "node_own_questions",
            "Questions to the node's own services, by service",
            self.asked.clone(),
        );
        register.register(
            "node_health_probes",
            "Questions about health that went on to a provider's node or a backend, by what was found",
            self.probed.clone(),
        );
        register.register(
            "node_http_answers",
            "Answers in plain HTTP, by HTTP status",
            self.http_answered.clone(),
        );
        register.register(
            "node_exchange_duration_seconds",
            "From the arrival of a call to the end of its answer",
            self.duration.clone(),
        );
        register.register(
            "node_metadata_dropped",
            "Metadata, status messages and details of applications that their dataset does not declare",
            self.metadata_dropped.clone(),
        );
        register.register("node_epoch", "Epoch that the node decides by", self.epoch.clone());
        register.register("node_bundles_refused", "Rights bundles refused", self.bundles_refused.clone());
        register.register(
            "node_trust_version",
            "Version of the mesh trust file in force",
            self.trust_version.clone(),
        );
        register.register(
            "node_trust_expiry_timestamp_seconds",
            "When the mesh trust file ends, seconds since 1970-01-01 UTC",
            self.trust_expiry.clone(),
        );
        register.register("node_journal_backlog", "Records without a receipt", self.backlog.clone());
        register.register(
            "node_log_findings",
            "Contradictions of the log, and receipts that it did not keep in time: look at once",
            self.log_findings.clone(),
        );
        register.register(
            "node_receipts_unproven",
            "Receipts that no cosigned checkpoint was proven to cover yet",
            self.promises.clone(),
        );
        register.register(
            "node_rights_age_seconds",
            "Time since the broker's last sign of life; -1: never",
            self.rights_age_seconds.clone(),
        );
        self.register_own_files(register);
    }

    /// What the node's certificate, key and revocation lists have to say.
    fn register_own_files(&self, register: &lienthong_telemetry::Metrics) {
        register.register(
            "node_certificate_expiry_seconds",
            "End of the validity of the node's certificate, Unix time",
            self.certificate_expiry.clone(),
        );
        register.register(
            "node_reloads",
            "Certificate, key and revocation lists read again, by outcome",
            self.reloads.clone(),
        );
        register.register(
            "node_renewals",
            "Steps of the renewal of the node's certificate, by outcome: refused counts each try",
            self.renewals.clone(),
        );
        register.register(
            "node_revocation_lists_fetched",
            "Revocation lists asked for where they are published, by outcome",
            self.lists_fetched.clone(),
        );
        register.register(
            "node_revocation_soft_fails",
            "Calls for open data that went on although a revocation list was overdue or missing",
            self.revocation_soft_fails.clone(),
        );
    }
}
