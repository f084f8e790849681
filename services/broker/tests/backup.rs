//! A broker that is backed up and restored: what came back is verified, put on record, and signs nothing that contradicts
//! what others hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Mesh, soon};
use lienthong_audit::log::LogReader;
use lienthong_audit::verify::{Verdict, VerifyOptions, verify_dir};
use lienthong_broker::backup::{Backup, BackupError, backup, restore};
use lienthong_broker::state::log_dir;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Administration, Record};
use prost::Message as _;
use time::OffsetDateTime;

fn take(from: &Path, to: &Path) -> Result<Backup, BackupError> {
    backup(from, to, OffsetDateTime::now_utc())
}

fn bring(from: &Path, to: &Path) -> Result<Backup, BackupError> {
    restore(from, to, |draft| {
        let report = verify_dir(&log_dir(draft), &VerifyOptions::default());
        assert_eq!(report.verdict, Verdict::IntegrityOnly, "{report}");
        Ok(())
    })
}

/// Every act of administration in the log, in order.
fn acts(data_dir: &Path) -> Vec<Administration> {
    let reader = LogReader::new(&log_dir(data_dir));
    let entries = reader.entries(0..reader.size().unwrap()).unwrap();
    let body = |entry: &Vec<u8>| Record::decode(entry.as_slice()).ok()?.body;
    let act = |body| match body {
        Body::Administration(act) => Some(act),
        _ => None,
    };
    entries.iter().filter_map(body).filter_map(act).collect()
}

async fn change(mesh: &Mesh, broker: &Broker, from: &str, to: &str) {
    mesh.edit("agencies.yaml", from, to);
    assert!(broker.reload().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_comes_back_and_says_so() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let kept = mesh.path("kept");
    let running = take(&mesh.data_dir(), &kept).unwrap_err();
    assert!(matches!(running, BackupError::Running(_)), "{running}");
    soon(broker.stop()).await.unwrap();
    let inside = take(&mesh.data_dir(), &mesh.data_dir().join("backup")).unwrap_err();
    assert!(inside.to_string().contains("outside"), "{inside}");
    let first = take(&mesh.data_dir(), &kept).unwrap();
    assert_eq!(first.copied, first.files);

    // The next one copies what is new; one that changes nothing copies nothing.
    let broker = mesh.start().await;
    change(&mesh, &broker, "name_vi: Bộ Công an", "name_vi: Bộ Công an (1)").await;
    soon(broker.stop()).await.unwrap();
    let second = take(&mesh.data_dir(), &kept).unwrap();
    assert!(second.copied > 0 && second.copied < second.files, "{second:?}");
    assert!(second.entries > first.entries);
    assert_eq!(take(&mesh.data_dir(), &kept).unwrap().copied, 0);

    let back = mesh.path("back");
    let restored = bring(&kept, &back).unwrap();
    assert_eq!((restored.entries, restored.files), (second.entries, second.files));
    assert!(matches!(bring(&kept, &back).unwrap_err(), BackupError::Occupied(_)), "nothing is overwritten");
    let config = BrokerConfig { data_dir: back.clone(), ..mesh.config() };
    let broker = Broker::start(config.clone()).await.unwrap();
    change(&mesh, &broker, "name_vi: Bộ Công an (1)", "name_vi: Bộ Công an (2)").await;
    soon(broker.stop()).await.unwrap();
    // It is on record once, with the backup's name, and all of it verifies.
    soon(Broker::start(config).await.unwrap().stop()).await.unwrap();
    let acts = acts(&back);
    let told: Vec<_> = acts.iter().filter(|act| act.action == "broker.restore").collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].detail.contains(&format!("{} entries", restored.entries)), "{}", told[0].detail);
    assert_eq!(hex::encode(&told[0].content_hash), restored.manifest_hash);
    let report = verify_dir(&log_dir(&back), &VerifyOptions::default());
    assert_eq!(report.verdict, Verdict::IntegrityOnly, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_was_changed_is_refused_and_the_file_named() {
    let mesh = Mesh::new();
    soon(mesh.start().await.stop()).await.unwrap();
    let (kept, back) = (mesh.path("kept"), mesh.path("back"));
    take(&mesh.data_dir(), &kept).unwrap();
    let manifest = fs::read_to_string(kept.join("MANIFEST")).unwrap();
    let draft = mesh.path("back.restoring");
    let refused = |what: &str| {
        let error = bring(&kept, &back).unwrap_err().to_string();
        assert!(error.contains(what) && !back.exists(), "{what}: {error}");
        let _ = fs::remove_dir_all(&draft);
    };
    let files: Vec<PathBuf> = manifest
        .lines()
        .skip(3)
        .map(|line| kept.join("data").join(line.splitn(3, ' ').nth(2).unwrap()))
        .collect();
    assert!(files.len() > 5);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        let mut changed = bytes.clone();
        match changed.last_mut() {
            Some(last) => *last ^= 1,
            None => changed.push(0),
        }
        fs::write(file, changed).unwrap();
        refused(name);
        fs::remove_file(file).unwrap();
        refused(name);
        fs::write(file, bytes).unwrap();
    }
    // A manifest leads nowhere else, and is whole.
    let hash = "0".repeat(64);
    for line in [format!("{hash} 1 ../out"), format!("{hash} 1 /etc/x"), format!("{hash} 1 "), hash.clone()] {
        fs::write(kept.join("MANIFEST"), format!("{manifest}{line}\n")).unwrap();
        refused("MANIFEST");
    }
    fs::write(kept.join("MANIFEST"), "").unwrap();
    refused("line 1");
    fs::write(kept.join("MANIFEST"), manifest).unwrap();
    bring(&kept, &back).unwrap();
}
