//! Who the node trusts: its own certificate and key, the anchors of its configuration, and the revocation
//! lists that the broker pushes inside the bundle. Certificate and key are replaced while the node runs.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use lienthong_certs::{
    Credentials, CredentialsError, KeySource, PeerCertificate, Signer,
    judge::{
        Branch, Judge, Profile, RevocationError, RevocationList, RevocationLists, TrustAnchors, TrustError,
    },
};
use lienthong_transport::{MaterialError, SharedMaterial, TlsMaterial};
use tokio::sync::watch;

use crate::config::NodeConfig;

/// The node's certificate and trust, made again whenever the lists or the certificate change.
pub struct Trust {
    certificate: PathBuf,
    key: KeySource,
    anchors: TrustAnchors,
    profile: Profile,
    held: Mutex<Held>,
    renewed: watch::Sender<()>,
    /// What new handshakes use.
    pub material: SharedMaterial,
}

/// What may change.
struct Held {
    credentials: Credentials,
    lists: RevocationLists,
}

/// What the node signs with, for a connection that is made under the same certificate.
pub struct Signing {
    /// The official-use key.
    pub signer: Arc<dyn Signer>,
    /// Edition of [`Trust::material`] at that moment.
    pub edition: u64,
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
    /// A certificate that does not stand for this node.
    #[error(
        "the registry does not bind the certificate {0} to this node yet: renew with `lienthong enroll renew`, or have \
         the operator bind it, then reload again; the node goes on with the certificate that it has"
    )]
    NotBound(String),
}

impl Trust {
    /// Reads certificate, key and anchors.
    pub fn open(config: &NodeConfig) -> Result<Self, NodeTrustError> {
        let credentials = Credentials::open(&config.certificate, &config.key)?;
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
        Ok(Self {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            anchors,
            profile,
            held: Mutex::new(Held { credentials, lists }),
            renewed: watch::Sender::new(()),
            material,
        })
    }

    /// What the node signs with now.
    pub fn signing(&self) -> Signing {
        let held = self.held();
        Signing { signer: held.credentials.signer(), edition: self.material.edition() }
    }

    /// Tells when the node's certificate was replaced.
    pub fn renewals(&self) -> watch::Receiver<()> {
        self.renewed.subscribe()
    }

    /// Reads certificate and key again and uses them from now on, where `is_ours` says that the registry binds the
    /// certificate to this node. Connections that are open stay as they are. Returns whether anything was replaced.
    pub fn reload(&self, is_ours: impl FnOnce(&PeerCertificate) -> bool) -> Result<bool, NodeTrustError> {
        let credentials = Credentials::open(&self.certificate, &self.key)?;
        let mut held = self.held();
        let certificate = credentials.certificate();
        if certificate.fingerprint() == held.credentials.certificate().fingerprint() {
            return Ok(false);
        }
        if !is_ours(certificate) {
            return Err(NodeTrustError::NotBound(certificate.binding().to_string()));
        }
        let judge = Judge::new(self.anchors.clone(), held.lists.clone(), self.profile.clone())?;
        self.material.replace(TlsMaterial::new(&credentials, judge)?);
        held.credentials = credentials;
        drop(held);
        self.renewed.send_replace(());
        Ok(true)
    }

    /// Takes the revocation lists of a bundle. A list that cannot be read, or that no anchor signed, is
    /// left out and named.
    pub fn take_lists(&self, lists: &[Vec<u8>]) -> Result<Vec<String>, NodeTrustError> {
        let mut problems = Vec::new();
        // The lists held before stay in force: a list that is missing or cannot be read revokes nothing less.
        let mut kept = self.held();
        let mut held = kept.lists.clone();
        for der in lists {
            let list = RevocationList::read(der, &self.anchors);
            match list.and_then(|list| held.clone().with(list)) {
                Ok(more) => held = more,
                Err(error) => problems.push(error.to_string()),
            }
        }
        let judge = Arc::new(Judge::new(self.anchors.clone(), held.clone(), self.profile.clone())?);
        self.material.replace(TlsMaterial::new(&kept.credentials, judge)?);
        kept.lists = held;
        Ok(problems)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use lienthong_certs::{
        DevPki,
        pki::{Holder, Request},
        request,
    };

    use super::*;

    /// A certificate for a fresh key, both in the node's files.
    fn issue(pki: &DevPki, config: &NodeConfig) {
        let holder = Holder::Node {
            agency_code: "H29".to_owned(),
            agency_name: "DEMO – Cơ quan thử".to_owned(),
            node_id: "n1".to_owned(),
        };
        let key = config.key.file().unwrap();
        let _ = fs::remove_file(key);
        let prepared = request::prepare(holder.clone(), &["n1.h29.test"], key).unwrap();
        let request = Request::new(holder).with_dns_names(&["n1.h29.test"]);
        fs::write(&config.certificate, pki.certify(&request, &prepared.spki_der).unwrap()).unwrap();
    }

    fn world(folder: &Path) -> (DevPki, NodeConfig) {
        let pki = DevPki::create(&folder.join("pki"), "vn-test").unwrap();
        let mut config = NodeConfig::sample();
        config.development = true;
        (config.certificate, config.key) = (folder.join("node.crt"), folder.join("node.key").into());
        config.trust.state = vec![folder.join("pki/trust/state.pem")];
        issue(&pki, &config);
        (pki, config)
    }

    #[test]
    fn a_certificate_is_taken_over_where_it_is_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, config) = world(folder.path());
        let trust = Trust::open(&config).unwrap();
        let mut renewals = trust.renewals();
        let spki = |trust: &Trust| trust.signing().signer.spki_der().to_vec();
        let before = spki(&trust);
        assert!(!trust.reload(|_| true).unwrap(), "the same files change nothing");

        issue(&pki, &config);
        assert!(matches!(trust.reload(|_| false), Err(NodeTrustError::NotBound(_))));
        let key = config.key.file().unwrap();
        let good = fs::read(key).unwrap();
        fs::write(key, "rubbish").unwrap();
        assert!(matches!(trust.reload(|_| true), Err(NodeTrustError::Credentials(_))));
        assert_eq!((spki(&trust), trust.signing().edition), (before.clone(), 0));
        assert!(!renewals.has_changed().unwrap());

        fs::write(key, good).unwrap();
        assert!(trust.reload(|certificate| certificate.agency_urn.as_deref() == Some("H29")).unwrap());
        assert!(spki(&trust) != before && renewals.has_changed().unwrap());
        renewals.mark_unchanged();
        // Revocation lists that come later keep the new certificate.
        trust.take_lists(&[]).unwrap();
        assert_eq!(trust.signing().edition, 2);
        assert!(!trust.reload(|_| false).unwrap(), "it is in use");
    }
}
