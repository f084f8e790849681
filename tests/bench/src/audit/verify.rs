//! The offline verifier over a log: every file read, every body hashed again, on one core.

use std::time::Instant;

use anyhow::ensure;
use lienthong_audit::log::{APPEND_ENTRIES_MAX, Log, LogKey, LogOptions};
use lienthong_audit::policy::Policy;
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_hotpaths::story::Story;

use super::{Site, float};
use crate::goal::Goal;

const ORIGIN: &str = "log.bench.invalid/verify";
const RECORDS: u64 = 2_000_000;
const RECORDS_SMALL: u64 = 20_000;

/// Measures it.
pub fn run(site: &Site) -> anyhow::Result<Vec<Goal>> {
    let dir = site.dir("verify")?.join("log");
    let key = LogKey::generate(ORIGIN)?;
    let policy = Some(Policy::for_log(key.verifier().clone()));
    let log = Log::create(&dir, ORIGIN, key, &LogOptions::default())?;
    let records = if site.small { RECORDS_SMALL } else { RECORDS };
    let mut bytes = 0;
    for first in (0..records).step_by(APPEND_ENTRIES_MAX) {
        let entries = (first..records.min(first + APPEND_ENTRIES_MAX as u64)).map(|number| {
            let (entry, _) = Story::of(number).record("agencies/G01/nodes/n1", number);
            bytes += entry.len() as u64;
            entry
        });
        log.append_blocking(entries.collect())?;
    }
    log.close()?;
    let begun = Instant::now();
    let report = verify_dir(&dir, &VerifyOptions { policy, ..VerifyOptions::default() });
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(report.is_sound() && report.entries == records, "{report}");
    Ok(vec![
        Goal::at_least("verify: records/s on one core", float(records) / seconds, "records/s", 1_000_000.0),
        Goal::told("verify: bytes a record", float(bytes) / float(records), "bytes"),
    ])
}
