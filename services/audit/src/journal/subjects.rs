//! Who the records are about, for as long as the broker's index has not heard of it.
//!
//! A record commits to its subjects and names none. The ids travel beside the batch, sealed to the index
//! ([`crate::sealed`]); until the broker's receipt they wait here, beside the journal and outside every hash.
//!
//! **Durability.** Rows reach their file before the group of their records is committed, so that a killed process loses
//! none; they are synced with the keys, within [`super::KEYS_SYNC_INTERVAL`]. A power cut may lose the last of them: the
//! broker then counts a record whose subjects it does not know from this side, and the peer's node sends its own.
//!
//! **Erasure.** A file is overwritten with zeros and removed once every record in it is receipted.
//!
//! ```text
//! subjects/<first seq>.subjects = row*
//! row = length u32 LE | crc32c u32 LE | seq u64 LE | salt [16] | (length u16 LE | id)*
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::{Zeroize as _, Zeroizing};

use crate::digest::SALT_BYTES;

/// Bytes of one file; the next row begins a new one.
pub const SUBJECT_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Bytes of rows that are kept in memory for shipping; older ones are read back from their file.
pub const SUBJECT_ROWS_BYTES_HELD_MAX: usize = 16 * 1024 * 1024;

/// Who one record is about.
#[derive(Clone, PartialEq, Eq)]
pub struct SubjectRow {
    /// Salt of the record's commitments.
    pub salt: [u8; SALT_BYTES],
    /// The ids, in the order of the commitments.
    pub ids: Vec<String>,
}

impl SubjectRow {
    /// About how many bytes it takes in memory and in a batch.
    pub fn bytes(&self) -> usize {
        ROW_OVERHEAD_BYTES + self.ids.iter().map(|id| 2 + id.len()).sum::<usize>()
    }
}

impl Drop for SubjectRow {
    fn drop(&mut self) {
        self.salt.zeroize();
        self.ids.zeroize();
    }
}

/// Shows how many there are, never which.
impl std::fmt::Debug for SubjectRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubjectRow").field("ids", &self.ids.len()).finish_non_exhaustive()
    }
}

/// The rows of one journal. Blocking.
#[derive(Debug)]
pub(super) struct SubjectRows {
    dir: PathBuf,
    /// First record of each file, rising; the last one is written to.
    files: Vec<u64>,
    active: Option<Active>,
    /// The newest rows.
    held: BTreeMap<u64, SubjectRow>,
    held_bytes: usize,
    /// Rows up to here may no longer be held, and are looked for in files.
    dropped_upto: u64,
    /// The file that was read back last.
    read_back: Option<(u64, BTreeMap<u64, SubjectRow>)>,
}

#[derive(Debug)]
struct Active {
    file: File,
    bytes: u64,
    last_seq: u64,
    synced: bool,
}

impl SubjectRows {
    /// Opens the rows in `dir`, which is made if it is missing. `last_seq` is the last record of the journal: rows behind
    /// it belong to records that a crash took, and go.
    pub fn open(dir: &Path, last_seq: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            files.extend(name.to_str().and_then(|name| name.strip_suffix(".subjects")?.parse::<u64>().ok()));
        }
        files.sort_unstable();
        let mut rows = Self {
            dir: dir.to_owned(),
            files,
            active: None,
            held: BTreeMap::new(),
            held_bytes: 0,
            dropped_upto: last_seq,
            read_back: None,
        };
        while let Some(first) = rows.files.last().copied().filter(|first| *first > last_seq) {
            erase(&rows.path(first))?;
            rows.files.pop();
        }
        Ok(rows)
    }

    /// Takes rows in, in the order of their records, and writes them. Those that cannot be written are held in memory.
    pub fn write(&mut self, rows: Vec<(u64, SubjectRow)>) -> io::Result<()> {
        let written = self.put(&rows);
        for (seq, row) in rows {
            self.held_bytes += row.bytes();
            self.held.insert(seq, row);
        }
        while self.held_bytes > SUBJECT_ROWS_BYTES_HELD_MAX
            && let Some((seq, row)) = self.held.pop_first()
        {
            self.held_bytes -= row.bytes();
            self.dropped_upto = seq;
        }
        written
    }

    /// The row of a record; `None` if it names no subjects, or a crash lost them.
    pub fn find(&mut self, seq: u64) -> io::Result<Option<SubjectRow>> {
        if let Some(row) = self.held.get(&seq) {
            return Ok(Some(row.clone()));
        }
        if seq > self.dropped_upto {
            return Ok(None);
        }
        let Some(first) = self.files.iter().rev().find(|first| **first <= seq).copied() else {
            return Ok(None);
        };
        if self.read_back.as_ref().is_none_or(|(read, _)| *read != first) {
            self.read_back = Some((first, read_rows(&self.path(first))?));
        }
        Ok(self.read_back.as_ref().and_then(|(_, rows)| rows.get(&seq).cloned()))
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> io::Result<()> {
        if let Some(active) = self.active.as_mut().filter(|active| !active.synced) {
            active.file.sync_data()?;
            active.synced = true;
        }
        Ok(())
    }

    /// The broker holds everything up to `seq`: its rows go, and every file that holds no others.
    pub fn forget(&mut self, seq: u64) -> io::Result<()> {
        while let Some((first, row)) = self.held.first_key_value().filter(|(first, _)| **first <= seq) {
            self.held_bytes -= row.bytes();
            let first = *first;
            self.held.remove(&first);
        }
        while let Some(first) = self.files.first().copied() {
            let next = self.files.get(1).copied();
            let last = match (next, &self.active) {
                (Some(next), _) => next.saturating_sub(1),
                (None, Some(active)) => active.last_seq,
                // What an earlier process wrote; its end is where rows are no longer held.
                (None, None) => self.dropped_upto,
            };
            if last > seq {
                break;
            }
            self.read_back = self.read_back.take().filter(|(read, _)| *read != first);
            if next.is_none() {
                self.active = None;
            }
            erase(&self.path(first))?;
            self.files.remove(0);
        }
        Ok(())
    }

    /// One write for all rows that go into one file.
    fn put(&mut self, rows: &[(u64, SubjectRow)]) -> io::Result<()> {
        // Whole from the beginning: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(rows.iter().map(|(_, row)| row.bytes()).sum()));
        for (seq, row) in rows {
            let written = self.active.as_ref().map_or(0, |active| active.bytes);
            if self.active.is_none() || written + bytes.len() as u64 >= SUBJECT_FILE_BYTES_MAX {
                self.put_bytes(&mut bytes)?;
                self.begin_file(*seq)?;
            }
            encode(*seq, row, &mut bytes);
            if let Some(active) = &mut self.active {
                active.last_seq = *seq;
            }
        }
        self.put_bytes(&mut bytes)
    }

    fn begin_file(&mut self, first_seq: u64) -> io::Result<()> {
        self.sync()?;
        self.active = None;
        let file = private().create(true).truncate(true).open(self.path(first_seq))?;
        File::open(&self.dir)?.sync_all()?;
        self.files.push(first_seq);
        self.active = Some(Active { file, bytes: 0, last_seq: first_seq, synced: true });
        Ok(())
    }

    fn put_bytes(&mut self, bytes: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
        if let Some(active) = self.active.as_mut().filter(|_| !bytes.is_empty()) {
            active.file.write_all(bytes)?;
            active.bytes += bytes.len() as u64;
            active.synced = false;
        }
        bytes.zeroize();
        Ok(())
    }

    fn path(&self, first_seq: u64) -> PathBuf {
        self.dir.join(format!("{first_seq:020}.subjects"))
    }
}

/// Bytes of a row without its ids.
const ROW_OVERHEAD_BYTES: usize = 4 + 4 + 8 + SALT_BYTES;

fn encode(seq: u64, row: &SubjectRow, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&row.salt);
    for id in &row.ids {
        // An id is bounded by the filter, far below u16::MAX.
        let length = u16::try_from(id.len()).unwrap_or(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&id.as_bytes()[..usize::from(length)]);
    }
    let body = &out[begin + 8..];
    let (length, crc) = (u32::try_from(body.len()).unwrap_or(0), crc32c::crc32c(body));
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Every whole row of a file; ends at the first that is torn or damaged.
fn read_rows(path: &Path) -> io::Result<BTreeMap<u64, SubjectRow>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(2 * SUBJECT_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut rows = BTreeMap::new();
    let mut rest = &bytes[..];
    while let Some((seq, row, behind)) = decode(rest) {
        rows.insert(seq, row);
        rest = behind;
    }
    bytes.zeroize();
    Ok(rows)
}

fn decode(bytes: &[u8]) -> Option<(u64, SubjectRow, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (body, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (seq, body) = body.split_first_chunk::<8>()?;
    let (salt, mut body) = body.split_first_chunk::<SALT_BYTES>()?;
    let mut ids = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<2>() {
        let (id, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        ids.push(String::from_utf8(id.to_vec()).ok()?);
        body = rest;
    }
    Some((u64::from_le_bytes(*seq), SubjectRow { salt: *salt, ids }, behind))
}

/// Overwrites a file with zeros, then removes it.
fn erase(path: &Path) -> io::Result<()> {
    let length = fs::metadata(path)?.len();
    let mut file = OpenOptions::new().write(true).open(path)?;
    io::copy(&mut io::repeat(0).take(length), &mut file)?;
    file.sync_data()?;
    fs::remove_file(path)
}

/// Names of people are for their owner's eyes only.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: u64) -> (u64, SubjectRow) {
        let ids = (0..=seq % 3).map(|n| format!("0010{seq:06}{n}")).collect();
        (seq, SubjectRow { salt: [seq.to_le_bytes()[0]; SALT_BYTES], ids })
    }

    #[test]
    fn rows_are_found_after_a_crash_and_gone_after_the_receipt() {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = SubjectRows::open(dir.path(), 0).unwrap();
        rows.write((1..=40).filter(|seq| seq % 2 == 0).map(row).collect()).unwrap();
        // Killed: nothing was synced, and records 35 and on were not committed.
        drop(rows);
        let mut rows = SubjectRows::open(dir.path(), 34).unwrap();
        assert_eq!(rows.find(34).unwrap(), Some(row(34).1));
        assert_eq!(rows.find(33).unwrap(), None);
        rows.write(vec![row(35), row(36)]).unwrap();
        assert_eq!(rows.find(36).unwrap(), Some(row(36).1));
        rows.forget(34).unwrap();
        assert_eq!(rows.find(34).unwrap(), None);
        assert_eq!(rows.find(35).unwrap(), Some(row(35).1));
        rows.forget(36).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        rows.write(vec![row(37)]).unwrap();
        assert_eq!(rows.find(37).unwrap(), Some(row(37).1));
    }

    #[test]
    fn a_long_backlog_is_read_back_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = SubjectRows::open(dir.path(), 0).unwrap();
        let long = |seq: u64| (seq, SubjectRow { salt: [1; SALT_BYTES], ids: vec!["9".repeat(250); 100] });
        for seq in 1..=1_000 {
            rows.write(vec![long(seq)]).unwrap();
        }
        assert!(rows.held_bytes <= SUBJECT_ROWS_BYTES_HELD_MAX && rows.files.len() > 5);
        for seq in [1, 2, 170, 999, 1_000] {
            assert_eq!(rows.find(seq).unwrap(), Some(long(seq).1), "{seq}");
        }
        rows.forget(500).unwrap();
        assert!(rows.files.len() < 5);
        assert_eq!(rows.find(501).unwrap(), Some(long(501).1));
    }

    #[test]
    fn a_damaged_row_ends_its_file_without_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut rows = SubjectRows::open(dir.path(), 0).unwrap();
        rows.write((1..=3).map(row).collect()).unwrap();
        let path = rows.path(1);
        let mut bytes = fs::read(&path).unwrap();
        let mut first_two = Vec::new();
        for (seq, row) in (1..=2).map(row) {
            encode(seq, &row, &mut first_two);
        }
        bytes[first_two.len() + 12] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mut rows = SubjectRows::open(dir.path(), 3).unwrap();
        assert_eq!(rows.find(2).unwrap(), Some(row(2).1));
        assert_eq!(rows.find(3).unwrap(), None);
    }
}
