//! Taking over a renewed certificate: the files were replaced, SIGHUP says so. Calls under way and connections that are
//! open stay as they are; new ones show the new certificate, and the journal's stream begins again under it.

use std::sync::Arc;

use lienthong_certs::PeerCertificate;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::{call::identify::binding_of, node::Node, trust::Trust};

/// Reloads at each SIGHUP until told to stop. What cannot be used is said and changes nothing.
pub async fn run(mut hangups: Signal, node: Arc<Node>, trust: Arc<Trust>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = hangups.recv() => if heard.is_none() { return },
        }
        let (node, trust) = (Arc::clone(&node), Arc::clone(&trust));
        // Reads two files and signs once.
        let reloaded =
            tokio::task::spawn_blocking(move || trust.reload(|certificate| is_bound(&node, certificate)));
        match reloaded.await {
            Ok(Ok(true)) => tracing::info!("the renewed certificate is in use"),
            Ok(Ok(false)) => tracing::info!("certificate and key are those in use; nothing changes"),
            Ok(Err(error)) => tracing::error!(%error, "certificate and key are not replaced"),
            Err(error) => tracing::error!(%error, "reading certificate and key ended unexpectedly"),
        }
    }
}

/// Whether the rights that the node holds bind a certificate to it; without rights yet, the broker will say.
fn is_bound(node: &Node, certificate: &PeerCertificate) -> bool {
    node.rights.load().as_ref().is_none_or(|rights| {
        rights.node_of_certificate(&binding_of(certificate)).is_some_and(|bound| bound.name == node.name)
    })
}
