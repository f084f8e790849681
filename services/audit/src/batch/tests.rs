//! Tables of good and bad batches, and properties over any of them.

use super::*;
use crate::hash::leaf_hash;
use crate::record::{self, RECORD_BYTES_MAX, RECORD_VERSION};
use bytes::Bytes;
use lienthong_proto::lienthong::audit::v1::batch_item::Item;
use lienthong_proto::lienthong::audit::v1::{Administration, Opening, Record, record::Body};
use proptest::prelude::*;

const NODE: &str = "G01/node-1";
const EPOCH: u64 = 7;

fn record(n: u64) -> Vec<u8> {
    let body = Body::Administration(Administration { epoch: n, ..Administration::default() });
    encode(body)
}

fn encode(body: Body) -> Vec<u8> {
    record::encode(&Record { version: RECORD_VERSION, body: Some(body), ..Record::default() }).unwrap()
}

fn late_opening() -> Vec<u8> {
    encode(Body::Opening(Opening::default()))
}

/// The position behind the first `last_seq` records.
fn position(last_seq: u64) -> Position {
    let leaves: Vec<Hash> = (1..=last_seq).map(|n| leaf_hash(&record(n))).collect();
    Position { epoch: EPOCH, last_seq, head: chain::advance(&chain::START, &leaves) }
}

fn entry(n: u64) -> BatchItem {
    BatchItem { item: Some(Item::Entry(Bytes::from(record(n)))) }
}

fn header(first_seq: u64, last_seq: u64) -> BatchHeader {
    BatchHeader {
        node: NODE.to_owned(),
        journal_epoch: EPOCH,
        first_seq,
        last_seq,
        previous_head: position(first_seq - 1).head.0.to_vec(),
        head: position(last_seq).head.0.to_vec(),
        seal_time: Some(prost_types::Timestamp { seconds: 1_763_700_000, nanos: 0 }),
        ..BatchHeader::default()
    }
}

fn signed(header: &BatchHeader, items: Vec<BatchItem>, late: Vec<Vec<u8>>) -> SignedBatch {
    seal(header, items, late, |message| Ok::<_, String>(crate::hash::sha256(message).0.to_vec())).unwrap()
}

fn batch(first_seq: u64, last_seq: u64) -> SignedBatch {
    signed(&header(first_seq, last_seq), (first_seq..=last_seq).map(entry).collect(), vec![])
}

fn verify(message: &[u8], signature: &[u8]) -> Result<(), &'static str> {
    if crate::hash::sha256(message).0[..] == *signature { Ok(()) } else { Err("another key") }
}

fn judge(batch: &SignedBatch, last_seq: u64) -> Result<CheckedBatch, BatchError> {
    verify_batch(batch, NODE, &position(last_seq), verify)
}

fn bytes_of(checked: &CheckedBatch) -> Vec<Bytes> {
    checked.entries.iter().map(|entry| entry.bytes.clone()).collect()
}

#[test]
fn a_good_batch_gives_its_entries_and_the_next_position() {
    let checked = judge(&batch(4, 9), 3).unwrap();
    assert_eq!(bytes_of(&checked), (4..=9).map(record).collect::<Vec<_>>());
    assert!(checked.entries.iter().map(|entry| entry.seq).eq(4..=9));
    assert!(checked.entries.iter().all(|entry| entry.leaf == leaf_hash(&entry.bytes)));
    assert_eq!((checked.position, checked.late), (position(9), 0));
    assert_eq!(Position::from_proto(&position(9).to_proto()), Some(position(9)));
}

#[test]
fn elided_items_keep_the_chain_and_late_openings_come_last() {
    let mut items: Vec<_> = (1..=3).map(entry).collect();
    items[1].item = Some(Item::ElidedLeafHash(Bytes::copy_from_slice(&leaf_hash(&record(2)).0)));
    let checked = judge(&signed(&header(1, 3), items, vec![late_opening()]), 0).unwrap();
    assert_eq!(bytes_of(&checked), [record(1), record(3), late_opening()]);
    assert_eq!((checked.position, checked.late), (position(3), 1));
}

#[test]
fn a_batch_without_items_moves_nothing() {
    let checked = judge(&signed(&header(4, 3), vec![], vec![late_opening()]), 3).unwrap();
    assert_eq!((checked.entries.len(), checked.position), (1, position(3)));
    let mut forked = header(4, 3);
    (forked.head, forked.previous_head) = (vec![1; 32], vec![1; 32]);
    assert!(matches!(judge(&signed(&forked, vec![], vec![]), 3), Err(BatchError::Fork { seq: 3, .. })));
}

#[test]
fn an_overlap_gives_only_what_is_new() {
    let checked = judge(&batch(2, 6), 4).unwrap();
    assert_eq!(bytes_of(&checked), (5..=6).map(record).collect::<Vec<_>>());
    assert_eq!(checked.position, position(6));
}

#[test]
#[allow(clippy::too_many_lines)] // a table
fn faults_are_named() {
    type Is = fn(&BatchError) -> bool;
    let with = |change: &dyn Fn(&mut BatchHeader)| {
        let mut header = header(4, 5);
        change(&mut header);
        signed(&header, vec![entry(4), entry(5)], vec![])
    };
    let broken = |change: &dyn Fn(&mut SignedBatch)| {
        let mut batch = batch(4, 5);
        change(&mut batch);
        batch
    };
    let oversized = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
    let many = (1..=513).map(entry).collect();
    let malformed: Is = |error| matches!(error, BatchError::Malformed(_));
    let table: Vec<(&str, SignedBatch, Is)> = vec![
        ("gap", batch(5, 6), |error| matches!(error, BatchError::Gap { expected: 4, found: 5 })),
        ("rollback", batch(1, 2), |error| matches!(error, BatchError::Rollback { held: 3, found: 2 })),
        ("duplicate", batch(2, 3), |error| *error == BatchError::Duplicate { last_seq: 3 }),
        ("fork before", with(&|header| header.previous_head[0] ^= 1), |error| {
            matches!(error, BatchError::Fork { seq: 3, .. })
        }),
        ("fork within", signed(&header(2, 5), [2, 9, 4, 5].map(entry).to_vec(), vec![]), |error| {
            matches!(error, BatchError::Fork { seq: 3, .. })
        }),
        (
            "fork at the end",
            signed(&BatchHeader { head: vec![5; 32], ..header(2, 3) }, [2, 8].map(entry).to_vec(), vec![]),
            |error| matches!(error, BatchError::Fork { seq: 3, .. }),
        ),
        ("another head", with(&|header| header.head[9] ^= 1), |error| {
            matches!(error, BatchError::Chain { .. })
        }),
        ("swapped", broken(&|batch| batch.items.swap(0, 1)), |error| {
            matches!(error, BatchError::Chain { .. })
        }),
        ("altered", broken(&|batch| batch.items[1] = entry(6)), |error| {
            matches!(error, BatchError::Chain { .. })
        }),
        ("signature", broken(&|batch| batch.signature[0] ^= 1), |error| {
            matches!(error, BatchError::Signature { first_seq: 4, last_seq: 5, .. })
        }),
        (
            "header after signing",
            broken(&|batch| {
                batch.header = with(&|h| h.seal_time = Some(prost_types::Timestamp::default())).header;
            }),
            |error| matches!(error, BatchError::Signature { .. }),
        ),
        ("node", with(&|header| header.node.push('2')), |error| matches!(error, BatchError::Node { .. })),
        ("epoch", with(&|header| header.journal_epoch = 8), |error| {
            *error == BatchError::Epoch { expected: EPOCH, found: 8 }
        }),
        ("an item more", broken(&|batch| batch.items.push(entry(6))), malformed),
        ("an item less", broken(&|batch| drop(batch.items.pop())), malformed),
        ("an empty item", broken(&|batch| batch.items[0].item = None), malformed),
        (
            "a short hash",
            broken(&|batch| batch.items[0].item = Some(Item::ElidedLeafHash(Bytes::from_static(&[1])))),
            malformed,
        ),
        (
            "no record",
            broken(&|batch| batch.items[0].item = Some(Item::Entry(Bytes::from_static(b"\xff")))),
            malformed,
        ),
        ("a late opening added", broken(&|batch| batch.late_openings.push(late_opening())), |error| {
            *error == BatchError::LateOpenings { first_seq: 4, last_seq: 5 }
        }),
        (
            "a late opening taken away",
            {
                let mut batch = signed(&header(4, 5), vec![entry(4), entry(5)], vec![late_opening()]);
                batch.late_openings.clear();
                batch
            },
            |error| matches!(error, BatchError::LateOpenings { .. }) && error.is_alarm(),
        ),
        ("no opening", broken(&|batch| batch.late_openings.push(record(1))), malformed),
        ("no header", broken(&|batch| batch.header = vec![0xff]), malformed),
        ("short heads", with(&|header| header.head.truncate(31)), malformed),
        ("record zero", with(&|header| (header.first_seq, header.last_seq) = (0, 1)), malformed),
        (
            "the end of numbers",
            with(&|header| (header.first_seq, header.last_seq) = (u64::MAX, u64::MAX)),
            malformed,
        ),
        ("no time", with(&|header| header.seal_time = None), malformed),
        ("oversized", broken(&|batch| batch.items[1].item = Some(Item::Entry(oversized.clone()))), |error| {
            *error == BatchError::Oversized { seq: 5, bytes: RECORD_BYTES_MAX + 1 }
        }),
    ];
    for (name, batch, is) in table {
        let error = judge(&batch, 3).map(|_| ()).expect_err(name);
        assert!(is(&error), "{name}: {error:?}");
    }
    let many = signed(&header(1, 513), many, vec![]);
    assert!(matches!(judge(&many, 0), Err(BatchError::TooLarge { records: 513, .. })));
}

#[test]
fn a_checker_tells_a_repetition_from_a_rollback() {
    let mut checker = Checker::new(NODE, position(0));
    for (first, last) in [(1, 2), (3, 5), (6, 6)] {
        let good = checker.check(&batch(first, last), verify).unwrap();
        checker.accept(good.position);
    }
    assert_eq!(*checker.position(), position(6));
    assert_eq!(checker.check(&batch(1, 2), verify), Err(BatchError::Duplicate { last_seq: 2 }));
    assert_eq!(checker.check(&batch(3, 5), verify), Err(BatchError::Duplicate { last_seq: 5 }));
    assert_eq!(checker.check(&batch(6, 6), verify), Err(BatchError::Duplicate { last_seq: 6 }));
    // A journal restored from before record 3 that went on differently.
    let mut other = header(3, 5);
    other.head = vec![1; 32];
    let other = signed(&other, vec![entry(3), entry(4), entry(50)], vec![]);
    let error = checker.check(&other, verify).unwrap_err();
    assert!(matches!(error, BatchError::Fork { seq: 5, .. }) && error.is_alarm(), "{error}");
    let error = checker.check(&batch(3, 4), verify).unwrap_err();
    assert!(matches!(error, BatchError::Rollback { held: 6, found: 4 }) && error.is_alarm(), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(
        header in prop::collection::vec(any::<u8>(), 0..200),
        entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4),
    ) {
        let items = entries.into_iter().map(|entry| BatchItem { item: Some(Item::Entry(entry.into())) }).collect();
        let batch = SignedBatch { header, items, ..SignedBatch::default() };
        prop_assert!(judge(&batch, 3).is_err());
    }

    #[test]
    fn any_cut_into_batches_gives_every_record_once(cuts in prop::collection::vec((1..6_u64, 0..4_u64), 1..12)) {
        let mut checker = Checker::new(NODE, position(0));
        let mut entries = Vec::new();
        for (length, back) in cuts {
            let held = checker.position().last_seq;
            // Some batches begin earlier than they need.
            let batch = batch(held.saturating_sub(back) + 1, held + length);
            let checked = checker.check(&batch, verify).unwrap();
            entries.extend(bytes_of(&checked));
            checker.accept(checked.position);
        }
        let last_seq = checker.position().last_seq;
        prop_assert_eq!(entries, (1..=last_seq).map(record).collect::<Vec<_>>());
        prop_assert_eq!(*checker.position(), position(last_seq));
    }
}
