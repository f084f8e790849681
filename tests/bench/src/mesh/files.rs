//! What broker and nodes need on disk before they start: keys, catalog, registry, a configuration each. JSON is YAML,
//! and `toml` writes the rest.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context;
use lienthong_approval::file::APPROVALS_FILE;
use lienthong_approval::{ApprovalFile, Statement, folder_hash};
use lienthong_audit::log::LogKey;
use lienthong_catalog::{Catalog, SourceFile};
use lienthong_certs::MeshKey;
use lienthong_certs::pki::Issued;
use lienthong_proto::descriptors;
use lienthong_trust::{TrustConfig, Witnesses, ceremony};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::catalog;
use crate::contestant::Site;
use crate::exchange::SERVICE;
use crate::pki::{MESH, Pki, Role, SERVER_NAME, holder_id};

const LOG_ORIGIN: &str = "log.bench.invalid/lienthong";
const BUNDLE_KEY_NAME: &str = "bundle-1";
/// Space that each node reserves for records the broker does not have yet: far more than a measurement leaves.
const JOURNAL_BACKLOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Where everything lies and listens.
pub(super) struct Files {
    /// The broker's configuration.
    pub broker: PathBuf,
    /// The nodes' configurations, the consumer's first.
    pub nodes: [PathBuf; 2],
    /// Admin listener of the broker.
    pub broker_admin: SocketAddr,
    /// Admin listeners of the nodes.
    pub node_admins: [SocketAddr; 2],
    /// Where the consumer's system calls.
    pub local_listener: SocketAddr,
}

/// What a node's configuration differs in.
struct Node {
    role: Role,
    agency: &'static str,
    mesh: SocketAddr,
    local: SocketAddr,
    admin: SocketAddr,
    backends: Value,
}

impl Files {
    /// Writes everything into a new folder.
    pub(super) fn write(folder: &Path, site: &Site, backend: SocketAddr, gate: &str) -> anyhow::Result<Self> {
        for part in ["catalog", "keys"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let pki = Pki::open(&site.pki)?;
        let contract = folder.join("dancu.binpb");
        fs::write(&contract, descriptors::DANCU)?;
        let backends = json!([{
            "services": [SERVICE],
            "endpoint": {"tls": {"address": backend, "server_name": SERVER_NAME}},
            "contract": contract,
        }]);
        let [broker, broker_admin, ours @ .., mesh, local, admin] = free_addresses::<8>()?;
        let nodes = [
            Node {
                role: Role::ConsumerNode,
                agency: "H26.90",
                mesh: ours[0],
                local: ours[1],
                admin: ours[2],
                backends: json!([]),
            },
            Node { role: Role::ProviderNode, agency: "G01", mesh, local, admin, backends },
        ];

        for (number, file) in catalog::files(site.rights, site.holders, gate).iter().enumerate() {
            fs::write(folder.join(format!("catalog/{number:03}.yaml")), file.to_string())?;
        }
        approve(&folder.join("catalog"), &pki)?;
        fs::write(folder.join("registry.yaml"), registry(&pki, &nodes, site.holders)?.to_string())?;
        let keys = Keys::write(&folder.join("keys"), &pki)?;
        let files = Self {
            broker: folder.join("broker.toml"),
            nodes: ["node-consumer.toml", "node-provider.toml"].map(|name| folder.join(name)),
            broker_admin,
            node_admins: [nodes[0].admin, nodes[1].admin],
            local_listener: nodes[0].local,
        };
        let config = broker_config(folder, &pki, broker, broker_admin, &keys)?;
        fs::write(&files.broker, toml::to_string(&config)?)?;
        for (path, node) in files.nodes.iter().zip(&nodes) {
            let config = node_config(folder, &pki, node, broker, &keys)?;
            fs::write(path, toml::to_string(&config)?)?;
        }
        Ok(files)
    }
}

/// A broker alone, with nodes that are registered and may be anybody.
pub struct BrokerFiles {
    /// Its configuration.
    pub config: PathBuf,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its admin listener.
    pub admin: SocketAddr,
    /// Its data.
    pub data_dir: PathBuf,
}

impl BrokerFiles {
    /// Writes everything into a new folder. Nodes are named by agency and id.
    pub fn write(
        folder: &Path,
        pki: &Pki,
        nodes: &[(&str, &str)],
        issued: &[Issued],
    ) -> anyhow::Result<Self> {
        for part in ["catalog", "keys"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let [address, admin] = free_addresses::<2>()?;
        for (number, file) in catalog::files(1, 0, "JOURNAL").iter().enumerate() {
            fs::write(folder.join(format!("catalog/{number:03}.yaml")), file.to_string())?;
        }
        approve(&folder.join("catalog"), pki)?;
        let nodes = nodes.iter().zip(issued).map(|((agency, id), issued)| {
            json!({
                "agency": agency, "id": id, "address": address, "server_name": SERVER_NAME,
                "certificates": [{"file": issued.certificate}],
            })
        });
        let registry = json!({ "nodes": nodes.collect::<Vec<_>>(), "systems": [] });
        fs::write(folder.join("registry.yaml"), registry.to_string())?;
        let keys = Keys::write(&folder.join("keys"), pki)?;
        let config = broker_config(folder, pki, address, admin, &keys)?;
        let path = folder.join("broker.toml");
        fs::write(&path, toml::to_string(&config)?)?;
        Ok(Self { config: path, address, admin, data_dir: folder.join("broker") })
    }
}

/// Two persons sign the catalog folder.
fn approve(folder: &Path, pki: &Pki) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push(SourceFile { name, text: fs::read_to_string(&path)? });
    }
    let catalog = Catalog::read(&files).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    let active: Vec<_> = catalog.entries().iter().filter(|entry| entry.status.is_in_force()).collect();
    let statement = Statement::of(MESH, None, folder_hash(&files), &active).to_bytes();
    let mut approvals = ApprovalFile::default();
    for role in [Role::Officer, Role::SecondOfficer] {
        let credentials = pki.issued(role)?.credentials()?;
        approvals = approvals.signed(&statement, &credentials, OffsetDateTime::now_utc())?;
    }
    Ok(fs::write(folder.join(APPROVALS_FILE), approvals.to_text())?)
}

/// The broker's keys, and what nodes pin of them.
struct Keys {
    bundle: PathBuf,
    log: PathBuf,
    trust: TrustConfig,
}

impl Keys {
    fn write(folder: &Path, pki: &Pki) -> anyhow::Result<Self> {
        let (bundle, log) = (folder.join("bundle.key"), folder.join("log.key"));
        let bundle_key = MeshKey::generate()?;
        bundle_key.save(&bundle)?;
        let log_key = LogKey::generate(LOG_ORIGIN)?;
        lienthong_certs::files::create_private(&log, log_key.signing_key().to_skey()?.as_bytes())?;
        let first = ceremony::First {
            mesh: MESH.to_owned(),
            development: true,
            bundle: ceremony::bundle_key(BUNDLE_KEY_NAME, bundle_key.public_key())?,
            log: log_key.verifier().clone(),
            witnesses: Witnesses::default(),
            anchors: pki.anchors()?,
            valid_days: ceremony::VALID_DAYS,
        };
        let pinned = ceremony::begin(folder, first, OffsetDateTime::now_utc())?;
        Ok(Self { bundle, log, trust: TrustConfig { revocation_lists: pki.revocation_lists(), ..pinned } })
    }
}

fn registry(pki: &Pki, nodes: &[Node], holders: usize) -> anyhow::Result<Value> {
    let certificates = |role| anyhow::Ok(json!([{"file": pki.issued(role)?.certificate}]));
    let node = |node: &Node| {
        let certificates = certificates(node.role)?;
        anyhow::Ok(json!({
            "agency": node.agency, "id": "n1", "address": node.mesh, "server_name": SERVER_NAME,
            "certificates": certificates,
        }))
    };
    let mut systems = vec![
        json!({"agency": "H26.90", "id": "mot-cua", "certificates": certificates(Role::Consumer)?}),
        json!({"agency": "G01", "id": "dancu", "certificates": certificates(Role::Backend)?}),
    ];
    for number in 0..holders {
        let file = pki.issued_to_holder(number)?.certificate;
        systems.push(json!({"agency": "H26.90", "id": holder_id(number), "certificates": [{"file": file}]}));
    }
    Ok(json!({ "nodes": nodes.iter().map(node).collect::<anyhow::Result<Vec<_>>>()?, "systems": systems }))
}

fn broker_config(
    folder: &Path,
    pki: &Pki,
    listen: SocketAddr,
    admin: SocketAddr,
    keys: &Keys,
) -> anyhow::Result<Value> {
    let issued = pki.issued(Role::Broker)?;
    Ok(json!({
        "mesh": MESH, "data_dir": folder.join("broker"), "listen": listen,
        "certificate": issued.certificate, "key": issued.key, "trust": keys.trust,
        "catalog_dir": folder.join("catalog"), "registry_file": folder.join("registry.yaml"),
        "bundle_keys": [keys.bundle], "log_keys": [keys.log], "log_origin": LOG_ORIGIN,
        "operators": [pki.issued(Role::Officer)?.certificate, pki.issued(Role::SecondOfficer)?.certificate],
        "development": true, "telemetry": {"admin_listen": admin},
    }))
}

fn node_config(
    folder: &Path,
    pki: &Pki,
    node: &Node,
    broker: SocketAddr,
    keys: &Keys,
) -> anyhow::Result<Value> {
    let issued = pki.issued(node.role)?;
    Ok(json!({
        "name": format!("agencies/{}/nodes/n1", node.agency), "mesh": MESH,
        "data_dir": folder.join(node.agency), "development": true,
        "certificate": issued.certificate, "key": issued.key, "trust": keys.trust,
        "mesh_listener": node.mesh, "local_listener": {"tls": node.local},
        "broker": {"address": broker, "server_name": SERVER_NAME},
        "backends": node.backends, "telemetry": {"admin_listen": node.admin},
        "limits": {"journal_backlog_bytes_max": JOURNAL_BACKLOG_BYTES_MAX},
    }))
}

/// Addresses on loopback that were free a moment ago. All are held until the last is found, so that none comes twice.
pub fn free_addresses<const N: usize>() -> anyhow::Result<[SocketAddr; N]> {
    let mut held = Vec::with_capacity(N);
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
        *address = listener.local_addr()?;
        held.push(listener);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_addresses_are_all_different() {
        let mut ports = free_addresses::<8>().unwrap().map(|address| address.port());
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
