//! Is all there that should be, and nothing else?

use super::disk::Disk;
use super::layout::{Kind, Meta};
use crate::contract::Revision;
use crate::error::StoreError;

/// What a store holds, every record of it read and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// The store's revision.
    pub revision: Revision,
    /// Number of entries.
    pub entries: u64,
    /// Number of changes that can still be watched.
    pub changes: u64,
}

/// Reads every record: checksums, chunks, the number and sum of all entries, an unbroken row of changes, and no
/// record that belongs to none of them.
pub(super) fn verify(disk: &Disk) -> Result<Verified, StoreError> {
    let meta = disk.meta()?.ok_or_else(|| disk.corrupt("its head is lost"))?;
    let mut chunks = 0;
    let mut found = Meta { revision: meta.revision, kept_after: meta.kept_after, ..Meta::default() };
    let mut changes = 0;
    for record in disk.keys() {
        let (key, kind) = record?;
        match kind {
            Kind::Meta => {}
            Kind::Chunk => chunks += 1,
            Kind::Data | Kind::Change => {
                let head = disk.head(&key)?.ok_or_else(|| disk.damaged(&key, "vanished"))?;
                chunks -= i64::try_from(head.chunk_keys().count()).unwrap_or(i64::MAX);
                let revision = disk.content(&key, head)?.revision;
                if kind == Kind::Change {
                    changes += 1;
                } else {
                    found.add(&key[1..], revision);
                }
            }
        }
    }
    if found != meta {
        return Err(disk.corrupt(format!(
            "it holds {} entries that are not the {} of revision {}",
            found.entries, meta.entries, meta.revision
        )));
    }
    if chunks != 0 {
        return Err(disk.corrupt(format!("it holds {chunks} chunks that belong to no value")));
    }
    let row = disk.changes(meta)?;
    if row.len() as u64 != changes {
        return Err(disk.corrupt("it holds changes that are older than those it keeps"));
    }
    Ok(Verified { revision: meta.revision, entries: meta.entries, changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::disk::Writes;
    use crate::embedded::layout::data_key;

    #[test]
    fn chunks_that_belong_to_no_value_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        let put = |revision: u64, bytes: usize| {
            let mut writes = Writes::default();
            let mut meta =
                Meta { revision: Revision(revision), kept_after: Revision(revision), ..Meta::default() };
            meta.add(b"k", meta.revision);
            writes.value(data_key(b"k"), meta.revision, 0, &vec![1; bytes]);
            writes.meta(meta);
            disk.write(writes).unwrap();
        };
        put(1, 10_000);
        assert_eq!(verify(&disk).unwrap().entries, 1);
        // Overwritten without taking the old value away.
        put(2, 10);
        let error = verify(&disk).unwrap_err();
        assert!(error.to_string().contains("3 chunks that belong to no value"), "{error}");
    }
}
