//! Revocation lists that the node fetches itself from where their authorities publish them. What is fetched lies beside the
//! node's state, and is taken over from there as any other list file ([`crate::control::renewal`]).

use std::{path::PathBuf, sync::Arc};

use lienthong_crl::{AddressError, Keeper, Pace, keepers};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::NodeConfig, node::Node, trust::Trust};

/// Who fetches which list, and where it is kept.
pub fn fetched(config: &NodeConfig) -> Result<Vec<Keeper>, AddressError> {
    keepers(&config.trust.revocation_list_urls, &config.data_dir.join("revocation"))
}

/// Where fetched lists are kept; they need not be there yet. An address that is none was refused at the start.
pub fn places(config: &NodeConfig) -> Vec<PathBuf> {
    fetched(config).unwrap_or_default().into_iter().map(|keeper| keeper.place).collect()
}

/// The configured files of revocation lists, and those that were fetched.
pub fn present(configured: &[PathBuf], fetched: &[PathBuf]) -> Vec<PathBuf> {
    configured.iter().chain(fetched.iter().filter(|place| place.exists())).cloned().collect()
}

/// Fetches until told to stop.
pub fn spawn(
    tasks: &TaskTracker,
    keepers: Vec<Keeper>,
    node: &Arc<Node>,
    trust: &Arc<Trust>,
    stop: &CancellationToken,
) {
    for keeper in keepers {
        let (node, trust, stop) = (Arc::clone(node), Arc::clone(trust), stop.clone());
        tasks.spawn(async move {
            let anchors = || trust.mesh().trust().anchors().clone();
            let fetching =
                keeper.run(Pace::default(), anchors, |outcome| node.metrics.list_fetched(outcome.label()));
            tokio::select! {
                () = fetching => {}
                () = stop.cancelled() => {}
            }
        });
    }
}
