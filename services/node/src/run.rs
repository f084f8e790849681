//! A node, put together and kept running. Starts with what is on disk, without the broker; stops by
//! draining; ends with an error when its journal can no longer promise anything.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use lienthong_audit::journal::{Journal, JournalError, JournalOptions};
use lienthong_certs::files::FileError;
use lienthong_crl::AddressError;
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics as Register, admin::AdminError};
use lienthong_transport::{Connections, Drain};
use time::OffsetDateTime;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    call::replay::ReplayWindow,
    clock,
    config::{LocalListenerConfig, NodeConfig},
    control::{
        broker::Broker,
        bundle::BundleKeeper,
        erase, fetched_lists, housekeeping, orphans,
        publish::{self, ContractFileError},
        renewal::{self, Renewal},
        ship::{self, Shipping},
        successor::{self, Plan, Successor},
        trust_file, watch as rights_watch, witness,
    },
    cores::{Cores, CoresConfig, CoresError},
    denials::Denials,
    freshness::{Freshness, FreshnessError},
    front::Front,
    gates::Gates,
    message_space::MessageSpace,
    metrics::Metrics,
    node::Node,
    own_files::OwnFiles,
    promises::Promises,
    quota::Quotas,
    revocation::Revocation,
    sandbox,
    services::Services,
    trust::{NodeTrustError, Trust},
};

/// Why a node does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration says something that cannot be.
    #[error("the configuration key {key}: {message}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The data folder.
    #[error("the data folder {path} cannot be used: {source}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate, key, anchors.
    #[error(transparent)]
    Trust(#[from] NodeTrustError),
    /// A contract of the configuration.
    #[error(transparent)]
    Contract(#[from] ContractFileError),
    /// The age of the rights on disk.
    #[error(transparent)]
    Freshness(#[from] FreshnessError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The traffic threads.
    #[error(transparent)]
    Cores(#[from] CoresError),
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Certificate or key, whose change was interrupted.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The reload signal.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(io::Error),
}

/// Where a running node can be reached.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// By other nodes.
    pub mesh: SocketAddr,
    /// By its agency's systems; `None` on a Unix socket.
    pub local: Option<SocketAddr>,
    /// By them in plain HTTP; `None` on a Unix socket, or where nothing is configured.
    pub http: Option<SocketAddr>,
    /// By its operator.
    pub admin: Option<SocketAddr>,
}

/// Runs a node until `stop`; tells `ready` once it listens. SIGHUP takes over a renewed certificate. `front` answers
/// where plain HTTP is configured.
pub async fn run(
    config: NodeConfig,
    front: Arc<dyn Front>,
    ready: oneshot::Sender<Addresses>,
    stop: CancellationToken,
) -> Result<(), NodeError> {
    let hangups = signal(SignalKind::hangup()).map_err(NodeError::Signal)?;
    let contract = publish::read(&config.backends)?;
    let fetching = fetched_lists::fetched(&config).map_err(|error| wrong_address(&error))?;
    let next_certificate = plan_renewal(&config)?;
    let connections = Connections::new();
    let trust = open_trust(&config, &connections)?;
    let broker = Broker::new(&config.broker, &trust, &connections);
    let node = open_node(&config, &trust)?;
    node.revocation.judged_by(&trust.material);
    orphans::close(&node);
    orphans::refill_replay_window(&node)?;
    let (first, first_bundle) = watch::channel(false);
    let keeper = open_bundle(&config, &node, &trust, &broker, &connections, &first);

    let health = health(&config, &node, &trust, &first_bundle);
    let admin = open_admin(&config, &node, &connections, &health).await?;
    let shipping_plan = plan_shipping(&config, &node, &trust, &connections);
    let drain = Drain::new();
    let cores = start_cores(&config, (front, health), &node, &trust, &connections, &drain).await?;
    let addresses = Addresses {
        mesh: cores.mesh_address,
        local: cores.local_address,
        http: cores.http_address,
        admin: admin.as_ref().and_then(|admin| admin.local_addr().ok()),
    };

    let (tasks, working) = (TaskTracker::new(), stop.child_token());
    // Records are made and shipped while calls drain, so that they leave before the process does.
    let shipping = CancellationToken::new();
    tasks.spawn(rights_watch::run(keeper, Arc::clone(&node), broker.clone(), first, working.clone()));
    let renewal = Renewal {
        files: renewal::files(&config),
        node: Arc::clone(&node),
        trust: Arc::clone(&trust),
        bound: Arc::default(),
    };
    tasks.spawn(renewal.run(hangups, working.clone()));
    if let Some(plan) = next_certificate {
        tasks.spawn(Successor::new(plan, &node, &trust, &broker).run(working.clone()));
    }
    fetched_lists::spawn(&tasks, fetching, &node, &trust, &working);
    let file = config.trust.file.clone();
    tasks.spawn(trust_file::run(file, Arc::clone(&node), Arc::clone(&trust), working.clone()));
    tasks.spawn(housekeeping::keep_freshness(Arc::clone(&node), shipping.clone()));
    tasks.spawn(housekeeping::record_aggregates(Arc::clone(&node), connections.clone(), shipping.clone()));
    let (watched, believed, dir) = (Arc::clone(&node), Arc::clone(&trust), config.data_dir.clone());
    tasks.spawn(witness::run(watched, believed, broker.clone(), dir, shipping.clone()));
    tasks.spawn(erase::run(Arc::clone(&node), broker.clone(), config.data_dir.clone(), working.clone()));
    if let Some(contract) = contract {
        tasks.spawn(publish::run(contract, broker, working.clone()));
    }
    if let Some(admin) = admin {
        tasks.spawn(admin.serve(working.clone().cancelled_owned()));
    }
    let shipper = shipping_plan.spawn(shipping.clone()).map_err(CoresError::Thread)?;
    tracing::info!(node = %node.name, mesh = %addresses.mesh, local = ?addresses.local, http = ?addresses.http, "node serves");
    // A dropped receiver means that nobody waits to hear it.
    let _ = ready.send(addresses);

    let failure = tokio::select! {
        () = stop.cancelled() => None,
        error = journal_failure(&node) => Some(error),
    };
    working.cancel();
    node.stopping.cancel();
    drain.start(Duration::from_millis(node.limits.drain_ms));
    wait_for("the traffic threads", move || cores.join()).await;
    ship::finish(&node).await;
    shipping.cancel();
    tasks.close();
    tasks.wait().await;
    wait_for("the shipping thread", move || drop(shipper.join())).await;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// Ends an interrupted change of certificate and key first.
fn open_trust(config: &NodeConfig, connections: &Connections) -> Result<Arc<Trust>, NodeError> {
    successor::finish(config)?;
    Ok(Arc::new(Trust::open(config, connections)?))
}

fn open_node(config: &NodeConfig, trust: &Trust) -> Result<Arc<Node>, NodeError> {
    let agency = agency_of(config)?.to_owned();
    let path = &config.data_dir;
    let unusable = |source| NodeError::Data { path: path.clone(), source };
    fs::create_dir_all(path).map_err(unusable)?;
    let policy = trust.mesh().trust().witness_policy().clone();
    let held = witness::kept_checkpoint(path).map_err(unusable)?;
    Ok(Arc::new(Node {
        name: config.name.clone(),
        agency,
        mesh: config.mesh.clone(),
        development: config.development,
        rights: ArcSwapOption::empty(),
        freshness: Freshness::open(&path.join("freshness.toml"), clock::unix_ms())?,
        replay: ReplayWindow::default(),
        journal: open_journal(config)?,
        backlog_age_ms: AtomicU64::new(0),
        gates: Gates::new(&policy, config.limits.gate_wait_ms),
        promises: Promises::new(policy, held),
        started: Instant::now(),
        limits: config.limits.clone(),
        messages: MessageSpace::new(config.limits.message_bytes_max, config.limits.message_bytes_held_max),
        denials: Denials::default(),
        quotas: Quotas::default(),
        revocation: Revocation::default(),
        own_files: OwnFiles::default(),
        metrics: Metrics::default(),
        systems_by_uid: systems_by_uid(config)?,
        calls: AtomicUsize::new(0),
        services: Services::default(),
        stopping: CancellationToken::new(),
    }))
}

/// Starts from the bundle on disk, without the broker.
fn open_bundle(
    config: &NodeConfig,
    node: &Arc<Node>,
    trust: &Arc<Trust>,
    broker: &Broker,
    connections: &Connections,
    first: &watch::Sender<bool>,
) -> BundleKeeper {
    let mut keeper = BundleKeeper::new(
        &config.data_dir,
        Arc::clone(node),
        Arc::clone(trust),
        broker.clone(),
        connections.clone(),
    );
    match keeper.open() {
        Ok(held) => {
            first.send_replace(held);
        }
        // The node starts and waits for the broker: what is damaged here is replaced by the next bundle.
        Err(error) => tracing::error!(%error, "the node holds no rights until it hears the broker"),
    }
    keeper
}

async fn start_cores(
    config: &NodeConfig,
    (front, health): (Arc<dyn Front>, Health),
    node: &Arc<Node>,
    trust: &Trust,
    connections: &Connections,
    drain: &Drain,
) -> Result<Cores, CoresError> {
    let cores = CoresConfig {
        threads: threads(config.threads),
        mesh_listener: config.mesh_listener,
        local_listener: config.local_listener.clone(),
        http: config.http_listener.clone().map(|listener| (listener, front)),
        health,
        broker: config.broker.clone(),
        backends: config.backends.iter().map(|b| (b.services.clone(), b.endpoint.clone())).collect(),
    };
    Cores::start(cores, node, &trust.material, connections, drain).await
}

fn plan_shipping(
    config: &NodeConfig,
    node: &Arc<Node>,
    trust: &Arc<Trust>,
    connections: &Connections,
) -> Shipping {
    Shipping {
        node: Arc::clone(node),
        trust: Arc::clone(trust),
        broker: config.broker.clone(),
        connections: connections.clone(),
    }
}

/// Waits for a thread to end, without holding up the runtime.
async fn wait_for(what: &str, join: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(join).await.is_err() {
        tracing::error!("waiting for {what} failed");
    }
}

/// Resolves only when the journal has failed and can promise nothing any more.
async fn journal_failure(node: &Node) -> JournalError {
    // No record ever has this number, so the wait ends with the journal.
    match node.journal.handle().durable(u64::MAX).await {
        Err(error) => error,
        Ok(()) => JournalError::Closed,
    }
}

/// Reads and judges everything that the configuration names, and touches nothing.
pub fn check(config: &NodeConfig) -> Result<(), NodeError> {
    agency_of(config)?;
    plan_renewal(config)?;
    publish::read(&config.backends)?;
    fetched_lists::fetched(config).map_err(|error| wrong_address(&error))?;
    Trust::check(config)?;
    systems_by_uid(config)?;
    Ok(())
}

fn plan_renewal(config: &NodeConfig) -> Result<Option<Plan>, NodeError> {
    if config.renewal.days_before == 0 {
        let message =
            "a certificate that is renewed at its end is renewed too late; write 1 or more".to_owned();
        return Err(NodeError::Config { key: "renewal.days_before", message });
    }
    Ok(Plan::of(config))
}

fn wrong_address(error: &AddressError) -> NodeError {
    NodeError::Config { key: "trust.revocation_list_urls", message: error.to_string() }
}

fn agency_of(config: &NodeConfig) -> Result<&str, NodeError> {
    if sandbox::is_misconfigured(config) {
        let message = format!(
            "{:?} is the mesh of sandboxes, which accept development certificates alone; set development = true, or name your own mesh",
            sandbox::MESH
        );
        return Err(NodeError::Config { key: "mesh", message });
    }
    config.agency().ok_or_else(|| NodeError::Config {
        key: "name",
        message: format!("{:?} is not agencies/<code>/nodes/<id>", config.name),
    })
}

fn open_journal(config: &NodeConfig) -> Result<Journal, JournalError> {
    let options = JournalOptions {
        backlog_records_max: config.limits.journal_backlog_records_max,
        backlog_bytes_max: config.limits.journal_backlog_bytes_max,
        gathers: true,
        ..JournalOptions::new(config.name.clone())
    };
    Journal::open(config.data_dir.join("journal"), options, std::time::SystemTime::now())
}

fn threads(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The systems behind Unix sockets. A uid is the same system at each of them.
fn systems_by_uid(config: &NodeConfig) -> Result<HashMap<u32, String>, NodeError> {
    let http = config.http_listener.as_ref().map(|listener| ("http_listener.unix.systems", listener));
    let listeners = [Some(("local_listener.unix.systems", &config.local_listener)), http];
    let mut systems = HashMap::new();
    for (key, listener) in listeners.into_iter().flatten() {
        let LocalListenerConfig::Unix(unix) = listener else { continue };
        for (uid, system) in &unix.systems {
            let wrong = |message| NodeError::Config { key, message };
            let number = uid.parse().map_err(|_| wrong(format!("{uid:?} is no uid")))?;
            let before = systems.insert(number, system.clone());
            if let Some(other) = before.filter(|other| other != system) {
                let message = format!("uid {uid} is {other} at the one socket and {system} at the other");
                return Err(wrong(message));
            }
        }
    }
    Ok(systems)
}

/// Who the node is and how it feels.
fn health(
    config: &NodeConfig,
    node: &Arc<Node>,
    trust: &Arc<Trust>,
    first_bundle: &watch::Receiver<bool>,
) -> Health {
    let identity =
        Identity { role: "node".into(), mesh: config.mesh.clone(), development: config.development };
    let (for_age, held, for_files) = (Arc::clone(node), first_bundle.clone(), Arc::clone(node));
    let trust = Arc::clone(trust);
    Health::new(identity)
        .check("rights", move || {
            if *held.borrow() {
                Check::ok("a rights bundle is in effect")
            } else {
                Check::failing("no rights bundle yet")
            }
        })
        .check("certificate", move || for_files.own_files.check(OffsetDateTime::now_utc()))
        .check("broker", move || match for_age.freshness.age() {
            Duration::MAX => Check::failing("the broker was never heard"),
            age => Check::ok(format!("last heard {} s ago", age.as_secs())),
        })
        .check("trust", move || Check::ok(trust_file::standing(&trust)))
}

async fn open_admin(
    config: &NodeConfig,
    node: &Node,
    connections: &Connections,
    health: &Health,
) -> Result<Option<AdminServer>, NodeError> {
    let Some(address) = config.telemetry.admin_listen else {
        return Ok(None);
    };
    let register = Register::new(health.identity());
    node.metrics.register(&register, connections);
    Ok(Some(AdminServer::bind(address, health.clone(), register).await?))
}
