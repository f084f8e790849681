//! `lienthong certs inspect`: one certificate explained, in Vietnamese and English.

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use anyhow::{Result, bail};
use lienthong_certs::{
    Freshness, PeerCertificate, Usage, files,
    inspect::{EXPIRY_NOTICE_DAYS, Inspection, Verdict, inspect},
    judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors, TrustError},
};
use rustls_pki_types::UnixTime;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    cli::CertsInspectArgs,
    commands::{doctor::refusals, enroll::show::grouped},
    out::{self, Colour, paint},
};

/// Judges one certificate, and says what came of it.
pub fn run(args: CertsInspectArgs) -> Result<ExitCode> {
    let branches = [(Branch::State, args.state), (Branch::Party, args.party), (Branch::Public, args.public)];
    let anchors: Vec<(Branch, PathBuf)> = branches
        .into_iter()
        .flat_map(|(branch, paths)| paths.into_iter().map(move |path| (branch, path)))
        .collect();
    let anchors = TrustAnchors::load(&anchors)?;
    let lists = RevocationLists::load(&args.crl, &anchors)?;
    let profile = if args.development { Profile::development() } else { Profile::default() };
    let judge = match Judge::new(anchors, lists, profile) {
        Err(TrustError::Development(name)) => bail!(
            "the authority \"{name}\" is one for development: ask again with --development to see what a mesh of \
             demonstrations and tests would say; every other one refuses it\n\
             tổ chức cấp chứng thư này chỉ để thử nghiệm: thêm --development để xem mạng thử nghiệm trả lời thế nào"
        ),
        judge => judge?,
    };
    let chain = files::certificates(&args.certificate)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let inspection = inspect(&judge, &chain, UnixTime::since_unix_epoch(now));
    if args.json {
        out::line(&to_json(&inspection).to_string());
    } else {
        tell(&inspection);
    }
    Ok(if inspection.accepted() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(inspection: &Inspection) {
    let colourful = out::stdout_is_terminal();
    if let Some(certificate) = &inspection.certificate {
        who(certificate, colourful);
    }
    let accepted: Vec<&Verdict> =
        inspection.verdicts.iter().filter(|verdict| verdict.outcome.is_ok()).collect();
    if !accepted.is_empty() {
        let branch = accepted.iter().find_map(|verdict| verdict.outcome.as_ref().ok()?.branch);
        let under =
            branch.map_or_else(String::new, |branch| format!("  ({} / {branch} branch)", branch_vi(branch)));
        let head = format!("{}{under}", paint(Colour::Green, "✓ được chấp nhận / accepted", colourful));
        out::line(&head);
        for verdict in &accepted {
            out::line(&format!("    {} / {}", usage_vi(verdict.usage), verdict.usage));
        }
    }
    // What is wrong with a certificate is mostly wrong for each use: it is said once.
    let mut told: Vec<String> = Vec::new();
    for refusal in inspection.verdicts.iter().filter_map(|verdict| verdict.outcome.as_ref().err()) {
        let problem = refusal.to_string();
        if told.contains(&problem) {
            continue;
        }
        out::line(&paint(Colour::Red, "✗ bị từ chối / refused", colourful));
        for verdict in &inspection.verdicts {
            if verdict.outcome.as_ref().is_err_and(|other| other.to_string() == problem) {
                out::line(&format!("    {} / {}", usage_vi(verdict.usage), verdict.usage));
            }
        }
        out::line(&format!("  {}\n  {problem}", refusals::seen(refusal).vi));
        out::line(&format!("  → {}\n  → {}", refusals::fix(refusal).vi, refusal.remedy()));
        told.push(problem);
    }
    for (vi, en) in notes(inspection) {
        out::line(&format!("! {vi}\n  {en}"));
    }
}

fn who(certificate: &PeerCertificate, colourful: bool) {
    let subject = certificate.subject.to_string();
    out::line(&paint(Colour::Bold, &subject, colourful));
    let binding = certificate.binding();
    let agency = certificate.agency_urn.as_deref().unwrap_or("không nêu / names none");
    let names = certificate.dns_names.join(", ");
    let names = if names.is_empty() { "không có / none".to_owned() } else { names };
    let days = (certificate.not_after - OffsetDateTime::now_utc()).whole_days();
    let left = if days < 0 {
        paint(Colour::Red, "đã hết hạn / has ended", colourful)
    } else if days <= EXPIRY_NOTICE_DAYS {
        paint(Colour::Red, &format!("còn {days} ngày / {days} days left"), colourful)
    } else {
        format!("còn {days} ngày / {days} days left")
    };
    let (first, second) = certificate
        .fingerprint()
        .split_at_checked(16)
        .map_or_else(|| (String::new(), String::new()), |(first, second)| (grouped(first), grouped(second)));
    for (vi, en, said) in [
        ("cơ quan", "agency", agency),
        ("tên miền", "DNS names", &names),
        ("cấp bởi", "issued by", &binding.issuer),
        ("số hiệu", "serial", &binding.serial_hex()),
        ("khóa", "key", &certificate.key_algorithm.to_string()),
        (
            "hiệu lực",
            "valid",
            &format!("{} → {}  ({left})", certificate.not_before.date(), certificate.not_after.date()),
        ),
        ("dấu vân tay", "fingerprint", &first),
        ("", "", &second),
    ] {
        let label = if vi.is_empty() { String::new() } else { format!("{vi} / {en}") };
        out::line(&format!("  {label:<25} {said}"));
    }
}

/// Things that are no refusal and worth a look.
fn notes(inspection: &Inspection) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    if let Some(certificate) = &inspection.certificate {
        let days = (certificate.not_after - OffsetDateTime::now_utc()).whole_days();
        if (0..=EXPIRY_NOTICE_DAYS).contains(&days) {
            notes.push((
                format!("còn {days} ngày là hết hạn: gia hạn ngay (lienthong enroll renew)"),
                format!("it ends in {days} days: renew it now (lienthong enroll renew)"),
            ));
        }
        if let Some(code) = &certificate.agency_urn {
            notes.push((
                format!(
                    "chứng thư tự nêu cơ quan {code}; sổ đăng ký mới quyết định nó đại diện cho ai (R-34)"
                ),
                format!("it claims the agency {code}; whose it is, the registry's binding decides (R-34)"),
            ));
        } else {
            notes.push((
                "chứng thư không nêu cơ quan; sổ đăng ký quyết định nó đại diện cho ai (R-34)".to_owned(),
                "it claims no agency; whose it is, the registry's binding decides (R-34)".to_owned(),
            ));
        }
        if certificate.development {
            let mesh = certificate.mesh_id.as_deref().unwrap_or("?");
            notes.push((
                format!("chỉ để thử nghiệm, cho mạng \"{mesh}\""),
                format!("it was made for development, for the mesh \"{mesh}\""),
            ));
        }
        if !certificate.names_in_nfc {
            notes.push((
                "tên trong chứng thư không ở dạng chuẩn hóa Unicode C".to_owned(),
                "its names are not in Unicode normalisation form C; they are shown after normalisation"
                    .to_owned(),
            ));
        }
    }
    let freshness =
        inspection.verdicts.iter().find_map(|verdict| Some(verdict.outcome.as_ref().ok()?.freshness));
    notes.extend(freshness.and_then(stale));
    notes
}

fn stale(freshness: Freshness) -> Option<(String, String)> {
    let closes = (
        "dữ liệu cốt lõi, quan trọng và dữ liệu cá nhân sẽ bị từ chối (R-37)",
        "core, important and personal data will be refused (R-37)",
    );
    let hours = |age: Duration| age.as_secs() / 3600;
    let (vi, en) = match freshness {
        Freshness::Fresh { .. } => return None,
        Freshness::Stale { age } => (
            format!("danh sách thu hồi đã quá hạn, {} giờ tuổi", hours(age)),
            format!("a revocation list above it is overdue, {} hours old", hours(age)),
        ),
        Freshness::Missing => (
            "thiếu danh sách thu hồi của tổ chức cấp (--crl)".to_owned(),
            "no revocation list of an authority above it is held (--crl)".to_owned(),
        ),
    };
    Some((format!("{vi}: {}", closes.0), format!("{en}: {}", closes.1)))
}

const fn usage_vi(usage: Usage) -> &'static str {
    match usage {
        Usage::Client => "gọi đi qua TLS",
        Usage::Server => "nhận cuộc gọi qua TLS",
        Usage::Signature => "ký số",
    }
}

const fn branch_vi(branch: Branch) -> &'static str {
    match branch {
        Branch::State => "nhánh Nhà nước",
        Branch::Party => "nhánh Đảng",
        Branch::Public => "chứng thực công cộng",
    }
}

fn to_json(inspection: &Inspection) -> Value {
    let verdicts: Vec<Value> = inspection
        .verdicts
        .iter()
        .map(|verdict| match &verdict.outcome {
            Ok(accepted) => json!({
                "usage": verdict.usage.to_string(),
                "accepted": true,
                "branch": accepted.branch.map(|branch| branch.to_string()),
                "issuer": accepted.binding.issuer,
                "serial": accepted.binding.serial_hex(),
                "spkiSha256": hex::encode(accepted.binding.spki_sha256),
                "claimedAgency": accepted.claimed_agency,
            }),
            Err(refusal) => json!({
                "usage": verdict.usage.to_string(),
                "accepted": false,
                "label": refusal.label(),
                "problem": { "en": refusal.to_string(), "vi": refusals::seen(refusal).vi },
                "remedy": { "en": refusal.remedy(), "vi": refusals::fix(refusal).vi },
            }),
        })
        .collect();
    let subject = inspection.certificate.as_ref().map(|certificate| certificate.subject.text.clone());
    json!({
        "accepted": inspection.accepted(),
        "subject": subject,
        "verdicts": verdicts,
        "notes": inspection.notes,
    })
}
