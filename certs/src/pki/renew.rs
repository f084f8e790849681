//! A certificate for the same holder, names and key, valid anew.

use std::net::IpAddr;

use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;

use super::request::checked_file_name;
use super::{DevPki, Holder, Issued, LEAF_DAYS, PkiError, Request};
use crate::certificate::{self, PeerCertificate, Usage};
use crate::files;
use crate::judge::Branch;

impl DevPki {
    /// Renews what was issued under `name`: its holder, names, branch and key stay, so that only one file changes. What the
    /// file held before is still valid until its own end.
    ///
    /// # Errors
    /// [`PkiError::Name`] if nothing was issued under that name, or not by this PKI; others if a file cannot be used.
    pub fn renew(&self, name: &str) -> Result<Issued, PkiError> {
        let unknown = || PkiError::Name {
            what: "the certificate",
            value: name.to_owned(),
            rule: "name one that this PKI has issued, as its file in `issued/` is called, without `.crt`",
        };
        let issued = self.issued(&checked_file_name(name)?)?.ok_or_else(unknown)?;
        let chain = files::certificates(&issued.certificate)?;
        let leaf = PeerCertificate::read(&chain)?;
        let names = names_of(chain.first().ok_or_else(unknown)?)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut request = Request::new(holder_of(&leaf, name).ok_or_else(unknown)?)
            .with_dns_names(&names)
            .with_branch(self.branch_of(&leaf).ok_or_else(unknown)?);
        request.usages.retain(|usage| *usage == Usage::Signature || leaf.usages.contains(usage));
        request.not_after = Some(OffsetDateTime::now_utc() + Duration::days(LEAF_DAYS));
        let chain = self.certify(&request, &leaf.spki_der)?;
        files::replace(&issued.certificate, chain.as_bytes())?;
        self.issued(name)?.ok_or_else(unknown)
    }

    fn branch_of(&self, leaf: &PeerCertificate) -> Option<Branch> {
        [Branch::State, Branch::Party, Branch::Public].into_iter().find(|branch| {
            self.authority_subject(*branch).is_ok_and(|subject| subject == leaf.binding().issuer)
        })
    }

    fn authority_subject(&self, branch: Branch) -> Result<String, PkiError> {
        let der = self.authority_der(super::DevAuthority::of(branch))?;
        Ok(PeerCertificate::read(&[der])?.subject.text)
    }
}

/// Whose it is, as [`Request`] writes it into a certificate.
fn holder_of(leaf: &PeerCertificate, name: &str) -> Option<Holder> {
    let common_name = leaf.subject.common_name.clone()?;
    let Some(agency_code) = leaf.agency_urn.clone() else {
        return Some(Holder::Enterprise { enterprise_code: name.to_owned(), name: common_name });
    };
    let agency_name = leaf.subject.organization.clone()?;
    match leaf.subject.organizational_units.first()?.as_str() {
        super::request::NODE_UNIT => Some(Holder::Node { agency_code, agency_name, node_id: common_name }),
        super::request::SYSTEM_UNIT => {
            Some(Holder::System { agency_code, agency_name, system_id: common_name })
        }
        super::request::PERSON_UNIT => {
            let role = name.strip_prefix(&agency_code)?.strip_prefix('-')?.to_owned();
            Some(Holder::Person { agency_code, name: common_name, role })
        }
        _ => None,
    }
}

/// DNS names and IP addresses, in the order of the certificate.
pub(crate) fn names_of(der: &[u8]) -> Result<Vec<String>, PkiError> {
    let leaf = certificate::parse(der)?;
    let names = leaf
        .subject_alternative_name()
        .map_err(|error| certificate::ProfileError::Malformed(error.to_string()))?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
