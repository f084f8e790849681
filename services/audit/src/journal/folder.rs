//! The small things of a journal's folder: names, lock, identity, acknowledged position.
//!
//! ```text
//! lock                          held while a process has the journal open
//! identity                      node and epoch, written once
//! acknowledged                  how far the broker holds the journal; rewritten whole
//! 00000000000000000001.journal  a segment, named after its first record
//! spare-000001                  reserved space that becomes a segment
//! keys/                         the erasable side file
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::JournalError;

/// How long to wait for the lock: that of a process just killed may linger.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Whose journal it is, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub node: String,
    pub epoch: u64,
}

/// How far the broker holds the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Acknowledged {
    /// Last record held.
    pub seq: u64,
    /// The first opening record, if any, that had no closing record yet; else the record after `seq`.
    pub floor: u64,
}

/// A journal's folder.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is missing, and locks it for as long as the file given back lives.
    pub fn lock(dir: &Path) -> Result<(Self, File), JournalError> {
        fs::create_dir_all(dir).map_err(JournalError::io("create", dir))?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(JournalError::io("open", &path))?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok((Self(dir.to_owned()), file)),
                Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::park_timeout(Duration::from_millis(20));
                }
                Err(fs::TryLockError::WouldBlock) => return Err(JournalError::Locked { path }),
                Err(fs::TryLockError::Error(source)) => return Err(JournalError::io("lock", &path)(source)),
            }
        }
    }

    pub fn dir(&self) -> &Path {
        &self.0
    }

    pub fn subjects(&self) -> PathBuf {
        self.0.join("subjects")
    }

    pub fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    pub fn segment(&self, first_seq: u64) -> PathBuf {
        self.0.join(format!("{first_seq:020}.journal"))
    }

    pub fn spare(&self, number: u64) -> PathBuf {
        self.0.join(format!("spare-{number:06}"))
    }

    /// The first record of every segment, by their names, rising.
    pub fn segments(&self) -> Result<Vec<u64>, JournalError> {
        let mut firsts = Vec::new();
        for name in self.names()? {
            firsts.extend(name.strip_suffix(".journal").and_then(|stem| stem.parse::<u64>().ok()));
        }
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// Removes what an earlier process left half-made.
    pub fn sweep_leftovers(&self) -> Result<(), JournalError> {
        for name in self.names()? {
            if name.starts_with("spare-")
                || Path::new(&name).extension().is_some_and(|extension| extension == "tmp")
            {
                let path = self.0.join(name);
                fs::remove_file(&path).map_err(JournalError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Makes names that were created, renamed or removed durable.
    pub fn sync(&self) -> Result<(), JournalError> {
        File::open(&self.0).and_then(|dir| dir.sync_all()).map_err(JournalError::io("sync", &self.0))
    }

    pub fn identity_path(&self) -> PathBuf {
        self.0.join("identity")
    }

    /// Whose journal it is; `None` if the folder holds none yet.
    pub fn identity(&self) -> Result<Option<Identity>, JournalError> {
        let path = self.identity_path();
        let Some(text) = read_text(&path)? else {
            return Ok(None);
        };
        let identity = match text.lines().collect::<Vec<_>>()[..] {
            [IDENTITY_TITLE, node, epoch] => node
                .strip_prefix("node ")
                .zip(epoch.strip_prefix("epoch ").and_then(|epoch| epoch.parse().ok()))
                .map(|(node, epoch)| Identity { node: node.to_owned(), epoch }),
            _ => None,
        };
        let problem = "its lines must be a title, `node NAME`, `epoch NUMBER`".to_owned();
        identity.map(Some).ok_or(JournalError::File { path, problem })
    }

    pub fn write_identity(&self, identity: &Identity) -> Result<(), JournalError> {
        let text = format!("{IDENTITY_TITLE}\nnode {}\nepoch {}\n", identity.node, identity.epoch);
        self.replace(&self.identity_path(), &text)
    }

    /// How far the broker holds the journal; the beginning if that was never written.
    pub fn acknowledged(&self, epoch: u64) -> Result<Acknowledged, JournalError> {
        let path = self.0.join("acknowledged");
        let Some(text) = read_text(&path)? else {
            return Ok(Acknowledged { seq: 0, floor: 1 });
        };
        let numbers: Vec<u64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
        match numbers[..] {
            [of, seq, floor] if of == epoch && floor >= 1 && floor <= seq.saturating_add(1) => {
                Ok(Acknowledged { seq, floor })
            }
            _ => {
                let problem =
                    "it must hold the epoch, the acknowledged record and the first open one".to_owned();
                Err(JournalError::File { path, problem })
            }
        }
    }

    pub fn write_acknowledged(&self, epoch: u64, acknowledged: Acknowledged) -> Result<(), JournalError> {
        let text = format!("{epoch} {} {}\n", acknowledged.seq, acknowledged.floor);
        self.replace(&self.0.join("acknowledged"), &text)
    }

    /// Replaces a small file whole: readers and crashes see the old text or the new one.
    fn replace(&self, path: &Path, text: &str) -> Result<(), JournalError> {
        let fresh = path.with_extension("tmp");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        write().map_err(JournalError::io("write", path))?;
        self.sync()
    }

    fn names(&self) -> Result<Vec<String>, JournalError> {
        let entries = fs::read_dir(&self.0).map_err(JournalError::io("list", &self.0))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(JournalError::io("list", &self.0))
    }
}

const IDENTITY_TITLE: &str = "lienthong journal 1";

fn read_text(path: &Path) -> Result<Option<String>, JournalError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(JournalError::io("read", path)(error)),
    }
}
