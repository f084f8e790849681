//! The thread that follows the log: entries become rows, a whole block becomes segments, its manifest an entry of the log,
//! neighbours merge. Nothing waits for it; what it has not reached yet is searched in the log itself.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lienthong_audit::hash::leaf_hash;
use lienthong_audit::log::{LogError, LogReader};
use lienthong_audit::record;
use lienthong_audit::sealed::commitments;
use lienthong_index::segment::{Built, build};
use lienthong_index::{Clause, Dimension, IndexError, Query, Row, Term, Want};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{IndexManifest, Record};

use super::blocks::{Block, BlockFolder};
use super::keys::{IndexKeys, Token};
use super::own::OwnUsers;
use super::tokens::{self, ERASED, Erasure, TokenFiles, TokenReader};
use crate::bundle::sha256;
use crate::records::RECORDER;

/// Entries read from the log at once.
const READ_ENTRIES: u64 = 4_096;

/// How often the indexer looks whether the log has grown.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What can be searched.
#[derive(Debug, Default)]
pub struct Indexed {
    /// The first entry: those before it are gone.
    pub first: u64,
    /// Whole blocks, from there on.
    pub blocks: Vec<Arc<Block>>,
    /// Rows behind them.
    pub tail: Vec<Row>,
}

impl Indexed {
    /// Where the rows begin.
    pub fn tail_first(&self) -> u64 {
        self.blocks.last().map_or(self.first, |block| block.end())
    }

    /// Entries before this are indexed.
    pub fn upto(&self) -> u64 {
        self.tail_first() + self.tail.len() as u64
    }

    /// Records whose subjects nobody told.
    pub fn subjects_missing(&self) -> u64 {
        let missing = Term::flag(Dimension::SubjectsMissing);
        let tail = self.tail.iter().filter(|row| row.terms.contains(&missing)).count() as u64;
        tail + self.blocks.iter().map(|block| block.subjects_missing()).sum::<u64>()
    }

    /// Erases tokens from the rows before the entry that says so.
    fn erase_in_tail(&mut self, erasure: &Erasure) {
        let first = self.tail_first();
        let terms: Vec<Term> =
            erasure.tokens.iter().map(|token| Term::bytes(Dimension::Subject, token)).collect();
        for (_, row) in (first..erasure.before).zip(&mut self.tail) {
            row.erase(|bytes| terms.iter().any(|term| term.as_bytes() == bytes));
        }
    }

    /// The newest entries below `below` that fulfil the query, newest first.
    ///
    /// # Errors
    /// [`IndexError`] where a file is damaged.
    pub fn search(&self, query: &Query, below: u64, entries_max: usize) -> Result<Vec<u64>, IndexError> {
        let first = self.tail_first();
        let rows = self.tail.iter().enumerate().rev().map(|(at, row)| (first + at as u64, row));
        let mut found: Vec<u64> = rows
            .filter(|(index, row)| *index < below && query.accepts(row))
            .map(|(index, _)| index)
            .take(entries_max)
            .collect();
        for block in self.blocks.iter().rev() {
            if found.len() == entries_max {
                break;
            }
            found.extend(block.search(query, below, entries_max - found.len())?);
        }
        Ok(found)
    }
}

/// Why indexing stands still. The log goes on.
#[derive(Debug, thiserror::Error)]
pub enum IndexingError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A segment cannot be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The tokens cannot be read.
    #[error("the index's own files: {0}")]
    Io(#[from] io::Error),
}

/// Makes the index.
#[derive(Debug)]
pub struct Indexer {
    reader: LogReader,
    keys: Arc<IndexKeys>,
    folder: BlockFolder,
    tokens: TokenReader,
    token_files: Arc<TokenFiles>,
    token_dir: PathBuf,
    own: Arc<OwnUsers>,
    indexed: Arc<RwLock<Indexed>>,
    /// The first block of which the log holds no manifest that the indexer has seen.
    manifests_upto: u64,
}

impl Indexer {
    /// An indexer over what is there.
    ///
    /// # Errors
    /// Of the disk.
    pub fn new(
        reader: LogReader,
        keys: Arc<IndexKeys>,
        folder: BlockFolder,
        (token_files, token_dir): (Arc<TokenFiles>, PathBuf),
        own: Arc<OwnUsers>,
        indexed: Arc<RwLock<Indexed>>,
    ) -> io::Result<Self> {
        let upto = indexed.read().unwrap_or_else(PoisonError::into_inner).upto();
        let tokens = TokenReader::open(&token_dir, upto)?;
        Ok(Self { reader, keys, folder, tokens, token_files, token_dir, own, indexed, manifests_upto: 0 })
    }

    /// Indexes what the log has published since, up to the end of one block at most, and says whether there is more.
    ///
    /// # Errors
    /// [`IndexingError`]; asking again goes on where it stopped.
    pub fn advance(&mut self) -> Result<bool, IndexingError> {
        let size = self.reader.size()?;
        let (first, upto) = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            (indexed.tail_first(), indexed.upto())
        };
        let block_end = first + u64::from(self.folder.block_entries());
        if upto == block_end {
            self.seal(first)?;
            return Ok(true);
        }
        let end = size.min(upto + READ_ENTRIES).min(block_end);
        if end <= upto {
            return Ok(false);
        }
        let entries = self.reader.entries(upto..end)?;
        let records: Vec<Option<Record>> = entries.iter().map(|entry| record::decode(entry).ok()).collect();
        let said = (upto..).zip(&records);
        let erasures: Vec<Erasure> =
            said.filter_map(|(index, record)| erasure(index, record.as_ref()?)).collect();
        // Before what says so counts as indexed: after a kill it is met again.
        for erasure in &erasures {
            self.erase(erasure)?;
        }
        self.tokens.read_below(end)?;
        let rows: Vec<Row> = records
            .iter()
            .zip(&entries)
            .map(|(record, entry)| {
                record.as_ref().map_or_else(Row::unreadable, |record| self.row(record, entry))
            })
            .collect();
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        indexed.tail.extend(rows);
        for erasure in &erasures {
            indexed.erase_in_tail(erasure);
        }
        Ok(true)
    }

    /// Lets go of the entries before `minimum`, whose bodies are gone or about to go.
    ///
    /// # Errors
    /// [`IndexingError`]; asking again goes on.
    pub fn prune(&mut self, minimum: u64) -> Result<(), IndexingError> {
        let gone: Vec<Arc<Block>> = {
            let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
            if indexed.first >= minimum {
                return Ok(());
            }
            let whole = indexed.blocks.partition_point(|block| block.end() <= minimum);
            let straddles =
                indexed.blocks.get(whole).map_or(indexed.tail_first(), |block| block.first_index());
            indexed.first = minimum;
            if straddles == minimum {
                indexed.blocks.drain(..whole).collect()
            } else {
                // Merged since the minimum was chosen, or never made: made anew from there on.
                indexed.tail = Vec::new();
                indexed.blocks.drain(..).collect()
            }
        };
        self.folder.drop_merged(&gone)?;
        let upto = self.indexed.read().unwrap_or_else(PoisonError::into_inner).upto();
        self.tokens = TokenReader::open(&self.token_dir, upto)?;
        Ok(tokens::prune(&self.token_dir, minimum)?)
    }

    /// Erases tokens from everything but the tail.
    fn erase(&mut self, erasure: &Erasure) -> Result<(), IndexingError> {
        let behind = self.token_files.rotate()?;
        erasure.apply_to_files(&self.token_dir, behind)?;
        self.tokens.erase(erasure);
        self.own.erase(&erasure.tokens)?;
        let terms: Vec<Term> =
            erasure.tokens.iter().map(|token| Term::bytes(Dimension::Subject, token)).collect();
        let blocks = self.indexed.read().unwrap_or_else(PoisonError::into_inner).blocks.clone();
        for (at, block) in blocks.iter().enumerate() {
            if block.has_subject(&terms)? {
                let fresh = Arc::new(self.folder.erase(block, &terms)?);
                let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
                if let Some(place) = indexed.blocks.get_mut(at) {
                    *place = fresh;
                }
            }
        }
        tracing::info!(entry = erasure.before, "a person is erased from the index");
        Ok(())
    }

    /// The manifests that the log lacks, of blocks that are whole. To be called when the end of the log is reached: what
    /// it says of them is known only then.
    ///
    /// # Errors
    /// [`IndexingError`].
    pub fn manifests_owed(&mut self) -> Result<Vec<Body>, IndexingError> {
        let entries = u64::from(self.folder.block_entries());
        if self.manifests_upto == 0 {
            self.manifests_upto = self.manifests_in_log()?;
        }
        let (first, blocks) = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            (indexed.first, indexed.blocks.clone())
        };
        self.manifests_upto = self.manifests_upto.max(first);
        let whole = blocks.last().map_or(0, |block| block.end());
        let mut owed = Vec::new();
        while self.manifests_upto + entries <= whole {
            // After a kill the log may not have published yet what it holds: what is merged has its manifest on record.
            if let Some(end) = merged_over(&blocks, self.manifests_upto, entries) {
                self.manifests_upto = end;
                continue;
            }
            let built = self.folder.bytes(self.manifests_upto)?;
            owed.push(Body::IndexManifest(self.manifest(self.manifests_upto, &built)?));
            self.manifests_upto += entries;
        }
        Ok(owed)
    }

    /// Manifests that could not be put on record are owed again.
    pub fn owe_again(&mut self) {
        self.manifests_upto = 0;
    }

    /// Merges neighbours, once. Returns whether it did.
    ///
    /// # Errors
    /// [`IndexingError`].
    pub fn merge(&mut self) -> Result<bool, IndexingError> {
        let blocks = self.indexed.read().unwrap_or_else(PoisonError::into_inner).blocks.clone();
        let Some((begin, merged)) = self.folder.merge(&blocks, self.manifests_upto)? else {
            return Ok(false);
        };
        let end = merged.end();
        let gone: Vec<Arc<Block>> = {
            let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
            let behind = indexed.blocks.iter().position(|block| block.first_index() >= end);
            let behind = behind.unwrap_or(indexed.blocks.len());
            indexed.blocks.splice(begin..behind, [Arc::new(merged)]).collect()
        };
        self.folder.drop_merged(&gone)?;
        Ok(true)
    }

    /// The manifest of a block as its entries make it.
    fn manifest(&self, first_index: u64, built: &Built) -> Result<IndexManifest, IndexingError> {
        let subjects = lienthong_index::Segment::open(built.subjects.clone())?;
        Ok(IndexManifest {
            first_index,
            entries: self.folder.block_entries(),
            terms_hash: sha256(&built.terms).to_vec(),
            subjects_hmac: self.keys.manifest_hmac(&built.subjects).to_vec(),
            subject_tokens: subjects.entries_of(&every_subject())?.len() as u64,
        })
    }

    /// A whole tail becomes a block.
    fn seal(&mut self, first: u64) -> Result<(), IndexingError> {
        let built = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            build(first, &indexed.tail)
        };
        let block = self.folder.put(first, &built)?;
        let mut indexed = self.indexed.write().unwrap_or_else(PoisonError::into_inner);
        indexed.blocks.push(Arc::new(block));
        indexed.tail = Vec::new();
        Ok(())
    }

    /// Up to where the log holds manifests.
    fn manifests_in_log(&self) -> Result<u64, IndexingError> {
        let manifests = Want::Exactly(Term::text(Dimension::Kind, "manifest"));
        let query = Query { clauses: vec![Clause(vec![manifests])], times_ms: None };
        let newest = {
            let indexed = self.indexed.read().unwrap_or_else(PoisonError::into_inner);
            indexed.search(&query, u64::MAX, 1)?
        };
        let Some(index) = newest.first().copied() else { return Ok(0) };
        let entries = self.reader.entries(index..index + 1)?;
        let record = entries.first().and_then(|entry| record::decode(entry).ok());
        Ok(match record.and_then(|record| record.body) {
            Some(Body::IndexManifest(manifest)) => manifest.first_index + u64::from(manifest.entries),
            _ => 0,
        })
    }

    fn row(&mut self, record: &Record, entry: &[u8]) -> Row {
        let mut row = Row::of(record);
        row.extend(self.subjects(record, entry));
        row
    }

    /// Terms of a record's subjects. Where fewer came than the record commits to, it says so.
    fn subjects(&mut self, record: &Record, entry: &[u8]) -> Vec<Term> {
        let named = commitments(record).len();
        let more = matches!(&record.body, Some(Body::Closing(closing)) if closing.subjects_more > 0);
        if named == 0 && !more {
            return Vec::new();
        }
        let mut tokens = self.tokens.take(&leaf_hash(entry));
        let told = tokens.len();
        tokens.retain(|token| *token != ERASED);
        let erased = tokens.len() < told;
        let mut terms: Vec<Term> =
            tokens.iter().map(|token| Term::bytes(Dimension::Subject, token)).collect();
        if erased {
            terms.push(Term::flag(Dimension::SubjectsErased));
        }
        // Of several that were erased there is no telling how many they were.
        if (told < named && !erased) || more {
            terms.push(Term::flag(Dimension::SubjectsMissing));
        }
        terms
    }
}

/// What a record of the log has erased from all that stands before it.
fn erasure(index: u64, record: &Record) -> Option<Erasure> {
    let Some(Body::SubjectErased(erased)) = record.body.as_ref().filter(|_| record.recorder == RECORDER)
    else {
        return None;
    };
    let tokens: HashSet<Token> =
        erased.tokens.iter().filter_map(|token| token.as_slice().try_into().ok()).collect();
    Some(Erasure { tokens, before: index })
}

fn every_subject() -> Want {
    Want::Beginning(Term::flag(Dimension::Subject))
}

/// Reads one entry of the log.
///
/// # Errors
/// [`LogError`] where it is not published, or cannot be read.
pub fn entry(reader: &LogReader, index: u64) -> Result<Vec<u8>, LogError> {
    let mut entries = reader.entries(index..index + 1)?;
    entries.pop().ok_or_else(|| LogError::NotALog(PathBuf::new()))
}

/// The end of the merged block that covers an entry; none where the block there is still of `entries`.
fn merged_over(blocks: &[Arc<Block>], index: u64, entries: u64) -> Option<u64> {
    let block = blocks.get(blocks.partition_point(|block| block.end() <= index))?;
    (block.end() - block.first_index() > entries).then(|| block.end())
}
