//! The demo's gateway: the public pages, the console, and the console's door for trials.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Result;
use lienthong_certs::pki::Issued;
use lienthong_gateway::{
    GatewayConfig,
    console::{BrokerAddress, ConsoleConfig, TrialConfig},
};
use lienthong_trust::TrustConfig;

use crate::demo::{
    layout::{telemetry, write},
    plan::Plan,
    ports::Ports,
};

/// Ports that a gateway takes.
pub const GATEWAY_PORTS: usize = 4;

/// One gateway on disk.
pub struct GatewayLayout {
    /// Its configuration.
    pub config: PathBuf,
    /// Where it shows that it is ready.
    pub admin: SocketAddr,
    /// Where the public pages are.
    pub public: SocketAddr,
    /// Where the console asks for certificates.
    pub console: SocketAddr,
    /// Where visitors choose whom to be.
    pub trial: SocketAddr,
}

/// What a gateway is laid out from.
pub struct Ground<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Folder of the mesh.
    pub dir: &'a Path,
    /// Whom roles trust.
    pub trust: &'a TrustConfig,
    /// The console's certificate.
    pub certificate: &'a Issued,
    /// Certificates of people.
    pub people: Vec<PathBuf>,
    /// Address and server name of the broker.
    pub broker: (SocketAddr, String),
    /// Public key of the log.
    pub log_key: String,
}

impl GatewayLayout {
    /// Writes the gateway's configuration.
    pub fn of(ground: Ground<'_>, ports: &mut Ports) -> Result<Self> {
        let Ground { plan, dir, trust, certificate, people, broker: (broker, server_name), log_key } = ground;
        let (admin, public, console, trial) = (ports.take()?, ports.take()?, ports.take()?, ports.take()?);
        let config = GatewayConfig {
            mesh: plan.mesh.clone(),
            listen: public,
            log_dir: dir.join("broker/log"),
            log_verifier_key: Some(log_key),
            development: true,
            console: Some(ConsoleConfig {
                listen: console,
                certificate: certificate.certificate.clone(),
                key: certificate.key.clone().into(),
                trust: trust.clone(),
                data_dir: dir.join("console"),
                broker: BrokerAddress { address: broker.to_string(), server_name },
                trial: Some(TrialConfig { listen: trial, people }),
            }),
            telemetry: telemetry(admin),
        };
        let config = write(dir, "config/gateway.toml", &config)?;
        Ok(Self { config, admin, public, console, trial })
    }
}
