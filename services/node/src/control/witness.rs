//! The node as a light witness: it asks the broker for proofs of what it was promised, opens the gate `WITNESSED`, and
//! puts on record, with the signed texts beside its journal, what does not fit (design §6, *Trust*).

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
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
    Finding, Record, log_service_client::LogServiceClient, record::Body,
};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    control::broker::Broker,
    limits::{
        BROKER_SILENCE_MS_MAX, EVIDENCE_FILES_MAX, PROOF_BREATH_MS, PROOF_IDLE_MS, PROOF_PAUSE_MS,
        PROOF_WAIT_MS, WITNESS_SAVE_MS,
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
    let desk = Desk { node, trust, broker, data_dir };
    let mut saved = Saved { note: None, due: Instant::now() };
    loop {
        let pause = tokio::select! {
            () = stop.cancelled() => break,
            pause = desk.ask() => pause,
        };
        desk.tell_overdue();
        desk.count();
        desk.save(&mut saved);
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(pause) => {}
            () = desk.wanted(pause) => {}
        }
    }
    saved.due = Instant::now();
    desk.save(&mut saved);
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
        let settled = self.promises().light().answer(&asked, &answer);
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
                    self.tell(trouble);
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

    fn tell_overdue(&self) {
        let now = self.promises().began().elapsed();
        let overdue = self.promises().light().overdue(now);
        for trouble in overdue.iter().chain(&self.promises().take_troubles()) {
            self.tell(trouble);
        }
    }

    /// Puts a finding on record, and its proof on this node's own disk: the log itself may be what cannot be trusted.
    fn tell(&self, trouble: &Trouble) {
        let about: Vec<&[u8]> = trouble.checkpoints.iter().map(String::as_bytes).collect();
        let id = finding::id(trouble.kind, &about);
        match keep_evidence(&self.data_dir, &id, trouble) {
            Ok(true) => {}
            // Told before, perhaps by the process before this one.
            Ok(false) => return,
            Err(error) => tracing::error!(%error, id, "the proof of a finding cannot be kept"),
        }
        tracing::error!(id, detail = trouble.detail, "the log does not keep its promise");
        self.node.metrics.log_findings.inc();
        let found = Finding {
            id,
            kind: trouble.kind.into(),
            nodes: vec![THE_LOG.to_owned(), self.node.name.clone()],
            detail: finding::detail(&trouble.detail),
            checkpoints: trouble.checkpoints.clone(),
            ..Finding::default()
        };
        if let Err(error) = self.record(found) {
            tracing::error!(error, "a finding cannot be put on record");
        }
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
    fn save(&self, saved: &mut Saved) {
        if Instant::now() < saved.due {
            return;
        }
        saved.due = Instant::now() + Duration::from_millis(WITNESS_SAVE_MS);
        let newest = self.promises().newest();
        if newest == saved.note {
            return;
        }
        let Some(note) = &newest else { return };
        match files::replace(&checkpoint_file(&self.data_dir), note.as_bytes()) {
            Ok(()) => saved.note = newest,
            Err(error) => tracing::error!(%error, "the newest checkpoint is not kept on disk"),
        }
    }
}

/// Writes the signed texts beside the journal; false if they are there already, or as many as are kept.
fn keep_evidence(data_dir: &Path, id: &str, trouble: &Trouble) -> io::Result<bool> {
    let folder = data_dir.join("evidence");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{id}.txt"));
    if path.exists() || fs::read_dir(&folder)?.count() >= EVIDENCE_FILES_MAX {
        return Ok(false);
    }
    let mut text = format!("{}: {}\n", trouble.kind.as_str_name(), trouble.detail);
    for note in &trouble.checkpoints {
        text.push_str("--\n");
        text.push_str(note);
    }
    files::replace(&path, text.as_bytes()).map_err(io::Error::other)?;
    Ok(true)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
