//! Waiters: all of them, none early, on several runtimes, however they are treated.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use super::faults::FaultyDisk;
use super::*;

/// Each of `threads` runtimes runs `tasks` tasks of `rounds` records. Returns the records that were waited for.
fn load(
    journal: &Journal,
    disk: &Arc<FaultyDisk>,
    threads: u64,
    tasks: u64,
    rounds: u64,
    impatient: bool,
) -> u64 {
    let waited = Arc::new(AtomicU64::new(0));
    let spawn = |thread: u64| {
        let (handle, disk, waited) = (journal.handle(), Arc::clone(disk), Arc::clone(&waited));
        std::thread::spawn(move || {
            runtime().block_on(async {
                let task = |task: u64| {
                    let (handle, disk, waited) = (handle.clone(), Arc::clone(&disk), Arc::clone(&waited));
                    tokio::spawn(async move {
                        for round in 0..rounds {
                            let ticket = handle.append(denial(thread << 32 | task << 16 | round)).unwrap();
                            let durable = handle.durable(ticket.seq);
                            if impatient && (round + task).is_multiple_of(3) {
                                // Dropped while it waits, perhaps as the leader.
                                let _ = tokio::time::timeout(Duration::from_micros(50 * (task % 7)), durable)
                                    .await;
                                continue;
                            }
                            tokio::time::timeout(PATIENCE, durable)
                                .await
                                .expect("a waiter was forgotten")
                                .unwrap();
                            assert!(disk.synced_seq() >= ticket.seq, "woken before fdatasync");
                            waited.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                };
                for task in (0..tasks).map(task).collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            });
        })
    };
    for thread in (0..threads).map(spawn).collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    waited.load(Ordering::Relaxed)
}

fn wide() -> JournalOptions {
    JournalOptions { segment_bytes_max: 64 * 1024, backlog_bytes_max: 8 * 1024 * 1024, ..options() }
}

#[test]
fn all_waiters_wake_and_none_before_the_sync() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, wide());
    assert_eq!(load(&journal, &disk, 4, 32, 20, false), 4 * 32 * 20);
    journal.close().unwrap();
    assert_eq!(crate::journal::check(dir.path()).unwrap().last_seq, 4 * 32 * 20);
}

#[test]
fn waiters_that_give_up_take_nobody_with_them() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, wide());
    let waited = load(&journal, &disk, 3, 24, 30, true);
    assert_eq!(waited, 3 * 24 * 20);
}

#[test]
fn nobody_is_woken_while_the_disk_stands_still() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(FaultyDisk::default()));
    let journal = open_on(dir.path(), &disk, wide());
    disk.pause();
    let handle = journal.handle();
    let tickets: Vec<_> = (0..100).map(|n| handle.append(denial(n)).unwrap()).collect();
    runtime().block_on(async {
        let waits: Vec<_> = tickets.iter().map(|ticket| tokio::spawn(handle.durable(ticket.seq))).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        assert_eq!(handle.durable_seq(), 0);
        disk.resume();
        for wait in waits {
            tokio::time::timeout(PATIENCE, wait).await.expect("a waiter was forgotten").unwrap().unwrap();
        }
    });
    assert_eq!(journal.durable_seq(), 100);
    // One write was under way, all others came in the next group.
    assert!(disk.syncs() <= 4, "{} syncs for two groups", disk.syncs());
}

#[test]
fn a_leader_that_is_forgotten_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let handle = journal.handle();
    runtime().block_on(async {
        let ticket = handle.append(denial(1)).unwrap();
        // Polled once, then held and never polled again.
        let mut forgotten = pin!(handle.durable(ticket.seq + 1));
        assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let second = handle.append(denial(2)).unwrap();
        let other = handle.durable(second.seq);
        tokio::time::timeout(PATIENCE, other).await.expect("held up by a forgotten waiter").unwrap();
        assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    });
}

#[test]
fn what_is_durable_already_needs_no_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let ticket = commit(&journal.handle(), denial(1));
    let mut wait = pin!(journal.handle().durable(ticket.seq));
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}
