//! The last head of each log, durable before anything is answered.
//!
//! One file a log, `<hex SHA-256 of the origin>.checkpoint`: the checkpoint with the log's signature and ours, just
//! as it is shown to monitors. It is replaced whole (written beside, flushed, renamed, folder flushed), so that a
//! kill or a power cut leaves the old one or the new one. Judging and replacing happen under one lock: two requests at
//! once can never set a log back.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::note::{NOTE_BYTES_MAX, Note, SigningKey, VerifierKey};
use lienthong_audit::witness::{AddCheckpoint, Head, Judged, Refusal, judge, open, origin_hash};
use lienthong_certs::files::{self, FileError};

/// What a witness knows, and its key.
#[derive(Debug)]
pub struct Memory {
    dir: PathBuf,
    key: SigningKey,
    logs: Vec<VerifierKey>,
    kept: Mutex<Kept>,
    /// Held while the witness lives: two with one memory could contradict each other.
    _lock: File,
}

#[derive(Debug, Default)]
struct Kept {
    heads: HashMap<String, Cosigned>,
    /// Set once a head could not be made durable: what the disk holds is unknown, so nothing more is signed.
    failed: Option<String>,
}

/// What was cosigned last.
#[derive(Clone, Debug)]
struct Cosigned {
    head: Head,
    time_s: u64,
    note: String,
}

/// A cosignature that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The signature line, with its newline.
    pub line: String,
    /// Origin of the log.
    pub origin: String,
    /// Size of the tree.
    pub size: u64,
}

/// Why no cosignature was given.
#[derive(Debug, thiserror::Error)]
pub enum NotGiven {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The head could not be made durable; the witness must be started again.
    #[error("the witness's memory failed: {0}; see its disk, then start it again")]
    Failed(String),
}

/// Why a memory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The folder.
    #[error("the folder {} cannot be used: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another witness has it.
    #[error("{} is in use by another process; a memory has exactly one witness", .0.display())]
    Locked(PathBuf),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold what this witness cosigned.
    #[error(
        "{} is not a checkpoint that this witness cosigned: {what}; a witness that lost its memory begins again with \
         a new key and an empty folder (R-48)", path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

impl Memory {
    /// Opens the memory in `dir`, made if it does not exist. Every file in it must be a checkpoint of its log with this
    /// witness's own cosignature.
    ///
    /// # Errors
    /// [`MemoryError`]
    pub fn open(dir: &Path, key: SigningKey, logs: Vec<VerifierKey>) -> Result<Self, MemoryError> {
        let failed = |source| MemoryError::Folder { path: dir.to_owned(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let lock = File::create(dir.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(MemoryError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let mut heads = HashMap::new();
        for log in &logs {
            let path = place(dir, log.name());
            if !path.exists() {
                continue;
            }
            let damaged = |what: String| MemoryError::Damaged { path: path.clone(), what };
            let note = String::from_utf8(files::read(&path, NOTE_BYTES_MAX as u64)?)
                .map_err(|error| damaged(error.to_string()))?;
            let cosigned = recall(&note, log.name(), &key, &logs).map_err(damaged)?;
            heads.insert(log.name().to_owned(), cosigned);
        }
        let kept = Mutex::new(Kept { heads, failed: None });
        Ok(Self { dir: dir.to_owned(), key, logs, kept, _lock: lock })
    }

    /// Judges a request, makes the new head durable, and only then signs it. `now_s` is the time, in seconds since
    /// 1970-01-01 UTC; a cosignature is never older than the one before. Blocks on the disk.
    ///
    /// # Errors
    /// [`NotGiven`]
    pub fn add(&self, body: &str, now_s: u64) -> Result<Given, NotGiven> {
        let request: AddCheckpoint = body.parse()?;
        // Signatures are verified before the lock is taken: strangers do not hold up the log.
        let opened = open(&request.checkpoint, &self.logs)?;
        let origin = opened.checkpoint.origin.clone();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reason) = &kept.failed {
            return Err(NotGiven::Failed(reason.clone()));
        }
        let before = kept.heads.get(&origin);
        judge(&request, &opened, before.map_or(Head::NONE, |before| before.head))?;
        let time_s = now_s.max(before.map_or(0, |before| before.time_s));
        let cosigned = self.cosign(&opened, time_s).map_err(NotGiven::Failed)?;
        let line = format!("{}\n", cosigned.1);
        let unchanged = before.is_some_and(|before| before.head == opened.head());
        if !unchanged
            && let Err(error) = files::replace(&place(&self.dir, &origin), cosigned.0.note.as_bytes())
        {
            // After a failed flush nobody knows what the disk holds: never tried again.
            tracing::error!(%error, "a head could not be made durable; nothing more is cosigned");
            kept.failed = Some(error.to_string());
            return Err(NotGiven::Failed(error.to_string()));
        }
        let size = cosigned.0.head.size;
        kept.heads.insert(origin.clone(), cosigned.0);
        Ok(Given { line, origin, size })
    }

    /// The last cosigned checkpoint of the log with this origin hash.
    pub fn checkpoint(&self, hash: &str) -> Option<String> {
        let log = self.logs.iter().find(|log| origin_hash(log.name()) == hash)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.heads.get(log.name()).map(|cosigned| cosigned.note.clone())
    }

    /// Holds up whoever wants a cosignature.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Drop + '_ {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs and the sizes that were cosigned last.
    pub fn sizes(&self) -> Vec<(String, u64)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |log: &VerifierKey| kept.heads.get(log.name()).map_or(0, |cosigned| cosigned.head.size);
        self.logs.iter().map(|log| (log.name().to_owned(), size(log))).collect()
    }

    /// Why nothing more is cosigned, if that is so.
    pub fn failure(&self) -> Option<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).failed.clone()
    }

    /// The checkpoint as it is kept, and the signature line.
    fn cosign(&self, opened: &Judged, time_s: u64) -> Result<(Cosigned, String), String> {
        let signature = self.key.cosign(opened.note.text(), time_s).map_err(|error| error.to_string())?;
        let line = signature.to_string();
        let mut note = opened.note.clone();
        note.add(signature);
        Ok((Cosigned { head: opened.head(), time_s, note: note.to_string() }, line))
    }
}

fn place(dir: &Path, origin: &str) -> PathBuf {
    dir.join(format!("{}.checkpoint", origin_hash(origin)))
}

/// Reads a kept checkpoint: the log's signature and ours must be good.
fn recall(text: &str, origin: &str, key: &SigningKey, logs: &[VerifierKey]) -> Result<Cosigned, String> {
    let opened = open(text, logs).map_err(|error| error.to_string())?;
    let note: Note = text.parse().map_err(|error| format!("{error}"))?;
    let verified = note.verify([key.verifier()]).map_err(|error| error.to_string())?;
    let time_s = verified.iter().filter_map(|signature| signature.time_s).max().unwrap_or_default();
    let Checkpoint { origin: found, .. } = &opened.checkpoint;
    if found != origin {
        return Err(format!("it is of the log {found:?}"));
    }
    Ok(Cosigned { head: opened.head(), time_s, note: text.to_owned() })
}
