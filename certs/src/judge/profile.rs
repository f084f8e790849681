//! The limits of the official-use profile, beyond what a valid path already promises.

use time::{Date, Month, OffsetDateTime};
use webpki::{ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage};

use super::CertificateRefusal;
use crate::algorithm::RSA_BITS_MIN;
use crate::certificate::{PeerCertificate, Usage};

/// Longest validity of a leaf, in years (decree 68/2024 article 9).
pub const LEAF_YEARS_MAX: i32 = 5;

/// What a leaf certificate may look like. The default is production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Longest validity of a leaf, in years. Default [`LEAF_YEARS_MAX`].
    pub leaf_years_max: i32,
    /// Smallest RSA modulus, in bits. Default [`RSA_BITS_MIN`]; never less, whatever is set.
    pub rsa_bits_min: usize,
    /// Accept certificates made for development. Default no; every page and `/health` must show a yes.
    pub development: bool,
    /// Accept a subject or issuer whose bytes are not in NFC. Default no: it looks like another agency's name
    /// and is not the same bytes. Set it where the official authority itself issues such names; they are
    /// compared in NFC either way.
    pub unnormalised_names: bool,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            leaf_years_max: LEAF_YEARS_MAX,
            rsa_bits_min: RSA_BITS_MIN,
            development: false,
            unnormalised_names: false,
        }
    }
}

impl Profile {
    /// The production profile, but accepting certificates made for development.
    pub fn development() -> Profile {
        Profile { development: true, ..Profile::default() }
    }

    pub(super) fn check(&self, peer: &PeerCertificate, usage: Usage) -> Result<(), CertificateRefusal> {
        if !peer.usages.contains(&usage) {
            return Err(CertificateRefusal::WrongUsage { needed: usage });
        }
        if peer.not_after > years_after(peer.not_before, self.leaf_years_max) {
            return Err(CertificateRefusal::LifetimeTooLong { years_max: self.leaf_years_max });
        }
        let strong = match peer.key_algorithm {
            crate::KeyAlgorithm::Rsa { bits } if bits < self.rsa_bits_min => None,
            ref key => key.signature_algorithm(),
        };
        if strong.is_none() {
            return Err(CertificateRefusal::KeyTooWeak { found: peer.key_algorithm.to_string() });
        }
        if !peer.names_in_nfc && !self.unnormalised_names {
            return Err(CertificateRefusal::NameNotNormalised { subject: peer.subject.text.clone() });
        }
        Ok(())
    }
}

/// The purpose the path validator checks on the leaf and, where stated, on the authorities above it.
pub(super) fn key_usage(usage: Usage) -> PathUsage {
    match usage {
        Usage::Client => PathUsage::Tls(KeyUsage::client_auth()),
        Usage::Server => PathUsage::Tls(KeyUsage::server_auth()),
        Usage::Signature => PathUsage::Any,
    }
}

pub(super) enum PathUsage {
    /// A TLS purpose, on each certificate that states purposes at all; the leaf must state it (see `check`).
    Tls(KeyUsage),
    /// Signatures outside TLS have no extended purpose of their own.
    Any,
}

impl ExtendedKeyUsageValidator for PathUsage {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match self {
            Self::Tls(usage) => usage.validate(purposes),
            Self::Any => Ok(()),
        }
    }
}

/// The same day and second `years` later; 29 February becomes 1 March.
fn years_after(start: OffsetDateTime, years: i32) -> OffsetDateTime {
    let year = start.year().saturating_add(years);
    let date = start.date().replace_year(year).or_else(|_| Date::from_calendar_date(year, Month::March, 1));
    date.map_or(start, |date| start.replace_date(date))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn years_are_calendar_years() {
        assert_eq!(years_after(datetime!(2025-03-13 07:00 UTC), 5), datetime!(2030-03-13 07:00 UTC));
        assert_eq!(years_after(datetime!(2024-02-29 0:00 UTC), 5), datetime!(2029-03-01 0:00 UTC));
        assert_eq!(years_after(datetime!(2024-02-29 0:00 UTC), 4), datetime!(2028-02-29 0:00 UTC));
        // Past the calendar's end the answer is the start itself: every lifetime is then too long.
        assert_eq!(years_after(datetime!(9998-01-01 0:00 UTC), 5), datetime!(9998-01-01 0:00 UTC));
    }
}
