//! The node as a light witness: it asks the broker for proofs of what it was promised, opens the gate `WITNESSED`, and
//! puts on record, with the signed texts beside its journal, what does not fit (design §6, *Trust*).

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lienthong_audit::{
    finding,
    light_witness::{Trouble, Unsettled},
    note::NOTE_BYTES_MAX,
    record,
};
use lienthong_certs::files;
use lienthong_proto::lienthong::audit::v1::{
    Finding, FindingKind, Record, log_service_client::LogServiceClient, record::Body,
};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    control::broker::Broker,
    limits::{
        BROKER_SILENCE_MS_MAX, EVIDENCE_FILES_FORKED_RESERVED, EVIDENCE_FILES_MAX, FINDINGS_TOLD_MAX,
        PROOF_BREATH_MS, PROOF_IDLE_MS, PROOF_PAUSE_MS, PROOF_WAIT_MS, WITNESS_SAVE_MS,
    },
    node::Node,
    promises::Promises,
    trust::Trust,
};

/// The resource name by which findings speak of the log itself.
const THE_LOG: &str = "broker";

/// Where the newest checkpoint is kept, below the node's data folder.
fn checkpoint_file(data_dir: &Path) -> PathBuf {
    data_dir.join("newest-checkpoint")
}

/// The newest checkpoint that this node held before it was stopped.
///
/// # Errors
/// The file is there and cannot be read.
pub fn kept_checkpoint(data_dir: &Path) -> io::Result<Option<String>> {
    let path = checkpoint_file(data_dir);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = files::read(&path, NOTE_BYTES_MAX as u64).map_err(io::Error::other)?;
    String::from_utf8(bytes).map(Some).map_err(io::Error::other)
}

/// Watches the log until told to stop.
pub async fn run(
    node: Arc<Node>,
    trust: Arc<Trust>,
    broker: Broker,
    data_dir: PathBuf,
    stop: CancellationToken,
) {
    let desk = Desk { node, trust, broker, data_dir, told: Mutex::default() };
    let mut saved = Saved { note: None, due: Instant::now() };
    loop {
        let pause = tokio::select! {
            () = stop.cancelled() => break,
            pause = desk.ask() => pause,
        };
        desk.tell_overdue().await;
        desk.count();
        desk.save(&mut saved).await;
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
            () = desk.wanted(pause) => {}
        }
    }
    saved.due = Instant::now();
    desk.save(&mut saved).await;
}

/// What was written to disk last, and when to write again.
struct Saved {
    note: Option<String>,
    due: Instant,
}

struct Desk {
    node: Arc<Node>,
    trust: Arc<Trust>,
    broker: Broker,
    data_dir: PathBuf,
    /// Ids of findings that this process has told.
    told: Mutex<HashSet<String>>,
}

impl Desk {
    fn promises(&self) -> &Promises {
        &self.node.promises
    }

    /// A receipt that arrives ends an idle pause, but not the one after a failure.
    async fn wanted(&self, pause: Duration) {
        if pause.as_millis() <= u128::from(PROOF_PAUSE_MS) {
            return std::future::pending().await;
        }
        self.promises().arrived().await;
    }

    /// One question and its answer; says how long to pause.
    async fn ask(&self) -> Duration {
        let (asked, waiting) = {
            let mesh = self.trust.mesh();
            let policy = mesh.trust().witness_policy();
            self.node.gates.believe(policy);
            let mut light = self.promises().light();
            light.believe(policy);
            (light.question(Duration::from_millis(PROOF_WAIT_MS)), light.waiting())
        };
        let mut client = LogServiceClient::new(self.broker.channel.clone());
        let until = Instant::now() + Duration::from_millis(PROOF_WAIT_MS + BROKER_SILENCE_MS_MAX);
        let answer = tokio::select! {
            answer = client.prove_receipts(asked.clone()) => answer,
            () = sleep_until(until) => Err(tonic::Status::deadline_exceeded("the broker is silent")),
        };
        let answer = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                self.node.gates.witnessing(Err(&format!("the broker gives no proofs: {}", status.message())));
                return Duration::from_millis(PROOF_PAUSE_MS);
            }
        };
        let now = self.promises().began().elapsed();
        let settled = self.promises().light().answer(&asked, &answer, now);
        match settled {
            Ok(settled) => {
                self.node.gates.witnessing(Ok(()));
                if let Some(seq) = settled {
                    self.node.gates.cosigned(seq);
                }
                Duration::from_millis(match settled {
                    Some(_) => 0,
                    // Covered by nothing yet: asked again, after a breath.
                    None if waiting > 0 => PROOF_BREATH_MS,
                    None => PROOF_IDLE_MS,
                })
            }
            Err(unsettled) => {
                self.node.gates.witnessing(Err(&unsettled.to_string()));
                if let Unsettled::Trouble(trouble) = &unsettled {
                    self.tell(trouble).await;
                } else {
                    tracing::warn!(reason = %unsettled, "receipts are not proven");
                }
                Duration::from_millis(PROOF_PAUSE_MS)
            }
        }
    }

    fn count(&self) {
        let waiting = self.promises().light().waiting();
        self.node.metrics.promises.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    async fn tell_overdue(&self) {
        let now = self.promises().began().elapsed();
        let overdue = self.promises().light().overdue(now);
        for trouble in overdue.iter().chain(&self.promises().take_troubles()) {
            self.tell(trouble).await;
        }
    }

    /// Puts a finding on record, and its proof on this node's own disk: the log itself may be what cannot be trusted. The
    /// record comes first; nothing that happens to the disk keeps it back.
    async fn tell(&self, trouble: &Trouble) {
        let about: Vec<&[u8]> = trouble.checkpoints.iter().map(String::as_bytes).collect();
        let id = finding::id(trouble.kind, &about);
        if !self.is_new(&id) {
            return;
        }
        tracing::error!(id, detail = trouble.detail, "the log does not keep its promise");
        self.node.metrics.log_findings.inc();
        let found = Finding {
            id: id.clone(),
            kind: trouble.kind.into(),
            nodes: vec![THE_LOG.to_owned(), self.node.name.clone()],
            detail: finding::detail(&trouble.detail),
            checkpoints: trouble.checkpoints.clone(),
            ..Finding::default()
        };
        if let Err(error) = self.record(found) {
            tracing::error!(error, "a finding cannot be put on record");
        }
        let (data_dir, trouble) = (self.data_dir.clone(), trouble.clone());
        let kept = spawn_blocking(move || keep_evidence(&data_dir, &id, &trouble)).await;
        if let Err(error) = kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(%error, "the proof of a finding cannot be kept");
        }
    }

    fn is_new(&self, id: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= FINDINGS_TOLD_MAX {
            told.clear();
        }
        told.insert(id.to_owned())
    }

    fn record(&self, found: Finding) -> Result<(), String> {
        let entry = |found: Finding| -> Result<Vec<u8>, String> {
            let entry = Record {
                version: record::RECORD_VERSION,
                salt: record::salt().map_err(text)?.to_vec(),
                recorder: self.node.name.clone(),
                time: Some(clock::timestamp()),
                clock_error_us: 0,
                body: Some(Body::Finding(found)),
            };
            record::encode(&entry).map_err(text)
        };
        // Notes with many cosignatures may be too long for a record; the files have them whole.
        let bytes = entry(found.clone()).or_else(|_| entry(Finding { checkpoints: Vec::new(), ..found }))?;
        self.node.journal.handle().append_owed(bytes).map_err(text).map(drop)
    }

    /// Keeps the newest checkpoint on disk, so that a restart forgets nothing of what the log has shown.
    async fn save(&self, saved: &mut Saved) {
        if Instant::now() < saved.due {
            return;
        }
        saved.due = Instant::now() + Duration::from_millis(WITNESS_SAVE_MS);
        let newest = self.promises().newest();
        if newest == saved.note {
            return;
        }
        let Some(note) = newest else { return };
        let path = checkpoint_file(&self.data_dir);
        let written = spawn_blocking(move || files::replace(&path, note.as_bytes()).map(|()| note)).await;
        match written {
            Ok(Ok(note)) => saved.note = Some(note),
            Ok(Err(error)) => tracing::error!(%error, "the newest checkpoint is not kept on disk"),
            Err(error) => tracing::error!(%error, "the newest checkpoint is not kept on disk"),
        }
    }
}

/// Writes the signed texts beside the journal, if they are not there already. A part of the room is for contradictions of
/// the log alone.
fn keep_evidence(data_dir: &Path, id: &str, trouble: &Trouble) -> io::Result<()> {
    let folder = data_dir.join("evidence");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{id}.txt"));
    if path.exists() {
        return Ok(());
    }
    let room = match trouble.kind {
        FindingKind::LogForked => EVIDENCE_FILES_MAX,
        _ => EVIDENCE_FILES_MAX - EVIDENCE_FILES_FORKED_RESERVED,
    };
    if fs::read_dir(&folder)?.count() >= room {
        return Err(io::Error::other(format!(
            "{} holds {room} files: move them to a safe place",
            folder.display()
        )));
    }
    let mut text = format!("{}: {}\n", trouble.kind.as_str_name(), trouble.detail);
    for note in &trouble.checkpoints {
        text.push_str("--\n");
        text.push_str(note);
    }
    files::replace(&path, text.as_bytes()).map_err(io::Error::other)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_outage_leaves_a_contradiction_without_room() {
        let dir = tempfile::tempdir().unwrap();
        let trouble = |kind| Trouble {
            kind,
            detail: "đã thử".to_owned(),
            checkpoints: vec!["one\n".to_owned(), "two\n".to_owned()],
        };
        let outage = trouble(FindingKind::LogUnwitnessed);
        let room = EVIDENCE_FILES_MAX - EVIDENCE_FILES_FORKED_RESERVED;
        for number in 0..room {
            keep_evidence(dir.path(), &format!("u{number}"), &outage).unwrap();
        }
        assert!(
            keep_evidence(dir.path(), "one more", &outage).unwrap_err().to_string().contains("move them")
        );
        keep_evidence(dir.path(), "u0", &outage).unwrap();
        keep_evidence(dir.path(), "forked", &trouble(FindingKind::LogForked)).unwrap();
        let kept = fs::read_to_string(dir.path().join("evidence/forked.txt")).unwrap();
        assert_eq!(kept, "FINDING_KIND_LOG_FORKED: đã thử\n--\none\n--\ntwo\n");
    }
}
