//! The release gates (design §1, idea 3): what must be true of an exchange's opening record before a byte of its answer
//! leaves.
//!
//! `JOURNAL`: it is durable here. `RECEIPT`: the broker's log holds it, durably. `WITNESSED`: it lies under a checkpoint
//! that the policy's quorum of witnesses has cosigned. A gate that cannot be passed is never left open: the call is
//! denied with the reason (`DENY_AUDIT_UNAVAILABLE`), before anything is asked of a backend where that is known by then.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lienthong_audit::{journal::Handle, policy::Policy};
use lienthong_proto::{lienthong::options::v1::ReleaseGate, reason::Reason, status::MeshError};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{call::deadline::Deadline, limits::GATE_ANSWER_MS};

/// How far the records of this node have come.
#[derive(Debug)]
pub struct Gates {
    /// The last record that the broker's log holds.
    receipted: watch::Sender<u64>,
    /// The last record under a cosigned checkpoint.
    cosigned: watch::Sender<u64>,
    /// Tells shipping that somebody waits for a receipt.
    hurry: Notify,
    /// Why no receipts come; `None` while they do.
    unshipped: Mutex<Option<Arc<str>>>,
    /// Why no cosigned checkpoints come; `None` while they do.
    unwitnessed: Mutex<Option<Arc<str>>>,
    /// Whether checkpoints must be cosigned.
    witnessed: AtomicBool,
    /// The longest wait at a gate.
    wait: Duration,
}

impl Gates {
    /// The gates of a node that believes `policy` about the log; nothing has passed them yet.
    pub fn new(policy: &Policy, wait_ms: u64) -> Self {
        Self {
            receipted: watch::Sender::new(0),
            cosigned: watch::Sender::new(0),
            hurry: Notify::new(),
            unshipped: Mutex::new(Some("the broker was not reached since this node started".into())),
            unwitnessed: Mutex::new(Some("no cosigned checkpoint was seen since this node started".into())),
            witnessed: AtomicBool::new(policy.asks_for_witnesses()),
            wait: Duration::from_millis(wait_ms),
        }
    }

    /// The policy has changed.
    pub fn believe(&self, policy: &Policy) {
        self.witnessed.store(policy.asks_for_witnesses(), Ordering::Relaxed);
    }

    /// Whether a call that begins now can pass the gate, as far as is known.
    ///
    /// # Errors
    /// `DENY_AUDIT_UNAVAILABLE` with the reason.
    pub fn offers(&self, gate: ReleaseGate) -> Result<(), MeshError> {
        let reason = match gate {
            ReleaseGate::Unspecified | ReleaseGate::Journal => None,
            ReleaseGate::Receipt => self.unshipped(),
            ReleaseGate::Witnessed if !self.witnessed.load(Ordering::Relaxed) => {
                Some("the mesh trust file asks for no witness".into())
            }
            ReleaseGate::Witnessed => self.unshipped().or_else(|| self.unwitnessed()),
        };
        reason.map_or(Ok(()), |reason| Err(denied(gate, &reason)))
    }

    /// Waits until record `seq` has passed the gate, no longer than the deadline and the configured bound allow. Dropping
    /// it leaves nothing behind.
    ///
    /// # Errors
    /// `DENY_AUDIT_UNAVAILABLE` with the reason, in time for the caller to hear it; `FAIL_DEADLINE` at the first gate.
    pub async fn pass(
        &self,
        gate: ReleaseGate,
        seq: u64,
        deadline: Deadline,
        journal: &Handle,
    ) -> Result<(), MeshError> {
        let level = match gate {
            ReleaseGate::Unspecified | ReleaseGate::Journal => {
                return deadline.limit(journal.durable(seq)).await;
            }
            ReleaseGate::Receipt => &self.receipted,
            ReleaseGate::Witnessed => &self.cosigned,
        };
        self.hurry();
        let mut level = level.subscribe();
        let passed =
            tokio::time::timeout_at(self.until(deadline), level.wait_for(|level| *level >= seq)).await;
        if matches!(passed, Ok(Ok(_))) {
            return Ok(());
        }
        let reason = match gate {
            ReleaseGate::Receipt => self.unshipped(),
            _ => self.unshipped().or_else(|| self.unwitnessed()),
        };
        let reason = reason.unwrap_or_else(|| "it did not come in time".into());
        Err(denied(gate, &reason))
    }

    /// Somebody will wait for a receipt of what was just written.
    pub fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Resolves when somebody waits for a receipt.
    pub async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// The broker's log holds everything up to record `seq`.
    pub fn receipted(&self, seq: u64) {
        rise(&self.receipted, seq);
    }

    /// Everything up to record `seq` lies under a cosigned checkpoint.
    pub fn cosigned(&self, seq: u64) {
        rise(&self.cosigned, seq);
    }

    /// The journal is being shipped, or is not, and why.
    pub fn shipping(&self, state: Result<(), &str>) {
        set(&self.unshipped, state);
    }

    /// Cosigned checkpoints come, or do not, and why.
    pub fn witnessing(&self, state: Result<(), &str>) {
        set(&self.unwitnessed, state);
    }

    /// Why no cosigned checkpoints come, if none do.
    pub fn unwitnessed(&self) -> Option<Arc<str>> {
        self.unwitnessed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn unshipped(&self) -> Option<Arc<str>> {
        self.unshipped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The caller must hear the reason before its own deadline: a part of what is left is for the way back.
    fn until(&self, deadline: Deadline) -> Instant {
        let now = Instant::now();
        let left = deadline.at().map_or(self.wait, |at| {
            let left = at.saturating_duration_since(now);
            left.saturating_sub((left / 4).min(Duration::from_millis(GATE_ANSWER_MS)))
        });
        now + left.min(self.wait)
    }
}

fn denied(gate: ReleaseGate, reason: &str) -> MeshError {
    let name = gate.as_str_name().trim_start_matches("RELEASE_GATE_");
    MeshError::new(Reason::DenyAuditUnavailable, format!("release gate {name}: {reason}"))
}

fn rise(level: &watch::Sender<u64>, seq: u64) {
    level.send_if_modified(|level| {
        let rises = seq > *level;
        *level = (*level).max(seq);
        rises
    });
}

fn set(reason: &Mutex<Option<Arc<str>>>, state: Result<(), &str>) {
    let mut reason = reason.lock().unwrap_or_else(PoisonError::into_inner);
    match (state, reason.as_deref()) {
        (Ok(()), None) => {}
        (Ok(()), Some(_)) => *reason = None,
        (Err(new), old) if old == Some(new) => {}
        (Err(new), _) => *reason = Some(new.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lienthong_audit::{
        journal::{Journal, JournalOptions},
        note::{KeyKind, SigningKey},
    };

    use super::*;

    fn policy(witnesses: bool) -> Policy {
        let log = SigningKey::generate("log", KeyKind::Ed25519).unwrap();
        let witness = SigningKey::generate("w", KeyKind::CosignatureV1).unwrap();
        let quorum = if witnesses { "w" } else { "none" };
        let text = format!("log {}\nwitness w {}\nquorum {quorum}\n", log.verifier(), witness.verifier());
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn reason(denied: Result<(), MeshError>) -> String {
        let error = denied.unwrap_err();
        assert_eq!(error.reason, Reason::DenyAuditUnavailable);
        error.detail.clone()
    }

    #[test]
    fn what_cannot_be_held_is_not_offered() {
        let unwitnessed = Gates::new(&policy(false), 1000);
        unwitnessed.offers(ReleaseGate::Journal).unwrap();
        assert!(reason(unwitnessed.offers(ReleaseGate::Witnessed)).contains("no witness"));
        let gates = Gates::new(&policy(true), 1000);
        assert!(reason(gates.offers(ReleaseGate::Receipt)).contains("not reached"));
        gates.shipping(Ok(()));
        gates.offers(ReleaseGate::Receipt).unwrap();
        assert!(reason(gates.offers(ReleaseGate::Witnessed)).contains("no cosigned checkpoint"));
        gates.witnessing(Ok(()));
        gates.offers(ReleaseGate::Witnessed).unwrap();
        gates.shipping(Err("the line is cut"));
        for gate in [ReleaseGate::Receipt, ReleaseGate::Witnessed] {
            assert!(reason(gates.offers(gate)).ends_with("the line is cut"));
        }
    }

    #[tokio::test]
    async fn a_record_passes_once_it_is_where_the_gate_asks() {
        let dir = tempfile::tempdir().unwrap();
        let journal =
            Journal::open(dir.path(), JournalOptions::new("n".to_owned()), SystemTime::now()).unwrap();
        let journal = journal.handle();
        let gates = Arc::new(Gates::new(&policy(true), 200));
        let pass = |gate, seq| {
            let (gates, journal) = (Arc::clone(&gates), journal.clone());
            tokio::spawn(async move { gates.pass(gate, seq, Deadline::none(), &journal).await })
        };
        let (receipt, witnessed) = (pass(ReleaseGate::Receipt, 5), pass(ReleaseGate::Witnessed, 5));
        gates.hurried().await;
        gates.receipted(4);
        gates.receipted(6);
        gates.receipted(5);
        receipt.await.unwrap().unwrap();
        // The last record of another gate opens none.
        gates.shipping(Ok(()));
        gates.witnessing(Err("the quorum is not reached"));
        assert!(reason(witnessed.await.unwrap()).ends_with("the quorum is not reached"));
        gates.cosigned(7);
        pass(ReleaseGate::Witnessed, 5).await.unwrap().unwrap();
        // What waits and is dropped leaves nothing behind.
        let waiting = pass(ReleaseGate::Receipt, 99);
        waiting.abort();
        assert!(waiting.await.is_err());
    }
}
