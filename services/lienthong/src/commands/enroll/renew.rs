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
use lienthong_broker::enrollment::{self, Kind, renewal_statement};
use lienthong_certs::{Credentials, TrustAnchors, files, pki::DevPki, pki::Holder, pki::Request, request};
use lienthong_node::{NodeConfig, trust::Trust};
use lienthong_proto::lienthong::registry::v1::{Enrollment, GetEnrollmentRequest, RenewCertificateRequest};
use serde_json::json;

use crate::{
    client::{self, Client, ClientProfile},
    commands::enroll::{card::Card, show},
    out,
};

/// `lienthong enroll renew`.
#[derive(Debug, Args)]
pub struct RenewArgs {
    /// For a node: its configuration, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "profile")]
    pub config: Option<PathBuf>,
    /// For an information system: its client profile, TOML
    #[arg(long, value_name = "FILE", conflicts_with = "config", requires = "card")]
    pub profile: Option<PathBuf>,
    /// With --profile: the mesh's card
    #[arg(long, value_name = "FILE", requires = "profile")]
    pub card: Option<PathBuf>,
    /// Enrollment, as `lienthong onboard` printed it
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

/// Whose certificate is renewed: where it lies, and the broker as it is asked.
struct Present {
    mesh: String,
    broker: ClientProfile,
    anchors: TrustAnchors,
}

/// Renews, and puts certificate and key in place; a node takes them over at SIGHUP.
pub async fn run(args: RenewArgs) -> Result<ExitCode> {
    let Present { mesh, broker, anchors } = present(&args)?;
    let present = Credentials::open(&broker.certificate, &broker.key)?;
    let mut service = Client::trusting(&broker, anchors)?.enrollments();
    let asked = GetEnrollmentRequest { name: args.enrollment.clone() };
    let known = service.get_enrollment(asked).await.map_err(|status| show::explained(&status))?.into_inner();
    let known = known.enrollment.context("the broker answered without an enrollment")?;
    let next_certificate = match (&args.certificate, &args.development_ca) {
        (Some(path), _) => path.clone(),
        (None, Some(ca)) => certified(ca, &known.holder, &present, &args.key)?,
        (None, None) => anyhow::bail!("name the next --certificate"),
    };
    let next = Credentials::load(&next_certificate, &args.key)?;
    let statement = renewal_statement(
        &mesh,
        &known.name,
        &present.certificate().fingerprint(),
        &next.certificate().fingerprint(),
    );
    let renewal = RenewCertificateRequest {
        chain: next.chain().iter().map(|der| der.to_vec()).collect(),
        signature: next.signer().sign(&statement)?,
    };
    let answer = service.renew_certificate(renewal).await.map_err(|status| show::explained(&status))?;
    let enrollment = answer.into_inner().enrollment.context("the broker answered without an enrollment")?;
    put_in_place(&broker, &next_certificate, &args.key)?;
    tell(&enrollment, args.json);
    Ok(ExitCode::SUCCESS)
}

fn present(args: &RenewArgs) -> Result<Present> {
    if let Some(path) = &args.config {
        let config: NodeConfig = lienthong_telemetry::load(path)?;
        let held = Trust::held_by(&config)?;
        let broker = ClientProfile {
            node: config.broker.address,
            server_name: config.broker.server_name,
            certificate: config.certificate,
            key: config.key,
            trust: Vec::new(),
            development: config.development,
        };
        return Ok(Present { mesh: config.mesh, broker, anchors: held.trust().anchors().clone() });
    }
    let (Some(profile), Some(card)) = (&args.profile, &args.card) else {
        anyhow::bail!("name the --config of a node, or the --profile of a system with the --card");
    };
    let card = Card::read(card)?;
    let system = client::profile(profile)?;
    let broker = ClientProfile { node: card.broker.address, server_name: card.broker.server_name, ..system };
    Ok(Present { mesh: card.mesh, broker, anchors: card.trust.trust().anchors().clone() })
}

fn certified(ca: &Path, holder: &str, present: &Credentials, key: &Path) -> Result<PathBuf> {
    let enrolled =
        enrollment::Holder::read(holder).with_context(|| format!("{holder} is no node or system"))?;
    let agency_code = enrolled.agency;
    let agency_name = present.certificate().subject.organization.clone().unwrap_or_default();
    let holder = match enrolled.kind {
        Kind::Node => Holder::Node { agency_code, agency_name, node_id: enrolled.id },
        Kind::System => Holder::System { agency_code, agency_name, system_id: enrolled.id },
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
fn put_in_place(present: &ClientProfile, certificate: &Path, key: &Path) -> Result<()> {
    let Some(present_key) = present.key.file() else {
        anyhow::bail!(
            "the key in use is in a token ({}): put the certificate in its place by hand, and name the new key in the \
             configuration\nkhóa đang dùng nằm trong thiết bị: hãy tự thay tệp chứng thư và nêu khóa mới trong cấu hình",
            present.key
        );
    };
    let pairs = [(key, present_key), (certificate, present.certificate.as_path())];
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
    Credentials::open(&present.certificate, &present.key)?;
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
        "Both certificates are bound now, and the files are replaced. Tell a node: kill -HUP <pid>; a system reads its\n\
         files at its next start.\n\
         Chứng thư mới đã được gắn và thay vào tệp; hãy gửi SIGHUP cho nút để dùng ngay.",
    );
}
