//! A real process that runs the log and is killed, again and again, in the middle of its work.
//!
//! The test binary starts itself as the victim. The victim acknowledges each receipt on its standard output; whatever was
//! acknowledged there must be in the log afterwards, once, at its index.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader};
use lienthong_audit::note::{KeyKind, SigningKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::verify::{Verdict, VerifyOptions, verify_dir};

const ORIGIN: &str = "log.example/kill";

/// Tells the victim where its log is.
const DIR_VARIABLE: &str = "LIENTHONG_TEST_KILL_DIR";

/// How often the process is killed.
const KILLS: u64 = 60;

fn signing_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[9; 32]).unwrap()
}

fn open(dir: &Path) -> Log {
    let options = LogOptions { publish_interval_ms: 3, ..LogOptions::default() };
    Log::open(dir, ORIGIN, LogKey::new(signing_key()).unwrap(), &options).unwrap()
}

/// The victim's part: runs only when the test below starts it.
#[test]
#[ignore = "started, and killed, by the other test"]
fn victim() {
    let dir = std::env::var(DIR_VARIABLE).unwrap();
    let log = open(Path::new(&dir));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for round in 0.. {
                    let name = format!("{}-{writer}-{round}", std::process::id());
                    let entries = (0..=round % 9).map(|part| format!("{name}-{part}").into_bytes()).collect();
                    let receipt = log.append_blocking(entries).unwrap();
                    // One write a line, so that a kill never leaves two lines mixed.
                    let line = format!("ack {} {} {name}\n", receipt.first_index, receipt.count);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_the_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("log");
    let key = LogKey::new(signing_key()).unwrap();
    Log::create(&dir, ORIGIN, key, &LogOptions::default()).unwrap().close().unwrap();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        // Killed after a varying number of receipts, so at varying points of commit, publishing and start.
        run_and_kill(&dir, 1 + kill * 13 % 150, &mut acknowledged);
        let options = VerifyOptions {
            policy: Some(Policy::for_log(signing_key().verifier().clone())),
            ..VerifyOptions::default()
        };
        let report = verify_dir(&dir, &options);
        assert_eq!(report.verdict, Verdict::Verified, "what a kill leaves behind is a sound log\n{report}");
    }

    let log = open(&dir);
    let size = log.size();
    log.close().unwrap();
    let stored = LogReader::new(&dir).entries(0..size).unwrap();
    for (first_index, count, name) in &acknowledged {
        for part in 0..*count {
            let stored = &stored[usize::try_from(first_index + part).unwrap()];
            assert_eq!(*stored, format!("{name}-{part}").into_bytes());
        }
    }
    let distinct = stored.iter().collect::<HashSet<_>>();
    assert_eq!(distinct.len(), stored.len(), "no entry is logged twice");
    assert!(acknowledged.len() as u64 > KILLS, "{} receipts", acknowledged.len());
}

/// Starts the victim, reads this many receipts, kills it, and reads what it had still written.
fn run_and_kill(dir: &Path, receipts: u64, acknowledged: &mut Vec<(u64, u64, String)>) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).split(b'\n');
    let mut read = 0;
    while let Some(line) = lines.next().transpose().unwrap() {
        let line = String::from_utf8(line).unwrap();
        // The first line also carries the test harness's own words.
        let Some(words) = line.find("ack ").map(|start| line[start..].split(' ').collect::<Vec<_>>()) else {
            continue;
        };
        let [_, first_index, count, name] = words[..] else {
            continue;
        };
        acknowledged.push((first_index.parse().unwrap(), count.parse().unwrap(), name.to_owned()));
        read += 1;
        if read == receipts {
            victim.kill().unwrap();
        }
    }
    assert!(!victim.wait().unwrap().success());
    assert!(read >= receipts, "the victim died by itself after {read} receipts");
}
