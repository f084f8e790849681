//! The embedded store against restart, damage, export and a second opener.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lienthong_store::embedded::LOCK_WAIT_MS;
use lienthong_store::{Batch, Entry, KeyRange, Revision, SledOptions, SledStore, Store, StoreError};

async fn open(folder: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(folder, SledOptions::default()).await
}

/// A store with short and long entries, some overwritten, some deleted; 60 commits.
async fn filled(folder: &Path) -> Vec<Entry> {
    let store = open(folder).await.unwrap();
    for index in 0..60u8 {
        let value = vec![index; usize::from(index) * 300];
        let batch = Batch::new().delete(format!("k{:02}", index / 3)).put("last", index.to_string());
        store.commit(batch.put(format!("k{:02}", index % 45), value)).await.unwrap();
    }
    let entries = entries(&store).await;
    store.close().await.unwrap();
    entries
}

async fn entries(store: &SledStore) -> Vec<Entry> {
    let page = store.range(&KeyRange::all(), 1_000).await.unwrap();
    assert!(!page.more);
    page.entries
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    let store = open(folder.path()).await.unwrap();
    assert_eq!(entries(&store).await, before);
    assert_eq!(store.revision().await, Ok(Revision(60)));
    let verified = store.verify().await.unwrap();
    assert_eq!(
        (verified.revision, verified.entries, verified.changes),
        (Revision(60), before.len() as u64, 60)
    );
    assert_eq!(store.commit(Batch::new().put("new", "1")).await, Ok(Revision(61)));
    // A watch from before the restart goes on across it.
    let mut watch = store.watch(b"last", Revision(58)).await.unwrap();
    for revision in [59, 60] {
        let change = watch.next().await.unwrap().unwrap();
        assert_eq!(change.revision, Revision(revision));
        assert_eq!(change.events[0].value(), Some((revision - 1).to_string().as_bytes()));
    }
}

#[tokio::test]
async fn changes_that_were_dropped_stay_dropped_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    // Each change is half a MiB: after 16 MiB the oldest go.
    for index in 0..40u8 {
        store.commit(Batch::new().put("k", vec![index; 512 << 10])).await.unwrap();
    }
    let gone = store.watch(b"", Revision(1)).await.map(drop).unwrap_err();
    let StoreError::Compacted { kept_after } = gone else { panic!("{gone}") };
    assert!(kept_after >= Revision(8));
    store.close().await.unwrap();

    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.watch(b"", Revision(1)).await.map(drop).unwrap_err(), gone);
    assert_eq!(store.verify().await.unwrap().changes, 40 - kept_after.0);
    let mut watch = store.watch(b"", kept_after).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(kept_after.0 + 1));
}

#[tokio::test]
async fn closing_ends_watches_and_frees_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let mut watch = store.watch(b"", Revision::ZERO).await.unwrap();
    store.commit(Batch::new().put("k", "v")).await.unwrap();
    store.close().await.unwrap();
    // What is durable is still told.
    assert_eq!(watch.next().await.unwrap().unwrap().revision, Revision(1));
    assert!(matches!(watch.next().await, Some(Err(StoreError::Unavailable { .. }))));
    assert!(watch.next().await.is_none());
    for _ in 0..5 {
        drop(open(folder.path()).await.unwrap());
    }
}

#[tokio::test]
async fn a_second_opener_waits_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await.unwrap();
    let begin = Instant::now();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(LOCK_WAIT_MS));

    // If the first one goes in time, the second one comes in.
    let path = folder.path().to_owned();
    let second = tokio::spawn(async move { open(&path).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    store.close().await.unwrap();
    second.await.unwrap().unwrap();
}

/// Whatever is done to the database file: the store is refused with a clear error, or holds exactly what it held.
#[tokio::test]
async fn a_damaged_database_file_is_refused_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    let whole = fs::read(folder.path().join("sled/db")).unwrap();

    let mut refused = 0;
    for (name, spoiled) in damages(&whole) {
        let damaged = tempfile::tempdir().unwrap();
        copy(folder.path(), damaged.path());
        fs::write(damaged.path().join("sled/db"), &spoiled).unwrap();
        let opened = tokio::time::timeout(Duration::from_secs(30), open(damaged.path())).await.expect(&name);
        match opened {
            Ok(store) => assert_eq!(entries(&store).await, before, "{name}: opened with other content"),
            Err(error) => {
                refused += 1;
                let clear = matches!(error, StoreError::Corrupt { .. } | StoreError::Io { .. });
                assert!(
                    clear && error.to_string().contains(&*damaged.path().to_string_lossy()),
                    "{name}: {error}"
                );
            }
        }
    }
    assert!(refused >= 10, "only {refused} damages mattered");
}

/// The database file, damaged in many ways, each with a name.
fn damages(whole: &[u8]) -> Vec<(String, Vec<u8>)> {
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut damages = Vec::new();
    for case in 0..40 {
        let at = (used * case / 40 + case * 7 % 97).min(used - 1);
        let mut spoiled = whole.to_vec();
        spoiled[at] ^= 0x55;
        damages.push((format!("byte {at} changed"), spoiled));
    }
    for part in [0, 1, 2, 3, 5, 9] {
        damages.push((format!("cut to {part} tenths"), whole[..used * part / 10].to_vec()));
    }
    let mut spoiled = whole.to_vec();
    spoiled[used / 2..(used / 2 + 20_000).min(used)].fill(0);
    damages.push(("a hole in the middle".into(), spoiled));
    damages.push(("another file".into(), b"this is not a database".repeat(10_000)));
    damages
}

#[tokio::test]
async fn a_database_that_lost_its_end_or_went_missing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let older = tempfile::tempdir().unwrap();
    copy(folder.path(), older.path());
    let store = open(folder.path()).await.unwrap();
    store.commit(Batch::new().put("k", "acknowledged")).await.unwrap();
    store.close().await.unwrap();

    // An older database under a newer watermark.
    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    copy(&older.path().join("sled"), &folder.path().join("sled"));
    let error = open(folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("ends at revision 60, but 61 was acknowledged"), "{error}");

    fs::remove_dir_all(folder.path().join("sled")).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}

/// Each kind of record, taken away or changed behind the store's back.
#[tokio::test]
async fn a_record_that_is_gone_or_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    for (kind, name) in [(1u8, "meta"), (2, "entry"), (3, "chunk"), (4, "change")] {
        for change in ["gone", "changed", "swapped", "foreign"] {
            let damaged = tempfile::tempdir().unwrap();
            copy(folder.path(), damaged.path());
            if !meddle(&damaged.path().join("sled"), kind, change) {
                continue;
            }
            let error = open(damaged.path()).await.map(drop).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{name} {change}: {error}");
        }
    }
}

/// Changes the first record of a kind; whether there was one to change.
fn meddle(database: &Path, kind: u8, change: &str) -> bool {
    let db = sled::open(database).unwrap();
    let mut records = db.scan_prefix([kind]).map(Result::unwrap);
    let (key, record) = records.next().unwrap();
    match (change, records.next()) {
        ("gone", _) => drop(db.remove(&key).unwrap()),
        ("changed", _) => {
            let mut record = record.to_vec();
            *record.last_mut().unwrap() ^= 1;
            db.insert(&key, record).unwrap();
        }
        ("swapped", Some((_, other))) => drop(db.insert(&key, other).unwrap()),
        ("swapped", None) => return false,
        _ => drop(db.insert([kind + 8], record).unwrap()),
    }
    db.flush().unwrap();
    true
}

#[tokio::test]
async fn an_export_comes_back_with_its_revisions() {
    let folder = tempfile::tempdir().unwrap();
    let before = filled(folder.path()).await;
    let file = folder.path().join("export");
    let store = open(folder.path()).await.unwrap();
    assert_eq!(store.export(&file).await, Ok(Revision(60)));

    let other = tempfile::tempdir().unwrap();
    let copy = SledStore::import(&other.path().join("new"), SledOptions::default(), &file).await.unwrap();
    assert_eq!(entries(&copy).await, before);
    assert_eq!(copy.revision().await, Ok(Revision(60)));
    let verified = copy.verify().await.unwrap();
    assert_eq!((verified.entries, verified.changes), (before.len() as u64, 0));
    // Requirements taken from the original still hold; older changes are not there to watch.
    let last = before.iter().find(|entry| entry.key == b"last").unwrap();
    let batch = Batch::new().put("last", "x".repeat(9_000)).require("last", Some(last.revision));
    assert_eq!(copy.commit(batch).await, Ok(Revision(61)));
    let error = copy.watch(b"", Revision(59)).await.map(drop).unwrap_err();
    assert_eq!(error, StoreError::Compacted { kept_after: Revision(60) });
    copy.verify().await.unwrap();

    // Not into a store that is there.
    copy.close().await.unwrap();
    let error =
        SledStore::import(&other.path().join("new"), SledOptions::default(), &file).await.unwrap_err();
    assert!(error.to_string().contains("a store is there already"), "{error}");
}

#[tokio::test]
async fn a_damaged_export_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    let file = folder.path().join("export");
    open(folder.path()).await.unwrap().export(&file).await.unwrap();
    let whole = fs::read(&file).unwrap();
    let mut cases: Vec<Vec<u8>> = (0..60)
        .map(|case| {
            let mut spoiled = whole.clone();
            spoiled[whole.len() * case / 60] ^= 1 << (case % 8);
            spoiled
        })
        .collect();
    cases.extend([0, 10, 30, 45, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    cases.push([whole.as_slice(), b"x"].concat());
    for spoiled in cases {
        fs::write(&file, spoiled).unwrap();
        let target = folder.path().join("target");
        let error = SledStore::import(&target, SledOptions::default(), &file).await.unwrap_err();
        assert!(matches!(error, StoreError::ExportInvalid { .. }), "{error}");
        assert!(!target.join("sled").exists());
    }
}

/// A file that was made, not damaged: its checksum is right.
#[tokio::test]
async fn an_export_with_entries_out_of_order_makes_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export");
    let make = |keys: [&str; 2], revisions: [u64; 2]| {
        let mut bytes = b"lienthong-store export 1\n".to_vec();
        bytes.extend([5u64, 2].iter().flat_map(|word| word.to_be_bytes()));
        for (key, revision) in keys.iter().zip(revisions) {
            bytes.extend(
                [key.len(), 0].iter().flat_map(|length| u32::try_from(*length).unwrap().to_be_bytes()),
            );
            bytes.extend(revision.to_be_bytes());
            bytes.extend(key.as_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend(sum.to_be_bytes());
        fs::write(&file, bytes).unwrap();
    };
    for (keys, revisions) in
        [(["b", "a"], [1, 2]), (["a", "a"], [1, 2]), (["a", "b"], [1, 6]), (["", "b"], [1, 2])]
    {
        make(keys, revisions);
        let error =
            SledStore::import(&folder.path().join("no"), SledOptions::default(), &file).await.unwrap_err();
        assert!(matches!(error, StoreError::ExportInvalid { .. }), "{error}");
    }
    make(["a", "b"], [1, 5]);
    let store = SledStore::import(&folder.path().join("yes"), SledOptions::default(), &file).await.unwrap();
    assert_eq!(entries(&store).await.len(), 2);
}

#[tokio::test]
async fn an_import_that_was_cut_short_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path()).await;
    assert!(meddle(&folder.path().join("sled"), 1, "gone"));
    fs::remove_file(folder.path().join("watermark")).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(error.to_string().contains("import was cut short"), "{error}");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
