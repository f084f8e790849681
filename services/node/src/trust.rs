//! Who the node trusts: its own certificate and key, the mesh trust file, and the revocation lists that the broker
//! pushes inside the bundle. All of it is replaced while the node runs.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use lienthong_certs::{
    Credentials, CredentialsError, KeySource, PeerCertificate, Signer,
    judge::{Judge, Profile, RevocationError, RevocationList, RevocationLists, TrustAnchors, TrustError},
};
use lienthong_proto::lienthong::control::v1::RevocationState;
use lienthong_transport::{Connections, MaterialError, Peer, SharedMaterial, TlsMaterial};
use lienthong_trust::{KeeperError, SignedTrust, TrustFileError, TrustKeeper, keeper::Owner};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{config::NodeConfig, control::fetched_lists, limits::OWN_CUTS_MAX};

mod lists;

/// The node's certificate and trust, made again whenever the mesh trust file, the lists or the certificate change.
pub struct Trust {
    certificate: PathBuf,
    key: KeySource,
    profile: Profile,
    held: Mutex<Held>,
    mesh: ArcSwap<SignedTrust>,
    /// Version that the broker says is the newest.
    announced: AtomicU64,
    renewed: watch::Sender<()>,
    connections: Connections,
    /// Cut by lists of the node's own files since the last bundle.
    own_cuts: Mutex<Vec<Peer>>,
    /// What new handshakes use.
    pub material: SharedMaterial,
}

/// What may change.
struct Held {
    keeper: TrustKeeper,
    credentials: Credentials,
    lists: RevocationLists,
    /// Those of the newest bundle as they came: a list of an authority that is not trusted yet may count tomorrow.
    bundled: Vec<Vec<u8>>,
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
    /// The mesh trust file at the start, or on disk.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// A mesh trust file that somebody handed over.
    #[error(transparent)]
    File(#[from] TrustFileError),
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

/// What the configuration names, read and judged.
struct Read {
    credentials: Credentials,
    lists: RevocationLists,
    profile: Profile,
    material: TlsMaterial,
}

impl Read {
    fn new(config: &NodeConfig, mesh: &SignedTrust) -> Result<Self, NodeTrustError> {
        let credentials = Credentials::open(&config.certificate, &config.key)?;
        let anchors = mesh.trust().anchors();
        let profile = if config.development { Profile::development() } else { Profile::default() };
        let fetched = fetched_lists::places(config);
        let files = fetched_lists::present(&config.trust.revocation_lists, &fetched);
        let (lists, left_out) = RevocationLists::load_known(&files, anchors)?;
        for error in left_out {
            tracing::warn!(%error, "a configured revocation list is left out");
        }
        let judge = Judge::new(anchors.clone(), lists.clone(), profile.clone())?;
        let material = TlsMaterial::new(&credentials, judge)?;
        Ok(Self { credentials, lists, profile, material })
    }
}

impl Trust {
    /// Takes up the newest trust file that the node has seen, and reads certificate and key. Connections that a later
    /// change of trust refuses are cut in `connections`.
    pub fn open(config: &NodeConfig, connections: &Connections) -> Result<Self, NodeTrustError> {
        let keeper = TrustKeeper::open(&config.trust, owner(config), OffsetDateTime::now_utc())?;
        let mesh = Arc::clone(keeper.held());
        let Read { credentials, lists, profile, material } = Read::new(config, &mesh)?;
        Ok(Self {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            profile,
            announced: AtomicU64::new(mesh.trust().version()),
            mesh: ArcSwap::new(mesh),
            held: Mutex::new(Held { keeper, credentials, lists, bundled: Vec::new() }),
            renewed: watch::Sender::new(()),
            connections: connections.clone(),
            own_cuts: Mutex::default(),
            material: SharedMaterial::new(material),
        })
    }

    /// Reads and judges everything that [`Trust::open`] would, and touches nothing.
    pub fn check(config: &NodeConfig) -> Result<(), NodeTrustError> {
        let mesh = Self::held_by(config)?;
        Read::new(config, &mesh).map(|_| ())
    }

    /// The mesh trust file that [`Trust::open`] would begin with; touches nothing.
    pub fn held_by(config: &NodeConfig) -> Result<Arc<SignedTrust>, KeeperError> {
        TrustKeeper::peek(&config.trust, owner(config), OffsetDateTime::now_utc())
    }

    /// The mesh trust file in force.
    pub fn mesh(&self) -> Arc<SignedTrust> {
        self.mesh.load_full()
    }

    /// Notes which version the broker says is the newest.
    pub fn announce(&self, version: u64) {
        self.announced.fetch_max(version, Ordering::Relaxed);
    }

    /// The newest version that was heard of.
    pub fn announced(&self) -> u64 {
        self.announced.load(Ordering::Relaxed)
    }

    /// Judges a trust file that was handed over, by the one in force, and puts it into effect if it is newer: durable
    /// first, then for every new handshake, and connections that no longer stand are cut. Answers the version, or `None`
    /// where it is the one in force. Blocks on the disk.
    pub fn take(&self, note: &[u8]) -> Result<Option<u64>, NodeTrustError> {
        let mut held = self.held();
        let newer = held.keeper.judge(note, OffsetDateTime::now_utc())?;
        self.put_into_effect(&mut held, newer)
    }

    /// The same of the configured file as it is now.
    pub fn take_file(&self) -> Result<Option<u64>, NodeTrustError> {
        let mut held = self.held();
        let newer = held.keeper.judge_file(OffsetDateTime::now_utc())?;
        self.put_into_effect(&mut held, newer)
    }

    /// A judge by the anchors and lists that the node holds now, for signatures that are no handshake's.
    pub fn judge_of_signatures(&self) -> Result<Judge, NodeTrustError> {
        let (mesh, lists) = (self.mesh(), self.held().lists.clone());
        Ok(self.judge(mesh.trust().anchors(), &lists)?)
    }

    /// What the node signs with now.
    pub fn signing(&self) -> Signing {
        let held = self.held();
        Signing { signer: held.credentials.signer(), edition: self.material.edition() }
    }

    /// The certificate in use.
    pub fn present(&self) -> PeerCertificate {
        self.held().credentials.certificate().clone()
    }

    /// End of the validity of the certificate in use.
    pub fn not_after(&self) -> OffsetDateTime {
        self.held().credentials.certificate().not_after
    }

    /// Tells when the node's certificate was replaced.
    pub fn renewals(&self) -> watch::Receiver<()> {
        self.renewed.subscribe()
    }

    /// Reads certificate and key again and uses them from now on, where `is_ours` says that the registry binds the
    /// certificate to this node. Connections that the node began finish their calls. Returns whether anything was replaced.
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
        let judge = self.judge(self.mesh.load().trust().anchors(), &held.lists)?;
        self.material.replace(TlsMaterial::new(&credentials, judge)?);
        held.credentials = credentials;
        drop(held);
        self.connections.finish_outbound();
        self.renewed.send_replace(());
        Ok(true)
    }

    /// Takes the revocation lists of a bundle. A list that cannot be read, or that no anchor signed, is
    /// left out and named.
    pub fn take_lists(&self, lists: &[Vec<u8>]) -> Result<Vec<String>, NodeTrustError> {
        let mut kept = self.held();
        let mesh = self.mesh.load();
        // The lists held before stay in force: a list that is missing or cannot be read revokes nothing less.
        let (held, problems) = with_lists(kept.lists.clone(), lists, mesh.trust().anchors());
        let judge = self.judge(mesh.trust().anchors(), &held)?;
        self.material.replace(TlsMaterial::new(&kept.credentials, judge)?);
        kept.lists = held;
        kept.bundled = lists.to_vec();
        Ok(problems)
    }

    fn put_into_effect(
        &self,
        held: &mut Held,
        newer: Option<Arc<SignedTrust>>,
    ) -> Result<Option<u64>, NodeTrustError> {
        let Some(newer) = newer else { return Ok(None) };
        let anchors = newer.trust().anchors();
        let (lists, problems) = with_lists(held.lists.under(anchors), &held.bundled, anchors);
        let material = TlsMaterial::new(&held.credentials, self.judge(anchors, &lists)?)?;
        held.keeper.keep(&newer)?;
        for problem in problems {
            tracing::warn!(problem, "a revocation list is left out under the new trust");
        }
        held.lists = lists;
        let version = newer.trust().version();
        self.mesh.store(newer);
        self.announce(version);
        self.material.replace(material);
        self.connections.close_refused(&self.material);
        tracing::info!(version, "mesh trust file in effect");
        Ok(Some(version))
    }

    fn judge(&self, anchors: &TrustAnchors, lists: &RevocationLists) -> Result<Judge, TrustError> {
        Judge::new(anchors.clone(), lists.clone(), self.profile.clone())
    }

    /// Cuts the connections that the lists of the node's own files refuse. The receipt for the next bundle counts them:
    /// whoever revoked asks how many the revocation cut, and not who heard of it first.
    pub fn cut_by_own_lists(&self) {
        let mut own_cuts = self.own_cuts.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, refusal) in self.connections.close_refused(&self.material) {
            tracing::warn!(%peer, %refusal, "connection cut: its certificate is no longer accepted");
            if own_cuts.len() < OWN_CUTS_MAX {
                own_cuts.push(peer);
            }
        }
    }

    /// Whom [`Trust::cut_by_own_lists`] cut since this was asked last.
    pub fn take_own_cuts(&self) -> Vec<Peer> {
        std::mem::take(&mut *self.own_cuts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The revocation lists in force.
    pub fn revocation(&self) -> Vec<RevocationState> {
        let held = self.held();
        let states = held.lists.lists().map(|list| RevocationState {
            authority: list.authority.as_bytes().to_vec(),
            issuer: list.issuer.clone(),
            crl_number: list.crl_number.clone(),
        });
        states.collect()
    }

    /// Which of these lists, of an authority that this node trusts, it holds only in an older form, or not at all.
    pub fn behind(&self, told: &[RevocationState]) -> Option<String> {
        let held = self.revocation();
        let mesh = self.mesh();
        let trusted = |state: &&RevocationState| {
            mesh.trust()
                .anchors()
                .authorities()
                .iter()
                .any(|known| known.id.as_bytes()[..] == state.authority)
        };
        // Numbers have no leading zeros: the longer one is the larger.
        let rank = |state: &RevocationState| (state.crl_number.len(), state.crl_number.clone());
        let newest =
            |state: &RevocationState| held.iter().find(|held| held.authority == state.authority).map(rank);
        let missing = told.iter().filter(trusted).find(|state| newest(state) < Some(rank(state)))?;
        Some(format!(
            "the broker holds revocation list {} of \"{}\", this node an older one or none",
            hex::encode(&missing.crl_number),
            missing.issuer
        ))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn owner(config: &NodeConfig) -> Owner<'_> {
    Owner { mesh: &config.mesh, development: config.development, data_dir: &config.data_dir }
}

/// `held` with those of `more` that can be used, and what is wrong with the others.
fn with_lists(
    held: RevocationLists,
    more: &[Vec<u8>],
    anchors: &TrustAnchors,
) -> (RevocationLists, Vec<String>) {
    let (mut held, mut problems) = (held, Vec::new());
    for der in more {
        match RevocationList::read(der, anchors).and_then(|list| held.with(list)) {
            Ok(with) => held = with,
            Err(error) => problems.push(error.to_string()),
        }
    }
    (held, problems)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use lienthong_audit::{log::LogKey, note::SigningKey};
    use lienthong_certs::{
        Branch, DevPki, MeshKey,
        pki::{Holder, Request},
        request,
    };
    use lienthong_trust::{Anchor, MeshTrust, ceremony, mesh_trust::Parts};
    use time::Duration;

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

    fn state(pki: &DevPki, generation: &str) -> Anchor {
        let (_, path) = pki.trust_files().into_iter().find(|(branch, _)| *branch == Branch::State).unwrap();
        ceremony::anchor(&format!("State {generation}"), Branch::State, &path).unwrap()
    }

    /// The next version with other anchors.
    fn next(trust: &Trust, root: &SigningKey, anchors: Vec<Anchor>) -> String {
        let held = trust.mesh();
        let parts = held.trust().parts().clone();
        let (version, expires) = (parts.version + 1, parts.expires + Duration::DAY);
        let next = MeshTrust::new(Parts { version, expires, anchors, ..parts }).unwrap();
        SignedTrust::sign(&next, &[root]).unwrap()
    }

    fn world(folder: &Path) -> (DevPki, NodeConfig) {
        let pki = DevPki::create(&folder.join("pki"), "vn-test").unwrap();
        let mut config = NodeConfig::sample();
        (config.development, config.mesh) = (true, "vn-test".to_owned());
        config.data_dir = folder.join("data");
        (config.certificate, config.key) = (folder.join("node.crt"), folder.join("node.key").into());
        let first = ceremony::First {
            mesh: config.mesh.clone(),
            development: true,
            bundle: ceremony::bundle_key("bundle-1", MeshKey::generate().unwrap().public_key()).unwrap(),
            log: LogKey::generate("log.test/1").unwrap().verifier().clone(),
            witnesses: lienthong_trust::Witnesses::default(),
            anchors: vec![state(&pki, "G1")],
            valid_days: 9,
        };
        config.trust = ceremony::begin(folder, first, OffsetDateTime::now_utc()).unwrap();
        issue(&pki, &config);
        (pki, config)
    }

    #[test]
    fn a_certificate_is_taken_over_where_it_is_bound_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, config) = world(folder.path());
        let trust = Trust::open(&config, &Connections::new()).unwrap();
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

    #[test]
    fn another_generation_of_authorities_comes_and_the_old_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, config) = world(folder.path());
        let second = DevPki::create(&folder.path().join("g2"), "vn-test").unwrap();
        let lists = |pki: &DevPki| -> Vec<Vec<u8>> {
            pki.crl_files()[..2].iter().map(|path| fs::read(path).unwrap()).collect()
        };
        let trust = Trust::open(&config, &Connections::new()).unwrap();
        let root = ceremony::load_key(&folder.path().join("root.key")).unwrap();
        let generations = [state(&pki, "G1"), state(&second, "G2")];
        let held = |trust: &Trust| trust.held().lists.lists().count();

        let both: Vec<_> = lists(&pki).into_iter().chain(lists(&second)).collect();
        assert_eq!(trust.take_lists(&both).unwrap().len(), 2, "G2 is nobody yet");
        assert_eq!(held(&trust), 2);
        assert_eq!(trust.take(next(&trust, &root, generations.to_vec()).as_bytes()).unwrap(), Some(2));
        assert_eq!(held(&trust), 4, "what the bundle said of G2 counts now");
        let both = fs::read(folder.path().join("data/trust/00000000000000000002.trust")).unwrap();
        assert_eq!(trust.take(&both).unwrap(), None, "it is in force");
        assert_eq!(trust.take(next(&trust, &root, generations[1..].to_vec()).as_bytes()).unwrap(), Some(3));
        assert_eq!(held(&trust), 2);
        assert!(matches!(trust.take(&both), Err(NodeTrustError::File(TrustFileError::Rollback { .. }))));
        // The configured file is version 1 still; what was seen counts after a restart.
        assert_eq!(Trust::open(&config, &Connections::new()).unwrap().mesh().trust().version(), 3);
    }

    #[test]
    fn a_node_that_lacks_a_list_of_an_authority_it_trusts_notices() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, config) = world(folder.path());
        let trust = Trust::open(&config, &Connections::new()).unwrap();
        let lists =
            || -> Vec<Vec<u8>> { pki.crl_files().iter().map(|file| fs::read(file).unwrap()).collect() };
        let (before, states_before) = {
            trust.take_lists(&lists()).unwrap();
            (lists(), trust.revocation())
        };
        assert!(!states_before.is_empty());
        assert_eq!(trust.behind(&states_before), None);

        let leaf = lienthong_certs::files::certificates(&config.certificate).unwrap();
        let binding = PeerCertificate::read(&leaf).unwrap().binding().clone();
        pki.revoke(&binding, lienthong_certs::judge::RevocationReason::KeyCompromise).unwrap();
        let other = Trust::open(&config, &Connections::new()).unwrap();
        other.take_lists(&lists()).unwrap();
        let behind = trust.behind(&other.revocation()).unwrap();
        assert!(behind.contains("the broker holds revocation list"), "{behind}");
        assert_eq!(other.behind(&states_before), None, "a newer one is no lack");
        // Of an authority that it does not trust, it needs no list.
        let stranger =
            RevocationState { authority: vec![9; 32], crl_number: vec![200], ..RevocationState::default() };
        assert_eq!(trust.behind(&[stranger]), None);
        trust.take_lists(&lists()).unwrap();
        trust.take_lists(&before).unwrap();
        assert_eq!(
            trust.behind(&other.revocation()),
            None,
            "an older list never takes the place of a newer one"
        );
    }
}
