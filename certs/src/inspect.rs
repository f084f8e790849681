//! One certificate explained to a person: would the mesh accept it, as whom, and why not.
//!
//! Gives sentences and facts, prints nothing: the command line and the console lay them out.

use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;

use crate::certificate::{CertificateBinding, PeerCertificate, Usage};
use crate::judge::{Branch, CertificateRefusal, Freshness, Judge, rfc3339};

/// Warn when fewer days of validity than this remain.
pub const EXPIRY_NOTICE_DAYS: i64 = 30;

/// What there is to say about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the certificate says, where it can be read at all.
    pub certificate: Option<PeerCertificate>,
    /// The judgement for each use, in the order client, server, signature.
    pub verdicts: Vec<Verdict>,
    /// Things that are no refusal but worth a look, one sentence each.
    pub notes: Vec<String>,
}

/// The judgement for one use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For which use.
    pub usage: Usage,
    /// Accepted, with what the mesh takes from it; or the reason why not.
    pub outcome: Result<Accepted, CertificateRefusal>,
}

/// As whom the mesh accepts a certificate. The agency itself is the registry's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The branch of the authority that vouches for it.
    pub branch: Option<Branch>,
    /// What the registry must bind to an agency and system.
    pub binding: CertificateBinding,
    /// The agency it claims; the registry binding must name the same.
    pub claimed_agency: Option<String>,
    /// How old the revocation lists above it are.
    pub freshness: Freshness,
}

impl Inspection {
    /// True if the mesh accepts it for at least one use.
    pub fn accepted(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.outcome.is_ok())
    }
}

impl Verdict {
    /// The judgement as one sentence.
    pub fn sentence(&self) -> String {
        match &self.outcome {
            Ok(accepted) => {
                let branch =
                    accepted.branch.map_or_else(String::new, |branch| format!(" of the {branch} branch"));
                format!("accepted for {} as a certificate{branch}", self.usage)
            }
            Err(refusal) => format!("refused for {}: {refusal}", self.usage),
        }
    }

    /// What to do about a refusal.
    pub fn remedy(&self) -> Option<&'static str> {
        self.outcome.as_ref().err().map(CertificateRefusal::remedy)
    }
}

/// Explains `chain` (leaf first) as `judge` sees it at `now`.
pub fn inspect(judge: &Judge, chain: &[CertificateDer<'_>], now: UnixTime) -> Inspection {
    let certificate = PeerCertificate::read(chain).ok();
    let verdicts: Vec<Verdict> = [Usage::Client, Usage::Server, Usage::Signature]
        .map(|usage| Verdict {
            usage,
            outcome: judge.judge(chain, usage, now).map(|peer| accepted(judge, &peer, now)),
        })
        .into();
    let mut notes = certificate.as_ref().map_or_else(Vec::new, |certificate| notes(certificate, now));
    notes
        .extend(verdicts.iter().find_map(|verdict| freshness_note(verdict.outcome.as_ref().ok()?.freshness)));
    Inspection { certificate, verdicts, notes }
}

fn accepted(judge: &Judge, peer: &PeerCertificate, now: UnixTime) -> Accepted {
    Accepted {
        branch: peer.branch,
        binding: peer.binding().clone(),
        claimed_agency: peer.agency_urn.clone(),
        freshness: judge.freshness(peer, now),
    }
}

fn notes(certificate: &PeerCertificate, now: UnixTime) -> Vec<String> {
    let mut notes = Vec::new();
    match &certificate.agency_urn {
        Some(code) => notes.push(format!(
            "it claims the agency {code}; the registry binding decides whether that is so (R-34)"
        )),
        None => {
            notes.push("it claims no agency; the registry binding alone says whose it is (R-34)".to_owned());
        }
    }
    if certificate.development {
        let mesh = certificate.mesh_id.as_deref().unwrap_or("unreadable");
        notes.push(format!("it is marked as made for development, for the mesh \"{mesh}\""));
    }
    if let Some(days) = days_left(certificate.not_after, now)
        && days < EXPIRY_NOTICE_DAYS
    {
        notes
            .push(format!("it expires in {days} days, at {}: renew it now", rfc3339(&certificate.not_after)));
    }
    if !certificate.names_in_nfc {
        notes.push(
            "its names are not in Unicode normalisation form C; they are shown after normalisation"
                .to_owned(),
        );
    }
    notes
}

/// How near the end of a certificate is (operator guide: plan, hurry, run).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExpiryNotice {
    /// 30 days or less: time to plan the renewal.
    Plan,
    /// 14 days or less: time to renew.
    Soon,
    /// 7 days or less: urgent.
    Urgent,
    /// It is over.
    Expired,
}

impl ExpiryNotice {
    /// The notice for a certificate that ends at `not_after`; `None` while there is time.
    pub fn of(not_after: OffsetDateTime, now: OffsetDateTime) -> Option<ExpiryNotice> {
        match (not_after - now).whole_days() {
            _ if not_after < now => Some(Self::Expired),
            days if days <= 7 => Some(Self::Urgent),
            days if days <= 14 => Some(Self::Soon),
            days if days <= EXPIRY_NOTICE_DAYS => Some(Self::Plan),
            _ => None,
        }
    }

    /// What to do, as a log line says it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Plan => "plan the renewal of the certificate",
            Self::Soon => "renew the certificate now",
            Self::Urgent => "urgent: renew the certificate today",
            Self::Expired => "the certificate has expired and is refused everywhere: renew it at once",
        }
    }
}

/// Whole days of validity left; `None` once it is over.
fn days_left(not_after: OffsetDateTime, now: UnixTime) -> Option<i64> {
    let seconds = not_after.unix_timestamp().saturating_sub(i64::try_from(now.as_secs()).ok()?);
    (seconds >= 0).then_some(seconds / 86_400)
}

fn freshness_note(freshness: Freshness) -> Option<String> {
    match freshness {
        Freshness::Fresh { .. } => None,
        Freshness::Stale { age } => Some(format!(
            "a revocation list above it is overdue, {} hours old: core, important and personal data will be \
             refused (R-37)",
            age.as_secs() / 3600
        )),
        Freshness::Missing => Some(
            "no revocation list of an authority above it is held: core, important and personal data will be \
             refused (R-37)"
                .to_owned(),
        ),
    }
}
