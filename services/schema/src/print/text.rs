//! Literals of the protobuf language.

use std::fmt::Write;

/// A string or bytes literal. UTF-8 stays as it is; what could be read otherwise is escaped.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                control if control.is_control() => {
                    let mut utf8 = [0; 4];
                    control.encode_utf8(&mut utf8).bytes().for_each(|byte| octal(&mut out, byte));
                }
                other => out.push(other),
            }
        }
        chunk.invalid().iter().for_each(|byte| octal(&mut out, *byte));
    }
    out.push('"');
    out
}

fn octal(out: &mut String, byte: u8) {
    // INVARIANT: writing to a String cannot fail.
    let _ = write!(out, "\\{byte:03o}");
}

/// A number that reads back to the same bits, but for the bits of a NaN.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        "nan".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() }
    } else {
        format!("{number:?}")
    }
}

/// The same for a float, in the digits that a float needs.
pub fn single(number: f32) -> String {
    if number.is_finite() { format!("{number:?}") } else { float(number.into()) }
}

/// The JSON name that a field has unless it declares another.
pub fn json_name(field: &str) -> String {
    let mut name = String::with_capacity(field.len());
    let mut upper = false;
    for character in field.chars() {
        if character == '_' {
            upper = true;
        } else if upper {
            name.push(character.to_ascii_uppercase());
            upper = false;
        } else {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_written_as_they_are_read() {
        assert_eq!(quoted("Số \"1\"\n\\".as_bytes()), r#""Số \"1\"\n\\""#);
        assert_eq!(quoted(b"\xff\x00a"), r#""\377\000a""#);
        assert_eq!(
            (float(0.1), float(f64::NEG_INFINITY), single(0.1)),
            ("0.1".into(), "-inf".into(), "0.1".into())
        );
        assert_eq!(json_name("so_dinh_danh"), "soDinhDanh");
    }
}
