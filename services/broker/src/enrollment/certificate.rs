//! Certificates as enrollment sees them: what is expected, whether one fits, and what people compare.

use lienthong_catalog::code::is_state_code;
use lienthong_certs::{Branch, CertificateBinding, PeerCertificate, Usage};
use lienthong_proto::lienthong::control::v1 as control;
use lienthong_proto::lienthong::registry::v1::expected_certificate::Identity;
use lienthong_proto::lienthong::registry::v1::{EnrolledCertificate, ExpectedCertificate};

use super::{Holder, Kind, Refused, timestamp};
use crate::bundle::Sha256;

/// Longest distinguished name, or address, that is taken from a request, bytes.
pub const NAME_BYTES_MAX: usize = 1_024;

/// The expectation that a certificate at hand fulfils, by name.
pub fn expected(certificate: &PeerCertificate) -> ExpectedCertificate {
    ExpectedCertificate {
        issuer: certificate.binding().issuer.clone(),
        identity: Some(Identity::Subject(certificate.subject.text.clone())),
    }
}

/// A certificate as people compare it.
pub fn describe(certificate: &PeerCertificate) -> EnrolledCertificate {
    let CertificateBinding { issuer, serial, spki_sha256 } = certificate.binding().clone();
    EnrolledCertificate {
        subject: certificate.subject.text.clone(),
        issuer,
        serial,
        spki_sha256: spki_sha256.to_vec(),
        fingerprint: certificate.fingerprint().to_vec(),
        not_before: Some(timestamp(certificate.not_before)),
        not_after: Some(timestamp(certificate.not_after)),
        dns_names: certificate.dns_names.clone(),
        agency_code: certificate.agency_urn.clone().unwrap_or_default(),
    }
}

/// The binding of a described certificate; `None` where its key hash is none.
pub fn binding_of(certificate: &EnrolledCertificate) -> Option<CertificateBinding> {
    Some(CertificateBinding {
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        spki_sha256: certificate.spki_sha256.as_slice().try_into().ok()?,
    })
}

pub(super) fn to_control(certificate: &EnrolledCertificate) -> control::CertificateBinding {
    control::CertificateBinding {
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        spki_sha256: certificate.spki_sha256.clone(),
    }
}

/// An expectation must name an issuer, and a subject or a key.
pub(super) fn check_expected(expected: &ExpectedCertificate) -> Result<(), Refused> {
    let named = |text: &str| !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX;
    let identity = match &expected.identity {
        Some(Identity::Subject(subject)) => named(subject),
        Some(Identity::SpkiSha256(hash)) => hash.len() == size_of::<Sha256>(),
        None => false,
    };
    if named(&expected.issuer) && identity { Ok(()) } else { Err(Refused::Expectation) }
}

/// Whether `certificate` is the one that was expected, and may stand for `holder`.
pub(super) fn check_fits(
    certificate: &PeerCertificate,
    expected: Option<&ExpectedCertificate>,
    holder: &Holder,
) -> Result<(), Refused> {
    let expected = expected.ok_or(Refused::Expectation)?;
    let binding = certificate.binding();
    if binding.issuer != expected.issuer {
        return Err(Refused::WrongIssuer { found: binding.issuer.clone() });
    }
    match &expected.identity {
        Some(Identity::Subject(subject)) if certificate.subject.text == *subject => {}
        Some(Identity::SpkiSha256(hash)) if binding.spki_sha256.as_slice() == hash.as_slice() => {}
        Some(Identity::Subject(_)) => {
            return Err(Refused::WrongSubject { found: certificate.subject.text.clone() });
        }
        Some(Identity::SpkiSha256(_)) => return Err(Refused::WrongKey),
        None => return Err(Refused::Expectation),
    }
    // The code in a certificate is no proof, but it must not contradict what it is bound to.
    match &certificate.agency_urn {
        Some(code) if *code != holder.agency => return Err(Refused::OtherAgency { found: code.clone() }),
        _ => {}
    }
    if certificate.branch == Some(Branch::Public) && is_state_code(&holder.agency) {
        return Err(Refused::PublicAuthority);
    }
    if holder.kind == Kind::Node && !certificate.usages.contains(&Usage::Server) {
        return Err(Refused::NotAServer);
    }
    Ok(())
}
