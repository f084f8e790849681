//! The erasable side file: what opens the digests and commitments of a journal's records.
//!
//! A record holds only keyed digests and salted commitments. The key and salt of each exchange are kept here,
//! beside the journal and outside every hash, so that they can be erased (design §6, Subjects) while the record
//! and every proof of it stay valid.
//!
//! **Durability.** Rows are written and synced within [`crate::journal::KEYS_SYNC_INTERVAL`], without holding
//! back a group commit. A crash may lose the last of them. That costs the verifiability of those digests from
//! this side only: the peer holds the same exchange key.
//!
//! **Erasure** overwrites the row in place with zeros and syncs. Copies that a flash disk or a backup keeps are
//! the operator's: encrypt the volume, and re-apply the list of erasures after a restore.
//!
//! ```text
//! keys/<number>.keys = row*
//! row = exchange id [16] | exchange key [32] | salt [16] | crc32c u32 LE | zero u32     (all zero: erased)
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::digest::{EXCHANGE_KEY_BYTES, ExchangeKey, SALT_BYTES};
use crate::journal::disk::{Disk, SystemDisk};

/// Bytes of one row.
pub const ROW_BYTES: usize = 72;

/// Rows of one file; the next row begins a new file. A lookup reads whole files, some 10 ms each.
pub const FILE_ROWS_MAX: u64 = 262_144;

/// What opens the digests and commitments of one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Exchange id: a UUIDv7, whose time tells which file to look in.
    pub exchange: [u8; 16],
    /// The key of its digests.
    pub key: ExchangeKey,
    /// The salt of its commitments.
    pub salt: [u8; SALT_BYTES],
}

/// The side files of one journal. Blocking; belongs on the journal's housekeeping thread.
#[derive(Debug)]
pub struct KeyFiles {
    dir: PathBuf,
    /// Oldest first; the last one is written to.
    files: Vec<KeyFile>,
    active: File,
    rows_max: u64,
    disk: Arc<dyn Disk>,
}

/// One file and the span of exchange times in it.
#[derive(Debug)]
struct KeyFile {
    number: u64,
    path: PathBuf,
    rows: u64,
    span: Option<(u64, u64)>,
}

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files removed or rewritten.
    pub files: u64,
    /// Bytes given back.
    pub bytes: u64,
}

/// Every row of an exchange in the side files of `dir`, which another process may be writing to; changes nothing.
///
/// # Errors
/// Of the disk.
pub fn find_in(dir: &Path, exchange: &[u8; 16]) -> io::Result<Vec<KeyRow>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == "keys"))
        {
            KeyFile::scan(dir, number)?.for_each(|_, bytes| {
                if bytes.starts_with(exchange) {
                    found.extend(decode(bytes));
                }
            })?;
        }
    }
    Ok(found)
}

impl KeyFiles {
    /// Opens the side files in `dir`, which is made if it is missing. A half-written last row is cut off.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::open_on(dir, FILE_ROWS_MAX, Arc::new(SystemDisk))
    }

    /// Writes rows behind those already there, and takes them off `rows`. They are durable after [`KeyFiles::sync`].
    ///
    /// # Errors
    /// Of the disk. What is still in `rows` then stands in no file: whoever tries again writes no row twice.
    pub fn append(&mut self, rows: &mut Vec<KeyRow>) -> io::Result<()> {
        while !rows.is_empty() {
            let written = self.files.last().map_or(0, |file| file.rows);
            let room = usize::try_from(self.rows_max.saturating_sub(written)).unwrap_or(usize::MAX);
            if room == 0 {
                self.active.sync_data()?;
                self.begin_file()?;
                continue;
            }
            let now = room.min(rows.len());
            let mut bytes = Zeroizing::new(Vec::with_capacity(now * ROW_BYTES));
            for row in &rows[..now] {
                bytes.extend_from_slice(&encode(row)[..]);
            }
            // Half of it may reach the disk; what is written next is written over it.
            self.active.write_all_at(&bytes, written * ROW_BYTES as u64)?;
            if let Some(file) = self.files.last_mut() {
                file.rows += now as u64;
                for row in rows.drain(..now) {
                    file.widen(&row.exchange);
                }
            }
        }
        Ok(())
    }

    /// Makes the rows written so far durable.
    pub fn sync(&self) -> io::Result<()> {
        self.active.sync_data()
    }

    /// Every row of an exchange: one an attempt and side.
    pub fn find(&self, exchange: &[u8; 16]) -> io::Result<Vec<KeyRow>> {
        let mut found = Vec::new();
        for file in self.candidates(exchange) {
            file.for_each(|_, bytes| {
                if bytes.starts_with(exchange) {
                    found.extend(decode(bytes));
                }
            })?;
        }
        Ok(found)
    }

    /// Erases every row of an exchange, durably. Returns how many there were.
    pub fn erase(&mut self, exchange: &[u8; 16]) -> io::Result<u64> {
        let mut erased = 0;
        for file in self.candidates(exchange) {
            let mut places = Vec::new();
            file.for_each(|row, bytes| {
                if bytes.starts_with(exchange) {
                    places.push(row);
                }
            })?;
            if places.is_empty() {
                continue;
            }
            let writable = OpenOptions::new().write(true).open(&file.path)?;
            for row in &places {
                writable.write_all_at(&[0; ROW_BYTES], row * ROW_BYTES as u64)?;
            }
            writable.sync_data()?;
            erased += places.len() as u64;
        }
        Ok(erased)
    }

    /// Rewrites every full file of which more than half is erased or damaged, and removes those that hold
    /// nothing any more. The file that is being written to is left alone.
    pub fn compact(&mut self) -> io::Result<Compacted> {
        let mut done = Compacted::default();
        let active = self.files.last().map(|file| file.number);
        let mut full = self.files.iter_mut().filter(|file| Some(file.number) != active);
        let compacted = full.try_for_each(|file| file.compact(&mut done));
        self.files.retain(|file| file.rows > 0 || Some(file.number) == active);
        compacted?;
        self.disk.sync_folder(&self.dir)?;
        Ok(done)
    }

    /// The same with so many rows a file, on a disk that may have a will of its own.
    pub(crate) fn open_on(dir: &Path, rows_max: u64, disk: Arc<dyn Disk>) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                // A compaction that did not end; its source is still there.
                Some("tmp") => fs::remove_file(&path)?,
                Some("keys") => numbers.extend(
                    path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok()),
                ),
                _ => {}
            }
        }
        numbers.sort_unstable();
        let files =
            numbers.iter().map(|number| KeyFile::scan(dir, *number)).collect::<io::Result<Vec<_>>>()?;
        let Some(last) = files.last() else {
            let active = private().create_new(true).open(path_of(dir, 1))?;
            disk.sync_folder(dir)?;
            let first = KeyFile { number: 1, path: path_of(dir, 1), rows: 0, span: None };
            return Ok(Self { dir: dir.to_owned(), files: vec![first], active, rows_max, disk });
        };
        let active = private().open(&last.path)?;
        active.set_len(last.rows * ROW_BYTES as u64)?;
        Ok(Self { dir: dir.to_owned(), files, active, rows_max, disk })
    }

    fn begin_file(&mut self) -> io::Result<()> {
        let number = self.files.last().map_or(0, |file| file.number) + 1;
        let path = path_of(&self.dir, number);
        // An earlier attempt may have left it behind, empty: nothing is written before its name is durable.
        let fresh = private().create(true).truncate(true).open(&path)?;
        self.disk.sync_folder(&self.dir)?;
        self.active = fresh;
        self.files.push(KeyFile { number, path, rows: 0, span: None });
        Ok(())
    }

    fn candidates(&self, exchange: &[u8; 16]) -> impl Iterator<Item = &KeyFile> {
        let time = time_of(exchange);
        self.files
            .iter()
            .rev()
            .filter(move |file| file.span.is_some_and(|(from, to)| from <= time && time <= to))
    }
}

impl KeyFile {
    fn scan(dir: &Path, number: u64) -> io::Result<Self> {
        let path = path_of(dir, number);
        let rows = fs::metadata(&path)?.len() / ROW_BYTES as u64;
        let mut file = Self { number, path, rows, span: None };
        let mut span = Self { number, path: PathBuf::new(), rows: 0, span: None };
        let mut damaged = 0_u64;
        file.for_each(|_, bytes| match decode(bytes) {
            Some(row) => span.widen(&row.exchange),
            None => damaged += u64::from(bytes != [0; ROW_BYTES]),
        })?;
        if damaged > 0 {
            tracing::warn!(path = %file.path.display(), damaged, "damaged rows in a key file; their digests cannot be opened from this side");
        }
        file.span = span.span;
        Ok(file)
    }

    fn widen(&mut self, exchange: &[u8; 16]) {
        let time = time_of(exchange);
        self.span = Some(self.span.map_or((time, time), |(from, to)| (from.min(time), to.max(time))));
    }

    /// Writes the file anew where more than half of it is erased or damaged; removes it where nothing is left.
    fn compact(&mut self, done: &mut Compacted) -> io::Result<()> {
        let mut live = Zeroizing::new(Vec::new());
        self.for_each(|_, bytes| {
            if decode(bytes).is_some() {
                live.extend_from_slice(bytes);
            }
        })?;
        let rows = (live.len() / ROW_BYTES) as u64;
        if rows * 2 > self.rows {
            return Ok(());
        }
        if rows == 0 {
            fs::remove_file(&self.path)?;
        } else {
            let fresh = self.path.with_extension("tmp");
            let mut writer = private().create(true).truncate(true).open(&fresh)?;
            writer.write_all(&live)?;
            writer.sync_all()?;
            fs::rename(&fresh, &self.path)?;
        }
        // Not before: a row beyond the count would neither be found nor erased any more.
        done.files += 1;
        done.bytes += (self.rows - rows) * ROW_BYTES as u64;
        self.rows = rows;
        Ok(())
    }

    /// Gives every row with its number, erased ones too.
    fn for_each(&self, mut visit: impl FnMut(u64, &[u8])) -> io::Result<()> {
        let mut reader = File::open(&self.path)?;
        let mut chunk = Zeroizing::new(vec![0; ROW_BYTES * 1024]);
        let mut row = 0;
        while row < self.rows {
            let rows = (self.rows - row).min(1024);
            let bytes = &mut chunk[..usize::try_from(rows).unwrap_or(1024) * ROW_BYTES];
            reader.read_exact(bytes)?;
            for bytes in bytes.chunks_exact(ROW_BYTES) {
                visit(row, bytes);
                row += 1;
            }
        }
        Ok(())
    }
}

/// The millisecond of a UUIDv7 (RFC 9562 §5.7).
fn time_of(exchange: &[u8; 16]) -> u64 {
    exchange[..6].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
}

fn encode(row: &KeyRow) -> Zeroizing<[u8; ROW_BYTES]> {
    let mut bytes = Zeroizing::new([0; ROW_BYTES]);
    bytes[..16].copy_from_slice(&row.exchange);
    bytes[16..48].copy_from_slice(row.key.as_bytes());
    bytes[48..64].copy_from_slice(&row.salt);
    let crc = crc32c::crc32c(&bytes[..64]);
    bytes[64..68].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Reads a row; `None` if it is erased or damaged.
fn decode(bytes: &[u8]) -> Option<KeyRow> {
    let (row, rest) = bytes.split_at_checked(64)?;
    let crc = crc32c::crc32c(row).to_le_bytes();
    if rest != [crc[0], crc[1], crc[2], crc[3], 0, 0, 0, 0] {
        return None;
    }
    Some(KeyRow {
        exchange: row.get(..16)?.try_into().ok()?,
        key: ExchangeKey::from_slice(row.get(16..16 + EXCHANGE_KEY_BYTES)?)?,
        salt: row.get(48..)?.try_into().ok()?,
    })
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.keys"))
}

/// Keys are for their owner's eyes only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: u8) -> KeyRow {
        let mut exchange = [0; 16];
        exchange[4] = n;
        exchange[15] = n;
        KeyRow { exchange, key: ExchangeKey::from_bytes([n; 32]), salt: [n; 16] }
    }

    /// Ten rows a file.
    fn open(dir: &Path) -> io::Result<KeyFiles> {
        KeyFiles::open_on(dir, 10, Arc::new(SystemDisk))
    }

    fn rows(range: std::ops::Range<u8>) -> Vec<KeyRow> {
        range.map(row).collect()
    }

    #[test]
    fn rows_are_found_after_reopening_and_across_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = open(dir.path()).unwrap();
        keys.append(&mut rows(1..35)).unwrap();
        keys.append(&mut rows(3..4)).unwrap();
        keys.sync().unwrap();
        assert_eq!(find_in(dir.path(), &row(3).exchange).unwrap(), vec![row(3), row(3)]);
        for keys in [keys, open(dir.path()).unwrap()] {
            assert_eq!(keys.files.len(), 4);
            assert_eq!(keys.find(&row(3).exchange).unwrap(), vec![row(3), row(3)]);
            for n in 4..35 {
                assert_eq!(keys.find(&row(n).exchange).unwrap(), vec![row(n)], "{n}");
            }
            assert_eq!(keys.find(&row(200).exchange).unwrap(), vec![]);
        }
    }

    #[test]
    fn erased_keys_are_nowhere_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = open(dir.path()).unwrap();
        keys.append(&mut rows(101..125)).unwrap();
        assert_eq!(keys.erase(&row(113).exchange).unwrap(), 1);
        assert_eq!(keys.erase(&row(113).exchange).unwrap(), 0);
        assert_eq!(keys.find(&row(113).exchange).unwrap(), vec![]);
        assert_eq!(keys.find(&row(112).exchange).unwrap(), vec![row(112)]);
        for file in fs::read_dir(dir.path()).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(8).any(|window| window == [113; 8]));
        }
    }

    #[test]
    fn compaction_keeps_what_is_not_erased() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = open(dir.path()).unwrap();
        keys.append(&mut rows(1..36)).unwrap();
        assert_eq!(keys.compact().unwrap(), Compacted::default());
        for n in (1..=10).chain(11..=17) {
            keys.erase(&row(n).exchange).unwrap();
        }
        assert_eq!(keys.compact().unwrap(), Compacted { files: 2, bytes: 17 * 72 });
        for keys in [keys, open(dir.path()).unwrap()] {
            assert_eq!(keys.files.len(), 3);
            for n in 18..36 {
                assert_eq!(keys.find(&row(n).exchange).unwrap(), vec![row(n)], "{n}");
            }
        }
    }

    #[test]
    fn a_compaction_that_fails_hides_no_row() {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = open(dir.path()).unwrap();
        keys.append(&mut rows(1..22)).unwrap();
        for n in (1..=10).chain(11..=16) {
            keys.erase(&row(n).exchange).unwrap();
        }
        // The first file goes; the second one cannot be written anew.
        let obstacle = path_of(dir.path(), 2).with_extension("tmp");
        fs::create_dir(&obstacle).unwrap();
        keys.compact().unwrap_err();
        assert_eq!(keys.erase(&row(5).exchange).unwrap(), 0);
        assert_eq!(keys.erase(&row(20).exchange).unwrap(), 1);
        assert_eq!(keys.find(&row(19).exchange).unwrap(), vec![row(19)]);
        fs::remove_dir(&obstacle).unwrap();
        assert_eq!(keys.compact().unwrap(), Compacted { files: 1, bytes: 7 * 72 });
        assert_eq!(keys.find(&row(19).exchange).unwrap(), vec![row(19)]);
    }

    #[test]
    fn a_torn_or_damaged_row_loses_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        KeyFiles::open(dir.path()).unwrap().append(&mut rows(1..4)).unwrap();
        let path = path_of(dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[ROW_BYTES + 20] ^= 1;
        bytes.truncate(3 * ROW_BYTES - 1);
        fs::write(&path, bytes).unwrap();
        let mut keys = KeyFiles::open(dir.path()).unwrap();
        keys.append(&mut rows(4..5)).unwrap();
        let found = [1, 2, 3, 4].map(|n| keys.find(&row(n).exchange).unwrap().len());
        assert_eq!(found, [1, 0, 0, 1]);
    }
}
