//! The publisher: follows the write-ahead log and turns it into tiles, bundles and the published checkpoint.
//!
//! It reads the durable bytes back from disk instead of sharing memory with the sequencer. So it can lag without
//! bound on memory, a restart is its normal way of working, and the tiles are a second, independent computation of
//! the root: a flipped bit in memory is found before anything is published.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::checkpoint::Checkpoint;
use crate::hash::{Hash, leaf_hash};
use crate::note::{Note, NoteSignature, VerifierKey};
use crate::tile::{self, RightEdge, TILE_WIDTH, TileId, TileKind};

use super::disk::Disk;
use super::error::{LogError, Trying as _};
use super::home::{Home, encode_identity};
use super::recover::{Position, Replay};
use super::shared::{DeathWatch, Phase, Shared, Written};
use super::wal::{self, FRAME_HEADER_BYTES, Frame, NONCE_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader};
use super::{FRAME_BYTES_MAX, LogReader, LogSigner};

pub(crate) struct Publisher {
    home: Home,
    disk: Disk,
    key: LogSigner,
    /// The key that `wal/identity` names.
    identity: VerifierKey,
    shared: Arc<Shared>,
    interval: Duration,
    wal: WalFollower,
    /// The tree up to what was followed.
    edge: RightEdge,
    /// The root that the write-ahead log states there.
    stated_root: Hash,
    /// The bytes of the partial entry bundle there.
    bundle: Vec<u8>,
    published_size: u64,
    published_at: Instant,
    /// The published checkpoint, while witnesses are to be asked for it again.
    wanting: Option<Note>,
    /// Folders that are known to exist durably.
    durable_dirs: HashSet<PathBuf>,
    /// Folders with new names in them, not yet flushed.
    unflushed: BTreeSet<PathBuf>,
    /// Folders of partial tiles whose full tile is written but not yet published.
    superseded: Vec<PathBuf>,
}

impl Publisher {
    /// Takes up the work at the published checkpoint.
    pub(crate) fn resume(
        home: Home,
        disk: Disk,
        key: LogSigner,
        identity: VerifierKey,
        shared: Arc<Shared>,
        interval: Duration,
        replay: &Replay,
    ) -> Result<Self, LogError> {
        let reader = LogReader::new(home.dir());
        let Checkpoint { size, root, .. } = replay.published;
        let edge = RightEdge::read(size, |id| reader.hashes(id))?;
        let bundle_id = TileId::in_tree(TileKind::Entries, size / u64::from(TILE_WIDTH), size);
        let bundle = bundle_id.map_or(Ok(Vec::new()), |id| reader.bundle(id))?;
        let entries = tile::BundleEntries::new(&bundle)
            .filter_map(|entry| entry.ok().map(|(_, entry)| leaf_hash(entry)));
        let level_0 = edge
            .partials()
            .find(|(id, _)| id.kind == TileKind::Hashes(0))
            .map_or(&[][..], |(_, hashes)| hashes);
        if edge.root() != root || !entries.eq(level_0.iter().copied()) {
            let path = bundle_id.map_or_else(|| home.checkpoint(), |id| home.tile(id));
            let what = "the partial tiles do not lead to the published root".to_owned();
            return Err(LogError::Corrupt { path, offset: 0, what });
        }
        let mut wal = WalFollower::open(&home, replay.published_at)?;
        // Segments that were published before the restart but not removed yet.
        let published =
            replay.segments.iter().copied().filter(|segment| *segment < replay.published_at.segment);
        wal.finished.extend(published);
        Ok(Self {
            wal,
            home,
            disk,
            key,
            identity,
            shared,
            interval,
            edge,
            stated_root: root,
            bundle,
            published_size: size,
            published_at: Instant::now(),
            // It may lack cosignatures: asked once, at the first interval.
            wanting: reader.checkpoint_note()?.parse().ok(),
            durable_dirs: HashSet::new(),
            unflushed: BTreeSet::new(),
            superseded: Vec::new(),
        })
    }

    /// Runs until the log ends.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _watch = DeathWatch::new(&shared, "publisher");
        if let Err(error) = self.follow() {
            shared.fail(&error.to_string());
        }
    }

    fn follow(&mut self) -> Result<(), LogError> {
        loop {
            let unpublished = self.edge.size() > self.published_size || self.wanting.is_some();
            let timeout = unpublished.then(|| self.interval.saturating_sub(self.published_at.elapsed()));
            let shared = Arc::clone(&self.shared);
            let written = shared.wait_written(self.edge.size(), timeout);
            if written.phase == Phase::Failed {
                return Ok(());
            }
            self.catch_up(&written)?;
            if written.phase == Phase::Finished {
                return self.publish();
            }
            self.publish_if_due()?;
        }
    }

    fn catch_up(&mut self, written: &Written) -> Result<(), LogError> {
        let mut buffer = Vec::new();
        while self.wal.read_frame(written.at, self.edge.size(), &mut buffer)? {
            self.take(&buffer)?;
            self.publish_if_due()?;
        }
        Ok(())
    }

    /// Adds the entries of one frame to the tree; writes each bundle and tile that they fill.
    fn take(&mut self, frame: &[u8]) -> Result<(), LogError> {
        let frame = self.wal.parse(frame)?;
        for entry in frame.entries() {
            tile::push_entry(&mut self.bundle, entry)
                .map_err(|source| LogError::Tile { path: self.home.wal(), source })?;
            let mut filled = Vec::new();
            self.edge.push(leaf_hash(entry), |id, hashes| {
                filled.push((id, tile::encode_hashes(hashes)));
            });
            if let Some((level_0, _)) = filled.first() {
                let bundle = std::mem::take(&mut self.bundle);
                filled.push((TileId::full(TileKind::Entries, level_0.index), bundle));
            }
            for (id, bytes) in filled {
                self.write_full(id, &bytes)?;
            }
        }
        self.stated_root = frame.root;
        Ok(())
    }

    fn publish_if_due(&mut self) -> Result<(), LogError> {
        if self.published_at.elapsed() < self.interval {
            return Ok(());
        }
        self.publish()
    }

    /// Publishes a checkpoint over everything taken so far, after all that it covers is durable.
    fn publish(&mut self) -> Result<(), LogError> {
        let size = self.edge.size();
        if size == self.published_size {
            return self.cosign_again();
        }
        let root = self.edge.root();
        if root != self.stated_root {
            let what = format!("the tiles lead to another root than the write-ahead log at {size} entries");
            return Err(LogError::Corrupt { path: self.home.wal(), offset: 0, what });
        }
        let hashes = self.edge.partials().map(|(id, hashes)| (id, tile::encode_hashes(hashes)));
        let mut partials = hashes.collect::<Vec<_>>();
        let bundle = TileId::in_tree(TileKind::Entries, size / u64::from(TILE_WIDTH), size);
        partials.extend(bundle.map(|id| (id, self.bundle.clone())));
        for (id, bytes) in partials {
            self.write(id, &bytes)?;
        }
        for dir in std::mem::take(&mut self.unflushed) {
            self.disk.sync_dir(&dir)?;
        }
        let checkpoint = self.key.note(&Checkpoint::new(&**self.key.origin(), size, root));
        let bad = |source| LogError::Checkpoint { path: self.home.checkpoint(), source };
        let mut note = checkpoint.map_err(bad)?;
        // Cosigned before anybody sees it, so that readers never meet a checkpoint that lacks what witnesses gave.
        let enough = self.cosign(&mut note, size)?;
        self.put(&note)?;
        self.keep_identity()?;
        self.published_size = size;
        self.published_at = Instant::now();
        self.wanting = (!enough).then_some(note);
        self.shared.published().send_replace(size);
        self.clean_up()
    }

    /// Asks witnesses again for the published checkpoint, while it lacks cosignatures and no newer one is there.
    fn cosign_again(&mut self) -> Result<(), LogError> {
        self.published_at = Instant::now();
        let Some(mut note) = self.wanting.take() else {
            return Ok(());
        };
        let before = note.signatures().len();
        let enough = self.cosign(&mut note, self.published_size)?;
        if note.signatures().len() > before {
            self.put(&note)?;
            self.shared.published().send_replace(self.published_size);
        }
        self.wanting = (!enough).then_some(note);
        Ok(())
    }

    /// Adds cosignatures that the note lacks; says whether they are enough.
    fn cosign(&self, note: &mut Note, size: u64) -> Result<bool, LogError> {
        let given = self.shared.cosign(&note.to_string(), size).map_err(LogError::Condemned)?;
        for signature in given.signatures {
            let held = |held: &NoteSignature| held.name == signature.name && held.key_id == signature.key_id;
            if !note.signatures().iter().any(held) {
                note.add(signature);
            }
        }
        Ok(given.enough)
    }

    /// Names the key in use in `wal/identity`, once a checkpoint that it signed is published.
    fn keep_identity(&mut self) -> Result<(), LogError> {
        let now = self.key.verifier();
        if now != self.identity {
            let identity = encode_identity(&now);
            self.disk.replace(&self.home.publish_temp(), &self.home.identity(), &identity)?;
            self.disk.sync_dir(&self.home.wal())?;
            tracing::info!(key = now.label(), before = self.identity.label(), "the log's key has changed");
            self.identity = now;
        }
        Ok(())
    }

    fn put(&self, note: &Note) -> Result<(), LogError> {
        let note = note.to_string();
        self.disk.replace(&self.home.publish_temp(), &self.home.checkpoint(), note.as_bytes())?;
        self.disk.sync_dir(self.home.dir())
    }

    /// Removes what the published checkpoint made needless: partial tiles that are full now, and whole segments.
    fn clean_up(&mut self) -> Result<(), LogError> {
        for dir in std::mem::take(&mut self.superseded) {
            self.durable_dirs.remove(&dir);
            self.disk.remove_dir(&dir)?;
        }
        for segment in self.wal.take_finished() {
            self.disk.remove(&self.home.segment(segment))?;
        }
        Ok(())
    }

    /// Writes a full tile. One that is there already, from before a restart, must be the same: full tiles never change.
    fn write_full(&mut self, id: TileId, bytes: &[u8]) -> Result<(), LogError> {
        self.superseded.push(self.home.partials_of(id));
        let path = self.home.tile(id);
        if !fs::exists(&path).trying("look at", &path)? {
            return self.write(id, bytes);
        }
        if fs::read(&path).trying("read", &path)? != bytes {
            let what = "it differs from what the write-ahead log holds".to_owned();
            return Err(LogError::Corrupt { path, offset: 0, what });
        }
        if let Some(dir) = path.parent() {
            self.prepare_dir(dir)?;
            self.unflushed.insert(dir.to_owned());
        }
        Ok(())
    }

    /// Creates a folder for tiles, durably, unless this process already did.
    fn prepare_dir(&mut self, dir: &Path) -> Result<(), LogError> {
        if self.durable_dirs.contains(dir) {
            return Ok(());
        }
        self.disk.create_dir(self.home.dir(), dir)?;
        if self.durable_dirs.len() == DURABLE_DIRS_MAX {
            self.durable_dirs.clear();
        }
        self.durable_dirs.insert(dir.to_owned());
        Ok(())
    }

    fn write(&mut self, id: TileId, bytes: &[u8]) -> Result<(), LogError> {
        let path = self.home.tile(id);
        if let Some(dir) = path.parent() {
            self.prepare_dir(dir)?;
            self.unflushed.insert(dir.to_owned());
        }
        self.disk.replace(&self.home.publish_temp(), &path, bytes)?;
        Ok(())
    }
}

/// How many folders the publisher remembers as durable. Forgetting one costs a few flushes.
const DURABLE_DIRS_MAX: usize = 4096;

/// Reads the frames of the write-ahead log in order, from segment to segment.
struct WalFollower {
    home: Home,
    file: File,
    nonce: [u8; NONCE_BYTES],
    at: Position,
    /// Segments read to their end, not yet removed.
    finished: Vec<u64>,
}

impl WalFollower {
    fn open(home: &Home, at: Position) -> Result<Self, LogError> {
        let path = home.segment(at.segment);
        let file = File::open(&path).trying("open", &path)?;
        let mut header = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut header, 0).trying("read", &path)?;
        let header = SegmentHeader::parse(&header).map_err(|fault| LogError::Corrupt {
            path,
            offset: 0,
            what: fault.to_string(),
        })?;
        Ok(Self { home: home.clone(), file, nonce: header.nonce, at, finished: Vec::new() })
    }

    /// Reads the next frame into `buffer`; false at `limit`. `size` is the number of entries read so far.
    fn read_frame(&mut self, limit: Position, size: u64, buffer: &mut Vec<u8>) -> Result<bool, LogError> {
        if self.at == limit {
            return Ok(false);
        }
        let path = self.home.segment(self.at.segment);
        let length = self.file.metadata().trying("look at", &path)?.len();
        if self.at.offset == length && self.at.segment < limit.segment {
            let next = Position { segment: size, offset: SEGMENT_HEADER_BYTES as u64 };
            let finished = self.at.segment;
            let mut finished_before = std::mem::take(&mut self.finished);
            *self = Self::open(&self.home, next)?;
            finished_before.push(finished);
            self.finished = finished_before;
            return self.read_frame(limit, size, buffer);
        }
        buffer.resize(FRAME_HEADER_BYTES, 0);
        self.file.read_exact_at(buffer, self.at.offset).trying("read", &path)?;
        let bytes = wal::frame_bytes(&self.nonce, buffer).map_err(|fault| self.corrupt(fault))?;
        if bytes > FRAME_BYTES_MAX {
            return Err(self.corrupt(wal::FrameFault::Shape));
        }
        buffer.resize(bytes, 0);
        self.file.read_exact_at(buffer, self.at.offset).trying("read", &path)?;
        self.at.offset += bytes as u64;
        Ok(true)
    }

    /// Parses the frame that was read last.
    fn parse<'a>(&self, frame: &'a [u8]) -> Result<Frame<'a>, LogError> {
        Frame::parse(&self.nonce, frame).map_err(|fault| self.corrupt(fault))
    }

    fn take_finished(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.finished)
    }

    fn corrupt(&self, fault: wal::FrameFault) -> LogError {
        LogError::Corrupt {
            path: self.home.segment(self.at.segment),
            offset: self.at.offset,
            what: fault.to_string(),
        }
    }
}
