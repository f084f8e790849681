//! What is known of an entry beside the log, and the rules that it is judged by.

use std::collections::BTreeMap;
use std::time::Duration;

use time::macros::date;
use time::{Date, OffsetDateTime};

/// The rules that an entry is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// By when an entry that says nothing must work (R-20; NĐ 278/2025 Article 24): 31/12/2026.
    pub deadline: Date,
    /// Months after which an entry is to be reviewed.
    pub review_months: u8,
    /// The lag that data in real time may have: what technology needs.
    pub real_time_lag_max: Duration,
    /// Of a hundred records so many must be correct, complete and clean.
    pub quality_percent_min: u8,
    /// How long after its last sign a provider's node still counts as there, though it is not connected now.
    pub heard_within: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            deadline: date!(2026 - 12 - 31),
            review_months: 6,
            real_time_lag_max: Duration::from_secs(60),
            quality_percent_min: 99,
            heard_within: Duration::from_secs(60),
        }
    }
}

/// How the provider's contract stands to an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ContractStanding {
    /// It declares the dataset, with every method of the entry.
    Fits,
    /// Nobody has published the dataset.
    #[default]
    Missing,
    /// It lacks these methods of the entry, by their words.
    Lacks(Vec<String>),
    /// What the provider runs is not what is registered: why.
    Drifted(String),
}

/// Refusals towards the consumers of an entry, of one year.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// With a lawful reason.
    pub declared: u32,
    /// Without one.
    pub unjustified: u32,
    /// That nobody declared.
    pub undeclared: u32,
    /// Of the last two, those that go on.
    pub unlawful_open: u32,
    /// By reason.
    pub by_reason: BTreeMap<String, u32>,
}

/// What is known of one entry.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is another thing that is known")]
pub struct EntryFacts {
    /// Id, for example `CE-0007`.
    pub id: String,
    /// With its version, for example `CE-0007@3`.
    pub versioned_id: String,
    /// Dataset.
    pub dataset: String,
    /// Code of the provider.
    pub provider: String,
    /// Whether it is in force.
    pub is_in_force: bool,
    /// How the provider's contract stands to it.
    pub contract: ContractStanding,
    /// Whether a node of the provider is connected now.
    pub is_connected: bool,
    /// The lag that it allows; `None`: it demands nothing. Zero: real time.
    pub freshness: Option<Duration>,
    /// Whether it demands that the data is synchronised.
    pub is_synchronised: bool,
    /// How old a consumer's copy may be; `None`: no copies.
    pub copy_age_max: Option<Duration>,
    /// Consumers whom the rights entitle.
    pub entitled_consumers: u32,
    /// By when it must work, where it says so itself.
    pub deadline: Option<Date>,
    /// When its owner last took it up.
    pub reviewed: OffsetDateTime,
    /// Refusals of this year.
    pub refusals: Refusals,
    /// Whether the dataset has a field that tells when the source changed a record.
    pub is_dated: bool,
    /// Whether an outage is announced for now.
    pub is_planned_outage: bool,
}

impl EntryFacts {
    /// The furthest that the data may lag; `None` where nothing is demanded.
    pub fn lag_max(&self, rules: &Rules) -> Option<Duration> {
        let allowed = self.freshness.filter(|_| self.is_synchronised && self.is_in_force)?;
        Some(if allowed.is_zero() { rules.real_time_lag_max } else { allowed })
    }
}
