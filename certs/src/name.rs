//! Distinguished names as text: canonical, NFC, safe to print.
//!
//! Vietnamese names arrive in two byte forms that look alike (`ộ` as one code point, or as `o` with two
//! marks). Comparing bytes would make one agency two; so every name becomes NFC text before it is compared,
//! stored or shown. Certificate *chaining* stays on the exact bytes, as RFC 5280 path building does here.

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Longest distinguished name accepted, in bytes of its DER.
pub const NAME_BYTES_MAX: usize = 4 * 1024;

/// Attribute types written by a short name: RFC 4514 §3 and, beyond it, those official subjects use.
const SHORT_NAMES: [(&[u64], &str); 13] = [
    (&[2, 5, 4, 3], "CN"),
    (&[2, 5, 4, 4], "SN"),
    (&[2, 5, 4, 5], "serialNumber"),
    (&[2, 5, 4, 6], "C"),
    (&[2, 5, 4, 7], "L"),
    (&[2, 5, 4, 8], "ST"),
    (&[2, 5, 4, 9], "STREET"),
    (&[2, 5, 4, 10], "O"),
    (&[2, 5, 4, 11], "OU"),
    (&[2, 5, 4, 12], "title"),
    (&[2, 5, 4, 42], "GN"),
    (&[0, 9, 2342, 19_200_300, 100, 1, 1], "UID"),
    (&[0, 9, 2342, 19_200_300, 100, 1, 25], "DC"),
];

/// A name that cannot be turned into text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The encoded name is longer than [`NAME_BYTES_MAX`].
    #[error("the name is {0} bytes long; at most {NAME_BYTES_MAX} are read")]
    TooLong(usize),
    /// An attribute's value is not valid in the string type it claims.
    #[error("the value of name attribute {0} is not valid text in its own string type")]
    NotText(String),
    /// An attribute holds characters that print as nothing or reorder the text around them.
    #[error("name attribute {0} holds control or invisible characters; it would not read as what it is")]
    Unprintable(String),
}

/// One attribute of a name, its value in NFC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// `CN`, `O`, … or the dotted object identifier.
    pub kind: String,
    /// The value, NFC, unescaped.
    pub value: String,
    /// True if the certificate itself holds the value in NFC.
    pub was_nfc: bool,
}

/// The attributes of `name`, in the order of the certificate, grouped by relative distinguished name.
///
/// # Errors
/// [`NameError`] if the name is too long or an attribute is not text.
pub fn attributes(name: &X509Name<'_>) -> Result<Vec<Vec<Attribute>>, NameError> {
    if name.as_raw().len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(name.as_raw().len()));
    }
    name.iter_rdn().map(|rdn| rdn.iter().map(attribute).collect()).collect()
}

/// The name as one line after RFC 4514: most specific attribute first, special characters escaped, text in
/// NFC. Two names that differ only in normalisation give the same line.
///
/// # Errors
/// [`NameError`] if the name is too long or an attribute is not text.
pub fn canonical(name: &X509Name<'_>) -> Result<String, NameError> {
    Ok(line(&attributes(name)?))
}

/// [`canonical`] over attributes already read.
pub(crate) fn line(rdns: &[Vec<Attribute>]) -> String {
    let mut text = String::new();
    for (index, rdn) in rdns.iter().rev().enumerate() {
        if index > 0 {
            text.push(',');
        }
        for (position, attribute) in rdn.iter().enumerate() {
            if position > 0 {
                text.push('+');
            }
            text.push_str(&attribute.kind);
            text.push('=');
            escape_into(&mut text, &attribute.value);
        }
    }
    text
}

/// `text` in Unicode normalisation form C.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// True if `text` already is in Unicode normalisation form C.
pub fn is_nfc(text: &str) -> bool {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => true,
        IsNormalized::No => false,
        IsNormalized::Maybe => text.nfc().eq(text.chars()),
    }
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Result<Attribute, NameError> {
    let kind = kind_of(attribute.attr_type());
    let raw = text_of(attribute.attr_value()).ok_or_else(|| NameError::NotText(kind.clone()))?;
    if raw.chars().any(is_unprintable) {
        return Err(NameError::Unprintable(kind));
    }
    Ok(Attribute { was_nfc: is_nfc(&raw), value: nfc(&raw), kind })
}

/// Control characters, and the format characters that hide or reorder text: no Vietnamese or English name
/// holds any, and a log line or a console page must not be bent by one.
fn is_unprintable(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

fn kind_of(oid: &Oid<'_>) -> String {
    let short = oid.iter().and_then(|arcs| {
        let arcs: Vec<u64> = arcs.collect();
        SHORT_NAMES.iter().find(|(known, _)| *known == arcs.as_slice())
    });
    short.map_or_else(|| oid.to_id_string(), |(_, name)| (*name).to_owned())
}

/// The five string types of X.520 `DirectoryString`, and the older ones real certificates still carry.
fn text_of(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.header.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok())?
        }
        Tag::UniversalString => {
            let (quads, rest) = bytes.as_chunks::<4>();
            let scalars = quads.iter().map(|quad| char::from_u32(u32::from_be_bytes(*quad)));
            rest.is_empty().then(|| scalars.collect::<Option<_>>())?
        }
        // T.61 has no reliable decoder anywhere; every issuer in practice means Latin-1 by it.
        Tag::T61String => Some(bytes.iter().copied().map(char::from).collect()),
        _ => None,
    }
}

fn escape_into(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => {
                text.push('\\');
                text.push(character);
            }
            '#' if index == 0 => text.push_str("\\#"),
            ' ' if index == 0 || index == last => text.push_str("\\ "),
            plain => text.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(value: &str) -> String {
        line(&[vec![Attribute { kind: "CN".into(), value: value.into(), was_nfc: true }]])
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(one("a,b+c\"d\\e<f>g;h=i"), r#"CN=a\,b\+c\"d\\e\<f\>g\;h\=i"#);
        assert_eq!(one(" # "), r"CN=\ #\ ");
        assert_eq!(one("#a"), r"CN=\#a");
    }

    #[test]
    fn both_byte_forms_of_a_name_become_one() {
        let composed = "Bộ Tài chính";
        let decomposed: String = composed.nfd().collect();
        assert_ne!(composed, decomposed);
        assert!(is_nfc(composed));
        assert!(!is_nfc(&decomposed));
        assert_eq!(nfc(&decomposed), composed);
    }

    proptest! {
        #[test]
        fn names_as_people_write_them_are_printable(text in "[A-Za-zÀ-ÃÈ-ÊÌÍÒ-ÕÙÚÝà-ãè-êìíò-õùúýĂăĐđĨĩŨũƠơƯưẠ-ỹ0-9 .,'–-]*") {
            prop_assert!(!text.chars().any(is_unprintable));
        }

        /// No value can forge a second attribute: unescaped separators are only ours.
        #[test]
        fn a_value_stays_inside_its_attribute(value in "\\PC*") {
            let text = one(&value);
            let mut escaped = false;
            for character in text["CN=".len()..].chars() {
                if escaped { escaped = false; continue; }
                prop_assert!(!matches!(character, ',' | '+' | '='));
                escaped = character == '\\';
            }
        }
    }
}
