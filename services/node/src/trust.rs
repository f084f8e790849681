//! Who the node trusts: its own certificate and key, the anchors of its configuration, and the revocation
//! lists that the broker pushes inside the bundle.

use std::sync::{Arc, Mutex, PoisonError};

use lienthong_certs::{
    Credentials, CredentialsError,
    judge::{
        Branch, Judge, Profile, RevocationError, RevocationList, RevocationLists, TrustAnchors, TrustError,
    },
};
use lienthong_transport::{MaterialError, SharedMaterial, TlsMaterial};

use crate::config::NodeConfig;

/// The node's certificate and trust, made again whenever the lists change.
pub struct Trust {
    credentials: Credentials,
    anchors: TrustAnchors,
    profile: Profile,
    lists: Mutex<RevocationLists>,
    /// What new handshakes use.
    pub material: SharedMaterial,
}

/// Why trust could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum NodeTrustError {
    /// Certificate or key.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Anchors.
    #[error(transparent)]
    Anchors(#[from] TrustError),
    /// Revocation lists of the configuration.
    #[error(transparent)]
    Lists(#[from] RevocationError),
    /// Both together.
    #[error(transparent)]
    Material(#[from] MaterialError),
}

impl Trust {
    /// Reads certificate, key and anchors.
    pub fn open(config: &NodeConfig) -> Result<Self, NodeTrustError> {
        let credentials = Credentials::load(&config.certificate, &config.key)?;
        let trust = &config.trust;
        let branches =
            [(Branch::State, &trust.state), (Branch::Party, &trust.party), (Branch::Public, &trust.public)];
        let files: Vec<_> = branches
            .into_iter()
            .flat_map(|(branch, paths)| paths.iter().map(move |path| (branch, path.clone())))
            .collect();
        let anchors = TrustAnchors::load(&files)?;
        let profile = if config.development { Profile::development() } else { Profile::default() };
        let lists = RevocationLists::load(&trust.revocation_lists, &anchors)?;
        let judge = Judge::new(anchors.clone(), lists.clone(), profile.clone())?;
        let material = SharedMaterial::new(TlsMaterial::new(&credentials, judge)?);
        Ok(Self { credentials, anchors, profile, lists: Mutex::new(lists), material })
    }

    /// The node's certificate and key.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Takes the revocation lists of a bundle. A list that cannot be read, or that no anchor signed, is
    /// left out and named.
    pub fn take_lists(&self, lists: &[Vec<u8>]) -> Result<Vec<String>, NodeTrustError> {
        let mut problems = Vec::new();
        // The lists held before stay in force: a list that is missing or cannot be read revokes nothing less.
        let mut kept = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = kept.clone();
        for der in lists {
            let list = RevocationList::read(der, &self.anchors);
            match list.and_then(|list| held.clone().with(list)) {
                Ok(more) => held = more,
                Err(error) => problems.push(error.to_string()),
            }
        }
        let judge = Arc::new(Judge::new(self.anchors.clone(), held.clone(), self.profile.clone())?);
        *kept = held;
        self.material.replace(TlsMaterial::new(&self.credentials, judge)?);
        Ok(problems)
    }
}
