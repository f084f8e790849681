//! A mesh in a temporary folder: development PKI, the sample catalog, a registry, keys, and a broker on port 0.

#![allow(dead_code)] // each test file uses its part

pub mod asking;
pub mod journal;
pub mod process;
pub mod watcher;

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lienthong_audit::log::LogKey;
use lienthong_broker::config::{
    ComplianceConfig, LimitsConfig, MatchingConfig, RetentionConfig, WitnessesConfig,
};
use lienthong_broker::sources::sign_folder;
use lienthong_broker::{Broker, BrokerConfig, BrokerError};
use lienthong_certs::pki::Issued;
use lienthong_certs::{DevPki, Judge, MeshKey, Profile};
use lienthong_proto::lienthong::audit::v1::audit_service_client::AuditServiceClient;
use lienthong_proto::lienthong::catalog::v1::catalog_service_client::CatalogServiceClient;
use lienthong_proto::lienthong::control::v1::rights_service_client::RightsServiceClient;
use lienthong_proto::lienthong::registry::v1::registry_service_client::RegistryServiceClient;
use lienthong_telemetry::TelemetryConfig;
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Endpoint, Limits, SharedMaterial, TlsMaterial,
};
use lienthong_trust::mesh_trust::Parts;
use lienthong_trust::{MeshTrust, SignedTrust, TrustConfig, Witnesses, ceremony};
use tempfile::TempDir;
use time::OffsetDateTime;

pub const MESH: &str = "vn-test";
pub const ORIGIN: &str = "log.vn-test.invalid";
pub const BUNDLE_KEY_NAME: &str = "bundle-1";
pub const G01: &str = "agencies/G01/nodes/n1";
pub const H26: &str = "agencies/H26.90/nodes/n1";
pub const OUTSIDER: &str = "9900000099";

/// How long anything may take that should take moments.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub type Line = Channel<tonic::body::Body>;

pub struct Mesh {
    pub folder: TempDir,
    pub pki: DevPki,
    pub broker: Issued,
    pub g01: Issued,
    pub h26: Issued,
    pub h26_system: Issued,
    pub outsider: Issued,
    pub officer: Issued,
    pub second_officer: Issued,
    /// Issued, and bound to nobody.
    pub unbound: Issued,
}

impl Mesh {
    pub fn new() -> Mesh {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), MESH).unwrap();
        let node =
            |code: &str, id: &str| pki.issue_node(code, "DEMO – Cơ quan thử", id, &["localhost"]).unwrap();
        let mesh = Mesh {
            broker: node("G01.90", "broker"),
            g01: node("G01", "n1"),
            h26: node("H26.90", "n1"),
            unbound: node("G24", "n1"),
            h26_system: pki.issue_system("H26.90", "DEMO – Cơ quan thử", "mot-cua").unwrap(),
            outsider: pki.issue_public(OUTSIDER, "DEMO – Công ty CP Ví Dụ", &["localhost"]).unwrap(),
            officer: pki.issue_person("G01.90", "Nguyễn Văn Mẫu", "van-hanh").unwrap(),
            second_officer: pki.issue_person("G01.90", "Trần Thị Mẫu", "van-hanh-2").unwrap(),
            pki,
            folder,
        };
        fs::create_dir(mesh.catalog_dir()).unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/catalog");
        for name in ["agencies.yaml", "databases.yaml", "dictionary.yaml", "entries.yaml"] {
            fs::copy(samples.join(name), mesh.catalog_dir().join(name)).unwrap();
        }
        mesh.approve();
        mesh.write_registry(&[("G01", &mesh.g01), ("H26.90", &mesh.h26), (OUTSIDER, &mesh.outsider)]);
        let bundle_key = MeshKey::generate().unwrap();
        bundle_key.save(&mesh.path("bundle.key")).unwrap();
        let log_key = LogKey::generate(ORIGIN).unwrap();
        let skey = log_key.signing_key().to_skey().unwrap();
        lienthong_certs::files::create_private(&mesh.path("log.key"), skey.as_bytes()).unwrap();
        let first = ceremony::First {
            mesh: MESH.to_owned(),
            development: true,
            bundle: ceremony::bundle_key(BUNDLE_KEY_NAME, bundle_key.public_key()).unwrap(),
            log: log_key.verifier().clone(),
            witnesses: Witnesses::default(),
            anchors: ceremony::development_anchors(&mesh.pki).unwrap(),
            valid_days: 30,
        };
        ceremony::begin(mesh.folder.path(), first, OffsetDateTime::now_utc()).unwrap();
        mesh
    }

    /// The mesh trust file as it lies there.
    pub fn trust_file(&self) -> SignedTrust {
        SignedTrust::read(&fs::read(self.path("mesh.trust")).unwrap()).unwrap()
    }

    fn trust_root(&self) -> String {
        self.trust_file().trust().parts().roots.fingerprint().to_string()
    }

    /// Has the root sign the next version, changed so.
    pub fn next_trust(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.trust_file().trust().parts().clone();
        parts.version += 1;
        change(&mut parts);
        let root = ceremony::load_key(&self.path("root.key")).unwrap();
        let text = SignedTrust::sign(&MeshTrust::new(parts).unwrap(), &[&root]).unwrap();
        lienthong_certs::files::replace(&self.path("mesh.trust"), text.as_bytes()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn catalog_dir(&self) -> PathBuf {
        self.path("catalog")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    /// Writes a registry of one node an agency, and the one system.
    pub fn write_registry(&self, nodes: &[(&str, &Issued)]) {
        let mut text = String::from("nodes:\n");
        for (port, (code, issued)) in (7101..).zip(nodes) {
            let file = issued.certificate.display();
            writeln!(
                text,
                "  - {{agency: \"{code}\", id: n1, address: \"127.0.0.1:{port}\", server_name: localhost, \
                 certificates: [{{file: \"{file}\"}}]}}"
            )
            .unwrap();
        }
        let file = self.h26_system.certificate.display();
        let system = format!("{{agency: H26.90, id: mot-cua, certificates: [{{file: \"{file}\"}}]}}");
        writeln!(text, "systems:\n  - {system}").unwrap();
        fs::write(self.path("registry.yaml"), text).unwrap();
    }

    /// Adds as many nodes of the one-stop shop's agency to the registry.
    pub fn many_nodes(&self, count: usize) -> Vec<Issued> {
        let path = self.path("registry.yaml");
        let text = fs::read_to_string(&path).unwrap();
        let (nodes, systems) = text.split_once("systems:").unwrap();
        let mut nodes = nodes.to_owned();
        let mut issued = Vec::new();
        for number in 0..count {
            let id = format!("m{number}");
            let node = self.pki.issue_node("H26.90", "DEMO – Cơ quan thử", &id, &["localhost"]).unwrap();
            writeln!(
                nodes,
                "  - {{agency: H26.90, id: {id}, address: \"127.0.0.1:{}\", server_name: localhost, certificates: \
                 [{{file: \"{}\"}}]}}",
                8000 + number,
                node.certificate.display()
            )
            .unwrap();
            issued.push(node);
        }
        fs::write(path, format!("{nodes}systems:{systems}")).unwrap();
        issued
    }

    /// Replaces text in a file of the catalog; the text must be there.
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.catalog_dir().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} does not hold {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
        self.approve();
    }

    /// Both officers sign the catalog folder as it is now; one with mistakes is left as it is.
    pub fn approve(&self) {
        for officer in [&self.officer, &self.second_officer] {
            let (credentials, now) = (officer.credentials().unwrap(), OffsetDateTime::now_utc());
            match sign_folder(&self.catalog_dir(), MESH, None, &credentials, now) {
                Ok(_) | Err(BrokerError::Mistakes(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn config(&self) -> BrokerConfig {
        BrokerConfig {
            mesh: MESH.to_owned(),
            data_dir: self.data_dir(),
            listen: "127.0.0.1:0".parse().unwrap(),
            certificate: self.broker.certificate.clone(),
            key: self.broker.key.clone().into(),
            trust: TrustConfig {
                file: self.path("mesh.trust"),
                root: self.trust_root(),
                revocation_lists: self.pki.crl_files(),
                ..TrustConfig::default()
            },
            catalog_dir: self.catalog_dir(),
            registry_file: self.path("registry.yaml"),
            operators: vec![self.officer.certificate.clone(), self.second_officer.certificate.clone()],
            auditors: Vec::new(),
            officers: Vec::new(),
            stewards: Vec::new(),
            heads: Vec::new(),
            consoles: Vec::new(),
            duty_file: None,
            bundle_keys: vec![self.path("bundle.key"), self.path("bundle-next.key")],
            log_keys: vec![self.path("log.key"), self.path("log-next.key")],
            log_origin: ORIGIN.to_owned(),
            witnesses: WitnessesConfig::default(),
            watch_rules: None,
            matching: MatchingConfig::default(),
            compliance: ComplianceConfig::default(),
            retention: RetentionConfig::default(),
            development: true,
            limits: LimitsConfig {
                positions_save_interval_ms: 20,
                drain_timeout_ms: 3_000,
                ..LimitsConfig::default()
            },
            telemetry: TelemetryConfig {
                admin_listen: Some("127.0.0.1:0".parse().unwrap()),
                ..TelemetryConfig::default()
            },
        }
    }

    pub async fn start(&self) -> Broker {
        Box::pin(Broker::start(self.config())).await.unwrap()
    }

    /// The public half of the bundle key, as a node pins it.
    pub fn bundle_public_key(&self) -> [u8; 32] {
        MeshKey::load(&self.path("bundle.key")).unwrap().public_key()
    }

    /// A line to the broker that shows this certificate.
    pub fn line(&self, broker: &impl Listening, who: &Issued) -> Line {
        self.line_within(broker, who, Limits::default())
    }

    /// The same, within other limits.
    pub fn line_within(&self, broker: &impl Listening, who: &Issued, limits: Limits) -> Line {
        let judge =
            Judge::new(self.pki.anchors().unwrap(), self.pki.lists().unwrap(), Profile::development());
        let material = TlsMaterial::new(who.credentials().unwrap(), judge.unwrap()).unwrap();
        let endpoint = Endpoint::Mesh {
            address: broker.listens_on().to_string(),
            server_name: Some("localhost".to_owned()),
            material: SharedMaterial::new(material),
        };
        Channel::new(endpoint, ChannelOptions { limits, ..ChannelOptions::new(Connections::new()) })
    }

    pub fn rights(&self, broker: &impl Listening, who: &Issued) -> RightsServiceClient<Line> {
        RightsServiceClient::new(self.line(broker, who)).max_decoding_message_size(64 << 20)
    }

    pub fn registry(&self, broker: &impl Listening, who: &Issued) -> RegistryServiceClient<Line> {
        RegistryServiceClient::new(self.line(broker, who))
    }

    pub fn catalog(&self, broker: &impl Listening, who: &Issued) -> CatalogServiceClient<Line> {
        CatalogServiceClient::new(self.line(broker, who))
    }

    pub fn audit(&self, broker: &impl Listening, who: &Issued) -> AuditServiceClient<Line> {
        AuditServiceClient::new(self.line(broker, who))
    }
}

/// A broker of this process, or the address of another's.
pub trait Listening {
    fn listens_on(&self) -> SocketAddr;
}

impl Listening for Broker {
    fn listens_on(&self) -> SocketAddr {
        self.address()
    }
}

impl Listening for SocketAddr {
    fn listens_on(&self) -> SocketAddr {
        *self
    }
}

/// Waits for something that must come soon.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("this should have come long ago")
}
