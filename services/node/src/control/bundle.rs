//! The rights bundle: checked, kept on disk, and put into effect.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use lienthong_approval::Checker;
use lienthong_catalog::{
    BundleError, ContractModel, RightsIndex,
    compile::BUNDLE_BYTES_MAX,
    delta::{self, DeltaError},
};
use lienthong_proto::lienthong::control::v1::{BundleDelta, RevocationState, RightsBundle, SignedBundle};
use lienthong_transport::{Connections, Direction, Peer};
use prost::Message;

use crate::{
    call::identify::binding_of,
    clock,
    control::{
        broker::{BadSignature, Broker},
        receipt::{Applied, Receipts},
    },
    node::Node,
    trust::{NodeTrustError, Trust},
};

/// Domain of the bundle's signature.
pub const BUNDLE_DOMAIN: &str = "lienthong/rights-bundle/v1";

/// Largest file of a bundle that a node reads, bytes: the bundle, its signature, and the name of its key.
pub const BUNDLE_FILE_BYTES_MAX: u64 = BUNDLE_BYTES_MAX as u64 + 4096;

/// Why a bundle does not take effect. The one before stays.
#[derive(Debug, thiserror::Error)]
pub enum BadBundle {
    /// Not signed by the broker.
    #[error("the rights bundle is refused: {0}")]
    Signature(#[from] BadSignature),
    /// Not a bundle.
    #[error("the rights bundle cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// For another mesh or node.
    #[error("the rights bundle is for {found}, this node is {expected}")]
    NotOurs {
        /// Mesh and node of the bundle.
        found: String,
        /// Mesh and node of this process.
        expected: String,
    },
    /// Older than the one held: a bundle's epoch rises strictly.
    #[error(
        "the rights bundle has epoch {found}, but {held} was seen already: it is replayed, or the broker lost its state"
    )]
    Old {
        /// Epoch of the bundle.
        found: u64,
        /// Epoch held.
        held: u64,
    },
    /// A delta that leads nowhere.
    #[error("the delta to a rights bundle cannot be used: {0}")]
    Delta(#[from] DeltaError),
    /// A delta that starts from another bundle.
    #[error("the delta starts from another bundle than the one on disk")]
    OtherBase,
    /// Contradicts itself.
    #[error(transparent)]
    Contents(#[from] BundleError),
    /// Not every entry behind it was put into force by two persons.
    #[error(transparent)]
    Unapproved(#[from] lienthong_approval::Unapproved),
    /// The trust inside it cannot be used.
    #[error(transparent)]
    Trust(#[from] NodeTrustError),
    /// The file on disk.
    #[error(
        "the rights bundle {path} on disk cannot be used: {source}; delete it: the node then waits for the broker"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The bundle of one node.
pub struct BundleKeeper {
    path: PathBuf,
    node: Arc<Node>,
    trust: Arc<Trust>,
    broker: Broker,
    connections: Connections,
    receipts: Receipts,
    held_hash: Vec<u8>,
    checker: Checker,
    /// True after a delta that did not fit.
    wants_whole: bool,
    /// Ends when the allocator should have given back what reading a bundle took.
    gives_back: Option<JoinHandle<()>>,
}

/// How long the allocator holds on to memory that is free, and a little, milliseconds. It gives it back when somebody asks it
/// for more, or when a thread ends; an idle node asks for nothing.
const FREE_MEMORY_HELD_MS: u64 = 1_500;

impl BundleKeeper {
    /// A keeper that holds nothing yet.
    pub fn new(
        data: &Path,
        node: Arc<Node>,
        trust: Arc<Trust>,
        broker: Broker,
        connections: Connections,
    ) -> Self {
        Self {
            path: data.join("bundle.binpb"),
            node,
            trust,
            broker,
            connections,
            receipts: Receipts::default(),
            held_hash: Vec::new(),
            checker: Checker::default(),
            wants_whole: false,
            gives_back: None,
        }
    }

    /// Whom the node trusts.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Epoch and hash of what is held; 0 without a bundle.
    pub fn held(&self) -> (u64, &[u8]) {
        let epoch = self.node.rights.load().as_ref().map_or(0, |rights| rights.epoch());
        (epoch, &self.held_hash)
    }

    /// The hash that a new watch tells; none where the next bundle must come whole, whatever is held.
    pub fn told_hash(&self) -> &[u8] {
        if self.wants_whole { &[] } else { &self.held_hash }
    }

    /// The next bundle is asked for as a whole: a delta did not fit.
    pub fn asks_for_whole(&mut self) {
        self.wants_whole = true;
    }

    /// The bundle that a delta makes of the one on disk. Its signature is not checked here.
    pub fn put_together(&self, delta: &BundleDelta) -> Result<SignedBundle, BadBundle> {
        let io = |source| BadBundle::Io { path: self.path.clone(), source };
        let base = SignedBundle::decode(fs::read(&self.path).map_err(io)?.as_slice())?;
        // What another base makes, no signature fits.
        if delta.base_hash != self.held_hash {
            return Err(BadBundle::OtherBase);
        }
        Ok(SignedBundle {
            bundle: delta::apply(&base.bundle, &delta.pieces, BUNDLE_BYTES_MAX)?,
            key_name: delta.key_name.clone(),
            signature: delta.signature.clone(),
        })
    }

    /// Starts from the bundle on disk; false where there is none. A damaged or foreign file is an error:
    /// it is told to the operator, and the node waits for the broker.
    pub fn open(&mut self) -> Result<bool, BadBundle> {
        let io = |source| BadBundle::Io { path: self.path.clone(), source };
        let bytes = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io(error)),
            Ok(metadata) if metadata.len() > BUNDLE_FILE_BYTES_MAX => {
                return Err(io(io::Error::other("it is too large")));
            }
            Ok(_) => fs::read(&self.path).map_err(io)?,
        };
        let signed = SignedBundle::decode(bytes.as_slice())?;
        let epoch = self.take_effect(&signed)?.epoch;
        if !self.node.freshness.is_about(epoch, &self.held_hash) {
            tracing::warn!(epoch, "the age on disk is not that of this bundle; it waits for the broker");
        }
        Ok(true)
    }

    /// Checks a bundle, keeps it, and decides by it from now on.
    pub fn take(&mut self, signed: &SignedBundle) -> Result<Applied, BadBundle> {
        let applied = self.take_effect(signed)?;
        self.node.freshness.holds(applied.epoch, &self.held_hash);
        if let Err(error) = self.node.freshness.save(clock::unix_ms()) {
            tracing::error!(%error, "after a restart the rights count as older than they are");
        }
        if let Err(error) = self.save(signed) {
            // A change of rights is never held back by a full disk; only a restart would miss it.
            tracing::error!(%error, path = %self.path.display(), "the rights bundle is in effect but could not be kept");
        }
        Ok(applied)
    }

    /// The connections of this node.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// What the broker was told of the newest bundles.
    pub fn receipts(&self) -> &Receipts {
        &self.receipts
    }

    /// Why a heartbeat that names these revocation lists does not count: this node holds an older one.
    pub fn behind(&self, revocation: &[RevocationState]) -> Option<String> {
        self.trust.behind(revocation)
    }

    fn take_effect(&mut self, signed: &SignedBundle) -> Result<Applied, BadBundle> {
        let hash = sha256(&signed.bundle);
        self.broker.verify(BUNDLE_DOMAIN, &hash, &signed.key_name, &signed.signature)?;
        // What reading takes is many times what is kept; a thread that ends leaves none of it in its own store.
        let (rights, epoch) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| self.read(&signed.bundle));
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        self.held_hash = hash;
        self.wants_whole = false;
        let before = self.node.rights.swap(Some(Arc::new(rights)));
        self.node.metrics.epoch.set(i64::try_from(epoch).unwrap_or(i64::MAX));
        let cut = self.close_what_may_not_go_on(before.as_deref());
        let applied = Applied { epoch, since: clock::timestamp(), cut, revocation: self.trust.revocation() };
        self.receipts.note(&applied.acknowledgement());
        self.give_back();
        Ok(applied)
    }

    /// Has memory that is free go back to the system, though nothing else happens. At most one thread waits for it.
    fn give_back(&mut self) {
        if self.gives_back.as_ref().is_none_or(JoinHandle::is_finished) {
            let wait = || std::thread::park_timeout(Duration::from_millis(FREE_MEMORY_HELD_MS));
            // Without a thread it is given back later.
            self.gives_back = std::thread::Builder::new().name("give-back".to_owned()).spawn(wait).ok();
        }
    }

    /// Reads a bundle that the broker signed, and indexes it; its revocation lists are in effect from then on.
    fn read(&mut self, bytes: &[u8]) -> Result<(RightsIndex, u64), BadBundle> {
        let bundle = RightsBundle::decode(bytes)?;
        if bundle.mesh != self.node.mesh || bundle.audience != self.node.name {
            return Err(BadBundle::NotOurs {
                found: format!("{} of mesh {}", bundle.audience, bundle.mesh),
                expected: format!("{} of mesh {}", self.node.name, self.node.mesh),
            });
        }
        let (held, _) = self.held();
        let seen = self.node.freshness.epoch();
        if bundle.epoch <= held || bundle.epoch < seen {
            return Err(BadBundle::Old { found: bundle.epoch, held: held.max(seen) });
        }
        for problem in self.trust.take_lists(&bundle.revocation_lists)? {
            tracing::warn!(epoch = bundle.epoch, problem, "a revocation list is left out");
        }
        let rights = self.believe(&bundle)?;
        for problem in rights.problems() {
            tracing::warn!(epoch = bundle.epoch, problem, "part of the rights bundle is left out");
        }
        Ok((rights, bundle.epoch))
    }

    /// Indexes a bundle. Beside that: two persons of the operator stand behind each entry, or nothing of it counts.
    fn believe(&mut self, bundle: &RightsBundle) -> Result<RightsIndex, BadBundle> {
        let judge = self.trust.judge_of_signatures()?;
        let (in_force, checker) = (self.node.rights.load_full(), &mut self.checker);
        std::thread::scope(|scope| {
            let approved = scope.spawn(|| {
                let sensitive = Sensitive::of(bundle, in_force.as_deref());
                checker.check(
                    bundle,
                    &|provider, dataset, field| sensitive.is(provider, dataset, field),
                    &judge,
                )
            });
            let rights = match &in_force {
                Some(in_force) => in_force.followed_by(bundle),
                None => RightsIndex::from_bundle(bundle),
            };
            approved.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(rights?)
        })
    }

    /// Register, then authorize, then serve: a connection that was made under the old bundle is judged by the new
    /// one, whichever side made it. Returns whom that cut, and whom a revocation list of the node's own had cut before.
    fn close_what_may_not_go_on(&self, before: Option<&RightsIndex>) -> Vec<Peer> {
        let mut cut = self.trust.take_own_cuts();
        let refused = self.connections.close_refused(&self.trust.material);
        cut.extend(refused.into_iter().map(|(peer, _)| peer));
        let Some(rights) = self.node.rights.load_full() else { return cut };
        cut.extend(self.connections.cut_where(
            |peer| {
                let Some(certificate) = peer.certificate() else { return false };
                let binding = binding_of(certificate);
                let name_in = |index: &RightsIndex| {
                    let node = index.node_of_certificate(&binding).map(|node| node.name.clone());
                    node.or_else(|| index.system_of(&binding).map(|system| system.name.clone()))
                };
                let now = name_in(&rights);
                let was = before.and_then(name_in);
                // What the registry never bound (a backend, the broker) is not its to unbind.
                let inbound = peer.direction() == Direction::Inbound;
                (inbound && now.is_none()) || (was.is_some() && was != now)
            },
            "the registry no longer binds its certificate as it did",
        ));
        cut
    }

    /// Writes the bundle so that a power cut leaves the old one or the new one.
    fn save(&self, signed: &SignedBundle) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let file = fs::File::create(&temporary)?;
        io::Write::write_all(&mut &file, &signed.encode_to_vec())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        match self.path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref().to_vec()
}

/// Which fields the contracts of a bundle declare sensitive. Looked up only for rights that name fields which their entry
/// grants by `*`.
struct Sensitive<'b> {
    bundle: &'b RightsBundle,
    in_force: Option<&'b RightsIndex>,
    models: RefCell<HashMap<String, Option<Arc<ContractModel>>>>,
}

impl<'b> Sensitive<'b> {
    fn of(bundle: &'b RightsBundle, in_force: Option<&'b RightsIndex>) -> Self {
        Self { bundle, in_force, models: RefCell::default() }
    }

    /// Whether the field is; one that no contract declares is, and each of a secret, to be safe.
    fn is(&self, provider: &str, dataset: &str, field: &str) -> bool {
        let mut models = self.models.borrow_mut();
        let model = models.entry(provider.to_owned()).or_insert_with(|| {
            let contract = self.bundle.contracts.iter().find(|contract| contract.provider == provider)?;
            RightsIndex::contract_model(contract, self.in_force)
        });
        let declared = model.as_ref().and_then(|model| model.dataset(dataset)).filter(|it| !it.is_secret());
        let mut fields = declared.iter().flat_map(|declared| declared.fields());
        !fields.any(|it| it.id == field && !it.is_sensitive())
    }
}
