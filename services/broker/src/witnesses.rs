//! The witnesses of the log: asked for their cosignatures on each checkpoint that is published, and, before the log is
//! opened, for what they have seen of it (C2SP tlog-witness; design §6, *Trust*).
//!
//! All are asked at once, each within the same deadline. Once the policy's quorum is reached, the rest gets a moment
//! more; a witness that is away holds up publishing no longer than the deadline. Nothing that comes over the
//! wire is believed but signatures: a witness that says it has more of the log must show a checkpoint that the log's own
//! key signed. One that does proves that this broker was restored from an old copy, or that another one signs for
//! the same log: then nothing more is signed.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use lienthong_audit::log::{Cosignatures, Cosigner, Log, LogReader};
use lienthong_audit::note::{Note, NoteSignature, VerifierKey};
use lienthong_audit::policy::Policy;
use lienthong_trust::MeshTrust;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::WitnessesConfig;
use crate::error::BrokerError;
use crate::limits::{WITNESS_GRACE_MS, WITNESS_RETRY_MS};
use crate::metrics::BrokerMetrics;

mod asking;
mod http;

use asking::{Answer, Witness};

/// Whom the log's readers believe, and which witnesses are asked: what the mesh trust file says. The one place that knows
/// where the policy comes from. `None`: the log has no witness.
///
/// # Errors
/// [`BrokerError::Config`] naming a witness that cannot be asked.
pub fn policy(mesh: &MeshTrust) -> Result<Option<Arc<Policy>>, BrokerError> {
    let policy = mesh.witness_policy();
    for witness in policy.witnesses() {
        Witness::new(witness).map_err(|problem| BrokerError::Config {
            key: "trust.file",
            problem: format!("witness {}: {problem}", String::from_utf8_lossy(&witness.name)),
        })?;
    }
    Ok((!policy.witnesses().is_empty()).then(|| Arc::new(policy.clone())))
}

/// Asks every witness for the newest checkpoint of the log that it has cosigned, until so many have answered that the
/// others cannot have made a quorum without them: of n witnesses with a quorum of k, n − k + 1. What `log` has signed of it
/// is returned: the log opens only if it holds all of that. `published` is the checkpoint that lies in the log's folder:
/// whoever cosigned it must remember it.
///
/// # Errors
/// [`BrokerError::Witnesses`] when too few answer in time.
pub async fn seen(
    policy: &Policy,
    log: &VerifierKey,
    published: Option<&str>,
    config: &WitnessesConfig,
) -> Result<Vec<String>, BrokerError> {
    let mut witnesses = open(policy);
    let known = known(policy, published, witnesses.len());
    let until = Instant::now() + config.start_patience();
    loop {
        let deadline = Instant::now() + config.deadline();
        let asked = witnesses.iter_mut().zip(&known).map(|(one, known)| one.newest(log, *known, deadline));
        let answers = futures_util::future::join_all(asked).await;
        let answered: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        if config.start_unheard || are_enough(policy, &answered) {
            return Ok(answers.into_iter().filter_map(Result::ok).flatten().collect());
        }
        if Instant::now() >= until {
            let (answered, of) = (answered.iter().filter(|yes| **yes).count(), answered.len());
            let problems = answers.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ");
            return Err(BrokerError::Witnesses { answered, of, problems });
        }
        sleep(Duration::from_millis(WITNESS_RETRY_MS)).await;
    }
}

/// For each witness, how many entries of the log it has cosigned by the published checkpoint.
fn known(policy: &Policy, published: Option<&str>, witnesses: usize) -> Vec<u64> {
    let mut known = vec![0; witnesses];
    if let Some(accepted) = published.and_then(|note| policy.judge_signer(note).ok()) {
        for cosigned in &accepted.cosigned {
            known
                .iter_mut()
                .skip(cosigned.witness)
                .take(1)
                .for_each(|known| *known = accepted.checkpoint.size);
        }
    }
    known
}

/// Whether those who did not answer are too few for a quorum. Where no quorum is asked for, one answer is enough.
fn are_enough(policy: &Policy, answered: &[bool]) -> bool {
    let silent = |index: usize| answered.get(index).is_some_and(|answered| !answered);
    answered.contains(&true) && (!policy.asks_for_witnesses() || !policy.is_quorum(silent))
}

/// Asks the witnesses for cosignatures, for as long as the log lives. The first value is for the log; the second must
/// be polled for it to be answered. It ends with the proof, if the log was shown to be another one.
pub fn cosigner(
    policies: watch::Receiver<Arc<Policy>>,
    log: &Log,
    config: &WitnessesConfig,
    metrics: BrokerMetrics,
) -> (Box<dyn Cosigner>, impl Future<Output = Option<String>> + Send + use<>) {
    let (jobs, waiting) = mpsc::channel(1);
    let policy = policies.borrow().clone();
    let (witnesses, key, reader) = (open(&policy), log.verifier(), log.reader());
    let asker = Asker { policies, policy, key, reader, witnesses, deadline: config.deadline(), metrics };
    (Box::new(Line { jobs, deadline: config.deadline() }), asker.run(waiting))
}

fn open(policy: &Policy) -> Vec<Witness> {
    // Each was judged when the policy was read.
    policy.witnesses().iter().filter_map(|witness| Witness::new(witness).ok()).collect()
}

/// A checkpoint on its way to the witnesses.
struct Job {
    checkpoint: String,
    size: u64,
    reply: SyncSender<Result<Cosignatures, String>>,
}

/// The log's line to the asker.
struct Line {
    jobs: mpsc::Sender<Job>,
    deadline: Duration,
}

impl Cosigner for Line {
    fn cosign(&mut self, checkpoint: &str, size: u64) -> Result<Cosignatures, String> {
        let (reply, answer) = sync_channel(1);
        let job = Job { checkpoint: checkpoint.to_owned(), size, reply };
        if self.jobs.try_send(job).is_err() {
            // The broker is stopping, or a job that was given up is still under way: asked again later.
            return Ok(Cosignatures::default());
        }
        // The asker keeps the deadline itself; twice as long is for a machine that is busy.
        answer.recv_timeout(self.deadline * 2).unwrap_or_else(|_| Ok(Cosignatures::default()))
    }
}

/// Asks.
struct Asker {
    policies: watch::Receiver<Arc<Policy>>,
    policy: Arc<Policy>,
    key: VerifierKey,
    reader: LogReader,
    witnesses: Vec<Witness>,
    deadline: Duration,
    metrics: BrokerMetrics,
}

impl Asker {
    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) -> Option<String> {
        while let Some(job) = waiting.recv().await {
            if self.policies.has_changed().unwrap_or(false) {
                self.take_policy();
            }
            let answer = self.ask(&job.checkpoint, job.size).await;
            let proof = answer.as_ref().err().cloned();
            // A log that waited too long asks again.
            drop(job.reply.send(answer));
            if proof.is_some() {
                return proof;
            }
        }
        None
    }

    /// Goes by the newest policy: its witnesses, its quorum, its log key in use.
    fn take_policy(&mut self) {
        self.policy = self.policies.borrow_and_update().clone();
        self.witnesses = open(&self.policy);
        if let Some(log) = self.policy.logs().first() {
            self.key = log.key.clone();
        }
    }

    async fn ask(&mut self, checkpoint: &str, size: u64) -> Result<Cosignatures, String> {
        let deadline = Instant::now() + self.deadline;
        let mut until = deadline;
        let mut signatures: Vec<NoteSignature> = Vec::new();
        let mut enough = reached(&self.policy, checkpoint, &signatures);
        let (log, metrics) = (asking::Log { key: &self.key, reader: &self.reader }, &self.metrics);
        let mut asked: FuturesUnordered<_> = self
            .witnesses
            .iter_mut()
            .map(|witness| async move {
                let answer = witness.add(checkpoint, size, &log, deadline).await;
                (witness.name().to_owned(), answer)
            })
            .collect();
        let mut answered = Vec::new();
        while let Ok(Some((name, answer))) = timeout_at(until, asked.next()).await {
            match answer {
                Answer::Cosigned(signature) => {
                    metrics.witness(&name, "cosigned");
                    signatures.push(signature);
                }
                Answer::Away(reason) => {
                    metrics.witness(&name, "away");
                    tracing::debug!(witness = name, %reason, "no cosignature");
                }
                Answer::Contradicts(proof) => {
                    metrics.witness(&name, "contradicts");
                    return Err(proof);
                }
            }
            answered.push(name);
            if !enough && reached(&self.policy, checkpoint, &signatures) {
                enough = true;
                until = until.min(Instant::now() + Duration::from_millis(WITNESS_GRACE_MS));
            }
        }
        drop(asked);
        for witness in
            self.witnesses.iter().filter(|witness| !answered.iter().any(|name| name == witness.name()))
        {
            self.metrics.witness(witness.name(), "late");
        }
        if enough {
            self.metrics.cosigned(size);
        } else {
            tracing::warn!(size, cosigned = signatures.len(), "the quorum of witnesses is not reached");
        }
        Ok(Cosignatures { signatures, enough })
    }
}

/// Whether the policy believes a checkpoint with these cosignatures.
fn reached(policy: &Policy, checkpoint: &str, signatures: &[NoteSignature]) -> bool {
    let Ok(mut note) = checkpoint.parse::<Note>() else {
        return false;
    };
    for signature in signatures {
        note.add(signature.clone());
    }
    policy.judge(&note.to_string()).is_ok()
}

#[cfg(test)]
mod tests {
    use lienthong_audit::note::{KeyKind, SigningKey};

    use super::*;

    fn policy(quorum: &str) -> Policy {
        let log = SigningKey::generate("log", KeyKind::Ed25519).unwrap();
        let witness = |name| SigningKey::generate(name, KeyKind::CosignatureV1).unwrap().verifier().clone();
        let known: String =
            ["a", "b", "c", "d"].map(|name| format!("witness {name} {}\n", witness(name))).concat();
        Policy::parse(format!("log {}\n{known}{quorum}\n", log.verifier()).as_bytes()).unwrap()
    }

    #[test]
    fn every_quorum_must_have_been_heard_in_one_of_its_members() {
        let enough =
            |quorum: &str, answered: [u8; 4]| are_enough(&policy(quorum), &answered.map(|yes| yes == 1));
        for (threshold, wanted) in [(1, 4), (2, 3), (3, 2), (4, 1)] {
            let quorum = format!("group g {threshold} a b c d\nquorum g");
            for answers in 0..=4 {
                let answered = [1, 2, 3, 4].map(|place| u8::from(place <= answers));
                assert_eq!(
                    enough(&quorum, answered),
                    answers >= wanted,
                    "{threshold} of 4, {answers} answer"
                );
            }
        }
        let groups = "group north any a b\ngroup south any c d\ngroup all all north south\nquorum all";
        assert!(enough(groups, [1, 1, 0, 0]), "the south alone makes no quorum");
        assert!(!enough(groups, [1, 0, 1, 0]), "b and d do");
        assert!(enough("quorum none", [0, 0, 1, 0]) && !enough("quorum none", [0; 4]));
    }
}
