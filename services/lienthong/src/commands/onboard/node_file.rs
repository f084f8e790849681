//! The new node's configuration, written once and then the administrator's own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lienthong_certs::files;
use lienthong_node::{
    NodeConfig,
    config::{
        BackendConfig, BackendEndpointConfig, LimitsConfig, LocalListenerConfig, RenewalConfig,
        TlsBackendConfig,
    },
};
use lienthong_proto::descriptors;
use lienthong_telemetry::TelemetryConfig;
use lienthong_trust::TrustConfig;
use serde_json::json;

use super::Steps;
use crate::commands::enroll::card::Card;

/// Disk that a node of a development mesh reserves for its journal, bytes.
const DEVELOPMENT_BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A configuration that is good.
pub struct Written {
    /// Where it lies.
    pub path: PathBuf,
    /// Whether a backend was added to one that was there: a node that runs does not know of it.
    pub is_news: bool,
}

/// What the configuration is made from.
pub struct NodeFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Resource name of the node.
    pub name: String,
    /// Folder of the node's state.
    pub data_dir: PathBuf,
    /// Its certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The mesh's card.
    pub card: Card,
    /// The card's trust file, pinned.
    pub trust: TrustConfig,
    /// For other nodes.
    pub listen: SocketAddr,
    /// For own systems.
    pub local_listen: SocketAddr,
    /// For the administrator.
    pub admin_listen: SocketAddr,
    /// What is published, if anything.
    pub publication: Option<Publication>,
}

/// A contract and the backend that serves it.
pub struct Publication(BackendConfig);

impl Publication {
    /// Reads the contract; without `services`, those of its files that others do not import are served.
    pub fn new(contract: &Path, backend: &str, name: Option<&str>, services: &[String]) -> Result<Self> {
        let bytes = files::read(contract, descriptors::DESCRIPTOR_SET_BYTES_MAX as u64)?;
        let pool =
            descriptors::pool(&bytes).with_context(|| format!("{} is no contract", contract.display()))?;
        let mut services = services.to_vec();
        if services.is_empty() {
            services = pool.services().map(|service| service.full_name().to_owned()).collect();
        }
        anyhow::ensure!(!services.is_empty(), "{} declares no service", contract.display());
        let endpoint = match (backend.strip_prefix("unix:"), name) {
            (Some(path), _) => BackendEndpointConfig::Unix(PathBuf::from(path)),
            (None, Some(name)) => BackendEndpointConfig::Tls(TlsBackendConfig {
                address: backend.to_owned(),
                server_name: name.to_owned(),
            }),
            (None, None) => {
                anyhow::bail!("a backend at host:port needs --backend-name, as in its certificate")
            }
        };
        let contract = std::path::absolute(contract)?;
        Ok(Self(BackendConfig { services, endpoint, contract }))
    }
}

impl NodeFile {
    /// Writes the file where it is missing, adds what is to be published, and has the node itself check it.
    pub fn write(mut self, steps: &mut Steps) -> Result<Written> {
        let path = self.path.clone();
        let was_there = path.exists();
        let mut config: NodeConfig =
            if was_there { lienthong_telemetry::load(&path)? } else { self.config() };
        anyhow::ensure!(
            config.name == self.name,
            "{} is the configuration of {}, not of {}; use another --dir",
            path.display(),
            config.name,
            self.name
        );
        let backend = self.publication.take().map(|Publication(backend)| backend);
        let added: Vec<_> = backend.into_iter().filter(|new| !config.backends.contains(new)).collect();
        let is_news = was_there && !added.is_empty();
        if !was_there || is_news {
            config.backends.extend(added);
            files::replace(&path, toml::to_string_pretty(&config)?.as_bytes())?;
        }
        lienthong_node::check(&config).with_context(|| format!("{} is not good", path.display()))?;
        let state = match (was_there, is_news) {
            (false, _) => "written; it is yours to change",
            (true, true) => "a backend was added",
            (true, false) => "it was there",
        };
        steps.done(
            "config",
            "the node's configuration is good",
            &format!("{state}: {}", path.display()),
            &json!({ "config": path }),
        );
        Ok(Written { path, is_news })
    }

    fn config(&self) -> NodeConfig {
        let mut limits = LimitsConfig::default();
        if self.card.development {
            limits.journal_backlog_bytes_max = DEVELOPMENT_BACKLOG_BYTES_MAX;
        }
        NodeConfig {
            name: self.name.clone(),
            mesh: self.card.mesh.clone(),
            data_dir: self.data_dir.clone(),
            development: self.card.development,
            certificate: self.certificate.clone(),
            key: self.key.clone().into(),
            renewal: RenewalConfig {
                folder: Some(self.path.with_file_name("renewal")),
                ..RenewalConfig::default()
            },
            trust: self.trust.clone(),
            mesh_listener: self.listen,
            local_listener: LocalListenerConfig::Tls(self.local_listen),
            http_listener: None,
            broker: self.card.broker.clone(),
            backends: Vec::new(),
            telemetry: TelemetryConfig {
                admin_listen: Some(self.admin_listen),
                ..TelemetryConfig::default()
            },
            limits,
            ..NodeConfig::sample()
        }
    }
}

/// How the node is run, for people to paste.
pub fn unit(program: &Path, config: &Path) -> String {
    let (program, config) = (program.display(), config.display());
    format!(
        "{program} node run --config {config}\n\n\
         or as a service, /etc/systemd/system/lienthong-node.service:\n\
         [Unit]\nDescription=Lien Thong node\nAfter=network-online.target\n\n\
         [Service]\nExecStart={program} node run --config {config}\nExecReload=kill -HUP $MAINPID\nRestart=on-failure\n\n\
         [Install]\nWantedBy=multi-user.target"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contract_names_the_services_that_it_brings() {
        let folder = tempfile::tempdir().unwrap();
        let contract = folder.path().join("dancu.binpb");
        std::fs::write(&contract, descriptors::DANCU).unwrap();
        let read = |backend: &str, name: Option<&str>| Publication::new(&contract, backend, name, &[]);
        let Publication(backend) = read("10.0.0.1:7500", Some("dancu.test")).unwrap();
        assert_eq!(backend.services, ["vn.dancu.v1.CitizenService"]);
        assert!(
            matches!(backend.endpoint, BackendEndpointConfig::Tls(tls) if tls.server_name == "dancu.test")
        );
        let Publication(backend) = read("unix:/run/dancu.sock", None).unwrap();
        assert_eq!(backend.endpoint, BackendEndpointConfig::Unix("/run/dancu.sock".into()));
        assert!(read("10.0.0.1:7500", None).is_err(), "its name must be known");
        std::fs::write(&contract, b"rubbish").unwrap();
        assert!(read("unix:/run/dancu.sock", None).is_err());
    }
}
