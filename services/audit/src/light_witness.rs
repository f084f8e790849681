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
    /// Since when the log shows checkpoints of which nothing proves that they continue what is held.
    doubted: Option<Doubt>,
    /// Whether the outage under way was told.
    outage_told: bool,
}

/// The log shows something, and no proof that it continues what it showed before.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Duration,
    told: bool,
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
        let (receipted, promises) = (newest.clone(), VecDeque::new());
        Self { policy, newest, receipted, promises, doubted: None, outage_told: false }
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
        if let Some(held) = self.receipted.clone().filter(|held| held.checkpoint.size > seen.checkpoint.size)
        {
            let (given, before) = (seen.checkpoint.size, held.checkpoint.size);
            let words = format!("the log gives a receipt of {given} entries after one of {before}");
            return Err(self.doubt(&held, &seen, words, now));
        }
        if self.promises.len() == PROMISES_MAX {
            self.promises.pop_back();
        }
        self.promises.push_back(Promise { seen: seen.clone(), last_seq, probe, received: now });
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
    /// Two roots at one size, and a proof that does not verify, are told at once. An older checkpoint than the one held, or
    /// one without a proof, may be a fault of the way for a moment; a log that goes on so for [`PROMISE_KEPT_WITHIN`] was
    /// forked or rolled back as far as anybody can tell, and is told as such, once.
    ///
    /// # Errors
    /// [`Unsettled`]; what was not settled stays.
    pub fn answer(
        &mut self,
        asked: &ProveReceiptsRequest,
        answer: &ProveReceiptsResponse,
        now: Duration,
    ) -> Result<Option<u64>, Unsettled> {
        let shown = Seen { note: answer.checkpoint.clone(), checkpoint: self.read(&answer.checkpoint)? };
        for held in self.newest.iter().chain(&self.receipted).chain(self.promises.iter().map(|one| &one.seen))
        {
            agree(held, &shown)?;
        }
        if let Some(held) = self.newest.clone() {
            if asked.held_size != held.checkpoint.size {
                return Err(Unsettled::Unproven("it answers an older question".to_owned()));
            }
            if shown.checkpoint.size < held.checkpoint.size {
                let (size, before) = (shown.checkpoint.size, held.checkpoint.size);
                let words = format!("the log shows {size} entries after it had shown {before}");
                return Err(self.doubt(&held, &shown, words, now));
            }
            if let Err(fault) = continues(&held, &shown, &answer.consistency) {
                return Err(self.judge(&held, &shown, fault, now));
            }
        }
        self.policy.judge(&shown.note).map_err(Unsettled::NotCosigned)?;
        let covered = |promise: &&Promise| promise.seen.checkpoint.size <= shown.checkpoint.size;
        let due = self.promises.iter().take(asked.receipts.len()).take_while(covered).count();
        if answer.proofs.len() < due {
            return Err(Unsettled::Unproven(format!("{} proofs for {due} receipts", answer.proofs.len())));
        }
        for (promise, proof) in self.promises.clone().iter().take(due).zip(&answer.proofs) {
            let included = |probe| includes(&shown, probe, &proof.inclusion);
            let kept = continues(&promise.seen, &shown, &proof.consistency)
                .and_then(|()| promise.probe.map_or(Ok(()), included));
            kept.map_err(|fault| self.judge(&promise.seen, &shown, fault, now))?;
        }
        (self.doubted, self.outage_told) = (None, false);
        let settled = self.promises.drain(..due).map(|promise| promise.last_seq).max();
        self.newest = Some(shown);
        Ok(settled)
    }

    /// The oldest promise, where it has waited too long: told once an outage, however many wait behind it. The outage is over
    /// when the log proves something again.
    pub fn overdue(&mut self, now: Duration) -> Option<Trouble> {
        let oldest = self.promises.front().filter(|_| !self.outage_told)?;
        let waited = now.saturating_sub(oldest.received);
        if waited <= PROMISE_KEPT_WITHIN {
            return None;
        }
        self.outage_told = true;
        let newest = self.newest.as_ref().map(|seen| seen.note.clone());
        Some(Trouble {
            kind: FindingKind::LogUnwitnessed,
            detail: format!(
                "a receipt of {} entries is in no cosigned checkpoint after {} s (journal record {}; {} receipts wait)",
                oldest.seen.checkpoint.size,
                waited.as_secs(),
                oldest.last_seq,
                self.promises.len()
            ),
            checkpoints: [Some(oldest.seen.note.clone()), newest].into_iter().flatten().collect(),
        })
    }

    fn judge(&mut self, held: &Seen, shown: &Seen, fault: Fault, now: Duration) -> Unsettled {
        match fault {
            Fault::Missing(words) => self.doubt(held, shown, words, now),
            Fault::Wrong(words) => forked(held, shown, words),
        }
    }

    /// The log showed something that nothing proves to continue what is held: a fault of the way, or a finding once it has
    /// gone on for too long.
    fn doubt(&mut self, held: &Seen, shown: &Seen, words: String, now: Duration) -> Unsettled {
        let doubt = self.doubted.get_or_insert(Doubt { since: now, told: false });
        if doubt.told || now.saturating_sub(doubt.since) <= PROMISE_KEPT_WITHIN {
            return Unsettled::Unproven(words);
        }
        doubt.told = true;
        let seconds = PROMISE_KEPT_WITHIN.as_secs();
        forked(held, shown, format!("{words}; so for more than {seconds} s"))
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

/// Why something is not proven.
enum Fault {
    /// There is no proof.
    Missing(String),
    /// There is one, and it does not verify.
    Wrong(String),
}

/// The tree of `shown` continues that of `held`.
fn continues(held: &Seen, shown: &Seen, proof: &[Vec<u8>]) -> Result<(), Fault> {
    let (old, new) = (&held.checkpoint, &shown.checkpoint);
    let said = |fault: &dyn std::fmt::Display| {
        format!(
            "the log's tree of {} entries is not shown to continue that of {}: {fault}",
            new.size, old.size
        )
    };
    let path = path(proof).map_err(|fault| Fault::Missing(said(&fault)))?;
    if path.is_empty() && old.size != 0 && old.size != new.size {
        return Err(Fault::Missing(said(&"no proof can be had")));
    }
    merkle::verify_consistency(old.size, &old.root, new.size, &new.root, &path)
        .map_err(|fault| Fault::Wrong(said(&fault)))
}

/// The entry that a receipt promised is where it said.
fn includes(shown: &Seen, probe: Probe, proof: &[Vec<u8>]) -> Result<(), Fault> {
    let Checkpoint { size, root, .. } = &shown.checkpoint;
    let said = |fault: &dyn std::fmt::Display| {
        format!("entry {} is not the record that its receipt promised: {fault}", probe.index)
    };
    let path = path(proof).map_err(|fault| Fault::Missing(said(&fault)))?;
    if path.is_empty() && *size > 1 && probe.index < *size {
        return Err(Fault::Missing(said(&"no proof can be had")));
    }
    merkle::verify_inclusion(&probe.leaf, probe.index, *size, &path, root)
        .map_err(|fault| Fault::Wrong(said(&fault)))
}

fn forked(held: &Seen, shown: &Seen, detail: String) -> Unsettled {
    Unsettled::Trouble(Trouble {
        kind: FindingKind::LogForked,
        detail,
        checkpoints: vec![held.note.clone(), shown.note.clone()],
    })
}

/// A path as it travels.
fn path(hashes: &[Vec<u8>]) -> Result<Vec<Hash>, String> {
    if hashes.len() > PROOF_HASHES_MAX {
        return Err("a path longer than any tree is high".to_owned());
    }
    let hash = |bytes: &Vec<u8>| Hash::from_slice(bytes).ok_or_else(|| "a hash is not 32 bytes".to_owned());
    hashes.iter().map(hash).collect()
}

#[cfg(test)]
mod tests;
