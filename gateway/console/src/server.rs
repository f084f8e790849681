//! Start and stop: the door for certificates, and the one for trials.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lienthong_certs::judge::TrustError;
use lienthong_certs::{CredentialsError, ProfileError, files};
use lienthong_telemetry::{PageNumbers, plain_http};
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Drain, Endpoint, Limits, ListenError, MaterialError, Server, bind,
};
use lienthong_trust::KeeperError;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::belief::{self, Believer};
use crate::config::ConsoleConfig;
use crate::live::Watches;
use crate::pages::form::Seal;
use crate::public_line::PublicLine;
use crate::routes::{House, router};
use crate::sign_in::Trial;

/// How long what is in flight may go on once the console stops, milliseconds.
pub const DRAIN_TIMEOUT_MS: u64 = 5_000;

/// A console that listens, and does not serve yet.
pub struct Console {
    listener: TcpListener,
    trial: Option<(TcpListener, Arc<Trial>)>,
    believer: Believer,
    house: House,
    numbers: PageNumbers,
}

/// Judges everything that the configuration says, and opens nothing.
///
/// # Errors
/// [`ConsoleError`]: what [`Console::open`] would refuse.
pub fn check(config: &ConsoleConfig, mesh: &str, development: bool) -> Result<(), ConsoleError> {
    belief::check(config, mesh, development)
}

impl Console {
    /// Opens the doors; what they answer is counted in `numbers`. The broker need not be there yet: pages say so until it is.
    ///
    /// # Errors
    /// [`ConsoleError`].
    pub async fn open(
        config: ConsoleConfig,
        mesh: &str,
        development: bool,
        numbers: PageNumbers,
    ) -> Result<Console, ConsoleError> {
        let (owned, mesh_owned) = (config.clone(), mesh.to_owned());
        let believer = spawn_blocking(move || {
            check(&owned, &mesh_owned, development)?;
            Believer::open(&owned, &mesh_owned, development)
        });
        let believer = believer.await.map_err(|_| ConsoleError::Interrupted)??;
        let endpoint = Endpoint::Mesh {
            address: config.broker.address,
            server_name: Some(config.broker.server_name),
            material: believer.belief().material(),
        };
        let broker = Channel::new(endpoint, ChannelOptions::new(Connections::new()));
        let listener = bind(config.listen, false)?;
        let trial = match config.trial {
            None => None,
            Some(trial) => {
                if !trial.listen.ip().is_loopback() {
                    return Err(ConsoleError::TrialFromElsewhere(trial.listen));
                }
                let failed = |source| ConsoleError::Listen { address: trial.listen, source };
                let listener = TcpListener::bind(trial.listen).await.map_err(failed)?;
                Some((listener, Arc::new(Trial::open(&trial.people)?)))
            }
        };
        let house = House {
            mesh: mesh.into(),
            development,
            broker,
            belief: believer.belief(),
            trial: None,
            seal: Arc::new(Seal::new()?),
            watches: Watches::default(),
        };
        Ok(Console { listener, trial, believer, house, numbers })
    }

    /// Where certificates are asked for, with the port that the system chose.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where a trial's visitors come in.
    pub fn trial_addr(&self) -> Option<SocketAddr> {
        self.trial.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// The line to the broker for what everybody may know.
    pub fn public_line(&self) -> PublicLine {
        PublicLine::new(self.house.broker.clone(), self.house.belief.clone())
    }

    /// Serves until `shutdown` ends, then finishes what is in flight.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Console { listener, trial, believer, house, numbers } = self;
        let stopping = CancellationToken::new();
        let drain = Drain::new();
        let doors = async {
            let material = house.belief.material();
            let router = numbers.count("console", router(house.clone()));
            let server =
                Server::mesh(listener, material, Limits::control(), Connections::new(), drain.clone());
            server.serve_tower(router).await;
        };
        let trials = async {
            if let Some((listener, trial)) = trial {
                let house = House { trial: Some(trial), ..house.clone() };
                let router = numbers.count("trial", router(house));
                plain_http::serve(listener, router, stopping.cancelled()).await;
            }
        };
        let stop = async {
            shutdown.await;
            house.watches.close();
            drain.start(Duration::from_millis(DRAIN_TIMEOUT_MS));
            stopping.cancel();
        };
        tokio::select! {
            ((), (), ()) = async { tokio::join!(doors, trials, stop) } => {}
            () = believer.keep_up() => {}
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("listener", &self.listener).finish_non_exhaustive()
    }
}

/// Why a console does not start.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// A door cannot be opened.
    #[error(transparent)]
    Door(#[from] ListenError),
    /// The trial's door cannot be opened.
    #[error(
        "the console cannot listen on {address}: {source}; is the port taken or the address not of this machine?"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The trust file cannot be used.
    #[error(transparent)]
    Trust(#[from] KeeperError),
    /// The trust file names authorities that may not be believed.
    #[error(transparent)]
    Authorities(#[from] TrustError),
    /// Certificate and key are not fit for TLS.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// A certificate of development in a mesh that is none.
    #[error(
        "{0} is a certificate made for development, and development is not set; use one of a real authority"
    )]
    Development(PathBuf),
    /// A trial in a mesh that is none of development.
    #[error(
        "console.trial lets people in without a certificate: it is for a mesh with development = true only; remove it"
    )]
    TrialOfProduction,
    /// A trial that others could reach.
    #[error(
        "console.trial.listen {0} can be reached from other machines; give a loopback address such as 127.0.0.1:8081"
    )]
    TrialFromElsewhere(SocketAddr),
    /// A person's certificate cannot be read.
    #[error("{path} holds no certificate of a person: {source}")]
    Person {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ProfileError,
    },
    /// No random bytes could be had.
    #[error("the system gives no random bytes")]
    Random,
    /// The start was interrupted.
    #[error("the start was interrupted")]
    Interrupted,
}
