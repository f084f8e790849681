//! Datasets and rights in the form that decisions read: small rows, interned names, one hash lookup.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::time::Duration;

use lienthong_filter::HashKey;
use lienthong_proto::lienthong::control::v1::{Dataset as DeclaredDataset, RightOrigin};
use lienthong_proto::lienthong::options::v1::{DecisionMode, MethodKind, Purpose, ReleaseGate};
use prost_types::Timestamp;

use crate::contract::{ContractDataset, GrantedFields};

/// The consumer slot of open data: every party of the political system.
pub(crate) const ANY_CONSUMER: u32 = u32::MAX;
/// The system slot of a right that holds for each system of the consumer.
const ANY_SYSTEM: u32 = u32::MAX;

/// A moment, seconds and nanoseconds since 1970 UTC; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
}

/// What a right grants of a dataset, spelled out.
#[derive(Debug)]
pub(crate) struct FieldList {
    pub fields: GrantedFields,
    /// Key of HASH-masked fields; one list belongs to one consumer where there is one.
    pub hash_key: Option<HashKey>,
}

/// A right. Rows are many: names are slots, only the id is a text of its own.
#[derive(Debug)]
pub(crate) struct RightRow {
    pub key: Key,
    system: u32,
    pub origin: RightOrigin,
    pub id: Box<str>,
    methods: u8,
    pub suspended: bool,
    pub field_list: u32,
    pub calls_per_minute_max: u32,
    pub valid_from: Moment,
    pub valid_to: Moment,
    /// Slot of the list of instruments.
    pub legal_basis: u32,
    pub condition: Box<str>,
}

/// What a right is found by. Purpose 0 stands for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub dataset: u32,
    pub consumer: u32,
    pub purpose: i32,
}

/// Hashes keys of slots. Slots are numbers that this index gave out itself, so that nobody outside can make them
/// collide and a multiplication suffices; texts from outside are hashed by the standard library's own hasher.
#[derive(Debug, Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // The odd number nearest to 2⁶⁴ divided by the golden ratio (Knuth, volume 3, section 6.4).
        self.0 = (self.0.rotate_left(23) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_i32(&mut self, number: i32) {
        self.write_u32(number.cast_unsigned());
    }
}

/// The parts of a right that its row is made of.
pub(crate) struct RightParts<'a> {
    pub id: &'a str,
    pub key: Key,
    pub system: Option<u32>,
    pub origin: RightOrigin,
    pub methods: &'a [MethodKind],
    pub suspended: bool,
    pub field_list: u32,
    pub calls_per_minute_max: u32,
    pub valid_from: Moment,
    pub valid_to: Moment,
    pub legal_basis: u32,
}

impl RightRow {
    pub(crate) fn new(parts: &RightParts<'_>) -> Self {
        Self {
            key: parts.key,
            system: parts.system.unwrap_or(ANY_SYSTEM),
            origin: parts.origin,
            id: parts.id.into(),
            methods: parts.methods.iter().fold(0, |bits, kind| bits | bit(*kind)),
            suspended: parts.suspended,
            field_list: parts.field_list,
            calls_per_minute_max: parts.calls_per_minute_max,
            valid_from: parts.valid_from,
            valid_to: parts.valid_to,
            legal_basis: parts.legal_basis,
            condition: Box::default(),
        }
    }

    /// True where the right holds for this system; `None` stands for a caller that named none.
    pub(crate) fn holds_for(&self, system: Option<u32>) -> bool {
        self.system == ANY_SYSTEM || Some(self.system) == system
    }

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

/// All rights, sorted by key; within one key those of a system first, then by origin and id, which is the order
/// in which a decision prefers them.
#[derive(Debug, Default)]
pub(crate) struct RightTable {
    rows: Vec<RightRow>,
    ranges: HashMap<Key, Range<u32>, BuildHasherDefault<SlotHasher>>,
    pub legal_bases: Vec<Vec<String>>,
}

impl RightTable {
    pub(crate) fn new(mut rows: Vec<RightRow>, legal_bases: Vec<Vec<String>>) -> Self {
        rows.sort_unstable_by(|a, b| order(a).cmp(&order(b)));
        let mut ranges = HashMap::default();
        let mut start = 0;
        for group in rows.chunk_by(|a, b| a.key == b.key) {
            // RIGHTS_MAX is far below u32::MAX.
            let end = start + u32::try_from(group.len()).unwrap_or(u32::MAX);
            ranges.insert(group[0].key, start..end);
            start = end;
        }
        rows.shrink_to_fit();
        ranges.shrink_to_fit();
        Self { rows, ranges, legal_bases }
    }

    pub(crate) fn row(&self, slot: u32) -> &RightRow {
        &self.rows[slot as usize]
    }

    /// The rights of one key, with their slots.
    #[inline]
    pub(crate) fn of(&self, key: Key) -> impl Iterator<Item = (u32, &RightRow)> {
        let range = self.ranges.get(&key).cloned().unwrap_or_default();
        range.clone().zip(&self.rows[range.start as usize..range.end as usize])
    }

    /// The rights that a question of this consumer for this purpose may rest on, the most specific first.
    #[inline]
    pub(crate) fn candidates(
        &self,
        dataset: u32,
        consumer: u32,
        purpose: Purpose,
    ) -> impl Iterator<Item = (u32, &RightRow)> {
        let any = Purpose::Unspecified as i32;
        self.of(Key { dataset, consumer, purpose: purpose as i32 })
            .chain(self.of(Key { dataset, consumer, purpose: any }))
            .chain(self.of(Key { dataset, consumer: ANY_CONSUMER, purpose: any }))
    }
}

fn order(row: &RightRow) -> (Key, u32, RightOrigin, &str) {
    (row.key, row.system, row.origin, &row.id)
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
