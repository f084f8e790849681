//! What the log says of itself now, read once a second and kept in memory, so that no visitor costs a read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::checkpoint::{Checkpoint, CheckpointError};
use lienthong_audit::note::{Note, VerifierKey};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::log_folder::{LogFolder, LogFolderError};

/// How often the published checkpoint is looked at. The broker publishes at most once a second.
pub const HEAD_REFRESH_MS: u64 = 1_000;

/// The published head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Origin, size, root.
    pub checkpoint: Checkpoint,
    /// When it was published: the time of the file, since a checkpoint holds none.
    pub published: OffsetDateTime,
    /// Whether its signature was checked with the configured key.
    pub verified: bool,
}

/// The head as it was last seen, or why there is none to show.
pub type Seen = Result<Head, Arc<HeadError>>;

/// Why there is no head to show.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// No checkpoint can be read.
    #[error(transparent)]
    Folder(#[from] LogFolderError),
    /// What stands there is no checkpoint, or none that the configured key signed.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Keeps the head in memory.
#[derive(Debug)]
pub struct HeadWatch {
    folder: LogFolder,
    key: Option<VerifierKey>,
    seen: watch::Sender<Seen>,
}

impl HeadWatch {
    /// Watches the log in `dir`, and reads its head once. With `key`, a head that it did not sign is an error.
    pub async fn start(dir: &Path, key: Option<VerifierKey>) -> Self {
        let folder = LogFolder::new(dir);
        let first = read(&folder, key.as_ref()).await;
        if let Err(error) = &first {
            tracing::warn!(%error, "the log's head cannot be shown yet");
        }
        Self { folder, key, seen: watch::Sender::new(first) }
    }

    /// The head as it was last seen, from now on.
    pub fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Reads the head again and again. Never ends; drop it to stop.
    pub async fn keep_reading(self) {
        let mut ticks = interval(Duration::from_millis(HEAD_REFRESH_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let seen = read(&self.folder, self.key.as_ref()).await;
            let was_readable = self.seen.borrow().is_ok();
            match &seen {
                Err(error) if was_readable => tracing::warn!(%error, "the log's head cannot be shown"),
                Ok(head) if !was_readable => {
                    tracing::info!(size = head.checkpoint.size, "the log's head is shown");
                }
                _ => {}
            }
            self.seen.send_modify(|present| *present = seen);
        }
    }
}

async fn read(folder: &LogFolder, key: Option<&VerifierKey>) -> Seen {
    let (text, published) = folder.checkpoint().await.map_err(|error| Arc::new(error.into()))?;
    let checkpoint = open(&text, key).map_err(|error| Arc::new(error.into()))?;
    Ok(Head { checkpoint, published: published.into(), verified: key.is_some() })
}

fn open(text: &str, key: Option<&VerifierKey>) -> Result<Checkpoint, CheckpointError> {
    match key {
        Some(key) => Checkpoint::open(text, key),
        None => text.parse::<Note>()?.text().parse(),
    }
}
