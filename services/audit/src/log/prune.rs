//! Bodies of entries whose retention is over (R-50; C2SP tlog-tiles, *Pruning*).
//!
//! Below the log's *minimum index* entry bundles are gone; every hash tile stays, and with it every proof. The log itself says
//! so before it happens: a record of the broker's own, [`LogPruned`], which the file `pruned` only points at. A bundle that is
//! missing without such a record is missing.
//!
//! ```text
//! pruned = "lienthong-pruned/v1\n" "minimum " index "\n" "record " index "\n"
//! ```

use std::fs;
use std::io;
use std::path::Path;

use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{LogPruned, Record};

use super::disk::Disk;
use super::error::{LogError, Trying as _};
use super::home::Home;
use super::reader::LogReader;
use super::recover::read_bounded;
use crate::record;
use crate::tile::{TILE_WIDTH, TileId, TileKind};

/// Who makes the records by which bodies may go: the broker (`Record.recorder`).
pub const PRUNING_RECORDER: &str = "broker";

/// The largest file `pruned`, bytes.
pub const PRUNED_BYTES_MAX: u64 = 256;

/// Bodies before `minimum` are gone, as the entry `record` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The minimum index: a multiple of 256.
    pub minimum: u64,
    /// The entry that says so.
    pub record: u64,
}

impl Pruned {
    /// What the entry `record`, with this body, allows to remove.
    ///
    /// # Errors
    /// In words: why it allows nothing.
    pub fn said_by(record: u64, entry: &[u8]) -> Result<Self, &'static str> {
        let Ok(Record { recorder, body: Some(Body::LogPruned(LogPruned { minimum_index, .. })), .. }) =
            record::decode(entry)
        else {
            return Err("it is no record of pruning");
        };
        if recorder != PRUNING_RECORDER {
            return Err("another than the broker recorded it");
        }
        if minimum_index % u64::from(TILE_WIDTH) != 0 || minimum_index > record {
            return Err("its minimum index is not the beginning of a bundle before it");
        }
        Ok(Self { minimum: minimum_index, record })
    }

    fn encode(&self) -> Vec<u8> {
        format!("{MAGIC}minimum {}\nrecord {}\n", self.minimum, self.record).into_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let lines = std::str::from_utf8(bytes).ok()?.strip_prefix(MAGIC)?;
        let (minimum, rest) = lines.strip_prefix("minimum ")?.split_once('\n')?;
        let record = rest.strip_prefix("record ")?.strip_suffix('\n')?;
        let pruned = Self { minimum: minimum.parse().ok()?, record: record.parse().ok()? };
        (pruned.encode() == bytes).then_some(pruned)
    }
}

impl LogReader {
    /// What was pruned; `None` where every body is there.
    ///
    /// # Errors
    /// [`LogError`] where the file `pruned` cannot be read.
    pub fn pruned(&self) -> Result<Option<Pruned>, LogError> {
        let path = self.home().pruned();
        let bytes = match read_bounded(&path, PRUNED_BYTES_MAX) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let what = "it does not say what was pruned".to_owned();
        Pruned::parse(&bytes).map(Some).ok_or(LogError::Corrupt { path, offset: 0, what })
    }

    /// The index below which bodies are gone; 0: all are there.
    ///
    /// # Errors
    /// As [`LogReader::pruned`].
    pub fn minimum(&self) -> Result<u64, LogError> {
        Ok(self.pruned()?.map_or(0, |pruned| pruned.minimum))
    }
}

/// Removes bodies. Belongs to the process that writes the log, and works beside its threads. Blocking.
#[derive(Clone, Debug)]
pub struct Pruner {
    home: Home,
    disk: Disk,
}

impl Pruner {
    /// Of the log in this folder.
    pub fn new(dir: &Path) -> Self {
        Self { home: Home::new(dir), disk: Disk::default() }
    }

    /// From now on the minimum index is what the published entry `record` says. Nothing is removed yet.
    ///
    /// # Errors
    /// [`LogError`], also where the entry does not say so, or the minimum index would fall.
    pub fn announce(&self, record: u64) -> Result<Pruned, LogError> {
        let reader = LogReader::new(self.home.dir());
        let entry = reader.entries(record..record + 1)?.pop().unwrap_or_default();
        let unannounced = |what| LogError::Unannounced { record, what };
        let pruned = Pruned::said_by(record, &entry).map_err(unannounced)?;
        if pruned.minimum < reader.minimum()? {
            return Err(unannounced("more is gone already"));
        }
        self.disk.replace(&self.home.prune_temp(), &self.home.pruned(), &pruned.encode())?;
        self.disk.sync_dir(self.home.dir())?;
        Ok(pruned)
    }

    /// Removes every bundle below the minimum index that is still there; says how many. Interrupted, it goes on when it is
    /// asked again.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn sweep(&self) -> Result<u64, LogError> {
        let minimum = LogReader::new(self.home.dir()).minimum()?;
        let bundles = minimum / u64::from(TILE_WIDTH);
        if bundles == 0 {
            return Ok(0);
        }
        let root = TileId::full(TileKind::Entries, 0);
        let Some(dir) = self.home.tile(root).parent().map(Path::to_path_buf) else { return Ok(0) };
        self.sweep_dir(&dir, 0, bundles)
    }

    /// Sweeps a folder whose names begin with the digits of `prefix`.
    fn sweep_dir(&self, dir: &Path, prefix: u64, bundles: u64) -> Result<u64, LogError> {
        let names = fs::read_dir(dir)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>());
        let names = match names {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            names => names.trying("list", dir)?,
        };
        let mut removed = 0;
        for name in names.iter().filter_map(|name| name.to_str()) {
            let path = dir.join(name);
            let below = |digits: &str| prefix.checked_mul(1000)?.checked_add(digits.parse().ok()?);
            if let Some(group) = name.strip_prefix('x').and_then(below) {
                if group.saturating_mul(1000) < bundles {
                    removed += self.sweep_dir(&path, group, bundles)?;
                    // One that still holds something stays.
                    let _ = fs::remove_dir(&path);
                }
            } else if let Some(partials) = name.strip_suffix(".p").and_then(below) {
                if partials < bundles {
                    self.disk.remove_dir(&path)?;
                }
            } else if below(name).is_some_and(|bundle| bundle < bundles) {
                self.disk.remove(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

const MAGIC: &str = "lienthong-pruned/v1\n";

#[cfg(test)]
mod tests;
