//! One's own certificate and key.

use lienthong_certs::{CertificateRefusal, Freshness};
use time::OffsetDateTime;

use crate::commands::doctor::{
    facts::{Judged, Own, Pair},
    finding::{Check, Finding, text},
    refusals,
};

/// Days of validity left below which it is time to renew.
pub const DAYS_NOTICE: i64 = 30;

/// Days below which it is late.
pub const DAYS_SOON: i64 = 14;

/// Days below which it is an emergency.
pub const DAYS_URGENT: i64 = 7;

/// Bits that a private key's file must not have.
const MODE_OF_OTHERS: u32 = 0o177;

/// Key, pair, validity, chain and revocation. `is_accepted`: somebody with current revocation lists accepted it.
pub fn own(own: &Own, is_accepted: bool, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = vec![key(own)];
    match &own.pair {
        Ok(pair) => {
            let seen = format!("{}, {} {}", pair.subject, "serial", pair.serial);
            let seen_vi = format!("{}, số hiệu {}", pair.subject, pair.serial);
            findings.push(Finding::ok(Check::Certificate, text(seen_vi, seen)));
            findings.push(validity(pair.not_after, now));
            findings.push(chain(pair));
            findings.push(revocation(pair, is_accepted));
        }
        Err(why) => findings.push(Finding::fail(
            Check::Certificate,
            text(format!("không dùng được: {why}"), format!("cannot be used: {why}")),
            text(
                format!("sửa tệp {} hoặc {} như đã nêu", own.certificate, own.key),
                format!("mend {} or {} as it says", own.certificate, own.key),
            ),
        )),
    }
    findings
}

fn key(own: &Own) -> Finding {
    let path = &own.key;
    let Some(key_mode) = &own.key_mode else {
        return in_token(own);
    };
    match key_mode {
        Ok(mode) if mode & MODE_OF_OTHERS == 0 => Finding::ok(
            Check::Key,
            text(format!("{path}, quyền {mode:04o}"), format!("{path}, mode {mode:04o}")),
        ),
        Ok(mode) => Finding::fail(
            Check::Key,
            text(
                format!("{path} có quyền {mode:04o}: người khác có thể đọc khóa"),
                format!("{path} has mode {mode:04o}: others may read the key"),
            ),
            text(format!("chmod 600 {path}"), format!("chmod 600 {path}")),
        ),
        Err(why) => Finding::fail(
            Check::Key,
            text(format!("không đọc được {path}: {why}"), format!("{path} cannot be read: {why}")),
            text("sửa khóa `key` trong tệp cấu hình", "correct `key` in the file given"),
        ),
    }
}

/// A token was asked to sign when the pair was put together.
fn in_token(own: &Own) -> Finding {
    let path = &own.key;
    match &own.pair {
        Ok(_) => Finding::ok(Check::Key, text(format!("{path}, ký được"), format!("{path}, which signs"))),
        Err(why) => Finding::fail(
            Check::Key,
            text(format!("{path}: {why}"), format!("{path}: {why}")),
            text(
                "kiểm tra thiết bị, nhãn và tệp PIN nêu trong `key`",
                "check the token, its labels and the PIN file that `key` names",
            ),
        ),
    }
}

/// How long a certificate is still valid.
pub fn validity(not_after: OffsetDateTime, now: OffsetDateTime) -> Finding {
    let days = (not_after - now).whole_days();
    let date = not_after.date();
    let renew = text("gia hạn chứng thư ngay", "renew the certificate now");
    if not_after < now {
        let seen = text(format!("đã hết hạn ngày {date}"), format!("expired on {date}"));
        return Finding::fail(Check::Validity, seen, renew);
    }
    let seen = text(format!("còn {days} ngày, đến {date}"), format!("{days} days left, until {date}"));
    if days < DAYS_URGENT {
        let urgent = text("khẩn cấp: gia hạn chứng thư hôm nay", "urgent: renew the certificate today");
        Finding::warn(Check::Validity, seen, urgent)
    } else if days < DAYS_SOON {
        Finding::warn(Check::Validity, seen, renew)
    } else if days < DAYS_NOTICE {
        let plan = text("lên lịch gia hạn chứng thư", "plan the renewal of the certificate");
        Finding::warn(Check::Validity, seen, plan)
    } else {
        Finding::ok(Check::Validity, seen)
    }
}

fn chain(pair: &Pair) -> Finding {
    match &pair.judged {
        // What these say has a line of its own.
        Judged::Accepted(_)
        | Judged::Refused(CertificateRefusal::Revoked { .. } | CertificateRefusal::Expired { .. }) => {
            Finding::ok(
                Check::Chain,
                text("dẫn đến một tổ chức được tin cậy ở đây", "leads to an authority that is trusted here"),
            )
        }
        Judged::Refused(refusal) => {
            Finding::fail(Check::Chain, refusals::seen(refusal), refusals::fix(refusal))
        }
        Judged::Unjudged(why) => Finding::fail(
            Check::Chain,
            text(format!("không xét được: {why}"), format!("cannot be judged: {why}")),
            text(
                "sửa tệp đã nêu trong `trust`, hoặc danh sách thu hồi đã đưa",
                "mend the file that it names in `trust`, or the revocation list given",
            ),
        ),
    }
}

fn revocation(pair: &Pair, is_accepted: bool) -> Finding {
    match &pair.judged {
        Judged::Refused(refusal @ CertificateRefusal::Revoked { .. }) => {
            Finding::fail(Check::Revocation, refusals::seen(refusal), refusals::fix(refusal))
        }
        Judged::Accepted(Freshness::Stale { age }) => {
            let hours = age.as_secs() / 3600;
            Finding::warn(
                Check::Revocation,
                text(
                    format!("danh sách thu hồi đã quá hạn, {hours} giờ tuổi (R-37)"),
                    format!("a revocation list is overdue, {hours} hours old (R-37)"),
                ),
                text(
                    "lấy danh sách thu hồi mới của tổ chức cấp",
                    "fetch the authority's new revocation list",
                ),
            )
        }
        Judged::Accepted(Freshness::Fresh { .. }) => Finding::ok(
            Check::Revocation,
            text("không có trong danh sách thu hồi hiện hành", "in no current revocation list"),
        ),
        _ if is_accepted => Finding::ok(
            Check::Revocation,
            text(
                "bên kia, nơi giữ danh sách thu hồi, đã chấp nhận chứng thư",
                "the other side, which holds the revocation lists, accepted it",
            ),
        ),
        _ => Finding::skip(
            Check::Revocation,
            text(
                "không có danh sách thu hồi ở đây; thêm --crl TỆP",
                "no revocation list at hand; add --crl FILE",
            ),
        ),
    }
}
