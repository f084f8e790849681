//! Start and stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use lienthong_audit::note::{KeyKind, NoteError, SigningKey, VerifierKey};
use lienthong_certs::files::{self, FileError};
use lienthong_telemetry::admin::AdminError;
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics, plain_http};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::WitnessConfig;
use crate::memory::{Memory, MemoryError};
use crate::metrics::WitnessMetrics;
use crate::routes::{self, Desk};

/// The longest file of a witness's key, in bytes.
pub const KEY_BYTES_MAX: u64 = 4 * 1024;

/// How often a failed memory is looked for, milliseconds.
const FAILURE_LOOK_MS: u64 = 250;

/// Opens the witness and serves until `shutdown` ends, or its memory fails.
///
/// # Errors
/// [`WitnessError`]
pub async fn run(config: WitnessConfig, shutdown: impl Future<Output = ()>) -> Result<(), WitnessError> {
    Witness::open(config).await?.serve(shutdown).await
}

/// Judges everything that the configuration names, and touches nothing.
///
/// # Errors
/// [`WitnessError`]
pub fn check(config: &WitnessConfig) -> Result<(), WitnessError> {
    read_key(config)?;
    read_logs(config)?;
    check_limits(config)
}

/// A witness that listens but does not serve yet: whoever needs to know its address asks here.
#[derive(Debug)]
pub struct Witness {
    listener: TcpListener,
    admin: Option<AdminServer>,
    router: Router,
    memory: Arc<Memory>,
}

impl Witness {
    /// Opens memory and listeners. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`WitnessError`]
    pub async fn open(config: WitnessConfig) -> Result<Self, WitnessError> {
        check_limits(&config)?;
        let memory = Arc::new(Memory::open(&config.data_dir, read_key(&config)?, read_logs(&config)?)?);
        let identity = Identity {
            role: "witness".to_owned(),
            mesh: config.mesh.clone(),
            development: config.development,
        };
        let (for_check, metrics) = (Arc::clone(&memory), WitnessMetrics::default());
        let health = Health::new(identity.clone()).check("memory", move || match for_check.failure() {
            None => Check::ok("durable"),
            Some(reason) => Check::failing(reason),
        });
        let register = Metrics::new(&identity);
        metrics.register(&register, &memory);
        let admin = match config.telemetry.admin_listen {
            Some(address) => Some(AdminServer::bind(address, health.clone(), register).await?),
            None => None,
        };
        let failed = |source| WitnessError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let seats = Arc::new(Semaphore::new(config.limits.requests_in_flight_max));
        let router = routes::router(Desk { memory: Arc::clone(&memory), metrics, seats }, health);
        Ok(Self { listener, admin, router, memory })
    }

    /// Where it listens, with the port that the system chose.
    ///
    /// # Errors
    /// What the system said.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` ends, then finishes what is in flight.
    ///
    /// # Errors
    /// [`WitnessError::Failed`] when a head could not be made durable.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), WitnessError> {
        let stopping = CancellationToken::new();
        let public = plain_http::serve(self.listener, self.router, stopping.cancelled());
        let admin = async {
            if let Some(admin) = self.admin {
                admin.serve(stopping.cancelled()).await;
            }
        };
        let stop = async {
            let failed = failure(&self.memory);
            let ended = tokio::select! {
                () = shutdown => Ok(()),
                reason = failed => Err(WitnessError::Failed(reason)),
            };
            stopping.cancel();
            ended
        };
        tracing::info!(logs = ?self.memory.sizes(), "witness serves");
        let ((), (), ended) = tokio::join!(public, admin, stop);
        tracing::info!("witness stopped");
        ended
    }
}

/// Waits for the memory to fail.
async fn failure(memory: &Memory) -> String {
    loop {
        if let Some(reason) = memory.failure() {
            return reason;
        }
        tokio::time::sleep(Duration::from_millis(FAILURE_LOOK_MS)).await;
    }
}

fn read_key(config: &WitnessConfig) -> Result<SigningKey, WitnessError> {
    let bytes = files::read_private(&config.key, KEY_BYTES_MAX)?;
    let bad = |source| WitnessError::Key { path: config.key.clone(), source };
    let key = SigningKey::from_skey(String::from_utf8_lossy(&bytes).trim_end_matches('\n')).map_err(bad)?;
    match key.verifier().kind() {
        KeyKind::CosignatureV1 => Ok(key),
        KeyKind::Ed25519 => Err(bad(NoteError::WrongKind(key.verifier().label()))),
    }
}

fn read_logs(config: &WitnessConfig) -> Result<Vec<VerifierKey>, WitnessError> {
    if config.logs.is_empty() {
        return Err(WitnessError::NoLogs);
    }
    let log = |text: &String| {
        let key = text.parse::<VerifierKey>();
        let key = key.and_then(|key| match key.kind() {
            KeyKind::Ed25519 => Ok(key),
            KeyKind::CosignatureV1 => Err(NoteError::WrongKind(key.label())),
        });
        key.map_err(|source| WitnessError::LogKey { text: text.clone(), source })
    };
    config.logs.iter().map(log).collect()
}

fn check_limits(config: &WitnessConfig) -> Result<(), WitnessError> {
    match config.limits.requests_in_flight_max {
        1..=Semaphore::MAX_PERMITS => Ok(()),
        _ => Err(WitnessError::NoRequests),
    }
}

/// Why a witness does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The key's file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key.
    #[error("{} holds no witness's key: {source}; make one with lienthong witness create-key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NoteError,
    },
    /// A log's key.
    #[error("logs: {text:?} is no log's key: {source}; copy the log's public key, ORIGIN+HASH+KEY")]
    LogKey {
        /// What stands there.
        text: String,
        /// What is wrong.
        source: NoteError,
    },
    /// No log.
    #[error("logs: name the public key of at least one log")]
    NoLogs,
    /// A bound that lets nothing through.
    #[error("limits.requests_in_flight_max: give at least 1")]
    NoRequests,
    /// The memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The memory failed while the witness ran.
    #[error("a head could not be made durable: {0}; see the disk, then start the witness again (R-48)")]
    Failed(String),
    /// The listener.
    #[error(
        "the witness cannot listen on {address}: {source}; is the port taken or the address not of this machine?"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The admin listener.
    #[error(transparent)]
    Admin(#[from] AdminError),
}
