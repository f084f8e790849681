//! One current-thread runtime per core, each with its own handle to the one socket, accepting in turn: how the bare proxies
//! run, and our nodes.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;

use anyhow::Context;
use lienthong_transport::{Turn, Turns, bind};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

/// Cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A runtime that stays on the thread that polls it.
pub fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

/// Servers on all cores.
pub struct Servers {
    /// Where they listen.
    pub address: SocketAddr,
    ended: mpsc::UnboundedReceiver<anyhow::Error>,
}

impl Servers {
    /// Starts `serve` on one thread per core. `serve` runs until the process ends; that it returns is an error.
    pub fn start<S, F>(name: &str, serve: S) -> anyhow::Result<Self>
    where
        S: Fn(TcpListener, Turn) -> F + Send + Clone + 'static,
        F: Future<Output = anyhow::Result<()>>,
    {
        let (failed, ended) = mpsc::unbounded_channel();
        let socket = runtime()?.block_on(async {
            anyhow::Ok(bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?.into_std()?)
        })?;
        let (address, turns) = (socket.local_addr()?, Turns::default());
        for core in 0..cores() {
            let (serve, failed, turn) = (serve.clone(), failed.clone(), turns.join());
            let socket = socket.try_clone()?;
            let thread = move || {
                let run = || -> anyhow::Result<()> {
                    runtime()?.block_on(async {
                        serve(TcpListener::from_std(socket)?, turn).await?;
                        anyhow::bail!("a server ended")
                    })
                };
                if let Err(error) = run() {
                    // Whoever waits for it may have left already.
                    let _ = failed.send(error);
                }
            };
            let _running: JoinHandle<()> = std::thread::Builder::new()
                .name(format!("{name}-{core}"))
                .spawn(thread)
                .context("cannot start a thread")?;
        }
        Ok(Self { address, ended })
    }

    /// Waits for the first server that fails.
    pub async fn failed(mut self) -> anyhow::Error {
        let error = self.ended.recv().await;
        error.unwrap_or_else(|| anyhow::anyhow!("all servers ended"))
    }
}
