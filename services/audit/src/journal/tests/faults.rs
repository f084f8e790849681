//! A disk that pauses, fails and fills; what the journal does then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Condvar, Mutex};

use super::*;
use crate::digest::ExchangeKey;
use crate::journal::frame::{Read, SEGMENT_HEADER_BYTES, Tag, read};
use crate::journal::{AppendError, check};
use crate::keys::{KeyFiles, KeyRow};

/// A real disk with a will of its own. Knows which record was synced last.
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // switches of a test
struct State {
    paused: bool,
    full: bool,
    fail_write: bool,
    fail_sync: bool,
    fail_sync_folder: bool,
    panic: bool,
    written_seq: u64,
    synced_seq: u64,
    syncs: u64,
}

impl FaultyDisk {
    pub fn pause(&self) {
        crate::journal::lock(&self.state).paused = true;
    }

    pub fn resume(&self) {
        crate::journal::lock(&self.state).paused = false;
        self.changed.notify_all();
    }

    pub fn synced_seq(&self) -> u64 {
        crate::journal::lock(&self.state).synced_seq
    }

    pub fn syncs(&self) -> u64 {
        crate::journal::lock(&self.state).syncs
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut crate::journal::lock(&self.state));
        self.changed.notify_all();
    }
}

impl Disk for FaultyDisk {
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let state = crate::journal::lock(&self.state);
        let mut state = self.changed.wait_while(state, |state| state.paused).unwrap();
        assert!(!state.panic, "on purpose");
        if state.fail_write {
            // Half of it reaches the disk, as in life.
            file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, offset)?;
        let mut rest = if bytes.len() == SEGMENT_HEADER_BYTES { &[] } else { bytes };
        while let Read::Frame(frame) = read(rest) {
            if frame.tag != Tag::Commit {
                assert_eq!(frame.seq, state.written_seq + 1, "records are written in order");
                state.written_seq = frame.seq;
            }
            rest = &rest[frame.size()..];
        }
        assert!(rest.is_empty(), "a write is made of whole frames");
        Ok(())
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        let before = crate::journal::lock(&self.state).written_seq;
        file.sync_data()?;
        let mut state = crate::journal::lock(&self.state);
        if state.fail_sync {
            return Err(io::Error::other("the platter is gone"));
        }
        state.synced_seq = before;
        state.syncs += 1;
        Ok(())
    }

    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        if crate::journal::lock(&self.state).full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        crate::journal::disk::SystemDisk.reserve(file, bytes)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if crate::journal::lock(&self.state).fail_sync_folder {
            return Err(io::Error::other("the folder is gone"));
        }
        crate::journal::disk::SystemDisk.sync_folder(folder)
    }
}

#[test]
fn an_error_of_sync_ends_the_journal_for_everybody() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, options());
    let handle = journal.handle();
    commit(&handle, denial(1));
    disk.pause();
    let tickets: Vec<_> = (0..20).map(|n| handle.append(denial(n)).unwrap()).collect();
    runtime().block_on(async {
        let waits: Vec<_> = tickets.iter().map(|ticket| tokio::spawn(handle.durable(ticket.seq))).collect();
        tokio::task::yield_now().await;
        disk.change(|state| (state.fail_sync, state.paused) = (true, false));
        for wait in waits {
            let outcome =
                tokio::time::timeout(PATIENCE, wait).await.expect("a waiter was forgotten").unwrap();
            assert!(matches!(outcome, Err(JournalError::Fatal { action: "sync", .. })), "{outcome:?}");
        }
    });
    assert_eq!(handle.append(denial(1)), Err(AppendError::Closed));
    assert!(wait(&handle, 1).is_ok(), "what was acknowledged stays");
    assert!(matches!(handle.failure(), Some(JournalError::Fatal { .. })));
    let error = journal.close().unwrap_err();
    assert!(error.to_string().contains("the node must stop"), "{error}");
    // What was written is whole, so it is kept; nothing that was acknowledged is lost.
    assert!(check(dir.path()).unwrap().last_seq >= 1);
    open(dir.path());
}

#[test]
fn an_error_of_write_ends_it_too_and_what_was_acknowledged_stays() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, options());
    let handle = journal.handle();
    for n in 0..5 {
        commit(&handle, denial(n));
    }
    disk.change(|state| state.fail_write = true);
    let ticket = handle.append(denial(6)).ok();
    if let Some(ticket) = ticket {
        assert!(wait(&handle, ticket.seq).is_err());
    }
    assert_eq!(handle.append(denial(7)), Err(AppendError::Closed));
    drop(journal);
    let journal = open(dir.path());
    assert_eq!(journal.durable_seq(), 5);
    assert_eq!(commit(&journal.handle(), denial(8)).seq, 6);
}

#[test]
fn a_panic_of_the_thread_leaves_nobody_waiting() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, options());
    let handle = journal.handle();
    disk.pause();
    let ticket = handle.append(denial(1)).unwrap();
    disk.change(|state| (state.panic, state.paused) = (true, false));
    assert!(matches!(wait(&handle, ticket.seq), Err(JournalError::Fatal { .. })));
    assert_eq!(handle.append(denial(2)), Err(AppendError::Closed));
    assert!(journal.close().is_err());
    assert_eq!(open(dir.path()).durable_seq(), 0);
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let tight = JournalOptions { segment_bytes_max: 8 * 1024, backlog_bytes_max: 1024 * 1024, ..options() };
    disk.change(|state| state.full = true);
    let journal = open_on(dir.path(), &disk, tight);
    let handle = journal.handle();
    let mut taken = 0;
    let refused = loop {
        match handle.append(denial(taken)) {
            Ok(ticket) => taken = ticket.seq,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert!(taken > 10);
    // Everything that was taken had its place, and becomes durable.
    wait(&handle, taken).unwrap();
    disk.change(|state| state.full = false);
    let deadline = std::time::Instant::now() + PATIENCE;
    while handle.append(denial(1)).is_err() {
        assert!(std::time::Instant::now() < deadline, "no space was reserved again");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    wait(&handle, taken + 1).unwrap();
}

/// Openings are refused while there still is place for the closings of those before them: an exchange that was let in is on
/// record whole, however long the disk stays full.
#[test]
fn every_exchange_that_was_let_in_is_closed_on_a_full_disk() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    disk.change(|state| state.full = true);
    let tight =
        || JournalOptions { segment_bytes_max: 64 * 1024, backlog_bytes_max: 128 * 1024, ..options() };
    let journal = open_on(dir.path(), &disk, tight());
    let handle = journal.handle();
    let mut open = Vec::new();
    let refused = loop {
        let number = open.len() as u64;
        let exchange = u128::from(number).to_be_bytes();
        let keys = KeyRow { exchange, key: ExchangeKey::from_bytes([9; 32]), salt: [5; 16] };
        match handle.append_with_keys(opening(number), keys) {
            Ok(ticket) => open.push(ticket),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert!(open.len() > 10, "{}", open.len());
    for (number, ticket) in (0..).zip(&open) {
        let ended =
            handle.append_owed(closing(number, ticket)).expect("an exchange that was let in is closed");
        wait(&handle, ended.seq).unwrap();
    }
    drop(journal);
    assert_eq!(open_on(dir.path(), &disk, tight()).sweep(), []);
}

#[test]
fn a_journal_closes_on_a_full_disk() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let tight = JournalOptions { segment_bytes_max: 8 * 1024, backlog_bytes_max: 8 * 1024, ..options() };
    let journal = open_on(dir.path(), &disk, tight);
    disk.change(|state| state.full = true);
    let handle = journal.handle();
    while handle.append(denial(1)).is_ok() {}
    journal.close().unwrap();
    check(dir.path()).unwrap();
}

#[test]
fn the_backlog_is_bounded_until_the_broker_acknowledges() {
    let dir = tempfile::tempdir().unwrap();
    let journal =
        Journal::open(dir.path(), JournalOptions { backlog_records_max: 10, ..options() }, now()).unwrap();
    let handle = journal.handle();
    let last = (0..10).map(|n| commit(&handle, denial(n))).fold(None, |_, ticket| Some(ticket)).unwrap();
    assert_eq!(handle.append(denial(11)), Err(AppendError::Full));
    assert_eq!(journal.backlog().records, 10);
    let start = crate::batch::Position::start(journal.epoch()).to_proto();
    let mut shipper = journal.shipper(&start).unwrap();
    // A batch takes what is sealed: the newest record is durable a moment before.
    while shipper.position().last_seq < last.seq {
        runtime().block_on(shipper.ready(now())).unwrap();
        shipper.next_batch(now(), |_| Ok::<_, String>(vec![1])).unwrap().unwrap();
        shipper.acknowledge(shipper.position().last_seq).unwrap();
    }
    assert_eq!(journal.backlog().records, 0);
    assert_eq!(commit(&handle, denial(11)).seq, 11);
}

/// Beginning a new file of keys may fail for a while: what could not be taken is taken later, and what was taken stays.
#[test]
fn keys_go_on_once_their_folder_can_be_synced_again() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let open = || KeyFiles::open_on(dir.path(), 2, Arc::clone(&disk) as Arc<dyn Disk>).unwrap();
    let row = |n: u8| KeyRow { exchange: [n; 16], key: ExchangeKey::from_bytes([n; 32]), salt: [n; 16] };
    let mut keys = open();
    keys.append(&mut vec![row(1)]).unwrap();
    disk.change(|state| state.fail_sync_folder = true);
    // The first of them still has its place; a batch that is tried again writes it no second time.
    let mut batch = vec![row(2), row(3), row(4)];
    for _ in 0..2 {
        assert_eq!(keys.append(&mut batch).unwrap_err().to_string(), "the folder is gone");
        assert_eq!(batch, [row(3), row(4)]);
        assert_eq!(keys.find(&[2; 16]).unwrap(), [row(2)]);
        assert_eq!(keys.find(&[3; 16]).unwrap(), []);
    }
    disk.change(|state| state.fail_sync_folder = false);
    batch.push(row(5));
    keys.append(&mut batch).unwrap();
    keys.sync().unwrap();
    for keys in [keys, open()] {
        for n in 1..=5 {
            assert_eq!(keys.find(&[n; 16]).unwrap(), [row(n)], "{n}");
        }
    }
}
