//! `lienthong enroll renew`: the present certificate vouches for the next one, which then takes its place on disk.
//! What a node with a `renewal.folder` does by itself, for those without, and for systems.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_broker::enrollment::{self, Kind};
use lienthong_certs::{
    Credentials, KeySource, TrustAnchors, files,
    pki::{DevPki, Holder, Request},
    renewal::{self, Files},
    request,
};
use lienthong_node::{
    NodeConfig,
    control::successor::{self, OWN_ENROLLMENT, SuccessorError},
    trust::Trust,
};
use lienthong_proto::lienthong::registry::v1::{Enrollment, GetEnrollmentRequest};
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
    /// Enrollment, as `lienthong onboard` printed it; without it, the one of the present certificate
    #[arg(long, value_name = "NAME")]
    pub enrollment: Option<String>,
    /// The next certificate, PEM, leaf first
    #[arg(long, value_name = "FILE", required_unless_present = "development_ca")]
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, mode 0600; without it, the key in use, as of one in a token
    #[arg(long, value_name = "FILE", required_unless_present = "certificate")]
    pub key: Option<PathBuf>,
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

/// Renews, and puts certificate and key in place; a running node takes them over by itself.
pub async fn run(args: RenewArgs) -> Result<ExitCode> {
    let Present { mesh, broker, anchors } = present(&args)?;
    if let (Some(_), KeySource::Token(token)) = (&args.key, &broker.key) {
        anyhow::bail!(
            "the key in use is in a token ({}): leave --key out for a certificate of that key, or name another key in the \
             configuration first\nkhóa đang dùng nằm trong thiết bị: bỏ --key nếu chứng thư mới dùng chính khóa đó, hoặc nêu \
             khóa khác trong cấu hình trước",
            token.pkcs11
        );
    }
    let present = Credentials::open(&broker.certificate, &broker.key)?;
    let mut service = Client::trusting(&broker, anchors)?.enrollments();
    let name = args.enrollment.clone().unwrap_or_else(|| OWN_ENROLLMENT.to_owned());
    let next_certificate = match (&args.certificate, &args.development_ca, &args.key) {
        (Some(path), _, _) => path.clone(),
        (None, Some(ca), Some(key)) => {
            let asked = GetEnrollmentRequest { name: name.clone() };
            let known = service.get_enrollment(asked).await.map_err(|status| show::explained(&status))?;
            let known = known.into_inner().enrollment.context("the broker answered without an enrollment")?;
            certified(ca, &known.holder, &present, key)?
        }
        _ => anyhow::bail!("name the next --certificate"),
    };
    let next_key = args.key.clone().map_or_else(|| broker.key.clone(), KeySource::from);
    let next = Arc::new(Credentials::open(&next_certificate, &next_key)?);
    let bound = successor::bind(&mut service, &name, &mesh, present.certificate(), next).await;
    let enrollment = bound.map_err(|error| match error {
        SuccessorError::Refused(status) => show::explained(&status),
        other => other.into(),
    })?;
    let next = Files { certificate: &next_certificate, key: args.key.as_deref() };
    renewal::put_in_place(next, Files { certificate: &broker.certificate, key: broker.key.file() })?;
    Credentials::open(&broker.certificate, &broker.key)?;
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

fn tell(enrollment: &Enrollment, as_json: bool) {
    if as_json {
        out::line(&json!({ "enrollment": show::to_json(enrollment) }).to_string());
        return;
    }
    out::line(&show::whole(enrollment));
    out::note(
        "Both certificates are bound now, and the files are replaced. A running node takes them over within seconds; a\n\
         system reads its files at its next start.\n\
         Chứng thư mới đã được gắn và thay vào tệp; nút đang chạy tự dùng trong vài giây, hệ thống thông tin đọc lại khi \
         khởi động.",
    );
}
