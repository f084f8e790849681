//! Every hot path, timed. Run with `cargo bench -p lienthong-hotpaths --bench paths`.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use criterion::{Criterion, criterion_group, criterion_main};
use lienthong_hotpaths::paths::ALL;

fn bench(criterion: &mut Criterion) {
    for path in ALL {
        let mut turn = (path.prepare)().unwrap();
        criterion.bench_function(path.name, |bencher| bencher.iter(|| turn().unwrap()));
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
