//! A process that indexes a growing log, killed with SIGKILL while it builds, states, merges and prunes blocks: the index that is
//! taken up afterwards finds what a reader of the whole log finds, no more and no less.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader, Pruner};
use lienthong_audit::record;
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_broker::index::Index;
use lienthong_broker::index::indexer::Indexer;
use lienthong_broker::records;
use lienthong_index::{Clause, Dimension, Query, Row, Term, Want};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{Closing, Exchange, LogPruned};
use prost_types::Timestamp;

const ORIGIN: &str = "example.test/log";
const FOLDER: &str = "LIENTHONG_TEST_INDEX_FOLDER";
/// Small, so that a short log has many of them.
const BLOCK_ENTRIES: u32 = 64;
const ROUNDS: u64 = 25;
const USERS: u64 = 7;

/// The log at work in a folder, and its index.
struct Desk {
    folder: PathBuf,
    log: Log,
    index: Index,
    indexer: Indexer,
}

impl Desk {
    fn open(folder: &Path) -> Desk {
        let (dir, key) = (folder.join("log"), std::fs::read_to_string(folder.join("key")).unwrap());
        let options = LogOptions { publish_interval_ms: 1, ..LogOptions::default() };
        let log = Log::open(&dir, ORIGIN, LogKey::from_skey(&key).unwrap(), &options).unwrap();
        let (index, indexer) = Index::open(folder, log.reader(), BLOCK_ENTRIES).unwrap();
        let mut desk = Desk { folder: folder.to_owned(), log, index, indexer };
        desk.carry_out();
        desk
    }

    /// One step of the indexer; false when there is nothing to do. Counts what was merged.
    fn step(&mut self, merged: &mut u64) -> bool {
        if self.indexer.advance().unwrap() {
            return true;
        }
        let owed = self.indexer.manifests_owed().unwrap();
        if !owed.is_empty() {
            self.append(owed);
            return true;
        }
        let did = self.indexer.merge().unwrap();
        *merged += u64::from(did);
        did
    }

    /// Steps until everything that the log took in is published and indexed.
    fn settle(&mut self, merged: &mut u64) {
        loop {
            // Looked at before the step: what is published after it would be left.
            let all_published = self.log.reader().size().unwrap() == self.log.size();
            if !self.step(merged) && all_published {
                return;
            }
        }
    }

    fn append(&self, bodies: Vec<Body>) {
        let salt = records::salt().unwrap();
        let entries = bodies.into_iter().map(|body| records::encode(body, Timestamp::default(), salt));
        self.log.append_blocking(entries.collect()).unwrap();
    }

    /// Up to where the older half of what is in blocks can go: at the end of a block and of a bundle of entries.
    fn prunable(&self) -> Option<u64> {
        let ends = self.index.block_ends();
        ends.iter().take(ends.len() / 2).rfind(|end| **end % 256 == 0).copied()
    }

    /// Lets go of the older half of what is in blocks, as the broker does: on record, announced, carried out.
    fn prune(&mut self) {
        let Some(minimum_index) = self.prunable() else { return };
        let record = self.log.size();
        self.append(vec![Body::LogPruned(LogPruned { minimum_index, ..LogPruned::default() })]);
        while self.log.reader().size().unwrap() <= record {
            std::thread::yield_now();
        }
        Pruner::new(&self.folder.join("log")).announce(record).unwrap();
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let minimum = self.log.reader().minimum().unwrap();
        self.index.prune(minimum);
        self.indexer.prune(minimum).unwrap();
        Pruner::new(&self.folder.join("log")).sweep().unwrap();
    }

    /// Records of several users, as many as a few blocks hold.
    fn grow(&self) {
        let size = self.log.size();
        self.append((size..size + 200).map(closing).collect());
    }
}

fn closing(number: u64) -> Body {
    let user = format!("u{}", number % USERS);
    let exchange = Exchange { user, dataset: "dancu.cong_dan".to_owned(), ..Exchange::default() };
    Body::Closing(Closing { exchange: Some(exchange), ..Closing::default() })
}

/// The child: indexes and lets the log grow until it is killed. Does nothing when the tests are run as usual.
#[test]
fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (mut desk, mut merged) = (Desk::open(Path::new(&folder)), 0);
    for round in 1.. {
        while desk.step(&mut merged) {}
        desk.grow();
        if round % 3 == 0 {
            desk.prune();
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // nothing runs here beside the child
fn killed_while_it_builds_and_merges() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let key = LogKey::generate(ORIGIN).unwrap();
    std::fs::write(folder.join("key"), &*key.signing_key().to_skey().unwrap()).unwrap();
    Log::create(&folder.join("log"), ORIGIN, key, &LogOptions::default()).unwrap().close().unwrap();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("child.log")).unwrap())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(60 + round * 23));
        let ended = child.try_wait().unwrap();
        let said = || std::fs::read_to_string(folder.join("child.log")).unwrap_or_default();
        assert_eq!(ended, None, "the child ended by itself in round {round}: {}", said());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (mut desk, mut merged) = (Desk::open(folder), 0);
    check(&desk.index, &desk.log.reader());
    // To its end: everything is indexed, merged, and the older half let go of.
    let reader = desk.log.reader();
    while merged == 0 || desk.prunable().is_none() {
        desk.grow();
        desk.settle(&mut merged);
    }
    check(&desk.index, &reader);
    let goes = desk.prunable();
    desk.prune();
    desk.settle(&mut merged);
    let minimum = reader.minimum().unwrap();
    assert_eq!(Some(minimum), goes);
    let ends = desk.index.block_ends();
    assert!(ends.iter().all(|end| *end > minimum), "{ends:?} of a log that begins at {minimum}");
    let files = names(&folder.join("index/blocks")).len();
    assert_eq!(files, 2 * ends.len(), "its terms and its subjects for each block, and nothing besides");
    let report = verify_dir(&folder.join("log"), &VerifyOptions::default());
    assert!(report.is_sound() && report.pruned == minimum, "{report}");
    check(&desk.index, &reader);
    assert_eq!(desk.index.upto(), reader.size().unwrap());
}

/// What the index finds is what is there, up to where it says that it is complete.
fn check(index: &Index, reader: &LogReader) {
    let (size, minimum) = (reader.size().unwrap(), reader.minimum().unwrap());
    let mut rows = Vec::new();
    for first in (minimum..size).step_by(4_096) {
        let entries = reader.entries(first..size.min(first + 4_096)).unwrap();
        rows.extend(
            entries
                .iter()
                .map(|entry| record::decode(entry).map_or_else(|_| Row::unreadable(), |one| Row::of(&one))),
        );
    }
    let user = |number: u64| Term::text(Dimension::User, &format!("u{number}"));
    let terms = (0..=USERS).map(user).chain([Term::text(Dimension::Kind, "manifest")]);
    for term in terms {
        let query = Query { clauses: vec![Clause(vec![Want::Exactly(term.clone())])], times_ms: None };
        // The log may have published more since it was read.
        let mut found = index.search(&query, u64::MAX, None, usize::MAX - 1).unwrap();
        found.entries.retain(|at| *at < size);
        let there =
            (minimum..).zip(&rows).filter(|(at, row)| *at < found.complete_up_to && query.accepts(row));
        let mut there: Vec<u64> = there.map(|(at, _)| at).collect();
        there.reverse();
        let differs = found.entries.iter().zip(&there).find(|(found, there)| found != there);
        let counts = (found.entries.len(), there.len());
        assert!(counts.0 == counts.1 && differs.is_none(), "{term:?}: {counts:?}, {differs:?} of {size}");
    }
}

fn names(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}
