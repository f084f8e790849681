//! What the broker reads again while it runs, in four steps that do not hold one another up: the mesh trust file,
//! revocation lists, its own certificate and key, and what the operator declares of others. News of whom not to believe
//! comes first and stands alone: no mistake in any other file ever holds up a revocation.

use std::path::PathBuf;
use std::sync::Arc;

use lienthong_audit::log::LogKey;
use lienthong_audit::policy::Policy;
use lienthong_certs::inspect::ExpiryNotice;
use lienthong_telemetry::Check;
use lienthong_transport::TlsMaterial;
use lienthong_trust::{SignedTrust, TrustKeeper};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::declared::Declared;
use crate::error::BrokerError;
use crate::fetched_lists;
use crate::mesh_keys;
use crate::steward::Grounds;
use crate::trust::{self, Believed, MeshTrusts};
use crate::witnesses;

/// How often the end of the certificate is looked at, milliseconds: a day.
pub const EXPIRY_LOOK_MS: u64 = 24 * 60 * 60 * 1000;

/// Every file of the configuration that [`Broker::take_files`] reads.
pub fn files(config: &BrokerConfig) -> Vec<PathBuf> {
    let key = config.key.file().map(PathBuf::from);
    let lists = config.trust.revocation_lists.iter().cloned();
    let fetched = fetched_lists::places(config);
    [config.certificate.clone()].into_iter().chain(key).chain(lists).chain(fetched).collect()
}

/// A newer mesh trust file, with everything that comes with it.
struct Followed {
    mesh: Arc<SignedTrust>,
    grounds: Grounds,
    believed: Believed,
    log_keys: (LogKey, Option<LogKey>),
    policy: Option<Arc<Policy>>,
}

impl Broker {
    /// Reads mesh trust file, revocation lists, certificate and key, catalog and registry again, and takes over each of the
    /// four that has no mistake. Connections that the new trust refuses are cut. Returns whether the epoch rose.
    ///
    /// # Errors
    /// [`BrokerError`]: what has a mistake stays as it was. It is also logged, counted and shown by `/health`.
    pub async fn reload(&self) -> Result<bool, BrokerError> {
        let mut keeper = self.keeper.lock().await;
        let steps = [
            self.take_trust(&mut keeper).await,
            self.take_lists().await,
            self.take_certificate().await,
            self.take_declared().await,
        ];
        self.tell_reload(steps)
    }

    /// The same of revocation lists, certificate and key alone.
    ///
    /// # Errors
    /// As [`Broker::reload`].
    pub async fn take_files(&self) -> Result<bool, BrokerError> {
        let _keeper = self.keeper.lock().await;
        let steps = [self.take_lists().await, self.take_certificate().await];
        self.tell_reload(steps)
    }

    /// Follows the configured trust file, if it is newer than the one that is held.
    async fn take_trust(&self, held: &mut Option<TrustKeeper>) -> Result<bool, BrokerError> {
        let (config, kept) = (self.config.clone(), held.take());
        let judge = self.judge.borrow().clone();
        let follow = move || {
            let now = OffsetDateTime::now_utc();
            // A keeper that was lost to an error is taken up from the disk.
            let mut keeper = match kept {
                Some(keeper) => keeper,
                None => TrustKeeper::open(&config.trust, trust::owner(&config), now)?,
            };
            let followed = follow(&config, &mut keeper, judge.lists(), now);
            Ok::<_, BrokerError>((keeper, followed))
        };
        let (keeper, followed) = spawn_blocking(follow).await.map_err(|_| BrokerError::Stopped)??;
        *held = Some(keeper);
        let Some(Followed { mesh, grounds, believed, log_keys, policy }) = followed? else {
            return Ok(false);
        };
        tracing::info!(version = mesh.trust().version(), "mesh trust file taken");
        self.judge_by(&believed);
        let rose = self.steward.believe(grounds).await?;
        self.take_log_keys(&mesh, log_keys, policy).await?;
        Ok(rose)
    }

    async fn take_lists(&self) -> Result<bool, BrokerError> {
        let (config, current) = (self.config.clone(), self.steward.current());
        let judge = self.judge.borrow().clone();
        let load = move || Believed::load(&config, current.trusts().newest(), judge.lists());
        let (believed, problem) = spawn_blocking(load).await.map_err(|_| BrokerError::Stopped)??;
        if !believed.judge.lists().same(self.judge.borrow().lists()) {
            self.judge_by(&believed);
        }
        let rose = self.steward.take_lists(believed.revocation_lists, believed.revocation).await?;
        problem.map_or(Ok(rose), Err)
    }

    async fn take_certificate(&self) -> Result<bool, BrokerError> {
        let config = self.config.clone();
        let read = spawn_blocking(move || trust::credentials(&config));
        let credentials = read.await.map_err(|_| BrokerError::Stopped)??;
        let judge = self.judge.borrow().clone();
        self.material.replace(TlsMaterial::new(&credentials, judge)?);
        let not_after = credentials.certificate().not_after;
        self.not_after.send_replace(not_after);
        self.metrics.certificate_expiry(not_after);
        Ok(false)
    }

    async fn take_declared(&self) -> Result<bool, BrokerError> {
        let config = self.config.clone();
        let load = spawn_blocking(move || Declared::load(&config));
        let declared = load.await.map_err(|_| BrokerError::Stopped)??;
        let (duty, judge) = (Arc::clone(&declared.duty), self.judge.borrow().clone());
        let rose = self.chancery.declare(declared, &judge).await?;
        self.arbiter.set_rules(duty);
        Ok(rose)
    }

    /// Judges so from now on, and cuts the connections that are refused.
    fn judge_by(&self, believed: &Believed) {
        self.judge.send_replace(Arc::clone(&believed.judge));
        self.material.judge_by(&believed.judge);
        for (peer, refusal) in self.connections.close_refused(&self.material) {
            tracing::warn!(%peer, %refusal, "connection cut: its certificate is no longer accepted");
        }
    }

    /// Counts, logs and shows what became of a reload.
    fn tell_reload(
        &self,
        steps: impl IntoIterator<Item = Result<bool, BrokerError>>,
    ) -> Result<bool, BrokerError> {
        let (mut rose, mut errors) = (false, Vec::new());
        for step in steps {
            match step {
                Ok(step) => rose |= step,
                Err(error) => {
                    tracing::error!(%error, "not taken over; the broker goes on with what it has of it");
                    errors.push(error);
                }
            }
        }
        let error = BrokerError::several(errors);
        self.refused.send_replace(error.as_ref().map(ToString::to_string));
        self.metrics.reloaded(match (&error, rose) {
            (Some(_), _) => "refused",
            (None, true) => "applied",
            (None, false) => "unchanged",
        });
        error.map_or(Ok(rose), Err)
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

/// Judges the configured trust file by the one that is held, and keeps it where everything that it names is here.
fn follow(
    config: &BrokerConfig,
    keeper: &mut TrustKeeper,
    lists: &lienthong_certs::RevocationLists,
    now: OffsetDateTime,
) -> Result<Option<Followed>, BrokerError> {
    let Some(mesh) = keeper.judge_file(now)? else { return Ok(None) };
    let log_keys = mesh_keys::log_keys(config, mesh.trust())?;
    let signer = mesh_keys::bundle_signer(config, mesh.trust())?;
    let policy = witnesses::policy(mesh.trust())?;
    // What is wrong with a list is told by the step that is about lists.
    let (believed, _) = Believed::load(config, &mesh, lists)?;
    keeper.keep(&mesh)?;
    let grounds = believed.grounds(signer, MeshTrusts::of(keeper));
    Ok(Some(Followed { mesh, grounds, believed, log_keys, policy }))
}
