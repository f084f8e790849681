//! What a role configures: where the file lies, and which roots were pinned when it was installed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whom a role trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustConfig {
    /// The mesh trust file. Watched: a newer version takes effect without a restart, and an older one never.
    pub file: PathBuf,
    /// Fingerprint of the roots that sign the first file, as the operator reads it out: SHA-256, hexadecimal. It counts
    /// once, at installation; later files follow from the one that is held.
    pub root: String,
    /// Revocation lists, PEM or DER. The broker hands its own to the nodes; a node holds these until it hears the broker.
    #[serde(default)]
    pub revocation_lists: Vec<PathBuf>,
    /// Addresses at which authorities publish revocation lists, http://HOST/PATH: the role fetches them every ten minutes
    /// into `data_dir/revocation`, and uses what it has fetched from there. Lists are signed, so that plain http is enough;
    /// no redirect is followed, and no proxy asked.
    #[serde(default)]
    pub revocation_list_urls: Vec<String>,
}

impl TrustConfig {
    /// A configuration to begin from, for generated samples.
    pub fn sample() -> Self {
        Self { file: "/etc/lienthong/mesh.trust".into(), root: "00".repeat(32), ..Self::default() }
    }
}
