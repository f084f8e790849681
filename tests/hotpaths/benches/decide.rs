//! The decision without a condition, from a hundred rights to a million, and denials beside it.
//!
//! Run with `cargo bench -p lienthong-hotpaths --bench decide`.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lienthong_catalog::{Question, decide};
use lienthong_hotpaths::asked::{Asked, QUESTIONS};

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for rights in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let asked = Asked::of(rights, "").unwrap();
        for number in 0..QUESTIONS {
            asked.decide(number).unwrap();
        }
        let mut number = 0;
        let mut next = || {
            number += 1;
            asked.question(number)
        };
        group.bench_function(BenchmarkId::new("allow", rights), |bencher| {
            bencher.iter(|| black_box(decide(&asked.index, black_box(&next())).is_ok()));
        });
        group.bench_function(BenchmarkId::new("allow_and_find", rights), |bencher| {
            bencher.iter(|| {
                black_box(decide(&asked.index, black_box(&Question { place: None, ..next() })).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("allow_by_name", rights), |bencher| {
            bencher.iter(|| {
                let fields = Some(vec!["so_dinh_danh", "ho_ten"]);
                black_box(decide(&asked.index, &Question { requested_fields: fields, ..next() }).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("deny_not_entitled", rights), |bencher| {
            bencher.iter(|| {
                let stranger = Question { consumer: "G99", place: None, ..next() };
                black_box(decide(&asked.index, &stranger).is_ok())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
