//! What each command does.

mod audit;
pub mod backend;
pub mod call;
mod catalog;
mod certs;
mod roles;

use std::process::ExitCode;

use anyhow::Result;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{Cli, Command},
    demo,
};

/// Carries a command out.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Call(args) => block_on(call::run(args)),
        Command::Audit(command) => audit::run(command),
        Command::Node(command) => roles::node(command),
        Command::Broker(command) => roles::broker(command),
        Command::Gateway(command) => roles::gateway(command),
        Command::Catalog(command) => catalog::run(command),
        Command::Certs(command) => certs::run(command),
        Command::Backend(args) => block_on(backend::run(args)),
    }
}

/// Runs one command on a small runtime: traffic threads bring their own.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

/// Cancelled by Ctrl-C, by SIGTERM, and, where asked, when stdin closes because the parent process ended.
pub(crate) fn stop_signal(with_parent: bool) -> Result<CancellationToken> {
    use tokio::{
        io::AsyncReadExt,
        signal::unix::{SignalKind, signal},
    };

    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told = stop.clone();
    tokio::spawn(async move {
        let parent_ends = async {
            if !with_parent {
                std::future::pending::<()>().await;
            }
            let mut input = tokio::io::stdin();
            let mut byte = [0];
            // Whatever is written to stdin is ignored; its end, or an error, is the end of the parent.
            while matches!(input.read(&mut byte).await, Ok(1)) {}
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = parent_ends => {}
        }
        told.cancel();
    });
    Ok(stop)
}
