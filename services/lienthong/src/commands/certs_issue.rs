//! `lienthong certs issue|renew|revoke`: the development PKI's own work.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use lienthong_certs::{
    Branch, DevPki, PeerCertificate, files,
    judge::RevocationReason,
    pki::{Holder, Issued, KeyKind, Request},
};
use serde_json::json;
use time::{Duration, OffsetDateTime};

use crate::out;

/// `lienthong certs issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Folder of the development PKI, as `lienthong certs init` made it
    pub dir: PathBuf,
    /// Code of the agency
    #[arg(long, value_name = "CODE", required_unless_present = "enterprise")]
    pub agency: Option<String>,
    /// Name of the agency, or of the enterprise
    #[arg(long, value_name = "NAME", default_value = "DEMO – Cơ quan giả lập")]
    pub name: String,
    /// For a node: its id
    #[arg(long, value_name = "ID", group = "holder")]
    pub node: Option<String>,
    /// For an information system: its id
    #[arg(long, value_name = "ID", group = "holder")]
    pub system: Option<String>,
    /// For an officer: his role, such as operator.catalog.01; --name is his own name
    #[arg(long, value_name = "ROLE", group = "holder")]
    pub person: Option<String>,
    /// For a party that is no agency: its business number
    #[arg(long, value_name = "CODE", group = "holder")]
    pub enterprise: Option<String>,
    /// DNS name or IP address that the certificate speaks for
    #[arg(long, value_name = "NAME")]
    pub dns: Vec<String>,
    /// Kind of the new key
    #[arg(long, value_enum, default_value_t = Kind::P256)]
    pub kind: Kind,
    /// Days of validity
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=1825))]
    pub days: i64,
    /// By the authority of Party agencies
    #[arg(long)]
    pub party: bool,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// ECDSA P-256
    P256,
    /// ECDSA P-384
    P384,
    /// Ed25519
    Ed25519,
    /// RSA of 2048 bits
    Rsa2048,
    /// RSA of 3072 bits
    Rsa3072,
}

/// `lienthong certs renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Folder of the development PKI
    pub dir: PathBuf,
    /// What to renew, as its file in issued/ is called, without .crt
    pub name: String,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// `lienthong certs revoke`.
#[derive(Debug, Args)]
pub struct RevokeArgs {
    /// Folder of the development PKI
    pub dir: PathBuf,
    /// What to revoke, as its file in issued/ is called, without .crt
    #[arg(required_unless_present = "certificate")]
    pub name: Option<String>,
    /// Any certificate of this PKI instead, PEM
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pub certificate: Option<PathBuf>,
    /// Why
    #[arg(long, value_enum, default_value_t = Reason::KeyCompromise)]
    pub reason: Reason,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Why a certificate is revoked (RFC 5280 §5.3.1; decree 68/2024 article 17).
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Reason {
    /// None given
    Unspecified,
    /// The key is, or may be, in other hands
    KeyCompromise,
    /// The holder moved to another body
    AffiliationChanged,
    /// Replaced by a newer certificate
    Superseded,
    /// The holder no longer operates
    CessationOfOperation,
    /// On hold
    Hold,
    /// A privilege was withdrawn
    PrivilegeWithdrawn,
}

/// Issues one certificate with a new key.
pub fn issue(args: &IssueArgs) -> Result<ExitCode> {
    let pki = DevPki::open(&args.dir)?;
    let names: Vec<&str> = args.dns.iter().map(String::as_str).collect();
    let now = OffsetDateTime::now_utc();
    let mut request = Request::new(holder(args)?).with_dns_names(&names).with_key(args.kind.into());
    request.not_after = Some(now + Duration::days(args.days));
    if args.party {
        request = request.with_branch(Branch::Party);
    }
    tell(&pki.issue(&request)?, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Renews one certificate; its key stays.
pub fn renew(args: &RenewArgs) -> Result<ExitCode> {
    let issued = DevPki::open(&args.dir)?.renew(&args.name)?;
    tell(&issued, args.json)?;
    if !args.json {
        out::note(
            "The key is the same. Bind the new certificate in the registry; a role that uses these files takes it over by\n\
             itself.\n\
             Khóa giữ nguyên. Hãy gắn chứng thư mới trong sổ đăng ký; vai trò đang dùng các tệp này tự nhận chứng thư mới.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Revokes one certificate and publishes the list.
pub fn revoke(args: &RevokeArgs) -> Result<ExitCode> {
    let pki = DevPki::open(&args.dir)?;
    let binding = match (&args.certificate, &args.name) {
        (Some(path), _) => PeerCertificate::read(&files::certificates(path)?)?.binding().clone(),
        (None, Some(name)) => {
            pki.issued(name)?.with_context(|| format!("{name} was not issued here"))?.binding
        }
        (None, None) => bail!("name what to revoke"),
    };
    let reason = RevocationReason::from(args.reason);
    pki.revoke(&binding, reason)?;
    if args.json {
        out::line(
            &json!({ "serial": binding.serial_hex(), "issuer": binding.issuer, "reason": reason.to_string() })
                .to_string(),
        );
    } else {
        out::line(&format!("revoked: {binding}: {reason}"));
        out::note(
            "A broker that reads this list takes it over by itself and hands it to every node; live connections are cut.\n\
             Nền tảng điều phối tự nhận danh sách thu hồi mới và gửi tới mọi nút; kết nối đang mở bị cắt.",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn holder(args: &IssueArgs) -> Result<Holder> {
    if let Some(enterprise_code) = args.enterprise.clone() {
        return Ok(Holder::Enterprise { enterprise_code, name: args.name.clone() });
    }
    let agency_code = args.agency.clone().context("name the --agency")?;
    let agency_name = args.name.clone();
    Ok(match (args.node.clone(), args.system.clone(), args.person.clone()) {
        (Some(node_id), ..) => Holder::Node { agency_code, agency_name, node_id },
        (_, Some(system_id), _) => Holder::System { agency_code, agency_name, system_id },
        (.., Some(role)) => Holder::Person { agency_code, name: agency_name, role },
        _ => bail!("say whose it is: --node, --system, --person or --enterprise"),
    })
}

fn tell(issued: &Issued, as_json: bool) -> Result<()> {
    let certificate = PeerCertificate::read(&files::certificates(&issued.certificate)?)?;
    let until = certificate.not_after.date().to_string();
    if as_json {
        let told = json!({
            "certificate": issued.certificate,
            "key": issued.key,
            "subject": certificate.subject.text,
            "issuer": issued.binding.issuer,
            "serial": issued.binding.serial_hex(),
            "keyAlgorithm": certificate.key_algorithm.to_string(),
            "notAfter": until,
        });
        out::line(&told.to_string());
    } else {
        out::line(&format!("certificate: {}", issued.certificate.display()));
        out::line(&format!("key: {}", issued.key.display()));
        out::line(&format!("{}, {}, until {until}", certificate.subject, certificate.key_algorithm));
    }
    Ok(())
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> KeyKind {
        match kind {
            Kind::P256 => KeyKind::EcdsaP256,
            Kind::P384 => KeyKind::EcdsaP384,
            Kind::Ed25519 => KeyKind::Ed25519,
            Kind::Rsa2048 => KeyKind::Rsa2048,
            Kind::Rsa3072 => KeyKind::Rsa3072,
        }
    }
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> RevocationReason {
        match reason {
            Reason::Unspecified => RevocationReason::Unspecified,
            Reason::KeyCompromise => RevocationReason::KeyCompromise,
            Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
            Reason::Superseded => RevocationReason::Superseded,
            Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
            Reason::Hold => RevocationReason::Hold,
            Reason::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
        }
    }
}
