//! What a mesh on this machine needs on disk before its first process starts: a development PKI, keys, catalog,
//! registry, and a configuration a role. Everything lies in one folder. What is laid out, a
//! [`Plan`] says: the demo's, or a sandbox's.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lienthong_audit::{
    log::LogKey,
    note::{KeyKind, SigningKey},
    policy::Policy,
};
use lienthong_broker::config::{BrokerConfig, LimitsConfig, TrustConfig, WitnessesConfig};
use lienthong_certs::{
    MeshKey,
    judge::Branch,
    pki::{DevPki, Holder, Request},
};
use lienthong_node::config::{
    BackendConfig, BackendEndpointConfig, BrokerEndpointConfig, LimitsConfig as NodeLimits,
    LocalListenerConfig, NodeConfig, TlsBackendConfig, TrustConfig as NodeTrustConfig,
};
use lienthong_telemetry::{TelemetryConfig, settings::LogFormat};
use lienthong_witness::config::{LimitsConfig as WitnessLimits, WitnessConfig};
use serde::Serialize;

use crate::{
    client::ClientProfile,
    commands::backend::BackendFile,
    demo::{
        plan::{BackendPlan, Plan},
        ports::Ports,
    },
};

/// A mesh on disk.
pub struct Layout {
    /// The folder.
    pub dir: PathBuf,
    /// Configuration of the broker, and where it shows that it is ready.
    pub broker: (PathBuf, SocketAddr),
    /// Folder of the broker's log.
    pub log: PathBuf,
    /// Policy of the log's readers: its key, its witnesses, their quorum.
    pub policy: PathBuf,
    /// Configurations of the witnesses.
    pub witnesses: Vec<WitnessLayout>,
    /// Configurations of the backends, and where they listen.
    pub backends: Vec<BackendLayout>,
    /// Configurations of the nodes, and where they show that they are ready. An agency's first node is named by the
    /// agency's code, a second one by code and id: `G09-n2`.
    pub nodes: Vec<(String, PathBuf, SocketAddr)>,
    /// Client profiles by name: `<agency>-<system>`, such as `H26.90-mot-cua`; `outsider`; of the broker's two operators,
    /// `operator-1` and `operator-2`.
    pub profiles: BTreeMap<String, PathBuf>,
    /// Folder of the processes' logs.
    pub logs: PathBuf,
    /// Its ports are nobody else's while this lives.
    _ports: Ports,
}

/// One witness on disk.
pub struct WitnessLayout {
    /// Its id.
    pub id: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it shows that it is ready.
    pub admin: SocketAddr,
}

/// One backend on disk.
pub struct BackendLayout {
    /// Which, as `lienthong backend` takes it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// gRPC services that it serves.
    pub services: Vec<String>,
    /// Their contract.
    pub contract: PathBuf,
}

/// Ports and certificates of one node.
struct NodePlan {
    code: String,
    id: String,
    name: String,
    mesh: SocketAddr,
    local: SocketAddr,
    admin: SocketAddr,
    server_name: String,
    certificate: PathBuf,
    key: PathBuf,
}

/// What nodes pin.
struct Pinned {
    bundle: String,
    policy: PathBuf,
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
    /// Lays the demo out in a new or empty folder.
    pub fn create(dir: &Path) -> Result<Self> {
        Self::of(&Plan::demo(), dir)
    }

    /// Makes everything that a plan says in a new or empty folder.
    pub fn of(plan: &Plan, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
        anyhow::ensure!(
            fs::read_dir(dir)?.next().is_none(),
            "the folder {} is not empty; name a new one",
            dir.display()
        );
        let dir = dir.canonicalize()?;
        let pki = DevPki::create(&dir.join("pki"), &plan.mesh)?;
        let mut ports =
            Ports::reserve(3 + plan.nodes.len() * 3 + plan.backends.len() + plan.witnesses.len() * 2)?;
        let trust = trust_of(&pki);
        for folder in ["keys", "config", "contracts", "clients", "logs"] {
            fs::create_dir(dir.join(folder))?;
        }
        let builder = Builder { plan, dir: &dir, pki: &pki, trust: &trust };

        let bundle_key = MeshKey::generate()?;
        bundle_key.save(&dir.join("keys/bundle.key"))?;
        let log_key = LogKey::generate(&plan.log_origin)?;
        lienthong_certs::files::create_private(
            &dir.join("keys/log.key"),
            log_key.signing_key().to_skey()?.as_bytes(),
        )?;
        let (witnesses, policy) = builder.witnesses(&log_key, &mut ports)?;

        let mut registry = RegistryFile::default();
        let broker_address = ports.take()?;
        let nodes = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(place, _)| builder.plan_node(place, &mut ports))
            .collect::<Result<Vec<_>>>()?;
        registry.nodes.extend(nodes.iter().map(NodePlan::registered));
        let mut profiles = BTreeMap::new();
        let operators = builder.operators(broker_address, &mut profiles)?;
        let broker = builder.broker(broker_address, ports.take()?, operators, policy.clone())?;

        for (agency, system) in &plan.systems {
            let (profile, registered) = builder.system(agency, system, &nodes)?;
            profiles.insert(format!("{agency}-{system}"), profile);
            registry.systems.push(registered);
        }
        if let Some((code, name)) = &plan.outsider {
            registry.nodes.push(builder.outsider(code, name, ports.take()?)?);
            profiles.insert("outsider".to_owned(), builder.outsider_profile(code, &nodes)?);
        }

        let mut backends = Vec::new();
        for backend in &plan.backends {
            backends.push(builder.backend(backend, ports.take()?, &mut registry)?);
        }
        let pinned = Pinned { bundle: hex::encode(bundle_key.public_key()), policy: policy.clone() };
        let nodes = nodes
            .iter()
            .map(|node| builder.node(node, broker_address, &pinned, &backends))
            .collect::<Result<Vec<_>>>()?;

        // JSON is YAML: one notation less to write.
        fs::write(dir.join("registry.yaml"), serde_json::to_string_pretty(&registry)?)?;
        fs::create_dir(dir.join("catalog"))?;
        for (name, text) in &plan.catalog {
            fs::write(dir.join("catalog").join(name), text)?;
        }
        Ok(Self {
            broker,
            log: dir.join("broker/log"),
            policy,
            witnesses,
            backends,
            nodes,
            profiles,
            logs: dir.join("logs"),
            _ports: ports,
            dir,
        })
    }
}

impl Layout {
    /// The contract of a gRPC service.
    pub fn contract_of(&self, service: &str) -> Option<&PathBuf> {
        let backend = self.backends.iter().find(|backend| backend.services.iter().any(|own| own == service));
        backend.map(|backend| &backend.contract)
    }
}

/// Writes the parts of one layout.
struct Builder<'a> {
    plan: &'a Plan,
    dir: &'a Path,
    pki: &'a DevPki,
    trust: &'a TrustConfig,
}

impl Builder<'_> {
    fn plan_node(&self, place: usize, ports: &mut Ports) -> Result<NodePlan> {
        let (code, agency_name) = &self.plan.nodes[place];
        let before = self.plan.nodes[..place].iter().filter(|(other, _)| other == code).count();
        let id = format!("n{}", before + 1);
        let server_name = self.host(&format!("{id}.{}", code.to_lowercase().replace('.', "-")));
        let issued = self.pki.issue_node(code, agency_name, &id, &[&server_name])?;
        Ok(NodePlan {
            code: code.clone(),
            name: if before == 0 { code.clone() } else { format!("{code}-{id}") },
            id,
            mesh: ports.take()?,
            local: ports.take()?,
            admin: ports.take()?,
            server_name,
            certificate: issued.certificate,
            key: issued.key,
        })
    }

    fn outsider(&self, code: &str, name: &str, address: SocketAddr) -> Result<RegistryNode> {
        let server_name = self.host(code);
        let issued = self.pki.issue_public(code, name, &[&server_name])?;
        Ok(RegistryNode {
            agency: code.to_owned(),
            id: "n1".to_owned(),
            address: address.to_string(),
            server_name,
            certificates: vec![CertificateFile { file: issued.certificate }],
        })
    }

    fn outsider_profile(&self, code: &str, nodes: &[NodePlan]) -> Result<PathBuf> {
        let provider = nodes.first().context("the mesh has no node")?;
        let issued = self.pki.issued(code)?.context("the outsider has no certificate")?;
        let profile = ClientProfile {
            node: provider.mesh.to_string(),
            server_name: provider.server_name.clone(),
            certificate: issued.certificate,
            key: issued.key.into(),
            trust: self.trust.state.clone(),
            development: true,
        };
        self.write("clients/outsider.toml", &profile)
    }

    /// Witnesses with keys of their own, and the policy of everybody who reads the log: more than half must cosign.
    fn witnesses(&self, log_key: &LogKey, ports: &mut Ports) -> Result<(Vec<WitnessLayout>, PathBuf)> {
        let log = log_key.verifier();
        let (mut laid_out, mut policy) = (Vec::<WitnessLayout>::new(), format!("log {log}\n"));
        for (id, _) in &self.plan.witnesses {
            let (listen, admin) = (ports.take()?, ports.take()?);
            let key = SigningKey::generate(&self.host(id), KeyKind::CosignatureV1)?;
            let key_file = self.dir.join(format!("keys/witness-{id}.key"));
            lienthong_certs::files::create_private(&key_file, key.to_skey()?.as_bytes())?;
            writeln!(policy, "witness {id} {} http://{listen}", key.verifier())?;
            let config = WitnessConfig {
                mesh: self.plan.mesh.clone(),
                listen,
                data_dir: self.dir.join("witnesses").join(id),
                key: key_file,
                logs: vec![log.to_string()],
                development: true,
                limits: WitnessLimits::default(),
                telemetry: telemetry(admin),
            };
            let file = self.write(&format!("config/witness-{id}.toml"), &config)?;
            laid_out.push(WitnessLayout { id: id.clone(), config: file, admin });
        }
        if laid_out.is_empty() {
            policy.push_str("quorum none\n");
        } else {
            let ids: Vec<&str> = laid_out.iter().map(|witness| witness.id.as_str()).collect();
            writeln!(policy, "group {QUORUM} {} {}", ids.len() / 2 + 1, ids.join(" "))?;
            writeln!(policy, "quorum {QUORUM}")?;
        }
        let path = self.dir.join("log-policy.txt");
        fs::write(&path, Policy::parse(policy.as_bytes())?.to_file())?;
        Ok((laid_out, path))
    }

    /// The operator's officers, each with a profile to speak to the broker; answers their certificates.
    fn operators(
        &self,
        broker: SocketAddr,
        profiles: &mut BTreeMap<String, PathBuf>,
    ) -> Result<Vec<PathBuf>> {
        let mut certificates = Vec::new();
        for (profile, name) in OPERATORS {
            let issued = self.pki.issue_person(&self.plan.operator.0, name, profile)?;
            let client = ClientProfile {
                node: broker.to_string(),
                server_name: self.host("broker"),
                certificate: issued.certificate.clone(),
                key: issued.key.into(),
                trust: self.trust.state.clone(),
                development: true,
            };
            let path = self.write(&format!("clients/{profile}.toml"), &client)?;
            profiles.insert(profile.to_owned(), path);
            certificates.push(issued.certificate);
        }
        Ok(certificates)
    }

    fn broker(
        &self,
        listen: SocketAddr,
        admin: SocketAddr,
        operators: Vec<PathBuf>,
        policy: PathBuf,
    ) -> Result<(PathBuf, SocketAddr)> {
        let (code, name) = &self.plan.operator;
        let issued = self.pki.issue_node(code, name, "broker", &[&self.host("broker")])?;
        let config = BrokerConfig {
            mesh: self.plan.mesh.clone(),
            data_dir: self.dir.join("broker"),
            listen,
            certificate: issued.certificate,
            key: issued.key.into(),
            trust: self.trust.clone(),
            catalog_dir: self.dir.join("catalog"),
            registry_file: self.dir.join("registry.yaml"),
            operators,
            auditors: Vec::new(),
            officers: Vec::new(),
            bundle_key: self.dir.join("keys/bundle.key"),
            bundle_key_name: BUNDLE_KEY_NAME.to_owned(),
            log_key: self.dir.join("keys/log.key"),
            log_origin: self.plan.log_origin.clone(),
            witnesses: WitnessesConfig { policy_file: Some(policy), ..WitnessesConfig::default() },
            development: true,
            limits: LimitsConfig::default(),
            telemetry: telemetry(admin),
        };
        Ok((self.write("config/broker.toml", &config)?, admin))
    }

    fn system(&self, agency: &str, system: &str, nodes: &[NodePlan]) -> Result<(PathBuf, RegistrySystem)> {
        let node =
            nodes.iter().find(|node| node.code == agency).context("the system's agency has no node")?;
        let issued = self.pki.issue_system(agency, &self.plan.name_of(agency), system)?;
        let profile = ClientProfile {
            node: node.local.to_string(),
            server_name: node.server_name.clone(),
            certificate: issued.certificate.clone(),
            key: issued.key.into(),
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
        backend: &BackendPlan,
        listen: SocketAddr,
        registry: &mut RegistryFile,
    ) -> Result<BackendLayout> {
        let holder = Holder::System {
            agency_code: backend.agency.clone(),
            agency_name: self.plan.name_of(&backend.agency),
            system_id: backend.system.clone(),
        };
        let issued = self.pki.issue(&Request::new(holder).with_dns_names(&[&self.backend_host(backend)]))?;
        if backend.registered {
            registry.systems.push(RegistrySystem {
                agency: backend.agency.clone(),
                id: backend.system.clone(),
                certificates: vec![CertificateFile { file: issued.certificate.clone() }],
            });
        }
        fs::write(self.contract(backend), &backend.contract)?;
        let file = BackendFile {
            agency: backend.agency.clone(),
            listen,
            certificate: issued.certificate,
            key: issued.key,
            trust: self.trust.state.clone(),
            dvhc_csv: None,
            contract: Some(self.contract(backend)),
        };
        Ok(BackendLayout {
            kind: backend.kind.clone(),
            name: backend.name.clone(),
            config: self.write(&format!("config/backend-{}.toml", backend.name), &file)?,
            address: listen,
            services: backend.services.clone(),
            contract: self.contract(backend),
        })
    }

    fn node(
        &self,
        node: &NodePlan,
        broker: SocketAddr,
        pinned: &Pinned,
        backends: &[BackendLayout],
    ) -> Result<(String, PathBuf, SocketAddr)> {
        let planned = self.plan.backends.iter().zip(backends);
        let own = planned.filter(|(backend, _)| backend.agency == node.code);
        let config = NodeConfig {
            name: format!("agencies/{}/nodes/{}", node.code, node.id),
            data_dir: self.dir.join("nodes").join(&node.name),
            certificate: node.certificate.clone(),
            key: node.key.clone().into(),
            development: true,
            mesh: self.plan.mesh.clone(),
            trust: NodeTrustConfig {
                state: self.trust.state.clone(),
                party: self.trust.party.clone(),
                public: self.trust.public.clone(),
                revocation_lists: self.trust.revocation_lists.clone(),
            },
            mesh_listener: node.mesh,
            local_listener: LocalListenerConfig::Tls(node.local),
            broker: BrokerEndpointConfig {
                address: broker.to_string(),
                server_name: self.host("broker"),
                bundle_keys: BTreeMap::from([(BUNDLE_KEY_NAME.to_owned(), pinned.bundle.clone())]),
                log_key: None,
                log_policy: Some(pinned.policy.clone()),
            },
            backends: own
                .map(|(backend, laid_out)| BackendConfig {
                    services: backend.services.clone(),
                    endpoint: BackendEndpointConfig::Tls(TlsBackendConfig {
                        address: laid_out.address.to_string(),
                        server_name: self.backend_host(backend),
                    }),
                    contract: self.contract(backend),
                })
                .collect(),
            telemetry: telemetry(node.admin),
            limits: NodeLimits {
                journal_backlog_bytes_max: JOURNAL_BACKLOG_BYTES_MAX,
                ..NodeLimits::default()
            },
            ..NodeConfig::sample()
        };
        let file = self.write(&format!("config/node-{}.toml", node.name), &config)?;
        Ok((node.name.clone(), file, node.admin))
    }

    fn contract(&self, backend: &BackendPlan) -> PathBuf {
        self.dir.join(format!("contracts/{}.binpb", backend.name))
    }

    fn backend_host(&self, backend: &BackendPlan) -> String {
        self.host(&format!("{}.backend", backend.name))
    }

    /// A DNS name of this mesh that nobody can register.
    fn host(&self, name: &str) -> String {
        format!("{name}.{}.invalid", self.plan.mesh)
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
            agency: self.code.clone(),
            id: self.id.clone(),
            address: self.mesh.to_string(),
            server_name: self.server_name.clone(),
            certificates: vec![CertificateFile { file: self.certificate.clone() }],
        }
    }
}

/// Disk that each node reserves for its journal.
const JOURNAL_BACKLOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The operator's officers: profile, name. Two, so that four eyes see what is enrolled.
const OPERATORS: [(&str, &str); 2] =
    [("operator-1", "DEMO – Nguyễn Văn Mẫu"), ("operator-2", "DEMO – Trần Thị Mẫu")];

/// Name of the group of witnesses that must cosign.
const QUORUM: &str = "witnesses";

const BUNDLE_KEY_NAME: &str = "bundle-1";

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
