//! The mesh's card: what a new agency must know of the mesh before it can trust anything in it, in one file.
//!
//! It holds nothing secret. It is the root of the agency's trust all the same: whoever alters it on the way chooses whom
//! the agency believes. Both sides therefore read its fingerprint to each other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result};
use clap::Args;
use lienthong_broker::{BrokerConfig, bundle::sha256, state};
use lienthong_certs::{MeshKey, files};
use lienthong_node::config::{BrokerEndpointConfig, TrustConfig};
use serde::{Deserialize, Serialize};

use crate::{commands::enroll::show, out};

/// `lienthong enroll card`.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Configuration of the broker, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where nodes reach the broker, host:port
    #[arg(long, value_name = "ADDRESS")]
    pub address: String,
    /// DNS name in the broker's certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// The card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Id of the mesh.
    pub mesh: String,
    /// True for a mesh of demonstrations and tests.
    #[serde(default)]
    pub development: bool,
    /// The broker, and the keys that its bundles and receipts are checked by.
    pub broker: BrokerEndpointConfig,
    /// The authorities that the mesh trusts.
    pub trust: CardTrust,
}

/// The authorities that the mesh trusts, PEM; each text may hold several.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CardTrust {
    /// Of state agencies.
    pub state: String,
    /// Of Party agencies.
    pub party: String,
    /// Public ones.
    pub public: String,
}

/// Writes the card, and says what to read out.
pub fn run(args: &CardArgs) -> Result<ExitCode> {
    let config: BrokerConfig = lienthong_telemetry::load(&args.config)?;
    let bundle_key = MeshKey::load(&config.bundle_key)?;
    let log_key = state::log_key(&config.log_key)?;
    let card = Card {
        mesh: config.mesh,
        development: config.development,
        broker: BrokerEndpointConfig {
            address: args.address.clone(),
            server_name: args.server_name.clone(),
            bundle_keys: BTreeMap::from([(config.bundle_key_name, hex::encode(bundle_key.public_key()))]),
            log_key: Some(log_key.verifier().to_string()),
            log_policy: None,
        },
        trust: CardTrust {
            state: joined(&config.trust.state)?,
            party: joined(&config.trust.party)?,
            public: joined(&config.trust.public)?,
        },
    };
    let text = toml::to_string(&card)?;
    files::replace(&args.out, text.as_bytes())?;
    out::line(&fingerprint(text.as_bytes()));
    out::note(&format!(
        "{} is the card of mesh {}; the line above is its fingerprint: read it out when you hand the card over\n\
         Hãy đọc dấu vân tay này qua điện thoại khi trao thẻ mạng.",
        args.out.display(),
        card.mesh
    ));
    Ok(ExitCode::SUCCESS)
}

impl Card {
    /// Reads a card; answers its fingerprint too.
    pub fn read(path: &Path) -> Result<(Card, String)> {
        let bytes = files::read(path, files::PEM_BYTES_MAX)?;
        let card = lienthong_telemetry::load(path)?;
        Ok((card, fingerprint(&bytes)))
    }

    /// Writes the authorities as files into `folder`, for configurations to name.
    pub fn write_trust(&self, folder: &Path) -> Result<TrustConfig> {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let write = |name: &str, pem: &str| -> Result<Vec<PathBuf>> {
            if pem.is_empty() {
                return Ok(Vec::new());
            }
            let path = folder.join(name);
            files::replace(&path, pem.as_bytes())?;
            Ok(vec![path])
        };
        Ok(TrustConfig {
            state: write("state.pem", &self.trust.state)?,
            party: write("party.pem", &self.trust.party)?,
            public: write("public.pem", &self.trust.public)?,
            revocation_lists: Vec::new(),
        })
    }
}

fn fingerprint(bytes: &[u8]) -> String {
    show::grouped(&sha256(bytes))
}

fn joined(paths: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in paths {
        let bytes = files::read(path, files::PEM_BYTES_MAX)?;
        text.push_str(&String::from_utf8(bytes).with_context(|| format!("{} is no PEM", path.display()))?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}
