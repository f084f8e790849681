//! One witness, asked.

use http::Method;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::hash::Hash;
use lienthong_audit::log::LogReader;
use lienthong_audit::merkle;
use lienthong_audit::note::{Note, NoteSignature, VerifierKey};
use lienthong_audit::policy::PolicyWitness;
use lienthong_audit::witness::{ADD_CHECKPOINT, AddCheckpoint, SIZE_MEDIA_TYPE, origin_hash};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::http::Client;

/// A proof may begin somewhere else than the witness stands, once; then both know.
const TRIES_MAX: usize = 2;

/// A witness, and what is known of it.
#[derive(Debug)]
pub(super) struct Witness {
    name: String,
    key: VerifierKey,
    client: Client,
    /// Size of the tree that it cosigned last, as far as is known.
    size: u64,
}

/// The log whose checkpoints are submitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log<'a> {
    /// Its key.
    pub key: &'a VerifierKey,
    /// Its tiles.
    pub reader: &'a LogReader,
}

/// What came of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its cosignature, verified.
    Cosigned(NoteSignature),
    /// Nothing, or nothing that proves anything.
    Away(String),
    /// The proof that this log signed something that it does not hold.
    Contradicts(String),
}

impl Witness {
    pub fn new(of: &PolicyWitness) -> Result<Self, String> {
        let url = of.url.as_deref().ok_or("it has no address: add its URL behind its key")?;
        let client = Client::new(&String::from_utf8_lossy(url))?;
        let name = String::from_utf8_lossy(&of.name).into_owned();
        Ok(Self { name, key: of.key.clone(), client, size: 0 })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Submits a checkpoint, whose tiles can be read, within `deadline`.
    pub async fn add(&mut self, checkpoint: &str, size: u64, log: &Log<'_>, deadline: Instant) -> Answer {
        match timeout_at(deadline, self.try_add(checkpoint, size, log)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => Answer::Away(reason),
            Err(_) => Answer::Away("no answer in time".to_owned()),
        }
    }

    /// The newest checkpoint of the log that it has cosigned, if the log signed it; `None` when it has none. `known` is the
    /// size up to which it has cosigned the log for certain: one that has forgotten it, or something else that answers in its
    /// place, says nothing.
    pub async fn newest(
        &mut self,
        log: &VerifierKey,
        known: u64,
        deadline: Instant,
    ) -> Result<Option<String>, String> {
        let asked = async {
            let path = format!("{}/checkpoint", origin_hash(log.name()));
            let said = self.client.send(Method::GET, &path, String::new()).await?;
            match said.status {
                404 if known == 0 => Ok(None),
                404 => Err(format!("it has forgotten the log, of which it cosigned {known} entries")),
                200 => self.shown(said.body, log, known).map(Some),
                other => Err(format!("it answered {other}")),
            }
        };
        let newest =
            timeout_at(deadline, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        newest.map_err(|reason| format!("{}: {reason}", self.name))
    }

    /// A checkpoint that counts: the log's, cosigned by this witness, and no older than what it is known to have cosigned.
    fn shown(&self, note: String, log: &VerifierKey, known: u64) -> Result<String, String> {
        let shown = Checkpoint::open(&note, log).map_err(|_| "what it shows is not signed by the log")?;
        let parsed: Note = note.parse().map_err(text)?;
        parsed.verify([&self.key]).map_err(|_| "what it shows is not cosigned by it")?;
        if shown.size < known {
            return Err(format!("it shows {} entries of the log, and cosigned {known}", shown.size));
        }
        Ok(note)
    }

    async fn try_add(&mut self, checkpoint: &str, size: u64, log: &Log<'_>) -> Result<Answer, String> {
        for _ in 0..TRIES_MAX {
            let old_size = self.size.min(size);
            let proof = proof(log.reader, old_size, size).await?;
            let request = AddCheckpoint { old_size, proof, checkpoint: checkpoint.to_owned() };
            let said = self.client.send(Method::POST, ADD_CHECKPOINT, request.to_string()).await?;
            match said.status {
                200 => {
                    let signature = self.own_signature(checkpoint, &said.body)?;
                    self.size = size;
                    return Ok(Answer::Cosigned(signature));
                }
                409 if said.content_type == SIZE_MEDIA_TYPE => {
                    let has: u64 = said.body.trim_end().parse().map_err(|_| "it told no size")?;
                    if has > size {
                        return self.compare(size, log).await;
                    }
                    self.size = has;
                }
                422 => return self.compare(size, log).await,
                other => return Err(format!("it answered {other}: {}", said.body.trim_end())),
            }
        }
        Err("it stands somewhere else each time it is asked".to_owned())
    }

    /// The witness says that its log is another one. Looks at what it has: only what the log's own key signed counts.
    async fn compare(&mut self, size: u64, log: &Log<'_>) -> Result<Answer, String> {
        let path = format!("{}/checkpoint", origin_hash(log.key.name()));
        let said = self.client.send(Method::GET, &path, String::new()).await?;
        if said.status != 200 {
            return Err(format!("it refuses, but shows no checkpoint: {}", said.status));
        }
        let theirs = Checkpoint::open(&said.body, log.key)
            .map_err(|error| format!("it refuses, but what it shows is not signed by this log: {error}"))?;
        if theirs.size > size {
            return Ok(Answer::Contradicts(format!(
                "witness {} has cosigned {} entries of this log, which ends at {size}: it was restored from an old \
                 copy, or another broker signs for it",
                self.name, theirs.size
            )));
        }
        if root(log.reader, theirs.size, size).await? == theirs.root {
            self.size = theirs.size;
            return Err("it refused a proof that is good".to_owned());
        }
        Ok(Answer::Contradicts(format!(
            "witness {} has cosigned another history of this log at {} entries: the log was changed, or another broker \
             signs for it",
            self.name, theirs.size
        )))
    }

    /// Its cosignature among the lines of an answer; lines of keys that nobody knows are ignored.
    fn own_signature(&self, checkpoint: &str, lines: &str) -> Result<NoteSignature, String> {
        let note: Note = checkpoint.parse().map_err(text)?;
        for line in lines.lines() {
            let Ok(signature) = line.parse::<NoteSignature>() else { continue };
            if signature.name != self.key.name() || signature.key_id != self.key.id() {
                continue;
            }
            let mut cosigned = Note::new(note.text()).map_err(text)?;
            cosigned.add(signature.clone());
            cosigned.verify([&self.key]).map_err(text)?;
            return Ok(signature);
        }
        Err(format!("its answer holds no signature of {}", self.key.label()))
    }
}

async fn proof(reader: &LogReader, old: u64, new: u64) -> Result<Vec<Hash>, String> {
    let tree = reader.tree(new);
    let proof = spawn_blocking(move || merkle::consistency_proof(old, new, &tree)).await.map_err(text)?;
    proof.map_err(text)?.ok_or_else(|| "the witness has more than the log".to_owned())
}

/// The root of the first `size` entries, read from the tiles of a larger tree.
async fn root(reader: &LogReader, size: u64, larger: u64) -> Result<Hash, String> {
    let tree = reader.tree(larger);
    spawn_blocking(move || merkle::root(size, &tree)).await.map_err(text)?.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
