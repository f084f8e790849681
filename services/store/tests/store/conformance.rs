//! What every store promises. Each function takes an empty store; `conformance!` makes a test of each of them for
//! each implementation, so that a new one is held to all by one line.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, try_join_all};
use lienthong_store::batch::VALUE_BYTES_MAX;
use lienthong_store::contract::{RANGE_BYTES_MAX, RANGE_ENTRIES_MAX};
use lienthong_store::{
    Batch, Change, Event, Expected, KeyRange, MemoryStore, Revision, SledOptions, SledStore, Store,
    StoreError, Watch,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

macro_rules! conformance {
    ($name:ident, $make:expr, [$($promise:ident),* $(,)?]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let (store, _keep) = $make.await;
                    super::$promise(&store).await;
                }
            )*
        }
    };
}

macro_rules! on_every_store {
    ($($promise:ident),* $(,)?) => {
        conformance!(memory, async { (super::MemoryStore::new(), ()) }, [$($promise),*]);
        conformance!(sled, super::sled(), [$($promise),*]);
    };
}

on_every_store![
    an_empty_store_is_at_revision_zero,
    values_come_back_with_their_revision,
    every_effective_commit_raises_the_revision,
    a_batch_is_all_or_nothing,
    requirements_compare_revisions,
    a_batch_out_of_bounds_is_refused,
    long_values_come_back_whole,
    ranges_are_in_order_and_paged,
    pages_are_bounded_in_bytes,
    a_page_is_of_one_revision,
    what_is_read_is_durable,
    counting_by_compare_and_commit_loses_nothing,
    a_watch_tells_what_was_and_what_comes,
    a_watch_sees_its_prefix_only,
    a_watch_is_taken_up_where_it_ended,
    a_watch_of_what_is_gone_says_so,
    a_watch_of_what_never_was_says_so,
    a_range_and_a_watch_hold_the_whole_state,
    follows_the_model,
];

async fn sled() -> (SledStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SledStore::open(folder.path(), SledOptions::default()).await.unwrap(), folder)
}

async fn an_empty_store_is_at_revision_zero(store: &dyn Store) {
    assert_eq!(store.revision().await, Ok(Revision::ZERO));
    assert_eq!(store.get(b"k").await, Ok(None));
    let page = store.range(&KeyRange::all(), 10).await.unwrap();
    assert_eq!((page.entries.len(), page.more, page.revision), (0, false, Revision::ZERO));
    assert_eq!(store.commit(Batch::new()).await, Ok(Revision::ZERO));
}

async fn values_come_back_with_their_revision(store: &dyn Store) {
    let first = store.commit(Batch::new().put("a", "1").put("b", "")).await.unwrap();
    let second = store.commit(Batch::new().put("a", "2")).await.unwrap();
    let a = store.get(b"a").await.unwrap().unwrap();
    assert_eq!((a.value.as_slice(), a.revision), (&b"2"[..], second));
    let b = store.get(b"b").await.unwrap().unwrap();
    assert_eq!((b.value.as_slice(), b.revision), (&b""[..], first));
    store.commit(Batch::new().delete("a")).await.unwrap();
    assert_eq!(store.get(b"a").await, Ok(None));
    assert_eq!(store.get(&[0; 10_000]).await, Ok(None));
}

async fn every_effective_commit_raises_the_revision(store: &dyn Store) {
    let first = store.commit(Batch::new().put("a", "1")).await.unwrap();
    assert!(first > Revision::ZERO);
    // The same value again is a change; deleting nothing is none.
    let second = store.commit(Batch::new().put("a", "1")).await.unwrap();
    assert!(second > first);
    assert_eq!(store.commit(Batch::new().delete("nothing")).await, Ok(second));
    assert_eq!(store.commit(Batch::new().require_absent("nothing")).await, Ok(second));
    let third = store.commit(Batch::new().delete("a").delete("nothing")).await.unwrap();
    assert!(third > second);
    assert_eq!(store.revision().await, Ok(third));
}

async fn a_batch_is_all_or_nothing(store: &dyn Store) {
    let before = store.commit(Batch::new().put("a", "1")).await.unwrap();
    let batch = Batch::new().put("b", "2").delete("a").require_absent("c").require_absent("a");
    let conflict = StoreError::Conflict { key: b"a".to_vec(), required: None, found: Some(before) };
    assert_eq!(store.commit(batch).await, Err(conflict));
    assert_eq!(store.get(b"b").await, Ok(None));
    assert_eq!(store.get(b"a").await.unwrap().unwrap().value, b"1");
    assert_eq!(store.revision().await, Ok(before));
}

async fn requirements_compare_revisions(store: &dyn Store) {
    let first = store.commit(Batch::new().put("a", "1").require_absent("a")).await.unwrap();
    let second = store.commit(Batch::new().put("a", "2").require("a", Some(first))).await.unwrap();
    for required in [Some(first), None, Some(Revision(99))] {
        let conflict = StoreError::Conflict { key: b"a".to_vec(), required, found: Some(second) };
        assert_eq!(store.commit(Batch::new().put("a", "x").require("a", required)).await, Err(conflict));
    }
    let gone = StoreError::Conflict { key: b"b".to_vec(), required: Some(first), found: None };
    assert_eq!(store.commit(Batch::new().put("b", "x").require("b", Expected::At(first))).await, Err(gone));
    // A key that was deleted is absent; one that came back is another one.
    store.commit(Batch::new().delete("a").require("a", Some(second))).await.unwrap();
    store.commit(Batch::new().put("a", "2").require_absent("a")).await.unwrap();
    assert!(store.commit(Batch::new().put("a", "x").require("a", Some(second))).await.is_err());
}

async fn a_batch_out_of_bounds_is_refused(store: &dyn Store) {
    for batch in [Batch::new().put("", "x"), Batch::new().put("k", vec![0; VALUE_BYTES_MAX + 1])] {
        let error = store.commit(batch).await.unwrap_err();
        assert!(matches!(error, StoreError::BatchInvalid { .. }), "{error}");
    }
    assert_eq!(store.revision().await, Ok(Revision::ZERO));
}

async fn long_values_come_back_whole(store: &dyn Store) {
    let value = |bytes: usize| -> Vec<u8> { (0..=250).cycle().take(bytes).collect() };
    let lengths = [0, 1, 3_999, 4_000, 4_001, 8_000, 8_001, 100_000, VALUE_BYTES_MAX, 10, 5_000];
    for (index, bytes) in lengths.into_iter().enumerate() {
        // One key is overwritten again and again; the others stay.
        let own = format!("k{index}");
        store.commit(Batch::new().put("k", value(bytes)).put(own.as_str(), value(bytes / 2))).await.unwrap();
        assert_eq!(store.get(b"k").await.unwrap().unwrap().value, value(bytes));
        assert_eq!(store.get(own.as_bytes()).await.unwrap().unwrap().value, value(bytes / 2));
    }
    let mut watch = store.watch(b"k8", Revision::ZERO).await.unwrap();
    let change = next(&mut watch).await;
    assert_eq!(change.events[0].value(), Some(value(VALUE_BYTES_MAX / 2).as_slice()));
    store.commit(Batch::new().delete("k")).await.unwrap();
    assert_eq!(store.get(b"k").await, Ok(None));
    let page = store.range(&KeyRange::prefix("k"), 100).await.unwrap();
    assert_eq!(page.entries.len(), lengths.len());
}

async fn ranges_are_in_order_and_paged(store: &dyn Store) {
    let keys: [&[u8]; 9] = [b"a", b"a\x00", b"a\x01b", b"aa", b"ab", b"b", b"\x00", b"\xff", b"\xff\xff"];
    let batch = keys.iter().fold(Batch::new(), |batch, key| batch.put(*key, *key));
    let revision = store.commit(batch).await.unwrap();
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();

    for (range, expected) in [
        (KeyRange::all(), sorted.clone()),
        (KeyRange::prefix("a"), vec![&b"a"[..], b"a\x00", b"a\x01b", b"aa", b"ab"]),
        (KeyRange::prefix([0xff]), vec![&b"\xff"[..], b"\xff\xff"]),
        (KeyRange::between("a\x00", "aa"), vec![&b"a\x00"[..], b"a\x01b"]),
        (KeyRange::between("b", "a"), vec![]),
        (KeyRange::between("b", "b"), vec![]),
        (KeyRange::prefix("none"), vec![]),
    ] {
        for limit in [1, 2, 3, 100] {
            let found = all_pages(store, &range, limit, revision).await;
            assert_eq!(found, expected, "{range:?} by {limit}");
        }
    }
    let page = store.range(&KeyRange::all(), 0).await.unwrap();
    assert_eq!((page.entries.len(), page.more), (1, true));
}

/// The keys of a range, read page by page.
async fn all_pages(store: &dyn Store, range: &KeyRange, limit: usize, revision: Revision) -> Vec<Vec<u8>> {
    let (mut found, mut rest) = (Vec::new(), range.clone());
    loop {
        let page = store.range(&rest, limit).await.unwrap();
        assert!(page.entries.len() <= limit);
        assert_eq!(page.revision, revision);
        assert!(!page.entries.is_empty() || !page.more);
        for entry in page.entries {
            assert_eq!((&entry.value, entry.revision), (&entry.key, revision));
            rest = rest.after(&entry.key);
            found.push(entry.key);
        }
        if !page.more {
            return found;
        }
    }
}

async fn pages_are_bounded_in_bytes(store: &dyn Store) {
    let count = RANGE_BYTES_MAX / VALUE_BYTES_MAX + 2;
    for index in 0..count {
        store.commit(Batch::new().put(format!("{index:03}"), vec![0; VALUE_BYTES_MAX])).await.unwrap();
    }
    let page = store.range(&KeyRange::all(), 100).await.unwrap();
    assert!(page.more && page.entries.len() < count, "{}", page.entries.len());
    let rest = store.range(&KeyRange::all().after(&page.entries.last().unwrap().key), 100).await.unwrap();
    assert!(!rest.more);
    assert_eq!(page.entries.len() + rest.entries.len(), count);
}

async fn a_page_is_of_one_revision(store: &dyn Store) {
    const ROUNDS: u64 = 150;
    let write = async {
        for index in 0..ROUNDS {
            // Long values too, so that chunks of two revisions could mix.
            let value = index.to_string().repeat(3_000);
            let batch =
                ["a", "b", "c", "d"].iter().fold(Batch::new(), |batch, key| batch.put(*key, value.clone()));
            store.commit(batch).await.unwrap();
        }
    };
    let read = async {
        let mut last = Revision::ZERO;
        while last < Revision(ROUNDS) {
            let page = store.range(&KeyRange::all(), 10).await.unwrap();
            assert!(page.revision >= last);
            last = page.revision;
            for entry in &page.entries {
                assert_eq!((entry.revision, &entry.value), (page.revision, &page.entries[0].value));
            }
            assert_eq!(page.entries.is_empty(), last == Revision::ZERO);
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

async fn what_is_read_is_durable(store: &dyn Store) {
    const ROUNDS: u64 = 300;
    let write = async {
        for index in 0..ROUNDS {
            store.commit(Batch::new().put("k", index.to_string())).await.unwrap();
        }
    };
    let read = async {
        let mut seen = Revision::ZERO;
        while seen < Revision(ROUNDS) {
            if let Some(found) = store.get(b"k").await.unwrap() {
                seen = found.revision;
                // The store's own revision is that of the last durable change.
                let durable = store.revision().await.unwrap();
                assert!(durable >= seen, "{seen} was shown, {durable} is durable");
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(write, read);
}

async fn counting_by_compare_and_commit_loses_nothing(store: &dyn Store) {
    const WORKERS: u64 = 8;
    const ROUNDS: u64 = 25;
    let count = || async {
        let mut counted = 0;
        while counted < ROUNDS {
            let found = store.get(b"count").await.unwrap();
            let value =
                found.as_ref().map_or(0, |found| std::str::from_utf8(&found.value).unwrap().parse().unwrap());
            let next: u64 = value + 1;
            let batch = Batch::new().put("count", next.to_string());
            match store.commit(batch.require("count", found.map(|found| found.revision))).await {
                Ok(_) => counted += 1,
                Err(StoreError::Conflict { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    join_all((0..WORKERS).map(|_| count())).await;
    let found = store.get(b"count").await.unwrap().unwrap();
    assert_eq!(found.value, (WORKERS * ROUNDS).to_string().into_bytes());
    assert_eq!(store.revision().await, Ok(Revision(WORKERS * ROUNDS)));
}

async fn a_watch_tells_what_was_and_what_comes(store: &dyn Store) {
    let first = store.commit(Batch::new().put("b", "1").put("a", "1")).await.unwrap();
    let mut watch = store.watch(b"", Revision::ZERO).await.unwrap();
    let mut fresh = store.watch(b"", first).await.unwrap();
    assert_eq!(
        next(&mut watch).await,
        Change { revision: first, events: vec![put("a", "1"), put("b", "1")] }
    );

    let second = store.commit(Batch::new().delete("a").delete("none").put("c", "2")).await.unwrap();
    let expected =
        Change { revision: second, events: vec![Event::Delete { key: b"a".to_vec() }, put("c", "2")] };
    assert_eq!(next(&mut watch).await, expected);
    assert_eq!(next(&mut fresh).await, expected);

    // Nothing more until something happens.
    let waited = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
    assert!(waited.is_err());
    let (change, third) = tokio::join!(next(&mut watch), store.commit(Batch::new().put("d", "3")));
    assert_eq!(change, Change { revision: third.unwrap(), events: vec![put("d", "3")] });
}

async fn a_watch_sees_its_prefix_only(store: &dyn Store) {
    let mut watch = store.watch(b"a/", Revision::ZERO).await.unwrap();
    store.commit(Batch::new().put("b/1", "x")).await.unwrap();
    store.commit(Batch::new().put("a", "x")).await.unwrap();
    let revision = store.commit(Batch::new().put("a/1", "y").put("a0", "z").put("b/2", "z")).await.unwrap();
    assert_eq!(next(&mut watch).await, Change { revision, events: vec![put("a/1", "y")] });
}

async fn a_watch_is_taken_up_where_it_ended(store: &dyn Store) {
    let mut expected = Vec::new();
    for index in 0..20 {
        expected.push(store.commit(Batch::new().put("k", index.to_string())).await.unwrap());
    }
    let mut seen = Vec::new();
    let mut after = Revision::ZERO;
    while seen.len() < expected.len() {
        let mut watch = store.watch(b"k", after).await.unwrap();
        for _ in 0..3.min(expected.len() - seen.len()) {
            after = next(&mut watch).await.revision;
            seen.push(after);
        }
    }
    assert_eq!(seen, expected);
}

async fn a_watch_of_what_is_gone_says_so(store: &dyn Store) {
    let mut slow = store.watch(b"", Revision::ZERO).await.unwrap();
    // More changes than any store keeps; many at once, for those that sync a disk.
    for group in 0..50 {
        let commits = (0..100).map(|index| store.commit(Batch::new().put(format!("{group}/{index}"), "x")));
        try_join_all(commits).await.unwrap();
    }
    let current = store.revision().await.unwrap();
    assert_eq!(current, Revision(5_000));

    let Err(StoreError::Compacted { kept_after }) = store.watch(b"", Revision::ZERO).await.map(drop) else {
        panic!("changes that are gone were promised");
    };
    assert!(kept_after > Revision::ZERO && kept_after < current);
    assert!(store.watch(b"", Revision(kept_after.0 - 1)).await.is_err());
    let mut whole = store.watch(b"", kept_after).await.unwrap();
    assert_eq!(next(&mut whole).await.revision, Revision(kept_after.0 + 1));

    // A reader that fell behind is told, and then the watch has ended.
    assert_eq!(slow.next().await, Some(Err(StoreError::Compacted { kept_after })));
    assert_eq!(slow.next().await, None);
}

async fn a_watch_of_what_never_was_says_so(store: &dyn Store) {
    let current = store.commit(Batch::new().put("a", "1")).await.unwrap();
    let asked = Revision(current.0 + 1);
    let error = store.watch(b"", asked).await.map(drop).unwrap_err();
    assert_eq!(error, StoreError::RevisionAhead { asked, current });
}

async fn a_range_and_a_watch_hold_the_whole_state(store: &dyn Store) {
    let write = async {
        for index in 0..300u32 {
            let batch = Batch::new();
            let batch = if index % 5 == 0 { batch.delete(format!("{:02}", (index + 7) % 37)) } else { batch };
            store.commit(batch.put(format!("{:02}", index % 37), index.to_string())).await.unwrap();
        }
    };
    let follow = async {
        // Pages of differing revisions, and all changes since the first.
        let (mut state, mut range, mut since) = (BTreeMap::new(), KeyRange::all(), None);
        loop {
            let page = store.range(&range, 4).await.unwrap();
            since.get_or_insert(page.revision);
            if let Some(last) = page.entries.last() {
                range = range.after(&last.key);
            }
            state.extend(page.entries.into_iter().map(|entry| (entry.key, entry.value)));
            if !page.more && page.revision > Revision(20) {
                break;
            }
            tokio::task::yield_now().await;
        }
        let mut watch = store.watch(b"", since.unwrap()).await.unwrap();
        loop {
            let change = next(&mut watch).await;
            for event in change.events {
                match event {
                    Event::Put { key, value } => drop(state.insert(key, value)),
                    Event::Delete { key } => drop(state.remove(&key)),
                }
            }
            if change.revision == Revision(300) {
                return state;
            }
        }
    };
    let (state, ()) = tokio::join!(follow, write);
    let page = store.range(&KeyRange::all(), RANGE_ENTRIES_MAX).await.unwrap();
    assert_eq!(state, page.entries.into_iter().map(|entry| (entry.key, entry.value)).collect());
}

/// Random batches on a few keys, side by side with a plain map.
async fn follows_the_model(store: &dyn Store) {
    let mut model = Model::default();
    let (mut conflicts, mut commits) = (0, 0);
    for (operations, requirements) in random_batches() {
        let (batch, holds) = model.batch(&operations, &requirements);
        match store.commit(batch).await {
            Err(StoreError::Conflict { .. }) => {
                assert!(!holds);
                conflicts += 1;
            }
            Ok(reached) => {
                assert!(holds);
                model.apply(operations);
                assert_eq!(reached, model.revision);
                commits += 1;
            }
            Err(error) => panic!("{error}"),
        }
        let page = store.range(&KeyRange::all(), 100).await.unwrap();
        let found = page.entries.into_iter().map(|entry| (entry.key, (entry.value, entry.revision)));
        assert_eq!(found.collect::<BTreeMap<_, _>>(), model.entries);
        assert_eq!(page.revision, model.revision);
    }
    assert!(conflicts > 10 && commits > 100, "{conflicts} {commits}");
}

type Operations = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Batches: what is put (a byte, repeated) or deleted, and keys whose absence or present revision is required.
fn random_batches() -> Vec<(Operations, BTreeMap<Vec<u8>, bool>)> {
    let key = || (0..6u8).prop_map(|key| vec![key + 1]);
    let value = (any::<u8>(), 0..9_000usize).prop_map(|(byte, length)| vec![byte; length]);
    let operations = proptest::collection::btree_map(key(), proptest::option::weighted(0.7, value), 0..4);
    let requirements = proptest::collection::btree_map(key(), prop::bool::weighted(0.3), 0..3);
    let batches = proptest::collection::vec((operations, requirements), 300);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    batches.new_tree(&mut runner).unwrap().current()
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<Vec<u8>, (Vec<u8>, Revision)>,
    revision: Revision,
}

impl Model {
    /// The batch, and whether its requirements hold.
    fn batch(&self, operations: &Operations, requirements: &BTreeMap<Vec<u8>, bool>) -> (Batch, bool) {
        let mut batch = Batch::new();
        for (key, value) in operations {
            batch = match value {
                Some(value) => batch.put(key.clone(), value.clone()),
                None => batch.delete(key.clone()),
            };
        }
        let mut holds = true;
        for (key, absent) in requirements {
            let found = self.entries.get(key).map(|(_, revision)| *revision);
            let required = if *absent { None } else { found };
            holds &= required == found;
            batch = batch.require(key.clone(), required);
        }
        (batch, holds)
    }

    fn apply(&mut self, operations: Operations) {
        let effective =
            operations.iter().any(|(key, value)| value.is_some() || self.entries.contains_key(key));
        self.revision.0 += u64::from(effective);
        for (key, value) in operations {
            match value {
                Some(value) => drop(self.entries.insert(key, (value, self.revision))),
                None => drop(self.entries.remove(&key)),
            }
        }
    }
}

fn put(key: &str, value: &str) -> Event {
    Event::Put { key: key.into(), value: value.into() }
}

async fn next(watch: &mut Watch) -> Change {
    tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("a change").unwrap().unwrap()
}
