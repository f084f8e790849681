//! `lienthong enroll renew`: the present certificate vouches for the next one, which then takes its place on disk.
//!
//! In this order a crash at any point loses nothing: until the broker has bound both, the files are the present ones;
//! afterwards both are good.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_broker::enrollment::renewal_statement;
use lienthong_certs::{Credentials, files, pki::DevPki, pki::Holder, pki::Request, request};
use lienthong_node::NodeConfig;
use lienthong_proto::lienthong::registry::v1::{Enrollment, GetEnrollmentRequest, RenewCertificateRequest};
use serde_json::json;

use crate::{
    client::{Client, ClientProfile},
    commands::enroll::show,
    out,
};

/// `lienthong enroll renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Configuration of the node, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Enrollment of the node, as `lienthong onboard` printed it
    #[arg(long, value_name = "NAME")]
    pub enrollment: String,
    /// The next certificate, PEM, leaf first
    #[arg(long, value_name = "FILE", required_unless_present = "development_ca")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0600
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Development meshes only: make the key where it is missing, and have this development PKI certify it
    #[arg(long, value_name = "DIR", conflicts_with = "certificate")]
    pub development_ca: Option<PathBuf>,
    /// Print one JSON object, for machines
    #[arg(long)]
    pub json: bool,
}

/// Renews, and puts certificate and key in place; the node takes them over at SIGHUP.
pub async fn run(args: RenewArgs) -> Result<ExitCode> {
    let config: NodeConfig = lienthong_telemetry::load(&args.config)?;
    let present = Credentials::load(&config.certificate, &config.key)?;
    let next_certificate = match (&args.certificate, &args.development_ca) {
        (Some(path), _) => path.clone(),
        (None, Some(ca)) => certified(ca, &config, &present, &args.key)?,
        (None, None) => anyhow::bail!("name the next --certificate"),
    };
    let next = Credentials::load(&next_certificate, &args.key)?;
    let mut service = Client::new(&ClientProfile {
        node: config.broker.address.clone(),
        server_name: config.broker.server_name.clone(),
        certificate: config.certificate.clone(),
        key: config.key.clone(),
        trust: config.trust.state.iter().chain(&config.trust.party).cloned().collect(),
        development: config.development,
    })?
    .enrollments();
    let name = args.enrollment.clone();
    service
        .get_enrollment(GetEnrollmentRequest { name: name.clone() })
        .await
        .map_err(|status| show::explained(&status))?;
    let statement = renewal_statement(
        &config.mesh,
        &name,
        &present.certificate().fingerprint(),
        &next.certificate().fingerprint(),
    );
    let renewal = RenewCertificateRequest {
        chain: next.chain().iter().map(|der| der.to_vec()).collect(),
        signature: next.signer().sign(&statement)?,
    };
    let answer =
        service.renew_certificate(renewal).await.map_err(|status| show::explained(&status))?.into_inner();
    let enrollment = answer.enrollment.context("the broker answered without an enrollment")?;
    put_in_place(&config, &next_certificate, &args.key)?;
    tell(&enrollment, args.json);
    Ok(ExitCode::SUCCESS)
}

fn certified(ca: &Path, config: &NodeConfig, present: &Credentials, key: &Path) -> Result<PathBuf> {
    let subject = &present.certificate().subject;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    let holder = Holder::Node {
        agency_code: config.agency().unwrap_or_default().to_owned(),
        agency_name: text(&subject.organization),
        node_id: text(&subject.common_name),
    };
    let names: Vec<&str> = present.certificate().dns_names.iter().map(String::as_str).collect();
    let prepared = request::prepare(holder.clone(), &names, key)?;
    let chain =
        DevPki::open(ca)?.certify(&Request::new(holder).with_dns_names(&names), &prepared.spki_der)?;
    let certificate = key.with_extension("crt");
    files::replace(&certificate, chain.as_bytes())?;
    Ok(certificate)
}

/// Both are written whole beside their places, and then renamed into them, one right after the other. What was there
/// stays under `.before`, until the next renewal.
fn put_in_place(config: &NodeConfig, certificate: &Path, key: &Path) -> Result<()> {
    let pairs = [(key, config.key.as_path()), (certificate, config.certificate.as_path())];
    let pairs = pairs.into_iter().filter(|(from, to)| !same_file(from, to));
    let mut renames = Vec::new();
    for (from, to) in pairs {
        let bytes = files::read(from, files::PEM_BYTES_MAX)?;
        let (next, before) = (beside(to, "next"), beside(to, "before"));
        for leftover in [&next, &before] {
            match fs::remove_file(leftover) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("{} cannot be removed", leftover.display()));
                }
                _ => {}
            }
        }
        files::create_private(&next, &bytes)?;
        fs::hard_link(to, &before).with_context(|| format!("{} cannot be kept", to.display()))?;
        renames.push((next, to));
    }
    for (next, to) in renames {
        fs::rename(&next, to).with_context(|| format!("{} cannot be replaced", to.display()))?;
    }
    Credentials::load(&config.certificate, &config.key)?;
    Ok(())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

fn same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn tell(enrollment: &Enrollment, as_json: bool) {
    if as_json {
        out::line(&json!({ "enrollment": show::to_json(enrollment) }).to_string());
        return;
    }
    out::line(&show::whole(enrollment));
    out::note(
        "Both certificates are bound now, and the files are replaced. Tell the node: kill -HUP <pid>\n\
         Chứng thư mới đã được gắn và thay vào tệp; hãy gửi SIGHUP cho nút để dùng ngay.",
    );
}
