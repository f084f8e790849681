//! How a journal is kept.

use std::time::Duration;

use super::error::JournalError;

/// Smallest segment, bytes.
pub const SEGMENT_BYTES_MIN: u64 = 8 * 1024;

/// Largest segment, bytes.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Most segments that may be reserved for the backlog.
pub const SPARES_MAX: u64 = 1024;

/// How a journal is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalOptions {
    /// Resource name of the node. A folder belongs to one node for ever.
    pub node: String,
    /// Size of a segment, bytes: [`SEGMENT_BYTES_MIN`]..=[`SEGMENT_BYTES_MAX`].
    pub segment_bytes_max: u64,
    /// Most records that the broker has not acknowledged; then appends are refused.
    pub backlog_records_max: u64,
    /// Most bytes of them. Space for them is reserved on disk where the file system can.
    pub backlog_bytes_max: u64,
    /// Memory for the newest records, from which shipping reads.
    pub tail_bytes_max: usize,
    /// Whether the threads that append say when they rest ([`Handle::rest`](super::Handle::rest)): then a crowd's records
    /// gather until one of them does.
    pub gathers: bool,
    /// Segments that were acknowledged are kept this long after their last write…
    pub retention_age: Duration,
    /// …but never more of them than this.
    pub retention_segments_max: usize,
}

impl JournalOptions {
    /// The defaults for a node: segments of 16 MiB (what opening reads at least of a busy journal), a backlog of at most
    /// 2,000,000 records and 256 MiB, 4 MiB of memory for shipping, acknowledged segments kept for 30 days but at most
    /// 4,096 of them.
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            segment_bytes_max: 16 * 1024 * 1024,
            backlog_records_max: 2_000_000,
            backlog_bytes_max: 256 * 1024 * 1024,
            tail_bytes_max: 4 * 1024 * 1024,
            gathers: false,
            retention_age: Duration::from_secs(30 * 24 * 3600),
            retention_segments_max: 4096,
        }
    }

    /// Whether every option makes sense.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        let problem = |name, problem: String| Err(JournalError::Option { name, problem });
        if self.node.is_empty() || self.node.contains(char::is_control) {
            return problem("node", "must be the resource name of the node".to_owned());
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes_max) {
            let bounds = format!("must be {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes");
            return problem("segment_bytes_max", bounds);
        }
        if self.backlog_bytes_max.div_ceil(self.segment_bytes_max) >= SPARES_MAX {
            return problem("backlog_bytes_max", format!("must be less than {SPARES_MAX} segments"));
        }
        Ok(())
    }
}
