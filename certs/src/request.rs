//! A certificate signing request (PKCS #10, RFC 2986) for a real authority: the private key stays where it is made.
//!
//! This module is an edge: it uses the system's randomness and the disk.

use std::fs;
use std::path::Path;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SanType, SigningKey,
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::algorithm::SignatureAlgorithm;
use crate::certificate::{self, AGENCY_URN_PREFIX, PeerCertificate, ProfileError, Usage};
use crate::files::{self, FileError};
use crate::pki::{Holder, KeyKind, PkiError, Request, names_of};
use crate::signer::Signer;

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
    serialized(&params, &pair)
}

/// The same for the certificate that shall follow `present`, with its subject and names: for the key in `key`, as
/// [`prepare`] takes it.
///
/// # Errors
/// As [`prepare`], and where `present` cannot be read.
pub fn next(present: &CertificateDer<'_>, key: &Path) -> Result<SigningRequest, PkiError> {
    let params = following(present)?;
    serialized(&params, &key_in(key)?)
}

/// The same for a key that stays where it is, as one in a token does.
///
/// # Errors
/// As [`next`]; [`PkiError::Library`] where the key cannot sign now, or is an RSA key in a token.
pub fn next_with(present: &CertificateDer<'_>, signer: &dyn Signer) -> Result<SigningRequest, PkiError> {
    serialized(&following(present)?, &Kept::new(signer)?)
}

fn serialized(params: &CertificateParams, key: &impl SigningKey) -> Result<SigningRequest, PkiError> {
    let pem = params.serialize_request(key)?.pem().map_err(PkiError::Library)?;
    Ok(SigningRequest { pem, spki_der: key.subject_public_key_info() })
}

/// What the certificate says of its holder, as a request says it.
fn following(present: &CertificateDer<'_>) -> Result<CertificateParams, PkiError> {
    let leaf = PeerCertificate::read(std::slice::from_ref(present))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = subject_of(present)?;
    for name in names_of(present)? {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.try_into()?),
        });
    }
    if let Some(code) = &leaf.agency_urn {
        params.subject_alt_names.push(SanType::URI(format!("{AGENCY_URN_PREFIX}{code}").try_into()?));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = leaf
        .usages
        .iter()
        .filter_map(|usage| match usage {
            Usage::Client => Some(ExtendedKeyUsagePurpose::ClientAuth),
            Usage::Server => Some(ExtendedKeyUsagePurpose::ServerAuth),
            Usage::Signature => None,
        })
        .collect();
    Ok(params)
}

/// Attribute by attribute; of several of one type the last remains, as the library keeps them, and the authority knows
/// whom it certified.
fn subject_of(present: &CertificateDer<'_>) -> Result<DistinguishedName, PkiError> {
    let unreadable = |what: &str| PkiError::from(ProfileError::Malformed(what.to_owned()));
    let leaf = certificate::parse(present)?;
    let mut subject = DistinguishedName::new();
    for attribute in leaf.subject().iter_attributes() {
        let oid = attribute.attr_type().iter().ok_or_else(|| unreadable("an attribute without a type"))?;
        let text = attribute.as_str().map_err(|error| unreadable(&error.to_string()))?;
        let kind = DnType::from_oid(&oid.collect::<Vec<u64>>());
        // RFC 5280 appendix A: a country is a PrintableString.
        let value = match kind {
            DnType::CountryName => DnValue::PrintableString(text.try_into()?),
            _ => DnValue::Utf8String(text.to_owned()),
        };
        subject.push(kind, value);
    }
    Ok(subject)
}

/// A key that signs where it is.
struct Kept<'a> {
    signer: &'a dyn Signer,
    algorithm: &'static rcgen::SignatureAlgorithm,
    public: Vec<u8>,
}

impl<'a> Kept<'a> {
    fn new(signer: &'a dyn Signer) -> Result<Self, PkiError> {
        let algorithm = match signer.algorithm() {
            SignatureAlgorithm::EcdsaP256Sha256 => &PKCS_ECDSA_P256_SHA256,
            SignatureAlgorithm::EcdsaP384Sha384 => &PKCS_ECDSA_P384_SHA384,
            SignatureAlgorithm::Ed25519 => &PKCS_ED25519,
            // Such a request would say that the key signs nothing but PSS, which authorities do not take.
            SignatureAlgorithm::RsaPssSha256 => {
                return Err(PkiError::Library(rcgen::Error::UnsupportedSignatureAlgorithm));
            }
        };
        let (_, spki) = SubjectPublicKeyInfo::from_der(signer.spki_der())
            .map_err(|error| PkiError::from(ProfileError::Malformed(error.to_string())))?;
        Ok(Self { signer, algorithm, public: spki.subject_public_key.data.to_vec() })
    }
}

impl PublicKeyData for Kept<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.algorithm
    }
}

impl SigningKey for Kept<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
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
