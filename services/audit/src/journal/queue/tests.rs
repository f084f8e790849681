//! Bounds of the queue, and what it lets gather.

use super::*;
use crate::hash::leaf_hash;
use crate::journal::account::MARK_BYTES;
use proptest::prelude::*;

fn queue(limits: Limits) -> Queue {
    let now = Instant::now();
    let start = Start {
        next_seq: 1,
        segment_offset: SEGMENT_HEADER_BYTES as u64,
        acknowledged: 0,
        backlog_bytes: 0,
        backlog_since: now,
    };
    Queue::new(limits, start)
}

fn append(queue: &Queue, record: &[u8]) -> Result<u64, AppendError> {
    queue.append(Tag::Record, record, leaf_hash(record), None, Role::Alone)
}

const WIDE: Limits =
    Limits { segment_bytes: 1 << 30, backlog_records: u64::MAX, backlog_bytes: u64::MAX, gathers: false };

#[test]
fn the_backlog_is_bounded_by_records_and_by_bytes() {
    let by_records = queue(Limits { backlog_records: 3, ..WIDE });
    for seq in 1..=3 {
        assert_eq!(append(&by_records, b"abcd"), Ok(seq));
    }
    assert_eq!(append(&by_records, b"abcd"), Err(AppendError::Full));
    by_records.acknowledge(1);
    assert_eq!(append(&by_records, b"abcd"), Ok(4));
    assert_eq!(append(&by_records, b"abcd"), Err(AppendError::Full));

    let by_bytes = queue(Limits { backlog_bytes: 60, ..WIDE });
    assert_eq!((append(&by_bytes, &[1; 14]), append(&by_bytes, &[1; 14])), (Ok(1), Ok(2)));
    assert_eq!(append(&by_bytes, b""), Err(AppendError::Full));
    by_bytes.acknowledge(2);
    assert_eq!(append(&by_bytes, b""), Ok(3));
    assert_eq!(by_bytes.backlog(Instant::now()).records, 1);
}

#[test]
fn the_queue_before_the_disk_is_bounded() {
    let queue = queue(WIDE);
    let record = [7; RECORD_BYTES_MAX];
    let taken = (0..20_000).take_while(|_| append(&queue, &record).is_ok()).count();
    assert!(
        (taken + 1) * (record.len() + FRAME_HEADER_BYTES) + 40 * MARKER_BYTES > QUEUE_BYTES_MAX,
        "{taken}"
    );
    assert!(taken * (record.len() + FRAME_HEADER_BYTES) <= QUEUE_BYTES_MAX, "{taken}");
    let Work::Commit(draft) = queue.next(Draft::like(0, 0), false, false) else { panic!("no draft") };
    assert!(draft.bytes.len() <= GROUP_BYTES_MAX);
    assert!(append(&queue, &record).is_ok());
    assert_eq!(append(&queue, &[0; RECORD_BYTES_MAX + 1]), Err(AppendError::TooLarge { bytes: 4097 }));
}

#[test]
fn what_nobody_waits_for_gathers_and_leaves_with_what_somebody_does() {
    let queue = queue(WIDE);
    let owed =
        |record: &[u8]| queue.append(Tag::Record, record, leaf_hash(record), None, Role::Closing).unwrap();
    let next = || match queue.next(Draft::like(0, 0), false, false) {
        Work::Commit(draft) => draft.last_seq(),
        other => panic!("{other:?}"),
    };
    owed(b"a");
    owed(b"b");
    let begun = Instant::now();
    assert_eq!(next(), 2);
    assert!(begun.elapsed() >= LINGER / 2, "nothing had time to gather");
    owed(b"c");
    append(&queue, b"d").unwrap();
    assert_eq!(next(), 4);
    // A thread that waits for company is woken by a record that somebody waits for.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(next);
        std::thread::park_timeout(Duration::from_millis(20));
        owed(b"e");
        append(&queue, b"f").unwrap();
        assert!(waiter.join().unwrap() >= 5);
    });
}

#[test]
fn a_crowd_gathers_until_a_thread_rests_but_not_for_long() {
    let next = |queue: &Queue| match queue.next(Draft::like(0, 0), false, false) {
        Work::Commit(draft) => draft.leaves.len(),
        other => panic!("{other:?}"),
    };
    let fill = |queue: &Queue, records| {
        for _ in 0..records {
            append(queue, b"x").unwrap();
        }
    };
    let gathering = queue(Limits { gathers: true, ..WIDE });
    fill(&gathering, CROWD_RECORDS - 1);
    assert_eq!(next(&gathering), CROWD_RECORDS - 1, "few go at once");
    fill(&gathering, CROWD_RECORDS);
    assert_eq!(next(&gathering), CROWD_RECORDS, "they are known for a crowd when they go");

    // Now each group gathers: what comes while the journal's thread waits goes with it once a thread rests.
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| next(&gathering));
        fill(&gathering, CROWD_RECORDS);
        gathering.rest();
        assert!(waiter.join().unwrap() >= CROWD_RECORDS);
    });
    // A thread that rested before there was anything does not count, and nobody waits longer than that.
    gathering.rest();
    fill(&gathering, 1);
    let begun = Instant::now();
    assert_eq!(next(&gathering), 1);
    assert!(begun.elapsed() >= LINGER / 2, "it did not gather");
    fill(&gathering, 1);
    let begun = Instant::now();
    assert_eq!(next(&gathering), 1);
    assert!(begun.elapsed() < LINGER, "one record is no crowd");

    // Where nobody says that he rests, nothing waits for it.
    let plain = queue(WIDE);
    fill(&plain, 2 * CROWD_RECORDS);
    assert_eq!(next(&plain), 2 * CROWD_RECORDS);
    fill(&plain, 1);
    let begun = Instant::now();
    assert_eq!(next(&plain), 1);
    assert!(begun.elapsed() < LINGER);
}

#[test]
fn a_full_disk_refuses_only_what_has_no_place() {
    let queue = queue(Limits { segment_bytes: 1000, ..WIDE });
    queue.disk_full();
    let taken = (0..100).take_while(|_| append(&queue, &[1; 84]).is_ok()).count();
    assert_eq!(taken, (1000 - SEGMENT_HEADER_BYTES - 2 * MARKER_BYTES) / 100);
    assert_eq!(append(&queue, &[1; 84]), Err(AppendError::DiskFull));
    queue.spare_made();
    assert!(append(&queue, &[1; 84]).is_ok());
    queue.close();
    assert_eq!(append(&queue, b"x"), Err(AppendError::Closed));
}

proptest! {
    /// Whatever is taken in while the disk is full, each opening among it can be closed, by a record of any size.
    #[test]
    fn on_a_full_disk_nothing_is_begun_that_cannot_be_ended(
        spares in 0..4_u8, steps in prop::collection::vec((0..3_u8, 0..=RECORD_BYTES_MAX), 1..400),
    ) {
        let queue = queue(Limits { segment_bytes: 64 * 1024, ..WIDE });
        (0..spares).for_each(|_| queue.spare_made());
        queue.disk_full();
        let say = |role, size: usize| {
            queue.append(Tag::Record, &vec![7; size], leaf_hash(b""), None, role)
        };
        let mut open = 0_u32;
        for (step, size) in steps {
            match step {
                0 if say(Role::Opening, size).is_ok() => open += 1,
                1 if open > 0 => {
                    prop_assert!(say(Role::Closing, size).is_ok(), "{open} are open");
                    open -= 1;
                }
                _ => drop(say(Role::Alone, size)),
            }
        }
        for left in (0..open).rev() {
            prop_assert!(say(Role::Closing, RECORD_BYTES_MAX).is_ok(), "{left} more are open");
        }
    }

    #[test]
    fn the_byte_account_never_understates(
        sizes in prop::collection::vec(0..4000_usize, 1..200), acknowledged in any::<prop::sample::Index>(),
    ) {
        let queue = queue(WIDE);
        for size in &sizes {
            append(&queue, &vec![0; *size]).unwrap();
        }
        let acknowledged = acknowledged.index(sizes.len() + 1);
        queue.acknowledge(acknowledged as u64);
        let owed: usize = sizes[acknowledged..].iter().map(|size| size + FRAME_HEADER_BYTES).sum();
        let backlog = queue.backlog(Instant::now());
        prop_assert_eq!(backlog.records, (sizes.len() - acknowledged) as u64);
        prop_assert!(backlog.bytes >= owed as u64);
        prop_assert!(backlog.bytes <= owed as u64 + MARK_BYTES + 4096);
        prop_assert!(owed > 0 || backlog.bytes == 0);
    }
}
