//! A node as a witness of the log: what it was promised must be kept (design §6, *Trust*).
//!
//! A receipt is a promise: a signed checkpoint, and the word that certain entries are under it. The node holds each one
//! until the log has shown a checkpoint that the policy's quorum has cosigned, a proof that the promised tree is a
//! part of that one, and a proof that an entry of the node's own, which the node chose, is where the receipt says.
//! What does not fit is proven by two signed texts; what does not come within [`PROMISE_KEPT_WITHIN`] is told as well.
//!
//! Pure: time comes from the caller, as the duration since any fixed moment.

use std::collections::VecDeque;
use std::time::Duration;

use lienthong_proto::lienthong::audit::v1::{
    FindingKind, ProveReceiptsRequest, ProveReceiptsResponse, ReceiptToProve,
};
use thiserror::Error;

use crate::checkpoint::Checkpoint;
use crate::hash::Hash;
use crate::merkle::{self, PROOF_HASHES_MAX};
use crate::policy::{Policy, PolicyError};

/// How long a promise may wait to be kept before it is a finding.
pub const PROMISE_KEPT_WITHIN: Duration = Duration::from_secs(60);

/// Promises that are held at one time. One more takes the place of the newest.
pub const PROMISES_MAX: usize = 4096;

/// Receipts in one question.
pub const RECEIPTS_ASKED_MAX: usize = 64;

/// An entry of a receipt that the log must prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Its index in the log.
    pub index: u64,
    /// Its leaf hash, as the node knows it.
    pub leaf: Hash,
}

/// A signed checkpoint that was read and found to be the log's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    note: String,
    checkpoint: Checkpoint,
}

/// A receipt that is not yet known to be kept.
#[derive(Clone, Debug)]
struct Promise {
    seen: Seen,
    last_seq: u64,
    probe: Option<Probe>,
    received: Duration,
    told: bool,
}

/// What the node holds of the log.
#[derive(Debug)]
pub struct LightWitness {
    policy: Policy,
    /// The newest published checkpoint that everything before was proven to lie in.
    newest: Option<Seen>,
    /// The newest receipt's.
    receipted: Option<Seen>,
    promises: VecDeque<Promise>,
}

/// Something is wrong with the log, and these signed texts show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// [`FindingKind::LogForked`] or [`FindingKind::LogUnwitnessed`].
    pub kind: FindingKind,
    /// In words.
    pub detail: String,
    /// At most two signed checkpoints.
    pub checkpoints: Vec<String>,
}

/// Why an answer does not settle anything.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsettled {
    /// The log contradicts itself.
    #[error("{}", .0.detail)]
    Trouble(Trouble),
    /// The checkpoint is the log's, but too few witnesses have cosigned it.
    #[error("the log's newest checkpoint is not cosigned as the policy asks: {0}")]
    NotCosigned(PolicyError),
    /// The answer proves nothing, either way.
    #[error("the broker's answer proves nothing: {0}")]
    Unproven(String),
}

impl LightWitness {
    /// Begins with the newest checkpoint that was held before, if any. One that the policy does not believe any more (the
    /// log's key has changed, say) is forgotten.
    pub fn new(policy: Policy, held: Option<String>) -> Self {
        let newest = held.and_then(|note| {
            let checkpoint = policy.judge_signer(&note).ok()?.checkpoint;
            Some(Seen { note, checkpoint })
        });
        Self { policy, receipted: newest.clone(), newest, promises: VecDeque::new() }
    }

    /// Goes by another policy from now on, if it is another one: the mesh's keys or witnesses have changed.
    pub fn believe(&mut self, policy: &Policy) {
        if self.policy != *policy {
            self.policy = policy.clone();
        }
    }

    /// Takes a receipt for everything up to journal record `last_seq`.
    ///
    /// # Errors
    /// Its signature is not the log's, or the log has shown something else before.
    pub fn receive(
        &mut self,
        note: &str,
        last_seq: u64,
        probe: Option<Probe>,
        now: Duration,
    ) -> Result<&Checkpoint, Unsettled> {
        let checkpoint = self.read(note)?;
        let seen = Seen { note: note.to_owned(), checkpoint };
        for held in [&self.newest, &self.receipted].into_iter().flatten() {
            agree(held, &seen)?;
        }
        if self.receipted.as_ref().is_some_and(|held| held.checkpoint.size > seen.checkpoint.size) {
            let held = self.receipted.as_ref().map_or(0, |held| held.checkpoint.size);
            let words = format!("a receipt of {} entries after one of {held}", seen.checkpoint.size);
            return Err(Unsettled::Unproven(words));
        }
        if self.promises.len() == PROMISES_MAX {
            self.promises.pop_back();
        }
        self.promises.push_back(Promise { seen: seen.clone(), last_seq, probe, received: now, told: false });
        Ok(&self.receipted.insert(seen).checkpoint)
    }

    /// The newest signed checkpoint that the node holds, to tell a broker that was set back.
    pub fn newest_held(&self) -> Option<&str> {
        let newest = self.newest.as_ref().into_iter().chain(&self.receipted);
        newest.max_by_key(|seen| seen.checkpoint.size).map(|seen| seen.note.as_str())
    }

    /// Entries under the newest published checkpoint that was verified.
    pub fn verified_size(&self) -> u64 {
        self.newest.as_ref().map_or(0, |seen| seen.checkpoint.size)
    }

    /// Promises that are not yet known to be kept.
    pub fn waiting(&self) -> usize {
        self.promises.len()
    }

    /// What to ask the log now: also when nothing waits, to learn whether it is cosigned.
    pub fn question(&self, wait: Duration) -> ProveReceiptsRequest {
        let receipts = self.promises.iter().take(RECEIPTS_ASKED_MAX).map(|promise| ReceiptToProve {
            size: promise.seen.checkpoint.size,
            index: promise.probe.map_or(0, |probe| probe.index),
        });
        ProveReceiptsRequest {
            held_size: self.verified_size(),
            receipts: receipts.collect(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        }
    }

    /// Takes the answer to [`LightWitness::question`]. Returns the last journal record that is proven to lie in a
    /// cosigned checkpoint by it; `None` if no promise was settled.
    ///
    /// # Errors
    /// [`Unsettled`]; what was not settled stays.
    pub fn answer(
        &mut self,
        asked: &ProveReceiptsRequest,
        answer: &ProveReceiptsResponse,
    ) -> Result<Option<u64>, Unsettled> {
        let shown = Seen { note: answer.checkpoint.clone(), checkpoint: self.read(&answer.checkpoint)? };
        self.policy.judge(&shown.note).map_err(Unsettled::NotCosigned)?;
        if let Some(newest) = &self.newest {
            agree(newest, &shown)?;
            if shown.checkpoint.size < newest.checkpoint.size {
                return Err(Unsettled::Unproven("it shows an older checkpoint than before".to_owned()));
            }
            if asked.held_size != newest.checkpoint.size {
                return Err(Unsettled::Unproven("it answers an older question".to_owned()));
            }
            let path = path(&answer.consistency)?;
            continues(newest, &shown, &path)?;
        }
        let covered = |promise: &&Promise| promise.seen.checkpoint.size <= shown.checkpoint.size;
        let due = self.promises.iter().take(asked.receipts.len()).take_while(covered).count();
        if answer.proofs.len() < due {
            return Err(Unsettled::Unproven(format!("{} proofs for {due} receipts", answer.proofs.len())));
        }
        for (promise, proof) in self.promises.iter().take(due).zip(&answer.proofs) {
            continues(&promise.seen, &shown, &path(&proof.consistency)?)?;
            if let Some(probe) = promise.probe {
                includes(&promise.seen, &shown, probe, &path(&proof.inclusion)?)?;
            }
        }
        let settled = self.promises.drain(..due).map(|promise| promise.last_seq).max();
        self.newest = Some(shown);
        Ok(settled)
    }

    /// Promises that have waited too long, each told once.
    pub fn overdue(&mut self, now: Duration) -> Vec<Trouble> {
        let newest = self.newest.as_ref().map(|seen| seen.note.clone());
        let late = |promise: &&mut Promise| {
            !promise.told && now.saturating_sub(promise.received) > PROMISE_KEPT_WITHIN
        };
        let tell = |promise: &mut Promise| {
            promise.told = true;
            let waited = now.saturating_sub(promise.received).as_secs();
            Trouble {
                kind: FindingKind::LogUnwitnessed,
                detail: format!(
                    "a receipt of {} entries is in no cosigned checkpoint after {waited} s (journal record {})",
                    promise.seen.checkpoint.size, promise.last_seq
                ),
                checkpoints: [Some(promise.seen.note.clone()), newest.clone()]
                    .into_iter()
                    .flatten()
                    .collect(),
            }
        };
        self.promises.iter_mut().filter(late).map(tell).collect()
    }

    fn read(&self, note: &str) -> Result<Checkpoint, Unsettled> {
        let accepted = self.policy.judge_signer(note);
        accepted.map(|accepted| accepted.checkpoint).map_err(|error| Unsettled::Unproven(error.to_string()))
    }
}

/// Two checkpoints of one size have one root.
fn agree(held: &Seen, shown: &Seen) -> Result<(), Unsettled> {
    let (a, b) = (&held.checkpoint, &shown.checkpoint);
    if a.size != b.size || a.root == b.root {
        return Ok(());
    }
    Err(forked(held, shown, format!("the log signed two roots at {} entries", a.size)))
}

/// The tree of `shown` continues that of `held`.
fn continues(held: &Seen, shown: &Seen, path: &[Hash]) -> Result<(), Unsettled> {
    let (old, new) = (&held.checkpoint, &shown.checkpoint);
    merkle::verify_consistency(old.size, &old.root, new.size, &new.root, path).map_err(|fault| {
        let detail = format!(
            "the log's tree of {} entries is not shown to continue that of {}: {fault}",
            new.size, old.size
        );
        forked(held, shown, detail)
    })
}

/// The entry that the receipt promised is where it said.
fn includes(promise: &Seen, shown: &Seen, probe: Probe, path: &[Hash]) -> Result<(), Unsettled> {
    let Checkpoint { size, root, .. } = &shown.checkpoint;
    merkle::verify_inclusion(&probe.leaf, probe.index, *size, path, root).map_err(|fault| {
        let detail = format!("entry {} is not the record that its receipt promised: {fault}", probe.index);
        forked(promise, shown, detail)
    })
}

fn forked(held: &Seen, shown: &Seen, detail: String) -> Unsettled {
    Unsettled::Trouble(Trouble {
        kind: FindingKind::LogForked,
        detail,
        checkpoints: vec![held.note.clone(), shown.note.clone()],
    })
}

/// A path as it travels.
fn path(hashes: &[Vec<u8>]) -> Result<Vec<Hash>, Unsettled> {
    if hashes.len() > PROOF_HASHES_MAX {
        return Err(Unsettled::Unproven("a path longer than any tree is high".to_owned()));
    }
    let hash = |bytes: &Vec<u8>| {
        Hash::from_slice(bytes).ok_or_else(|| Unsettled::Unproven("a hash is not 32 bytes".to_owned()))
    };
    hashes.iter().map(hash).collect()
}

#[cfg(test)]
mod tests;
