//! Taking over what changed on disk: certificate and key, revocation lists. The files themselves say so ([`FileWatch`]),
//! or SIGHUP does. Calls under way are answered, where the new lists let them, and connections that the node began finish
//! with them; new ones show the new certificate, and the journal's stream begins again under it. A file that cannot be used
//! changes nothing.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lienthong_certs::{PeerCertificate, inspect::ExpiryNotice};
use lienthong_transport::FileWatch;
use time::OffsetDateTime;
use tokio::{signal::unix::Signal, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::{
    call::identify::binding_of,
    config::NodeConfig,
    control::fetched_lists,
    limits::{BINDING_PAUSE_MS, BINDING_SPREAD_MS, BINDING_WAIT_MS_MAX, EXPIRY_LOOK_MS, REBIND_MS},
    node::Node,
    trust::{NodeTrustError, Trust},
};

/// What is watched, and what takes it over.
pub struct Renewal {
    /// The files.
    pub files: Files,
    /// Whose rights bind the certificate, and whose operator is told.
    pub node: Arc<Node>,
    /// What takes the files over.
    pub trust: Arc<Trust>,
    /// Since when the rights bind the next certificate.
    pub bound: Arc<Bound>,
}

/// Since when a certificate is bound, so that it is shown only once others know it, too.
#[derive(Debug, Default)]
pub struct Bound(Mutex<Option<([u8; 32], Instant)>>);

impl Bound {
    /// Whether a certificate has been bound for [`BINDING_SPREAD_MS`].
    fn is_known(&self, certificate: &PeerCertificate, is_bound: bool, now: Instant) -> bool {
        // A plain value: a panic elsewhere cannot leave it half written.
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fingerprint = certificate.fingerprint();
        if !is_bound {
            *seen = None;
            return false;
        }
        match *seen {
            Some((of, since)) if of == fingerprint => {
                now.saturating_duration_since(since) >= Duration::from_millis(BINDING_SPREAD_MS)
            }
            _ => {
                *seen = Some((fingerprint, now));
                false
            }
        }
    }
}

/// Files that may be replaced while the node runs.
#[derive(Debug, Clone)]
pub struct Files {
    certificate: PathBuf,
    /// `None`: the key is in a token.
    key: Option<PathBuf>,
    revocation_lists: Vec<PathBuf>,
    fetched_lists: Vec<PathBuf>,
}

/// Those that the configuration names.
pub fn files(config: &NodeConfig) -> Files {
    Files {
        certificate: config.certificate.clone(),
        key: config.key.file().map(PathBuf::from),
        revocation_lists: config.trust.revocation_lists.clone(),
        fetched_lists: fetched_lists::places(config),
    }
}

impl Renewal {
    /// Takes over what changes until told to stop.
    pub async fn run(self, mut hangups: Signal, stop: CancellationToken) {
        let Files { certificate, key, revocation_lists, fetched_lists } = self.files.clone();
        let files = [certificate].into_iter().chain(key).chain(revocation_lists).chain(fetched_lists);
        let mut watch = FileWatch::new(files);
        let mut day = tokio::time::interval(Duration::from_millis(EXPIRY_LOOK_MS));
        let (mut again, mut unbound_since) = (None, None);
        self.tell_end();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = day.tick() => {
                    self.warn_of_end();
                    continue;
                }
                heard = hangups.recv() => if heard.is_none() { return },
                () = watch.changed() => {}
                () = at(again) => {}
            }
            let reloaded = tokio::select! {
                () = stop.cancelled() => return,
                reloaded = self.reload() => reloaded,
            };
            let unbound = matches!(reloaded, Err(NodeTrustError::NotBound(_)));
            let since = unbound.then(|| *unbound_since.get_or_insert_with(Instant::now));
            unbound_since = since;
            // The files may be faster than the rights that bind the certificate: these are waited for before anything is
            // said, and whatever else changes meanwhile is taken over.
            let soon =
                since.is_some_and(|since| since.elapsed() < Duration::from_millis(BINDING_WAIT_MS_MAX));
            again = unbound.then(|| {
                Instant::now() + Duration::from_millis(if soon { BINDING_PAUSE_MS } else { REBIND_MS })
            });
            if !soon {
                self.tell(reloaded);
            }
        }
    }

    /// Lists first, whatever becomes of certificate and key: nothing holds up a revocation.
    async fn reload(&self) -> Result<bool, NodeTrustError> {
        let (listed, problem) = self.take_lists().await;
        let renewed = self.renew().await;
        Ok(renewed? | problem.map(|()| listed)?)
    }

    async fn take_lists(&self) -> (bool, Result<(), NodeTrustError>) {
        let files = fetched_lists::present(&self.files.revocation_lists, &self.files.fetched_lists);
        let trust = Arc::clone(&self.trust);
        let taken = spawn_blocking(move || trust.take_list_files(&files)).await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading revocation lists ended unexpectedly");
            (false, Ok(()))
        });
        if taken.0 {
            self.trust.cut_by_own_lists();
        }
        taken
    }

    /// Takes certificate and key over.
    async fn renew(&self) -> Result<bool, NodeTrustError> {
        let (node, trust, bound) = (Arc::clone(&self.node), Arc::clone(&self.trust), Arc::clone(&self.bound));
        // Reads two files and signs once.
        let work = spawn_blocking(move || {
            trust.reload(|certificate| {
                bound.is_known(certificate, is_bound(&node, certificate), Instant::now())
            })
        });
        work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "reading certificate and key ended unexpectedly");
            Ok(false)
        })
    }

    /// Says what became of it.
    fn tell(&self, reloaded: Result<bool, NodeTrustError>) {
        match reloaded {
            Ok(changed) => {
                self.node.metrics.reloaded(if changed { "applied" } else { "unchanged" });
                self.tell_end();
                tracing::info!(changed, "certificate, key and revocation lists on disk are those in use");
            }
            Err(error) => {
                self.node.metrics.reloaded("refused");
                self.node.own_files.refused(&error.to_string());
                tracing::error!(%error, "what is on disk cannot be used; the node goes on with what it has");
            }
        }
    }

    fn tell_end(&self) {
        let not_after = self.trust.not_after();
        self.node.own_files.taken(not_after);
        self.node.metrics.certificate_expiry.set(not_after.unix_timestamp());
    }

    fn warn_of_end(&self) {
        let (not_after, now) = (self.trust.not_after(), OffsetDateTime::now_utc());
        if let Some(notice) = ExpiryNotice::of(not_after, now) {
            let (days, remedy) = ((not_after - now).whole_days(), notice.remedy());
            tracing::warn!(days, until = %not_after.date(), "the node's certificate ends soon: {remedy}");
        }
    }
}

/// Whether the rights that the node holds bind a certificate to it; without rights yet, the broker will say.
fn is_bound(node: &Node, certificate: &PeerCertificate) -> bool {
    node.rights.load().as_ref().is_none_or(|rights| {
        rights.node_of_certificate(&binding_of(certificate)).is_some_and(|bound| bound.name == node.name)
    })
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use lienthong_certs::DevPki;

    use super::*;

    #[test]
    fn a_certificate_is_shown_once_others_know_that_it_is_bound() {
        let folder = tempfile::tempdir().unwrap();
        let pki = DevPki::create(&folder.path().join("pki"), "vn-test").unwrap();
        let issue = |id| {
            let issued = pki.issue_node("H29", "DEMO – Cơ quan thử", id, &["n1.h29.test"]).unwrap();
            issued.credentials().unwrap().certificate().clone()
        };
        let (one, other) = (issue("n1"), issue("n2"));
        let (bound, begun) = (Bound::default(), Instant::now());
        let after = |ms| begun + Duration::from_millis(ms);
        assert!(
            !bound.is_known(&one, true, begun) && !bound.is_known(&one, true, after(BINDING_SPREAD_MS - 1))
        );
        assert!(bound.is_known(&one, true, after(BINDING_SPREAD_MS)));
        assert!(!bound.is_known(&other, true, after(BINDING_SPREAD_MS)), "each has a time of its own");
        assert!(!bound.is_known(&other, false, after(2 * BINDING_SPREAD_MS)));
        assert!(!bound.is_known(&other, true, after(3 * BINDING_SPREAD_MS)), "it begins anew");
    }
}
