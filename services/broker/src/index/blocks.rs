//! The segments of the index on disk: immutable files, a pair for each span of the log.
//!
//! ```text
//! <data_dir>/index/blocks/<first index>-<entries>.subjects      erasable: tokens of subjects
//! <data_dir>/index/blocks/<first index>-<entries>.terms         written last: the pair counts when it is there
//! ```
//!
//! A file is written beside, synced and renamed. After a kill at any point the pairs that are there are whole, and those
//! that a greater one covers are leftovers of a merge.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lienthong_index::segment::{Built, erase, merge, search, subjects_missing};
use lienthong_index::{IndexError, Query, Segment, Term, Want};

/// Entries of a block: what one manifest speaks of.
pub const BLOCK_ENTRIES: u32 = 65_536;

/// Neighbours of one size that become one.
const MERGE_BLOCKS: usize = 16;

/// Entries of the largest segments: 2²⁴.
const MERGED_ENTRIES_MAX: u32 = lienthong_index::segment::SEGMENT_ENTRIES_MAX;

/// A span of the log in the index.
#[derive(Debug)]
pub struct Block {
    terms: Segment<File>,
    subjects: Segment<File>,
    missing: u64,
}

impl Block {
    /// The newest entries below `below` that fulfil the query, newest first.
    ///
    /// # Errors
    /// [`IndexError`] where a file is damaged.
    pub fn search(&self, query: &Query, below: u64, entries_max: usize) -> Result<Vec<u64>, IndexError> {
        search(&self.terms, &self.subjects, query, below, entries_max)
    }

    /// Records whose subjects nobody told.
    pub fn subjects_missing(&self) -> u64 {
        self.missing
    }

    /// Whether one of these terms stands in the subject segment.
    ///
    /// # Errors
    /// [`IndexError`] where the file is damaged.
    pub fn has_subject(&self, terms: &[Term]) -> Result<bool, IndexError> {
        for term in terms {
            if !self.subjects.entries_of(&Want::Exactly(term.clone()))?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Index of the first entry.
    pub fn first_index(&self) -> u64 {
        self.terms.first_index()
    }

    /// Index behind the last.
    pub fn end(&self) -> u64 {
        self.terms.end()
    }

    fn entries(&self) -> u32 {
        self.terms.entries()
    }
}

/// The folder.
#[derive(Debug)]
pub struct BlockFolder {
    dir: PathBuf,
    /// Entries of a block.
    entries: u32,
}

impl BlockFolder {
    /// The folder, made if it is missing, with blocks of so many entries.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path, entries: u32) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), entries })
    }

    /// Entries of a block.
    pub const fn block_entries(&self) -> u32 {
        self.entries
    }

    /// The blocks that are there, from entry `minimum` on without a gap. What is damaged, covered, beyond a gap or of entries
    /// that are gone is removed: it can be made anew, or must not be there.
    ///
    /// # Errors
    /// Of the disk.
    pub fn load(&self, minimum: u64) -> io::Result<Vec<Arc<Block>>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            match span_of(&path) {
                Some(span) => names.push(span),
                None if path.extension().is_some_and(|extension| extension == "tmp") => {
                    fs::remove_file(&path)?;
                }
                None => {}
            }
        }
        // At one place the greatest first.
        names.sort_unstable_by_key(|(first, entries)| (*first, std::cmp::Reverse(*entries)));
        names.dedup();
        let mut blocks: Vec<Arc<Block>> = Vec::new();
        for (first, entries) in names {
            let at = blocks.last().map_or(minimum, |block| block.end());
            let opened = if first == at { self.open_block(first, entries) } else { Ok(None) };
            match opened {
                Ok(Some(block)) => blocks.push(Arc::new(block)),
                Ok(None) => self.remove(first, entries)?,
                Err(IndexError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::error!(%error, first, entries, "a block of the index is made anew");
                    self.remove(first, entries)?;
                }
            }
        }
        Ok(blocks)
    }

    /// Removes everything.
    ///
    /// # Errors
    /// Of the disk.
    pub fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }

    /// Writes a block that was built.
    ///
    /// # Errors
    /// [`IndexError`], also of the disk.
    pub fn put(&self, first: u64, built: &Built) -> Result<Block, IndexError> {
        let write = |kind: &str, bytes: &[u8]| {
            self.put_file(first, self.entries, kind, |file| Ok(file.write_all(bytes)?))
        };
        write(SUBJECTS, &built.subjects)?;
        write(TERMS, &built.terms)?;
        self.open_block(first, self.entries)?
            .ok_or(IndexError::Unmergeable("a block that was just written is gone"))
    }

    /// The bytes of a block's segments as they were built, while it is not merged.
    ///
    /// # Errors
    /// Of the disk.
    pub fn bytes(&self, first: u64) -> io::Result<Built> {
        let terms = fs::read(self.path(first, self.entries, TERMS))?;
        let subjects = fs::read(self.path(first, self.entries, SUBJECTS))?;
        Ok(Built { terms, subjects, subject_tokens: 0 })
    }

    /// Merges the newest neighbours of one size that lie before entry `before`, if there are enough: those that go, and
    /// the one that stands for them. Their files stay until [`BlockFolder::drop_merged`].
    ///
    /// # Errors
    /// [`IndexError`], also of the disk; the blocks stay as they are.
    pub fn merge(&self, blocks: &[Arc<Block>], before: u64) -> Result<Option<(usize, Block)>, IndexError> {
        let Some(begin) = mergeable(blocks, before) else { return Ok(None) };
        let group = &blocks[begin..begin + MERGE_BLOCKS];
        let Some(first) = group.first().map(|block| block.first_index()) else { return Ok(None) };
        let entries = group.iter().map(|block| block.entries()).sum();
        let reopened: Vec<Block> = group
            .iter()
            .map(|block| {
                let block = self.open_block(block.first_index(), block.entries())?;
                block.ok_or(IndexError::Unmergeable("a block is gone"))
            })
            .collect::<Result<_, _>>()?;
        let (terms, subjects): (Vec<_>, Vec<_>) =
            reopened.into_iter().map(|block| (block.terms, block.subjects)).unzip();
        self.put_file(first, entries, SUBJECTS, |file| merge(&subjects, file).map(drop))?;
        self.put_file(first, entries, TERMS, |file| merge(&terms, file).map(drop))?;
        Ok(self.open_block(first, entries)?.map(|block| (begin, block)))
    }

    /// Writes a block's subject segment anew without the tokens that are to be erased; the block with it.
    ///
    /// # Errors
    /// [`IndexError`], also of the disk; the block stays as it is.
    pub fn erase(&self, block: &Block, terms: &[Term]) -> Result<Block, IndexError> {
        let (first, entries) = (block.first_index(), block.entries());
        let gone = || IndexError::Unmergeable("a block is gone");
        let subjects = self.open_block(first, entries)?.ok_or_else(gone)?.subjects;
        let is_erased = |bytes: &[u8]| terms.iter().any(|term| term.as_bytes() == bytes);
        self.put_file(first, entries, SUBJECTS, |file| erase(subjects, file, is_erased).map(drop))?;
        self.open_block(first, entries)?.ok_or_else(gone)
    }

    /// Removes the files of blocks for which others stand by now, or whose entries are gone.
    ///
    /// # Errors
    /// Of the disk.
    pub fn drop_merged(&self, blocks: &[Arc<Block>]) -> io::Result<()> {
        blocks.iter().try_for_each(|block| self.remove(block.first_index(), block.entries()))
    }

    fn open_block(&self, first: u64, entries: u32) -> Result<Option<Block>, IndexError> {
        let open = |kind| match File::open(self.path(first, entries, kind)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => Segment::open(file?).map(Some),
        };
        let (Some(terms), Some(subjects)) = (open(TERMS)?, open(SUBJECTS)?) else { return Ok(None) };
        let is = |segment: &Segment<File>| segment.first_index() == first && segment.entries() == entries;
        if !is(&terms) || !is(&subjects) {
            return Err(IndexError::Damaged { offset: 0, what: "it is of another span than its name says" });
        }
        let missing = subjects_missing(&subjects)?;
        Ok(Some(Block { terms, subjects, missing }))
    }

    fn put_file(
        &self,
        first: u64,
        entries: u32,
        kind: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let path = self.path(first, entries, kind);
        let fresh = path.with_extension(format!("{kind}.tmp"));
        let mut file = BufWriter::new(File::create(&fresh)?);
        write(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }

    fn remove(&self, first: u64, entries: u32) -> io::Result<()> {
        for kind in [TERMS, SUBJECTS] {
            match fs::remove_file(self.path(first, entries, kind)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, first: u64, entries: u32, kind: &str) -> PathBuf {
        self.dir.join(format!("{first:016}-{entries}.{kind}"))
    }
}

const TERMS: &str = "terms";
const SUBJECTS: &str = "subjects";

/// First index and entries, by the name of a file.
fn span_of(path: &Path) -> Option<(u64, u32)> {
    let name = path.file_name()?.to_str()?;
    let span = name.strip_suffix(".terms").or_else(|| name.strip_suffix(".subjects"))?;
    let (first, entries) = span.split_once('-')?;
    Some((first.parse().ok()?, entries.parse().ok()?))
}

/// Where as many neighbours of one size begin, aligned, as become one; all before `before`.
fn mergeable(blocks: &[Arc<Block>], before: u64) -> Option<usize> {
    let spans: Vec<(u64, u32)> = blocks.iter().map(|block| (block.first_index(), block.entries())).collect();
    (0..=spans.len().checked_sub(MERGE_BLOCKS)?).rev().find(|begin| {
        let group = &spans[*begin..begin + MERGE_BLOCKS];
        let Some((first, entries)) = group.first().copied() else { return false };
        let whole = u64::from(entries) * MERGE_BLOCKS as u64;
        group.iter().all(|(_, other)| *other == entries)
            && first % whole == 0
            && first + whole <= before
            && whole <= u64::from(MERGED_ENTRIES_MAX)
    })
}
