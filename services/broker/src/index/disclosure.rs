//! When the subjects of an exchange may hear of it. What holds stands in the log: the newest `LogAccess` of that kind about
//! the exchange; without one an exchange is disclosed at once.

use std::fmt;

use lienthong_audit::record;
use lienthong_index::Query;
use lienthong_proto::lienthong::audit::v1::{AccessKind, Disclosure, Record, record::Body};
use prost_types::Timestamp;

use super::question::{exchange_clause, kind_clause};
use super::{Index, SearchError};
use crate::records::RECORDER;

/// Questions about one exchange that are looked through for the one that set its disclosure.
const ACCESSES_LOOKED_AT_MAX: usize = 1_000;

/// When.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclosed {
    /// At once.
    Now,
    /// After this time.
    After(Timestamp),
    /// Not until an authority lifts it.
    Sealed,
}

impl Disclosed {
    /// Whether it may be shown at this time.
    pub fn at(&self, now: &Timestamp) -> bool {
        match self {
            Self::Now => true,
            Self::After(time) => (now.seconds, now.nanos) > (time.seconds, time.nanos),
            Self::Sealed => false,
        }
    }

    /// As messages say it.
    pub const fn to_proto(self) -> Disclosure {
        match self {
            Self::Now => Disclosure::Now,
            Self::After(_) => Disclosure::After,
            Self::Sealed => Disclosure::Sealed,
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix(PREFIX)? {
            "NOW" => Some(Self::Now),
            "SEALED" => Some(Self::Sealed),
            after => after.strip_prefix("AFTER ")?.parse().ok().map(Self::After),
        }
    }
}

/// As it stands on record.
impl fmt::Display for Disclosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => write!(f, "{PREFIX}NOW"),
            Self::After(time) => write!(f, "{PREFIX}AFTER {time}"),
            Self::Sealed => write!(f, "{PREFIX}SEALED"),
        }
    }
}

const PREFIX: &str = "disclosure ";

/// What holds for an exchange. Blocking.
///
/// # Errors
/// [`SearchError`].
pub fn of_exchange(index: &Index, exchange_id: &[u8]) -> Result<Disclosed, SearchError> {
    let clauses = vec![exchange_clause(exchange_id), kind_clause(&["access"])];
    let found = index.search(&Query { clauses, times_ms: None }, u64::MAX, None, ACCESSES_LOOKED_AT_MAX)?;
    for at in found.entries {
        let entry = super::indexer::entry(index.reader(), at)?;
        if let Ok(Record { recorder, body: Some(Body::LogAccess(access)), .. }) = record::decode(&entry)
            && recorder == RECORDER
            && access.kind == i32::from(AccessKind::Disclosure)
            && let Some(disclosed) = Disclosed::read(&access.question)
        {
            return Ok(disclosed);
        }
    }
    Ok(Disclosed::Now)
}

/// Whether an exchange is on record at all. Blocking.
///
/// # Errors
/// [`SearchError`].
pub fn is_known(index: &Index, exchange_id: &[u8]) -> Result<bool, SearchError> {
    let clauses = vec![exchange_clause(exchange_id), kind_clause(&["opening", "closing"])];
    Ok(!index.search(&Query { clauses, times_ms: None }, u64::MAX, None, 1)?.entries.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_record_reads_back() {
        let time = Timestamp { seconds: 1_800_000_000, nanos: 0 };
        for disclosed in [Disclosed::Now, Disclosed::After(time), Disclosed::Sealed] {
            assert_eq!(Disclosed::read(&disclosed.to_string()), Some(disclosed));
        }
        assert_eq!(Disclosed::read("subject=…"), None);
        let later = Timestamp { seconds: 1_800_000_001, nanos: 0 };
        assert!(Disclosed::After(time).at(&later) && !Disclosed::After(time).at(&time));
        assert!(!Disclosed::Sealed.at(&later) && Disclosed::Now.at(&time));
    }
}
