//! A trust file in plain words, Vietnamese and English, and as JSON.

use lienthong_trust::{
    KeyPair, MeshTrust,
    changes::{changes, parties},
};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::read_out;
use crate::out::{self, Colour, paint};

/// From how many days before its end on a file is shown to end soon.
const ENDS_SOON_DAYS: i64 = 30;

/// All that it says.
pub fn whole(trust: &MeshTrust) {
    let parts = trust.parts();
    let colourful = out::stdout_is_terminal();
    let head = |vi: &str, en: &str| out::line(&paint(Colour::Bold, &format!("{vi} / {en}"), colourful));
    head(
        &format!("Tệp tin cậy của mạng {}, phiên bản {}", parts.mesh, parts.version),
        &format!("Trust file of mesh {}, version {}", parts.mesh, parts.version),
    );
    let days = (parts.expires - OffsetDateTime::now_utc()).whole_days();
    let end = if days < 0 {
        paint(Colour::Red, "ĐÃ HẾT HẠN / EXPIRED", colourful)
    } else if days < ENDS_SOON_DAYS {
        paint(Colour::Red, &format!("còn {days} ngày / {days} days left"), colourful)
    } else {
        format!("còn {days} ngày / {days} days left")
    };
    out::line(&format!("  {} → {}  ({end})", parts.issued.date(), parts.expires.date()));
    if parts.development {
        out::line("  CHỈ ĐỂ THỬ NGHIỆM / FOR DEVELOPMENT ONLY");
    }
    head("Khóa gốc", "Roots");
    out::line(&format!(
        "  cần {0}/{1} chữ ký / {0} of {1} must sign",
        parts.roots.threshold,
        parts.roots.keys.len()
    ));
    for key in &parts.roots.keys {
        out::line(&format!("  {}", key.label()));
    }
    out::line(&format!("  dấu vân tay / fingerprint\n    {}", read_out(parts.roots.fingerprint())));
    head("Khóa ký gói quyền", "Bundle keys");
    pair(&parts.bundle);
    head("Khóa nhật ký", "Log keys");
    pair(&parts.log);
    head("Nhân chứng", "Witnesses");
    let witnesses = &parts.witnesses;
    if witnesses.known.is_empty() {
        out::line("  không có / none");
    } else {
        let (quorum, known) = (witnesses.quorum, witnesses.known.len());
        out::line(&format!("  cần {quorum}/{known} đồng ký / {quorum} of {known} must cosign"));
    }
    for witness in &witnesses.known {
        out::line(&format!("  {}  {}", witness.key.label(), witness.url.as_deref().unwrap_or("")));
    }
    head("Tổ chức cấp chứng thư", "Authorities");
    for anchor in &parts.anchors {
        let (vi, en) = parties(anchor.parties);
        let count = anchor.certificates.len();
        out::line(&format!("  {}: {vi} / {en}, {count} chứng thư / certificates", anchor.label));
    }
}

/// What `new` changes against `held`.
pub fn changed(held: &MeshTrust, new: &MeshTrust) {
    let colourful = out::stdout_is_terminal();
    let title = format!("Thay đổi so với phiên bản {0} / Changes against version {0}", held.version());
    out::line(&paint(Colour::Bold, &title, colourful));
    let all = changes(held, new);
    if all.is_empty() {
        out::line("  không có / none");
    }
    for change in all {
        out::line(&format!("  • {}\n    {}", change.vi, change.en));
    }
}

/// The same for machines.
pub fn to_json(trust: &MeshTrust, against: Option<&MeshTrust>) -> Value {
    let parts = trust.parts();
    let pair = |pair: &KeyPair| json!({ "now": pair.now.to_string(), "next": pair.next.as_ref().map(ToString::to_string) });
    let anchors = parts.anchors.iter().map(|anchor| {
        json!({ "label": anchor.label, "parties": parties(anchor.parties).1, "certificates": anchor.certificates.len() })
    });
    let witnesses = parts
        .witnesses
        .known
        .iter()
        .map(|witness| json!({ "key": witness.key.to_string(), "url": witness.url }));
    let mut said = json!({
        "mesh": parts.mesh,
        "version": parts.version,
        "issued": parts.issued.unix_timestamp(),
        "expires": parts.expires.unix_timestamp(),
        "development": parts.development,
        "roots": {
            "threshold": parts.roots.threshold,
            "keys": parts.roots.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "fingerprint": parts.roots.fingerprint().to_string(),
        },
        "bundle": pair(&parts.bundle),
        "log": pair(&parts.log),
        "witnesses": { "quorum": parts.witnesses.quorum, "known": witnesses.collect::<Vec<_>>() },
        "anchors": anchors.collect::<Vec<_>>(),
    });
    if let Some(against) = against {
        let all = changes(against, trust);
        said["changes"] =
            all.iter().map(|change| json!({ "vi": change.vi, "en": change.en })).collect::<Vec<_>>().into();
    }
    said
}

fn pair(pair: &KeyPair) {
    out::line(&format!("  đang dùng / now   {}", pair.now));
    match &pair.next {
        Some(next) => out::line(&format!("  kế tiếp / next    {next}")),
        None => out::line("  kế tiếp / next    không có / none"),
    }
}
