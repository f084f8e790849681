//! `lienthong backend`: a sample agency's system, or a synthetic one, as a process of its own.

use std::{fs, net::SocketAddr, path::PathBuf, process::ExitCode, str::FromStr};

use anyhow::{Context, Result};
use lienthong_certs::{
    Credentials,
    judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors},
};
use lienthong_samples::backend::{Backend, BackendConfig, BackendKind, Listen};
use lienthong_synthetic::backend::SyntheticBackend;
use lienthong_telemetry::{Telemetry, TelemetryConfig, health::Identity};
use lienthong_transport::{FileWatch, SharedMaterial, TlsMaterial};
use serde::{Deserialize, Serialize};

use crate::{cli::BackendArgs, commands::stop_signal};

/// Configuration of a sample backend.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendFile {
    /// Code of the agency that runs it.
    pub agency: String,
    /// Where its node calls, over mutual TLS.
    pub listen: SocketAddr,
    /// The system's certificate, PEM, leaf first.
    pub certificate: PathBuf,
    /// Its private key, PEM, mode 0600.
    pub key: PathBuf,
    /// Authorities of state agencies, PEM.
    pub trust: Vec<PathBuf>,
    /// The real list of administrative units, CSV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dvhc_csv: Option<PathBuf>,
    /// What a synthetic backend serves: a serialized `FileDescriptorSet` with its imports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<PathBuf>,
    /// Log, traces.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

/// The name of the backend that answers any contract with synthetic data.
pub const SYNTHETIC: &str = "synthetic";

/// Serves until stopped.
pub async fn run(args: BackendArgs) -> Result<ExitCode> {
    let stop = stop_signal(args.with_parent)?;
    let file: BackendFile = lienthong_telemetry::load(&args.config)?;
    let mesh = if args.kind == SYNTHETIC { lienthong_node::sandbox::MESH } else { "demo" };
    let identity = Identity { role: "backend".into(), mesh: mesh.into(), development: true };
    let telemetry = Telemetry::init(&file.telemetry, &identity)?;
    let identity = OwnIdentity { certificate: file.certificate, key: file.key, trust: file.trust };
    let material = SharedMaterial::new(identity.read()?);
    tokio::spawn(identity.follow(material.clone()));
    if args.kind == SYNTHETIC {
        let path = file.contract.context("a synthetic backend needs the key contract")?;
        let contract =
            fs::read(&path).with_context(|| format!("the contract {} cannot be read", path.display()))?;
        let backend = SyntheticBackend::open(&file.agency, &contract, file.listen, material)?;
        backend.serve(stop.cancelled()).await;
    } else {
        let listen = Listen::Tcp(file.listen);
        let config = BackendConfig { listen, tls: Some(material), dvhc_csv: file.dvhc_csv };
        let kind = BackendKind::from_str(&args.kind)?;
        Backend::open(kind, config)?.serve(stop.cancelled()).await;
    }
    telemetry.shutdown().await;
    Ok(ExitCode::SUCCESS)
}

/// A backend's certificate, key and authorities on disk.
struct OwnIdentity {
    certificate: PathBuf,
    key: PathBuf,
    trust: Vec<PathBuf>,
}

impl OwnIdentity {
    fn read(&self) -> Result<TlsMaterial> {
        let files: Vec<_> = self.trust.iter().map(|path| (Branch::State, path.clone())).collect();
        let judge =
            Judge::new(TrustAnchors::load(&files)?, RevocationLists::empty(), Profile::development())?;
        Ok(TlsMaterial::new(&Credentials::load(&self.certificate, &self.key)?, judge)?)
    }

    /// Takes over what changes on disk, for every new connection; what cannot be used changes nothing.
    async fn follow(self, material: SharedMaterial) {
        let files = [self.certificate.clone(), self.key.clone()].into_iter().chain(self.trust.clone());
        let mut watch = FileWatch::new(files);
        loop {
            watch.changed().await;
            match self.read() {
                Ok(read) => {
                    material.replace(read);
                    tracing::info!("certificate, key and authorities on disk are those in use");
                }
                Err(error) => {
                    tracing::error!(error = format!("{error:#}"), "the files on disk cannot be used yet");
                }
            }
        }
    }
}
