//! One person's signature over a statement, made and judged.

use lienthong_certs::{
    CertificateRefusal, Credentials, Judge, PeerCertificate, SignError, SignatureError, Usage, verify,
};
use lienthong_proto::lienthong::control::v1::Approval;
use prost_types::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Certificates in an approver's chain.
pub const CHAIN_MAX: usize = 5;

/// A signature that does not count, or was not made.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// There is no time in it, or none that a calendar has.
    #[error("an approval has no time that can be read; sign the change again")]
    Time,
    /// The signature is another's, or over something else.
    #[error("the approval of {person} does not hold: {source}; sign the change again, as it is now (R-09)")]
    Signature {
        /// Subject of the certificate.
        person: String,
        /// Why.
        source: SignatureError,
    },
    /// The mesh does not accept the certificate, or did not when it signed.
    #[error("the certificate of an approver is not accepted: {0} (R-09)")]
    Certificate(#[from] CertificateRefusal),
    /// The fingerprint names another certificate.
    #[error("an approval names another certificate than the one that stands beside it (R-09)")]
    OtherCertificate,
    /// Both are by one person.
    #[error("{person} approved twice; the second approval must be another person's (R-09)")]
    OnePerson {
        /// Subject of both.
        person: String,
    },
    /// Fewer than two, or more.
    #[error("{found} approvals where there must be two (R-09)")]
    Count {
        /// How many.
        found: usize,
    },
    /// The key could not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// Signs a statement at `time`, whose fractions of a second do not count.
///
/// # Errors
/// [`ApprovalError::Sign`], [`ApprovalError::Time`].
pub fn approve(
    credentials: &Credentials,
    statement: &[u8],
    time: OffsetDateTime,
) -> Result<Approval, ApprovalError> {
    let time = Timestamp { seconds: time.unix_timestamp(), nanos: 0 };
    Ok(Approval {
        certificate_sha256: credentials.certificate().fingerprint().to_vec(),
        time: Some(time),
        signature: credentials.signer().sign(&message(statement, time)?)?,
    })
}

/// Judges one approval: the signature holds, and the certificate was accepted when it was made. One revoked later counts
/// on, but for one whose key was in other hands.
///
/// # Errors
/// [`ApprovalError`].
pub fn judge_approval(
    statement: &[u8],
    approval: &Approval,
    chain: &[CertificateDer<'_>],
    judge: &Judge,
) -> Result<PeerCertificate, ApprovalError> {
    let time = approval.time.ok_or(ApprovalError::Time)?;
    let signed = u64::try_from(time.seconds).map_err(|_| ApprovalError::Time)?;
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(signed));
    let chain = &chain[..chain.len().min(CHAIN_MAX)];
    let person = judge.judge_signer(chain, Usage::Signature, at)?;
    if approval.certificate_sha256 != person.fingerprint() {
        return Err(ApprovalError::OtherCertificate);
    }
    verify(&person.spki_der, &message(statement, time)?, &approval.signature)
        .map_err(|source| ApprovalError::Signature { person: person.subject.text.clone(), source })?;
    Ok(person)
}

/// Two approvals are by two persons: another name, and another key.
///
/// # Errors
/// [`ApprovalError::OnePerson`].
pub fn judge_pair(one: &PeerCertificate, other: &PeerCertificate) -> Result<(), ApprovalError> {
    if one.subject.text == other.subject.text || one.binding().spki_sha256 == other.binding().spki_sha256 {
        return Err(ApprovalError::OnePerson { person: one.subject.text.clone() });
    }
    Ok(())
}

/// The statement, followed by the time and a line feed.
fn message(statement: &[u8], time: Timestamp) -> Result<Vec<u8>, ApprovalError> {
    let time = OffsetDateTime::from_unix_timestamp(time.seconds).map_err(|_| ApprovalError::Time)?;
    let text = time.format(&Rfc3339).map_err(|_| ApprovalError::Time)?;
    Ok([statement, text.as_bytes(), b"\n"].concat())
}
