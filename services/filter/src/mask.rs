//! The masking rules, on values that are not empty. See [`crate::Masking`] for the rules in words.

use crate::error::{Fault, FilterError};
use crate::grant::HashKey;
use crate::wire::{self, Field};

/// Bytes of the HMAC that are kept.
const HASH_BYTES: usize = 16;
/// Characters shown at each end of a partially shown text: one sixth of it, and not more than this.
const SHOWN_CHARS_MAX: usize = 3;
const SHOWN_PART: usize = 6;

/// How a scalar is masked.
#[derive(Debug, Clone)]
pub(crate) enum Mask {
    Partial,
    HashText(HashKey),
    HashBytes(HashKey),
}

/// Appends a string or bytes field of `input` with its value masked. The value is not empty.
pub(crate) fn field(mask: &Mask, input: &[u8], field: &Field, out: &mut Vec<u8>) -> Result<(), FilterError> {
    let value = &input[field.value()];
    out.extend_from_slice(&input[field.start..field.tag_end]);
    match mask {
        Mask::HashText(key) => hash_text(key, value, out),
        Mask::HashBytes(key) => hash_bytes(key, value, out),
        Mask::Partial => {
            let text = std::str::from_utf8(value)
                .map_err(|_| FilterError::new(field.start, Fault::NotUtf8 { number: field.number }))?;
            partial(text, out);
        }
    }
    Ok(())
}

/// Appends length and content of `text`, partially shown.
fn partial(text: &str, out: &mut Vec<u8>) {
    let chars = text.chars().count();
    let shown = (chars / SHOWN_PART).min(SHOWN_CHARS_MAX);
    let head = offset(text, shown);
    let tail = offset(text, chars - shown);
    let hidden = chars - 2 * shown;
    wire::push_varint(head + hidden + (text.len() - tail), out);
    out.extend_from_slice(&text.as_bytes()[..head]);
    out.resize(out.len() + hidden, b'*');
    out.extend_from_slice(&text.as_bytes()[tail..]);
}

/// Appends length and content of the token of `value`, as hexadecimal digits.
fn hash_text(key: &HashKey, value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let tag = key.sign(value);
    wire::push_varint(2 * HASH_BYTES, out);
    for byte in &tag.as_ref()[..HASH_BYTES] {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Appends length and content of the token of `value`, as bytes.
fn hash_bytes(key: &HashKey, value: &[u8], out: &mut Vec<u8>) {
    let tag = key.sign(value);
    wire::push_varint(HASH_BYTES, out);
    out.extend_from_slice(&tag.as_ref()[..HASH_BYTES]);
}

/// Byte offset of the character with this index; the length of the text if there are not so many.
fn offset(text: &str, index: usize) -> usize {
    text.char_indices().nth(index).map_or(text.len(), |(offset, _)| offset)
}
