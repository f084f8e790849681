//! Backup and restore of a broker's data folder (R-56): the log, the registry's state and the index with its secrets, as one
//! folder that proves itself.
//!
//! ```text
//! BACKUP/MANIFEST         what was copied: a line a file, with its SHA-256
//! BACKUP/data/…           the files, at their places
//! ```
//!
//! A broker is backed up while it is stopped, or from a snapshot of its volume: exchange goes on without it. Files of the log
//! never change, so that a backup into the folder of the one before copies only what is new.
//!
//! What is restored says so itself: a file beside the log has the broker put it on record at its next start. Whether the log may
//! still be signed on is not decided here: witnesses and nodes remember what was signed after the backup (R-48).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use lienthong_audit::log::{Log, LogError, LogReader};
use lienthong_certs::files::{self, FileError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::task::spawn_blocking;

use crate::error::BrokerError;
use crate::ledger::Ledger;
use crate::records::{Act, RECORDER, administration};
use crate::state::log_dir;

/// The largest manifest, bytes: about five million files.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The largest marker of a restore, bytes.
pub const MARKER_BYTES_MAX: u64 = 1024;

/// Bytes copied at once.
const COPY_BYTES: usize = 1024 * 1024;

const MANIFEST: &str = "MANIFEST";
const DATA: &str = "data";
const MARKER: &str = "restored";
const MAGIC: &str = "lienthong-backup/v1";

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// When it was made, RFC 3339.
    pub time: String,
    /// Entries of the log under its published checkpoint.
    pub entries: u64,
    /// Files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Files that were copied now; the others were there from a backup before.
    pub copied: u64,
    /// SHA-256 of the manifest, hexadecimal: keep it somewhere else.
    pub manifest_hash: String,
}

/// Why there is no backup, or nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder.
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of ours.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A broker runs on the folder.
    #[error(
        "a broker is running on {}: stop it for the time of the backup (exchange goes on), or back up a snapshot of its volume",
        .0.display()
    )]
    Running(PathBuf),
    /// Something that is no file of a broker's data, or not where it must be.
    #[error("{} cannot be copied or used: {what}", path.display())]
    Strange {
        /// Which.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
    /// A restore into a folder that is not empty.
    #[error("{} is there already: move it away first; nothing is ever restored over what there is", .0.display())]
    Occupied(PathBuf),
    /// The manifest is not one.
    #[error("{} is no manifest of a backup: line {line}: {what}", path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A file is not what the manifest says.
    #[error("{} was changed since the backup: its SHA-256 is not the one in the manifest; take another copy (R-56)", .0.display())]
    Changed(PathBuf),
}

type Files = BTreeMap<String, Entry>;

/// A file in the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    hash: String,
    bytes: u64,
}

/// Copies the data folder of a stopped broker into `to`, made if it is not there. Blocking.
///
/// # Errors
/// [`BackupError`]; a manifest that was there before stays good until the new one takes its place.
pub fn backup(data_dir: &Path, to: &Path, now: OffsetDateTime) -> Result<Backup, BackupError> {
    let _stopped = hold(data_dir)?;
    if std::path::absolute(to)
        .is_ok_and(|to| std::path::absolute(data_dir).is_ok_and(|data_dir| to.starts_with(data_dir)))
    {
        return Err(BackupError::Strange {
            path: to.to_owned(),
            what: "a backup lies outside of what it copies",
        });
    }
    let entries = LogReader::new(&log_dir(data_dir)).size()?;
    let before = match to.join(MANIFEST) {
        path if path.exists() => parse(&path)?.1,
        _ => Files::new(),
    };
    make_dir(to)?;
    let mut files = Files::new();
    let mut copied = 0;
    for name in list(data_dir)? {
        let (from, target) = (data_dir.join(&name), to.join(DATA).join(&name));
        let held = before.get(&name).filter(|_| is_as_long(&from, &target));
        // Hashed again: what is equally long need not be the same.
        let entry = match held {
            Some(held) if digest(&from)? == *held && digest(&target)? == *held => held.clone(),
            _ => {
                copied += 1;
                copy(&from, &target)?
            }
        };
        files.insert(name, entry);
    }
    for gone in before.keys().filter(|name| !files.contains_key(*name)) {
        remove(&to.join(DATA).join(gone))?;
    }
    let time = now.format(&Rfc3339).unwrap_or_default();
    let mut text = format!("{MAGIC}\ntime {time}\nentries {entries}\n");
    for (name, Entry { hash, bytes }) in &files {
        // Writing into memory does not fail.
        let _ = writeln!(text, "{hash} {bytes} {name}");
    }
    files::replace(&to.join(MANIFEST), text.as_bytes())?;
    let bytes = files.values().map(|entry| entry.bytes).sum();
    let manifest_hash = hex::encode(aws_lc_rs::digest::digest(&SHA256, text.as_bytes()));
    Ok(Backup { time, entries, files: files.len() as u64, bytes, copied, manifest_hash })
}

/// Copies a backup into `data_dir`, which must not be there, and hashes every file. What it made is looked at by `judge`
/// before it takes its place. Blocking.
///
/// # Errors
/// [`BackupError`], or what `judge` says; then `data_dir` is not there.
pub fn restore<E: From<BackupError>>(
    from: &Path,
    data_dir: &Path,
    judge: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Backup, E> {
    let draft = data_dir.with_extension("restoring");
    for path in [data_dir, &draft] {
        if path.exists() {
            return Err(BackupError::Occupied(path.to_owned()).into());
        }
    }
    let path = from.join(MANIFEST);
    let (mut backup, files) = parse(&path)?;
    make_dir(&draft)?;
    for (name, entry) in &files {
        let (held, target) = (from.join(DATA).join(name), draft.join(name));
        if copy(&held, &target)? != *entry {
            return Err(BackupError::Changed(held).into());
        }
        backup.copied += 1;
    }
    judge(&draft)?;
    let marker = format!("{MAGIC}\n{} {} {}\n", backup.time, backup.entries, backup.manifest_hash);
    files::replace(&draft.join(MARKER), marker.as_bytes()).map_err(BackupError::from)?;
    fs::rename(&draft, data_dir).map_err(|source| io_error(data_dir, source))?;
    sync_parent(data_dir)?;
    Ok(backup)
}

/// What a restore left in a data folder for the broker to put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    path: PathBuf,
    /// When the backup was made, and how many entries its log has, in words.
    pub words: String,
    /// SHA-256 of its manifest.
    pub manifest_hash: [u8; 32],
}

impl Restored {
    /// Looks whether the folder was restored since its broker ran last. Blocking.
    ///
    /// # Errors
    /// [`BackupError`] where the marker cannot be read.
    pub fn look(data_dir: &Path) -> Result<Option<Self>, BackupError> {
        let path = data_dir.join(MARKER);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::read(&path, MARKER_BYTES_MAX)?;
        let strange = || BackupError::Strange { path: path.clone(), what: "it is no marker of a restore" };
        let text = String::from_utf8(bytes).map_err(|_| strange())?;
        let line =
            text.strip_prefix(MAGIC).and_then(|rest| rest.trim().split_once(' ')).ok_or_else(strange)?;
        let (time, (entries, hash)) = (line.0, line.1.split_once(' ').ok_or_else(strange)?);
        let hash = hex::decode(hash).ok().and_then(|hash| hash.try_into().ok()).ok_or_else(strange)?;
        let words = format!("restored from the backup of {time}, whose log has {entries} entries");
        Ok(Some(Self { path, words, manifest_hash: hash }))
    }

    /// It is on record: forgotten here. Blocking.
    ///
    /// # Errors
    /// Of the disk.
    pub fn done(&self) -> Result<(), BackupError> {
        remove(&self.path)?;
        sync_parent(&self.path)
    }
}

/// Puts on record that the data folder was restored, if it was since its broker ran last.
///
/// # Errors
/// [`BrokerError`]; then it is told at the next start.
pub async fn put_on_record(data_dir: &Path, ledger: &Ledger) -> Result<(), BrokerError> {
    let dir = data_dir.to_owned();
    let looked = spawn_blocking(move || Restored::look(&dir)).await.map_err(|_| BrokerError::Stopped)?;
    let Some(restored) = looked? else { return Ok(()) };
    tracing::warn!(restored = restored.words, "this broker was restored");
    let act = Act {
        actor: RECORDER,
        action: "broker.restore",
        resource: "log",
        content_hash: Some(restored.manifest_hash),
        detail: &restored.words,
        ..Act::default()
    };
    ledger.record(vec![administration(act)]).await?;
    let done = spawn_blocking(move || restored.done()).await.map_err(|_| BrokerError::Stopped)?;
    Ok(done?)
}

/// Keeps brokers off the folder while it lives.
fn hold(data_dir: &Path) -> Result<File, BackupError> {
    Log::lock(&log_dir(data_dir)).map_err(|error| match error {
        LogError::Locked(_) => BackupError::Running(data_dir.to_owned()),
        other => other.into(),
    })
}

/// Names of all files below a folder, in order.
fn list(dir: &Path) -> Result<Vec<String>, BackupError> {
    let (mut names, mut folders) = (Vec::new(), vec![(dir.to_owned(), String::new())]);
    while let Some((folder, prefix)) = folders.pop() {
        for found in fs::read_dir(&folder).map_err(|source| io_error(&folder, source))? {
            let found = found.map_err(|source| io_error(&folder, source))?;
            let path = found.path();
            let strange = |what| BackupError::Strange { path: path.clone(), what };
            let name = found.file_name().into_string().map_err(|_| strange("its name is not UTF-8"))?;
            if name.contains('\n') {
                return Err(strange("its name has a line break"));
            }
            let kind = found.file_type().map_err(|source| io_error(&path, source))?;
            let name = format!("{prefix}{name}");
            if kind.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if !kind.is_file() {
                return Err(strange("it is neither a file nor a folder"));
            } else if name != MARKER {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn parse(path: &Path) -> Result<(Backup, Files), BackupError> {
    let bytes = files::read(path, MANIFEST_BYTES_MAX)?;
    let manifest_hash = hex::encode(aws_lc_rs::digest::digest(&SHA256, &bytes));
    let wrong = |line, what| BackupError::Manifest { path: path.to_owned(), line, what };
    let text = String::from_utf8(bytes).map_err(|_| wrong(1, "it is not UTF-8"))?;
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(wrong(1, "it is of another kind or version"));
    }
    let time = lines.next().and_then(|line| line.strip_prefix("time "));
    let time = time.filter(|time| OffsetDateTime::parse(time, &Rfc3339).is_ok());
    let time = time.ok_or_else(|| wrong(2, "there is no time"))?.to_owned();
    let entries = lines.next().and_then(|line| line.strip_prefix("entries ")?.parse().ok());
    let entries = entries.ok_or_else(|| wrong(3, "there is no number of entries"))?;
    let mut files = Files::new();
    for (line, text) in (4..).zip(lines) {
        let (hash, rest) = text.split_once(' ').ok_or_else(|| wrong(line, "it is cut off"))?;
        let (bytes, name) = rest.split_once(' ').ok_or_else(|| wrong(line, "it is cut off"))?;
        let bytes = bytes.parse().map_err(|_| wrong(line, "there is no length"))?;
        // A manifest may come from anywhere: nothing may be written outside the folder.
        let inside = |part| matches!(part, Component::Normal(_));
        if hash.len() != 64 || name.is_empty() || !Path::new(name).components().all(inside) {
            return Err(wrong(line, "it names no file of a data folder"));
        }
        files.insert(name.to_owned(), Entry { hash: hash.to_owned(), bytes });
    }
    let (count, bytes) =
        (files.len() as u64, files.values().fold(0, |sum: u64, one| sum.saturating_add(one.bytes)));
    Ok((Backup { time, entries, files: count, bytes, copied: 0, manifest_hash }, files))
}

fn is_as_long(one: &Path, other: &Path) -> bool {
    let length = |path: &Path| fs::metadata(path).map(|found| found.len()).ok();
    length(one).is_some() && length(one) == length(other)
}

/// Copies a file, durably, readable by its owner only.
fn copy(from: &Path, to: &Path) -> Result<Entry, BackupError> {
    if let Some(parent) = to.parent() {
        make_dir(parent)?;
    }
    let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut target = made.map_err(|source| io_error(to, source))?;
    let entry = read_through(from, |bytes| target.write_all(bytes).map_err(|source| io_error(to, source)))?;
    target.sync_all().map_err(|source| io_error(to, source))?;
    sync_parent(to)?;
    Ok(entry)
}

fn digest(path: &Path) -> Result<Entry, BackupError> {
    read_through(path, |_| Ok(()))
}

fn read_through(
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<Entry, BackupError> {
    let failed = |source| io_error(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let (mut buffer, mut hash, mut bytes) = (vec![0; COPY_BYTES], Context::new(&SHA256), 0);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(Entry { hash: hex::encode(hash.finish()), bytes });
        }
        let part = &buffer[..read];
        hash.update(part);
        bytes += read as u64;
        each(part)?;
    }
}

fn make_dir(dir: &Path) -> Result<(), BackupError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|source| io_error(dir, source))?;
    // Keys of the index lie in it.
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(|source| io_error(dir, source))?;
    sync_parent(dir)
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io_error(path, source)),
        _ => Ok(()),
    }
}

fn sync_parent(path: &Path) -> Result<(), BackupError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|source| io_error(parent, source))
}

fn io_error(path: &Path, source: io::Error) -> BackupError {
    BackupError::Io { path: path.to_owned(), source }
}
