//! The erasable side file of a journal that is open: rows in their files, and rows on the way there.

use std::sync::Arc;

use super::error::JournalError;
use super::{Shared, lock};
use crate::keys::{Compacted, KeyRow};

/// The erasable side file of a journal; see [`crate::keys`]. Blocking: it reads and syncs files.
#[derive(Debug, Clone)]
pub struct Keys {
    pub(super) shared: Arc<Shared>,
}

impl Keys {
    /// Every row of an exchange.
    pub fn find(&self, exchange: &[u8; 16]) -> Result<Vec<KeyRow>, JournalError> {
        // The files stay locked, so that no row moves from the queue to a file between the two looks.
        let files = lock(&self.shared.keys);
        let mut rows = files.find(exchange).map_err(self.io("read"))?;
        self.shared.queue.with_keys(|waiting| {
            rows.extend(waiting.iter().filter(|row| row.exchange == *exchange).cloned());
        });
        Ok(rows)
    }

    /// Erases every row of an exchange, durably. Returns how many there were.
    pub fn erase(&self, exchange: &[u8; 16]) -> Result<u64, JournalError> {
        let mut files = lock(&self.shared.keys);
        let waiting = self.shared.queue.with_keys(|waiting| {
            let before = waiting.len();
            waiting.retain(|row| row.exchange != *exchange);
            before - waiting.len()
        });
        Ok(waiting as u64 + files.erase(exchange).map_err(self.io("erase a row of"))?)
    }

    /// Gives back the space of erased rows.
    pub fn compact(&self) -> Result<Compacted, JournalError> {
        lock(&self.shared.keys).compact().map_err(self.io("compact"))
    }

    fn io(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
        let path = self.shared.folder.keys();
        move |source| JournalError::io(action, &path)(source)
    }
}
