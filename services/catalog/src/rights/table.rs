//! Datasets and rights in the form that decisions read: small rows, interned names, a consumer's rights side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lienthong_proto::lienthong::control::v1::{Dataset as DeclaredDataset, RightOrigin};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose, ReleaseGate};
use prost_types::Timestamp;

use super::plans::Hashing;
use crate::condition::{Condition, Guardrail};
use crate::contract::{ContractDataset, GrantedFields};

/// The consumer slot of open data: every party of the political system.
pub(super) const ANY_CONSUMER: u32 = u32::MAX;
/// The system slot of a right that holds for each system of the consumer.
const ANY_SYSTEM: u32 = u32::MAX;

/// A moment, seconds and nanoseconds since 1970 UTC; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(i64, i32);

impl Moment {
    pub(crate) const END_OF_TIME: Self = Self(i64::MAX, 0);

    /// `None` where the nanoseconds are out of range: such a text is no time.
    pub(crate) fn of(timestamp: Timestamp) -> Option<Self> {
        (0..1_000_000_000).contains(&timestamp.nanos).then_some(Self(timestamp.seconds, timestamp.nanos))
    }

    pub(crate) fn of_clock(now: time::OffsetDateTime) -> Self {
        Self(now.unix_timestamp(), now.nanosecond().cast_signed())
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Timestamp { seconds: self.0, nanos: self.1 }.fmt(f)
    }
}

/// A dataset of the bundle together with its contract.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub declared: DeclaredDataset,
    pub contract: ContractDataset,
    /// Anything but "declared no state secret".
    pub secret: bool,
    /// True where a system's default purpose counts: neither personal, core nor important (design: local hops).
    pub takes_default_purpose: bool,
    pub release_gate: ReleaseGate,
    pub decision_mode: DecisionMode,
    pub bundle_age_max: Duration,
    /// What both systems need; at least 3 for core and important data.
    pub min_security_level: u32,
    /// Approved level of the provider.
    pub provider_security_level: u32,
    /// Every different field list that a right to this dataset grants.
    pub field_lists: Vec<FieldList>,
    /// What binds each call, whatever a right says.
    pub guardrails: Vec<Arc<Guardrail>>,
}

/// What a right grants of a dataset, spelled out.
#[derive(Debug)]
pub(crate) struct FieldList {
    pub fields: GrantedFields,
    /// What happens to HASH-masked fields; a list with a key belongs to one consumer.
    pub hashing: Hashing,
}

/// What a decision reads of a right. All consumers of an entry have the same, which stands here once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RightRow {
    valid_from: Moment,
    valid_to: Moment,
    pub field_list: u32,
    /// Slot of the condition on rows, or [`NO_CONDITION`].
    pub condition: u32,
    methods: u8,
    pub suspended: bool,
}

/// What a right is found by: 16 bytes, so that what one consumer may ask for is a few lines of memory.
#[derive(Debug)]
struct Line {
    dataset: u32,
    purpose: i32,
    system: u32,
    /// Slot of its [`RightRow`].
    row: u32,
}

/// The rights of one consumer: a range of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    begin: u32,
    end: u32,
}

/// What only an answer or a record needs of a right.
#[derive(Debug)]
pub(crate) struct Particulars {
    pub id: Box<str>,
    pub origin: RightOrigin,
    pub calls_per_minute_max: u32,
    /// Slot of the list of instruments.
    pub legal_basis: u32,
}

/// A right without a condition on rows.
pub(crate) const NO_CONDITION: u32 = u32::MAX;

/// What rights are sorted by; the consumer comes first, so that all that one may ask for lies together. Purpose 0 stands
/// for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub consumer: u32,
    pub dataset: u32,
    pub purpose: i32,
}

/// A right on its way into the table.
pub(crate) struct RightParts<'a> {
    pub id: &'a str,
    pub key: Key,
    pub system: Option<u32>,
    pub origin: RightOrigin,
    pub methods: &'a [MethodKind],
    pub suspended: bool,
    pub field_list: u32,
    pub condition: Option<u32>,
    pub calls_per_minute_max: u32,
    pub valid_from: Moment,
    pub valid_to: Moment,
    pub legal_basis: u32,
}

/// A right as the table keeps it.
pub(crate) struct NewRight {
    key: Key,
    system: u32,
    row: RightRow,
    particulars: Particulars,
}

impl NewRight {
    pub(crate) fn new(parts: &RightParts<'_>) -> Self {
        let row = RightRow {
            valid_from: parts.valid_from,
            valid_to: parts.valid_to,
            field_list: parts.field_list,
            condition: parts.condition.unwrap_or(NO_CONDITION),
            methods: parts.methods.iter().fold(0, |bits, kind| bits | bit(*kind)),
            suspended: parts.suspended,
        };
        let particulars = Particulars {
            id: parts.id.into(),
            origin: parts.origin,
            calls_per_minute_max: parts.calls_per_minute_max,
            legal_basis: parts.legal_basis,
        };
        Self { key: parts.key, system: parts.system.unwrap_or(ANY_SYSTEM), row, particulars }
    }

    /// By key; within one key those of a system first, then by origin and id: the order in which a decision prefers
    /// them.
    fn order(&self) -> (Key, u32, RightOrigin, &str) {
        (self.key, self.system, self.particulars.origin, &self.particulars.id)
    }
}

impl Line {
    /// What a consumer's rights are sorted by.
    fn about(&self) -> (u32, i32) {
        (self.dataset, self.purpose)
    }

    /// True where the right holds for this system; `None` stands for a caller that named none.
    fn holds_for(&self, system: Option<u32>) -> bool {
        self.system == ANY_SYSTEM || Some(self.system) == system
    }
}

impl RightRow {
    pub(crate) fn is_valid_at(&self, now: Moment) -> bool {
        self.valid_from <= now && now < self.valid_to
    }

    /// The time of validity, for people: UTC, RFC 3339.
    pub(crate) fn validity(&self) -> String {
        match self.valid_to {
            Moment::END_OF_TIME => format!("from {}", self.valid_from),
            end => format!("from {} to {end}", self.valid_from),
        }
    }

    pub(crate) fn grants(&self, kind: MethodKind) -> bool {
        self.methods & bit(kind) != 0
    }
}

/// All rights, sorted by key; within one key in the order in which a decision prefers them.
///
/// A decision looks into one consumer's lines alone, which are one place of memory: a million rights of others cost it
/// nothing.
#[derive(Debug, Default)]
pub(crate) struct RightTable {
    lines: Vec<Line>,
    /// Every different one.
    rows: Vec<RightRow>,
    particulars: Vec<Particulars>,
    /// By slot of the consumer, where his lines begin, and at the end, where those of open data do.
    begins: Vec<u32>,
    pub legal_bases: Vec<Vec<String>>,
    /// Every different condition on rows.
    pub conditions: Vec<Arc<Condition>>,
}

impl RightTable {
    pub(crate) fn new(
        consumers: usize,
        mut rights: Vec<NewRight>,
        legal_bases: Vec<Vec<String>>,
        conditions: Vec<Arc<Condition>>,
    ) -> Self {
        rights.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        let mut begins = vec![0; consumers + 1];
        let mut begun = 0;
        // RIGHTS_MAX is far below u32::MAX, and no consumer's slot is ANY_CONSUMER.
        for (consumer, begin) in (0_u32..).zip(&mut begins) {
            begun += rights[begun..].partition_point(|right| right.key.consumer < consumer);
            *begin = u32::try_from(begun).unwrap_or(u32::MAX);
        }
        let mut table = Self {
            lines: Vec::with_capacity(rights.len()),
            particulars: Vec::with_capacity(rights.len()),
            rows: Vec::new(),
            begins,
            legal_bases,
            conditions,
        };
        let mut slots: HashMap<RightRow, u32> = HashMap::new();
        for NewRight { key, system, row, particulars } in rights {
            let row = *slots.entry(row).or_insert_with_key(|row| {
                table.rows.push(row.clone());
                u32::try_from(table.rows.len() - 1).unwrap_or(u32::MAX)
            });
            table.lines.push(Line { dataset: key.dataset, purpose: key.purpose, system, row });
            table.particulars.push(particulars);
        }
        table
    }

    pub(crate) fn row(&self, slot: u32) -> &RightRow {
        self.row_of(&self.lines[slot as usize])
    }

    pub(crate) fn particulars(&self, slot: u32) -> &Particulars {
        &self.particulars[slot as usize]
    }

    /// The condition on rows of a right.
    pub(crate) fn condition(&self, row: &RightRow) -> Option<&Arc<Condition>> {
        self.conditions.get(row.condition as usize)
    }

    /// The rights among these to a dataset, for exactly this purpose, that hold for a system: with their slots, the most
    /// specific first.
    #[inline]
    pub(crate) fn of(
        &self,
        rights: Span,
        dataset: u32,
        purpose: Purpose,
        system: Option<u32>,
    ) -> impl Iterator<Item = (u32, &RightRow)> {
        let lines = &self.lines[rights.begin as usize..rights.end as usize];
        let about = (dataset, purpose as i32);
        let before = lines.partition_point(|line| line.about() < about);
        let same = lines[before..].iter().take_while(move |line| line.about() == about);
        // `before` counts rights, of which there are fewer than u32::MAX.
        let slots = rights.begin + u32::try_from(before).unwrap_or(0)..;
        let held = slots.zip(same).filter(move |(_, line)| line.holds_for(system));
        held.map(|(slot, line)| (slot, self.row_of(line)))
    }

    /// The rights of a consumer.
    #[inline]
    pub(crate) fn of_consumer(&self, slot: u32) -> Span {
        let slot = slot as usize;
        match self.begins.get(slot..=slot + 1) {
            Some(&[begin, end]) => Span { begin, end },
            _ => Span { begin: 0, end: 0 },
        }
    }

    /// The rights to open data, which everybody has.
    #[inline]
    pub(crate) fn of_everybody(&self) -> Span {
        let end = u32::try_from(self.lines.len()).unwrap_or(u32::MAX);
        Span { begin: self.begins.last().copied().unwrap_or(end), end }
    }

    /// The rights that a question of this consumer for this purpose may rest on, the most specific first.
    #[inline]
    pub(crate) fn candidates(
        &self,
        own: Span,
        dataset: u32,
        purpose: Purpose,
        system: Option<u32>,
    ) -> impl Iterator<Item = (u32, &RightRow)> {
        let any = Purpose::Unspecified;
        let groups = [(own, purpose), (own, any), (self.of_everybody(), any)];
        groups.into_iter().flat_map(move |(rights, purpose)| self.of(rights, dataset, purpose, system))
    }

    #[inline]
    fn row_of(&self, line: &Line) -> &RightRow {
        &self.rows[line.row as usize]
    }
}

fn bit(kind: MethodKind) -> u8 {
    match kind {
        MethodKind::Unspecified => 0,
        MethodKind::Query => 1,
        MethodKind::SyncToConsumer => 2,
        MethodKind::SyncToNationalDb => 4,
        MethodKind::OfflinePackage => 8,
    }
}
