//! The filter against the slow way, on answers of 4 KiB that keep half of their fields.
//!
//! Run with `cargo bench -p lienthong-filter`; throughput is counted in bytes of input.
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a panic is how a bench fails")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lienthong_filter::{Annotations, FieldSet, Grant, HashKey, Masking, Plan, Report};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use protox::file::{File, FileResolver};

const MESSAGE_BYTES: usize = 4096;

struct ByName;

impl Annotations for ByName {
    fn is_record(&self, field: &FieldDescriptor) -> bool {
        field.name() == "record"
    }

    fn is_subject(&self, field: &FieldDescriptor) -> bool {
        field.name() == "so_dinh_danh"
    }
}

struct Source;

impl FileResolver for Source {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        const PERSON: &str = r#"
            syntax = "proto3";
            package t;
            message Page { repeated Person record = 1; string next_page_token = 2; }
            message Flat { Wide record = 1; }
            message Person {
                string so_dinh_danh = 1; string ho_ten = 2; string ngay_sinh = 3; int32 gioi_tinh = 4;
                Place noi_thuong_tru = 5; string quoc_tich = 6; string dan_toc = 7; string ton_giao = 8;
                Place que_quan = 9; string nhom_mau = 10; int32 tinh_trang_hon_nhan = 11; string ghi_chu = 12;
            }
            message Place { string ma_tinh = 1; string ma_xa = 2; string dia_chi = 3; }
            message Wide { FIELDS }
        "#;
        let wide: Vec<String> = (1..=200).map(|number| format!("string f{number} = {number};")).collect();
        File::from_source(name, &PERSON.replace("FIELDS", &wide.concat()))
    }
}

fn message(name: &str) -> MessageDescriptor {
    let mut compiler = protox::Compiler::with_file_resolver(Source);
    compiler.open_file("t.proto").unwrap();
    compiler.descriptor_pool().get_message_by_name(name).unwrap()
}

/// One record of many short strings, every second granted: the most headers a byte.
fn flat() -> (MessageDescriptor, Vec<u8>, Grant) {
    let response = message("t.Flat");
    let wide = response.get_field(1).unwrap().kind().as_message().unwrap().clone();
    let mut record = DynamicMessage::new(wide);
    for number in 1..=190 {
        record.set_field_by_number(number, Value::String("Thành phố Hà Nội".into()));
    }
    let mut answer = DynamicMessage::new(response.clone());
    answer.set_field_by_number(1, Value::Message(record));
    let granted = (1..=190).step_by(2).map(|number| format!("f{number}"));
    (response, answer.encode_to_vec(), Grant::new(granted.collect()))
}

/// A page of records as a population register gives them, half of the fields granted.
fn page() -> (MessageDescriptor, Vec<u8>, Grant) {
    let response = message("t.Page");
    let person = response.get_field(1).unwrap().kind().as_message().unwrap().clone();
    let place = person.get_field(5).unwrap().kind().as_message().unwrap().clone();
    let mut home = DynamicMessage::new(place);
    for (number, text) in [(1, "01"), (2, "00070"), (3, "số 12 ngõ 34 phố Hàng Bạc")] {
        home.set_field_by_number(number, Value::String(text.into()));
    }
    let mut records = Vec::new();
    let mut answer = DynamicMessage::new(response.clone());
    while answer.encoded_len() < MESSAGE_BYTES - 100 {
        let mut record = DynamicMessage::new(person.clone());
        let id = format!("9991900{:05}", records.len());
        let texts = [
            id.as_str(),
            "Nguyễn Thị Ánh Tuyết",
            "1990-01-01",
            "Việt Nam",
            "Kinh",
            "Không",
            "O",
            "ghi chú thêm",
        ];
        for (number, text) in [1, 2, 3, 6, 7, 8, 10, 12].into_iter().zip(texts) {
            record.set_field_by_number(number, Value::String(text.into()));
        }
        for number in [4, 11] {
            record.set_field_by_number(number, Value::I32(2));
        }
        for number in [5, 9] {
            record.set_field_by_number(number, Value::Message(home.clone()));
        }
        records.push(Value::Message(record));
        answer.set_field_by_number(1, Value::List(records.clone()));
    }
    let granted = ["so_dinh_danh", "ho_ten", "ngay_sinh", "gioi_tinh", "noi_thuong_tru", "quoc_tich"];
    (response, answer.encode_to_vec(), Grant::new(granted.into_iter().collect()))
}

/// The slow way: decode, drop, mask, encode.
fn reflected(response: &MessageDescriptor, grant: &Grant, bytes: &[u8]) -> Vec<u8> {
    let mut answer = DynamicMessage::decode(response.clone(), bytes).unwrap();
    match answer.get_field_by_number_mut(1).unwrap() {
        Value::List(records) => records.iter_mut().for_each(|record| drop_fields(record, grant)),
        record => drop_fields(record, grant),
    }
    answer.encode_to_vec()
}

fn drop_fields(record: &mut Value, grant: &Grant) {
    let (Value::Message(record), FieldSet::Only(ids)) = (record, &grant.fields) else {
        return;
    };
    let ungranted: Vec<FieldDescriptor> =
        record.fields().map(|(field, _)| field).filter(|field| !ids.contains(field.name())).collect();
    for field in ungranted {
        record.clear_field(&field);
    }
    for (id, masking) in &grant.masking {
        if let (Masking::Partial, Some(Value::String(text))) = (masking, record.get_field_by_name_mut(id)) {
            *text =
                text.chars().enumerate().map(|(i, c)| if (2..10).contains(&i) { '*' } else { c }).collect();
        }
    }
}

fn bench(criterion: &mut Criterion) {
    let (response, bytes, masked) = page();
    let masked = Grant {
        masking: [("so_dinh_danh".to_owned(), Masking::Partial)].into(),
        hash_key: Some(HashKey::new(&[7; 32]).unwrap()),
        ..masked
    };
    for (name, (response, bytes, grant)) in
        [("flat", flat()), ("page", page()), ("page_masked", (response, bytes, masked))]
    {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let plan = Plan::compile(&response, &ByName, &grant).unwrap();
        let (mut out, mut report) = (Vec::new(), Report::new());
        plan.apply(&bytes, &mut out, &mut report).unwrap();
        assert_eq!(
            DynamicMessage::decode(response.clone(), out.as_slice()).unwrap(),
            DynamicMessage::decode(response.clone(), reflected(&response, &grant, &bytes).as_slice())
                .unwrap()
        );
        group.bench_function("filter", |bencher| {
            bencher.iter(|| {
                out.clear();
                report.reset();
                plan.apply(black_box(&bytes), &mut out, &mut report).unwrap();
                black_box(&out);
            });
        });
        group.bench_function("reflect", |bencher| {
            bencher.iter(|| black_box(reflected(&response, &grant, black_box(&bytes))));
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
