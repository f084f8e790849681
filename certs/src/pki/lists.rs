//! Revocation lists of the development PKI. The published file *is* the ledger: a new list is the last one,
//! one entry richer, one number higher.

use std::fs::File;
use std::path::PathBuf;

use rcgen::{CertificateRevocationListParams, RevocationReason as Listed, RevokedCertParams, SerialNumber};
use time::{Duration, OffsetDateTime};

use super::authority::key_identifier;
use super::{DevAuthority, DevPki, PkiError};
use crate::files;
use crate::judge::{CRL_BYTES_MAX, Revocation, RevocationList, RevocationReason, TrustAnchors};

/// Days until the next list is due.
pub const CRL_DAYS: i64 = 7;

impl DevPki {
    /// Makes the next list of `authority`, with `entry` added if it is new; the one after it is due in `due`.
    pub(super) fn publish_list(
        &self,
        authority: DevAuthority,
        entry: Option<(&[u8], RevocationReason)>,
        due: Duration,
    ) -> Result<PathBuf, PkiError> {
        let path = self.crl_path(authority);
        // Two commands at once must not each write over the other's entry; the lock ends with the file.
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path).and_then(|file| file.lock().map(|()| file));
        let _lock = lock.map_err(|source| PkiError::Make { path: lock_path, source })?;

        let now = OffsetDateTime::now_utc();
        let (mut number, mut entries) = (1, Vec::new());
        if path.exists() {
            let list = RevocationList::read(&files::read(&path, CRL_BYTES_MAX)?, &self.trusted_for_lists()?)?;
            number = next_number(&list.crl_number);
            entries = list.entries().map(|(serial, revocation)| (serial.to_vec(), *revocation)).collect();
        }
        if let Some((serial, reason)) = entry
            && !entries.iter().any(|(listed, _)| listed == serial)
        {
            entries.push((serial.to_vec(), Revocation { reason, when: now }));
        }
        // The index has no order; a list whose order never changes can be compared by eye.
        entries.sort_by(|left, right| (left.1.when, &left.0).cmp(&(right.1.when, &right.0)));

        let issuer = self.issuer(authority)?;
        let list = CertificateRevocationListParams {
            // Always before the next one is due, in whole seconds.
            this_update: now.min(now + due - Duration::SECOND),
            next_update: now + due,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: entries.iter().map(|(serial, revocation)| revoked(serial, revocation)).collect(),
            key_identifier_method: key_identifier(issuer.key()),
        };
        files::replace(&path, list.signed_by(&issuer)?.der())?;
        Ok(path)
    }

    /// Every authority's own certificate, whatever the trust files say by now.
    fn trusted_for_lists(&self) -> Result<TrustAnchors, PkiError> {
        let mut anchors = TrustAnchors::empty();
        for authority in DevAuthority::ALL {
            anchors.add(crate::Branch::State, &self.authority_der(authority)?)?;
        }
        Ok(anchors)
    }
}

fn next_number(number: &[u8]) -> u64 {
    number.iter().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte)).saturating_add(1)
}

fn revoked(serial: &[u8], revocation: &Revocation) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: revocation.when,
        reason_code: Some(listed(revocation.reason)),
        invalidity_date: None,
    }
}

fn listed(reason: RevocationReason) -> Listed {
    match reason {
        RevocationReason::Unspecified => Listed::Unspecified,
        RevocationReason::KeyCompromise => Listed::KeyCompromise,
        RevocationReason::AuthorityCompromise => Listed::CaCompromise,
        RevocationReason::AffiliationChanged => Listed::AffiliationChanged,
        RevocationReason::Superseded => Listed::Superseded,
        RevocationReason::CessationOfOperation => Listed::CessationOfOperation,
        RevocationReason::Hold => Listed::CertificateHold,
        RevocationReason::PrivilegeWithdrawn => Listed::PrivilegeWithdrawn,
    }
}
