//! Entries of the audit log. What an entry costs does not depend on how many there are; what it takes of the disk is its bytes,
//! its hashes in tiles and its place in a bundle, so that the disk of a hundred million follows by arithmetic.

use std::time::Instant;

use anyhow::Context;
use lienthong_audit::log::{APPEND_ENTRIES_MAX, Log, LogKey, LogOptions};
use lienthong_audit::merkle;
use lienthong_audit::tile::{TILE_LEVELS, hashes_at};
use lienthong_hotpaths::story::Story;

use crate::audit::{bytes_below, float};
use crate::cli::GrowthArgs;
use crate::goal::Goal;
use crate::out;
use crate::quantile::Spread;
use crate::run::temporary_folder;
use crate::threads;

const ORIGIN: &str = "log.bench.invalid/growth";
const ENTRIES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const ENTRIES_QUICK: [u64; 2] = [10_000, 100_000];
/// Not written, but counted.
const ENTRIES_COUNTED: u64 = 100_000_000;
/// Proofs that are made of each size.
const PROOFS: u64 = 200;
/// Starts of each size.
const STARTS: usize = 5;

/// Measures it.
pub(super) fn run(arguments: &GrowthArgs) -> anyhow::Result<Vec<Goal>> {
    let folder = temporary_folder(arguments.data.as_deref())?;
    let dir = folder.path().join("log");
    let key = LogKey::generate(ORIGIN)?;
    let secret = key.signing_key().to_skey()?;
    let mut log = Log::create(&dir, ORIGIN, key, &LogOptions::default())?;
    let sizes: &[u64] = if arguments.quick { &ENTRIES_QUICK } else { &ENTRIES };
    let (mut goals, mut entry_bytes) = (Vec::new(), 0);
    for size in sizes {
        out::note(&format!("a log of {size} entries"));
        let (before, begun) = (log.size(), Instant::now());
        entry_bytes += append(&log, before, *size)?;
        let rate = float(size - before) / begun.elapsed().as_secs_f64();
        log.close()?;
        let mut starts = Vec::new();
        for _ in 0..STARTS {
            let begun = Instant::now();
            let opened = Log::open(&dir, ORIGIN, LogKey::from_skey(&secret)?, &LogOptions::default())?;
            starts.push(begun.elapsed().as_secs_f64() * 1e3);
            opened.close()?;
        }
        log = Log::open(&dir, ORIGIN, LogKey::from_skey(&secret)?, &LogOptions::default())?;
        let (proof_us, hashes) = prove(&log, *size)?;
        let name = |what: &str| format!("growth: {what}, log of {size} entries");
        let on_disk = float(bytes_below(&dir)?);
        goals.extend([
            Goal::told(&name("entries appended, made durable, published"), rate, "entries/s"),
            Goal::told(
                &name("disk bytes an entry, of which its own are the most"),
                on_disk / float(*size),
                "bytes",
            ),
            Goal::told(&name("start"), Spread::of(starts).context("nothing was measured")?, "ms"),
            Goal::told(&name("an inclusion proof made"), proof_us, "µs"),
            Goal::told(&name("hashes in it, at most"), float(hashes), "hashes"),
        ]);
    }
    let each = float(entry_bytes) / float(log.size());
    log.close()?;
    let name = |what: &str| format!("growth: {what}, log of {ENTRIES_COUNTED} entries (by arithmetic)");
    let hashes = float(tile_bytes(ENTRIES_COUNTED));
    goals.extend([
        Goal::told(&name("bytes of hash tiles an entry"), hashes / float(ENTRIES_COUNTED), "bytes"),
        Goal::told(&name("disk"), (hashes + (each + LENGTH_BYTES) * float(ENTRIES_COUNTED)) / 1e9, "GB"),
        Goal::told(&name("hashes in a proof, at most"), float(longest_proof(ENTRIES_COUNTED)), "hashes"),
    ]);
    Ok(goals)
}

/// What an entry has before it in a bundle (C2SP tlog-tiles, Log Entries).
const LENGTH_BYTES: f64 = 2.0;

/// Appends until the log has `size` entries and all are published; the bytes of what was appended.
fn append(log: &Log, from: u64, size: u64) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for first in (from..size).step_by(APPEND_ENTRIES_MAX) {
        let entries = (first..size.min(first + APPEND_ENTRIES_MAX as u64)).map(|number| {
            let (entry, _) = Story::of(number).record("agencies/G01/nodes/n1", number);
            bytes += entry.len() as u64;
            entry
        });
        log.append_blocking(entries.collect())?;
    }
    let mut published = log.published();
    threads::runtime()?
        .block_on(async { published.wait_for(|published| *published >= size).await.map(drop) })?;
    Ok(bytes)
}

/// Microseconds that a proof takes, read from the disk's tiles anew, and the hashes of the longest.
fn prove(log: &Log, size: u64) -> anyhow::Result<(Spread, u64)> {
    let reader = log.reader();
    let (mut took, mut longest) = (Vec::new(), 0);
    for number in 0..PROOFS {
        let index = number * (size / PROOFS);
        let begun = Instant::now();
        let path = merkle::inclusion_proof(index, size, &reader.tree(size))?.context("no such entry")?;
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        longest = longest.max(path.len() as u64);
    }
    Ok((Spread::of(took).context("nothing was measured")?, longest))
}

/// Bytes of the hash tiles of a tree: whole tiles of 256 hashes of 32 bytes on each level, and the partial one at its edge.
fn tile_bytes(size: u64) -> u64 {
    (0..TILE_LEVELS).map(|level| hashes_at(level, size)).sum::<u64>() * 32
}

const fn longest_proof(size: u64) -> u64 {
    (u64::BITS - (size - 1).leading_zeros()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_million_entries_are_counted() {
        assert_eq!(tile_bytes(256), (256 + 1) * 32);
        assert_eq!(tile_bytes(100_000_000), (100_000_000 + 390_625 + 1_525 + 5) * 32);
        assert_eq!([1, 2, 3, 100_000_000].map(longest_proof), [0, 1, 2, 27]);
    }
}
