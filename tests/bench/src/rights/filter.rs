//! The release filter on answers of 4 KiB that keep half of their fields, beside the slow way: decode, drop, mask, encode.

use std::hint::black_box;

use anyhow::{Context, ensure};
use lienthong_filter::{Annotations, FieldSet, Grant, HashKey, Masking, Plan, Report};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use protox::file::{File, FileResolver};

use super::{ROUNDS, each_us, ratios, spread};
use crate::goal::Goal;

const MESSAGE_BYTES: usize = 4096;
/// Messages of one turn, and of one of the slow way.
const MESSAGES: u32 = 40_000;
const MESSAGES_SLOW: u32 = 2_000;
const MESSAGES_SMALL: u32 = 100;
/// Texts of the flat record.
const TEXTS: u32 = 190;

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let (mut goals, page) = (Vec::new(), page()?);
    let masked = Answer { grant: masked(&page.grant)?, ..page.clone() };
    for (name, answer) in [("page of records", page), ("one record of 190 texts", flat()?)] {
        let Measured { gb_per_s, of_the_slow_way } = measure(&answer, small)?;
        goals.push(Goal::at_least(&format!("filter: {name}"), gb_per_s, "GB/s", 1.0));
        goals.push(Goal::at_least(
            &format!("filter: {name}, of decode–mask–encode"),
            of_the_slow_way,
            "ratio",
            5.0,
        ));
    }
    let Measured { gb_per_s, of_the_slow_way } = measure(&masked, small)?;
    goals.push(Goal::told("filter: page of records, masked", gb_per_s, "GB/s"));
    goals.push(Goal::told(
        "filter: page of records, masked, of decode–mask–encode",
        of_the_slow_way,
        "ratio",
    ));
    Ok(goals)
}

/// An answer, and what may be seen of it.
#[derive(Clone)]
struct Answer {
    response: MessageDescriptor,
    bytes: Vec<u8>,
    grant: Grant,
}

struct Measured {
    gb_per_s: crate::quantile::Spread,
    of_the_slow_way: crate::quantile::Spread,
}

fn measure(answer: &Answer, small: bool) -> anyhow::Result<Measured> {
    let Answer { response, bytes, grant } = answer;
    let plan = Plan::compile(response, &ByName, grant)?;
    let (mut out, mut report) = (Vec::new(), Report::new());
    plan.apply(bytes, &mut out, &mut report)?;
    let decoded = |bytes: &[u8]| DynamicMessage::decode(response.clone(), bytes);
    ensure!(decoded(&out)? == decoded(&reflected(answer)?)?, "the filter releases something else");
    let [fast, slow] = if small { [MESSAGES_SMALL; 2] } else { [MESSAGES, MESSAGES_SLOW] };
    let [mut fast_us, mut slow_us] = [const { Vec::new() }; 2];
    // The first round warms up.
    for round in 0..=ROUNDS {
        let filtered = each_us(fast, |_| {
            out.clear();
            report.reset();
            plan.apply(black_box(bytes), &mut out, &mut report)?;
            black_box(&out);
            anyhow::Ok(())
        })?;
        let reflected = each_us(slow, |_| reflected(black_box(answer)).map(|out| drop(black_box(out))))?;
        if round > 0 {
            fast_us.push(filtered);
            slow_us.push(reflected);
        }
    }
    #[allow(clippy::cast_precision_loss)] // a few thousand
    let bytes = bytes.len() as f64;
    let of_the_slow_way = ratios(&slow_us, &fast_us)?;
    // Bytes a microsecond are megabytes a second.
    Ok(Measured { gb_per_s: spread(fast_us.iter().map(|us| bytes / us / 1e3).collect())?, of_the_slow_way })
}

/// Where records and subjects sit, by the names below.
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
        let wide: Vec<String> = (1..=TEXTS).map(|number| format!("string f{number} = {number};")).collect();
        File::from_source(name, &PERSON.replace("FIELDS", &wide.concat()))
    }
}

fn message(name: &str) -> anyhow::Result<MessageDescriptor> {
    let mut compiler = protox::Compiler::with_file_resolver(Source);
    compiler.open_file("t.proto")?;
    compiler.descriptor_pool().get_message_by_name(name).with_context(|| format!("no message {name}"))
}

/// The message of a field.
fn inner(message: &MessageDescriptor, number: u32) -> anyhow::Result<MessageDescriptor> {
    let kind = message.get_field(number).map(|field| field.kind());
    kind.and_then(|kind| kind.as_message().cloned()).context("the field holds no message")
}

/// One record of many short strings, every second granted: the most headers a byte.
fn flat() -> anyhow::Result<Answer> {
    let response = message("t.Flat")?;
    let mut record = DynamicMessage::new(inner(&response, 1)?);
    for number in 1..=TEXTS {
        record.set_field_by_number(number, Value::String("Thành phố Hà Nội".into()));
    }
    let mut answer = DynamicMessage::new(response.clone());
    answer.set_field_by_number(1, Value::Message(record));
    let granted = (1..=TEXTS).step_by(2).map(|number| format!("f{number}"));
    Ok(Answer { response, bytes: answer.encode_to_vec(), grant: Grant::new(granted.collect()) })
}

/// A page of records as a population register gives them, half of the fields granted.
fn page() -> anyhow::Result<Answer> {
    let response = message("t.Page")?;
    let person = inner(&response, 1)?;
    let mut home = DynamicMessage::new(inner(&person, 5)?);
    for (number, text) in [(1, "01"), (2, "00070"), (3, "số 12 ngõ 34 phố Hàng Bạc")] {
        home.set_field_by_number(number, Value::String(text.into()));
    }
    let mut records = Vec::new();
    let mut answer = DynamicMessage::new(response.clone());
    while answer.encoded_len() < MESSAGE_BYTES - 100 {
        let mut record = DynamicMessage::new(person.clone());
        let id = format!("9991900{:05}", records.len());
        let name = "Nguyễn Thị Ánh Tuyết";
        let texts = [id.as_str(), name, "1990-01-01", "Việt Nam", "Kinh", "Không", "O", "ghi chú thêm"];
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
    Ok(Answer { response, bytes: answer.encode_to_vec(), grant: Grant::new(granted.into_iter().collect()) })
}

/// The same with the number of each person masked.
fn masked(grant: &Grant) -> anyhow::Result<Grant> {
    Ok(Grant {
        fields: grant.fields.clone(),
        masking: [("so_dinh_danh".to_owned(), Masking::Partial)].into(),
        hash_key: Some(HashKey::new(&[7; 32])?),
    })
}

/// The slow way.
fn reflected(answer: &Answer) -> anyhow::Result<Vec<u8>> {
    let mut message = DynamicMessage::decode(answer.response.clone(), answer.bytes.as_slice())?;
    match message.get_field_by_number_mut(1).context("an answer without a record")? {
        Value::List(records) => records.iter_mut().for_each(|record| drop_fields(record, &answer.grant)),
        record => drop_fields(record, &answer.grant),
    }
    Ok(message.encode_to_vec())
}

fn drop_fields(record: &mut Value, grant: &Grant) {
    let (Value::Message(record), FieldSet::Only(ids)) = (record, &grant.fields) else { return };
    let present = record.fields().map(|(field, _)| field);
    let ungranted: Vec<FieldDescriptor> = present.filter(|field| !ids.contains(field.name())).collect();
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
