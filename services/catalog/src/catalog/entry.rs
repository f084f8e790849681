//! Entries of the mandatory-sharing catalog.

use std::collections::BTreeMap;
use std::time::Duration;

use lienthong_proto::lienthong::options::v1::{
    DatasetOptions, DecisionMode, Importance, MethodKind, Personal, Purpose, ReleaseGate, Secrecy, Sharing,
};
use time::{Date, OffsetDateTime, Time, UtcOffset};

use super::{Agency, Bloc, LegalBasis, Level};
use crate::{code, words};

/// An entry of the mandatory-sharing catalog.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Identifier, for example `CE-0007`.
    pub id: String,
    /// Version, from 1.
    pub version: u32,
    /// Dataset.
    pub dataset_id: String,
    /// Code of the provider.
    pub provider_code: String,
    /// Legal basis.
    pub legal_basis: Vec<LegalBasis>,
    /// Whom the entry entitles.
    pub mandatory_consumers: Vec<Selector>,
    /// What each purpose grants. `UNSPECIFIED` stands for any purpose, of open data only.
    pub purposes: BTreeMap<Purpose, Fields>,
    /// The four axes.
    pub classification: Classification,
    /// Methods.
    pub methods: Vec<MethodKind>,
    /// How far the data may lag behind its source.
    pub freshness: Option<Freshness>,
    /// How old a consumer's copy may be.
    pub max_staleness: Option<Duration>,
    /// Least approved security level of both systems; 0 without a demand.
    pub min_security_level: u32,
    /// Calls per minute and system; 0: no quota.
    pub calls_per_minute_max: u32,
    /// First day on which sharing is mandatory, in Việt Nam.
    pub effective_from: Date,
    /// Last day, in Việt Nam; open end without one.
    pub effective_to: Option<Date>,
    /// By when it must work.
    pub deadline: Option<Date>,
    /// The two approvers.
    pub approved_by: Vec<String>,
    /// Status.
    pub status: EntryStatus,
    /// What gates release.
    pub release_gate: ReleaseGate,
    /// Who decides.
    pub decision: DecisionMode,
    /// How old a bundle may be and still decide, where it differs from the class's default.
    pub bundle_age_max: Option<Duration>,
    /// The entry as its file says it, as canonical JSON: what its approvers sign.
    pub content: String,
}

impl Entry {
    /// Id and version, for example `CE-0007@3`.
    pub fn versioned_id(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }

    /// The first moment of validity.
    pub fn valid_from(&self) -> OffsetDateTime {
        start_of_day(self.effective_from)
    }

    /// The first moment after validity.
    pub fn valid_to(&self) -> Option<OffsetDateTime> {
        self.effective_to.and_then(Date::next_day).map(start_of_day)
    }

    /// The end of the day by which sharing must work.
    pub fn deadline_end(&self) -> Option<OffsetDateTime> {
        self.deadline.and_then(Date::next_day).map(start_of_day)
    }

    /// How old a bundle may be and still decide, and a record be without a receipt: what the entry says, else by class.
    /// Where the broker decides each time, only the latter counts.
    pub fn bundle_age_max(&self) -> Duration {
        self.bundle_age_max.unwrap_or_else(|| self.classification.bundle_age_max())
    }
}

/// Midnight in Việt Nam (UTC+07:00, without summer time), the border of the days that the law counts.
fn start_of_day(date: Date) -> OffsetDateTime {
    let vietnam = UtcOffset::from_hms(7, 0, 0).unwrap_or(UtcOffset::UTC);
    date.with_time(Time::MIDNIGHT).assume_offset(vietnam).to_offset(UtcOffset::UTC)
}

/// What one purpose grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// Field ids; `*`: every field that is not sensitive.
    pub granted: Vec<String>,
    /// Fields granted only masked.
    pub masked: Vec<String>,
    /// Condition on the rows, in Cedar ([`crate::condition`]); empty: every row.
    pub condition: String,
}

/// The four axes of classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classification {
    /// Who may share.
    pub sharing: Sharing,
    /// Importance.
    pub importance: Importance,
    /// State secrecy; anything but none is a mistake.
    pub secrecy: Secrecy,
    /// Personal data.
    pub personal: Personal,
}

impl Classification {
    /// How old a bundle may be and still decide about data of this class (design: freshness and clock): open 7
    /// days, shared 24 hours, sensitive or core 1 hour.
    pub fn bundle_age_max(&self) -> Duration {
        const HOUR: Duration = Duration::from_secs(3600);
        if self.personal == Personal::Sensitive || self.importance == Importance::Core {
            HOUR
        } else if self.sharing == Sharing::Open {
            HOUR * 24 * 7
        } else {
            HOUR * 24
        }
    }

    /// The least approved security level of both systems that the class demands.
    pub fn security_level_min(&self) -> u32 {
        match self.importance {
            Importance::Core | Importance::Important => 3,
            Importance::Other | Importance::Unspecified => 0,
        }
    }
}

impl From<&DatasetOptions> for Classification {
    fn from(options: &DatasetOptions) -> Self {
        Self {
            sharing: options.sharing(),
            importance: options.importance(),
            secrecy: options.secrecy(),
            personal: options.personal(),
        }
    }
}

/// How far data may lag behind its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// No lag beyond what technology needs.
    RealTime,
    /// At most this.
    Within(Duration),
}

impl Freshness {
    /// As protobuf writes it; real time is a lag of nothing.
    pub fn to_proto(self) -> prost_types::Duration {
        let lag = match self {
            Self::RealTime => Duration::ZERO,
            Self::Within(lag) => lag,
        };
        prost_types::Duration { seconds: i64::try_from(lag.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
    }
}

/// Status of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStatus {
    /// Being written.
    Draft,
    /// Waiting for its approvals.
    InReview,
    /// In force.
    Active,
    /// In force, its rights suspended by a recorded act.
    Suspended,
    /// No longer in force.
    Retired,
}

impl EntryStatus {
    /// True where the entry was activated and still counts.
    pub fn is_in_force(self) -> bool {
        matches!(self, Self::Active | Self::Suspended)
    }

    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::STATUSES, self)
    }
}

/// Whom an entry means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// `G24`: this agency.
    Code(String),
    /// `H26.*`: this agency and all below it, on group borders.
    Subtree(String),
    /// `ALL`: every agency.
    All,
    /// `MINISTRY.ALL`: the central Government bodies and their units.
    Ministries,
    /// `LOCAL.ALL`: provinces, communes and their units.
    Local,
    /// `SECTOR:<name>`: every agency that works in the sector.
    Sector(String),
}

impl Selector {
    /// True where the selector means this agency.
    pub fn means(&self, agency: &Agency) -> bool {
        match self {
            Self::Code(code) => agency.code == *code,
            Self::Subtree(ancestor) => code::is_within(&agency.code, ancestor),
            Self::All => true,
            Self::Ministries => agency.bloc == Bloc::Government && agency.level == Level::Central,
            Self::Local => agency.bloc == Bloc::Local,
            Self::Sector(sector) => agency.sectors.contains(sector),
        }
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => f.write_str(code),
            Self::Subtree(code) => write!(f, "{code}.*"),
            Self::All => f.write_str("ALL"),
            Self::Ministries => f.write_str("MINISTRY.ALL"),
            Self::Local => f.write_str("LOCAL.ALL"),
            Self::Sector(sector) => write!(f, "SECTOR:{sector}"),
        }
    }
}
