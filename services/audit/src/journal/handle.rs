//! The way into a journal, and what it gives for a record.

use std::sync::Arc;
use std::time::Instant;

use super::Shared;
use super::account::Backlog;
use super::error::{AppendError, JournalError};
use super::frame::Tag;
use super::queue::Role;
use super::subjects::SubjectRow;
use super::watermark::Wait;
use crate::hash::{Hash, leaf_hash};
use crate::keys::KeyRow;
use crate::record::{self, Kind};

/// What was given for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Its place in the journal; the first is 1.
    pub seq: u64,
    /// Its leaf hash, by which closing records and the peer name it.
    pub leaf_hash: Hash,
}

/// The way into a journal for traffic threads.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Appends a record; never waits for the disk. If it is an opening record, the log gets its hash only and its
    /// closing record speaks for it (gate `JOURNAL`).
    pub fn append(&self, record: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.push(Tag::Record, record.as_ref(), None)
    }

    /// Appends a record that the log gets in full, whatever it is: an opening under the gates `RECEIPT` and
    /// `WITNESSED`.
    pub fn append_whole(&self, record: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        self.push(Tag::Whole, record.as_ref(), None)
    }

    /// Appends a record that was owed when an earlier one was accepted: the closing of an opening. It is taken beyond
    /// the bound of the backlog, which thus may be exceeded by one record for each exchange under way, and into the place
    /// that the opening holds for it while the disk is full.
    pub fn append_owed(&self, record: impl AsRef<[u8]>) -> Result<Ticket, AppendError> {
        let record = record.as_ref();
        self.push_as(Tag::Record, record, None, Self::role_of_owed(record))
    }

    /// Like [`Handle::append_owed`], for a record that commits to subjects: their ids are kept beside the journal until the
    /// broker has them.
    pub fn append_owed_about(
        &self,
        record: impl AsRef<[u8]>,
        about: SubjectRow,
    ) -> Result<Ticket, AppendError> {
        let record = record.as_ref();
        let leaf_hash = Self::leaf_of(record)?;
        let role = Self::role_of_owed(record);
        let seq = self.shared.queue.append_about(record, leaf_hash, about, role)?;
        Ok(Ticket { seq, leaf_hash })
    }

    /// Like [`Handle::append`] for the opening of an exchange: keeps its keys in the side file, and place for its closing.
    pub fn append_with_keys(&self, record: impl AsRef<[u8]>, keys: KeyRow) -> Result<Ticket, AppendError> {
        self.push(Tag::Record, record.as_ref(), Some(keys))
    }

    /// Like [`Handle::append_whole`] for the opening of an exchange: keeps its keys in the side file, and place for its
    /// closing.
    pub fn append_whole_with_keys(
        &self,
        record: impl AsRef<[u8]>,
        keys: KeyRow,
    ) -> Result<Ticket, AppendError> {
        self.push(Tag::Whole, record.as_ref(), Some(keys))
    }

    /// Keeps keys in the side file without a record.
    pub fn keep_keys(&self, keys: KeyRow) -> Result<(), AppendError> {
        self.shared.queue.keep(keys)
    }

    /// Resolves once the record is on disk, or to the error for which it never will be. At once if it already is.
    /// On an error the process must end.
    pub fn durable(&self, seq: u64) -> Wait {
        Wait::new(Arc::clone(&self.shared.durable), seq)
    }

    /// Says that the calling thread has nothing more to do for now, and so nothing more to append: what gathers may go to
    /// disk. For a journal that was opened with [`gathers`](super::JournalOptions::gathers); called often, it costs next to
    /// nothing.
    pub fn rest(&self) {
        self.shared.queue.rest();
    }

    /// The last record that is durable; 0: none.
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable.level()
    }

    /// What the broker has not acknowledged.
    pub fn backlog(&self) -> Backlog {
        self.shared.queue.backlog(Instant::now())
    }

    /// Why the journal stopped; `None` while it runs. On `Some` the process must end.
    pub fn failure(&self) -> Option<JournalError> {
        self.shared.durable.failure().cloned()
    }

    fn push(&self, tag: Tag, record: &[u8], keys: Option<KeyRow>) -> Result<Ticket, AppendError> {
        let role = if keys.is_some() { Role::Opening } else { Role::Alone };
        self.push_as(tag, record, keys, role)
    }

    fn push_as(
        &self,
        tag: Tag,
        record: &[u8],
        keys: Option<KeyRow>,
        role: Role,
    ) -> Result<Ticket, AppendError> {
        let leaf_hash = Self::leaf_of(record)?;
        let seq = self.shared.queue.append(tag, record, leaf_hash, keys, role)?;
        Ok(Ticket { seq, leaf_hash })
    }

    fn role_of_owed(record: &[u8]) -> Role {
        if let Kind::Closing(_) = record::kind(record) { Role::Closing } else { Role::Part }
    }

    /// Hashed here and not under the queue's lock, nor by the journal's thread: one core a traffic thread.
    fn leaf_of(record: &[u8]) -> Result<Hash, AppendError> {
        match record.len() {
            bytes if bytes > record::RECORD_BYTES_MAX => Err(AppendError::TooLarge { bytes }),
            _ => Ok(leaf_hash(record)),
        }
    }
}
