//! The four authorities of the development PKI.

use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DistinguishedName, DnType, DnValue, IsCa,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{BACKDATE_SECONDS, PkiError, extension};
use crate::certificate;
use crate::judge::Branch;

/// Validity of the roots, in days: below the 20 years that decree 68/2024 article 9 allows an authority.
pub const ROOT_DAYS: i64 = 15 * 365;
/// Validity of the authorities below the root, in days.
pub const AUTHORITY_DAYS: i64 = 10 * 365;

const SERIAL_BYTES: usize = 16;
const KEY_IDENTIFIER_BYTES: usize = 20;

/// An authority of the development PKI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DevAuthority {
    /// The root above State and Party.
    Root,
    /// Issues to state agencies.
    State,
    /// Issues to Party agencies.
    Party,
    /// Issues to everyone else; a root of its own.
    Public,
}

impl DevAuthority {
    /// All of them, a parent before its children.
    pub const ALL: [DevAuthority; 4] = [Self::Root, Self::State, Self::Party, Self::Public];

    /// The authority that issues leaves for `branch`.
    pub fn of(branch: Branch) -> DevAuthority {
        match branch {
            Branch::State => Self::State,
            Branch::Party => Self::Party,
            Branch::Public => Self::Public,
        }
    }

    /// The authority above; `None` for a root.
    pub fn parent(self) -> Option<DevAuthority> {
        match self {
            Self::State | Self::Party => Some(Self::Root),
            Self::Root | Self::Public => None,
        }
    }

    /// The first part of its file names.
    pub fn file_stem(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::State => "state",
            Self::Party => "party",
            Self::Public => "public",
        }
    }

    /// Its common name: in Vietnamese, and clearly fake.
    pub fn common_name(self) -> &'static str {
        match self {
            Self::Root => "DEMO – Chứng thực gốc thử nghiệm",
            Self::State => "DEMO – Chứng thực thử nghiệm, nhánh Nhà nước",
            Self::Party => "DEMO – Chứng thực thử nghiệm, nhánh Đảng",
            Self::Public => "DEMO – Chứng thực thử nghiệm, công cộng",
        }
    }

    pub(super) fn params(
        self,
        mesh_id: &str,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
    ) -> Result<CertificateParams, PkiError> {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, country());
        name.push(DnType::OrganizationName, "DEMO – Cơ quan giả lập");
        name.push(DnType::OrganizationalUnitName, mesh_id);
        name.push(DnType::CommonName, self.common_name());
        let below = u8::from(self == Self::Root);
        let days = if self.parent().is_none() { ROOT_DAYS } else { AUTHORITY_DAYS };

        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - Duration::seconds(BACKDATE_SECONDS);
        params.not_after = now + Duration::days(days);
        params.serial_number = Some(serial_number()?);
        params.key_identifier_method = key_identifier(key);
        params.custom_extensions.extend(extension::development_mark(mesh_id));
        if let Some(parent) = self.parent() {
            parent.add_pointers(mesh_id, &mut params);
        }
        Ok(params)
    }

    /// What a certificate issued by this authority says about it: key identifier, list and certificate.
    pub(super) fn add_pointers(self, mesh_id: &str, params: &mut CertificateParams) {
        let stem = self.file_stem();
        params.use_authority_key_identifier_extension = true;
        params.crl_distribution_points =
            vec![CrlDistributionPoint { uris: vec![format!("http://pki.{mesh_id}.example/crl/{stem}.crl")] }];
        let issuer = format!("http://pki.{mesh_id}.example/ca/{stem}.crt");
        params.custom_extensions.extend(extension::authority_information_access(&issuer));
    }
}

/// The key identifier after RFC 7093 §2 method 1: the first 160 bits of SHA-256 over the key's own bits.
pub(super) fn key_identifier(key: &impl PublicKeyData) -> KeyIdMethod {
    KeyIdMethod::PreSpecified(certificate::sha256(key.der_bytes())[..KEY_IDENTIFIER_BYTES].to_vec())
}

/// The country as RFC 5280 appendix A wants it: two letters, `PrintableString`.
pub(super) fn country() -> DnValue {
    rcgen::string::PrintableString::try_from("VN")
        .map_or_else(|_| DnValue::from("VN"), DnValue::PrintableString)
}

/// A random positive serial of 16 bytes: far more than the 64 random bits auditors ask for.
pub(super) fn serial_number() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    // The first byte neither negative nor zero: every serial has the same length.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
