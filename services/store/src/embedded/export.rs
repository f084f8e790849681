//! All entries of one revision in a file, and back.
//!
//! The file: the line [`TITLE`]; revision and number of entries, u64 each; per entry the lengths of key (u32) and value
//! (u32), its revision (u64), key, value; last the CRC-32C (u32) of all before. Numbers are big-endian.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use super::disk::{Disk, Writes};
use super::layout::{self, Meta};
use super::{io_error, sync_folder};
use crate::batch::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::contract::{Entry, Revision};
use crate::error::StoreError;

const TITLE: &[u8] = b"lienthong-store export 1\n";
/// Bytes of entries that enter the tree together when importing.
const IMPORT_BATCH_BYTES: usize = 1 << 20;

/// Writes an export: under another name first, so that a file with the name asked for is whole.
pub(super) fn export(disk: &Disk, path: &Path) -> Result<Revision, StoreError> {
    let fail = |error: io::Error| io_error(path, &error);
    let meta = disk.meta()?.ok_or_else(|| disk.corrupt("its head is lost"))?;
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let file = File::create(&partial).map_err(fail)?;
    let mut out = Summed { inner: BufWriter::new(file), sum: 0 };
    out.put(TITLE).map_err(fail)?;
    out.put(&meta.revision.0.to_be_bytes()).map_err(fail)?;
    out.put(&meta.entries.to_be_bytes()).map_err(fail)?;
    for entry in disk.entries() {
        write_entry(&mut out, &entry?).map_err(fail)?;
    }
    let sum = out.sum.to_be_bytes();
    out.put(&sum).map_err(fail)?;
    let file = out.inner.into_inner().map_err(|error| fail(error.into_error()))?;
    file.sync_all().map_err(fail)?;
    fs::rename(&partial, path).map_err(fail)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        sync_folder(folder)?;
    }
    Ok(meta.revision)
}

/// Reads a whole export and checks it.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    read(path, |_| Ok(())).map(drop)
}

/// Brings an export into an empty tree, its head last: a tree without one is not opened.
pub(super) fn import(disk: &Disk, path: &Path) -> Result<Revision, StoreError> {
    let mut meta = Meta::default();
    let mut writes = Writes::default();
    let mut bytes = 0;
    let mut slot = 0;
    let (revision, _) = read(path, |entry| {
        // Chunks are told apart by revision and slot; entries of one commit were fewer than the slots.
        slot = (slot + 1) % layout::CHANGE_SLOT;
        meta.add(&entry.key, entry.revision);
        writes.value(layout::data_key(&entry.key), entry.revision, slot, &entry.value);
        bytes += entry.key.len() + entry.value.len();
        if bytes >= IMPORT_BATCH_BYTES {
            bytes = 0;
            disk.write(std::mem::take(&mut writes))?;
        }
        Ok(())
    })?;
    disk.write(writes)?;
    disk.sync()?;
    let mut head = Writes::default();
    head.meta(Meta { revision, kept_after: revision, ..meta });
    disk.write(head)?;
    disk.sync()?;
    sync_folder(&disk.folder().join(super::disk::SLED_FOLDER))?;
    sync_folder(disk.folder())?;
    Ok(revision)
}

fn write_entry(out: &mut Summed<BufWriter<File>>, entry: &Entry) -> io::Result<()> {
    for bytes in [&entry.key, &entry.value] {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        out.put(&length.to_be_bytes())?;
    }
    out.put(&entry.revision.0.to_be_bytes())?;
    out.put(&entry.key)?;
    out.put(&entry.value)
}

/// Reads an export entry by entry; answers its revision and number of entries.
fn read(
    path: &Path,
    mut each: impl FnMut(Entry) -> Result<(), StoreError>,
) -> Result<(Revision, u64), StoreError> {
    let invalid =
        |reason: &str| StoreError::ExportInvalid { path: path.display().to_string(), reason: reason.into() };
    let fail = |error: io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => invalid("it is cut short"),
        _ => io_error(path, &error),
    };
    let file = File::open(path).map_err(fail)?;
    let mut input = Summed { inner: BufReader::new(file), sum: 0 };
    let mut title = [0; TITLE.len()];
    input.take(&mut title).map_err(|_| invalid("it is no export of a store"))?;
    if title != *TITLE {
        return Err(invalid("it is no export of a store, or of another version"));
    }
    let revision = Revision(input.u64().map_err(fail)?);
    let count = input.u64().map_err(fail)?;
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..count {
        let entry =
            read_entry(&mut input).map_err(fail)?.ok_or_else(|| invalid("an entry is out of bounds"))?;
        if last.as_ref().is_some_and(|last| *last >= entry.key) || entry.revision > revision {
            return Err(invalid("its entries are not in order"));
        }
        last = Some(entry.key.clone());
        each(entry)?;
    }
    let sum = input.sum;
    if input.u32().map_err(fail)? != sum {
        return Err(invalid("its checksum is wrong"));
    }
    if input.inner.read(&mut [0]).map_err(fail)? != 0 {
        return Err(invalid("something follows its end"));
    }
    Ok((revision, count))
}

fn read_entry(input: &mut Summed<BufReader<File>>) -> io::Result<Option<Entry>> {
    let (key_bytes, value_bytes) = (input.u32()? as usize, input.u32()? as usize);
    if key_bytes == 0 || key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
        return Ok(None);
    }
    let revision = Revision(input.u64()?);
    let (mut key, mut value) = (vec![0; key_bytes], vec![0; value_bytes]);
    input.take(&mut key)?;
    input.take(&mut value)?;
    Ok(Some(Entry { key, value, revision }))
}

/// A file with the checksum of what went through.
struct Summed<F> {
    inner: F,
    sum: u32,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Summed<R> {
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.sum = crc32c::crc32c_append(self.sum, bytes);
        Ok(())
    }

    fn u32(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.take(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn u64(&mut self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.take(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }
}
