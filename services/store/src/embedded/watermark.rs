//! The watermark: the last acknowledged revision, in a file of its own, so that a database that lost its end does not
//! pass for a whole one.
//!
//! Two slots are written in turn, each in a sector of its own: a write that is cut short leaves the other one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{io_error, sync_folder};
use crate::contract::Revision;
use crate::error::StoreError;

const MAGIC: [u8; 8] = *b"ltmark01";
const SLOT_BYTES: u64 = 4_096;
/// Magic, revision, CRC-32C of both.
const RECORD_BYTES: usize = 20;

/// The open file.
#[derive(Debug)]
pub(super) struct Watermark {
    path: PathBuf,
    file: File,
    revision: Revision,
    next_slot: u64,
}

impl Watermark {
    /// Opens the file in a store's folder, or makes it.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("watermark");
        let file = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| io_error(&path, &error))?;
        let empty = file.metadata().map_err(|error| io_error(&path, &error))?.len() == 0;
        let newest = (0..2).filter_map(|slot| Some((read(&file, slot)?, slot))).max();
        let (revision, slot) = match newest {
            Some(newest) => newest,
            None if empty => (Revision::ZERO, 1),
            None => {
                return Err(StoreError::Corrupt {
                    path: folder.display().to_string(),
                    reason: "neither mark in its watermark file can be read".to_owned(),
                });
            }
        };
        if empty {
            sync_folder(folder)?;
        }
        Ok(Self { path, file, revision, next_slot: 1 - slot })
    }

    /// The last acknowledged revision.
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Notes, durably, that all up to a revision is acknowledged.
    pub(super) fn write(&mut self, revision: Revision) -> Result<(), StoreError> {
        let at = self.next_slot * SLOT_BYTES;
        self.file
            .write_all_at(&encode(revision), at)
            .and_then(|()| self.file.sync_data())
            .map_err(|error| io_error(&self.path, &error))?;
        self.revision = revision;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }
}

fn read(file: &File, slot: u64) -> Option<Revision> {
    let mut record = [0; RECORD_BYTES];
    file.read_exact_at(&mut record, slot * SLOT_BYTES).ok()?;
    let revision = Revision(u64::from_be_bytes(*record[8..].first_chunk()?));
    (record == encode(revision)).then_some(revision)
}

fn encode(revision: Revision) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&MAGIC);
    record[8..16].copy_from_slice(&revision.0.to_be_bytes());
    let sum = crc32c::crc32c(&record[..16]);
    record[16..].copy_from_slice(&sum.to_be_bytes());
    record
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_newest_whole_mark_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("watermark");
        for revision in 1..=5 {
            Watermark::open(folder.path()).unwrap().write(Revision(revision)).unwrap();
        }
        assert_eq!(Watermark::open(folder.path()).unwrap().revision(), Revision(5));
        let whole = fs::read(&path).unwrap();

        // Revision 5 stands in the slot of the odd ones; a torn write of it leaves 4.
        let mut torn = whole.clone();
        let newest = if read(&File::open(&path).unwrap(), 0) == Some(Revision(5)) { 0 } else { 4_096 };
        torn[newest + 12] ^= 1;
        fs::write(&path, &torn).unwrap();
        assert_eq!(Watermark::open(folder.path()).unwrap().revision(), Revision(4));

        fs::write(&path, vec![0; whole.len()]).unwrap();
        let error = Watermark::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("watermark"), "{error}");
    }
}
