//! Schemas from source text, and a writer of wire bytes that does what no honest encoder does.

use lienthong_filter::{Annotations, FieldSet, FilterError, Grant, HashKey, Plan, Report};
use prost_reflect::{DescriptorPool, FieldDescriptor, MessageDescriptor};
use protox::file::{File, FileResolver};

/// The key of all tests.
pub fn hash_key() -> HashKey {
    HashKey::new(&[7; 32]).unwrap()
}

/// Fields named `record…` hold records, fields named `subject…` name subjects; a response that is a `Person` is a
/// record itself.
pub struct ByName;

impl Annotations for ByName {
    fn is_record(&self, field: &FieldDescriptor) -> bool {
        field.name().starts_with("record")
    }

    fn is_record_message(&self, message: &MessageDescriptor) -> bool {
        message.name() == "Person"
    }

    fn is_subject(&self, field: &FieldDescriptor) -> bool {
        field.name().starts_with("subject")
    }
}

/// The message type `t.Response` of a schema in package `t`.
pub fn response(source: &str) -> MessageDescriptor {
    pool(source).get_message_by_name("t.Response").unwrap()
}

pub fn pool(source: &str) -> DescriptorPool {
    struct Source<'a>(&'a str);
    impl FileResolver for Source<'_> {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            File::from_source(name, self.0)
        }
    }
    // The resolver must be 'static; tests are short-lived.
    let source: &'static str = String::from(source).leak();
    let mut compiler = protox::Compiler::with_file_resolver(Source(source));
    compiler.open_file("t.proto").unwrap_or_else(|error| panic!("{error:?}\n{source}"));
    compiler.descriptor_pool()
}

pub fn grant<const N: usize>(ids: [&str; N]) -> Grant {
    Grant { hash_key: Some(hash_key()), ..Grant::new(ids.into_iter().collect::<FieldSet>()) }
}

/// Compiles and applies in one go.
pub fn filter(
    message: &MessageDescriptor,
    grant: &Grant,
    bytes: &[u8],
) -> Result<(Vec<u8>, Report), FilterError> {
    let plan = Plan::compile(message, &ByName, grant).unwrap();
    let mut out = Vec::new();
    let mut report = Report::new();
    plan.apply(bytes, &mut out, &mut report)?;
    Ok((out, report))
}

/// Wire bytes, written field by field.
#[derive(Default, Clone)]
pub struct Wire(pub Vec<u8>);

impl Wire {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn int(mut self, number: u32, value: u64) -> Self {
        push_varint(u64::from(number) << 3, &mut self.0);
        push_varint(value, &mut self.0);
        self
    }

    pub fn len(mut self, number: u32, value: impl AsRef<[u8]>) -> Self {
        push_varint(u64::from(number) << 3 | 2, &mut self.0);
        push_varint(value.as_ref().len() as u64, &mut self.0);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub fn group(mut self, number: u32, inside: &Wire) -> Self {
        push_varint(u64::from(number) << 3 | 3, &mut self.0);
        self.0.extend_from_slice(&inside.0);
        push_varint(u64::from(number) << 3 | 4, &mut self.0);
        self
    }
}

impl AsRef<[u8]> for Wire {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}
