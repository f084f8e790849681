//! The offline verifier: is this folder the log that was signed, and all of it?
//!
//! It reads every file in the folder, superseded partial tiles too, and hashes every entry's body again. It shares the
//! hashing and the formats with the log, but none of its writing. Everything that does not fit is a [`Finding`] with
//! its position: file, byte range, first bad index.
//!
//! Whose signature to believe is not the folder's to say: that is in the [`Policy`]. Without one the verdict is
//! [`Verdict::IntegrityOnly`]. What a folder cannot show by itself is that something was cut off its end or that the
//! operator rewrote it all: for that, give a checkpoint that was [seen](VerifyOptions::seen) before.
//!
//! The folder of a running log can be verified too; what the writer changes meanwhile is looked at again.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::log::LogReader;
use crate::policy::Policy;
use crate::tile::{TileId, TileKind};

pub use report::{FINDINGS_MAX, Finding, FindingKind, Verdict, VerifyReport};

use inventory::Inventory;
use report::Findings;
use tree::{Subject, Tree};

mod file;
mod inventory;
mod private;
mod pruned;
mod report;
mod signer;
mod tree;

/// How often a folder that changes under the verifier is looked at again.
pub const VERIFY_ATTEMPTS_MAX: u32 = 3;

/// What the verifier goes by.
#[derive(Clone, Default)]
pub struct VerifyOptions<'a> {
    /// Which log key and which witnesses to believe.
    pub policy: Option<Policy>,
    /// The text of a signed checkpoint of this log that was seen before, for example in a receipt.
    pub seen: Option<String>,
    /// Called now and then during long work.
    pub progress: Option<&'a dyn Fn(Progress)>,
}

/// How far the verifier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries hashed so far.
    pub entries: u64,
    /// Entries in the checkpoint.
    pub entries_total: u64,
}

/// Verifies the log in a folder. Whatever goes wrong, including an unreadable disk, is in the report.
pub fn verify_dir(dir: &Path, options: &VerifyOptions<'_>) -> VerifyReport {
    let mut attempt = 1;
    loop {
        let before = LogReader::new(dir).checkpoint_note().ok();
        let report = verify_once(dir, options);
        let changed = LogReader::new(dir).checkpoint_note().ok() != before;
        if report.is_sound() || !changed || attempt == VERIFY_ATTEMPTS_MAX {
            return report;
        }
        attempt += 1;
    }
}

fn verify_once(dir: &Path, options: &VerifyOptions<'_>) -> VerifyReport {
    let mut findings = Findings::default();
    let mut notes = Vec::new();
    let policy = options.policy.as_ref();
    // The checkpoint first: all that it covers was on disk before it.
    let signed = signer::check_checkpoint(dir, policy, &mut findings);
    let seen =
        options.seen.as_deref().and_then(|seen| signer::check_seen(seen, &signed, policy, &mut findings));
    let inventory = Inventory::list(dir, &mut findings);
    let size =
        signed.checkpoint.as_ref().map_or_else(|| size_of_files(&inventory), |checkpoint| checkpoint.size);
    let subject = Subject {
        dir,
        inventory: &inventory,
        size,
        root: signed.checkpoint.as_ref().map(|checkpoint| checkpoint.root),
        minimum: pruned::check(dir, size, &mut findings, &mut notes),
        earlier: seen.as_ref().map(|seen| seen.size).filter(|earlier| *earlier <= size),
        progress: options.progress,
    };
    let tree = tree::check(&subject, &mut findings);
    if let Some(seen) = &seen {
        check_history(seen, size, &tree, &mut findings);
    }
    private::check(&subject, &tree, &signed, policy, &mut findings, &mut notes);

    let verdict = match policy {
        _ if !findings.is_empty() => Verdict::Failed,
        Some(_) => Verdict::Verified,
        None => Verdict::IntegrityOnly,
    };
    VerifyReport {
        verdict,
        computed_root: tree.root_at(size),
        checkpoint: signed.checkpoint,
        signers: signed.signers,
        entries: tree.entries,
        pruned: tree.pruned,
        files: inventory.files,
        bytes: tree.bytes,
        findings: findings.list,
        findings_left_out: findings.left_out,
        notes,
    }
}

/// The history seen before must be a part of this one.
fn check_history(seen: &Checkpoint, size: u64, tree: &Tree, findings: &mut Findings) {
    if seen.size > size {
        let what = format!("it has {size} entries but a signed checkpoint of {} was seen before", seen.size);
        findings.push(Finding { first_index: Some(size), ..history(FindingKind::CutBack, what) });
        return;
    }
    match tree.root_at(seen.size) {
        Some(root) if root == seen.root => {}
        Some(root) => {
            let what = format!(
                "its first {} entries lead to {}, but {} was seen before",
                seen.size,
                short(root),
                short(seen.root)
            );
            findings.push(history(FindingKind::Rewritten, what));
        }
        None => {
            let what = format!(
                "its first {} entries are not all there to be compared with what was seen",
                seen.size
            );
            findings.push(history(FindingKind::Missing, what));
        }
    }
}

fn history(kind: FindingKind, what: String) -> Finding {
    Finding { kind, file: crate::log::home::CHECKPOINT.to_owned(), bytes: None, first_index: None, what }
}

fn short(root: Hash) -> String {
    format!("root {root}")
}

/// Without a readable checkpoint, the size that the bundles add up to.
fn size_of_files(inventory: &Inventory) -> u64 {
    let last = inventory.tiles.iter().rfind(|id| id.kind == TileKind::Entries);
    last.and_then(TileId::end_leaf).unwrap_or(0)
}
