//! Gathers an operator's facts: from the node's configuration, its data folder, its admin listener, and the system.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use lienthong_audit::note::NOTE_BYTES_MAX;
use lienthong_catalog::RightsIndex;
use lienthong_certs::{Credentials, files};
use lienthong_node::{
    NodeConfig,
    call::identify::binding_of,
    config::{BackendConfig, BackendEndpointConfig},
    control::bundle::BUNDLE_FILE_BYTES_MAX,
    freshness,
    trust::Trust,
};
use lienthong_proto::lienthong::control::v1::{RightsBundle, SignedBundle};
use lienthong_transport::{Endpoint, SharedMaterial};
use lienthong_trust::SignedTrust;
use prost::Message;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::commands::doctor::{
    facts::{Backend, Encryption, Health, NodeFacts, Process, RightsOnDisk, TrustFacts, Volume},
    own::{Files, identity},
    reach::{self, STEP_TIMEOUT_MS},
};

/// Largest page that is read of the admin listener, bytes.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;

/// The gauge of records that wait for the broker.
const BACKLOG: &str = "lienthong_node_journal_backlog ";

/// Gathers.
pub async fn gather(config: &NodeConfig) -> NodeFacts {
    let trust = Trust::held_by(config).map_err(|error| error.to_string());
    let identity = identity(&Files {
        certificate: &config.certificate,
        key: &config.key,
        anchors: trust.clone().map(|held| held.trust().anchors().clone()),
        lists: &config.trust.revocation_lists,
        development: config.development,
    });
    let material = identity.material.as_ref();
    let mut backends = Vec::new();
    for backend in &config.backends {
        backends.push(reach_backend(backend, material).await);
    }
    NodeFacts {
        now: OffsetDateTime::now_utc(),
        name: config.name.clone(),
        trust: trust.map(|held| trust_facts(config, &held)),
        configuration: lienthong_node::check(config).map_err(|error| error.to_string()),
        broker: reach::reach("broker", &config.broker.address, &config.broker.server_name, material).await,
        backends,
        process: process(config.telemetry.admin_listen).await,
        rights: rights(config, identity.credentials.as_ref()),
        backlog_max: config.limits.journal_backlog_records_max,
        backlog_bytes_max: config.limits.journal_backlog_bytes_max,
        volume: volume(&config.data_dir),
        own: identity.own,
    }
}

fn trust_facts(config: &NodeConfig, held: &SignedTrust) -> TrustFacts {
    let file = files::read(&config.trust.file, NOTE_BYTES_MAX as u64)
        .map_err(|error| error.to_string())
        .and_then(|bytes| SignedTrust::read(&bytes).map_err(|error| error.to_string()))
        .map(|file| file.trust().version());
    TrustFacts { version: held.trust().version(), expires: held.trust().expires(), file }
}

async fn reach_backend(backend: &BackendConfig, material: Option<&SharedMaterial>) -> Backend {
    let subject = format!("backend {}", backend.services.join(", "));
    let (reached, endpoint) = match &backend.endpoint {
        BackendEndpointConfig::Unix(path) => (None, Some(Endpoint::Unix(path.clone()))),
        BackendEndpointConfig::Tls(tls) => {
            let reached = reach::reach(&subject, &tls.address, &tls.server_name, material).await;
            let endpoint = material.filter(|_| reached.tls.is_some()).map(|material| Endpoint::Mesh {
                address: tls.address.clone(),
                server_name: Some(tls.server_name.clone()),
                material: material.clone(),
            });
            (Some(reached), endpoint)
        }
    };
    let mut each = Vec::new();
    for service in &backend.services {
        let health = match &endpoint {
            Some(endpoint) => reach::health(reach::channel(endpoint.clone()), service, None).await,
            None => Health::Failed("no connection".to_owned()),
        };
        each.push((service.clone(), health));
    }
    Backend { reached, services: each }
}

async fn process(admin: Option<SocketAddr>) -> Process {
    let Some(address) = admin else {
        return Process::NoAdmin;
    };
    let health = match get(address, "/health").await {
        Ok(page) => page,
        Err(why) => return Process::Silent(why),
    };
    let Ok(health) = serde_json::from_str::<serde_json::Value>(&health) else {
        return Process::Silent("/health is no JSON".to_owned());
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let checks = health["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let failing = checks.iter().filter(|check| check["ok"] != true);
    let metrics = get(address, "/metrics").await.unwrap_or_default();
    Process::Answered {
        failing: failing.map(|check| (text(&check["name"]), text(&check["detail"]))).collect(),
        version: text(&health["version"]),
        backlog: metrics.lines().find_map(|line| line.strip_prefix(BACKLOG)?.trim().parse().ok()),
    }
}

/// A page of the admin listener, in HTTP/1.1.
async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.take(PAGE_BYTES_MAX).read_to_string(&mut page).await?;
        std::io::Result::Ok(page)
    };
    let page = timeout(Duration::from_millis(STEP_TIMEOUT_MS), ask)
        .await
        .map_err(|_| format!("{address}: {STEP_TIMEOUT_MS} ms"))?
        .map_err(|error| format!("{address}: {error}"))?;
    let (_, body) = page.split_once("\r\n\r\n").ok_or_else(|| format!("{address}: no HTTP"))?;
    Ok(body.to_owned())
}

/// What lies in the data folder. The node checks the bundle's signature when it takes it; here it is only shown.
fn rights(config: &NodeConfig, credentials: Option<&Credentials>) -> Result<Option<RightsOnDisk>, String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let seen =
        freshness::look(&config.data_dir.join("freshness.toml"), now).map_err(|error| error.to_string())?;
    let Some(seen) = seen else {
        return Ok(None);
    };
    let bundle = bundle(&config.data_dir.join("bundle.binpb"))?;
    let ages = bundle.datasets.iter().filter_map(|dataset| Duration::try_from(dataset.bundle_age_max?).ok());
    let index = RightsIndex::from_bundle(&bundle).map_err(|error| error.to_string())?;
    let bound = credentials.map(|credentials| {
        let node = index.node_of_certificate(&binding_of(credentials.certificate()));
        node.is_some_and(|node| node.name == config.name)
    });
    Ok(Some(RightsOnDisk {
        epoch: seen.epoch,
        age: seen.age,
        ahead_ms: seen.ahead_ms,
        // Zero is asked of the broker at each call, whatever the age.
        age_max: ages.filter(|age| !age.is_zero()).min(),
        bound,
    }))
}

fn bundle(path: &Path) -> Result<RightsBundle, String> {
    let bytes = files::read(path, BUNDLE_FILE_BYTES_MAX).map_err(|error| error.to_string())?;
    let signed =
        SignedBundle::decode(bytes.as_slice()).map_err(|error| format!("{}: {error}", path.display()))?;
    RightsBundle::decode(signed.bundle.as_slice()).map_err(|error| format!("{}: {error}", path.display()))
}

fn volume(folder: &Path) -> Volume {
    let free_bytes = rustix::fs::statvfs(folder)
        .map(|room| room.f_bavail.saturating_mul(room.f_frsize))
        .map_err(|error| error.to_string());
    Volume { folder: folder.display().to_string(), free_bytes, encryption: encryption(folder) }
}

/// Whether the device below a folder is one of dm-crypt, as the kernel says in sysfs. A device that stands on an
/// encrypted one (LVM on LUKS) names it among its slaves.
fn encryption(folder: &Path) -> Encryption {
    let Ok(metadata) = fs::metadata(folder) else {
        return Encryption::Unknown;
    };
    let device = metadata.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = Path::new("/sys/dev/block").join(format!("{major}:{minor}"));
    if !block.exists() {
        return Encryption::Unknown;
    }
    if is_encrypted(&block, DEVICES_DEEP_MAX) { Encryption::Seen } else { Encryption::NotSeen }
}

/// Devices below each other that are looked at.
const DEVICES_DEEP_MAX: usize = 8;

fn is_encrypted(block: &Path, deep: usize) -> bool {
    let uuid = fs::read_to_string(block.join("dm/uuid")).unwrap_or_default();
    if uuid.starts_with("CRYPT-") {
        return true;
    }
    let slaves = fs::read_dir(block.join("slaves")).into_iter().flatten().flatten();
    deep > 0 && slaves.into_iter().any(|slave| is_encrypted(&slave.path(), deep - 1))
}
