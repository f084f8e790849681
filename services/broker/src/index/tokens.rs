//! Tokens of subjects on disk: what the log does not hold and nobody can derive. Appended and synced before the records
//! themselves enter the log, so that no receipt is given for a record whose subjects could still be lost.
//!
//! ```text
//! <data_dir>/index/tokens/<number>.tokens = row*
//! row = bytes u32 LE | crc32c u32 LE | size of the log u64 LE | leaf hash [32] | token [16]*
//! ```
//!
//! An erased token is overwritten with zeros: the row stays, so that its record still counts as one whose subjects were told.
//!
//! A row names its record by the leaf hash, for the index in the log is not known yet, and the size of the log at that
//! time: the record stands at that index or somewhat behind. So the rows of a part of the log lie together.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lienthong_audit::hash::Hash;
use lienthong_index::term::TOKEN_BYTES;

use super::keys::Token;

/// What stands in the place of a token that was erased.
pub const ERASED: Token = [0; TOKEN_BYTES];

/// Bytes of one file; the next row begins a new one.
pub const TOKEN_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How far behind the size in its row a record may stand in the log, in entries: more than can be on their way at once.
/// Rows whose record has not come by then never entered the log.
pub const TOKEN_LEAD_ENTRIES_MAX: u64 = 1 << 20;

/// Tokens of one row, at most.
const ROW_TOKENS_MAX: usize = 256;

const ROW_HEAD_BYTES: usize = 8;
const ROW_FIXED_BYTES: usize = 8 + 32;

/// The tokens of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Entries of the log when the row was made.
    pub log_size: u64,
    /// The record.
    pub leaf: Hash,
    /// Its subjects.
    pub tokens: Vec<Token>,
}

/// The files, being written, for everybody who has tokens to keep. Blocking.
///
/// While one `fdatasync` runs, the rows of others are written, and the next one makes all of them durable.
#[derive(Debug)]
pub struct TokenFiles {
    open: Mutex<OpenFile>,
    /// So many calls' rows are durable. Held by the one who syncs.
    durable: Mutex<u64>,
}

/// The newest file.
#[derive(Debug)]
struct OpenFile {
    dir: PathBuf,
    number: u64,
    file: Arc<File>,
    bytes: u64,
    /// So many calls' rows are written.
    written: u64,
    /// A reader may have gone on to the file behind this one: nothing is written here any more.
    ended: bool,
    failed: bool,
    sync_folder: SyncFolder,
}

/// Makes the names in a folder durable.
type SyncFolder = fn(&Path) -> io::Result<()>;

impl TokenFiles {
    /// Opens the files in `dir`; a torn last row is cut off.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path) -> io::Result<Self> {
        Self::open_with(dir, |dir| File::open(dir)?.sync_all())
    }

    fn open_with(dir: &Path, sync_folder: SyncFolder) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        remove_drafts(dir)?;
        let number = numbers(dir)?.last().copied().unwrap_or(1);
        let path = path_of(dir, number);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        sync_folder(dir)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = &bytes[..];
        while let Some((_, behind)) = decode(rest) {
            rest = behind;
        }
        let whole = (bytes.len() - rest.len()) as u64;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        let (dir, file, bytes) = (dir.to_owned(), Arc::new(file), whole);
        let open =
            OpenFile { dir, number, file, bytes, written: 0, ended: false, failed: false, sync_folder };
        Ok(Self { open: Mutex::new(open), durable: Mutex::new(0) })
    }

    /// Appends rows; they are durable when this returns.
    ///
    /// # Errors
    /// Of the disk. Then nothing may be acknowledged that needs them.
    pub fn append(&self, rows: &[TokenRow]) -> io::Result<()> {
        let written = self.newest().write(rows)?;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if *durable < written {
            *durable = self.sync()?;
        }
        Ok(())
    }

    /// Begins a new file, so that those before it change no more; the number of the new one.
    ///
    /// # Errors
    /// Of the disk.
    pub fn rotate(&self) -> io::Result<u64> {
        let mut newest = self.newest();
        if newest.bytes > 0 {
            newest.begin_file()?;
        }
        Ok(newest.number)
    }

    /// Makes durable what is written by now; says how many calls' rows that are.
    fn sync(&self) -> io::Result<u64> {
        let (file, written) = self.newest().unsynced()?;
        // Not under the lock: others write meanwhile.
        file.sync_data().inspect_err(|_| self.newest().failed = true)?;
        // The system tells of a failure once: it may have told another who synced the same file.
        self.newest().check()?;
        Ok(written)
    }

    fn newest(&self) -> MutexGuard<'_, OpenFile> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFile {
    /// Writes rows; the number of this call.
    fn write(&mut self, rows: &[TokenRow]) -> io::Result<u64> {
        self.check()?;
        if self.ended || self.bytes >= TOKEN_FILE_BYTES_MAX {
            self.begin_file()?;
        }
        let mut bytes = Vec::new();
        for row in rows {
            for tokens in row.tokens.chunks(ROW_TOKENS_MAX) {
                encode(row, tokens, &mut bytes);
            }
        }
        // What is half written would hide every later row: only opening anew, which cuts it off, goes on.
        (&*self.file).write_all(&bytes).inspect_err(|_| self.failed = true)?;
        self.bytes += bytes.len() as u64;
        self.written += 1;
        Ok(self.written)
    }

    /// The file, and how many calls' rows are in it or durable in those before it.
    fn unsynced(&self) -> io::Result<(Arc<File>, u64)> {
        self.check()?;
        Ok((Arc::clone(&self.file), self.written))
    }

    fn check(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("writing failed before; start the broker again"));
        }
        Ok(())
    }

    fn begin_file(&mut self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.failed = true)?;
        let path = path_of(&self.dir, self.number + 1);
        self.ended = true;
        // An earlier attempt may have left it behind, empty: nothing is written before its name is durable.
        let fresh = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        (self.sync_folder)(&self.dir)?;
        self.file = Arc::new(fresh);
        self.number += 1;
        self.bytes = 0;
        self.ended = false;
        Ok(())
    }
}

/// Tokens that are to be erased from what stands before an entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The tokens.
    pub tokens: HashSet<Token>,
    /// The entry that says so.
    pub before: u64,
}

impl Erasure {
    /// Overwrites the tokens of a row; whether there were any.
    fn apply(&self, log_size: u64, tokens: &mut [Token]) -> bool {
        let mut erased = false;
        if log_size < self.before {
            for token in tokens.iter_mut().filter(|token| self.tokens.contains(*token)) {
                *token = ERASED;
                erased = true;
            }
        }
        erased
    }

    /// Writes every file in `dir` with a number below `behind` anew that holds one of the tokens. Each takes the place of the one
    /// before whole, byte for byte as long.
    ///
    /// # Errors
    /// Of the disk; asking again goes on.
    pub fn apply_to_files(&self, dir: &Path, behind: u64) -> io::Result<()> {
        for number in numbers(dir)?.into_iter().filter(|number| *number < behind) {
            let path = path_of(dir, number);
            let bytes = fs::read(&path)?;
            let (mut fresh, mut rest, mut erased) = (Vec::with_capacity(bytes.len()), &bytes[..], false);
            while let Some((mut row, behind)) = decode(rest) {
                erased |= self.apply(row.log_size, &mut row.tokens);
                encode(&row, &row.tokens, &mut fresh);
                rest = behind;
            }
            if erased {
                // What no row could be read from stays as it is.
                fresh.extend_from_slice(rest);
                let draft = path.with_extension("tmp");
                let mut file =
                    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
                file.write_all(&fresh)?;
                file.sync_all()?;
                fs::rename(&draft, &path)?;
                File::open(dir)?.sync_all()?;
            }
        }
        Ok(())
    }
}

/// Removes the files of which no row belongs to an entry from `minimum` on.
///
/// # Errors
/// Of the disk.
pub fn prune(dir: &Path, minimum: u64) -> io::Result<()> {
    let numbers = numbers(dir)?;
    for (number, next) in numbers.iter().zip(numbers.iter().skip(1)) {
        // Rows are written in the order of the log, so that none of a file is younger than the first of the next.
        let first = TokenReader::at(dir, *next).row()?;
        if first.is_none_or(|row| row.log_size.saturating_add(TOKEN_LEAD_ENTRIES_MAX) > minimum) {
            return Ok(());
        }
        fs::remove_file(path_of(dir, *number))?;
    }
    Ok(())
}

/// Follows the files from somewhere on and joins rows to the entries of the log.
#[derive(Debug)]
pub struct TokenReader {
    dir: PathBuf,
    number: u64,
    offset: u64,
    buffer: Vec<u8>,
    /// So much of `buffer` is read.
    used: usize,
    /// Read, and not yet joined: by record.
    waiting: HashMap<Hash, (u64, Vec<Token>)>,
    /// The next row, which belongs to a later part of the log.
    next: Option<TokenRow>,
}

impl TokenReader {
    /// A reader for the log from entry `index` on.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(dir: &Path, index: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut reader = Self::at(dir, numbers(dir)?.first().copied().unwrap_or(1));
        let from = index.saturating_sub(TOKEN_LEAD_ENTRIES_MAX);
        for number in numbers(dir)? {
            let first = Self::at(dir, number).row()?;
            if first.is_some_and(|row| row.log_size > from) {
                break;
            }
            reader = Self::at(dir, number);
        }
        Ok(reader)
    }

    /// Reads the rows of every record that can stand before entry `index`.
    ///
    /// # Errors
    /// Of the disk.
    pub fn read_below(&mut self, index: u64) -> io::Result<()> {
        loop {
            if self.next.is_none() {
                self.next = self.row()?;
            }
            let Some(row) = self.next.take_if(|row| row.log_size < index) else { break };
            let waiting = self.waiting.entry(row.leaf).or_insert_with(|| (row.log_size, Vec::new()));
            waiting.1.extend(row.tokens);
        }
        let from = index.saturating_sub(TOKEN_LEAD_ENTRIES_MAX);
        if from > 0 {
            self.waiting.retain(|_, (log_size, _)| *log_size >= from);
        }
        Ok(())
    }

    /// The tokens of a record; once.
    pub fn take(&mut self, leaf: &Hash) -> Vec<Token> {
        let mut tokens = self.waiting.remove(leaf).map(|(_, tokens)| tokens).unwrap_or_default();
        // A batch that was sent twice has its rows twice.
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    /// Erases what was read ahead, and goes on in the files as they are by now.
    pub fn erase(&mut self, erasure: &Erasure) {
        self.offset -= (self.buffer.len() - self.used) as u64;
        self.buffer.clear();
        self.used = 0;
        let waiting = self.waiting.values_mut().map(|(log_size, tokens)| (*log_size, tokens));
        let next = self.next.iter_mut().map(|row| (row.log_size, &mut row.tokens));
        for (log_size, tokens) in waiting.chain(next) {
            erasure.apply(log_size, tokens);
        }
    }

    fn at(dir: &Path, number: u64) -> Self {
        let (buffer, waiting) = (Vec::new(), HashMap::new());
        Self { dir: dir.to_owned(), number, offset: 0, buffer, used: 0, waiting, next: None }
    }

    /// The next row that is whole; `None` where there is none yet.
    fn row(&mut self) -> io::Result<Option<TokenRow>> {
        loop {
            if let Some((row, rest)) = decode(&self.buffer[self.used..]) {
                self.used = self.buffer.len() - rest.len();
                return Ok(Some(row));
            }
            if self.fill()? {
                continue;
            }
            // The next file is begun once this one is complete.
            let next = self.number + 1;
            if !path_of(&self.dir, next).exists() {
                return Ok(None);
            }
            if !self.fill()? {
                (self.number, self.offset, self.used) = (next, 0, 0);
                self.buffer.clear();
            }
        }
    }

    /// Reads on; false at the end of the file as it is now.
    fn fill(&mut self) -> io::Result<bool> {
        let mut file = match File::open(path_of(&self.dir, self.number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        file.seek(SeekFrom::Start(self.offset))?;
        self.buffer.drain(..std::mem::take(&mut self.used));
        let read = file.take(256 * 1024).read_to_end(&mut self.buffer)?;
        self.offset += read as u64;
        Ok(read > 0)
    }
}

fn encode(row: &TokenRow, tokens: &[Token], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&[0; ROW_HEAD_BYTES]);
    out.extend_from_slice(&row.log_size.to_le_bytes());
    out.extend_from_slice(row.leaf.as_bytes());
    out.extend_from_slice(tokens.as_flattened());
    let body = &out[begin + ROW_HEAD_BYTES..];
    // Bounded by ROW_TOKENS_MAX.
    let (length, crc) = (u32::try_from(body.len()).unwrap_or(0), crc32c::crc32c(body));
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
}

fn decode(bytes: &[u8]) -> Option<(TokenRow, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > ROW_FIXED_BYTES + ROW_TOKENS_MAX * TOKEN_BYTES {
        return None;
    }
    let (body, behind) = rest.split_at_checked(length)?;
    if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (log_size, body) = body.split_first_chunk::<8>()?;
    let (leaf, tokens) = body.split_at_checked(32)?;
    let tokens = tokens.chunks_exact(TOKEN_BYTES).filter_map(|token| token.try_into().ok()).collect();
    Some((
        TokenRow { log_size: u64::from_le_bytes(*log_size), leaf: Hash::from_slice(leaf)?, tokens },
        behind,
    ))
}

/// Removes what an interrupted erasure left half written.
fn remove_drafts(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".tokens")?.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.tokens"))
}

#[cfg(test)]
mod tests;
