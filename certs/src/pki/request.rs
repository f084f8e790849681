//! What a leaf of the development PKI shall say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize,
    SanType,
};
use time::{Duration, OffsetDateTime};

use super::authority::{DevAuthority, country, key_identifier, serial_number};
use super::{BACKDATE_SECONDS, PkiError, extension};
use crate::certificate::{AGENCY_URN_PREFIX, Usage, is_agency_code};
use crate::judge::Branch;

/// Validity of a leaf, in days, unless the request says otherwise.
pub const LEAF_DAYS: i64 = 365;
/// Longest value of one name attribute, in characters (X.520 upper bounds, RFC 5280 appendix A).
pub const NAME_CHARS_MAX: usize = 64;

/// What the subject of each kind of holder says in `OU`.
pub(super) const NODE_UNIT: &str = "DEMO – Nút trao đổi";
/// See [`NODE_UNIT`].
pub(super) const SYSTEM_UNIT: &str = "DEMO – Hệ thống thông tin";
/// See [`NODE_UNIT`].
pub(super) const PERSON_UNIT: &str = "DEMO – Cán bộ";

const TITLE: [u64; 4] = [2, 5, 4, 12];
const USER_ID: [u64; 7] = [0, 9, 2342, 19_200_300, 100, 1, 1];

/// Whose certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A mesh node of an agency.
    Node {
        /// The agency's code.
        agency_code: String,
        /// The agency's name, for people.
        agency_name: String,
        /// The node's id within the agency.
        node_id: String,
    },
    /// An information system of an agency.
    System {
        /// The agency's code.
        agency_code: String,
        /// The agency's name, for people.
        agency_name: String,
        /// The system's id within the agency.
        system_id: String,
    },
    /// An officer of an agency.
    Person {
        /// The agency's code.
        agency_code: String,
        /// The person's name.
        name: String,
        /// The role, as an ASCII id such as `operator.catalog.01`.
        role: String,
    },
    /// A party that is no agency.
    Enterprise {
        /// The business number.
        enterprise_code: String,
        /// The enterprise's name.
        name: String,
    },
}

/// Which key a certificate gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// ECDSA P-256, the default.
    #[default]
    EcdsaP256,
    /// ECDSA P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 3072 bits, as real tokens hold today.
    Rsa3072,
}

impl KeyKind {
    pub(crate) fn generate(self) -> Result<KeyPair, PkiError> {
        Ok(match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?,
            Self::Ed25519 => KeyPair::generate_for(&PKCS_ED25519)?,
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072)?,
        })
    }
}

/// A leaf to issue. [`Request::new`] sets what the profile wants; every field may be changed after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whose it is.
    pub holder: Holder,
    /// Which authority issues it.
    pub branch: Branch,
    /// DNS names and IP addresses it speaks for. A linter wants a dot in a DNS name: for a laptop, give
    /// `127.0.0.1` or `g01.localhost` rather than `localhost`.
    pub dns_names: Vec<String>,
    /// Which key it gets.
    pub key: KeyKind,
    /// What it may be used for.
    pub usages: BTreeSet<Usage>,
    /// Start of validity; five minutes ago if `None`.
    pub not_before: Option<OffsetDateTime>,
    /// End of validity; [`LEAF_DAYS`] from now if `None`.
    pub not_after: Option<OffsetDateTime>,
}

impl Request {
    /// A request after the profile: the State branch (the public one for an enterprise), ECDSA P-256, a year,
    /// client and server (a person: client only), and signatures.
    pub fn new(holder: Holder) -> Request {
        let mut usages = BTreeSet::from([Usage::Client, Usage::Signature]);
        if !matches!(holder, Holder::Person { .. }) {
            usages.insert(Usage::Server);
        }
        let branch = if matches!(holder, Holder::Enterprise { .. }) { Branch::Public } else { Branch::State };
        Request {
            holder,
            branch,
            dns_names: Vec::new(),
            key: KeyKind::default(),
            usages,
            not_before: None,
            not_after: None,
        }
    }

    /// With these DNS names and IP addresses.
    #[must_use]
    pub fn with_dns_names(mut self, dns_names: &[&str]) -> Request {
        self.dns_names = dns_names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    /// With this kind of key.
    #[must_use]
    pub fn with_key(mut self, key: KeyKind) -> Request {
        self.key = key;
        self
    }

    /// Under this branch.
    #[must_use]
    pub fn with_branch(mut self, branch: Branch) -> Request {
        self.branch = branch;
        self
    }

    /// Valid from and until these times.
    #[must_use]
    pub fn with_validity(mut self, not_before: OffsetDateTime, not_after: OffsetDateTime) -> Request {
        (self.not_before, self.not_after) = (Some(not_before), Some(not_after));
        self
    }

    /// The name of its files: `AGENCY-ID`, or the enterprise's code.
    pub(super) fn file_name(&self) -> Result<String, PkiError> {
        let name = match &self.holder {
            Holder::Node { agency_code, node_id: id, .. }
            | Holder::System { agency_code, system_id: id, .. }
            | Holder::Person { agency_code, role: id, .. } => format!("{agency_code}-{id}"),
            Holder::Enterprise { enterprise_code, .. } => enterprise_code.clone(),
        };
        checked_file_name(&name)
    }

    pub(super) fn params(
        &self,
        mesh_id: &str,
        authority: DevAuthority,
        key: &impl PublicKeyData,
        now: OffsetDateTime,
    ) -> Result<CertificateParams, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject()?;
        params.subject_alt_names = self.alternative_names()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = self.key_usages();
        params.extended_key_usages = self.extended_key_usages();
        params.not_before = self.not_before.unwrap_or(now - Duration::seconds(BACKDATE_SECONDS));
        params.not_after = self.not_after.unwrap_or(now + Duration::days(LEAF_DAYS));
        params.serial_number = Some(serial_number()?);
        params.key_identifier_method = key_identifier(key);
        params.custom_extensions.extend(extension::development_mark(mesh_id));
        authority.add_pointers(mesh_id, &mut params);
        Ok(params)
    }

    pub(crate) fn subject(&self) -> Result<DistinguishedName, PkiError> {
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CountryName, country());
        match &self.holder {
            Holder::Node { agency_name, node_id, .. } => {
                subject.push(DnType::OrganizationName, checked_text("agency name", agency_name)?);
                subject.push(DnType::OrganizationalUnitName, NODE_UNIT);
                subject.push(DnType::CommonName, checked_text("node id", node_id)?);
            }
            Holder::System { agency_name, system_id, .. } => {
                subject.push(DnType::OrganizationName, checked_text("agency name", agency_name)?);
                subject.push(DnType::OrganizationalUnitName, SYSTEM_UNIT);
                subject.push(DnType::CommonName, checked_text("system id", system_id)?);
            }
            Holder::Person { agency_code, name, role } => {
                subject.push(DnType::OrganizationName, checked_text("agency code", agency_code)?);
                subject.push(DnType::OrganizationalUnitName, PERSON_UNIT);
                subject.push(DnType::CommonName, checked_text("person's name", name)?);
                subject.push(DnType::CustomDnType(TITLE.to_vec()), checked_text("role", role)?);
            }
            Holder::Enterprise { enterprise_code, name } => {
                subject.push(DnType::OrganizationName, checked_text("enterprise name", name)?);
                subject.push(DnType::CommonName, checked_text("enterprise name", name)?);
                let code = format!("MST:{enterprise_code}");
                subject.push(DnType::CustomDnType(USER_ID.to_vec()), checked_text("enterprise code", &code)?);
            }
        }
        Ok(subject)
    }

    pub(crate) fn alternative_names(&self) -> Result<Vec<SanType>, PkiError> {
        let mut names = Vec::new();
        for name in &self.dns_names {
            names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(ascii("DNS name", name)?),
            });
        }
        if let Holder::Node { agency_code, .. }
        | Holder::System { agency_code, .. }
        | Holder::Person { agency_code, .. } = &self.holder
        {
            if !is_agency_code(agency_code) {
                let rule = "an agency code is groups of 0-9 and A-Z with `.` between, at most 35 characters";
                return Err(PkiError::Name { what: "agency code", value: agency_code.clone(), rule });
            }
            names.push(SanType::URI(ascii("agency code", &format!("{AGENCY_URN_PREFIX}{agency_code}"))?));
        }
        Ok(names)
    }

    pub(crate) fn key_usages(&self) -> Vec<KeyUsagePurpose> {
        let mut usages = vec![KeyUsagePurpose::DigitalSignature];
        // A person's signature is meant to bind; a machine's proves origin only.
        if matches!(self.holder, Holder::Person { .. }) {
            usages.push(KeyUsagePurpose::ContentCommitment);
        }
        usages
    }

    pub(crate) fn extended_key_usages(&self) -> Vec<ExtendedKeyUsagePurpose> {
        self.usages
            .iter()
            .filter_map(|usage| match usage {
                Usage::Client => Some(ExtendedKeyUsagePurpose::ClientAuth),
                Usage::Server => Some(ExtendedKeyUsagePurpose::ServerAuth),
                Usage::Signature => None,
            })
            .collect()
    }
}

/// What a leaf needs beyond what its request says.
pub(super) fn complete(
    params: &mut CertificateParams,
    mesh_id: &str,
    authority: DevAuthority,
    key: &impl PublicKeyData,
    days: i64,
) -> Result<(), PkiError> {
    let now = OffsetDateTime::now_utc();
    params.is_ca = IsCa::ExplicitNoCa;
    params.not_before = now - Duration::seconds(BACKDATE_SECONDS);
    params.not_after = now + Duration::days(days);
    params.serial_number = Some(serial_number()?);
    params.key_identifier_method = key_identifier(key);
    params.custom_extensions.extend(extension::development_mark(mesh_id));
    authority.add_pointers(mesh_id, params);
    Ok(())
}

/// A name that can be part of a path without leaving its folder.
pub(super) fn checked_file_name(name: &str) -> Result<String, PkiError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.len() <= 128 && name.bytes().all(plain) && name.bytes().next().is_some_and(|byte| byte != b'.') {
        return Ok(name.to_owned());
    }
    let rule = "ids become file names: use at most 128 of A-Z, a-z, 0-9, `.`, `-` and `_`, no `.` in front";
    Err(PkiError::Name { what: "the id", value: name.to_owned(), rule })
}

fn checked_text(what: &'static str, value: &str) -> Result<String, PkiError> {
    let characters = value.chars().count();
    if (1..=NAME_CHARS_MAX).contains(&characters) {
        return Ok(value.to_owned());
    }
    let rule = "a name attribute has 1 to 64 characters (RFC 5280 appendix A)";
    Err(PkiError::Name { what, value: value.to_owned(), rule })
}

fn ascii(what: &'static str, value: &str) -> Result<Ia5String, PkiError> {
    let rule = "it must be ASCII";
    Ia5String::try_from(value).map_err(|_| PkiError::Name { what, value: value.to_owned(), rule })
}
