//! What a traffic thread spends to put a record into the journal; the disk works meanwhile, and nobody waits for it here.
//! Run with `cargo bench -p lienthong-hotpaths --bench journal`.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use lienthong_audit::journal::{Journal, JournalOptions};
use lienthong_hotpaths::story::Story;

/// Records between two waits for the disk: fewer than the journal's queue holds.
const BETWEEN_WAITS: u64 = 4_096;

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let options = JournalOptions {
        backlog_records_max: u64::MAX,
        backlog_bytes_max: 8 << 30,
        ..JournalOptions::new("agencies/G01/nodes/n1")
    };
    let journal = Journal::open(folder.path(), options, SystemTime::now()).unwrap();
    let handle = journal.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (record, _) = Story::of(1).record("agencies/G01/nodes/n1", 1);
    criterion.bench_function("journal append", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for first in (0..times).step_by(usize::try_from(BETWEEN_WAITS).unwrap()) {
                let begun = Instant::now();
                let mut last = 0;
                for _ in first..times.min(first + BETWEEN_WAITS) {
                    last = handle.append(&record).unwrap().seq;
                }
                spent += begun.elapsed();
                runtime.block_on(handle.durable(last)).unwrap();
            }
            spent
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
