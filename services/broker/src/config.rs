//! The broker's configuration: one TOML file, unknown keys refused, secrets only as file paths.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lienthong_certs::KeySource;
use lienthong_certs::development::is_mesh_id;
use lienthong_compliance::{Rules, day};
use lienthong_telemetry::TelemetryConfig;
use lienthong_trust::TrustConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::BrokerError;
use crate::fetched_lists;
use crate::limits::{
    BATCHES_IN_FLIGHT_CONFIGURABLE_MAX, BATCHES_IN_FLIGHT_MAX, COMPLIANCE_START_GRACE_MS, DRAIN_TIMEOUT_MS,
    KEY_SLOTS_MAX, MATCHING_GRACE_MS, MATCHING_LATE_MS, MATCHING_SILENT_AFTER_MS, POSITIONS_SAVE_INTERVAL_MS,
    RETENTION_MONTHS, RETENTION_MONTHS_MAX, RETENTION_MONTHS_MIN, REVIEW_MONTHS_MAX,
    WITNESS_DEADLINE_CONFIGURABLE_MS_MAX, WITNESS_DEADLINE_MS, WITNESS_START_PATIENCE_MS,
};

/// Everything that the broker needs to run. Relative paths start at the folder in which it is started.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// Id of the mesh: lower-case letters, digits and hyphens. Every bundle names it.
    pub mesh: String,
    /// Folder of the broker's state, made if it does not exist: `log/` (the audit log, laid out as C2SP tlog-tiles) and
    /// `store/` (registry state).
    pub data_dir: PathBuf,
    /// Address of the mesh listener (gRPC over mutual TLS). Port 0: the system chooses.
    pub listen: SocketAddr,
    /// The broker's certificate chain, PEM, leaf first. Read again on reload.
    pub certificate: PathBuf,
    /// The private key of that certificate: a PEM file of mode 0600; or a token:
    /// { pkcs11 = { module = "LIBRARY.so", token = "LABEL", key = "LABEL", id = "HEX", pin_file = "FILE" } }, with key, id
    /// or both. Read again on reload.
    pub key: KeySource,
    /// Whom the broker trusts. What it takes, it hands on to the nodes. Read again on reload.
    pub trust: TrustConfig,
    /// Folder of the catalog that the broker begins with: every `*.yaml` in it, and the approvals of two operators
    /// (`approvals.json`, made by `lienthong catalog sign`). Read again on reload.
    pub catalog_dir: PathBuf,
    /// The registry of nodes and systems with their certificates, YAML. Read again on reload.
    pub registry_file: PathBuf,
    /// Certificates of the operator's officers and tools, PEM: they may read registry, catalog and checkpoint, change the
    /// catalog, and let nodes and systems in: one proposes, another approves. Read again on reload.
    #[serde(default)]
    pub operators: Vec<PathBuf>,
    /// Certificates of the operator's auditors, PEM: they may search the whole log. Read again on reload.
    #[serde(default)]
    pub auditors: Vec<PathBuf>,
    /// Agencies' security officers: each may search the exchanges to which his agency is party. Read again on reload.
    #[serde(default)]
    pub officers: Vec<OfficerConfig>,
    /// Certificates of the operator's stewards, PEM: they look after the catalog and what comes of it, read what is proposed,
    /// and see no log. Read again on reload.
    #[serde(default)]
    pub stewards: Vec<PathBuf>,
    /// Heads of agencies: each sees how his agency keeps its duty, and no log. Read again on reload.
    #[serde(default)]
    pub heads: Vec<OfficerConfig>,
    /// Certificates of consoles, PEM: each may pass on what one of these people asks who has proved his
    /// certificate to it, and can do nothing by itself. Read again on reload.
    #[serde(default)]
    pub consoles: Vec<PathBuf>,
    /// Reasons for refusals, deadlines and holidays, TOML, as `lienthong refusal rules` prints them; without it, those that
    /// the program knows. Read again on reload.
    #[serde(default)]
    pub duty_file: Option<PathBuf>,
    /// Private keys that sign rights bundles and heartbeats: Ed25519, PEM, mode 0600. The mesh trust file says by which of
    /// them the broker signs now; a file may be missing as long as that one is there. Read again on reload.
    pub bundle_keys: Vec<PathBuf>,
    /// Private keys that sign the log's checkpoints, mode 0600. Those that the mesh trust file names, now and next, sign
    /// both; a file may be missing as long as the one in use is there. Read again on reload.
    pub log_keys: Vec<PathBuf>,
    /// Origin of the log: a schema-less URL that names it for ever (C2SP tlog-checkpoint).
    pub log_origin: String,
    /// Rules by which the records are watched, TOML; docs/config/watch.toml is a file to begin from. Without it, those rules
    /// apply. Read at start.
    #[serde(default)]
    pub watch_rules: Option<PathBuf>,
    /// How those who cosign the log's checkpoints are asked.
    #[serde(default)]
    pub witnesses: WitnessesConfig,
    /// True only for demonstrations and tests: accept certificates made for development. Every page and `/health`
    /// shows it.
    #[serde(default)]
    pub development: bool,
    /// When records of the two sides of an exchange do not match.
    #[serde(default)]
    pub matching: MatchingConfig,
    /// How it is judged whether the duty to share is kept.
    #[serde(default)]
    pub compliance: ComplianceConfig,
    /// How long the log is kept.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Logs, metrics, traces, and the admin listener.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl BrokerConfig {
    /// Checks what no type can say.
    ///
    /// # Errors
    /// [`BrokerError::Config`] naming the key.
    pub fn check(&self) -> Result<(), BrokerError> {
        let wrong = |key, problem: &str| Err(BrokerError::Config { key, problem: problem.to_owned() });
        if !is_mesh_id(&self.mesh) {
            return wrong("mesh", "give 1 to 63 lower-case letters, digits and inner hyphens");
        }
        for (key, slots) in [("bundle_keys", &self.bundle_keys), ("log_keys", &self.log_keys)] {
            if slots.is_empty() || slots.len() > KEY_SLOTS_MAX {
                return wrong(key, "name 1 to 8 files");
            }
        }
        if !(1..=BATCHES_IN_FLIGHT_CONFIGURABLE_MAX).contains(&self.limits.batches_in_flight_max) {
            return wrong("limits.batches_in_flight_max", "give a number from 1 to 64");
        }
        if !(1..=WITNESS_DEADLINE_CONFIGURABLE_MS_MAX).contains(&self.witnesses.deadline_ms) {
            return wrong("witnesses.deadline_ms", "give a number from 1 to 10000");
        }
        if !(RETENTION_MONTHS_MIN..=RETENTION_MONTHS_MAX).contains(&self.retention.months) {
            return wrong(
                "retention.months",
                "give a number from 12 to 1200: no log is kept for less (R-50)",
            );
        }
        fetched_lists::fetched(self)?;
        self.compliance.rules()?;
        if self.limits.positions_save_interval_ms == 0 {
            return wrong("limits.positions_save_interval_ms", "give at least 1");
        }
        Ok(())
    }
}

/// A security officer of an agency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfficerConfig {
    /// His certificate, PEM.
    pub certificate: PathBuf,
    /// Code of his agency.
    pub agency: String,
}

/// How the witnesses of the log are asked (C2SP tlog-witness). Who they are, the mesh trust file says.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WitnessesConfig {
    /// Milliseconds that a witness gets to answer, 1 to 10000. Publishing waits so long at most.
    pub deadline_ms: u64,
    /// Before the broker opens the log, so many witnesses must say what they have seen of it that the others cannot make a
    /// quorum: a broker that was restored from an old copy must not sign. True: it opens the log unheard; only where they
    /// will never answer again, and whoever sets it answers for that.
    pub start_unheard: bool,
    /// Milliseconds to wait for them.
    pub start_patience_ms: u64,
}

/// When records of the two sides of an exchange do not match.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MatchingConfig {
    /// Milliseconds after an exchange within which both sides' records are made. A node that was heard past them, and has
    /// none, misses one.
    pub grace_ms: u64,
    /// Milliseconds without a sign of a node, while another side's record waits for its own, after which it is silent.
    pub silent_after_ms: u64,
    /// Milliseconds that a reported gap is remembered, so that the record that fills it is known to be late.
    pub late_ms: u64,
}

/// How it is judged whether the duty to share is kept. What an entry says itself goes before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComplianceConfig {
    /// By when an entry that says nothing must work, a day in Việt Nam.
    pub deadline: String,
    /// Months after which an entry is to be reviewed, 1 to 60.
    pub review_months: u8,
    /// Milliseconds that data in real time may lag: what technology needs.
    pub real_time_lag_ms: u64,
    /// Of a hundred sampled records so many must be correct, complete and clean, 1 to 100.
    pub quality_percent_min: u8,
    /// Milliseconds after its last sign for which a provider's node still counts as reachable, though it is not connected.
    pub reachable_ms: u64,
    /// Milliseconds after the start of the broker in which nothing is called late: nodes ship first what they have kept for
    /// it.
    pub start_grace_ms: u64,
}

/// How long the log is kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Months for which the bodies of records are kept, at least 12. What is older goes, a block of 65536 records or more at a
    /// time, on record before it does; hashes and proofs stay for ever.
    pub months: u32,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        RetentionConfig { months: RETENTION_MONTHS }
    }
}

/// Bounds that an operator may change.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Journal batches of one node that may be on their way into the log at once, 1 to 64.
    pub batches_in_flight_max: usize,
    /// Milliseconds between two saves of the journal positions.
    pub positions_save_interval_ms: u64,
    /// Milliseconds that streams and connections get to end when the broker stops.
    pub drain_timeout_ms: u64,
}

impl BrokerConfig {
    /// A configuration to begin from.
    pub fn sample() -> Self {
        Self {
            mesh: "demo".to_owned(),
            data_dir: "/var/lib/lienthong/broker".into(),
            listen: SocketAddr::from(([0, 0, 0, 0], 7400)),
            certificate: "/etc/lienthong/broker.crt".into(),
            key: "/etc/lienthong/broker.key".into(),
            trust: TrustConfig::sample(),
            catalog_dir: "/etc/lienthong/catalog".into(),
            registry_file: "/etc/lienthong/registry.yaml".into(),
            operators: Vec::new(),
            auditors: Vec::new(),
            officers: Vec::new(),
            stewards: Vec::new(),
            heads: Vec::new(),
            consoles: Vec::new(),
            duty_file: None,
            bundle_keys: vec![
                "/etc/lienthong/keys/bundle-1.key".into(),
                "/etc/lienthong/keys/bundle-2.key".into(),
            ],
            log_keys: vec!["/etc/lienthong/keys/log-1.key".into(), "/etc/lienthong/keys/log-2.key".into()],
            log_origin: "log.example.vn/2026".to_owned(),
            witnesses: WitnessesConfig::default(),
            watch_rules: None,
            matching: MatchingConfig::default(),
            compliance: ComplianceConfig::default(),
            retention: RetentionConfig::default(),
            development: false,
            limits: LimitsConfig::default(),
            telemetry: TelemetryConfig::default(),
        }
    }
}

impl Default for WitnessesConfig {
    fn default() -> Self {
        WitnessesConfig {
            deadline_ms: WITNESS_DEADLINE_MS,
            start_unheard: false,
            start_patience_ms: WITNESS_START_PATIENCE_MS,
        }
    }
}

impl WitnessesConfig {
    /// [`Self::deadline_ms`] as a duration.
    pub fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// [`Self::start_patience_ms`] as a duration.
    pub fn start_patience(&self) -> Duration {
        Duration::from_millis(self.start_patience_ms)
    }
}

impl Default for MatchingConfig {
    fn default() -> Self {
        MatchingConfig {
            grace_ms: MATCHING_GRACE_MS,
            silent_after_ms: MATCHING_SILENT_AFTER_MS,
            late_ms: MATCHING_LATE_MS,
        }
    }
}

impl Default for ComplianceConfig {
    fn default() -> Self {
        let Rules { deadline, review_months, real_time_lag_max, quality_percent_min, heard_within } =
            Rules::default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        ComplianceConfig {
            deadline: day::written(deadline),
            review_months,
            real_time_lag_ms: millis(real_time_lag_max),
            quality_percent_min,
            reachable_ms: millis(heard_within),
            start_grace_ms: COMPLIANCE_START_GRACE_MS,
        }
    }
}

impl ComplianceConfig {
    /// As the judge takes it.
    ///
    /// # Errors
    /// [`BrokerError::Config`] naming the key.
    pub fn rules(&self) -> Result<Rules, BrokerError> {
        let wrong = |key, problem: &str| Err(BrokerError::Config { key, problem: problem.to_owned() });
        let Some(deadline) = day::read(&self.deadline) else {
            return wrong("compliance.deadline", "write a day, as 2026-12-31");
        };
        if !(1..=REVIEW_MONTHS_MAX).contains(&self.review_months) {
            return wrong("compliance.review_months", "give a number from 1 to 60");
        }
        if !(1..=100).contains(&self.quality_percent_min) {
            return wrong("compliance.quality_percent_min", "give a number from 1 to 100");
        }
        Ok(Rules {
            deadline,
            review_months: self.review_months,
            real_time_lag_max: Duration::from_millis(self.real_time_lag_ms),
            quality_percent_min: self.quality_percent_min,
            heard_within: Duration::from_millis(self.reachable_ms),
        })
    }

    /// [`Self::start_grace_ms`] as a duration.
    pub fn start_grace(&self) -> Duration {
        Duration::from_millis(self.start_grace_ms)
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            batches_in_flight_max: BATCHES_IN_FLIGHT_MAX,
            positions_save_interval_ms: POSITIONS_SAVE_INTERVAL_MS,
            drain_timeout_ms: DRAIN_TIMEOUT_MS,
        }
    }
}

impl LimitsConfig {
    /// [`Self::drain_timeout_ms`] as a duration.
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// [`Self::positions_save_interval_ms`] as a duration.
    pub fn positions_save_interval(&self) -> Duration {
        Duration::from_millis(self.positions_save_interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lienthong_telemetry::config::parse;
    use lienthong_telemetry::sample_toml;

    use super::*;

    #[test]
    fn the_sample_says_what_it_is_made_of() {
        let sample = sample_toml(&BrokerConfig::sample());
        let read: BrokerConfig = parse(&sample, Path::new("broker.toml")).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", BrokerConfig::sample()));
        read.check().unwrap();
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands() {
        let sample = sample_toml(&BrokerConfig::sample()).replace("\nlisten =", "\nlisten_on =");
        let error = parse::<BrokerConfig>(&sample, Path::new("broker.toml")).unwrap_err().to_string();
        assert!(error.contains("broker.toml:") && error.contains("listen_on"), "{error}");
    }

    #[test]
    fn what_no_type_can_say_is_checked() {
        let wrong = |change: &dyn Fn(&mut BrokerConfig)| {
            let mut config = BrokerConfig::sample();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(wrong(&|config| config.mesh = "VN".to_owned()).contains("key mesh"));
        assert!(wrong(&|config| config.bundle_keys.clear()).contains("bundle_keys"));
        assert!(wrong(&|config| config.log_keys = vec!["log.key".into(); 9]).contains("log_keys"));
        assert!(wrong(&|config| config.retention.months = 11).contains("R-50"));
        assert!(wrong(&|config| config.limits.batches_in_flight_max = 0).contains("batches_in_flight_max"));
        assert!(
            wrong(&|config| config.limits.positions_save_interval_ms = 0)
                .contains("positions_save_interval_ms")
        );
    }
}
