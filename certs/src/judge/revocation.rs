//! Revocation lists: verified once when they are loaded, then one hash look-up a certificate.
//!
//! A list of 100,000 entries costs a linear scan four milliseconds in every handshake; indexed, it costs
//! nothing one can measure. A list never grows older: one with a lower number than the list held for the same
//! authority is refused, since it would bring a revoked certificate back to life.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateRevocationListDer, UnixTime};
use time::OffsetDateTime;
use webpki::BorrowedCertRevocationList;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::trust::{self, Authority, AuthorityId, TrustAnchors};
use crate::certificate;
use crate::files::{self, FileError};
use crate::name;

/// Largest revocation list read, in bytes: about 1.7 million entries.
pub const CRL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest list number, in bytes (RFC 5280 §5.2.3).
const CRL_NUMBER_BYTES_MAX: usize = 20;

/// Why an authority revoked a certificate (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationReason {
    /// No reason given.
    Unspecified,
    /// The holder's key is, or may be, in other hands (decree 68/2024 article 17).
    KeyCompromise,
    /// The authority's own key is.
    AuthorityCompromise,
    /// The holder moved to another body.
    AffiliationChanged,
    /// Replaced by a newer certificate.
    Superseded,
    /// The holder no longer operates: dissolved or merged.
    CessationOfOperation,
    /// On hold; counts as revoked while it is listed.
    Hold,
    /// A right the certificate stands for was withdrawn.
    PrivilegeWithdrawn,
}

impl RevocationReason {
    fn of(reason: Option<webpki::RevocationReason>) -> RevocationReason {
        use webpki::RevocationReason as Listed;
        match reason {
            None | Some(Listed::Unspecified | Listed::RemoveFromCrl) => Self::Unspecified,
            Some(Listed::KeyCompromise) => Self::KeyCompromise,
            Some(Listed::CaCompromise | Listed::AaCompromise) => Self::AuthorityCompromise,
            Some(Listed::AffiliationChanged) => Self::AffiliationChanged,
            Some(Listed::Superseded) => Self::Superseded,
            Some(Listed::CessationOfOperation) => Self::CessationOfOperation,
            Some(Listed::CertificateHold) => Self::Hold,
            Some(Listed::PrivilegeWithdrawn) => Self::PrivilegeWithdrawn,
        }
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "no reason given",
            Self::KeyCompromise => "the key is compromised",
            Self::AuthorityCompromise => "the authority is compromised",
            Self::AffiliationChanged => "the holder changed affiliation",
            Self::Superseded => "replaced by a newer certificate",
            Self::CessationOfOperation => "the holder ceased to operate",
            Self::Hold => "on hold",
            Self::PrivilegeWithdrawn => "a privilege was withdrawn",
        })
    }
}

/// One revoked certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Why.
    pub reason: RevocationReason,
    /// When the authority revoked it, UTC.
    pub when: OffsetDateTime,
}

/// How old what we know about revocation is. Ordered from best to worst; the limit depends on the class of
/// the data and is applied elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// A list is held and its next update is not due.
    Fresh {
        /// Time since the authority made the list.
        age: Duration,
    },
    /// A list is held, but the authority promised a newer one by now.
    Stale {
        /// Time since the authority made the list.
        age: Duration,
    },
    /// No list of this authority is held.
    Missing,
}

/// One authority's list, indexed by serial.
#[derive(Debug)]
pub struct RevocationList {
    /// The authority whose list it is.
    pub authority: AuthorityId,
    /// Its name, one RFC 4514 line in NFC.
    pub issuer: String,
    /// The list's number, unsigned big-endian without leading zeros.
    pub crl_number: Vec<u8>,
    /// When the authority made it, UTC.
    pub this_update: OffsetDateTime,
    /// When the next one is due, UTC.
    pub next_update: OffsetDateTime,
    der: Vec<u8>,
    revoked: HashMap<Box<[u8]>, Revocation>,
}

impl RevocationList {
    /// Reads one DER list and verifies it under the authority that issued it, which must be configured.
    ///
    /// # Errors
    /// [`RevocationError`] if it is malformed, of a kind that cannot be used, or not signed by an authority.
    pub fn read(der: &[u8], anchors: &TrustAnchors) -> Result<RevocationList, RevocationError> {
        if der.len() as u64 > CRL_BYTES_MAX {
            return Err(RevocationError::TooLarge);
        }
        // Two parsers by intent: webpki is strict about entries and extensions, x509-parser gives the dates,
        // the number and the signed bytes that webpki keeps to itself.
        let entries = BorrowedCertRevocationList::from_der(der).map_err(|error| unsupported(&error))?;
        let (_, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| RevocationError::Malformed(error.to_string()))?;
        let issuer =
            name::canonical(list.issuer()).map_err(|error| RevocationError::Malformed(error.to_string()))?;
        refuse_partial(&list)?;
        let authority =
            signer_of(&list, anchors).ok_or_else(|| RevocationError::Unverified(issuer.clone()))?;

        let mut revoked = HashMap::new();
        for entry in &entries {
            let entry = entry.map_err(|error| unsupported(&error))?;
            // An entry whose number no acceptable certificate can have revokes nothing that could be accepted.
            let Ok(serial) = certificate::serial(entry.serial_number) else {
                continue;
            };
            let when = utc(entry.revocation_date)?;
            let reason = RevocationReason::of(entry.reason_code);
            revoked.insert(serial.into_boxed_slice(), Revocation { reason, when });
        }
        Ok(RevocationList {
            authority: authority.id,
            issuer,
            crl_number: number(&list)?,
            this_update: list.last_update().to_datetime(),
            next_update: list.next_update().ok_or_else(|| missing("next update"))?.to_datetime(),
            der: der.to_vec(),
            revoked,
        })
    }

    /// The list as its authority signed it, to be handed on.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The entry for `serial` (unsigned big-endian without leading zeros), if it is revoked.
    pub fn find(&self, serial: &[u8]) -> Option<&Revocation> {
        self.revoked.get(serial)
    }

    /// Every serial it revokes, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Revocation)> {
        self.revoked.iter().map(|(serial, revocation)| (serial.as_ref(), revocation))
    }

    /// How many certificates it revokes.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// True if it revokes none.
    pub fn is_empty(&self) -> bool {
        self.revoked.is_empty()
    }

    fn freshness(&self, now: UnixTime) -> Freshness {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let age = Duration::from_secs(
            u64::try_from(now.saturating_sub(self.this_update.unix_timestamp())).unwrap_or(0),
        );
        if now < self.next_update.unix_timestamp() {
            Freshness::Fresh { age }
        } else {
            Freshness::Stale { age }
        }
    }

    /// True if this list was made before `other`: by number, then by time.
    fn older_than(&self, other: &RevocationList) -> bool {
        let rank = |list: &RevocationList| (list.crl_number.len(), list.crl_number.clone(), list.this_update);
        rank(self) < rank(other)
    }
}

/// The lists held, one an authority. Cheap to clone: replacing one list shares all others.
#[derive(Debug, Clone, Default)]
pub struct RevocationLists {
    lists: HashMap<AuthorityId, Arc<RevocationList>>,
}

impl RevocationLists {
    /// No list at all.
    pub fn empty() -> RevocationLists {
        RevocationLists::default()
    }

    /// Reads files, each one list in DER or any number in PEM.
    ///
    /// # Errors
    /// [`RevocationError`] naming the file.
    pub fn load(files: &[PathBuf], anchors: &TrustAnchors) -> Result<RevocationLists, RevocationError> {
        let mut lists = RevocationLists::empty();
        for path in files {
            let bytes = files::read(path, CRL_BYTES_MAX)?;
            for der in split(&bytes).map_err(|source| source.at(path))? {
                let list = RevocationList::read(&der, anchors).map_err(|source| source.at(path))?;
                lists = lists.with(list).map_err(|source| source.at(path))?;
            }
        }
        Ok(lists)
    }

    /// Reads files as [`RevocationLists::load`] does, and leaves out the lists that no configured authority signed: those of
    /// an authority that is no longer trusted, or not yet. What is left out is answered, too.
    ///
    /// # Errors
    /// [`RevocationError`] naming the file, for anything else.
    pub fn load_known(
        files: &[PathBuf],
        anchors: &TrustAnchors,
    ) -> Result<(RevocationLists, Vec<RevocationError>), RevocationError> {
        let (mut lists, mut left_out) = (RevocationLists::empty(), Vec::new());
        for path in files {
            let bytes = files::read(path, CRL_BYTES_MAX)?;
            for der in split(&bytes).map_err(|source| source.at(path))? {
                match RevocationList::read(&der, anchors) {
                    Ok(list) => lists = lists.with(list).map_err(|source| source.at(path))?,
                    Err(unknown @ RevocationError::Unverified(_)) => left_out.push(unknown.at(path)),
                    Err(error) => return Err(error.at(path)),
                }
            }
        }
        Ok((lists, left_out))
    }

    /// These lists with `list` in the place of its authority's former one.
    ///
    /// # Errors
    /// [`RevocationError::Older`] if the list held is newer; the list held stays.
    pub fn with(&self, list: RevocationList) -> Result<RevocationLists, RevocationError> {
        if let Some(held) = self.lists.get(&list.authority)
            && list.older_than(held)
        {
            return Err(RevocationError::Older {
                issuer: list.issuer,
                offered: hex::encode(&list.crl_number),
                held: hex::encode(&held.crl_number),
            });
        }
        let mut lists = self.lists.clone();
        lists.insert(list.authority, Arc::new(list));
        Ok(RevocationLists { lists })
    }

    /// Those whose authority is among `anchors`: after a change of authorities.
    #[must_use]
    pub fn under(&self, anchors: &TrustAnchors) -> RevocationLists {
        let known = |id: &AuthorityId| anchors.authorities().iter().any(|authority| authority.id == *id);
        let kept = self.lists.iter().filter(|(id, _)| known(id));
        RevocationLists { lists: kept.map(|(id, list)| (*id, Arc::clone(list))).collect() }
    }

    /// Reads the lists of one file: one in DER, or any number in PEM.
    ///
    /// # Errors
    /// [`RevocationError`] of the first that cannot be used.
    pub fn read(bytes: &[u8], anchors: &TrustAnchors) -> Result<RevocationLists, RevocationError> {
        let mut lists = RevocationLists::empty();
        for der in split(bytes)? {
            lists = lists.with(RevocationList::read(&der, anchors)?)?;
        }
        Ok(lists)
    }

    /// These lists and `others`: of each authority the newer one. No list grows older by it.
    #[must_use]
    pub fn newest(&self, others: &RevocationLists) -> RevocationLists {
        let mut lists = self.lists.clone();
        for (authority, other) in &others.lists {
            if lists.get(authority).is_none_or(|held| held.older_than(other)) {
                lists.insert(*authority, Arc::clone(other));
            }
        }
        RevocationLists { lists }
    }

    /// True if both hold the very same lists.
    pub fn same(&self, others: &RevocationLists) -> bool {
        let held = |(authority, list): (&AuthorityId, &Arc<RevocationList>)| {
            others.lists.get(authority).is_some_and(|other| other.der == list.der)
        };
        self.lists.len() == others.lists.len() && self.lists.iter().all(held)
    }

    /// The entry for a certificate of `authority`, if it is revoked: two hash look-ups.
    pub fn find(&self, authority: AuthorityId, serial: &[u8]) -> Option<&Revocation> {
        self.lists.get(&authority)?.find(serial)
    }

    /// Freshness of the list of the authority named `issuer` (one RFC 4514 line in NFC); of two generations
    /// under one name, the worse.
    pub fn freshness(&self, issuer: &str, now: UnixTime) -> Freshness {
        let of_name = self.lists.values().filter(|list| list.issuer == issuer);
        of_name.map(|list| list.freshness(now)).max().unwrap_or(Freshness::Missing)
    }

    /// Freshness of one authority's list.
    pub fn freshness_of(&self, authority: AuthorityId, now: UnixTime) -> Freshness {
        self.lists.get(&authority).map_or(Freshness::Missing, |list| list.freshness(now))
    }

    /// The lists held, in no order.
    pub fn lists(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.values().map(Arc::as_ref)
    }
}

/// A revocation list that cannot be used. The lists held before stay in force.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// The file cannot be read as it should.
    #[error(transparent)]
    File(#[from] FileError),
    /// One list in a file cannot be used.
    #[error("{path}: {source}")]
    At {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<RevocationError>,
    },
    /// Larger than [`CRL_BYTES_MAX`].
    #[error("the revocation list is larger than {CRL_BYTES_MAX} bytes")]
    TooLarge,
    /// Not an X.509 v2 revocation list.
    #[error("not a well-formed X.509 v2 revocation list: {0}")]
    Malformed(String),
    /// Delta, indirect or partial: it would not say of every certificate whether it is revoked.
    #[error("a revocation list must be complete for its authority: {0}; publish one full list")]
    Partial(&'static str),
    /// No configured authority signed it.
    #[error(
        "no configured authority named \"{0}\" signed this revocation list; add that authority to the trust files"
    )]
    Unverified(String),
    /// Older than the list held.
    #[error(
        "the list of \"{issuer}\" has number {offered}, older than number {held} that is held: \
             an old list would undo revocations"
    )]
    Older {
        /// The authority.
        issuer: String,
        /// Number offered, hexadecimal.
        offered: String,
        /// Number held, hexadecimal.
        held: String,
    },
}

impl RevocationError {
    /// The same, naming the file in which it was found.
    #[must_use]
    pub fn at(self, path: &Path) -> RevocationError {
        RevocationError::At { path: path.to_owned(), source: Box::new(self) }
    }
}

fn split(bytes: &[u8]) -> Result<Vec<CertificateRevocationListDer<'_>>, RevocationError> {
    // DER starts with the tag of a SEQUENCE; PEM is text.
    if bytes.first() == Some(&0x30) {
        return Ok(vec![CertificateRevocationListDer::from(bytes)]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| RevocationError::Malformed(error.to_string()))?;
    if lists.is_empty() { Err(missing("`BEGIN X509 CRL` section")) } else { Ok(lists) }
}

fn signer_of<'a>(list: &CertificateRevocationList<'_>, anchors: &'a TrustAnchors) -> Option<&'a Authority> {
    // What is signed must name the algorithm it is signed with (RFC 5280 §5.1.1.2).
    if list.tbs_cert_list.signature != list.signature_algorithm {
        return None;
    }
    let algorithm = list.signature_algorithm.algorithm.as_bytes();
    anchors.named(list.issuer().as_raw()).find(|authority| {
        authority.signs_lists
            && trust::verify_signed(
                &authority.spki_der,
                algorithm,
                list.tbs_cert_list.as_ref(),
                &list.signature_value.data,
            )
    })
}

/// A list for user certificates only, or for some reasons, leaves the rest unsaid.
fn refuse_partial(list: &CertificateRevocationList<'_>) -> Result<(), RevocationError> {
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => {
                if point.only_contains_user_certs
                    || point.only_contains_ca_certs
                    || point.only_contains_attribute_certs
                {
                    return Err(RevocationError::Partial("it covers one kind of certificate only"));
                }
                if point.only_some_reasons.is_some() || point.indirect_crl {
                    return Err(RevocationError::Partial("it is indirect or covers some reasons only"));
                }
            }
            ParsedExtension::ParseError { error } => {
                return Err(RevocationError::Malformed(error.to_string()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn number(list: &CertificateRevocationList<'_>) -> Result<Vec<u8>, RevocationError> {
    let bytes = list.crl_number().ok_or_else(|| missing("list number"))?.to_bytes_be();
    if bytes.len() > CRL_NUMBER_BYTES_MAX {
        Err(missing("list number of at most 20 bytes"))
    } else {
        Ok(bytes)
    }
}

fn missing(what: &str) -> RevocationError {
    RevocationError::Malformed(format!("it has no {what}"))
}

fn unsupported(error: &webpki::Error) -> RevocationError {
    use webpki::Error;
    match error {
        Error::UnsupportedDeltaCrl => RevocationError::Partial("it is a delta list"),
        Error::UnsupportedIndirectCrl => RevocationError::Partial("it is indirect"),
        Error::UnsupportedRevocationReasonsPartitioning => {
            RevocationError::Partial("it covers some reasons only")
        }
        other => RevocationError::Malformed(format!("{other:?}")),
    }
}

fn utc(time: UnixTime) -> Result<OffsetDateTime, RevocationError> {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| missing("revocation date within the calendar"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            prop_assert!(RevocationList::read(&bytes, &TrustAnchors::empty()).is_err());
            if let Ok(lists) = split(&bytes) {
                for der in lists {
                    prop_assert!(RevocationList::read(&der, &TrustAnchors::empty()).is_err());
                }
            }
        }
    }
}
