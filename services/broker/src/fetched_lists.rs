//! Revocation lists that the broker fetches from where their authorities publish them. What is fetched lies beside the
//! broker's state, and is taken over from there as any other list file.

use std::path::PathBuf;
use std::sync::Arc;

use lienthong_crl::{Keeper, Pace, keepers};
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::error::BrokerError;

/// Who fetches which list, and where it is kept.
///
/// # Errors
/// [`BrokerError::Config`] naming the address that is none.
pub fn fetched(config: &BrokerConfig) -> Result<Vec<Keeper>, BrokerError> {
    let wrong = |error: lienthong_crl::AddressError| BrokerError::Config {
        key: "trust.revocation_list_urls",
        problem: error.to_string(),
    };
    keepers(&config.trust.revocation_list_urls, &config.data_dir.join("revocation")).map_err(wrong)
}

/// Every file of revocation lists, fetched ones where they are there.
pub fn list_files(config: &BrokerConfig) -> Vec<PathBuf> {
    let places = places(config).into_iter().filter(|place| place.exists());
    config.trust.revocation_lists.iter().cloned().chain(places).collect()
}

/// Where fetched lists are kept. An address that is none was refused at the start.
pub fn places(config: &BrokerConfig) -> Vec<PathBuf> {
    fetched(config).unwrap_or_default().into_iter().map(|keeper| keeper.place).collect()
}

impl Broker {
    /// Fetches until the broker stops.
    pub(crate) fn fetch_lists(&self) -> Result<Vec<JoinHandle<()>>, BrokerError> {
        let fetch = |keeper: Keeper| {
            let (steward, metrics, drain) =
                (Arc::clone(&self.steward), self.metrics.clone(), self.drain.clone());
            tokio::spawn(async move {
                let anchors = || steward.current().trusts().newest().trust().anchors().clone();
                let fetching =
                    keeper.run(Pace::default(), anchors, |outcome| metrics.list_fetched(outcome.label()));
                tokio::select! {
                    () = fetching => {}
                    _ = drain.started() => {}
                }
            })
        };
        Ok(fetched(&self.config)?.into_iter().map(fetch).collect())
    }
}
