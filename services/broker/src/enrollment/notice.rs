//! What an agency's data contact should know of its enrolled certificates. Pure: it follows from the enrollments and the
//! time, so that nothing is kept that could be lost or said of somebody who is gone.

use lienthong_certs::inspect::ExpiryNotice;
use lienthong_proto::lienthong::registry::v1::{
    EnrolledCertificate, EnrollmentState as State, Notice, NoticeKind,
};
use time::{Duration, OffsetDateTime};

use super::{Enrolling, Holder, instant, timestamp};
use crate::limits::RENEWAL_NOTICE_DAYS;

/// Bytes of the fingerprint in the name of a notice.
const FINGERPRINT_BYTES_NAMED: usize = 8;

/// What there is to tell of one enrollment; its `contact` is left to whoever knows the catalog.
pub fn notices(one: &Enrolling, now: OffsetDateTime) -> Vec<Notice> {
    if one.state(now) != State::Active {
        return Vec::new();
    }
    let Some(certificate) = &one.shown.certificate else { return Vec::new() };
    let renewed = renewed(one, now).map(|at| notice(one, certificate, NoticeKind::Renewed, "renewed", at));
    let ending = ending(certificate, now).map(|(kind, word, at)| notice(one, certificate, kind, word, at));
    renewed.into_iter().chain(ending).collect()
}

fn renewed(one: &Enrolling, now: OffsetDateTime) -> Option<OffsetDateTime> {
    instant(one.shown.renew_time).filter(|at| now - *at < Duration::days(RENEWAL_NOTICE_DAYS))
}

/// Each step towards the end has a word of its own, so that each is told once.
fn ending(
    certificate: &EnrolledCertificate,
    now: OffsetDateTime,
) -> Option<(NoticeKind, &'static str, OffsetDateTime)> {
    let end = instant(certificate.not_after)?;
    let before = |days| end - Duration::days(days);
    Some(match ExpiryNotice::of(end, now)? {
        ExpiryNotice::Plan => (NoticeKind::EndsSoon, "ends-30", before(30)),
        ExpiryNotice::Soon => (NoticeKind::EndsSoon, "ends-14", before(14)),
        ExpiryNotice::Urgent => (NoticeKind::EndsSoon, "ends-7", before(7)),
        ExpiryNotice::Expired => (NoticeKind::Ended, "ended", end),
    })
}

fn notice(
    one: &Enrolling,
    certificate: &EnrolledCertificate,
    kind: NoticeKind,
    word: &str,
    since: OffsetDateTime,
) -> Notice {
    let id = one.name().rsplit('/').next().unwrap_or_default();
    let fingerprint: Vec<u8> =
        certificate.fingerprint.iter().copied().take(FINGERPRINT_BYTES_NAMED).collect();
    Notice {
        name: format!("notices/{id}-{word}-{}", hex::encode(fingerprint)),
        kind: kind.into(),
        time: Some(timestamp(since)),
        agency: Holder::read(one.holder())
            .map(|holder| format!("agencies/{}", holder.agency))
            .unwrap_or_default(),
        contact: None,
        holder: one.holder().to_owned(),
        enrollment: one.name().to_owned(),
        certificate: Some(certificate.clone()),
    }
}
