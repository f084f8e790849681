//! How fresh the knowledge of revocation is for the class of data that is asked for.
//!
//! A list that its authority should have replaced by now, or that was never held, may hide a revocation. Core, important
//! and personal data stays where it is then; open data goes on, counted and said in the log.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use lienthong_catalog::Permitted;
use lienthong_certs::{Freshness, PeerCertificate};
use lienthong_proto::{reason::Reason, status::MeshError};
use lienthong_transport::SharedMaterial;
use rustls_pki_types::UnixTime;

use crate::{
    call::identify::Caller, clock, limits::SOFT_FAIL_LOG_MS, metrics::Metrics, upstream::ProviderNode,
};

/// The judge's knowledge of revocation, for each call.
#[derive(Debug, Default)]
pub struct Revocation {
    material: OnceLock<SharedMaterial>,
    /// When a soft failure was last said, Unix milliseconds.
    told_unix_ms: AtomicU64,
}

impl Revocation {
    /// Told at start by whose lists handshakes are judged.
    pub fn judged_by(&self, material: &SharedMaterial) {
        // There is one for the life of a node.
        let _ = self.material.set(material.clone());
    }

    /// Whether what is known of the caller's certificate is fresh enough for what it asks. A caller without one came over
    /// a local socket.
    pub fn check(&self, caller: &Caller, permitted: &Permitted, metrics: &Metrics) -> Result<(), MeshError> {
        let Some(certificate) = &caller.judged else { return Ok(()) };
        let known = (self.freshness(certificate), certificate.binding().issuer.clone());
        self.suffices(known, "caller", permitted, metrics)
    }

    /// The same of a node that is asked: of these, those whose certificate may be believed for this data.
    ///
    /// # Errors
    /// [`Reason::DenyRightsStale`] where none is left.
    pub fn of_providers(
        &self,
        nodes: Vec<Arc<ProviderNode>>,
        permitted: &Permitted,
        metrics: &Metrics,
    ) -> Result<Vec<Arc<ProviderNode>>, MeshError> {
        let Some(judge) = self.material.get().map(SharedMaterial::judge) else { return Ok(nodes) };
        let (mut left, mut refused) = (Vec::new(), None);
        for node in nodes {
            match self.suffices(node.revocation(&judge, UnixTime::now()), "provider", permitted, metrics) {
                Ok(()) => left.push(node),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if left.is_empty() => Err(error),
            _ => Ok(left),
        }
    }

    fn suffices(
        &self,
        (freshness, issuer): (Freshness, String),
        whose: &str,
        permitted: &Permitted,
        metrics: &Metrics,
    ) -> Result<(), MeshError> {
        let Some(problem) = overdue(freshness) else { return Ok(()) };
        if !permitted.is_open_data() {
            let detail = format!(
                "{problem} above the {whose}'s certificate of \"{issuer}\"; publish and fetch it (R-37)"
            );
            return Err(MeshError::new(Reason::DenyRightsStale, detail));
        }
        metrics.revocation_soft_fails.inc();
        let (now, told) = (clock::unix_ms(), self.told_unix_ms.load(Ordering::Relaxed));
        let is_due = now.saturating_sub(told) >= SOFT_FAIL_LOG_MS;
        // Of many threads, one says it.
        if is_due
            && self.told_unix_ms.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            tracing::warn!(
                issuer,
                calls = metrics.revocation_soft_fails.get(),
                "{problem}: open data goes on without it (R-37)"
            );
        }
        Ok(())
    }

    fn freshness(&self, certificate: &PeerCertificate) -> Freshness {
        self.material
            .get()
            .map_or(Freshness::Missing, |material| material.judge().freshness(certificate, UnixTime::now()))
    }
}

fn overdue(freshness: Freshness) -> Option<String> {
    match freshness {
        Freshness::Fresh { .. } => None,
        Freshness::Stale { age } => {
            Some(format!("a revocation list, {} hours old, is overdue", age.as_secs() / 3600))
        }
        Freshness::Missing => Some("no revocation list is held of an authority".to_owned()),
    }
}
