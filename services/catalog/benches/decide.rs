//! The decision without a condition, from a hundred rights to a million, and denials beside it.
//!
//! Run with `cargo bench -p lienthong-catalog`. Questions walk through many consumers in no order, so that a large
//! index is not measured from a warm cache alone.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a bench fails")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lienthong_catalog::{Method, Question, Resolution, RightsIndex, decide, purpose};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{
    Contract, Dataset, Party, Right, RightOrigin, RightsBundle, System,
};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use prost_types::Timestamp;
use time::OffsetDateTime;

/// Purposes that each consumer has a right for.
const PURPOSES: usize = 8;
/// Questions asked in turn; a power of two.
const QUESTIONS: usize = 4096;

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for rights in [100, 1_000, 10_000, 100_000, 1_000_000] {
        let consumers = rights / PURPOSES;
        let index = RightsIndex::from_bundle(&bundle(consumers)).unwrap();
        assert!(index.problems().is_empty());
        let Resolution::One(method) = index.method("/vn.dancu.v1.CitizenService/GetCitizen", None) else {
            panic!("the method is in the bundle");
        };
        let names: Vec<(String, String)> =
            (0..QUESTIONS).map(|number| names(number.wrapping_mul(0x9e37_79b1) % consumers)).collect();
        // As a node does: who asks is found when the call is identified (`bench identity` measures that).
        let places: Vec<_> = names.iter().map(|(code, system)| index.place(code, Some(system))).collect();
        let asked = |number: usize| Question {
            place: places[number % QUESTIONS],
            ..question(&method, &names[number % QUESTIONS], number)
        };

        for number in 0..QUESTIONS {
            decide(&index, &asked(number)).unwrap();
        }
        let mut number = 0;
        group.bench_function(BenchmarkId::new("allow", rights), |bencher| {
            bencher.iter(|| {
                number += 1;
                black_box(decide(&index, black_box(&asked(number))).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("allow_and_find", rights), |bencher| {
            bencher.iter(|| {
                number += 1;
                black_box(decide(&index, black_box(&Question { place: None, ..asked(number) })).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("allow_by_name", rights), |bencher| {
            bencher.iter(|| {
                number += 1;
                let fields = Some(vec!["so_dinh_danh", "ho_ten"]);
                black_box(decide(&index, &Question { requested_fields: fields, ..asked(number) }).is_ok())
            });
        });
        group.bench_function(BenchmarkId::new("deny_not_entitled", rights), |bencher| {
            bencher.iter(|| {
                black_box(decide(&index, &Question { consumer: "G99", place: None, ..asked(1) }).is_ok())
            });
        });
    }
    group.finish();
}

fn question<'a>(method: &'a Arc<Method>, names: &'a (String, String), number: usize) -> Question<'a> {
    Question {
        method,
        consumer: &names.0,
        system: Some(&names.1),
        place: None,
        purpose: Some(purpose::WORDS[number % PURPOSES].1),
        purpose_source: PurposeSource::Caller,
        requested_fields: None,
        dossier: Some("H26.90-261121-0001"),
        user: Some("can-bo-0042"),
        min_epoch: 0,
        now: OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_795_226_400),
        rights_age: Duration::from_millis(300),
        clock_behind: false,
    }
}

/// Code and system of a consumer.
fn names(number: usize) -> (String, String) {
    let code = format!("H26.{number}");
    let system = format!("agencies/{code}/systems/mot-cua");
    (code, system)
}

fn bundle(consumers: usize) -> RightsBundle {
    let party = |code: &str| Party { code: code.to_owned(), security_level: 3, ..Party::default() };
    let system = |number| {
        let (agency, name) = names(number);
        System { name, agency, security_level: 3, ..System::default() }
    };
    let right = |number: usize, purpose: Purpose| {
        let (consumer, _) = names(number);
        Right {
            id: format!("CE-0001/{consumer}/{}", purpose::word(purpose)),
            dataset: "dancu.cong_dan".to_owned(),
            provider: "G01".to_owned(),
            consumer,
            purpose: purpose.into(),
            fields: ["so_dinh_danh", "ho_ten", "noi_thuong_tru"].map(str::to_owned).into(),
            methods: vec![MethodKind::Query.into()],
            valid_from: Some(Timestamp::default()),
            origin: RightOrigin::CatalogMandatory.into(),
            legal_basis: vec!["278/2025/NĐ-CP, Điều 8".to_owned()],
            ..Right::default()
        }
    };
    let purposes = || purpose::WORDS.iter().take(PURPOSES).map(|(purpose, _)| *purpose);
    RightsBundle {
        mesh: "bench".to_owned(),
        audience: "agencies/G01/nodes/n1".to_owned(),
        epoch: 1,
        parties: std::iter::once(party("G01"))
            .chain((0..consumers).map(|number| party(&names(number).0)))
            .collect(),
        systems: (0..consumers).map(system).collect(),
        contracts: vec![Contract {
            provider: "G01".to_owned(),
            hash: vec![0; 32].into(),
            descriptor_set: descriptors::DANCU.into(),
            ..Contract::default()
        }],
        datasets: vec![Dataset {
            id: "dancu.cong_dan".to_owned(),
            provider: "G01".to_owned(),
            min_security_level: 3,
            bundle_age_max: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
            ..Dataset::default()
        }],
        rights: (0..consumers)
            .flat_map(|number| purposes().map(move |purpose| right(number, purpose)))
            .collect(),
        ..RightsBundle::default()
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
