//! Taking over a renewed certificate: the files were replaced, SIGHUP says so. Calls under way and connections that are
//! open stay as they are; new ones show the new certificate, and the journal's stream begins again under it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lienthong_certs::PeerCertificate;
use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use crate::{
    call::identify::binding_of,
    limits::{BINDING_PAUSE_MS, BINDING_WAIT_MS_MAX},
    node::Node,
    trust::{NodeTrustError, Trust},
};

/// Reloads at each SIGHUP until told to stop. What cannot be used is said and changes nothing.
pub async fn run(mut hangups: Signal, node: Arc<Node>, trust: Arc<Trust>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            heard = hangups.recv() => if heard.is_none() { return },
        }
        let reloaded = tokio::select! {
            () = stop.cancelled() => return,
            reloaded = reload(&node, &trust) => reloaded,
        };
        match reloaded {
            Ok(true) => tracing::info!("the renewed certificate is in use"),
            Ok(false) => tracing::info!("certificate and key are those in use; nothing changes"),
            Err(error) => tracing::error!(%error, "certificate and key are not replaced"),
        }
    }
}

/// Takes certificate and key over. The signal may be faster than the rights that bind the certificate, so that these
/// are waited for.
async fn reload(node: &Arc<Node>, trust: &Arc<Trust>) -> Result<bool, NodeTrustError> {
    let until = Instant::now() + Duration::from_millis(BINDING_WAIT_MS_MAX);
    loop {
        let (node, trust) = (Arc::clone(node), Arc::clone(trust));
        // Reads two files and signs once.
        let work =
            tokio::task::spawn_blocking(move || trust.reload(|certificate| is_bound(&node, certificate)));
        match work.await {
            Ok(Err(NodeTrustError::NotBound(_))) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(BINDING_PAUSE_MS)).await;
            }
            Ok(reloaded) => return reloaded,
            Err(error) => {
                tracing::error!(%error, "reading certificate and key ended unexpectedly");
                return Ok(false);
            }
        }
    }
}

/// Whether the rights that the node holds bind a certificate to it; without rights yet, the broker will say.
fn is_bound(node: &Node, certificate: &PeerCertificate) -> bool {
    node.rights.load().as_ref().is_none_or(|rights| {
        rights.node_of_certificate(&binding_of(certificate)).is_some_and(|bound| bound.name == node.name)
    })
}
