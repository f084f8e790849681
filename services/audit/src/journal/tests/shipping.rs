//! Batches: what is shipped, in which form, from where, and again after what.

use std::fs;

use lienthong_proto::lienthong::audit::v1::{
    Closing, JournalPosition, Receipt, SignedBatch, batch_item, record::Body,
};

use super::*;
use crate::batch::{BATCH_RECORDS_MAX, BatchError, Checker, Position};
use crate::digest::SALT_BYTES;
use crate::journal::{LATE_OPENING_AFTER, ShipError, Shipper, SubjectRow};
use crate::sealed::{self, IndexSecret};

type Outcome<T> = Result<T, String>;

#[allow(clippy::unnecessary_wraps)]
fn sign(message: &[u8]) -> Outcome<Vec<u8>> {
    Ok(crate::hash::sha256(message).0.to_vec())
}

fn verify(message: &[u8], signature: &[u8]) -> Outcome<()> {
    let signed = crate::hash::sha256(message);
    (signed.0[..] == *signature).then_some(()).ok_or_else(|| "not signed".to_owned())
}

fn start(journal: &Journal) -> JournalPosition {
    Position::start(journal.epoch()).to_proto()
}

/// A broker: judges batches and keeps their entries.
struct Broker {
    checker: Checker,
    log: Vec<Vec<u8>>,
}

impl Broker {
    fn new(journal: &Journal) -> Self {
        Self { checker: Checker::new("G01/node-1", Position::start(journal.epoch())), log: Vec::new() }
    }

    fn take(&mut self, batch: &SignedBatch) -> Result<u64, BatchError> {
        let checked = self.checker.check(batch, verify)?;
        self.log.extend(checked.entries.iter().map(|entry| entry.bytes.to_vec()));
        self.checker.accept(checked.position);
        Ok(checked.position.last_seq)
    }

    fn position(&self) -> JournalPosition {
        self.checker.position().to_proto()
    }

    /// Takes everything there is, acknowledging each batch.
    fn drain(&mut self, shipper: &mut Shipper, time: SystemTime) -> usize {
        let mut batches = 0;
        while let Some(batch) = shipper.next_batch(time, sign).unwrap() {
            assert!(batch.items.len() + batch.late_openings.len() <= BATCH_RECORDS_MAX);
            let last_seq = self.take(&batch).unwrap();
            shipper.acknowledge(last_seq).unwrap();
            batches += 1;
        }
        batches
    }
}

fn wide() -> JournalOptions {
    JournalOptions { backlog_bytes_max: 4 * 1024 * 1024, ..options() }
}

/// Waits until everything appended can be shipped.
fn settle(journal: &Journal) {
    let sealed = super::super::Wait::new(Arc::clone(&journal.shared.sealed), journal.last_seq());
    runtime().block_on(async { tokio::time::timeout(PATIENCE, sealed).await.unwrap().unwrap() });
}

#[test]
fn a_closing_speaks_for_its_opening() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let (handle, mut expected) = (journal.handle(), Vec::new());
    for n in 0..700 {
        let opened = handle.append(opening(n)).unwrap();
        expected.push(denial(n + 10_000));
        expected.push(closing(n, &opened));
        handle.append(&expected[expected.len() - 2]).unwrap();
        handle.append(&expected[expected.len() - 1]).unwrap();
    }
    settle(&journal);
    let (mut broker, mut shipper) = (Broker::new(&journal), journal.shipper(&start(&journal)).unwrap());
    assert_eq!(broker.drain(&mut shipper, now()), 2100_usize.div_ceil(BATCH_RECORDS_MAX));
    assert_eq!(broker.log, expected);
    assert_eq!(journal.backlog().records, 0);
    assert_eq!(journal.backlog().bytes, 0);
    // Hours later nothing is late.
    assert_eq!(broker.drain(&mut shipper, now() + Duration::from_secs(7200)), 0);
}

#[test]
fn memory_and_files_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for tail_bytes_max in [0, 20_000, 16 << 20] {
        let options = JournalOptions { tail_bytes_max, ..wide() };
        let journal = Journal::open(dir.path(), options, now()).unwrap();
        for n in 0..500 {
            journal.handle().append(denial(n)).unwrap();
        }
        settle(&journal);
        let (mut broker, mut shipper) = (Broker::new(&journal), journal.shipper(&start(&journal)).unwrap());
        broker.drain(&mut shipper, now());
        found.push((broker.log.len(), *broker.checker.position()));
        let before: Vec<Vec<u8>> = broker.log.iter().take(500).cloned().collect();
        assert_eq!(before, (0..500).map(denial).collect::<Vec<_>>());
        // Nothing was told to be held by the broker as far as the next round is concerned.
        journal.close().unwrap();
        fs::remove_file(dir.path().join("acknowledged")).unwrap();
    }
    assert_eq!(found.iter().map(|(records, _)| *records).collect::<Vec<_>>(), [500, 1000, 1500]);
}

#[test]
fn shipping_resumes_exactly_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let mut broker = Broker::new(&journal);
    drop(journal);
    let mut appended = Vec::new();
    for round in 0..6_u64 {
        let journal = Journal::open(dir.path(), wide(), now()).unwrap();
        let mut shipper = journal.shipper(&broker.position()).unwrap();
        for n in 0..600 {
            appended.push(denial(round * 1000 + n));
            journal.handle().append(appended.last().unwrap()).unwrap();
        }
        settle(&journal);
        // Some batches arrive; of the last the receipt is lost; some never arrive.
        let batches: Vec<_> = (0..3).map_while(|_| shipper.next_batch(now(), sign).unwrap()).collect();
        for batch in batches.iter().take(usize::try_from(round).unwrap() % 3) {
            broker.take(batch).unwrap();
        }
        if round == 4 {
            // The stream breaks, and the broker tells where it is.
            shipper.resume(&broker.position()).unwrap();
            broker.drain(&mut shipper, now());
        }
    }
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    broker.drain(&mut journal.shipper(&broker.position()).unwrap(), now());
    assert_eq!(broker.log, appended);
}

#[test]
fn an_opening_without_closing_is_sent_late_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let handle = journal.handle();
    let lonely = handle.append(opening(1)).unwrap();
    let closed = handle.append(opening(2)).unwrap();
    settle(&journal);
    let (mut broker, mut shipper) = (Broker::new(&journal), journal.shipper(&start(&journal)).unwrap());
    assert_eq!(broker.drain(&mut shipper, now()), 1);
    assert!(broker.log.is_empty(), "both are elided at first");
    handle.append(closing(2, &closed)).unwrap();
    settle(&journal);
    assert_eq!(broker.drain(&mut shipper, now() + LATE_OPENING_AFTER - Duration::from_millis(1)), 1);
    assert_eq!(broker.log, [closing(2, &closed)]);

    // It is late, and there is no new record: a batch without items carries it.
    let late = now() + LATE_OPENING_AFTER;
    let batch = shipper.next_batch(late, sign).unwrap().unwrap();
    assert_eq!((batch.items.len(), &batch.late_openings), (0, &vec![opening(1)]));
    assert!(shipper.next_batch(late, sign).unwrap().is_none());
    // The batch is lost with the stream, and comes again.
    shipper.resume(&broker.position()).unwrap();
    assert_eq!(broker.drain(&mut shipper, late), 1);
    assert_eq!(broker.log[1..], [opening(1)]);
    // Acknowledged: it does not come again, even after another break.
    shipper.resume(&broker.position()).unwrap();
    assert_eq!(broker.drain(&mut shipper, late + LATE_OPENING_AFTER), 0);
    // Its closing comes in the end.
    handle.append(closing(1, &lonely)).unwrap();
    settle(&journal);
    assert_eq!(broker.drain(&mut shipper, late + LATE_OPENING_AFTER), 1);
    assert_eq!(broker.log.len(), 3);
}

#[test]
fn ready_waits_for_records_and_for_late_openings() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    runtime().block_on(async {
        let short = Duration::from_millis(30);
        assert!(tokio::time::timeout(short, shipper.ready(now())).await.is_err(), "there is nothing");
        journal.handle().append(opening(1)).unwrap();
        tokio::time::timeout(PATIENCE, shipper.ready(now())).await.unwrap().unwrap();
        shipper.next_batch(now(), sign).unwrap().unwrap();
        assert!(tokio::time::timeout(short, shipper.ready(now())).await.is_err(), "not late yet");
        let nearly = now() + LATE_OPENING_AFTER - Duration::from_millis(20);
        tokio::time::timeout(PATIENCE, shipper.ready(nearly)).await.unwrap().unwrap();
    });
}

#[test]
fn an_opening_under_a_stricter_gate_ships_itself() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let opened = journal.handle().append_whole(opening(1)).unwrap();
    settle(&journal);
    let (mut broker, mut shipper) = (Broker::new(&journal), journal.shipper(&start(&journal)).unwrap());
    broker.drain(&mut shipper, now());
    assert_eq!(broker.log, [opening(1)]);
    assert_eq!(broker.drain(&mut shipper, now() + LATE_OPENING_AFTER), 0);
    journal.handle().append(closing(1, &opened)).unwrap();
    settle(&journal);
    broker.drain(&mut shipper, now());
    assert_eq!(broker.log, [opening(1), closing(1, &opened)]);
}

#[test]
fn a_batch_that_cannot_be_signed_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let opened = journal.handle().append(opening(1)).unwrap();
    journal.handle().append(closing(1, &opened)).unwrap();
    settle(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    let error = shipper.next_batch(now(), |_| Err::<Vec<u8>, _>("no key")).unwrap_err();
    assert!(matches!(error, ShipError::Sign(_)), "{error}");
    assert_eq!(shipper.in_flight(), 0);
    let mut broker = Broker::new(&journal);
    broker.drain(&mut shipper, now());
    assert_eq!(broker.log, [closing(1, &opened)]);
    let heartbeat = shipper.heartbeat(now(), sign).unwrap();
    assert_eq!(broker.take(&heartbeat), Ok(2));
}

#[test]
fn positions_that_are_not_this_journals_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    for n in 0..10 {
        journal.handle().append(denial(n)).unwrap();
    }
    settle(&journal);
    let mut broker = Broker::new(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    assert!(matches!(shipper.acknowledge(1), Err(ShipError::Receipt(_))));
    broker.drain(&mut shipper, now());
    let held = broker.position();
    let told = |change: &dyn Fn(&mut JournalPosition)| {
        let mut position = held.clone();
        change(&mut position);
        journal.shipper(&position).map(drop)
    };
    assert!(told(&|_| {}).is_ok());
    assert!(matches!(told(&|position| position.journal_epoch += 1), Err(ShipError::Epoch { .. })));
    assert!(matches!(
        told(&|position| position.last_seq = 11),
        Err(ShipError::RolledBack { broker: 11, own: 10 })
    ));
    assert!(matches!(told(&|position| position.last_seq = 9), Err(ShipError::Fork { seq: 9, .. })));
    assert!(matches!(told(&|position| position.head[0] ^= 1), Err(ShipError::Fork { seq: 10, .. })));
    assert!(matches!(told(&|position| position.head.clear()), Err(ShipError::Position)));
}

#[test]
fn acknowledged_segments_are_dropped_but_not_what_is_still_open() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { retention_segments_max: 0, ..wide() };
    let journal = Journal::open(dir.path(), options.clone(), now()).unwrap();
    let mut broker = Broker::new(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    let handle = journal.handle();
    let append = |broker: &mut Broker, shipper: &mut Shipper| {
        for n in 0..400 {
            handle.append(denial(n)).unwrap();
        }
        settle(&journal);
        broker.drain(shipper, now());
    };
    let segments = || journal.shared.folder.segments().unwrap();
    let until = |wanted: &dyn Fn(&[u64]) -> bool| {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !wanted(&segments()) {
            assert!(std::time::Instant::now() < deadline, "{:?}", segments());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    };
    append(&mut broker, &mut shipper);
    until(&|segments| segments.len() == 1 && segments[0] > 1);

    let held = segments()[0];
    let opened = journal.handle().append(opening(5)).unwrap();
    append(&mut broker, &mut shipper);
    append(&mut broker, &mut shipper);
    // The first segment that is kept holds the exchange still open.
    until(&|segments| segments[0] >= held && segments[0] <= opened.seq && segments[1] > opened.seq);
    assert!(segments().len() > 2);
    assert!(matches!(journal.shipper(&start(&journal)), Err(ShipError::Dropped { asked: 1, .. })));

    journal.handle().append(closing(5, &opened)).unwrap();
    append(&mut broker, &mut shipper);
    until(&|segments| segments[0] > opened.seq);
    drop(shipper);
    let last = journal.last_seq();
    drop(journal);
    let journal = Journal::open(dir.path(), options, now()).unwrap();
    assert_eq!((journal.last_seq(), journal.backlog().records), (last, 0));
    assert!(journal.sweep().is_empty());
}

#[test]
fn everything_arrives_once_and_in_order_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let options = JournalOptions { tail_bytes_max: 50_000, ..wide() };
    let journal = Journal::open(dir.path(), options, now()).unwrap();
    let mut broker = Broker::new(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    let (threads, records) = (3, 2000);
    let writers: Vec<_> = (0..threads)
        .map(|thread: u64| {
            let handle = journal.handle();
            std::thread::spawn(move || {
                runtime().block_on(async {
                    for n in 0..records {
                        let id = thread * records + n;
                        let opened = handle.append(opening(id)).unwrap();
                        handle.durable(opened.seq).await.unwrap();
                        handle.append(closing(id, &opened)).unwrap();
                    }
                });
            })
        })
        .collect();
    let all = 2 * threads * records;
    runtime().block_on(async {
        while shipper.position().last_seq < all {
            tokio::time::timeout(PATIENCE, shipper.ready(now())).await.unwrap().unwrap();
            let batch = shipper.next_batch(now(), sign).unwrap().expect("it was ready");
            shipper.acknowledge(broker.take(&batch).unwrap()).unwrap();
        }
    });
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(broker.log.len() as u64, threads * records);
    let unique: std::collections::HashSet<_> = broker.log.iter().collect();
    assert_eq!(unique.len(), broker.log.len());
}

#[test]
fn a_receipt_is_for_the_oldest_batch_and_for_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), wide(), now()).unwrap();
    let handle = journal.handle();
    for n in 0..5 {
        handle.append(denial(n)).unwrap();
    }
    settle(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    let receipt = |last_seq, entries| Receipt {
        journal_epoch: journal.epoch(),
        last_seq,
        first_index: 100,
        entries,
        checkpoint: String::new(),
    };
    let wrong = |shipper: &Shipper, receipt: &Receipt| {
        matches!(shipper.judge(receipt, 0), Err(ShipError::Receipt(_)))
    };
    assert!(wrong(&shipper, &receipt(5, 5)), "nothing is on its way");
    shipper.next_batch(now(), sign).unwrap().unwrap();
    handle.append(denial(5)).unwrap();
    let lonely = handle.append(opening(6)).unwrap();
    settle(&journal);
    shipper.next_batch(now(), sign).unwrap().unwrap();
    assert_eq!(shipper.in_flight(), 2);

    // Fewer or more entries than were sent, another batch, another journal: nothing is believed.
    for entries in [0, 1, 4, 6, u64::MAX] {
        assert!(wrong(&shipper, &receipt(5, entries)), "{entries}");
    }
    for last_seq in [0, 4, 6, 7, u64::MAX] {
        assert!(wrong(&shipper, &receipt(last_seq, 5)), "{last_seq}");
        assert!(matches!(shipper.acknowledge(last_seq), Err(ShipError::Receipt(_))), "{last_seq}");
    }
    assert!(wrong(&shipper, &Receipt { journal_epoch: journal.epoch() + 1, ..receipt(5, 5) }));
    assert!(shipper.judge(&Receipt { first_index: u64::MAX, ..receipt(5, 5) }, 3).is_err());
    assert_eq!(journal.backlog().records, 7, "nothing was taken as held");

    // Whichever entry is picked can be asked for.
    for pick in 0..10_u64 {
        let probe = shipper.judge(&receipt(5, 5), pick).unwrap().unwrap();
        assert_eq!((probe.index, probe.leaf), (100 + pick % 5, crate::hash::leaf_hash(&denial(pick % 5))));
    }
    shipper.acknowledge(5).unwrap();
    // The second batch has one record in full; its opening is a hash only.
    assert!(wrong(&shipper, &receipt(7, 2)));
    assert!(shipper.judge(&receipt(7, 1), 9).unwrap().is_some());
    shipper.acknowledge(7).unwrap();

    // A late opening may be on record already, but nothing else may be missing.
    let late = now() + LATE_OPENING_AFTER;
    assert_eq!(shipper.next_batch(late, sign).unwrap().unwrap().late_openings, [opening(6)]);
    assert_eq!(shipper.judge(&receipt(7, 0), 4).unwrap(), None);
    let probe = shipper.judge(&receipt(7, 1), 4).unwrap().unwrap();
    assert_eq!((probe.index, probe.leaf), (100, lonely.leaf_hash));
    assert!(wrong(&shipper, &receipt(7, 2)));
}

/// A closing record about these people, and what opens its commitments.
fn closing_about(id: u64, ids: &[&str]) -> (Vec<u8>, SubjectRow) {
    let salt = [id.to_le_bytes()[0]; SALT_BYTES];
    let subjects = ids.iter().map(|id| crate::digest::commit(&salt, id).to_vec()).collect();
    let closing = Closing { exchange: Some(exchange(id)), subjects, ..Closing::default() };
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    (encode(Body::Closing(closing)), SubjectRow { salt, ids })
}

/// What the index takes from everything that ships now: ids by log index.
fn told_to_the_index(
    broker: &mut Broker,
    shipper: &mut Shipper,
    secret: &IndexSecret,
) -> Vec<(u64, Vec<String>)> {
    let mut told = Vec::new();
    while let Some(batch) = shipper.next_batch(now(), sign).unwrap() {
        for sent in batch.subjects.iter().flat_map(|sealed| secret.open(sealed, &batch.header).unwrap()) {
            let at = usize::try_from(sent.seq - 1).unwrap();
            let before = broker.checker.position().last_seq;
            let item = &batch.items[at - usize::try_from(before).unwrap()];
            let Some(batch_item::Item::Entry(entry)) = &item.item else {
                panic!("an elided record has subjects")
            };
            let record = record::decode(entry).unwrap();
            told.push((sent.seq, sealed::committed(&record, &sent).map(str::to_owned).collect()));
        }
        let last_seq = broker.take(&batch).unwrap();
        shipper.acknowledge(last_seq).unwrap();
    }
    told
}

#[test]
fn the_index_hears_of_every_subject_also_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let secret = IndexSecret::generate().unwrap();
    let with_key = |position| JournalPosition { index_key: Some(secret.public()), ..position };
    let journal = open(dir.path());
    let ids: Vec<String> = (0..40).map(|n| format!("9990{n:08}")).collect();
    for n in 0..40 {
        let id = &ids[usize::try_from(n).unwrap()];
        let (record, about) = closing_about(n, &[id, "999190000001"]);
        journal.handle().append_owed_about(record, about).unwrap();
        commit(&journal.handle(), denial(n));
    }
    settle(&journal);
    // Killed: nothing is synced in order, the files stay as they are.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(dir.path(), copy.path());
    for (dir, journal) in [(dir.path(), Some(journal)), (copy.path(), None)] {
        let journal = journal.unwrap_or_else(|| open(dir));
        let mut broker = Broker::new(&journal);
        let mut shipper = journal.shipper(&with_key(start(&journal))).unwrap();
        let told = told_to_the_index(&mut broker, &mut shipper, &secret);
        let expected: Vec<_> = (0..40)
            .map(|n| (2 * n + 1, vec![ids[usize::try_from(n).unwrap()].clone(), "999190000001".to_owned()]))
            .collect();
        assert_eq!(told, expected);
        journal.close().unwrap();
        // What the broker has is nowhere on the node's disk any more.
        assert_eq!(fs::read_dir(dir.join("subjects")).unwrap().count(), 0);
    }
}

#[test]
fn a_broker_without_an_index_hears_of_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let (record, about) = closing_about(1, &["999190000001"]);
    journal.handle().append_owed_about(record, about).unwrap();
    commit(&journal.handle(), denial(1));
    settle(&journal);
    let mut shipper = journal.shipper(&start(&journal)).unwrap();
    assert_eq!(shipper.next_batch(now(), sign).unwrap().unwrap().subjects, None);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
