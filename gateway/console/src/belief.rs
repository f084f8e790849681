//! Whom the console believes: the authorities behind certificates, and the keys behind the log's checkpoints; both from the
//! mesh trust file, taken again as it changes.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use lienthong_audit::policy::Policy;
use lienthong_certs::{Credentials, Judge, Profile, RevocationLists};
use lienthong_transport::{FileWatch, SharedMaterial, TlsMaterial};
use lienthong_trust::keeper::Owner;
use lienthong_trust::{SignedTrust, TrustConfig, TrustKeeper};
use time::OffsetDateTime;
use tokio::task::spawn_blocking;

use crate::config::ConsoleConfig;
use crate::server::ConsoleError;

/// What the console believes now. Cheap to clone; all clones change together.
#[derive(Clone, Debug)]
pub struct Belief {
    material: SharedMaterial,
    policy: Arc<ArcSwap<Policy>>,
}

/// Keeps the belief up to date.
#[derive(Debug)]
pub struct Believer {
    belief: Belief,
    keeper: TrustKeeper,
    files: FileWatch,
    development: bool,
}

impl Belief {
    /// Certificate, key and judge for handshakes.
    pub fn material(&self) -> SharedMaterial {
        self.material.clone()
    }

    /// By which checkpoints are judged.
    pub fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }
}

impl Believer {
    /// Reads certificate, key and trust. Blocks on the disk, and as long as a token does.
    ///
    /// # Errors
    /// [`ConsoleError`] naming what cannot be used.
    pub fn open(config: &ConsoleConfig, mesh: &str, development: bool) -> Result<Self, ConsoleError> {
        let credentials = Credentials::open(&config.certificate, &config.key)?;
        if credentials.certificate().development && !development {
            return Err(ConsoleError::Development(config.certificate.clone()));
        }
        let owner = Owner { mesh, development, data_dir: &config.data_dir };
        let keeper = TrustKeeper::open(&config.trust, owner, OffsetDateTime::now_utc())?;
        let trust = Arc::clone(keeper.held());
        let judge = judge(&trust, development)?;
        let material = SharedMaterial::new(TlsMaterial::new(&credentials, judge)?);
        let policy = Arc::new(ArcSwap::from_pointee(trust.trust().witness_policy().clone()));
        let files = FileWatch::new([config.trust.file.clone()]);
        Ok(Self { belief: Belief { material, policy }, keeper, files, development })
    }

    /// What it believes.
    pub fn belief(&self) -> Belief {
        self.belief.clone()
    }

    /// Takes each newer trust file. Never ends; drop it to stop.
    pub async fn keep_up(mut self) {
        loop {
            self.files.changed().await;
            let Ok((keeper, judged)) = spawn_blocking(move || look(self.keeper)).await else {
                // The keeper is gone with the task: what is believed stays.
                return pending().await;
            };
            self.keeper = keeper;
            match judged {
                Ok(None) => {}
                Ok(Some(trust)) => self.take(&trust),
                Err(error) => tracing::warn!(%error, "the mesh trust file is not taken"),
            }
        }
    }

    fn take(&self, trust: &SignedTrust) {
        match judge(trust, self.development) {
            Ok(judge) => {
                self.belief.material.judge_by(&Arc::new(judge));
                self.belief.policy.store(Arc::new(trust.trust().witness_policy().clone()));
                tracing::info!(version = trust.trust().version(), "the mesh trust file is taken");
            }
            Err(error) => tracing::warn!(%error, "the mesh trust file is not taken"),
        }
    }
}

/// What the file holds now, kept if it is newer.
fn look(mut keeper: TrustKeeper) -> (TrustKeeper, Result<Option<Arc<SignedTrust>>, ConsoleError>) {
    let judged = keeper.judge_file(OffsetDateTime::now_utc()).and_then(|news| match news {
        None => Ok(None),
        Some(news) => keeper.keep(&news).map(|()| Some(news)),
    });
    (keeper, judged.map_err(ConsoleError::from))
}

/// Revocation is the broker's word: it judges every question's person anew, by the newest lists.
fn judge(trust: &SignedTrust, development: bool) -> Result<Judge, ConsoleError> {
    let profile = if development { Profile::development() } else { Profile::default() };
    Ok(Judge::new(trust.trust().anchors().clone(), RevocationLists::empty(), profile)?)
}

/// What [`Believer::open`] would begin with; touches nothing.
///
/// # Errors
/// [`ConsoleError`].
pub fn check(config: &ConsoleConfig, mesh: &str, development: bool) -> Result<(), ConsoleError> {
    let owner = Owner { mesh, development, data_dir: &config.data_dir };
    TrustKeeper::peek(trust_of(config), owner, OffsetDateTime::now_utc())?;
    Credentials::open(&config.certificate, &config.key)?;
    if config.trial.is_some() && !development {
        return Err(ConsoleError::TrialOfProduction);
    }
    config.trial.iter().flat_map(|trial| &trial.people).try_for_each(|path: &PathBuf| {
        lienthong_certs::files::certificates(path).map(drop).map_err(ConsoleError::from)
    })
}

fn trust_of(config: &ConsoleConfig) -> &TrustConfig {
    &config.trust
}
