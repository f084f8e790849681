//! Erasing what opens the records of exchanges, once a person in them was erased: the broker lists the exchanges, their keys and
//! salts go from the side files (design §6, *Subjects*). Records and proofs stay.
//!
//! Up to which erasure everything was carried out stands in a file. Where it is older than the side files, or lost, the same is
//! carried out again, which does no harm; so nothing erased comes back with a backup.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lienthong_audit::journal::JournalError;
use lienthong_certs::files;
use lienthong_proto::lienthong::audit::v1::{ListErasuresRequest, audit_service_client::AuditServiceClient};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    control::broker::{Broker, BrokerChannel},
    limits::{BROKER_SILENCE_MS_MAX, ERASURES_LOOK_MS},
    node::Node,
};

/// Why nothing was erased. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The broker does not say what.
    #[error("the broker lists no erasures: {}", .0.message())]
    Broker(#[from] Status),
    /// The side files.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The file that says what was carried out.
    #[error("what was erased is not kept on disk: {0}")]
    Io(#[from] io::Error),
}

/// Carries erasures out until told to stop.
pub async fn run(node: Arc<Node>, broker: Broker, data_dir: PathBuf, stop: CancellationToken) {
    let file = data_dir.join("erasures-carried-out");
    let mut told = false;
    loop {
        let done = tokio::select! {
            () = stop.cancelled() => return,
            done = carry_out(&node, broker.channel.clone(), &file) => done,
        };
        match done {
            Ok(()) => told = false,
            // While the broker is away there is nothing to be done, and others say so.
            Err(EraseError::Broker(_)) => {}
            Err(error) if !told => {
                tracing::error!(%error, "keys of exchanges are to be erased and are not; it is tried again");
                told = true;
            }
            Err(_) => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(Duration::from_millis(ERASURES_LOOK_MS)) => {}
        }
    }
}

/// Asks what is to be erased, page by page, and erases it.
async fn carry_out(node: &Arc<Node>, channel: BrokerChannel, file: &Path) -> Result<(), EraseError> {
    let mut client = AuditServiceClient::new(channel);
    let carried_out_index = read(file)?;
    let mut request = ListErasuresRequest { carried_out_index, page_token: String::new() };
    let (mut newest, mut erased) = (None, 0_u64);
    loop {
        let patience = Duration::from_millis(BROKER_SILENCE_MS_MAX);
        let page = timeout(patience, client.list_erasures(request.clone())).await;
        let page =
            page.unwrap_or_else(|_| Err(Status::deadline_exceeded("the broker is silent")))?.into_inner();
        let newest = *newest.get_or_insert(page.newest_index);
        let keys = node.journal.keys();
        let ids = page.exchange_ids;
        let rows = spawn_blocking(move || {
            let ids = ids.iter().filter_map(|id| id.as_slice().try_into().ok());
            ids.map(|id| keys.erase(id)).sum::<Result<u64, JournalError>>()
        });
        erased += rows.await.map_err(io::Error::other)??;
        if !page.next_page_token.is_empty() {
            request.page_token = page.next_page_token;
            continue;
        }
        if newest <= carried_out_index {
            return Ok(());
        }
        let (keys, file) = (node.journal.keys(), file.to_owned());
        let kept = spawn_blocking(move || -> Result<(), EraseError> {
            keys.compact()?;
            files::replace(&file, format!("{newest}\n").as_bytes()).map_err(io::Error::other)?;
            Ok(())
        });
        kept.await.map_err(io::Error::other)??;
        tracing::info!(rows = erased, entry = newest, "keys of exchanges are erased");
        return Ok(());
    }
}

/// What was carried out; 0: nothing, or nobody knows.
fn read(file: &Path) -> io::Result<u64> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        text => Ok(text?.trim().parse().unwrap_or(0)),
    }
}
