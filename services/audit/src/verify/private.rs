//! The writer's own files, and what it wrote beyond the published checkpoint.
//!
//! A published copy of a log has no `wal` folder; then nothing may lie beyond the checkpoint. The folder of the writer has
//! one: it must be whole up to the last acknowledged entry, and it vouches for tiles that await the next checkpoint.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::log::LogError;
use crate::log::home::{CHECKPOINT, HEAD_BYTES, Head, Home};
use crate::log::recover::{read_bounded, replay};
use crate::note::VerifierKey;
use crate::policy::Policy;
use crate::tile::TileId;

use super::file::{compare_file, read_tile};
use super::report::{Finding, FindingKind, Findings};
use super::signer::Signed;
use super::tree::{Subject, Tree};

/// How often the stored head is read before it counts as damaged: a running log writes it all the time.
const HEAD_READS_MAX: u32 = 3;

/// Checks the `wal` folder, if there is one, and every tile beyond the checkpoint.
pub(super) fn check(
    subject: &Subject<'_>,
    tree: &Tree,
    signed: &Signed,
    policy: Option<&Policy>,
    findings: &mut Findings,
    notes: &mut Vec<String>,
) {
    let mut unpublished = Vec::new();
    if subject.inventory.has_wal {
        let home = Home::new(subject.dir);
        check_small_files(&home, findings);
        notes.extend(
            subject.inventory.drafts.iter().map(|draft| format!("{draft} was left by a writer at work")),
        );
        if let Some(key) = check_identity(&home, signed, policy, findings) {
            unpublished = check_write_ahead_log(&home, &key, subject.size, findings, notes);
        }
    }
    check_beyond(subject, tree, &unpublished, findings);
}

/// `wal/lock` is empty, `wal/head` fits its own checksum.
fn check_small_files(home: &Home, findings: &mut Findings) {
    match fs::metadata(home.lock()) {
        Ok(lock) if lock.len() == 0 => {}
        Ok(lock) => findings.push(Finding {
            bytes: Some(0..lock.len()),
            ..damaged(home, &home.lock(), "the lock file holds something; it is always empty")
        }),
        Err(error) => findings.push(damaged(home, &home.lock(), &error.to_string())),
    }
    let head = || read_bounded(&home.head(), HEAD_BYTES as u64).map(|bytes| Head::parse(&bytes));
    match (0..HEAD_READS_MAX).map(|_| head()).find(|head| matches!(head, Ok(Some(_)))) {
        Some(_) => {}
        None => findings.push(Finding {
            bytes: Some(0..HEAD_BYTES as u64),
            ..damaged(home, &home.head(), "the record of the last acknowledged size is damaged or missing")
        }),
    }
}

/// `wal/identity` names the key that signed the checkpoint and, if there is a policy, one of its logs.
fn check_identity(
    home: &Home,
    signed: &Signed,
    policy: Option<&Policy>,
    findings: &mut Findings,
) -> Option<VerifierKey> {
    let key = match home.read_identity() {
        Ok(key) => key,
        Err(error) => {
            findings.push(damaged(home, &home.identity(), &error.to_string()));
            return None;
        }
    };
    if policy.is_some_and(|policy| !policy.logs().iter().any(|log| log.key == key)) {
        findings.push(damaged(home, &home.identity(), "it names a key that is no log key of the policy"));
    }
    if let Some(Err(error)) = signed.note.as_ref().map(|note| Checkpoint::open(&note.to_string(), &key)) {
        findings.file(FindingKind::Signer, CHECKPOINT, format!("it does not fit wal/identity: {error}"));
        return None;
    }
    Some(key)
}

/// Replays the write-ahead log; returns the leaf hashes of its entries from `size` on.
fn check_write_ahead_log(
    home: &Home,
    key: &VerifierKey,
    size: u64,
    findings: &mut Findings,
    notes: &mut Vec<String>,
) -> Vec<Hash> {
    let mut unpublished = Vec::new();
    let replayed = replay(home, std::slice::from_ref(key), &[], |index, _, leaf| {
        if index >= size {
            unpublished.push(leaf);
        }
    });
    match replayed {
        Ok(replay) if replay.torn_bytes > 0 => {
            let end = replay.end.offset;
            notes.push(format!(
                "{} bytes at byte {end} of the write-ahead log were acknowledged to nobody",
                replay.torn_bytes
            ));
        }
        // The tiles that the replay starts from have been reported already.
        Ok(_) | Err(LogError::Tile { .. }) => {}
        Err(LogError::Corrupt { path, offset, what }) => {
            let bytes = Some(offset..offset + 1);
            findings.push(Finding { bytes, ..damaged(home, &path, &what) });
        }
        Err(error @ LogError::Behind { .. }) => {
            let LogError::Behind { path, offset, size, .. } = &error else {
                return unpublished;
            };
            let (bytes, first_index) = (Some(*offset..offset + 1), Some(*size));
            findings.push(Finding { bytes, first_index, ..damaged(home, path, &error.to_string()) });
        }
        Err(LogError::Forked { .. }) if !findings.is_empty() => {}
        Err(error) => findings.push(damaged(home, &home.wal(), &error.to_string())),
    }
    unpublished
}

/// Tiles beyond the checkpoint must be what the write-ahead log makes of the entries after it.
fn check_beyond(subject: &Subject<'_>, tree: &Tree, unpublished: &[Hash], findings: &mut Findings) {
    let within = |id: &TileId| {
        TileId::in_tree(id.kind, id.index, subject.size).is_some_and(|whole| id.width <= whole.width)
    };
    let beyond = subject.inventory.tiles.iter().copied().filter(|id| !within(id)).collect::<Vec<_>>();
    if beyond.is_empty() {
        return;
    }
    let mut expected = BTreeMap::new();
    if let Some(mut edge) = tree.edge_at(subject.size) {
        for leaf in unpublished {
            edge.push(*leaf, |id, hashes| {
                drop(expected.insert((id.kind.level(), id.index), hashes.to_vec()));
            });
        }
        expected.extend(edge.partials().map(|(id, hashes)| ((id.kind.level(), id.index), hashes.to_vec())));
    }
    for id in beyond {
        let hashes =
            expected.get(&(id.kind.level(), id.index)).filter(|hashes| hashes.len() >= usize::from(id.width));
        match hashes {
            Some(hashes) => {
                // One that was replaced by its full tile meanwhile needs no look.
                if let Some((file, bytes)) = read_tile(subject.dir, id, findings)
                    && file == id
                {
                    compare_file(id, &bytes, hashes, findings);
                }
            }
            None => findings.push(Finding {
                kind: FindingKind::Stray,
                file: id.path(),
                bytes: None,
                first_index: id.start_leaf().map(|start| start.max(subject.size)),
                what: format!(
                    "it goes beyond the {} entries of the checkpoint; nothing signed covers it",
                    subject.size
                ),
            }),
        }
    }
}

fn damaged(home: &Home, path: &Path, what: &str) -> Finding {
    let file = path.strip_prefix(home.dir()).unwrap_or(path).to_string_lossy().into_owned();
    Finding { kind: FindingKind::WriteAheadLog, file, bytes: None, first_index: None, what: what.to_owned() }
}
