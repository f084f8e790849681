//! `lienthong audit evidence` and `lienthong audit verify-evidence`: one file that proves one exchange, and its judge.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_audit::{
    evidence::{CertificateFacts, Certificates, EvidenceFile, EvidenceReport, Messages, verify as judge},
    keys,
};
use lienthong_certs::PeerCertificate;
use lienthong_proto::lienthong::audit::v1::GetEvidenceRequest;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use uuid::Uuid;

use super::search::{AskerArgs, refused};
use crate::out;

/// Largest evidence file that is read, bytes.
const EVIDENCE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// `lienthong audit evidence`.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    /// Who asks, and why
    #[command(flatten)]
    pub asker: AskerArgs,
    /// Exchange id
    pub exchange: Uuid,
    /// File to write; without it the evidence goes to standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Journal folder of a node that took part: discloses the key of the exchange, so that its messages can be compared
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
}

/// `lienthong audit verify-evidence`.
#[derive(Debug, Args)]
pub struct VerifyEvidenceArgs {
    /// The evidence file
    pub file: PathBuf,
    /// Whom to believe (C2SP tlog-policy); without it the signer is not judged
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// A message of the request, uncompressed protobuf; once for each, in order
    #[arg(long, value_name = "FILE")]
    pub request: Vec<PathBuf>,
    /// A message of the answer, as the provider's node sent it
    #[arg(long, value_name = "FILE")]
    pub response: Vec<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Carries `evidence` out.
pub async fn run(args: &EvidenceArgs) -> Result<ExitCode> {
    let request = GetEvidenceRequest {
        exchange_id: args.exchange.as_bytes().to_vec(),
        case_id: args.asker.case.clone(),
        reason: args.asker.reason.clone(),
    };
    let answer = args.asker.service()?.get_evidence(request).await.map_err(refused)?.into_inner();
    let evidence = answer.evidence.context("the broker gave no evidence")?;
    let key = match &args.journal {
        None => None,
        Some(dir) => {
            let rows = keys::find_in(&dir.join("keys"), args.exchange.as_bytes())
                .with_context(|| format!("the keys of the journal {} cannot be read", dir.display()))?;
            let row = rows.into_iter().next();
            Some(
                row.context(
                    "this node holds no key of the exchange: it took no part, or the key was erased",
                )?
                .key,
            )
        }
    };
    let file = EvidenceFile { evidence, key };
    let text = file.to_json();
    match &args.output {
        None => out::line(&text),
        Some(path) => {
            fs::write(path, text + "\n").with_context(|| format!("{} cannot be written", path.display()))?;
            out::line(&format!(
                "{} records of {} in {}",
                file.evidence.records.len(),
                args.exchange,
                path.display()
            ));
            file.evidence.notes.iter().for_each(|note| out::line(&format!("  {note}")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries `verify-evidence` out.
pub fn verify(args: &VerifyEvidenceArgs) -> Result<ExitCode> {
    let policy = super::policy(args.policy.as_ref())?;
    let length =
        fs::metadata(&args.file).with_context(|| format!("{} cannot be read", args.file.display()))?.len();
    if length > EVIDENCE_BYTES_MAX {
        anyhow::bail!(
            "{} has {length} bytes; evidence has at most {EVIDENCE_BYTES_MAX}",
            args.file.display()
        );
    }
    let text =
        fs::read_to_string(&args.file).with_context(|| format!("{} is no text", args.file.display()))?;
    let EvidenceFile { evidence, key } = EvidenceFile::from_json(&text)
        .with_context(|| format!("{} is no evidence file", args.file.display()))?;
    let messages =
        Messages { key, request: read_messages(&args.request)?, response: read_messages(&args.response)? };
    let report = judge(&evidence, policy.as_ref(), &messages, &X509);
    if args.json {
        out::line(&to_json(&report));
    } else {
        show(&report);
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Certificates as this program reads them.
struct X509;

impl Certificates for X509 {
    fn read(&self, der: &[u8]) -> Option<CertificateFacts> {
        let certificate = PeerCertificate::read(&[CertificateDer::from_slice(der)]).ok()?;
        Some(CertificateFacts {
            spki: certificate.spki_der,
            valid: (certificate.not_before.unix_timestamp(), certificate.not_after.unix_timestamp()),
            subject: certificate.subject.text,
        })
    }

    fn verify(&self, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
        lienthong_certs::verify(spki, message, signature).is_ok()
    }
}

fn read_messages(paths: &[PathBuf]) -> Result<Option<Vec<Vec<u8>>>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let read = |path: &PathBuf| fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    Ok(Some(paths.iter().map(read).collect::<Result<_>>()?))
}

fn show(report: &EvidenceReport) {
    for check in &report.checks {
        let mark = if check.holds { "✓" } else { "✗" };
        out::line(&format!("  {mark} {}", printable(&check.what)));
    }
    for note in &report.notes {
        out::line(&format!("  · {}", printable(note)));
    }
    let verdict = match (report.is_sound(), report.signer_judged) {
        (true, true) => "GENUINE",
        (true, false) => "INTEGRITY ONLY, SIGNER NOT JUDGED: give --policy",
        (false, _) => "NOT GENUINE",
    };
    out::line(verdict);
}

/// What comes from a file of anybody's shows nothing that a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

fn to_json(report: &EvidenceReport) -> String {
    let checks: Vec<_> =
        report.checks.iter().map(|check| json!({ "holds": check.holds, "what": check.what })).collect();
    json!({
        "genuine": report.is_sound() && report.signer_judged,
        "sound": report.is_sound(),
        "signer_judged": report.signer_judged,
        "checks": checks,
        "notes": report.notes,
    })
    .to_string()
}
