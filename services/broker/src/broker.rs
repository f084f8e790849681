//! The running broker: everything put together, from configuration to open doors, and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lienthong_audit::log::{Log, LogKey, LogReader, LogSigner};
use lienthong_audit::policy::Policy;
use lienthong_certs::{Credentials, Judge, RevocationLists};
use lienthong_proto::lienthong::control::v1::RevocationState;
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics};
use lienthong_transport::{Connections, Drain, FileWatch, Limits, Server, SharedMaterial, TlsMaterial, bind};
use lienthong_trust::{SignedTrust, TrustKeeper};
use lienthong_watch::Rules;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::arbiter::Arbiter;
use crate::background::Background;
use crate::backup;
use crate::board::Board;
use crate::bundle::{BundleSigner, sha256};
use crate::chancery::Chancery;
use crate::compliance::{Desk, EntitledOfEpoch, Examiner};
use crate::config::BrokerConfig;
use crate::declared::Declared;
use crate::error::BrokerError;
use crate::index::blocks::BLOCK_ENTRIES;
use crate::index::{Following, Index, index_dir};
use crate::ledger::{Ledger, LedgerError};
use crate::masking::MaskingSecret;
use crate::matching::heard::Heard;
use crate::matching::{Matching, Progress};
use crate::mesh_keys;
use crate::metrics::BrokerMetrics;
use crate::offices::{Foundation, Offices};
use crate::own_files::{self, EXPIRY_LOOK_MS};
use crate::records::{Act, RECORDER, administration};
use crate::refusals;
use crate::registrar::Registrar;
use crate::retention::Retention;
use crate::saver::Saver;
use crate::service::{Ground, routes};
use crate::state::{State, log_dir};
use crate::steward::Steward;
use crate::trust::{self, Believed, MeshTrusts};
use crate::watch_rules;
use crate::witnesses;

/// Runs a broker until `shutdown` ends, then stops it in order. SIGHUP has everything read again; the mesh trust file, and
/// certificate, key and revocation lists, are taken over as they change, too.
///
/// Prints nothing. Whoever must know that the doors are open asks `/ready`, or starts a [`Broker`] by himself.
///
/// # Errors
/// [`BrokerError`]: why it did not start, or what stopped it.
pub async fn run(config: BrokerConfig, shutdown: impl Future<Output = ()>) -> Result<(), BrokerError> {
    let mut hangups = hangups()?;
    let mut trust_file = FileWatch::new([config.trust.file.clone()]);
    let mut files = FileWatch::new(own_files::files(&config));
    let mut day = tokio::time::interval(Duration::from_millis(EXPIRY_LOOK_MS));
    let mut broker = Broker::start(config).await?;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return broker.stop().await,
            () = broker.ended() => return broker.stop().await,
            () = trust_file.changed() => {
                let _ = broker.reload().await;
            }
            _ = day.tick() => broker.warn_of_end(),
            () = files.changed() => {
                // What is wrong was logged and counted; the broker goes on with what it has.
                let _ = broker.take_files().await;
            }
            _ = hangups.recv() => {
                // What is wrong was logged and counted; the broker goes on with what it has.
                let _ = broker.reload().await;
            }
        }
    }
}

/// Reads and judges everything that the configuration names, without touching the broker's state.
///
/// # Errors
/// [`BrokerError`]: what [`run`] would refuse.
pub fn check(config: &BrokerConfig) -> Result<(), BrokerError> {
    config.check()?;
    let mesh = TrustKeeper::peek(&config.trust, trust::owner(config), OffsetDateTime::now_utc())?;
    watch_rules::read(config.watch_rules.as_deref())?;
    Read::new(config, &mesh).map(drop)
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    pub(crate) config: BrokerConfig,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    board: Board,
    pub(crate) metrics: BrokerMetrics,
    pub(crate) steward: Arc<Steward>,
    registrar: Arc<Registrar>,
    /// Out while a reload uses it.
    pub(crate) keeper: Mutex<Option<TrustKeeper>>,
    /// Version of the trust file whose log keys sign.
    trusted: AtomicU64,
    log_signer: LogSigner,
    /// Whom the log's readers believe, for those who ask the witnesses; `None`: the log began without a witness.
    policies: Option<watch::Sender<Arc<Policy>>>,
    pub(crate) chancery: Arc<Chancery>,
    pub(crate) arbiter: Arc<Arbiter>,
    examiner: Arc<Examiner>,
    pub(crate) judge: watch::Sender<Arc<Judge>>,
    /// End of the validity of the certificate in use.
    pub(crate) not_after: watch::Sender<OffsetDateTime>,
    /// Why what is on disk is not in use, where it is not.
    pub(crate) refused: watch::Sender<Option<String>>,
    ledger: Ledger,
    index: Index,
    retention: Option<Arc<Retention>>,
    /// Ends with the broker.
    following: Option<Following>,
    saver: Saver,
    background: Background,
    pub(crate) material: SharedMaterial,
    pub(crate) connections: Connections,
    pub(crate) drain: Drain,
    log: LogTask,
    tasks: Vec<JoinHandle<()>>,
}

/// The task that writes the log, and how it ended once it has.
#[derive(Debug)]
enum LogTask {
    Running(JoinHandle<Result<(), LedgerError>>),
    Ended(Result<(), LedgerError>),
}

impl Broker {
    /// Starts a broker. When this returns, its doors are open.
    ///
    /// # Errors
    /// [`BrokerError`]. Files are judged before anything of the broker's state is touched.
    #[allow(clippy::too_many_lines)] // the order of the start, read top to bottom
    pub async fn start(config: BrokerConfig) -> Result<Broker, BrokerError> {
        config.check()?;
        let Loaded { keeper, read: Read { declared, signer, believed, credentials, log_keys, policy } } =
            load(&config).await?;
        let log_signer = LogSigner::new(log_keys.0, log_keys.1);
        let (judge, judged_by) = watch::channel(Arc::clone(&believed.judge));
        let not_after = watch::Sender::new(credentials.certificate().not_after);
        let material = SharedMaterial::new(TlsMaterial::new(&credentials, Arc::clone(&believed.judge))?);
        let grounds = believed.grounds(signer, MeshTrusts::of(&keeper));
        let (listener, address) = listen(config.listen)?;
        let rules = watch_rules::read(config.watch_rules.as_deref())?;

        let State { log, checkpoint, shelf, positions } =
            State::open(&config, log_signer.clone(), policy.as_deref()).await?;
        let metrics = BrokerMetrics::default();
        metrics.trust_version(keeper.held().trust().version());
        let (policies, condemned) = ask_witnesses(&log, policy, &config, &metrics).unzip();
        let saver = Saver {
            shelf: shelf.clone(),
            positions: Arc::clone(&positions),
            interval: config.limits.positions_save_interval(),
        };
        let reader = log.reader();
        let (ledger, closed) = Ledger::start(log, &checkpoint, positions);
        backup::put_on_record(&config.data_dir, &ledger).await?;
        let (index, following) = open_index(&config, reader, &ledger).await?;
        let log = LogTask::Running(tokio::spawn(closed));
        if let Some(condemned) = condemned {
            tokio::spawn(close_when(condemned, ledger.clone()));
        }
        let receipts = shelf.receipts().await?;
        let masking = MaskingSecret::open(&config.data_dir)?;
        let connections = Connections::new();
        let foundation = Foundation {
            shelf,
            ledger: ledger.clone(),
            metrics: metrics.clone(),
            judge: judged_by,
            connections: connections.clone(),
            masking,
        };
        let Offices { steward, registrar, chancery, arbiter } =
            Offices::open(&config, &declared, grounds, foundation).await?;

        let board = Board::knowing(receipts);
        let desk = Desk {
            steward: Arc::clone(&steward),
            arbiter: Arc::clone(&arbiter),
            ledger: ledger.clone(),
            shelf: saver.shelf.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            entitled: EntitledOfEpoch::default(),
        };
        let examiner = Arc::new(Examiner::open(desk, &config.compliance).await?);

        let mut broker = Broker {
            config,
            address,
            admin_address: None,
            board,
            metrics,
            steward,
            registrar,
            chancery,
            arbiter,
            examiner,
            trusted: AtomicU64::new(keeper.held().trust().version()),
            keeper: Mutex::new(Some(keeper)),
            log_signer,
            policies,
            judge,
            not_after,
            refused: watch::Sender::new(None),
            ledger,
            index,
            retention: None,
            following: Some(following),
            saver,
            background: Background::start().map_err(BrokerError::Background)?,
            material,
            connections,
            drain: Drain::new(),
            log,
            tasks: Vec::new(),
        };
        broker.metrics.certificate_expiry(*broker.not_after.borrow());
        broker.open_admin().await?;
        let heard = Heard::default();
        let (matching, progress) = Box::pin(broker.open_matching(heard.clone(), rules.clone())).await?;
        broker.run_retention(progress.clone());
        broker.open_doors(listener, (heard, progress, Arc::new(rules)));
        broker.run_matching(matching);
        let fetching = broker.fetch_lists()?;
        broker.tasks.extend(fetching);
        tracing::info!(%address, mesh = broker.config.mesh, epoch = broker.epoch(), "the broker is open");
        Ok(broker)
    }

    /// Where the mesh listener listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin server listens, if there is one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// How long the log is kept; `None` until the broker is open.
    pub fn retention(&self) -> Option<&Retention> {
        self.retention.as_deref()
    }

    /// Which node decides by which epoch.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The revocation lists that the newest bundles carry: what [`Board::receipts`] is asked about.
    pub fn current_revocation(&self) -> Vec<RevocationState> {
        self.steward.current().revocation().to_vec()
    }

    /// The newest epoch.
    pub fn epoch(&self) -> u64 {
        self.steward.current().epoch()
    }

    /// Signs the log by the keys of this trust file from now on, and puts on record which file that is.
    pub(crate) async fn take_log_keys(
        &self,
        mesh: &SignedTrust,
        (now, next): (LogKey, Option<LogKey>),
        policy: Option<Arc<Policy>>,
    ) -> Result<(), BrokerError> {
        let version = mesh.trust().version();
        self.metrics.trust_version(version);
        if self.trusted.swap(version, Ordering::Relaxed) == version {
            return Ok(());
        }
        self.log_signer.change(now, next)?;
        if let (Some(policies), Some(policy)) = (&self.policies, policy) {
            policies.send_replace(policy);
        }
        let act = Act {
            actor: RECORDER,
            action: "trust.apply",
            resource: &format!("trust/{version}"),
            content_hash: Some(sha256(mesh.to_file().as_bytes())),
            detail: "mesh trust file",
            epoch: self.epoch(),
        };
        self.ledger.record(vec![administration(act)]).await?;
        Ok(())
    }

    /// Waits until the log has failed, after which nothing can be put on record: [`Broker::stop`] says why.
    pub async fn ended(&mut self) {
        if let LogTask::Running(task) = &mut self.log {
            self.log = LogTask::Ended(task.await.unwrap_or(Err(LedgerError::Closed)));
        }
    }

    /// Stops in order: streams are told to come back later, what is under way is put on record, the log and the store
    /// are closed.
    ///
    /// # Errors
    /// [`BrokerError`], if the log had failed or cannot be closed cleanly.
    pub async fn stop(mut self) -> Result<(), BrokerError> {
        self.drain.start(self.config.limits.drain_timeout());
        for task in self.tasks.drain(..) {
            // A task that panicked has nothing left to stop.
            let _ = task.await;
        }
        // It may wait for the ledger, which is still open.
        let following = self.following.take();
        let _ = spawn_blocking(move || drop(following)).await;
        self.ledger.close().await;
        self.ended().await;
        self.saver.save().await;
        tracing::info!("the broker is closed");
        match self.log {
            LogTask::Ended(ended) => Ok(ended?),
            LogTask::Running(_) => Ok(()),
        }
    }

    async fn open_matching(&self, heard: Heard, rules: Rules) -> Result<(Matching, Progress), BrokerError> {
        let (ledger, store) = (self.ledger.clone(), self.saver.shelf.clone());
        let (config, metrics) = (&self.config.matching, self.metrics.clone());
        Ok(Matching::open(ledger, store, heard, config, rules, metrics).await?)
    }

    /// Matching may fail without the broker: records come in all the same, and are matched at the next start.
    fn run_matching(&mut self, matching: Matching) {
        let drain = self.drain.clone();
        self.tasks.push(self.background.spawn(async move {
            if let Err(error) = matching.run(drain).await {
                tracing::error!(%error, "records are not matched any more until the broker is started again");
            }
        }));
    }

    fn run_retention(&mut self, progress: Progress) {
        let (ledger, index) = (self.ledger.clone(), self.index.clone());
        let (dir, months) = (&self.config.data_dir, self.config.retention.months);
        let retention = Arc::new(Retention::new(dir, months, ledger, index, progress));
        self.tasks.push(tokio::spawn(Arc::clone(&retention).keep(self.drain.clone())));
        self.retention = Some(retention);
    }

    fn open_doors(&mut self, listener: TcpListener, known: (Heard, Progress, Arc<Rules>)) {
        let routes = routes(self.ground(known));
        let (material, connections, drain) =
            (self.material.clone(), self.connections.clone(), self.drain.clone());
        self.tasks.push(tokio::spawn(async move {
            Server::mesh(listener, material, Limits::control(), connections, drain).serve_tower(routes).await;
        }));
        let refusals =
            refusals::keep_on_record(self.connections.clone(), self.ledger.clone(), self.drain.clone());
        self.tasks.push(tokio::spawn(refusals));
        self.tasks.push(tokio::spawn(self.saver.clone().keep_saving(self.drain.clone())));
        let watching = Arc::clone(&self.arbiter).keep_watching(self.drain.clone());
        self.tasks.push(self.background.spawn(watching));
        let examining = Arc::clone(&self.examiner).keep_examining(self.drain.clone());
        self.tasks.push(self.background.spawn(examining));
    }

    fn ground(&self, (heard, progress, rules): (Heard, Progress, Arc<Rules>)) -> Ground {
        Ground {
            steward: Arc::clone(&self.steward),
            shelf: self.saver.shelf.clone(),
            registrar: Arc::clone(&self.registrar),
            chancery: Arc::clone(&self.chancery),
            arbiter: Arc::clone(&self.arbiter),
            examiner: Arc::clone(&self.examiner),
            ledger: self.ledger.clone(),
            policy: self.policies.as_ref().map(watch::Sender::subscribe),
            heard,
            progress,
            rules,
            index: self.index.clone(),
            reader: LogReader::new(&log_dir(&self.config.data_dir)),
            board: self.board.clone(),
            positions: Arc::clone(&self.saver.positions),
            judge: self.judge.subscribe(),
            metrics: self.metrics.clone(),
            drain: self.drain.clone(),
            batches_in_flight_max: self.config.limits.batches_in_flight_max,
        }
    }

    async fn open_admin(&mut self) -> Result<(), BrokerError> {
        let Some(listen) = self.config.telemetry.admin_listen else {
            return Ok(());
        };
        let identity = Identity {
            role: "broker".to_owned(),
            mesh: self.config.mesh.clone(),
            development: self.config.development,
        };
        let metrics = Metrics::new(&identity);
        self.metrics.register(&metrics, &self.board, &self.saver.positions);
        self.metrics.register_doors(&metrics, &self.connections);
        let (index, published) = (self.index.clone(), self.ledger.published_size());
        self.metrics.register_index(&metrics, move || published.borrow().saturating_sub(index.upto()));
        let health = self.health(identity);
        let server = AdminServer::bind(listen, health, metrics).await?;
        let unknown = |source| BrokerError::Address { address: listen, source };
        self.admin_address = Some(server.local_addr().map_err(unknown)?);
        let drain = self.drain.clone();
        self.tasks.push(tokio::spawn(server.serve(async move {
            drain.started().await;
        })));
        Ok(())
    }

    fn health(&self, identity: Identity) -> Health {
        let (ledger, steward, drain) = (self.ledger.clone(), Arc::clone(&self.steward), self.drain.clone());
        let generations = self.steward.watch();
        let log = move || {
            if ledger.is_open() {
                Check::ok("takes entries")
            } else {
                Check::failing("closed: see the log of this process, then the disk of the data folder")
            }
        };
        let doors = move || {
            if drain.is_started() { Check::failing("the broker is stopping") } else { Check::ok("open") }
        };
        let (not_after, refused) = (self.not_after.subscribe(), self.refused.subscribe());
        let certificate = move || {
            own_files::check(*not_after.borrow(), refused.borrow().as_deref(), OffsetDateTime::now_utc())
        };
        Health::new(identity)
            .check("certificate", certificate)
            .check("log", log)
            .check("rights", move || Check::ok(format!("epoch {}", steward.current().epoch())))
            .check("trust", move || Check::ok(standing(generations.borrow().trusts().newest())))
            .check("doors", doors)
    }
}

/// Has the log ask its witnesses, if it has any, by a policy that may change. The second value ends with the proof, if one
/// of them shows that this is another log.
fn ask_witnesses(
    log: &Log,
    policy: Option<Arc<Policy>>,
    config: &BrokerConfig,
    metrics: &BrokerMetrics,
) -> Option<(watch::Sender<Arc<Policy>>, impl Future<Output = Option<String>> + Send + use<>)> {
    let (policies, newest) = watch::channel(policy?);
    let (cosigner, asking) = witnesses::cosigner(newest, log, &config.witnesses, metrics.clone());
    log.cosign_with(cosigner);
    Some((policies, asking))
}

/// The log has stopped: the ledger learns it here, also when nobody else has anything to record.
async fn close_when(condemned: impl Future<Output = Option<String>>, ledger: Ledger) {
    if condemned.await.is_some() {
        ledger.close().await;
    }
}

/// Everything that the configuration names, read and found good, and the trust that is kept.
struct Loaded {
    keeper: TrustKeeper,
    read: Read,
}

struct Read {
    declared: Declared,
    signer: BundleSigner,
    believed: Believed,
    credentials: Credentials,
    log_keys: (LogKey, Option<LogKey>),
    policy: Option<Arc<Policy>>,
}

impl Read {
    fn new(config: &BrokerConfig, mesh: &SignedTrust) -> Result<Read, BrokerError> {
        let log_keys = mesh_keys::log_keys(config, mesh.trust())?;
        let policy = witnesses::policy(mesh.trust())?;
        let credentials = trust::credentials(config)?;
        let (believed, problem) = Believed::load(config, mesh, &RevocationLists::empty())?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let declared = Declared::load(config)?;
        let signer = mesh_keys::bundle_signer(config, mesh.trust())?;
        TlsMaterial::new(&credentials, Arc::clone(&believed.judge))?;
        Ok(Read { declared, signer, believed, credentials, log_keys, policy })
    }
}

/// Opens the index of the log that `reader` reads, and begins to follow it.
async fn open_index(
    config: &BrokerConfig,
    reader: LogReader,
    ledger: &Ledger,
) -> Result<(Index, Following), BrokerError> {
    let data_dir = config.data_dir.clone();
    let unusable = |source| BrokerError::Source { path: index_dir(&config.data_dir), source };
    let opened = spawn_blocking(move || Index::open(&data_dir, reader, BLOCK_ENTRIES)).await;
    let (index, indexer) = opened.map_err(|_| BrokerError::Stopped)?.map_err(unusable)?;
    let following = Following::spawn(&index, indexer, ledger.clone(), Handle::current()).map_err(unusable)?;
    Ok((index, following))
}

/// Reads everything that the configuration names, in the light of the configured trust file or the one that is held,
/// whichever is newer. Only where all of it is good, that file is kept.
async fn load(config: &BrokerConfig) -> Result<Loaded, BrokerError> {
    let config = config.clone();
    let load = move || {
        let now = OffsetDateTime::now_utc();
        let mesh = TrustKeeper::peek(&config.trust, trust::owner(&config), now)?;
        let read = Read::new(&config, &mesh)?;
        let keeper = TrustKeeper::open(&config.trust, trust::owner(&config), now)?;
        Ok(Loaded { keeper, read })
    };
    spawn_blocking(load).await.map_err(|_| BrokerError::Stopped)?
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BrokerError> {
    let listener = bind(address, false)?;
    match listener.local_addr() {
        Ok(bound) => Ok((listener, bound)),
        Err(source) => Err(BrokerError::Address { address, source }),
    }
}

/// In how far the trust file is in order.
fn standing(mesh: &SignedTrust) -> String {
    let until = mesh.trust().expires();
    let over = if until <= OffsetDateTime::now_utc() { "EXPIRED" } else { "good until" };
    format!("version {}, {over} {}", mesh.trust().version(), until.date())
}

/// The reload signal.
fn hangups() -> Result<Signal, BrokerError> {
    signal(SignalKind::hangup()).map_err(BrokerError::Signal)
}
