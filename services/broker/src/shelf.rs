//! The shelf: what the broker keeps in the `Store`, in its own words.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use lienthong_catalog::SourceFile;
use lienthong_store::batch::BATCH_OPERATIONS_MAX;
use lienthong_store::contract::RANGE_ENTRIES_MAX;
use lienthong_store::{Batch, Entry, KeyRange, SledOptions, SledStore, Store};
use prost::Message;

use crate::bundle::sha256;
use crate::chancery::InForce;
use crate::enrollment::Enrolling;
use crate::error::BrokerError;
use crate::limits::{CONTRACT_PART_BYTES, CONTRACT_VERSIONS_MAX};
use crate::positions::{Changes, Journal};
use crate::stored::{
    StoredAct, StoredActivated, StoredChange, StoredContract, StoredEnrollment, StoredEpoch, StoredFolder,
    StoredInForce, StoredMark, StoredReceipt, key, part_count, read,
};

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Shelf(Arc<dyn Store>);

/// A contract as it lies on the shelf.
#[derive(Clone, Debug, PartialEq)]
pub struct Shelved {
    /// Which version, since when, by whom.
    pub about: StoredContract,
    /// The descriptor set, byte for byte.
    pub descriptor_set: Bytes,
}

/// What is put on the shelf together with the epoch that it leads to.
#[derive(Clone, Copy, Debug)]
pub enum Shelving<'a> {
    /// A provider's contract.
    Contract(&'a str, &'a Shelved),
    /// An enrollment, by its resource name.
    Enrollment(&'a str, &'a StoredEnrollment),
    /// A change of the catalog that comes into force.
    Catalog(&'a ShelvedChange),
    /// Acts of the duty to share, by resource name.
    Acts(&'a [(String, StoredAct)]),
}

/// A change of the catalog that comes into force, as it is put on the shelf.
#[derive(Clone, Debug)]
pub struct ShelvedChange {
    /// The change.
    pub change: StoredChange,
    /// Its files, where they are not on the shelf yet.
    files: Option<Vec<u8>>,
    activated: Vec<u8>,
}

impl ShelvedChange {
    /// A change that puts this folder into force; `with_files` where its files are not on the shelf yet.
    pub fn new(change: StoredChange, in_force: &InForce, with_files: bool) -> ShelvedChange {
        let activated = in_force.activated.to_stored().encode_to_vec();
        ShelvedChange {
            change: StoredChange { activated_parts: part_count(activated.len()), ..change },
            files: with_files.then(|| StoredFolder::of(&in_force.files).encode_to_vec()),
            activated,
        }
    }
}

impl Shelf {
    /// Opens the store in `dir`, or makes it.
    ///
    /// # Errors
    /// [`BrokerError::Store`] if it is damaged or in use.
    pub async fn open(dir: &Path) -> Result<Shelf, BrokerError> {
        Ok(Shelf::over(SledStore::open(dir, SledOptions::default()).await?))
    }

    /// A shelf over any store.
    pub fn over(store: impl Store + 'static) -> Shelf {
        Shelf(Arc::new(store))
    }

    /// The store itself, for rooms that keep their own keys.
    pub(crate) fn store(&self) -> &dyn Store {
        &*self.0
    }

    /// The newest epoch.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn epoch(&self) -> Result<Option<StoredEpoch>, BrokerError> {
        self.get(key::EPOCH).await
    }

    /// Stores the newest epoch, together with what led to it.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn put_epoch(&self, epoch: &StoredEpoch, shelving: &[Shelving<'_>]) -> Result<(), BrokerError> {
        let mut batch = Batch::new().put(key::EPOCH, epoch.encode_to_vec());
        for one in shelving {
            batch = self.put_before(batch, *one).await?;
        }
        self.0.commit(batch).await?;
        for one in shelving {
            match one {
                Shelving::Catalog(shelved) => self.forget_activated(shelved.change.number).await?,
                Shelving::Contract(provider, Shelved { about, .. }) => {
                    self.forget(provider, about.version.saturating_sub(CONTRACT_VERSIONS_MAX)).await?;
                }
                Shelving::Enrollment(..) | Shelving::Acts(_) => {}
            }
        }
        Ok(())
    }

    /// Puts the large parts of one thing on the shelf, and what names them into the batch: parts alone say nothing; they
    /// are there once the last batch names them.
    async fn put_before(&self, batch: Batch, shelving: Shelving<'_>) -> Result<Batch, BrokerError> {
        Ok(match shelving {
            Shelving::Enrollment(name, enrollment) => batch.put(name, enrollment.encode_to_vec()),
            Shelving::Contract(provider, Shelved { about, descriptor_set }) => {
                for (part, bytes) in (0..).zip(descriptor_set.chunks(CONTRACT_PART_BYTES)) {
                    let key = key::contract_part(provider, about.version, part);
                    self.0.commit(Batch::new().put(key, bytes)).await?;
                }
                batch.put(key::contract(provider, about.version), about.encode_to_vec())
            }
            Shelving::Acts(acts) => {
                acts.iter().fold(batch, |batch, (name, act)| batch.put(name.as_str(), act.encode_to_vec()))
            }
            Shelving::Catalog(ShelvedChange { change, files, activated }) => {
                if let Some(files) = files {
                    self.put_parts(key::CHANGE_FILES, change.number, files).await?;
                }
                self.put_parts(key::ACTIVATED, change.number, activated).await?;
                batch
                    .put(key::change(change.number), change.encode_to_vec())
                    .put(key::IN_FORCE, StoredInForce { number: change.number }.encode_to_vec())
            }
        })
    }

    /// Every enrollment.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn enrollments(&self) -> Result<Vec<Enrolling>, BrokerError> {
        let read_one = |entry: &Entry| {
            Enrolling::read(read(&entry.key, &entry.value)?)
                .ok_or_else(|| damaged(&entry.key, "this enrollment is not whole"))
        };
        self.all(KeyRange::prefix(key::ENROLLMENTS)).await?.iter().map(read_one).collect()
    }

    /// Stores one enrollment that changes no right, and forgets others.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn put_enrollment(&self, one: &Enrolling, forget: &[String]) -> Result<(), BrokerError> {
        let batch = Batch::new().put(one.name(), one.to_stored().encode_to_vec());
        let batch = forget.iter().fold(batch, |batch, name| batch.delete(name.as_str()));
        self.0.commit(batch).await?;
        Ok(())
    }

    /// What is on record of each node's receipts.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn receipts(&self) -> Result<BTreeMap<String, StoredReceipt>, BrokerError> {
        let read_one = |entry: &Entry| {
            let node = String::from_utf8_lossy(&entry.key[key::RECEIPTS.len()..]).into_owned();
            Ok((node, read(&entry.key, &entry.value)?))
        };
        self.all(KeyRange::prefix(key::RECEIPTS)).await?.iter().map(read_one).collect()
    }

    /// Notes what is on record of a node's receipts.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn put_receipt(&self, node: &str, on_record: &StoredReceipt) -> Result<(), BrokerError> {
        self.0.commit(Batch::new().put(key::receipt(node), on_record.encode_to_vec())).await?;
        Ok(())
    }

    /// The newest contract of every provider.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn contracts(&self) -> Result<BTreeMap<String, Shelved>, BrokerError> {
        let mut newest: BTreeMap<String, StoredContract> = BTreeMap::new();
        for entry in self.all(KeyRange::prefix(key::CONTRACTS)).await? {
            if let Some(provider) = key::provider(&entry.key) {
                // In the order of the keys, the newest comes last.
                newest.insert(provider.to_owned(), read(&entry.key, &entry.value)?);
            }
        }
        let mut contracts = BTreeMap::new();
        for (provider, about) in newest {
            let descriptor_set = self.descriptor_set(&provider, &about).await?;
            contracts.insert(provider, Shelved { about, descriptor_set });
        }
        Ok(contracts)
    }

    /// The versions of a provider's contract that are kept, the newest first.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn versions(&self, provider: &str) -> Result<Vec<StoredContract>, BrokerError> {
        let range = KeyRange::between(key::contract(provider, 0), key::contract(provider, u64::MAX));
        let entries = self.all(range).await?;
        entries.iter().rev().map(|entry| read(&entry.key, &entry.value)).collect()
    }

    /// One of those versions.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn contract(&self, provider: &str, about: StoredContract) -> Result<Shelved, BrokerError> {
        let descriptor_set = self.descriptor_set(provider, &about).await?;
        Ok(Shelved { about, descriptor_set })
    }

    /// Every change of the catalog that is kept, the oldest first.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn changes(&self) -> Result<Vec<StoredChange>, BrokerError> {
        let entries = self.all(KeyRange::prefix(key::CHANGES)).await?;
        entries.iter().map(|entry| read(&entry.key, &entry.value)).collect()
    }

    /// The number of the change that is in force; none before the first.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn catalog_in_force(&self) -> Result<Option<u64>, BrokerError> {
        let found: Option<StoredInForce> = self.get(key::IN_FORCE).await?;
        Ok(found.map(|found| found.number))
    }

    /// Stores a change that changes no right; with its files where they are new.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn put_change(
        &self,
        change: &StoredChange,
        files: Option<&[SourceFile]>,
    ) -> Result<(), BrokerError> {
        if let Some(files) = files {
            let bytes = StoredFolder::of(files).encode_to_vec();
            self.put_parts(key::CHANGE_FILES, change.number, &bytes).await?;
        }
        self.0.commit(Batch::new().put(key::change(change.number), change.encode_to_vec())).await?;
        Ok(())
    }

    /// The files of a change.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn folder(&self, change: &StoredChange) -> Result<Vec<SourceFile>, BrokerError> {
        let bytes = self.parts(key::CHANGE_FILES, change.number, change.parts).await?;
        let folder: StoredFolder = read(&key::change(change.number), &bytes)?;
        Ok(folder.into_files())
    }

    /// By whose signatures the entries of the catalog in force are in force.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn activated(&self, number: u64) -> Result<StoredActivated, BrokerError> {
        let change: StoredChange = self.get(&key::change(number)).await?.unwrap_or_default();
        let bytes = self.parts(key::ACTIVATED, number, change.activated_parts).await?;
        read(&key::change(number), &bytes)
    }

    /// Takes a change off the shelf.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn forget_change(&self, change: &StoredChange) -> Result<(), BrokerError> {
        self.0.commit(Batch::new().delete(key::change(change.number))).await?;
        for part in 0..change.parts {
            self.0
                .commit(Batch::new().delete(key::change_part(key::CHANGE_FILES, change.number, part)))
                .await?;
        }
        Ok(())
    }

    /// Only the catalog in force needs to know what was activated; of changes before it, also of one that a crash has left.
    async fn forget_activated(&self, in_force: u64) -> Result<(), BrokerError> {
        let before =
            KeyRange::between(key::ACTIVATED.to_vec(), key::change_part(key::ACTIVATED, in_force, 0));
        for entry in self.all(before).await? {
            self.0.commit(Batch::new().delete(entry.key)).await?;
        }
        Ok(())
    }

    async fn put_parts(&self, prefix: &[u8], number: u64, bytes: &[u8]) -> Result<(), BrokerError> {
        for (part, bytes) in (0..).zip(bytes.chunks(CONTRACT_PART_BYTES)) {
            self.0.commit(Batch::new().put(key::change_part(prefix, number, part), bytes)).await?;
        }
        Ok(())
    }

    async fn parts(&self, prefix: &[u8], number: u64, parts: u32) -> Result<Vec<u8>, BrokerError> {
        let mut bytes = Vec::new();
        for part in 0..parts {
            let key = key::change_part(prefix, number, part);
            let found = self.0.get(&key).await?;
            let part = found.ok_or_else(|| damaged(&key, "this part of a catalog change is missing"))?;
            bytes.extend_from_slice(&part.value);
        }
        Ok(bytes)
    }

    /// Every act of the duty to share.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn acts(&self) -> Result<Vec<(String, StoredAct)>, BrokerError> {
        let mut acts = Vec::new();
        for prefix in key::ACTS {
            for entry in self.all(KeyRange::prefix(prefix)).await? {
                let name = String::from_utf8_lossy(&entry.key).into_owned();
                acts.push((name, read(&entry.key, &entry.value)?));
            }
        }
        Ok(acts)
    }

    /// Stores acts that change no right, all or none.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn put_acts(&self, acts: &[(String, StoredAct)]) -> Result<(), BrokerError> {
        let put =
            |batch: Batch, (name, act): &(String, StoredAct)| batch.put(name.as_str(), act.encode_to_vec());
        self.0.commit(acts.iter().fold(Batch::new(), put)).await?;
        Ok(())
    }

    /// The journals as they were saved, and how much of the log they reflect. Where some are missing, nothing is said to be
    /// reflected, so that the whole log is read again.
    ///
    /// # Errors
    /// [`BrokerError::Store`], [`BrokerError::Stored`].
    pub async fn journals(&self) -> Result<(BTreeMap<String, Journal>, StoredMark), BrokerError> {
        let mark: StoredMark = self.get(key::MARK).await?.unwrap_or_default();
        let mut journals = BTreeMap::new();
        for entry in self.all(KeyRange::prefix(key::JOURNALS)).await? {
            let node = String::from_utf8_lossy(&entry.key[key::JOURNALS.len()..]).into_owned();
            let stored: crate::stored::StoredJournal = read(&entry.key, &entry.value)?;
            let journal = stored.journal().ok_or_else(|| damaged(&entry.key, "a hash has not its length"))?;
            journals.insert(node, journal);
        }
        if (journals.len() as u64) < mark.journals {
            tracing::warn!(
                stored = journals.len(),
                expected = mark.journals,
                "journals are missing in the store"
            );
            return Ok((journals, StoredMark { size: 0, ..mark }));
        }
        Ok((journals, mark))
    }

    /// Saves the journals that moved; the mark comes last, so that it never promises more than is there.
    ///
    /// # Errors
    /// [`BrokerError::Store`].
    pub async fn save_journals(&self, changes: &Changes) -> Result<(), BrokerError> {
        for some in changes.journals.chunks(BATCH_OPERATIONS_MAX / 2) {
            let put = |batch: Batch, (node, journal): &(String, crate::stored::StoredJournal)| {
                batch.put(key::journal(node), journal.encode_to_vec())
            };
            self.0.commit(some.iter().fold(Batch::new(), put)).await?;
        }
        self.0.commit(Batch::new().put(key::MARK, changes.mark.encode_to_vec())).await?;
        Ok(())
    }

    /// Takes a contract's old version off the shelf, and any before it that a crash has left.
    async fn forget(&self, provider: &str, version: u64) -> Result<(), BrokerError> {
        let old = KeyRange::between(key::contract(provider, 0), key::contract(provider, version + 1));
        for entry in self.all(old).await? {
            let about: StoredContract = read(&entry.key, &entry.value)?;
            let parts = (0..about.parts).map(|part| key::contract_part(provider, about.version, part));
            let batch = parts.fold(Batch::new().delete(entry.key), Batch::delete);
            self.0.commit(batch).await?;
        }
        Ok(())
    }

    async fn descriptor_set(&self, provider: &str, about: &StoredContract) -> Result<Bytes, BrokerError> {
        let mut bytes = BytesMut::new();
        for part in 0..about.parts {
            let key = key::contract_part(provider, about.version, part);
            let part =
                self.0.get(&key).await?.ok_or_else(|| damaged(&key, "this part of a contract is missing"))?;
            bytes.extend_from_slice(&part.value);
        }
        if sha256(&bytes).as_slice() != about.hash {
            return Err(damaged(
                &key::contract(provider, about.version),
                "the contract's parts have another hash",
            ));
        }
        Ok(bytes.freeze())
    }

    async fn get<M: Message + Default>(&self, key: &[u8]) -> Result<Option<M>, BrokerError> {
        match self.0.get(key).await? {
            Some(found) => read(key, &found.value).map(Some),
            None => Ok(None),
        }
    }

    async fn all(&self, mut range: KeyRange) -> Result<Vec<Entry>, BrokerError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let page = self.0.range(&range, RANGE_ENTRIES_MAX).await?;
            entries.extend(page.entries);
            match entries.last() {
                Some(last) if page.more => range = range.after(&last.key),
                _ => return Ok(entries),
            }
        }
    }
}

impl Shelved {
    /// A contract to be put on the shelf.
    pub fn new(
        version: u64,
        publish_time: prost_types::Timestamp,
        actor: &str,
        descriptor_set: Bytes,
    ) -> Shelved {
        let parts = descriptor_set.len().div_ceil(CONTRACT_PART_BYTES);
        let about = StoredContract {
            version,
            publish_time: Some(publish_time),
            actor: actor.to_owned(),
            hash: sha256(&descriptor_set).to_vec(),
            parts: u32::try_from(parts).unwrap_or(u32::MAX),
        };
        Shelved { about, descriptor_set }
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shelf").finish_non_exhaustive()
    }
}

fn damaged(key: &[u8], problem: &str) -> BrokerError {
    BrokerError::Stored { key: key.escape_ascii().to_string(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use lienthong_audit::batch::Position;
    use lienthong_store::MemoryStore;
    use prost_types::Timestamp;

    use super::*;
    use crate::positions::{Positions, Step};

    fn shelved(version: u64, bytes: usize) -> Shelved {
        let content: Vec<u8> = (0..=250).cycle().take(bytes).collect();
        Shelved::new(version, Timestamp { seconds: 7, nanos: 0 }, "agencies/G01/nodes/n1", content.into())
    }

    fn epoch(epoch: u64) -> StoredEpoch {
        StoredEpoch { epoch, on_record: true, ..StoredEpoch::default() }
    }

    #[tokio::test]
    async fn a_contract_of_any_size_comes_back_as_it_was() {
        let shelf = Shelf::over(MemoryStore::new());
        for (version, bytes) in [(1, 0), (2, 1), (3, CONTRACT_PART_BYTES), (4, 1 << 20)] {
            let contract = shelved(version, bytes);
            shelf.put_epoch(&epoch(version), &[Shelving::Contract("G01", &contract)]).await.unwrap();
            assert_eq!(shelf.contracts().await.unwrap(), [("G01".to_owned(), contract)].into());
            assert_eq!(shelf.epoch().await.unwrap(), Some(epoch(version)));
        }
    }

    #[tokio::test]
    async fn providers_do_not_mix_and_old_versions_go() {
        let shelf = Shelf::over(MemoryStore::new());
        for version in 1..=CONTRACT_VERSIONS_MAX + 5 {
            shelf
                .put_epoch(&epoch(version), &[Shelving::Contract("G01", &shelved(version, 10))])
                .await
                .unwrap();
        }
        shelf.put_epoch(&epoch(99), &[Shelving::Contract("G01.90", &shelved(1, 20))]).await.unwrap();
        let contracts = shelf.contracts().await.unwrap();
        assert_eq!(contracts["G01"].about.version, CONTRACT_VERSIONS_MAX + 5);
        assert_eq!(contracts["G01.90"].about.version, 1);
        for prefix in [key::CONTRACTS, key::CONTRACT_PARTS] {
            let kept = shelf.all(KeyRange::prefix(prefix)).await.unwrap();
            assert_eq!(kept.len() as u64, CONTRACT_VERSIONS_MAX + 1);
        }
    }

    #[tokio::test]
    async fn a_damaged_contract_is_named() {
        let shelf = Shelf::over(MemoryStore::new());
        shelf.put_epoch(&epoch(1), &[Shelving::Contract("G01", &shelved(1, 10))]).await.unwrap();
        let part = key::contract_part("G01", 1, 0);
        shelf.0.commit(Batch::new().put(part.clone(), *b"other")).await.unwrap();
        let error = shelf.contracts().await.unwrap_err().to_string();
        assert!(error.contains("contract/G01/") && error.contains("another hash"), "{error}");
        shelf.0.commit(Batch::new().delete(part)).await.unwrap();
        assert!(shelf.contracts().await.unwrap_err().to_string().contains("missing"));
        shelf.0.commit(Batch::new().put(key::EPOCH, [0xff])).await.unwrap();
        assert!(shelf.epoch().await.unwrap_err().to_string().contains("epoch"));
    }

    #[tokio::test]
    async fn journals_come_back_and_a_lost_one_is_noticed() {
        let shelf = Shelf::over(MemoryStore::new());
        let positions = Positions::default();
        let nodes: Vec<String> = (0..300).map(|number| format!("agencies/G01/nodes/n{number}")).collect();
        for (size, node) in (1..).zip(&nodes) {
            let position = Position { last_seq: size, ..Position::start(1) };
            let step = Step { position, first_index: size, entries: 1, late: Vec::new() };
            positions.advance([(node.clone(), step)], 5, size);
        }
        shelf.save_journals(&positions.take_changes().unwrap()).await.unwrap();
        let (journals, mark) = shelf.journals().await.unwrap();
        assert_eq!((journals.len(), mark.size, mark.epoch), (300, 300, 5));
        assert_eq!(journals.get(&nodes[7]), positions.journal(&nodes[7]).as_ref());

        shelf.0.commit(Batch::new().delete(key::journal(&nodes[7]))).await.unwrap();
        let (journals, mark) = shelf.journals().await.unwrap();
        assert_eq!((journals.len(), mark.size), (299, 0));
    }
}
