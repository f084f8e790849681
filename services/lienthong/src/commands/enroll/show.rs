//! Enrollments for people and for machines.

use anyhow::{Context, Result};
use clap::ValueEnum;
use lienthong_proto::lienthong::registry::v1::{
    EnrolledCertificate, Enrollment, EnrollmentState, expected_certificate::Identity,
};
use lienthong_proto::status;
use prost_types::Timestamp;
use serde_json::{Value, json};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339, macros::format_description};
use tonic::Status;
use tonic_types::StatusExt;

/// Bytes of a SHA-256.
const SHA256_BYTES: usize = 32;

/// Local time of Vietnam, the whole year round.
const HOURS_EAST: i8 = 7;

/// A state, as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum StateWord {
    /// A token was made and nobody has redeemed it
    Offered,
    /// A certificate waits for the second operator
    Waiting,
    /// Bound
    Active,
    /// Refused or withdrawn
    Rejected,
    /// Was bound and is no more
    Unbound,
    /// The token was not redeemed in time
    Expired,
}

impl From<StateWord> for EnrollmentState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Offered => Self::Offered,
            StateWord::Waiting => Self::Waiting,
            StateWord::Active => Self::Active,
            StateWord::Rejected => Self::Rejected,
            StateWord::Unbound => Self::Unbound,
            StateWord::Expired => Self::Expired,
        }
    }
}

/// One line of a listing.
pub fn row(one: &Enrollment) -> String {
    let until = one.certificate.as_ref().map(|certificate| certificate.not_after);
    let until = until.map_or_else(String::new, |until| format!("  → {}", local(until)));
    let state = format!("{} / {}", state_vi(one.state()), word(one.state()));
    format!("{}  {state:<24}  {:<36}{until}", one.name, one.holder)
}

/// Everything of one enrollment, a line a fact.
pub fn whole(one: &Enrollment) -> String {
    let mut lines = vec![
        format!("{}  {} / {}", one.name, state_vi(one.state()), word(one.state())),
        fact("chủ thể", "holder", &one.holder),
        fact("mã mời", "token", &format!("{}, {}", local(one.create_time), one.created_by)),
        fact("", "", &format!("hạn / good until {}", local(one.expire_time))),
    ];
    if let Some(expected) = &one.expected {
        let who = match &expected.identity {
            Some(Identity::Subject(subject)) => subject.clone(),
            Some(Identity::SpkiSha256(hash)) => format!("khóa / key {}", hex::encode(hash)),
            None => "không ai / nobody".to_owned(),
        };
        lines.push(fact("chờ chứng thư", "expected", &who));
        lines.push(fact("", "", &format!("cấp bởi / issuer {}", expected.issuer)));
    }
    if !one.address.is_empty() {
        lines.push(fact("địa chỉ", "address", &format!("{} ({})", one.address, one.server_name)));
    }
    if let Some(certificate) = &one.certificate {
        lines.push(fact("trình lúc", "shown", &local(one.enroll_time)));
        lines.extend(certificate_lines("chứng thư", "certificate", certificate));
    }
    if let Some(previous) = &one.previous_certificate {
        let times = one.renewals;
        lines.push(fact("gia hạn", "renewed", &format!("{} (lần thứ / no. {times})", local(one.renew_time))));
        lines.extend(certificate_lines("trước đó", "before it", previous));
    }
    if !one.decided_by.is_empty() {
        lines.push(fact("quyết định", "decided", &format!("{}, {}", local(one.decide_time), one.decided_by)));
    }
    if !one.unbound_by.is_empty() {
        lines.push(fact("gỡ gắn kết", "unbound", &format!("{}, {}", local(one.unbind_time), one.unbound_by)));
    }
    if !one.reason.is_empty() {
        lines.push(fact("lý do", "because", &one.reason));
    }
    if one.epoch > 0 {
        lines.push(fact("gói quyền", "rights", &format!("epoch {}", one.epoch)));
    }
    lines.join("\n")
}

/// One enrollment as JSON.
pub fn to_json(one: &Enrollment) -> Value {
    let expected = one.expected.as_ref().map(|expected| {
        let (subject, spki) = match &expected.identity {
            Some(Identity::Subject(subject)) => (Some(subject.clone()), None),
            Some(Identity::SpkiSha256(hash)) => (None, Some(hex::encode(hash))),
            None => (None, None),
        };
        json!({ "issuer": expected.issuer, "subject": subject, "spki_sha256": spki })
    });
    json!({
        "name": one.name,
        "state": word(one.state()),
        "holder": one.holder,
        "expected": expected,
        "create_time": rfc3339(one.create_time),
        "expire_time": rfc3339(one.expire_time),
        "created_by": one.created_by,
        "enroll_time": rfc3339(one.enroll_time),
        "certificate": one.certificate.as_ref().map(certificate_json),
        "previous_certificate": one.previous_certificate.as_ref().map(certificate_json),
        "address": one.address,
        "server_name": one.server_name,
        "decide_time": rfc3339(one.decide_time),
        "decided_by": one.decided_by,
        "renew_time": rfc3339(one.renew_time),
        "renewals": one.renewals,
        "unbind_time": rfc3339(one.unbind_time),
        "unbound_by": one.unbound_by,
        "reason": one.reason,
        "epoch": one.epoch,
    })
}

/// A fingerprint in groups that can be read out: `3f9c 2a71 …`.
pub fn grouped(fingerprint: &[u8]) -> String {
    let groups: Vec<String> = fingerprint.chunks(2).map(hex::encode).collect();
    groups.join(" ")
}

/// Reads a SHA-256 in hexadecimal; colons and spaces do not count.
pub fn read_fingerprint(text: &str) -> Result<Vec<u8>> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    let bytes = hex::decode(&digits).ok().filter(|bytes| bytes.len() == SHA256_BYTES);
    bytes.with_context(|| format!("{text:?} is not 64 hexadecimal digits"))
}

/// A time for people, in Vietnam.
pub fn time(at: Option<Timestamp>) -> String {
    local(at)
}

/// A refusal in both languages.
pub fn explained(status: &Status) -> anyhow::Error {
    let vi = status::read(status)
        .and_then(|read| read.vi)
        .or_else(|| status.get_error_details().localized_message().map(|message| message.message.clone()));
    match vi {
        Some(vi) => anyhow::anyhow!("{}\n{vi}", status.message()),
        None => anyhow::anyhow!("{:?}: {}", status.code(), status.message()),
    }
}

/// A state as a word.
pub const fn word(state: EnrollmentState) -> &'static str {
    match state {
        EnrollmentState::Unspecified => "unknown",
        EnrollmentState::Offered => "offered",
        EnrollmentState::Waiting => "waiting",
        EnrollmentState::Active => "active",
        EnrollmentState::Rejected => "rejected",
        EnrollmentState::Unbound => "unbound",
        EnrollmentState::Expired => "expired",
    }
}

const fn state_vi(state: EnrollmentState) -> &'static str {
    match state {
        EnrollmentState::Unspecified => "không rõ",
        EnrollmentState::Offered => "đã mời",
        EnrollmentState::Waiting => "chờ duyệt",
        EnrollmentState::Active => "đang gắn kết",
        EnrollmentState::Rejected => "bị từ chối",
        EnrollmentState::Unbound => "đã gỡ",
        EnrollmentState::Expired => "quá hạn",
    }
}

/// One fact under its name; without a name, more of the one before.
fn fact(vi: &str, en: &str, said: &str) -> String {
    let label = if vi.is_empty() { String::new() } else { format!("{vi} / {en}") };
    format!("  {label:<25} {said}")
}

fn certificate_lines(vi: &str, en: &str, certificate: &EnrolledCertificate) -> Vec<String> {
    let or_none = |text: String| if text.is_empty() { "không có / none".to_owned() } else { text };
    let names = or_none(certificate.dns_names.join(", "));
    let agency = or_none(certificate.agency_code.clone());
    let (first, second) = certificate.fingerprint.split_at(certificate.fingerprint.len() / 2);
    let (from, until) = (local(certificate.not_before), local(certificate.not_after));
    vec![
        fact(vi, en, &certificate.subject),
        fact("", "", &format!("cấp bởi / issuer {}", certificate.issuer)),
        fact("", "", &format!("số hiệu / serial {}", hex::encode(&certificate.serial))),
        fact("hiệu lực", "valid", &format!("{from} → {until}")),
        fact("tên miền", "DNS names", &names),
        fact("cơ quan", "agency", &agency),
        fact("dấu vân tay", "fingerprint", &grouped(first)),
        fact("", "", &grouped(second)),
    ]
}

/// A certificate as JSON.
pub fn certificate_json(certificate: &EnrolledCertificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": hex::encode(&certificate.serial),
        "spki_sha256": hex::encode(&certificate.spki_sha256),
        "fingerprint": hex::encode(&certificate.fingerprint),
        "not_before": rfc3339(certificate.not_before),
        "not_after": rfc3339(certificate.not_after),
        "dns_names": certificate.dns_names,
        "agency_code": certificate.agency_code,
    })
}

fn instant(at: Option<Timestamp>) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at?.seconds).ok()
}

/// A time for machines.
pub fn rfc3339(at: Option<Timestamp>) -> Option<String> {
    instant(at)?.format(&Rfc3339).ok()
}

/// A moment as people of Vietnam read it.
pub fn local(at: Option<Timestamp>) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] +07");
    let offset = UtcOffset::from_hms(HOURS_EAST, 0, 0).unwrap_or(UtcOffset::UTC);
    let shown =
        instant(at).and_then(|at| at.checked_to_offset(offset)).and_then(|at| at.format(&format).ok());
    shown.unwrap_or_else(|| "never".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_people_write_it() {
        let bytes: Vec<u8> = (0..32).collect();
        for text in [grouped(&bytes), hex::encode(&bytes), hex::encode_upper(&bytes)] {
            assert_eq!(read_fingerprint(&text).unwrap(), bytes);
        }
        for wrong in ["", "00", "zz", &"0".repeat(66)] {
            assert!(read_fingerprint(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_of_vietnam() {
        let at = Some(Timestamp { seconds: 1_763_744_400, nanos: 0 });
        assert_eq!(time(at), "2025-11-22 00:00:00 +07");
        assert_eq!(time(None), "never");
    }
}
