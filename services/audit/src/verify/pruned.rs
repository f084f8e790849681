//! What may be missing: bodies of entries whose retention is over, if an entry of the log that is still there says so.

use std::path::Path;

use crate::log::home::PRUNED;
use crate::log::{LogReader, Pruned};

use super::report::{FindingKind, Findings};

/// The index below which bundles may be gone. That the entry which says so is an entry of the log is found where its bundle is
/// compared with the tree.
pub(super) fn check(dir: &Path, size: u64, findings: &mut Findings, notes: &mut Vec<String>) -> u64 {
    let reader = LogReader::new(dir);
    let pruned = match reader.pruned() {
        Ok(None) => return 0,
        Ok(Some(pruned)) => pruned,
        Err(error) => {
            findings.file(FindingKind::Unreadable, PRUNED, error.to_string());
            return 0;
        }
    };
    let Pruned { minimum, record } = pruned;
    let said = if record < size {
        let entry = reader.entries(record..record + 1).map_err(|error| error.to_string());
        entry.and_then(|entry| {
            let entry = entry.first().map(Vec::as_slice).unwrap_or_default();
            Pruned::said_by(record, entry).map_err(str::to_owned)
        })
    } else {
        Err(format!("the checkpoint has {size} entries only"))
    };
    match said {
        Ok(said) if said == pruned => {
            notes.push(format!(
                "entries before {minimum} were pruned at the end of their retention, as entry {record} says (R-50)"
            ));
            minimum
        }
        Ok(said) => {
            let what = format!("entry {record} says that entries before {} were pruned", said.minimum);
            findings.file(FindingKind::Changed, PRUNED, what);
            0
        }
        Err(why) => {
            let what =
                format!("entry {record} does not say that entries before {minimum} were pruned: {why}");
            findings.file(FindingKind::Changed, PRUNED, what);
            0
        }
    }
}
