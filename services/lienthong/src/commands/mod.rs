//! What each command does.

pub mod audit;
pub mod backend;
pub mod call;
pub mod catalog;
mod certs;
pub mod certs_crl;
pub mod certs_inspect;
pub mod certs_issue;
pub mod certs_request;
pub mod compliance;
pub mod doctor;
pub mod duty;
pub mod enroll;
pub mod findings;
pub mod listing;
pub mod onboard;
pub mod proto;
mod roles;
pub mod sandbox;
pub mod trust;
pub mod witness;

use std::process::ExitCode;

use anyhow::{Context, Result};
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
        Command::Doctor(args) => block_on(doctor::run(args)),
        Command::Proto(command) => block_on(proto::run(command)),
        Command::Audit(command) => audit::run(command),
        Command::Node(command) => roles::node(command),
        Command::Broker(command) => roles::broker(command),
        Command::Gateway(command) => roles::gateway(command),
        Command::Witness(command) => witness::run(command),
        Command::Catalog(command) => catalog::run(command),
        Command::Refusal(command) => duty::refusal::run(command),
        Command::Compliance(command) => compliance::run(command),
        Command::Dispute(command) => duty::dispute::run(command),
        Command::Outage(command) => duty::outage::run(command),
        Command::Connection(command) => duty::connection::run(command),
        Command::Certs(command) => certs::run(command),
        Command::Trust(command) => trust::run(command),
        Command::Enroll(command) => enroll::run(command),
        Command::Onboard(args) => block_on(onboard::run(*args)),
        Command::Backend(args) => block_on(backend::run(args)),
    }
}

/// A message of the mesh's own contracts as canonical protobuf JSON; `name` is its full name.
pub(crate) fn message_json(name: &str, message: &impl prost::Message) -> Result<serde_json::Value> {
    let descriptor = lienthong_proto::descriptors::mesh()
        .get_message_by_name(name)
        .with_context(|| format!("the mesh has no message {name}"))?;
    let message = prost_reflect::DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    crate::client::message_to_json(&message)
}

/// Runs one command on a small runtime: traffic threads bring their own.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(work)
}

/// Cancelled by Ctrl-C, by SIGTERM, and, where asked, when stdin closes because the parent process ended.
pub(crate) fn stop_signal(with_parent: bool) -> Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};

    let stop = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    if with_parent {
        // A thread of its own, which ends with the process: a runtime would wait for its read.
        let told = stop.clone();
        std::thread::Builder::new().name("parent".to_owned()).spawn(move || {
            // Whatever is written to stdin is ignored; its end, or an error, is the end of the parent.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            told.cancel();
        })?;
    }
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = told.cancelled() => {}
        }
        told.cancel();
    });
    Ok(stop)
}
