//! Everything that proves one exchange, gathered from the log: the records of both sides, the seals with the nodes'
//! signatures, their certificates, the bundles by which they decided, all under one checkpoint. Blocking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lienthong_audit::batch::BATCH_RECORDS_MAX;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::evidence::EVIDENCE_RECORDS_MAX;
use lienthong_audit::hash::Hash;
use lienthong_audit::log::{LogError, TreeReader};
use lienthong_audit::merkle::{self, HashReader as _};
use lienthong_audit::note::Note;
use lienthong_audit::record;
use lienthong_index::Query;
use lienthong_proto::lienthong::audit::v1::{
    BatchEvidence, BatchHeader, BatchSeal, BundleEvidence, Evidence, Exchange, FoundRecord, Record,
    record::Body,
};
use prost::Message as _;

use super::question::{exchange_clause, kind_clause, party_clause};
use super::{Index, SearchError};
use crate::bundle::SealedBundle;
use crate::records::RECORDER;

/// Published bundles of one node that are looked through for the one of an epoch.
const BUNDLES_LOOKED_AT_MAX: usize = 1_000;

/// The tree under the newest published checkpoint: proofs lead there.
#[derive(Debug)]
pub struct Proofs {
    /// The checkpoint, with every signature that the log has of it.
    pub checkpoint: String,
    size: u64,
    tree: TreeReader,
    index: Index,
}

impl Proofs {
    /// Of the checkpoint as it is published now.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn now(index: &Index) -> Result<Proofs, LogError> {
        let reader = index.reader();
        let checkpoint = reader.checkpoint_note()?;
        let size = checkpoint
            .parse::<Note>()
            .ok()
            .and_then(|note| note.text().parse::<Checkpoint>().ok())
            .map(|checkpoint| checkpoint.size);
        let size = size.ok_or(LogError::Closed)?;
        Ok(Proofs { checkpoint, size, tree: reader.tree(size), index: index.clone() })
    }

    /// Entries under the checkpoint.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// An entry with its proof.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn found(&self, index: u64) -> Result<FoundRecord, LogError> {
        let entry = self.entry(index)?;
        let path = merkle::inclusion_proof(index, self.size, &self.tree)?.unwrap_or_default();
        Ok(FoundRecord { index, entry, path: path.into_iter().map(|hash| hash.0.to_vec()).collect() })
    }

    /// An entry.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        Ok(self.index.reader().entries(index..index + 1)?.pop().unwrap_or_default())
    }

    /// The seal of the batch that holds entry `index`: its place, and what it says.
    fn seal_of(&self, index: u64) -> Result<Option<(u64, BatchSeal)>, LogError> {
        // It stands right behind its batch.
        let end = self.size.min(index + 2 + BATCH_RECORDS_MAX as u64);
        let entries = self.index.reader().entries(index..end)?;
        for (at, entry) in (index..).zip(entries).skip(1) {
            if let Ok(Record { recorder, body: Some(Body::BatchSeal(seal)), .. }) = record::decode(&entry)
                && recorder == RECORDER
                && (seal.first_index..seal.first_index + seal.entries).contains(&index)
            {
                return Ok(Some((at, seal)));
            }
        }
        Ok(None)
    }

    fn leaf_hashes(&self, first: u64, count: u64) -> Result<Vec<Hash>, LogError> {
        (first..first + count).map(|index| self.tree.subtree(0, index)).collect()
    }
}

/// The evidence of an exchange as `visible_to` may see it (`None`: all of it); `None` if there is nothing. `bundle` gives
/// the bundle that a node holds now.
///
/// # Errors
/// [`SearchError`].
pub fn gather(
    index: &Index,
    exchange_id: &[u8],
    visible_to: Option<&str>,
    bundle: impl Fn(&str) -> Option<Arc<SealedBundle>>,
) -> Result<Option<Evidence>, SearchError> {
    let proofs = Proofs::now(index)?;
    let mut clauses = vec![exchange_clause(exchange_id)];
    clauses.extend(visible_to.map(party_clause));
    clauses.push(kind_clause(&["opening", "closing", "denial", "continuation"]));
    let stated = find(index, clauses, &proofs)?;
    if stated.is_empty() {
        return Ok(None);
    }
    let mut evidence = Evidence {
        exchange_id: exchange_id.to_vec(),
        checkpoint: proofs.checkpoint.clone(),
        ..Evidence::default()
    };
    let mut exchanges: Vec<(String, Exchange)> = Vec::new();
    let mut openings: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut indexes: BTreeSet<u64> = BTreeSet::new();
    for at in stated {
        let Ok(record) = record::decode(&proofs.entry(at)?) else { continue };
        openings.extend(opening_of(&record));
        exchanges.extend(exchange_of(&record).map(|exchange| (record.recorder.clone(), exchange.clone())));
        indexes.insert(at);
    }
    // A progress record names its exchange by the opening only.
    for at in find(index, vec![exchange_clause(exchange_id), kind_clause(&["progress"])], &proofs)? {
        let record = record::decode(&proofs.entry(at)?).ok();
        if record.as_ref().and_then(opening_of).is_some_and(|opening| openings.contains(&opening)) {
            indexes.insert(at);
        }
    }
    if indexes.len() > EVIDENCE_RECORDS_MAX {
        evidence.notes.push(format!(
            "the exchange has {} records; these are the newest {EVIDENCE_RECORDS_MAX}",
            indexes.len()
        ));
        indexes = indexes.into_iter().rev().take(EVIDENCE_RECORDS_MAX).collect();
    }
    let mut certificates: BTreeSet<Vec<u8>> =
        exchanges.iter().map(|(_, exchange)| exchange.peer_certificate.clone()).collect();
    add_records(&mut evidence, &proofs, &indexes, &mut certificates)?;
    let sides: BTreeSet<i32> = exchanges.iter().map(|(_, exchange)| exchange.side).collect();
    if sides.len() == 1 {
        evidence.notes.push("only one side of the exchange is on record".to_owned());
    }
    certificates.remove(&[][..]);
    add_certificates(&mut evidence, index, &certificates)?;
    if super::erased::is_erased(index, exchange_id)? {
        evidence.notes.push(
            "a person in this exchange was erased (records of kind \"erasure\" say by which law): no search by him finds it, and \
             its keys and salts are erased at its nodes, so that its digests and commitments can be opened no more"
                .to_owned(),
        );
    }
    let minimum = index.minimum();
    if minimum > 0 && (sides.len() == 1 || evidence.records.is_empty()) {
        evidence.notes.push(format!(
            "entries before {minimum} are gone, because their retention is over (R-50): the other side's record may be among them"
        ));
    }
    let decided =
        exchanges.into_iter().filter_map(|(node, exchange)| Some((node, epoch_of(&exchange.right)?)));
    add_bundles(&mut evidence, index, &proofs, decided.collect(), bundle)?;
    Ok(Some(evidence))
}

/// The records with their proofs, and for each batch that holds one its seal and what shows that the node signed it.
fn add_records(
    evidence: &mut Evidence,
    proofs: &Proofs,
    indexes: &BTreeSet<u64>,
    certificates: &mut BTreeSet<Vec<u8>>,
) -> Result<(), SearchError> {
    let mut seals: BTreeMap<u64, BatchSeal> = BTreeMap::new();
    for at in indexes {
        evidence.records.push(proofs.found(*at)?);
        match proofs.seal_of(*at)? {
            Some((seal_at, seal)) => drop(seals.insert(seal_at, seal)),
            None => evidence.notes.push(format!("record {at} stands under no seal of a node")),
        }
    }
    for (at, seal) in seals {
        certificates.insert(seal.certificate.clone());
        let header = BatchHeader::decode(&seal.header[..]).unwrap_or_default();
        let leaf_hashes =
            proofs.leaf_hashes(seal.first_index, u64::from(header.entries).min(seal.entries))?;
        if merkle::root_of(&leaf_hashes).0[..] != header.entries_root {
            let note =
                format!("the batch under seal {at} was sent in parts: its records cannot be told apart");
            evidence.notes.push(note);
        }
        let leaf_hashes = leaf_hashes.into_iter().map(|hash| hash.0.to_vec()).collect();
        evidence.batches.push(BatchEvidence { seal: Some(proofs.found(at)?), leaf_hashes });
    }
    Ok(())
}

fn add_certificates(
    evidence: &mut Evidence,
    index: &Index,
    fingerprints: &BTreeSet<Vec<u8>>,
) -> Result<(), SearchError> {
    for fingerprint in fingerprints {
        match index.certificates().find(fingerprint).map_err(lienthong_index::IndexError::Io)? {
            Some(found) => evidence.certificates.push(found),
            None => evidence.notes.push(format!(
                "the broker never saw the certificate {}: it belongs to a system, or to a node that has not shipped with it",
                hex::encode(fingerprint)
            )),
        }
    }
    Ok(())
}

/// The bundles by which nodes decided, by node and epoch.
fn add_bundles(
    evidence: &mut Evidence,
    index: &Index,
    proofs: &Proofs,
    decided: BTreeSet<(String, u64)>,
    bundle: impl Fn(&str) -> Option<Arc<SealedBundle>>,
) -> Result<(), SearchError> {
    for (node, epoch) in decided {
        if let Some((at, hash)) = published(index, proofs, &node, epoch)? {
            let held = bundle(&node).filter(|held| held.hash[..] == hash);
            let bundle = held.map(|held| held.signed.bundle.clone()).unwrap_or_default();
            evidence.bundles.push(BundleEvidence { published: Some(proofs.found(at)?), bundle });
            continue;
        }
        let gone = match index.minimum() {
            0 => String::new(),
            minimum => {
                format!(" from entry {minimum} on; those before are gone after their retention (R-50)")
            }
        };
        evidence.notes.push(format!("no bundle of epoch {epoch} for {node} is on record{gone}"));
    }
    Ok(())
}

fn find(
    index: &Index,
    clauses: Vec<lienthong_index::Clause>,
    proofs: &Proofs,
) -> Result<Vec<u64>, SearchError> {
    let query = Query { clauses, times_ms: None };
    Ok(index.search(&query, proofs.size(), None, EVIDENCE_RECORDS_MAX)?.entries)
}

/// Where it is on record that the bundle by which `node` decided at `epoch` was published, and the bundle's hash.
fn published(
    index: &Index,
    proofs: &Proofs,
    node: &str,
    epoch: u64,
) -> Result<Option<(u64, Vec<u8>)>, SearchError> {
    let audience = lienthong_index::Want::Exactly(lienthong_index::Term::text(
        lienthong_index::Dimension::Resource,
        node,
    ));
    let clauses = vec![kind_clause(&["bundle"]), lienthong_index::Clause(vec![audience])];
    let query = Query { clauses, times_ms: None };
    for at in index.search(&query, proofs.size(), None, BUNDLES_LOOKED_AT_MAX)?.entries {
        if let Ok(Record { body: Some(Body::BundlePublished(published)), .. }) =
            record::decode(&proofs.entry(at)?)
            && published.audience == node
            && published.epoch <= epoch
        {
            return Ok(Some((at, published.hash)));
        }
    }
    Ok(None)
}

/// The exchange that a record speaks of.
pub fn exchange_of(record: &Record) -> Option<&Exchange> {
    match record.body.as_ref()? {
        Body::Opening(opening) => opening.exchange.as_ref(),
        Body::Closing(closing) => closing.exchange.as_ref(),
        Body::Denial(denial) => denial.exchange.as_ref(),
        Body::Continuation(continuation) => continuation.exchange.as_ref(),
        _ => None,
    }
}

fn opening_of(record: &Record) -> Option<Vec<u8>> {
    match record.body.as_ref()? {
        Body::Closing(closing) => Some(closing.opening_hash.clone()),
        Body::Continuation(continuation) => Some(continuation.opening_hash.clone()),
        Body::Progress(progress) => Some(progress.opening_hash.clone()),
        _ => None,
    }
}

/// The epoch in "right_id@epoch".
fn epoch_of(right: &str) -> Option<u64> {
    right.rsplit_once('@')?.1.parse().ok()
}
