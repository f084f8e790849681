//! The mark of development: a private X.509 extension that says "not for production, made for mesh X".
//!
//! Every certificate the development PKI makes carries it, authorities included. A production role refuses
//! such a certificate at start and in every handshake (design §6, *Development things*). The extension is
//! not critical, since the path validator refuses every unknown critical extension outright and would leave
//! no room for our judgement; see `docs/decisions/0004-development-extension.md`.

use x509_parser::certificate::X509Certificate;

/// Object identifier of the extension. 99999 is no registered enterprise number: the arc is plainly fake,
/// so that it can never be mistaken for an official policy.
pub const EXTENSION_OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 99_999, 21, 1];

/// Longest mesh id, in bytes.
pub const MESH_ID_BYTES_MAX: usize = 63;

const UTF8_STRING_TAG: u8 = 0x0c;

/// True if `mesh_id` is a lower-case DNS label: it becomes part of the fake host names of the PKI.
pub fn is_mesh_id(mesh_id: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
    (1..=MESH_ID_BYTES_MAX).contains(&mesh_id.len())
        && mesh_id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && edge(mesh_id.bytes().next())
        && edge(mesh_id.bytes().last())
}

/// The extension's value: the mesh id as a DER `UTF8String`. `None` if it is no mesh id.
pub(crate) fn encode(mesh_id: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(mesh_id.len()).ok()?;
    is_mesh_id(mesh_id).then(|| [&[UTF8_STRING_TAG, length], mesh_id.as_bytes()].concat())
}

/// What the mark says, if the certificate carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mark {
    /// No such extension: a certificate that may serve in production.
    None,
    /// Development, for this mesh.
    Mesh(String),
    /// Development, but the mesh id is unreadable. Still development: a damaged mark must not hide it.
    Unreadable,
}

pub(crate) fn mark(certificate: &X509Certificate<'_>) -> Mark {
    let marked = certificate
        .extensions()
        .iter()
        .find(|extension| extension.oid.iter().is_some_and(|arcs| arcs.eq(EXTENSION_OID)));
    let Some(extension) = marked else {
        return Mark::None;
    };
    match extension.value {
        [UTF8_STRING_TAG, length, text @ ..] if usize::from(*length) == text.len() => {
            match std::str::from_utf8(text) {
                Ok(mesh_id) if is_mesh_id(mesh_id) => Mark::Mesh(mesh_id.to_owned()),
                _ => Mark::Unreadable,
            }
        }
        _ => Mark::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mesh_id_is_a_dns_label() {
        for good in ["vn-demo", "a", "m1", &"a".repeat(63)] {
            assert!(is_mesh_id(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "vn.demo", "đ", &"a".repeat(64)] {
            assert!(!is_mesh_id(bad), "{bad}");
        }
    }
}
