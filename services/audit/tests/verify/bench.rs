//! Logs to tamper with, and what a report must say.

use std::fs;
use std::path::{Path, PathBuf};

use lienthong_audit::log::{Log, LogKey, LogOptions};
use lienthong_audit::note::{KeyKind, SigningKey};
use lienthong_audit::policy::Policy;
use lienthong_audit::verify::{Finding, FindingKind, Verdict, VerifyOptions, VerifyReport, verify_dir};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "log.example/audit";

/// The size of the small log: two full bundles, one partial, two levels.
pub(crate) const SIZE: u64 = 600;

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()
}

pub(crate) fn key() -> LogKey {
    LogKey::new(signing_key()).unwrap()
}

pub(crate) fn policy() -> Policy {
    Policy::for_log(signing_key().verifier().clone())
}

pub(crate) fn entry(number: u64) -> Vec<u8> {
    format!("entry number {number}").into_bytes()
}

/// Appends entries with the numbers `range` to the log in `dir`, which is created at number 0, and closes it.
pub(crate) fn grow(dir: &Path, range: std::ops::Range<u64>) {
    let options = LogOptions { publish_interval_ms: 3_600_000, ..LogOptions::default() };
    let log = if range.start == 0 {
        Log::create(dir, ORIGIN, key(), &options).unwrap()
    } else {
        Log::open(dir, ORIGIN, key(), &options).unwrap()
    };
    let entries = range.map(entry).collect::<Vec<_>>();
    for append in entries.chunks(4096) {
        log.append_blocking(append.to_vec()).unwrap();
    }
    log.close().unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// All files under a folder, relative to it, sorted.
pub(crate) fn files(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, files: &mut Vec<String>) {
        for file in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = format!("{prefix}{}", file.file_name().to_str().unwrap());
            if file.file_type().unwrap().is_dir() {
                walk(&file.path(), &format!("{path}/"), files);
            } else {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(dir, "", &mut files);
    files.sort();
    files
}

/// A small log with superseded partial tiles still lying around, and a fresh copy of it for each case.
pub(crate) struct Bench {
    dir: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        let (log, early) = (bench.log(), bench.path("early"));
        grow(&log, 0..100);
        grow(&log, 100..200);
        copy(&log.join("tile"), &early);
        grow(&log, 200..550);
        grow(&log, 550..SIZE);
        for partials in ["0/000.p", "entries/000.p"] {
            copy(&early.join(partials), &log.join("tile").join(partials));
        }
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path("log")
    }

    /// An untouched copy.
    pub(crate) fn case(&self) -> PathBuf {
        let case = self.path("case");
        let _ = fs::remove_dir_all(&case);
        copy(&self.log(), &case);
        case
    }

    /// A copy as a static file server publishes it.
    pub(crate) fn public_case(&self) -> PathBuf {
        let case = self.case();
        fs::remove_dir_all(case.join("wal")).unwrap();
        case
    }
}

pub(crate) fn verify(dir: &Path) -> VerifyReport {
    verify_dir(dir, &VerifyOptions { policy: Some(policy()), ..VerifyOptions::default() })
}

pub(crate) fn verify_seen(dir: &Path, policy: Option<Policy>, seen: &str) -> VerifyReport {
    verify_dir(dir, &VerifyOptions { policy, seen: Some(seen.to_owned()), progress: None })
}

#[track_caller]
pub(crate) fn assert_found(report: &VerifyReport, kind: FindingKind, file: &str) -> Finding {
    assert_eq!(report.verdict, Verdict::Failed, "{file}\n{report}");
    let found = report.findings.iter().find(|finding| finding.kind == kind && finding.file == file);
    found.unwrap_or_else(|| panic!("no {kind} at {file}:\n{report}")).clone()
}

#[track_caller]
pub(crate) fn assert_sound(report: &VerifyReport, verdict: Verdict) {
    assert_eq!(report.verdict, verdict, "{report}");
    assert_eq!(report.findings, []);
}
