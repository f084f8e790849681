//! What opening reads of a journal, or makes of an empty folder.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::error::JournalError;
use super::folder::{Acknowledged, Folder, Identity};
use super::frame::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::options::JournalOptions;
use super::orphan::{OpenExchanges, Orphan};
use super::recover::{self, Ending};
use crate::chain;
use crate::record;

/// What opening reads of a journal: everything from the first record that is still needed.
pub(super) struct History {
    pub path: PathBuf,
    pub ending: Ending,
    pub backlog_bytes: u64,
    /// What the last process left open.
    pub orphans: Vec<Orphan>,
    /// When the oldest record that was not acknowledged was made, by its own clock.
    backlog_made: Option<SystemTime>,
}

impl History {
    pub fn read(
        folder: &Folder,
        identity: &Identity,
        acknowledged: Acknowledged,
    ) -> Result<Self, JournalError> {
        // Every exchange that may be open begins at the floor or later.
        let from = acknowledged.floor.min(acknowledged.seq + 1);
        let (mut backlog_bytes, mut backlog_made, mut open) = (0, None, OpenExchanges::default());
        let (path, ending) = recover::scan_all(folder, identity.epoch, from, |found| {
            open.take(found);
            if found.seq > acknowledged.seq {
                backlog_bytes += found.size as u64;
                if found.seq == acknowledged.seq + 1 {
                    backlog_made = made(found.body);
                }
            }
        })?;
        let last_seq = ending.next_seq - 1;
        if last_seq < acknowledged.seq {
            let dir = folder.dir().to_owned();
            return Err(JournalError::RolledBack { dir, last_seq, acknowledged: acknowledged.seq });
        }
        Ok(Self { path, ending, backlog_bytes, orphans: open.into_orphans(), backlog_made })
    }

    pub fn backlog_since(&self, now: SystemTime) -> Instant {
        let age = self.backlog_made.and_then(|made| now.duration_since(made).ok()).unwrap_or_default();
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }
}

/// Visits every record of the segments that were written to since `since`, without proving their chain once more. The newest
/// segment is always read.
pub(super) fn recent(
    folder: &Folder,
    epoch: u64,
    since: SystemTime,
    mut visit: impl FnMut(&[u8]),
) -> Result<(), JournalError> {
    let segments = folder.segments()?;
    let mut first = segments.len().saturating_sub(1);
    while let Some(earlier) = first.checked_sub(1) {
        let path = folder.segment(segments[earlier]);
        let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
        if written.map_err(JournalError::io("look at", &path))? < since {
            break;
        }
        first = earlier;
    }
    let mut bytes = Vec::new();
    for first_seq in &segments[first..] {
        let path = folder.segment(*first_seq);
        recover::read_written(&path, &mut bytes).map_err(JournalError::io("read", &path))?;
        recover::header_of(&path, &bytes, epoch, *first_seq)?;
        recover::skim(&bytes, &mut visit).map_err(|fault| recover::damaged(&path, fault))?;
    }
    Ok(())
}

/// When a record was made, by its own clock.
fn made(record: &[u8]) -> Option<SystemTime> {
    SystemTime::try_from(record::decode(record).ok()?.time?).ok()
}

/// The identity of the journal in a folder; makes the first segment and the identity if there is none.
pub(super) fn identity(
    folder: &Folder,
    options: &JournalOptions,
    now: SystemTime,
) -> Result<Identity, JournalError> {
    if let Some(identity) = folder.identity()? {
        if identity.node != options.node {
            let (path, expected, found) = (folder.identity_path(), options.node.clone(), identity.node);
            return Err(JournalError::Node { path, expected, found });
        }
        return Ok(identity);
    }
    // The identity is written last: a folder without it, but with one empty first segment, is a making cut short.
    let path = folder.segment(1);
    let begun = match folder.segments()?[..] {
        [] => true,
        [1] => {
            fs::read(&path).is_ok_and(|bytes| bytes.iter().skip(SEGMENT_HEADER_BYTES).all(|byte| *byte == 0))
        }
        _ => false,
    };
    if !begun {
        let problem = "it is missing, though there are segments with records".to_owned();
        return Err(JournalError::File { path: folder.identity_path(), problem });
    }
    let epoch =
        now.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|age| u64::try_from(age.as_millis()).ok());
    let identity = Identity { node: options.node.clone(), epoch: epoch.unwrap_or(0).max(1) };
    let header = SegmentHeader { epoch: identity.epoch, first_seq: 1, previous_head: chain::START };
    let write = || -> io::Result<()> {
        fs::write(&path, header.to_bytes())?;
        File::open(&path)?.sync_all()
    };
    write().map_err(JournalError::io("create", &path))?;
    folder.write_identity(&identity)?;
    Ok(identity)
}
