//! What a certificate says: read with bounds, text normalised to NFC, nothing judged.
//!
//! [`PeerCertificate::read`] turns bytes into facts and fails only where there is no single clear fact to
//! state. Whether the mesh believes them is [`crate::judge`]'s matter; which agency they stand for is the
//! registry's, by [`CertificateBinding`].

use std::collections::BTreeSet;
use std::fmt;

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::algorithm::KeyAlgorithm;
use crate::development::{self, Mark};
use crate::judge::{AuthorityId, Branch};
use crate::name::{self, Attribute, NameError};

/// Largest certificate read, in bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;
/// Longest serial number, in bytes (RFC 5280 §4.1.2.2).
pub const SERIAL_BYTES_MAX: usize = 20;
/// Most entries read from the subject alternative name.
pub const ALTERNATIVE_NAMES_MAX: usize = 64;
/// Longest agency code, in characters (domain §3: decision 20/2020 article 4).
pub const AGENCY_CODE_CHARS_MAX: usize = 35;
/// The URI that names an agency in the subject alternative name: this prefix, then the agency's code. A URN
/// (RFC 8141) is a URI as RFC 5280 §4.2.1.6 asks for; `pkilint` reports it, since it knows URLs only.
pub const AGENCY_URN_PREFIX: &str = "urn:vn-mesh:agency:";

/// A certificate's own statement about itself, normalised.
///
/// [`PeerCertificate::read`] fills everything but [`branch`](Self::branch), which only a judgement knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject, in NFC.
    pub subject: Subject,
    /// The agency code of the `urn:vn-mesh:agency:<code>` alternative name: a *check* against the registry
    /// binding, never a proof.
    pub agency_urn: Option<String>,
    /// DNS alternative names, lower case, in the order of the certificate.
    pub dns_names: Vec<String>,
    /// Start of validity, UTC.
    pub not_before: OffsetDateTime,
    /// End of validity (inclusive), UTC.
    pub not_after: OffsetDateTime,
    /// The public key as DER `SubjectPublicKeyInfo`.
    pub spki_der: Vec<u8>,
    /// Which key that is.
    pub key_algorithm: KeyAlgorithm,
    /// What key usage and extended key usage allow it for.
    pub usages: BTreeSet<Usage>,
    /// True if subject and issuer are in NFC as they stand in the certificate.
    pub names_in_nfc: bool,
    /// True if the certificate is marked as made for development.
    pub development: bool,
    /// The mesh the development mark names, where it can be read.
    pub mesh_id: Option<String>,
    /// The branch of the authority that vouches for it; `None` until judged.
    pub branch: Option<Branch>,
    /// The authorities above it, nearest first; empty until judged.
    pub(crate) authorities: Vec<AuthorityId>,
    pub(crate) self_issued: bool,
    binding: CertificateBinding,
    fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// Reads the first certificate of `chain` (leaf first, as TLS sends it).
    ///
    /// # Errors
    /// [`ProfileError`] if there is no certificate, or it is too large, not DER X.509 v3, or ambiguous in a
    /// part that identity rests on.
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<PeerCertificate, ProfileError> {
        let der = chain.first().ok_or(ProfileError::Absent)?;
        let certificate = parse(der)?;
        let subject = Subject::read(&name::attributes(certificate.subject())?);
        let issuer = name::attributes(certificate.issuer())?;
        let names_in_nfc = subject.was_nfc && issuer.iter().flatten().all(|attribute| attribute.was_nfc);
        let (agency_urn, dns_names) = alternative_names(&certificate)?;
        let spki = certificate.public_key();
        let mark = development::mark(&certificate);

        Ok(PeerCertificate {
            subject,
            agency_urn,
            dns_names,
            not_before: certificate.validity().not_before.to_datetime(),
            not_after: certificate.validity().not_after.to_datetime(),
            spki_der: spki.raw.to_vec(),
            key_algorithm: KeyAlgorithm::of(spki),
            usages: usages(&certificate)?,
            names_in_nfc,
            development: mark != Mark::None,
            mesh_id: if let Mark::Mesh(mesh_id) = mark { Some(mesh_id) } else { None },
            branch: None,
            authorities: Vec::new(),
            self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            binding: CertificateBinding {
                issuer: name::line(&issuer),
                serial: serial(certificate.raw_serial())?,
                spki_sha256: sha256(spki.raw),
            },
            fingerprint: sha256(der),
        })
    }

    /// The key by which the registry binds this certificate to an agency and a system.
    pub fn binding(&self) -> &CertificateBinding {
        &self.binding
    }

    /// SHA-256 of the certificate's DER.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }
}

/// Issuer, serial and key: what the registry binds to an agency. A renewed certificate is a new binding.
///
/// Shown as `serial=… issuer="…" spki=…`, the key by its first eight bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateBinding {
    /// The issuer's distinguished name as one RFC 4514 line in NFC ([`name::canonical`]).
    pub issuer: String,
    /// The serial number, unsigned big-endian without leading zeros (one zero byte for zero).
    pub serial: Vec<u8>,
    /// SHA-256 of the DER `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
}

impl CertificateBinding {
    /// The serial number as lower-case hexadecimal.
    pub fn serial_hex(&self) -> String {
        hex::encode(&self.serial)
    }
}

impl fmt::Display for CertificateBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = hex::encode(&self.spki_sha256[..8]);
        write!(f, "serial={} issuer=\"{}\" spki={key}…", self.serial_hex(), self.issuer)
    }
}

/// The subject's attributes that the mesh shows and compares, in NFC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// `CN`, the last if there are several.
    pub common_name: Option<String>,
    /// `O`: the agency's name, in the certificates seen so far.
    pub organization: Option<String>,
    /// Every `OU`, in order.
    pub organizational_units: Vec<String>,
    /// `L`.
    pub locality: Option<String>,
    /// `C`.
    pub country: Option<String>,
    /// The whole name as one RFC 4514 line.
    pub text: String,
    was_nfc: bool,
}

impl Subject {
    fn read(rdns: &[Vec<Attribute>]) -> Subject {
        let mut subject = Subject { text: name::line(rdns), was_nfc: true, ..Subject::default() };
        for attribute in rdns.iter().flatten() {
            subject.was_nfc &= attribute.was_nfc;
            let value = attribute.value.clone();
            match attribute.kind.as_str() {
                "CN" => subject.common_name = Some(value),
                "O" => subject.organization = Some(value),
                "OU" => subject.organizational_units.push(value),
                "L" => subject.locality = Some(value),
                "C" => subject.country = Some(value),
                _ => {}
            }
        }
        subject
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Usage {
    /// To connect: TLS client authentication.
    Client,
    /// To be connected to: TLS server authentication.
    Server,
    /// To sign records, catalog approvals and requests outside TLS.
    Signature,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "TLS client authentication",
            Self::Server => "TLS server authentication",
            Self::Signature => "digital signature",
        })
    }
}

/// A certificate that cannot be read as one clear statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The chain is empty.
    #[error("no certificate was presented; every hop of the mesh needs one (R-32)")]
    Absent,
    /// Larger than [`CERTIFICATE_BYTES_MAX`].
    #[error("the certificate is {0} bytes long; at most {CERTIFICATE_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not a DER X.509 version 3 certificate, or with bytes after it.
    #[error("the certificate is not a well-formed X.509 v3 certificate in DER: {0}")]
    Malformed(String),
    /// A serial number that RFC 5280 §4.1.2.2 does not allow.
    #[error("the serial number is not a positive integer of at most {SERIAL_BYTES_MAX} bytes")]
    Serial,
    /// A subject or issuer that is not text.
    #[error("the subject or issuer cannot be read: {0}")]
    Name(#[from] NameError),
    /// A subject alternative name that is broken, overlong, or names more than one agency.
    #[error("the subject alternative name cannot be used: {0}")]
    AlternativeName(String),
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, ProfileError> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(ProfileError::TooLarge(der.len()));
    }
    let (rest, certificate) =
        X509Certificate::from_der(der).map_err(|error| ProfileError::Malformed(error.to_string()))?;
    if !rest.is_empty() {
        return Err(ProfileError::Malformed(format!("{} bytes follow the certificate", rest.len())));
    }
    // Two extensions with one identifier are two statements; extensions_map is the parser's check for it.
    certificate.extensions_map().map_err(|error| ProfileError::Malformed(error.to_string()))?;
    Ok(certificate)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    output.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    output
}

/// The serial as an unsigned number without leading zeros, so that one number has one form.
pub(crate) fn serial(der_integer: &[u8]) -> Result<Vec<u8>, ProfileError> {
    match der_integer {
        [] => Err(ProfileError::Serial),
        [first, ..] if first & 0x80 != 0 => Err(ProfileError::Serial),
        bytes => {
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let significant = &bytes[first..];
            if significant.len() > SERIAL_BYTES_MAX {
                Err(ProfileError::Serial)
            } else {
                Ok(significant.to_vec())
            }
        }
    }
}

fn alternative_names(
    certificate: &X509Certificate<'_>,
) -> Result<(Option<String>, Vec<String>), ProfileError> {
    let refuse = |what: String| ProfileError::AlternativeName(what);
    let extension = certificate.subject_alternative_name().map_err(|error| refuse(error.to_string()))?;
    let names = extension.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
    if names.len() > ALTERNATIVE_NAMES_MAX {
        return Err(refuse(format!("{} entries; at most {ALTERNATIVE_NAMES_MAX} are read", names.len())));
    }
    let mut agency = None;
    let mut dns_names = Vec::new();
    for entry in names {
        match entry {
            GeneralName::DNSName(text) if is_dns_name(text) => dns_names.push(text.to_ascii_lowercase()),
            GeneralName::DNSName(text) => {
                return Err(refuse(format!("`{}` is no DNS name", text.escape_debug())));
            }
            GeneralName::URI(text) => {
                let Some(code) = agency_code(text) else { continue };
                if !is_agency_code(code) {
                    return Err(refuse(format!("`{}` is no agency code", code.escape_debug())));
                }
                if agency.replace(code.to_owned()).is_some() {
                    return Err(refuse("it names more than one agency".to_owned()));
                }
            }
            GeneralName::Invalid(tag, _) => return Err(refuse(format!("entry of type {} is broken", tag.0))),
            _ => {}
        }
    }
    Ok((agency, dns_names))
}

/// What follows the agency prefix; its letters compare without case (RFC 8141 §3.1), the code does not.
fn agency_code(uri: &str) -> Option<&str> {
    let (prefix, code) = uri.split_at_checked(AGENCY_URN_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(AGENCY_URN_PREFIX).then_some(code)
}

/// The outer shape of an agency code; the exact grammar is the catalog's.
pub(crate) fn is_agency_code(code: &str) -> bool {
    code.len() <= AGENCY_CODE_CHARS_MAX
        && code.split('.').all(|group| {
            !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
        })
}

fn is_dns_name(text: &str) -> bool {
    rustls_pki_types::DnsName::try_from(text.strip_prefix("*.").unwrap_or(text)).is_ok()
}

fn usages(certificate: &X509Certificate<'_>) -> Result<BTreeSet<Usage>, ProfileError> {
    let malformed = |error: x509_parser::error::X509Error| ProfileError::Malformed(error.to_string());
    let key_usage = certificate.key_usage().map_err(malformed)?;
    let extended = certificate.extended_key_usage().map_err(malformed)?;
    let mut usages = BTreeSet::new();
    // An absent key usage allows everything (RFC 5280 §4.2.1.3); TLS 1.3 needs the signature bit.
    if key_usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Ok(usages);
    }
    usages.insert(Usage::Signature);
    // An absent extended key usage, or `any`, allows nothing here: a purpose must be stated.
    if let Some(extended) = extended {
        if extended.value.client_auth {
            usages.insert(Usage::Client);
        }
        if extended.value.server_auth {
            usages.insert(Usage::Server);
        }
    }
    Ok(usages)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_serial_number_has_one_form() {
        assert_eq!(serial(&[0, 0xff]), Ok(vec![0xff]));
        assert_eq!(serial(&[0, 0, 1]), Ok(vec![1]));
        assert_eq!(serial(&[0]), Ok(vec![0]));
        assert_eq!(serial(&[0x80]), Err(ProfileError::Serial));
        assert_eq!(serial(&[]), Err(ProfileError::Serial));
        assert_eq!(serial(&[1; 20]).map(|serial| serial.len()), Ok(20));
        assert_eq!(serial(&[1; 21]), Err(ProfileError::Serial));
    }

    #[test]
    fn agency_codes_keep_their_shape() {
        for good in ["G01", "H26.90", "9900000099", "Z01ABC"] {
            assert!(is_agency_code(good), "{good}");
        }
        for bad in ["", ".", "G01.", "g01", "G01 ", "G01..2", &"G".repeat(36), "Đ01"] {
            assert!(!is_agency_code(bad), "{bad}");
        }
        assert_eq!(agency_code("URN:VN-Mesh:agency:G01"), Some("G01"));
        assert_eq!(agency_code("urn:vn-mesh:node:G01"), None);
        assert_eq!(agency_code("urn:vn-mesh:agencyđ:G01"), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let _ = PeerCertificate::read(&[CertificateDer::from(bytes)]);
        }
    }
}
