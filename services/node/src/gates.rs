//! The release gates (design §1, idea 3): what must be true of an exchange's opening record before a byte of its answer
//! leaves.
//!
//! `JOURNAL`: it is durable here. `RECEIPT`: the broker's log holds it, durably. `WITNESSED`: it lies under a checkpoint
//! that the policy's quorum of witnesses has cosigned. A gate that cannot be passed is never left open: the call is
//! denied with the reason (`DENY_AUDIT_UNAVAILABLE`), before anything is asked of a backend where that is known by then.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
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

use crate::{
    call::deadline::Deadline,
    limits::{GATE_ANSWER_MS, UNPROVEN_RANGES_MAX},
};

/// How far the records of this node have come.
#[derive(Debug)]
pub struct Gates {
    /// The last record that the broker's log holds.
    receipted: watch::Sender<u64>,
    /// The last record under a cosigned checkpoint.
    cosigned: watch::Sender<u64>,
    /// Records that the broker says it holds, and for which no receipt came.
    unproven: Mutex<VecDeque<RangeInclusive<u64>>>,
    /// Tells shipping that somebody waits for a receipt.
    hurry: Notify,
    /// Why no receipts come; `None` while they do.
    unshipped: Mutex<Option<Closed>>,
    /// Why no cosigned checkpoints come; `None` while they do.
    unwitnessed: Mutex<Option<Closed>>,
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
            unproven: Mutex::default(),
            hurry: Notify::new(),
            unshipped: Mutex::new(Some(Closed::now("the broker was not reached since this node started"))),
            unwitnessed: Mutex::new(Some(Closed::now(
                "no cosigned checkpoint was seen since this node started",
            ))),
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
        self.open_but_for(gate, Duration::ZERO)
    }

    /// The same of a stream that lives: a gate that has not been closed for longer than a call may wait at it, ends none.
    ///
    /// # Errors
    /// `DENY_AUDIT_UNAVAILABLE` with the reason.
    pub fn still_offers(&self, gate: ReleaseGate) -> Result<(), MeshError> {
        self.open_but_for(gate, self.wait)
    }

    fn open_but_for(&self, gate: ReleaseGate, forgiven: Duration) -> Result<(), MeshError> {
        let longer = |closed: &Mutex<Option<Closed>>| closed_for(closed, forgiven);
        let reason = match gate {
            ReleaseGate::Unspecified | ReleaseGate::Journal => None,
            ReleaseGate::Receipt => longer(&self.unshipped),
            ReleaseGate::Witnessed if !self.witnessed.load(Ordering::Relaxed) => Some(UNWITNESSED.into()),
            ReleaseGate::Witnessed => longer(&self.unshipped).or_else(|| longer(&self.unwitnessed)),
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
        // The policy may have changed since the call began.
        if gate == ReleaseGate::Witnessed && !self.witnessed.load(Ordering::Relaxed) {
            return Err(denied(gate, UNWITNESSED));
        }
        self.hurry();
        let mut level = level.subscribe();
        let passed =
            tokio::time::timeout_at(self.until(deadline), level.wait_for(|level| *level >= seq)).await;
        if matches!(passed, Ok(Ok(_))) {
            return if self.is_unproven(seq) { Err(denied(gate, NO_RECEIPT)) } else { Ok(()) };
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

    /// The broker says, unsigned, that its log holds everything up to record `seq`: what no receipt has named by now passes
    /// no gate any more, for none will come.
    pub fn unproven(&self, seq: u64) {
        let first = *self.receipted.borrow() + 1;
        if seq < first {
            return;
        }
        let mut unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        if unproven.len() == UNPROVEN_RANGES_MAX
            && let (Some(oldest), Some(next)) = (unproven.pop_front(), unproven.pop_front())
        {
            // What lies between them was decided long ago.
            unproven.push_front(*oldest.start()..=*next.end());
        }
        unproven.push_back(first..=seq);
    }

    fn is_unproven(&self, seq: u64) -> bool {
        let unproven = self.unproven.lock().unwrap_or_else(PoisonError::into_inner);
        unproven.iter().any(|range| range.contains(&seq))
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
        closed_for(&self.unwitnessed, Duration::ZERO)
    }

    fn unshipped(&self) -> Option<Arc<str>> {
        closed_for(&self.unshipped, Duration::ZERO)
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

const UNWITNESSED: &str = "the mesh trust file asks for no witness";
const NO_RECEIPT: &str = "the connection to the broker broke, and it gave no receipt for this record";

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

/// Why a gate is closed, and since when.
#[derive(Debug)]
struct Closed {
    reason: Arc<str>,
    since: Instant,
}

impl Closed {
    fn now(reason: &str) -> Self {
        Self { reason: reason.into(), since: Instant::now() }
    }
}

fn set(closed: &Mutex<Option<Closed>>, state: Result<(), &str>) {
    let mut closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
    match (state, closed.as_mut()) {
        (Ok(()), _) => *closed = None,
        (Err(reason), None) => *closed = Some(Closed::now(reason)),
        (Err(reason), Some(held)) if *held.reason != *reason => held.reason = reason.into(),
        (Err(_), Some(_)) => {}
    }
}

/// Why it is closed, where it has been for longer than that.
fn closed_for(closed: &Mutex<Option<Closed>>, forgiven: Duration) -> Option<Arc<str>> {
    let closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
    let held = closed.as_ref()?;
    (forgiven.is_zero() || held.since.elapsed() > forgiven).then(|| Arc::clone(&held.reason))
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
    async fn a_live_stream_outlives_a_moment_at_a_closed_gate_and_no_more() {
        let closed = async |wait_ms| {
            let gates = Gates::new(&policy(true), wait_ms);
            gates.shipping(Ok(()));
            gates.witnessing(Ok(()));
            gates.shipping(Err("the line is cut"));
            tokio::time::sleep(Duration::from_millis(20)).await;
            // Another reason is the same outage.
            gates.shipping(Err("the broker is away"));
            gates
        };
        let patient = closed(600_000).await;
        assert!(patient.offers(ReleaseGate::Receipt).is_err());
        patient.still_offers(ReleaseGate::Receipt).unwrap();
        patient.still_offers(ReleaseGate::Witnessed).unwrap();
        let gates = closed(1).await;
        assert!(reason(gates.still_offers(ReleaseGate::Receipt)).ends_with("away"));
        assert!(gates.still_offers(ReleaseGate::Witnessed).is_err());
        gates.still_offers(ReleaseGate::Journal).unwrap();
        gates.shipping(Ok(()));
        gates.still_offers(ReleaseGate::Witnessed).unwrap();
    }

    #[tokio::test]
    async fn what_the_broker_says_without_a_receipt_opens_no_gate() {
        let dir = tempfile::tempdir().unwrap();
        let journal =
            Journal::open(dir.path(), JournalOptions::new("n".to_owned()), SystemTime::now()).unwrap();
        let journal = journal.handle();
        let gates = Gates::new(&policy(true), 200);
        gates.shipping(Ok(()));
        gates.witnessing(Ok(()));
        let pass = async |gate, seq| gates.pass(gate, seq, Deadline::none(), &journal).await;
        gates.receipted(3);
        // It has 3 by receipts, and says that it holds 6.
        gates.unproven(6);
        assert!(reason(pass(ReleaseGate::Receipt, 6).await).contains("did not come in time"));
        gates.receipted(8);
        gates.cosigned(8);
        for gate in [ReleaseGate::Receipt, ReleaseGate::Witnessed] {
            for seq in [3, 7, 8] {
                pass(gate, seq).await.unwrap();
            }
            for seq in 4..=6 {
                assert!(reason(pass(gate, seq).await).contains("no receipt"), "{seq}");
            }
        }
        // A position that tells nothing new takes nothing away.
        gates.unproven(8);
        pass(ReleaseGate::Receipt, 8).await.unwrap();
        for seq in (100..200).step_by(2) {
            gates.unproven(seq);
            gates.receipted(seq + 1);
        }
        assert_eq!(gates.unproven.lock().unwrap().len(), UNPROVEN_RANGES_MAX);
        assert!(gates.is_unproven(198) && gates.is_unproven(4) && !gates.is_unproven(199));
        // Where the trust file asks for no witness any more, nobody passes as witnessed.
        gates.believe(&policy(false));
        assert!(reason(pass(ReleaseGate::Witnessed, 8).await).contains("no witness"));
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
