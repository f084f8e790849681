//! A running backend, as every test here asks one.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part; a panic is how a test fails

use std::path::PathBuf;

use lienthong_samples::backend::{Backend, BackendConfig, BackendKind, Listen};
use lienthong_transport::channel::{Channel, ChannelOptions};
use lienthong_transport::{Connections, Endpoint};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A channel to a backend.
pub type Client = Channel<tonic::body::Body>;

/// A backend on a Unix socket in a folder of its own.
pub struct Running {
    _folder: TempDir,
    socket: PathBuf,
    pub stop: oneshot::Sender<()>,
    pub served: JoinHandle<()>,
}

impl Running {
    pub fn start(kind: BackendKind, dvhc_csv: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("backend.sock");
        let config = BackendConfig { listen: Listen::Unix(socket.clone()), tls: None, dvhc_csv };
        let backend = Backend::open(kind, config).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(backend.serve(async {
            let _ = stopped.await;
        }));
        Self { _folder: folder, socket, stop, served }
    }

    pub fn client(&self) -> Client {
        client(Endpoint::Unix(self.socket.clone()))
    }

    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap();
    }
}

/// A channel to any endpoint.
pub fn client(endpoint: Endpoint) -> Client {
    Channel::new(endpoint, ChannelOptions::new(Connections::new()))
}
