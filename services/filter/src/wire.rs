//! Fields of a byte slice: the protobuf wire format as far as the filter needs it.
//!
//! Every function reads `bytes` from position `at` and never past its end; the caller cuts `bytes` at the
//! end of the message it is in, so positions are those of the whole message. Work is linear in the bytes read.
//! Varints may be padded (some encoders do), up to ten bytes and 64 bits.

use std::ops::Range;

use crate::error::{Fault, FilterError};

/// Levels of messages and groups, the outermost included. Below the 100 of common decoders, so that whatever
/// the filter lets through they can read.
pub const DEPTH_MAX: usize = 64;
/// Longest message, in bytes: the limit of protobuf itself (2 GiB − 1).
pub const MESSAGE_BYTES_MAX: usize = 0x7fff_ffff;

const VARINT_BYTES_MAX: usize = 10;
const FIELD_NUMBER_MAX: u64 = 536_870_911;

/// The wire types that a value can have. `Group` is the start of one; an end never stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Varint,
    Fixed64,
    Len,
    Group,
    Fixed32,
}

impl Wire {
    /// The number of the wire format.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Len => 2,
            Self::Group => 3,
            Self::Fixed32 => 5,
        }
    }
}

/// One field as it stands in a message: positions, in order, none decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub number: u32,
    pub wire: Wire,
    /// First byte of the tag.
    pub start: usize,
    /// First byte after the tag; for `Len` the first of the length.
    pub tag_end: usize,
    /// First byte of the value.
    pub body: usize,
    /// First byte after the value; for `Group` the first of the end tag.
    pub body_end: usize,
    /// First byte after the field.
    pub end: usize,
}

impl Field {
    /// Where the value stands.
    pub(crate) fn value(&self) -> Range<usize> {
        self.body..self.body_end
    }
}

/// Reads the field that starts at `at`, which is inside `bytes`.
#[inline]
pub(crate) fn field(bytes: &[u8], at: usize) -> Result<Field, FilterError> {
    let (tag, body) = varint(bytes, at)?;
    let number = number(tag, at)?;
    let plain = |wire, end| Field { number, wire, start: at, tag_end: body, body, body_end: end, end };
    match tag & 7 {
        0 => Ok(plain(Wire::Varint, varint(bytes, body)?.1)),
        1 => Ok(plain(Wire::Fixed64, fixed(bytes, body, 8)?)),
        2 => {
            let (length, value) = varint(bytes, body)?;
            let remaining = bytes.len() - value;
            match usize::try_from(length) {
                Ok(length) if length <= remaining => {
                    let end = value + length;
                    Ok(Field {
                        number,
                        wire: Wire::Len,
                        start: at,
                        tag_end: body,
                        body: value,
                        body_end: end,
                        end,
                    })
                }
                _ => Err(FilterError::new(body, Fault::LengthBeyondEnd { length, remaining })),
            }
        }
        3 => {
            let (body_end, end) = group_end(bytes, body, number, at)?;
            Ok(Field { body_end, ..plain(Wire::Group, end) })
        }
        4 => Err(FilterError::new(at, Fault::GroupEndUnexpected { number })),
        5 => Ok(plain(Wire::Fixed32, fixed(bytes, body, 4)?)),
        other => Err(unknown_wire_type(other, at)),
    }
}

/// Checks a packed list: whole elements of the given wire type from `field.body` to its end.
pub(crate) fn check_packed(bytes: &[u8], field: &Field, element: Wire) -> Result<(), FilterError> {
    let malformed =
        FilterError { position: field.body, fault: Fault::PackedMalformed { number: field.number } };
    let body = &bytes[field.value()];
    let whole = match element {
        Wire::Fixed32 => body.len().is_multiple_of(4),
        Wire::Fixed64 => body.len().is_multiple_of(8),
        _ => packed_varints_whole(body),
    };
    if whole { Ok(()) } else { Err(malformed) }
}

/// Writes a varint in its shortest form into `buffer`; answers its length.
pub(crate) fn encode_varint(mut value: u64, buffer: &mut [u8; VARINT_BYTES_MAX]) -> usize {
    let mut length = 0;
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            buffer[length] = low;
            return length + 1;
        }
        buffer[length] = low | 0x80;
        length += 1;
    }
}

/// Appends a varint in its shortest form.
pub(crate) fn push_varint(value: usize, out: &mut Vec<u8>) {
    let mut buffer = [0; VARINT_BYTES_MAX];
    let length = encode_varint(value as u64, &mut buffer);
    out.extend_from_slice(&buffer[..length]);
}

/// Replaces the length prefix of `old` bytes at `at` in `out` by the shortest form of `value`; what follows
/// moves if the lengths differ.
pub(crate) fn patch_length(out: &mut Vec<u8>, at: usize, old: usize, value: usize) {
    let mut buffer = [0; VARINT_BYTES_MAX];
    let new = encode_varint(value as u64, &mut buffer);
    let tail = at + old;
    if new > old {
        let end = out.len();
        out.resize(end + new - old, 0);
        out.copy_within(tail..end, at + new);
    } else if new < old {
        out.copy_within(tail.., at + new);
        out.truncate(out.len() - (old - new));
    }
    out[at..at + new].copy_from_slice(&buffer[..new]);
}

#[inline]
fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize), FilterError> {
    match bytes.get(at) {
        Some(&byte) if byte < 0x80 => Ok((u64::from(byte), at + 1)),
        _ => varint_long(bytes, at),
    }
}

fn varint_long(bytes: &[u8], at: usize) -> Result<(u64, usize), FilterError> {
    let mut value = 0u64;
    for index in 0..VARINT_BYTES_MAX {
        let Some(&byte) = bytes.get(at + index) else {
            return Err(FilterError::new(at, Fault::Truncated));
        };
        // The tenth byte holds bit 63 only.
        if index == VARINT_BYTES_MAX - 1 && byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return Ok((value, at + index + 1));
        }
    }
    Err(FilterError::new(at, Fault::VarintOverlong))
}

#[inline]
fn number(tag: u64, at: usize) -> Result<u32, FilterError> {
    match tag >> 3 {
        0 => Err(FilterError::new(at, Fault::FieldNumberZero)),
        #[expect(clippy::cast_possible_truncation, reason = "at most 29 bits")]
        number @ 1..=FIELD_NUMBER_MAX => Ok(number as u32),
        _ => Err(FilterError::new(at, Fault::FieldNumberTooLarge)),
    }
}

#[inline]
fn fixed(bytes: &[u8], at: usize, length: usize) -> Result<usize, FilterError> {
    if bytes.len() - at < length {
        return Err(FilterError::new(at, Fault::Truncated));
    }
    Ok(at + length)
}

#[cold]
fn unknown_wire_type(wire_type: u64, at: usize) -> FilterError {
    #[expect(clippy::cast_possible_truncation, reason = "three bits")]
    let wire_type = wire_type as u8;
    FilterError::new(at, Fault::WireTypeUnknown { wire_type })
}

/// Finds the end tag of group `number`, whose content starts at `at`: its first byte and the one after it.
/// Nested groups are followed with a stack of their numbers, not by recursion.
fn group_end(
    bytes: &[u8],
    mut at: usize,
    number_open: u32,
    start: usize,
) -> Result<(usize, usize), FilterError> {
    let mut open = [0u32; DEPTH_MAX];
    open[0] = number_open;
    let mut depth = 1;
    while at < bytes.len() {
        let (tag, body) = varint(bytes, at)?;
        let number = number(tag, at)?;
        match tag & 7 {
            3 if depth == DEPTH_MAX => return Err(FilterError::new(at, Fault::TooDeep)),
            3 => {
                open[depth] = number;
                depth += 1;
                at = body;
            }
            4 => {
                depth -= 1;
                if open[depth] != number {
                    return Err(FilterError::new(at, Fault::GroupUnclosed { number: open[depth] }));
                }
                if depth == 0 {
                    return Ok((at, body));
                }
                at = body;
            }
            _ => at = field(bytes, at)?.end,
        }
    }
    Err(FilterError::new(start, Fault::GroupUnclosed { number: number_open }))
}

fn packed_varints_whole(body: &[u8]) -> bool {
    let mut continued = 0;
    for &byte in body {
        if byte >= 0x80 {
            continued += 1;
            if continued == VARINT_BYTES_MAX {
                return false;
            }
        } else {
            if continued == VARINT_BYTES_MAX - 1 && byte > 1 {
                return false;
            }
            continued = 0;
        }
    }
    continued == 0
}
