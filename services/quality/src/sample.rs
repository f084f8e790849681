//! What a sample of the records of one exchange was like.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use lienthong_proto::lienthong::audit::v1::SampledQuality;

/// Records of one exchange that are looked at, at most.
pub const RECORDS_MAX: u32 = 1_000;
/// Keys of one exchange that are remembered, at most: as many as there are records.
pub const KEYS_MAX: usize = 1_000;

/// What was seen so far of one exchange.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    quality: SampledQuality,
    /// Hashes: a key itself is not kept.
    keys: HashSet<u64>,
}

/// What one record was like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub incorrect: bool,
    pub incomplete: bool,
    /// Its key, where all of it is there.
    pub key: Vec<String>,
    /// Whether the dataset has a field for the time of the last change.
    pub is_dated: bool,
    pub age_ms: Option<u64>,
}

impl Sample {
    /// The counts; `None` where nothing was looked at.
    pub fn quality(&self) -> Option<SampledQuality> {
        (self.quality.records > 0).then_some(self.quality)
    }

    /// Whether more records may be looked at.
    pub fn has_room(&self) -> bool {
        self.quality.records < RECORDS_MAX
    }

    pub(crate) fn add(&mut self, seen: &Seen) {
        self.quality.records += 1;
        self.quality.incorrect += u32::from(seen.incorrect);
        self.quality.incomplete += u32::from(seen.incomplete);
        self.quality.undated += u32::from(seen.is_dated && seen.age_ms.is_none());
        if let Some(age) = seen.age_ms {
            self.quality.age_ms = Some(self.quality.age_ms.map_or(age, |youngest| youngest.min(age)));
        }
        if !seen.key.is_empty() && self.keys.len() < KEYS_MAX {
            let mut hasher = DefaultHasher::new();
            seen.key.hash(&mut hasher);
            self.quality.duplicate += u32::from(!self.keys.insert(hasher.finish()));
        }
    }
}
