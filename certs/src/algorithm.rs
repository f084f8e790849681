//! The key and signature algorithms of the profile, and how they are recognised in a public key.

use std::fmt;

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Smallest RSA modulus the mesh accepts, in bits.
pub const RSA_BITS_MIN: usize = 2048;
/// Largest RSA modulus the mesh accepts, in bits: beyond it one verification becomes a weapon.
pub const RSA_BITS_MAX: usize = 8192;

const ED25519: &str = "1.3.101.112";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const RSA_ENCRYPTION: &str = "1.2.840.113549.1.1.1";
const CURVE_P256: &str = "1.2.840.10045.3.1.7";
const CURVE_P384: &str = "1.3.132.0.34";

/// What kind of key a certificate holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// RSA, with the size of its modulus in bits.
    Rsa {
        /// Bits of the modulus.
        bits: usize,
    },
    /// Anything else, named by object identifier (and curve); never accepted.
    Other(String),
}

impl KeyAlgorithm {
    /// Recognises the key inside a DER `SubjectPublicKeyInfo`; `None` if those bytes are not one.
    pub fn of_spki(spki_der: &[u8]) -> Option<KeyAlgorithm> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(spki_der).ok()?;
        rest.is_empty().then(|| Self::of(&spki))
    }

    /// The one signature algorithm this key signs and verifies with; `None` if the profile refuses the key.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        match self {
            Self::Ed25519 => Some(SignatureAlgorithm::Ed25519),
            Self::EcdsaP256 => Some(SignatureAlgorithm::EcdsaP256Sha256),
            Self::EcdsaP384 => Some(SignatureAlgorithm::EcdsaP384Sha384),
            Self::Rsa { bits } if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(bits) => {
                Some(SignatureAlgorithm::RsaPssSha256)
            }
            Self::Rsa { .. } | Self::Other(_) => None,
        }
    }

    pub(crate) fn of(spki: &SubjectPublicKeyInfo<'_>) -> KeyAlgorithm {
        let algorithm = spki.algorithm.algorithm.to_id_string();
        match algorithm.as_str() {
            ED25519 => Self::Ed25519,
            EC_PUBLIC_KEY => match curve(spki).as_deref() {
                Some(CURVE_P256) => Self::EcdsaP256,
                Some(CURVE_P384) => Self::EcdsaP384,
                Some(curve) => Self::Other(format!("ECDSA on curve {curve}")),
                None => Self::Other("ECDSA without a named curve".to_owned()),
            },
            RSA_ENCRYPTION => match spki.parsed() {
                Ok(PublicKey::RSA(key)) => Self::Rsa { bits: bits(key.modulus) },
                _ => Self::Other("RSA with an unreadable key".to_owned()),
            },
            _ => Self::Other(algorithm),
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// How a signature was made. The name is stored beside each signature, so that a record can be verified
/// offline years later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA P-256 over SHA-256, signature in ASN.1 DER.
    EcdsaP256Sha256,
    /// ECDSA P-384 over SHA-384, signature in ASN.1 DER.
    EcdsaP384Sha384,
    /// RSASSA-PSS with SHA-256, MGF1-SHA-256 and a 32-byte salt (RFC 8017).
    RsaPssSha256,
}

impl SignatureAlgorithm {
    /// The stable name used in records and files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ed25519 => "ED25519",
            Self::EcdsaP256Sha256 => "ECDSA_P256_SHA256",
            Self::EcdsaP384Sha384 => "ECDSA_P384_SHA384",
            Self::RsaPssSha256 => "RSA_PSS_SHA256",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn curve(spki: &SubjectPublicKeyInfo<'_>) -> Option<String> {
    let parameters = spki.algorithm.parameters.as_ref()?;
    parameters.as_oid().ok().map(|oid| oid.to_id_string())
}

/// Bits of an unsigned big-endian integer, leading zeros not counted.
fn bits(integer: &[u8]) -> usize {
    let significant = integer.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &integer[first..]);
    match significant.first() {
        Some(first) => significant.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_ignore_leading_zeros() {
        assert_eq!(bits(&[]), 0);
        assert_eq!(bits(&[0, 0]), 0);
        assert_eq!(bits(&[0, 0x80, 0]), 16);
        assert_eq!(bits(&[1, 0]), 9);
    }

    #[test]
    fn only_rsa_between_the_limits_signs() {
        for (bits, accepted) in
            [(1024, false), (2047, false), (2048, true), (3072, true), (8192, true), (16_384, false)]
        {
            assert_eq!(KeyAlgorithm::Rsa { bits }.signature_algorithm().is_some(), accepted, "{bits}");
        }
    }
}
