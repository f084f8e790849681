//! Names of findings: made from what was found, so that whoever finds the same again gives it the same name.

use lienthong_proto::lienthong::audit::v1::FindingKind;

use crate::hash::sha256;

/// Bytes of a finding's id, written as twice as many hexadecimal digits (record.proto).
pub const FINDING_ID_BYTES: usize = 16;

/// The longest detail of a finding and reason of its end, characters (record.proto).
pub const DETAIL_CHARS_MAX: usize = 256;

/// The id of a finding of this kind about these things, in this order.
pub fn id(kind: FindingKind, about: &[&[u8]]) -> String {
    let mut input = format!("lienthong/finding/v1\n{}\n", kind.as_str_name()).into_bytes();
    for part in about {
        input.extend_from_slice(&(part.len() as u64).to_be_bytes());
        input.extend_from_slice(part);
    }
    hex::encode(&sha256(&input).0[..FINDING_ID_BYTES])
}

/// Whether a text can be the id of a finding.
pub fn is_id(text: &str) -> bool {
    text.len() == 2 * FINDING_ID_BYTES
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// A detail as it stands on record: cut to [`DETAIL_CHARS_MAX`].
pub fn detail(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_has_the_same_id_and_nothing_else_has() {
        let of = |kind, about: &[&[u8]]| id(kind, about);
        let one = of(FindingKind::MissingSide, &[b"ab", b"c"]);
        assert!(is_id(&one), "{one}");
        assert_eq!(one, of(FindingKind::MissingSide, &[b"ab", b"c"]));
        assert_ne!(one, of(FindingKind::MissingSide, &[b"a", b"bc"]));
        assert_ne!(one, of(FindingKind::LateSide, &[b"ab", b"c"]));
        assert!(!is_id("") && !is_id(&one[1..]) && !is_id(&one.to_uppercase().replace('0', "A")));
    }
}
