//! The filter against the slow way, on answers of 4 KiB that keep half of their fields.
//!
//! Run with `cargo bench -p lienthong-hotpaths --bench filter`; throughput is counted in bytes of input.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lienthong_filter::Report;
use lienthong_hotpaths::answers::{flat, page};
use prost_reflect::DynamicMessage;

/// Bytes of an answer, about.
const ANSWER_BYTES: usize = 4096;

fn bench(criterion: &mut Criterion) {
    let page = page(ANSWER_BYTES).unwrap();
    let masked = page.clone().masked().unwrap();
    for (name, answer) in [("flat", flat().unwrap()), ("page", page), ("page_masked", masked)] {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(answer.bytes.len() as u64));
        let plan = answer.plan().unwrap();
        let (mut out, mut report) = (Vec::new(), Report::new());
        plan.apply(&answer.bytes, &mut out, &mut report).unwrap();
        let decoded = |bytes: &[u8]| DynamicMessage::decode(answer.response.clone(), bytes).unwrap();
        assert_eq!(decoded(&out), decoded(&answer.reflected().unwrap()));
        group.bench_function("filter", |bencher| {
            bencher.iter(|| {
                out.clear();
                report.reset();
                plan.apply(black_box(&answer.bytes), &mut out, &mut report).unwrap();
                black_box(&out);
            });
        });
        group.bench_function("reflect", |bencher| {
            bencher.iter(|| black_box(black_box(&answer).reflected().unwrap()));
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
