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

/// Asks every witness for the newest checkpoint of the log that it has cosigned, until as many have answered as the
/// configuration wants. What `log` has signed of it is returned: the log opens only if it holds all of that.
///
/// # Errors
/// [`BrokerError::Witnesses`] when too few answer in time.
pub async fn seen(
    policy: &Policy,
    log: &VerifierKey,
    config: &WitnessesConfig,
) -> Result<Vec<String>, BrokerError> {
    let mut witnesses = open(policy);
    let wanted = config.start_answers_min.min(witnesses.len());
    let until = Instant::now() + config.start_patience();
    loop {
        let deadline = Instant::now() + config.deadline();
        let asked = witnesses.iter_mut().map(|witness| witness.newest(log, deadline));
        let answers = futures_util::future::join_all(asked).await;
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        if answered >= wanted {
            return Ok(answers.into_iter().filter_map(Result::ok).flatten().collect());
        }
        if Instant::now() >= until {
            let problems = answers.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; ");
            return Err(BrokerError::Witnesses { answered, wanted, problems });
        }
        sleep(Duration::from_millis(WITNESS_RETRY_MS)).await;
    }
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
