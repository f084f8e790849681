//! Power cuts, simulated: of what was written since the last sync, any sectors may be on the platter.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::journal::disk::SystemDisk;
use crate::journal::frame::{Read, SEGMENT_HEADER_BYTES, Tag, read};
use crate::journal::recover;

/// What a disk writes at once.
const SECTOR_BYTES: usize = 512;

/// A disk whose power fails at its `cut`-th write or sync: what would then be found is laid down in `found`.
#[derive(Debug)]
struct WeakDisk {
    dir: PathBuf,
    found: PathBuf,
    /// Which sectors of unsynced writes arrived, as a stream of bits.
    luck: Vec<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: usize,
    /// What is safe of each file, by inode.
    safe: HashMap<u64, Vec<u8>>,
    /// What was written since, in order.
    unsafe_writes: Vec<(u64, usize, Vec<u8>)>,
    written_seq: u64,
    synced_seq: u64,
    /// The last record synced before the cut.
    promised: Option<u64>,
}

impl WeakDisk {
    /// Counts down to the cut.
    fn tick(&self, state: &mut State) {
        if state.promised.is_some() {
            return;
        }
        if state.cut > 0 {
            state.cut -= 1;
            return;
        }
        state.promised = Some(state.synced_seq);
        fs::create_dir_all(&self.found).unwrap();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                continue;
            }
            let bytes = match state.safe.get(&metadata.ino()) {
                Some(safe) => self.at_the_cut(metadata.ino(), safe.clone(), &state.unsafe_writes),
                None => fs::read(entry.path()).unwrap(),
            };
            fs::write(self.found.join(entry.file_name()), bytes).unwrap();
        }
    }

    fn at_the_cut(&self, inode: u64, mut bytes: Vec<u8>, writes: &[(u64, usize, Vec<u8>)]) -> Vec<u8> {
        // Sectors arrive or not by the luck of their place, whatever the order of the writes to them.
        let arrives = |at: usize| self.luck[(at / SECTOR_BYTES) % self.luck.len()];
        for (_, offset, written) in writes.iter().filter(|(of, ..)| *of == inode) {
            for (at, byte) in (*offset..).zip(written).filter(|(at, _)| arrives(*at)) {
                bytes.resize(bytes.len().max(at + 1), 0);
                bytes[at] = *byte;
            }
        }
        bytes
    }
}

impl Disk for WeakDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        file.write_all_at(bytes, offset)?;
        let inode = file.metadata()?.ino();
        state.safe.entry(inode).or_default();
        state.unsafe_writes.push((inode, usize::try_from(offset).unwrap(), bytes.to_vec()));
        let mut rest = if bytes.len() == SEGMENT_HEADER_BYTES { &[] } else { bytes };
        while let Read::Frame(frame) = read(rest) {
            state.written_seq = if frame.tag == Tag::Commit { state.written_seq } else { frame.seq };
            rest = &rest[frame.size()..];
        }
        self.tick(&mut state);
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        let inode = file.metadata()?.ino();
        let state = &mut *state;
        state.unsafe_writes.retain(|(of, offset, written)| {
            if *of == inode {
                let safe = state.safe.entry(inode).or_default();
                safe.resize(safe.len().max(offset + written.len()), 0);
                safe[*offset..offset + written.len()].copy_from_slice(written);
            }
            *of != inode
        });
        state.synced_seq = state.written_seq;
        self.tick(state);
        Ok(())
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        SystemDisk.reserve(file, bytes)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_costs_nothing_that_was_durable(
        groups in prop::collection::vec(1..12_u64, 1..25),
        cut in 0..80_usize,
        luck in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let (dir, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = JournalOptions { segment_bytes_max: 8 * 1024, ..options() };
        drop(Journal::open(dir.path(), options.clone(), now()).unwrap());
        let found = found.path().join("found");
        let state = Mutex::new(State { cut, ..State::default() });
        let disk = Arc::new(WeakDisk { dir: dir.path().to_owned(), found: found.clone(), luck, state });
        // The first segment is there already, and safe.
        let first = dir.path().join("00000000000000000001.journal");
        let safe = HashMap::from([(fs::metadata(&first).unwrap().ino(), fs::read(&first).unwrap())]);
        disk.state.lock().unwrap().safe = safe;
        let journal = open_on(dir.path(), &disk, options.clone());
        let mut appended = 0;
        for group in groups {
            for _ in 0..group {
                appended = journal.handle().append(denial(appended + 1)).unwrap().seq;
            }
            wait(&journal.handle(), appended).unwrap();
        }
        drop(journal);
        let Some(promised) = disk.state.lock().unwrap().promised else { return Ok(()) };

        let journal = Journal::open(&found, options, now()).unwrap();
        let kept = journal.durable_seq();
        prop_assert!(kept >= promised, "{} of {} promised records", kept, promised);
        prop_assert!(kept <= appended);
        let mut records = Vec::new();
        recover::scan_all(&journal.shared.folder, journal.epoch(), 1, |found| records.push(found.body.to_vec())).unwrap();
        prop_assert_eq!(records, (1..=kept).map(denial).collect::<Vec<_>>());
        prop_assert_eq!(commit(&journal.handle(), denial(0)).seq, kept + 1);
    }
}
