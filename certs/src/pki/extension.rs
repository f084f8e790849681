//! The two extensions the certificate library does not write itself.

use rcgen::CustomExtension;

use crate::development::{self, EXTENSION_OID};

/// Authority information access (RFC 5280 §4.2.2.1).
const AUTHORITY_INFORMATION_ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
/// DER of `id-ad-caIssuers`.
const CA_ISSUERS: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];
const SEQUENCE: u8 = 0x30;
/// `uniformResourceIdentifier [6] IMPLICIT IA5String`.
const GENERAL_NAME_URI: u8 = 0x86;

/// The development mark, not critical (see `docs/decisions/0004-development-extension.md`).
pub(super) fn development_mark(mesh_id: &str) -> Option<CustomExtension> {
    Some(CustomExtension::from_oid_content(&EXTENSION_OID, development::encode(mesh_id)?))
}

/// Where the issuer's certificate can be fetched. `None` if the address is too long for one certificate.
pub(super) fn authority_information_access(issuer_uri: &str) -> Option<CustomExtension> {
    let location = der(GENERAL_NAME_URI, issuer_uri.as_bytes())?;
    let description = der(SEQUENCE, &[&CA_ISSUERS[..], &location].concat())?;
    let content = der(SEQUENCE, &description)?;
    Some(CustomExtension::from_oid_content(&AUTHORITY_INFORMATION_ACCESS, content))
}

/// One DER element of at most 255 bytes of content.
fn der(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u8::try_from(content.len()).ok()?;
    let header: &[u8] = if length < 0x80 { &[tag, length] } else { &[tag, 0x81, length] };
    Some([header, content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(der(4, &[7; 127]).unwrap()[..2], [4, 127]);
        assert_eq!(der(4, &[7; 128]).unwrap()[..3], [4, 0x81, 128]);
        assert_eq!(der(4, &[7; 256]), None);
    }
}
