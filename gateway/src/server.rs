//! Start and stop.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use lienthong_audit::note::{NoteError, VerifierKey};
use lienthong_console::{Console, ConsoleError};
use lienthong_telemetry::admin::AdminError;
use lienthong_telemetry::{AdminServer, Check, Health, Identity, Metrics, PageNumbers, plain_http};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::GatewayConfig;
use crate::head::{HeadWatch, Seen};
use crate::log_folder::LogFolder;
use crate::routes::{self, Numbers, Public};
use crate::statistics::StatisticsWatch;

/// Opens the gateway and serves until `shutdown` ends.
pub async fn run(config: GatewayConfig, shutdown: impl Future<Output = ()>) -> Result<(), GatewayError> {
    Gateway::open(config).await?.serve(shutdown).await;
    Ok(())
}

/// Judges everything that the configuration says, and opens nothing. The log folder may come later.
pub fn check(config: &GatewayConfig) -> Result<(), GatewayError> {
    let key = config.log_verifier_key.as_deref().map(str::parse::<VerifierKey>);
    key.transpose().map_err(GatewayError::LogKey)?;
    match &config.console {
        Some(console) => Ok(lienthong_console::check(console, &config.mesh, config.development)?),
        None => Ok(()),
    }
}

/// A gateway that listens but does not serve yet: whoever needs to know its address asks here.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    console: Option<Console>,
    admin: Option<AdminServer>,
    router: Router,
    head: HeadWatch,
    statistics: Option<StatisticsWatch>,
}

impl Gateway {
    /// Opens the listeners. The log need not be there yet: the page says so until it is.
    pub async fn open(config: GatewayConfig) -> Result<Self, GatewayError> {
        let key = config.log_verifier_key.as_deref().map(str::parse::<VerifierKey>);
        let key = key.transpose().map_err(GatewayError::LogKey)?;
        let numbers = PageNumbers::default();
        let console = match config.console {
            Some(console) => {
                Some(Console::open(console, &config.mesh, config.development, numbers.clone()).await?)
            }
            None => None,
        };
        let identity =
            Identity { role: "gateway".to_owned(), mesh: config.mesh, development: config.development };
        let head = HeadWatch::start(&config.log_dir, key).await;
        let health = Health::new(identity.clone()).check("log", log_check(head.subscribe()));
        let admin = match config.telemetry.admin_listen {
            Some(address) => {
                Some(AdminServer::bind(address, health.clone(), metrics(&identity, &numbers)).await?)
            }
            None => None,
        };
        let failed = |source| GatewayError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let folder = LogFolder::new(&config.log_dir);
        let statistics = console.as_ref().map(|console| StatisticsWatch::new(console.public_line()));
        let told = statistics.as_ref().map(StatisticsWatch::subscribe);
        let line = console.as_ref().map(Console::public_line);
        let public = told.zip(line).map(|(told, line)| Numbers { told, line });
        let router = routes::router(Public { folder, head: head.subscribe(), health, numbers: public });
        let router = numbers.count("public", router);
        Ok(Self { listener, console, admin, router, head, statistics })
    }

    /// Where the public pages are, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The console, if there is one.
    pub fn console(&self) -> Option<&Console> {
        self.console.as_ref()
    }

    /// Serves until `shutdown` ends, then finishes what is in flight.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let stopping = CancellationToken::new();
        let public = plain_http::serve(self.listener, self.router, stopping.cancelled());
        let admin = async {
            if let Some(admin) = self.admin {
                admin.serve(stopping.cancelled()).await;
            }
        };
        let console = async {
            if let Some(console) = self.console {
                console.serve(stopping.cancelled()).await;
            }
        };
        let stop = async {
            shutdown.await;
            stopping.cancel();
        };
        tracing::info!("gateway serves");
        let asking = async {
            match self.statistics {
                Some(statistics) => statistics.keep_asking().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ((), (), (), ()) = async { tokio::join!(public, console, admin, stop) } => {}
            () = self.head.keep_reading() => {}
            () = asking => {}
        }
        tracing::info!("gateway stopped");
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The configured key is none.
    #[error("log_verifier_key is no C2SP verifier key: {0}; copy the broker's, ORIGIN+HASH+KEY")]
    LogKey(#[source] NoteError),
    /// The public listener cannot be opened.
    #[error(
        "the gateway cannot listen on {address}: {source}; is the port taken or the address not of this machine?"
    )]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The console cannot be opened.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// The admin listener cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// The gateway's numbers for its operator.
fn metrics(identity: &Identity, numbers: &PageNumbers) -> Metrics {
    let metrics = Metrics::new(identity);
    numbers.register(&metrics);
    metrics
}

fn log_check(head: watch::Receiver<Seen>) -> impl Fn() -> Check + Send + Sync {
    move || match &*head.borrow() {
        Ok(head) => Check::ok(format!("{} entries", head.checkpoint.size)),
        Err(error) => Check::failing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_list_holds_every_number() {
        let identity = Identity { role: "gateway".into(), mesh: "m".into(), development: true };
        let golden = include_str!("../tests/golden/metrics.txt");
        assert_eq!(metrics(&identity, &PageNumbers::default()).check_golden(golden), Ok(()));
    }
}
