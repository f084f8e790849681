//! The broker's own files: certificate, key, revocation lists. Taken over as they change, apart from catalog and registry, so
//! that a mistake there never holds up a revocation.

use std::path::PathBuf;
use std::sync::Arc;

use lienthong_certs::inspect::ExpiryNotice;
use lienthong_telemetry::Check;
use lienthong_transport::TlsMaterial;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::trust::Trust;

/// How often the end of the certificate is looked at, milliseconds: a day.
pub const EXPIRY_LOOK_MS: u64 = 24 * 60 * 60 * 1000;

/// Every file of the configuration that [`Broker::take_files`] reads.
pub fn files(config: &BrokerConfig) -> Vec<PathBuf> {
    let key = config.key.file().map(PathBuf::from);
    let lists = config.trust.revocation_lists.iter().cloned();
    [config.certificate.clone()].into_iter().chain(key).chain(lists).collect()
}

impl Broker {
    /// Reads certificate, key and revocation lists again, and takes them over if all of them can be used.
    /// Connections that they refuse are cut, and the nodes get the lists. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]; everything stays as it was then. It is also logged, counted and shown by `/health`.
    pub async fn take_files(&self) -> Result<bool, BrokerError> {
        let taken = self.try_take_files().await;
        self.tell_reload(&taken);
        taken
    }

    async fn try_take_files(&self) -> Result<bool, BrokerError> {
        let (config, current) = (self.config.clone(), self.steward.current());
        let load = spawn_blocking(move || Trust::load(&config, current.trusts().newest()));
        let trust = load.await.map_err(|_| BrokerError::Stopped)??;
        let material = TlsMaterial::new(&trust.credentials, Arc::clone(&trust.judge))?;
        let rose = self.steward.take_lists(trust.revocation_lists.clone().into()).await?;
        self.use_trust(trust, material);
        Ok(rose)
    }

    /// Warns, once a day, of a certificate that ends.
    pub(crate) fn warn_of_end(&self) {
        let (not_after, now) = (*self.not_after.borrow(), OffsetDateTime::now_utc());
        if let Some(notice) = ExpiryNotice::of(not_after, now) {
            let (days, remedy) = ((not_after - now).whole_days(), notice.remedy());
            tracing::warn!(days, until = %not_after.date(), "the broker's certificate ends soon: {remedy}");
        }
    }
}

/// For `/health`: a file that cannot be used is told and takes nothing away; an expired certificate is refused by everybody.
pub(crate) fn check(not_after: OffsetDateTime, refused: Option<&str>, now: OffsetDateTime) -> Check {
    let refused =
        refused.map_or_else(String::new, |why| format!("; what is on disk now is NOT in use: {why}"));
    if not_after < now {
        return Check::failing(format!("expired on {}{refused}", not_after.date()));
    }
    let days = (not_after - now).whole_days();
    Check::ok(format!("{days} days left, until {}{refused}", not_after.date()))
}
