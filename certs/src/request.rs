//! A certificate signing request (PKCS #10, RFC 2986) for a real authority: the private key stays where it is made.
//!
//! This module is an edge: it uses the system's randomness and the disk.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};

use crate::files::{self, FileError};
use crate::pki::{Holder, KeyKind, PkiError, Request};

/// A request, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    /// The request, PEM.
    pub pem: String,
    /// Its public key as DER `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
}

/// Prepares a request with the private key in `key`: ECDSA P-256, made at mode 0600 where the file is missing, and used as
/// it is where it is there, so that asking again loses nothing. Subject and names are those that the profile wants; the
/// authority may write the subject in its own way.
///
/// # Errors
/// [`PkiError`] if a name does not fit, or the key cannot be read or written.
pub fn prepare(holder: Holder, dns_names: &[&str], key: &Path) -> Result<SigningRequest, PkiError> {
    let pair = key_in(key)?;
    let request = Request::new(holder).with_dns_names(dns_names);
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&request)?;
    params.subject_alt_names = request.alternative_names()?;
    params.key_usages = request.key_usages();
    params.extended_key_usages = request.extended_key_usages();
    let pem = params.serialize_request(&pair)?.pem().map_err(PkiError::Library)?;
    Ok(SigningRequest { pem, spki_der: pair.subject_public_key_info() })
}

fn key_in(path: &Path) -> Result<KeyPair, PkiError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(KeyPair::try_from(&files::private_key(path)?)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let pair = KeyKind::EcdsaP256.generate()?;
            files::create_private(path, pair.serialize_pem().as_bytes())?;
            Ok(pair)
        }
        Err(source) => Err(PkiError::File(FileError::Io { action: "read", path: path.to_owned(), source })),
    }
}

/// As the development PKI writes it, without its `DEMO`.
fn subject(request: &Request) -> Result<DistinguishedName, PkiError> {
    let mut subject = request.subject()?;
    let unit = match request.holder {
        Holder::Node { .. } => "Nút trao đổi dữ liệu",
        Holder::System { .. } => "Hệ thống thông tin",
        Holder::Person { .. } => "Cán bộ",
        Holder::Enterprise { .. } => return Ok(subject),
    };
    subject.push(DnType::OrganizationalUnitName, unit);
    Ok(subject)
}
