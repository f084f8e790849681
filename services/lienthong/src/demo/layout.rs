//! What the demo needs on disk before its first process starts: a development PKI, keys, catalog, registry, and
//! a configuration a role. Everything lies in one folder.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lienthong_audit::{log::LogKey, policy::Policy};
use lienthong_broker::config::{BrokerConfig, LimitsConfig, TrustConfig};
use lienthong_certs::{
    MeshKey,
    judge::Branch,
    pki::{DevPki, Holder, Request},
};
use lienthong_node::config::{
    BackendConfig, BackendEndpointConfig, BrokerEndpointConfig, LimitsConfig as NodeLimits,
    LocalListenerConfig, NodeConfig, TlsBackendConfig, TrustConfig as NodeTrustConfig,
};
use lienthong_samples::{
    backend::{BackendKind, descriptor_set},
    catalog::CATALOG,
};
use lienthong_telemetry::{TelemetryConfig, settings::LogFormat};
use serde::Serialize;

use crate::{client::ClientProfile, commands::backend::BackendFile};

/// Id of the demo's mesh.
pub const MESH: &str = "demo";

/// Origin of the demo's log.
pub const LOG_ORIGIN: &str = "log.demo.invalid/lienthong";

/// The agency that operates the mesh.
const OPERATOR: (&str, &str) = ("G01.90", "Trung tâm Dữ liệu quốc gia");

/// Nodes of the demo: agency code, name.
pub const NODES: [(&str, &str); 5] = [
    ("G01", "Bộ Công an"),
    ("G12", "Bộ Tài chính"),
    ("G09", "Bộ Nội vụ"),
    ("G12.90", "Cục Thuế"),
    ("H26.90", "Trung tâm Phục vụ hành chính công TP Hà Nội"),
];

/// Information systems: agency code, system id.
const SYSTEMS: [(&str, &str); 2] = [("H26.90", "mot-cua"), ("G12.90", "thue")];

/// The enterprise that must be refused: code, name.
pub const OUTSIDER: (&str, &str) = ("9900000099", "Công ty CP Ví Dụ");

/// The demo on disk.
pub struct Layout {
    /// The folder.
    pub dir: PathBuf,
    /// Configuration of the broker, and where it shows that it is ready.
    pub broker: (PathBuf, SocketAddr),
    /// Folder of the broker's log.
    pub log: PathBuf,
    /// Policy that believes the demo's log key.
    pub policy: PathBuf,
    /// Configurations of the backends, and where they listen.
    pub backends: Vec<(BackendKind, PathBuf, SocketAddr)>,
    /// Configurations of the nodes, and where they show that they are ready.
    pub nodes: Vec<(&'static str, PathBuf, SocketAddr)>,
    /// Client profiles by name: `H26.90-mot-cua`, `G12.90-thue`, `outsider`.
    pub profiles: BTreeMap<String, PathBuf>,
    /// Folder of the processes' logs.
    pub logs: PathBuf,
}

/// Ports and certificates of one node.
struct NodePlan {
    code: &'static str,
    mesh: SocketAddr,
    local: SocketAddr,
    admin: SocketAddr,
    server_name: String,
    certificate: PathBuf,
    key: PathBuf,
}

/// The public keys that nodes pin.
struct PublicKeys {
    bundle: String,
    log: String,
}

/// The registry file, as the broker reads it.
#[derive(Default, Serialize)]
struct RegistryFile {
    nodes: Vec<RegistryNode>,
    systems: Vec<RegistrySystem>,
}

#[derive(Serialize)]
struct RegistryNode {
    agency: String,
    id: String,
    address: String,
    server_name: String,
    certificates: Vec<CertificateFile>,
}

#[derive(Serialize)]
struct RegistrySystem {
    agency: String,
    id: String,
    certificates: Vec<CertificateFile>,
}

#[derive(Serialize)]
struct CertificateFile {
    file: PathBuf,
}

impl Layout {
    /// Makes everything in a new or empty folder.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
        anyhow::ensure!(
            fs::read_dir(dir)?.next().is_none(),
            "the folder {} is not empty; the demo begins in a new one",
            dir.display()
        );
        let dir = dir.canonicalize()?;
        let pki = DevPki::create(&dir.join("pki"), MESH)?;
        let mut ports = Ports::reserve(3 + NODES.len() * 3 + BackendKind::ALL.len())?;
        let trust = trust_of(&pki);
        for folder in ["keys", "config", "contracts", "clients", "logs"] {
            fs::create_dir(dir.join(folder))?;
        }
        let builder = Builder { dir: &dir, pki: &pki, trust: &trust };

        let bundle_key = MeshKey::generate()?;
        bundle_key.save(&dir.join("keys/bundle.key"))?;
        let log_key = LogKey::generate(LOG_ORIGIN)?;
        lienthong_certs::files::create_private(
            &dir.join("keys/log.key"),
            log_key.signing_key().to_skey()?.as_bytes(),
        )?;
        let policy = dir.join("log-policy.txt");
        fs::write(&policy, Policy::for_log(log_key.verifier().clone()).to_file())?;

        let mut registry = RegistryFile::default();
        let broker_address = ports.next()?;
        let plans = NODES
            .iter()
            .map(|(code, name)| builder.plan_node(code, name, &mut ports))
            .collect::<Result<Vec<_>>>()?;
        registry.nodes.extend(plans.iter().map(NodePlan::registered));
        let outsider_address = ports.next()?;
        registry.nodes.push(builder.outsider(outsider_address)?);
        let broker = builder.broker(broker_address, ports.next()?)?;

        let mut profiles = BTreeMap::new();
        for (agency, system) in SYSTEMS {
            let (profile, registered) = builder.system(agency, system, &plans)?;
            profiles.insert(format!("{agency}-{system}"), profile);
            registry.systems.push(registered);
        }
        profiles.insert("outsider".to_owned(), builder.outsider_profile(&plans)?);

        let mut backends = Vec::new();
        for kind in BackendKind::ALL {
            backends.push(builder.backend(kind, ports.next()?, &mut registry)?);
        }
        let keys =
            PublicKeys { bundle: hex::encode(bundle_key.public_key()), log: log_key.verifier().to_string() };
        let nodes = plans
            .iter()
            .map(|plan| builder.node(plan, broker_address, &keys, &backends))
            .collect::<Result<Vec<_>>>()?;

        // JSON is YAML: one notation less to write.
        fs::write(dir.join("registry.yaml"), serde_json::to_string_pretty(&registry)?)?;
        fs::create_dir(dir.join("catalog"))?;
        for (name, text) in CATALOG {
            fs::write(dir.join("catalog").join(name), text)?;
        }
        Ok(Self {
            broker,
            log: dir.join("broker/log"),
            policy,
            backends,
            nodes,
            profiles,
            logs: dir.join("logs"),
            dir,
        })
    }
}

/// Writes the parts of one layout.
struct Builder<'a> {
    dir: &'a Path,
    pki: &'a DevPki,
    trust: &'a TrustConfig,
}

impl Builder<'_> {
    fn plan_node(&self, code: &'static str, name: &str, ports: &mut Ports) -> Result<NodePlan> {
        let server_name = format!("n1.{}.demo.invalid", code.to_lowercase().replace('.', "-"));
        let issued = self.pki.issue_node(code, name, "n1", &[&server_name])?;
        Ok(NodePlan {
            code,
            mesh: ports.next()?,
            local: ports.next()?,
            admin: ports.next()?,
            server_name,
            certificate: issued.certificate,
            key: issued.key,
        })
    }

    fn outsider(&self, address: SocketAddr) -> Result<RegistryNode> {
        let (code, name) = OUTSIDER;
        let server_name = format!("{code}.demo.invalid");
        let issued = self.pki.issue_public(code, name, &[&server_name])?;
        Ok(RegistryNode {
            agency: code.to_owned(),
            id: "n1".to_owned(),
            address: address.to_string(),
            server_name,
            certificates: vec![CertificateFile { file: issued.certificate }],
        })
    }

    fn outsider_profile(&self, plans: &[NodePlan]) -> Result<PathBuf> {
        let provider = plans.first().context("the demo has no node")?;
        let issued = self.pki.issued(OUTSIDER.0)?.context("the outsider has no certificate")?;
        let profile = ClientProfile {
            node: provider.mesh.to_string(),
            server_name: provider.server_name.clone(),
            certificate: issued.certificate,
            key: issued.key,
            trust: self.trust.state.clone(),
            development: true,
        };
        self.write("clients/outsider.toml", &profile)
    }

    fn broker(&self, listen: SocketAddr, admin: SocketAddr) -> Result<(PathBuf, SocketAddr)> {
        let (code, name) = OPERATOR;
        let issued = self.pki.issue_node(code, name, "broker", &[BROKER_NAME])?;
        let config = BrokerConfig {
            mesh: MESH.to_owned(),
            data_dir: self.dir.join("broker"),
            listen,
            certificate: issued.certificate,
            key: issued.key,
            trust: self.trust.clone(),
            catalog_dir: self.dir.join("catalog"),
            registry_file: self.dir.join("registry.yaml"),
            operators: Vec::new(),
            bundle_key: self.dir.join("keys/bundle.key"),
            bundle_key_name: BUNDLE_KEY_NAME.to_owned(),
            log_key: self.dir.join("keys/log.key"),
            log_origin: LOG_ORIGIN.to_owned(),
            development: true,
            limits: LimitsConfig::default(),
            telemetry: telemetry(admin),
        };
        Ok((self.write("config/broker.toml", &config)?, admin))
    }

    fn system(&self, agency: &str, system: &str, plans: &[NodePlan]) -> Result<(PathBuf, RegistrySystem)> {
        let plan =
            plans.iter().find(|plan| plan.code == agency).context("the system's agency has no node")?;
        let name = NODES.iter().find(|(code, _)| *code == agency).map_or(agency, |(_, name)| name);
        let issued = self.pki.issue_system(agency, name, system)?;
        let profile = ClientProfile {
            node: plan.local.to_string(),
            server_name: plan.server_name.clone(),
            certificate: issued.certificate.clone(),
            key: issued.key,
            trust: self.trust.state.clone(),
            development: true,
        };
        let registered = RegistrySystem {
            agency: agency.to_owned(),
            id: system.to_owned(),
            certificates: vec![CertificateFile { file: issued.certificate }],
        };
        Ok((self.write(&format!("clients/{agency}-{system}.toml"), &profile)?, registered))
    }

    fn backend(
        &self,
        kind: BackendKind,
        listen: SocketAddr,
        registry: &mut RegistryFile,
    ) -> Result<(BackendKind, PathBuf, SocketAddr)> {
        let agency = kind.agency_code();
        let name = NODES.iter().find(|(code, _)| *code == agency).map_or(agency, |(_, name)| name);
        let holder = Holder::System {
            agency_code: agency.to_owned(),
            agency_name: (*name).to_owned(),
            system_id: system_of(kind).to_owned(),
        };
        let issued = self.pki.issue(&Request::new(holder).with_dns_names(&[&backend_name(kind)]))?;
        registry.systems.push(RegistrySystem {
            agency: agency.to_owned(),
            id: system_of(kind).to_owned(),
            certificates: vec![CertificateFile { file: issued.certificate.clone() }],
        });
        fs::write(self.contract(kind), descriptor_set(kind))?;
        let file = BackendFile {
            listen,
            certificate: issued.certificate,
            key: issued.key,
            trust: self.trust.state.clone(),
            dvhc_csv: None,
        };
        Ok((kind, self.write(&format!("config/backend-{}.toml", kind.name()), &file)?, listen))
    }

    fn node(
        &self,
        plan: &NodePlan,
        broker: SocketAddr,
        keys: &PublicKeys,
        backends: &[(BackendKind, PathBuf, SocketAddr)],
    ) -> Result<(&'static str, PathBuf, SocketAddr)> {
        let own = backends.iter().filter(|(kind, _, _)| kind.agency_code() == plan.code);
        let config = NodeConfig {
            name: format!("agencies/{}/nodes/n1", plan.code),
            data_dir: self.dir.join("nodes").join(plan.code),
            certificate: plan.certificate.clone(),
            key: plan.key.clone(),
            development: true,
            mesh: MESH.to_owned(),
            trust: NodeTrustConfig {
                state: self.trust.state.clone(),
                party: self.trust.party.clone(),
                public: self.trust.public.clone(),
                revocation_lists: self.trust.revocation_lists.clone(),
            },
            mesh_listener: plan.mesh,
            local_listener: LocalListenerConfig::Tls(plan.local),
            broker: BrokerEndpointConfig {
                address: broker.to_string(),
                server_name: BROKER_NAME.to_owned(),
                bundle_keys: BTreeMap::from([(BUNDLE_KEY_NAME.to_owned(), keys.bundle.clone())]),
                log_key: Some(keys.log.clone()),
            },
            backends: own
                .map(|(kind, _, address)| BackendConfig {
                    services: vec![kind.service_name().to_owned()],
                    endpoint: BackendEndpointConfig::Tls(TlsBackendConfig {
                        address: address.to_string(),
                        server_name: backend_name(*kind),
                    }),
                    contract: self.contract(*kind),
                })
                .collect(),
            telemetry: telemetry(plan.admin),
            limits: NodeLimits {
                journal_backlog_bytes_max: JOURNAL_BACKLOG_BYTES_MAX,
                ..NodeLimits::default()
            },
            ..NodeConfig::sample()
        };
        Ok((plan.code, self.write(&format!("config/node-{}.toml", plan.code), &config)?, plan.admin))
    }

    fn contract(&self, kind: BackendKind) -> PathBuf {
        self.dir.join(format!("contracts/{}.binpb", kind.name()))
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<PathBuf> {
        let path = self.dir.join(name);
        fs::write(&path, toml::to_string_pretty(value)?)?;
        Ok(path)
    }
}

impl NodePlan {
    fn registered(&self) -> RegistryNode {
        RegistryNode {
            agency: self.code.to_owned(),
            id: "n1".to_owned(),
            address: self.mesh.to_string(),
            server_name: self.server_name.clone(),
            certificates: vec![CertificateFile { file: self.certificate.clone() }],
        }
    }
}

/// Disk that each node of the demo reserves for its journal.
const JOURNAL_BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

const BROKER_NAME: &str = "broker.demo.invalid";
const BUNDLE_KEY_NAME: &str = "bundle-1";

fn backend_name(kind: BackendKind) -> String {
    format!("{}.backend.demo.invalid", kind.name())
}

/// The system, in the catalog, that a backend is.
fn system_of(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Dancu => "dan-cu",
        BackendKind::Dkdn => "dkdn",
        BackendKind::Danhmuc => "danh-muc",
    }
}

fn trust_of(pki: &DevPki) -> TrustConfig {
    let mut trust = TrustConfig { revocation_lists: pki.crl_files(), ..TrustConfig::default() };
    for (branch, path) in pki.trust_files() {
        match branch {
            Branch::State => trust.state.push(path),
            Branch::Party => trust.party.push(path),
            Branch::Public => trust.public.push(path),
        }
    }
    trust
}

fn telemetry(admin: SocketAddr) -> TelemetryConfig {
    TelemetryConfig { admin_listen: Some(admin), log_format: LogFormat::Text, ..TelemetryConfig::default() }
}

/// Ports on loopback that were free a moment ago. All are held until the last was found, so that none is
/// given twice.
struct Ports(Vec<SocketAddr>);

impl Ports {
    fn reserve(count: usize) -> Result<Self> {
        let held = (0..count)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<std::io::Result<Vec<_>>>()
            .context("no free port on loopback")?;
        Ok(Self(held.iter().map(TcpListener::local_addr).collect::<std::io::Result<_>>()?))
    }

    fn next(&mut self) -> Result<SocketAddr> {
        self.0.pop().context("the demo needs more ports than it reserved")
    }
}
