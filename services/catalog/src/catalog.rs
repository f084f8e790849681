//! The catalog as the law states it: agencies, databases, entries, and whom an entry means.
//!
//! Made only from files without a mistake ([`crate::source`]), so every reference in it resolves.

use std::collections::BTreeMap;
use std::time::Duration;

use lienthong_proto::lienthong::control::v1::{Node, System};
use lienthong_proto::lienthong::options::v1::{
    DatasetOptions, DecisionMode, Importance, MethodKind, Personal, Purpose, ReleaseGate, Secrecy, Sharing,
};
use time::{Date, OffsetDateTime, Time, UtcOffset};

use crate::code;
use crate::source::Dictionary;
use crate::words;

/// Everything that the operator maintains.
#[derive(Debug, Clone)]
pub struct Catalog {
    agencies: Vec<Agency>,
    outside_parties: Vec<OutsideParty>,
    databases: Vec<Database>,
    entries: Vec<Entry>,
    dictionary: Dictionary,
    nodes: Vec<Node>,
    systems: Vec<System>,
}

impl Catalog {
    pub(crate) fn new(
        mut agencies: Vec<Agency>,
        mut outside_parties: Vec<OutsideParty>,
        mut databases: Vec<Database>,
        mut entries: Vec<Entry>,
        dictionary: Dictionary,
    ) -> Self {
        agencies.sort_by(|a, b| a.code.cmp(&b.code));
        outside_parties.sort_by(|a, b| a.code.cmp(&b.code));
        databases.sort_by(|a, b| a.id.cmp(&b.id));
        entries.sort_by(|a, b| a.id.cmp(&b.id));
        let systems = agencies.iter().flat_map(Agency::unbound_systems).collect();
        Self { agencies, outside_parties, databases, entries, dictionary, nodes: Vec::new(), systems }
    }

    /// The same catalog with the nodes and certificates of a registry.
    pub(crate) fn bound(mut self, mut nodes: Vec<Node>, mut systems: Vec<System>) -> Self {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        systems.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes = nodes;
        self.systems = systems;
        self
    }

    /// Agencies, by code.
    pub fn agencies(&self) -> &[Agency] {
        &self.agencies
    }

    /// The agency with this code.
    pub fn agency(&self, code: &str) -> Option<&Agency> {
        let found = self.agencies.binary_search_by(|agency| agency.code.as_str().cmp(code)).ok()?;
        self.agencies.get(found)
    }

    /// Registered parties outside the political system, by code.
    pub fn outside_parties(&self) -> &[OutsideParty] {
        &self.outside_parties
    }

    /// Databases, by id.
    pub fn databases(&self) -> &[Database] {
        &self.databases
    }

    /// The database that declares a dataset.
    pub fn database_of(&self, dataset: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.dataset(dataset).is_some())
    }

    /// Entries of the mandatory-sharing catalog, by id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The shared data dictionary.
    pub fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    /// Nodes of the registry, by name.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Information systems, by name; with certificates once a registry was read.
    pub fn systems(&self) -> &[System] {
        &self.systems
    }

    /// The agencies that a selector of this entry means: those that take part as consumers.
    pub fn consumers<'a, 's>(
        &'a self,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a Agency> + use<'a, 's> {
        self.agencies.iter().filter(move |agency| agency.is_consumer() && selector.means(agency))
    }
}

/// An agency of the political system.
#[derive(Debug, Clone)]
pub struct Agency {
    /// Agency code (QĐ 20/2020).
    pub code: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// English name; may be empty.
    pub name_en: String,
    /// Bloc of the political system.
    pub bloc: Bloc,
    /// Level.
    pub level: Level,
    /// Parts that it plays.
    pub roles: Vec<Role>,
    /// Approved information-system security level, 1–5; 0 without one.
    pub security_level: u32,
    /// Sectors that it works in, for `SECTOR:<name>` and the default right of local sector bodies.
    pub sectors: Vec<String>,
    /// The person in charge of data.
    pub contact: Contact,
    /// False once merged or dissolved.
    pub is_active: bool,
    /// Code of the agency that took over; empty without one.
    pub successor_code: String,
    /// Its information systems.
    pub systems: Vec<AgencySystem>,
}

impl Agency {
    /// True where the agency may be given rights.
    pub fn is_consumer(&self) -> bool {
        self.is_active && self.roles.contains(&Role::Consumer)
    }

    /// True where the agency may serve data.
    pub fn is_provider(&self) -> bool {
        self.is_active && self.roles.contains(&Role::Provider)
    }

    fn unbound_systems(&self) -> impl Iterator<Item = System> {
        self.systems.iter().map(|system| System {
            name: system_name(&self.code, &system.id),
            agency: self.code.clone(),
            security_level: system.security_level,
            certificates: Vec::new(),
        })
    }
}

/// Resource name of a node.
pub fn node_name(agency: &str, id: &str) -> String {
    format!("agencies/{agency}/nodes/{id}")
}

/// Resource name of an information system.
pub fn system_name(agency: &str, id: &str) -> String {
    format!("agencies/{agency}/systems/{id}")
}

/// An information system as its agency had it approved.
#[derive(Debug, Clone)]
pub struct AgencySystem {
    /// Identifier within the agency.
    pub id: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// Approved security level, 1–5.
    pub security_level: u32,
}

/// The person in charge of data.
#[derive(Debug, Clone, Default)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// Position.
    pub position: String,
    /// Telephone.
    pub phone: String,
    /// E-mail.
    pub email: String,
}

/// Bloc of the political system (NĐ 278/2025 Article 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words of the data model
pub enum Bloc {
    Party,
    NationalAssembly,
    Government,
    Court,
    Procuracy,
    StateAudit,
    PresidentOffice,
    FatherlandFront,
    Local,
}

/// Level of an agency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words of the data model
pub enum Level {
    Central,
    Province,
    Commune,
}

impl Bloc {
    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::BLOCS, self)
    }
}

impl Level {
    /// The word of the data model.
    pub fn word(self) -> &'static str {
        words::of(words::LEVELS, self)
    }
}

/// A part that an agency plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words of the data model
pub enum Role {
    Provider,
    Consumer,
    Operator,
    Auditor,
}

/// A party outside the political system: registered, and never entitled.
#[derive(Debug, Clone)]
pub struct OutsideParty {
    /// Business number, or code of another scheme.
    pub code: String,
    /// Vietnamese name.
    pub name_vi: String,
}

/// A database and the datasets in it.
#[derive(Debug, Clone)]
pub struct Database {
    /// Identifier.
    pub id: String,
    /// Vietnamese name.
    pub name_vi: String,
    /// Kind.
    pub kind: DatabaseKind,
    /// Code of its owner.
    pub owner_code: String,
    /// Legal basis.
    pub legal_basis: Vec<LegalBasis>,
    /// True where no dataset of it may enter the catalog.
    pub special_operational: bool,
    /// Sector, for the default right of local sector bodies; empty without one.
    pub sector: String,
    /// Datasets.
    pub datasets: Vec<DatabaseDataset>,
}

impl Database {
    /// The dataset with this id.
    pub fn dataset(&self, id: &str) -> Option<&DatabaseDataset> {
        self.datasets.iter().find(|dataset| dataset.id == id)
    }
}

/// Kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the words of the data model
pub enum DatabaseKind {
    NationalDb,
    SectoralDb,
    AgencySharedDb,
    LocalDb,
    NationalGeneralDb,
}

/// A dataset as its database lists it. What it consists of, its contract says.
#[derive(Debug, Clone)]
pub struct DatabaseDataset {
    /// Dataset id.
    pub id: String,
    /// True for master data: exactly one authoritative provider.
    pub master: bool,
}

/// An instrument and its article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegalBasis {
    /// Instrument, for example `278/2025/NĐ-CP`.
    pub instrument: String,
    /// Article, for example `Điều 8`; may be empty.
    pub article: String,
    /// Remark; may be empty.
    pub note: String,
}

impl std::fmt::Display for LegalBasis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.instrument)?;
        if !self.article.is_empty() {
            write!(f, ", {}", self.article)?;
        }
        if !self.note.is_empty() {
            write!(f, " ({})", self.note)?;
        }
        Ok(())
    }
}

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

    /// How old a bundle may be and still decide: what the entry says, else by class; no age at all where the broker
    /// decides each time.
    pub fn bundle_age_max(&self) -> Duration {
        let class = &self.classification;
        if self.decision == DecisionMode::Online {
            return Duration::ZERO;
        }
        self.bundle_age_max.unwrap_or_else(|| class.bundle_age_max())
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
#[allow(missing_docs)] // the words of the data model
pub enum EntryStatus {
    Draft,
    InReview,
    Active,
    Suspended,
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
