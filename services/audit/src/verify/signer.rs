//! The checkpoint of a folder: can it be read, and who signed it?

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::log::home::CHECKPOINT;
use crate::log::{LogError, LogReader};
use crate::note::Note;
use crate::policy::Policy;

use super::report::{Finding, FindingKind, Findings};

/// How findings name the checkpoint that the caller brought along.
const SEEN: &str = "(the checkpoint seen before)";

/// The checkpoint as found.
#[derive(Debug, Default)]
pub(super) struct Signed {
    pub(super) note: Option<Note>,
    pub(super) checkpoint: Option<Checkpoint>,
    /// The log's key and the witnesses that the policy knows.
    pub(super) signers: Vec<String>,
}

/// Reads the checkpoint file and judges it by the policy, if there is one.
pub(super) fn check_checkpoint(dir: &Path, policy: Option<&Policy>, findings: &mut Findings) -> Signed {
    let text = match LogReader::new(dir).checkpoint_note() {
        Ok(text) => text,
        Err(error) => {
            match error {
                LogError::NotALog(_) => {
                    findings.file(FindingKind::Missing, CHECKPOINT, "there is no checkpoint");
                }
                LogError::Corrupt { offset, what, .. } => findings.push(Finding {
                    kind: FindingKind::Changed,
                    file: CHECKPOINT.to_owned(),
                    bytes: Some(offset..offset + 1),
                    first_index: None,
                    what,
                }),
                error => findings.file(FindingKind::Unreadable, CHECKPOINT, error.to_string()),
            }
            return Signed::default();
        }
    };
    let mut signed = Signed::default();
    match read(&text) {
        Ok((note, checkpoint)) => (signed.note, signed.checkpoint) = (Some(note), Some(checkpoint)),
        Err(what) => findings.file(FindingKind::Changed, CHECKPOINT, what),
    }
    match policy.map(|policy| (policy, policy.judge(&text))) {
        Some((policy, Ok(accepted))) => {
            signed.signers.push(accepted.log.label());
            let witnesses =
                accepted.cosigned.iter().map(|cosigned| &policy.witnesses()[cosigned.witness].name);
            signed.signers.extend(witnesses.map(|name| String::from_utf8_lossy(name).into_owned()));
        }
        Some((_, Err(error))) => findings.file(FindingKind::Signer, CHECKPOINT, error.to_string()),
        None => {}
    }
    signed
}

/// Reads the checkpoint that was seen before. It must be of the same log and, as far as that can be told, by the same key.
pub(super) fn check_seen(
    seen: &str,
    signed: &Signed,
    policy: Option<&Policy>,
    findings: &mut Findings,
) -> Option<Checkpoint> {
    let (note, seen_checkpoint) = match read(seen) {
        Ok(read) => read,
        Err(what) => {
            findings.file(FindingKind::Signer, SEEN, what);
            return None;
        }
    };
    let checkpoint = signed.checkpoint.as_ref()?;
    if seen_checkpoint.origin != checkpoint.origin {
        let what = format!(
            "this is the log {:?} but the one seen before is {:?}",
            checkpoint.origin, seen_checkpoint.origin
        );
        findings.file(FindingKind::Signer, CHECKPOINT, what);
        return None;
    }
    if let Some(policy) = policy {
        // A receipt carries no cosignatures yet, so no quorum is asked for.
        if let Err(error) = policy.judge_signer(seen) {
            findings.file(FindingKind::Signer, SEEN, error.to_string());
            return None;
        }
    } else if !same_key(&note, signed.note.as_ref()?, &checkpoint.origin) {
        let what = "it is signed by another key than the checkpoint seen before: the log was made anew";
        findings.file(FindingKind::Signer, CHECKPOINT, what);
    }
    Some(seen_checkpoint)
}

/// Whether both notes carry a signature of one and the same key of the log, going by name and key id.
fn same_key(seen: &Note, now: &Note, origin: &str) -> bool {
    let mut of_the_log = seen.signatures().iter().filter(|signature| signature.name == origin);
    of_the_log.any(|seen| now.signatures().iter().any(|now| now.name == origin && now.key_id == seen.key_id))
}

fn read(text: &str) -> Result<(Note, Checkpoint), String> {
    let note = text.parse::<Note>().map_err(|error| error.to_string())?;
    let checkpoint =
        note.text().parse().map_err(|error: crate::checkpoint::CheckpointError| error.to_string())?;
    Ok((note, checkpoint))
}
