//! The running broker: everything put together, from configuration to open doors, and back.

use std::net::SocketAddr;
use std::sync::Arc;

use lienthong_certs::MeshKey;
use lienthong_proto::lienthong::audit::v1::audit_service_server::AuditServiceServer;
use lienthong_proto::lienthong::catalog::v1::catalog_service_server::CatalogServiceServer;
use lienthong_proto::lienthong::control::v1::rights_service_server::RightsServiceServer;
use lienthong_proto::lienthong::registry::v1::registry_service_server::RegistryServiceServer;
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics};
use lienthong_transport::{Connections, Drain, Limits, SharedMaterial, TlsMaterial, bind, serve_tower};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use tonic::service::Routes;

use crate::board::Board;
use crate::bundle::BundleSigner;
use crate::config::BrokerConfig;
use crate::declared::Declared;
use crate::door::Door;
use crate::error::BrokerError;
use crate::findings::Findings;
use crate::issuer::Issuer;
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use crate::metrics::BrokerMetrics;
use crate::positions::Positions;
use crate::service::audit::Audit;
use crate::service::catalog::Catalog;
use crate::service::registry::Registry;
use crate::service::rights::Rights;
use crate::shelf::Shelf;
use crate::state::{self, State};
use crate::steward::Steward;
use crate::trust::Trust;

/// Runs a broker until `shutdown` ends, then stops it in order. SIGHUP reloads catalog, registry and trust.
///
/// Prints nothing. Whoever must know that the doors are open asks `/ready`, or starts a [`Broker`] by himself.
///
/// # Errors
/// [`BrokerError`]: why it did not start, or what stopped it.
pub async fn run(config: BrokerConfig, shutdown: impl Future<Output = ()>) -> Result<(), BrokerError> {
    let mut hangups = hangups()?;
    let mut broker = Broker::start(config).await?;
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return broker.stop().await,
            () = broker.ended() => return broker.stop().await,
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
    let (_, trust) = Declared::load(config)?;
    TlsMaterial::new(&trust.credentials, trust.judge)?;
    MeshKey::load(&config.bundle_key)?;
    state::log_key(&config.log_key)?;
    Ok(())
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    board: Board,
    metrics: BrokerMetrics,
    steward: Arc<Steward>,
    ledger: Ledger,
    shelf: Shelf,
    positions: Arc<Positions>,
    material: SharedMaterial,
    connections: Connections,
    drain: Drain,
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
    pub async fn start(config: BrokerConfig) -> Result<Broker, BrokerError> {
        config.check()?;
        let (declared, trust) = load(&config).await?;
        let signer = BundleSigner::new(
            &config.mesh,
            &config.bundle_key_name,
            MeshKey::load(&config.bundle_key)?,
        );
        let material = SharedMaterial::new(TlsMaterial::new(&trust.credentials, trust.judge)?);

        let State {
            log,
            checkpoint,
            shelf,
            positions,
        } = State::open(&config).await?;
        let (ledger, closed) = Ledger::start(log, &checkpoint, Arc::clone(&positions));
        let log = LogTask::Running(tokio::spawn(closed));
        let (board, metrics) = (Board::default(), BrokerMetrics::default());
        let issuer = Issuer::new(signer.clone(), ledger.clone(), shelf.clone());
        let steward = Steward::open(&config.mesh, declared, &shelf, issuer, metrics.clone()).await?;

        let listener = bind(config.listen, false)?;
        let unknown = |source| BrokerError::Address {
            address: config.listen,
            source,
        };
        let address = listener.local_addr().map_err(unknown)?;
        let mut broker = Broker {
            address,
            admin_address: None,
            board,
            metrics,
            steward: Arc::new(steward),
            ledger,
            shelf,
            positions,
            material: material.clone(),
            connections: Connections::new(),
            drain: Drain::new(),
            log,
            tasks: Vec::new(),
            config,
        };
        broker.open_admin().await?;
        let routes = broker.routes(signer);
        let (connections, drain) = (broker.connections.clone(), broker.drain.clone());
        broker.tasks.push(tokio::spawn(async move {
            serve_tower(listener, material, Limits::default(), connections, drain, routes).await;
        }));
        broker.tasks.push(tokio::spawn(broker.save_positions()));
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

    /// Which node decides by which epoch.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// The newest epoch.
    pub fn epoch(&self) -> u64 {
        self.steward.current().epoch()
    }

    /// Reads catalog, registry, certificates and revocation lists again, and takes them over if none has a mistake.
    /// Connections that the new trust refuses are cut. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then. It is also logged and counted.
    pub async fn reload(&self) -> Result<bool, BrokerError> {
        let reloaded = self.take_over().await;
        match &reloaded {
            Ok(true) => self.metrics.reloaded("applied"),
            Ok(false) => self.metrics.reloaded("unchanged"),
            Err(error) => {
                self.metrics.reloaded("refused");
                tracing::error!(%error, "reload refused; the broker goes on with what it has");
            }
        }
        reloaded
    }

    async fn take_over(&self) -> Result<bool, BrokerError> {
        let (declared, trust) = load(&self.config).await?;
        let material = TlsMaterial::new(&trust.credentials, trust.judge)?;
        let rose = self.steward.declare(declared).await?;
        self.material.replace(material);
        for (peer, refusal) in self.connections.close_refused(&self.material) {
            tracing::warn!(%peer, %refusal, "connection cut: its certificate is no longer accepted");
        }
        Ok(rose)
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
        self.ledger.close().await;
        self.ended().await;
        save(&self.shelf, &self.positions).await;
        tracing::info!("the broker is closed");
        match self.log {
            LogTask::Ended(ended) => Ok(ended?),
            LogTask::Running(_) => Ok(()),
        }
    }

    fn routes(&self, signer: BundleSigner) -> Routes {
        let door = Door::new(self.steward.watch(), self.metrics.clone());
        let rights = Rights {
            door: door.clone(),
            generations: self.steward.watch(),
            signer,
            board: self.board.clone(),
            drain: self.drain.clone(),
        };
        let registry = Registry {
            door: door.clone(),
            steward: Arc::clone(&self.steward),
            metrics: self.metrics.clone(),
        };
        let audit = Audit {
            door: door.clone(),
            ledger: self.ledger.clone(),
            findings: Findings::new(self.ledger.clone()),
            metrics: self.metrics.clone(),
            drain: self.drain.clone(),
            batches_in_flight_max: self.config.limits.batches_in_flight_max,
        };
        macro_rules! bounded {
            ($server:ident, $service:expr) => {
                $server::new($service)
                    .max_decoding_message_size(REQUEST_BYTES_MAX)
                    .max_encoding_message_size(RESPONSE_BYTES_MAX)
            };
        }
        Routes::new(bounded!(RightsServiceServer, rights))
            .add_service(bounded!(RegistryServiceServer, registry))
            .add_service(bounded!(CatalogServiceServer, Catalog { door }))
            .add_service(bounded!(AuditServiceServer, audit))
            .prepare()
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
        self.metrics.register(&metrics, &self.board, &self.positions);
        let (ledger, steward) = (self.ledger.clone(), Arc::clone(&self.steward));
        let drain = self.drain.clone();
        let health = Health::new(identity)
            .check("log", move || match ledger.is_open() {
                true => Check::ok("takes entries"),
                false => {
                    Check::failing("closed: see the log of this process, then the disk of the data folder")
                }
            })
            .check("rights", move || {
                Check::ok(format!("epoch {}", steward.current().epoch()))
            })
            .check("doors", move || match drain.is_started() {
                false => Check::ok("open"),
                true => Check::failing("the broker is stopping"),
            });
        let server = AdminServer::bind(listen, health, metrics).await?;
        let unknown = |source| BrokerError::Address {
            address: listen,
            source,
        };
        self.admin_address = Some(server.local_addr().map_err(unknown)?);
        let drain = self.drain.clone();
        self.tasks.push(tokio::spawn(server.serve(async move {
            drain.started().await;
        })));
        Ok(())
    }

    /// Saves the positions every now and then, until the broker stops.
    fn save_positions(&self) -> impl Future<Output = ()> + use<> {
        let (shelf, positions, drain) = (
            self.shelf.clone(),
            Arc::clone(&self.positions),
            self.drain.clone(),
        );
        let mut tick = interval(self.config.limits.positions_save_interval());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        async move {
            loop {
                tokio::select! {
                    _ = drain.started() => return,
                    _ = tick.tick() => save(&shelf, &positions).await,
                }
            }
        }
    }
}

/// Saves what changed. A failure costs a longer start, nothing else.
async fn save(shelf: &Shelf, positions: &Positions) {
    if let Some(changes) = positions.take_changes() {
        if let Err(error) = shelf.save_journals(&changes).await {
            tracing::warn!(%error, "positions not saved; the next start reads more of the log");
            positions.untake(changes);
        }
    }
}

async fn load(config: &BrokerConfig) -> Result<(Declared, Trust), BrokerError> {
    let config = config.clone();
    spawn_blocking(move || Declared::load(&config))
        .await
        .map_err(|_| BrokerError::Stopped)?
}

/// The reload signal.
fn hangups() -> Result<Signal, BrokerError> {
    signal(SignalKind::hangup()).map_err(BrokerError::Signal)
}
