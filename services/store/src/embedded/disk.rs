//! Records in sled's tree. No type of sled leaves this file, except for the batch that the writer fills.

use std::fs::File;
use std::path::{Path, PathBuf};

use sled::{Batch, Db, Mode};

use super::layout::{self, CHUNK_BYTES, Content, Head, Kind, Meta};
use super::{SLED_FLUSH_EVERY_MS, io_error, sync_folder};
use crate::batch::KeyRange;
use crate::contract::{Change, Entry, Page, RANGE_BYTES_MAX, RANGE_ENTRIES_MAX, Revision, Versioned};
use crate::error::{StoreError, show};

/// The part of the store's folder that is sled's.
pub(super) const SLED_FOLDER: &str = "sled";

/// The tree, and the file that it is in.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    db: Db,
    file: File,
}

impl Disk {
    /// Opens sled's database in a store's folder, or makes it.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let path = folder.join(SLED_FOLDER);
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(cache_bytes)
            .mode(Mode::HighThroughput)
            .flush_every_ms(Some(SLED_FLUSH_EVERY_MS));
        let db = config.open().map_err(|error| sled_error(folder, &error))?;
        let path = path.join("db");
        let file =
            File::options().read(true).write(true).open(&path).map_err(|error| io_error(&path, &error))?;
        Ok(Self { folder: folder.to_owned(), db, file })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the tree holds no record.
    pub(super) fn is_empty(&self) -> bool {
        self.db.is_empty()
    }

    /// Writes the head of an empty store, and makes the names in its folders durable.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        let mut batch = Writes::default();
        batch.meta(Meta::default());
        self.write(batch)?;
        self.sync()?;
        sync_folder(&self.folder.join(SLED_FOLDER))?;
        sync_folder(&self.folder)
    }

    /// The state as a whole.
    pub(super) fn meta(&self) -> Result<Option<Meta>, StoreError> {
        let key = layout::meta_key();
        self.record(&key, Meta::decode)
    }

    /// The value of a tree key, entry or change.
    pub(super) fn value(&self, key: &[u8]) -> Result<Option<Versioned>, StoreError> {
        let Some(head) = self.head(key)? else {
            return Ok(None);
        };
        self.content(key, head).map(Some)
    }

    /// The start of the value of a tree key.
    pub(super) fn head(&self, key: &[u8]) -> Result<Option<Head>, StoreError> {
        self.record(key, Head::decode)
    }

    /// The whole value that a head stands for.
    pub(super) fn content(&self, key: &[u8], head: Head) -> Result<Versioned, StoreError> {
        let (revision, chunk_keys) = (head.revision, head.chunk_keys());
        let bytes = match head.content {
            Content::Inline(value) => return Ok(Versioned { value, revision }),
            Content::Chunked { bytes, .. } => bytes as usize,
        };
        let mut value = Vec::new();
        for chunk_key in chunk_keys {
            let chunk = self.record(&chunk_key, |body| Some(body.to_vec()))?;
            value.extend_from_slice(&chunk.ok_or_else(|| self.damaged(key, "lacks a chunk"))?);
        }
        if value.len() != bytes {
            return Err(self.damaged(key, "has chunks of a wrong length"));
        }
        Ok(Versioned { value, revision })
    }

    /// A page of entries.
    pub(super) fn page(&self, range: &KeyRange, limit: usize) -> Result<Page, StoreError> {
        let revision = self.meta()?.ok_or_else(|| self.corrupt("its head is lost"))?.revision;
        let mut page = Page { entries: Vec::new(), more: false, revision };
        if range.is_empty() {
            return Ok(page);
        }
        let to = range.to.as_ref().map_or_else(layout::data_end, |to| layout::data_key(to));
        let mut bytes = 0;
        for found in self.scan(layout::data_key(&range.from), to) {
            let (key, head) = found?;
            if page.entries.len() >= limit.clamp(1, RANGE_ENTRIES_MAX) || bytes >= RANGE_BYTES_MAX {
                page.more = true;
                break;
            }
            let entry = self.entry(&key, head)?;
            bytes += entry.key.len() + entry.value.len();
            page.entries.push(entry);
        }
        Ok(page)
    }

    /// Every entry, in the order of keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Entry, StoreError>> {
        self.scan(layout::data_key(b""), layout::data_end())
            .map(|found| found.and_then(|(key, head)| self.entry(&key, head)))
    }

    /// The changes kept, in order. Each revision since has its own.
    pub(super) fn changes(&self, meta: Meta) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        for revision in meta.kept_after.0 + 1..=meta.revision.0 {
            let key = layout::change_key(Revision(revision));
            let body = self.value(&key)?.ok_or_else(|| self.damaged(&key, "is lost"))?.value;
            let change = layout::decode_change(Revision(revision), &body);
            changes.push(change.ok_or_else(|| self.damaged(&key, "is not a change"))?);
        }
        Ok(changes)
    }

    /// Every key of the tree with its kind.
    pub(super) fn keys(&self) -> impl Iterator<Item = Result<(Vec<u8>, Kind), StoreError>> {
        self.db.iter().map(|found| {
            let (key, record) = found.map_err(|error| sled_error(&self.folder, &error))?;
            let kind = layout::kind_of(&key).ok_or_else(|| self.damaged(&key, "is of no known kind"))?;
            layout::unseal(&key, &record).map_err(|words| self.damaged(&key, &words))?;
            Ok((key.to_vec(), kind))
        })
    }

    /// Brings writes into the tree, all or none; they are durable after [`Self::sync`].
    pub(super) fn write(&self, writes: Writes) -> Result<(), StoreError> {
        self.db.apply_batch(writes.0).map_err(|error| sled_error(&self.folder, &error))
    }

    /// Makes all that was written durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| sled_error(&self.folder, &error))?;
        self.file.sync_data().map_err(|error| io_error(&self.folder.join(SLED_FOLDER).join("db"), &error))
    }

    pub(super) fn corrupt(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Corrupt { path: self.folder.display().to_string(), reason: reason.into() }
    }

    pub(super) fn damaged(&self, key: &[u8], words: &str) -> StoreError {
        self.corrupt(format!("record {} {words}", show(key)))
    }

    fn entry(&self, key: &[u8], head: Head) -> Result<Entry, StoreError> {
        let Versioned { value, revision } = self.content(key, head)?;
        let key = layout::key_of_data(key).ok_or_else(|| self.damaged(key, "is no entry"))?.to_vec();
        Ok(Entry { key, value, revision })
    }

    /// The heads from one key of the tree, inclusive, to another, exclusive.
    fn scan(&self, from: Vec<u8>, to: Vec<u8>) -> impl Iterator<Item = Result<(Vec<u8>, Head), StoreError>> {
        self.db.range(from..to).map(|found| {
            let (key, record) = found.map_err(|error| sled_error(&self.folder, &error))?;
            Ok((key.to_vec(), self.decode(&key, &record, Head::decode)?))
        })
    }

    fn record<T>(
        &self,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        match self.db.get(key).map_err(|error| sled_error(&self.folder, &error))? {
            Some(record) => self.decode(key, &record, decode).map(Some),
            None => Ok(None),
        }
    }

    fn decode<T>(
        &self,
        key: &[u8],
        record: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T, StoreError> {
        let body = layout::unseal(key, record).map_err(|words| self.damaged(key, &words))?;
        decode(body).ok_or_else(|| self.damaged(key, "cannot be read"))
    }
}

/// Records that enter the tree together.
#[derive(Default)]
pub(super) struct Writes(Batch);

impl Writes {
    pub(super) fn meta(&mut self, meta: Meta) {
        self.seal(layout::meta_key(), &meta.encode());
    }

    /// Gives a tree key a value, in chunks if it is long. What was there before is [removed](Self::remove) first.
    pub(super) fn value(&mut self, key: Vec<u8>, revision: Revision, slot: u16, value: &[u8]) {
        if value.len() <= CHUNK_BYTES as usize {
            let head = Head { revision, content: Content::Inline(value.to_vec()) };
            self.seal(key, &head.encode());
            return;
        }
        // A change holds a whole batch at most, far below the bound of u32.
        let bytes = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let head = Head { revision, content: Content::Chunked { slot, bytes } };
        for (chunk_key, chunk) in head.chunk_keys().zip(value.chunks(CHUNK_BYTES as usize)) {
            self.seal(chunk_key, chunk);
        }
        self.seal(key, &head.encode());
    }

    /// Takes the value of a tree key away.
    pub(super) fn remove(&mut self, key: Vec<u8>, head: &Head) {
        for chunk_key in head.chunk_keys() {
            self.0.remove(chunk_key);
        }
        self.0.remove(key);
    }

    fn seal(&mut self, key: Vec<u8>, body: &[u8]) {
        let record = layout::seal(&key, body);
        self.0.insert(key, record);
    }
}

fn sled_error(folder: &Path, error: &sled::Error) -> StoreError {
    let path = folder.display().to_string();
    match error {
        // sled's own lock; it knows no kind for it.
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::Locked { path }
        }
        sled::Error::Io(io) => StoreError::Io { path, reason: io.to_string() },
        other => StoreError::Corrupt { path, reason: other.to_string() },
    }
}
