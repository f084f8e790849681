//! Schemas, grants and messages read off a tape of random bytes: a shorter or smaller tape gives a simpler case, so
//! that proptest can shrink what fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use lienthong_filter::{FieldSet, Grant, Masking};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::reference::maskings;
use crate::support::{hash_key, push_varint};

/// Random choices; zero once the bytes are used up.
pub struct Tape<'a>(std::slice::Iter<'a, u8>);

impl<'a> Tape<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: usize) -> usize {
        let wide = usize::from(self.byte()) << 8 | usize::from(self.byte());
        wide % limit
    }

    fn one_in(&mut self, count: u8) -> bool {
        self.byte() % count == count - 1
    }

    fn pick<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        &of[self.below(of.len())]
    }

    fn is_over(&self) -> bool {
        self.0.len() == 0
    }
}

const SCALARS: [&str; 15] = [
    "string", "int32", "bytes", "uint64", "bool", "double", "float", "int64", "uint32", "fixed64", "fixed32",
    "sfixed32", "sfixed64", "sint32", "sint64",
];
const KEYS: [&str; 4] = ["string", "int32", "uint64", "bool"];
const NUMBERS: [u32; 14] = [1, 2, 3, 4, 5, 6, 7, 15, 16, 100, 1023, 1024, 70_000, 536_870_911];

/// Source text of a schema with `t.Response`, which holds at least one record, and three messages `t.M0`…`t.M2`
/// that may hold one another, and themselves.
pub fn schema(tape: &mut Tape) -> String {
    let proto2 = tape.one_in(2);
    let mut text = format!("syntax = \"proto{}\";\npackage t;\n", if proto2 { 2 } else { 3 });
    for index in 0..3 {
        let body = fields(tape, proto2, false, 0);
        write!(text, "message M{index} {{\n{body}}}\n").unwrap();
    }
    let body = fields(tape, proto2, true, 0);
    let label = label(tape, proto2);
    write!(text, "message Response {{\n{body}{label}M0 record_last = 536870910;\n}}\n").unwrap();
    text
}

fn label(tape: &mut Tape, proto2: bool) -> &'static str {
    match (tape.below(3), proto2) {
        (0, _) => "repeated ",
        (1, false) => "",
        _ => "optional ",
    }
}

fn fields(tape: &mut Tape, proto2: bool, envelope: bool, depth: usize) -> String {
    let mut text = String::new();
    let mut numbers = NUMBERS.to_vec();
    let count = 1 + tape.below(7);
    let mut name = 0;
    let mut next = |tape: &mut Tape| {
        name += 1;
        (name, numbers.remove(tape.below(numbers.len())))
    };
    for _ in 0..count {
        let (name, number) = next(tape);
        match tape.below(10) {
            0..=3 => scalar(tape, proto2, name, number, &mut text),
            4..=6 => {
                let label = label(tape, proto2);
                let role = if envelope && tape.one_in(2) { "record" } else { "m" };
                writeln!(text, "{label}M{} {role}{name} = {number};", tape.below(3)).unwrap();
            }
            7 => {
                let key = tape.pick(&KEYS);
                let message = format!("M{}", tape.below(3));
                let value = if tape.one_in(2) { &*message } else { tape.pick(&SCALARS) };
                writeln!(text, "map<{key}, {value}> map{name} = {number};").unwrap();
            }
            8 if proto2 && depth < 2 => {
                let label = if tape.one_in(2) { "repeated" } else { "optional" };
                let body = fields(tape, proto2, envelope, depth + 1);
                writeln!(text, "{label} group G{depth}x{name} = {number} {{\n{body}}}").unwrap();
            }
            _ => {
                writeln!(text, "oneof o{name} {{").unwrap();
                for member in 0..=tape.below(2) {
                    let (inner, inner_number) = if member == 0 { (name, number) } else { next(tape) };
                    let kind = if tape.one_in(2) {
                        (*tape.pick(&SCALARS)).into()
                    } else {
                        format!("M{}", tape.below(3))
                    };
                    writeln!(text, "{kind} c{inner} = {inner_number};").unwrap();
                }
                text.push_str("}\n");
            }
        }
    }
    text
}

fn scalar(tape: &mut Tape, proto2: bool, name: usize, number: u32, text: &mut String) {
    let label = label(tape, proto2);
    let kind = *tape.pick(&SCALARS);
    let role = if kind == "string" && tape.one_in(3) { "subject" } else { "f" };
    let packable = label == "repeated " && kind != "string" && kind != "bytes";
    let packed = match tape.below(3) {
        0 if packable => " [packed = true]",
        1 if packable => " [packed = false]",
        _ => "",
    };
    writeln!(text, "{label}{kind} {role}{name} = {number}{packed};").unwrap();
}

/// A grant of some of the fields of the records, some masked.
pub fn grant(tape: &mut Tape, response: &MessageDescriptor) -> Grant {
    let mut known = BTreeMap::new();
    for index in 0..3 {
        let message = response.parent_pool().get_message_by_name(&format!("t.M{index}")).unwrap();
        if is_record_type(response, &message) {
            list_ids(&message, "", 0, &mut known);
        }
    }
    let density = 1 + tape.byte() % 4;
    let mut masking = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for (id, kinds) in &known {
        if tape.one_in(density) {
            ids.insert(id.clone());
        }
        if tape.one_in(4) {
            masking.insert(id.clone(), *tape.pick(kinds));
        }
    }
    let fields = if tape.one_in(5) { FieldSet::All } else { FieldSet::Only(ids) };
    Grant { fields, masking, hash_key: Some(hash_key()) }
}

fn is_record_type(message: &MessageDescriptor, record: &MessageDescriptor) -> bool {
    message.fields().any(|field| match field.kind() {
        Kind::Message(inner) if field.name().starts_with("record") => inner == *record,
        Kind::Message(inner) if field.is_group() => is_record_type(&inner, record),
        _ => false,
    })
}

/// Ids of a record to a depth of three, each with the maskings that fit all fields of that id.
fn list_ids(
    message: &MessageDescriptor,
    prefix: &str,
    depth: usize,
    known: &mut BTreeMap<String, Vec<Masking>>,
) {
    for field in message.fields() {
        let id = format!("{prefix}{}", field.name());
        let kinds = known.entry(id.clone()).or_insert_with(|| maskings(&field).to_vec());
        kinds.retain(|kind| maskings(&field).contains(kind));
        let kind = field.kind();
        let inner = match kind.as_message() {
            Some(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
                Kind::Message(value) => Some(value),
                _ => None,
            },
            inner => inner.cloned(),
        };
        if let Some(inner) = inner.filter(|_| depth < 2) {
            list_ids(&inner, &format!("{id}."), depth + 1, known);
        }
    }
}

/// How a message was written.
#[derive(Default)]
pub struct Habits {
    /// Whether some singular field was written twice, or two members of a oneof were.
    pub repeats: bool,
}

/// A message that every decoder reads, written as strangely as the tape likes: any order, split messages, repeated
/// scalars, lists half packed, padded varints, unknown fields.
pub fn message(tape: &mut Tape, message: &MessageDescriptor, habits: &mut Habits) -> Vec<u8> {
    let mut out = Vec::new();
    write_fields(tape, message, 0, habits, &mut out);
    out
}

fn write_fields(
    tape: &mut Tape,
    message: &MessageDescriptor,
    depth: usize,
    habits: &mut Habits,
    out: &mut Vec<u8>,
) {
    let fields: Vec<FieldDescriptor> = message.fields().collect();
    let mut seen = BTreeSet::new();
    let honest = tape.one_in(2);
    for _ in 0..tape.below(9) {
        if tape.is_over() {
            return;
        }
        if tape.one_in(6) {
            write_unknown(tape, message, 0, out);
            continue;
        }
        let field = tape.pick(&fields);
        if !field.is_list() && !field.is_map() {
            let key =
                field.containing_oneof().map_or(field.name().to_owned(), |oneof| oneof.name().to_owned());
            if !seen.insert(key) {
                if honest {
                    continue;
                }
                habits.repeats = true;
            }
        }
        write_field(tape, field, depth, habits, out);
    }
}

fn write_field(
    tape: &mut Tape,
    field: &FieldDescriptor,
    depth: usize,
    habits: &mut Habits,
    out: &mut Vec<u8>,
) {
    let number = field.number();
    match field.kind() {
        Kind::Message(_) if depth > 5 => {}
        Kind::Message(inner) if field.is_group() => {
            tag(tape, number, 3, out);
            write_fields(tape, &inner, depth + 1, habits, out);
            tag(tape, number, 4, out);
        }
        Kind::Message(inner) => {
            let mut body = Vec::new();
            write_fields(tape, &inner, depth + 1, habits, &mut body);
            tag(tape, number, 2, out);
            length(tape, &body, out);
        }
        kind if field.is_list() && !matches!(kind, Kind::String | Kind::Bytes) && tape.one_in(2) => {
            let mut body = Vec::new();
            for _ in 0..tape.below(4) {
                scalar_value(tape, &kind, &mut body);
            }
            tag(tape, number, 2, out);
            length(tape, &body, out);
        }
        kind => {
            tag(tape, number, wire_type(&kind), out);
            scalar_value(tape, &kind, out);
        }
    }
}

fn write_unknown(tape: &mut Tape, message: &MessageDescriptor, depth: usize, out: &mut Vec<u8>) {
    let number = [9, 8, 77, 2_000, 99_999][tape.below(5)];
    if message.get_field(number).is_some() {
        return;
    }
    match tape.below(5) {
        0 => {
            tag(tape, number, 0, out);
            varint(tape, 300, out);
        }
        1 => {
            tag(tape, number, 1, out);
            out.extend_from_slice(&[1; 8]);
        }
        2 => {
            tag(tape, number, 2, out);
            length(tape, b"unknown", out);
        }
        3 if depth < 4 => {
            tag(tape, number, 3, out);
            write_unknown(tape, message, depth + 1, out);
            tag(tape, number, 4, out);
        }
        _ => {
            tag(tape, number, 5, out);
            out.extend_from_slice(&[2; 4]);
        }
    }
}

fn scalar_value(tape: &mut Tape, kind: &Kind, out: &mut Vec<u8>) {
    const TEXTS: [&str; 7] =
        ["001099012345", "", "Nguyễn Thị Ánh Tuyết", "a", "Đống Đa", "999190000001", "12345\u{1F600}"];
    match kind {
        Kind::String => {
            let text = *tape.pick(&TEXTS);
            length(tape, text.as_bytes(), out);
        }
        Kind::Bytes => {
            let value = vec![tape.byte(); tape.below(5)];
            length(tape, &value, out);
        }
        kind => match wire_type(kind) {
            0 => {
                let value = [0, 1, 127, 128, 70_000, u64::MAX][tape.below(6)];
                varint(tape, value, out);
            }
            1 => out.extend_from_slice(&[tape.byte(); 8]),
            _ => out.extend_from_slice(&[tape.byte(); 4]),
        },
    }
}

fn wire_type(kind: &Kind) -> u32 {
    kind.wire_type() as u32
}

fn tag(tape: &mut Tape, number: u32, wire_type: u32, out: &mut Vec<u8>) {
    varint(tape, u64::from(number << 3 | wire_type), out);
}

fn length(tape: &mut Tape, body: &[u8], out: &mut Vec<u8>) {
    varint(tape, body.len() as u64, out);
    out.extend_from_slice(body);
}

/// A varint, at times padded.
fn varint(tape: &mut Tape, value: u64, out: &mut Vec<u8>) {
    push_varint(value, out);
    if value < 1 << 62 && tape.one_in(16) {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
}

/// Spoils a message at a few places.
pub fn corrupt(tape: &mut Tape, bytes: &mut Vec<u8>) {
    for _ in 0..=tape.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = tape.below(bytes.len());
        match tape.below(4) {
            0 => bytes.truncate(at),
            1 => bytes[at] = tape.byte(),
            2 => bytes[at] ^= 1 << tape.below(8),
            _ => bytes.insert(at, tape.byte()),
        }
    }
}
