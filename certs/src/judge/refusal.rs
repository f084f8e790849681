//! Why a certificate is refused, in a closed list with plain words and a remedy each.

use rustls_pki_types::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::RevocationReason;
use crate::certificate::{ProfileError, Usage};
use crate::credentials::CHAIN_CERTIFICATES_MAX;

/// Why the mesh does not accept a certificate. Closed: metrics and pages list every case.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    /// Past its end of validity, or an authority above it is.
    #[error("the certificate, or an authority above it, expired at {} (R-35)", rfc3339(not_after))]
    Expired {
        /// End of validity, UTC.
        not_after: OffsetDateTime,
    },
    /// Before its start of validity, or an authority above it is.
    #[error("the certificate, or an authority above it, is not valid before {} (R-35)", rfc3339(not_before))]
    NotYetValid {
        /// Start of validity, UTC.
        not_before: OffsetDateTime,
    },
    /// No path to a configured trust anchor.
    #[error("no path leads from the issuer \"{issuer}\" to a trust anchor configured here (R-32)")]
    UnknownAuthority {
        /// The issuer the certificate names.
        issuer: String,
    },
    /// It vouches for itself.
    #[error("the certificate is self-signed: no authority vouches for it (R-32)")]
    SelfSigned,
    /// A signature on the path does not hold.
    #[error("a signature in the chain does not match the authority's key (R-32)")]
    BadSignature,
    /// A signature on the path uses an algorithm the mesh does not accept.
    #[error("a certificate in the chain is signed with an algorithm or key the mesh does not accept (R-35)")]
    WeakSignature,
    /// It, or an authority above it, was revoked.
    #[error("{} with serial {serial} was revoked at {}: {reason} (R-35, R-36)",
            if *authority { "an authority in the chain" } else { "the certificate" }, rfc3339(when))]
    Revoked {
        /// Serial of the revoked certificate, lower-case hexadecimal.
        serial: String,
        /// True if it is an authority above the leaf that was revoked.
        authority: bool,
        /// The reason in the list.
        reason: RevocationReason,
        /// When the authority revoked it, UTC.
        when: OffsetDateTime,
    },
    /// Not issued for what it is used for.
    #[error("the certificate was not issued for {needed} (R-35)")]
    WrongUsage {
        /// The use that was asked for.
        needed: Usage,
    },
    /// Valid for longer than the profile allows.
    #[error("the certificate is valid for more than {years_max} years (R-35)")]
    LifetimeTooLong {
        /// The limit, in years.
        years_max: i32,
    },
    /// Its key is too small or of a kind the profile does not list.
    #[error("its key ({found}) is not one the mesh accepts (R-35)")]
    KeyTooWeak {
        /// The key found.
        found: String,
    },
    /// The alternative names are broken, or name two agencies.
    #[error("its {0} (R-34)")]
    BadSan(String),
    /// It does not speak for the host that was dialled.
    #[error("the certificate does not name the host \"{expected}\"")]
    WrongName {
        /// The host that was dialled.
        expected: String,
    },
    /// Subject or issuer is not in Unicode normalisation form C.
    #[error(
        "its names are not in Unicode normalisation form C, so that \"{subject}\" only looks like the name it shows"
    )]
    NameNotNormalised {
        /// The subject, after normalisation.
        subject: String,
    },
    /// More certificates than allowed, or deeper than an authority permits.
    #[error(
        "the chain is longer than {CHAIN_CERTIFICATES_MAX} certificates or deeper than an authority in it permits"
    )]
    ChainTooLong,
    /// A certificate of an authority, presented as a leaf, or the other way round.
    #[error(
        "a certificate in the chain stands where it may not: an authority as a leaf, or a leaf as an authority"
    )]
    WrongPlace,
    /// An authority above it may not vouch for these names.
    #[error("an authority in the chain may not vouch for the names of this certificate")]
    NameConstraint,
    /// It demands an extension to be understood that this mesh does not know.
    #[error("a certificate in the chain has a critical extension this mesh does not know")]
    UnknownCriticalExtension,
    /// Not one well-formed certificate.
    #[error("{0}")]
    Malformed(String),
    /// Made for development, presented to production.
    #[error("the certificate is marked as made for development and this role runs in production")]
    DevelopmentCertificate,
}

impl CertificateRefusal {
    /// A stable upper-case name for metrics, logs and error pages.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "EXPIRED",
            Self::NotYetValid { .. } => "NOT_YET_VALID",
            Self::UnknownAuthority { .. } => "UNKNOWN_AUTHORITY",
            Self::SelfSigned => "SELF_SIGNED",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::WeakSignature => "WEAK_SIGNATURE",
            Self::Revoked { .. } => "REVOKED",
            Self::WrongUsage { .. } => "WRONG_USAGE",
            Self::LifetimeTooLong { .. } => "LIFETIME_TOO_LONG",
            Self::KeyTooWeak { .. } => "KEY_TOO_WEAK",
            Self::BadSan(_) => "BAD_SAN",
            Self::WrongName { .. } => "WRONG_NAME",
            Self::NameNotNormalised { .. } => "NAME_NOT_NORMALISED",
            Self::ChainTooLong => "CHAIN_TOO_LONG",
            Self::WrongPlace => "WRONG_PLACE",
            Self::NameConstraint => "NAME_CONSTRAINT",
            Self::UnknownCriticalExtension => "UNKNOWN_CRITICAL_EXTENSION",
            Self::Malformed(_) => "MALFORMED",
            Self::DevelopmentCertificate => "DEVELOPMENT_CERTIFICATE",
        }
    }

    /// What the holder or the operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "renew the certificate, and check the clock of this machine",
            Self::NotYetValid { .. } => "wait for the start of validity, and check the clock of this machine",
            Self::UnknownAuthority { .. } => {
                "present the intermediate certificates too; if the authority is new, add it to the trust anchors"
            }
            Self::SelfSigned => "ask the official-use authority for a certificate and present that",
            Self::BadSignature => {
                "obtain the certificate and its chain again from the authority that issued it"
            }
            Self::WeakSignature => {
                "ask for a chain signed with RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519, over SHA-256 or stronger"
            }
            Self::Revoked { authority: false, .. } => "request a new certificate with a new key",
            Self::Revoked { authority: true, .. } => {
                "request a certificate from an authority that still stands"
            }
            Self::WrongUsage { .. } => {
                "request a certificate with digital signature and the extended key usages clientAuth and serverAuth"
            }
            Self::LifetimeTooLong { .. } => "request a certificate that is valid for a shorter time",
            Self::KeyTooWeak { .. } => {
                "request a certificate for an ECDSA P-256 or P-384, Ed25519, or RSA key of 2048 to 8192 bits"
            }
            Self::BadSan(_) => {
                "request a certificate that names exactly one agency and only well-formed DNS names"
            }
            Self::WrongName { .. } => {
                "dial the host by a name the certificate holds, or request a certificate for the name dialled"
            }
            Self::NameNotNormalised { .. } => {
                "request a certificate with its names in NFC; if the official authority issues no others, set `unnormalised_names`"
            }
            Self::ChainTooLong => "present only the leaf and the intermediates up to the trust anchor",
            Self::WrongPlace => "present the leaf first and only authorities after it",
            Self::NameConstraint => {
                "request the certificate from the authority that is responsible for these names"
            }
            Self::UnknownCriticalExtension => "request a certificate without that critical extension",
            Self::Malformed(_) => "send the certificate in DER exactly as the authority issued it",
            Self::DevelopmentCertificate => {
                "use an official certificate; only a role with `development = true` accepts this one"
            }
        }
    }
}

impl From<ProfileError> for CertificateRefusal {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::AlternativeName(_) => Self::BadSan(error.to_string().replacen("the ", "", 1)),
            other => Self::Malformed(other.to_string()),
        }
    }
}

/// The path validator's finding in our words. `issuer` is the issuer the leaf names.
pub(super) fn of_webpki(error: &webpki::Error, issuer: &str) -> CertificateRefusal {
    use webpki::Error;
    match error {
        Error::CertExpired { not_after, .. } => CertificateRefusal::Expired { not_after: utc(*not_after) },
        Error::CertNotValidYet { not_before, .. } => {
            CertificateRefusal::NotYetValid { not_before: utc(*not_before) }
        }
        Error::UnknownIssuer => CertificateRefusal::UnknownAuthority { issuer: issuer.to_owned() },
        Error::InvalidSignatureForPublicKey => CertificateRefusal::BadSignature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => CertificateRefusal::WeakSignature,
        Error::RequiredEkuNotFoundContext(needed) => {
            CertificateRefusal::WrongUsage { needed: needed_by(needed) }
        }
        Error::PathLenConstraintViolated | Error::MaximumPathDepthExceeded => {
            CertificateRefusal::ChainTooLong
        }
        Error::CaUsedAsEndEntity | Error::EndEntityUsedAsCa => CertificateRefusal::WrongPlace,
        Error::NameConstraintViolation => CertificateRefusal::NameConstraint,
        Error::UnsupportedCriticalExtension => CertificateRefusal::UnknownCriticalExtension,
        other => CertificateRefusal::Malformed(format!("the chain is not well-formed: {other:?}")),
    }
}

fn needed_by(context: &webpki::RequiredEkuNotFoundContext) -> Usage {
    let server = context.required.oid_values().eq(webpki::KeyUsage::SERVER_AUTH_REPR.iter().copied());
    if server { Usage::Server } else { Usage::Client }
}

fn utc(time: UnixTime) -> OffsetDateTime {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A time as the mesh writes it: RFC 3339, UTC.
pub(crate) fn rfc3339(time: &OffsetDateTime) -> String {
    // Only a year past 9999 has no such form; certificates cannot hold one.
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
