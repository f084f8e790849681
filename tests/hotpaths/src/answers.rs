//! Answers for the release filter, and the slow way to do what it does.

use anyhow::Context as _;
use lienthong_filter::{Annotations, FieldSet, Grant, HashKey, Masking, Plan};
use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use protox::file::{File, FileResolver};

/// Texts of the flat record.
const TEXTS: u32 = 190;

/// An answer, and what may be seen of it.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its type.
    pub response: MessageDescriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What may be seen.
    pub grant: Grant,
}

impl Answer {
    /// The plan that filters it.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        Ok(Plan::compile(&self.response, &ByName, &self.grant)?)
    }

    /// The same with the number of each person masked.
    pub fn masked(self) -> anyhow::Result<Self> {
        let grant = Grant {
            fields: self.grant.fields,
            masking: [("so_dinh_danh".to_owned(), Masking::Partial)].into(),
            hash_key: Some(HashKey::new(&[7; 32])?),
        };
        Ok(Self { grant, ..self })
    }

    /// What is released of it, the slow way: decode, drop, mask, encode.
    pub fn reflected(&self) -> anyhow::Result<Vec<u8>> {
        let mut message = DynamicMessage::decode(self.response.clone(), self.bytes.as_slice())?;
        match message.get_field_by_number_mut(1).context("an answer without a record")? {
            Value::List(records) => records.iter_mut().for_each(|record| drop_fields(record, &self.grant)),
            record => drop_fields(record, &self.grant),
        }
        Ok(message.encode_to_vec())
    }
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
pub fn flat() -> anyhow::Result<Answer> {
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

/// A page of records as a population register gives them, about so many bytes (at least one record), half of the fields granted.
pub fn page(bytes: usize) -> anyhow::Result<Answer> {
    let response = message("t.Page")?;
    let person = inner(&response, 1)?;
    let mut home = DynamicMessage::new(inner(&person, 5)?);
    for (number, text) in [(1, "01"), (2, "00070"), (3, "số 12 ngõ 34 phố Hàng Bạc")] {
        home.set_field_by_number(number, Value::String(text.into()));
    }
    let mut records = Vec::new();
    let mut answer = DynamicMessage::new(response.clone());
    while records.is_empty() || answer.encoded_len() < bytes.saturating_sub(100) {
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
