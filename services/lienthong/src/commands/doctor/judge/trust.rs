//! The mesh trust file: its age, its end, and a configured file that is older than what was seen.

use time::OffsetDateTime;

use crate::commands::doctor::{
    facts::TrustFacts,
    finding::{Check, Finding, text},
};

/// From how many days before its end on somebody should look.
pub const ENDS_SOON_DAYS: i64 = 30;

/// How it is.
pub fn finding(trust: &Result<TrustFacts, String>, now: OffsetDateTime) -> Finding {
    let TrustFacts { version, expires, file } = match trust {
        Ok(facts) => facts,
        Err(why) => {
            return Finding::fail(
                Check::Trust,
                text(format!("không dùng được: {why}"), format!("cannot be used: {why}")),
                text(
                    "đặt tệp tin cậy và dấu vân tay khóa gốc mà đơn vị vận hành đã trao",
                    "put the trust file and the roots' fingerprint in place that the operator handed over",
                ),
            );
        }
    };
    let days = (*expires - now).whole_days();
    let newer = text(
        "yêu cầu đơn vị vận hành ký phiên bản mới (docs/trust.md)",
        "have the operator sign a newer version (docs/trust.md)",
    );
    if *expires <= now {
        let seen = text(
            format!("phiên bản {version} đã hết hạn ngày {}; nút vẫn dùng", expires.date()),
            format!("version {version} ended on {}; the node goes on with it", expires.date()),
        );
        return Finding::fail(Check::Trust, seen, newer);
    }
    if days < ENDS_SOON_DAYS {
        let seen = text(
            format!("phiên bản {version} còn {days} ngày"),
            format!("version {version} ends in {days} days"),
        );
        return Finding::warn(Check::Trust, seen, newer);
    }
    let renew = text(
        "thay trust.file bằng phiên bản mới nhất, để lần cài đặt sau không bắt đầu từ bản cũ",
        "put the newest version under trust.file, so that no installation begins from the old one",
    );
    match file {
        Ok(configured) if configured < version => Finding::warn(
            Check::Trust,
            text(
                format!("tệp cấu hình là phiên bản {configured}; nút đã thấy và dùng phiên bản {version}"),
                format!(
                    "the configured file is version {configured}; the node has seen and uses version {version}"
                ),
            ),
            renew,
        ),
        Err(why) => Finding::warn(
            Check::Trust,
            text(
                format!("nút dùng phiên bản {version}; tệp cấu hình không dùng được: {why}"),
                format!("the node uses version {version}; the configured file cannot be used: {why}"),
            ),
            renew,
        ),
        Ok(_) => Finding::ok(
            Check::Trust,
            text(
                format!("phiên bản {version}, còn {days} ngày"),
                format!("version {version}, {days} days left"),
            ),
        ),
    }
}
