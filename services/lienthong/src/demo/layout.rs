//! What a mesh on this machine needs on disk before its first process starts: a development PKI, keys, catalog,
//! registry, and a configuration a role. Everything lies in one folder. What is laid out, a
//! [`Plan`] says: the demo's, or a sandbox's.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lienthong_broker::{
    BrokerError,
    config::{
        BrokerConfig, ComplianceConfig, LimitsConfig, MatchingConfig, OfficerConfig, RetentionConfig,
        WitnessesConfig,
    },
    sources,
};
use lienthong_certs::{
    judge::Branch,
    pki::{DevPki, Holder, Issued, Request},
};
use lienthong_node::config::{
    BackendConfig, BackendEndpointConfig, BrokerEndpointConfig, LimitsConfig as NodeLimits,
    LocalListenerConfig, NodeConfig, TlsBackendConfig,
};
use lienthong_telemetry::{TelemetryConfig, settings::LogFormat};
use lienthong_trust::TrustConfig;
use serde::Serialize;
use time::OffsetDateTime;

use crate::{
    client::ClientProfile,
    commands::backend::BackendFile,
    demo::{
        gateway::{self, GATEWAY_PORTS, GatewayLayout},
        plan::{BackendPlan, Plan},
        ports::Ports,
        trust::{LaidTrust, WitnessLayout, lay_trust},
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
    /// `operator-1` and `operator-2`; `auditor`; `steward`; `officer-<agency>`; `head-<agency>`.
    pub profiles: BTreeMap<String, PathBuf>,
    /// The gateway, where the plan has one.
    pub gateway: Option<GatewayLayout>,
    /// Folder of the processes' logs.
    pub logs: PathBuf,
    /// Its ports are nobody else's while this lives.
    /// Names of the officers' certificates.
    officers: Vec<String>,
    _ports: Ports,
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

/// Certificates of people.
struct People {
    operators: Vec<PathBuf>,
    auditors: Vec<PathBuf>,
    officers: Vec<OfficerConfig>,
    stewards: Vec<PathBuf>,
    heads: Vec<OfficerConfig>,
    console: Issued,
}

impl People {
    /// Their certificates, whoever sees most first.
    fn certificates(&self) -> Vec<PathBuf> {
        let of_agencies = self.officers.iter().chain(&self.heads).map(|person| person.certificate.clone());
        let of_the_operator = self.auditors.iter().chain(&self.operators).chain(&self.stewards);
        of_the_operator.cloned().chain(of_agencies).collect()
    }
}

/// Ports and certificates of one node.
struct NodePlan {
    code: String,
    id: String,
    name: String,
    mesh: SocketAddr,
    local: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
    server_name: String,
    certificate: PathBuf,
    key: PathBuf,
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
        Self::of(&Plan::demo().with_gateway(), dir)
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
        let mut ports = Ports::reserve(
            3 + plan.nodes.len() * 4 + plan.backends.len() + plan.witnesses.len() * 2 + GATEWAY_PORTS,
        )?;
        for folder in ["keys", "config", "contracts", "clients", "logs", "trust"] {
            fs::create_dir(dir.join(folder))?;
        }
        let LaidTrust { trust, witnesses, policy, log_key } = lay_trust(plan, &dir, &pki, &mut ports)?;
        let state = state_of(&pki);
        let builder = Builder { plan, dir: &dir, pki: &pki, trust: &trust, state: &state };

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
        let people = builder.people(broker_address, &mut profiles)?;
        let gateway = builder.gateway(&people, broker_address, log_key, &mut ports)?;
        let broker = builder.broker(broker_address, ports.take()?, people)?;

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
        let nodes = nodes
            .iter()
            .map(|node| builder.node(node, broker_address, &backends))
            .collect::<Result<Vec<_>>>()?;

        builder.declare(&registry)?;
        let officers: Vec<String> =
            OPERATORS.iter().map(|(profile, _)| format!("{}-{profile}", plan.operator.0)).collect();
        approve_catalog(&dir, &plan.mesh, &pki, &officers)?;
        Ok(Self {
            broker,
            log: dir.join("broker/log"),
            policy,
            witnesses,
            backends,
            nodes,
            profiles,
            gateway,
            logs: dir.join("logs"),
            officers,
            _ports: ports,
            dir,
        })
    }
}

/// Both of the operator's officers sign the catalog folder as it is now.
fn approve_catalog(dir: &Path, mesh: &str, pki: &DevPki, officers: &[String]) -> Result<()> {
    for officer in officers {
        let issued = pki.issued(officer)?.with_context(|| format!("{officer} has no certificate"))?;
        let now = OffsetDateTime::now_utc();
        match sources::sign_folder(&dir.join("catalog"), mesh, None, &issued.credentials()?, now) {
            // Nobody signs mistakes; the broker names them.
            Ok(_) | Err(BrokerError::Mistakes(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Layout {
    /// Has both officers sign the catalog folder again, after it was changed.
    pub fn approve_catalog(&self) -> Result<()> {
        let pki = DevPki::open(&self.dir.join("pki"))?;
        approve_catalog(&self.dir, pki.mesh_id(), &pki, &self.officers)
    }

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
    /// What roles pin.
    trust: &'a TrustConfig,
    /// Authorities that clients know, PEM.
    state: &'a [PathBuf],
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
            http: ports.take()?,
            admin: ports.take()?,
            server_name,
            certificate: issued.certificate,
            key: issued.key,
        })
    }

    /// The gateway, where the plan has one.
    fn gateway(
        &self,
        people: &People,
        broker: SocketAddr,
        log_key: String,
        ports: &mut Ports,
    ) -> Result<Option<GatewayLayout>> {
        if !self.plan.gateway {
            return Ok(None);
        }
        let ground = gateway::Ground {
            plan: self.plan,
            dir: self.dir,
            trust: self.trust,
            certificate: &people.console,
            people: people.certificates(),
            broker: (broker, self.host("broker")),
            log_key,
        };
        GatewayLayout::of(ground, ports).map(Some)
    }

    /// What the operator declares: registry and catalog.
    fn declare(&self, registry: &RegistryFile) -> Result<()> {
        // JSON is YAML: one notation less to write.
        fs::write(self.dir.join("registry.yaml"), serde_json::to_string_pretty(registry)?)?;
        let catalog = self.dir.join("catalog");
        fs::create_dir(&catalog)?;
        for (name, text) in &self.plan.catalog {
            fs::write(catalog.join(name), text)?;
        }
        Ok(())
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
            trust: self.state.to_vec(),
            development: true,
        };
        self.write("clients/outsider.toml", &profile)
    }

    /// The people of the operator and of agencies, each with a profile to speak to the broker.
    fn people(&self, broker: SocketAddr, profiles: &mut BTreeMap<String, PathBuf>) -> Result<People> {
        let mut person = |profile: &str, name: &str, code: &str| -> Result<PathBuf> {
            let issued = self.pki.issue_person(code, name, profile)?;
            let client = ClientProfile {
                node: broker.to_string(),
                server_name: self.host("broker"),
                certificate: issued.certificate.clone(),
                key: issued.key.into(),
                trust: self.state.to_vec(),
                development: true,
            };
            let path = self.write(&format!("clients/{profile}.toml"), &client)?;
            profiles.insert(profile.to_owned(), path);
            Ok(issued.certificate)
        };
        let operator = &self.plan.operator.0;
        let operators = OPERATORS.iter().map(|(profile, name)| person(profile, name, operator));
        let operators = operators.collect::<Result<_>>()?;
        let (auditor, name) = AUDITOR;
        let auditors = vec![person(auditor, name, operator)?];
        let officers = OFFICERS.iter().map(|(profile, name, agency)| {
            Ok(OfficerConfig { certificate: person(profile, name, agency)?, agency: (*agency).to_owned() })
        });
        let officers = officers.collect::<Result<_>>()?;
        let (steward, name) = STEWARD;
        let stewards = vec![person(steward, name, operator)?];
        let (head, name, agency) = HEAD;
        let certificate = person(head, name, agency)?;
        let heads = vec![OfficerConfig { certificate, agency: agency.to_owned() }];
        let name = &self.plan.operator.1;
        let console = self.pki.issue_node(operator, name, "console", &[&self.host("console")])?;
        Ok(People { operators, auditors, officers, stewards, heads, console })
    }

    fn broker(&self, listen: SocketAddr, admin: SocketAddr, people: People) -> Result<(PathBuf, SocketAddr)> {
        let (code, name) = &self.plan.operator;
        let issued = self.pki.issue_node(code, name, "broker", &[&self.host("broker")])?;
        let watch_rules = self.dir.join("config/watch.toml");
        fs::write(&watch_rules, include_str!("watch.toml"))?;
        let config = BrokerConfig {
            mesh: self.plan.mesh.clone(),
            data_dir: self.dir.join("broker"),
            listen,
            certificate: issued.certificate,
            key: issued.key.into(),
            trust: self.trust.clone(),
            catalog_dir: self.dir.join("catalog"),
            registry_file: self.dir.join("registry.yaml"),
            operators: people.operators,
            auditors: people.auditors,
            officers: people.officers,
            stewards: people.stewards,
            heads: people.heads,
            consoles: vec![people.console.certificate],
            duty_file: None,
            bundle_keys: self.slots("bundle"),
            log_keys: self.slots("log"),
            log_origin: self.plan.log_origin.clone(),
            watch_rules: Some(watch_rules),
            witnesses: WitnessesConfig::default(),
            matching: MatchingConfig::default(),
            compliance: ComplianceConfig::default(),
            retention: RetentionConfig::default(),
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
            trust: self.state.to_vec(),
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
            trust: self.state.to_vec(),
            dvhc_csv: None,
            contract: Some(self.contract(backend)),
            telemetry: TelemetryConfig::default(),
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
            trust: self.trust.clone(),
            mesh_listener: node.mesh,
            local_listener: LocalListenerConfig::Tls(node.local),
            http_listener: Some(LocalListenerConfig::Tls(node.http)),
            broker: BrokerEndpointConfig { address: broker.to_string(), server_name: self.host("broker") },
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

    /// Where the broker looks for the keys of one use: the one in use and, after the first ceremony, the next.
    fn slots(&self, used: &str) -> Vec<PathBuf> {
        [1, 2].map(|number| self.dir.join(format!("keys/{used}-{number}.key"))).into()
    }

    fn contract(&self, backend: &BackendPlan) -> PathBuf {
        self.dir.join(format!("contracts/{}.binpb", backend.name))
    }

    fn backend_host(&self, backend: &BackendPlan) -> String {
        self.host(&format!("{}.backend", backend.name))
    }

    /// A DNS name of this mesh that nobody can register.
    fn host(&self, name: &str) -> String {
        host(self.plan, name)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<PathBuf> {
        write(self.dir, name, value)
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

/// Who sees the whole log: profile, name.
const AUDITOR: (&str, &str) = ("auditor", "DEMO – Lê Thị Mẫu");

/// Agencies' security officers: profile, name, agency.
const OFFICERS: [(&str, &str, &str); 2] =
    [("officer-G01", "DEMO – Phạm Văn Mẫu", "G01"), ("officer-H26.90", "DEMO – Hoàng Thị Mẫu", "H26.90")];

/// Who looks after the catalog: profile, name.
const STEWARD: (&str, &str) = ("steward", "DEMO – Đỗ Văn Mẫu");

/// The head of an agency: profile, name, agency.
const HEAD: (&str, &str, &str) = ("head-H26.90", "DEMO – Vũ Thị Mẫu", "H26.90");

/// A DNS name of this mesh that nobody can register.
pub(super) fn host(plan: &Plan, name: &str) -> String {
    format!("{name}.{}.invalid", plan.mesh)
}

pub(super) fn write(dir: &Path, name: &str, value: &impl Serialize) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, toml::to_string_pretty(value)?)?;
    Ok(path)
}

fn state_of(pki: &DevPki) -> Vec<PathBuf> {
    let files = pki.trust_files().into_iter();
    files.filter(|(branch, _)| *branch == Branch::State).map(|(_, path)| path).collect()
}

pub(super) fn telemetry(admin: SocketAddr) -> TelemetryConfig {
    TelemetryConfig { admin_listen: Some(admin), log_format: LogFormat::Text, ..TelemetryConfig::default() }
}
